/*
 * confd_out.c: what confd tells its neighbours, and the work it has done by merge.  confd only.
 */
#include "confd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply_internal.h"
#include "merge_params.h"
#include "privsep/log.h"
#include "privsep/memfd.h"

#define INSTANCE_ID     "service.instance.id"
#define SETTLED_PACE_MS 200 /* between two words to the parent on how it is with the agent */

enum noop_param { /* compose.h, which belongs to merge, names them */
	NO_NOOP,
	NOOP_IF_EMPTY
};

/* ---- merge */

static int
put_attributes(struct record_writer *w, const struct settings *s, enum setting key)
{
	struct record_entry e;
	size_t pos = 0;
	int named = 0;

	while (settings_next(s, &pos, key, &e)) {
		named |= e.len > sizeof(INSTANCE_ID) - 1 &&
			 memcmp(e.value, INSTANCE_ID, sizeof(INSTANCE_ID)) == 0;
		record_put(w, PARAM_ATTRIBUTE, 0, 0, e.value, e.len);
	}
	return named;
}

static int
parameters(struct confd *c, struct error *err)
{
	const struct settings *s = &c->child.settings;
	const struct apply_settings *set = &c->apply.set;
	struct record_writer w = {0};
	struct record_entry e;
	char id[sizeof(INSTANCE_ID) + UUID_TEXT];
	size_t pos = 0;

	record_put_string(&w, PARAM_UID_TEXT, c->apply.uid_text);
	record_put_u64(&w, PARAM_PORT, set->port);
	record_put_u64(&w, PARAM_NOOP, c->apply.gate == 1 ? NO_NOOP : NOOP_IF_EMPTY);
	record_put_u64(&w, PARAM_INJECT, (uint64_t)set->injects);
	record_put_u64(&w, PARAM_CONFIG_LIMIT, set->config_limit);
	while (settings_next(s, &pos, SET_CONFIG_FILES, &e))
		record_put(&w, PARAM_ORDER, 0, 0, e.value, e.len);
	pos = 0;
	while (settings_next(s, &pos, SET_REMOTE_EXPANSION, &e))
		record_put(&w, PARAM_ALLOW, 0, 0, e.value, e.len);
	/* one value for each name: theirs if the settings have it */
	if ((put_attributes(&w, s, SET_ID_ATTRIBUTES) |
		put_attributes(&w, s, SET_OTHER_ATTRIBUTES)) == 0) {
		memcpy(id, INSTANCE_ID, sizeof(INSTANCE_ID));
		memcpy(id + sizeof(INSTANCE_ID), c->apply.uid_text, strlen(c->apply.uid_text));
		record_put(
		    &w, PARAM_ATTRIBUTE, 0, 0, id, sizeof(INSTANCE_ID) + strlen(c->apply.uid_text));
	}
	return record_finish_memfd(&w, "parameters", err);
}

/* What merge makes of a configuration: it is judged in this form. */
static int
as_result(const struct apply_bytes *text, const char *name, struct error *err)
{
	struct record_writer w = {0};

	record_put(&w, RESULT_EFFECTIVE, 0, 0, text->data, text->len);
	return record_finish_memfd(&w, name, err);
}

/* The memory file that the bytes came in, the first time; then a copy. */
static int
hand_on(struct apply_bytes *b,
    int (*copy)(const struct apply_bytes *b, const char *name, struct error *err), const char *name,
    struct error *err)
{
	int fd = b->view.fd;

	if (b->view.mapped == 0 || fd == -1)
		return copy != NULL ? copy(b, name, err) : memfd_seal(name, b->data, b->len, err);
	b->view.fd = -1;
	return fd;
}

