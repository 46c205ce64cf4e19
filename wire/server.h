/*
 * server.h: the server's side of OpAMP on one accepted connection: a strict HTTP head, then either
 * WebSocket or plain HTTP with one message for each request (FR-07, HT-01).  Knows neither TLS nor
 * agents: the owner gives a bufferevent that is connected and judges requests and messages.
 *
 * Bounded: the head (http.h), the body (max_message, before a byte of it is kept; also what it
 * inflates to), time for each step, and what the peer does not read of our answers (output_high:
 * no more is read from it).  What all connections together hold of messages that are not whole, that
 * wait for their turn, or that the peers do not read is bounded by a budget that they share: when it
 * is used up, the connection that holds most is refused (1013, 503), and small ones go on.
 */
#ifndef WIRE_SERVER_H
#define WIRE_SERVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "http.h"
#include "pace.h"
#include "privsep/error.h"

struct bufferevent;
struct server_connection;

#define SERVER_FREE (64 * 1024) /* bytes of a connection that are not counted */

struct server_budget { /* zero but for most */
	size_t most, used;
	uint64_t refused;
	LIST_HEAD(server_holders, server_connection) holders; /* that hold more than SERVER_FREE */
};

struct server_rules { /* borrowed; the same for all connections */
	const char *path;
	size_t max_message; /* header of the framing included */
	size_t output_high;
	/* head: also from the upgrade to the first message; body: for a message; idle: between two
	 * plain requests */
	uint64_t head_ms, body_ms, idle_ms, close_ms;
	/*
	 * Inflates a gzip body to at most `most` bytes: 0 and *data malloc'd; -1 broken; 1 too long.
	 * NULL: a coded body is refused by 415.
	 */
	int (*gunzip)(const void *body, size_t len, size_t most, char **data, size_t *out_len);
	/* gzip of an answer, malloc'd; -1: send it as it is.  NULL: never. */
	int (*gzip)(const void *body, size_t len, char **data, size_t *out_len);
	struct server_budget *budget; /* NULL: none */
	struct pace *pace;            /* what each connection may cost; NULL: no limit */
};

struct server_callbacks {
	/*
	 * A request for our path, before anything else is looked at.  0: go on; otherwise the
	 * status to refuse it with, and *headers ("Name: value\r\n" each, borrowed) if need be.
	 */
	int (*request)(void *ctx, const struct http_head *h, const char **headers);
	void (*opened)(void *ctx); /* it is a WebSocket now */
	/*
	 * One message, without its framing.  -1: close at once.  Over plain HTTP exactly one
	 * server_answer or server_refuse has to follow, now or later; nothing more is read
	 * before.  Over WebSocket the owner may server_hold while it thinks.
	 */
	int (*message)(void *ctx, const uint8_t *data, size_t len);
	/* The framing's header is not as it must be (FR-03); answered like a message. */
	int (*malformed)(void *ctx, const char *why);
	void (*pong)(void *ctx);    /* may be NULL */
	void (*drained)(void *ctx); /* all answers are written; may be NULL */
	/* Refused or broken by the peer's fault, for the log; closed follows.  May be NULL. */
	void (*fault)(void *ctx, const char *why);
	/* The connection is over.  Called once, last; server_free may be called in it. */
	void (*closed)(void *ctx, const char *why);
};

/* Takes bev (also on failure).  NULL: out of memory. */
struct server_connection *server_new(struct bufferevent *bev, const struct server_rules *rules,
    const struct server_callbacks *cb, void *ctx);

/* Closes at once; safe in a callback.  NULL is fine. */
void server_free(struct server_connection *c);

/*
 * One message to the peer: over WebSocket at any time after opened; over plain HTTP the answer to
 * the request.  It is given in two parts, joined (the first may be empty).  -1: not sent (closing,
 * too much waits, or no request to answer).
 */
int server_answer(
    struct server_connection *c, const void *head, size_t head_len, const void *body, size_t len);

/* Plain HTTP: answers the request with that status, and ends the connection. */
void server_refuse(struct server_connection *c, int status, const char *headers);

/* So many bytes are kept by the owner for this connection: they count as if it held them. */
void server_keeps(struct server_connection *c, size_t bytes);

/* No further message is handed out until server_go_on. */
void server_hold(struct server_connection *c);
void server_go_on(struct server_connection *c);

void server_ping(struct server_connection *c); /* WebSocket only */

/* WebSocket: Close frame and handshake, with a time limit; plain HTTP: at once, or after the answer. */
void server_leave(struct server_connection *c, uint16_t code, const char *reason);

/* Borrowed: to look at its TLS, nothing else. */
struct bufferevent *server_bufferevent(struct server_connection *c);
int server_is_websocket(const struct server_connection *c);
size_t server_pending(const struct server_connection *c);

#endif
