/*
 * record.c: which system calls, with which arguments, a process of opampd or opamphub makes in its sandbox.
 * A test tool, x86_64 and whatever else libseccomp knows; by root.
 *
 *	record DIR BUILD COMMAND [ARG...]	becomes COMMAND, traced by a process of its own
 *	record				prints which arguments can be checked, as JSON
 *
 * What COMMAND starts is followed while it is one of the programs in BUILD, byte for byte, and let go
 * when it is another one (the agent).  Counted is what comes after the process's own filters are in
 * force.  When the last one has ended a file in DIR gets one line for each kind of call:
 *	PROCESS CALL COUNT [ARGUMENT=VALUE]...
 * Arguments are told where checkable.h or the process's policy names them.  A death by SIGSYS is a
 * line "PROCESS CALL killed ...".
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>
#include <seccomp.h>

#include "checkable.h"
#include "hub/policy.h"
#include "privsep/sandbox.h"

#define CALLS   1024
#define KINDS   (1u << 16)
#define TRACEES 4096
#define FORK    (PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE)
#define OPTIONS (FORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD)

enum role {
	ROLE_START,
	ROLE_FORKED,
	ROLE_OURS
}; /* not yet, between fork and exec, one of ours */

/* opampd's by their own numbers, then the hub's */
enum {
	HUB_PARENT = PROC_COUNT,
	HUB_FRONT,
	HUB_STORE,
	ALL
};

struct tracee {
	pid_t pid;
	enum role role;
	uint32_t proc;
	int filters; /* that it put in force itself */
	uint64_t nr, args[CHECKABLE_ARGS];
};

struct kind {
	uint64_t count;
	uint32_t proc, nr, killed;
	uint64_t args[CHECKABLE_ARGS];
};

static char told[ALL][CALLS][CHECKABLE_ARGS + 1];
static struct tracee tracees[TRACEES];
static struct kind *kinds;
static const char *build;

static void
fail(const char *what)
{
	fprintf(stderr, "record: %s: %s\n", what, strerror(errno));
	_exit(2);
}

/* ---- whose they are */

static const char *
name_of(uint32_t proc)
{
	return proc == HUB_PARENT  ? "hub"
	       : proc == HUB_FRONT ? "hub-front"
	       : proc == HUB_STORE ? "hub-store"
				   : proc_name(proc);
}

static const struct policy *
list_of(uint32_t proc)
{
	return proc == HUB_PARENT  ? &policy_parent
	       : proc == HUB_FRONT ? &policy_hub_front
	       : proc == HUB_STORE ? &policy_hub_store
				   : policy_of((enum proc)proc);
}

/* The program's name. */
static void
program_of(uint32_t proc, char *name, size_t size)
{
	if (proc >= PROC_COUNT)
		(void)snprintf(name, size, "opamp%s", name_of(proc));
	else
		(void)snprintf(name, size, "opampd%s%s", proc == PROC_PARENT ? "" : "-",
		    proc == PROC_PARENT ? "" : name_of(proc));
}

/* ---- which arguments are told */

static void
fill_table(void)
{
	const struct syscall_rule *rule;
	uint32_t proc;
	size_t i, a;
	int nr;

	for (proc = PROC_PARENT; proc < ALL; proc++) {
		for (i = 0; i < sizeof(checkable) / sizeof(checkable[0]); i++) {
			nr = seccomp_syscall_resolve_name(checkable[i].name);
			if (nr >= 0 && nr < CALLS)
				memcpy(
				    told[proc][nr], checkable[i].args, strlen(checkable[i].args));
		}
		for (rule = list_of(proc)->syscalls; rule->name != NULL; rule++) {
			nr = seccomp_syscall_resolve_name(rule->name);
			for (a = 0; a < POLICY_ARGS && nr >= 0 && nr < CALLS; a++)
				if (rule->args[a].test != ARG_ANY &&
				    told[proc][nr][rule->args[a].index] != 'n')
					told[proc][nr][rule->args[a].index] = 'v';
		}
	}
}

static void
print_table(void)
{
	size_t i;

	printf("{");
	for (i = 0; i < sizeof(checkable) / sizeof(checkable[0]); i++)
		printf(
		    "%s\"%s\": \"%s\"", i == 0 ? "" : ", ", checkable[i].name, checkable[i].args);
	printf("}\n");
}