static void
do_merge(
    void *ctx, uint32_t job, uint32_t kind, struct apply_bytes *remote, struct apply_bytes *emitted)
{
	struct confd *c = ctx;
	struct msg_merge m = {.job = job, .kind = kind};
	struct apply_bytes nothing = {0};
	struct error err;
	int remote_fd = -1, emitted_fd = -1, params = parameters(c, &err);

	if (params == -1 ||
	    (remote != NULL && (remote_fd = hand_on(remote, NULL, "remote", &err)) == -1) ||
	    (emitted != NULL &&
		(emitted_fd = hand_on(emitted, as_result, "emitted", &err)) == -1)) {
		log_error("handing a configuration to merge: %s", err.text);
		if (params >= 0)
			close(params);
		if (remote_fd >= 0)
			close(remote_fd);
		m.status = MERGE_DIED;
		apply_merged(&c->apply, &m, &nothing);
		return;
	}
	if (remote_fd >= 0)
		child_send(&c->child, PROC_PARENT, MSG_MERGE_REMOTE, &m, NULL, 0, remote_fd);
	if (emitted_fd >= 0)
		child_send(&c->child, PROC_PARENT, MSG_MERGE_EMITTED, &m, NULL, 0, emitted_fd);
	child_send(&c->child, PROC_PARENT, MSG_MERGE_REQUEST, &m, NULL, 0, params);
}

/* ---- procd, link, timers */

static void
do_run(void *ctx, const struct msg_run *m)
{
	child_send(&((struct confd *)ctx)->child, PROC_PROCD, MSG_PROC_RUN, m, NULL, 0, -1);
}

static void
do_stop(void *ctx, const struct msg_run *m)
{
	child_send(&((struct confd *)ctx)->child, PROC_PROCD, MSG_PROC_STOP, m, NULL, 0, -1);
}

static void
do_job(void *ctx, const struct msg_job *m)
{
	child_send(&((struct confd *)ctx)->child, PROC_PROCD, MSG_PROC_JOB, m, NULL, 0, -1);
}

static void
do_baseline(void *ctx, uint32_t start)
{
	struct msg_start_id m = {start};

	child_send(&((struct confd *)ctx)->child, PROC_LINK, MSG_LINK_BASELINE, &m, NULL, 0, -1);
}

static void
do_timer(void *ctx, enum apply_timer t, uint64_t ms)
{
	struct confd *c = ctx;
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	if (ms == 0)
		(void)event_del(c->timers[t].event);
	else if (event_add(c->timers[t].event, &tv) == -1)
		fatal("no memory for a timer");
}

static uint64_t
do_now_ms(void *ctx)
{
	(void)ctx;
	return now_ms();
}

static uint64_t
do_now_ns(void *ctx)
{
	(void)ctx;
	return now_unix_ns();
}

/* ---- the server */

static void
send_status(struct confd *c)
{
	const struct apply_told *t = &c->apply.told;
	struct msg_status m = {t->status};
	size_t text = strlen(t->message), len = sizeof(uint32_t) + t->hash.len + text;
	uint32_t hash_len = (uint32_t)t->hash.len;
	char *blob = malloc(len);

	if (blob == NULL)
		fatal("no memory for a status");
	memcpy(blob, &hash_len, sizeof(hash_len));
	if (hash_len > 0)
		memcpy(blob + sizeof(hash_len), t->hash.data, hash_len);
	memcpy(blob + sizeof(hash_len) + hash_len, t->message, text);
	child_send_blob(&c->child, PROC_NETD, MSG_NET_STATUS, &m, NULL, 0, blob, len);
	free(blob);
}

static void
do_status(void *ctx)
{
	send_status(ctx);
}

static void
send_effective(struct confd *c)
{
	struct msg_effective m = {c->effective_form};
	struct error err;
	int fd;

	if (c->child.peers[PROC_NETD] == NULL) /* it is told when it is back */
		return;
	fd = hand_on(&c->effective, NULL, "effective", &err);
	/* as with child_send_blob: else it would never be said */
	if (fd == -1)
		fatal("handing on the effective configuration: %s", err.text);
	child_send(&c->child, PROC_NETD, MSG_NET_EFFECTIVE, &m, NULL, 0, fd);
}

void
confd_effective(struct confd *c, uint32_t form, struct apply_bytes *effective)
{
	if (form == c->effective_form &&
	    bytes_equal(&c->effective, effective->data, effective->len))
		return;
	bytes_move(&c->effective, effective);
	c->effective_form = form;
	send_effective(c);
}

