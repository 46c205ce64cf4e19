/*
 * confd_start.c: how confd comes to be and how it ends: settings, store, identity, timers.  confd only.
 */
#include "confd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply_internal.h"
#include "privsep/log.h"

#define LAST_CALL_MS 2000 /* beyond agent.stop_timeout, at the end */

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct confd_timer *t = arg;

	(void)fd;
	(void)what;
	apply_timeout(&t->confd->apply, t->timer);
	confd_settle(t->confd);
}

static void
on_hold(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	confd_hold_over(arg);
}

/* ---- the end */

static void
leave(struct confd *c)
{
	c->health_dirty = 1;
	confd_settle(c);
	child_exit(&c->child, 0);
}

static void
on_credit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	confd_give_credit(arg);
}

static void
on_settle(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	confd_tell_settled(arg);
}

static void
on_last_call(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	log_warn("the agent does not end: leaving it to the parent");
	leave(arg);
}

/* Without procd nobody would tell; the parent then ends the agent itself. */
void
confd_check_end(struct confd *c)
{
	if (c->ready && c->apply.ending &&
	    (c->child.peers[PROC_PROCD] == NULL || apply_ended(&c->apply)))
		leave(c);
}

void
confd_end(void *ctx)
{
	struct confd *c = ctx;
	uint64_t ms = settings_u64(&c->child.settings, SET_STOP_TIMEOUT) + LAST_CALL_MS;
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	if (!c->ready)
		child_exit(&c->child, 0);
	apply_end(&c->apply);
	confd_save_description(c);
	confd_save_uid(c);
	(void)event_add(c->last_call, &tv);
	confd_settle(c);
	confd_check_end(c);
}

/* ---- the start */

static int
has_local(const struct settings *s)
{
	struct record_entry e;
	size_t pos = 0;

	while (settings_next(s, &pos, SET_CONFIG_FILES, &e))
		if (e.len > 0 && e.value[0] != '$')
			return 1;
	return 0;
}

static uint64_t
add_to_sum(uint64_t h, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (; len > 0; len--)
		/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): it does not see the bytes of a number */
		h = (h ^ *p++) * 0x100000001b3u;
	return h;
}

/*
 * FNV-1a over what decides whether a configuration can be put together and run: the agent, its program,
 * the policy and the limits.
 */
static uint64_t
settings_sum(const struct confd *c)
{
	const uint64_t program[] = {c->env.binary_dev, c->env.binary_ino, c->env.binary_size,
	    c->env.binary_mtime, c->env.agent_gid, c->env.weak};
	uint64_t h = add_to_sum(0xcbf29ce484222325u, program, sizeof(program));
	struct record_entry e;
	const char *name;
	size_t pos = 0;

	while (record_next(&c->child.settings.record, &pos, 0, &e)) {
		name = setting_name(e.key);
		if (strncmp(name, "agent.", 6) != 0 && strncmp(name, "policy.", 7) != 0 &&
		    strncmp(name, "limits.", 7) != 0)
			continue;
		h = add_to_sum(h, &e.key, sizeof(e.key));
		h = add_to_sum(h, &e.len, sizeof(e.len));
		h = add_to_sum(h, e.value, e.len);
	}
	return h == 0 ? 1 : h;
}

void
confd_apply_settings(const struct confd *c, struct apply_settings *set)
{
	const struct settings *s = &c->child.settings;
	int collector = settings_u64(s, SET_AGENT_TYPE) == 0;

	*set = (struct apply_settings){.injects = collector,
	    .raw = settings_u64(s, SET_CONFIG_FORMAT) == 1,
	    .has_local = has_local(s),
	    .accepts = settings_bool(s, SET_ACCEPTS_CONFIG),
	    .weak = c->env.weak != 0 && !settings_bool(s, SET_WEAK_REMOTE),
	    .validates =
		settings_bool(s, SET_VALIDATE) && (collector || settings_has(s, SET_VALIDATE_ARGS)),
	    .hup = settings_bool(s, SET_USE_HUP),
	    .probes = settings_has(s, SET_HEALTH_ENDPOINT),
	    .accepts_restart = settings_bool(s, SET_ACCEPTS_RESTART),
	    .timeout_ms = settings_u64(s, SET_APPLY_TIMEOUT),
	    .settling_ms = settings_u64(s, SET_SETTLING),
	    .stop_ms = settings_u64(s, SET_STOP_TIMEOUT),
	    .keep = settings_u64(s, SET_GENERATIONS),
	    .config_limit = settings_u64(s, SET_CONFIG_SIZE),
	    .offers_per_minute = settings_u64(s, SET_OFFERS_RATE),
	    .restarts_per_minute = settings_u64(s, SET_RESTARTS_RATE),
	    .port = c->env.link_port,
	    .sum = settings_sum(c),
	    .reloaded = c->env.reloaded != 0};
}

