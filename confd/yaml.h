/*
 * yaml.h: YAML as a bounded tree, from libyaml's events.  merge only: nothing else links libyaml.
 * The document interface of libyaml is not used: it retypes scalars and shares aliases.
 * A tree remembers where each node stood, and each scalar exactly as it was written.
 */
#ifndef CONFD_YAML_H
#define CONFD_YAML_H

#include <stddef.h>
#include <stdint.h>

#include "privsep/error.h"

enum yaml_kind {
	YAML_SCALAR,
	YAML_MAP,
	YAML_SEQ
};

enum yaml_trust {
	YAML_LOCAL,  /* aliases are copied, counted; anchors are fine */
	YAML_REMOTE, /* no anchors, aliases or merge keys: what a server sends is machine-made */
};

struct yaml_pair;

struct yaml_node {
	enum yaml_kind kind;
	char *tag;             /* NULL when none was written */
	const char *file;      /* for messages; borrowed */
	uint32_t line, column; /* from 1; 0 = made by opampd */
	/* scalar */
	char *value; /* len bytes and a NUL */
	size_t len;
	int style; /* yaml_scalar_style_t; 1 is plain */
	/* seq: items; map: pairs.  count of them */
	struct yaml_node **items;
	struct yaml_pair *pairs;
	size_t count, size;
	uint32_t *index; /* map: hash of the key to place + 1; NULL while small */
	size_t index_size;
};

struct yaml_pair {
	struct yaml_node *key; /* always a scalar */
	struct yaml_node *value;
};

struct yaml_tree {              /* owns every node; zero-initialise */
	struct yaml_node *root; /* NULL for an empty document */
	void *chunks;
	size_t nodes, bytes; /* both bounded: aliases copy texts as well as nodes */
};

/*
 * Refuses what is not YAML's characters: bytes that are no UTF-8, NUL and other control characters.
 * tree_load does it first: libyaml knows only the byte where it stopped.
 * Errors are "file:line:col: ...".
 */
int tree_check_text(const char *file, const char *data, size_t len, struct error *err);

/*
 * Reads one document.  file is the name for messages and is borrowed by the nodes.
 * Errors are "file:line:col: what is wrong, and what to do".
 */
int tree_load(struct yaml_tree *t, const char *file, const char *data, size_t len,
    enum yaml_trust trust, struct error *err);
void tree_free(struct yaml_tree *t);

/*
 * Do the bytes say what the tree has?  0; or -1 with the error, where *at is the first node that they do not
 * say, or NULL when they are no YAML.  As tree_difference, without a second tree.
 */
int tree_matches(const struct yaml_node *root, const char *data, size_t len,
    const struct yaml_node **at, struct error *err);

/* Emits block style, scalars exactly as they were; the buffer is malloc'd.  head: comment lines or NULL. */
int tree_emit(
    const struct yaml_node *root, const char *head, char **data, size_t *len, struct error *err);

/* New nodes in t; NULL when the limits or memory are reached. */
struct yaml_node *tree_new_map(struct yaml_tree *t);
struct yaml_node *tree_new_seq(struct yaml_tree *t);
struct yaml_node *tree_new_plain(struct yaml_tree *t, const char *text); /* true, false, a number */
/* A string for the Collector that means just these bytes: quoted, and each $ doubled. */
struct yaml_node *tree_new_literal(struct yaml_tree *t, const char *text);
/* A deep copy, places included; depth is where it will stand (0: the root). */
struct yaml_node *tree_copy(struct yaml_tree *t, const struct yaml_node *from, int depth);
/*
 * The memory of from becomes t's: its nodes may be put into t's without copies.  from is then empty.  -1 with
 * from as it was: together they would pass the limits.
 */
int tree_adopt(struct yaml_tree *t, struct yaml_tree *from);

/* NULL when map is no map or has no such key. */
struct yaml_node *tree_get(const struct yaml_node *map, const char *key);
/* Puts or replaces; 0, or -1 without memory. */
int tree_set(struct yaml_tree *t, struct yaml_node *map, const char *key, struct yaml_node *value);
int tree_set_node(
    struct yaml_tree *t, struct yaml_node *map, struct yaml_node *key, struct yaml_node *value);
int tree_append(struct yaml_tree *t, struct yaml_node *seq, struct yaml_node *item);

/*
 * Equal in kind, tags, values and whether a scalar was plain; order of map keys counts.
 * Plain or quoted does not matter for a text that is a string in every reading (line breaks, tabs,
 * non-ASCII): libyaml cannot write some of these plain.
 */
int tree_equal(const struct yaml_node *a, const struct yaml_node *b, int depth);

/* The first node of a that has no equal in b (for its place), or NULL when the trees are equal. */
const struct yaml_node *tree_difference(
    const struct yaml_node *a, const struct yaml_node *b, int depth);

/* The same for two nodes by themselves, whatever is in them. */
int tree_same_node(const struct yaml_node *a, const struct yaml_node *b);

/*
 * A sum over all of it, never 0: trees that tree_equal takes for one have one sum, and two others by accident hardly ever.
 * It says that nothing was changed on the way, not that nobody meant to.
 */
uint64_t tree_sum(const struct yaml_node *n);

/* No schema makes anything else of its text than a string, plain or not. */
int tree_always_string(const struct yaml_node *n);

/* Plain and empty, "~" or "null": what `key:` without a value is. */
int tree_is_null(const struct yaml_node *n);

/* The scalar's text is s, plain or quoted. */
int tree_is(const struct yaml_node *n, const char *s);

/* error_set with the node's place in front. */
int tree_error(struct error *err, const struct yaml_node *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
