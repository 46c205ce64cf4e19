/*
 * parent.c: the parent's loop: signals, orderly shutdown.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "parent.h"

#define ORPHANS_PER_TURN 64
#define LEAVE_MS         3000 /* for netd to take leave of the server, for link to read what is left */

enum step {
	STEP_NONE,
	STEP_CONFD,
	STEP_NETD,
	STEP_REST,
	STEP_DONE
};

static void
kill_everything(struct parent *p)
{
	size_t i;

	parent_agent_kill_all(p);
	for (i = 0; i < PROC_COUNT; i++)
		slot_kill(&p->daemons[i], NULL);
	for (i = 0; i < CONNECT_SLOTS; i++)
		slot_kill(&p->connects[i], NULL);
	slot_kill(&p->merge, NULL);
	slot_kill(&p->reader, NULL);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;

	(void)fd;
	(void)what;
	log_warn("shutting down takes too long: ending what is left");
	p->ending = STEP_REST;
	kill_everything(p);
	parent_shutdown_step(p);
}

/* Whoever asked for it is gone, or leaves; what was begun for it ends before we do. */
static int
one_shots_live(const struct parent *p)
{
	size_t i;

	for (i = 0; i < CONNECT_SLOTS; i++)
		if (p->connects[i].pid != 0)
			return 1;
	return p->upgrade.pid != 0 || p->merge.pid != 0 || p->reader.pid != 0;
}

/*
 * confd first: it has the agent stopped and says so to netd; then netd takes leave of the server;
 * then the rest.  Each step waits for processes to end, not for time.
 */
void
parent_shutdown_step(struct parent *p)
{
	/* one of the two died before it could have the agent stopped */
	if (p->ending == STEP_CONFD &&
	    (p->daemons[PROC_CONFD].pid == 0 || p->daemons[PROC_PROCD].pid == 0))
		parent_agent_kill_all(p);
	if (p->ending == STEP_CONFD && p->daemons[PROC_CONFD].pid == 0 && !parent_agent_lives(p)) {
		p->ending = STEP_NETD;
		slot_end(&p->daemons[PROC_NETD], LEAVE_MS);
	}
	if (p->ending == STEP_NETD && p->daemons[PROC_NETD].pid == 0) {
		p->ending = STEP_REST;
		slot_end(&p->daemons[PROC_LINK], LEAVE_MS);
		slot_end(&p->daemons[PROC_PROCD], LEAVE_MS);
	}
	if (p->ending == STEP_REST && p->daemons[PROC_LINK].pid == 0 &&
	    p->daemons[PROC_PROCD].pid == 0 && p->daemons[PROC_NETD].pid == 0 &&
	    p->daemons[PROC_CONFD].pid == 0 && !parent_agent_lives(p) && !one_shots_live(p)) {
		p->ending = STEP_DONE;
		event_base_loopbreak(p->base);
	}
}

void
parent_shutdown(struct parent *p)
{
	struct timeval tv = {0, 0};

	if (p->ending) { /* asked twice: at once */
		on_deadline(-1, 0, p);
		return;
	}
	log_info("shutting down");
	parent_ready_ends(p);
	p->ending = STEP_CONFD;
	tv.tv_sec =
	    (time_t)((settings_u64(&p->settings, SET_STOP_TIMEOUT) + LIMIT_SHUTDOWN_MS / 2) / 1000);
	p->deadline = event_new(p->base, -1, 0, on_deadline, p);
	if (p->deadline != NULL)
		(void)event_add(p->deadline, &tv);
	slot_kill(&p->reader, NULL);
	parent_upgrade_cancel(p);
	slot_end(&p->daemons[PROC_CONFD], (uint64_t)tv.tv_sec * 1000);
	parent_shutdown_step(p);
}

static void
on_end_signal(evutil_socket_t sig, short what, void *arg)
{
	struct parent *p = arg;

	(void)what;
	log_info("got %s", strsignal((int)sig));
	if (parent_upgrade_holds(p))
		p->upgrade.end_signal = (int)sig; /* handed on: ours have ended */
	else
		parent_shutdown(p);
}

