/*
 * yaml_problems.c: errors of YAML, by line (see yaml_problems.h).  libyaml's events only, bounded in
 * depth, number and aliases; duplicate keys are found where a mapping's keys are scalars.
 */
#include "yaml_problems.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "privsep/limits.h"

#define KEYS_MOST 4096 /* of one mapping that are compared */

struct level {
	int mapping, key; /* key: the next node is one */
	json_t *keys;     /* object of those seen */
};

struct look {
	json_t *problems;
	const char *file;
	struct level levels[LIMIT_YAML_DEPTH + 1];
	size_t depth, events, documents;
	int over;
};

static void
problem(struct look *l, const yaml_mark_t *at, const char *what)
{
	json_t *j = json_pack("{s:s, s:I, s:I, s:s}", "file", l->file, "line",
	    (json_int_t)at->line + 1, "column", (json_int_t)at->column + 1, "what", what);

	(void)json_array_append_new(l->problems, j);
}

/* A node begins: in a mapping it is a key or a value. */
static void
node(struct look *l, const yaml_event_t *e)
{
	struct level *top = l->depth == 0 ? NULL : &l->levels[l->depth - 1];
	const char *text = (const char *)e->data.scalar.value;
	char what[256];

	if (top == NULL || !top->mapping)
		return;
	if (top->key && e->type == YAML_SCALAR_EVENT && strlen(text) < 200 &&
	    json_object_size(top->keys) < KEYS_MOST) {
		if (json_object_get(top->keys, text) != NULL) {
			(void)snprintf(what, sizeof(what), "the key \"%s\" is there twice", text);
			problem(l, &e->start_mark, what);
		}
		(void)json_object_set_new(top->keys, text, json_true());
	}
	top->key = !top->key;
}

static void
open_level(struct look *l, const yaml_event_t *e)
{
	node(l, e);
	if (l->depth == LIMIT_YAML_DEPTH) {
		problem(l, &e->start_mark, "too deep");
		l->over = 1;
		return;
	}
	l->levels[l->depth].mapping = e->type == YAML_MAPPING_START_EVENT;
	l->levels[l->depth].key = 1;
	l->levels[l->depth].keys = json_object();
	l->depth++;
}

static void
event(struct look *l, const yaml_event_t *e)
{
	if (++l->events > LIMIT_YAML_NODES) {
		problem(l, &e->start_mark, "too many values");
		l->over = 1;
		return;
	}
	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (l->documents++ == 1)
			problem(l, &e->start_mark, "a second document: agents read only one");
		break;
	case YAML_SCALAR_EVENT:
		node(l, e);
		break;
	case YAML_ALIAS_EVENT:
		problem(
		    l, &e->start_mark, "an alias: opampd refuses them in remote configurations");
		if (l->depth > 0 && l->levels[l->depth - 1].mapping)
			l->levels[l->depth - 1].key = !l->levels[l->depth - 1].key;
		break;
	case YAML_MAPPING_START_EVENT:
	case YAML_SEQUENCE_START_EVENT:
		open_level(l, e);
		break;
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		json_decref(l->levels[--l->depth].keys);
		break;
	default:
		break;
	}
}

static void
parser_problem(struct look *l, const yaml_parser_t *p)
{
	char what[256];
	yaml_mark_t at = p->problem_mark;

	(void)snprintf(what, sizeof(what), "%s%s%s", p->problem == NULL ? "not YAML" : p->problem,
	    p->context == NULL ? "" : ", ", p->context == NULL ? "" : p->context);
	if (p->error == YAML_READER_ERROR)
		(void)snprintf(what, sizeof(what), "byte %zu: %s", p->problem_offset + 1,
		    p->problem == NULL ? "not text" : p->problem);
	problem(l, &at, what);
}

void
yaml_problems(json_t *problems, const char *file, const char *text, size_t len)
{
	struct look *l = calloc(1, sizeof(*l));
	yaml_parser_t p;
	yaml_event_t e;
	int end = 0;

	if (l == NULL || yaml_parser_initialize(&p) != 1) {
		free(l);
		return;
	}
	l->problems = problems;
	l->file = file;
	yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p, (const unsigned char *)text, len);
	while (!end && !l->over && json_array_size(problems) < 100) {
		if (yaml_parser_parse(&p, &e) != 1) {
			parser_problem(l, &p);
			break;
		}
		end = e.type == YAML_STREAM_END_EVENT;
		event(l, &e);
		yaml_event_delete(&e);
	}
	while (l->depth > 0)
		json_decref(l->levels[--l->depth].keys);
	yaml_parser_delete(&p);
	free(l);
}
