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

#define INSTANCE_ID "service.instance.id"

struct composer {
	const struct compose_input *in;
	struct yaml_tree tree; /* the result */
	struct yaml_tree scratch;
	const struct yaml_node *joined; /* the list whose items are the keys of `items` */
	struct yaml_node *items;
	struct compose_result *out;
	struct error *err;
};

/* Where a map stands, as far as the merge has to know. */
enum place {
	PLACE_ROOT,
	PLACE_SERVICE,
	PLACE_ELSEWHERE
};

static int
no_memory(struct composer *c)
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
	const struct yaml_node *item;
	size_t i;

	if (c->joined != into && note_items(c, into) == -1)
		return no_memory(c);
	for (i = 0; i < from->count; i++) {
		item = from->items[i];
		if (item->kind == YAML_SCALAR) {
			if (tree_get(c->items, item->value) != NULL)
				continue;
			if (tree_set(&c->scratch, c->items, item->value, c->items) == -1)
				return no_memory(c);
		}
		if (tree_append(&c->tree, into, tree_copy(&c->tree, item, 0)) == -1)
			return no_memory(c);
	}
	return 0;
}

static enum place
below(enum place at, const struct yaml_node *key)
{
	return at == PLACE_ROOT && tree_is(key, "service") ? PLACE_SERVICE : PLACE_ELSEWHERE;
}

/* Merges the map `from` into the map `into`, which both stand at `at`. */
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
		if (tree_set_node(&c->tree, into, tree_copy(&c->tree, key, 0),
			tree_copy(&c->tree, value, depth)) == -1)
			return no_memory(c);
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
	if (tree_check_text(name, data, len, err) == -1 ||
	    tree_load(t, name, data, len, trust, err) == -1)
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

static void
warn(struct composer *c, const struct yaml_node *at, const char *key, const char *what)
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
	struct yaml_node *ours;
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
				warn(c, ours, "extensions.opamp", "is replaced by opampd's own");
		}
		if (r == 0)
			r = merge_maps(c, c->tree.root, t.root, PLACE_ROOT, 0);
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

/*
 * The map at `key`, made if there is none.  Something else there gives way, and that is told:
 * opampd's keys have to be in it.  NULL: the error is set.
 */
static struct yaml_node *
section(struct composer *c, struct yaml_node *map, const char *key)
{
	struct yaml_node *n;

	if (map == NULL)
		return NULL;
	n = tree_get(map, key);
	if (n != NULL && n->kind == YAML_MAP)
		return n;
	if (n != NULL && !tree_is_null(n))
		warn(c, n, key, "is not a map and is replaced by opampd's own keys");
	n = tree_new_map(&c->tree);
	if (n != NULL && tree_set(&c->tree, map, key, n) == 0)
		return n;
	(void)no_memory(c);
	return NULL;
}

static struct yaml_node *
list_of(struct composer *c, const char *one)
{
	struct yaml_node *n = tree_new_seq(&c->tree);

	if (n == NULL || tree_append(&c->tree, n, tree_new_plain(&c->tree, one)) == -1)
		return NULL;
	return n;
}

/* map: from section(), which has set the error when it is NULL. */
static int
put(struct composer *c, struct yaml_node *map, const char *key, struct yaml_node *value)
{
	if (map == NULL)
		return -1;
	if (value == NULL || tree_set(&c->tree, map, key, value) == -1)
		return no_memory(c);
	return 0;
}

/* A component beneath everything: the one that is there already stays. */
static int
put_nop(struct composer *c, const char *key)
{
	struct yaml_node *map = section(c, c->tree.root, key);

	if (map != NULL && tree_get(map, "nop") != NULL)
		return 0;
	return put(c, map, "nop", tree_new_map(&c->tree));
}

static int
has_content(const struct yaml_node *n)
{
	return n != NULL && !tree_is_null(n) && (n->kind == YAML_SCALAR || n->count > 0);
}

static int
inject_noop(struct composer *c)
{
	struct yaml_node *traces;

	if (c->in->noop != NOOP_PIPELINE ||
	    has_content(tree_get(tree_get(c->tree.root, "service"), "pipelines")))
		return 0;
	if (put_nop(c, "receivers") == -1 || put_nop(c, "exporters") == -1)
		return -1;
	traces = section(c, section(c, section(c, c->tree.root, "service"), "pipelines"), "traces");
	if (put(c, traces, "receivers", list_of(c, "nop")) == -1)
		return -1;
	return put(c, traces, "exporters", list_of(c, "nop"));
}

