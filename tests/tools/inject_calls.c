/*
 * inject_calls.c: single calls of another process (see inject.h).
 */
#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <seccomp.h>

#define RED_ZONE 256
#define DATA_MAX 1024

int inject_hurry;

void
inject_fail(const char *what)
{
	fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
	exit(2);
}

int
inject_wait(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, __WALL) == -1) {
		if (errno == EINTR && inject_hurry)
			return -1;
		inject_fail(
		    errno == EINTR ? "the call did not return in time" : "waiting for the process");
	}
	return status;
}

/* ---- the way in and out */

/* The vDSO has such an instruction, for the clocks that it cannot read by itself. */
uint64_t
inject_find_gate(pid_t pid)
{
	char path[64], line[512];
	unsigned long from, to, at;
	uint8_t code[2];
	int mem;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	(void)snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	if (f == NULL || mem == -1)
		inject_fail("opening the process's maps and memory");
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strstr(line, "[vdso]") == NULL || sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		for (at = from; at + 2 <= to; at++)
			if (pread(mem, code, 2, (off_t)at) == 2 && code[0] == 0x0f &&
			    code[1] == 0x05) {
				(void)fclose(f);
				close(mem);
				return at;
			}
	}
	errno = ENOENT;
	inject_fail("no system call instruction in the vDSO");
	return 0;
}

void
inject_enter(struct target *t)
{
	int status;

	if (ptrace(PTRACE_SEIZE, t->pid, NULL, (void *)(long)INJECT_OPTIONS) == -1 ||
	    ptrace(PTRACE_INTERRUPT, t->pid, NULL, NULL) == -1)
		inject_fail("PTRACE_SEIZE");
	status = inject_wait(t->pid);
	if (!WIFSTOPPED(status)) {
		errno = ESRCH;
		inject_fail("the process ended before");
	}
	if (ptrace(PTRACE_GETREGS, t->pid, NULL, &t->saved) == -1)
		inject_fail("PTRACE_GETREGS");
	t->gate = inject_find_gate(t->pid);
}

void
inject_leave(struct target *t)
{
	struct user_regs_struct r = t->saved;
	long was = (long)r.rax;

	/* the kernel would restart the interrupted call (-ERESTART...): it no longer knows */
	if ((long)r.orig_rax >= 0 && (was == -512 || was == -513 || was == -514)) {
		r.rax = r.orig_rax;
		r.rip -= 2;
	} else if ((long)r.orig_rax >= 0 && was == -516)
		r.rax = (unsigned long)-EINTR;
	r.orig_rax = (unsigned long)-1;
	if (ptrace(PTRACE_SETREGS, t->pid, NULL, &r) == -1 ||
	    ptrace(PTRACE_DETACH, t->pid, NULL, NULL) == -1)
		inject_fail("leaving the process");
}

/* ---- arguments */

uint64_t
inject_put(struct target *t, const void *bytes, size_t len)
{
	struct iovec here = {(void *)bytes, len}, there = {NULL, len};

	t->data = (t->data - len) & ~(uint64_t)15;
	there.iov_base = (void *)t->data;
	if (len > 0 && process_vm_writev(t->pid, &here, 1, &there, 1, 0) != (ssize_t)len)
		inject_fail("writing into the process's stack");
	return t->data;
}

static uint64_t
put_hex(struct target *t, const char *text)
{
	uint8_t bytes[DATA_MAX];
	char two[3] = "";
	size_t n;

	for (n = 0; n < sizeof(bytes) && text[2 * n] != '\0' && text[2 * n + 1] != '\0'; n++) {
		two[0] = text[2 * n];
		two[1] = text[2 * n + 1];
		bytes[n] = (uint8_t)strtoul(two, NULL, 16);
	}
	return inject_put(t, bytes, n);
}

static uint64_t
argument(struct target *t, const char *text)
{
	char *end;
	uint64_t value;

	if (strncmp(text, "s:", 2) == 0)
		return inject_put(t, text + 2, strlen(text + 2) + 1);
	if (strncmp(text, "b:", 2) == 0)
		return put_hex(t, text + 2);
	if (strcmp(text, "p:") == 0)
		return t->saved.rsp & ~(uint64_t)4095;
	if (strcmp(text, "t:") == 0)
		return t->gate & ~(uint64_t)4095;
	if (strcmp(text, "r:") == 0)
		return (uint64_t)t->result;
	if (text[0] == 'r' && text[1] >= '0' && text[1] <= '9' && text[2] == ':')
		return (uint64_t)t->results[text[1] - '0'];
	value = text[0] == '-' ? (uint64_t)strtoll(text, &end, 0) : strtoull(text, &end, 0);
	if (end == text || *end != '\0') {
		errno = EINVAL;
		inject_fail(text);
	}
	return value;
}

/* ---- one call */

static const char *
signal_text(int sig)
{
	static char text[32];
	const char *name = sigabbrev_np(sig);

	(void)snprintf(
	    text, sizeof(text), name == NULL ? "%s%d" : "SIG%s", name == NULL ? "" : name, sig);
	return text;
}

/* What it started, if it could, does not live on. */
static void
end_started(struct target *t)
{
	unsigned long pid = 0;

	if (ptrace(PTRACE_GETEVENTMSG, t->pid, NULL, &pid) == 0 && pid > 1)
		(void)kill((pid_t)pid, SIGKILL);
}

/*
 * Until the call has returned: 1; 0: the process is no more, which was told.  By single steps: at the
 * stop after a call that a filter kills for, the kernel has not ended the process yet.
 */
