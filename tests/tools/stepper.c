/*
 * stepper.c: a child stopped at each of its system calls (see stepper.h).
 */
#include "stepper.h"

#include <errno.h>
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct __ptrace_syscall_info call_info;

/* ---- which calls can fail with what */

static int
changes(const call_info *c, long how_flags)
{
	switch (c->entry.nr) {
	case SYS_write:
	case SYS_pwrite64:
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_mkdirat:
#ifdef SYS_renameat
	case SYS_renameat:
#endif
	case SYS_renameat2:
	case SYS_linkat:
	case SYS_unlinkat:
	case SYS_symlinkat:
	case SYS_fchmod:
	case SYS_fchown:
		return 1;
	case SYS_openat2:
		return (how_flags & (O_CREAT | O_WRONLY | O_RDWR)) != 0;
	default:
		return 0;
	}
}

static int
takes_space(const call_info *c, long how_flags)
{
	switch (c->entry.nr) {
	case SYS_write:
	case SYS_pwrite64:
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_mkdirat:
	case SYS_linkat:
	case SYS_symlinkat:
		return 1;
	case SYS_openat2:
		return (how_flags & O_CREAT) != 0;
	default:
		return 0;
	}
}

static int
reads(const call_info *c)
{
	switch (c->entry.nr) {
	case SYS_openat2:
	case SYS_read:
	case SYS_pread64:
	case SYS_getdents64:
	case SYS_newfstatat:
#ifdef SYS_fstat
	case SYS_fstat:
#endif
	case SYS_close:
		return 1;
	default:
		return 0;
	}
}

static int
is_fstat(const call_info *c)
{
#ifdef SYS_fstat
	if (c->entry.nr == SYS_fstat)
		return 1;
#endif
	return c->entry.nr == SYS_newfstatat;
}

static int
transfers(const call_info *c)
{
	return (c->entry.nr == SYS_read || c->entry.nr == SYS_write || c->entry.nr == SYS_pread64 ||
		   c->entry.nr == SYS_pwrite64) &&
	       c->entry.args[2] > 1;
}

static int
can_fail(pid_t pid, const call_info *c, int error)
{
	long how_flags = 0;

	if (c->entry.nr == SYS_openat2) /* struct open_how begins with the flags */
		how_flags = ptrace(PTRACE_PEEKDATA, pid, (void *)c->entry.args[2], NULL);
	switch (error) {
	case ENOSPC:
		return takes_space(c, how_flags);
	case EROFS:
		return changes(c, how_flags);
	case EMFILE:
		return c->entry.nr == SYS_openat2;
	case EINTR: /* nothing waits in a look at what an open file is */
		return (changes(c, how_flags) || reads(c)) && !is_fstat(c);
	default:
		return changes(c, how_flags) || reads(c);
	}
}

/* ---- making a call fail: another number at its entry, the error at its exit */

#if defined(__x86_64__)
static int
skip_call(pid_t pid)
{
	return (int)ptrace(
	    PTRACE_POKEUSER, pid, (void *)offsetof(struct user_regs_struct, orig_rax), (void *)-1L);
}

static int
set_result(pid_t pid, long value)
{
	return (int)ptrace(
	    PTRACE_POKEUSER, pid, (void *)offsetof(struct user_regs_struct, rax), (void *)value);
}

static int
set_third(pid_t pid, unsigned long value)
{
	return (int)ptrace(
	    PTRACE_POKEUSER, pid, (void *)offsetof(struct user_regs_struct, rdx), (void *)value);
}
#elif defined(__aarch64__)
static int
skip_call(pid_t pid)
{
	int none = -1;
	struct iovec v = {&none, sizeof(none)};

	return (int)ptrace(PTRACE_SETREGSET, pid, (void *)(long)NT_ARM_SYSTEM_CALL, &v);
}

static int
set_result(pid_t pid, long value)
{
	struct user_regs_struct regs;
	struct iovec v = {&regs, sizeof(regs)};

	if (ptrace(PTRACE_GETREGSET, pid, (void *)(long)NT_PRSTATUS, &v) == -1)
		return -1;
	regs.regs[0] = (unsigned long)value;
	return (int)ptrace(PTRACE_SETREGSET, pid, (void *)(long)NT_PRSTATUS, &v);
}

