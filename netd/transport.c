/*
 * transport.c: bytes of a connection (see transport.h).  netd.
 * Reads and writes the descriptor it was handed, and nothing else.  The opening handshake is in
 * upgrade.c.
 */
#include "transport.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include "wire/pace.h"
#include "privsep/limits.h"
#include "stream.h"
#include "upgrade.h"
#include "wire/wire.h"
#include "wire/ws.h"

#define READS_PER_TURN 8          /* the channels get their turn between */
#define FEW_PENDING    (64 * KIB) /* so little waits: the next report may come */
#define LINGER_BYTES   (16 * MIB) /* read and thrown away after the last word, at most */
#define REASON_SIZE    (ERROR_TEXT + 64)

enum phase {
	PHASE_TLS,
	PHASE_UPGRADE,
	PHASE_OPEN,   /* and the closing handshake */
	PHASE_LINGER, /* all is said: our last bytes go out, what comes is thrown away */
	PHASE_OVER,
};

struct transport {
	const struct transport_settings *set;
	const struct transport_callbacks *cb;
	void *ctx;
	struct stream stream;
	enum phase phase;
	struct event *reading, *writing, *timer;
	struct evbuffer *in, *out;
	struct upgrade *upgrade;
	struct ws *ws;
	int busy, freed;
	int read_wants_write; /* TLS: the call that reads waits for room to write, and the other way */
	int write_wants_read;
	int many_pending;
	struct pace_source pace;
	int shut; /* no more is written */
	size_t thrown_away;
	struct transport_end end;
	char why[REASON_SIZE];
};

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

/* ---- the object */

static void
release(struct transport *t)
{
	pace_forget(&t->pace);
	if (t->reading != NULL)
		event_free(t->reading);
	if (t->writing != NULL)
		event_free(t->writing);
	if (t->timer != NULL)
		event_free(t->timer);
	if (t->in != NULL)
		evbuffer_free(t->in);
	ws_free(t->ws);
	if (t->out != NULL)
		evbuffer_free(t->out);
	upgrade_free(t->upgrade);
	SSL_free(t->stream.ssl);
	close(t->stream.fd);
	free(t);
}

static void
stop_events(struct transport *t)
{
	pace_forget(&t->pace);
	(void)event_del(t->reading);
	(void)event_del(t->writing);
	(void)event_del(t->timer);
}

void
transport_free(struct transport *t)
{
	if (t == NULL)
		return;
	t->freed = 1;
	t->phase = PHASE_OVER;
	if (t->busy == 0)
		release(t);
	else
		stop_events(t);
}

/* Unless it sent so much that it has to wait. */
static void
go_on_reading(struct transport *t)
{
	if (!t->pace.rests)
		(void)event_add(t->reading, NULL);
}

static void
on_wake(void *ctx)
{
	struct transport *t = ctx;

	if (t->ws != NULL && ws_stalled(t->ws))
		return; /* until it reads what we answer */
	(void)event_add(t->reading, NULL);
	if (t->stream.ssl != NULL && SSL_pending(t->stream.ssl) > 0)
		event_active(t->reading, EV_READ, 0);
}

static void
set_timer(struct transport *t, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	(void)event_add(t->timer, &tv);
}

static int on_ws_message(void *ctx, const uint8_t *data, size_t len);
static const struct ws_callbacks ws_callbacks = {
    on_ws_message, NULL}; /* a pong: bytes were heard */

static int
make(struct transport *t, struct event_base *base, struct error *err)
{
	t->reading = event_new(base, t->stream.fd, EV_READ | EV_PERSIST, on_readable, t);
	t->writing = event_new(base, t->stream.fd, EV_WRITE, on_writable, t);
	t->timer = event_new(base, -1, 0, on_timer, t);
	t->in = evbuffer_new();
	t->out = evbuffer_new();
	if (t->reading == NULL || t->writing == NULL || t->timer == NULL || t->in == NULL ||
	    t->out == NULL)
		return error_set(err, "no memory for a connection");
	t->ws = ws_new(WS_CLIENT, t->set->max_message, &ws_callbacks, t, t->out);
	t->upgrade = upgrade_new(&t->set->url, t->set->headers, err);
	if (t->ws == NULL)
		return error_set(err, "no memory for a WebSocket conversation");
	if (t->upgrade == NULL || upgrade_request(t->upgrade, t->out, err) == -1)
		return -1;
	if (t->set->url.scheme != URL_WSS)
		return 0;
	if (t->set->tls == NULL)
		return error_set(err, "%s", t->set->tls_fault);
	t->stream.ssl = tls_session(t->set->tls, t->stream.fd, t->set->url.host, err);
	return t->stream.ssl == NULL ? -1 : 0;
}

