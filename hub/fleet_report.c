/*
 * fleet_report.c: what an agent said, into the store (see fleet.h).  opamphub-store.
 * Front made the record of foreign bytes, and could have been taken over by them: every field is
 * checked before it is kept, and no field can reach another agent than the one it names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "fleet_inside.h"
#include "json_read.h"
#include "json_text.h"
#include "privsep/log.h"
#include "wire/wire.h"

#define TEXT_MOST (64 * KIB) /* of one text of a row */
#define HASH_MOST LIMIT_CONFIG_HASH

/* Bits of the agent that say that a part is told. */
#define BIT_EFFECTIVE  0x4u
#define BIT_PACKAGES   0x10u
#define BIT_HEALTH     0x800u
#define BIT_CONFIG     0x1000u
#define BIT_COMPONENTS 0x4000u
#define BIT_ACCEPTS    0x2u

struct report {
	struct fleet *f;
	const struct frame_header *h;
	const struct record *r;
	struct error *err;
	struct conv *conv;
	uint64_t flags;
	const uint8_t *uid;
	int result, is_new, components;
	struct agent agent; /* borrowed from the store's row and from the record */
	struct bytes components_were;
};

static int
text(struct report *p, uint16_t key, struct bytes *b)
{
	struct record_entry e;

	if (!record_find(p->r, key, &e))
		return 0;
	if (e.len > TEXT_MOST || !wire_utf8((const uint8_t *)e.value, e.len))
		return error_set(p->err, "a text (key %u) that is too long or not UTF-8", key);
	*b = (struct bytes){e.value, e.len};
	return 1;
}

static int
hash(struct report *p, uint16_t key, struct bytes *b)
{
	struct record_entry e;

	if (!record_find(p->r, key, &e))
		return 0;
	if (e.len > HASH_MOST)
		return error_set(p->err, "a hash of %u bytes", e.len);
	*b = (struct bytes){e.value, e.len};
	return 1;
}

/* ---- the large parts */

static int
put_json_part(struct report *p, uint16_t key, enum agent_part part)
{
	struct record_entry e;
	json_error_t fault;
	json_t *j;

	if (!record_find(p->r, key, &e))
		return 0;
	j = json_read(e.value, e.len, JSON_ALLOW_NUL, SIZE_MAX, &fault, NULL);
	if (!json_is_object(j) && !json_is_array(j)) {
		json_decref(j);
		return error_set(p->err, "a part (key %u) that is not JSON: %s", key, fault.text);
	}
	json_decref(j);
	if (store_agent_part_put(
		p->f->store, p->uid, part, (struct bytes){e.value, e.len}, p->err) == -1)
		return -1;
	return 1;
}

/* Text, of which JSON makes no multiple of its size: control characters become six bytes each. */
static int
is_text(const struct record_entry *body)
{
	size_t i, control = 0;

	for (i = 0; i < body->len; i++)
		control += (unsigned char)body->value[i] < ' ' && body->value[i] != '\n' &&
			   body->value[i] != '\t' && body->value[i] != '\r';
	return control <= body->len / 8 && wire_utf8((const uint8_t *)body->value, body->len);
}

static int
file_text(struct json_text *t, const struct record_entry *name, const struct record_entry *type,
    const struct record_entry *body)
{
	if (!wire_utf8((const uint8_t *)name->value, name->len) ||
	    !wire_utf8((const uint8_t *)type->value, type->len))
		return -1;
	json_text_string(t, name->value, name->len);
	json_text_raw(t, ":{\"content_type\":");
	json_text_string(t, type->value, type->len);
	if (is_text(body)) {
		json_text_raw(t, ",\"body\":");
		json_text_string(t, body->value, body->len);
	} else {
		json_text_raw(t, ",\"hex\":");
		json_text_hex(t, body->value, body->len);
	}
	json_text_raw(t, "}");
	return 0;
}

