/*
 * agent_clone.h: fork with a pidfd, into namespaces and a cgroup.  The parent and its copies only.
 */
#ifndef PRIVSEP_AGENT_CLONE_H
#define PRIVSEP_AGENT_CLONE_H

#include <stdint.h>
#include <sys/types.h>

/* Like fork; namespaces: CLONE_NEW* (0: none), group: a cgroup's directory (-1: ours).  -1: errno says why. */
pid_t agent_clone(uint64_t namespaces, int group, int *pidfd);

#endif
