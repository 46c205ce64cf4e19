/*
 * api_agents.c: agents, their events and commands, in the API.  opamphub-store.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "privsep/log.h"
#include "web_inside.h"
#include "wire/wire.h"

#define COUNTS_LONG_US 1000 /* counts that take longer may be older, */
#define COUNTS_AGE     50   /* so many times as long */
#define LIST_DEFAULT   100
#define LIST_MOST      500

static const char *const status_words[] = {"none", "applied", "applying", "failed"};

/* ---- items */

static int
name_of_configuration(void *ctx, const struct configuration *c)
{
	struct web_version *v = ctx;

	if (c->id != v->configuration)
		return 0;
	v->name = strndup(c->name.data, c->name.len);
	return 1;
}

static int
words_of_version(void *ctx, const struct configuration_version *v)
{
	struct web_version *w = ctx;

	w->number = v->number;
	w->configuration = v->configuration;
	memcpy(w->hash, v->hash, sizeof(w->hash));
	return 0;
}

/* NULL: it cannot be read. */
static const struct web_version *
version_words(struct web *w, uint64_t version)
{
	struct web_version *v = &w->version;
	uint64_t commits = fleet_figures(w->fleet).commits;
	struct error err;

	if (v->version == version && v->commits == commits)
		return v;
	free(v->name);
	memset(v, 0, sizeof(*v));
	if (store_version_get(fleet_store(w->fleet), version, words_of_version, v, &err) != 1)
		return NULL;
	(void)store_configurations(fleet_store(w->fleet), name_of_configuration, v, &err);
	v->version = version;
	v->commits = commits;
	return v;
}

static json_t *
config_of(struct web *w, const struct agent *a)
{
	json_t *o = json_pack("{s:s, s:o, s:o, s:o}", "status", status_words[a->config_status & 3],
	    "hash", api_hex(a->config_hash), "error",
	    a->config_error.len == 0 ? json_null() : api_text(a->config_error), "due_since",
	    a->due == 0 ? json_null() : api_time(a->due_since));
	const struct web_version *v = a->due == 0 ? NULL : version_words(w, a->due);

	(void)json_object_set_new(
	    o, "due", a->due == 0 ? json_null() : json_integer((json_int_t)a->due));
	if (v == NULL)
		return o;
	(void)json_object_set_new(o, "number", json_integer((json_int_t)v->number));
	(void)json_object_set_new(o, "configuration", json_integer((json_int_t)v->configuration));
	(void)json_object_set_new(
	    o, "due_hash", api_hex((struct bytes){(const char *)v->hash, sizeof(v->hash)}));
	if (v->name != NULL)
		(void)json_object_set_new(o, "name", json_string(v->name));
	return o;
}

static int
put_attribute(void *ctx, struct bytes b)
{
	const char *equals = memchr(b.data, '=', b.len);
	size_t n = equals == NULL ? b.len : (size_t)(equals - b.data);

	if (equals != NULL)
		(void)json_object_setn_new(ctx, b.data, n, json_stringn(equals + 1, b.len - n - 1));
	return 0;
}

json_t *
api_agent_item(struct web *w, const struct agent *a)
{
	json_t *attributes = json_object();
	char uid[UID_TEXT];
	struct error err;

	uid_text(uid, a->uid);
	(void)store_agent_attributes_get(
	    fleet_store(w->fleet), a->uid, put_attribute, attributes, &err);
	return json_pack("{s:s, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "uid", uid,
	    "name", api_text(a->name), "version", api_text(a->version), "connected",
	    a->connected_since != 0, "healthy",
	    a->healthy < 0 ? json_null() : json_boolean(a->healthy == 1), "status",
	    a->status.len == 0 ? json_null() : api_text(a->status), "last_error",
	    a->last_error.len == 0 ? json_null() : api_text(a->last_error), "started",
	    api_time(a->started), "config", config_of(w, a), "last_seen", api_time(a->last_seen),
	    "first_seen", api_time(a->first_seen), "attributes", attributes);
}

static uint64_t
now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* As they are; of a fleet that takes long to count, as they were a moment ago (COUNTS_AGE). */
static int
counts_now(struct web *w, struct agent_counts *c, struct error *err)
{
	struct web_counts *k = &w->counts;
	uint64_t commits = fleet_figures(w->fleet).commits, begun = now_us();

	if (k->when_us == 0 ||
	    (k->commits != commits &&
		(k->took_us < COUNTS_LONG_US || begun - k->when_us > COUNTS_AGE * k->took_us))) {
		if (store_agents_counts(fleet_store(w->fleet), &k->counts, err) == -1)
			return -1;
		k->commits = commits;
		k->when_us = now_us();
		k->took_us = k->when_us - begun;
	}
	*c = k->counts;
	return 0;
}

