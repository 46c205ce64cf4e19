/*
 * upgrade.c: the opening handshake of WebSocket (see upgrade.h).  netd.
 */
#include "upgrade.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "wire/http.h"
#include "wire/http_body.h"
#include "privsep/limits.h"
#include "privsep/log.h"
#include "wire/wire.h"
#include "wire/ws.h"

#define INTERIM    5   /* answers of 1xx before the real one, at most */
#define REASON_MAX 300 /* bytes of a first line that are passed on as the server's words */

struct upgrade {
	const struct url *url;
	const char *headers;
	char key[WSKEY_SIZE];
	char accept[WSKEY_ACCEPT_SIZE];
	int interim;
	int refused; /* the head is read: what the body says comes yet */
	struct error why;
	struct http_head head;
	struct http_body body;
};

struct upgrade *
upgrade_new(const struct url *url, const char *headers, struct error *err)
{
	struct upgrade *u = calloc(1, sizeof(*u));

	if (u == NULL) {
		(void)error_set(err, "no memory for a connection");
		return NULL;
	}
	u->url = url;
	u->headers = headers;
	if (wskey_new(u->key) == -1 || wskey_accept(u->key, u->accept) == -1) {
		(void)error_set(err, "no random numbers for a WebSocket key");
		free(u);
		return NULL;
	}
	return u;
}

void
upgrade_free(struct upgrade *u)
{
	free(u);
}

int
upgrade_header_free(const char *name)
{
	static const char *const ours[] = {"Host", "Connection", "Upgrade", "Content-Length",
	    "Transfer-Encoding", "TE", "Trailer", "Expect"};
	size_t i;

	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strcasecmp(name, ours[i]) == 0)
			return 0;
	return strncasecmp(name, "Sec-WebSocket-", 14) != 0;
}

int
upgrade_request(struct upgrade *u, struct evbuffer *out, struct error *err)
{
	if (evbuffer_add_printf(out,
		"GET %s HTTP/1.1\r\n"
		"Host: %s\r\n"
		"Connection: Upgrade\r\n"
		"Upgrade: websocket\r\n"
		"Sec-WebSocket-Version: 13\r\n"
		"Sec-WebSocket-Key: %s\r\n",
		u->url->target, u->url->host_header, u->key) == -1 ||
	    evbuffer_add(out, u->headers, strlen(u->headers)) == -1 ||
	    evbuffer_add(out, "\r\n", 2) == -1)
		return error_set(err, "no memory for the request");
	return 0;
}

/* The words for a status that is not 101; what the operator can do comes first. */
static int
refused(const struct http_head *h, struct transport_end *end, struct error *err)
{
	const char *after = http_get(h, "Retry-After"), *to = http_get(h, "Location");

	end->http_status = h->status;
	if ((h->status == 429 || h->status == 503) && after != NULL)
		end->retry_after_ms = http_retry_after(after, (int64_t)time(NULL));
	switch (h->status) {
	case 401:
	case 403:
		return error_set(err,
		    "it refuses our credentials (HTTP %d): see server.headers and the client "
		    "certificate",
		    h->status);
	case 404:
	case 405:
	case 426:
		return error_set(err,
		    "there is no OpAMP over WebSocket at this path (HTTP %d): see server.endpoint",
		    h->status);
	case 429:
	case 503:
		return error_set(err, "it is not available now (HTTP %d)", h->status);
	default:
		break;
	}
	if (h->status >= 300 && h->status < 400) /* CC-09 */
		return error_set(err,
		    "it redirects (HTTP %d) to %.300s: redirects are not followed, put the right "
		    "URL "
		    "into server.endpoint",
		    h->status, to == NULL ? "nowhere" : to);
	return error_set(err, "it refuses the WebSocket connection (HTTP %d)", h->status);
}

