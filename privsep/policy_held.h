/*
 * policy_held.h: which descriptors each process holds, as data, for who shows or compares them: opampctl,
 * documents, tests.  No daemon links it: the parent hands descriptors out, one by one (parent_exec.c, messages.h).
 */
#ifndef PRIVSEP_POLICY_HELD_H
#define PRIVSEP_POLICY_HELD_H

#include <stdint.h>

enum held_kind {
	HELD_NONE,
	HELD_NULL, /* /dev/null */
	HELD_LOG,  /* descriptor 2, whatever it is */
	HELD_LOOP, /* epoll, eventfd */
	HELD_PIPE,
	HELD_SOCKET,
	HELD_MEMORY, /* memfd */
	HELD_PIDFD,
	HELD_CGROUP, /* cgroup.kill */
	HELD_FILE,
	HELD_DIRECTORY,
	HELD_OTHER, /* a terminal, a device: no child is to have one */
	HELD_KINDS
};

struct held {
	enum held_kind kind;
	const char *what; /* all of that kind, and where they come from */
};

/* Of "netd", "hub-front", "init" ...: rows, ended by HELD_NONE; NULL for a name that is none. */
const struct held *policy_held(const char *name);

/* "socket", ...; a set of 1u << kind: "log, socket". */
const char *held_name(enum held_kind kind);

#endif
