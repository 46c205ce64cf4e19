/*
 * web.c: HTTP/1.1 for the page and the API (see web.h).  opamphub-store.
 * Bounded: connections, time for head and body, size of both, answers that are not read.
 */
#include "web.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "privsep/child.h"
#include "json_read.h"
#include "privsep/log.h"
#include "server_tls.h"
#include "web_inside.h"
#include "wire/wire.h"

#define HEAD_S       10 /* for each step as a whole, however little by little it comes */
#define BODY_S       60
#define ANSWER_S     120
#define IDLE_S       60
#define LINGER_S     2
#define FULL_MS      200 /* when all places are taken: who has been in its step for so long may go */
#define SMALL_BODY   (64 * KIB)
#define OUTPUT_HIGH  (1 * MIB)
#define STREAM_MOST  (5 * MIB) /* a watcher that does not read is dropped */
#define ACCEPTS_TURN 16

/* What every answer carries: the page loads from here alone, runs nothing else, is framed by nobody. */
#define SAFETY                                                                                     \
	"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "       \
	"connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; "          \
	"frame-ancestors 'none'; require-trusted-types-for 'script'\r\n"                           \
	"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"                      \
	"Cross-Origin-Opener-Policy: same-origin\r\nCross-Origin-Resource-Policy: same-origin\r\n" \
	"Cache-Control: no-store\r\n"

#define NO_ROOM "{\"error\":{\"what\":\"too many long answers are not read: try again later\"}}"

struct web_connection {
	LIST_ENTRY(web_connection) entry;
	struct web *web;
	struct bufferevent *bev;
	struct sockaddr_storage from;
	struct http_head head;
	size_t body;
	uint64_t since_ms;       /* it is in this step */
	uint64_t until_ms;       /* the step has to be done by then; 0: no limit */
	char author[WEB_AUTHOR]; /* of the request that is being read */
	unsigned reading_body : 1, keep : 1, last : 1, streaming : 1, answered : 1, shut : 1,
	    doomed : 1, writing : 1;
};

static void
body_ends(struct web_connection *c)
{
	if (c->reading_body)
		c->web->bodies -= c->body;
	c->reading_body = 0;
}

static void
drop(struct web_connection *c)
{
	struct web *w = c->web;

	body_ends(c);
	LIST_REMOVE(c, entry);
	w->connections--;
	w->watchers -= c->streaming;
	bufferevent_free(c->bev);
	free(c);
	if (w->accepting != NULL)
		(void)event_add(w->accepting, NULL);
}

/* So long for the step that it is in; 0: for ever. */
static void
allow(struct web_connection *c, unsigned seconds)
{
	c->since_ms = now_ms();
	c->until_ms = seconds == 0 ? 0 : c->since_ms + 1000ull * seconds;
}

static size_t
unread(const struct web_connection *c)
{
	return evbuffer_get_length(bufferevent_get_output(c->bev));
}

static size_t
all_unread(const struct web *w)
{
	const struct web_connection *c;
	size_t all = 0;

	LIST_FOREACH (c, &w->all, entry)
		all += unread(c);
	return all;
}

/* May so many bytes more wait for clients that do not read? */
static int
has_room(const struct web *w, size_t len)
{
	size_t all = len <= SMALL_BODY ? 0 : all_unread(w);

	return all == 0 || all + len <= LIMIT_HUB_WEB_ANSWERS;
}

int
web_may_be_long(struct web_request *q)
{
	if (all_unread(q->web) <= LIMIT_HUB_WEB_ANSWERS / 2)
		return 0;
	web_reply_headers(
	    q, 503, "Retry-After: 10\r\n", "application/json", NO_ROOM, sizeof(NO_ROOM) - 1);
	return -1;
}

/* ---- answers */

