/*
 * yaml_load.c: libyaml's events into the tree of yaml.h, within limits.  merge only.
 * No recursion: an explicit stack of at most LIMIT_YAML_DEPTH open collections.
 */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "privsep/limits.h"
#include "yaml.h"

#define TOO_LARGE "too large: more than 1,000,000 nodes, or no memory; make the file smaller"

struct anchor {
	char *name;
	struct yaml_node *node;
};

struct loader {
	struct yaml_tree *tree;
	const char *file;
	enum yaml_trust trust;
	struct error *err;
	struct yaml_node *stack[LIMIT_YAML_DEPTH];
	struct yaml_node *keys[LIMIT_YAML_DEPTH]; /* map at this depth: a key waits for its value */
	size_t depth;
	struct anchor *anchors;
	size_t anchor_count, alias_count;
};

static int
fault(struct loader *l, const yaml_mark_t *at, const char *what)
{
	return error_set(l->err, "%s:%zu:%zu: %s", l->file, at->line + 1, at->column + 1, what);
}

static struct yaml_node *
place(struct loader *l, struct yaml_node *n, const yaml_event_t *e)
{
	if (n == NULL) {
		(void)fault(l, &e->start_mark, TOO_LARGE);
		return NULL;
	}
	n->file = l->file;
	n->line = (uint32_t)e->start_mark.line + 1;
	n->column = (uint32_t)e->start_mark.column + 1;
	return n;
}

static int
remember_anchor(
    struct loader *l, const yaml_char_t *name, struct yaml_node *n, const yaml_mark_t *at)
{
	struct anchor *bigger;

	if (name == NULL)
		return 0;
	if (l->trust == YAML_REMOTE)
		return fault(
		    l, at, "anchors (&name) are not taken from the server: write the value out");
	if (l->anchor_count >= LIMIT_YAML_ALIASES)
		return fault(l, at, "more than 1,000 anchors: write values out");
	bigger = realloc(l->anchors, (l->anchor_count + 1) * sizeof(*bigger));
	if (bigger == NULL)
		return fault(l, at, "no memory");
	l->anchors = bigger;
	l->anchors[l->anchor_count].name = strdup((const char *)name);
	if (l->anchors[l->anchor_count].name == NULL)
		return fault(l, at, "no memory");
	l->anchors[l->anchor_count++].node = n;
	return 0;
}

/* The last anchor of that name counts; a collection that is still open cannot contain itself. */
static struct yaml_node *
resolve_alias(struct loader *l, const yaml_event_t *e)
{
	const char *name = (const char *)e->data.alias.anchor;
	size_t i, k;

	if (l->trust == YAML_REMOTE) {
		(void)fault(l, &e->start_mark,
		    "aliases (*name) are not taken from the server: write the value out");
		return NULL;
	}
	if (++l->alias_count > LIMIT_YAML_ALIASES) {
		(void)fault(l, &e->start_mark, "more than 1,000 aliases: write values out");
		return NULL;
	}
	for (i = l->anchor_count; i-- > 0;) {
		if (strcmp(l->anchors[i].name, name) != 0)
			continue;
		for (k = 0; k < l->depth; k++)
			if (l->stack[k] == l->anchors[i].node) {
				(void)fault(
				    l, &e->start_mark, "an alias inside what it stands for");
				return NULL;
			}
		return place(l, tree_copy(l->tree, l->anchors[i].node, (int)l->depth), e);
	}
	(void)fault(l, &e->start_mark, "an alias without an anchor before it");
	return NULL;
}

static int
add_pair(struct loader *l, struct yaml_node *map, struct yaml_node *key, struct yaml_node *value)
{
	if (tree_set_node(l->tree, map, key, value) == -1)
		return error_set(l->err, "%s:%u:%u: no memory", l->file, key->line, key->column);
	return 0;
}

static int
check_key(struct loader *l, const struct yaml_node *map, const struct yaml_node *key,
    const yaml_mark_t *at)
{
	size_t before;

	if (key->kind != YAML_SCALAR)
		return fault(l, at, "a key must be a plain or quoted word");
	if (key->style == YAML_PLAIN_SCALAR_STYLE && tree_is(key, "<<"))
		return fault(l, at, "merge keys (<<) are not part of YAML 1.2: write the keys out");
	if (memchr(key->value, '\0', key->len) != NULL)
		return fault(l, at, "a key with a NUL byte");
	if (tree_get(map, key->value) == NULL)
		return 0;
	for (before = 0; before < map->count; before++)
		if (tree_is(map->pairs[before].key, key->value))
			break;
	return error_set(l->err,
	    "%s:%zu:%zu: key \"%.100s\" is here a second time; the first is in line %u: remove one",
	    l->file, at->line + 1, at->column + 1, key->value, map->pairs[before].key->line);
}

/* n is complete (scalar, alias) or opened (collection): it goes where it belongs. */
static int
attach(struct loader *l, struct yaml_node *n, const yaml_mark_t *at)
{
	struct yaml_node *top;

	if (l->depth == 0) {
		if (l->tree->root != NULL)
			return fault(l, at, "a second document: opampd reads one");
		l->tree->root = n;
		return 0;
	}
	top = l->stack[l->depth - 1];
	if (top->kind == YAML_SEQ) {
		if (tree_append(l->tree, top, n) == -1)
			return fault(l, at, "no memory");
		return 0;
	}
	if (l->keys[l->depth - 1] == NULL) {
		if (check_key(l, top, n, at) == -1)
			return -1;
		l->keys[l->depth - 1] = n;
		return 0;
	}
	if (add_pair(l, top, l->keys[l->depth - 1], n) == -1)
		return -1;
	l->keys[l->depth - 1] = NULL;
	return 0;
}

