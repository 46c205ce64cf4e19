/*
 * cgroup.h: one new cgroup (v2) for every start of the agent, so that all it started ends with it.
 * The parent only.  A group that was once killed is never used again: on some kernels it kills
 * whoever enters it later.
 */
#ifndef PRIVSEP_CGROUP_H
#define PRIVSEP_CGROUP_H

#include <stdint.h>

#include "error.h"

struct cgroup {
	int base;        /* the directory our groups are made in; -1: no cgroups to be had */
	char prefix[48]; /* our groups' names begin so: one prefix for each storage directory */
};

/* Finds our own group; kills and removes what an earlier run with the same key left behind. */
void cgroup_init(struct cgroup *c, const char *key);

/* Makes the group of a start; memory and processes 0 = no limit.  Its directory, or -1. */
int cgroup_make(
    struct cgroup *c, uint32_t start, uint64_t memory, uint64_t processes, struct error *err);
int cgroup_kill_fd(int group); /* its cgroup.kill, open for writing */
int cgroup_was_oom(int group); /* did the kernel end somebody in it for want of memory */
/* Kills what is in it.  1 when it is empty and removed, 0 when somebody is still ending. */
int cgroup_sweep(struct cgroup *c, uint32_t start);

#endif
