/*
 * parent_agent.c: starts of the agent on procd's request, their end, and what link and procd are
 * told of them.  The command is the settings'; procd chooses when, and a generation by number (I4).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_init.h"
#include "child.h"
#include "link_file.h"
#include "parent.h"

#define SWEEP_MAX_MS 64 /* between looks at a group whose processes have to end yet; from 1 ms on */
#define SWEEPS       200

static struct agent_slot *
slot_for(struct parent *p, uint32_t kind)
{
	return &p->agents[kind == AGENT_RUN ? 0 : 1];
}

int
parent_agent_lives(const struct parent *p)
{
	return p->agents[0].start != 0 || p->agents[1].start != 0;
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void
tell_exit(struct parent *p, const struct msg_agent_exit *m)
{
	parent_ready_agent_ended(p, m);
	slot_send(&p->daemons[PROC_LINK], MSG_LINK_ENDED, m, -1);
	slot_send(&p->daemons[PROC_PROCD], MSG_AGENT_EXITED, m, -1);
}

/* It was reaped, its group is empty: now it never was. */
static void
finish(struct agent_slot *a)
{
	struct parent *p = a->parent;

	tell_exit(p, &a->end);
	close_fd(&a->group);
	close_fd(&a->pidfd);
	close_fd(&a->agent);
	close_fd(&a->init);
	close_fd(&a->secret);
	close_fd(&a->out);
	close_fd(&a->err);
	if (a->exited != NULL)
		event_free(a->exited);
	a->exited = NULL;
	if (a->patience != NULL)
		(void)event_del(a->patience);
	a->start = 0;
	if (a->kind == AGENT_VALIDATE)
		p->upgrade.turning_ms = now_ms();
	if (p->ending)
		parent_shutdown_step(p);
	else if (parent_upgrade_holds(p))
		parent_upgrade_step(p);
}

static void
on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct agent_slot *a = arg;
	struct timeval again = {0, 0};

	(void)fd;
	(void)what;
	if (a->group == -1 || cgroup_sweep(&a->parent->cgroup, a->start) || ++a->sweeps > SWEEPS) {
		if (a->sweeps > SWEEPS)
			log_error("processes of the agent's start %u do not end", a->start);
		finish(a);
	} else {
		again.tv_usec = 1000 * (a->sweeps < 7 ? 1 << (a->sweeps - 1) : SWEEP_MAX_MS);
		(void)event_add(a->sweep, &again);
	}
}

static void
on_exit_event(evutil_socket_t fd, short what, void *arg)
{
	struct agent_slot *a = arg;
	siginfo_t info = {0};
	int status;

	(void)what;
	if (!parent_reaped(fd, &info))
		return;
	(void)event_del(a->exited);
	if (a->init >= 0 && agent_init_ended(a->init, &status)) {
		info.si_code = WIFEXITED(status) ? CLD_EXITED : CLD_KILLED;
		info.si_status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
	}
	a->end = (struct msg_agent_exit){
	    .start = a->start, .kind = a->kind, .generation = a->generation};
	a->end.asked = (uint32_t)a->asked;
	a->end.exit = info.si_code == CLD_EXITED ? EXIT_CODE : EXIT_SIGNAL;
	a->end.value = info.si_status;
	if (a->stage != STAGE_NONE) {
		a->end.exit = EXIT_SPAWN;
		a->end.value = a->spawn_error;
		a->end.stage = a->stage;
		log_error("starting the agent: %s: %s%s", spawn_stage_name(a->stage),
		    strerror(a->spawn_error), spawn_stage_hint(a->stage, a->spawn_error));
	} else if (a->end.exit == EXIT_SIGNAL && a->end.value == SIGKILL && a->group >= 0 &&
		   cgroup_was_oom(a->group)) {
		a->end.exit = EXIT_OOM;
	}
	if (a->sweep == NULL)
		a->sweep = event_new(a->parent->base, -1, 0, on_sweep, a);
	a->sweeps = 0;
	on_sweep(-1, 0, a);
}

