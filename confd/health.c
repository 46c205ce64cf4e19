/*
 * health.c: see health.h.  confd only.
 */
#include "health.h"

#include <stdio.h>
#include <string.h>

#include "apply_internal.h"

static void
say(struct health_report *r, int healthy, const char *status, const char *error)
{
	r->healthy = healthy;
	(void)snprintf(r->status, sizeof(r->status), "%s", status);
	(void)snprintf(r->error, sizeof(r->error), "%s", error);
	text_trim(r->status);
	text_trim(r->error);
}

static void
passing(struct health_report *r, const char *error)
{
	r->passing = 1;
	say(r, 0, "StatusStarting", error);
}

/* It ended by itself: why, with its last words. */
static void
ended(const struct apply *a, struct health_report *r)
{
	const struct msg_state *p = &a->agent.proc;
	const char *words = p->exit_start != 0 && a->agent.run_words.start == p->exit_start
				? a->agent.run_words.text
				: "";
	char end[256], text[1024];

	words = apply_last_words(words, p->exit, text, sizeof(text));
	(void)apply_exit_text(end, sizeof(end), p->exit, p->value, p->stage);
	r->settled = p->state == AGENT_GIVEN_UP ? SETTLED_GIVEN_UP : SETTLED_ENDED;
	say(r, 0, "StatusFatalError", "");
	(void)snprintf(r->error, sizeof(r->error), "%s%s%s%.3500s", end,
	    p->state == AGENT_GIVEN_UP ? ", and was given up (agent.restart.max_restarts)" : "",
	    words[0] != '\0' ? ": " : "", words);
	text_trim(r->error);
}

/* As it says itself. */
static void
reported(const struct apply *a, struct health_report *r)
{
	const struct apply_agent *g = &a->agent;

	say(r, g->health.healthy != 0, g->status, g->error);
	r->status_time_ns = g->health.status_time_ns;
	r->component = g->component;
	r->component_len = g->component_len;
	if (!r->healthy && r->error[0] == '\0')
		say(r, 0, g->status,
		    g->health.worst == WORST_STARTING ? "its components are starting"
						      : "the agent says that it is not healthy");
	if (r->healthy)
		r->error[0] = '\0';
	else if (g->health.worst == WORST_STARTING)
		r->passing = 1;
}

static void
running(const struct apply *a, struct health_report *r)
{
	const struct apply_agent *g = &a->agent;
	int known = g->health_known && g->health.start == g->proc.start;

	r->started_ns = g->proc.started_ns;
	say(r, 1, "StatusOK", "");
	if (a->set.injects) {
		/* while link is away, what was said last holds */
		if (!known && g->link_start != g->proc.start)
			passing(r, "the agent has not connected to opampd");
		else if (!known)
			passing(r, "the agent has not reported its health");
		else if (g->link_up && g->link_start != g->proc.start)
			passing(r, "the agent has lost its connection to opampd");
		else
			reported(a, r);
	}
	if (a->set.probes && r->healthy) {
		if (g->probe.start != g->proc.start)
			passing(r, "its health endpoint was not asked yet");
		else if (g->probe.ok == 0)
			say(r, 0, "StatusRecoverableError",
			    g->probe_text[0] != '\0' ? g->probe_text
						     : "its health endpoint does not answer");
	}
	if (!r->passing)
		r->settled = r->healthy ? SETTLED_RUNS : SETTLED_UNWELL;
}

/* Where it is not its process that says how it is. */
static uint32_t
without_agent(const struct apply *a)
{
	if (a->stopped && a->run_generation == 0)
		return SETTLED_STOPPED;
	if (a->waiting)
		return SETTLED_WAITS;
	return a->run_generation == 0 && a->local_error[0] != '\0' ? SETTLED_REFUSED : SETTLED_NOT;
}

void
health_compose(const struct apply *a, struct health_report *r)
{
	const struct msg_state *p = &a->agent.proc;

	memset(r, 0, sizeof(*r));
	if (!a->ending)
		r->settled = without_agent(a);
	if (a->agent.proc_known && (p->state == AGENT_RUNNING || p->state == AGENT_STOPPING))
		r->started_ns = p->started_ns;
	if (a->ending)
		say(r, 0, "StatusStopping", "opampd is shutting down");
	else if (a->stopped && a->run_generation == 0)
		say(r, 1, "StatusStopped", "");
	else if (a->waiting)
		say(r, 0, "StatusStarting", "no configuration yet: waiting for the server's");
	else if (a->run_generation == 0 && a->local_error[0] != '\0')
		say(r, 0, "StatusPermanentError", a->local_error);
	else if (!a->agent.proc_known || a->run_generation == 0)
		passing(r, "the agent is being started");
	else if (p->state == AGENT_BACKOFF || p->state == AGENT_GIVEN_UP)
		ended(a, r);
	else if (apply_running(a))
		running(a, r);
	else
		passing(r, "the agent is being started");
}

int
health_changed(const struct health_report *now, const struct health_report *told)
{
	return now->healthy != told->healthy || now->started_ns != told->started_ns ||
	       strcmp(now->error, told->error) != 0 || strcmp(now->status, told->status) != 0 ||
	       now->component_len != told->component_len ||
	       (now->component_len > 0 &&
		   memcmp(now->component, told->component, now->component_len) != 0);
}
