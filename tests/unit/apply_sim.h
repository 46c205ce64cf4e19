/*
 * apply_sim.h: the apply transaction between the real state machine of procd and a parent, a merge, a
 * link and an agent that do their part whenever the test's dice say so, in any order that the channels
 * allow (each direction of a channel keeps its order; nothing else does).
 */
#ifndef TESTS_UNIT_APPLY_SIM_H
#define TESTS_UNIT_APPLY_SIM_H

#include "apply_world.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "confd/apply_internal.h"
#include "procd/supervise.h"

#define QUEUE 64

enum letter_kind {
	LETTER_RUN,
	LETTER_STOP,
	LETTER_JOB,
	LETTER_STATE,
	LETTER_DONE
};

struct letter {
	enum letter_kind kind;
	union {
		struct msg_run run;
		struct msg_job job;
		struct msg_state state;
		struct msg_job_done done;
	} u;
};

struct letters {
	struct letter list[QUEUE];
	size_t count;
};

struct process { /* of the agent, or a check of it */
	int alive, connected, known, healthy, ending, drops;
	uint32_t start, kind;
	uint64_t generation, well_since, began;
	char text[512]; /* the configuration as it was read last */
};

struct sim {
	struct apply a;
	struct apply_settings set;
	struct store store;
	struct supervise s;
	uint64_t seed, now, timers[APPLY_TIMERS], proc_timers[TIMER_COUNT];
	int errors; /* the real descriptor 2: what is logged meanwhile is thrown away */
	int calm;   /* nothing goes wrong any more */
	int procd_lives, link_lives, confd_lives;
	struct letters to_procd, to_confd;
	uint32_t job, kind; /* of merge; kind 0 = none */
	char remote[64];
	struct msg_agent_start wishes[QUEUE];
	size_t wish_count;
	uint32_t last_start;
	struct process run, check;
	unsigned uid;
	char uid_text[40];
	/* what the server was told last, and what was seen */
	struct apply_told told;
	int unkept; /* APPLIED, and the disk did not take that it is */
	uint64_t committed_before;
	char committed_text[512];
	char proved[512]; /* the text that the agent read last and was well on */
	unsigned commits, failures, merges, rollbacks;
	unsigned long step;
};

static uint64_t
dice(struct sim *s, uint64_t below)
{
	s->seed ^= s->seed << 13;
	s->seed ^= s->seed >> 7;
	s->seed ^= s->seed << 17;
	return (s->seed >> 11) % below;
}

static int
chance(struct sim *s, uint64_t in)
{
	return !s->calm && dice(s, in) == 0;
}

