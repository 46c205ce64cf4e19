/*
 * agent_spawn.c: the fork of the agent (see agent_spawn.h).  The parent only.
 * Between fork and exec only this file's code runs: it drops rights, in an order that matters.
 */
#include "agent_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent_clone.h"
#include "agent_init.h"
#include "agent_landlock.h"
#include "agent_namespaces.h"
#include "log.h"
#include "sandbox.h"

#define RELEASE_MS 5000
#define REPORT_FD  5 /* close-on-exec: closes by itself when the exec succeeds */

struct report {
	uint32_t stage;
	int error;
};

static void
fail(uint32_t stage)
{
	struct report r = {stage, errno};

	(void)!write(REPORT_FD, &r, sizeof(r));
	_exit(125);
}

static int
set_limit(int resource, uint64_t value)
{
	struct rlimit now, want = {value, value};

	if (value == 0)
		return 0;
	if (getrlimit((__rlimit_resource_t)resource, &now) == 0 && now.rlim_max != RLIM_INFINITY &&
	    value > now.rlim_max)
		want.rlim_cur = want.rlim_max = now.rlim_max;
	return setrlimit((__rlimit_resource_t)resource, &want);
}

static uint64_t
setting_or_zero(const struct settings *s, enum setting key)
{
	return settings_has(s, key) ? settings_u64(s, key) : 0;
}

static int
limits(const struct agent_command *c)
{
	struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_CORE, &none) == -1)
		return -1;
	if (set_limit(RLIMIT_NOFILE, setting_or_zero(c->settings, SET_LIMIT_FILES)) == -1 ||
	    set_limit(RLIMIT_DATA, setting_or_zero(c->settings, SET_LIMIT_DATA)) == -1)
		return -1;
	return set_limit(RLIMIT_NPROC, setting_or_zero(c->settings, SET_LIMIT_PROCESSES));
}

/* agent.capabilities survive the exec as ambient ones; everything else is gone for good. */
static int
capabilities(uint64_t keep)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{(uint32_t)keep, (uint32_t)keep, (uint32_t)keep},
	    {(uint32_t)(keep >> 32), (uint32_t)(keep >> 32), (uint32_t)(keep >> 32)}};
	unsigned cap;

	if (syscall(SYS_capset, &head, data) == -1)
		return -1;
	for (cap = 0; cap < 64; cap++)
		if ((keep & 1ull << cap) != 0 &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) == -1)
			return -1;
	return 0;
}

