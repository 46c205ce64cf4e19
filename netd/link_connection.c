/*
 * link_connection.c: HTTP and WebSocket on one connection of the link (see link_connection.h).
 * link.  Everything is bounded: before the secret was shown a head of some kilobytes and two
 * seconds, after it one message, and what the peer does not read of our answers stops our reading.
 */
#include "link_connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/http.h"
#include "privsep/log.h"
#include "wire/wire.h"

#define LINK_PATH      "/v1/opamp"
#define READ_SIZE      (64 * KIB)
#define READS_PER_TURN 4
#define DRAIN_READS    64
#define OUTPUT_HIGH    (256 * KIB) /* answers not read: no more is read */
#define BODY_MS        30000
#define IDLE_MS        (2 * LINK_SILENCE_MS)
#define CLOSE_MS       1000

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_deadline(evutil_socket_t fd, short what, void *arg);

static void
allow(struct link_connection *c, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	if (ms == 0)
		(void)event_del(c->deadline);
	else
		(void)event_add(c->deadline, &tv);
}

static void
on_wake(void *ctx)
{
	struct link_connection *c = ctx;

	if (!c->paused)
		(void)event_add(c->reading, NULL);
}

static void
release(struct link_connection *c)
{
	pace_forget(&c->pace);
	ws_free(c->ws);
	if (c->reading != NULL)
		event_free(c->reading);
	if (c->writing != NULL)
		event_free(c->writing);
	if (c->deadline != NULL)
		event_free(c->deadline);
	if (c->in != NULL)
		evbuffer_free(c->in);
	if (c->out != NULL)
		evbuffer_free(c->out);
	free(c);
}

struct link_connection *
link_connection_new(struct link_server *s, int fd, uint32_t uid)
{
	struct link_connection *c = calloc(1, sizeof(*c));
	struct event_base *base = s->child->base;

	if (c == NULL)
		return NULL;
	c->server = s;
	c->fd = fd;
	c->uid = uid;
	c->pace = (struct pace_source){.wake = on_wake, .ctx = c};
	c->in = evbuffer_new();
	c->out = evbuffer_new();
	c->reading = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writing = event_new(base, fd, EV_WRITE, on_writable, c);
	c->deadline = event_new(base, -1, 0, on_deadline, c);
	if (c->in == NULL || c->out == NULL || c->reading == NULL || c->writing == NULL ||
	    c->deadline == NULL || event_add(c->reading, NULL) == -1) {
		release(c); /* but fd, which stays the caller's */
		return NULL;
	}
	allow(c, LIMIT_LINK_PENDING_MS);
	return c;
}

/* Its conversation goes on elsewhere, or is over. */
static void
leave_session(struct link_connection *c)
{
	if (c->session != NULL && c->ws != NULL)
		link_session_disconnected(c->session);
	c->session = NULL;
}

void
link_connection_free(struct link_connection *c)
{
	LIST_REMOVE(c, entry);
	if (c->start == 0)
		c->server->pending--;
	leave_session(c);
	close(c->fd);
	release(c);
}

/* ---- writing */