static int
find_identity(struct confd *c, struct error *err)
{
	struct error told;
	char *chosen;
	int found = store_identity(c->store, c->uid, &told);

	if (found == 1)
		return 0;
	if (found == -2) { /* it is there: whoever starts in our place finds it */
		*err = told;
		return -1;
	}
	if (found == -1)
		log_error("%s: a new instance uid is made", told.text);
	chosen = settings_string(&c->child.settings, SET_INSTANCE_ID);
	if (chosen != NULL && (identity_parse(c->uid, chosen) == -1 || identity_is_zero(c->uid))) {
		log_error("agent.instance_id: %s is no UUID: one is made", chosen);
		free(chosen);
		chosen = NULL;
	}
	if (chosen == NULL && identity_make(c->uid, now_unix_ns() / 1000000) == -1)
		return error_errno(err, "making an instance uid");
	free(chosen);
	if (store_identity_set(c->store, c->uid, &told) == -1) {
		log_error("the instance uid is not kept over a restart: %s", told.text);
		c->uid_unsaved = 1;
	}
	return 0;
}

static int
make_timers(struct confd *c)
{
	int i;

	for (i = 0; i < APPLY_TIMERS; i++) {
		c->timers[i].confd = c;
		c->timers[i].timer = (enum apply_timer)i;
		c->timers[i].event = event_new(c->child.base, -1, 0, on_timer, &c->timers[i]);
		if (c->timers[i].event == NULL)
			return -1;
	}
	c->hold = event_new(c->child.base, -1, 0, on_hold, c);
	c->last_call = event_new(c->child.base, -1, 0, on_last_call, c);
	c->credit = event_new(c->child.base, -1, 0, on_credit, c);
	c->settle = event_new(c->child.base, -1, 0, on_settle, c);
	return c->hold == NULL || c->last_call == NULL || c->credit == NULL || c->settle == NULL
		   ? -1
		   : 0;
}

int
confd_open(struct confd *c, struct error *err)
{
	struct apply_settings set;
	struct store_cache cache = {0};
	char told[1024], uid[UUID_TEXT], *name;

	name = settings_string(&c->child.settings, SET_CONFIG_NAME);
	c->store =
	    store_open(c->state_dir, name != NULL ? name : "effective.yaml", &c->env, told, err);
	free(name);
	c->state_dir = -1;
	if (c->store == NULL)
		return -1;
	if (told[0] != '\0')
		log_warn("%s", told);
	if (find_identity(c, err) == -1)
		return -1;
	if (make_timers(c) == -1)
		return error_set(err, "no memory for timers");
	store_cache(c->store, &cache);
	c->description =
	    (struct apply_bytes){.data = cache.description, .len = cache.description_len};
	identity_text(uid, c->uid);
	confd_apply_settings(c, &set);
	apply_init(&c->apply, &confd_ops, c, &set, c->store, uid);
	c->ready = 1;
	return 0;
}

void
confd_close(struct confd *c)
{
	int i;

	control_free(c->control);
	c->control = NULL;
	if (c->ready)
		apply_free(&c->apply);
	store_close(c->store);
	c->store = NULL;
	for (i = 0; i < APPLY_TIMERS; i++)
		if (c->timers[i].event != NULL)
			event_free(c->timers[i].event);
	if (c->hold != NULL)
		event_free(c->hold);
	if (c->last_call != NULL)
		event_free(c->last_call);
	if (c->credit != NULL)
		event_free(c->credit);
	if (c->settle != NULL)
		event_free(c->settle);
	bytes_free(&c->effective);
	free(c->description.data);
	free(c->health_component.data);
	c->ready = 0;
}