static uint64_t
permitted(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) == -1)
		return 0;
	return (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

static int
become(const struct agent_command *c, int own_users)
{
	struct error err;

	if (sandbox_bounding(c->capabilities, &err) == -1)
		return -1;
	/* in a user namespace of its own it has all of them until here */
	if (c->unprivileged)
		return capabilities(own_users ? 0 : c->capabilities & permitted());
	if (prctl(PR_SET_KEEPCAPS, c->capabilities != 0, 0, 0, 0) == -1 ||
	    setgroups(c->group_count, c->groups) == -1 || setresgid(c->gid, c->gid, c->gid) == -1 ||
	    setresuid(c->uid, c->uid, c->uid) == -1)
		return -1;
	return capabilities(c->capabilities);
}

/* By system call: libc keeps signals 32 and 33 for itself and would leave them as we inherited them. */
static void
fresh_signals(void)
{
	static const struct {
		unsigned long handler, flags, restorer, mask[2];
	} dfl; /* zeroes: SIG_DFL; at least as large as any kernel's struct sigaction */
	static const uint64_t none;
	int n;

	for (n = 1; n <= 64; n++) /* SIGKILL and SIGSTOP refuse, rightly */
		(void)syscall(SYS_rt_sigaction, n, &dfl, NULL, sizeof(none));
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
}

/*
 * 0 /dev/null, 1 and 2 its output, 4 the secret, 5 the report; executable and work_dir are kept,
 * close-on-exec, above 30.
 */
static int
descriptors(int out, int err_fd, int secret, int report, int *executable, int *work_dir)
{
	int null = open("/dev/null", O_RDONLY), high[5], i, from[5];

	from[0] = null;
	from[1] = out;
	from[2] = err_fd;
	from[3] = secret;
	from[4] = report;
	for (i = 0; i < 5; i++) { /* out of the way of each other first */
		high[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD_CLOEXEC, 20);
		if (from[i] >= 0 && high[i] == -1)
			return -1;
	}
	*executable = fcntl(*executable, F_DUPFD_CLOEXEC, 30);
	*work_dir = fcntl(*work_dir, F_DUPFD_CLOEXEC, *executable + 1);
	if (*executable == -1 || *work_dir == -1)
		return -1;
	if (dup2(high[0], 0) == -1 || dup2(high[1], 1) == -1 || dup2(high[2], 2) == -1)
		return -1;
	if (high[3] >= 0 && dup2(high[3], DRIVER_SECRET_FD) == -1)
		return -1;
	if (dup3(high[4], REPORT_FD, O_CLOEXEC) == -1)
		return -1;
	(void)close(3);
	if (high[3] < 0)
		(void)close(DRIVER_SECRET_FD);
	if (close_range(6, (unsigned)*executable - 1, 0) == -1)
		return -1;
	if (*work_dir > *executable + 1 &&
	    close_range((unsigned)*executable + 1, (unsigned)*work_dir - 1, 0) == -1)
		return -1;
	return close_range((unsigned)*work_dir + 1, ~0u, 0);
}

/* A script's interpreter opens it by its path: its directories are root's, as was checked. */
static void
execute(int executable, char **argv, char **env)
{
	char magic[2] = "";

	if (pread(executable, magic, 2, 0) == 2 && magic[0] == '#' && magic[1] == '!')
		(void)execve(argv[0], argv, env);
	else
		(void)syscall(SYS_execveat, executable, "", argv, env, AT_EMPTY_PATH);
}

/* In a PID namespace of its own the parent's number is 0: the report's other end tells. */
static int
parent_is_gone(pid_t parent, int own_pids)
{
	struct pollfd report = {.fd = REPORT_FD};

	if (!own_pids)
		return getppid() != parent;
	return poll(&report, 1, 0) != 0;
}

static void
child(struct agent_command *c, char **argv, int out, int err_fd, int secret, int report,
    pid_t parent, int own_pids)
{
	int executable = c->executable;
	uint64_t mode = settings_u64(c->settings, SET_SANDBOX);
	struct error err;

	fresh_signals();
	(void)umask(027);
	(void)setsid();
	(void)personality(PER_LINUX);
	if (descriptors(out, err_fd, secret, report, &executable, &c->work_dir) == -1) {
		struct report r = {STAGE_DIRECTORY, errno};

		(void)!write(report, &r, sizeof(r));
		_exit(125);
	}
	if (limits(c) == -1)
		fail(STAGE_LIMITS);
	if (become(c, own_pids && c->unprivileged) == -1)
		fail(STAGE_IDS);
	/* as the agent, whose it is: it may have locked itself out */
	if (fchdir(c->work_dir) == -1 &&
	    (errno != EACCES || fchmod(c->work_dir, 0750) == -1 || fchdir(c->work_dir) == -1))
		fail(STAGE_DIRECTORY);
	(void)mkdirat(c->work_dir, "tmp", 0700); /* as the agent: the directory is its own */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		fail(STAGE_IDS);
	/* after the change of user, which clears it; then look: the parent may be gone already */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == -1 || parent_is_gone(parent, own_pids))
		fail(STAGE_IDS);
	if (mode != 0 && agent_landlock(c, mode == 2) == -1)
		fail(STAGE_LANDLOCK);
	if (mode != 0 && sandbox_seccomp(&policy_agent, &err) == -1)
		fail(STAGE_SECCOMP);
	execute(executable, argv, c->env);
	fail(STAGE_EXEC);
}

static void
close_all(int *fds, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* A limit cannot be more than our own, and is then that (set_limit). */
static void
tell_limits(const struct settings *settings)
{
	static const struct {
		enum setting key;
		int resource;
	} limited[] = {{SET_LIMIT_FILES, RLIMIT_NOFILE}, {SET_LIMIT_DATA, RLIMIT_DATA},
	    {SET_LIMIT_PROCESSES, RLIMIT_NPROC}};
	struct rlimit own;
	uint64_t value;
	size_t i;

	for (i = 0; i < sizeof(limited) / sizeof(limited[0]); i++) {
		value = setting_or_zero(settings, limited[i].key);
		if (value != 0 && getrlimit((__rlimit_resource_t)limited[i].resource, &own) == 0 &&
		    own.rlim_max != RLIM_INFINITY && value > own.rlim_max)
			log_warn("%s: %llu is more than opampd itself may have: it is %llu; raise "
				 "the limit of opampd's service",
			    setting_name(limited[i].key), (unsigned long long)value,
			    (unsigned long long)own.rlim_max);
	}
}

/* Once: every start would say the same. */
static void
tell_no_namespaces(const struct agent_command *c, int error)
{
	static int told;

	if (!told && c->unprivileged)
		log_warn(
		    "no user namespace for the agent (%s): with our user it can do at the control "
		    "socket what the user can, and change modes of our files; opampctl sandbox "
		    "lists it",
		    strerror(error));
	told = 1;
}

static pid_t
spawn_process(const struct agent_command *c, int group, int *pidfd, int *own_pids)
{
	pid_t pid;

	/* an ordinary user's agent could signal us: there it gets its own PIDs in any case */
	*own_pids = group == -1 || c->unprivileged;
	if (*own_pids) {
		pid =
		    agent_clone(CLONE_NEWPID | (c->unprivileged ? CLONE_NEWUSER : 0), group, pidfd);
		if (pid != -1)
			return pid;
		tell_no_namespaces(c, errno);
		*own_pids = 0;
	}
	return agent_clone(0, group, pidfd);
}

enum pipes { /* reading and writing ends */
	OUT_R,
	OUT_W,
	ERR_R,
	ERR_W,
	REPORT_R,
	REPORT_W,
	GO_R,
	GO_W,
	INIT_R, /* not a pipe: a socket pair, to and from init */
	INIT_W,
	PIPES
};

/* The new process: with a PID namespace of its own it becomes init there, and another one goes on. */
static void
new_process(const struct agent_command *c, char **argv, int secret, const int *p, pid_t parent,
    int own_pids)
{
	struct agent_command own = *c; /* with descriptors of this process */
	char go;

	fresh_signals();
	close(p[GO_W]); /* the parent's alone: its end is seen */
	close(p[INIT_R]);
	if (own_pids) {
		if (c->unprivileged)
			agent_namespaces(&own);
		agent_init(&own, p[INIT_W]);
	}
	if (read(p[GO_R], &go, 1) == 1)
		child(&own, argv, p[OUT_W], p[ERR_W], secret, p[REPORT_W], parent, own_pids);
	_exit(125);
}

/* It has done nothing yet, and nobody was told of it. */
static void
undo(struct agent_start *s)
{
	struct pollfd ended = {.fd = s->pidfd, .events = POLLIN};
	siginfo_t info;

	if (s->pid <= 0)
		return;
	(void)syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
	if (poll(&ended, 1, RELEASE_MS) == 1)
		(void)waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED);
	close(s->pidfd);
}