static void
do_effective(void *ctx, const char *text, size_t len)
{
	struct apply_bytes copy = {0};
	struct confd *c = ctx;

	/* nothing runs and nothing was ever shown: nothing to take back */
	if (len == 0 && c->effective_form == EFFECTIVE_NONE)
		return;
	if (bytes_copy(&copy, text, len) == -1) {
		log_error("no memory for the effective configuration");
		return;
	}
	confd_effective(c, EFFECTIVE_TEXT, &copy);
	bytes_free(&copy);
}

static void
send_description(struct confd *c)
{
	struct msg_blob m = {0};

	child_send_blob(&c->child, PROC_NETD, MSG_NET_DESCRIPTION, &m, NULL, 0, c->description.data,
	    c->description.len);
}

void
confd_save_description(struct confd *c)
{
	struct store_cache cache = {.gate = c->apply.set.injects ? c->apply.gate : -1,
	    .description = c->description.data,
	    .description_len = c->description.len};
	struct error err;

	if (!c->description_unsaved)
		return;
	c->description_unsaved = 0;
	if (store_cache_set(c->store, &cache, &err) == -1)
		log_warn("%s", err.text); /* it comes again with the next start of the agent */
}

void
confd_describe(struct confd *c, char *data, size_t len)
{
	if (c->description.len == len && len > 0 && memcmp(c->description.data, data, len) == 0) {
		free(data);
		return;
	}
	free(c->description.data);
	c->description = (struct apply_bytes){.data = data, .len = len};
	send_description(c);
	c->description_unsaved = 1;
	/* an agent could have us write without end: then the last one is written when we end */
	if (c->descriptions.per_minute == 0)
		apply_bucket_init(&c->descriptions, LIMIT_DESCRIBES_PER_MINUTE, now_ms());
	if (apply_bucket_take(&c->descriptions, now_ms()) == 0)
		confd_save_description(c);
}

void
confd_send_uid(struct confd *c, enum proc to, uint32_t type)
{
	struct msg_uid m;

	memcpy(m.uid, c->uid, sizeof(m.uid));
	child_send(&c->child, to, type, &m, NULL, 0, -1);
}

/* Each one is written to disk, and the agent runs on it: a server could ask for that without end. */
static int
uid_too_often(struct confd *c)
{
	if (c->uids.per_minute == 0)
		apply_bucket_init(&c->uids, LIMIT_UIDS_PER_MINUTE, now_ms());
	if (apply_bucket_take(&c->uids, now_ms()) == 0) {
		c->uid_refused = 0;
		return 0;
	}
	if (!c->uid_refused)
		log_warn("the server gave more than %d instance uids in a minute: the last one "
			 "taken stays",
		    LIMIT_UIDS_PER_MINUTE);
	c->uid_refused = 1;
	return 1;
}

/* One that was made at the start, and could not be stored then. */
void
confd_save_uid(struct confd *c)
{
	struct error err;

	if (c->uid_unsaved && store_identity_set(c->store, c->uid, &err) == 0) {
		log_info("the instance uid is kept now");
		c->uid_unsaved = 0;
	}
}

/* Stored before it is used (ID-02). */
int
confd_set_uid(struct confd *c, const uint8_t uid[UUID_SIZE])
{
	struct error err;
	char text[UUID_TEXT];

	identity_text(text, uid);
	if (identity_is_zero(uid)) {
		log_warn("the server assigned an instance uid of zeroes: refused");
		return 0;
	}
	if (memcmp(uid, c->uid, UUID_SIZE) == 0 || uid_too_often(c))
		return 0;
	if (store_identity_set(c->store, uid, &err) == -1) {
		log_error(
		    "the server's new instance uid %s cannot be stored, the old one stays: %s",
		    text, err.text);
		return -1;
	}
	log_info("the server gave this agent the instance uid %s", text);
	memcpy(c->uid, uid, UUID_SIZE);
	c->uid_unsaved = 0;
	confd_send_uid(c, PROC_NETD, MSG_NET_IDENTITY);
	confd_send_uid(c, PROC_LINK, MSG_LINK_IDENTITY);
	apply_uid(&c->apply, text);
	return 0;
}

/* ---- health: once for each event, however often that event changed it */

static void
do_changed(void *ctx)
{
	((struct confd *)ctx)->health_dirty = 1;
}

