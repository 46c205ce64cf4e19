/*
 * fuzz_probe.c: what may come in answer to the health probe, from the agent or from whoever has its port.
 * Input: u8: how many bytes come at a time (0: all), then connections: u8 kind (0: the answer ends, 1: the
 * answer stays open and time runs out, 2: it breaks, 3: no connection at all), u16 length (little end
 * first), so many bytes.  What must hold: confd hears of each change once, as what it is: "well" only where
 * the bytes begin with a head of HTTP whose status is 2xx; no text but bounded words.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "privsep/child.h"

static void fuzz_send(
    enum proc to, uint32_t type, const void *payload, const char *tail, size_t tail_len);

#define child_send(c, to, type, payload, tail, tail_len, fd)                                       \
	fuzz_send(to, type, payload, tail, tail_len)
#include "netd/probe.c" /* with the parent and confd played by us */
#undef child_send

#define CONNECTIONS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	uint32_t attempt;     /* asked for and not answered; 0 = none */
	int heard, ok, again; /* again: what it knows already is said once more */
	char why[WORDS];
	const uint8_t *data; /* of the connection that is open */
	size_t len;
} now;

static int
begins_well(void)
{
	return now.len >= 14 && memcmp(now.data, "HTTP/1.", 7) == 0 && now.data[9] == '2';
}

static void
fuzz_send(enum proc to, uint32_t type, const void *payload, const char *tail, size_t tail_len)
{
	const struct msg_connect *c = payload;
	const struct msg_probe *p = payload;
	char why[WORDS] = "";

	if (to == PROC_PARENT) {
		if (c->endpoint != ENDPOINT_HEALTH ||
		    (type != MSG_CONNECT_REQUEST && type != MSG_CONNECT_CANCEL))
			abort();
		now.attempt = type == MSG_CONNECT_REQUEST ? c->attempt : 0;
		return;
	}
	if (type != MSG_AGENT_PROBED || tail_len >= WORDS || p->start != 1 || p->ok > 1)
		abort();
	if (tail_len > 0)
		memcpy(why, tail, tail_len);
	if (p->ok != (tail_len == 0) || (p->ok && !now.again && !begins_well()))
		abort();
	if (now.heard && now.ok == (int)p->ok && strcmp(now.why, why) == 0)
		abort(); /* no news */
	now.heard = 1;
	now.ok = (int)p->ok;
	memcpy(now.why, why, sizeof(why));
}

static void
loop(struct probe *p)
{
	(void)event_base_loop(p->child->base, EVLOOP_NONBLOCK);
}

static void
timer_fires(struct probe *p)
{
	if (event_pending(p->timer, EV_TIMEOUT, NULL))
		event_active(p->timer, EV_TIMEOUT, 1);
	loop(p);
}

static void
converse(struct probe *p, uint8_t kind, size_t step)
{
	struct msg_connect m = {ENDPOINT_HEALTH, now.attempt};
	size_t at = 0, n;
	char request[REQUEST];
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == -1)
		abort();
	now.attempt = 0;
	probe_connected(p, &m, sv[0]);
	while (at < now.len) {
		ssize_t sent;

		n = step == 0 || step > now.len - at ? now.len - at : step;
		sent = send(sv[1], now.data + at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		loop(p);
		if (sent <= 0)
			break;
		at += (size_t)sent;
	}
	if (kind == 1)
		timer_fires(p);
	if (kind != 2) /* it breaks when our request was not read */
		(void)!recv(sv[1], request, sizeof(request), MSG_DONTWAIT);
	close(sv[1]);
	loop(p);
}

static void
no_connection(struct probe *p, const uint8_t *data, size_t len)
{
	struct msg_connect_failed m = {.endpoint = ENDPOINT_HEALTH,
	    .attempt = now.attempt,
	    .kind = len > 0 ? data[0] % (CONNECT_DIED + 1u) : CONNECT_DIED,
	    .code = len > 1 ? data[1] : EAGAIN};

	now.attempt = 0;
	probe_failed(p, &m);
}

static void
make_settings(struct child *child)
{
	struct record_writer w = {0};
	struct error err;
	size_t len;

	child->base = event_base_new();
	record_put_string(&w, SET_HEALTH_ENDPOINT, "http://127.0.0.1:13133/health?x=1");
	if (child->base == NULL || record_finish(&w, &child->settings.data, &len, &err) == -1 ||
	    record_open(&child->settings.record, child->settings.data, len, &err) == -1)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct child child;
	struct error err;
	struct probe *p;
	size_t step;
	uint8_t kind;
	int i;

	if (child.base == NULL)
		make_settings(&child);
	if (size == 0)
		return 0;
	memset(&now, 0, sizeof(now));
	p = probe_new(&child, &err);
	if (p == NULL)
		abort();
	probe_begin(p, 1);
	loop(p);
	step = *data++;
	size--;
	for (i = 0; i < CONNECTIONS && size >= 3; i++) {
		kind = data[0] & 3;
		now.len = (size_t)data[1] | (size_t)data[2] << 8;
		now.data = data + 3;
		size -= 3;
		now.len = now.len < size ? now.len : size;
		if (now.attempt == 0)
			timer_fires(p); /* the next question */
		if (now.attempt == 0)
			abort();
		if (kind == 3)
			no_connection(p, now.data, now.len);
		else
			converse(p, kind, step);
		now.heard = 0; /* confd is there anew */
		now.again = 1;
		probe_confd_up(p);
		now.again = 0;
		data = now.data + now.len;
		size -= now.len;
	}
	probe_end(p, 1);
	probe_free(p);
	return 0;
}
