/*
 * pace.h: how much of a processor the bytes of a peer may cost (LIMIT_BUSY_PERCENT).  netd, link, hub.
 * A peer that sends without end is read more slowly, and TCP or the pipe pushes back; what we do
 * for anybody else is not counted and does not wait.
 */
#ifndef WIRE_PACE_H
#define WIRE_PACE_H

#include <stdint.h>
#include <sys/queue.h>

struct event;
struct event_base;

struct pace_source { /* something that is read; part of its owner, zero is fine */
	LIST_ENTRY(pace_source) entry;
	int rests; /* it must not be read until it is woken */
	void (*wake)(void *ctx);
	void *ctx;
	int64_t credit_us; /* its own, where each has one */
	uint64_t credit_ms;
};

struct pace { /* one for each process; zero: nothing is limited */
	struct event *timer;
	int each; /* not all together: each source may cost so much */
	LIST_HEAD(pace_list, pace_source) resting;
	int64_t credit_us;  /* of processor time */
	uint64_t credit_ms; /* when it was that */
	uint64_t turn_ns;   /* of processor time, when the turn began */
	uint64_t wake_ms;   /* when the timer comes */
};

int pace_init(struct pace *p, struct event_base *base);
void pace_clear(struct pace *p);

/* Around whatever a peer's bytes make us do.  p may be NULL.  1: the source rests now. */
void pace_begin(struct pace *p);
int pace_end(struct pace *p, struct pace_source *s);

/* Within a turn: it made others work too, for about so long. */
void pace_charge(struct pace *p, uint64_t us);

/* The source goes. */
void pace_forget(struct pace_source *s);

#endif
