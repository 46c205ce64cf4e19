/*
 * client_fake.h: a server, a confd and a clock for the tests of netd's client.
 */
#ifndef TESTS_UNIT_CLIENT_FAKE_H
#define TESTS_UNIT_CLIENT_FAKE_H

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netd/client.h"
#include "wire/wire.h"
#include "privsep/log.h"
#include "privsep/offer.h"

#define SENT_MAX 4096

#define CAPABILITY(name) OPAMP__PROTO__V1__AGENT_CAPABILITIES__AgentCapabilities_##name
#define SERVER_CAN(name) OPAMP__PROTO__V1__SERVER_CAPABILITIES__ServerCapabilities_##name

typedef Opamp__Proto__V1__AgentToServer Report;
typedef Opamp__Proto__V1__ServerToAgent Answer;

struct fake {
	struct client c;
	struct report r;
	struct describe d;
	struct settings settings;
	char empty[8];
	uint64_t now, timers[CLIENT_TIMER_COUNT];
	int random_max; /* jitter: 0 = none, 1 = all of it */
	uint32_t attempts, cancels, drops, closes, pings, restarts, offers, uids, dones, states;
	uint16_t close_code;
	size_t pending;
	int fail_offer;
	Report *sent[SENT_MAX]; /* decoded */
	size_t sent_count, sent_bytes;
	struct msg_offer offer;
	char *offer_data;
	size_t offer_len;
	uint8_t uid[16];
	struct msg_server state;
	char why[512];
};

static const uint8_t uid_one[16] = {1, 1}, uid_two[16] = {2, 2}, uid_three[16] = {3, 3};

static void
do_connect(void *ctx, uint32_t attempt)
{
	struct fake *f = ctx;

	assert_int_equal(attempt, f->c.attempt);
	f->attempts++;
}

static void
do_cancel(void *ctx, uint32_t attempt)
{
	(void)attempt;
	((struct fake *)ctx)->cancels++;
}

static int
do_send(void *ctx, const void *body, size_t len)
{
	struct fake *f = ctx;
	struct error err = {""};
	Report *r =
	    (Report *)wire_unpack(&opamp__proto__v1__agent_to_server__descriptor, body, len, &err);

	assert_string_equal(err.text, "");
	assert_non_null(r);
	assert_true(f->sent_count < SENT_MAX);
	/* ST-06, ST-12: in every message */
	assert_int_equal(r->instance_uid.len, 16);
	assert_memory_equal(r->instance_uid.data, f->r.uid, 16);
	assert_int_equal(r->capabilities, f->r.capabilities);
	if (f->sent_count > 0)
		assert_int_equal(r->sequence_num, f->sent[f->sent_count - 1]->sequence_num + 1);
	else
		assert_int_equal(r->sequence_num, 0);
	f->sent[f->sent_count++] = r;
	f->sent_bytes = len;
	return 0;
}

static size_t
do_pending(void *ctx)
{
	return ((struct fake *)ctx)->pending;
}

static void
do_ping(void *ctx)
{
	((struct fake *)ctx)->pings++;
}

static void
do_close(void *ctx, uint16_t code, const char *reason)
{
	struct fake *f = ctx;

	(void)reason;
	f->closes++;
	f->close_code = code;
}

static void
do_drop(void *ctx)
{
	((struct fake *)ctx)->drops++;
}

static void
do_timer(void *ctx, enum client_timer t, uint64_t ms)
{
	((struct fake *)ctx)->timers[t] = ms;
}

static int
do_offer(void *ctx, const struct msg_offer *m, const char *data, size_t len)
{
	struct fake *f = ctx;

	if (f->fail_offer)
		return -1;
	f->offers++;
	f->offer = *m;
	free(f->offer_data);
	f->offer_data = malloc(len + 1);
	memcpy(f->offer_data, data, len);
	f->offer_len = len;
	return 0;
}

static void
do_restart(void *ctx)
{
	((struct fake *)ctx)->restarts++;
}

static void
do_new_uid(void *ctx, const uint8_t uid[16])
{
	struct fake *f = ctx;

	f->uids++;
	memcpy(f->uid, uid, 16);
}

static void
do_state(void *ctx, const struct msg_server *m, const char *why)
{
	struct fake *f = ctx;

	f->states++;
	f->state = *m;
	(void)snprintf(f->why, sizeof(f->why), "%s", why);
}

static void
do_done(void *ctx)
{
	((struct fake *)ctx)->dones++;
}

static uint64_t
do_now(void *ctx)
{
	return ((struct fake *)ctx)->now;
}

static uint64_t
do_random(void *ctx, uint64_t below)
{
	return ((struct fake *)ctx)->random_max ? below - 1 : 0;
}

static const struct client_ops ops = {do_connect, do_cancel, do_send, do_pending, do_ping, do_close,
    do_drop, do_timer, do_offer, do_restart, do_new_uid, do_state, do_done, do_now, do_random};

