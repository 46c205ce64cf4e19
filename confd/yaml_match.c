/*
 * yaml_match.c: bytes compared with the tree that they were made of (see yaml.h), event by event, so that no
 * second tree is made.  merge only.
 */
#include <string.h>
#include <yaml.h>

#include "privsep/limits.h"
#include "yaml.h"

#define MOST (2 * LIMIT_YAML_DEPTH + 2) /* tree_difference goes as deep */

struct level {
	const struct yaml_node *node;
	size_t next; /* which of its parts comes now: of a map, keys and values in turn */
};

struct match {
	const struct yaml_node *root, *at;
	struct level stack[MOST];
	size_t depth;
	int begun;
};

static size_t
parts_of(const struct yaml_node *n)
{
	return n->kind == YAML_MAP ? 2 * n->count : n->count;
}

/* What the tree has where the parser is, or NULL with at: nothing more is there. */
static const struct yaml_node *
expected(struct match *m)
{
	struct level *top;
	size_t i;

	if (m->depth == 0) {
		if (m->begun || m->root == NULL) {
			m->at = m->root;
			return NULL;
		}
		m->begun = 1;
		return m->root;
	}
	top = &m->stack[m->depth - 1];
	if (top->next == parts_of(top->node)) {
		m->at = top->node;
		return NULL;
	}
	i = top->next++;
	if (top->node->kind == YAML_SEQ)
		return top->node->items[i];
	return i % 2 == 0 ? top->node->pairs[i / 2].key : top->node->pairs[i / 2].value;
}

static int
differs(struct match *m, const struct yaml_node *at)
{
	m->at = at;
	return -1;
}

static int
on_node(struct match *m, const struct yaml_node *got)
{
	const struct yaml_node *want = expected(m);

	if (want == NULL)
		return -1;
	if (!tree_same_node(want, got) || m->depth == MOST)
		return differs(m, want);
	if (want->kind != YAML_SCALAR)
		m->stack[m->depth++] = (struct level){want, 0};
	return 0;
}

static int
on_event(struct match *m, const yaml_event_t *e)
{
	struct yaml_node got = {0};
	const struct level *top;

	switch (e->type) {
	case YAML_SCALAR_EVENT:
		got.kind = YAML_SCALAR;
		got.tag = (char *)e->data.scalar.tag;
		got.value = (char *)e->data.scalar.value;
		got.len = e->data.scalar.length;
		got.style = (int)e->data.scalar.style;
		return on_node(m, &got);
	case YAML_MAPPING_START_EVENT:
		got.kind = YAML_MAP;
		got.tag = (char *)e->data.mapping_start.tag;
		return on_node(m, &got);
	case YAML_SEQUENCE_START_EVENT:
		got.kind = YAML_SEQ;
		got.tag = (char *)e->data.sequence_start.tag;
		return on_node(m, &got);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		if (m->depth == 0) /* nothing is open */
			return differs(m, m->root);
		top = &m->stack[--m->depth];
		return top->next == parts_of(top->node) ? 0 : differs(m, top->node);
	case YAML_ALIAS_EVENT: /* no tree has one */
		return differs(m, m->root);
	default:
		return 0;
	}
}

int
tree_matches(const struct yaml_node *root, const char *data, size_t len,
    const struct yaml_node **at, struct error *err)
{
	struct match m = {.root = root};
	yaml_parser_t parser;
	yaml_event_t event;
	int r = 0, done = 0;

	*at = NULL;
	if (!yaml_parser_initialize(&parser))
		return error_set(err, "no memory");
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)data, len);
	while (r == 0 && !done) {
		if (!yaml_parser_parse(&parser, &event)) {
			r = error_set(err, "line %zu: %s", parser.problem_mark.line + 1,
			    parser.problem != NULL ? parser.problem : "no memory");
			break;
		}
		done = event.type == YAML_STREAM_END_EVENT;
		if (on_event(&m, &event) == -1 || (done && root != NULL && !m.begun)) {
			*at = m.at != NULL ? m.at : root;
			r = error_set(err, "what is written is not what was meant");
		}
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return r;
}
