/*
 * fleet_assign.c: which version an agent is to run, and the commands of operators (see fleet.h).
 * opamphub-store.
 */
#include <stdlib.h>
#include <string.h>

#include "fleet_inside.h"
#include "privsep/log.h"

#define BIT_ACCEPTS_CONFIG   0x2u
#define BIT_RESTART          0x400u
#define CONFIG_STATUS_FAILED 3u
#define LIST_MOST            (1u << 30)

/* ---- targets: assignments in memory */

static int
add_target(void *ctx, const struct assignment *a)
{
	struct fleet *f = ctx;
	struct target *t;
	struct error err;

	if (f->target_count == FLEET_ASSIGNMENTS)
		return 1;
	t = &f->targets[f->target_count];
	memset(t, 0, sizeof(*t));
	t->id = a->id;
	t->version = a->version;
	t->has_uid = a->has_uid;
	memcpy(t->uid, a->uid, sizeof(t->uid));
	if (selector_read(&t->selector, a->selector, &err) == -1)
		return 0; /* it was checked before it was stored: never fits */
	f->target_count++;
	return 0;
}

static int
add_settings(void *ctx, const struct settings_offer *o)
{
	struct fleet *f = ctx;
	struct settings_target *t;
	struct error err;

	if (f->settings_count == FLEET_SETTINGS)
		return 1;
	t = &f->settings[f->settings_count];
	memset(t, 0, sizeof(*t));
	t->id = o->id;
	memcpy(t->hash, o->hash, sizeof(t->hash));
	t->body = malloc(o->body.len + 1);
	if (t->body == NULL || selector_read(&t->selector, o->selector, &err) == -1) {
		free(t->body);
		return 0;
	}
	memcpy(t->body, o->body.data, o->body.len);
	t->len = o->body.len;
	f->settings_count++;
	return 0;
}

int
fleet_targets_load(struct fleet *f, struct error *err)
{
	if (f->targets == NULL)
		f->targets = calloc(FLEET_ASSIGNMENTS, sizeof(*f->targets));
	if (f->settings == NULL)
		f->settings = calloc(FLEET_SETTINGS, sizeof(*f->settings));
	if (f->targets == NULL || f->settings == NULL)
		return error_set(err, "out of memory");
	f->target_count = 0;
	while (f->settings_count > 0)
		free(f->settings[--f->settings_count].body);
	if (store_assignments(f->store, add_target, f, err) == -1)
		return -1;
	return store_settings_list(f->store, add_settings, f, err);
}

uint64_t
fleet_due(const struct fleet *f, const uint8_t uid[16], const struct bytes *list, size_t count)
{
	const struct target *t;
	uint64_t version = 0;
	size_t i;

	for (i = 0; i < f->target_count; i++) {
		t = &f->targets[i];
		if (t->has_uid) {
			if (memcmp(t->uid, uid, 16) == 0)
				return t->version;
		} else if (version == 0 && selector_fits(&t->selector, list, count))
			version = t->version;
	}
	return version;
}

const struct settings_target *
fleet_settings_due(const struct fleet *f, const struct bytes *list, size_t count)
{
	size_t i;

	for (i = 0; i < f->settings_count; i++)
		if (selector_fits(&f->settings[i].selector, list, count))
			return &f->settings[i];
	return NULL;
}

/* ---- versions' hashes: asked for at each report, read from the store once */

static int
keep_hash(void *ctx, const struct configuration_version *v)
{
	memcpy(((struct hashed *)ctx)->hash, v->hash, VERSION_HASH);
	return 0;
}

int
fleet_version_hash(struct fleet *f, uint64_t version, const uint8_t **hash, struct error *err)
{
	struct hashed *h = &f->hashes[version % FLEET_HASHES];
	int r;

	*hash = NULL;
	if (h->version != version) {
		h->version = 0;
		r = store_version_get(f->store, version, keep_hash, h, err);
		if (r != 1)
			return r;
		h->version = version;
	}
	*hash = h->hash;
	return 0;
}

/* ---- many agents at once */

struct one { /* an agent that may have to run something else now */
	uint8_t uid[16];
	uint64_t due;
	uint8_t hash[32]; /* what it says it was offered last */
	int has_hash, accepts, failed;
};

struct many {
	struct one *list;
	size_t count, room;
};

