/*
 * yaml_output.h: where written YAML goes, and who writes it: libyaml (yaml_emit.c), or yaml_plain.c where there is
 * nothing unusual.  merge only.
 */
#ifndef CONFD_YAML_OUTPUT_H
#define CONFD_YAML_OUTPUT_H

#include "yaml.h"

struct output {
	char *data;
	size_t len, size;
	int too_large;
};

/* As libyaml has it: 1, or 0 when it is too large or there is no memory. */
int output_write(void *ctx, unsigned char *buffer, size_t size);

/* No tag, no block style, no character that has a meaning where it stands: tree_write_usual can write it. */
int tree_is_usual(const struct yaml_node *n, int depth);
/* root is a map or list that has something in it. */
int tree_write_usual(struct output *o, const struct yaml_node *root);

/* libyaml's way, whatever is in it; for tests too. */
int tree_write_any(struct output *o, const struct yaml_node *root);

#endif
