/*
 * link_server.h: the loopback listener for the agent: who may come in, HTTP, WebSocket.  link.
 * A connection is somebody's only after the kernel has said whose it is and it has shown the
 * secret of a start that lives; until then it gets little time and no memory to speak of (I15).
 */
#ifndef NETD_LINK_SERVER_H
#define NETD_LINK_SERVER_H

#include "link_secret.h"
#include "link_session.h"
#include "wire/pace.h"

struct link_server;

struct link_server *link_server_new(
    struct child *child, struct link_secrets *secrets, struct link_sessions *sessions);
/* What connections cost is limited by p, which outlives it. */
void link_server_pace(struct link_server *s, struct pace *p);

void link_server_free(struct link_server *s); /* NULL is fine */

/* The listener and the NETLINK_SOCK_DIAG socket; each is taken. */
int link_server_listener(struct link_server *s, int fd);
void link_server_diag(struct link_server *s, int fd);

/* Both are there: says in the log if the kernel cannot tell whose a connection is. */
void link_server_check(struct link_server *s);

/* An accepted connection whose owner is known: what accept does after its checks (and for tests). */
void link_server_take(struct link_server *s, int fd, uint32_t uid);

/* A start was told: connections that came a moment before are judged again. */
void link_server_begun(struct link_server *s);

/* That start is over: its connection is closed. */
void link_server_ended(struct link_server *s, uint32_t start);

/* No more connections; those there are told goodbye.  done is called once, soon. */
void link_server_leave(struct link_server *s, void (*done)(void *ctx), void *ctx);

#endif
