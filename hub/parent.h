/*
 * parent.h: the hub's parent: what it has at hand, and the two processes it starts.  opamphub;
 * shared by opamphub.c and parent_*.c.  It reads options and the files they name, nothing else.
 */
#ifndef HUB_PARENT_H
#define HUB_PARENT_H

#include <sys/types.h>

#include "options.h"
#include "setup.h"

enum part {
	PART_FRONT,
	PART_STORE,
	PART_ALL
};

struct hub_child {
	pid_t pid; /* 0: none */
	int alive; /* our end of SETUP_FD_ALIVE, or -1 */
	int ready; /* it wrote its word */
};

struct parent {
	struct options options;
	uid_t uid;
	gid_t gid;
	int change_user; /* 1: the children become uid, gid */
	int programs[PART_ALL], listeners[PART_ALL], store;
	struct hub_child children[PART_ALL];
};

/* Users, programs, listeners; says what is wrong with the settings.  Once. */
int parent_prepare(struct parent *p, struct error *err);

/* What is read anew at each start: files of certificates, keys, tokens.  -1: they cannot be used. */
int parent_record(const struct parent *p, enum part part, struct error *err);

/* Both processes, on a new conversation.  -1: neither runs. */
int parent_start(struct parent *p, struct error *err);

const char *part_name(enum part part);

#endif
