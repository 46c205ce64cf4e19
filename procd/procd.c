/*
 * procd.c: main of opampd-procd: decides when the agent starts, stops, is signalled, is given up.
 * It never forks, opens or reads anything: it has the agent's pidfd and cgroup.kill, and two peers.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "privsep/child.h"
#include "privsep/log.h"
#include "privsep/spawn_stage.h"
#include "supervise.h"

#define HANDLES 2 /* the agent that runs, and one job */

struct handle { /* what we hold of a start */
	uint32_t start;
	int pidfd, kill_fd;
};

struct procd {
	struct child child;
	struct supervise supervise;
	struct handle handles[HANDLES];
	struct event *timers[TIMER_COUNT];
	struct timer_context {
		struct procd *procd;
		enum supervise_timer timer;
	} timer_contexts[TIMER_COUNT];
};

static struct handle *
handle_of(struct procd *p, uint32_t start)
{
	size_t i;

	for (i = 0; i < HANDLES; i++)
		if (p->handles[i].start == start)
			return &p->handles[i];
	return NULL;
}

static void
release(struct handle *h)
{
	if (h == NULL)
		return;
	if (h->pidfd >= 0)
		close(h->pidfd);
	if (h->kill_fd >= 0)
		close(h->kill_fd);
	*h = (struct handle){0, -1, -1};
}

/* ---- what the state machine wants done */

static void
do_start(void *ctx, const struct msg_agent_start *m)
{
	child_send(&((struct procd *)ctx)->child, PROC_PARENT, MSG_AGENT_START, m, NULL, 0, -1);
}

static void
do_signal(void *ctx, uint32_t start, int sig)
{
	struct handle *h = handle_of(ctx, start);
	struct msg_start_id id = {start};

	if (h == NULL || h->pidfd == -1 ||
	    syscall(SYS_pidfd_send_signal, h->pidfd, sig, NULL, 0) == 0 || errno == ESRCH)
		return;
	/* SELinux: it is not executed yet and so in the parent's domain.  Any signal would end it now. */
	if (errno == EACCES)
		child_send(
		    &((struct procd *)ctx)->child, PROC_PARENT, MSG_AGENT_KILL, &id, NULL, 0, -1);
	else
		log_error("sending %s to the agent: %s", strsignal(sig), strerror(errno));
}

static void
do_kill(void *ctx, uint32_t start)
{
	struct procd *p = ctx;
	struct handle *h = handle_of(p, start);
	struct msg_start_id id = {start};

	if (h == NULL)
		return;
	if (h->kill_fd < 0 || write(h->kill_fd, "1", 1) != 1)
		child_send(&p->child, PROC_PARENT, MSG_AGENT_KILL, &id, NULL, 0, -1);
	do_signal(p, start, SIGKILL);
}

static void
do_timer(void *ctx, enum supervise_timer t, uint64_t ms)
{
	struct procd *p = ctx;
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	if (p->timers[t] == NULL)
		return; /* before GO nothing is timed */
	if (ms == 0)
		(void)event_del(p->timers[t]);
	else
		(void)event_add(p->timers[t], &tv);
}

static void
do_state(void *ctx, const struct msg_state *m)
{
	child_send(&((struct procd *)ctx)->child, PROC_CONFD, MSG_PROC_STATE, m, NULL, 0, -1);
}

static void
do_job_done(void *ctx, const struct msg_job_done *m)
{
	child_send(&((struct procd *)ctx)->child, PROC_CONFD, MSG_PROC_JOB_DONE, m, NULL, 0, -1);
}

static uint64_t
do_now(void *ctx)
{
	(void)ctx;
	return now_ms();
}

static const struct supervise_ops ops = {
    do_start, do_signal, do_kill, do_timer, do_state, do_job_done, do_now};

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct timer_context *t = arg;

	(void)fd;
	(void)what;
	if (t->timer == TIMER_GRACE && t->procd->supervise.state == AGENT_STOPPING)
		log_warn("the agent did not end within agent.stop_timeout: killing it and all it "
			 "started");
	supervise_timeout(&t->procd->supervise, t->timer);
}

/* ---- messages */

static int
on_started(struct procd *p, struct message *m)
{
	const struct msg_agent *a = m->payload;
	struct handle *h = handle_of(p, 0);

	if (h == NULL || handle_of(p, a->start) != NULL || a->start == 0)
		return -1;
	if (a->kind == AGENT_RUN && p->supervise.state == AGENT_STARTING)
		log_info("the agent is started on generation %llu, with pid %d",
		    (unsigned long long)a->generation, a->pid);
	h->start = a->start;
	h->pidfd = message_take_fd(m);
	return supervise_started(&p->supervise, a);
}

static int
on_cgroup(struct procd *p, struct message *m)
{
	const struct msg_start_id *id = m->payload;
	struct handle *h = id->start == 0 ? NULL : handle_of(p, id->start);

	if (h == NULL || h->kill_fd >= 0)
		return -1;
	h->kill_fd = message_take_fd(m);
	return 0;
}