struct transport *
transport_new(struct event_base *base, int fd, const struct transport_settings *set,
    const struct transport_callbacks *cb, void *ctx, struct error *err)
{
	struct transport *t = calloc(1, sizeof(*t));

	if (t == NULL || fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) == -1) {
		(void)error_errno(err, "a connection to the server");
		free(t);
		close(fd);
		return NULL;
	}
	t->set = set;
	t->cb = cb;
	t->ctx = ctx;
	t->stream = (struct stream){.fd = fd, .tls = set->tls, .host = set->url.host};
	t->end.retry_after_ms = -1;
	t->pace = (struct pace_source){.wake = on_wake, .ctx = t};
	if (make(t, base, err) == -1) {
		release(t);
		return NULL;
	}
	t->phase = t->stream.ssl != NULL ? PHASE_TLS : PHASE_UPGRADE;
	set_timer(t, set->step_ms);
	(void)event_add(t->reading, NULL);
	(void)event_add(t->writing, NULL); /* the first bytes are ours */
	return t;
}

/* ---- the end */

/* The first reason holds. */
static void
remember(struct transport *t, const char *why)
{
	if (t->why[0] == '\0')
		(void)snprintf(t->why, sizeof(t->why), "%s", why);
}

static void
over(struct transport *t, const char *why)
{
	if (t->phase == PHASE_OVER)
		return;
	remember(t, why);
	t->phase = PHASE_OVER;
	stop_events(t);
	t->end.why = t->why;
	t->cb->ended(t->ctx, &t->end);
}

/* The last word is in `out`: closing with bytes of the peer unread would destroy it on its way. */
static void
linger(struct transport *t, const char *why)
{
	if (t->phase == PHASE_LINGER || t->phase == PHASE_OVER)
		return;
	remember(t, why);
	t->phase = PHASE_LINGER;
	(void)evbuffer_drain(t->in, evbuffer_get_length(t->in));
	set_timer(t, t->set->linger_ms);
	go_on_reading(t);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct transport *t = arg;

	(void)fd;
	(void)what;
	t->busy++;
	if (t->phase == PHASE_TLS)
		over(t, "TLS: no answer to our greeting in time (server.connect_timeout)");
	else if (t->phase == PHASE_UPGRADE)
		over(t, upgrade_waiting(t->upgrade));
	else
		over(t, "the connection did not end in time");
	if (--t->busy == 0 && t->freed)
		release(t);
}

/* ---- reading */

enum got {
	GOT_SOME,
	GOT_NOTHING, /* for now */
	GOT_END,     /* the end or a failure was dealt with */
};

/* why: NULL when it just closed, as a server that refuses may end its answer. */
static enum got
peer_left(struct transport *t, const char *why)
{
	static const char hint[] = ": does it want TLS (wss:// in server.endpoint)?";
	int early = t->phase == PHASE_UPGRADE;
	struct error err;

	if (why == NULL)
		why = early ? "it closed the connection instead of answering"
			    : "it closed the connection without a goodbye";
	if (!early || !upgrade_eof(t->upgrade, &err))
		(void)error_set(&err, "%s%s", why, early && t->stream.ssl == NULL ? hint : "");
	over(t, err.text);
	return GOT_END;
}

