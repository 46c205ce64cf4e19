/*
 * options.h: opamphub's command line, read and checked.  opamphub's parent.
 */
#ifndef HUB_OPTIONS_H
#define HUB_OPTIONS_H

#include <stdint.h>
#include <sys/socket.h>

#include "privsep/error.h"

#define OPTION_LIST 32

struct address {
	struct sockaddr_storage addr;
	socklen_t len;
	const char *text; /* as it was given */
	int loopback;
};

struct side { /* of the hub: towards agents, or with the page */
	struct address listen;
	const char *cert, *key, *client_ca, *tokens; /* files, or NULL */
};

#define OPTIONS_PATHS 32 /* relative paths on one command line */

struct options {
	const char *store, *user;
	struct side agents, page;
	const char *hosts[OPTION_LIST], *custom[OPTION_LIST]; /* end with NULL */
	uint64_t message_limit, max_agents, silence;
	int check, verbose, version, help;
	char *made[OPTIONS_PATHS]; /* paths put together, which those above point to */
	unsigned made_count;
};

/* -1: err names the option at fault and what to write instead. */
int options_read(struct options *o, int argc, char **argv, struct error *err);

extern const char options_usage[];

#endif
