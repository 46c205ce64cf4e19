/*
 * parent_upgrade.c: an upgrade of opampd in place: this process executes the program that lies where its own
 * was started from, keeps its number, and hands on the agent, which notices nothing.
 *
 *	SIGUSR2 -> the new program, opened once, is run with -n: do the settings and the record suit it?
 *	        -> a configuration that was found good and is not on trial yet comes to it, or a minute is over:
 *	           confd, killed between, would call it interrupted (I8)
 *	        -> netd, link, confd and the one-shots end; procd stays as the guard: should the new program
 *	           end before it has a procd of its own, that one sees our end and ends the agent (I9)
 *	        -> the same file is executed in our place (parent_takeover.c)
 *
 * It begins by a signal alone, which none of our processes and no agent can send (policy_*.c, I15): no
 * message leads here, and none can hold it up for longer than LIMIT_UPGRADE_MS.  Until the exec everything
 * can be taken back, and is where something is strange: then this opampd goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "discard.h"
#include "notify.h"
#include "parent.h"
#include "trusted_open.h"
#include "upgrade_state.h"

#define CHECK_STATE_FD 3 /* the record, for the program that is asked */
#define LOOK_MS        50
#define CLOSING_MS     5    /* between looks whether all is closed that our children sent */
#define START_MS       5000 /* beyond agent.stop_timeout, for the agent to be started */
#define ROUNDS         4    /* of the loop, for a signal that was caught already to be heard */

int
parent_upgrade_holds(const struct parent *p)
{
	return p->upgrade.stage == UPGRADE_HOLD;
}

static void
end_stage(struct upgrade *u)
{
	if (u->deadline != NULL)
		(void)event_del(u->deadline);
	if (u->exited != NULL)
		event_free(u->exited);
	u->exited = NULL;
	if (u->pidfd >= 0)
		close(u->pidfd);
	if (u->program >= 0)
		close(u->program);
	u->pidfd = u->program = -1;
	u->pid = 0;
	u->stage = UPGRADE_NONE;
	if (u->rounds > 0) /* those that were passed on to ourselves come now */
		(void)sigprocmask(SIG_SETMASK, &u->before, NULL);
	u->rounds = 0;
}

/* Whoever was ended for it is started again, of the program files that we opened at our start. */
static void
start_again(struct parent *p)
{
	int sig = p->upgrade.end_signal;
	size_t i;

	/* what it asked for meanwhile was not heard */
	slot_replace(&p->daemons[PROC_PROCD]);
	for (i = 0; i < PROC_COUNT; i++)
		if ((P_DAEMONS & 1u << i) != 0 && p->daemons[i].pid == 0 &&
		    slot_start(&p->daemons[i], 0, 0) == -1)
			slot_timer(&p->daemons[i], 1000);
	parent_ready_reloads(p, 1);
	p->upgrade.end_signal = 0;
	if (sig != 0)
		parent_shutdown(p);
}

/* Everything goes on as it was. */
static void
take_back(struct parent *p, const char *why)
{
	int held = parent_upgrade_holds(p);

	log_error("the upgrade is not made: %s: opampd %s goes on as it was", why, p->version);
	end_stage(&p->upgrade);
	parent_ready_upgrades(p, 1);
	if (held)
		start_again(p);
	if (p->reload_again) {
		p->reload_again = 0;
		parent_reload(p);
	}
}

/* ---- the record */

/* The settings as they stand in the file now: are they those in force? */
static int
settings_in_force(struct parent *p, struct error *err)
{
	uint64_t id[5];
	int fd = parent_settings_file(p, err), same;

	if (fd == -1)
		return -1;
	same = parent_identity(fd, id) == 0 && memcmp(id, p->settings_id, sizeof(id)) == 0;
	close(fd);
	return same ? 0
		    : error_set(err,
			  "%s was changed since it was read: have it read first (opampctl "
			  "reload), or start opampd anew",
			  p->settings_name);
}

static void
write_agent(const struct agent_slot *a, struct upgrade_agent *to)
{
	*to = (struct upgrade_agent){
	    .pidfd = -1, .agent = -1, .init = -1, .group = -1, .secret = -1, .out = -1, .err = -1};
	if (a->start == 0)
		return;
	to->start = a->start;
	to->flags = a->flags;
	to->uid = a->uid;
	to->generation = a->generation;
	to->started_ns = a->started_ns;
	to->pid = a->pid;
	to->agent_pid = a->agent_pid;
	to->pidfd = a->pidfd;
	to->agent = a->agent;
	to->init = a->init;
	to->group = a->group;
	to->secret = a->secret;
	to->out = a->out;
	to->err = a->err;
}