void
web_reply_headers(struct web_request *q, int status, const char *headers, const char *type,
    const void *data, size_t len)
{
	struct web_connection *c = q->connection;
	struct evbuffer *out = bufferevent_get_output(c->bev);

	if (!has_room(q->web, len)) {
		status = 503;
		headers = "Retry-After: 10\r\n";
		type = "application/json";
		data = NO_ROOM;
		len = sizeof(NO_ROOM) - 1;
	}
	c->answered = c->writing = 1;
	allow(c, ANSWER_S);
	if (status >= 400)
		q->web->refused++;
	(void)evbuffer_add_printf(
	    out, "HTTP/1.1 %d %s\r\n" SAFETY "%s", status, http_reason(status), headers);
	if (type != NULL)
		(void)evbuffer_add_printf(out, "Content-Type: %s\r\n", type);
	(void)evbuffer_add_printf(
	    out, "Content-Length: %zu\r\n%s\r\n", len, c->keep ? "" : "Connection: close\r\n");
	if (evbuffer_add(out, data, len) == -1)
		c->keep = 0; /* no memory: cut off rather than mixed up */
	if (!c->keep)
		c->last = 1;
}

void
web_reply(struct web_request *q, int status, const char *type, const void *data, size_t len)
{
	web_reply_headers(q, status, "", type, data, len);
}

void
web_json(struct web_request *q, int status, json_t *body)
{
	char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);

	json_decref(body);
	if (text == NULL)
		web_reply(q, 500, "application/json", "{\"error\":{\"what\":\"out of memory\"}}",
		    sizeof("{\"error\":{\"what\":\"out of memory\"}}") - 1);
	else
		web_reply(q, status, "application/json", text, strlen(text));
	free(text);
}

void
web_fault(struct web_request *q, int status, const char *fmt, ...)
{
	char text[1024], safe[4096];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)log_escape(safe, sizeof(safe), text, strlen(text));
	if (status >= 500)
		log_error("answering %s: %s", q->path, text);
	web_json(q, status, json_pack("{s:{s:s}}", "error", "what", safe));
}

/* ---- streams */

int
web_begin_stream(struct web_request *q)
{
	struct web_connection *c = q->connection;

	if (q->web->watchers >= WEB_WATCHERS)
		return -1;
	q->web->watchers++;
	c->streaming = 1;
	c->answered = 1;
	allow(c, 0);
	return evbuffer_add_printf(bufferevent_get_output(c->bev),
		   "HTTP/1.1 200 OK\r\n" SAFETY
		   "Content-Type: text/event-stream\r\nConnection: close\r\n\r\n") == -1
		   ? -1
		   : 0;
}

void
web_stream_send(struct web_connection *c, const void *data, size_t len)
{
	/* dropped by the tick: whoever calls us is not done with it */
	if (unread(c) + len > STREAM_MOST)
		c->doomed = 1;
	if (!c->doomed)
		(void)bufferevent_write(c->bev, data, len);
}

struct web_connection *
web_streams(struct web *w, struct web_connection *after)
{
	struct web_connection *c = after == NULL ? LIST_FIRST(&w->all) : LIST_NEXT(after, entry);

	while (c != NULL && !c->streaming)
		c = LIST_NEXT(c, entry);
	return c;
}

/* ---- requests */

/* The request that the head begins; -1: it was answered by 400. */
static int
begin_request(struct web_request *q, struct web_connection *c)
{
	const struct http_head *h = &c->head;

	*q = (struct web_request){.web = c->web, .connection = c, .secure = c->web->tls != NULL};
	q->method = strcmp(h->method, "GET") == 0      ? METHOD_GET
		    : strcmp(h->method, "POST") == 0   ? METHOD_POST
		    : strcmp(h->method, "DELETE") == 0 ? METHOD_DELETE
						       : METHOD_OTHER;
	c->answered = 0;
	if (web_target(q, h->target) == 0)
		return 0;
	web_fault(q, 400, "the path or query is not as it must be");
	return -1;
}

/* Before a byte of a body is kept: is it to be read?  -1: it was answered, and nothing more is read. */
static int
admit(struct web_connection *c)
{
	struct web_request q;

	c->web->requests++;
	if (begin_request(&q, c) == -1)
		return -1;
	if (web_allow(&q, &c->head, (const struct sockaddr *)&c->from) != 0)
		return -1;
	memcpy(c->author, q.author, sizeof(c->author));
	return 0;
}

