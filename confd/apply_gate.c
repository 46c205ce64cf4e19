/*
 * apply_gate.c: what the agent's process, its link and its health endpoint say, and whether that is
 * enough: the gate of a trial, and the proof of what runs while nothing was committed (see apply.h).
 * confd only.
 */
#include "apply_internal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/log.h"
#include "privsep/spawn_stage.h"

#define LAST_LINES 3
#define LAST_LINE  240 /* bytes of each */

/* ---- words */

const char *
apply_exit_text(char *text, size_t size, uint32_t exit, int32_t value, uint32_t stage)
{
	switch (exit) {
	case EXIT_CODE:
		(void)snprintf(text, size, "it ended with exit code %d", value);
		break;
	case EXIT_SIGNAL:
		(void)snprintf(text, size, "it was ended by signal %d (%s)%s", value,
		    strsignal(value),
		    value == SIGSYS
			? ": it made a call that its sandbox forbids (see agent.sandbox)"
			: "");
		break;
	case EXIT_OOM:
		(void)snprintf(text, size, "it was killed by the kernel: out of memory");
		break;
	case EXIT_SPAWN:
		(void)snprintf(text, size, "it could not be started: %s: %s%s",
		    spawn_stage_name(stage), strerror(value), spawn_stage_hint(stage, value));
		break;
	case EXIT_TIMEOUT:
		(void)snprintf(text, size, "it took too long and was ended");
		break;
	default:
		(void)snprintf(text, size, "it is not running");
		break;
	}
	return text;
}

const char *
apply_words_of(const struct apply *a, uint32_t start)
{
	if (start == 0)
		return NULL;
	if (a->agent.run_words.start == start)
		return a->agent.run_words.text;
	if (a->agent.job_words.start == start)
		return a->agent.job_words.text;
	return NULL;
}

