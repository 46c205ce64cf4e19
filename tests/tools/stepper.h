/*
 * stepper.h: runs a deed in a child and, by ptrace, stops it at each system call: to kill it there, or
 * to make the call fail.  Tests only.
 */
#ifndef TESTS_TOOLS_STEPPER_H
#define TESTS_TOOLS_STEPPER_H

struct step {
	unsigned kill_at;  /* end it before its Nth system call; 0: never */
	unsigned fail_at;  /* the Nth call that can fail with `error` does */
	int error;         /* EIO, ENOSPC, EROFS, EMFILE or EINTR (close closes all the same) */
	int onwards;       /* and so do all such calls after it */
	unsigned short_at; /* the Nth call that reads or writes more than one byte does half */
	/* after each fsync or fdatasync that succeeded: the file, open for reading */
	void (*synced)(void *ctx, int fd);
	void *ctx;
	/* results */
	unsigned calls; /* system calls begun */
	int reached;    /* the point named above came */
};

#define STEP_KILLED (-1)
#define STEP_BROKE  (-2) /* another signal, or ptrace does not work (errno) */

/* The deed's value (0 to 255), or STEP_KILLED, STEP_BROKE. */
int step_run(struct step *s, int (*deed)(void *arg), void *arg);

#endif