static void
send_health(struct confd *c)
{
	const struct health_report *r = &c->health;
	struct msg_health m = {.healthy = (uint32_t)r->healthy,
	    .started_ns = r->started_ns,
	    .status_time_ns = r->status_time_ns};
	size_t error = strlen(r->error), status = strlen(r->status);
	char tail[sizeof(r->error) + sizeof(r->status)];

	memcpy(tail, r->error, error + 1);
	memcpy(tail + error + 1, r->status, status);
	child_send_blob(&c->child, PROC_NETD, MSG_NET_HEALTH, &m, tail, error + 1 + status,
	    r->component, r->component_len);
}

static void
publish(struct confd *c, struct health_report *r)
{
	char *copy;

	if (c->health_sent && !health_changed(r, &c->health))
		return;
	copy = malloc(r->component_len + 1);
	if (copy == NULL) {
		log_error("no memory for a health report");
		return;
	}
	if (r->component_len > 0)
		memcpy(copy, r->component, r->component_len);
	free(c->health_component.data);
	c->health_component = (struct apply_bytes){.data = copy, .len = r->component_len};
	if (r->status_time_ns == 0)
		r->status_time_ns = now_unix_ns();
	c->health = *r;
	c->health.component = copy;
	c->health_sent = 1;
	send_health(c);
	if (c->sync_waits)
		child_send(&c->child, PROC_NETD, MSG_NET_SYNCED, NULL, NULL, 0, -1);
	c->sync_waits = 0;
}

/* An agent that is well and unwell in turn, as fast as it can, is none of the parent's worries. */
void
confd_tell_settled(struct confd *c)
{
	static const struct timeval pace = {SETTLED_PACE_MS / 1000, SETTLED_PACE_MS % 1000 * 1000};
	struct msg_settled m = {c->settled};

	if (c->settled == c->settled_told || event_pending(c->settle, EV_TIMEOUT, NULL))
		return;
	c->settled_told = c->settled;
	child_send(&c->child, PROC_PARENT, MSG_CONFD_SETTLED, &m, NULL, 0, -1);
	if (event_add(c->settle, &pace) == -1)
		fatal("no memory for a timer");
}

void
confd_settle(struct confd *c)
{
	static const struct timeval hold = {HEALTH_HOLD_MS / 1000, HEALTH_HOLD_MS % 1000 * 1000};
	struct health_report r;

	if (!c->ready || !c->health_dirty)
		return;
	c->health_dirty = 0;
	health_compose(&c->apply, &r);
	c->settled = r.settled;
	confd_tell_settled(c);
	if (!r.passing) {
		(void)event_del(c->hold);
		c->health_held = c->hold_over = 0;
	} else if ((c->health_sent || c->env.lives != 0) && !c->hold_over) {
		/* lives: what the server was told by our predecessor holds as well */
		if (!c->health_held)
			(void)event_add(c->hold, &hold);
		c->health_held = 1;
		return;
	}
	publish(c, &r);
}

void
confd_hold_over(struct confd *c)
{
	c->hold_over = 1;
	c->health_dirty = 1;
	confd_settle(c);
}

/* netd is new: all of it, then the word that this was all. */
void
confd_sync_netd(struct confd *c)
{
	confd_send_uid(c, PROC_NETD, MSG_NET_IDENTITY);
	send_description(c);
	c->health_dirty = 1;
	confd_settle(c);
	if (c->health_sent)
		send_health(c);
	if (c->effective_form != EFFECTIVE_NONE)
		send_effective(c);
	send_status(c); /* UNSET too: netd may have heard more from a confd that died */
	c->sync_waits = !c->health_sent; /* a new netd's first report has the health in it */
	if (!c->sync_waits)
		child_send(&c->child, PROC_NETD, MSG_NET_SYNCED, NULL, NULL, 0, -1);
}

const struct apply_ops confd_ops = {.merge = do_merge,
    .run = do_run,
    .stop = do_stop,
    .job = do_job,
    .status = do_status,
    .baseline = do_baseline,
    .effective = do_effective,
    .changed = do_changed,
    .timer = do_timer,
    .now_ms = do_now_ms,
    .now_ns = do_now_ns};