/* The error block that link looks for (netd/output_line.c) says why by itself. */
static int
is_error(const char *words)
{
	static const char *const begins[] = {"Error:", "panic: ", "fatal error: "};
	size_t i;

	for (i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		if (strncmp(words, begins[i], strlen(begins[i])) == 0)
			return 1;
	return 0;
}

const char *
apply_last_words(const char *words, uint32_t exit, char *text, size_t size)
{
	const char *at = words + strlen(words), *end;
	size_t used = 0, n;
	int lines = 0;

	if ((exit != EXIT_SIGNAL && exit != EXIT_OOM) || is_error(words))
		return words;
	while (at > words && lines < LAST_LINES)
		if (*--at == '\n' && at[1] != '\0' && ++lines == LAST_LINES)
			at++;
	for (; *at != '\0' && used + LAST_LINE + 8 < size; at = *end == '\0' ? end : end + 1) {
		end = strchrnul(at, '\n');
		n = (size_t)(end - at);
		used += (size_t)snprintf(text + used, size - used, "%s%.*s", used > 0 ? "\n" : "",
		    (int)(n < LAST_LINE ? n : LAST_LINE), at);
		if (n > LAST_LINE) {
			text_trim(text);
			used = strlen(text);
			used += (size_t)snprintf(text + used, size - used, " ...");
		}
	}
	text[used] = '\0';
	return text;
}

/* ---- well? */

int
apply_running(const struct apply *a)
{
	const struct msg_state *p = &a->agent.proc;

	return a->agent.proc_known && a->run_generation != 0 && p->state == AGENT_RUNNING &&
	       p->token == a->token;
}

static int
health_is_of(const struct apply *a, uint32_t start)
{
	return a->agent.health_known && a->agent.health.start == start;
}

static int
link_well(const struct apply *a)
{
	const struct apply_agent *g = &a->agent;

	if (!g->link_up || g->link_start != g->proc.start || !health_is_of(a, g->proc.start))
		return 0;
	switch (g->health.worst) {
	case WORST_RECOVERABLE_OLD: /* as before: not this configuration's fault */
		return 1;
	case WORST_NONE:
	case WORST_OK:
		return g->health.healthy != 0;
	default:
		return 0;
	}
}

static int
probe_well(const struct apply *a)
{
	return a->agent.probe.start == a->agent.proc.start && a->agent.probe.ok != 0;
}

int
apply_well(const struct apply *a)
{
	return apply_running(a) && (!a->set.injects || link_well(a)) &&
	       (!a->set.probes || probe_well(a));
}

const char *
apply_missing(const struct apply *a, char *text, size_t size)
{
	const struct apply_agent *g = &a->agent;

	if (!apply_running(a))
		(void)snprintf(text, size, "its process does not run yet");
	else if (a->set.injects && g->link_start != g->proc.start)
		(void)snprintf(text, size, "it has not connected to opampd");
	else if (a->set.injects && (a->stale || !health_is_of(a, g->proc.start)))
		(void)snprintf(text, size, "it has not reported its health");
	else if (a->set.injects && !link_well(a))
		(void)snprintf(text, size, "%s",
		    g->error[0] != '\0'                 ? g->error
		    : g->health.worst == WORST_STARTING ? "its components are still starting"
							: "it says that it is not healthy");
	else if (a->set.probes && !probe_well(a))
		(void)snprintf(text, size, "its health endpoint: %s",
		    g->probe.start != g->proc.start ? "no answer yet"
		    : g->probe_text[0] != '\0'      ? g->probe_text
						    : "it does not answer as it should");
	else
		(void)snprintf(text, size, "it was not healthy for long enough");
	return text;
}

/* ---- the gate */

static void
arm_gate(struct apply *a)
{
	a->ops->timer(a->ctx, APPLY_TIMER_GATE, a->set.timeout_ms);
}

void
apply_gate_begin(struct apply *a)
{
	a->well_since_ms = 0;
	/* what it said before the reload does not count, once it has gone through it */
	a->stale = a->try.reload && a->set.injects && a->agent.link_start != 0;
	apply_enter(a, APPLY_GATE);
	a->ops->timer(a->ctx, APPLY_TIMER_SETTLE, 0);
	/* link is away: the time begins when it is back */
	if (!a->set.injects || a->agent.link_up)
		arm_gate(a);
}

/* By the signal itself: that says nothing about the configuration. */
static int
died_of_reload(const struct apply *a)
{
	const struct msg_state *p = &a->agent.proc;

	return a->try.reload && p->token == a->token && p->state == AGENT_BACKOFF &&
	       p->exit == EXIT_SIGNAL &&
	       (p->value == SIGHUP || p->value == SIGUSR1 || p->value == SIGUSR2 ||
		   p->value == SIGINT || p->value == SIGTERM);
}

/* A verdict that no waiting will change.  1: the trial is over. */
static int
failed_at_once(struct apply *a)
{
	const struct apply_agent *g = &a->agent;
	const struct msg_state *p = &g->proc;
	char text[256];

	if (died_of_reload(a)) {
		log_warn("the agent did not listen for the reload's signal yet: starting it anew");
		a->try.reload = a->stale = 0;
		apply_run(a, RUN_RESTART, a->try.generation);
		return 0;
	}
	if (p->token == a->token && (p->state == AGENT_BACKOFF || p->state == AGENT_GIVEN_UP ||
					p->state == AGENT_STOPPED)) {
		a->want_words = p->exit_start != 0;
		a->words_start = p->exit_start;
		a->words_exit = p->exit;
		apply_fail(a, 1, "the agent did not run on it: %s",
		    apply_exit_text(text, sizeof(text), p->exit, p->value, p->stage));
		return 1;
	}
	if (!a->set.injects || a->stale || !apply_running(a) || !health_is_of(a, p->start))
		return 0;
	if (g->health.worst != WORST_PERMANENT && g->health.worst != WORST_FATAL)
		return 0;
	apply_fail(a, 1, "%s",
	    g->error[0] != '\0'                  ? g->error
	    : g->health.worst == WORST_PERMANENT ? "a component failed for good"
						 : "a component failed fatally");
	return 1;
}

/* Well, and for how long: 1 when that is long enough. */
static int
settled(struct apply *a)
{
	uint64_t now = a->ops->now_ms(a->ctx);

	if (!apply_well(a) || a->stale) {
		if (a->well_since_ms != 0)
			a->ops->timer(a->ctx, APPLY_TIMER_SETTLE, 0);
		a->well_since_ms = 0;
		return 0;
	}
	if (a->well_since_ms == 0)
		a->well_since_ms = now == 0 ? 1 : now;
	if (now - a->well_since_ms >= a->set.settling_ms)
		return 1;
	/* each time anew: a timer may fire a little early, since the loop's clock stands while it works */
	a->ops->timer(a->ctx, APPLY_TIMER_SETTLE, a->set.settling_ms - (now - a->well_since_ms));
	return 0;
}

void
apply_judge(struct apply *a)
{
	if (a->ending)
		return;
	if (a->phase == APPLY_GATE) {
		if (!failed_at_once(a) && settled(a))
			apply_commit(a);
		return;
	}
	if (a->phase != APPLY_IDLE)
		return;
	if (a->committed == 0 && a->base != 0 && a->run_generation == a->base) {
		if (settled(a))
			apply_commit_base(a);
	} else if (!a->baselined && a->set.injects && apply_well(a)) {
		/* link is new: what it knew of the components went with its predecessor */
		a->baselined = 1;
		a->ops->baseline(a->ctx, a->agent.proc.start);
	}
}

/*
 * A program that is not well may not listen for the signal yet, which would then end it (where it is
 * well and does not listen all the same: died_of_reload).
 */
int
apply_may_reload(const struct apply *a)
{
	return a->set.hup && a->try.validated && apply_well(a);
}

static void
look(struct apply *a)
{
	a->ops->changed(a->ctx);
	apply_judge(a);
}

/* ---- procd */

void
apply_procd_up(struct apply *a)
{
	a->agent.proc_fresh = 1;
}

void
apply_procd_down(struct apply *a)
{
	a->agent.proc_fresh = 1; /* what it said last holds until its successor speaks */
}

int
apply_proc_state(struct apply *a, const struct msg_state *m)
{
	if (m->state == AGENT_STATE_NONE || m->state > AGENT_GIVEN_UP || m->exit > EXIT_TIMEOUT)
		return -1;
	a->agent.proc = *m;
	a->agent.proc_known = 1;
	if (a->agent.proc_fresh) {
		a->agent.proc_fresh = 0;
		apply_first_state(a);
	} else if (m->token == a->token) {
		a->obeyed = 1;
	}
	if (apply_running(a))
		a->run_start = a->agent.proc.start;
	apply_rollback_step(a);
	look(a);
	return 0;
}

/* ---- link */

void
apply_link_up(struct apply *a)
{
	a->agent.link_up = 1;
	a->agent.link_start = 0;
	a->baselined = 0;
	if (a->stale) /* what was said before the reload still does not count */
		a->agent.health_known = 0;
	a->stale = 0;
	/*
	 * The agent has yet to find the way to the new link: the whole time once more.  Not without end: one
	 * that can end link would never be judged.
	 */
	if (a->phase == APPLY_GATE && a->set.injects && !a->ending) {
		if (++a->try.links > APPLY_LINKS)
			apply_fail(a, 1,
			    "opampd's process that the agent speaks to ended %u times while it was "
			    "tried, so that it could not be judged",
			    a->try.links);
		else
			arm_gate(a);
	}
	look(a);
}

void
apply_link_down(struct apply *a)
{
	a->agent.link_up = 0;
	a->agent.link_start = 0;
	if (a->set.injects)
		a->ops->timer(a->ctx, APPLY_TIMER_GATE, 0);
	look(a);
}

int
apply_link_agent(struct apply *a, const struct msg_link_agent *m)
{
	struct apply_agent *g = &a->agent;

	if (m->event == LINK_EVENT_NONE || m->event > LINK_DISCONNECTED)
		return -1;
	if (m->event == LINK_CONNECTED) {
		g->link_start = m->start;
	} else if (g->link_start == m->start) {
		g->link_start = 0;
		/* after a reload it connects anew and says anew how it is */
		if (health_is_of(a, m->start))
			g->health_known = 0;
		a->stale = 0;
	}
	look(a);
	return 0;
}

static void
copy_text(char *to, size_t size, const char *from, size_t len)
{
	if (len >= size)
		len = size - 1;
	memcpy(to, from, len);
	to[len] = '\0';
}

int
apply_health(struct apply *a, const struct msg_agent_health *m, const char *text, size_t text_len,
    char *component, size_t component_len)
{
	struct apply_agent *g = &a->agent;
	const char *nul = memchr(text, '\0', text_len);
	size_t error_len = nul == NULL ? text_len : (size_t)(nul - text);

	if (m->worst > WORST_STOPPED || m->healthy > 1) {
		free(component);
		return -1;
	}
	g->health = *m;
	g->health_known = 1;
	copy_text(g->error, sizeof(g->error), text, error_len);
	if (nul != NULL)
		copy_text(g->status, sizeof(g->status), nul + 1, text_len - error_len - 1);
	else
		g->status[0] = '\0';
	free(g->component);
	g->component = component;
	g->component_len = component_len;
	look(a);
	return 0;
}

int
apply_probed(struct apply *a, const struct msg_probe *m, const char *text, size_t len)
{
	if (m->ok > 1)
		return -1;
	a->agent.probe = *m;
	copy_text(a->agent.probe_text, sizeof(a->agent.probe_text), text, len);
	look(a);
	return 0;
}

int
apply_output_end(struct apply *a, const struct msg_output_end *m, const char *text, size_t len)
{
	struct apply_words *w = m->kind == AGENT_RUN ? &a->agent.run_words : &a->agent.job_words;

	if (m->kind == AGENT_NOTHING || m->kind > AGENT_PROBE)
		return -1;
	w->start = m->start;
	copy_text(w->text, sizeof(w->text), text, len);
	a->ops->changed(a->ctx);
	if (!a->ending)
		apply_words_came(a);
	return 0;
}