static enum got
read_bytes(struct transport *t, void *buf, size_t size, size_t *n)
{
	struct error err;

	switch (stream_read(&t->stream, buf, size, n, &err)) {
	case STREAM_SOME:
		return GOT_SOME;
	case STREAM_WAIT:
		return GOT_NOTHING;
	case STREAM_WAIT_OTHER:
		t->read_wants_write = 1;
		(void)event_add(t->writing, NULL);
		return GOT_NOTHING;
	case STREAM_CLOSED:
		return peer_left(t, NULL);
	case STREAM_FAILED:
	default:
		return peer_left(t, err.text);
	}
}

static int
on_ws_message(void *ctx, const uint8_t *data, size_t len)
{
	struct transport *t = ctx;

	t->cb->message(t->ctx, data, len);
	return t->phase == PHASE_OVER ? -1 : 0;
}

static void
take_ws(struct transport *t)
{
	struct error err;

	switch (ws_input(t->ws, t->in, &err)) {
	case WS_OPEN:
	case WS_CLOSING:
		if (ws_stalled(t->ws)) /* it does not read what we answer: we read no more */
			(void)event_del(t->reading);
		break;
	case WS_CLOSED:
	case WS_BROKEN:
		if (t->phase != PHASE_OVER)
			linger(t, err.text);
		break;
	}
}

static void
take_upgrade(struct transport *t)
{
	struct error err;

	switch (upgrade_answer(t->upgrade, t->in, &t->end, &err)) {
	case UPGRADE_WAIT:
		return;
	case UPGRADE_REFUSED:
		over(t, err.text);
		return;
	case UPGRADE_DONE:
		break;
	}
	t->phase = PHASE_OPEN;
	(void)event_del(t->timer);
	t->cb->opened(t->ctx);
	if (t->phase == PHASE_OPEN && evbuffer_get_length(t->in) > 0)
		take_ws(t);
}

/* What came, to whom it belongs. */
static void
take(struct transport *t)
{
	if (t->phase == PHASE_UPGRADE)
		take_upgrade(t);
	else if (t->phase == PHASE_OPEN)
		take_ws(t);
}

static void
throw_away(struct transport *t, size_t n)
{
	t->thrown_away += n;
	if (t->thrown_away > LINGER_BYTES)
		over(t, "it went on talking");
}

static void
read_some(struct transport *t)
{
	char buf[STREAM_PIECE];
	enum got got;
	size_t n = 0;
	int i;

	for (i = 0; i < READS_PER_TURN && t->phase != PHASE_OVER; i++) {
		got = read_bytes(t, buf, sizeof(buf), &n);
		if (got != GOT_SOME)
			return;
		if (t->phase == PHASE_LINGER) {
			throw_away(t, n);
			continue;
		}
		if (evbuffer_add(t->in, buf, n) == -1) {
			over(t, "no memory for what it sends");
			return;
		}
		if (t->phase == PHASE_OPEN)
			t->cb->heard(t->ctx);
		take(t);
		if (t->phase == PHASE_OPEN && ws_stalled(t->ws))
			return;
	}
	/* TLS may hold bytes that the descriptor does not show any more */
	if (t->phase != PHASE_OVER && t->stream.ssl != NULL && SSL_pending(t->stream.ssl) > 0)
		event_active(t->reading, EV_READ, 0);
}

/* ---- writing */

/* Bytes written, 0 when it has to wait, -1 when the connection is over. */
static ssize_t
write_bytes(struct transport *t, const void *data, size_t len)
{
	struct error err;
	size_t n = 0;

	switch (stream_write(&t->stream, data, len, &n, &err)) {
	case STREAM_SOME:
	case STREAM_WAIT:
		return (ssize_t)n;
	case STREAM_WAIT_OTHER:
		t->write_wants_read = 1;
		return 0;
	case STREAM_CLOSED:
	case STREAM_FAILED:
	default:
		over(t, err.text);
		return -1;
	}
}

/* 1: all is written; 0: it has to wait, or it is over. */
static int
write_some(struct transport *t)
{
	struct evbuffer_iovec v;
	ssize_t n;

	while (
	    t->phase != PHASE_OVER && evbuffer_peek(t->out, -1, NULL, &v, 1) > 0 && v.iov_len > 0) {
		n = write_bytes(t, v.iov_base, v.iov_len);
		if (n == -1)
			return 0;
		if (n == 0) {
			if (t->write_wants_read)
				go_on_reading(t);
			else
				(void)event_add(t->writing, NULL);
			return 0;
		}
		(void)evbuffer_drain(t->out, (size_t)n);
	}
	return t->phase != PHASE_OVER;
}

