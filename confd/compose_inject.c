/*
 * compose_inject.c: what opampd injects into a Collector's configuration, and the second look at it:
 * the opamp extension, its start, logs that link can read, resource attributes, and a no-op pipeline
 * beneath everything where one is needed.  merge only.
 */
#include "compose_internal.h"

#include <stdio.h>
#include <string.h>

#define INSTANCE_ID "service.instance.id"

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
		compose_warn(c, n, key, "is not a map and is replaced by opampd's own keys");
	n = tree_new_map(&c->tree);
	if (n != NULL && tree_set(&c->tree, map, key, n) == 0)
		return n;
	(void)compose_no_memory(c);
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
		return compose_no_memory(c);
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
		(void)compose_no_memory(c);
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
			return compose_no_memory(c);
		list->items[i] = item;
	}
	if (!found && tree_append(&c->tree, list, attribute_item(c, a)) == -1)
		return compose_no_memory(c);
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
			compose_warn(c, list, "service.extensions",
			    "is not a list and is replaced by opampd's own");
		return put(c, service, "extensions", list_of(c, "opamp"));
	}
	if (!has_item(list, "opamp") &&
	    tree_append(&c->tree, list, tree_new_plain(&c->tree, "opamp")) == -1)
		return compose_no_memory(c);
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

int
compose_inject(struct composer *c)
{
	struct yaml_node *extensions, *opamp, *service, *telemetry;

	if (inject_noop(c) == -1)
		return -1;
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
		return compose_no_memory(c);
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

int
compose_check_injected(
    const struct compose_input *in, const struct yaml_node *root, struct error *err)
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
