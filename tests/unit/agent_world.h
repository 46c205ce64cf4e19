/*
 * agent_world.h: the place, the parent and the run of an agent for agent_spawn_test.c: a process with
 * the parent's own restrictions, and all kinds of things to leave behind, starts the agent by the
 * parent's own code, and its report comes back.
 */
#ifndef TESTS_UNIT_AGENT_WORLD_H
#define TESTS_UNIT_AGENT_WORLD_H

#include "test.h"

#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include "agent_report.h"
#include "privsep/agent_init.h"
#include "privsep/agent_spawn.h"
#include "privsep/memfd.h"
#include "privsep/record.h"
#include "privsep/sandbox.h"

#define AGENT_UID  54321u
#define AGENT_GID  54322u
#define EXTRA_GID  54323u
#define USER_UID   54325u /* the ordinary user, where root runs this */
#define WAIT_MS    10000
#define CAP_BIND   (1ull << 10) /* CAP_NET_BIND_SERVICE */
#define LINK_PORT  54393
#define SECRET_FD4 "fd 4 /memfd:secret (deleted)"

enum mode {
	MODE_OFF,
	MODE_STANDARD,
	MODE_STRICT
};

struct world {
	char top[64];
	int user;   /* 1: an ordinary user is the parent */
	int cgroup; /* 1: in a cgroup */
	enum mode mode;
	uint64_t capabilities;
	const char *deed; /* "report" or "stay" */
	int orphan;       /* 1: the parent is killed */
	rlim_t files;     /* that the parent itself may have open; 0: as it is */
	const char *executable;
	int signals[4]; /* that the agent gets when it stays; then it is not killed */
	int servers; /* 1: beside its storage are file systems whose servers are gone, or silent */
	int fuse[2];
	int alive; /* a pipe that agents that stay hold open */
	/* filled in the parent */
	struct settings settings;
	struct agent_command command;
	struct cgroup groups;
	char base_group[256];
};

static char report[1 << 18]; /* what the agent printed */

/* ---- the place */

