/*
 * inject.h: the parts of inject (see inject.c).
 */
#ifndef TESTS_INJECT_H
#define TESTS_INJECT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#define INJECT_ARGS    6
#define INJECT_RESULTS 10
#define INJECT_OPTIONS                                                                             \
	(PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |      \
	    PTRACE_O_TRACEEXEC)

struct target {
	pid_t pid;
	struct user_regs_struct saved;
	uint64_t gate; /* where a system call instruction stands */
	uint64_t data; /* where the next argument's bytes go, downwards */
	long result;
	long results[INJECT_RESULTS]; /* of its line */
	size_t done;
};

/* ---- inject_calls.c */

extern int inject_hurry; /* a call that does not return is a result ("hung"), not an error */

__attribute__((noreturn)) void inject_fail(const char *what);
int inject_wait(pid_t pid); /* the status; -1: not in time, when in a hurry */
void inject_options(pid_t pid, long more);

/* PTRACE_SEIZE, a stop, the registers; and back to where it was. */
void inject_enter(struct target *t);
void inject_leave(struct target *t);
uint64_t inject_find_gate(pid_t pid);

/* Words up to a comma or the end: one call, its result printed.  Gives how many were taken; *lives: it goes on. */
int inject_words(struct target *t, char **words, int count, int *lives);

/* One call whose result is not printed; -ESRCH: it has ended.  made: a child, if it made one. */
long inject_quietly(struct target *t, long number, const uint64_t a[INJECT_ARGS], pid_t *made);
uint64_t inject_put(struct target *t, const void *bytes, size_t len);
void inject_print_filters(struct target *t);

/* ---- inject_catch.c */

/* The next child named opampd-NAME, stopped in its sandbox; NULL: lets go there `count`
 * that stay (no merge, no connect), and gives 0. */
pid_t inject_catch(const char *name, int count, pid_t parent);

#endif
