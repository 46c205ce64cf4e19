/*
 * inject.c: lets a live process execute system calls that it would never make, as if it had been
 * taken over, and tells what the kernel says.  x86_64; by root.
 *
 *	inject PID CALL [ARG...] [, CALL [ARG...]]...
 *	inject PID
 *	inject -s|-S PID
 *	inject -w NAME PID
 *	inject -n COUNT PID
 *
 * The second form only prints its seccomp filters as the kernel has them, each as a line of hexadecimal
 * struct sock_filter.
 * The third holds the process still and reads lines from standard input, each "MODE CALL [ARG...]
 * [, CALL [ARG...]]...", until there are no more; "filters" is a line too.  MODE says who makes the calls:
 *	l	the process itself
 *	c	a copy of it (fork), which has its whole sandbox, and is ended after them
 *	L, b	the same two while its seccomp filters sleep (PTRACE_O_SUSPEND_SECCOMP): what stands behind
 * Each line is answered by one: what each call gave, with spaces between them.
 * The fourth waits for the next child of PID that is named opampd-NAME, lets it run until it has entered
 * its sandbox, and goes on with it like the third.  It says "waiting", and then "caught PID".
 * The fifth looks after the next COUNT children of PID likewise: they may fork, as far as RLIMIT_NPROC goes, or
 * else there could be no copies of them.  The copies may not; -S is for such a process.
 *
 * CALL is a name, a number (of any ABI: 0x40000000 + n is x32's n), or int80:n for the call n of the
 * 32-bit ABI.  ARG is a number, s:text or b:hexbytes (its address; it lies in the process's stack),
 * p: (the page that the stack pointer is in), t: (the page of the system call instruction),
 * r: (the result of the call before), or rN: (that of the Nth of its line, from 0).
 * For each call: what it returned (-errno on failure), "killed SIGNAL", "exited", "executed" or "hung"
 * (without the -s and -w forms' patience it is an error).  A process that lives goes on where it was.
 */
#include "inject.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONGEST_S  10
#define PATIENCE_S 5 /* with the calls of one copy */
#define WORDS      4096

static void
on_alarm(int sig)
{
	(void)sig;
}

/* Its calls' results, with spaces between them.  0: it is no more. */
static int
line_calls(struct target *t, char **words, int count)
{
	int lives = 1, at = 0;

	t->done = 0;
	t->result = 0;
	while (lives && at < count) {
		if (at > 0)
			printf(" ");
		at += inject_words(t, words + at, count - at, &lives);
	}
	printf("\n");
	return lives;
}

/* ---- copies */

/* What the process itself was not to do and may now (see -n), its copies may not. */
static void
forbid_forks(struct target *copy)
{
	const struct rlimit none = {0, 0};
	uint64_t a[INJECT_ARGS] = {0, RLIMIT_NPROC};

	copy->data = copy->saved.rsp - 256;
	a[2] = inject_put(copy, &none, sizeof(none));
	if (inject_quietly(copy, SYS_prlimit64, a, NULL) != 0)
		inject_fail("setting a copy's limit");
}

static void
end_copy(pid_t pid)
{
	int status;

	(void)kill(pid, SIGKILL);
	do
		status = inject_wait(pid);
	while (status != -1 && WIFSTOPPED(status));
}

static void
in_copy(struct target *t, long suspended, int no_forks, char **words, int count)
{
	const uint64_t fork_like[INJECT_ARGS] = {0}; /* no signal at its end */
	uint64_t wait_for[INJECT_ARGS] = {0, 0, __WALL};
	struct target copy = *t;
	long known_as;

	copy.pid = 0;
	inject_options(t->pid, PTRACE_O_SUSPEND_SECCOMP);
	known_as = inject_quietly(t, SYS_clone, fork_like, &copy.pid);
	if (known_as < 0 || copy.pid == 0) {
		printf("no copy: %ld\n", known_as);
		inject_options(t->pid, 0);
		return;
	}
	(void)inject_wait(copy.pid); /* it begins with a stop */
	if (no_forks)
		forbid_forks(&copy);
	inject_options(copy.pid, suspended);
	inject_hurry = 1;
	(void)alarm(PATIENCE_S);
	(void)line_calls(&copy, words, count);
	inject_hurry = 0;
	(void)alarm(LONGEST_S);
	if (kill(copy.pid, 0) == 0 && waitpid(copy.pid, NULL, __WALL | WNOHANG) >= 0)
		end_copy(copy.pid);
	/* the process never waits for it by itself */
	wait_for[0] = (uint64_t)known_as;
	if (inject_quietly(t, SYS_wait4, wait_for, NULL) == -ESRCH)
		inject_fail("burying a copy");
	inject_options(t->pid, 0);
}