static struct yaml_node *
extension(struct composer *c)
{
	struct yaml_node *opamp = tree_new_map(&c->tree), *ws;
	char endpoint[64];

	if (opamp == NULL) {
		(void)no_memory(c);
		return NULL;
	}
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

static struct yaml_node *
attribute_item(struct composer *c, const struct compose_attribute *a)
{
	struct yaml_node *item = tree_new_map(&c->tree);

	if (item == NULL || tree_set(&c->tree, item, "name", tree_new_literal(&c->tree, a->name)) ||
	    tree_set(&c->tree, item, "value", tree_new_literal(&c->tree, a->value)))
		return NULL;
	return item;
}

/* Newer Collectors know a list of {name, value}; the flat map is the form that all know. */
static int
set_in_list(
    struct composer *c, struct yaml_node *list, const struct compose_attribute *a, int force)
{
	struct yaml_node *item;
	size_t i;
	int found = 0;

	for (i = 0; i < list->count; i++) {
		if (!tree_is(tree_get(list->items[i], "name"), a->name))
			continue;
		found = 1;
		if (!force)
			return 0;
		item = attribute_item(c, a); /* whole: a "type" of theirs goes as well */
		if (item == NULL)
			return no_memory(c);
		list->items[i] = item;
	}
	if (!found && tree_append(&c->tree, list, attribute_item(c, a)) == -1)
		return no_memory(c);
	return 0;
}

static int
set_attribute(
    struct composer *c, struct yaml_node *resource, const struct compose_attribute *a, int force)
{
	struct yaml_node *list = tree_get(resource, "attributes");
	int flat = tree_get(resource, a->name) != NULL;

