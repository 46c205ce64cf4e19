/*
 * compose.c: the merge (see compose.h).  merge only.
 */
#include "compose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/limits.h"

#define HEAD                                                                                       \
	"# Made by opampd from local files, the server's configuration and what opampd injects.\n" \
	"# Changes here are lost; comments of the sources are not kept.\n"

struct composer {
	const struct compose_input *in;
	struct yaml_tree tree; /* the result */
	struct yaml_tree *sources;
	size_t source_count;
	struct compose_result *out;
	struct error *err;
};

static int
no_memory(struct composer *c)
{
	return error_set(c->err,
	    "the merged configuration is too large: more than 1,000,000 nodes, "
	    "or no memory");
}

static int
is_extensions(const char *path)
{
	return strcmp(path, ".service.extensions") == 0;
}

static int
join_lists(struct composer *c, struct yaml_node *into, const struct yaml_node *from)
{
	size_t i, k;

	for (i = 0; i < from->count; i++) {
		for (k = 0; k < into->count; k++)
			if (from->items[i]->kind == YAML_SCALAR &&
			    into->items[k]->kind == YAML_SCALAR &&
			    into->items[k]->len == from->items[i]->len &&
			    memcmp(into->items[k]->value, from->items[i]->value,
				from->items[i]->len) == 0)
				break;
		if (k == into->count &&
		    tree_append(&c->tree, into, tree_copy(&c->tree, from->items[i], 0)) == -1)
			return no_memory(c);
	}
	return 0;
}

/* Merges the map `from` into the map `into`; path is what the two are, such as ".service". */
static int
merge_maps(struct composer *c, struct yaml_node *into, const struct yaml_node *from,
    const char *path, int depth)
{
	struct yaml_node *mine, *value, *key;
	char below[256];
	size_t i;

	if (depth > (int)LIMIT_YAML_DEPTH)
		return tree_error(c->err, from, "nested more than 64 deep");
	for (i = 0; i < from->count; i++) {
		value = from->pairs[i].value;
		(void)snprintf(below, sizeof(below), "%s.%s", path, from->pairs[i].key->value);
		mine = tree_get(into, from->pairs[i].key->value);
		if (mine != NULL && mine->kind == YAML_MAP && value->kind == YAML_MAP) {
			if (merge_maps(c, mine, value, below, depth + 1) == -1)
				return -1;
			continue;
		}
		if (mine != NULL && mine->kind == YAML_SEQ && value->kind == YAML_SEQ &&
		    is_extensions(below)) {
			if (join_lists(c, mine, value) == -1)
				return -1;
			continue;
		}
		/* a map without content over a map takes nothing away */
		if (mine != NULL && mine->kind == YAML_MAP && value->kind == YAML_SCALAR &&
		    value->len == 0 && value->style == 1)
			continue;
		key = tree_copy(&c->tree, from->pairs[i].key, 0);
		if (tree_set_node(&c->tree, into, key, tree_copy(&c->tree, value, depth)) == -1)
			return no_memory(c);
	}
	return 0;
}

static int
is_empty_document(const struct yaml_node *root)
{
	return root == NULL || (root->kind == YAML_SCALAR && root->len == 0 && root->style == 1);
}

static int
merge_file(
    struct composer *c, const char *name, const char *data, size_t len, enum yaml_trust trust)
{
	struct yaml_tree *t = &c->sources[c->source_count++];
	struct yaml_node *ours;

