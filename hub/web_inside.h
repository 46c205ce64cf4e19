/*
 * web_inside.h: what the parts of the web server share.  opamphub-store; hub/web*.c and hub/api*.c.
 */
#ifndef HUB_WEB_INSIDE_H
#define HUB_WEB_INSIDE_H

#include <jansson.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "web.h"
#include "wire/http.h"

#define WEB_CONNECTIONS 256
#define WEB_WATCHERS    64 /* of those, streams */
#define WEB_PATH        2048
#define WEB_AUTHOR      64
#define WEB_RATES       512 /* addresses and tokens that are counted */

struct web_connection;

enum web_method {
	METHOD_GET,
	METHOD_POST,
	METHOD_DELETE,
	METHOD_OTHER
};

struct web_request {
	struct web *web;
	struct web_connection *connection;
	enum web_method method;
	char path[WEB_PATH];  /* decoded, without the query */
	char query[WEB_PATH]; /* as it came */
	const char *body;     /* body_len bytes */
	size_t body_len;
	char author[WEB_AUTHOR]; /* the name of the token, or "" */
	uint64_t last_event;     /* Last-Event-ID, or 0 */
	int secure;              /* came by TLS */
};

struct web_rate { /* a token bucket */
	uint64_t key, filled_ms;
	uint32_t left;
};

struct web_version { /* what is told of an agent's version: the same for most of a list */
	uint64_t version, commits; /* true for as long as nothing is stored */
	uint64_t number, configuration;
	uint8_t hash[32];
	char *name; /* of the configuration; NULL: none */
};

struct web_counts { /* as they were when so many commits had been made */
	struct agent_counts counts;
	uint64_t commits, when_us, took_us;
};

struct web {
	struct event_base *base;
	const struct setup *setup;
	struct fleet *fleet;
	struct ssl_ctx_st *tls;
	struct event *accepting, *tick;
	char *listen; /* "127.0.0.1:4321" */
	size_t connections, watchers;
	LIST_HEAD(web_connection_list, web_connection) all;
	struct stream *stream;
	struct web_rate rates[WEB_RATES];
	uint64_t requests, refused;
	size_t bodies; /* bytes of requests that are under way */
	struct web_version version;
	struct web_counts counts;
	uint8_t cookie_key[32]; /* new for each start */
};

/* ---- web.c: answers.  Exactly one for each request, but for streams. */
void web_reply(struct web_request *q, int status, const char *type, const void *data, size_t len);
void web_reply_headers(struct web_request *q, int status, const char *headers, const char *type,
    const void *data, size_t len);
void web_json(struct web_request *q, int status, json_t *body); /* takes body */
void web_fault(struct web_request *q, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Before an answer that may be long is made: is there room for it?  -1: it was answered by 503. */
int web_may_be_long(struct web_request *q);

/* The answer goes on for as long as the client stays: what is sent later goes to *out. */
int web_begin_stream(struct web_request *q);
void web_stream_send(struct web_connection *c, const void *data, size_t len);
struct web_connection *web_streams(struct web *w, struct web_connection *after); /* NULL: no more */

/* A parameter of the query, decoded, malloc'd; NULL: not there.  Not UTF-8 or with a NUL: "" too. */
char *web_parameter(const struct web_request *q, const char *name);
/* The body as JSON; NULL: it was answered by 400. */
json_t *web_body(struct web_request *q);

/* Path and query of a request's target; -1: not as they must be. */
int web_target(struct web_request *q, const char *target);

/* ---- web_auth.c */

/* Before its body is read: may this request be acted on?  0, or the status that was answered. */
int web_allow(struct web_request *q, const struct http_head *h, const struct sockaddr *from);
/* POST /api/v1/session */
void web_session(struct web_request *q);

/* ---- web_static.c: 1 if it was answered */
int web_static(struct web_request *q);

/* ---- api.c, api_agents.c, api_configurations.c, api_stream.c, metrics.c */
void api_request(struct web_request *q);
int api_agents(struct web_request *q, char **parts, size_t count);
int api_configurations(struct web_request *q, char **parts, size_t count);
int api_assignments(struct web_request *q, char **parts, size_t count);
int api_settings(struct web_request *q, char **parts, size_t count);
void api_check(struct web_request *q);
int api_number(const char *text, uint64_t *n);
struct bytes api_member(
    const json_t *body, const char *name); /* a text; NULL: not there, or none */
json_t *api_text(struct bytes b);          /* null when not there */
json_t *api_time(uint64_t unix_ns);        /* RFC 3339, null for 0 */
json_t *api_hex(struct bytes b);
json_t *api_agent_item(struct web *w, const struct agent *a);
json_t *api_counts(struct web *w);
struct bytes api_author(const struct web_request *q);
int stream_new(struct web *w, struct error *err);
void stream_begin(struct web_request *q);
void stream_news(struct web *w, enum fleet_news news, const uint8_t *uid, uint64_t id);
void stream_tick(struct web *w);
void metrics_reply(struct web_request *q);

#endif