static void
act(struct web_connection *c, const char *body)
{
	const char *last = http_get(&c->head, "Last-Event-ID");
	struct web_request q;

	if (begin_request(&q, c) == -1)
		return;
	q.body = body;
	q.body_len = c->body;
	memcpy(q.author, c->author, sizeof(q.author));
	if (last != NULL && api_number(last, &q.last_event) == -1)
		q.last_event = 0;
	if (!web_static(&q))
		api_request(&q);
	if (!c->answered)
		web_fault(&q, 500, "the request was not answered");
}

/* A head that cannot be used: answered, and the connection ends. */
static void
refuse(struct web_connection *c, int status, const char *what)
{
	struct web_request q = {.web = c->web, .connection = c};

	c->keep = 0;
	web_fault(&q, status, "%s", what);
}

/* The head is read: what of the body may come. */
static void
begin_body(struct web_connection *c)
{
	const struct http_head *h = &c->head;
	size_t body = h->length < 0 ? 0 : (size_t)h->length;

	if (h->chunked)
		refuse(c, 411, "a body needs Content-Length");
	else if (h->length > (int64_t)LIMIT_HUB_CONFIG)
		refuse(c, 413, "the body is longer than the hub takes");
	else if (body > SMALL_BODY && c->web->bodies + body > LIMIT_HUB_WEB_BODIES)
		refuse(c, 503, "too many long requests are under way: try again later");
	else {
		c->keep = !http_has_token(h, "Connection", "close");
		if (body > 0) /* unread it cannot be: what follows would be taken for a request */
			c->keep = 0;
		if (admit(c) == -1)
			return;
		c->keep = !http_has_token(h, "Connection", "close");
		c->body = body;
		c->reading_body = 1;
		c->web->bodies += body;
		bufferevent_setwatermark(c->bev, EV_READ, c->body, c->body + LIMIT_HTTP_HEAD);
		allow(c, BODY_S);
		if (http_has_token(h, "Expect", "100-continue"))
			(void)evbuffer_add_printf(
			    bufferevent_get_output(c->bev), "HTTP/1.1 100 Continue\r\n\r\n");
	}
}

static int
take_head(struct web_connection *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct http_head *h = &c->head;
	struct error err;
	size_t len = evbuffer_get_length(in), used;
	const char *data;
	int r;

	if (len > LIMIT_HTTP_HEAD)
		len = LIMIT_HTTP_HEAD;
	if (len == 0 || (data = (const char *)evbuffer_pullup(in, (ev_ssize_t)len)) == NULL)
		return 0;
	r = http_head(h, HTTP_REQUEST, data, len, &used, &err);
	if (r == 0)
		return 0;
	c->keep = 1;
	if (r == -1) {
		refuse(c, 400, err.text);
		return 1;
	}
	(void)evbuffer_drain(in, used);
	begin_body(c);
	return 1;
}

static int
take_body(struct web_connection *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	const char *data = "";

	if (evbuffer_get_length(in) < c->body)
		return 0;
	if (c->body > 0)
		data = (const char *)evbuffer_pullup(in, (ev_ssize_t)c->body);
	if (data == NULL)
		refuse(c, 503, "out of memory");
	else
		act(c, data);
	(void)evbuffer_drain(in, c->body);
	body_ends(c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, LIMIT_HTTP_HEAD);
	return 1;
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	struct web_connection *c = arg;
	int r = 1;

	while (r == 1) {
		if (c->streaming || c->last) { /* what comes now is of no use */
			(void)evbuffer_drain(bufferevent_get_input(bev),
			    evbuffer_get_length(bufferevent_get_input(bev)));
			return;
		}
		if (evbuffer_get_length(bufferevent_get_output(bev)) > OUTPUT_HIGH) {
			(void)bufferevent_disable(bev, EV_READ);
			return;
		}
		r = c->reading_body ? take_body(c) : take_head(c);
	}
}

static void
on_written(struct bufferevent *bev, void *arg)
{
	struct web_connection *c = arg;

	if (c->last) { /* closed at once, what is unread would take our answer with it */
		if (bufferevent_getfd(bev) < 0 || c->shut) {
			drop(c);
			return;
		}
		c->shut = 1;
		(void)shutdown(bufferevent_getfd(bev), SHUT_WR);
		allow(c, LINGER_S);
	} else if (c->writing && !c->streaming && !c->reading_body)
		allow(c, evbuffer_get_length(bufferevent_get_input(bev)) == 0 ? IDLE_S : HEAD_S);
	c->writing = 0;
	(void)bufferevent_enable(bev, EV_READ);
	on_read(bev, arg);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if ((what & BEV_EVENT_CONNECTED) == 0)
		drop(arg);
}

