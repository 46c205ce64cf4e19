/*
 * compose.c: the merge of local and remote files, and the second look (see compose.h).  merge only.
 */
#include "compose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compose_internal.h"
#include "privsep/limits.h"

#define HEAD                                                                                       \
	"# Made by opampd from local files, the server's configuration and what opampd injects.\n" \
	"# Changes here are lost; comments of the sources are not kept.\n"

/* Where a map stands, as far as the merge has to know. */
enum place {
	PLACE_ROOT,
	PLACE_SERVICE,
	PLACE_ELSEWHERE
};

int
compose_no_memory(struct composer *c)
{
	return error_set(c->err,
	    "the merged configuration is too large: more than 1,000,000 nodes, "
	    "or no memory");
}

/* Notes which items a list has: with 100,000 of them a search for each would take minutes. */
static int
note_items(struct composer *c, const struct yaml_node *list)
{
	size_t i;

	tree_free(&c->scratch);
	c->joined = list;
	c->items = tree_new_map(&c->scratch);
	for (i = 0; c->items != NULL && i < list->count; i++)
		if (list->items[i]->kind == YAML_SCALAR &&
		    tree_set(&c->scratch, c->items, list->items[i]->value, c->items) == -1)
			return -1;
	return c->items == NULL ? -1 : 0;
}

static int
join_lists(struct composer *c, struct yaml_node *into, const struct yaml_node *from)
{
	struct yaml_node *item;
	size_t i;

	if (c->joined != into && note_items(c, into) == -1)
		return compose_no_memory(c);
	for (i = 0; i < from->count; i++) {
		item = from->items[i];
		if (item->kind == YAML_SCALAR) {
			if (tree_get(c->items, item->value) != NULL)
				continue;
			if (tree_set(&c->scratch, c->items, item->value, c->items) == -1)
				return compose_no_memory(c);
		}
		if (tree_append(&c->tree, into, item) == -1)
			return compose_no_memory(c);
	}
	return 0;
}

static enum place
below(enum place at, const struct yaml_node *key)
{
	return at == PLACE_ROOT && tree_is(key, "service") ? PLACE_SERVICE : PLACE_ELSEWHERE;
}

/* Merges the map `from` into the map `into`, which both stand at `at`; their nodes are of one tree. */
static int
merge_maps(struct composer *c, struct yaml_node *into, const struct yaml_node *from, enum place at,
    int depth)
{
	struct yaml_node *mine, *value, *key;
	size_t i;

	if (depth > (int)LIMIT_YAML_DEPTH)
		return tree_error(c->err, from, "nested more than 64 deep");
	for (i = 0; i < from->count; i++) {
		key = from->pairs[i].key;
		value = from->pairs[i].value;
		mine = tree_get(into, key->value);
		if (mine != NULL && mine->kind == YAML_MAP && value->kind == YAML_MAP) {
			if (merge_maps(c, mine, value, below(at, key), depth + 1) == -1)
				return -1;
			continue;
		}
		if (mine != NULL && mine->kind == YAML_SEQ && value->kind == YAML_SEQ &&
		    at == PLACE_SERVICE && tree_is(key, "extensions")) {
			if (join_lists(c, mine, value) == -1)
				return -1;
			continue;
		}
		if (tree_set_node(&c->tree, into, key, value) == -1)
			return compose_no_memory(c);
	}
	return 0;
}

static int
has_split(const struct yaml_node *key)
{
	return strstr(key->value, "::") != NULL ||
	       (key->len > 0 && key->value[key->len - 1] == ':');
}

/*
 * Keys that the Collector reads as other ones than are written: it joins the keys of nested maps
 * by "::" and splits them again (confmap), but not inside lists; and a tag can make another text.
 */
static int
check_keys(const struct compose_input *in, const struct yaml_node *n, int in_list, int depth,
    struct error *err)
{
	const struct yaml_node *key;
	size_t i;

