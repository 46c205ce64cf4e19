/*
 * fleet_settings.c: connection settings that are offered to agents (see fleet.h).  opamphub-store.
 * Body: {"opamp": {...}, "own_metrics": {...}, "own_traces": {...}, "own_logs": {...}}, each with
 * "endpoint", "headers" ({name: value}), "ca", "cert", "key" (PEM), opamp also "heartbeat_seconds".
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "fleet_inside.h"
#include "fleet_settings.h"
#include "privsep/log.h"

static const struct {
	const char *name;
	enum settings_class class;
	uint64_t bit; /* of the agent: it takes such offers (CN-13) */
} classes[] = {
    {"opamp", SETTINGS_OPAMP, 0x100},
    {"own_metrics", SETTINGS_METRICS, 0x40},
    {"own_traces", SETTINGS_TRACES, 0x20},
    {"own_logs", SETTINGS_LOGS, 0x80},
};

#define CLASSES (sizeof(classes) / sizeof(classes[0]))

static const struct {
	const char *name;
	uint16_t key;
} members[] = {
    {"endpoint", KEY_ENDPOINT},
    {"ca", KEY_CA},
    {"cert", KEY_CERT},
    {"key", KEY_CERT_KEY},
};

static int
check_class(const char *name, json_t *body, struct error *err)
{
	const char *member;
	json_t *value, *header;
	const char *header_name;
	size_t i;

	if (!json_is_object(body))
		return error_set(err, "%s: not an object", name);
	json_object_foreach(body, member, value)
	{
		for (i = 0; i < sizeof(members) / sizeof(members[0]); i++)
			if (strcmp(member, members[i].name) == 0)
				break;
		if (i < sizeof(members) / sizeof(members[0])) {
			if (!json_is_string(value))
				return error_set(err, "%s.%s: not a text", name, member);
		} else if (strcmp(member, "heartbeat_seconds") == 0 && strcmp(name, "opamp") == 0) {
			if (!json_is_integer(value) || json_integer_value(value) < 0)
				return error_set(
				    err, "%s.%s: not a number of seconds", name, member);
		} else if (strcmp(member, "headers") == 0 && json_is_object(value)) {
			json_object_foreach(value, header_name,
			    header) if (!json_is_string(header) || header_name[0] == '\0' ||
					strpbrk(header_name, ":\r\n ") != NULL ||
					strpbrk(json_string_value(header), "\r\n") !=
					    NULL) return error_set(err, "%s.headers: not a header",
			    name);
		} else
			return error_set(err, "%s: unknown member \"%.100s\"", name, member);
	}
	return 0;
}

int
settings_offer_check(const json_t *body, struct error *err)
{
	const char *name;
	json_t *class;
	size_t i;

	if (!json_is_object(body) || json_object_size(body) == 0)
		return error_set(err, "settings: not an object with opamp or own_metrics, "
				      "own_traces, own_logs");
	json_object_foreach((json_t *)(uintptr_t)body, name, class)
	{
		for (i = 0; i < CLASSES; i++)
			if (strcmp(name, classes[i].name) == 0)
				break;
		if (i == CLASSES)
			return error_set(err, "settings: unknown class \"%.100s\"", name);
		if (check_class(name, class, err) == -1)
			return -1;
	}
	return 0;
}

static void
put_class(struct record_writer *w, size_t which, json_t *body)
{
	const char *name;
	json_t *value;
	char line[8 * KIB];
	size_t i;
	int n;

	record_put_u64(w, KEY_CLASS, classes[which].class);
	for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		value = json_object_get(body, members[i].name);
		if (json_is_string(value))
			record_put(w, members[i].key, 0, 0, json_string_value(value),
			    json_string_length(value));
	}
	json_object_foreach(json_object_get(body, "headers"), name, value)
	{
		n = snprintf(line, sizeof(line), "%s: %s", name, json_string_value(value));
		if (n > 0 && n < (int)sizeof(line))
			record_put(w, KEY_HEADER, 0, 0, line, (size_t)n);
	}
	value = json_object_get(body, "heartbeat_seconds");
	if (json_is_integer(value))
		record_put_u64(w, KEY_HEARTBEAT, (uint64_t)json_integer_value(value));
}