static int
put_effective(struct report *p)
{
	struct record_entry name, type, body;
	size_t pos = 0, type_pos = 0, body_pos = 0;
	struct json_text t = {0};
	int r = -1, any = 0;

	json_text_raw(&t, "{\"files\":{");
	while (record_next(p->r, &pos, KEY_EFFECTIVE, &name)) {
		if (any)
			json_text_raw(&t, ",");
		any = 1;
		if (!record_next(p->r, &type_pos, KEY_FILE_TYPE, &type) ||
		    !record_next(p->r, &body_pos, KEY_FILE_BODY, &body) ||
		    file_text(&t, &name, &type, &body) == -1) {
			free(t.data);
			return error_set(p->err, "an effective configuration that is not whole");
		}
	}
	json_text_raw(&t, "}}");
	if (!any && record_u64(p->r, KEY_EFFECTIVE_NONE, 0) == 0)
		r = 0;
	else if (t.failed)
		(void)error_set(p->err, "out of memory");
	else if (store_agent_part_put(p->f->store, p->uid, PART_EFFECTIVE,
		     (struct bytes){t.data, t.len}, p->err) == 0)
		r = 1;
	free(t.data);
	return r;
}

static int
copy_components(void *ctx, struct bytes body)
{
	struct report *p = ctx;

	p->components = store_agent_part_put(p->f->store, p->uid, PART_COMPONENTS, body, p->err);
	return 0;
}

/* AC-03: a hash that some agent has told the components of is not asked for again. */
static int
put_components(struct report *p)
{
	struct bytes b = {NULL, 0};
	int r = hash(p, KEY_COMPONENTS_HASH, &b), came;

	if (r <= 0)
		return r;
	came = put_json_part(p, KEY_COMPONENTS, PART_COMPONENTS);
	if (came != 0) {
		p->agent.components_hash = b;
		return came;
	}
	if (b.data != NULL && p->agent.components_hash.data != NULL &&
	    b.len == p->agent.components_hash.len &&
	    memcmp(b.data, p->agent.components_hash.data, b.len) == 0)
		return 0;
	r = store_components_known(p->f->store, b, copy_components, p, p->err);
	if (r == 1 && p->components == 0)
		p->agent.components_hash = b;
	else if (r == 0)
		p->components = 1; /* to be asked for */
	return r == -1 || p->components == -1 ? -1 : 0;
}

/* ---- small fields */

static int
read_description(struct report *p)
{
	int r = put_json_part(p, KEY_DESCRIPTION, PART_DESCRIPTION);

	if (r <= 0)
		return r;
	p->agent.name = p->agent.version = (struct bytes){NULL, 0};
	if (text(p, KEY_NAME, &p->agent.name) == -1 ||
	    text(p, KEY_VERSION, &p->agent.version) == -1)
		return -1;
	return 1;
}

static int
read_health(struct report *p)
{
	int r = put_json_part(p, KEY_HEALTH, PART_HEALTH);
	int64_t was = p->agent.healthy;

	if (r <= 0)
		return r;
	p->agent.healthy = record_u64(p->r, KEY_HEALTHY, 0) == 1;
	p->agent.started = record_u64(p->r, KEY_STARTED, 0);
	if (text(p, KEY_LAST_ERROR, &p->agent.last_error) == -1 ||
	    text(p, KEY_STATUS, &p->agent.status) == -1)
		return -1;
	if (was != p->agent.healthy &&
	    fleet_event(p->f, p->uid, p->agent.healthy ? "healthy" : "unhealthy", p->err, "%.*s",
		(int)(p->agent.healthy ? 0 : p->agent.last_error.len),
		p->agent.last_error.data == NULL ? "" : p->agent.last_error.data) == -1)
		return -1;
	return 1;
}

