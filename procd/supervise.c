/*
 * supervise.c: the agent's life (see supervise.h).  procd only.
 */
#include "supervise.h"

#include <signal.h>
#include <string.h>

void
supervise_init(struct supervise *s, const struct supervise_ops *ops, void *ctx,
    const struct supervise_settings *set)
{
	memset(s, 0, sizeof(*s));
	s->ops = ops;
	s->ctx = ctx;
	s->set = *set;
	s->state = AGENT_STOPPED;
}

void
supervise_report(struct supervise *s)
{
	uint64_t now = s->ops->now_ms(s->ctx);
	struct msg_state m = {.state = s->state,
	    .start = s->start,
	    .pid = s->pid,
	    .restarts = s->restarts,
	    .generation = s->running_generation,
	    .token = s->token,
	    .started_ns = s->started_ns,
	    .exit = s->last.exit,
	    .value = s->last.value,
	    .stage = s->last.stage,
	    .exit_start = s->last.start};

	if (s->state == AGENT_BACKOFF && s->next_at_ms > now)
		m.next_ms = s->next_at_ms - now;
	s->ops->state(s->ctx, &m);
}

static void
enter(struct supervise *s, enum agent_state state)
{
	s->state = state;
	if (state != AGENT_RUNNING && state != AGENT_STOPPING) {
		s->start = 0;
		s->pid = 0;
		s->started_ns = 0;
	}
	supervise_report(s);
}

static void
begin(struct supervise *s)
{
	struct msg_agent_start m = {
	    .kind = AGENT_RUN, .flags = s->flags, .generation = s->generation};

	s->ops->timer(s->ctx, TIMER_BACKOFF, 0);
	s->replace = 0;
	s->running_generation = s->generation;
	s->running_flags = s->flags;
	enter(s, AGENT_STARTING);
	s->ops->start(s->ctx, &m);
}

static void
end(struct supervise *s)
{
	s->ops->signal(s->ctx, s->start, s->set.stop_signal);
	s->ops->timer(s->ctx, TIMER_GRACE, s->set.grace_ms == 0 ? 1 : s->set.grace_ms);
	enter(s, AGENT_STOPPING);
}

static void
reload(struct supervise *s)
{
	s->running_generation = s->generation;
	s->ops->signal(s->ctx, s->start, s->set.reload_signal);
	supervise_report(s);
}

int
supervise_run(struct supervise *s, const struct msg_run *m)
{
	if (m->how == RUN_NOTHING || m->how > RUN_ENSURE ||
	    (m->flags & ~(uint32_t)AGENT_NO_PIPELINES_GATE) != 0)
		return -1;
	s->want = WANT_RUN;
	s->generation = m->generation;
	s->flags = m->flags;
	s->token = m->token;
	s->restarts = 0;
	s->crashes = 0;
	s->delay_ms = 0;
	switch (s->state) {
	case AGENT_STARTING:
		/* told to start on something else than what is under way: once more, then */
		if (m->how != RUN_ENSURE || s->running_generation != m->generation)
			s->replace = 1;
		supervise_report(s);
		break;
	case AGENT_RUNNING:
		if (m->how == RUN_ENSURE && s->running_generation == m->generation)
			supervise_report(s);
		else if (m->how == RUN_RELOAD && s->running_flags == m->flags)
			reload(s);
		else
			end(s);
		break;
	case AGENT_STOPPING: /* starts when it has ended */
		supervise_report(s);
		break;
	default:
		begin(s);
		break;
	}
	return 0;
}

void
supervise_stop(struct supervise *s, const struct msg_run *m)
{
	s->want = WANT_STOP;
	s->token = m->token;
	switch (s->state) {
	case AGENT_STARTING:
		s->replace = 1;
		break;
	case AGENT_RUNNING:
		end(s);
		break;
	case AGENT_STOPPING:
		break;
	default:
		s->ops->timer(s->ctx, TIMER_BACKOFF, 0);
		enter(s, AGENT_STOPPED);
		break;
	}
}

/* ---- jobs: one at a time; a newer one drops the older */

static void
begin_job(struct supervise *s, const struct msg_job *m)
{
	struct msg_agent_start start = {
	    .kind = m->kind, .flags = m->flags, .generation = m->generation};

	s->job = *m;
	s->job_start = 0;
	s->job_timed_out = s->job_dropped = 0;
	s->ops->timer(
	    s->ctx, TIMER_JOB, m->kind == AGENT_PROBE ? s->set.probe_ms : s->set.validate_ms);
	s->ops->start(s->ctx, &start);
}

int
supervise_job(struct supervise *s, const struct msg_job *m)
{
	if ((m->kind != AGENT_VALIDATE && m->kind != AGENT_PROBE) ||
	    (m->flags & ~(uint32_t)AGENT_NO_PIPELINES_GATE) != 0)
		return -1;
	if (s->job.kind == AGENT_NOTHING) {
		begin_job(s, m);
		return 0;
	}
	s->next_job = *m;
	s->job_dropped = 1;
	if (s->job_start != 0)
		s->ops->kill(s->ctx, s->job_start);
	return 0;
}