/* ---- what was seen */

static void
count(const struct tracee *t, uint32_t killed)
{
	struct kind k = {.proc = t->proc, .nr = (uint32_t)t->nr, .killed = killed};
	uint64_t h = k.proc * 31 + k.nr + killed;
	size_t i, at;

	if (t->nr >= CALLS)
		return;
	for (i = 0; i < CHECKABLE_ARGS; i++) {
		char how = told[t->proc][t->nr][i];

		if (how == 'v')
			k.args[i] = t->args[i];
		else if (how == 'n')
			k.args[i] = t->args[i] != 0;
		h = (h ^ k.args[i]) * 1099511628211u;
	}
	for (at = (h >> 20) % KINDS; kinds[at].count > 0; at = (at + 1) % KINDS)
		if (kinds[at].proc == k.proc && kinds[at].nr == k.nr &&
		    kinds[at].killed == killed &&
		    memcmp(kinds[at].args, k.args, sizeof(k.args)) == 0)
			break;
	if (kinds[at].count == 0)
		kinds[at] = k;
	kinds[at].count++;
}

static void
write_kinds(const char *dir)
{
	char path[4096], *name;
	size_t at, i;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%d.calls", dir, (int)getpid());
	f = fopen(path, "ae");
	if (f == NULL)
		fail(path);
	for (at = 0; at < KINDS; at++) {
		if (kinds[at].count == 0)
			continue;
		name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)kinds[at].nr);
		fprintf(f, "%s %s ", name_of(kinds[at].proc), name == NULL ? "?" : name);
		free(name);
		if (kinds[at].killed)
			fprintf(f, "killed");
		else
			fprintf(f, "%llu", (unsigned long long)kinds[at].count);
		for (i = 0; i < CHECKABLE_ARGS; i++)
			if (told[kinds[at].proc][kinds[at].nr][i] == 'v' ||
			    told[kinds[at].proc][kinds[at].nr][i] == 'n')
				fprintf(f, " %zu=%#llx", i, (unsigned long long)kinds[at].args[i]);
		fprintf(f, "\n");
	}
	(void)fclose(f);
}

/* ---- which program a process runs */

static int
same_bytes(int a, int b)
{
	static char left[65536], right[65536];
	ssize_t n, m;
	off_t at = 0;

	do {
		n = pread(a, left, sizeof(left), at);
		m = pread(b, right, sizeof(right), at);
		at += n;
	} while (n > 0 && n == m && memcmp(left, right, (size_t)n) == 0);
	return n == 0 && m == 0;
}

/* Another program of that name (tests put one there) is none of ours. */
static int
is_from_build(pid_t pid, const char *name)
{
	char path[4096];
	struct stat st[2];
	int fd[2], is = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	fd[0] = open(path, O_RDONLY | O_CLOEXEC);
	(void)snprintf(path, sizeof(path), "%s/%s", build, name);
	fd[1] = open(path, O_RDONLY | O_CLOEXEC);
	if (fd[0] != -1 && fd[1] != -1 && fstat(fd[0], &st[0]) == 0 && fstat(fd[1], &st[1]) == 0)
		is = (st[0].st_dev == st[1].st_dev && st[0].st_ino == st[1].st_ino) ||
		     (st[0].st_size == st[1].st_size && same_bytes(fd[0], fd[1]));
	if (fd[0] != -1)
		close(fd[0]);
	if (fd[1] != -1)
		close(fd[1]);
	return is;
}

static uint32_t
program(pid_t pid)
{
	char path[64], exe[4096], name[64];
	const char *base;
	uint32_t proc;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	if (n < 0)
		return PROC_NOBODY;
	exe[n] = '\0';
	base = strrchr(exe, '/') == NULL ? exe : strrchr(exe, '/') + 1;
	for (proc = PROC_PARENT; proc < ALL; proc++) {
		program_of(proc, name, sizeof(name));
		if (strcmp(base, name) == 0)
			return is_from_build(pid, name) ? proc : PROC_NOBODY;
	}
	return PROC_NOBODY;
}

/* ---- tracing */