static int
finish(struct target *t)
{
	struct user_regs_struct r;
	int status, event, pass = 0;

	for (;;) {
		if (ptrace(PTRACE_SINGLESTEP, t->pid, NULL, (void *)(long)pass) == -1 &&
		    errno != ESRCH)
			inject_fail("PTRACE_SINGLESTEP");
		status = inject_wait(t->pid);
		if (status == -1) {
			printf("hung");
			return 0;
		}
		if (WIFSIGNALED(status)) {
			printf("killed %s", signal_text(WTERMSIG(status)));
			return 0;
		}
		if (WIFEXITED(status)) {
			printf("exited %d", WEXITSTATUS(status));
			return 0;
		}
		event = status >> 16;
		pass = 0;
		if (event == PTRACE_EVENT_EXEC) {
			printf("executed");
			return 0; /* it ends with us */
		}
		if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK ||
		    event == PTRACE_EVENT_CLONE)
			end_started(t);
		else if (event == 0 && WSTOPSIG(status) == SIGTRAP) {
			if (ptrace(PTRACE_GETREGS, t->pid, NULL, &r) == -1)
				inject_fail("PTRACE_GETREGS");
			t->result = (long)r.rax;
			return 1;
		} else if (event == 0)
			pass = WSTOPSIG(status);
	}
}

/* The 32-bit ABI's instruction stands nowhere: it replaces our way's end for a moment. */
static long
write_text(struct target *t, uint64_t at, long word)
{
	long was;

	errno = 0;
	was = ptrace(PTRACE_PEEKTEXT, t->pid, (void *)at, NULL);
	if (errno != 0 || ptrace(PTRACE_POKETEXT, t->pid, (void *)at, (void *)word) == -1)
		inject_fail("writing the 32-bit ABI's instruction");
	return was;
}

static int
inject(struct target *t, const char *call, const uint64_t *a)
{
	struct user_regs_struct r = t->saved;
	int number = seccomp_syscall_resolve_name(call), old = strncmp(call, "int80:", 6) == 0;
	int lives;
	long text = 0;

	if (old)
		r.rax = strtoull(call + 6, NULL, 0);
	else if (number >= 0)
		r.rax = (unsigned)number;
	else
		r.rax = argument(t, call);
	r.orig_rax = (unsigned long)-1;
	r.rip = old ? t->saved.rip : t->gate;
	r.rdi = a[0];
	r.rsi = a[1];
	r.rdx = a[2];
	r.r10 = a[3];
	r.r8 = a[4];
	r.r9 = a[5];
	if (old) {
		r.rbx = a[0];
		r.rcx = a[1];
		r.rdx = a[2];
		r.rsi = a[3];
		r.rdi = a[4];
	}
	if (old)
		text = write_text(t, r.rip, 0x80cd);
	if (ptrace(PTRACE_SETREGS, t->pid, NULL, &r) == -1)
		inject_fail("PTRACE_SETREGS");
	lives = finish(t);
	if (lives && old)
		(void)write_text(t, t->saved.rip, text);
	if (lives) {
		printf("%ld", t->result);
		t->results[t->done++ % INJECT_RESULTS] = t->result;
	}
	return lives;
}

void
inject_print_filters(struct target *t)
{
	static struct sock_filter code[BPF_MAXINSNS];
	const uint8_t *bytes = (const uint8_t *)code;
	long i, k, n;

	for (i = 0;; i++) {
		n = ptrace(PTRACE_SECCOMP_GET_FILTER, t->pid, (void *)i, code);
		if (n == -1 && errno == ENOENT)
			return;
		if (n == -1)
			inject_fail("PTRACE_SECCOMP_GET_FILTER");
		for (k = 0; k < n * (long)sizeof(code[0]); k++)
			printf("%02x", bytes[k]);
		printf("\n");
	}
}

void
inject_options(pid_t pid, long more)
{
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(INJECT_OPTIONS | more)) == -1)
		inject_fail("PTRACE_SETOPTIONS");
}

int
inject_words(struct target *t, char **words, int count, int *lives)
{
	uint64_t a[INJECT_ARGS] = {0};
	int i, n = 0;

	t->data = t->saved.rsp - RED_ZONE;
	for (i = 1; i < count && strcmp(words[i], ",") != 0; i++)
		if (n < INJECT_ARGS)
			a[n++] = argument(t, words[i]);
	*lives = inject(t, words[0], a);
	return i < count ? i + 1 : i;
}

long
inject_quietly(struct target *t, long number, const uint64_t a[INJECT_ARGS], pid_t *made)
{
	struct user_regs_struct r = t->saved;
	unsigned long pid = 0;
	int status;

	r.rax = (unsigned long)number;
	r.orig_rax = (unsigned long)-1;
	r.rip = t->gate;
	r.rdi = a[0];
	r.rsi = a[1];
	r.rdx = a[2];
	r.r10 = a[3];
	r.r8 = a[4];
	r.r9 = a[5];
	if (ptrace(PTRACE_SETREGS, t->pid, NULL, &r) == -1)
		return -ESRCH;
	for (;;) {
		if (ptrace(PTRACE_SINGLESTEP, t->pid, NULL, NULL) == -1)
			return -ESRCH;
		status = inject_wait(t->pid);
		if (status == -1 || !WIFSTOPPED(status))
			return -ESRCH;
		if (status >> 16 == 0 && WSTOPSIG(status) == SIGTRAP)
			break;
		if (status >> 16 == PTRACE_EVENT_CLONE && made != NULL &&
		    ptrace(PTRACE_GETEVENTMSG, t->pid, NULL, &pid) == 0)
			*made = (pid_t)pid;
	}
	if (ptrace(PTRACE_GETREGS, t->pid, NULL, &r) == -1)
		return -ESRCH;
	return (long)r.rax;
}