static int
check_accepted(const struct upgrade *u, struct error *err)
{
	const struct http_head *h = &u->head;
	const char *accept = http_get(h, "Sec-WebSocket-Accept");

	if (!http_has_token(h, "Upgrade", "websocket") ||
	    !http_has_token(h, "Connection", "Upgrade"))
		return error_set(err, "its answer (HTTP 101) is not an upgrade to WebSocket");
	if (accept == NULL || strcmp(accept, u->accept) != 0)
		return error_set(err,
		    "its answer (HTTP 101) has %s Sec-WebSocket-Accept: what answers is not a "
		    "WebSocket server, or not ours",
		    accept == NULL ? "no" : "a wrong");
	if (http_get(h, "Sec-WebSocket-Extensions") != NULL ||
	    http_get(h, "Sec-WebSocket-Protocol") != NULL)
		return error_set(err,
		    "its answer (HTTP 101) chooses an extension or a protocol that we did not ask "
		    "for");
	return 0;
}

/* The refusal with what its body says, if that is text for people. */
static enum upgrade_state
refusal(struct upgrade *u, struct error *err)
{
	const char *text = u->body.text;
	size_t len = strcspn(text, "\r\n");

	if (len == 0 || len > REASON_MAX || text[0] == '<' ||
	    !wire_utf8((const uint8_t *)text, len))
		(void)error_set(err, "%s", u->why.text);
	else
		(void)error_set(err, "%s; it says: %.*s", u->why.text, (int)len, text);
	return UPGRADE_REFUSED;
}

static enum upgrade_state
read_body(struct upgrade *u, struct evbuffer *in, struct error *err)
{
	size_t len = evbuffer_get_length(in), used = 0;
	const char *data = len == 0 ? "" : (char *)evbuffer_pullup(in, (ev_ssize_t)len);
	struct error body;
	int got = data == NULL ? -1 : http_body_input(&u->body, data, len, &used, &body);

	(void)evbuffer_drain(in, got == 0 ? len : used);
	return got == 0 ? UPGRADE_WAIT : refusal(u, err); /* a body that is none says nothing */
}

/* Nothing that begins otherwise can become an answer: no need to wait for more of it. */
static int
is_http(const char *data, size_t len, struct error *err)
{
	static const char begin[] = "HTTP/1.";
	size_t n = len < sizeof(begin) - 1 ? len : sizeof(begin) - 1;

	if (memcmp(data, begin, n) == 0)
		return 1;
	if (data[0] == 0x15)
		(void)error_set(err, "it speaks TLS: write wss:// in server.endpoint");
	else
		(void)error_set(err, "what answers does not speak HTTP/1.1");
	return 0;
}

enum upgrade_state
upgrade_answer(struct upgrade *u, struct evbuffer *in, struct transport_end *end, struct error *err)
{
	size_t len, used;
	char *data;
	int got;

	while (!u->refused) {
		len = evbuffer_get_length(in);
		if (len > LIMIT_HTTP_HEAD)
			len = LIMIT_HTTP_HEAD;
		if (len == 0)
			return UPGRADE_WAIT;
		data = (char *)evbuffer_pullup(in, (ev_ssize_t)len);
		if (data == NULL) {
			(void)error_set(err, "no memory for its answer");
			return UPGRADE_REFUSED;
		}
		if (!is_http(data, len, err))
			return UPGRADE_REFUSED;
		got = http_head(&u->head, HTTP_RESPONSE, data, len, &used, err);
		if (got == 0)
			return UPGRADE_WAIT;
		if (got == -1) {
			(void)error_prefix(err, "its answer is not HTTP as it must be");
			return UPGRADE_REFUSED;
		}
		(void)evbuffer_drain(in, used);
		if (u->head.status == 101)
			return check_accepted(u, err) == 0 ? UPGRADE_DONE : UPGRADE_REFUSED;
		if (u->head.status >= 200) {
			(void)refused(&u->head, end, &u->why);
			http_body_begin(&u->body, &u->head);
			u->refused = 1;
			break;
		}
		if (++u->interim > INTERIM) {
			(void)error_set(err, "it sends one interim answer after the other");
			return UPGRADE_REFUSED;
		}
	}
	return read_body(u, in, err);
}

int
upgrade_eof(struct upgrade *u, struct error *err)
{
	if (!u->refused)
		return 0;
	(void)refusal(u, err);
	return 1;
}

const char *
upgrade_waiting(const struct upgrade *u)
{
	return u->refused ? u->why.text
			  : "no answer to the request in time (server.connect_timeout)";
}
