/*
 * fuzz_hub_web.c: what a browser, or anybody who reaches the page's port, may send to opamphub-store.
 * Input: one byte (1: a token is asked for), then requests, each ended by the byte 0x1e: method as a letter
 * (G, P, D, and p for a POST without a token), the path up to a line's end, the body.  R: bytes as they are.
 * What must hold: every answer has the headers that keep the page safe.
 */
#include "hub.h"

#include "hub/web.c" /* its take */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TOKEN "0123456789abcdef"

static struct bed bed;

static struct web *
make_web(int tokens)
{
	static struct setup setups[2];
	struct setup *s = &setups[tokens];
	struct record_writer w = {0};
	struct error err;
	struct web *web;
	size_t len;

	record_put_string(&w, SETUP_LISTEN, "127.0.0.1:4321");
	record_put_string(&w, SETUP_HOST, "hub.example.com");
	if (tokens)
		record_put_string(&w, SETUP_TOKEN, "me " TOKEN);
	if (record_finish(&w, &s->data, &len, &err) == -1 ||
	    record_open(&s->record, s->data, len, &err) == -1 ||
	    (web = web_new(bed.base, s, &err)) == NULL)
		abort();
	web->fleet = bed.fleet;
	return web;
}

/* One agent, connected, that can do everything. */
static void
an_agent(void)
{
	static const uint8_t uid[16] = {1};
	struct frame_header h = {0, FRAME_REPORT, 1, 1};
	struct record_writer w = {0};
	struct record r;
	struct error err;
	char *data;
	size_t len;

	record_put(&w, KEY_UID, 0, 0, uid, sizeof(uid));
	record_put_u64(&w, KEY_FLAGS, REPORT_FIRST);
	record_put_u64(&w, KEY_CAPABILITIES, UINT64_MAX);
	record_put_string(&w, KEY_DESCRIPTION, "{}");
	record_put_string(&w, KEY_ATTRIBUTE, "a=b");
	record_put_string(&w, KEY_HEALTH, "{}");
	record_put_string(&w, KEY_CUSTOM, "{\"capabilities\":[\"c\"]}");
	record_put_string(&w, KEY_EFFECTIVE, "");
	record_put_string(&w, KEY_FILE_TYPE, "");
	record_put_string(&w, KEY_FILE_BODY, "a: 1\n");
	if (record_finish(&w, &data, &len, &err) == -1 || record_open(&r, data, len, &err) == -1 ||
	    fleet_begin(bed.fleet, &err) == -1 || fleet_report(bed.fleet, &h, &r, &err) == -1 ||
	    fleet_end(bed.fleet, &err) == -1)
		abort();
	free(data);
}

static void
check_answers(int fd)
{
	static char buf[1 << 20];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);
	static const char status[] = "HTTP/1.1 ";

	if (n <= 0)
		return;
	buf[n] = '\0';
	if (memcmp(buf, status, sizeof(status) - 1) != 0)
		abort();
	if (memcmp(buf + 9, "100", 3) != 0 &&
	    (strstr(buf, "Content-Security-Policy: default-src 'none'") == NULL ||
		strstr(buf, "X-Content-Type-Options: nosniff") == NULL))
		abort();
	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static void
request(int fd, char method, const uint8_t *p, size_t len)
{
	const char *name = method == 'G' ? "GET" : method == 'D' ? "DELETE" : "POST";
	const uint8_t *end = memchr(p, '\n', len);
	size_t path = end == NULL ? len : (size_t)(end - p),
	       body = end == NULL ? 0 : len - path - 1;
	char head[4096];
	int n;

	if (method == 'R') {
		(void)send(fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		return;
	}
	n = snprintf(head, sizeof(head),
	    "%s /%.*s HTTP/1.1\r\nHost: localhost:4321\r\n%sContent-Type: application/json\r\n"
	    "Content-Length: %zu\r\n\r\n",
	    name, path > 2000 ? 2000 : (int)path, (const char *)p,
	    method == 'p' ? "" : "Authorization: Bearer " TOKEN "\r\n", body);
	(void)send(fd, head, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (body > 0)
		(void)send(fd, end + 1, body, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
nothing(const struct frame_header *h, const struct record *r)
{
	(void)h;
	(void)r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct web *webs[2];
	struct sockaddr_storage from = {.ss_family = AF_INET};
	struct input in = {data, size};
	struct web_connection *c;
	struct web *w;
	int sv[2], i;

	if (bed.base == NULL) {
		bed_make(&bed, NULL, NULL);
		webs[0] = make_web(0);
		webs[1] = make_web(1);
	}
	bed_clear(&bed);
	an_agent();
	w = webs[input_byte(&in) & 1];
	while (in.size > 0) {
		const uint8_t *end = memchr(in.data, 0x1e, in.size);
		size_t len = end == NULL ? in.size : (size_t)(end - in.data);
		const uint8_t *p = input_bytes(&in, &len);

		(void)input_byte(&in);
		if (len == 0 ||
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == -1)
			continue;
		memset(w->rates, 0, sizeof(w->rates));
		take(w, sv[0], &from);
		request(sv[1], (char)p[0], p + 1, len - 1);
		for (i = 0; i < 3; i++)
			(void)event_base_loop(bed.base, EVLOOP_NONBLOCK);
		check_answers(sv[1]);
		stream_tick(w);
		(void)event_base_loop(bed.base, EVLOOP_NONBLOCK);
		take_frames(bed.other, 0, nothing);
		close(sv[1]);
	}
	while ((c = LIST_FIRST(&w->all)) != NULL)
		drop(c);
	if (w->bodies != 0 || w->watchers != 0 || w->connections != 0)
		abort();
	return 0;
}