static int
read_config_status(struct report *p)
{
	static const char *const words[] = {"unset", "applied", "applying", "failed"};
	struct bytes was = p->agent.config_hash;
	uint32_t old = p->agent.config_status;
	uint64_t status = record_u64(p->r, KEY_CONFIG_STATUS, UINT64_MAX);

	if (status == UINT64_MAX)
		return 0;
	if (status > 3)
		status = 0; /* CP-07: a value that has no name here */
	p->agent.config_status = (uint32_t)status;
	if (hash(p, KEY_CONFIG_HASH, &p->agent.config_hash) == -1 ||
	    text(p, KEY_CONFIG_ERROR, &p->agent.config_error) == -1)
		return -1;
	if (old == status && was.len == p->agent.config_hash.len &&
	    (was.len == 0 || memcmp(was.data, p->agent.config_hash.data, was.len) == 0))
		return 1;
	if (status != 0 &&
	    fleet_event(p->f, p->uid, words[status], p->err, "%.*s", (int)p->agent.config_error.len,
		p->agent.config_error.data == NULL ? "" : p->agent.config_error.data) == -1)
		return -1;
	return 1;
}

static int
read_settings_status(struct report *p)
{
	uint64_t status = record_u64(p->r, KEY_SETTINGS_STATUS, UINT64_MAX);

	if (status == UINT64_MAX)
		return 0;
	p->agent.settings_status = status > 3 ? 0 : (uint32_t)status;
	if (hash(p, KEY_SETTINGS_HASH, &p->agent.settings_hash) == -1 ||
	    text(p, KEY_SETTINGS_ERROR, &p->agent.settings_error) == -1)
		return -1;
	return 1;
}

static int
read_origin(struct report *p)
{
	struct agent *a = &p->agent;

	if ((p->flags & REPORT_FIRST) == 0)
		return 0;
	a->connected_since = p->f->now;
	a->gone_why = (struct bytes){NULL, 0};
	if (text(p, KEY_TRANSPORT, &a->transport) == -1 ||
	    text(p, KEY_ADDRESS, &a->address) == -1 ||
	    text(p, KEY_CREDENTIAL, &a->credential) == -1)
		return -1;
	return fleet_event(p->f, p->uid, "connected", p->err, "%.*s from %.*s",
	    (int)a->transport.len, a->transport.data == NULL ? "" : a->transport.data,
	    (int)a->address.len, a->address.data == NULL ? "" : a->address.data);
}

/* ---- what it is to run */

struct attributes {
	struct bytes list[FLEET_ATTRIBUTES];
	char *text[FLEET_ATTRIBUTES]; /* owned, where they came from the store */
	size_t count;
};

static int
keep_attribute(void *ctx, struct bytes b)
{
	struct attributes *a = ctx;

	if (a->count == FLEET_ATTRIBUTES || (a->text[a->count] = malloc(b.len + 1)) == NULL)
		return 1;
	memcpy(a->text[a->count], b.data, b.len);
	a->list[a->count] = (struct bytes){a->text[a->count], b.len};
	a->count++;
	return 0;
}

/* Those of the report when a description came, else those of the store. */
static int
get_attributes(struct report *p, struct attributes *a, int described)
{
	struct record_entry e;
	size_t pos = 0, bytes = 0;

	a->count = 0;
	if (!described)
		return store_agent_attributes_get(p->f->store, p->uid, keep_attribute, a, p->err);
	while (a->count < FLEET_ATTRIBUTES && record_next(p->r, &pos, KEY_ATTRIBUTE, &e)) {
		if (!wire_utf8((const uint8_t *)e.value, e.len) || e.len > 4 * KIB)
			return error_set(p->err, "an attribute that is too long or not UTF-8");
		bytes += e.len;
		if (bytes > LIMIT_HUB_ATTRIBUTES)
			break; /* the whole description shows the others */
		a->text[a->count] = NULL;
		a->list[a->count++] = (struct bytes){e.value, e.len};
	}
	return store_agent_attributes(p->f->store, p->uid, a->list, a->count, p->err);
}

