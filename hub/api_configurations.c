/*
 * api_configurations.c: configurations, versions, assignments and offers of connection settings, in
 * the API.  opamphub-store.
 */
#include <stdlib.h>
#include <string.h>

#include "fleet_settings.h"
#include "config_files.h"
#include "web_inside.h"

#define NAME_MOST    128
#define COMMENT_MOST 1024

/* The end of a request that changed something: r of a fleet function. */
static void
changed(struct web_request *q, int r, int status, json_t *body, const struct error *err)
{
	if (r == -1) {
		json_decref(body);
		web_fault(q, store_failed(fleet_store(q->web->fleet)) ? 500 : 422, "%s", err->text);
	} else
		web_json(q, status, body);
}

static void
deleted(struct web_request *q, int r, const struct error *err)
{
	if (r == -1)
		web_fault(q, 500, "%s", err->text);
	else if (r == 0)
		web_fault(q, 404, "it is not there");
	else
		web_reply(q, 204, NULL, "", 0);
}

/* ---- versions */

static json_t *
version_item(const struct configuration_version *v)
{
	return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "id", (json_int_t)v->id,
	    "configuration", (json_int_t)v->configuration, "number", (json_int_t)v->number,
	    "created", api_time(v->created), "author", api_text(v->author), "comment",
	    api_text(v->comment), "hash",
	    api_hex((struct bytes){(const char *)v->hash, sizeof(v->hash)}));
}

static int
add_version(void *ctx, const struct configuration_version *v)
{
	(void)json_array_append_new(ctx, version_item(v));
	return 0;
}

static int
put_version(void *ctx, const struct configuration_version *v)
{
	json_t **j = ctx;

	*j = version_item(v);
	(void)json_object_set_new(
	    *j, "files", json_loadb(v->files.data, v->files.len, JSON_ALLOW_NUL, NULL));
	return 0;
}

static void
get_version(struct web_request *q, uint64_t id)
{
	json_t *j = NULL;
	struct error err;
	int r;

	if (web_may_be_long(q) == -1)
		return;
	r = store_version_get(fleet_store(q->web->fleet), id, put_version, &j, &err);
	if (r == 1)
		web_json(q, 200, j);
	else if (r == 0)
		web_fault(q, 404, "there is no such version");
	else
		web_fault(q, 500, "%s", err.text);
}

static void
new_version(struct web_request *q, uint64_t configuration)
{
	json_t *body = web_body(q), *files;
	struct bytes comment;
	struct error err;
	uint64_t id = 0;
	int r;

	if (body == NULL)
		return;
	files = json_object_get(body, "files");
	comment = api_member(body, "comment");
	if (comment.data == NULL)
		comment = (struct bytes){"", 0};
	r = comment.len > COMMENT_MOST
		? error_set(&err, "comment: longer than %d bytes", COMMENT_MOST)
		: config_files_check(files, &err);
	if (r == 0)
		r = fleet_version_new(
		    q->web->fleet, configuration, files, api_author(q), comment, &id, &err);
	changed(q, r, 201, json_pack("{s:I}", "id", (json_int_t)id), &err);
	json_decref(body);
}

/* ---- configurations */

struct find {
	uint64_t id; /* 0: all */
	json_t *items;
};

static int
add_configuration(void *ctx, const struct configuration *c)
{
	struct find *f = ctx;

	if (c->deleted || (f->id != 0 && f->id != c->id))
		return 0;
	(void)json_array_append_new(
	    f->items, json_pack("{s:I, s:o, s:o, s:o, s:I}", "id", (json_int_t)c->id, "name",
			  api_text(c->name), "created", api_time(c->created), "latest",
			  c->latest == 0 ? json_null() : json_integer((json_int_t)c->latest),
			  "versions", (json_int_t)c->versions));
	return 0;
}

static void
list_configurations(struct web_request *q)
{
	struct find f = {0, json_array()};
	struct error err;

	if (store_configurations(fleet_store(q->web->fleet), add_configuration, &f, &err) == -1)
		web_fault(q, 500, "%s", err.text);
	else
		web_json(q, 200, json_pack("{s:O}", "items", f.items));
	json_decref(f.items);
}

static void
new_configuration(struct web_request *q)
{
	json_t *body = web_body(q);
	struct bytes name;
	struct error err;
	uint64_t id = 0;
	size_t i;
	int r = 0;

	if (body == NULL)
		return;
	name = api_member(body, "name");
	if (name.data == NULL || name.len == 0 || name.len > NAME_MOST)
		r = error_set(&err, "name: a text of 1 to %d bytes", NAME_MOST);
	for (i = 0; r == 0 && i < name.len; i++)
		if ((unsigned char)name.data[i] < ' ' || name.data[i] == 127)
			r = error_set(&err, "name: a control character in it");
	if (r == 0)
		r = fleet_configuration_new(q->web->fleet, name, &id, &err);
	changed(q, r, 201, json_pack("{s:I}", "id", (json_int_t)id), &err);
	json_decref(body);
}