static int
collect(void *ctx, const struct agent *a)
{
	struct many *m = ctx;
	struct one *o;

	fleet_room((void **)&m->list, m->count, &m->room, sizeof(*m->list));
	o = &m->list[m->count++];
	memset(o, 0, sizeof(*o));
	memcpy(o->uid, a->uid, sizeof(o->uid));
	o->due = a->due;
	o->accepts = (a->capabilities & BIT_ACCEPTS_CONFIG) != 0;
	o->failed = a->config_status == CONFIG_STATUS_FAILED;
	if (a->config_hash.len == sizeof(o->hash)) {
		o->has_hash = 1;
		memcpy(o->hash, a->config_hash.data, sizeof(o->hash));
	}
	return 0;
}

/* What it is to run has changed, or was sent once more: is it what it says it runs? */
static int
is_due(struct fleet *f, const struct one *o, uint64_t due, int again, struct error *err)
{
	struct conv *c = fleet_conv_of(f, o->uid);
	const uint8_t *hash = NULL;
	int agreed;

	fleet_changed(f, o->uid);
	if (c == NULL)
		return 0;
	if (due != 0 && fleet_version_hash(f, due, &hash, err) == -1)
		return -1;
	agreed = hash == NULL || (o->has_hash && memcmp(o->hash, hash, VERSION_HASH) == 0);
	if (again)
		fleet_offer_again(f, c, due, agreed);
	else
		fleet_offer(f, c, agreed || !o->accepts ? 0 : due);
	return 0;
}

struct attributes {
	struct bytes list[FLEET_ATTRIBUTES];
	size_t count;
};

static int
keep_attribute(void *ctx, struct bytes b)
{
	struct attributes *a = ctx;
	char *copy = a->count == FLEET_ATTRIBUTES ? NULL : malloc(b.len + 1);

	if (copy == NULL)
		return 1;
	memcpy(copy, b.data, b.len);
	a->list[a->count++] = (struct bytes){copy, b.len};
	return 0;
}

/*
 * Compares what it is to run with what it was, and with what it says.  sent: a version that somebody has
 * just sent (0: none): it is offered also where it had failed.
 */
static int
settle(struct fleet *f, const struct one *o, uint64_t sent, struct attributes *a, struct error *err)
{
	uint64_t due;

	a->count = 0;
	if (store_agent_attributes_get(f->store, o->uid, keep_attribute, a, err) == -1)
		return -1;
	due = fleet_due(f, o->uid, a->list, a->count);
	while (a->count > 0)
		free((char *)(uintptr_t)a->list[--a->count].data);
	sent =
	    due != 0 && due == sent && o->failed && o->accepts && fleet_conv_of(f, o->uid) != NULL;
	if (due == o->due && !sent)
		return 0;
	if (store_agent_due(f->store, o->uid, due, f->now, err) == -1)
		return -1;
	return is_due(f, o, due, sent != 0, err);
}

/* All agents that an assignment names: uid, or else selector. */
static int
settle_all(
    struct fleet *f, const uint8_t *uid, struct bytes selector, uint64_t sent, struct error *err)
{
	struct agent_query q = {.selector = selector,
	    .connected = -1,
	    .healthy = -1,
	    .config_status = -1,
	    .limit = LIST_MOST};
	struct attributes *a = malloc(sizeof(*a));
	struct many m = {0};
	uint64_t matches;
	size_t i;
	int r;

	if (a == NULL)
		return error_set(err, "out of memory");
	r = uid != NULL ? store_agent_get(f->store, uid, collect, &m, err)
			: store_agents_list(f->store, &q, collect, &m, &matches, err);
	for (i = 0; i < m.count && r != -1; i++)
		r = settle(f, &m.list[i], sent, a, err);
	free(m.list);
	free(a);
	return r == -1 ? -1 : 0;
}

struct newly {
	struct fleet *f;
	uint64_t due;
	struct error *err;
	int result;
};

static int
newly_due(void *ctx, const struct agent *a)
{
	struct newly *n = ctx;
	struct one o;
	struct many m = {&o, 0, 1};

	(void)collect(&m, a);
	n->result = is_due(n->f, &o, n->due, o.failed && o.accepts, n->err);
	return n->result;
}

/* The newest assignment by selector counts for all that it fits but those that have one of their own. */
static int
settle_newest(struct fleet *f, const struct assignment *a, struct error *err)
{
	struct newly n = {f, a->version, err, 0};

	if (a->has_uid)
		return settle_all(f, a->uid, a->selector, a->version, err);
	if (store_agents_due(f->store, a->selector, a->version, f->now, newly_due, &n, err) == -1)
		return -1;
	return n.result;
}

