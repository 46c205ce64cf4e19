/*
 * expansion.h: the Collector's ${...} in configuration texts.  merge only.
 * The Collector replaces ${scheme:opaque} (and ${NAME}, an environment variable) after merging, and
 * reports the result to the server: an expansion in a remote file could read any file and variable
 * of the agent (reference: experiments, row 7).  So remote files may use only what the operator lists.
 *
 * The Collector expands by search and replace, again and again (confmap/expand.go): what a listed
 * expansion yields joins the text around it, and the sum can be an expansion that nobody wrote.
 * With A empty, "${env:A}$${env:A}{file:/x}" reads /x; with a value that ends in a dollar sign,
 * "${env:P}{env:S}" reads S.  So a remote text with an expansion has no other dollar sign, no brace
 * right behind it and none inside, and a tag that changes what the text is (!!binary) is refused.
 * It also replaces an expansion in every place at once: "${env:B}-${env:D}${env:B}" has become
 * "{file:/x}-${env:D}{file:/x}" when the turn of D, a dollar sign, comes.  So none stands right
 * behind another one if it was there before.
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

/*
 * Is it listed?  Exactly; or by an entry that ends in '*', if what the star stands for is made of
 * harmless characters and does not climb ("..").  "env:X" covers "env:X:-default" with a harmless
 * default, since the Collector reads a default as YAML.
 */
int expansion_listed(const struct expansion_list *l, const char *text);

/* The texts of local files that expand, whole: the second look takes them as they are. */
struct expansion_known { /* zero-initialise */
	struct yaml_tree tree;
	struct yaml_node *texts;
};

/* Adds every key and value of the tree that expands or has a tag of its own.  -1: no memory. */
int expansion_collect(const struct yaml_node *n, struct expansion_known *k, int depth);
void expansion_known_free(struct expansion_known *k);

/*
 * -1 with place and remedy if a key or value of the tree expands, or is tagged, and is neither
 * permitted by the list nor, whole, one of the known texts.  known may be NULL.
 */
int expansion_check(const struct yaml_node *n, const struct expansion_list *allowed,
    const struct expansion_known *known, int depth, struct error *err);

#endif
