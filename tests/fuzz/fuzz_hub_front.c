/*
 * fuzz_hub_front.c: opamphub-front between three agents' connections and the store.  Input: steps, each one
 * byte and what it takes: bytes on a connection, an upgrade, a frame, a request by plain HTTP, the end of a
 * connection, seconds that pass, the store's frames (hub.h), verdicts on all reports.  What must hold: front
 * lives, what it tells the store is in the table, and at the end nothing of a connection is left.
 */
#include "hub.h"

#include "hub/front_accept.c" /* its take */
#include "hub/gzip.h"

#define PEERS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct front front;
static struct {
	uint32_t conn, serial;
} asked[64];
static size_t asked_count;

void
front_dies(const char *why)
{
	fprintf(stderr, "front dies: %s\n", why);
	abort();
}

int
front_list_add(struct front_list *l, uint32_t number)
{
	uint32_t *bigger = realloc(l->numbers, (l->count + 1) * sizeof(*bigger));

	if (bigger == NULL)
		return -1;
	l->numbers = bigger;
	l->numbers[l->count++] = number;
	return 0;
}

static void
on_told(const struct frame_header *h, const struct record *r)
{
	struct record_entry e;

	if (h->type == FRAME_REPORT && (!record_find(r, KEY_UID, &e) || e.len != 16))
		abort();
	if (h->type == FRAME_REPORT && asked_count < sizeof(asked) / sizeof(asked[0])) {
		asked[asked_count].conn = h->conn;
		asked[asked_count++].serial = h->serial;
	}
}

static void
on_pushing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	answer_push(arg);
}

static int
no_frame(void *ctx, const struct frame_header *h, const struct record *r, struct error *err)
{
	(void)ctx;
	(void)h;
	(void)r;
	(void)err;
	return 0;
}

static void
nobody(void *ctx, const char *why)
{
	(void)ctx;
	(void)why;
	abort();
}

static int
make(void)
{
	static const struct frames_callbacks cb = {no_frame, NULL, NULL, nobody};
	struct record_writer w = {0};
	struct error err;
	size_t len;
	int sv[2];

	(void)signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	front.base = event_base_new();
	if (front.base == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == -1)
		abort();
	record_put_string(&w, SETUP_CUSTOM, "c");
	if (record_finish(&w, &front.setup.data, &len, &err) == -1 ||
	    record_open(&front.setup.record, front.setup.data, len, &err) == -1)
		abort();
	front.frames = frames_new(front.base, sv[0], 0, &cb, &front);
	front.pushing = event_new(front.base, -1, 0, on_pushing, &front);
	front.rules = (struct server_rules){"/v1/opamp", 64 * KIB, 256 * KIB, 10000, 10000, 10000,
	    1, gzip_inflate, gzip_deflate, &front.budget, NULL};
	front.budget.most = 256 * KIB;
	front.listener = -1;
	front.max_agents = 4;
	front.silence_s = 30;
	front.now_s = 1;
	TAILQ_INIT(&front.due);
	if (front.frames == NULL || front.pushing == NULL)
		abort();
	return sv[1];
}

static void
say(int fd, const void *data, size_t len)
{
	(void)send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A message by WebSocket, as if it were not masked, or by plain HTTP. */
static void
say_message(int fd, const uint8_t *p, size_t len, int websocket)
{
	char head[256];
	int n;

	if (websocket) {
		n = len + 1 < 126 ? snprintf(head, sizeof(head), "\x82%c", (int)(0x80 | (len + 1)))
				  : snprintf(head, sizeof(head), "\x82\xfe");
		say(fd, head, (size_t)n);
		if (len + 1 >= 126)
			say(fd, (uint8_t[]){(uint8_t)((len + 1) >> 8), (uint8_t)(len + 1)}, 2);
		say(fd, "\0\0\0\0\0", 5);
	} else {
		n = snprintf(head, sizeof(head),
		    "POST /v1/opamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
		    "Content-Length: %zu\r\n\r\n",
		    len);
		say(fd, head, (size_t)n);
	}
	say(fd, p, len);
}

static int
open_peer(void)
{
	struct sockaddr_storage a = {.ss_family = AF_INET};
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv) == -1)
		abort();
	take(&front, sv[0], &a, sizeof(struct sockaddr_in));
	return sv[1];
}