/* After a failure in the middle: memory is as the store is. */
static int
undo(struct fleet *f)
{
	struct error err;

	fleet_undo(f);
	if (fleet_targets_load(f, &err) == -1)
		fatal("%s", err.text);
	return -1;
}

static int
exists(void *ctx, const struct configuration_version *v)
{
	(void)ctx;
	(void)v;
	return 0;
}

int
fleet_assign(struct fleet *f, struct assignment *a, struct error *err)
{
	struct selector check;
	int r;

	if (!a->has_uid && selector_read(&check, a->selector, err) == -1)
		return -1;
	if (f->target_count == FLEET_ASSIGNMENTS)
		return error_set(err,
		    "there are %d assignments already: delete those that are not needed",
		    FLEET_ASSIGNMENTS);
	if (fleet_begin(f, err) == -1)
		return -1;
	a->created = f->now;
	r = store_version_get(f->store, a->version, exists, NULL, err);
	if (r == 0)
		r = error_set(err, "there is no version %llu", (unsigned long long)a->version);
	if (r == -1 || store_assignment_new(f->store, a, err) == -1 ||
	    fleet_targets_load(f, err) == -1 || settle_newest(f, a, err) == -1)
		return undo(f);
	if (fleet_end(f, err) == -1)
		return undo(f);
	if (f->watch != NULL)
		f->watch(f->watch_ctx, NEWS_ASSIGNMENT, NULL, a->id);
	return 0;
}

struct wanted {
	uint64_t id;
	int found, has_uid;
	uint8_t uid[16];
	char selector[SELECTOR_TEXT];
	size_t len;
};

static int
find_assignment(void *ctx, const struct assignment *a)
{
	struct wanted *w = ctx;

	if (a->id != w->id)
		return 0;
	w->found = 1;
	w->has_uid = a->has_uid;
	memcpy(w->uid, a->uid, sizeof(w->uid));
	w->len = a->selector.len < sizeof(w->selector) ? a->selector.len : 0;
	memcpy(w->selector, a->selector.data, w->len);
	return 1;
}

int
fleet_unassign(struct fleet *f, uint64_t id, struct error *err)
{
	struct wanted w = {.id = id};

	if (store_assignments(f->store, find_assignment, &w, err) == -1)
		return -1;
	if (!w.found)
		return 0;
	if (fleet_begin(f, err) == -1)
		return -1;
	if (store_assignment_delete(f->store, id, err) == -1 || fleet_targets_load(f, err) == -1 ||
	    settle_all(f, w.has_uid ? w.uid : NULL, (struct bytes){w.selector, w.len}, 0, err) ==
		-1 ||
	    fleet_end(f, err) == -1)
		return undo(f);
	if (f->watch != NULL)
		f->watch(f->watch_ctx, NEWS_ASSIGNMENT, NULL, id);
	return 1;
}

/* ---- commands */

static int
any_agent(void *ctx, const struct agent *a)
{
	(void)ctx;
	(void)a;
	return 0;
}

/* The conversation with it, or why there can be nothing sent. */
static enum fleet_answer
reach(struct fleet *f, const uint8_t uid[16], struct conv **c, struct error *err)
{
	int r;

	*c = fleet_conv_of(f, uid);
	if (*c != NULL)
		return FLEET_SENT;
	r = store_agent_get(f->store, uid, any_agent, NULL, err);
	return r == -1 ? FLEET_FAILED : r == 0 ? FLEET_UNKNOWN : FLEET_AWAY;
}

static enum fleet_answer
told(struct fleet *f, const uint8_t uid[16], const char *kind, struct bytes author,
    struct error *err)
{
	if (fleet_begin(f, err) == -1)
		return FLEET_FAILED;
	fleet_changed(f, uid);
	if (fleet_event(f, uid, kind, err, "asked for by %.*s", (int)author.len, author.data) ==
		-1 ||
	    fleet_end(f, err) == -1) {
		fleet_undo(f);
		return FLEET_FAILED;
	}
	return FLEET_SENT;
}

enum fleet_answer
fleet_restart(struct fleet *f, const uint8_t uid[16], struct bytes author, struct error *err)
{
	struct conv *c;
	enum fleet_answer a = reach(f, uid, &c, err);

	if (a != FLEET_SENT)
		return a;
	if ((c->capabilities & BIT_RESTART) == 0)
		return FLEET_UNABLE;
	a = told(f, uid, "restart", author, err);
	if (a == FLEET_SENT && frames_send(f->frames, FRAME_COMMAND, c->number, 0, NULL, err) == -1)
		return FLEET_FAILED;
	f->figures.commands++;
	return a;
}