static int
set_third(pid_t pid, unsigned long value)
{
	struct user_regs_struct regs;
	struct iovec v = {&regs, sizeof(regs)};

	if (ptrace(PTRACE_GETREGSET, pid, (void *)(long)NT_PRSTATUS, &v) == -1)
		return -1;
	regs.regs[2] = value;
	return (int)ptrace(PTRACE_SETREGSET, pid, (void *)(long)NT_PRSTATUS, &v);
}
#else
#error "name here how a system call is skipped on this machine"
#endif

/* ---- the run */

struct run {
	struct step *step;
	pid_t pid;
	unsigned failing_seen, transfers_seen;
	int failing;          /* the call we are in is to fail */
	unsigned long halved; /* the call we are in does half of this; 0 */
	long sync_fd;         /* the call we are in is a sync of this; -1 */
};

static int
on_entry(struct run *r, const call_info *c)
{
	struct step *s = r->step;

	s->calls++;
	if (s->calls == s->kill_at) {
		s->reached = 1;
		return kill(r->pid, SIGKILL) == -1 ? -1 : 1;
	}
	r->failing = 0;
	r->sync_fd =
	    c->entry.nr == SYS_fsync || c->entry.nr == SYS_fdatasync ? (long)c->entry.args[0] : -1;
	if (s->short_at != 0 && transfers(c) && ++r->transfers_seen == s->short_at) {
		s->reached = 1;
		r->halved = c->entry.args[2];
		return set_third(r->pid, r->halved / 2);
	}
	if (s->fail_at == 0 || !can_fail(r->pid, c, s->error))
		return 0;
	r->failing_seen++;
	r->failing = r->failing_seen == s->fail_at || (s->onwards && r->failing_seen > s->fail_at);
	if (!r->failing)
		return 0;
	s->reached = 1;
	return c->entry.nr == SYS_close ? 0 : skip_call(r->pid);
}

static int
on_exit_stop(struct run *r, const call_info *c)
{
	char path[64];
	int fd;

	if (r->halved != 0) { /* a call leaves the registers of its arguments as they are */
		if (set_third(r->pid, r->halved) == -1)
			return -1;
		r->halved = 0;
	}
	if (r->failing)
		return set_result(r->pid, -r->step->error);
	if (r->sync_fd >= 0 && c->exit.rval == 0 && r->step->synced != NULL) {
		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%ld", r->pid, r->sync_fd);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd == -1)
			return -1;
		r->step->synced(r->step->ctx, fd);
		close(fd);
	}
	return 0;
}

static int
child(int (*deed)(void *arg), void *arg)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1)
		return 255;
	(void)raise(SIGSTOP);
	return deed(arg);
}

int
step_run(struct step *s, int (*deed)(void *arg), void *arg)
{
	struct run r = {.step = s, .sync_fd = -1};
	call_info c;
	int status, did, pass = 0;

	s->calls = 0;
	s->reached = 0;
	r.pid = fork();
	if (r.pid == 0)
		_exit(child(deed, arg));
	if (r.pid == -1 || waitpid(r.pid, &status, 0) == -1 || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, r.pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == -1)
		return STEP_BROKE;
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, r.pid, NULL, (void *)(long)pass) == -1 && errno != ESRCH)
			return STEP_BROKE;
		if (waitpid(r.pid, &status, 0) == -1)
			return STEP_BROKE;
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (WIFSIGNALED(status))
			return WTERMSIG(status) == SIGKILL && s->kill_at != 0 ? STEP_KILLED
									      : STEP_BROKE;
		pass = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
		if (pass != 0)
			continue;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, r.pid, (void *)sizeof(c), &c) <= 0)
			return STEP_BROKE;
		did = c.op == PTRACE_SYSCALL_INFO_ENTRY ? on_entry(&r, &c) : on_exit_stop(&r, &c);
		if (did == -1)
			return STEP_BROKE;
	}
}