static int
write_state(struct parent *p, struct upgrade_state *s, struct error *err)
{
	const struct slot *guard = &p->daemons[PROC_PROCD];
	size_t i;

	memset(s, 0, sizeof(*s));
	s->magic = UPGRADE_MAGIC;
	s->format = UPGRADE_FORMAT;
	s->size = sizeof(*s);
	s->pid = getpid();
	s->upgrades = p->upgrades + 1;
	s->unprivileged = (uint32_t)p->unprivileged;
	s->sink = (uint32_t)p->sink;
	s->next_start = p->next_start;
	for (i = 0; i < UPGRADE_DAEMONS; i++)
		s->restarts[i] = p->daemons[upgrade_daemons[i]].restarts;
	s->capabilities = p->kept;
	memcpy(s->settings, p->settings_id, sizeof(s->settings));
	memcpy(s->binary, p->command.binary, sizeof(s->binary));
	s->state_dir = p->state_dir;
	s->control = p->control;
	s->link_listener = p->link_listener;
	s->cgroup = p->cgroup.base;
	s->cgroup_leaf = (uint32_t)p->cgroup.leaf;
	s->cgroup_told = (uint32_t)p->cgroup.told;
	s->guard_pid = guard->pid;
	s->guard_pidfd = guard->pid == 0 ? -1 : guard->pidfd;
	s->guard_channel = guard->pid == 0 ? -1 : guard->end;
	write_agent(&p->agents[0], &s->agent);
	return upgrade_state_write(s, p->cwd, p->environment, err);
}

/* ---- the exec */

static void
inherited(struct upgrade_state *s, int record, int flag)
{
	size_t i;

	(void)fcntl(record, F_SETFD, flag);
	for (i = 0; i < UPGRADE_FDS; i++)
		if (*upgrade_fd(s, i, NULL) != -1)
			(void)fcntl(*upgrade_fd(s, i, NULL), F_SETFD, flag);
}

/* Returns where it failed.  Signals wait, blocked, until the new program has its handlers. */
static void
execute(struct parent *p)
{
	char name[sizeof(UPGRADE_VARIABLE) + 16], *environment[] = {name, NULL};
	struct upgrade_state s;
	struct error err;
	int record;

	record = settings_in_force(p, &err) == -1 ? -1 : write_state(p, &s, &err);
	if (record == -1) {
		take_back(p, err.text);
		return;
	}
	log_info("opampd %s makes room for the new program", p->version);
	(void)snprintf(name, sizeof(name), "%s=%d", UPGRADE_VARIABLE, record);
	if (p->upgrade.end_signal != 0) /* the new one's to obey, in order */
		(void)kill(getpid(), p->upgrade.end_signal);
	if (p->reload_again)
		(void)kill(getpid(), SIGHUP);
	/* the new one's first word comes when it has read its settings */
	if (notify_watchdog_ms() != 0)
		notify("WATCHDOG=1");
	inherited(&s, record, 0);
	(void)syscall(SYS_execveat, p->upgrade.program, "", p->argv, environment, AT_EMPTY_PATH);
	(void)error_errno(&err, "executing %s", p->program);
	inherited(&s, record, FD_CLOEXEC);
	close(record);
	p->reload_again = p->upgrade.end_signal = 0;
	take_back(p, err.text);
}

/*
 * Nobody is left but procd and an agent that runs, or none: validations, and an end of the agent that is
 * under way, are waited for.  procd is in its sandbox, so that it is a guard; and the one that guarded us,
 * which would end the agent if we left it, is gone.
 */
static int
quiet(const struct parent *p)
{
	const struct agent_slot *a = &p->agents[0];
	const struct slot *procd = &p->daemons[PROC_PROCD];
	size_t i;

	for (i = 0; i < CONNECT_SLOTS; i++)
		if (p->connects[i].pid != 0)
			return 0;
	return p->guard.pid == 0 && (procd->pid == 0 || procd->state == SLOT_UP) &&
	       p->daemons[PROC_NETD].pid == 0 && p->daemons[PROC_LINK].pid == 0 &&
	       p->daemons[PROC_CONFD].pid == 0 && p->merge.pid == 0 && p->reader.pid == 0 &&
	       p->agents[1].start == 0 &&
	       (a->start == 0 || (!a->asked && event_pending(a->exited, EV_READ, NULL) != 0));
}

