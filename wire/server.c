/*
 * server.c: the server's side of OpAMP on one connection (see server.h).
 */
#include "server_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "wire.h"

/* The peer gets so long for the step it is in; 0: for ever. */
void
server_allow(struct server_connection *c, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	(void)event_del(c->late);
	if (ms > 0)
		(void)event_add(c->late, &tv);
}

static void
count(struct server_connection *c, size_t bytes)
{
	struct server_budget *b = c->rules->budget;

	if (b == NULL || bytes == c->counted)
		return;
	if (c->counted == 0)
		LIST_INSERT_HEAD(&b->holders, c, holder);
	else if (bytes == 0)
		LIST_REMOVE(c, holder);
	b->used += bytes - c->counted;
	c->counted = bytes;
}

static void
release(struct server_connection *c)
{
	count(c, 0);
	pace_forget(&c->pace);
	ws_free(c->ws);
	server_chunks_free(c->chunks);
	event_free(c->late);
	bufferevent_free(c->bev);
	free(c);
}

void
server_end(struct server_connection *c, const char *why)
{
	if (c->state == STATE_OVER)
		return;
	c->state = STATE_OVER;
	count(c, 0);
	pace_forget(&c->pace);
	(void)bufferevent_disable(c->bev, EV_READ | EV_WRITE);
	(void)event_del(c->late);
	c->cb->closed(c->ctx, why);
}

/* What is queued are our last words: the connection ends when the peer has read them. */
void
server_finish(struct server_connection *c, const char *why)
{
	c->state = STATE_LAST;
	c->why = why;
	server_allow(c, c->rules->close_ms);
}

void
server_fault(struct server_connection *c, const char *why)
{
	if (c->cb->fault != NULL)
		c->cb->fault(c->ctx, why);
}

/* ---- the budget */

static struct server_connection *
largest(const struct server_budget *b)
{
	struct server_connection *c, *most = LIST_FIRST(&b->holders);

	LIST_FOREACH (c, &b->holders, holder)
		if (c->counted > most->counted)
			most = c;
	return most;
}

/* It holds more than anybody else: what it holds is thrown away, and it may come back later. */
static void
give_up(struct server_connection *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);

	count(c, 0);
	c->rules->budget->refused++;
	server_fault(c, "refused: the messages that are not whole need too much memory");
	if (c->state == STATE_WEBSOCKET) {
		ws_refuse(c->ws, 1013, "too much memory is needed now: try again later");
		server_finish(c, "it needed too much memory");
	} else if (c->state == STATE_BODY || c->state == STATE_ASKED) {
		if (c->state == STATE_BODY) { /* else the owner looks at it */
			server_chunks_free(c->chunks);
			c->chunks = NULL;
		}
		server_refuse_now(c, 503, "Retry-After: 30\r\n");
	} else {
		c->why = "it did not read our answers";
		c->state = STATE_LAST;
		server_allow(c, 1);
	}
	if (c->busy)
		return; /* who calls us sees to the rest */
	(void)evbuffer_drain(in, evbuffer_get_length(in));
	c->paused =
	    0; /* what still comes is thrown away: unread, it would take our answer with it */
	(void)bufferevent_enable(c->bev, EV_READ);
}

static void
account(struct server_connection *c)
{
	struct server_budget *b = c->rules->budget;
	size_t bytes = c->kept + evbuffer_get_length(bufferevent_get_output(c->bev));

	if (b == NULL || c->state == STATE_OVER || c->state == STATE_LAST)
		return;
	if (c->ws != NULL)
		bytes += ws_memory(c->ws);
	else
		bytes += evbuffer_get_length(bufferevent_get_input(c->bev)) +
			 server_chunks_memory(c->chunks);
	count(c, bytes > SERVER_FREE ? bytes : 0);
	while (b->used > b->most)
		give_up(largest(b));
}

void
server_keeps(struct server_connection *c, size_t bytes)
{
	c->kept = bytes;
	account(c);
}

/* ---- messages */

static int
on_message(void *ctx, const uint8_t *data, size_t len)
{
	struct server_connection *c = ctx;
	const uint8_t *body;
	struct error err;
	size_t body_len;

	c->spoke = 1;
	if (wire_frame(data, len, &body, &body_len, &err) == -1)
		return c->cb->malformed(c->ctx, err.text);
	return c->cb->message(c->ctx, body, body_len);
}

static void
on_pong(void *ctx)
{
	struct server_connection *c = ctx;

	if (c->cb->pong != NULL)
		c->cb->pong(c->ctx);
}

const struct ws_callbacks server_ws_callbacks = {on_message, on_pong};

