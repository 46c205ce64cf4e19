/*
 * compose_setup.h: what the tests of the merge are made with: files, the result as a tree, refusals.
 */
#ifndef TESTS_COMPOSE_SETUP_H
#define TESTS_COMPOSE_SETUP_H

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "confd/compose.h"
#include "privsep/limits.h"

#define UID "0190d5c5-0000-7000-8000-000000000001"

struct setup {
	struct compose_input in;
	struct offer offer;
	struct offer_file files[8];
	struct compose_file local[8];
	const char *order[8];
	struct compose_attribute attributes[2];
};

static inline struct offer_part
part(const char *s)
{
	return (struct offer_part){s, strlen(s)};
}

static inline void
init(struct setup *s)
{
	memset(s, 0, sizeof(*s));
	s->in.inject = 1;
	s->in.uid_text = UID;
	s->in.port = 4321;
	s->attributes[0] = (struct compose_attribute){"service.instance.id", s->in.uid_text};
	s->attributes[1] = (struct compose_attribute){"env", "a$b"};
	s->in.attributes = s->attributes;
	s->in.attribute_count = 2;
	s->in.order = s->order;
	s->in.local = s->local;
	s->offer.files = s->files;
}

static inline void
remote(struct setup *s, const char *name, const char *body)
{
	s->files[s->offer.count].name = part(name);
	s->files[s->offer.count++].body = part(body);
	s->in.remote = &s->offer;
}

static inline void
local(struct setup *s, const char *name, const char *body)
{
	s->local[s->in.local_count++] = (struct compose_file){name, body, strlen(body)};
	s->order[s->in.order_count++] = name;
}

/* The result as a tree; the emitted bytes also pass the second look. */
static inline struct yaml_tree
composed(struct setup *s)
{
	struct compose_result out;
	struct yaml_tree t = {0};
	struct error err = {""};

	if (compose_run(&s->in, &out, &err) == -1)
		fail_msg("%s", err.text);
	s->in.sum = out.sum;
	if (compose_check(&s->in, out.data, out.len, &err) == -1)
		fail_msg("%s", err.text);
	/* the copy of the text must outlive the tree's names only */
	assert_int_equal(tree_load(&t, "r", out.data, out.len, YAML_REMOTE, &err), 0);
	free(out.data);
	return t;
}

static inline void
expect_refused(struct setup *s, const char *want)
{
	struct compose_result out;
	struct error err = {""};

	assert_int_equal(compose_run(&s->in, &out, &err), -1);
	if (strstr(err.text, want) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", want, err.text);
}

static inline struct yaml_node *
at(const struct yaml_tree *t, const char *a, const char *b, const char *c)
{
	struct yaml_node *n = tree_get(t->root, a);

	if (b != NULL)
		n = tree_get(n, b);
	return c == NULL ? n : tree_get(n, c);
}

/* A fresh setup; inject: a Collector. */
static inline struct setup *
begin(struct setup *s, int inject)
{
	init(s);
	s->in.inject = inject;
	return s;
}

static inline void
place(struct setup *s, const char *entry)
{
	s->order[s->in.order_count++] = entry;
}

/* composed(), and what the log would be told */
static inline void
compose_told(struct setup *s, struct yaml_tree *t, char warning[1024])
{
	struct compose_result out;
	struct error err;

	if (compose_run(&s->in, &out, &err) == -1)
		fail_msg("%s", err.text);
	memcpy(warning, out.warning, sizeof(out.warning));
	assert_memory_equal(out.data, "# Made by opampd", 16);
	free(out.data);
	*t = composed(s);
}

static inline void
refused(struct setup *f, const char *words)
{
	struct compose_result out;
	struct error err;

	if (compose_run(&f->in, &out, &err) == 0)
		fail_msg("taken, not refused: %s", words);
	assert_null(out.data);
	if (strncmp(err.text, words, strlen(words)) != 0)
		fail_msg("got \"%s\", not \"%s\"", err.text, words);
	expansion_list_free(&f->in.allowed);
}

/* "a/b/0": keys, and places in lists */
static inline const struct yaml_node *
node_at(const struct yaml_tree *t, const char *path)
{
	char *copy = strdup(path), *save = NULL, *key;
	const struct yaml_node *n = t->root;

	for (key = strtok_r(copy, "/", &save); key != NULL; key = strtok_r(NULL, "/", &save)) {
		size_t i = (size_t)strtoul(key, NULL, 10);

		if (n != NULL && n->kind == YAML_SEQ)
			n = i < n->count ? n->items[i] : NULL;
		else
			n = tree_get(n, key);
	}
	free(copy);
	return n;
}

static inline void
is(const struct yaml_tree *t, const char *path, const char *want)
{
	const struct yaml_node *n = node_at(t, path);

	if (!tree_is(n, want))
		fail_msg("%s: \"%s\", not \"%s\"", path, n == NULL ? "(none)" : n->value, want);
}

static inline void
check_injection(const struct yaml_tree *t)
{
	is(t, "extensions/opamp/instance_uid", UID);
	is(t, "extensions/opamp/server/ws/endpoint", "ws://127.0.0.1:4321/v1/opamp");
	is(t, "extensions/opamp/server/ws/tls/insecure", "true");
	is(t, "extensions/opamp/capabilities/reports_available_components", "false");
	assert_int_equal(node_at(t, "extensions/opamp")->count, 3);
	is(t, "service/telemetry/logs/encoding", "json");
	is(t, "service/telemetry/logs/output_paths/0", "stdout");
	is(t, "service/telemetry/logs/error_output_paths/0", "stderr");
}

#endif
