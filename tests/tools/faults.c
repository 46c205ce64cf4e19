/*
 * faults.c: puts a fault into one system call of a living process (the real opampd-confd, in its
 * sandbox), by ptrace.  x86_64; by root.  Tests only.
 *
 *	faults live PID SPEC          the process PID, from now on
 *	faults next PID PROGRAM SPEC  what PID or a child of it next executes as PROGRAM, from its first call on
 *
 * SPEC is one of these; with the word disk before it only calls that change a file count and are hit:
 *
 *	count           nothing is done to it
 *	kill N          it is killed at the entry of its Nth call: the call does not happen
 *	hold N          it stays at the entry of its Nth call until we are told to end
 *	fail N ERROR    its Nth call gives ERROR (a name) and does nothing (close closes all the same)
 *	failon N ERROR  so do that and all later calls that change a file, until we are told to end
 *	short N         the Nth of its calls that read or write more than one byte does half
 *	record FILE     what it does to files is written to FILE, a line for each call that did something
 *
 * Prints "ready", "exec PID", "hit N NAME" (or "unfit N NAME": a call that cannot fail), and at the end
 * "calls N NAME=TIMES@FIRST..." and "ended killed|exited|left".  After a hit, or told to end by SIGTERM, it lets
 * everything go on untraced and ends.
 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <seccomp.h>

#define FOLLOW                                                                                     \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |  \
	    PTRACE_O_TRACEEXEC)
#define MOST_TRACED 64
#define MOST_CALLS  512 /* numbers of calls */

enum deed {
	DEED_COUNT,
	DEED_KILL,
	DEED_HOLD,
	DEED_FAIL,
	DEED_FAIL_ON,
	DEED_SHORT,
	DEED_RECORD
};

struct faults {
	enum deed deed;
	unsigned at;
	int error;
	const char *program;       /* NULL: the target is there already */
	pid_t target;              /* 0: not yet */
	pid_t others[MOST_TRACED]; /* traced for what they may execute */
	size_t count;
	unsigned calls, fitting, times[MOST_CALLS], first[MOST_CALLS];
	int done;   /* the fault was put in */
	int disk;   /* only calls that change a file count */
	int faking; /* the call we are in: 1 gives -error, 2 does half */
	struct user_regs_struct saved;
};

static volatile sig_atomic_t let_go;

/* Again and again: one signal may come just before the call that it is to wake us from. */
static void
on_let_go(int sig)
{
	static const struct itimerval soon = {{0, 20000}, {0, 20000}};

	(void)sig;
	let_go = 1;
	(void)setitimer(ITIMER_REAL, &soon, NULL);
}

__attribute__((format(printf, 1, 2))) static void
say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	(void)fflush(stdout);
}

void
faults_fail(const char *what)
{
	fprintf(stderr, "faults: %s: %s\n", what, strerror(errno));
	exit(2);
}

static const char *
name_of(long nr)
{
	static char text[32];
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)nr);

	(void)snprintf(
	    text, sizeof(text), name != NULL ? "%s" : "%s%ld", name != NULL ? name : "call_", nr);
	free(name);
	return text;
}

/* ---- the target's calls */

static int
cannot_fail(long nr)
{
	return nr == SYS_exit || nr == SYS_exit_group || nr == SYS_rt_sigreturn ||
	       nr == SYS_execve || nr == SYS_execveat || nr == SYS_restart_syscall;
}

static int
transfers(const struct user_regs_struct *r)
{
	return (r->orig_rax == SYS_read || r->orig_rax == SYS_write || r->orig_rax == SYS_pread64 ||
		   r->orig_rax == SYS_pwrite64) &&
	       r->rdx > 1;
}

static int
on_disk(pid_t pid, const struct user_regs_struct *r)
{
	switch (r->orig_rax) {
	case SYS_openat2:
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_mkdirat:
	case SYS_renameat:
	case SYS_renameat2:
	case SYS_linkat:
	case SYS_unlinkat:
	case SYS_symlinkat:
	case SYS_fchmod:
	case SYS_fchown:
	case SYS_pwrite64:
	case SYS_ftruncate:
	case SYS_unlink:
		return 1;
	case SYS_openat:
		return (r->rdx & (O_CREAT | O_TRUNC)) != 0;
	case SYS_write:
		return r->rdi > 2 && faults_is_regular(pid, (int)r->rdi); /* not the log */
	default:
		return 0;
	}
}

static void
set_registers(pid_t pid, const struct user_regs_struct *r)
{
	if (ptrace(PTRACE_SETREGS, pid, NULL, r) == -1)
		faults_fail("PTRACE_SETREGS");
}

/*
 * A call that every sandbox allows takes its place: one without a number would be judged by the filter.
 * brk tells of a failure by the break as it was, and close always closes.
 */
static void
make_fail(struct faults *f, pid_t pid, struct user_regs_struct r)
{
	f->saved = r;
	f->faking = 1;
	if (r.orig_rax == SYS_close)
		return;
	if (r.orig_rax == SYS_brk) {
		f->faking = 0;
		r.rdi = 0;
	} else {
		r.orig_rax = SYS_close;
		r.rdi = (unsigned long)-1;
	}
	set_registers(pid, &r);
}