#define CHECK(s, what)                                                                             \
	do {                                                                                       \
		if (!(what) && dup2((s)->errors, 2) == 2)                                          \
			fail_msg("step %lu, phase %d: %s", (s)->step, (int)(s)->a.phase, #what);   \
	} while (0)

static void
push(struct sim *s, struct letters *l, const struct letter *one)
{
	CHECK(s, l->count < QUEUE);
	l->list[l->count++] = *one;
}

static struct letter
pull(struct letters *l)
{
	struct letter one = l->list[0];

	memmove(&l->list[0], &l->list[1], --l->count * sizeof(one));
	return one;
}

static const char *
text_in(struct sim *s, uint64_t generation)
{
	struct fake_generation *g = fake_find(&s->store, generation);

	return g == NULL ? "" : g->effective;
}

/* ---- confd's ends */

static void
s_merge(
    void *ctx, uint32_t job, uint32_t kind, struct apply_bytes *remote, struct apply_bytes *emitted)
{
	struct sim *s = ctx;
	struct offer o = {0};

	CHECK(s, (kind == MERGE_CHECK) == (emitted != NULL));
	s->merges++;
	s->job = job;
	s->kind = kind;
	(void)snprintf(s->remote, sizeof(s->remote), "local");
	if (remote == NULL)
		return;
	CHECK(s, offer_open(&o, remote->data, remote->len, LIMIT_CONFIG_BYTES, NULL) == 0);
	if (o.count > 0 && o.files[0].body.len > 0)
		(void)snprintf(s->remote, sizeof(s->remote), "%.*s", (int)o.files[0].body.len,
		    o.files[0].body.data);
	offer_close(&o);
}

static void
s_run(void *ctx, const struct msg_run *m)
{
	struct sim *s = ctx;
	struct letter one = {.kind = LETTER_RUN, .u.run = *m};

	CHECK(s, fake_find(&s->store, m->generation) != NULL);
	if (s->procd_lives)
		push(s, &s->to_procd, &one);
}

static void
s_stop(void *ctx, const struct msg_run *m)
{
	struct sim *s = ctx;
	struct letter one = {.kind = LETTER_STOP, .u.run = *m};

	if (s->procd_lives)
		push(s, &s->to_procd, &one);
}

static void
s_job(void *ctx, const struct msg_job *m)
{
	struct sim *s = ctx;
	struct letter one = {.kind = LETTER_JOB, .u.job = *m};

	if (s->procd_lives)
		push(s, &s->to_procd, &one);
}

static void
s_status(void *ctx)
{
	struct sim *s = ctx;
	const struct apply_told *t = &s->a.told;

	(void)bytes_copy(&s->told.hash, t->hash.data, t->hash.len);
	s->told.status = t->status;
	s->failures += t->status == CONFIG_FAILED;
	s->unkept = s->store.fail_make || s->store.fail_state;
	if (t->status == CONFIG_APPLIED && !s->unkept)
		CHECK(s,
		    s->a.stopped || bytes_equal(&s->a.committed_hash, t->hash.data, t->hash.len));
}

static void
s_baseline(void *ctx, uint32_t start)
{
	CHECK((struct sim *)ctx, start != 0);
}

static void
s_effective(void *ctx, const char *text, size_t len)
{
	(void)ctx;
	(void)text;
	(void)len;
}

static void
s_changed(void *ctx)
{
	(void)ctx;
}

static void
s_timer(void *ctx, enum apply_timer t, uint64_t ms)
{
	struct sim *s = ctx;

	s->timers[t] = ms == 0 ? 0 : s->now + ms;
}

static uint64_t
s_now_ms(void *ctx)
{
	return ((struct sim *)ctx)->now;
}

static uint64_t
s_now_ns(void *ctx)
{
	return ((struct sim *)ctx)->now * 1000000;
}

static const struct apply_ops sim_ops = {s_merge, s_run, s_stop, s_job, s_status, s_baseline,
    s_effective, s_changed, s_timer, s_now_ms, s_now_ns};

/* ---- procd's ends */

static void
p_start(void *ctx, const struct msg_agent_start *m)
{
	struct sim *s = ctx;

	CHECK(s, s->wish_count < QUEUE);
	s->wishes[s->wish_count++] = *m;
}

static void
p_signal(void *ctx, uint32_t start, int sig)
{
	struct sim *s = ctx;
	struct process *p = &s->run;

	if (!p->alive || p->start != start)
		return;
	if (sig != SIGHUP || chance(s, 20)) {
		p->ending = sig;
		return;
	}
	(void)snprintf(p->text, sizeof(p->text), "%s", text_in(s, s->store.running));
	p->drops = p->connected; /* it connects anew, and says anew how it is */
}

static void
p_kill(void *ctx, uint32_t start)
{
	struct sim *s = ctx;

	if (s->run.start == start)
		s->run.ending = SIGKILL;
	if (s->check.start == start)
		s->check.ending = SIGKILL;
}

static void
p_timer(void *ctx, enum supervise_timer t, uint64_t ms)
{
	struct sim *s = ctx;

	s->proc_timers[t] = ms == 0 ? 0 : s->now + ms;
}

static void
p_state(void *ctx, const struct msg_state *m)
{
	struct sim *s = ctx;
	struct letter one = {.kind = LETTER_STATE, .u.state = *m};

	if (s->confd_lives)
		push(s, &s->to_confd, &one);
}

static void
p_done(void *ctx, const struct msg_job_done *m)
{
	struct sim *s = ctx;
	struct letter one = {.kind = LETTER_DONE, .u.done = *m};

	if (s->confd_lives)
		push(s, &s->to_confd, &one);
}

static const struct supervise_ops sim_procd = {
    p_start, p_signal, p_kill, p_timer, p_state, p_done, s_now_ms};

/* ---- lives and deaths */

static void parent_starts(struct sim *s);

static void
procd_begin(struct sim *s)
{
	static const struct supervise_settings set = {.stop_signal = SIGTERM,
	    .reload_signal = SIGHUP,
	    .grace_ms = 10000,
	    .delay_min_ms = 100,
	    .delay_max_ms = 60000,
	    .reset_ms = 60000,
	    .validate_ms = 20000,
	    .probe_ms = 10000};
	const struct process *list[] = {&s->run, &s->check};
	size_t i;

	memset(s->proc_timers, 0, sizeof(s->proc_timers));
	s->to_procd.count = 0;
	s->procd_lives = 1;
	supervise_init(&s->s, &sim_procd, s, &set);
	for (i = 0; i < 2; i++)
		if (list[i]->alive) {
			struct msg_agent m = {.start = list[i]->start,
			    .kind = list[i]->kind,
			    .pid = 1000,
			    .generation = list[i]->generation,
			    .started_ns = list[i]->began};

			(void)supervise_started(&s->s, &m);
		}
	if (!s->confd_lives)
		return;
	apply_procd_up(&s->a);
	supervise_report(&s->s);
}

static void
procd_dies(struct sim *s)
{
	if (!s->procd_lives)
		return;
	s->procd_lives = 0;
	s->to_procd.count = 0;
	if (chance(s, 2))
		s->to_confd.count = 0;
	if (chance(s, 2))
		s->wish_count = 0;
	while (s->wish_count > 0) /* what it asked of the parent last */
		parent_starts(s);
	memset(s->proc_timers, 0, sizeof(s->proc_timers));
	if (s->confd_lives) {
		while (s->to_confd.count > 0) { /* what it said is read before its end is seen */
			struct letter one = pull(&s->to_confd);

			if (one.kind == LETTER_STATE)
				(void)apply_proc_state(&s->a, &one.u.state);
			else if (one.kind == LETTER_DONE)
				(void)apply_job_done(&s->a, &one.u.done);
		}
		apply_procd_down(&s->a);
	}
}

static void
tell_link(struct sim *s)
{
	struct msg_link_agent m = {s->run.start, LINK_CONNECTED};

	s->run.known = 0; /* link says it again */
	if (s->confd_lives && s->link_lives && s->run.alive && s->run.connected)
		(void)apply_link_agent(&s->a, &m);
}

static void
confd_begin(struct sim *s)
{
	memset(s->timers, 0, sizeof(s->timers));
	s->kind = 0;
	s->confd_lives = 1;
	s->to_confd.count = s->to_procd.count = 0;
	apply_init(&s->a, &sim_ops, s, &s->set, &s->store, s->uid_text);
	(void)bytes_copy(&s->told.hash, s->a.told.hash.data, s->a.told.hash.len);
	s->told.status = s->a.told.status;
	s->unkept = 0;
	if (s->link_lives)
		apply_link_up(&s->a);
	if (s->procd_lives) {
		apply_procd_up(&s->a);
		supervise_report(&s->s);
	}
	tell_link(s);
}

static void
confd_dies(struct sim *s)
{
	if (!s->confd_lives)
		return;
	s->confd_lives = 0;
	s->kind = 0;
	if (chance(s, 2))
		s->to_procd.count = 0; /* half of the time procd has read it all */
	while (s->procd_lives && s->to_procd.count > 0) {
		struct letter one = pull(&s->to_procd);

		if (one.kind == LETTER_RUN)
			(void)supervise_run(&s->s, &one.u.run);
		else if (one.kind == LETTER_STOP)
			supervise_stop(&s->s, &one.u.run);
		else
			(void)supervise_job(&s->s, &one.u.job);
	}
	apply_free(&s->a);
	s->to_confd.count = 0;
}

static void
power_loss(struct sim *s)
{
	confd_dies(s);
	procd_dies(s);
	s->run.alive = s->check.alive = 0;
	s->wish_count = 0;
	s->link_lives = 1;
	procd_begin(s);
	confd_begin(s);
}

/* ---- the agent */

/* What a body does, by its first letter: good, crashes, is never healthy, dies later, is refused. */
static char
nature(const char *text)
{
	return text[0] == 'c' || text[0] == 'n' || text[0] == 'd' || text[0] == 'p' ? text[0] : 'g';
}

static void
agent_exits(struct sim *s, struct process *p, uint32_t exit, int value)
{
	struct msg_agent_exit m = {.start = p->start,
	    .kind = p->kind,
	    .exit = exit,
	    .value = value,
	    .generation = p->generation};
	struct msg_link_agent gone = {p->start, LINK_DISCONNECTED};
	struct msg_output_end words = {.start = p->start, .kind = p->kind};
	int linked = p->connected;

	memset(p, 0, sizeof(*p));
	if (linked && s->link_lives && s->confd_lives)
		(void)apply_link_agent(&s->a, &gone);
	if (s->procd_lives)
		(void)supervise_exited(&s->s, &m);
	if (s->link_lives && s->confd_lives && !chance(s, 4))
		(void)apply_output_end(&s->a, &words, "words", 5);
}

static void
parent_starts(struct sim *s)
{
	struct msg_agent_start w;
	struct process *p;
	struct msg_agent m;
	struct msg_agent_exit e;

	if (s->wish_count == 0)
		return;
	w = s->wishes[0];
	memmove(&s->wishes[0], &s->wishes[1], --s->wish_count * sizeof(w));
	p = w.kind == AGENT_RUN ? &s->run : &s->check;
	if (p->alive || chance(s, 30)) { /* it refuses a second one */
		if (!s->procd_lives)
			return;
		e = (struct msg_agent_exit){
		    .kind = w.kind, .exit = EXIT_SPAWN, .value = 11, .generation = w.generation};
		CHECK(s, w.kind != AGENT_RUN || !p->alive || !s->calm);
		(void)supervise_exited(&s->s, &e);
		return;
	}
	memset(p, 0, sizeof(*p));
	p->alive = 1;
	p->start = ++s->last_start;
	p->kind = w.kind;
	p->generation = w.generation;
	p->began = s->now * 1000000;
	(void)snprintf(p->text, sizeof(p->text), "%s",
	    w.kind == AGENT_RUN ? text_in(s, s->store.running) : s->store.candidate_text);
	m = (struct msg_agent){.start = p->start,
	    .kind = p->kind,
	    .pid = 1000,
	    .flags = w.flags,
	    .generation = p->generation,
	    .started_ns = p->began};
	if (s->procd_lives)
		(void)supervise_started(&s->s, &m);
}

static void
agent_says(struct sim *s, int healthy, enum worst worst)
{
	struct msg_agent_health m = {
	    .start = s->run.start, .healthy = (uint32_t)healthy, .worst = worst, .components = 3};

	s->run.known = 1;
	if (healthy && !s->run.healthy)
		s->run.well_since = s->now;
	s->run.healthy = healthy;
	if (s->link_lives && s->confd_lives)
		(void)apply_health(&s->a, &m, "", 1, fake_copy("tree", 4), 4);
}

static void
agent_drops(struct sim *s)
{
	struct msg_link_agent m = {s->run.start, LINK_DISCONNECTED};

	s->run.connected = s->run.known = s->run.drops = 0;
	if (s->link_lives && s->confd_lives)
		(void)apply_link_agent(&s->a, &m);
}

/* What the agent does next by itself. */
static void
agent_acts(struct sim *s)
{
	struct process *p = &s->run;
	struct msg_link_agent m = {p->start, LINK_CONNECTED};

	if (!p->alive)
		return;
	if (p->ending) {
		agent_exits(s, p, EXIT_SIGNAL, p->ending);
	} else if (nature(p->text) == 'c' || chance(s, 100)) {
		agent_exits(s, p, EXIT_CODE, 1);
	} else if (nature(p->text) == 'd' && s->now - p->began / 1000000 > 3000) {
		agent_exits(s, p, EXIT_SIGNAL, SIGSEGV);
	} else if (s->link_lives && !p->connected) {
		p->connected = 1;
		if (s->confd_lives)
			(void)apply_link_agent(&s->a, &m);
	} else if (s->link_lives && (p->drops || chance(s, 40))) {
		agent_drops(s);
	} else if (!p->known || !p->healthy || chance(s, 3)) {
		if (nature(p->text) == 'n' || chance(s, 30))
			agent_says(s, 0, WORST_STARTING);
		else if (nature(p->text) == 'p')
			agent_says(s, 0, WORST_PERMANENT);
		else
			agent_says(s, 1, WORST_OK);
	}
}

static void
check_acts(struct sim *s)
{
	if (!s->check.alive)
		return;
	if (s->check.ending)
		agent_exits(s, &s->check, EXIT_SIGNAL, SIGKILL);
	else if (!chance(s, 10)) /* else it hangs for this turn */
		agent_exits(s, &s->check, EXIT_CODE, s->check.text[0] == 'v');
}

static void
link_turns(struct sim *s)
{
	s->link_lives = !s->link_lives;
	s->run.connected = s->run.known = s->run.drops = 0;
	if (!s->confd_lives)
		return;
	if (s->link_lives)
		apply_link_up(&s->a);
	else
		apply_link_down(&s->a);
}

/* ---- merge, letters, time */

static void
merge_answers(struct sim *s)
{
	struct msg_merge m = {.job = s->job, .kind = s->kind, .status = MERGE_DONE_OK};
	struct record_writer r = {0};
	struct error err;
	char *data = NULL, text[512];
	size_t len = 0;

	if (s->kind == 0 || !s->confd_lives)
		return;
	s->kind = 0;
	if (chance(s, 25))
		m.status = MERGE_DIED;
	else if (s->remote[0] == 'r')
		m.status = MERGE_REFUSED;
	if (m.status == MERGE_DONE_OK && m.kind == MERGE_COMPOSE) {
		(void)snprintf(text, sizeof(text), "%s ws://127.0.0.1:%d/v1/opamp %s", s->remote,
		    PORT, s->a.uid_text);
		record_put(&r, RESULT_EFFECTIVE, 0, 0, text, strlen(text));
		CHECK(s, record_finish(&r, &data, &len, &err) == 0);
	} else {
		data = fake_copy("no", 2);
		len = 2;
	}
	apply_merged(&s->a, &m, &(struct apply_bytes){.data = data, .len = len});
}

static void
procd_reads(struct sim *s)
{
	struct letter one;

	if (!s->procd_lives || s->to_procd.count == 0)
		return;
	one = pull(&s->to_procd);
	if (one.kind == LETTER_RUN)
		CHECK(s, supervise_run(&s->s, &one.u.run) == 0);
	else if (one.kind == LETTER_STOP)
		supervise_stop(&s->s, &one.u.run);
	else
		CHECK(s, supervise_job(&s->s, &one.u.job) == 0);
}

static void
confd_reads(struct sim *s)
{
	struct letter one;

	if (!s->confd_lives || s->to_confd.count == 0)
		return;
	one = pull(&s->to_confd);
	if (one.kind == LETTER_STATE)
		CHECK(s, apply_proc_state(&s->a, &one.u.state) == 0);
	else
		CHECK(s, apply_job_done(&s->a, &one.u.done) == 0);
}

static void
time_passes(struct sim *s, uint64_t ms)
{
	uint64_t until = s->now + ms, *next;
	int t;

	/* these take no time */
	if (s->run.alive && s->run.ending == SIGHUP)
		agent_exits(s, &s->run, EXIT_SIGNAL, SIGHUP);
	else if (s->run.alive && nature(s->run.text) == 'c')
		agent_exits(s, &s->run, EXIT_CODE, 1);
	if (s->run.alive && s->run.drops)
		agent_drops(s);

	for (;;) {
		next = NULL;
		for (t = 0; t < APPLY_TIMERS; t++)
			if (s->timers[t] != 0 && s->timers[t] <= until &&
			    (next == NULL || s->timers[t] < *next))
				next = &s->timers[t];
		for (t = 0; t < TIMER_COUNT; t++)
			if (s->proc_timers[t] != 0 && s->proc_timers[t] <= until &&
			    (next == NULL || s->proc_timers[t] < *next))
				next = &s->proc_timers[t];
		if (next == NULL)
			break;
		if (*next > s->now)
			s->now = *next;
		*next = 0;
		while (s->confd_lives && s->to_confd.count > 0) /* what has come is read first */
			confd_reads(s);
		if (next >= s->timers && next < s->timers + APPLY_TIMERS) {
			if (s->confd_lives)
				apply_timeout(&s->a, (enum apply_timer)(next - s->timers));
		} else if (s->procd_lives) {
			supervise_timeout(&s->s, (enum supervise_timer)(next - s->proc_timers));
		}
	}
	s->now = until;
}

#endif
