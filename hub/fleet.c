/*
 * fleet.c: the fleet's transactions and its conversation with front (see fleet.h).  opamphub-store.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet_inside.h"
#include "privsep/child.h"
#include "privsep/log.h"
#include "wire/wire.h"

#define FRONT_KNOWS  64  /* configurations that front is let keep; more only while they are due */
#define TURN_REPORTS 512 /* in one transaction, so that the page does not wait */
#define UNREAD       (32 * MIB) /* that front has not taken: nothing more is taken from it */

void
fleet_room(void **list, size_t count, size_t *room, size_t size)
{
	size_t more = *room == 0 ? 64 : 2 * *room;
	void *bigger;

	if (count < *room)
		return;
	bigger = reallocarray(*list, more, size);
	if (bigger == NULL)
		fatal("out of memory for the fleet");
	*list = bigger;
	*room = more;
}

/* ---- conversations */

struct conv *
fleet_conv(struct fleet *f, uint32_t number)
{
	struct conv *c;

	LIST_FOREACH (c, &f->numbers[number % FLEET_BUCKETS], by_number)
		if (c->number == number)
			return c;
	return NULL;
}

struct conv *
fleet_conv_of(struct fleet *f, const uint8_t uid[16])
{
	struct conv *c;

	LIST_FOREACH (c, &f->uids[uid_hash(uid) % FLEET_BUCKETS], by_uid)
		if (memcmp(c->uid, uid, 16) == 0)
			return c;
	return NULL;
}

struct conv *
fleet_conv_new(struct fleet *f, uint32_t number, const uint8_t uid[16])
{
	struct conv *c = calloc(1, sizeof(*c));

	if (c == NULL)
		fatal("out of memory for the fleet");
	c->number = number;
	memcpy(c->uid, uid, 16);
	LIST_INSERT_HEAD(&f->numbers[number % FLEET_BUCKETS], c, by_number);
	LIST_INSERT_HEAD(&f->uids[uid_hash(uid) % FLEET_BUCKETS], c, by_uid);
	f->figures.conversations++;
	return c;
}

void
fleet_conv_free(struct fleet *f, struct conv *c)
{
	LIST_REMOVE(c, by_number);
	LIST_REMOVE(c, by_uid);
	f->figures.conversations--;
	free(c);
}

int
fleet_is_connected(struct fleet *f, const uint8_t uid[16])
{
	return fleet_conv_of(f, uid) != NULL;
}

/* ---- transactions */

int
fleet_begin(struct fleet *f, struct error *err)
{
	if (f->open)
		return 0;
	if (store_begin(f->store, err) == -1)
		return -1;
	f->open = 1;
	f->now = now_unix_ns();
	return 0;
}

void
fleet_undo(struct fleet *f)
{
	struct conv *c;

	if (f->open)
		store_rollback(f->store);
	while (f->offer_count-- > 0) { /* the last first: of two the older knows what was before */
		c = fleet_conv(f, f->offers[f->offer_count].conv);
		if (c != NULL)
			c->offered = f->offers[f->offer_count].before;
	}
	f->open = 0;
	f->verdict_count = f->offer_count = f->changed_count = 0;
}

void
fleet_changed(struct fleet *f, const uint8_t uid[16])
{
	if (f->changed_count > 0 && memcmp(f->changed[f->changed_count - 1], uid, 16) == 0)
		return;
	fleet_room((void **)&f->changed, f->changed_count, &f->changed_room, 16);
	memcpy(f->changed[f->changed_count++], uid, 16);
}

void
fleet_offer(struct fleet *f, struct conv *c, uint64_t version)
{
	if (c->offered == version)
		return;
	fleet_room((void **)&f->offers, f->offer_count, &f->offer_room, sizeof(*f->offers));
	f->offers[f->offer_count++] = (struct offer){c->number, version, c->offered};
	c->offered = version;
}

void
fleet_offer_again(struct fleet *f, struct conv *c, uint64_t version, int once)
{
	c->offered = 0;
	c->again = once;
	fleet_offer(f, c, version);
}

/* What was to go once has gone, or cannot. */
static void
offer_once(struct fleet *f, struct conv *c)
{
	if (!c->again)
		return;
	c->again = 0;
	fleet_offer(f, c, 0);
}

/* Words of an agent's, or of a front that was taken over: what is no UTF-8 could not be told in JSON. */
static void
make_utf8(char *text, size_t len)
{
	size_t i;

	if (wire_utf8((const uint8_t *)text, len))
		return;
	for (i = 0; i < len; i++)
		if ((text[i] & 0x80) != 0)
			text[i] = '?';
}

