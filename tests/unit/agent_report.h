/*
 * agent_report.h: the agent of agent_spawn_test.c (the same program, executed as the agent): prints
 * everything it inherited, one "key value" a line, and how each thing went that it tried.
 */
#ifndef TESTS_UNIT_AGENT_REPORT_H
#define TESTS_UNIT_AGENT_REPORT_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The address of a socket of the test's, outside the agent's domain; of this run alone, as its directory is. */
static socklen_t
outside(struct sockaddr_un *a, const char *directory)
{
	size_t len = strlen(directory);

	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path + 1, directory, len);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
}

static void
report_file(const char *path, const char *prefix)
{
	char line[1024];
	FILE *f = fopen(path, "re");

	if (f == NULL)
		printf("%s cannot %s\n", prefix, strerror(errno));
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		printf("%s %s", prefix, line);
	if (f != NULL)
		fclose(f);
}

static void
report_descriptors(void)
{
	char path[64], target[256];
	struct dirent *e;
	DIR *d = opendir("/proc/self/fd");
	ssize_t n;

	if (d == NULL)
		printf("fd cannot %s\n", strerror(errno));
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.' || atoi(e->d_name) == dirfd(d))
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%.20s", e->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		printf("fd %s %s\n", e->d_name, target);
	}
	if (d != NULL)
		closedir(d);
}

static void
report_namespaces(void)
{
	static const char *const names[] = {
	    "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};
	char path[64], target[64];
	size_t i;
	ssize_t n;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		n = readlink(path, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		printf("ns %s\n", target);
	}
}

static void
report_process(char **argv)
{
	struct rlimit r;
	char cwd[256];
	mode_t mask = umask(077);
	int i, sig = 0;

	for (i = 0; argv[i] != NULL; i++)
		printf("argument %s\n", argv[i]);
	for (i = 0; environ[i] != NULL; i++)
		printf("environment %s\n", environ[i]);
	for (i = 0; i < RLIM_NLIMITS; i++)
		if (getrlimit((__rlimit_resource_t)i, &r) == 0)
			printf("limit %d %llu %llu\n", i, (unsigned long long)r.rlim_cur,
			    (unsigned long long)r.rlim_max);
	printf("umask %03o\n", mask);
	printf("cwd %s\n", getcwd(cwd, sizeof(cwd)));
	printf("leads session %d group %d\n", getsid(0) == getpid(), getpgrp() == getpid());
	(void)prctl(PR_GET_PDEATHSIG, &sig, 0, 0, 0);
	printf("pdeathsig %d\n", sig);
	printf("nice %d\n", getpriority(PRIO_PROCESS, 0));
	printf("terminal %d\n", open("/dev/tty", O_RDWR | O_CLOEXEC) >= 0);
	printf("seals %d\n", fcntl(4, F_GET_SEALS));
	printf("pid %d uid %u gid %u\n", getpid(), getuid(), getgid());
}

/* ---- what it tries, each in a child of its own: 0 done, else errno */

static const char *top;

static int
touch(const char *name, int flags)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s%s%s", name[0] == '/' ? "" : top, name[0] == '/' ? "" : "/",
	    name);
	fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd == -1)
		return errno;
	close(fd);
	return 0;
}

static int
try_write_outside(void)
{
	return touch("outside/new", O_WRONLY | O_CREAT);
}

static int
try_write_own(void)
{
	return touch("work/new", O_WRONLY | O_CREAT);
}

static int
try_write_tmp(void)
{
	return touch("work/tmp/new", O_WRONLY | O_CREAT);
}

static int
try_write_granted(void)
{
	return touch("granted/new", O_WRONLY | O_CREAT);
}

static int
try_read_state(void)
{
	return touch("storage/state", O_RDONLY);
}

static int
try_read_state_by_link(void)
{
	return touch("link-to-storage/state", O_RDONLY);
}

/* What Landlock does not look at. */
static int
change(const char *name, int (*how)(const char *path))
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	return how(path) == -1 ? errno : 0;
}

static int
open_for_all(const char *path)
{
	return chmod(path, 0777);
}

static int
empty(const char *path)
{
	return truncate(path, 0);
}

static int
make_old(const char *path)
{
	static const struct timespec old[2] = {{1, 0}, {1, 0}};

	return utimensat(AT_FDCWD, path, old, 0);
}

static int
try_chmod_state(void)
{
	return change("storage/state", open_for_all);
}

static int
try_chmod_storage(void)
{
	return change("storage", open_for_all);
}

static int
try_truncate_state(void)
{
	return change("storage/state", empty);
}

static int
try_touch_state(void)
{
	return change("storage/state", make_old);
}

static int
try_chmod_own(void)
{
	return change("work/new", open_for_all);
}

static int
try_read_config(void)
{
	return touch("storage/agent/effective.yaml", O_RDONLY);
}

static int
try_write_config(void)
{
	return touch("storage/agent/effective.yaml", O_WRONLY);
}

static int
try_read_passwd(void)
{
	return touch("/etc/passwd", O_RDONLY);
}

static int
try_write_secret(void)
{
	return write(4, "x", 1) == 1 ? 0 : errno;
}

static int
try_mptcp(void)
{
	return socket(AF_INET, SOCK_STREAM, 262) == -1 ? errno : 0;
}

static int
try_mptcp_high_half(void) /* the kernel sees the lower 32 bits only, and so must the filter */
{
	return syscall(SYS_socket, AF_INET, SOCK_STREAM, 262 | 1L << 40) == -1 ? errno : 0;
}

static int
try_fast_open(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&to, sizeof(to)) == -1 ? errno
											  : 0;
}