static struct msg_agent
message_of(const struct agent_slot *a)
{
	return (struct msg_agent){.start = a->start,
	    .kind = a->kind,
	    .pid = a->agent_pid,
	    .flags = a->flags,
	    .uid = a->uid,
	    .generation = a->generation,
	    .started_ns = a->started_ns};
}

static void
send_copy(struct slot *s, uint32_t type, const void *payload, int fd)
{
	int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 4);

	if (copy >= 0)
		slot_send(s, type, payload, copy);
}

/* Whom signals are for. */
static int
agent_of(const struct agent_slot *a)
{
	return a->agent >= 0 ? a->agent : a->pidfd;
}

static void
tell_link(const struct agent_slot *a)
{
	struct slot *link = &a->parent->daemons[PROC_LINK];
	struct msg_agent m = message_of(a);
	struct msg_output out = {a->start, a->kind, 1}, err = {a->start, a->kind, 2};

	slot_send(link, MSG_LINK_BEGUN, &m, -1);
	send_copy(link, MSG_LINK_OUTPUT, &out, a->out);
	send_copy(link, MSG_LINK_OUTPUT, &err, a->err);
}

static void
tell_procd(const struct agent_slot *a)
{
	struct slot *procd = &a->parent->daemons[PROC_PROCD];
	struct msg_agent m = message_of(a);
	struct msg_start_id id = {a->start};
	int kill_fd;

	send_copy(procd, MSG_AGENT_STARTED, &m, agent_of(a));
	kill_fd = a->group >= 0 ? cgroup_kill_fd(a->group) : -1;
	if (kill_fd >= 0)
		slot_send(procd, MSG_AGENT_CGROUP, &id, kill_fd);
}

void
parent_agent_tell_link(struct parent *p)
{
	struct msg_secret m = {0};
	size_t i;

	for (i = 0; i < AGENT_SLOTS; i++)
		if (p->agents[i].start != 0 && p->agents[i].kind == AGENT_RUN) {
			m.start = p->agents[i].start;
			send_copy(&p->daemons[PROC_LINK], MSG_LINK_SECRET, &m, p->agents[i].secret);
		}
	/* the one yet to be used was made by the predecessor: the new link makes its own */
	close_fd(&p->secret_next);
	p->secret_own = 0;
	for (i = 0; i < AGENT_SLOTS; i++)
		if (p->agents[i].start != 0)
			tell_link(&p->agents[i]);
}

void
parent_agent_tell_procd(struct parent *p)
{
	size_t i;

	for (i = 0; i < AGENT_SLOTS; i++)
		if (p->agents[i].start != 0)
			tell_procd(&p->agents[i]);
}

static void
refuse(struct parent *p, const struct msg_agent_start *m, uint32_t stage, int error)
{
	struct msg_agent_exit e = {.kind = m->kind,
	    .exit = EXIT_SPAWN,
	    .value = error,
	    .stage = stage,
	    .generation = m->generation};

	parent_ready_agent_ended(p, &e);
	slot_send(&p->daemons[PROC_PROCD], MSG_AGENT_EXITED, &e, -1);
}

static void
not_started(struct parent *p, const struct msg_agent_start *m, uint32_t stage, int error)
{
	log_error("starting the agent: %s: %s%s", spawn_stage_name(stage), strerror(error),
	    spawn_stage_hint(stage, error));
	refuse(p, m, stage, error);
}

/* link gives one ahead of every start; where it is away or silent we make one.  -1: none is to be had. */
static int
have_secret(struct parent *p)
{
	if (p->secret_next >= 0)
		return 0;
	p->secret_next = link_file_make();
	p->secret_own = p->secret_next >= 0;
	return p->secret_own ? 0 : -1;
}

/* *own: link does not know it. */
static int
take_secret(struct parent *p, const struct driver *d, uint32_t kind, int *own)
{
	int fd;

	*own = 0;
	if (!d->uses_link || kind == AGENT_PROBE || p->secret_next == -1)
		return -1;
	if (kind != AGENT_RUN)
		return fcntl(p->secret_next, F_DUPFD_CLOEXEC, 4);
	fd = p->secret_next;
	*own = p->secret_own;
	p->secret_next = -1;
	p->secret_own = 0;
	return fd;
}