int
fleet_event(struct fleet *f, const uint8_t uid[16], const char *kind, struct error *err,
    const char *fmt, ...)
{
	struct event_row e = {.when = f->now};
	char text[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	memcpy(e.uid, uid, 16);
	e.kind = (struct bytes){kind, strlen(kind)};
	e.text = (struct bytes){text, n < 0 ? 0 : strlen(text)};
	if (n >= (int)sizeof(text)) { /* cut between two characters */
		while (e.text.len > 0 && (text[e.text.len - 1] & 0xc0) == 0x80)
			e.text.len--;
		if (e.text.len > 0 && (text[e.text.len - 1] & 0x80) != 0)
			e.text.len--;
	}
	make_utf8(text, e.text.len);
	return store_event_add(f->store, &e, err);
}

/* ---- to front */

static void
send_frame(struct fleet *f, uint32_t type, uint32_t conv, uint32_t serial, struct record_writer *w)
{
	struct error err;

	if (frames_send(f->frames, type, conv, serial, w, &err) == -1)
		fatal("%s", err.text);
}

static int
put_version(void *ctx, const struct configuration_version *v)
{
	struct record_writer *w = ctx;
	json_t *files = json_loadb(v->files.data, v->files.len, 0, NULL);

	record_put(w, KEY_CONFIG_HASH, 0, 0, v->hash, sizeof(v->hash));
	config_files_put(w, files);
	json_decref(files);
	return 0;
}

/* Front learns of a version before it is named.  -1: it cannot be read. */
static int
front_knows(struct fleet *f, uint64_t version)
{
	struct record_writer w = {0};
	struct error err;
	size_t i;

	for (i = 0; i < f->known_count; i++)
		if (f->known[i].version == version)
			return 0;
	record_put_u64(&w, KEY_CONFIG, version);
	if (store_version_get(f->store, version, put_version, &w, &err) != 1) {
		record_discard(&w);
		return -1;
	}
	send_frame(f, FRAME_CONFIG, 0, 0, &w);
	fleet_room((void **)&f->known, f->known_count, &f->known_room, sizeof(*f->known));
	f->known[f->known_count++].version = version;
	return 0;
}

static int
is_due(struct fleet *f, uint64_t version)
{
	struct conv *c;
	unsigned i;

	for (i = 0; i < FLEET_BUCKETS; i++)
		LIST_FOREACH (c, &f->numbers[i], by_number)
			if (c->offered == version)
				return 1;
	return 0;
}

/* What is due to nobody is dropped when there is much. */
static void
front_forgets(struct fleet *f)
{
	struct record_writer w = {0};
	size_t i = 0;

	while (f->known_count > FRONT_KNOWS && i < f->known_count) {
		if (is_due(f, f->known[i].version)) {
			i++;
			continue;
		}
		record_put_u64(&w, KEY_CONFIG, f->known[i].version);
		send_frame(f, FRAME_FORGET, 0, 0, &w);
		f->known[i] = f->known[--f->known_count];
	}
}

static int
by_version(const void *a, const void *b)
{
	const struct offer *x = a, *y = b;

	return x->version < y->version ? -1 : x->version > y->version;
}

static void
send_offers(struct fleet *f)
{
	struct record_writer w = {0};
	uint32_t *convs;
	size_t i, n;

	if (f->offer_count == 0)
		return;
	qsort(f->offers, f->offer_count, sizeof(*f->offers), by_version);
	convs = reallocarray(NULL, f->offer_count, sizeof(*convs));
	if (convs == NULL)
		fatal("out of memory for the fleet");
	for (i = 0; i < f->offer_count; i += n) {
		uint64_t version = f->offers[i].version;

		for (n = 0; i + n < f->offer_count && f->offers[i + n].version == version &&
			    n < LIMIT_HUB_BATCH / 8;
		     n++)
			convs[n] = f->offers[i + n].conv;
		if (version != 0 && front_knows(f, version) == -1)
			continue;
		if (version != 0)
			record_put_u64(&w, KEY_CONFIG, version);
		record_put(&w, KEY_CONNS, 0, 0, convs, n * sizeof(*convs));
		send_frame(f, version == 0 ? FRAME_AGREED : FRAME_OFFER, 0, 0, &w);
		if (version != 0)
			f->figures.offers += n;
	}
	free(convs);
	f->offer_count = 0;
	front_forgets(f);
}

static void
send_verdicts(struct fleet *f)
{
	struct record_writer w = {0};
	const struct verdict *v;
	size_t i;

	for (i = 0; i < f->verdict_count; i++) {
		v = &f->verdicts[i];
		record_put_u64(&w, KEY_ANSWER, v->flags);
		if (v->has_uid)
			record_put(&w, KEY_NEW_UID, 0, 0, v->uid, sizeof(v->uid));
		send_frame(f, FRAME_VERDICT, v->conv, v->serial, &w);
	}
	f->verdict_count = 0;
}

int
fleet_end(struct fleet *f, struct error *err)
{
	size_t i;

	if (!f->open)
		return 0;
	if (store_commit(f->store, err) == -1) {
		fleet_undo(f);
		return -1;
	}
	f->open = 0;
	f->figures.commits++;
	send_offers(f); /* before the verdicts: an answer carries what is due */
	send_verdicts(f);
	if (f->watch != NULL)
		for (i = 0; i < f->changed_count; i++)
			f->watch(f->watch_ctx, NEWS_AGENT, f->changed[i], 0);
	f->changed_count = 0;
	return 0;
}

/* ---- from front */

/* Each conversation in the frame's list that is known. */
static int
each_conv(struct fleet *f, const struct record *r,
    int (*call)(struct fleet *f, struct conv *c, uint64_t arg, struct error *err), uint64_t arg,
    struct error *err)
{
	struct record_entry e;
	struct conv *c;
	uint32_t number;
	size_t at;

	if (!record_find(r, KEY_CONNS, &e) || e.len % sizeof(number) != 0)
		return error_set(err, "no conversations");
	for (at = 0; at < e.len; at += sizeof(number)) {
		memcpy(&number, e.value + at, sizeof(number));
		c = fleet_conv(f, number);
		if (c != NULL && call(f, c, arg, err) == -1)
			return -1;
	}
	return 0;
}

static int
seen(struct fleet *f, struct conv *c, uint64_t arg, struct error *err)
{
	(void)arg;
	return store_agent_seen(f->store, c->uid, f->now, err);
}

static int
went(struct fleet *f, struct conv *c, uint64_t what, struct error *err)
{
	uint64_t version;

	switch (what) {
	case FRAME_OFFER:
		version = c->offered;
		offer_once(f, c);
		fleet_changed(f, c->uid);
		return fleet_event(
		    f, c->uid, "offered", err, "version %llu", (unsigned long long)version);
	case FRAME_COMMAND:
		return fleet_event(f, c->uid, "restart", err, "the command was sent");
	case FRAME_MESSAGE:
		return fleet_event(f, c->uid, "message", err, "it was sent");
	case FRAME_SETTINGS:
		return fleet_event(f, c->uid, "settings", err, "connection settings were offered");
	default:
		return error_set(err, "something that cannot be sent");
	}
}

struct gone {
	struct fleet *f;
	const struct record *r;
	struct error *err;
	int result;
};

static int
gone_agent(void *ctx, const struct agent *old)
{
	struct gone *g = ctx;
	struct agent a = *old;
	struct record_entry e;

	a.connected_since = 0;
	a.last_seen = g->f->now;
	if (record_find(g->r, KEY_WHY, &e))
		a.gone_why = (struct bytes){e.value, e.len};
	g->result = store_agent_update(g->f->store, &a, g->err);
	return 0;
}

static int
gone(struct fleet *f, struct conv *c, const struct record *r, struct error *err)
{
	struct gone g = {f, r, err, 0};
	struct record_entry why;
	uint8_t uid[16];

	memcpy(uid, c->uid, sizeof(uid));
	fleet_conv_free(f, c);
	if (fleet_conv_of(f, uid) != NULL)
		return 0; /* it goes on over another one */
	if (!record_find(r, KEY_WHY, &why) || why.len > 512 ||
	    !wire_utf8((const uint8_t *)why.value, why.len))
		return error_set(err, "no reason, a long one, or not UTF-8");
	if (store_agent_get(f->store, uid, gone_agent, &g, err) == -1 || g.result == -1)
		return -1;
	fleet_changed(f, uid);
	return fleet_event(f, uid, "disconnected", err, "%.*s", (int)why.len, why.value);
}

/* So many bytes of the text, at most `most`, whole characters. */
static int
cut(const struct record_entry *e, size_t most)
{
	size_t n = e->len;

	if (n > most)
		for (n = most; n > 0 && ((unsigned char)e->value[n] & 0xc0) == 0x80;)
			n--;
	return (int)n;
}

static int
custom(struct fleet *f, struct conv *c, const struct record *r, struct error *err)
{
	struct record_entry capability, type, data;

	if (!record_find(r, KEY_CAPABILITY, &capability) || !record_find(r, KEY_TYPE, &type) ||
	    !record_find(r, KEY_DATA, &data))
		return error_set(err, "not whole");
	fleet_changed(f, c->uid);
	return fleet_event(f, c->uid, "message", err, "received: %.*s, %.*s, %u bytes",
	    cut(&capability, 200), capability.value, cut(&type, 200), type.value, data.len);
}

static int
unsent(struct fleet *f, struct conv *c, const struct record *r, struct error *err)
{
	struct record_entry why;
	uint64_t what = record_u64(r, KEY_WHAT, 0);

	if (!record_find(r, KEY_WHY, &why) || why.len > 512)
		return error_set(err, "no reason, or a long one");
	f->figures.unsent++;
	if (what == FRAME_OFFER)
		offer_once(f, c);
	fleet_changed(f, c->uid);
	return fleet_event(f, c->uid, "not sent", err, "%s: %.*s",
	    what == FRAME_OFFER     ? "the offered configuration"
	    : what == FRAME_COMMAND ? "the command to restart"
	    : what == FRAME_MESSAGE ? "the custom message"
				    : "the connection settings",
	    (int)why.len, why.value);
}

static int
on_frame(void *ctx, const struct frame_header *h, const struct record *r, struct error *err)
{
	struct fleet *f = ctx;
	struct conv *c;

	if (fleet_begin(f, err) == -1)
		return -1;
	if (h->type == FRAME_REPORT) {
		f->figures.reports++;
		if (fleet_report(f, h, r, err) == -1)
			return -1;
		return f->verdict_count < TURN_REPORTS ? 0 : fleet_end(f, err);
	}
	if (h->type == FRAME_ALIVE)
		return each_conv(f, r, seen, 0, err);
	if (h->type == FRAME_SENT)
		return each_conv(f, r, went, record_u64(r, KEY_WHAT, 0), err);
	c = fleet_conv(f, h->conn);
	if (c == NULL)
		return 0;
	switch (h->type) {
	case FRAME_GONE:
		return gone(f, c, r, err);
	case FRAME_CUSTOM:
		return custom(f, c, r, err);
	case FRAME_UNSENT:
		return unsent(f, c, r, err);
	default:
		return error_set(err, "not for us");
	}
}

/* A full disk, say, must not lose what was told: everything is begun anew, and agents tell again. */
static void
on_turn(void *ctx)
{
	struct fleet *f = ctx;
	struct error err;

	if (fleet_end(f, &err) == -1)
		fatal("%s", err.text);
	if (frames_pending(f->frames) > UNREAD)
		frames_pause(f->frames); /* it asks without taking the answers */
}

static void
on_drained(void *ctx)
{
	frames_resume(((struct fleet *)ctx)->frames);
}

static void
on_gone(void *ctx, const char *why)
{
	(void)ctx;
	fatal("the conversation with opamphub-front: %s", why);
}

struct fleet *
fleet_new(struct event_base *base, struct store *store, int fd, uint64_t max_agents,
    fleet_watcher watch, void *ctx, struct error *err)
{
	static const struct frames_callbacks callbacks = {on_frame, on_turn, on_drained, on_gone};
	struct fleet *f = calloc(1, sizeof(*f));
	struct agent_counts counts;

	if (f == NULL) {
		(void)error_set(err, "out of memory");
		return NULL;
	}
	f->store = store;
	f->max_agents = max_agents;
	f->watch = watch;
	f->watch_ctx = ctx;
	if (fleet_begin(f, err) == -1 || store_agents_all_gone(store, err) == -1 ||
	    fleet_end(f, err) == -1 || store_agents_counts(store, &counts, err) == -1 ||
	    fleet_targets_load(f, err) == -1) {
		free(f);
		return NULL;
	}
	f->agents = counts.total;
	f->frames = frames_new(base, fd, 1, &callbacks, f);
	if (f->frames == NULL)
		(void)error_set(err, "out of memory");
	return f->frames == NULL ? NULL : f;
}

struct store *
fleet_store(struct fleet *f)
{
	return f->store;
}

struct fleet_figures
fleet_figures(const struct fleet *f)
{
	return f->figures;
}