/* The configuration with its versions; NULL: it was answered. */
static json_t *
one_configuration(struct web_request *q, uint64_t id)
{
	struct find f = {id, json_array()};
	struct error err;
	json_t *j = NULL;

	if (store_configurations(fleet_store(q->web->fleet), add_configuration, &f, &err) == -1)
		web_fault(q, 500, "%s", err.text);
	else if (json_array_size(f.items) == 0)
		web_fault(q, 404, "there is no such configuration");
	else
		j = json_incref(json_array_get(f.items, 0));
	json_decref(f.items);
	return j;
}

static void
list_versions(struct web_request *q, json_t *configuration, uint64_t id)
{
	json_t *items = json_array();
	struct error err;

	if (store_versions(fleet_store(q->web->fleet), id, add_version, items, &err) == -1) {
		web_fault(q, 500, "%s", err.text);
		json_decref(items);
		return;
	}
	(void)json_object_set_new(configuration, "items", items);
	web_json(q, 200, json_incref(configuration));
}

static int
configuration(struct web_request *q, char **part, size_t count, uint64_t id)
{
	struct error err;
	json_t *j;

	if (count == 2 && q->method == METHOD_DELETE) {
		deleted(q, fleet_configuration_delete(q->web->fleet, id, &err), &err);
		return 1;
	}
	if (count > 3 || (count == 3 && strcmp(part[2], "versions") != 0) ||
	    (count == 2 && q->method != METHOD_GET))
		return 0;
	j = one_configuration(q, id);
	if (j == NULL)
		return 1;
	if (q->method == METHOD_GET)
		list_versions(q, j, id);
	else if (q->method == METHOD_POST)
		new_version(q, id);
	json_decref(j);
	return q->method != METHOD_DELETE;
}

int
api_configurations(struct web_request *q, char **part, size_t count)
{
	uint64_t id;

	if (count == 1 && strcmp(part[0], "configurations") == 0 && q->method == METHOD_GET)
		list_configurations(q);
	else if (count == 1 && strcmp(part[0], "configurations") == 0 && q->method == METHOD_POST)
		new_configuration(q);
	else if (count < 2 || api_number(part[1], &id) == -1 || id == 0)
		return 0;
	else if (strcmp(part[0], "configurations") == 0)
		return configuration(q, part, count, id);
	else if (count == 2 && q->method == METHOD_GET)
		get_version(q, id);
	else
		return 0;
	return 1;
}

/* ---- assignments */

static int
add_assignment(void *ctx, const struct assignment *a)
{
	char uid[UID_TEXT];

	uid_text(uid, a->uid);
	(void)json_array_append_new(
	    ctx, json_pack("{s:I, s:I, s:o, s:o, s:o, s:o}", "id", (json_int_t)a->id, "version",
		     (json_int_t)a->version, "agent", a->has_uid ? json_string(uid) : json_null(),
		     "selector", a->has_uid ? json_null() : api_text(a->selector), "created",
		     api_time(a->created), "author", api_text(a->author)));
	return 0;
}

static void
list_assignments(struct web_request *q)
{
	json_t *items = json_array();
	struct error err;

	if (store_assignments(fleet_store(q->web->fleet), add_assignment, items, &err) == -1)
		web_fault(q, 500, "%s", err.text);
	else
		web_json(q, 200, json_pack("{s:O}", "items", items));
	json_decref(items);
}

static void
new_assignment(struct web_request *q)
{
	json_t *body = web_body(q);
	struct assignment a = {.author = api_author(q)};
	struct bytes uid, selector;
	struct error err;
	int r = 0;

	if (body == NULL)
		return;
	a.version = (uint64_t)json_integer_value(json_object_get(body, "version"));
	uid = api_member(body, "agent");
	selector = api_member(body, "selector");
	a.has_uid = uid.data != NULL;
	if ((uid.data == NULL) == (selector.data == NULL))
		r = error_set(
		    &err, "either agent, a uid, or selector, a text (\"\" for all agents)");
	else if (a.has_uid && uid_read(a.uid, uid.data, uid.len) == -1)
		r = error_set(&err, "agent: not a uid");
	else {
		a.selector = selector;
		r = fleet_assign(q->web->fleet, &a, &err);
	}
	changed(q, r, 201, json_pack("{s:I}", "id", (json_int_t)a.id), &err);
	json_decref(body);
}

struct progress {
	uint64_t id, version;
	uint8_t hash[32];
	int found;
	json_int_t total, away, waiting, applying, applied, failed;
};

static int
find_assignment(void *ctx, const struct assignment *a)
{
	struct progress *p = ctx;

	if (a->id != p->id)
		return 0;
	p->found = 1;
	p->version = a->version;
	return 1;
}