/* CF-02, CF-03: to those who accept it, while what they report differs. */
static int
decide_offer(struct report *p)
{
	struct agent *a = &p->agent;
	const uint8_t *due = NULL;
	int agreed;

	if (a->due != 0 && fleet_version_hash(p->f, a->due, &due, p->err) == -1)
		return -1;
	agreed = due == NULL || (a->config_hash.len == VERSION_HASH &&
				    memcmp(a->config_hash.data, due, VERSION_HASH) == 0);
	if (agreed && p->conv->again && p->conv->offered == a->due)
		return 0; /* it has not gone yet */
	fleet_offer(p->f, p->conv, agreed || (a->capabilities & BIT_ACCEPTS) == 0 ? 0 : a->due);
	return 0;
}

static int
decide(struct report *p, int described)
{
	struct attributes *a = malloc(sizeof(*a));
	const struct settings_target *t;
	uint64_t due;
	size_t i;
	int r;

	if (a == NULL)
		return error_set(p->err, "out of memory");
	r = get_attributes(p, a, described);
	if (r != -1) {
		due = fleet_due(p->f, p->uid, a->list, a->count);
		if (due != p->agent.due) {
			p->agent.due = due;
			p->agent.due_since = p->f->now;
		}
		t = fleet_settings_due(p->f, a->list, a->count);
		if (t != NULL)
			r = fleet_settings_offer(p->f, p->conv, t, p->agent.settings_hash, p->err);
	}
	for (i = 0; i < a->count; i++)
		free(a->text[i]);
	free(a);
	return r == -1 ? -1 : 0;
}

/* ---- the whole */

/* What its bits promise and the store lacks (ST-07). */
static int
lacks(const struct report *p)
{
	const struct agent *a = &p->agent;
	uint64_t bits = a->capabilities;
	uint32_t parts = a->parts;

	return (parts & 1u << PART_DESCRIPTION) == 0 ||
	       ((bits & BIT_HEALTH) != 0 && (parts & 1u << PART_HEALTH) == 0) ||
	       ((bits & BIT_EFFECTIVE) != 0 && (parts & 1u << PART_EFFECTIVE) == 0);
}

static void
verdict(struct report *p, uint64_t flags, const uint8_t *uid)
{
	struct fleet *f = p->f;
	struct verdict *v;

	fleet_room((void **)&f->verdicts, f->verdict_count, &f->verdict_room, sizeof(*v));
	v = &f->verdicts[f->verdict_count++];
	memset(v, 0, sizeof(*v));
	v->conv = p->h->conn;
	v->serial = p->h->serial;
	v->flags = flags;
	if (uid != NULL) {
		v->has_uid = 1;
		memcpy(v->uid, uid, sizeof(v->uid));
	}
}

/* A part that came is one that is told from now on. */
static void
mark(struct report *p, int came, enum agent_part part)
{
	if (came == 1)
		p->agent.parts |= 1u << part;
}

static int
apply(struct report *p)
{
	struct agent *a = &p->agent;
	uint64_t bits = a->capabilities, answer = 0;
	int described, health, effective;

	a->last_seen = p->f->now;
	a->capabilities = record_u64(p->r, KEY_CAPABILITIES, 0);
	if (read_origin(p) == -1 || (described = read_description(p)) == -1 ||
	    (health = read_health(p)) == -1 || (effective = put_effective(p)) == -1 ||
	    read_config_status(p) == -1 || put_components(p) == -1 ||
	    put_json_part(p, KEY_PACKAGES, PART_PACKAGES) == -1 ||
	    put_json_part(p, KEY_CUSTOM, PART_CUSTOM) == -1 || read_settings_status(p) == -1)
		return -1;
	mark(p, described, PART_DESCRIPTION);
	mark(p, health, PART_HEALTH);
	mark(p, effective, PART_EFFECTIVE);
	p->conv->capabilities = a->capabilities;
	if ((p->is_new || described == 1 || (p->flags & REPORT_FIRST) != 0 ||
		bits != a->capabilities || record_u64(p->r, KEY_SETTINGS_STATUS, 9) != 9) &&
	    decide(p, described) == -1)
		return -1;
	if (decide_offer(p) == -1)
		return -1;
	if ((p->flags & REPORT_LEAVES) == 0) {
		if ((p->flags & REPORT_GAP) != 0 || ((p->flags & REPORT_FIRST) != 0 && lacks(p)))
			answer |= VERDICT_FULL_STATE;
		if (p->components == 1)
			answer |= VERDICT_COMPONENTS;
	}
	verdict(p, answer, NULL);
	fleet_changed(p->f, p->uid);
	/* what has an index is written where it may have changed */
	if (p->is_new || described == 1 || a->components_hash.data != p->components_were.data)
		return store_agent_put(p->f->store, a, p->err);
	return store_agent_update(p->f->store, a, p->err);
}

