/*
 * compose_internal.h: what the merge (compose.c) and the injection (compose_inject.c) share.
 * merge only.
 */
#ifndef CONFD_COMPOSE_INTERNAL_H
#define CONFD_COMPOSE_INTERNAL_H

#include "compose.h"

struct composer {
	const struct compose_input *in;
	struct yaml_tree tree; /* the result */
	struct yaml_tree scratch;
	const struct yaml_node *joined; /* the list whose items are the keys of `items` */
	struct yaml_node *items;
	struct compose_result *out;
	struct error *err;
};

/* Sets the error; -1. */
int compose_no_memory(struct composer *c);

/* One more text for the log: at its place, key, what happened to it. */
void compose_warn(
    struct composer *c, const struct yaml_node *at, const char *key, const char *what);

/* What opampd puts into the merged tree, over whatever is there. */
int compose_inject(struct composer *c);

/* Is it in this tree, unchanged? */
int compose_check_injected(
    const struct compose_input *in, const struct yaml_node *root, struct error *err);

#endif