static void
write_file(
    const char *top_dir, const char *name, const char *text, mode_t mode, uid_t uid, gid_t gid)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top_dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	if (getuid() == 0)
		assert_int_equal(fchown(fd, uid, gid), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void
make_dir(const char *top_dir, const char *name, mode_t mode, uid_t uid, gid_t gid)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", top_dir, name);
	assert_int_equal(mkdir(path, 0700), 0);
	if (getuid() == 0)
		assert_int_equal(chown(path, uid, gid), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void
copy_program(const char *to)
{
	static char buf[1 << 16];
	int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
	    out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		assert_int_equal(write(out, buf, (size_t)n), n);
	assert_int_equal(fchmod(out, 0755), 0);
	close(in);
	close(out);
}

/* 0, or -1 where there is no FUSE. */
static int
mount_fuse(const char *top_dir, const char *name, int *server)
{
	char path[512], options[128];

	make_dir(top_dir, name, 0755, 0, 0);
	snprintf(path, sizeof(path), "%s/%s", top_dir, name);
	*server = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
	    *server);
	return *server == -1 ? -1 : mount("test", path, "fuse", 0, options);
}

static void
make_servers(struct world *w)
{
	w->servers = mount_fuse(w->top, "silent", &w->fuse[0]) == 0 &&
		     mount_fuse(w->top, "gone", &w->fuse[1]) == 0;
	if (w->fuse[1] >= 0)
		close(w->fuse[1]);
}

static void
end_servers(struct world *w)
{
	char path[512];

	if (w->fuse[0] >= 0)
		close(w->fuse[0]);
	snprintf(path, sizeof(path), "%s/silent", w->top);
	(void)umount2(path, MNT_DETACH);
	snprintf(path, sizeof(path), "%s/gone", w->top);
	(void)umount2(path, MNT_DETACH);
}

static void
make_world(struct world *w)
{
	uid_t agent = w->user ? USER_UID : AGENT_UID, conf = w->user ? USER_UID : 54326;
	gid_t group = w->user ? USER_UID : AGENT_GID;
	char path[128], link[128];

	strcpy(w->top, "/tmp/agent-spawn-XXXXXX");
	assert_non_null(mkdtemp(w->top));
	assert_int_equal(chmod(w->top, 0755), 0);
	snprintf(path, sizeof(path), "%s/agent", w->top);
	copy_program(path);
	make_dir(w->top, "storage", 0711, conf, conf);
	/* as an ordinary user everything is the agent's own: only Landlock is between */
	write_file(w->top, "storage/state", "secret state", w->user ? 0644 : 0600, conf, conf);
	make_dir(w->top, "storage/agent", 02750, conf, group);
	write_file(w->top, "storage/agent/effective.yaml", "x: y\n", 0640, conf, group);
	make_dir(w->top, "work", 0750, agent, group);
	snprintf(path, sizeof(path), "%s/work/alive", w->top);
	assert_int_equal(mkfifo(path, 0600), 0);
	if (getuid() == 0)
		assert_int_equal(chown(path, agent, group), 0);
	w->alive = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(w->alive >= 0);
	make_dir(w->top, "outside", 0777, 0, 0);
	make_dir(w->top, "granted", 0777, 0, 0);
	write_file(w->top, "script",
	    "#!/bin/sh\nfor f in /proc/self/fd/*; do echo \"fd ${f##*/}\"; "
	    "done\necho \"argument $1\"\n",
	    0755, 0, 0);
	snprintf(path, sizeof(path), "%s/link-to-storage", w->top);
	snprintf(link, sizeof(link), "%s/storage", w->top);
	assert_int_equal(symlink(link, path), 0);
	if (w->servers)
		make_servers(w);
}

static void
remove_world(struct world *w)
{
	char command[128];

	close(w->alive);
	if (w->fuse[0] != 0)
		end_servers(w);
	snprintf(command, sizeof(command), "rm -rf %s", w->top);
	assert_int_equal(system(command), 0);
}

/* ---- the parent */

static void
put_text(struct record_writer *r, enum setting key, const char *text)
{
	record_put(r, (uint16_t)key, 1, 1, text, strlen(text));
}

static void
put_number(struct record_writer *r, enum setting key, uint64_t value)
{
	record_put(r, (uint16_t)key, 1, 1, &value, sizeof(value));
}

static void
make_settings(struct world *w)
{
	struct record_writer r = {0};
	char path[128];
	struct error err;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", w->top, w->executable);
	put_text(&r, SET_EXECUTABLE, path);
	put_number(&r, SET_SANDBOX, w->mode);
	put_number(&r, SET_LIMIT_FILES, 200);
#ifndef OPAMPD_SANITIZED /* the sanitizers' shadow counts as data */
	put_number(&r, SET_LIMIT_DATA, 1ull << 40);
#endif
	put_number(&r, SET_LIMIT_PROCESSES, 5000);
	snprintf(path, sizeof(path), "%s/granted", w->top);
	put_text(&r, SET_STRICT_WRITE, path);
	put_text(&r, SET_STRICT_READ, "/proc/self");
	put_text(&r, SET_STRICT_BIND, "54391");
	fd = record_finish_memfd(&r, "settings", &err);
	if (fd == -1 || settings_open(&w->settings, fd, PROC_PARENT, &err) == -1) {
		fprintf(stderr, "%s\n", err.text);
		_exit(100);
	}
	close(fd);
}

static void
make_command(struct world *w)
{
	static char *env[] = {(char *)"ONLY=this", (char *)"TMPDIR=/x", NULL};
	struct agent_command *c = &w->command;
	char path[128];

	make_settings(w);
	c->settings = &w->settings;
	c->unprivileged = w->user;
	c->uid = !w->user ? AGENT_UID : getuid() == 0 ? USER_UID : getuid();
	c->gid = !w->user ? AGENT_GID : getuid() == 0 ? USER_UID : getgid();
	c->groups[0] = EXTRA_GID;
	c->group_count = 1;
	c->capabilities = w->capabilities;
	c->env = env;
	c->link_port = LINK_PORT;
	snprintf(path, sizeof(path), "%s/%s", w->top, w->executable);
	c->executable = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/work", w->top);
	c->work_path = strdup(path);
	c->work_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/storage", w->top);
	c->storage_path = strdup(path);
	if (w->user) { /* named by a link: it is what the link points to that is hidden */
		snprintf(path, sizeof(path), "%s/link-to-storage", w->top);
		c->hidden[0] = strdup(path);
	}
}

/* Everything there is to leave behind. */
static void
clutter(void)
{
	static const unsigned long ignore[4] = {1 /* SIG_IGN */};
	static const int numbers[] = {3, 5, 7, 21, 31, 33, 50, 150};
	sigset_t blocked;
	int fd = open("/etc/passwd", O_RDONLY), n;
	size_t i;

	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (fcntl(numbers[i], F_GETFD) == -1)
			(void)dup2(fd, numbers[i]); /* not close-on-exec */
	for (n = 1; n < NSIG; n++) /* by system call: libc keeps 32 and 33 to itself */
		if (n != SIGCHLD)
			(void)syscall(SYS_rt_sigaction, n, ignore, NULL, 8);
	sigfillset(&blocked);
	sigdelset(&blocked, SIGALRM);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	(void)setenv("SECRET", "of the parent", 1);
	(void)umask(0);
	(void)personality(ADDR_NO_RANDOMIZE);
}

/* As opampd's restrict_self; an ordinary user has come with a capability of his service manager's. */
static void
restrict_parent(struct world *w)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{CAP_BIND, CAP_BIND, CAP_BIND}, {0, 0, 0}};
	uint64_t keep = policy_parent.capabilities | w->capabilities;
	gid_t group = USER_UID;
	struct error err;
	int failed = 0;

	if (w->user && getuid() == 0) {
		failed |= prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
		failed |= setgroups(1, &group) | setresgid(USER_UID, USER_UID, USER_UID) |
			  setresuid(USER_UID, USER_UID, USER_UID);
		failed |= (int)syscall(SYS_capset, &head, data);
		failed |= prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 10, 0, 0);
	}
	failed |= prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) | prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!w->user)
		failed |= sandbox_bounding(keep, &err) | sandbox_capabilities(keep, &err);
	failed |= sandbox_seccomp(&policy_parent, &err);
	if (failed)
		_exit(101);
}

