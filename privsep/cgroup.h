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
	int base; /* the directory our groups are made in; -1: no cgroups to be had */
	int leaf; /* we and our children sit in a group below it, so that it can hand controllers on */
	int told;        /* which limits were said not to be in force */
	char prefix[48]; /* our groups' names begin so: one prefix for each storage directory */
	uint32_t taken_start; /* of the agent that a parent before us started; 0 */
	char taken[80];       /* its group's name, which may be one of another prefix */
};

/* Finds our own group; kills and removes what an earlier run with the same key left behind. */
void cgroup_init(struct cgroup *c, const char *key);

/* What a parent before us, in the same process, had; nothing is swept: its group is the running agent's. */
void cgroup_take_over(struct cgroup *c, const char *key, int base, int leaf, int told);
/* group: the directory of that agent's start.  -1: it is none below base. */
int cgroup_take_group(struct cgroup *c, uint32_t start, int group, struct error *err);

/*
 * Makes the group of a start; memory and processes 0 = no limit.  Its directory, or -1.  For a limit the
 * controllers are handed on, for which opampd may have to move into a leaf group; where that cannot be, it
 * is told, and the limit is not in force.
 */
int cgroup_make(
    struct cgroup *c, uint32_t start, uint64_t memory, uint64_t processes, struct error *err);
void cgroup_end(struct cgroup *c); /* when no child is left: everything as it was found */
void cgroup_lacking(
    struct cgroup *c, uint64_t memory); /* no group at all: tells what is not in force */
int cgroup_kill_fd(int group);          /* its cgroup.kill, open for writing */
int cgroup_was_oom(int group);          /* did the kernel end somebody in it for want of memory */
/* Kills what is in it.  1 when it is empty and removed, 0 when somebody is still ending. */
int cgroup_sweep(struct cgroup *c, uint32_t start);

#endif