static int
take_frames(struct server_connection *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	size_t len = evbuffer_get_length(in);
	enum ws_state state;
	struct error err = {""};

	if (len == 0 || c->held)
		return 0;
	state = ws_input(c->ws, in, &err);
	if (c->state == STATE_OVER)
		return 0;
	if (state == WS_OPEN || state == WS_CLOSING)
		return evbuffer_get_length(in) < len;
	if (state == WS_BROKEN)
		server_fault(c, err.text);
	server_finish(c, state == WS_BROKEN ? "it broke the protocol" : "it said goodbye");
	return 1;
}

int
server_answer(
    struct server_connection *c, const void *head, size_t head_len, const void *body, size_t len)
{
	static const uint8_t header = WIRE_HEADER;
	struct evbuffer *out = bufferevent_get_output(c->bev);
	struct evbuffer *whole;
	unsigned char *data;
	char *packed = NULL;
	size_t packed_len = 0;
	int r = -1;

	if (c->state == STATE_WEBSOCKET) {
		whole = evbuffer_new();
		if (whole == NULL)
			return -1;
		if (evbuffer_add(whole, &header, sizeof(header)) == 0 &&
		    evbuffer_add(whole, head, head_len) == 0 &&
		    (data = evbuffer_pullup(whole, -1)) != NULL)
			r = ws_send(c->ws, data, sizeof(header) + head_len, body, len);
		evbuffer_free(whole);
		account(c);
		return r;
	}
	if (c->state != STATE_ASKED)
		return -1;
	whole = evbuffer_new();
	if (whole == NULL || evbuffer_add(whole, head, head_len) == -1 ||
	    evbuffer_add(whole, body, len) == -1)
		goto out;
	len = evbuffer_get_length(whole);
	data = evbuffer_pullup(whole, -1);
	if (c->gzip_ok && c->rules->gzip != NULL && len > 512)
		(void)c->rules->gzip(data, len, &packed, &packed_len);
	if (evbuffer_add_printf(out,
		"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n"
		"Content-Length: %zu\r\n%s%s\r\n",
		packed != NULL ? packed_len : len,
		packed != NULL ? "Content-Encoding: gzip\r\n" : "",
		c->keep ? "" : "Connection: close\r\n") == -1)
		goto out;
	r = packed != NULL ? evbuffer_add(out, packed, packed_len)
			   : evbuffer_add_buffer(out, whole);
	if (c->keep) {
		c->state = STATE_HEAD;
		server_allow(c, c->rules->idle_ms);
	} else {
		server_finish(c, "it wanted no more requests");
		server_allow(c, c->rules->body_ms); /* it may be long */
	}
	if (!c->busy && evbuffer_get_length(bufferevent_get_input(c->bev)) > 0)
		event_active(c->late, EV_READ, 0); /* the next request is here already */
out:
	free(packed);
	if (whole != NULL)
		evbuffer_free(whole);
	account(c);
	return r;
}

/* ---- the loop's calls */

/* 1: there may be more to do. */
static int
step(struct server_connection *c)
{
	switch (c->state) {
	case STATE_HEAD:
		return server_take_head(c);
	case STATE_BODY:
		return server_take_body(c);
	case STATE_WEBSOCKET:
		return take_frames(c);
	case STATE_LAST:
		(void)evbuffer_drain(bufferevent_get_input(c->bev),
		    evbuffer_get_length(bufferevent_get_input(c->bev)));
		return 0;
	default:
		return 0;
	}
}

/* Reads on, or not: by what the owner wants and by what the peer takes. */
static void
set_reading(struct server_connection *c)
{
	size_t waits = evbuffer_get_length(bufferevent_get_output(c->bev));
	/* one that is held mostly has nothing more to say: it is let be until it has */
	int pause = (c->held && evbuffer_get_length(bufferevent_get_input(c->bev)) > 0) ||
		    c->state == STATE_ASKED || waits > c->rules->output_high ||
		    (c->ws != NULL && ws_stalled(c->ws)) || c->pace.rests;

	if (c->state == STATE_OVER || c->state == STATE_LAST)
		pause = c->state == STATE_OVER;
	if (pause == (int)c->paused)
		return;
	c->paused = pause != 0;
	if (pause)
		(void)bufferevent_disable(c->bev, EV_READ);
	else
		(void)bufferevent_enable(c->bev, EV_READ);
}

/* A message that begins has to be whole in time: nobody keeps our memory for ever. */
static void
limit_message(struct server_connection *c)
{
	int midway = ws_midway(c->ws);

	if (ws_state(c->ws) != WS_OPEN || (!midway && !c->spoke) ||
	    c->limit == (midway ? LIMIT_MESSAGE : LIMIT_NONE))
		return;
	c->limit = midway ? LIMIT_MESSAGE : LIMIT_NONE;
	server_allow(c, midway ? c->rules->body_ms : 0);
}