/*
 * One that came between the exec and the new program's handlers would end it; one whose handler ran, but
 * whose event did not, would be lost: hence the rounds.
 */
static void
block_signals(struct parent *p)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &p->upgrade.before);
}

static void
hold(struct parent *p)
{
	size_t i;

	p->upgrade.stage = UPGRADE_HOLD;
	(void)parent_arm(p->upgrade.deadline, LIMIT_UPGRADE_MS);
	parent_ready_reloads(p, 0);
	for (i = 0; i < CONNECT_SLOTS; i++)
		slot_kill(&p->connects[i], NULL);
	slot_kill(&p->merge, NULL);
	if (p->agents[1].start != 0)
		parent_agent_kill(p, p->agents[1].start);
	slot_replace(&p->daemons[PROC_NETD]); /* it takes leave of the server */
	slot_replace(&p->daemons[PROC_LINK]);
	slot_replace(&p->daemons[PROC_CONFD]); /* made to be killed at any moment (I8) */
	parent_upgrade_step(p);
}

/* Is confd between the last word on a configuration and the agent's start on it? */
static int
is_turning(const struct parent *p)
{
	uint64_t since = p->upgrade.turning_ms;

	return p->merge.pid != 0 || p->agents[1].start != 0 ||
	       (since != 0 &&
		   now_ms() - since < settings_u64(&p->settings, SET_STOP_TIMEOUT) + START_MS);
}

static void
hold_or_wait(struct parent *p)
{
	p->upgrade.stage = UPGRADE_WAIT;
	if (is_turning(p) && now_ms() < p->upgrade.wait_until_ms)
		(void)parent_arm(p->upgrade.step, LOOK_MS);
	else
		hold(p);
}

static void
on_step(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;

	(void)fd;
	(void)what;
	if (p->upgrade.stage == UPGRADE_WAIT && !p->ending)
		hold_or_wait(p);
	if (!parent_upgrade_holds(p))
		return;
	if (p->agents[0].start != 0 && p->daemons[PROC_PROCD].pid == 0) {
		take_back(p, "procd, which would guard the agent, has ended");
		return;
	}
	if (!quiet(p))
		return;
	/* a thread of ours that hangs in a close (discard.h) would hang the exec, which no signal ends */
	if (discard_pending() != 0) {
		(void)parent_arm(p->upgrade.step, CLOSING_MS);
		return;
	}
	if (p->upgrade.rounds == 0)
		block_signals(p);
	if (p->upgrade.rounds++ < ROUNDS)
		(void)parent_arm(p->upgrade.step, 0);
	else
		execute(p);
}

void
parent_upgrade_step(struct parent *p)
{
	/* later, not in the middle of what our caller does */
	event_active(p->upgrade.step, EV_TIMEOUT, 0);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;

	(void)fd;
	(void)what;
	if (p->upgrade.stage == UPGRADE_CHECK)
		parent_upgrade_cancel(p); /* its end is told */
	else if (parent_upgrade_holds(p))
		take_back(p, "our processes take too long to end");
}

/* ---- is the new program fit? */

static void
on_checked(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;
	struct upgrade *u = &p->upgrade;
	siginfo_t info = {0};

	(void)what;
	if (!parent_reaped(fd, &info))
		return;
	u->pid = 0;
	(void)event_del(u->exited);
	if (p->ending) {
		end_stage(u);
		parent_shutdown_step(p);
	} else if (info.si_code != CLD_EXITED) {
		take_back(p, "the new program was ended by a signal when it was asked");
	} else if (info.si_status != UPGRADE_FIT) {
		take_back(p,
		    "the new program cannot take over from this one (its words stand above, if it "
		    "had any)");
	} else {
		(void)event_del(u->deadline);
		u->wait_until_ms = now_ms() + LIMIT_UPGRADE_WAIT_MS;
		hold_or_wait(p);
	}
}