	if (tree_load(t, name, data, len, trust, c->err) == -1)
		return -1;
	if (is_empty_document(t->root))
		return 0;
	if (t->root->kind != YAML_MAP)
		return tree_error(c->err, t->root, "a configuration is a map of sections, not a %s",
		    t->root->kind == YAML_SEQ ? "list" : "single value");
	ours = tree_get(tree_get(t->root, "extensions"), "opamp");
	if (trust == YAML_REMOTE) {
		if (expansion_check(t->root, &c->in->allowed, NULL, 0, c->err) == -1)
			return -1;
		if (c->in->inject && ours != NULL)
			return tree_error(c->err, ours,
			    "extensions.opamp is opampd's: leave it out of the remote "
			    "configuration");
	} else if (c->in->inject && ours != NULL) {
		(void)snprintf(c->out->warning, sizeof(c->out->warning),
		    "%s:%u: extensions.opamp is replaced by opampd's own", name, ours->line);
	}
	return merge_maps(c, c->tree.root, t->root, "", 0);
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
	qsort(sorted, o->count, sizeof(sorted[0]), compare_names);
	for (i = 0; i < o->count && r == 0; i++) {
		const struct offer_file *f = sorted[i];
		struct yaml_node *text; /* lives as long as the result: nodes borrow the name */

		name = f->name.len == 0 ? strdup("remote configuration")
					: strndup(f->name.data, f->name.len);
		text = name == NULL ? NULL : tree_new_plain(&c->tree, name);
		free(name);
		if (text == NULL)
			return no_memory(c);
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

/* The map at `key`, made if it is not there; something else there gives way. */
static struct yaml_node *
section(struct composer *c, struct yaml_node *map, const char *key)
{
	struct yaml_node *n = tree_get(map, key);

	if (n == NULL || n->kind != YAML_MAP) {
		n = tree_new_map(&c->tree);
		if (n == NULL || map == NULL || tree_set(&c->tree, map, key, n) == -1)
			return NULL;
	}
	return n;
}

static struct yaml_node *
list_of(struct composer *c, const char *one)
{
	struct yaml_node *n = tree_new_seq(&c->tree);

	if (n == NULL || tree_append(&c->tree, n, tree_new_plain(&c->tree, one)) == -1)
		return NULL;
	return n;
}

static int
put(struct composer *c, struct yaml_node *map, const char *key, struct yaml_node *value)
{
	if (map == NULL || value == NULL || tree_set(&c->tree, map, key, value) == -1)
		return no_memory(c);
	return 0;
}

static int
inject_noop(struct composer *c)
{
	struct yaml_node *service = tree_get(c->tree.root, "service"), *pipeline;

	if (c->in->noop != NOOP_PIPELINE || tree_get(service, "pipelines") != NULL)
		return 0;
	if (put(c, section(c, c->tree.root, "receivers"), "nop", tree_new_map(&c->tree)) == -1 ||
	    put(c, section(c, c->tree.root, "exporters"), "nop", tree_new_map(&c->tree)) == -1)
		return -1;
	pipeline =
	    section(c, section(c, section(c, c->tree.root, "service"), "pipelines"), "traces");
	if (put(c, pipeline, "receivers", list_of(c, "nop")) == -1)
		return -1;
	return put(c, pipeline, "exporters", list_of(c, "nop"));
}

static struct yaml_node *
extension(struct composer *c)
{
	struct yaml_node *opamp = tree_new_map(&c->tree), *ws;
	char endpoint[64];

	(void)snprintf(endpoint, sizeof(endpoint), "ws://127.0.0.1:%u/v1/opamp", c->in->port);
	ws = section(c, section(c, opamp, "server"), "ws");
	if (put(c, opamp, "instance_uid", tree_new_literal(&c->tree, c->in->uid_text)) == -1 ||
	    put(c, ws, "endpoint", tree_new_literal(&c->tree, endpoint)) == -1 ||
	    put(c, section(c, ws, "tls"), "insecure", tree_new_plain(&c->tree, "true")) == -1 ||
	    put(c, section(c, opamp, "capabilities"), "reports_available_components",
		tree_new_plain(&c->tree, "false")) == -1)
		return NULL;
	return opamp;
}

/* Newer Collectors know a list of {name, value}; the flat map is the form that all know. */
static int
set_in_list(
    struct composer *c, struct yaml_node *list, const struct compose_attribute *a, int force)
{
	struct yaml_node *item;
	size_t i;

	for (i = 0; i < list->count; i++)
		if (tree_is(tree_get(list->items[i], "name"), a->name)) {
			if (!force)
				return 0;
			return put(
			    c, list->items[i], "value", tree_new_literal(&c->tree, a->value));
		}
	item = tree_new_map(&c->tree);
	if (put(c, item, "name", tree_new_literal(&c->tree, a->name)) == -1 ||
	    put(c, item, "value", tree_new_literal(&c->tree, a->value)) == -1)
		return -1;
	return tree_append(&c->tree, list, item) == -1 ? no_memory(c) : 0;
}

static int
inject_resource(struct composer *c, struct yaml_node *telemetry)
{
	struct yaml_node *resource = section(c, telemetry, "resource"),
			 *list = tree_get(resource, "attributes");
	size_t i;

	if (resource == NULL)
		return no_memory(c);
	for (i = 0; i < c->in->attribute_count; i++) {
		const struct compose_attribute *a = &c->in->attributes[i];
		int force = strcmp(a->name, "service.instance.id") == 0;

		if (list != NULL && list->kind == YAML_SEQ) {
			if (set_in_list(c, list, a, force) == -1)
				return -1;
		} else if (force || tree_get(resource, a->name) == NULL) {
			if (put(c, resource, a->name, tree_new_literal(&c->tree, a->value)) == -1)
				return -1;
		}
	}
	return 0;
}

static int
inject(struct composer *c)
{
	struct yaml_node *service, *list, *telemetry, *logs;
	size_t i;

	if (put(c, section(c, c->tree.root, "extensions"), "opamp", extension(c)) == -1)
		return -1;
	service = section(c, c->tree.root, "service");
	list = tree_get(service, "extensions");
	if (list == NULL || list->kind != YAML_SEQ) {
		list = tree_new_seq(&c->tree);
		if (put(c, service, "extensions", list) == -1)
			return -1;
	}
	for (i = 0; i < list->count && !tree_is(list->items[i], "opamp"); i++)
		;
	if (i == list->count &&
	    tree_append(&c->tree, list, tree_new_plain(&c->tree, "opamp")) == -1)
		return no_memory(c);
	telemetry = section(c, service, "telemetry");
	logs = section(c, telemetry, "logs");
	if (put(c, logs, "encoding", tree_new_plain(&c->tree, "json")) == -1 ||
	    put(c, logs, "output_paths", list_of(c, "stdout")) == -1 ||
	    put(c, logs, "error_output_paths", list_of(c, "stderr")) == -1)
		return -1;
	return inject_resource(c, telemetry);
}

/* parse(emit(t)) must be t: libyaml's two halves check one another. */
static int
check_emitted(struct composer *c)
{
	struct yaml_tree again = {0};
	int r = tree_load(&again, "result", c->out->data, c->out->len, YAML_REMOTE, c->err);

	if (r == -1)
		error_prefix(c->err, "reading back what was written");
	else if (!tree_equal(again.root, c->tree.root, 0))
		r = error_set(c->err,
		    "the written configuration does not read as it was meant: some value "
		    "cannot be kept; quote unusual texts");
	tree_free(&again);
	return r;
}

int
compose_run(const struct compose_input *in, struct compose_result *out, struct error *err)
{
	struct composer c = {.in = in, .out = out, .err = err};
	size_t i, files = in->local_count + (in->remote == NULL ? 0 : in->remote->count);
	int r = -1;

	memset(out, 0, sizeof(*out));
	c.sources = calloc(files + 1, sizeof(*c.sources));
	c.tree.root = tree_new_map(&c.tree);
	if (c.sources == NULL || c.tree.root == NULL) {
		no_memory(&c);
		goto out;
	}
	if (merge_sources(&c) == -1)
		goto out;
	if (in->inject && (inject_noop(&c) == -1 || inject(&c) == -1))
		goto out;
	if (tree_emit(c.tree.root, HEAD, &out->data, &out->len, err) == -1)
		goto out;
	r = check_emitted(&c);
	if (r == -1) {
		free(out->data);
		out->data = NULL;
	}
out:
	for (i = 0; c.sources != NULL && i < c.source_count; i++)
		tree_free(&c.sources[i]);
	free(c.sources);
	tree_free(&c.tree);
	return r;
}

static int
check_injected(const struct compose_input *in, const struct yaml_node *root, struct error *err)
{
	const struct yaml_node *opamp = tree_get(tree_get(root, "extensions"), "opamp"), *list, *ws;
	struct yaml_tree scratch = {0};
	struct composer c = {.in = in, .err = err};
	struct yaml_node *want;
	size_t i;
	int r;

	c.tree = scratch;
	want = extension(&c);
	ws = tree_get(tree_get(opamp, "server"), "ws");
	r = want != NULL && opamp != NULL && tree_equal(opamp, want, 0) && ws != NULL ? 0 : -1;
	tree_free(&c.tree);
	if (r == -1)
		return error_set(err, "extensions.opamp is not as opampd made it");
	list = tree_get(tree_get(root, "service"), "extensions");
	for (i = 0; list != NULL && list->kind == YAML_SEQ && i < list->count; i++)
		if (tree_is(list->items[i], "opamp"))
			return 0;
	return error_set(err, "service.extensions does not start opamp");
}

int
compose_check(const struct compose_input *in, const char *emitted, size_t len, struct error *err)
{
	struct expansion_list known = {0};
	struct yaml_tree tree = {0}, local;
	size_t i;
	int r = tree_load(&tree, "result", emitted, len, YAML_REMOTE, err);

	for (i = 0; r == 0 && i < in->local_count; i++) {
		memset(&local, 0, sizeof(local));
		r = tree_load(&local, in->local[i].name, in->local[i].data, in->local[i].len,
		    YAML_LOCAL, err);
		if (r == 0 && expansion_collect(local.root, &known, 0) == -1)
			r = error_set(err, "%s: cannot list its expansions", in->local[i].name);
		tree_free(&local);
	}
	if (r == 0)
		r = expansion_check(tree.root, &in->allowed, &known, 0, err);
	if (r == 0 && in->inject)
		r = check_injected(in, tree.root, err);
	expansion_list_free(&known);
	tree_free(&tree);
	return r == 0 ? 0 : error_prefix(err, "checking the merged configuration");
}