/* ---- lines */

static int
in_itself(struct target *t, long suspended, char **words, int count)
{
	int lives;

	inject_options(t->pid, suspended);
	lives = line_calls(t, words, count);
	if (lives)
		inject_options(t->pid, 0);
	return lives;
}

static int
one_line(struct target *t, char *line, int no_forks)
{
	char *words[WORDS], *word, *save = NULL;
	int count = 0, lives = 1;
	long suspended;

	for (word = strtok_r(line, " \n", &save); word != NULL && count < WORDS;
	     word = strtok_r(NULL, " \n", &save))
		words[count++] = word;
	if (count == 0)
		return 1;
	suspended = words[0][0] == 'L' || words[0][0] == 'b' ? PTRACE_O_SUSPEND_SECCOMP : 0;
	(void)alarm(LONGEST_S);
	if (strcmp(words[0], "filters") == 0)
		inject_print_filters(t);
	else if (words[0][0] == 'c' || words[0][0] == 'b')
		in_copy(t, suspended, no_forks, words + 1, count - 1);
	else
		lives = in_itself(t, suspended, words + 1, count - 1);
	(void)fflush(stdout);
	return lives;
}

static void
serve(struct target *t, int no_forks)
{
	char *line = NULL;
	size_t size = 0;
	int lives = 1;

	(void)alarm(0);
	while (lives && getline(&line, &size, stdin) != -1)
		lives = one_line(t, line, no_forks);
	free(line);
	if (lives)
		inject_leave(t);
}

static void
serve_caught(const char *name, pid_t parent)
{
	struct target t = {.pid = inject_catch(name, 1, parent)};
	int status;

	/* out of the call's stop, into one of ours */
	inject_options(t.pid, 0);
	if (ptrace(PTRACE_SINGLESTEP, t.pid, NULL, NULL) == -1)
		inject_fail("PTRACE_SINGLESTEP");
	status = inject_wait(t.pid);
	if (!WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, t.pid, NULL, &t.saved) == -1)
		inject_fail("the caught process");
	t.saved.orig_rax = (unsigned long)-1;
	t.gate = inject_find_gate(t.pid);
	printf("caught %d\n", t.pid);
	(void)fflush(stdout);
	serve(&t, 1);
}

static void
serve_now(struct target *t, int argc, char **argv)
{
	int i, lives = 1;

	if (argc == 2)
		inject_print_filters(t);
	for (i = 2; lives && i < argc;) {
		i += inject_words(t, argv + i, argc - i, &lives);
		printf("\n");
		(void)fflush(stdout);
	}
	if (lives)
		inject_leave(t);
}

static int
usage(void)
{
	fprintf(stderr, "usage: inject PID [CALL [ARG...] [, CALL [ARG...]]...]\n"
			"       inject -s|-S PID\n"
			"       inject -w NAME PID\n"
			"       inject -n COUNT PID\n");
	return 2;
}

int
main(int argc, char **argv)
{
	struct target t = {0};
	struct sigaction alarmed = {.sa_handler = on_alarm};
	const char *form = argc > 2 && argv[1][0] == '-' ? argv[1] : "";

	if (argc < 2 || (form[0] != '\0' && argc != (strchr("wn", form[1]) != NULL ? 4 : 3)))
		return usage();
	(void)sigaction(SIGALRM, &alarmed, NULL);
	(void)alarm(LONGEST_S);
	if (strcmp(form, "-w") == 0) {
		serve_caught(argv[2], (pid_t)atoi(argv[3]));
		return 0;
	}
	if (strcmp(form, "-n") == 0) {
		(void)inject_catch(NULL, atoi(argv[2]), (pid_t)atoi(argv[3]));
		return 0;
	}
	t.pid = (pid_t)atoi(argv[form[0] != '\0' ? 2 : 1]);
	if (t.pid <= 0)
		return usage();
	inject_enter(&t);
	if (form[0] != '\0')
		serve(&t, form[1] == 'S');
	else
		serve_now(&t, argc, argv);
	return 0;
}