static void
process(struct server_connection *c)
{
	struct pace *pace = c->rules->pace;
	int r = 1;

	c->busy = 1;
	pace_begin(pace);
	while (r == 1 && !c->pace.rests)
		r = step(c);
	if (c->state != STATE_OVER && c->state != STATE_LAST && !c->freed)
		(void)pace_end(pace, &c->pace);
	if (r == -1)
		server_end(c, "it was dropped");
	c->busy = 0;
	if (c->freed) {
		release(c);
		return;
	}
	if (c->state == STATE_WEBSOCKET) {
		if (evbuffer_get_length(bufferevent_get_input(c->bev)) == 0)
			ws_rest(c->ws);
		limit_message(c);
	}
	account(c);
	set_reading(c);
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	(void)bev;
	process(arg);
}

static void
on_rested(void *ctx)
{
	process(ctx);
}

/* Everything is written. */
static void
on_written(struct bufferevent *bev, void *arg)
{
	struct server_connection *c = arg;

	(void)bev;
	if (c->ws != NULL)
		ws_output(c->ws);
	if (c->state == STATE_LAST && !c->shut) {
		/* close at once would throw our words away if something of the peer's is unread */
		c->shut = 1;
		if (bufferevent_getfd(c->bev) >= 0)
			(void)shutdown(bufferevent_getfd(c->bev), SHUT_WR);
	}
	if (c->cb->drained != NULL && (c->state == STATE_WEBSOCKET || c->state == STATE_HEAD)) {
		c->busy = 1;
		c->cb->drained(c->ctx);
		c->busy = 0;
	}
	if (c->freed)
		release(c);
	else
		process(c);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct server_connection *c = arg;

	(void)bev;
	if (what & BEV_EVENT_CONNECTED) /* TLS is up */
		return;
	c->busy = 1;
	server_end(c, c->why != NULL           ? c->why
		      : what & BEV_EVENT_EOF   ? "it closed the connection"
		      : what & BEV_EVENT_ERROR ? "the connection broke"
					       : "it sent nothing in time");
	c->busy = 0;
	if (c->freed)
		release(c);
}

static void
on_late(evutil_socket_t fd, short what, void *arg)
{
	struct server_connection *c = arg;

	(void)fd;
	if (what & EV_READ)
		process(c);
	else
		on_event(c->bev, 0, c);
}

struct server_connection *
server_new(struct bufferevent *bev, const struct server_rules *rules,
    const struct server_callbacks *cb, void *ctx)
{
	struct server_connection *c = calloc(1, sizeof(*c));

	if (c != NULL)
		c->late = event_new(bufferevent_get_base(bev), -1, 0, on_late, c);
	if (c == NULL || c->late == NULL) {
		free(c);
		bufferevent_free(bev);
		return NULL;
	}
	c->bev = bev;
	c->rules = rules;
	c->cb = cb;
	c->ctx = ctx;
	c->pace.wake = on_rested;
	c->pace.ctx = c;
	bufferevent_setcb(bev, on_read, on_written, on_event, c);
	/* a message is taken as it comes: the frame's reader keeps it, not this buffer */
	bufferevent_setwatermark(bev, EV_READ, 0, SERVER_INPUT_HIGH);
	server_allow(c, rules->head_ms);
	(void)bufferevent_enable(bev, EV_READ | EV_WRITE);
	return c;
}

void
server_free(struct server_connection *c)
{
	if (c == NULL)
		return;
	c->state = STATE_OVER;
	c->freed = 1;
	if (!c->busy)
		release(c);
}

void
server_refuse(struct server_connection *c, int status, const char *headers)
{
	if (c->state == STATE_ASKED)
		server_refuse_now(c, status, headers);
}

void
server_hold(struct server_connection *c)
{
	c->held = 1;
	if (c->ws != NULL) /* the next one may be in its hands already */
		ws_hold(c->ws, 1);
}

void
server_go_on(struct server_connection *c)
{
	if (!c->held)
		return;
	c->held = 0;
	if (c->ws != NULL)
		ws_hold(c->ws, 0);
	if (!c->busy)
		event_active(c->late, EV_READ, 0);
}

void
server_ping(struct server_connection *c)
{
	if (c->state == STATE_WEBSOCKET)
		(void)ws_ping(c->ws);
}

void
server_leave(struct server_connection *c, uint16_t code, const char *reason)
{
	if (c->state == STATE_WEBSOCKET) {
		ws_close(c->ws, code, reason);
		server_allow(c, c->rules->close_ms);
		c->why = "we left";
	} else if (c->state == STATE_ASKED)
		c->keep = 0;
	else if (c->state != STATE_LAST && c->state != STATE_OVER) {
		c->why = "we left";
		server_allow(c, 1);
	}
}

int
server_is_websocket(const struct server_connection *c)
{
	return c->state == STATE_WEBSOCKET;
}

size_t
server_pending(const struct server_connection *c)
{
	return evbuffer_get_length(bufferevent_get_output(c->bev));
}

struct bufferevent *
server_bufferevent(struct server_connection *c)
{
	return c->bev;
}