static int
known_agent(void *ctx, const struct agent *a)
{
	struct report *p = ctx;

	p->agent = *a;
	p->components_were = a->components_hash;
	p->result = apply(p);
	return 0;
}

/* UUIDv7 (RFC 9562): milliseconds, then chance. */
static int
uid_new(uint8_t uid[16], uint64_t unix_ns)
{
	uint64_t ms = unix_ns / 1000000;
	int i;

	if (getrandom(uid, 16, 0) != 16)
		return -1;
	for (i = 0; i < 6; i++)
		uid[i] = (uint8_t)(ms >> (40 - 8 * i));
	uid[6] = (uint8_t)((uid[6] & 0x0f) | 0x70);
	uid[8] = (uint8_t)((uid[8] & 0x3f) | 0x80);
	return 0;
}

/* ID-05, ID-06: nothing of it is kept under the uid it came with. */
static int
rename_agent(struct report *p)
{
	char old[UID_TEXT], new[UID_TEXT];
	uint8_t uid[16];

	if (uid_new(uid, p->f->now) == -1)
		return error_errno(p->err, "a new uid");
	uid_text(old, p->uid);
	uid_text(new, uid);
	log_info("an agent with the uid %s is given the uid %s: %s", old, new,
	    p->flags & REPORT_TWIN ? "another one that is connected has it" : "it asked for one");
	verdict(p, 0, uid);
	return 0;
}

int
fleet_report(
    struct fleet *f, const struct frame_header *h, const struct record *r, struct error *err)
{
	struct report p = {.f = f, .h = h, .r = r, .err = err};
	struct record_entry e;
	int found;

	if (!record_find(r, KEY_UID, &e) || e.len != 16)
		return error_set(err, "no uid");
	p.uid = (const uint8_t *)e.value;
	p.flags = record_u64(r, KEY_FLAGS, 0);
	if (p.flags & (REPORT_TWIN | REPORT_WANTS_UID))
		return rename_agent(&p);
	p.conv = fleet_conv(f, h->conn);
	if (p.conv == NULL && (p.flags & REPORT_FIRST) == 0)
		return error_set(err, "a conversation that did not begin");
	if (p.conv != NULL && memcmp(p.conv->uid, p.uid, 16) != 0)
		return error_set(err, "a conversation with two uids");
	/* each is with an agent that is known; one that comes back may have two for a moment */
	if (p.conv == NULL && f->figures.conversations >= 2 * f->max_agents + 64)
		return error_set(err, "more conversations than there can be");
	if (p.conv == NULL)
		p.conv = fleet_conv_new(f, h->conn, p.uid);
	found = store_agent_get(f->store, p.uid, known_agent, &p, err);
	if (found != 0)
		return found == -1 ? -1 : p.result;
	if (f->agents >= f->max_agents) {
		log_warn("an agent more than --max-agents %llu is put off",
		    (unsigned long long)f->max_agents);
		fleet_conv_free(f, p.conv);
		verdict(&p, VERDICT_BUSY, NULL);
		return 0;
	}
	f->agents++;
	p.is_new = 1;
	memcpy(p.agent.uid, p.uid, 16);
	p.agent.first_seen = f->now;
	p.agent.healthy = -1;
	/* the row first: its parts are marked in it */
	if (store_agent_put(f->store, &p.agent, err) == -1)
		return -1;
	return apply(&p);
}
