/*
 * fuzz_procd_messages.c: every message that procd can be sent, with any fields and in any order, and
 * its timers at any time: its own handlers, with the state machine that decides about the agent behind them.  A
 * parent that keeps its word and one that does not take turns.
 *
 * What must hold: never a second start of a kind asked for while one is under way or lives (I9); only
 * what lives is signalled or killed; a start is only ever asked for a generation that confd named, and nothing
 * else is ever asked of the parent (I4); no descriptor stays.
 *
 * Input: steps of one byte what, then one byte for each field.
 */
int procd_main(void);
#define main procd_main
#include "procd/procd.c" /* the handlers are the program's own */
#undef main

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS 512

static struct world { /* what the parent would know */
	struct procd procd;
	uint64_t now;
	int pidfd; /* stands for every pidfd and cgroup.kill: written to and signalled in vain */
	uint8_t named[256];                            /* by generation: somebody spoke of it */
	struct msg_agent_start asked[AGENT_PROBE + 1]; /* kind 0: none under way */
	uint32_t lives[AGENT_PROBE + 1];               /* start; 0 = none */
	uint64_t generation[AGENT_PROBE + 1];
	uint64_t timer_ms[TIMER_COUNT];
	uint32_t next_start;
	int honest; /* the parent has kept its word so far */
} world;

static int
is_job(uint32_t kind)
{
	return kind == AGENT_VALIDATE || kind == AGENT_PROBE;
}

static void
asked_to_start(struct world *w, const struct msg_agent_start *m)
{
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

/* ---- in place of privsep's: what procd says, and when its timers are due */

void
child_send(struct child *c, enum proc to, uint32_t type, const void *payload, const void *tail,
    size_t tail_len, int fd)
{
	const struct msg_start_id *id = payload;
	const struct msg_state *state = payload;
	const struct msg_job_done *done = payload;

	(void)c;
	if (tail != NULL || tail_len != 0 || fd != -1 ||
	    (message_rules[type].from & P(PROCD)) == 0 || (message_rules[type].to >> to & 1) == 0)
		abort();
	if (type == MSG_AGENT_START)
		asked_to_start(&world, payload);
	else if (type == MSG_AGENT_KILL)
		lives_or_abort(&world, id->start);
	else if (type == MSG_PROC_STATE && state->state != AGENT_STATE_NONE &&
		 state->state <= AGENT_GIVEN_UP)
		return;
	else if (type != MSG_PROC_JOB_DONE || !is_job(done->kind))
		abort();
}

uint64_t
now_ms(void)
{
	return world.now;
}

void
child_begin(struct child *c, const struct policy *policy, const struct child_handlers *h, void *ctx)
{
	(void)c, (void)policy, (void)h, (void)ctx;
}

void
child_sandbox(struct child *c)
{
	(void)c;
}

int
child_loop(struct child *c)
{
	(void)c;
	return 0;
}

void
child_exit(struct child *c, int status)
{
	(void)c, (void)status;
	abort();
}

/* The timers are the input's, not the clock's. */
static void
timer_set(void *ctx, enum supervise_timer t, uint64_t ms)
{
	(void)ctx;
	world.timer_ms[t] = ms;
}

static void
signal_checked(void *ctx, uint32_t start, int sig)
{
	lives_or_abort(&world, start);
	ops.signal(ctx, start, sig);
}

static void
kill_checked(void *ctx, uint32_t start)
{
	lives_or_abort(&world, start);
	ops.kill(ctx, start);
}

/* ---- messages, as the channel would hand them over */

static int
deliver(struct world *w, uint32_t type, const void *payload)
{
	struct message m = {.type = type, .payload = payload, .tail = "", .fd = -1};
	int r;

	m.peer = message_rules[type].from == P(CONFD) ? PROC_CONFD : PROC_PARENT;
	if (message_rules[type].fd != FD_NONE)
		m.fd = fcntl(w->pidfd, F_DUPFD_CLOEXEC, 3);
	r = handlers.message(&w->procd, &m);
	if (m.fd >= 0)
		close(m.fd);
	count_message(type, m.peer, PROC_PROCD, r == 0);
	return r;
}

/* The parent answers what it was asked. */
static void
answer_start(struct world *w, uint32_t kind, int fails)
{
	struct msg_agent_start *asked = &w->asked[kind];
	struct msg_agent m = {.kind = kind, .pid = 100, .started_ns = 1};
	struct msg_agent_exit e = {.kind = kind, .exit = EXIT_SPAWN, .value = 2};
	struct msg_start_id id;

	if (asked->kind == 0)
		return;
	e.generation = m.generation = asked->generation;
	m.flags = asked->flags;
	asked->kind = 0;
	if (fails) {
		(void)deliver(w, MSG_AGENT_EXITED, &e);
		return;
	}
	m.start = w->lives[kind] = ++w->next_start;
	w->generation[kind] = m.generation;
	(void)deliver(w, MSG_AGENT_STARTED, &m);
	id.start = m.start;
	if (m.start % 2 == 0)
		(void)deliver(w, MSG_AGENT_CGROUP, &id);
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
	(void)deliver(w, MSG_AGENT_EXITED, &e);
}

/* -1: procd would have ended. */
static int
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

	struct msg_start_id id = {b[1]};

	switch (b[0] % 10) {
	case 0:
		w->named[run.generation] = 1;
		(void)deliver(w, MSG_PROC_RUN, &run);
		break;
	case 1:
		(void)deliver(w, MSG_PROC_STOP, &run);
		break;
	case 2:
		w->named[job.generation] = 1;
		(void)deliver(w, MSG_PROC_JOB, &job);
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
		supervise_timeout(&w->procd.supervise, (enum supervise_timer)(b[1] % TIMER_COUNT));
		break;
	case 6:
		w->now += b[1] * 1000u;
		handlers.peer_up(&w->procd, PROC_CONFD);
		break;
	case 7: /* what no parent of ours would say */
		w->honest = 0;
		w->named[started.generation] = 1;
		if (deliver(w, MSG_AGENT_STARTED, &started) == -1)
			return -1; /* the parent has broken a rule: procd ends */
		break;
	case 8:
		w->honest = 0;
		return deliver(w, MSG_AGENT_CGROUP, &id);
	default:
		w->honest = 0;
		w->named[exited.generation] = 1;
		return deliver(w, MSG_AGENT_EXITED, &exited);
	}
	return 0;
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
	static struct supervise_ops quiet;
	struct world *w = &world;
	size_t n, i;

	if (quiet.start == NULL) {
		log_set_level(LOG_LEVEL_NOTHING);
		quiet = ops;
		quiet.timer = timer_set;
		quiet.signal = signal_checked;
		quiet.kill = kill_checked;
		w->pidfd = open("/dev/null", O_RDWR | O_CLOEXEC);
	}
	input_begins();
	*w = (struct world){.honest = 1, .now = 1000, .pidfd = w->pidfd};
	for (i = 0; i < HANDLES; i++)
		w->procd.handles[i] = (struct handle){0, -1, -1};
	supervise_init(&w->procd.supervise, &quiet, &w->procd, &set);
	for (n = 0; n + 5 <= size && n < (size_t)STEPS * 5; n += 5)
		if (step(w, data + n) == -1)
			break;
	for (i = 0; i < HANDLES; i++)
		release(&w->procd.handles[i]);
	input_ends();
	return 0;
}