static int
keep_hash(void *ctx, const struct configuration_version *v)
{
	memcpy(((struct progress *)ctx)->hash, v->hash, sizeof(v->hash));
	return 0;
}

/* Those that are to run its version now. */
static int
count_progress(void *ctx, const struct agent *a)
{
	struct progress *p = ctx;
	int same = a->config_hash.len == sizeof(p->hash) &&
		   memcmp(a->config_hash.data, p->hash, sizeof(p->hash)) == 0;

	if (a->due != p->version)
		return 0;
	p->total++;
	if (!same)
		p->waiting++;
	else if (a->config_status == 1)
		p->applied++;
	else if (a->config_status == 2)
		p->applying++;
	else if (a->config_status == 3)
		p->failed++;
	if (!same && a->connected_since == 0)
		p->away++;
	return 0;
}

static void
get_progress(struct web_request *q, uint64_t id)
{
	struct store *s = fleet_store(q->web->fleet);
	struct agent_query query = {
	    .connected = -1, .healthy = -1, .config_status = -1, .limit = 1u << 30};
	struct progress p = {.id = id};
	uint64_t matches;
	struct error err;
	int r = store_assignments(s, find_assignment, &p, &err);

	if (r != -1 && p.found)
		r = store_version_get(s, p.version, keep_hash, &p, &err);
	if (r != -1 && p.found)
		r = store_agents_list(s, &query, count_progress, &p, &matches, &err);
	if (r == -1)
		web_fault(q, 500, "%s", err.text);
	else if (!p.found)
		web_fault(q, 404, "there is no such assignment");
	else
		web_json(q, 200,
		    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "total", p.total, "waiting",
			p.waiting, "away", p.away, "applying", p.applying, "applied", p.applied,
			"failed", p.failed));
}

int
api_assignments(struct web_request *q, char **part, size_t count)
{
	struct error err;
	uint64_t id;

	if (count == 1 && q->method == METHOD_GET)
		list_assignments(q);
	else if (count == 1 && q->method == METHOD_POST)
		new_assignment(q);
	else if (count < 2 || api_number(part[1], &id) == -1)
		return 0;
	else if (count == 2 && q->method == METHOD_DELETE)
		deleted(q, fleet_unassign(q->web->fleet, id, &err), &err);
	else if (count == 3 && strcmp(part[2], "progress") == 0 && q->method == METHOD_GET)
		get_progress(q, id);
	else
		return 0;
	return 1;
}

/* ---- connection settings: keys are never shown again */

static int
add_offer(void *ctx, const struct settings_offer *o)
{
	json_t *body = json_loadb(o->body.data, o->body.len, JSON_ALLOW_NUL, NULL), *class;
	const char *name;

	json_object_foreach(body, name, class)
	{
		if (json_object_get(class, "key") != NULL)
			(void)json_object_set_new(class, "key", json_string("(hidden)"));
		if (json_object_get(class, "headers") != NULL)
			(void)json_object_set_new(class, "headers", json_string("(hidden)"));
	}
	(void)json_array_append_new(
	    ctx, json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "id", (json_int_t)o->id, "selector",
		     api_text(o->selector), "settings", body, "hash",
		     api_hex((struct bytes){(const char *)o->hash, sizeof(o->hash)}), "created",
		     api_time(o->created), "author", api_text(o->author)));
	return 0;
}

static void
new_offer(struct web_request *q)
{
	json_t *body = web_body(q), *settings;
	struct settings_offer o = {.author = api_author(q)};
	struct error err;
	char *dump = NULL;
	int r;

	if (body == NULL)
		return;
	settings = json_object_get(body, "settings");
	o.selector = api_member(body, "selector");
	r = o.selector.data == NULL ? error_set(&err, "selector: a text (\"\" for all agents)")
				    : settings_offer_check(settings, &err);
	if (r == 0 && (dump = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS)) == NULL)
		r = error_set(&err, "out of memory");
	if (r == 0) {
		o.body = (struct bytes){dump, strlen(dump)};
		r = fleet_settings_new(q->web->fleet, &o, &err);
	}
	changed(q, r, 201, json_pack("{s:I}", "id", (json_int_t)o.id), &err);
	free(dump);
	json_decref(body);
}

int
api_settings(struct web_request *q, char **part, size_t count)
{
	json_t *items;
	struct error err;
	uint64_t id;

	if (count == 1 && q->method == METHOD_GET) {
		items = json_array();
		if (store_settings_list(fleet_store(q->web->fleet), add_offer, items, &err) == -1)
			web_fault(q, 500, "%s", err.text);
		else
			web_json(q, 200, json_pack("{s:O}", "items", items));
		json_decref(items);
	} else if (count == 1 && q->method == METHOD_POST)
		new_offer(q);
	else if (count == 2 && q->method == METHOD_DELETE && api_number(part[1], &id) == 0)
		deleted(q, fleet_settings_delete(q->web->fleet, id, &err), &err);
	else
		return 0;
	return 1;
}