/* 0: none */
static uint64_t
limit_of(const struct parent *p, enum setting key)
{
	return settings_has(&p->settings, key) ? settings_u64(&p->settings, key) : 0;
}

/*
 * At each start, since an upgrade puts another file there.  What confd knows of the program (whether
 * it has a gate, how it describes itself) was of the old one: it is started anew, as by a reload.
 */
static int
open_program(struct parent *p, const struct msg_agent_start *m)
{
	struct error err;
	int error, other = parent_open_executable(p, &err);

	if (other == -1) {
		error = errno;
		log_error("starting the agent: %s", err.text);
		refuse(p, m, STAGE_OPEN, error);
		return -1;
	}
	if (other) {
		log_info(
		    "the agent's program was replaced or changed since it was started last: this "
		    "is the first start of the new one");
		slot_replace(&p->daemons[PROC_CONFD]);
	}
	return 0;
}

static void
start(struct parent *p, const struct msg_agent_start *m)
{
	const struct driver *d = driver_of(&p->settings);
	struct agent_slot *a = slot_for(p, m->kind);
	struct msg_secret told;
	struct agent_start s;
	struct error err;
	uint64_t processes = limit_of(p, SET_LIMIT_PROCESSES);
	int own_secret;
	char **argv = driver_argv(d, &p->settings, m->kind, m->flags, p->command.run_path,
	    p->command.candidate_path, &err);

	if (argv == NULL || argv[1] == NULL) {
		if (argv == NULL || m->kind != AGENT_RUN) {
			driver_free(argv);
			not_started(p, m, STAGE_EXEC, ENOSYS);
			return;
		}
	}
	a->start = ++p->next_start;
	a->kind = m->kind;
	a->flags = m->flags;
	a->generation = m->generation;
	a->uid = p->command.uid;
	a->group = -1;
	a->sweeps = a->asked = 0;
	if (p->cgroup.base == -1) {
		cgroup_lacking(&p->cgroup, limit_of(p, SET_LIMIT_MEMORY));
	} else {
		a->group = cgroup_make(&p->cgroup, a->start, limit_of(p, SET_LIMIT_MEMORY),
		    processes == 0 ? 0 : processes + (p->unprivileged ? 1 : 0) /* init */, &err);
		if (a->group == -1) {
			log_error("%s", err.text);
			a->start = 0;
			driver_free(argv);
			not_started(p, m, STAGE_GROUP, errno);
			return;
		}
	}
	a->secret = take_secret(p, d, m->kind, &own_secret);
	if (agent_spawn(&p->command, argv, a->group, a->secret, &s) == -1) {
		int error = s.error;

		driver_free(argv);
		if (a->group >= 0)
			(void)cgroup_sweep(&p->cgroup, a->start);
		close_fd(&a->group);
		close_fd(&a->secret);
		a->start = 0;
		not_started(p, m, STAGE_FORK, error);
		return;
	}
	driver_free(argv);
	a->pid = s.pid;
	a->pidfd = s.pidfd;
	a->agent_pid = s.agent_pid;
	a->agent = s.agent;
	a->init = s.init;
	a->out = s.out;
	a->err = s.err;
	a->started_ns = s.started_ns;
	a->exited = event_new(p->base, a->pidfd, EV_READ | EV_PERSIST, on_exit_event, a);
	if (a->exited == NULL || event_add(a->exited, NULL) == -1)
		fatal("no memory to watch the agent");
	told.start = a->start;
	if (own_secret)
		send_copy(&p->daemons[PROC_LINK], MSG_LINK_SECRET, &told, a->secret);
	tell_link(a);
	tell_procd(a);
	agent_release(&s);
	a->stage = s.stage;
	a->spawn_error = s.error;
	if (a->kind == AGENT_RUN)
		p->upgrade.turning_ms = 0;
}