	if (flat && !force)
		return 0;
	if (list != NULL && list->kind == YAML_SEQ) {
		if (set_in_list(c, list, a, force) == -1)
			return -1;
		if (!flat) /* both forms in one file: the forced one is right in both */
			return 0;
	}
	return put(c, resource, a->name, tree_new_literal(&c->tree, a->value));
}

static int
inject_resource(struct composer *c, struct yaml_node *telemetry)
{
	struct yaml_node *resource = section(c, telemetry, "resource");
	const struct compose_attribute *a;
	size_t i;

	if (resource == NULL)
		return -1;
	for (i = 0; i < c->in->attribute_count; i++) {
		a = &c->in->attributes[i];
		if (set_attribute(c, resource, a, strcmp(a->name, INSTANCE_ID) == 0) == -1)
			return -1;
	}
	return 0;
}

static int
has_item(const struct yaml_node *list, const char *text)
{
	size_t i;

	for (i = 0; list != NULL && list->kind == YAML_SEQ && i < list->count; i++)
		if (tree_is(list->items[i], text))
			return 1;
	return 0;
}

static int
inject_start(struct composer *c, struct yaml_node *service)
{
	struct yaml_node *list;

	if (service == NULL)
		return -1;
	list = tree_get(service, "extensions");
	if (list == NULL || list->kind != YAML_SEQ) {
		if (list != NULL && !tree_is_null(list))
			warn(c, list, "service.extensions",
			    "is not a list and is replaced by opampd's own");
		return put(c, service, "extensions", list_of(c, "opamp"));
	}
	if (!has_item(list, "opamp") &&
	    tree_append(&c->tree, list, tree_new_plain(&c->tree, "opamp")) == -1)
		return no_memory(c);
	return 0;
}

static int
inject_logs(struct composer *c, struct yaml_node *telemetry)
{
	struct yaml_node *logs = section(c, telemetry, "logs");

	if (put(c, logs, "encoding", tree_new_plain(&c->tree, "json")) == -1 ||
	    put(c, logs, "output_paths", list_of(c, "stdout")) == -1)
		return -1;
	return put(c, logs, "error_output_paths", list_of(c, "stderr"));
}

static int
inject(struct composer *c)
{
	struct yaml_node *extensions, *opamp, *service, *telemetry;

	extensions = section(c, c->tree.root, "extensions");
	if (extensions == NULL || (opamp = extension(c)) == NULL ||
	    put(c, extensions, "opamp", opamp) == -1)
		return -1;
	service = section(c, c->tree.root, "service");
	telemetry = section(c, service, "telemetry");
	if (telemetry == NULL || inject_start(c, service) == -1 || inject_logs(c, telemetry) == -1)
		return -1;
	return inject_resource(c, telemetry);
}

/* parse(emit(t)) must be t: libyaml's two halves check one another. */
static int
check_emitted(struct composer *c)
{
	struct yaml_tree again = {0};
	const struct yaml_node *at;
	int r = tree_load(&again, "result", c->out->data, c->out->len, YAML_REMOTE, c->err);

	if (r == -1) {
		error_prefix(c->err, "reading back what was written");
	} else {
		at = again.root == NULL ? c->tree.root
					: tree_difference(c->tree.root, again.root, 0);
		if (at != NULL)
			r = tree_error(c->err, at,
			    "this cannot be written so that it reads as it was meant: quote it");
	}
	tree_free(&again);
	return r;
}

int
compose_run(const struct compose_input *in, struct compose_result *out, struct error *err)
{
	struct composer c = {.in = in, .out = out, .err = err};
	int r = -1;

	memset(out, 0, sizeof(*out));
	c.tree.root = tree_new_map(&c.tree);
	if (c.tree.root == NULL)
		(void)no_memory(&c);
	else if (merge_sources(&c) == 0 &&
		 (!in->inject || (inject_noop(&c) == 0 && inject(&c) == 0)) &&
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
attribute_forced(
    struct composer *c, const struct yaml_node *resource, const struct compose_attribute *a)
{
	const struct yaml_node *list = tree_get(resource, "attributes"),
			       *flat = tree_get(resource, a->name),
			       *want = tree_new_literal(&c->tree, a->value), *item;
	size_t i, found = flat != NULL;

	if (flat != NULL && !tree_equal(flat, want, 0))
		return 0;
	for (i = 0; list != NULL && list->kind == YAML_SEQ && i < list->count; i++) {
		item = list->items[i];
		if (!tree_is(tree_get(item, "name"), a->name))
			continue;
		if (!tree_equal(tree_get(item, "value"), want, 0))
			return 0;
		found++;
	}
	return want != NULL && found > 0;
}

static int
check_telemetry(struct composer *c, const struct yaml_node *telemetry)
{
	const struct yaml_node *logs = tree_get(telemetry, "logs"),
			       *resource = tree_get(telemetry, "resource");
	struct yaml_node *want = tree_new_map(&c->tree);
	size_t i;

	if (want == NULL || inject_logs(c, want) == -1)
		return no_memory(c);
	want = tree_get(want, "logs");
	for (i = 0; i < want->count; i++)
		if (!tree_equal(want->pairs[i].value, tree_get(logs, want->pairs[i].key->value), 0))
			return error_set(c->err,
			    "service.telemetry.logs.%s is not as opampd made it",
			    want->pairs[i].key->value);
	for (i = 0; i < c->in->attribute_count; i++)
		if (strcmp(c->in->attributes[i].name, INSTANCE_ID) == 0 &&
		    !attribute_forced(c, resource, &c->in->attributes[i]))
			return error_set(c->err,
			    "service.telemetry.resource: " INSTANCE_ID " is not as opampd made it");
	return 0;
}

static int
check_injected(const struct compose_input *in, const struct yaml_node *root, struct error *err)
{
	const struct yaml_node *opamp = tree_get(tree_get(root, "extensions"), "opamp"),
			       *service = tree_get(root, "service");
	struct composer c = {.in = in, .err = err};
	const struct yaml_node *want = extension(&c);
	int r;

	if (want == NULL)
		r = -1;
	else if (!tree_equal(want, opamp, 0))
		r = error_set(err, "extensions.opamp is not as opampd made it");
	else if (!has_item(tree_get(service, "extensions"), "opamp"))
		r = error_set(err, "service.extensions does not start opamp");
	else
		r = check_telemetry(&c, tree_get(service, "telemetry"));
	tree_free(&c.tree);
	return r;
}

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
	if (r == 0)
		r = collect_local(in, &known, err);
	if (r == 0)
		r = expansion_check(tree.root, &in->allowed, &known, 0, err);
	if (r == 0 && in->inject)
		r = check_injected(in, tree.root, err);
	expansion_known_free(&known);
	tree_free(&tree);
	return r == 0 ? 0 : error_prefix(err, "checking the merged configuration");
}