json_t *
api_counts(struct web *w)
{
	struct agent_counts c;
	struct error err;

	if (counts_now(w, &c, &err) == -1) {
		log_error("%s", err.text);
		return json_object();
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "total", (json_int_t)c.total,
	    "connected", (json_int_t)c.connected, "healthy", (json_int_t)c.healthy, "unhealthy",
	    (json_int_t)c.unhealthy, "applied", (json_int_t)c.applied, "applying",
	    (json_int_t)c.applying, "failed", (json_int_t)c.failed, "waiting",
	    (json_int_t)c.waiting);
}

/* ---- GET /agents */

struct list {
	struct web *web;
	json_t *items;
};

static int
add_item(void *ctx, const struct agent *a)
{
	struct list *l = ctx;

	(void)json_array_append_new(l->items, api_agent_item(l->web, a));
	return 0;
}

/* One of words, separated by blanks; -1: none of them, -2: not given. */
static int
choice(const struct web_request *q, const char *name, const char *const *words)
{
	char *value = web_parameter(q, name);
	int i, found = value == NULL ? -2 : -1;

	for (i = 0; value != NULL && words[i] != NULL; i++)
		if (strcmp(value, words[i]) == 0)
			found = i;
	free(value);
	return found;
}

static int
number(
    const struct web_request *q, const char *name, uint64_t otherwise, uint64_t most, uint64_t *n)
{
	char *value = web_parameter(q, name);
	int r = 0;

	*n = otherwise;
	if (value != NULL)
		r = api_number(value, n);
	free(value);
	return r == -1 || *n > most ? -1 : 0;
}

/* What is wrong with the query, or NULL. */
static const char *
read_query(const struct web_request *q, struct agent_query *a)
{
	static const char *const truth[] = {"false", "true", NULL},
				 *const sorts[] = {"name", "version", "health", "config",
				     "last_seen", "first_seen", NULL},
				 *const orders[] = {"asc", "desc", NULL},
				 *const states[] = {"none", "applied", "applying", "failed", NULL};
	int connected = choice(q, "connected", truth), healthy = choice(q, "healthy", truth),
	    sort = choice(q, "sort", sorts), order = choice(q, "order", orders),
	    state = choice(q, "config", states);

	if (connected == -1 || healthy == -1)
		return "connected and healthy are true or false";
	if (sort == -1)
		return "sort is one of name, version, health, config, last_seen, first_seen";
	if (order == -1)
		return "order is asc or desc";
	if (state == -1)
		return "config is one of none, applied, applying, failed";
	if (number(q, "offset", 0, 1u << 30, &a->offset) == -1 ||
	    number(q, "limit", LIST_DEFAULT, LIST_MOST, &a->limit) == -1)
		return "offset and limit are numbers, limit at most 500";
	a->connected = connected == -2 ? -1 : connected;
	a->healthy = healthy == -2 ? -1 : healthy;
	a->config_status = state == -2 ? -1 : state;
	a->sort = sort == -2 ? SORT_NAME : (enum agent_sort)sort;
	a->descending = order == 1;
	return NULL;
}

static void
list_agents(struct web_request *q)
{
	struct list l = {q->web, json_array()};
	char *search = web_parameter(q, "search"), *selector = web_parameter(q, "selector");
	struct agent_query a = {0};
	const char *wrong = read_query(q, &a);
	uint64_t matches = 0;
	struct error err;

	a.search =
	    (struct bytes){search == NULL ? "" : search, search == NULL ? 0 : strlen(search)};
	a.selector = (struct bytes){
	    selector == NULL ? "" : selector, selector == NULL ? 0 : strlen(selector)};
	if (wrong != NULL)
		web_fault(q, 400, "%s", wrong);
	else if (store_agents_list(fleet_store(q->web->fleet), &a, add_item, &l, &matches, &err) ==
		 -1)
		web_fault(q, 400, "%s", err.text);
	else
		web_json(q, 200,
		    json_pack("{s:O, s:I, s:o}", "items", l.items, "total", (json_int_t)matches,
			"counts", api_counts(q->web)));
	json_decref(l.items);
	free(search);
	free(selector);
}

/* ---- GET /agents/UID */

static const struct {
	enum agent_part part;
	const char *name;
} parts[] = {
    {PART_DESCRIPTION, "description"},
    {PART_HEALTH, "health"},
    {PART_EFFECTIVE, "effective"},
    {PART_COMPONENTS, "components"},
    {PART_PACKAGES, "packages"},
    {PART_CUSTOM, "custom_capabilities"},
};

