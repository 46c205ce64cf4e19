/*
 * fuzz_transport.c: the bytes of a server from the first on: the answer to our WebSocket handshake with
 * its interim answers, refusals and their bodies, then frames.  Input: one byte of options (1: messages
 * are answered, 2: we close after the first, 4: our bytes are read at the end only, 8: the owner lets go within a
 * message, 16: we ping, 32: every time limit is over at once, 64: the server breaks off instead of
 * ending), one byte: how many bytes arrive at a time (0: all), then the bytes.  The first "@" in them
 * stands for the one right Sec-WebSocket-Accept.
 */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "netd/transport.h"
#include "privsep/limits.h"
#include "privsep/log.h"
#include "wire/ws.h"

#define MAX_MESSAGE (64 * KIB)
#define TURNS       12 /* of the loop after the last byte */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	ECHO = 1,
	CLOSE = 2,
	UNREAD = 4,
	LET_GO = 8,
	PING = 16,
	HURRY = 32,
	BREAK = 64
};

struct fuzz {
	struct event_base *base;
	struct transport *t;
	uint8_t options;
	int opened, ended;
};

/* In place of libc's: the same key each time, so that an input does the same each time. */
ssize_t
getrandom(void *buf, size_t len, unsigned flags)
{
	(void)flags;
	memset(buf, 0x5a, len);
	return (ssize_t)len;
}

static void
on_opened(void *ctx)
{
	struct fuzz *f = ctx;

	if (f->opened++ > 0 || f->ended > 0)
		abort();
	if (f->options & PING)
		transport_ping(f->t);
	if (f->options & ECHO && transport_send(f->t, "hello", 5) == -1)
		abort();
}

static void
on_heard(void *ctx)
{
	struct fuzz *f = ctx;

	if (f->opened != 1 || f->ended > 0)
		abort();
}

static void
on_message(void *ctx, const uint8_t *data, size_t len)
{
	struct fuzz *f = ctx;

	if (f->opened != 1 || f->ended > 0 || len > MAX_MESSAGE)
		abort();
	if (f->options & ECHO)
		(void)transport_send(f->t, data, len);
	if (f->options & CLOSE)
		transport_close(f->t, 1000, "bye");
	if (f->options & LET_GO) {
		transport_free(f->t);
		f->t = NULL;
		f->ended++;
	}
}

static void
on_drained(void *ctx)
{
	struct fuzz *f = ctx;

	if (f->opened != 1 || f->ended > 0)
		abort();
}

static void
on_ended(void *ctx, const struct transport_end *e)
{
	struct fuzz *f = ctx;

	if (f->ended++ > 0 || e->why == NULL || e->why[0] == '\0')
		abort();
	if (e->http_status != 0 && (e->http_status < 200 || e->http_status > 599))
		abort();
	if (e->retry_after_ms < -1 || e->retry_after_ms > (int64_t)LIMIT_RETRY_AFTER_MS)
		abort();
	if (f->opened && e->http_status != 0)
		abort(); /* what was refused never opened */
}

static void
turn(struct fuzz *f, int peer)
{
	char buf[8192];

	(void)event_base_loop(f->base, EVLOOP_NONBLOCK);
	/* as many as may wait: pongs, answers, one head */
	if (f->t != NULL &&
	    transport_pending(f->t) > (LIMIT_WS_QUEUED + 2) * (MAX_MESSAGE + 14) + LIMIT_HTTP_HEAD)
		abort();
	while (!(f->options & UNREAD) && recv(peer, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

/* The input with the right answer to our key in it. */
static uint8_t *
fill_in(const uint8_t *data, size_t size, size_t *len, char accept[WSKEY_ACCEPT_SIZE])
{
	char key[WSKEY_SIZE];
	const uint8_t *at = size == 0 ? NULL : memchr(data, '@', size);
	uint8_t *out = malloc(size + WSKEY_ACCEPT_SIZE);
	size_t before = at == NULL ? size : (size_t)(at - data);

	if (out == NULL || wskey_new(key) == -1 || wskey_accept(key, accept) == -1)
		abort();
	if (before > 0)
		memcpy(out, data, before);
	*len = before;
	if (at != NULL) {
		memcpy(out + before, accept, strlen(accept));
		memcpy(out + before + strlen(accept), at + 1, size - before - 1);
		*len = size - 1 + strlen(accept);
	}
	return out;
}

static void
talk(struct fuzz *f, int peer, const uint8_t *data, size_t size, size_t step)
{
	size_t n;
	ssize_t sent;
	int i;

	turn(f, peer);
	for (; size > 0 && f->ended == 0; data += sent, size -= (size_t)sent) {
		n = step == 0 || step > size ? size : step;
		sent = send(peer, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent <= 0)
			break;
		turn(f, peer);
	}
	if ((f->options & UNREAD) && !(f->options & BREAK)) { /* now they are: it goes on */
		f->options &= (uint8_t)~UNREAD;
		for (i = 0; i < TURNS && f->ended == 0; i++)
			turn(f, peer);
	}
	if (!(f->options & BREAK))
		(void)shutdown(peer, SHUT_WR);
	for (i = 0; i < TURNS && f->ended == 0 && !(f->options & BREAK); i++)
		turn(f, peer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct transport_callbacks cb = {
	    on_opened, on_heard, on_message, on_drained, on_ended};
	static struct transport_settings set = {.max_message = MAX_MESSAGE};
	static struct event_base *base;
	static char no_headers[] = "X-Token: t\r\n";
	struct fuzz f = {0};
	struct error err;
	char accept[WSKEY_ACCEPT_SIZE];
	uint8_t *bytes;
	size_t len;
	int sv[2], little = 1;

	if (base == NULL) {
		log_set_level(LOG_LEVEL_ERROR);
		(void)signal(SIGPIPE, SIG_IGN);
		base = event_base_new();
		set.headers = no_headers;
		if (url_split(&set.url, URL_OF_SERVER, "ws://127.0.0.1:4320/v1/opamp?x=1", &err) ==
		    -1)
			abort();
	}
	if (size < 2 || base == NULL)
		return 0;
	f.base = base;
	f.options = data[0];
	set.step_ms = set.linger_ms = data[0] & HURRY ? 0 : 30000;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == -1)
		abort();
	if (f.options & UNREAD) /* a pipe that is full soon */
		(void)setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
	f.t = transport_new(base, sv[0], &set, &cb, &f, &err);
	if (f.t == NULL)
		abort();
	bytes = fill_in(data + 2, size - 2, &len, accept);
	talk(&f, sv[1], bytes, len, data[1]);
	if (f.opened && memmem(bytes, len, accept, strlen(accept)) == NULL)
		abort(); /* it never showed that it read our key */
	free(bytes);
	close(sv[1]);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	transport_free(f.t);
	return 0;
}