/* An end of the agent that nobody asked for is told, with what comes next. */
static void
tell_end(const struct procd *p, const struct msg_agent_exit *e)
{
	const struct supervise *s = &p->supervise;
	char how[80];

	if (e->kind != AGENT_RUN || (s->state != AGENT_BACKOFF && s->state != AGENT_GIVEN_UP))
		return;
	(void)agent_end_words(how, sizeof(how), e->exit, e->value);
	if (s->state == AGENT_GIVEN_UP)
		log_error("the agent %s: given up after %llu times in a row "
			  "(agent.restart.max_restarts); opampctl restart starts it again",
		    how, (unsigned long long)s->crashes);
	else
		log_warn("the agent %s: it is started again in %llu ms%s", how,
		    (unsigned long long)s->delay_ms,
		    e->exit == EXIT_SPAWN ? "" : " (opampctl log shows what it said)");
}

static int
on_exited(struct procd *p, const struct msg_agent_exit *e)
{
	int result;

	if (e->start != 0)
		release(handle_of(p, e->start));
	result = supervise_exited(&p->supervise, e);
	tell_end(p, e);
	return result;
}

static int
on_message(void *ctx, struct message *m)
{
	struct procd *p = ctx;

	switch (m->type) {
	case MSG_AGENT_STARTED:
		return on_started(p, m);
	case MSG_AGENT_CGROUP:
		return on_cgroup(p, m);
	case MSG_AGENT_EXITED:
		return on_exited(p, m->payload);
	case MSG_PROC_RUN:
		return supervise_run(&p->supervise, m->payload);
	case MSG_PROC_STOP:
		supervise_stop(&p->supervise, m->payload);
		return 0;
	case MSG_PROC_JOB:
		return supervise_job(&p->supervise, m->payload);
	default:
		return -1;
	}
}

static void
on_peer_up(void *ctx, enum proc peer)
{
	struct procd *p = ctx;

	if (peer == PROC_CONFD)
		supervise_report(&p->supervise);
}

static void
on_end(void *ctx)
{
	struct procd *p = ctx;
	size_t i;

	for (i = 0; i < HANDLES; i++)
		if (p->handles[i].start != 0)
			do_kill(p, p->handles[i].start);
	child_exit(&p->child, 0);
}

static const struct child_handlers handlers = {
    .message = on_message, .peer_up = on_peer_up, .end = on_end};

static struct supervise_settings
read_settings(const struct settings *s)
{
	static const int stop_signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};
	static const int reload_signals[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGINT, SIGTERM};

	return (struct supervise_settings){
	    .stop_signal = stop_signals[settings_u64(s, SET_STOP_SIGNAL) % 6],
	    .reload_signal = reload_signals[settings_u64(s, SET_RELOAD_SIGNAL) % 5],
	    .grace_ms = settings_u64(s, SET_STOP_TIMEOUT),
	    .delay_min_ms = settings_u64(s, SET_RESTART_MIN),
	    .delay_max_ms = settings_u64(s, SET_RESTART_MAX),
	    .reset_ms = settings_u64(s, SET_RESTART_RESET),
	    .ceiling = settings_u64(s, SET_RESTART_CEILING),
	    .validate_ms = settings_u64(s, SET_VALIDATE_TIMEOUT),
	    .probe_ms = settings_u64(s, SET_BOOTSTRAP_TIMEOUT)};
}

/*
 * The state machine is there before the first message, with the table's defaults: the parent's
 * hand-over of a running agent comes before GO.  Then the settings take their place.
 */
int
main(void)
{
	static struct procd procd;
	struct procd *p = &procd;
	struct settings none = {0};
	struct supervise_settings set = read_settings(&none);
	int i, status;

	for (i = 0; i < HANDLES; i++)
		p->handles[i] = (struct handle){0, -1, -1};
	supervise_init(&p->supervise, &ops, p, &set);
	child_begin(&p->child, &policy_procd, &handlers, p);
	p->supervise.set = read_settings(&p->child.settings);
	for (i = 0; i < TIMER_COUNT; i++) {
		p->timer_contexts[i] = (struct timer_context){p, (enum supervise_timer)i};
		p->timers[i] = event_new(p->child.base, -1, 0, on_timer, &p->timer_contexts[i]);
		if (p->timers[i] == NULL)
			fatal("no memory for a timer");
	}
	child_sandbox(&p->child);
	status = child_loop(&p->child);
	/* the parent is gone: nothing of the agent may outlive it (I9) */
	for (i = 0; i < HANDLES; i++) {
		if (p->handles[i].start == 0)
			continue;
		if (p->handles[i].kill_fd >= 0)
			(void)!write(p->handles[i].kill_fd, "1", 1);
		do_signal(p, p->handles[i].start, SIGKILL);
	}
	_exit(status); /* nothing runs at exit that the filter does not know */
}