static json_t *
capability_names(uint64_t bits)
{
	static const char *const names[] = {"ReportsStatus", "AcceptsRemoteConfig",
	    "ReportsEffectiveConfig", "AcceptsPackages", "ReportsPackageStatuses",
	    "ReportsOwnTraces", "ReportsOwnMetrics", "ReportsOwnLogs",
	    "AcceptsOpAMPConnectionSettings", "AcceptsOtherConnectionSettings",
	    "AcceptsRestartCommand", "ReportsHealth", "ReportsRemoteConfig", "ReportsHeartbeat",
	    "ReportsAvailableComponents", "ReportsConnectionSettingsStatus"};
	json_t *a = json_array();
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (bits & 1ull << i)
			(void)json_array_append_new(a, json_string(names[i]));
	return a;
}

struct one {
	struct web *web;
	json_t *into;
	const char *member;
};

static int
put_part(void *ctx, struct bytes b)
{
	struct one *o = ctx;

	(void)json_object_set_new(
	    o->into, o->member, json_loadb(b.data, b.len, JSON_ALLOW_NUL, NULL));
	return 0;
}

static int
put_agent(void *ctx, const struct agent *a)
{
	struct one *o = ctx;

	o->into = api_agent_item(o->web, a);
	(void)json_object_set_new(o->into, "capabilities", capability_names(a->capabilities));
	(void)json_object_set_new(o->into, "connection",
	    json_pack("{s:o, s:o, s:o, s:o, s:o}", "transport", api_text(a->transport), "address",
		api_text(a->address), "credential",
		a->credential.len == 0 ? json_null() : api_text(a->credential), "since",
		api_time(a->connected_since), "gone_why", api_text(a->gone_why)));
	(void)json_object_set_new(o->into, "settings",
	    json_pack("{s:s, s:o, s:o}", "status", status_words[a->settings_status & 3], "hash",
		api_hex(a->settings_hash), "error",
		a->settings_error.len == 0 ? json_null() : api_text(a->settings_error)));
	return 0;
}

static void
get_agent(struct web_request *q, const uint8_t uid[16])
{
	struct one o = {q->web, NULL, NULL};
	struct store *s = fleet_store(q->web->fleet);
	struct error err;
	size_t i;
	int r;

	if (web_may_be_long(q) == -1)
		return;
	r = store_agent_get(s, uid, put_agent, &o, &err);
	for (i = 0; r == 1 && i < sizeof(parts) / sizeof(parts[0]); i++) {
		o.member = parts[i].name;
		(void)json_object_set_new(o.into, o.member, json_null());
		if (store_agent_part_get(s, uid, parts[i].part, put_part, &o, &err) == -1)
			r = -1;
	}
	if (r == 1)
		web_json(q, 200, o.into);
	else {
		json_decref(o.into);
		if (r == 0)
			web_fault(q, 404, "no agent has this uid");
		else
			web_fault(q, 500, "%s", err.text);
	}
}

/* ---- events */

static int
add_event(void *ctx, const struct event_row *e)
{
	char uid[UID_TEXT];

	uid_text(uid, e->uid);
	(void)json_array_append_new(
	    ctx, json_pack("{s:I, s:o, s:s, s:o, s:o}", "id", (json_int_t)e->id, "time",
		     api_time(e->when), "uid", uid, "kind", api_text(e->kind), "text",
		     api_text(e->text)));
	return 0;
}

static void
list_events(struct web_request *q, const uint8_t *uid)
{
	json_t *items = json_array();
	uint64_t before, limit;
	struct error err;

	if (number(q, "before", 0, INT64_MAX, &before) == -1 ||
	    number(q, "limit", LIST_DEFAULT, LIST_MOST, &limit) == -1)
		web_fault(q, 400, "before and limit are numbers, limit at most 500");
	else if (store_events(fleet_store(q->web->fleet), uid, before, (size_t)limit, add_event,
		     items, &err) == -1)
		web_fault(q, 500, "%s", err.text);
	else
		web_json(q, 200, json_pack("{s:O}", "items", items));
	json_decref(items);
}

static int
add_name(void *ctx, struct bytes name, uint64_t agents)
{
	(void)json_array_append_new(
	    ctx, json_pack("{s:o, s:I}", "name", api_text(name), "agents", (json_int_t)agents));
	return 0;
}

static void
list_attributes(struct web_request *q)
{
	json_t *items = json_array();
	struct error err;

	if (store_attribute_names(fleet_store(q->web->fleet), LIST_MOST, add_name, items, &err) ==
	    -1)
		web_fault(q, 500, "%s", err.text);
	else
		web_json(q, 200, json_pack("{s:O}", "items", items));
	json_decref(items);
}

