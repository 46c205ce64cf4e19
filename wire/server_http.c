/*
 * server_http.c: what comes by HTTP to the server's side of OpAMP (see server.h): requests, bodies of plain ones,
 * and the upgrade.
 */
#include "server_inside.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

void
server_refuse_now(struct server_connection *c, int status, const char *headers)
{
	(void)evbuffer_add_printf(bufferevent_get_output(c->bev),
	    "HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n%s\r\n", status,
	    http_reason(status), headers == NULL ? "" : headers);
	server_finish(c, "a request was refused");
}

/* One plain message, inflated if need be.  The answer is the owner's to give. */
static int
hand_out(struct server_connection *c, const unsigned char *data, size_t len)
{
	char *plain = NULL;
	size_t plain_len = 0;
	int r;

	if (!c->gzip_body)
		return c->cb->message(c->ctx, data, len);
	r = c->rules->gunzip(data, len, c->rules->max_message, &plain, &plain_len);
	if (r == 0)
		r = c->cb->message(c->ctx, (const uint8_t *)plain, plain_len);
	else {
		server_fault(c, r == 1 ? "a body that inflates to more than the limit"
				       : "a body that is not gzip");
		server_refuse_now(c, r == 1 ? 413 : 400, NULL);
		r = 0;
	}
	free(plain);
	return r;
}

static int
take_chunks(struct server_connection *c)
{
	struct error err = {""};
	unsigned char *data;
	size_t len;
	int r = server_chunks_take(c->chunks, bufferevent_get_input(c->bev), &err);

	if (r == 0)
		return 0;
	if (r != 200) {
		server_fault(c, err.text);
		server_refuse_now(c, r, NULL);
		return 1;
	}
	data = server_chunks_body(c->chunks, &len);
	if (data == NULL && len > 0)
		return -1;
	c->state = STATE_ASKED;
	server_allow(c, 0);
	r = hand_out(c, data, len);
	server_chunks_free(c->chunks);
	c->chunks = NULL;
	return r == -1 ? -1 : 1;
}

int
server_take_body(struct server_connection *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	unsigned char *data;
	size_t len = c->body;

	if (c->chunks != NULL)
		return take_chunks(c);
	if (evbuffer_get_length(in) < len)
		return 0;
	data = evbuffer_pullup(in, (ev_ssize_t)len);
	if (data == NULL && len > 0)
		return -1;
	c->state = STATE_ASKED;
	bufferevent_setwatermark(c->bev, EV_READ, 0, SERVER_INPUT_HIGH);
	server_allow(c, 0);
	if (hand_out(c, data, len) == -1)
		return -1;
	(void)evbuffer_drain(in, len);
	return 1;
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

static void
begin_post(struct server_connection *c, const struct http_head *h)
{
	const char *coding = http_get(h, "Content-Encoding");

	c->gzip_body = coding != NULL && strcasecmp(coding, "gzip") == 0;
	if (coding != NULL && strcasecmp(coding, "identity") != 0 &&
	    (!c->gzip_body || c->rules->gunzip == NULL)) {
		server_refuse_now(c, 415, NULL);
		return;
	}
	if (!h->chunked && h->length < 0) {
		server_refuse_now(c, 411, NULL);
		return;
	}
	if (!h->chunked && (uint64_t)h->length > c->rules->max_message) {
		server_fault(c, "a body longer than the limit");
		server_refuse_now(c, 413, NULL); /* before a byte of it is kept */
		return;
	}
	if (http_has_token(h, "Expect", "100-continue"))
		(void)evbuffer_add_printf(
		    bufferevent_get_output(c->bev), "HTTP/1.1 100 Continue\r\n\r\n");
	c->gzip_ok = http_has_token(h, "Accept-Encoding", "gzip") != 0;
	c->keep = !http_has_token(h, "Connection", "close");
	c->state = STATE_BODY;
	server_allow(c, c->rules->body_ms);
	if (h->chunked) {
		c->chunks = server_chunks_new(c->rules->max_message);
		if (c->chunks == NULL)
			server_refuse_now(c, 503, NULL);
		return;
	}
	c->body = (size_t)h->length;
	bufferevent_setwatermark(
	    c->bev, EV_READ, 0, c->body > SERVER_INPUT_HIGH ? c->body : SERVER_INPUT_HIGH);
}

static void
begin_websocket(struct server_connection *c, const struct http_head *h)
{
	const char *version = http_get(h, "Sec-WebSocket-Version"),
		   *key = http_get(h, "Sec-WebSocket-Key");
	char accept[WSKEY_ACCEPT_SIZE];

	if (!http_has_token(h, "Upgrade", "websocket") ||
	    !http_has_token(h, "Connection", "upgrade")) {
		server_refuse_now(c, 426, "Upgrade: websocket\r\n");
		return;
	}
	if (version == NULL || strcmp(version, "13") != 0) {
		server_refuse_now(c, 426, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
		return;
	}
	if (h->length > 0 || h->chunked || key == NULL || wskey_accept(key, accept) == -1) {
		server_refuse_now(c, 400, NULL);
		return;
	}
	c->ws = ws_new(WS_SERVER, c->rules->max_message, &server_ws_callbacks, c,
	    bufferevent_get_output(c->bev));
	if (c->ws == NULL || evbuffer_add_printf(bufferevent_get_output(c->bev),
				 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
				 "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
				 accept) == -1) {
		server_end(c, "out of memory");
		return;
	}
	c->state = STATE_WEBSOCKET;
	c->limit = LIMIT_FIRST;
	server_allow(c, c->rules->head_ms);
	c->cb->opened(c->ctx);
}

/* FR-07: by its content type a message by plain HTTP, or else a WebSocket to be, or an error. */
static void
begin(struct server_connection *c, const struct http_head *h)
{
	int get = strcmp(h->method, "GET") == 0, post = strcmp(h->method, "POST") == 0;

	if (is_protobuf(http_get(h, "Content-Type"))) {
		if (post)
			begin_post(c, h);
		else
			server_refuse_now(c, 405, "Allow: POST\r\n");
	} else if (post)
		server_refuse_now(c, 400, NULL);
	else if (get)
		begin_websocket(c, h);
	else
		server_refuse_now(c, 405, "Allow: GET, POST\r\n");
}

int
server_take_head(struct server_connection *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	const char *headers = NULL, *data;
	struct http_head h;
	struct error err;
	size_t len = evbuffer_get_length(in), used = 0;
	int r;

	if (len > LIMIT_HTTP_HEAD)
		len = LIMIT_HTTP_HEAD;
	if (len == 0)
		return 0;
	data = (const char *)evbuffer_pullup(in, (ev_ssize_t)len);
	if (data == NULL)
		return -1;
	r = http_head(&h, HTTP_REQUEST, data, len, &used, &err);
	if (r == 0)
		return 0;
	if (r == -1) {
		server_fault(c, err.text);
		server_refuse_now(c, 400, NULL);
		return 1;
	}
	(void)evbuffer_drain(in, used);
	if (strcmp(h.target, c->rules->path) != 0) {
		server_refuse_now(c, 404, NULL);
		return 1;
	}
	r = c->cb->request(c->ctx, &h, &headers);
	if (r != 0)
		server_refuse_now(c, r, headers);
	else
		begin(c, &h);
	return 1;
}