/* One that runs already, started by the opampd before us in this process.  Its end is not watched yet. */
void
parent_agent_take_over(struct parent *p, const struct upgrade_agent *from)
{
	struct agent_slot *a = &p->agents[0];
	siginfo_t info = {0};

	a->start = from->start;
	a->kind = AGENT_RUN;
	a->flags = from->flags;
	a->uid = from->uid;
	a->generation = from->generation;
	a->started_ns = from->started_ns;
	a->pid = from->pid;
	a->agent_pid = from->agent_pid;
	a->pidfd = from->pidfd;
	a->agent = from->agent;
	a->init = from->init;
	a->group = from->group;
	a->secret = from->secret;
	a->out = from->out;
	a->err = from->err;
	if (waitid(P_PIDFD, (id_t)a->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == -1 ||
	    agent_number_of(a->pidfd) != a->pid)
		fatal("the agent that was left to us is no child of ours");
	a->exited = event_new(p->base, a->pidfd, EV_READ | EV_PERSIST, on_exit_event, a);
	if (a->exited == NULL)
		fatal("no memory to watch the agent");
}

int
parent_agent_request(struct parent *p, const struct msg_agent_start *m)
{
	const struct driver *d = driver_of(&p->settings);

	if (m->kind == AGENT_NOTHING || m->kind > AGENT_PROBE ||
	    (m->flags & ~(uint32_t)AGENT_NO_PIPELINES_GATE) != 0 ||
	    slot_for(p, m->kind)->start != 0)
		return -1; /* never twice (I9) */
	if (parent_upgrade_holds(p))
		return 0; /* the next procd asks, or another one if the upgrade is not made */
	if (p->ending || parent_too_often(&p->starts, LIMIT_STARTS_PER_SECOND, 1000)) {
		refuse(p, m, STAGE_FORK, p->ending ? ESHUTDOWN : EAGAIN);
		return 0;
	}
	if (d->uses_link && m->kind != AGENT_PROBE && have_secret(p) == -1) {
		not_started(p, m, STAGE_SECRET, errno);
		return 0;
	}
	if (open_program(p, m) == 0)
		start(p, m);
	return 0;
}

int
parent_agent_secret(struct parent *p, int fd)
{
	if (link_file_check(fd) == -1) {
		close(fd);
		return -1;
	}
	close_fd(&p->secret_next);
	p->secret_next = fd;
	p->secret_own = 0;
	return 0;
}

static void
kill_start(struct agent_slot *a)
{
	int fd;

	if (a->group >= 0 && (fd = cgroup_kill_fd(a->group)) >= 0) {
		(void)!write(fd, "1", 1);
		close(fd);
	}
	(void)syscall(SYS_pidfd_send_signal, a->pidfd, SIGKILL, NULL, 0);
}

void
parent_agent_kill(struct parent *p, uint32_t id)
{
	size_t i;

	for (i = 0; i < AGENT_SLOTS; i++)
		if (id != 0 && p->agents[i].start == id)
			kill_start(&p->agents[i]);
}

void
parent_agent_kill_all(struct parent *p)
{
	size_t i;

	for (i = 0; i < AGENT_SLOTS; i++)
		if (p->agents[i].start != 0)
			kill_start(&p->agents[i]);
}

static void
on_patience(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	kill_start(arg);
}

void
parent_agent_stop(struct parent *p)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};
	uint64_t which = settings_u64(&p->settings, SET_STOP_SIGNAL),
		 ms = settings_u64(&p->settings, SET_STOP_TIMEOUT);
	struct agent_slot *a = &p->agents[0];

	if (a->start == 0)
		return;
	log_info("the agent's command has changed: restarting it");
	a->asked = 1;
	if (a->patience == NULL)
		a->patience = event_new(p->base, -1, 0, on_patience, a);
	if (a->patience == NULL || parent_arm(a->patience, ms) == -1)
		kill_start(a);
	(void)syscall(SYS_pidfd_send_signal, agent_of(a),
	    signals[which < sizeof(signals) / sizeof(signals[0]) ? which : 0], NULL, 0);
}
