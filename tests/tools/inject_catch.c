/*
 * inject_catch.c: children of a process, watched until they are in their sandbox (see inject.h).
 */
#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PARENTS_OPTIONS (PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE)
#define CHILDS_OPTIONS  (PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD)

/* name NULL: any of ours, opampd's or the hub's */
static int
is_named(pid_t pid, const char *name)
{
	static const char *const ours[] = {"opampd-", "opamphub-"};
	char path[64], have[64] = "";
	size_t i, n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1 || read(fd, have, sizeof(have) - 1) <= 0)
		have[0] = '\0';
	if (fd >= 0)
		close(fd);
	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		n = strlen(ours[i]);
		if (strncmp(have, ours[i], n) == 0 && (name == NULL || strcmp(have + n, name) == 0))
			return 1;
	}
	return 0;
}

/* Its own RLIMIT_NPROC of 0 becomes what it had: written where the call will read it. */
static void
lift(pid_t pid, const struct __ptrace_syscall_info *info)
{
	struct rlimit asked, had;
	struct iovec here = {&asked, sizeof(asked)}, there = {NULL, sizeof(asked)};
	int by_prlimit = info->entry.nr == SYS_prlimit64;

	if ((!by_prlimit && info->entry.nr != SYS_setrlimit) ||
	    info->entry.args[by_prlimit ? 1 : 0] != RLIMIT_NPROC)
		return;
	there.iov_base = (void *)info->entry.args[by_prlimit ? 2 : 1];
	if (there.iov_base == NULL || process_vm_readv(pid, &here, 1, &there, 1, 0) == -1 ||
	    asked.rlim_max != 0 || getrlimit(RLIMIT_NPROC, &had) == -1)
		return;
	asked = had; /* ours is its: it was inherited */
	if (process_vm_writev(pid, &here, 1, &there, 1, 0) == -1)
		inject_fail("lifting a limit");
}

static int
filters_of(pid_t pid)
{
	char path[64], line[256];
	int count = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		(void)sscanf(line, "Seccomp_filters: %d", &count);
	if (f != NULL)
		(void)fclose(f);
	return count;
}

/* At a system call's stop: has it just loaded the last of its filters: the parent's, the log's, its own? */
static int
has_entered(pid_t pid, pid_t parent)
{
	struct __ptrace_syscall_info info;
	struct user_regs_struct r;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(info), &info) <= 0)
		return 0;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		lift(pid, &info);
	if (info.op != PTRACE_SYSCALL_INFO_EXIT || info.exit.rval != 0 ||
	    ptrace(PTRACE_GETREGS, pid, NULL, &r) == -1)
		return 0;
	return ((r.orig_rax == SYS_seccomp && r.rdi == 1) ||
		   (r.orig_rax == SYS_prctl && r.rdi == PR_SET_SECCOMP)) &&
	       filters_of(pid) >= filters_of(parent) + 2;
}

static void
let_go(pid_t pid)
{
	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0)
		(void)inject_wait(pid);
	(void)ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

/* A child's stop.  1: it is one of those looked for, and in its sandbox. */
static int
childs_stop(pid_t pid, int status, const char *name, pid_t parent)
{
	int event = status >> 16, at_call = event == 0 && WSTOPSIG(status) == (SIGTRAP | 0x80);
	int pass = event == 0 && !at_call && WSTOPSIG(status) != SIGTRAP ? WSTOPSIG(status) : 0;
	int ours = is_named(pid, name);

	if (event == PTRACE_EVENT_STOP)
		(void)ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(long)CHILDS_OPTIONS);
	if (event == PTRACE_EVENT_EXEC && !ours) {
		(void)ptrace(PTRACE_DETACH, pid, NULL, NULL);
		return 0;
	}
	if (at_call && ours && has_entered(pid, parent))
		return 1;
	(void)ptrace(ours ? PTRACE_SYSCALL : PTRACE_CONT, pid, NULL, (void *)(long)pass);
	return 0;
}

pid_t
inject_catch(const char *name, int count, pid_t parent)
{

	int status, event, sig;
	pid_t pid = 0;

	if (ptrace(PTRACE_SEIZE, parent, NULL, (void *)(long)PARENTS_OPTIONS) == -1)
		inject_fail("PTRACE_SEIZE of the parent");
	printf("waiting\n");
	(void)fflush(stdout);
	while (count > 0) {
		pid = waitpid(-1, &status, __WALL);
		if (pid == -1)
			inject_fail("waiting for a child");
		if (!WIFSTOPPED(status)) {
			if (pid == parent)
				inject_fail("the parent ended");
			continue;
		}
		event = status >> 16;
		sig = WSTOPSIG(status);
		if (pid == parent) {
			(void)ptrace(PTRACE_CONT, pid, NULL,
			    (void *)(long)(event == 0 && sig != SIGTRAP ? sig : 0));
			continue;
		}
		if (!childs_stop(pid, status, name, parent))
			continue;
		if (name != NULL)
			break;
		count -= !is_named(pid, "merge") && !is_named(pid, "connect");
		(void)ptrace(PTRACE_DETACH, pid, NULL, NULL);
	}
	let_go(parent);
	return name != NULL ? pid : 0;
}
