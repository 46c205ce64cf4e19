/*
 * supervise.h: when the agent starts, stops, is signalled, is given up: a state machine without
 * descriptors or clocks of its own, so that tests can drive it.  procd only.
 */
#ifndef PROCD_SUPERVISE_H
#define PROCD_SUPERVISE_H

#include <stdint.h>

#include "privsep/messages.h"

enum supervise_timer {
	TIMER_BACKOFF, /* the next try */
	TIMER_GRACE,   /* the agent has had its time to end */
	TIMER_JOB,     /* the validation or probe has had its time */
	TIMER_COUNT
};

struct supervise_ops {
	void (*start)(void *ctx, const struct msg_agent_start *m); /* ask the parent */
	void (*signal)(void *ctx, uint32_t start, int sig);
	void (*kill)(void *ctx, uint32_t start);                       /* it and all it started */
	void (*timer)(void *ctx, enum supervise_timer t, uint64_t ms); /* 0 = off */
	void (*state)(void *ctx, const struct msg_state *m);           /* tell confd */
	void (*job_done)(void *ctx, const struct msg_job_done *m);
	uint64_t (*now_ms)(void *ctx);
};

struct supervise_settings {
	int stop_signal, reload_signal;
	uint64_t grace_ms, delay_min_ms, delay_max_ms, reset_ms, validate_ms, probe_ms;
	uint64_t ceiling; /* crashes in a row; 0 = no ceiling */
};

struct supervise {
	const struct supervise_ops *ops;
	void *ctx;
	struct supervise_settings set;

	/* what confd last asked for */
	enum {
		WANT_UNKNOWN,
		WANT_RUN,
		WANT_STOP
	} want;
	uint64_t generation, token;
	uint32_t flags;
	/* what is */
	enum agent_state state;
	uint32_t start, running_flags;
	int32_t pid;
	uint64_t running_generation, started_ns, began_ms;
	int replace; /* the start under way is no longer what is wanted */
	/* how often it failed */
	uint64_t delay_ms, next_at_ms, crashes;
	uint32_t restarts;
	struct msg_agent_exit last;
	/* the job */
	struct msg_job job, next_job; /* kind 0 = none */
	uint32_t job_start;
	int job_timed_out, job_dropped;
};

void supervise_init(struct supervise *s, const struct supervise_ops *ops, void *ctx,
    const struct supervise_settings *set);

/* From confd.  -1: a field out of its range. */
int supervise_run(struct supervise *s, const struct msg_run *m);
void supervise_stop(struct supervise *s, const struct msg_run *m);
int supervise_job(struct supervise *s, const struct msg_job *m);
void supervise_report(struct supervise *s); /* the state, on a new channel */

/* From the parent. */
int supervise_started(struct supervise *s, const struct msg_agent *m);
int supervise_exited(struct supervise *s, const struct msg_agent_exit *m);

void supervise_timeout(struct supervise *s, enum supervise_timer t);

#endif