static struct tracee *
find(pid_t pid)
{
	size_t at = (size_t)pid % TRACEES, i;

	for (i = 0; i < TRACEES; i++, at = (at + 1) % TRACEES)
		if (tracees[at].pid == pid)
			return &tracees[at];
	for (i = 0; i < TRACEES; i++, at = (at + 1) % TRACEES)
		if (tracees[at].pid == 0) {
			tracees[at] = (struct tracee){.pid = pid, .role = ROLE_FORKED};
			return &tracees[at];
		}
	errno = ENOSPC;
	fail("too many processes");
	return NULL;
}

/* A new program.  0: let it go. */
static int
executed(struct tracee *t)
{
	t->filters = 0;
	t->proc = program(t->pid);
	if (t->proc != PROC_NOBODY)
		t->role = ROLE_OURS;
	return t->proc != PROC_NOBODY || t->role == ROLE_START;
}

/* A child has policy_log.c's and its own. */
static int
own_filters(uint32_t proc)
{
	return proc == PROC_PARENT || proc == HUB_PARENT ? 1 : 2;
}

static void
system_call(struct tracee *t)
{
	struct ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, (void *)sizeof(info), &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		t->nr = info.entry.nr;
		memcpy(t->args, info.entry.args, sizeof(t->args));
		if (t->role == ROLE_OURS && t->filters >= own_filters(t->proc))
			count(t, 0);
	} else if (info.op == PTRACE_SYSCALL_INFO_EXIT && t->role == ROLE_OURS &&
		   t->nr == SYS_seccomp && t->args[0] == 1 && info.exit.rval == 0)
		t->filters++;
}

static void
ended(struct tracee *t, int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS && t->role == ROLE_OURS)
		count(t, 1);
	t->pid = 0;
}

/* One report of the kernel about one process. */
static void
step(pid_t pid, int status)
{
	struct tracee *t = find(pid);
	int event = status >> 16, sig = WSTOPSIG(status);

	if (!WIFSTOPPED(status)) {
		ended(t, status);
		return;
	}
	if (event == PTRACE_EVENT_STOP && sig != SIGTRAP) {
		(void)ptrace(PTRACE_LISTEN, pid, NULL, NULL);
		return;
	}
	if (event == PTRACE_EVENT_EXEC && !executed(t)) {
		(void)ptrace(PTRACE_DETACH, pid, NULL, NULL);
		t->pid = 0;
		return;
	}
	if (event == 0 && sig == (SIGTRAP | 0x80))
		system_call(t);
	if (event != 0 || sig == (SIGTRAP | 0x80))
		sig = 0;
	(void)ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)sig);
}

static void
trace(pid_t target, int ready, const char *dir)
{
	char byte = 0;
	int status, fd;
	pid_t pid;

	kinds = calloc(KINDS, sizeof(*kinds));
	if (kinds == NULL)
		fail("memory");
	fill_table();
	find(target)->role = ROLE_START;
	if (ptrace(PTRACE_SEIZE, target, NULL, (void *)(long)OPTIONS) == -1)
		fail("PTRACE_SEIZE");
	if (write(ready, &byte, 1) != 1)
		fail("telling that it begins");
	for (fd = 0; fd < 1024; fd++) /* nobody waits for an end of file because of us */
		(void)close(fd);
	for (;;) {
		pid = waitpid(-1, &status, __WALL);
		if (pid == -1 && errno == EINTR)
			continue;
		if (pid == -1)
			break; /* none is left */
		step(pid, status);
	}
	write_kinds(dir);
	_exit(0);
}

int
main(int argc, char **argv)
{
	pid_t self = getpid(), child;
	int ready[2];
	char byte;

	if (argc == 1) {
		print_table();
		return 0;
	}
	if (argc < 4) {
		fprintf(stderr, "usage: record [DIR BUILD COMMAND [ARG...]]\n");
		return 2;
	}
	build = argv[2];
	if (pipe2(ready, O_CLOEXEC) == -1)
		fail("pipe2");
	child = fork();
	if (child == -1)
		fail("fork");
	if (child == 0) { /* not a child of COMMAND: which would wonder about it */
		if (fork() != 0)
			_exit(0);
		(void)setsid();
		trace(self, ready[1], argv[1]);
	}
	close(ready[1]);
	(void)waitpid(child, NULL, 0);
	if (read(ready[0], &byte, 1) != 1)
		fail("the tracer did not come up");
	close(ready[0]);
	(void)execvp(argv[3], argv + 3);
	fail(argv[3]);
	return 2;
}