/* Writes what the peer takes.  1: all of it; 0: the rest waits; -1: the connection is gone. */
static int
write_out(struct link_connection *c)
{
	for (;;) {
		if (c->ws != NULL)
			ws_output(c->ws);
		if (evbuffer_get_length(c->out) == 0)
			return 1;
		if (evbuffer_write(c->out, c->fd) >= 0 || errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			return -1;
		return event_add(c->writing, NULL);
	}
}

/* Writes; stops reading from a peer that does not read.  -1: the connection is gone. */
static int
flush(struct link_connection *c)
{
	int r = write_out(c);

	if (r == -1)
		return -1;
	if (r == 1 && c->paused) {
		c->paused = 0;
		if (!c->pace.rests && event_add(c->reading, NULL) == -1)
			return -1;
	} else if (r == 0 && !c->paused &&
		   (evbuffer_get_length(c->out) > OUTPUT_HIGH ||
		       (c->ws != NULL && ws_stalled(c->ws)))) {
		c->paused = 1;
		(void)event_del(c->reading);
	}
	if (r == 1 && c->state == CONNECTION_LAST && !c->shut) {
		/* close at once would throw the answer away if something of the peer's is unread */
		c->shut = 1;
		(void)shutdown(c->fd, SHUT_WR);
	}
	return 0;
}

/* What is in `out` are its last words. */
static int
finish(struct link_connection *c)
{
	leave_session(c);
	c->state = CONNECTION_LAST;
	allow(c, CLOSE_MS);
	return 1;
}

/* An answer that is an error, and the end of the connection. */
static int
refuse(struct link_connection *c, int status, const char *headers)
{
	(void)evbuffer_add_printf(c->out,
	    "HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n%s\r\n", status,
	    http_reason(status), headers);
	log_debug("a request to the link was answered by %d", status);
	return finish(c);
}

/* ---- messages */

static int
answer_by_http(struct link_connection *c, const char *answer, size_t len)
{
	if (evbuffer_add_printf(c->out,
		"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n"
		"Content-Length: %zu\r\n\r\n",
		len) == -1 ||
	    evbuffer_add(c->out, answer, len) == -1)
		return -1;
	c->state = CONNECTION_HEAD;
	allow(c, IDLE_MS);
	return 0;
}

static int
take_body(struct link_connection *c)
{
	unsigned char *data;
	struct error err;
	size_t len;
	char *answer;
	int r;

	if (evbuffer_get_length(c->in) < c->body)
		return 0;
	data = evbuffer_pullup(c->in, (ev_ssize_t)c->body);
	if (c->session == NULL || (data == NULL && c->body > 0) ||
	    link_session_message(c->session, data, c->body, &answer, &len, &err) == -1)
		return -1;
	(void)evbuffer_drain(c->in, c->body);
	r = answer_by_http(c, answer, len);
	free(answer);
	return r == -1 ? -1 : 1;
}

/* One binary WebSocket message. */
static int
on_message(void *ctx, const uint8_t *data, size_t len)
{
	static const uint8_t header = WIRE_HEADER;
	struct link_connection *c = ctx;
	const uint8_t *body;
	struct error err;
	size_t body_len, answer_len;
	char *answer;
	int r;

	if (c->session == NULL)
		return -1;
	if (wire_frame(data, len, &body, &body_len, &err) == 0)
		r = link_session_message(c->session, body, body_len, &answer, &answer_len, &err);
	else
		r = link_session_malformed(c->session, err.text, &answer, &answer_len, &err);
	if (r == -1) {
		log_error("%s", err.text);
		return -1;
	}
	r = ws_send(c->ws, &header, sizeof(header), answer, answer_len);
	free(answer);
	return r == -1 && ws_state(c->ws) == WS_OPEN ? -1 : 0; /* we may be leaving */
}

static int
take_frames(struct link_connection *c)
{
	size_t len = evbuffer_get_length(c->in);
	enum ws_state state;
	struct error err = {""};

	if (len == 0)
		return 0;
	state = ws_input(c->ws, c->in, &err);
	if (state == WS_OPEN || state == WS_CLOSING) {
		if (flush(c) == -1)
			return -1;
		/* what could not be taken before something was written is taken now */
		return evbuffer_get_length(c->in) < len && !c->paused;
	}
	if (state == WS_BROKEN)
		link_server_refused(c->server, err.text);
	return finish(c);
}

/* ---- requests */

/* The media type alone, without its parameters. */
static int
is_protobuf(const char *type)
{
	static const char want[] = "application/x-protobuf";
	size_t n = type == NULL ? 0 : strcspn(type, "; \t");

	return n == sizeof(want) - 1 && strncasecmp(type, want, n) == 0;
}

static int
begin_post(struct link_connection *c, const struct http_head *h)
{
	if (http_get(h, "Content-Encoding") != NULL)
		return refuse(c, 415, "");
	if (h->chunked || h->length < 0)
		return refuse(c, 411, "");
	if ((uint64_t)h->length > LIMIT_LINK_MESSAGE)
		return refuse(c, 413, ""); /* before a byte of it is kept */
	if (http_has_token(h, "Expect", "100-continue"))
		(void)evbuffer_add_printf(c->out, "HTTP/1.1 100 Continue\r\n\r\n");
	c->body = (size_t)h->length;
	c->state = CONNECTION_BODY;
	link_server_newest(c);
	allow(c, BODY_MS);
	return 1;
}

static const struct ws_callbacks callbacks = {on_message, NULL};

static int
begin_websocket(struct link_connection *c, const struct http_head *h)
{
	const char *version = http_get(h, "Sec-WebSocket-Version"),
		   *key = http_get(h, "Sec-WebSocket-Key");
	char accept[WSKEY_ACCEPT_SIZE];

	if (!http_has_token(h, "Upgrade", "websocket") ||
	    !http_has_token(h, "Connection", "upgrade"))
		return refuse(c, 426, "Upgrade: websocket\r\n");
	if (version == NULL || strcmp(version, "13") != 0)
		return refuse(c, 426, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
	if (h->length > 0 || h->chunked || key == NULL || wskey_accept(key, accept) == -1)
		return refuse(c, 400, "");
	c->ws = ws_new(WS_SERVER, LIMIT_LINK_MESSAGE, &callbacks, c, c->out);
	if (c->ws == NULL || evbuffer_add_printf(c->out,
				 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
				 "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
				 accept) == -1)
		return -1;
	c->state = CONNECTION_WEBSOCKET;
	allow(c, 0);
	link_server_newest(c);
	link_session_connected(c->session);
	return 1;
}

/* FR-07: by its content type a message by plain HTTP, or else a WebSocket to be, or an error. */
static int
begin(struct link_connection *c, const struct http_head *h)
{
	int get = strcmp(h->method, "GET") == 0, post = strcmp(h->method, "POST") == 0;

	if (is_protobuf(http_get(h, "Content-Type")))
		return post ? begin_post(c, h) : refuse(c, 405, "Allow: POST\r\n");
	if (post)
		return refuse(c, 400, "");
	return get ? begin_websocket(c, h) : refuse(c, 405, "Allow: GET, POST\r\n");
}

/* Does it show the secret of a living start?  On a connection kept open: of the same start. */
static int
verify(struct link_connection *c, const struct http_head *h)
{
	const char *secret = http_get(h, LINK_SECRET_HEADER);
	const struct link_start *start;

	if (secret == NULL)
		secret = "";
	start = link_secrets_find(c->server->secrets, secret, strlen(secret), c->uid);
	if (start == NULL || (c->start != 0 && c->start != start->start))
		return -1;
	if (c->start == 0)
		link_server_verified(c, start);
	return 0;
}

static int
take_head(struct link_connection *c)
{
	struct http_head h;
	struct error err;
	size_t len = evbuffer_get_length(c->in), used = 0;
	const char *data;
	int r;

	if (len > LIMIT_HTTP_HEAD)
		len = LIMIT_HTTP_HEAD;
	if (len == 0)
		return 0;
	data = (const char *)evbuffer_pullup(c->in, (ev_ssize_t)len);
	if (data == NULL)
		return -1;
	r = http_head(&h, HTTP_REQUEST, data, len, &used, &err);
	if (r == 0)
		return 0;
	if (r == -1)
		return refuse(c, 400, "");
	(void)evbuffer_drain(c->in, used);
	if (strcmp(h.target, LINK_PATH) != 0)
		return refuse(c, 404, "");
	if (verify(c, &h) == -1) {
		link_server_refused(c->server, "they did not show the link's secret");
		return refuse(c, 401, "");
	}
	return c->session == NULL ? -1 : begin(c, &h);
}

/* ---- reading */

/* Acts on all that is there.  -1: drop the connection. */
static int
process(struct link_connection *c)
{
	int r = 1;

	while (r == 1)
		switch (c->state) {
		case CONNECTION_HEAD:
			r = take_head(c);
			break;
		case CONNECTION_BODY:
			r = take_body(c);
			break;
		case CONNECTION_WEBSOCKET:
			r = take_frames(c);
			break;
		case CONNECTION_LAST:
			(void)evbuffer_drain(c->in, evbuffer_get_length(c->in));
			r = 0;
			break;
		}
	return r == -1 ? -1 : flush(c);
}

/* Reads up to so many times.  -1: drop the connection. */
static int
pump(struct link_connection *c, int reads)
{
	int n;

	while (reads-- > 0 && !c->paused) {
		n = evbuffer_read(c->in, c->fd, READ_SIZE);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 0;
		if (n <= 0)
			return -1;
		if (process(c) == -1)
			return -1;
	}
	return 0;
}

static void
drop(struct link_connection *c)
{
	struct link_server *s = c->server;

	link_connection_free(c);
	link_server_gone(s);
}

/* What its bytes made us do is done. */
static void
end_turn(struct link_connection *c)
{
	if (pace_end(c->server->pace, &c->pace))
		(void)event_del(c->reading);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct link_connection *c = arg;

	(void)fd;
	(void)what;
	pace_begin(c->server->pace);
	if (pump(c, READS_PER_TURN) == -1)
		drop(c);
	else
		end_turn(c);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct link_connection *c = arg;

	(void)fd;
	(void)what;
	pace_begin(c->server->pace);
	if (flush(c) == -1 || (!c->paused && process(c) == -1))
		drop(c);
	else
		end_turn(c);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct link_connection *c = arg;

	(void)fd;
	(void)what;
	if (c->start == 0 && c->state == CONNECTION_HEAD)
		log_debug("a connection to the link sent no request in time");
	drop(c);
}

int
link_connection_drain(struct link_connection *c)
{
	return pump(c, DRAIN_READS);
}

void
link_connection_leave(struct link_connection *c)
{
	if (c->state != CONNECTION_WEBSOCKET) {
		link_connection_free(c);
		return;
	}
	ws_close(c->ws, 1001, "opampd is leaving");
	allow(c, CLOSE_MS);
	if (flush(c) == -1)
		link_connection_free(c);
}