int
agent_spawn(
    const struct agent_command *c, char **argv, int group, int secret, struct agent_start *s)
{
	int p[PIPES] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1}, own_pids;
	struct timespec now;
	sigset_t all, before;
	pid_t me = getpid();

	tell_limits(c->settings);
	memset(s, 0, sizeof(*s));
	s->pidfd = s->agent = s->init = s->out = s->err = s->go = s->report = -1;
	s->stage = STAGE_FORK;
	if (pipe2(p + OUT_R, O_CLOEXEC) == -1 || pipe2(p + ERR_R, O_CLOEXEC) == -1 ||
	    pipe2(p + REPORT_R, O_CLOEXEC) == -1 || pipe2(p + GO_R, O_CLOEXEC) == -1 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p + INIT_R) == -1)
		goto failed;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	/*
	 * A signal that comes for the child before it is the agent must not find our handler in it: that
	 * shares its pipe with ours, and a stop of the agent would be a stop of opampd.
	 */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	s->pid = spawn_process(c, group, &s->pidfd, &own_pids);
	if (s->pid != 0) {
		int saved = errno;

		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		errno = saved;
	}
	if (s->pid == -1)
		goto failed;
	if (s->pid == 0)
		new_process(c, argv, secret, p, me, own_pids);
	close(p[INIT_W]); /* so that init's end is seen */
	p[INIT_W] = -1;
	s->agent_pid = s->pid;
	if (own_pids && agent_init_begun(p[INIT_R], &s->agent_pid, &s->agent) == -1)
		goto failed;
	if (own_pids)
		s->init = p[INIT_R];
	else
		close(p[INIT_R]);
	s->started_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	s->out = p[OUT_R];
	s->err = p[ERR_R];
	s->report = p[REPORT_R];
	s->go = p[GO_W];
	p[OUT_R] = p[ERR_R] = p[REPORT_R] = p[GO_W] = p[INIT_R] = -1;
	close_all(p, PIPES);
	s->stage = STAGE_NONE;
	return 0;
failed:
	s->error = errno;
	close_all(p, PIPES);
	undo(s);
	return -1;
}

/* A file system that does not answer must not stop us: such an agent is not started. */
static int
wait_for_report(struct agent_start *s)
{
	struct pollfd p = {.fd = s->report, .events = POLLIN};
	int n;

	do
		n = poll(&p, 1, RELEASE_MS);
	while (n == -1 && errno == EINTR);
	if (n != 0)
		return 0;
	(void)syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
	return -1;
}

void
agent_release(struct agent_start *s)
{
	struct report report = {0, 0};
	ssize_t n = 0;

	(void)!write(s->go, "", 1);
	if (wait_for_report(s) == -1) {
		report = (struct report){STAGE_RELEASE, ETIMEDOUT};
		n = sizeof(report);
	} else {
		do /* until the exec closes the pipe; everything before it is ours and short */
			n = read(s->report, &report, sizeof(report));
		while (n == -1 && errno == EINTR);
	}
	close(s->go);
	close(s->report);
	s->go = s->report = -1;
	s->stage = n == (ssize_t)sizeof(report) ? report.stage : STAGE_NONE;
	s->error = report.error; /* its end is reaped like any other */
}