static void
on_reload_signal(evutil_socket_t sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	parent_reload(arg);
}

static void
on_upgrade_signal(evutil_socket_t sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	parent_upgrade(arg);
}

static int
is_known(const struct parent *p, pid_t pid)
{
	size_t i;
	int known = p->merge.pid == pid || p->reader.pid == pid || p->upgrade.pid == pid ||
		    p->guard.pid == pid;

	for (i = 0; i < PROC_COUNT; i++)
		known |= p->daemons[i].pid == pid;
	for (i = 0; i < AGENT_SLOTS; i++)
		known |= p->agents[i].start != 0 && p->agents[i].pid == pid;
	for (i = 0; i < CONNECT_SLOTS; i++)
		known |= p->connects[i].pid == pid;
	return known;
}

/*
 * Strangers of whom we are the parent: whatever has lost its own, where we are process 1 of a container; and
 * what the agent made its sibling (CLONE_PARENT): it is in the agent's group and ends with it, but nobody else
 * would reap it.  A few at a time: an agent that leaves them without end must not hold the loop.
 */
static void
on_child_signal(evutil_socket_t sig, short what, void *arg)
{
	static const struct timeval soon = {0, 1000}; /* others get their turn */
	struct parent *p = arg;
	int left;

	(void)sig;
	(void)what;
	for (left = ORPHANS_PER_TURN; left > 0; left--) {
		siginfo_t info = {0};

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1 || info.si_pid == 0)
			return;
		if (is_known(p, info.si_pid))
			break; /* reaped by its pidfd; a stranger may stand behind it */
		(void)waitid(P_PID, (id_t)info.si_pid, &info, WEXITED | WNOHANG);
	}
	(void)event_base_once(p->base, -1, EV_TIMEOUT, on_child_signal, p, &soon);
}

static int
catch_signals(struct parent *p)
{
	static const struct {
		int sig;
		event_callback_fn fn;
	} caught[] = {{SIGTERM, on_end_signal}, {SIGINT, on_end_signal}, {SIGHUP, on_reload_signal},
	    {SIGUSR2, on_upgrade_signal}, {SIGCHLD, on_child_signal}};
	size_t i;

	(void)signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < sizeof(caught) / sizeof(caught[0]); i++) {
		p->signals[i] = evsignal_new(p->base, caught[i].sig, caught[i].fn, p);
		if (p->signals[i] == NULL || event_add(p->signals[i], NULL) == -1)
			return -1;
	}
	return 0;
}

void
parent_take_level(struct parent *p)
{
	static const enum log_level levels[] = {
	    LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG};

	if (p->verbose)
		return;
	p->level = levels[settings_u64(&p->settings, SET_LOG_LEVEL) & 3];
	log_set_level(p->level);
}

int
parent_run(struct parent *p)
{
	static const struct timeval now = {0, 0};
	sigset_t none;

	if (catch_signals(p) == -1)
		fatal("catching signals: no memory");
	if (p->taken != NULL)
		parent_takeover(p);
	else
		cgroup_init(&p->cgroup, p->command.storage_path);
	if (p->cgroup.base == -1)
		log_info(
		    "no cgroups to be had: the agent and all it starts are kept together by a PID "
		    "namespace, where the kernel gives one");
	parent_ready_begin(p, LIMIT_READY_MS);
	parent_start_daemons(p);
	if (p->taken != NULL)
		parent_takeover_end(p);
	/* what came meanwhile comes now: see main, and parent_upgrade.c */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* the opampd before us may have been told of some, and have left them to us */
	(void)event_base_once(p->base, -1, EV_TIMEOUT, on_child_signal, p, &now);
	(void)event_base_dispatch(p->base);
	cgroup_end(&p->cgroup);
	log_info("ended");
	return p->exit_status;
}