static void
tell_own(int to)
{
	struct rlimit r;
	char path[64], target[64];
	static const char *const names[] = {
	    "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};
	int i;
	size_t k;
	ssize_t n;

	for (i = 0; i < RLIM_NLIMITS; i++)
		if (getrlimit((__rlimit_resource_t)i, &r) == 0)
			dprintf(to, "own limit %d %llu %llu\n", i, (unsigned long long)r.rlim_cur,
			    (unsigned long long)r.rlim_max);
	for (k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[k]);
		n = readlink(path, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		dprintf(to, "own ns %s\n", target);
	}
	dprintf(to, "own pid %d\n", getpid());
}

/* Copies the agent's output until its last writer is gone; "stays" ends the wait, too. */
static void
pass_on(struct world *w, int from, int to)
{
	struct pollfd p = {from, POLLIN, 0};
	char buf[4096];
	ssize_t n;

	while (poll(&p, 1, WAIT_MS) == 1 && (n = read(from, buf, sizeof(buf))) > 0) {
		(void)!write(to, buf, (size_t)n);
		if ((strcmp(w->deed, "stay") == 0 || w->signals[0] != 0) &&
		    memmem(buf, (size_t)n, "stays\n", 6) != NULL)
			return;
	}
}

/* 1: every process that had the agent's output open is gone. */
static int
all_gone(int out)
{
	struct pollfd p = {out, POLLIN, 0};
	char c;

	return poll(&p, 1, WAIT_MS) == 1 && read(out, &c, 1) == 0;
}

static int
is_stopped(pid_t pid)
{
	char path[64], text[512];
	const char *state;
	int fd, i;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (i = 0; i < WAIT_MS; i++) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd == -1 ? 0 : read(fd, text, sizeof(text) - 1);
		close(fd);
		text[n > 0 ? n : 0] = '\0';
		state = strrchr(text, ')');
		if (state != NULL && state[2] == 'T')
			return 1;
		(void)poll(NULL, 0, 1);
	}
	return 0;
}

