/*
 * fuzz_server.c: what may be sent to an OpAMP server that we are (opamphub): HTTP heads, plain requests one
 * after the other, the upgrade, frames.  Input: one byte of options (1: messages are answered at once, 2: in
 * the next turn, 4: refused, 8: held, 16: the owner lets go within a message, 32: it leaves after the first,
 * 64: requests are refused, 128: the owner says that it keeps much, and all connections may have little), one byte: how many bytes arrive at a time (0: all; the top bit: our bytes are
 * read at the end only), then the bytes.  A body said to be gzip counts as inflated when it begins with "z".
 *
 * What must hold: nothing is heard before the request was judged, no message is longer than the limit, one
 * plain request is outstanding at most, and the end is told once and last.
 */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/bufferevent.h>
#include <event2/event.h>

#include "privsep/limits.h"
#include "privsep/log.h"
#include "wire/server.h"

#define MAX_MESSAGE (4 * KIB)
#define TURNS       8
#define KEPT        (200 * KIB) /* more than the budget */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	AT_ONCE = 1,
	LATER = 2,
	REFUSED = 4,
	HELD = 8,
	LET_GO = 16,
	LEAVES = 32,
	UNWANTED = 64,
	KEEPS = 128
};

struct fuzz {
	struct event_base *base;
	struct server_connection *c;
	uint8_t options;
	int requests, opened, closed, owed, held;
};

static int
gunzip(const void *body, size_t len, size_t most, char **data, size_t *out_len)
{
	if (len == 0 || *(const char *)body != 'z')
		return -1;
	if (len - 1 > most)
		return 1;
	*data = malloc(len);
	if (*data == NULL)
		return -1;
	memcpy(*data, (const char *)body + 1, len - 1);
	*out_len = len - 1;
	return 0;
}

static int
on_request(void *ctx, const struct http_head *h, const char **headers)
{
	struct fuzz *f = ctx;

	if (f->closed || f->opened || f->owed || h->target == NULL)
		abort();
	f->requests++;
	*headers = "X-Why: no\r\n";
	return f->options & UNWANTED ? 403 : 0;
}

static void
on_opened(void *ctx)
{
	struct fuzz *f = ctx;

	if (f->closed || f->opened++ > 0 || f->requests == 0)
		abort();
}

static void
answer(struct fuzz *f)
{
	f->owed = 0;
	if (f->options & REFUSED && !f->opened)
		server_refuse(f->c, 503, "Retry-After: 1\r\n");
	else
		(void)server_answer(f->c, "he", 2, "llo", 3);
}

static int
on_message(void *ctx, const uint8_t *data, size_t len)
{
	struct fuzz *f = ctx;
	volatile uint8_t sum = 0;
	size_t i;

	if (f->closed || f->requests == 0 || len > MAX_MESSAGE || (f->owed && !f->opened) ||
	    (f->held && f->opened))
		abort();
	for (i = 0; i < len; i++)
		sum = (uint8_t)(sum + data[i]); /* every byte is there */
	if (f->options & LET_GO) {
		server_free(f->c);
		f->c = NULL;
		f->closed = 1;
		return -1;
	}
	f->owed = 1;
	if (f->options & KEEPS && !(f->options & LATER))
		server_keeps(f->c, KEPT);
	if (f->options & HELD) {
		server_hold(f->c);
		f->held = 1;
	}
	if (f->options & AT_ONCE)
		answer(f);
	if (f->options & LEAVES)
		server_leave(f->c, 1001, "bye");
	return 0;
}

static int
on_malformed(void *ctx, const char *why)
{
	struct fuzz *f = ctx;

	if (why == NULL || *why == '\0')
		abort();
	return on_message(f, (const uint8_t *)"", 0);
}

static void
on_event(void *ctx)
{
	struct fuzz *f = ctx;

	if (f->closed)
		abort();
}

static void
on_fault(void *ctx, const char *why)
{
	struct fuzz *f = ctx;

	if (f->closed || why == NULL || *why == '\0')
		abort();
}

static void
on_closed(void *ctx, const char *why)
{
	struct fuzz *f = ctx;

	if (f->closed++ > 0 || why == NULL || *why == '\0')
		abort();
}

static void
turn(struct fuzz *f, int peer, int hears)
{
	char buf[8192];

	(void)event_base_loop(f->base, EVLOOP_NONBLOCK);
	while (hears && recv(peer, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	if (f->closed)
		return;
	if (server_pending(f->c) > 128 * KIB)
		abort();
	if (f->options & KEEPS)
		server_keeps(f->c, KEPT);
	if (f->owed && f->options & LATER)
		answer(f);
	if (f->held) {
		f->held = 0;
		server_go_on(f->c);
	}
}

static void
talk(struct fuzz *f, int peer, uint8_t how, const uint8_t *data, size_t size)
{
	size_t step = how & 127, n;
	int hears = how < 128, i;
	ssize_t sent;

	for (; size > 0 && !f->closed; data += sent, size -= (size_t)sent) {
		n = step == 0 || step > size ? size : step;
		sent = send(peer, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		turn(f, peer, hears);
		if (sent <= 0)
			break;
	}
	for (i = 0; i < TURNS && !f->closed; i++)
		turn(f, peer, 1);
	(void)shutdown(peer, SHUT_WR);
	for (i = 0; i < TURNS && !f->closed; i++)
		turn(f, peer, 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct server_budget budget;
	static const struct server_rules rules = {.path = "/v1/opamp",
	    .max_message = MAX_MESSAGE,
	    .output_high = 16 * KIB,
	    .head_ms = 30000,
	    .body_ms = 30000,
	    .idle_ms = 30000,
	    .close_ms = 30000,
	    .gunzip = gunzip,
	    .budget = &budget};
	static const struct server_callbacks cb = {on_request, on_opened, on_message, on_malformed,
	    on_event, on_event, on_fault, on_closed};
	static struct event_base *base;
	struct bufferevent *bev;
	struct fuzz f = {0};
	int sv[2], little = 1;

	if (base == NULL) {
		log_set_level(LOG_LEVEL_ERROR);
		(void)signal(SIGPIPE, SIG_IGN);
		base = event_base_new();
	}
	if (size < 2 || base == NULL)
		return 0;
	f.base = base;
	f.options = data[0];
	budget.most = KEPT / 2;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == -1)
		abort();
	if (data[1] & 128) /* a pipe that is full soon */
		(void)setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
	bev = bufferevent_socket_new(base, sv[0], BEV_OPT_CLOSE_ON_FREE);
	f.c = bev == NULL ? NULL : server_new(bev, &rules, &cb, &f);
	if (f.c == NULL)
		abort();
	talk(&f, sv[1], data[1], data + 2, size - 2);
	close(sv[1]);
	server_free(f.c);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	if (budget.used != 0 || !LIST_EMPTY(&budget.holders))
		abort(); /* what is gone counts no more */
	return 0;
}
