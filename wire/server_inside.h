/*
 * server_inside.h: what the two halves of the server's side share (see server.h): server.c has the connection and
 * its frames, server_http.c what comes by HTTP.
 */
#ifndef WIRE_SERVER_INSIDE_H
#define WIRE_SERVER_INSIDE_H

#include "privsep/limits.h"
#include "server.h"
#include "server_chunks.h"
#include "ws.h"

#define SERVER_INPUT_HIGH (64 * KIB) /* bytes read and not yet taken: more than a head may have */

enum server_state {
	STATE_HEAD,      /* a request's head is being read */
	STATE_BODY,      /* of a POST */
	STATE_ASKED,     /* the owner owes the answer to a request */
	STATE_WEBSOCKET, /* upgraded */
	STATE_LAST,      /* the last bytes are on their way, or the peer is to close */
	STATE_OVER,
};

struct server_connection {
	LIST_ENTRY(server_connection) holder;
	struct pace_source pace;
	struct bufferevent *bev;
	const struct server_rules *rules;
	const struct server_callbacks *cb;
	void *ctx;
	struct ws *ws;
	struct event *late; /* runs what is due outside of the owner's call */
	const char *why;
	enum server_state state;
	size_t body, kept, counted;   /* body: its length; counted: of the budget */
	struct server_chunks *chunks; /* or it comes in chunks */
	unsigned gzip_body : 1, gzip_ok : 1, keep : 1, held : 1, paused : 1, shut : 1, busy : 1,
	    freed : 1, spoke : 1;
	enum {
		LIMIT_NONE,
		LIMIT_FIRST,
		LIMIT_MESSAGE
	} limit; /* which time a WebSocket has */
};

extern const struct ws_callbacks server_ws_callbacks;

/* The peer gets so long for the step it is in; 0: for ever. */
void server_allow(struct server_connection *c, uint64_t ms);
void server_end(struct server_connection *c, const char *why);

/* What is queued are our last words: the connection ends when the peer has read them. */
void server_finish(struct server_connection *c, const char *why);
void server_fault(struct server_connection *c, const char *why);

/* Answers with an error, whatever the state, and finishes. */
void server_refuse_now(struct server_connection *c, int status, const char *headers);

/* One step: 1 there may be more to do, 0 wait for more, -1 drop it. */
int server_take_head(struct server_connection *c);
int server_take_body(struct server_connection *c);

#endif