static void
drain(int fd)
{
	char buf[65536];

	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static int
store_says(struct input *in)
{
	struct frame_header h = {0};
	struct record r;
	struct error err;
	char *data;
	int result = 0;

	h.type = input_byte(in) % (FRAME_TYPES - 1) + 1;
	h.conn = front.last_number - input_byte(in) % 4;
	if (frame_to_store(h.type))
		h.type = FRAME_CONFIG;
	if (input_open(in, &r, &data) == 0)
		result = answer_frame(&front, &h, &r, &err); /* -1: it would be the end of both */
	free(data);
	return result;
}

static void
verdicts(unsigned flags, unsigned renamed)
{
	struct frame_header h = {0, FRAME_VERDICT, 0, 0};
	struct record_writer w = {0};
	struct record r;
	struct error err;
	uint8_t uid[16];
	char *data;
	size_t i, len, count = asked_count;

	asked_count = 0;
	record_put_u64(&w, KEY_ANSWER, flags);
	if (renamed) {
		memset(uid, (int)renamed, sizeof(uid));
		record_put(&w, KEY_NEW_UID, 0, 0, uid, sizeof(uid));
	}
	if (record_finish(&w, &data, &len, &err) == -1 || record_open(&r, data, len, &err) == -1)
		abort();
	for (i = 0; i < count; i++) {
		h.conn = asked[i].conn;
		h.serial = asked[i].serial;
		if (answer_frame(&front, &h, &r, &err) == -1)
			abort();
	}
	free(data);
}

static int
step(struct input *in, int *peers)
{
	static const char upgrade[] =
	    "GET /v1/opamp HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
	unsigned what = input_byte(in);
	int *fd = &peers[what / 16 % PEERS];
	const uint8_t *p;
	size_t len;

	if (*fd == -1 && what % 8 < 4)
		*fd = open_peer();
	switch (what % 8) {
	case 0:
	case 2:
	case 3:
		len = input_byte(in);
		len |= (size_t)(input_byte(in) & 0x3f) << 8;
		p = input_bytes(in, &len);
		if (what % 8 == 0)
			say(*fd, p, len);
		else
			say_message(*fd, p, len, what % 8 == 2);
		break;
	case 1:
		say(*fd, upgrade, sizeof(upgrade) - 1);
		break;
	case 4:
		if (*fd != -1)
			close(*fd);
		*fd = -1;
		break;
	case 5:
		front.now_s += input_byte(in);
		agents_tick(&front);
		break;
	case 6:
		return store_says(in);
	default:
		what = input_byte(in);
		verdicts(what & 7, what >> 3);
	}
	return 0;
}

/* Everybody leaves, and time passes. */
static void
leave(int other, int *peers)
{
	struct front_config *k;
	struct peer *p, *next;
	int i;

	for (i = 0; i < PEERS; i++)
		if (peers[i] != -1)
			close(peers[i]);
	(void)event_base_loop(front.base, EVLOOP_NONBLOCK);
	for (p = LIST_FIRST(&front.all_peers); p != NULL;
	     p = next) { /* those that are being told why */
		next = LIST_NEXT(p, entry);
		agent_closed(p, "the end");
		peer_free(p);
	}
	front.now_s += 1000;
	agents_tick(&front);
	answer_flush_sent(&front);
	while ((k = LIST_FIRST(&front.configs)) != NULL) {
		LIST_REMOVE(k, entry);
		free(k->data);
		free(k);
	}
	(void)event_base_loop(front.base, EVLOOP_NONBLOCK);
	take_frames(other, 1, on_told);
	asked_count = 0;
	if (front.conversations != 0 || front.flight != 0 || front.peers != 0 ||
	    front.budget.used != 0 || !TAILQ_EMPTY(&front.due))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int other;
	struct input in = {data, size};
	int peers[PEERS] = {-1, -1, -1}, i, ok = 0;

	if (front.base == NULL)
		other = make();
	while (in.size > 0 && ok == 0) {
		ok = step(&in, peers);
		(void)event_base_loop(front.base, EVLOOP_NONBLOCK);
		for (i = 0; i < PEERS; i++)
			if (peers[i] != -1)
				drain(peers[i]);
		take_frames(other, 1, on_told);
	}
	leave(other, peers);
	return 0;
}