int
fleet_settings_offer(struct fleet *f, struct conv *c, const struct settings_target *t,
    struct bytes reported, struct error *err)
{
	struct record_writer w = {0};
	json_t *body, *class;
	size_t i;
	int any = 0, r;

	if (c->settings == t->id ||
	    (reported.len == sizeof(t->hash) && memcmp(reported.data, t->hash, reported.len) == 0))
		return 0; /* CN-12 */
	body = json_loadb(t->body, t->len, 0, NULL);
	record_put(&w, KEY_SETTINGS_HASH, 0, 0, t->hash, sizeof(t->hash));
	for (i = 0; i < CLASSES; i++) {
		class = json_object_get(body, classes[i].name);
		if (class == NULL || (c->capabilities & classes[i].bit) == 0)
			continue;
		put_class(&w, i, class);
		any = 1;
	}
	json_decref(body);
	c->settings = t->id;
	if (!any) {
		record_discard(&w);
		return 0;
	}
	r = frames_send(f->frames, FRAME_SETTINGS, c->number, 0, &w, err);
	return r;
}

/* ---- by operators */

/* To all that are connected and fit. */
static int offer_all(
    struct fleet *f, const struct settings_target *t, struct bytes selector, struct error *err);

int
fleet_settings_new(struct fleet *f, struct settings_offer *o, struct error *err)
{
	struct selector check;
	unsigned len;

	if (selector_read(&check, o->selector, err) == -1)
		return -1;
	if (f->settings_count == FLEET_SETTINGS)
		return error_set(
		    err, "there are %d offers of connection settings already", FLEET_SETTINGS);
	if (EVP_Digest(o->body.data, o->body.len, o->hash, &len, EVP_sha256(), NULL) != 1)
		return error_set(err, "SHA-256 cannot be had");
	if (fleet_begin(f, err) == -1)
		return -1;
	o->created = f->now;
	if (store_settings_new(f->store, o, err) == -1 || fleet_end(f, err) == -1 ||
	    fleet_targets_load(f, err) == -1) {
		fleet_undo(f);
		return -1;
	}
	if (f->settings_count > 0 && f->settings[0].id == o->id &&
	    offer_all(f, &f->settings[0], o->selector, err) == -1)
		return -1;
	if (f->watch != NULL)
		f->watch(f->watch_ctx, NEWS_SETTINGS, NULL, o->id);
	return 0;
}

struct reported {
	struct fleet *f;
	const struct settings_target *t;
	struct error *err;
	int result;
};

static int
offer_one(void *ctx, const struct agent *a)
{
	struct reported *r = ctx;
	struct conv *c = fleet_conv_of(r->f, a->uid);

	if (c != NULL)
		r->result = fleet_settings_offer(r->f, c, r->t, a->settings_hash, r->err);
	return r->result == -1;
}

static int
offer_all(
    struct fleet *f, const struct settings_target *t, struct bytes selector, struct error *err)
{
	struct agent_query q = {.selector = selector,
	    .connected = 1,
	    .healthy = -1,
	    .config_status = -1,
	    .limit = 1u << 30};
	struct reported r = {f, t, err, 0};
	uint64_t matches;

	if (store_agents_list(f->store, &q, offer_one, &r, &matches, err) == -1)
		return -1;
	return r.result;
}

int
fleet_settings_delete(struct fleet *f, uint64_t id, struct error *err)
{
	int r;

	if (fleet_begin(f, err) == -1)
		return -1;
	r = store_settings_delete(f->store, id, err);
	if (r == -1 || fleet_end(f, err) == -1 || fleet_targets_load(f, err) == -1) {
		fleet_undo(f);
		return -1;
	}
	if (r == 1 && f->watch != NULL)
		f->watch(f->watch_ctx, NEWS_SETTINGS, NULL, id);
	return r;
}