static int
set_tag(struct loader *l, struct yaml_node *n, const yaml_char_t *tag, const yaml_mark_t *at)
{
	struct yaml_node *text; /* a node made of the tag's text keeps it in the tree's memory */

	if (tag == NULL)
		return 0;
	if (strlen((const char *)tag) > 256)
		return fault(l, at, "a tag of more than 256 bytes");
	text = tree_new_plain(l->tree, (const char *)tag);
	if (text == NULL)
		return fault(l, at, TOO_LARGE);
	n->tag = text->value;
	return 0;
}

static int
on_scalar(struct loader *l, const yaml_event_t *e)
{
	struct yaml_node *n;
	struct yaml_node *text;

	if (e->data.scalar.length > LIMIT_YAML_SCALAR)
		return fault(l, &e->start_mark, "a value of more than 4 MiB");
	if (memchr(e->data.scalar.value, '\0', e->data.scalar.length) != NULL)
		return fault(l, &e->start_mark, "a value with a NUL byte");
	text = tree_new_plain(l->tree, (const char *)e->data.scalar.value);
	n = place(l, text, e);
	if (n == NULL)
		return -1;
	n->style = (int)e->data.scalar.style;
	if (set_tag(l, n, e->data.scalar.tag, &e->start_mark) == -1 ||
	    remember_anchor(l, e->data.scalar.anchor, n, &e->start_mark) == -1)
		return -1;
	return attach(l, n, &e->start_mark);
}

static int
on_open(struct loader *l, const yaml_event_t *e, enum yaml_kind kind)
{
	const yaml_char_t *anchor, *tag;
	struct yaml_node *n;

	if (l->depth == LIMIT_YAML_DEPTH)
		return fault(l, &e->start_mark, "nested more than 64 deep: make it flatter");
	anchor = kind == YAML_MAP ? e->data.mapping_start.anchor : e->data.sequence_start.anchor;
	tag = kind == YAML_MAP ? e->data.mapping_start.tag : e->data.sequence_start.tag;
	n = place(l, kind == YAML_MAP ? tree_new_map(l->tree) : tree_new_seq(l->tree), e);
	if (n == NULL || set_tag(l, n, tag, &e->start_mark) == -1 ||
	    attach(l, n, &e->start_mark) == -1 ||
	    remember_anchor(l, anchor, n, &e->start_mark) == -1)
		return -1;
	l->keys[l->depth] = NULL;
	l->stack[l->depth++] = n;
	return 0;
}

static int
on_event(struct loader *l, const yaml_event_t *e)
{
	struct yaml_node *n;

	switch (e->type) {
	case YAML_SCALAR_EVENT:
		return on_scalar(l, e);
	case YAML_MAPPING_START_EVENT:
		return on_open(l, e, YAML_MAP);
	case YAML_SEQUENCE_START_EVENT:
		return on_open(l, e, YAML_SEQ);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		l->depth--;
		return 0;
	case YAML_ALIAS_EVENT:
		n = resolve_alias(l, e);
		return n == NULL ? -1 : attach(l, n, &e->start_mark);
	case YAML_DOCUMENT_START_EVENT:
		if (l->tree->root != NULL)
			return fault(l, &e->start_mark, "a second document: opampd reads one");
		return 0;
	default:
		return 0;
	}
}

/* Lines and columns count characters; what stands before a tab that indents is one byte each. */
static int
is_tab(const char *data, size_t len, const yaml_mark_t *at)
{
	const char *line = data, *end = data + len;
	size_t i;

	for (i = 0; i < at->line && line != NULL; i++) {
		line = memchr(line, '\n', (size_t)(end - line));
		if (line != NULL)
			line++;
	}
	return line != NULL && at->column < (size_t)(end - line) && line[at->column] == '\t';
}

static int
parser_fault(struct loader *l, const yaml_parser_t *p, const char *data, size_t len)
{
	if (p->error == YAML_SCANNER_ERROR && is_tab(data, len, &p->problem_mark))
		return fault(
		    l, &p->problem_mark, "not YAML: a tab: it is indented with spaces only");
	if (p->error == YAML_READER_ERROR)
		return error_set(l->err, "%s: byte %zu: %s: the file must be UTF-8 text", l->file,
		    p->problem_offset, p->problem);
	return error_set(l->err, "%s:%zu:%zu: not YAML: %s%s%s", l->file, p->problem_mark.line + 1,
	    p->problem_mark.column + 1, p->problem != NULL ? p->problem : "no memory",
	    p->context != NULL ? ", " : "", p->context != NULL ? p->context : "");
}

int
tree_load(struct yaml_tree *t, const char *file, const char *data, size_t len,
    enum yaml_trust trust, struct error *err)
{
	struct loader *l;
	yaml_parser_t parser;
	yaml_event_t event;
	int result = 0, done = 0;
	size_t i;

	if (tree_check_text(file, data, len, err) == -1)
		return -1;
	l = calloc(1, sizeof(*l));
	if (l == NULL || !yaml_parser_initialize(&parser)) {
		free(l);
		return error_set(err, "%s: no memory", file);
	}
	*l = (struct loader){.tree = t, .file = file, .trust = trust, .err = err};
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)data, len);
	while (result == 0 && !done) {
		if (!yaml_parser_parse(&parser, &event)) {
			result = parser_fault(l, &parser, data, len);
			break;
		}
		done = event.type == YAML_STREAM_END_EVENT;
		result = on_event(l, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	for (i = 0; i < l->anchor_count; i++)
		free(l->anchors[i].name);
	free(l->anchors);
	free(l);
	return result;
}
