/*
 * upgrade_state.h: what an opampd leaves to the one that takes its place in the same process, by an
 * upgrade (parent_upgrade.c, parent_takeover.c): a sealed memory file with one record of fixed size and,
 * behind it, the strings that it was started with.  The parent only.
 *
 * Descriptors are named by their numbers, each with the kind it has to be of.  A record of another format
 * or size, of another process, with a number twice, or with anything else that the one before would not
 * have written is refused whole.
 */
#ifndef PRIVSEP_UPGRADE_STATE_H
#define PRIVSEP_UPGRADE_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "messages.h"

/* Names the record's descriptor to the program that is executed. */
#define UPGRADE_VARIABLE "OPAMPD_TAKES_OVER"
/* Exit status of opampd -n where it would take over that record.  No other program has it by chance. */
#define UPGRADE_FIT 42

#define UPGRADE_MAGIC 0x4f504155u
/*
 * One more whenever a field or its meaning changes; and whenever the new parent would not understand what stays
 * of the old one beside the record: the words of its opampd-init (struct said, agent_init.c), the file with the
 * link's secret and where the agent finds it (link_file.h, driver.c), the agent's cgroup (cgroup.c).
 */
#define UPGRADE_FORMAT 1u

/* The daemons, in the order in which a record has them. */
#define UPGRADE_DAEMONS 4
extern const enum proc upgrade_daemons[UPGRADE_DAEMONS];

struct upgrade_agent { /* start 0: none runs */
	uint32_t start, flags, uid;
	int32_t pid; /* see struct agent_start */
	uint64_t generation, started_ns;
	int32_t agent_pid, pidfd, agent,
	    init;                        /* likewise; descriptors here and below: -1 is none */
	int32_t group, secret, out, err; /* see struct agent_slot */
};

struct upgrade_state {
	uint32_t magic, format, size;
	int32_t pid;       /* of the process that it is for */
	uint32_t upgrades; /* so many were there, this one included */
	uint32_t unprivileged, sink, next_start;
	uint32_t restarts[UPGRADE_DAEMONS]; /* of upgrade_daemons */
	uint64_t capabilities;              /* kept so far: there are no more */
	uint64_t settings[5];               /* the file that is in force, see parent_identity */
	uint64_t binary[5];                 /* the agent's program at its last start */
	int32_t state_dir;                  /* locked */
	int32_t control, link_listener;
	int32_t cgroup;
	uint32_t cgroup_leaf, cgroup_told;
	int32_t guard_pid, guard_pidfd,
	    guard_channel; /* the procd that stays until the next one is there */
	int32_t pad;
	struct upgrade_agent agent;
	/* behind it: the working directory, then the environment, each ended by a NUL */
};

/* The descriptors of a record, one by one: 0..UPGRADE_FDS-1. */
#define UPGRADE_FDS 13
int32_t *upgrade_fd(struct upgrade_state *s, size_t i, enum fd_kind *kind);

/* The record as a sealed memory file, or -1.  environment: NULL-terminated. */
int upgrade_state_write(
    const struct upgrade_state *s, const char *cwd, char *const *environment, struct error *err);

/*
 * Reads one and checks all that can be told without looking at the descriptors.  pid: for whom it has to
 * be.  *strings: malloc'd, cwd first.
 */
int upgrade_state_read(
    int fd, int32_t pid, struct upgrade_state *s, char **strings, size_t *len, struct error *err);

/* Are the descriptors there, and what they should be? */
int upgrade_state_look(struct upgrade_state *s, struct error *err);

#endif
