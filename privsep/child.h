/*
 * child.h: the frame of every child process: take what the parent hands over, enter the
 * sandbox, say ready, run the loop.  netd, link, confd, procd, connect, merge.
 *
 *	int main(int argc, char **argv) {
 *		struct child c;
 *		child_begin(&c, &policy_link, &handlers, &me);   // reads up to CHILD_GO, calls handlers
 *		... make what needs files (TLS contexts) ...
 *		child_sandbox(&c);                            // drops everything, READY goes out
 *		child_run(&c);
 *	}
 */
#ifndef PRIVSEP_CHILD_H
#define PRIVSEP_CHILD_H

#include <event2/event.h>

#include "channel.h"
#include "sandbox.h"
#include "settings.h"

#define CHILD_CHANNEL_FD 3 /* where the parent's channel is at exec */

struct child_handlers {
	/* A message of any peer (the parent's CHILD_* but FILE are handled by the frame). */
	channel_handler message;
	/* A neighbour's channel is there, for the first time or anew; c->peers[peer] is it. */
	void (*peer_up)(void *ctx, enum proc peer);
	/* A neighbour is gone; c->peers[peer] is NULL already.  The parent sends a new channel. */
	void (*peer_down)(void *ctx, enum proc peer);
	/* CHILD_END came: finish and call child_exit when done. */
	void (*end)(void *ctx);
};

struct child {
	enum proc self;
	const struct policy *policy; /* whose proc self is */
	struct msg_start start;
	struct settings settings; /* our section, checked */
	struct event_base *base;
	struct channel *peers[PROC_COUNT]; /* [PROC_PARENT] always; others NULL while away */
	uint32_t epoch[PROC_COUNT];
	const struct child_handlers *handlers;
	void *ctx;
	int go;
	int stuffed[PROC_COUNT]; /* reads nothing: accused, and about to be dropped */
};

/*
 * What libc finds out at its first use, by files or calls that there are no more in a sandbox: before it.
 * child_begin does it; for processes that have another beginning.
 */
void child_prepare_libc(void);

/* Blocks until CHILD_GO.  Fatal on any error: the parent starts another. */
void child_begin(
    struct child *c, const struct policy *policy, const struct child_handlers *h, void *ctx);

/* Ids, namespaces, Landlock, seccomp, limits from c->policy; then CHILD_READY. */
void child_sandbox(struct child *c);

/* Runs until child_exit, or until the parent is gone (then 0 at once). */
int child_loop(struct child *c);

/* The same, and the end of the process: nothing may run at exit that the filter does not know. */
void child_run(struct child *c) __attribute__((noreturn));

/* Flushes to the parent and ends the process. */
void child_exit(struct child *c, int status) __attribute__((noreturn));

/*
 * Sends to a peer; silently drops (and closes fd) when the peer is away: the full state goes out on
 * peer_up.  A full queue is fatal (a bug of ours), but where confd or procd sends to a neighbour: a
 * neighbour that was taken over and reads nothing must not end them, so it is accused.
 */
void child_send(struct child *c, enum proc to, uint32_t type, const void *payload, const void *tail,
    size_t tail_len, int fd);

/* The same with a memfd made of data. */
void child_send_blob(struct child *c, enum proc to, uint32_t type, const void *payload,
    const void *tail, size_t tail_len, const void *blob, size_t blob_len);

/* Monotonic milliseconds. */
uint64_t now_ms(void);
/* CLOCK_REALTIME in Unix nanoseconds. */
uint64_t now_unix_ns(void);

#endif
