/*
 * agent_init.h: process 1 of the agent's own PID namespace, which the agent itself is not: to process 1
 * the kernel gives no signal that it has no handler for, and the processes that others leave behind.
 * It waits, reaps, tells the parent how the agent ended, and ends, and the kernel ends with it all that
 * is left in the namespace (I9).  Signals go to the agent itself: nothing is passed on.
 */
#ifndef PRIVSEP_AGENT_INIT_H
#define PRIVSEP_AGENT_INIT_H

#include <sys/types.h>

#define AGENT_INIT_FD 3 /* to the parent */

struct agent_command;

/*
 * In a process that is number 1 of a new PID namespace: makes another one and returns there; this one
 * gives up all it may do and never returns.  to: our end of a SOCK_SEQPACKET pair to the parent.
 */
void agent_init(const struct agent_command *c, int to);

/* The parent: the process that agent_init made, by its number here, and a pidfd.  0, or -1 with errno. */
int agent_init_begun(int from, pid_t *pid, int *pidfd);

/* The process of a pidfd by its number here, or -1 with errno. */
pid_t agent_number_of(int pidfd);

/* The parent, when it has ended: 1 and the wait status of the agent; 0 when it was killed itself. */
int agent_init_ended(int from, int *status);

#endif