/* All is written after the last word: say so, once, and wait for the peer's end. */
static void
shut(struct transport *t)
{
	if (t->shut || evbuffer_get_length(t->out) > 0)
		return;
	t->shut = 1;
	if (t->stream.ssl != NULL)
		tls_goodbye(t->stream.ssl);
	(void)shutdown(t->stream.fd, SHUT_WR);
}

static void
after_writing(struct transport *t)
{
	int stalled;

	if (t->phase == PHASE_LINGER)
		shut(t);
	if (t->phase != PHASE_OPEN)
		return;
	stalled = ws_stalled(t->ws);
	ws_output(t->ws);
	if (stalled && !ws_stalled(t->ws)) {
		go_on_reading(t);
		take_ws(t);
	}
	if (evbuffer_get_length(t->out) > FEW_PENDING) {
		t->many_pending = 1;
	} else if (t->many_pending && t->phase == PHASE_OPEN) {
		t->many_pending = 0;
		t->cb->drained(t->ctx);
	}
}

static void
handshake(struct transport *t)
{
	struct error err;

	switch (stream_handshake(&t->stream, &err)) {
	case STREAM_SOME:
		t->phase = PHASE_UPGRADE;
		set_timer(t, t->set->step_ms);
		break;
	case STREAM_WAIT:
		break;
	case STREAM_WAIT_OTHER:
		(void)event_add(t->writing, NULL);
		break;
	case STREAM_CLOSED:
	case STREAM_FAILED:
		over(t, err.text);
		break;
	}
}

static void
go_on(struct transport *t)
{
	int all;

	if (t->phase == PHASE_TLS)
		handshake(t);
	if (t->phase == PHASE_TLS)
		return;
	do { /* what was written makes room for answers to what waits in `in` */
		all = write_some(t);
		after_writing(t);
	} while (all && t->phase != PHASE_OVER && evbuffer_get_length(t->out) > 0);
}

static void
begin_turn(struct transport *t)
{
	t->busy++;
	pace_begin(t->set->pace);
	if (t->stream.ssl != NULL)
		tls_turn(t->stream.ssl);
}

/* What the peer's bytes made us do is done. */
static void
end_turn(struct transport *t)
{
	if (t->phase != PHASE_OVER && pace_end(t->set->pace, &t->pace))
		(void)event_del(t->reading);
	if (--t->busy == 0 && t->freed)
		release(t);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct transport *t = arg;

	(void)fd;
	(void)what;
	begin_turn(t);
	t->write_wants_read = 0;
	if (t->phase != PHASE_TLS)
		read_some(t);
	go_on(t);
	end_turn(t);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct transport *t = arg;

	(void)fd;
	(void)what;
	begin_turn(t);
	go_on(t);
	if (t->read_wants_write) {
		t->read_wants_write = 0;
		read_some(t);
		go_on(t);
	}
	end_turn(t);
}

/* ---- what the owner wants */

int
transport_send(struct transport *t, const void *body, size_t len)
{
	static const uint8_t header[1] = {WIRE_HEADER};

	if (t->phase != PHASE_OPEN || ws_send(t->ws, header, sizeof(header), body, len) == -1)
		return -1;
	if (evbuffer_get_length(t->out) > FEW_PENDING)
		t->many_pending = 1;
	(void)event_add(t->writing, NULL);
	return 0;
}

void
transport_ping(struct transport *t)
{
	if (t->phase == PHASE_OPEN && ws_ping(t->ws) == 0)
		(void)event_add(t->writing, NULL);
}

void
transport_close(struct transport *t, uint16_t code, const char *reason)
{
	if (t->phase != PHASE_OPEN)
		return;
	ws_close(t->ws, code, reason);
	(void)event_add(t->writing, NULL);
	go_on_reading(t);
}

size_t
transport_pending(const struct transport *t)
{
	return evbuffer_get_length(t->out);
}
