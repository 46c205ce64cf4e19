/*
 * sandbox.h: what each process may do, as data, and the code that puts it in force.
 * policy_NAME.c holds one process's whole policy; an auditor reads that file alone.
 */
#ifndef PRIVSEP_SANDBOX_H
#define PRIVSEP_SANDBOX_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "messages.h"

enum sandbox_namespace {
	SANDBOX_NS_USER = 1,
	SANDBOX_NS_MOUNT = 2,
	SANDBOX_NS_NET = 4,
	SANDBOX_NS_PID = 8,
	SANDBOX_NS_IPC = 16,
	SANDBOX_NS_UTS = 32,
};

enum arg_test {
	ARG_ANY,
	ARG_EQ,      /* argument == value */
	ARG_MASK0,   /* (argument & value) == 0 */
	ARG_MASK_EQ, /* (argument & mask) == value */
};

struct arg_rule {
	enum arg_test test;
	uint8_t index; /* which argument */
	uint64_t value, mask;
};

#define POLICY_ARGS 3

struct syscall_rule {
	const char *name; /* as libseccomp knows it; unknown on this kernel = skipped */
	int action;       /* 0 allow (or, in a deny-list, kill); > 0: refuse with this errno */
	struct arg_rule args[POLICY_ARGS]; /* all must hold; a call may have several rows */
	const char *why;                   /* when it comes, for the reader and the man page */
	const char *unseen; /* not in our runs: when it comes all the same (tests/proof/lists.t) */
	const char *unchecked; /* the kernel could look at more arguments: why it does not */
};

struct landlock_path {
	const char *path;
	uint64_t rights; /* LANDLOCK_ACCESS_FS_*, cut to what the kernel knows */
};

struct policy {
	enum proc proc;
	const char *user;      /* the system user, NULL: keep */
	uint64_t capabilities; /* 1 << CAP_*, kept as root only */
	uint32_t namespaces;   /* wanted; what cannot be had is told */
	int empty_root;        /* 1: root is an empty read-only directory */
	int root_at;           /* not 0: root is the directory that this descriptor has open */
	int deny_list;         /* 1: syscalls are denied, all others pass (parent, agent) */
	const struct syscall_rule *syscalls; /* ends with name NULL */
	const struct landlock_path *paths;   /* ends with path NULL; everything else is denied */
	int landlock;                        /* 0: none (parent) */
	int scope_signal;                    /* Landlock: no signal out of the domain */
	int ends_by_itself; /* 1: no signal when the parent dies: it has to end others first */
	uint64_t limit_nofile, limit_fsize, limit_data; /* 0 = not set */
	int limit_nproc;                                /* -1 = not set */
};

extern const struct policy policy_parent, policy_netd, policy_link, policy_confd, policy_procd,
    policy_connect, policy_merge, policy_agent, policy_log, policy_init;
const struct policy *policy_of(enum proc proc);

struct sandbox_result { /* what came to be in force */
	int seccomp;
	int landlock_abi;
	uint32_t namespaces;
};

/*
 * All of it, in order: namespaces and empty root (as far as the parent has not made them at clone),
 * limits, groups, ids, capabilities, no_new_privs, dumpable, Landlock, seccomp.  start says which
 * ids.  Fatal faults return -1: the caller ends.
 */
int sandbox_enter(const struct policy *p, const struct msg_start *start,
    struct sandbox_result *result, struct error *err);

/* Before sandbox_enter: this descriptor's tree stays usable with these Landlock rights. */
int sandbox_allow_fd(int fd, uint64_t rights);

/* Pieces, for the parent and the agent. */
int sandbox_seccomp(const struct policy *p, struct error *err);
int sandbox_capabilities(
    uint64_t keep, struct error *err); /* permitted and effective; no other set */
int sandbox_bounding(uint64_t keep, struct error *err);
int sandbox_landlock_abi(void);        /* 0: the kernel has none */
uint64_t sandbox_landlock_fs(int abi); /* every file system right that ABI knows */

/* A rule set: begin gives its descriptor; then rules; end enters the domain and closes it. */
int sandbox_landlock_begin(int abi, int net, int scope_signal, struct error *err);
int sandbox_landlock_fd(int ruleset, int abi, int fd, uint64_t rights, struct error *err);
int sandbox_landlock_path(
    int ruleset, int abi, const char *path, uint64_t rights, struct error *err);
int sandbox_landlock_end(int ruleset, struct error *err);

#endif