/* ---- commands */

static void
answer(struct web_request *q, enum fleet_answer a, const char *unable, const struct error *err)
{
	switch (a) {
	case FLEET_SENT:
		web_json(q, 202, json_object());
		return;
	case FLEET_UNKNOWN:
		web_fault(q, 404, "no agent has this uid");
		return;
	case FLEET_AWAY:
		web_fault(q, 409, "the agent is not connected: nothing was sent");
		return;
	case FLEET_UNABLE:
		web_fault(q, 409, "%s", unable);
		return;
	default:
		web_fault(q, 500, "%s", err->text);
	}
}

static void
command(struct web_request *q, const uint8_t uid[16])
{
	json_t *body = web_body(q);
	const char *type;
	struct error err;

	if (body == NULL)
		return;
	type = json_string_value(json_object_get(body, "type"));
	if (type != NULL && strcmp(type, "resend") == 0)
		answer(q, fleet_resend(q->web->fleet, uid, api_author(q), &err),
		    "nothing is assigned to the agent, or it takes no configuration "
		    "(AcceptsRemoteConfig)",
		    &err);
	else if (type == NULL || strcmp(type, "restart") != 0)
		web_fault(q, 422, "type: \"restart\" or \"resend\"");
	else
		answer(q, fleet_restart(q->web->fleet, uid, api_author(q), &err),
		    "the agent does not take restart commands (AcceptsRestartCommand)", &err);
	json_decref(body);
}

/* Base64 (RFC 4648, with padding); -1: it is not. */
static int
base64(const char *text, size_t len, char *out, size_t *out_len)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	size_t i, n = 0, pad = 0;
	const char *at;

	if (len % 4 != 0)
		return -1;
	while (pad < 2 && len > 0 && text[len - 1 - pad] == '=')
		pad++;
	for (i = 0; i < len - pad; i++) {
		at = text[i] == '\0' ? NULL : strchr(digits, text[i]);
		if (at == NULL)
			return -1;
		bits = bits << 6 | (uint32_t)(at - digits);
		if (i % 4 != 0)
			out[n++] = (char)(bits >> (6 - 2 * (i % 4)));
	}
	*out_len = n;
	return 0;
}

static void
message(struct web_request *q, const uint8_t uid[16])
{
	json_t *body = web_body(q);
	struct bytes capability, type, data;
	struct error err;
	char *decoded;
	size_t len = 0;

	if (body == NULL)
		return;
	capability = api_member(body, "capability");
	type = api_member(body, "type");
	data = api_member(body, "data");
	decoded = malloc(data.len + 1);
	if (capability.data == NULL || capability.len > 255 || type.data == NULL ||
	    type.len > 255 || data.data == NULL || data.len > LIMIT_HUB_CUSTOM / 2 ||
	    decoded == NULL || base64(data.data, data.len, decoded, &len) == -1)
		web_fault(q, 422, "capability and type: texts of at most 255 bytes; data: base64");
	else
		answer(q,
		    fleet_message(q->web->fleet, uid, capability, type,
			(struct bytes){decoded, len}, api_author(q), &err),
		    "the agent did not announce this capability", &err);
	free(decoded);
	json_decref(body);
}

/* ---- routes */

static int
one_agent(struct web_request *q, char **part, size_t count, const uint8_t uid[16])
{
	struct error err;

	if (count == 2 && q->method == METHOD_GET)
		get_agent(q, uid);
	else if (count == 2 && q->method == METHOD_DELETE)
		answer(q, fleet_forget(q->web->fleet, uid, api_author(q), &err), "", &err);
	else if (count == 3 && strcmp(part[2], "events") == 0 && q->method == METHOD_GET)
		list_events(q, uid);
	else if (count == 3 && strcmp(part[2], "commands") == 0 && q->method == METHOD_POST)
		command(q, uid);
	else if (count == 3 && strcmp(part[2], "messages") == 0 && q->method == METHOD_POST)
		message(q, uid);
	else
		return 0;
	return 1;
}

int
api_agents(struct web_request *q, char **part, size_t count)
{
	uint8_t uid[16];

	if (count == 1) {
		if (q->method != METHOD_GET)
			return 0;
		if (strcmp(part[0], "events") == 0)
			list_events(q, NULL);
		else if (strcmp(part[0], "attributes") == 0)
			list_attributes(q);
		else
			list_agents(q);
		return 1;
	}
	if (strcmp(part[0], "agents") != 0)
		return 0;
	if (uid_read(uid, part[1], strlen(part[1])) == -1) {
		web_fault(q, 404, "no agent has this uid");
		return 1;
	}
	return one_agent(q, part, count, uid);
}
