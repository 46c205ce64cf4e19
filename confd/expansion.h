/*
 * expansion.h: the Collector's ${...} in configuration texts.  merge only.
 * The Collector replaces ${scheme:opaque} (and ${NAME}, an environment variable) after merging, and
 * reports the result to the server: an expansion in a remote file could read any file and variable
 * of the agent (reference: experiments, row 7).  So remote files may use only what the operator lists.
 */
#ifndef CONFD_EXPANSION_H
#define CONFD_EXPANSION_H

#include "yaml.h"

struct expansion_list { /* zero-initialise */
	char **items;   /* "env:API_KEY": what stands between the braces, scheme always written */
	size_t count, size;
};

int expansion_add(struct expansion_list *l, const char *text, size_t len);
void expansion_list_free(struct expansion_list *l);

/* Is it listed, exactly or by an entry that ends in '*'? */
int expansion_listed(const struct expansion_list *l, const char *text);

/* Adds every expansion in keys, values and tags of the tree. */
int expansion_collect(const struct yaml_node *n, struct expansion_list *l, int depth);

/*
 * -1 with place and remedy if the tree has one that neither list has.  known may be NULL.
 * An opening "${" without its brace is refused too: what it means is the Collector's guess.
 */
int expansion_check(const struct yaml_node *n, const struct expansion_list *allowed,
    const struct expansion_list *known, int depth, struct error *err);

#endif