/* ---- connections */

static void
take(struct web *w, int fd, const struct sockaddr_storage *from)
{
	struct web_connection *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		close(fd);
		return;
	}
	c->web = w;
	c->from = *from;
	c->bev = server_tls_bufferevent(w->base, fd, w->tls);
	if (c->bev == NULL) {
		free(c);
		return;
	}
	bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
	(void)bufferevent_priority_set(c->bev, 0);
	bufferevent_setwatermark(c->bev, EV_READ, 0, LIMIT_HTTP_HEAD);
	LIST_INSERT_HEAD(&w->all, c, entry);
	w->connections++;
	allow(c, HEAD_S);
	(void)bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/*
 * Who has been in its step for longest goes, but nobody who has just begun: slow and idle clients do
 * not keep others out, and a crowd of new ones does not drive out who is being served.
 */
static int
make_room(struct web *w)
{
	struct web_connection *c, *slowest = NULL;

	LIST_FOREACH (c, &w->all, entry)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): drop() takes it off the list, by a pointer to a pointer */
		if (!c->streaming && (slowest == NULL || c->since_ms < slowest->since_ms))
			slowest = c;
	if (slowest == NULL || now_ms() - slowest->since_ms < FULL_MS)
		return -1;
	drop(slowest);
	return 0;
}

static void
on_room(evutil_socket_t fd, short what, void *arg)
{
	struct web *w = arg;

	(void)fd;
	(void)what;
	(void)event_add(w->accepting, NULL);
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval full = {0, FULL_MS * 1000};
	struct web *w = arg;
	struct sockaddr_storage from;
	socklen_t len;
	int n, turns = ACCEPTS_TURN;

	(void)what;
	while (turns-- > 0) {
		if (w->connections >= WEB_CONNECTIONS && make_room(w) == -1) {
			(void)event_del(w->accepting); /* until one is dropped, or slow enough */
			(void)event_base_once(w->base, -1, EV_TIMEOUT, on_room, w, &full);
			return;
		}
		len = sizeof(from);
		n = accept4(fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (n >= 0)
			take(w, n, &from);
		else if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct web *w = arg;
	struct web_connection *c, *next;
	uint64_t now = now_ms();

	(void)fd;
	(void)what;
	stream_tick(w);
	for (c = LIST_FIRST(&w->all); c != NULL; c = next) {
		next = LIST_NEXT(c, entry);
		if (c->doomed || (c->until_ms != 0 && c->until_ms <= now))
			drop(c);
	}
	(void)event_add(w->accepting, NULL);
}

struct web *
web_new(struct event_base *base, const struct setup *setup, struct error *err)
{
	struct web *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		(void)error_set(err, "out of memory");
		return NULL;
	}
	w->base = base;
	w->setup = setup;
	w->listen = record_string(&setup->record, SETUP_LISTEN);
	if (w->listen == NULL || stream_new(w, err) == -1 ||
	    server_tls_new(setup, &w->tls, err) == -1) {
		free(w->listen);
		free(w);
		return NULL;
	}
	return w;
}

int
web_serve(struct web *w, struct fleet *fleet, struct error *err)
{
	static const struct timeval second = {1, 0};

	w->fleet = fleet;
	(void)evutil_make_socket_nonblocking(SETUP_FD_LISTENER);
	w->accepting = event_new(w->base, SETUP_FD_LISTENER, EV_READ | EV_PERSIST, on_accept, w);
	w->tick = event_new(w->base, -1, EV_PERSIST, on_tick, w);
	if (w->accepting == NULL || w->tick == NULL || event_priority_set(w->accepting, 0) == -1 ||
	    event_add(w->accepting, NULL) == -1 || event_add(w->tick, &second) == -1)
		return error_set(err, "out of memory");
	return 0;
}

void
web_news(struct web *w, enum fleet_news news, const uint8_t *uid, uint64_t id)
{
	stream_news(w, news, uid, id);
}