static int
is_due(struct faults *f, pid_t pid, const struct user_regs_struct *r)
{
	if (f->disk && !on_disk(pid, r))
		return 0;
	if (f->deed == DEED_SHORT) {
		f->fitting += (unsigned)transfers(r);
		return transfers(r) && f->fitting == f->at;
	}
	if (f->deed == DEED_FAIL_ON)
		return f->calls >= f->at && on_disk(pid, r);
	return f->deed != DEED_COUNT && f->deed != DEED_RECORD && f->calls == f->at;
}

static void
on_entry(struct faults *f, pid_t pid)
{
	struct user_regs_struct r;
	long nr;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &r) == -1)
		faults_fail("PTRACE_GETREGS");
	nr = (long)r.orig_rax;
	f->calls += (unsigned)(!f->disk || on_disk(pid, &r));
	if (nr >= 0 && nr < MOST_CALLS && f->times[nr]++ == 0)
		f->first[nr] = f->calls;
	if (f->deed == DEED_RECORD)
		faults_record_entry(pid, &r);
	if (f->done || !is_due(f, pid, &r))
		return;
	if (f->deed == DEED_FAIL || f->deed == DEED_FAIL_ON)
		say("%s %u %s\n", cannot_fail(nr) ? "unfit" : "hit", f->calls, name_of(nr));
	else
		say("hit %u %s\n", f->deed == DEED_SHORT ? f->fitting : f->calls, name_of(nr));
	f->done = f->deed != DEED_FAIL_ON;
	if (f->deed == DEED_KILL) {
		(void)kill(pid, SIGKILL);
	} else if (f->deed == DEED_HOLD) {
		while (!let_go)
			(void)pause();
	} else if (f->deed == DEED_SHORT) {
		f->saved = r;
		r.rdx /= 2;
		set_registers(pid, &r);
		f->faking = 2;
	} else if (!cannot_fail(nr)) {
		make_fail(f, pid, r);
	}
}

static void
on_exit_stop(struct faults *f, pid_t pid)
{
	struct user_regs_struct r;

	if (f->deed != DEED_RECORD && !f->faking)
		return;
	if (ptrace(PTRACE_GETREGS, pid, NULL, &r) == -1)
		faults_fail("PTRACE_GETREGS");
	if (f->deed == DEED_RECORD) {
		faults_record_exit(pid, (long)r.rax);
		return;
	}
	if (f->faking == 1)
		r.rax = (unsigned long long)-(long long)f->error;
	r.rdi = f->saved.rdi; /* a call leaves its arguments' registers as they are */
	r.rdx = f->saved.rdx;
	r.orig_rax = f->saved.orig_rax;
	f->faking = 0;
	set_registers(pid, &r);
}

/* ---- who is traced */

static void
forget(struct faults *f, pid_t pid)
{
	size_t i;

	for (i = 0; i < f->count; i++)
		if (f->others[i] == pid)
			f->others[i] = f->others[--f->count];
}

static int
is_program(const struct faults *f, pid_t pid)
{
	char path[64], target[4096];
	const char *base;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return 0;
	target[n] = '\0';
	base = strrchr(target, '/');
	return strcmp(base != NULL ? base + 1 : target, f->program) == 0;
}

static void
go_on(pid_t pid, int calls, int sig)
{
	if (ptrace(calls ? PTRACE_SYSCALL : PTRACE_CONT, pid, NULL, (void *)(long)sig) == -1 &&
	    errno != ESRCH)
		faults_fail("going on");
}

/* A stop of something else than the target. */
static void
on_other(struct faults *f, pid_t pid, int status, pid_t root)
{
	int event = status >> 16, sig = WSTOPSIG(status);

	if (event == PTRACE_EVENT_EXEC && f->target == 0 && is_program(f, pid)) {
		forget(f, pid);
		f->target = pid;
		say("exec %d\n", pid);
		go_on(pid, 1, 0);
	} else if (event == PTRACE_EVENT_EXEC && pid != root) {
		forget(f, pid);
		(void)ptrace(PTRACE_DETACH, pid, NULL, NULL);
	} else if (event == PTRACE_EVENT_STOP && (sig == SIGSTOP || sig == SIGTSTP)) {
		(void)ptrace(PTRACE_LISTEN, pid, NULL, NULL);
	} else {
		go_on(pid, 0, event != 0 ? 0 : sig);
	}
}

static void
on_target(struct faults *f, pid_t pid, int status)
{
	int event = status >> 16, sig = WSTOPSIG(status), in_call = sig == (SIGTRAP | 0x80);
	struct __ptrace_syscall_info c;

	if (event == PTRACE_EVENT_STOP && (sig == SIGSTOP || sig == SIGTSTP)) {
		(void)ptrace(PTRACE_LISTEN, pid, NULL, NULL);
		return;
	}
	if (in_call && ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(c), &c) > 0) {
		if (c.op == PTRACE_SYSCALL_INFO_ENTRY)
			on_entry(f, pid);
		else
			on_exit_stop(f, pid);
	}
	go_on(pid, 1, in_call || event != 0 ? 0 : sig);
}