struct resend {
	uint64_t due;
	struct one agent;
};

static int
keep_due(void *ctx, const struct agent *a)
{
	struct resend *r = ctx;
	struct many m = {&r->agent, 0, 1};

	r->due = a->due;
	return collect(&m, a);
}

/* Whatever it said of it: the cause may be mended. */
enum fleet_answer
fleet_resend(struct fleet *f, const uint8_t uid[16], struct bytes author, struct error *err)
{
	struct resend r = {0};
	const uint8_t *hash;
	struct conv *c;
	enum fleet_answer a = reach(f, uid, &c, err);

	if (a != FLEET_SENT)
		return a;
	if (store_agent_get(f->store, uid, keep_due, &r, err) == -1)
		return FLEET_FAILED;
	if (r.due == 0 || !r.agent.accepts)
		return FLEET_UNABLE;
	if (fleet_version_hash(f, r.due, &hash, err) == -1 || fleet_begin(f, err) == -1)
		return FLEET_FAILED;
	fleet_changed(f, uid);
	fleet_offer_again(f, c, r.due,
	    hash != NULL && r.agent.has_hash && memcmp(r.agent.hash, hash, VERSION_HASH) == 0);
	if (fleet_event(f, uid, "send again", err, "asked for by %.*s", (int)author.len,
		author.data) == -1 ||
	    fleet_end(f, err) == -1) {
		c->offered = 0; /* front was told nothing */
		c->again = 0;
		fleet_undo(f);
		return FLEET_FAILED;
	}
	return FLEET_SENT;
}

struct has_custom {
	struct bytes capability;
	int found;
};

static int
look_custom(void *ctx, struct bytes body)
{
	struct has_custom *h = ctx;
	json_t *j = json_loadb(body.data, body.len, 0, NULL), *name;
	size_t i;

	json_array_foreach(json_object_get(j, "capabilities"), i, name) h->found |=
	    json_string_length(name) == h->capability.len &&
	    memcmp(json_string_value(name), h->capability.data, h->capability.len) == 0;
	json_decref(j);
	return 0;
}

enum fleet_answer
fleet_message(struct fleet *f, const uint8_t uid[16], struct bytes capability, struct bytes type,
    struct bytes data, struct bytes author, struct error *err)
{
	struct has_custom h = {capability, 0};
	struct record_writer w = {0};
	struct conv *c;
	enum fleet_answer a = reach(f, uid, &c, err);

	if (a != FLEET_SENT)
		return a;
	if (store_agent_part_get(f->store, uid, PART_CUSTOM, look_custom, &h, err) == -1)
		return FLEET_FAILED;
	if (!h.found)
		return FLEET_UNABLE; /* CM-03 */
	a = told(f, uid, "message", author, err);
	if (a != FLEET_SENT)
		return a;
	record_put(&w, KEY_CAPABILITY, 0, 0, capability.data, capability.len);
	record_put(&w, KEY_TYPE, 0, 0, type.data, type.len);
	record_put(&w, KEY_DATA, 0, 0, data.data, data.len);
	if (frames_send(f->frames, FRAME_MESSAGE, c->number, 0, &w, err) == -1)
		return FLEET_FAILED;
	f->figures.messages++;
	return FLEET_SENT;
}

enum fleet_answer
fleet_forget(struct fleet *f, const uint8_t uid[16], struct bytes author, struct error *err)
{
	char text[UID_TEXT];
	struct conv *c;
	enum fleet_answer a = reach(f, uid, &c, err);

	if (a == FLEET_UNKNOWN || a == FLEET_FAILED)
		return a;
	if (fleet_begin(f, err) == -1)
		return FLEET_FAILED;
	if (store_agent_forget(f->store, uid, err) == -1 || fleet_end(f, err) == -1 ||
	    fleet_targets_load(f, err) == -1) {
		(void)undo(f);
		return FLEET_FAILED;
	}
	f->agents--;
	uid_text(text, uid);
	log_info("agent %s was forgotten: asked for by %.*s", text, (int)author.len, author.data);
	if (c != NULL) {
		(void)frames_send(f->frames, FRAME_CLOSE, c->number, 0, NULL, err);
		fleet_conv_free(f, c);
	}
	if (f->watch != NULL)
		f->watch(f->watch_ctx, NEWS_GONE, uid, 0);
	return FLEET_SENT;
}
