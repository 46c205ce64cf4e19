/*
 * channel.h: messages over one SOCK_SEQPACKET socketpair (design: "How processes talk").
 * Every process.  What comes in is checked against message_rules before a handler sees it:
 * type, peer, size, tail, exactly the descriptor the table asks for and of that kind.
 * A peer that breaks a rule is reported once to on_broken and never read again.
 */
#ifndef PRIVSEP_CHANNEL_H
#define PRIVSEP_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "messages.h"

struct event_base;
struct channel;

enum channel_rule { /* what a peer did wrong */
	RULE_NONE,
	RULE_TYPE,       /* no such message, or not from this peer to us */
	RULE_SIZE,       /* payload too short, or tail too long */
	RULE_DESCRIPTOR, /* none where one belongs, one where none does, more than one, wrong kind */
	RULE_TRUNCATED,
	RULE_EMPTY,   /* a zero-length message */
	RULE_CONTENT, /* a handler found a field out of its range */
	RULE_QUEUE,   /* sent without credit */
};

struct message {
	uint32_t type;
	uint32_t id;
	enum proc peer;
	const void *payload; /* of the size in the table; aligned for any struct of messages.h */
	const char *tail;    /* tail_len bytes, NUL after them */
	size_t tail_len;
	int fd; /* -1, or the receiver's; channel closes it after the handler unless message_take_fd */
};

/*
 * Handles one message.  0, or -1 when the content is not what it may be (RULE_CONTENT):
 * the channel is then broken.  It may free the channel only by channel_free_later.
 */
typedef int (*channel_handler)(void *ctx, struct message *m);

struct channel_callbacks {
	channel_handler message;
	/* The peer's end is closed (it died or left), or channel_error() says why it cannot be used. */
	void (*gone)(void *ctx, struct channel *c);
	/* The peer broke a rule.  Called once, no further reads; NULL = as gone. */
	void (*broken)(void *ctx, struct channel *c, enum channel_rule rule, uint32_t type);
};

/*
 * Takes fd, which becomes non-blocking.  self and peer say which rules hold.  base may be NULL for
 * a process without a loop (channel_wait only).
 */
struct channel *channel_new(struct event_base *base, int fd, enum proc self, enum proc peer,
    const struct channel_callbacks *cb, void *ctx);
void channel_free(struct channel *c); /* NULL is fine; safe inside a handler of that channel */
enum proc channel_peer(const struct channel *c);
int channel_error(const struct channel *c); /* errno of a call that failed; 0: the peer is gone */

/*
 * Queues a message.  fd >= 0 is taken: closed once sent, or on error.  -1 means the queue is full
 * or the message breaks the table: a bug of ours, which the caller treats as fatal (children), or
 * as the end of that child (parent).  A dead peer is not an error here: gone tells.
 */
int channel_send(struct channel *c, uint32_t type, const void *payload, const void *tail,
    size_t tail_len, int fd);

/* Messages queued and not yet taken by the kernel. */
size_t channel_queued(const struct channel *c);

/* One more is one too many: channel_send would refuse it.  with_fd: it has a descriptor. */
int channel_full(const struct channel *c, int with_fd);

/* Stops and resumes reading: back-pressure. */
void channel_pause(struct channel *c);
void channel_resume(struct channel *c);

/*
 * Blocks until one message was handled (start-up, one-shots).  1 handled, 0 peer gone,
 * -1 time-out or a broken rule (err says which).  timeout_ms < 0: no limit.
 */
int channel_wait(struct channel *c, int timeout_ms, struct error *err);

/* Writes what is queued, blocking up to timeout_ms: before exit. */
int channel_flush(struct channel *c, int timeout_ms);

/* The descriptor becomes the handler's. */
int message_take_fd(struct message *m);

/* One line per message to the log at debug level: on when the log level is debug. */
void channel_trace(
    const struct channel *c, const char *direction, uint32_t type, size_t len, int fd);

const char *channel_rule_name(enum channel_rule rule);

/* Does fd have the kind the table asks for?  (privsep and its tests) */
int channel_fd_is(int fd, enum fd_kind kind);

#endif
