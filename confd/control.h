/*
 * control.h: opampctl's requests at the control socket (privsep/control_proto.h).  confd only.
 * It owns connections, limits, permissions and form; what is answered comes from the ops.
 *
 * Who may: the user opampd was started by and root everything; members of the admin group everything;
 * members of the reader group all that does not act.  Checked for each request (SO_PEERCRED, SO_PEERGROUPS).
 * At most LIMIT_CONTROL_CONNECTIONS: one more ends the one that has been there longest.  A connection
 * on which nothing moves for LIMIT_CONTROL_IDLE_MS is ended.
 */
#ifndef CONFD_CONTROL_H
#define CONFD_CONTROL_H

#include "privsep/control_proto.h"
#include "privsep/error.h"
#include "privsep/messages.h"
#include "privsep/record.h"

struct event_base;
struct control;

struct control_ops {
	/*
	 * Answers one request: magic, version, verb (a known one) and permission are checked already.
	 * Puts the keys of control_proto.h into w and returns CONTROL_OK; or returns another result
	 * with err filled (w is then thrown away).  Never blocks, never keeps rq or w.
	 */
	enum control_result (*answer)(void *ctx, const struct control_request *rq, int may_act,
	    struct record_writer *w, struct error *err);
};

/* Takes listener (MSG_CONFD_CONTROL).  NULL when memory ran out. */
struct control *control_new(struct event_base *base, int listener,
    const struct msg_environment *env, const struct control_ops *ops, void *ctx);
/* Ends every connection; NULL is fine. */
void control_free(struct control *c);

/* A connection that was accepted already, or a socketpair's end; taken. */
int control_take(struct control *c, int fd);

/* Permissions of a peer, for control.c and its test.  0 nothing, 1 may look, 2 may act. */
int control_may(const struct msg_environment *env, uint32_t uid, uint32_t gid,
    const uint32_t *groups, size_t count);

#endif