/* Between fork and exec: the record at 3, the log at 2, nothing else.  It ends with us, whatever it does. */
static void __attribute__((noreturn)) ask(const struct parent *p, int record, pid_t parent)
{
	char name[sizeof(UPGRADE_VARIABLE) + 16], *environment[] = {name, NULL};
	char check[] = "-n", file[] = "-f", settings[PATH_MAX],
	     *argv[] = {p->argv[0], check, file, settings, NULL};
	int null = open("/dev/null", O_RDWR), program;

	(void)snprintf(name, sizeof(name), "%s=%d", UPGRADE_VARIABLE, CHECK_STATE_FD);
	(void)snprintf(settings, sizeof(settings), "%s", p->settings_name);
	(void)setsid();
	program = fcntl(p->upgrade.program, F_DUPFD_CLOEXEC, 10);
	record = fcntl(record, F_DUPFD_CLOEXEC, 10);
	if (null == -1 || program == -1 || record == -1 || dup2(null, 0) == -1 ||
	    dup2(null, 1) == -1 || dup2(record, CHECK_STATE_FD) == -1 || chdir(p->cwd) == -1 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == -1 || getppid() != parent)
		_exit(126);
	if (close_range(4, (unsigned)program - 1, 0) == -1 ||
	    close_range((unsigned)program + 1, ~0u, 0) == -1)
		_exit(126);
	(void)syscall(SYS_execveat, program, "", argv, environment, AT_EMPTY_PATH);
	_exit(127);
}

static int
start_check(struct parent *p, struct error *err)
{
	struct upgrade *u = &p->upgrade;
	struct upgrade_state s;
	int record = write_state(p, &s, err);

	if (record == -1)
		return -1;
	u->pid = slot_fork();
	if (u->pid == 0)
		ask(p, record, (pid_t)s.pid);
	close(record);
	if (u->pid == -1) {
		u->pid = 0;
		return error_errno(err, "running the new program");
	}
	u->pidfd = (int)syscall(SYS_pidfd_open, u->pid, 0);
	u->exited = event_new(p->base, u->pidfd, EV_READ | EV_PERSIST, on_checked, p);
	if (u->pidfd == -1 || u->exited == NULL || event_add(u->exited, NULL) == -1)
		fatal("asking the new program: no memory or descriptors");
	(void)parent_arm(u->deadline, LIMIT_UPGRADE_CHECK_MS);
	return 0;
}

/* The file where ours was, as root's as ours has to be; it may be the very same. */
static int
open_program(struct parent *p, struct error *err)
{
	struct stat st;
	int fd = trusted_open(p->program, TRUSTED_FILE, parent_trusted_user(p), err);

	if (fd >= 0 && (fstat(fd, &st) == -1 || (st.st_mode & 0111) == 0)) {
		close(fd);
		return error_set(err, "%s is not executable", p->program);
	}
	return fd;
}

static int
begin(struct parent *p, struct error *err)
{
	struct upgrade *u = &p->upgrade;

	if (parent_too_often(&u->asked, LIMIT_UPGRADES_PER_MINUTE, 60000))
		return error_set(
		    err, "more than %u were asked for within a minute", LIMIT_UPGRADES_PER_MINUTE);
	if (p->upgrades >= LIMIT_UPGRADES)
		return error_set(err,
		    "this process had %u of them, each of which left a filter of system calls: "
		    "start opampd anew",
		    p->upgrades);
	if (discard_pending() != 0)
		return error_set(err, "a descriptor that one of our processes sent is not closed "
				      "yet: its file system "
				      "does not answer: start opampd anew");
	/* they are ambient ones, which an exec of ours would lose: they are cleared (opampd.c) */
	if (p->unprivileged && p->command.capabilities != 0)
		return error_set(err,
		    "agent.capabilities of an ordinary user's opampd do not outlive it: start "
		    "opampd anew");
	if (u->step == NULL)
		u->step = event_new(p->base, -1, 0, on_step, p);
	if (u->deadline == NULL)
		u->deadline = event_new(p->base, -1, 0, on_deadline, p);
	if (u->step == NULL || u->deadline == NULL)
		return error_set(err, "no memory");
	if (settings_in_force(p, err) == -1)
		return -1;
	u->program = open_program(p, err);
	if (u->program == -1)
		return -1;
	u->stage = UPGRADE_CHECK;
	return start_check(p, err);
}

void
parent_upgrade(struct parent *p)
{
	struct error err;

	p->upgrade.wanted = p->reloading;
	if (p->ending || p->reloading || p->upgrade.stage != UPGRADE_NONE)
		return;
	log_info("an upgrade is asked for: looking at %s", p->program);
	parent_ready_upgrades(p, 0);
	if (begin(p, &err) == -1)
		take_back(p, err.text);
}

void
parent_upgrade_cancel(struct parent *p)
{
	if (p->upgrade.pid != 0)
		(void)syscall(SYS_pidfd_send_signal, p->upgrade.pidfd, SIGKILL, NULL, 0);
}
