/*
 * parent_ready.c: what the service manager is told (notify.h): that opampd is ready and how it is with the
 * agent, a reload, the end, the watchdog.  The parent only.
 * Ready means that the agent runs, or that the reason is known why it does not.  Which of these it is confd
 * says by a number (CONFD_SETTLED); the words are ours, the numbers in them the kernel's.  So a confd that
 * was taken over can have the manager told something wrong, and nothing else.
 */
#include <stdio.h>
#include <string.h>

#include "notify.h"
#include "parent.h"
#include "spawn_stage.h"

static void
arm(struct event *e, uint64_t ms)
{
	if (parent_arm(e, ms) == -1)
		fatal("no memory for the service manager's timers");
}

static void
describe_end(const struct ready *r, char *text, size_t size)
{
	const struct msg_agent_exit *e = &r->end;
	int spawn = e->exit == EXIT_SPAWN;
	char how[80];

	(void)agent_end_words(how, sizeof(how), e->exit, e->value);
	(void)snprintf(text, size, "the agent %s%s%s%s%s: %s", how, spawn ? ": " : "",
	    spawn ? spawn_stage_name(e->stage) : "", spawn ? ": " : "",
	    spawn ? strerror(e->value) : "",
	    r->settled == SETTLED_GIVEN_UP
		? "given up (agent.restart.max_restarts); opampctl restart starts it again"
	    : spawn ? "it is tried again"
		    : "it is started again (opampctl log shows what it said)");
}

/* The words of the log, where it has them. */
static void
describe(const struct ready *r, char *text, size_t size)
{
	switch (r->settled) {
	case SETTLED_RUNS:
		(void)snprintf(text, size, "the agent runs");
		break;
	case SETTLED_UNWELL:
		(void)snprintf(text, size,
		    "the agent runs, but is not healthy (opampctl health shows what it says)");
		break;
	case SETTLED_WAITS:
		(void)snprintf(text, size, "no configuration yet: waiting for the server's");
		break;
	case SETTLED_STOPPED:
		(void)snprintf(text, size, "the server sent an empty configuration: no agent runs");
		break;
	case SETTLED_REFUSED:
		(void)snprintf(
		    text, size, "the agent has nothing to run on (opampctl status shows why)");
		break;
	case SETTLED_ENDED:
	case SETTLED_GIVEN_UP:
		describe_end(r, text, size);
		break;
	default:
		(void)snprintf(text, size,
		    "whether the agent runs is not known yet (opampctl status, and the log)");
		break;
	}
}

static void
tell(struct parent *p)
{
	struct ready *r = &p->ready;
	char status[sizeof(r->status)], text[sizeof(status) + 32];

	describe(r, status, sizeof(status));
	if (r->told && strcmp(status, r->status) == 0)
		return;
	(void)snprintf(text, sizeof(text), "%sSTATUS=%s", r->told ? "" : "READY=1\n", status);
	notify(text);
	if (!r->told)
		log_info("ready: %s", status);
	r->told = 1;
	memcpy(r->status, status, sizeof(r->status));
	(void)event_del(r->limit);
}

static void
on_news(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tell(arg);
}

static void
on_limit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tell(arg);
}

/*
 * Before it is ready: a reason why not is told at once; that it runs, when it has done so for a while; that
 * it is not well, when it had its time to become so.  Afterwards one word in a while, however many came.
 */
static void
plan(struct ready *r, int changed)
{
	if (r->told) {
		if (!event_pending(r->news, EV_TIMEOUT, NULL))
			arm(r->news, LIMIT_READY_LIVES_MS);
	} else if (r->settled == SETTLED_RUNS || r->settled == SETTLED_UNWELL) {
		if (changed)
			arm(r->news, r->settled == SETTLED_RUNS ? LIMIT_READY_LIVES_MS
								: LIMIT_READY_UNWELL_MS);
	} else if (r->settled == SETTLED_NOT) {
		(void)event_del(r->news);
	} else {
		arm(r->news, 0);
	}
}

int
parent_ready_settled(struct parent *p, const struct msg_settled *m)
{
	struct ready *r = &p->ready;
	int changed = m->what != r->settled;

	if (m->what >= SETTLED_COUNT)
		return -1;
	if (m->what == SETTLED_NOT && r->told)
		return 0; /* what was told stands until there is something else to tell */
	r->settled = m->what;
	if (!p->ending)
		plan(r, changed);
	return 0;
}

void
parent_ready_agent_ended(struct parent *p, const struct msg_agent_exit *m)
{
	if (m->kind == AGENT_RUN && m->asked == 0)
		p->ready.end = *m;
}

void
parent_ready_reloads(struct parent *p, int done)
{
	if (p->ready.told) /* else READY=1 is yet to come */
		notify(done ? "READY=1" : "RELOADING=1");
}

/* The word on the agent was overwritten: it is said again, when this one could be read. */
static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;

	(void)fd;
	(void)what;
	p->ready.status[0] = '\0';
	tell(p);
}

void
parent_ready_upgrades(struct parent *p, int refused)
{
	(void)event_del(p->ready.again);
	notify(refused ? "STATUS=an upgrade was refused: the log says why"
		       : "STATUS=looking at the new program");
	if (refused && p->ready.told && !p->ending)
		arm(p->ready.again, LIMIT_READY_REFUSED_MS);
}

void
parent_ready_ends(struct parent *p)
{
	(void)event_del(p->ready.again);
	(void)event_del(p->ready.news);
	(void)event_del(p->ready.limit);
	notify("STOPPING=1\nSTATUS=shutting down");
}

/* ---- the watchdog: the service manager ends a parent whose loop stands still */

static void
on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	notify("WATCHDOG=1");
}

void
parent_ready_begin(struct parent *p, uint64_t limit_ms)
{
	struct ready *r = &p->ready;
	uint64_t watchdog = notify_watchdog_ms();

	r->news = event_new(p->base, -1, 0, on_news, p);
	r->limit = event_new(p->base, -1, 0, on_limit, p);
	r->again = event_new(p->base, -1, 0, on_again, p);
	r->watchdog = event_new(p->base, -1, EV_PERSIST, on_watchdog, NULL);
	if (r->news == NULL || r->limit == NULL || r->again == NULL || r->watchdog == NULL)
		fatal("no memory for the service manager's timers");
	arm(r->limit, limit_ms);
	if (watchdog == 0)
		return;
	/* now: at an upgrade the manager counts from the last word of the one before us */
	notify("WATCHDOG=1");
	arm(r->watchdog, watchdog);
}