/* Everybody that is still traced goes on without us: each is stopped for it first. */
static void
detach(pid_t pid, int calls)
{
	int status, sig;

	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == -1)
		return;
	for (;;) {
		if (waitpid(pid, &status, __WALL) == -1 || !WIFSTOPPED(status))
			return;
		sig = WSTOPSIG(status);
		if (status >> 16 == PTRACE_EVENT_STOP) {
			(void)ptrace(PTRACE_DETACH, pid, NULL, NULL);
			return;
		}
		go_on(pid, calls, status >> 16 != 0 || sig == (SIGTRAP | 0x80) ? 0 : sig);
	}
}

static void
leave(struct faults *f, pid_t root)
{
	size_t i;

	if (f->program != NULL)
		forget(f, root);
	for (i = 0; i < f->count; i++)
		detach(f->others[i], 0);
	if (f->program != NULL)
		detach(root, 0);
	if (f->target > 0)
		detach(f->target, 0);
}

static void
tell_calls(const struct faults *f, const char *how)
{
	int i;

	printf("calls %u", f->calls);
	for (i = 0; i < MOST_CALLS; i++)
		if (f->times[i] > 0)
			printf(" %s=%u@%u", name_of(i), f->times[i], f->first[i]);
	say("\nended %s\n", how);
}

static const char *
run(struct faults *f, pid_t root)
{
	int status;
	pid_t pid;

	for (;;) {
		if (!f->faking &&
		    (let_go || (f->done && f->deed != DEED_KILL && f->deed != DEED_HOLD)))
			return "left";
		pid = waitpid(-1, &status, __WALL);
		if (pid == -1 && errno == EINTR)
			continue;
		if (pid == -1)
			return "left";
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			forget(f, pid);
			if (pid != f->target)
				continue;
			f->target = -1;
			return WIFEXITED(status) ? "exited" : "killed";
		}
		if (pid == f->target) {
			on_target(f, pid, status);
			continue;
		}
		if (pid != root && f->count < MOST_TRACED) {
			forget(f, pid);
			f->others[f->count++] = pid;
		}
		on_other(f, pid, status, root);
	}
}

/* ---- the command line */

static int
error_number(const char *name)
{
	int e;

	for (e = 1; e < 134; e++)
		if (strerrorname_np(e) != NULL && strcmp(strerrorname_np(e), name) == 0)
			return e;
	errno = EINVAL;
	faults_fail(name);
	return 0;
}

static void
read_spec(struct faults *f, int argc, char **argv)
{
	static const char *const deeds[] = {
	    "count", "kill", "hold", "fail", "failon", "short", "record"};
	size_t i;

	if (argc > 0 && strcmp(argv[0], "disk") == 0) {
		f->disk = 1;
		argc--;
		argv++;
	}
	errno = EINVAL;
	for (i = 0; argc > 0 && i < sizeof(deeds) / sizeof(deeds[0]); i++)
		if (strcmp(argv[0], deeds[i]) == 0)
			break;
	if (argc < 1 || i == sizeof(deeds) / sizeof(deeds[0]) || (i > 0 && argc < 2) ||
	    ((i == DEED_FAIL || i == DEED_FAIL_ON) && argc < 3))
		faults_fail("usage: faults live PID SPEC | faults next PID PROGRAM SPEC");
	f->deed = (enum deed)i;
	if (f->deed == DEED_RECORD)
		faults_record_to(argv[1]);
	else if (i > 0)
		f->at = (unsigned)strtoul(argv[1], NULL, 10);
	if (i == DEED_FAIL || i == DEED_FAIL_ON)
		f->error = error_number(argv[2]);
}

int
main(int argc, char **argv)
{
	struct sigaction stop = {.sa_handler = on_let_go};
	static struct faults f;
	const char *how;
	pid_t root;

	if (argc < 4) {
		errno = EINVAL;
		faults_fail("usage: faults live PID SPEC | faults next PID PROGRAM SPEC");
	}
	root = (pid_t)strtol(argv[2], NULL, 10);
	if (strcmp(argv[1], "next") == 0) {
		f.program = argv[3];
		read_spec(&f, argc - 4, argv + 4);
	} else {
		f.target = root;
		read_spec(&f, argc - 3, argv + 3);
	}
	(void)sigaction(SIGTERM, &stop, NULL);
	(void)sigaction(SIGALRM, &stop, NULL);
	if (ptrace(PTRACE_SEIZE, root, NULL, (void *)(long)FOLLOW) == -1)
		faults_fail("PTRACE_SEIZE");
	/* a target is stopped so that its calls are seen from here on; its parent need not be */
	if (f.program == NULL && ptrace(PTRACE_INTERRUPT, root, NULL, NULL) == -1)
		faults_fail("PTRACE_INTERRUPT");
	say("ready\n");
	how = run(&f, root);
	leave(&f, root);
	tell_calls(&f, how);
	return 0;
}