static const struct client_settings usual = {
    .capabilities = CAPABILITY(ReportsStatus) | CAPABILITY(AcceptsRemoteConfig) |
		    CAPABILITY(ReportsEffectiveConfig) | CAPABILITY(ReportsHealth) |
		    CAPABILITY(ReportsRemoteConfig) | CAPABILITY(ReportsHeartbeat) |
		    CAPABILITY(AcceptsRestartCommand),
    .heartbeat_ms = 30000,
    .ping_ms = 60000,
    .response_ms = 60000,
    .connect_ms = 30000,
    .delay_min_ms = 1000,
    .delay_max_ms = 300000,
    .stable_ms = 30000,
    .config_size = 4096};

static inline void
init_with(struct fake *f, const struct client_settings *set)
{
	static const uint32_t record[2] = {RECORD_MAGIC, 0};
	struct error err;

	memset(f, 0, sizeof(*f));
	log_set_level(LOG_LEVEL_ERROR);
	f->now = 100000;
	memcpy(f->empty, record, sizeof(record));
	assert_int_equal(record_open(&f->settings.record, f->empty, sizeof(f->empty), &err), 0);
	assert_int_equal(describe_init(&f->d, &f->settings, &err), 0);
	report_init(&f->r, &f->d, set->capabilities, 65536);
	client_init(&f->c, &ops, f, set, &f->r);
}

static inline void
init(struct fake *f)
{
	init_with(f, &usual);
}

static inline void
clear(struct fake *f)
{
	size_t i;

	for (i = 0; i < f->sent_count; i++)
		wire_free(&f->sent[i]->base);
	free(f->offer_data);
	client_clear(&f->c);
	report_clear(&f->r);
	describe_clear(&f->d);
}

/* ---- confd */

static inline void
took(struct fake *f, int changed)
{
	assert_int_not_equal(changed, -1);
	if (changed)
		client_changed(&f->c);
}

static inline void
health_at(struct fake *f, int healthy, const char *error, uint64_t started, uint64_t time)
{
	struct msg_health m = {
	    .healthy = (uint32_t)healthy, .started_ns = started, .status_time_ns = time};
	struct error err;

	took(f, report_health(&f->r, &m, error, strlen(error), "", 0, &err));
}

static inline void
health(struct fake *f, int healthy, const char *error)
{
	health_at(f, healthy, error, 7, f->now);
}

static inline void
effective(struct fake *f, const char *text)
{
	struct error err;

	took(f,
	    report_effective(&f->r, EFFECTIVE_TEXT,
		&(struct memfd_view){.data = (char *)(uintptr_t)text, .len = strlen(text)}, &err));
}

static inline void
status(struct fake *f, uint32_t s, const char *hash, const char *text)
{
	char blob[256];
	uint32_t n = (uint32_t)strlen(hash);
	struct error err;

	memcpy(blob, &n, 4);
	memcpy(blob + 4, hash, n);
	memcpy(blob + 4 + n, text, strlen(text));
	took(f, report_status(&f->r, s, blob, 4 + n + strlen(text), &err));
}

static inline void
identity(struct fake *f, const uint8_t uid[16])
{
	struct error err;

	assert_int_equal(client_identity(&f->c, uid, &err), 0);
}

static inline void
sync_all(struct fake *f)
{
	client_confd_up(&f->c);
	identity(f, uid_one);
	health(f, 1, "");
	effective(f, "a: 1\n");
	status(f, CONFIG_UNSET, "", "");
	client_synced(&f->c);
}

/* ---- the server */

static inline void
say(struct fake *f, Answer *a)
{
	size_t len = opamp__proto__v1__server_to_agent__get_packed_size(a);
	uint8_t *data = malloc(len + 1);

	data[0] = 0;
	(void)opamp__proto__v1__server_to_agent__pack(a, data + 1);
	client_heard(&f->c);
	client_message(&f->c, data, len + 1);
	free(data);
}

static inline void
answer(struct fake *f, uint64_t capabilities)
{
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;

	a.capabilities = capabilities;
	say(f, &a);
}

#define SERVER_ALL                                                                                 \
	(SERVER_CAN(AcceptsStatus) | SERVER_CAN(OffersRemoteConfig) |                              \
	    SERVER_CAN(AcceptsEffectiveConfig))

static inline void
fail_with(struct fake *f, int http_status, int64_t retry_after)
{
	struct client_failure why = {"it failed", http_status, retry_after};

	client_failed(&f->c, &why);
}

static inline void
fire(struct fake *f, enum client_timer t)
{
	assert_int_not_equal(f->timers[t], 0);
	f->now += f->timers[t];
	f->timers[t] = 0;
	client_timeout(&f->c, t);
}

/* Connected, first report and effective configuration sent, both answered. */
static inline void
open_up(struct fake *f)
{
	init(f);
	sync_all(f);
	client_opened(&f->c);
	answer(f, SERVER_ALL);
	answer(f, 0);
}

static inline Report *
last(struct fake *f)
{
	assert_true(f->sent_count > 0);
	return f->sent[f->sent_count - 1];
}

#endif
