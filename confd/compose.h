/*
 * compose.h: one configuration out of local files, remote files and what opampd injects.
 * merge only.  The order, later wins:
 *
 *   1. a no-op pipeline, if nothing else has one and the Collector cannot do without
 *   2. the entries of agent.config_files in their order; $REMOTE_CONFIG there, or else at the end,
 *      stands for the remote files: by name, the one without a name last
 *   3. what opampd injects, whatever the place of $OPAMP_EXTENSION_CONFIG: nothing overrides it
 *
 * Maps merge key by key; scalars (null too) and lists replace, as the Collector does with several
 * --config; the lists of service.extensions are joined without duplicates, earlier first.
 *
 * Refused, with the place: a remote file that has extensions.opamp (a local one is told that it was
 * replaced); for Collectors a key with "::", which they split, so that
 * "extensions::opamp::server::ws::endpoint" would override what is injected; a key with a tag.
 * A single value or list where opampd has to put a key into a map gives way, with a warning.
 */
#ifndef CONFD_COMPOSE_H
#define CONFD_COMPOSE_H

#include "expansion.h"
#include "privsep/limits.h"
#include "privsep/offer.h"

#define COMPOSE_READ_BACK MIB /* what is longer is compared by its sum, by the second look */

enum noop_form {
	NOOP_NONE,
	NOOP_PIPELINE, /* nop receiver and exporter beneath everything */
};

struct compose_attribute {
	const char *name, *value;
};

struct compose_file {
	const char *name; /* for messages */
	const char *data;
	size_t len;
};

struct compose_input {
	int inject;           /* 0: agents without the opamp extension */
	const char *uid_text; /* instance uid, UUID text */
	unsigned port;        /* link's */
	enum noop_form noop;
	const struct compose_attribute
	    *attributes; /* resource attributes of the agent's telemetry */
	size_t attribute_count;
	const char *const *order; /* agent.config_files */
	size_t order_count;
	struct compose_file *local; /* one for each entry of order that is no placeholder */
	size_t local_count;
	const struct offer *remote; /* NULL: none */
	struct expansion_list allowed;
	uint64_t
	    sum; /* for compose_check: of what was emitted, from compose_run; 0: not compared */
};

struct compose_result {
	char *data; /* malloc'd */
	size_t len;
	uint64_t sum;       /* of what was meant (tree_sum) */
	char warning[1024]; /* "" or one text for the log; several are joined by "; " */
};

/*
 * out->data is the caller's to free; on error it is NULL.  What was written is read back and compared here, with
 * the place of what differs, or, if it is large, by compose_check, which reads it anyway.
 */
int compose_run(const struct compose_input *in, struct compose_result *out, struct error *err);

/*
 * The second look, in a fresh process, at the bytes that the first one emitted: within the limits,
 * no anchors, aliases, duplicate or split keys; what is injected is there and unchanged; every text
 * that expands is either permitted by the list or, whole, a text of a local file, which it reads again.
 */
int compose_check(
    const struct compose_input *in, const char *emitted, size_t len, struct error *err);

#endif