	if (depth > 2 * (int)LIMIT_YAML_DEPTH)
		return tree_error(err, n, "nested too deep");
	for (i = 0; n->kind == YAML_SEQ && i < n->count; i++)
		if (check_keys(in, n->items[i], 1, depth + 1, err) == -1)
			return -1;
	for (i = 0; n->kind == YAML_MAP && i < n->count; i++) {
		key = n->pairs[i].key;
		if (key->tag != NULL && strcmp(key->tag, "tag:yaml.org,2002:str") != 0)
			return tree_error(
			    err, key, "a key with the tag %.100s: leave the tag out", key->tag);
		if (in->inject && !in_list && has_split(key))
			return tree_error(err, key,
			    "the key \"%.100s\": the Collector splits keys at \"::\": write nested "
			    "maps",
			    key->value);
		if (check_keys(in, n->pairs[i].value, in_list, depth + 1, err) == -1)
			return -1;
	}
	return 0;
}

static int
load(const struct compose_input *in, struct yaml_tree *t, const char *name, const char *data,
    size_t len, enum yaml_trust trust, struct error *err)
{
	if (tree_load(t, name, data, len, trust, err) == -1)
		return -1;
	if (t->root == NULL || tree_is_null(t->root)) {
		t->root = NULL;
		return 0;
	}
	if (t->root->kind != YAML_MAP)
		return tree_error(err, t->root, "a configuration is a map of sections, not a %s",
		    t->root->kind == YAML_SEQ ? "list" : "single value");
	return check_keys(in, t->root, 0, 0, err);
}

void
compose_warn(struct composer *c, const struct yaml_node *at, const char *key, const char *what)
{
	char *text;
	size_t used;

	if (c->out == NULL) /* the second look makes the same things, for itself */
		return;
	text = c->out->warning;
	used = strlen(text);
	(void)snprintf(text + used, sizeof(c->out->warning) - used, "%s%s:%u:%u: %s %s",
	    used == 0 ? "" : "; ", at->file, at->line, at->column, key, what);
}

static int
merge_file(
    struct composer *c, const char *name, const char *data, size_t len, enum yaml_trust trust)
{
	struct yaml_tree t = {0};
	struct yaml_node *ours, *root;
	int r = load(c->in, &t, name, data, len, trust, c->err);

	if (r == 0 && t.root != NULL) {
		ours = tree_get(tree_get(t.root, "extensions"), "opamp");
		if (trust == YAML_REMOTE)
			r = expansion_check(t.root, &c->in->allowed, NULL, 0, c->err);
		if (r == 0 && c->in->inject && ours != NULL) {
			if (trust == YAML_REMOTE)
				r = tree_error(c->err, ours,
				    "extensions.opamp is opampd's: leave it out of the remote "
				    "configuration");
			else
				compose_warn(
				    c, ours, "extensions.opamp", "is replaced by opampd's own");
		}
		root = t.root;
		if (r == 0 && tree_adopt(&c->tree, &t) == -1)
			r = compose_no_memory(c);
		if (r == 0)
			r = merge_maps(c, c->tree.root, root, PLACE_ROOT, 0);
	}
	tree_free(&t);
	return r;
}

static int
compare_names(const void *a, const void *b)
{
	const struct offer_file *x = *(const struct offer_file *const *)a,
				*y = *(const struct offer_file *const *)b;
	size_t n = x->name.len < y->name.len ? x->name.len : y->name.len;
	int order = (x->name.len == 0) - (y->name.len == 0); /* the one without a name last */

	if (order == 0 && n > 0)
		order = memcmp(x->name.data, y->name.data, n);
	if (order == 0)
		order = (x->name.len > y->name.len) - (x->name.len < y->name.len);
	return order;
}

static int
merge_remote(struct composer *c)
{
	const struct offer *o = c->in->remote;
	const struct offer_file *sorted[LIMIT_CONFIG_FILES];
	char *name;
	size_t i;
	int r = 0;

	if (o == NULL)
		return 0;
	for (i = 0; i < o->count; i++)
		sorted[i] = &o->files[i];
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are sorted */
	qsort(sorted, o->count, sizeof(sorted[0]), compare_names);
	for (i = 0; i < o->count && r == 0; i++) {
		const struct offer_file *f = sorted[i];
		struct yaml_node *text; /* lives as long as the result: nodes borrow the name */

		name = f->name.len == 0 ? strdup("remote configuration")
					: strndup(f->name.data, f->name.len);
		text = name == NULL ? NULL : tree_new_plain(&c->tree, name);
		free(name);
		if (text == NULL)
			return compose_no_memory(c);
		r = merge_file(c, text->value, f->body.data, f->body.len, YAML_REMOTE);
	}
	return r;
}