static int
bind_to(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return bind(fd, (struct sockaddr *)&a, sizeof(a)) == -1 ? errno : 0;
}

static int
try_bind_listed(void)
{
	int r = bind_to(54391);

	return r == EADDRINUSE ? 0 : r;
}

static int
try_bind_other(void)
{
	int r = bind_to(54392);

	return r == EADDRINUSE ? 0 : r;
}

static int
connect_to(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	/* nobody listens there: refused means that it was let out */
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) == -1 && errno != ECONNREFUSED ? errno
											    : 0;
}

static int
try_connect_link(void)
{
	return connect_to(54393);
}

static int
try_connect_other(void)
{
	return connect_to(54394);
}

static int
try_abstract(void)
{
	struct sockaddr_un a;
	socklen_t len = outside(&a, top);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	return connect(fd, (struct sockaddr *)&a, len) == -1 ? errno : 0;
}

static int
try_unshare(void)
{
	return syscall(SYS_unshare, CLONE_NEWUSER) == -1 ? errno : 0;
}

static int
try_clone_user(void)
{
	return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) == -1 ? errno : 0;
}

static int
try_clone3(void)
{
	struct clone_args ca = {.flags = ~0ull};

	return syscall(SYS_clone3, &ca, sizeof(ca)) == -1 ? errno : 0;
}

static int
try_mount(void)
{
	return mount("x", "/tmp", "tmpfs", 0, "") == -1 ? errno : 0;
}

static int
try_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1 ? errno : 0;
}

static int
try_personality(void)
{
	return syscall(SYS_personality, ADDR_NO_RANDOMIZE) == -1 ? errno : 0;
}

static int
try_become_root(void)
{
	return setuid(0) == -1 ? errno : 0;
}

static pid_t outsider; /* the parent, as a process of the same host sees it */

static int
try_signal_parent(void)
{
	return kill(outsider, 0) == -1 ? errno : 0;
}

static int
try_execute(void)
{
	char *argv[] = {(char *)"true", NULL}, *env[] = {NULL};

	execve("/bin/true", argv, env);
	return errno;
}

static int
try_execute_in_own(void)
{
	char path[512], *argv[] = {path, NULL}, *env[] = {NULL};

	snprintf(path, sizeof(path), "%s/work/program", top);
	execve(path, argv, env);
	return errno;
}

static const struct {
	const char *name;
	int (*deed)(void);
} tries[] = {{"write_outside", try_write_outside}, {"write_own", try_write_own},
    {"write_tmp", try_write_tmp}, {"write_granted", try_write_granted},
    {"read_state", try_read_state}, {"read_state_by_link", try_read_state_by_link},
    {"chmod_state", try_chmod_state}, {"chmod_storage", try_chmod_storage},
    {"truncate_state", try_truncate_state}, {"touch_state", try_touch_state},
    {"chmod_own", try_chmod_own}, {"read_config", try_read_config},
    {"write_config", try_write_config}, {"read_passwd", try_read_passwd},
    {"write_secret", try_write_secret}, {"mptcp", try_mptcp},
    {"mptcp_high_half", try_mptcp_high_half}, {"fast_open", try_fast_open},
    {"bind_listed", try_bind_listed}, {"bind_other", try_bind_other},
    {"connect_link", try_connect_link}, {"connect_other", try_connect_other},
    {"abstract", try_abstract}, {"unshare", try_unshare}, {"clone_user", try_clone_user},
    {"clone3", try_clone3}, {"mount", try_mount}, {"ptrace", try_ptrace},
    {"personality", try_personality}, {"become_root", try_become_root},
    {"signal_parent", try_signal_parent}, {"execute", try_execute},
    {"execute_in_own", try_execute_in_own}};

static void
report_tries(void)
{
	size_t i;
	int status;
	pid_t pid;

	for (i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		fflush(stdout);
		pid = fork();
		if (pid == 0)
			_exit(tries[i].deed());
		if (pid == -1 || waitpid(pid, &status, 0) == -1)
			printf("try %s fork %s\n", tries[i].name, strerror(errno));
		else if (WIFSIGNALED(status))
			printf("try %s killed %d\n", tries[i].name, WTERMSIG(status));
		else if (WEXITSTATUS(status) == 0)
			printf("try %s done\n", tries[i].name);
		else
			printf("try %s refused %s\n", tries[i].name,
			    strerrorname_np(WEXITSTATUS(status)));
	}
}

/* A child in a session of its own that ignores what it can, and stays. */
static void
stay(void)
{
	char path[512];
	pid_t pid;

	snprintf(path, sizeof(path), "%s/work/alive", top);
	(void)open(path, O_WRONLY); /* held by both until they end */
	pid = fork();
	if (pid == 0) {
		(void)setsid();
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGHUP, SIG_IGN);
		for (;;)
			pause();
	}
	printf("stays\n");
	fflush(stdout);
	for (;;)
		pause();
}

/* argv: program, "agent", "report" or "stay", top, pid of an outsider. */
static void
agent_main(char **argv)
{
	top = argv[3];
	outsider = atoi(argv[4]);
	if (strcmp(argv[2], "stay") == 0)
		stay();
	report_process(argv);
	report_descriptors();
	report_file("/proc/self/status", "status");
	report_file("/proc/self/cgroup", "cgroup");
	report_file("/proc/self/oom_score_adj", "oom_score_adj");
	report_file("/proc/self/uid_map", "uid_map");
	report_namespaces();
	report_tries();
	fflush(stdout);
	_exit(7); /* at once: a leak check would trace its threads, which the filter kills */
}

#endif
