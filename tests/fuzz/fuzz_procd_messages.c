/*
 * fuzz_procd_messages.c: every message that procd can be sent, with any fields and in any order, and
 * its timers at any time, against the state machine that decides about the agent.  A parent that keeps
 * its word and one that does not take turns.
 *
 * What must hold: never a second start of a kind asked for while one is under way or lives (I9); only
 * what lives is signalled or killed; a start is only ever asked for a generation that confd named (I4).
 *
 * Input: steps of one byte what, then one byte for each field.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "procd/supervise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS 512

struct world { /* what the parent would know */
	struct supervise s;
	uint64_t now;
	uint8_t named[256];                            /* by generation: somebody spoke of it */
	struct msg_agent_start asked[AGENT_PROBE + 1]; /* kind 0: none under way */
	uint32_t lives[AGENT_PROBE + 1];               /* start; 0 = none */
	uint64_t generation[AGENT_PROBE + 1];
	uint64_t timer_ms[TIMER_COUNT];
	uint32_t next_start;
	int honest; /* the parent has kept its word so far */
};

static int
is_job(uint32_t kind)
{
	return kind == AGENT_VALIDATE || kind == AGENT_PROBE;
}

static void
do_start(void *ctx, const struct msg_agent_start *m)
{
	struct world *w = ctx;

	if (m->kind == AGENT_NOTHING || m->kind > AGENT_PROBE)
		abort();
	if (m->generation > 255 || !w->named[m->generation])
		abort();
	if (w->honest && (w->asked[m->kind].kind != 0 || w->lives[m->kind] != 0))
		abort();
	w->asked[m->kind] = *m;
}

static void
lives_or_abort(const struct world *w, uint32_t start)
{
	if (w->honest && start != w->lives[AGENT_RUN] && start != w->lives[AGENT_VALIDATE] &&
	    start != w->lives[AGENT_PROBE])
		abort();
}

static void
do_signal(void *ctx, uint32_t start, int sig)
{
	(void)sig;
	lives_or_abort(ctx, start);
}

static void
do_kill(void *ctx, uint32_t start)
{
	lives_or_abort(ctx, start);
}

static void
do_timer(void *ctx, enum supervise_timer t, uint64_t ms)
{
	((struct world *)ctx)->timer_ms[t] = ms;
}

static void
do_state(void *ctx, const struct msg_state *m)
{
	(void)ctx;
	if (m->state == AGENT_STATE_NONE || m->state > AGENT_GIVEN_UP)
		abort();
}

static void
do_job_done(void *ctx, const struct msg_job_done *m)
{
	(void)ctx;
	if (!is_job(m->kind))
		abort();
}

static uint64_t
do_now(void *ctx)
{
	return ((struct world *)ctx)->now;
}

static const struct supervise_ops ops = {
    do_start, do_signal, do_kill, do_timer, do_state, do_job_done, do_now};

/* The parent answers what it was asked. */
static void
answer_start(struct world *w, uint32_t kind, int fails)
{
	struct msg_agent_start *asked = &w->asked[kind];
	struct msg_agent m = {.kind = kind, .pid = 100, .started_ns = 1};
	struct msg_agent_exit e = {.kind = kind, .exit = EXIT_SPAWN, .value = 2};

	if (asked->kind == 0)
		return;
	e.generation = m.generation = asked->generation;
	m.flags = asked->flags;
	asked->kind = 0;
	if (fails) {
		(void)supervise_exited(&w->s, &e);
		return;
	}
	m.start = w->lives[kind] = ++w->next_start;
	w->generation[kind] = m.generation;
	(void)supervise_started(&w->s, &m);
}

static void
end_start(struct world *w, uint32_t kind, uint8_t how)
{
	struct msg_agent_exit e = {.start = w->lives[kind],
	    .kind = kind,
	    .exit = how % 2 ? EXIT_CODE : EXIT_SIGNAL,
	    .value = how,
	    .generation = w->generation[kind]};

	if (e.start == 0)
		return;
	w->lives[kind] = 0;
	(void)supervise_exited(&w->s, &e);
}

static void
step(struct world *w, const uint8_t *b)
{
	struct msg_run run = {
	    .how = b[1] % 5, .flags = b[2] % 3, .generation = b[3] % 4, .token = b[4]};
	struct msg_job job = {
	    .kind = b[1] % 5, .flags = b[2] % 3, .generation = b[3] % 4, .token = b[4]};
	struct msg_agent started = {
	    .start = b[1], .kind = b[2] % 5, .generation = b[3], .pid = b[4]};
	struct msg_agent_exit exited = {
	    .start = b[1], .kind = b[2] % 5, .generation = b[3], .exit = b[4] % 8};

	switch (b[0] % 9) {
	case 0:
		w->named[run.generation] = 1;
		(void)supervise_run(&w->s, &run);
		break;
	case 1:
		supervise_stop(&w->s, &run);
		break;
	case 2:
		w->named[job.generation] = 1;
		(void)supervise_job(&w->s, &job);
		break;
	case 3:
		answer_start(w, 1 + b[1] % AGENT_PROBE, b[2] % 4 == 0);
		break;
	case 4:
		end_start(w, 1 + b[1] % AGENT_PROBE, b[2]);
		break;
	case 5:
		if (w->timer_ms[b[1] % TIMER_COUNT] == 0)
			break;
		w->now += w->timer_ms[b[1] % TIMER_COUNT];
		w->timer_ms[b[1] % TIMER_COUNT] = 0;
		supervise_timeout(&w->s, (enum supervise_timer)(b[1] % TIMER_COUNT));
		break;
	case 6:
		w->now += b[1] * 1000u;
		supervise_report(&w->s);
		break;
	case 7: /* what no parent of ours would say */
		w->honest = 0;
		w->named[started.generation] = 1;
		(void)supervise_started(&w->s, &started);
		break;
	default:
		w->honest = 0;
		w->named[exited.generation] = 1;
		(void)supervise_exited(&w->s, &exited);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct supervise_settings set = {.stop_signal = 15,
	    .reload_signal = 1,
	    .grace_ms = 10000,
	    .delay_min_ms = 100,
	    .delay_max_ms = 60000,
	    .reset_ms = 60000,
	    .validate_ms = 20000,
	    .probe_ms = 10000,
	    .ceiling = 5};
	struct world w = {.honest = 1, .now = 1000};
	size_t n;

	supervise_init(&w.s, &ops, &w, &set);
	for (n = 0; n + 5 <= size && n < (size_t)STEPS * 5; n += 5)
		step(&w, data + n);
	return 0;
}