static void
spawn_and_watch(struct world *w, int to)
{
	char pid[16], path[128];
	char *argv[] = {path, (char *)"agent", (char *)w->deed, w->top, pid, NULL};
	struct rlimit few = {w->files, w->files};
	struct agent_start s;
	struct error err;
	int group = -1, secret, status = 0, kill_fd;
	size_t i;

	snprintf(pid, sizeof(pid), "%d", getppid());
	snprintf(path, sizeof(path), "%s/%s", w->top, w->executable);
	make_command(w);
	secret = memfd_seal("secret", "s3cret", 6, &err);
	if (w->cgroup) {
		group = cgroup_make(&w->groups, 77, 0, 0, &err);
		if (group == -1)
			_exit(103);
	}
	clutter();
	if (w->files != 0 && setrlimit(RLIMIT_NOFILE, &few) == -1)
		_exit(104);
	restrict_parent(w);
	tell_own(to);
	if (agent_spawn(&w->command, argv, group, secret, &s) == -1) {
		dprintf(to, "spawn failed %s\n", strerror(s.error));
	} else {
		agent_release(&s);
		dprintf(to, "stage %u %s\n", s.stage, strerror(s.error));
	}
	pass_on(w, s.out, to);
	if (w->orphan) /* to be killed here */
		(void)poll(NULL, 0, WAIT_MS);
	for (i = 0; i < 4 && w->signals[i] != 0; i++) {
		(void)syscall(SYS_pidfd_send_signal, s.agent >= 0 ? s.agent : s.pidfd,
		    w->signals[i], NULL, 0);
		if (w->signals[i] == SIGSTOP)
			dprintf(to, "stopped %d\n", is_stopped(s.agent_pid));
	}
	if (strcmp(w->deed, "stay") == 0 && w->signals[0] == 0) {
		kill_fd = group == -1 ? -1 : cgroup_kill_fd(group);
		if (group == -1)
			(void)syscall(SYS_pidfd_send_signal, s.pidfd, SIGKILL, NULL, 0);
		else if (write(kill_fd, "1", 1) != 1)
			dprintf(to, "cgroup.kill: %s\n", strerror(errno));
		dprintf(to, "gone %d\n", all_gone(s.out));
	}
	if (strcmp(w->deed, "orphans") == 0)
		dprintf(to, "gone %d\n", all_gone(s.out));
	if (waitpid(s.pid, &status, 0) != s.pid)
		dprintf(to, "not reaped\n");
	if (s.init >= 0)
		dprintf(to, "init told %d\n", agent_init_ended(s.init, &status));
	dprintf(to, "status %s %d\n", WIFSIGNALED(status) ? "signal" : "exit",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	while (group >= 0 && !cgroup_sweep(&w->groups, 77))
		(void)poll(NULL, 0, 1);
}

static void
collect(const struct world *w, int from, pid_t parent)
{
	struct pollfd p = {from, POLLIN, 0};
	size_t len = 1;
	ssize_t n;
	int status;

	report[0] = '\n'; /* each line has one before it */
	while (poll(&p, 1, WAIT_MS) == 1 && len < sizeof(report) - 1 &&
	       (n = read(from, report + len, sizeof(report) - 1 - len)) > 0) {
		len += (size_t)n;
		report[len] = '\0';
		if (w->orphan && strstr(report, "\nstays\n") != NULL)
			(void)kill(parent, SIGKILL);
	}
	report[len] = '\0';
	close(from);
	assert_int_equal(waitpid(parent, &status, 0), parent);
	if (w->orphan) {
		assert_int_equal(status, SIGKILL);
		return;
	}
	if (status != 0)
		fprintf(stderr, "%s\nthe parent ended with %x\n", report, status);
	assert_int_equal(status, 0);
}

static int
abstract_socket(const char *top_dir)
{
	struct sockaddr_un a;
	socklen_t len = outside(&a, top_dir);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

/* Starts the agent as w says, and has its report.  1; 0 when there are no cgroups to be had. */
static int
run(struct world *w)
{
	int p[2], listener;
	pid_t pid;

	if (w->executable == NULL)
		w->executable = "agent";
	if (w->deed == NULL)
		w->deed = "report";
	make_world(w);
	listener = abstract_socket(w->top);
	if (w->cgroup) {
		cgroup_init(&w->groups, w->top);
		if (w->groups.base == -1) {
			remove_world(w);
			close(listener);
			return 0;
		}
	}
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(p[0]);
		spawn_and_watch(w, p[1]);
		_exit(0);
	}
	close(p[1]);
	collect(w, p[0], pid);
	if (w->orphan)
		assert_true(all_gone(w->alive));
	if (w->cgroup)
		close(w->groups.base);
	close(listener);
	remove_world(w);
	return 1;
}

#endif
