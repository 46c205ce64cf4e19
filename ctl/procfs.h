/*
 * procfs.h: what the kernel says of a process in /proc.  opampctl only.
 */
#ifndef CTL_PROCFS_H
#define CTL_PROCFS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "privsep/error.h"
#include "privsep/policy_held.h"

#define PROCFS_GROUPS     32
#define PROCFS_NAMESPACES 6

enum procfs_capability_set {
	CAP_SET_INHERITABLE,
	CAP_SET_PERMITTED,
	CAP_SET_EFFECTIVE,
	CAP_SET_BOUNDING,
	CAP_SET_AMBIENT,
	CAP_SETS
};

enum procfs_limit {
	PROCFS_CORE,
	PROCFS_NOFILE,
	PROCFS_FSIZE,
	PROCFS_DATA,
	PROCFS_AS,
	PROCFS_NPROC,
	PROCFS_LIMITS
};

struct procfs {
	pid_t pid, parent;
	uint32_t uid[4], gid[4]; /* real, effective, saved, file system */
	uint32_t groups[PROCFS_GROUPS];
	size_t group_count;
	uint64_t caps[CAP_SETS];
	int no_new_privs, seccomp, filters, threads;
	int dumpable;                   /* 1 yes, 0 no, -1 cannot be seen (same as root's) */
	uint64_t limits[PROCFS_LIMITS]; /* UINT64_MAX = none */
	int log_is_file; /* 1 descriptor 2 is a regular file, 0 not, -1 not permitted to look */
	int descriptors; /* -1 = not permitted to look */
	uint64_t namespaces[PROCFS_NAMESPACES]; /* 0 = not permitted; order of procfs_namespaces */
	unsigned held[HELD_KINDS];              /* of the descriptors; none is HELD_LOG: */
	enum held_kind second;                  /* what descriptor 2 is; HELD_NONE: it is closed */
};

extern const char
    *const procfs_namespaces[PROCFS_NAMESPACES]; /* "mnt", "net", "pid", "ipc", "uts", "user" */

int procfs_read(struct procfs *p, pid_t pid, struct error *err);

/* Its part of that: dir is /proc/PID. */
void procfs_descriptors(struct procfs *p, int dir);

#endif
