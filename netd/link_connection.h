/*
 * link_connection.h: one accepted connection of the link: HTTP, then WebSocket or plain messages.
 * link.  Shared by link_server.c and link_connection.c, and by nobody else.
 */
#ifndef NETD_LINK_CONNECTION_H
#define NETD_LINK_CONNECTION_H

#include <event2/buffer.h>

#include "link_server.h"
#include "wire/ws.h"

enum connection_state {
	CONNECTION_HEAD,      /* a request's head is being read */
	CONNECTION_BODY,      /* of a POST */
	CONNECTION_WEBSOCKET, /* upgraded */
	CONNECTION_LAST,      /* the last answer is on its way, or waits for the peer to close */
};

struct link_connection {
	LIST_ENTRY(link_connection) entry;
	struct link_server *server;
	int fd;
	uint32_t uid;
	uint32_t start; /* whose secret it showed; 0 = not verified */
	enum connection_state state;
	struct link_session *session; /* NULL: not verified, or not its conversation any more */
	size_t body;                  /* bytes of it */
	struct ws *ws;                /* NULL: plain HTTP */
	struct event *reading, *writing, *deadline;
	struct evbuffer *in, *out;
	int paused; /* it does not read our answers: we do not read more */
	int shut;   /* our side is closed */
	struct pace_source pace;
};

struct link_server {
	struct child *child;
	struct link_secrets *secrets;
	struct link_sessions *sessions;
	struct pace *pace; /* NULL = none */
	int listener, diag;
	struct event *accepting, *again; /* again: after running out of descriptors */
	LIST_HEAD(connection_list, link_connection) connections;
	size_t pending; /* connections not verified */
	struct {
		int fd;
		uint32_t uid;
	} early[LIMIT_LINK_EARLY]; /* the oldest first; nothing of them was read yet */
	size_t early_count;
	struct event *early_by;
	uint64_t strangers, strangers_told_ms;
	void (*done)(void *ctx); /* link_server_leave */
	void *done_ctx;
	struct event *leave_by;
};

/* Takes fd unless it gives NULL (no memory). */
struct link_connection *link_connection_new(struct link_server *s, int fd, uint32_t uid);

/* Closes it at once, with all it has. */
void link_connection_free(struct link_connection *c);

/* WebSocket: Close frame and handshake, with a time limit.  Others: at once. */
void link_connection_leave(struct link_connection *c);

/* What has arrived is read and acted on, as if the loop had said so.  -1: it is to be freed. */
int link_connection_drain(struct link_connection *c);

/* link_server.c: it showed the secret of that start. */
void link_server_verified(struct link_connection *c, const struct link_start *start);

/* The conversation goes on over this one: newest wins, others of the same start are closed. */
void link_server_newest(struct link_connection *c);

/* One was refused, or closed because of what it sent; one is gone. */
void link_server_refused(struct link_server *s, const char *why);
void link_server_gone(struct link_server *s);

#endif