static int
merge_sources(struct composer *c)
{
	size_t i, local = 0;
	int remote_done = 0;

	for (i = 0; i < c->in->order_count; i++) {
		const char *entry = c->in->order[i];

		if (strcmp(entry, "$REMOTE_CONFIG") == 0) {
			remote_done = 1;
			if (merge_remote(c) == -1)
				return -1;
		} else if (entry[0] != '$') {
			const struct compose_file *f;

			if (local == c->in->local_count)
				return error_set(
				    c->err, "fewer local files than agent.config_files names");
			f = &c->in->local[local++];
			if (merge_file(c, f->name, f->data, f->len, YAML_LOCAL) == -1)
				return -1;
		}
	}
	return remote_done ? 0 : merge_remote(c);
}

/* parse(emit(t)) must be t: libyaml's two halves check one another. */
static int
check_emitted(struct composer *c)
{
	const struct yaml_node *at;

	c->out->sum = tree_sum(c->tree.root);
	if (c->out->len > COMPOSE_READ_BACK)
		return 0;
	if (tree_matches(c->tree.root, c->out->data, c->out->len, &at, c->err) == 0)
		return 0;
	if (at == NULL)
		return error_prefix(c->err, "reading back what was written");
	return tree_error(
	    c->err, at, "this cannot be written so that it reads as it was meant: quote it");
}

int
compose_run(const struct compose_input *in, struct compose_result *out, struct error *err)
{
	struct composer c = {.in = in, .out = out, .err = err};
	int r = -1;

	memset(out, 0, sizeof(*out));
	c.tree.root = tree_new_map(&c.tree);
	if (c.tree.root == NULL)
		(void)compose_no_memory(&c);
	else if (merge_sources(&c) == 0 && (!in->inject || compose_inject(&c) == 0) &&
		 tree_emit(c.tree.root, HEAD, &out->data, &out->len, err) == 0)
		r = check_emitted(&c);
	if (r == -1) {
		free(out->data);
		out->data = NULL;
		out->len = 0;
	}
	tree_free(&c.scratch);
	tree_free(&c.tree);
	return r;
}

/* ---- the second look */

static int
collect_local(const struct compose_input *in, struct expansion_known *known, struct error *err)
{
	struct yaml_tree local = {0};
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < in->local_count; i++) {
		r = load(in, &local, in->local[i].name, in->local[i].data, in->local[i].len,
		    YAML_LOCAL, err);
		if (r == 0 && expansion_collect(local.root, known, 0) == -1)
			r = error_set(err, "%s: no memory for its expansions", in->local[i].name);
		tree_free(&local);
	}
	return r;
}

int
compose_check(const struct compose_input *in, const char *emitted, size_t len, struct error *err)
{
	struct expansion_known known = {0};
	struct yaml_tree tree = {0};
	int r = load(in, &tree, "result", emitted, len, YAML_REMOTE, err);

	if (r == 0 && tree.root == NULL)
		r = error_set(err, "the result is empty");
	if (r == 0 && in->sum != 0 && in->sum != tree_sum(tree.root))
		r = error_set(err,
		    "a text in it cannot be written so that it reads as it was meant: "
		    "quote those with unusual characters");
	if (r == 0)
		r = collect_local(in, &known, err);
	if (r == 0)
		r = expansion_check(tree.root, &in->allowed, &known, 0, err);
	if (r == 0 && in->inject)
		r = compose_check_injected(in, tree.root, err);
	expansion_known_free(&known);
	tree_free(&tree);
	return r == 0 ? 0 : error_prefix(err, "checking the merged configuration");
}