static void
end_job(struct supervise *s, const struct msg_agent_exit *m)
{
	struct msg_job_done done = {.token = s->job.token,
	    .start = m->start,
	    .kind = m->kind,
	    .exit = s->job_timed_out ? EXIT_TIMEOUT : m->exit,
	    .value = m->value,
	    .stage = m->stage};
	struct msg_job next = s->next_job;

	s->ops->timer(s->ctx, TIMER_JOB, 0);
	if (!s->job_dropped)
		s->ops->job_done(s->ctx, &done);
	memset(&s->job, 0, sizeof(s->job));
	memset(&s->next_job, 0, sizeof(s->next_job));
	s->job_start = 0;
	if (next.kind != AGENT_NOTHING)
		begin_job(s, &next);
}

/* ---- the parent's news */

static int
job_started(struct supervise *s, const struct msg_agent *m)
{
	s->job_start = m->start;
	if (s->job.kind == AGENT_NOTHING) {
		/* our predecessor's: nobody waits for it any more */
		s->job.kind = m->kind;
		s->job_dropped = 1;
	}
	if (s->job_dropped || s->job_timed_out) /* its time was over before it began */
		s->ops->kill(s->ctx, m->start);
	return 0;
}

int
supervise_started(struct supervise *s, const struct msg_agent *m)
{
	if (m->start == 0 || m->kind == AGENT_NOTHING || m->kind > AGENT_PROBE)
		return -1;
	if (m->kind != AGENT_RUN)
		return job_started(s, m);
	s->start = m->start;
	s->pid = m->pid;
	s->started_ns = m->started_ns;
	s->began_ms = s->ops->now_ms(s->ctx);
	if (s->state != AGENT_STARTING) { /* taken over from a procd that died */
		s->running_generation = m->generation;
		s->running_flags = m->flags;
		if (s->want == WANT_UNKNOWN) {
			s->generation = m->generation;
			s->flags = m->flags;
		}
	}
	s->state = AGENT_RUNNING;
	if (s->want == WANT_STOP || s->replace)
		end(s);
	else
		supervise_report(s);
	return 0;
}

static void
crashed(struct supervise *s, uint64_t lived_ms)
{
	if (lived_ms >= s->set.reset_ms) {
		s->delay_ms = 0;
		s->crashes = 0;
	}
	s->crashes++;
	if (s->set.ceiling != 0 && s->crashes > s->set.ceiling) {
		enter(s, AGENT_GIVEN_UP);
		return;
	}
	s->delay_ms = s->delay_ms == 0 ? s->set.delay_min_ms : s->delay_ms * 2;
	if (s->delay_ms > s->set.delay_max_ms)
		s->delay_ms = s->set.delay_max_ms;
	s->next_at_ms = s->ops->now_ms(s->ctx) + s->delay_ms;
	s->ops->timer(s->ctx, TIMER_BACKOFF, s->delay_ms);
	enter(s, AGENT_BACKOFF);
}

int
supervise_exited(struct supervise *s, const struct msg_agent_exit *m)
{
	int asked = m->asked != 0 || s->state == AGENT_STOPPING ||
		    (s->state == AGENT_STARTING && s->replace);
	uint64_t lived;

	if (m->kind == AGENT_NOTHING || m->kind > AGENT_PROBE)
		return -1;
	if (m->kind != AGENT_RUN) {
		if (s->job.kind == m->kind)
			end_job(s, m);
		return 0;
	}
	if (s->state != AGENT_STARTING && s->state != AGENT_RUNNING && s->state != AGENT_STOPPING)
		return 0;
	lived = s->state == AGENT_STARTING ? 0 : s->ops->now_ms(s->ctx) - s->began_ms;
	s->ops->timer(s->ctx, TIMER_GRACE, 0);
	s->last = *m;
	if (s->want == WANT_STOP) {
		enter(s, AGENT_STOPPED);
	} else if (asked) {
		memset(&s->last, 0, sizeof(s->last)); /* an end that was asked for is no news */
		begin(s);
	} else {
		crashed(s, lived);
	}
	return 0;
}

void
supervise_timeout(struct supervise *s, enum supervise_timer t)
{
	switch (t) {
	case TIMER_BACKOFF:
		if (s->state == AGENT_BACKOFF) {
			s->restarts++;
			begin(s);
		}
		break;
	case TIMER_GRACE:
		if (s->state == AGENT_STOPPING)
			s->ops->kill(s->ctx, s->start);
		break;
	case TIMER_JOB:
		if (s->job.kind != AGENT_NOTHING) {
			s->job_timed_out = 1;
			if (s->job_start != 0)
				s->ops->kill(s->ctx, s->job_start);
		}
		break;
	case TIMER_COUNT:
	default:
		break;
	}
}
