/*
 * apply_world.h: a world around the apply transaction: a store in memory, a procd, a link and a merge
 * that answer when the test says so, and a clock of the test's own.
 */
#ifndef TESTS_UNIT_APPLY_WORLD_H
#define TESTS_UNIT_APPLY_WORLD_H

#include "test.h"

#include <stdio.h>

#include "confd/apply.h"
#include "fake_store.h"
#include "privsep/log.h"
#include "privsep/offer.h"
#include "privsep/record.h"
#include "confd/merge_params.h"

#define UID  "01890000-0000-7000-8000-000000000001"
#define PORT 4321

struct world {
	struct apply a;
	struct apply_settings set;
	struct store store;
	uint64_t now, timers[APPLY_TIMERS]; /* when; 0 = off */
	/* what was asked */
	unsigned merges, composes, runs, stops, jobs, statuses, baselines, effectives;
	uint32_t job, kind;
	char remote_has[64];
	struct msg_run run;
	struct msg_job asked;
	char effective[256];
	/* what the server was told: a letter for each report, and the last hash */
	char told[256], hash[64], message[STORE_MESSAGE];
	/* the agent */
	uint32_t start;
	struct msg_state proc;
};

static inline void
w_merge(
    void *ctx, uint32_t job, uint32_t kind, struct apply_bytes *remote, struct apply_bytes *emitted)
{
	struct world *w = ctx;
	struct offer o = {0};

	w->merges++;
	w->composes += kind == MERGE_COMPOSE;
	assert_int_equal(kind == MERGE_CHECK, emitted != NULL);
	w->job = job;
	w->kind = kind;
	w->remote_has[0] = '\0';
	if (remote != NULL) {
		assert_int_equal(
		    offer_open(&o, remote->data, remote->len, LIMIT_CONFIG_BYTES, NULL), 0);
		if (o.count > 0)
			(void)snprintf(w->remote_has, sizeof(w->remote_has), "%.*s",
			    (int)o.files[0].body.len, o.files[0].body.data);
		offer_close(&o);
	}
}

static inline void
w_run(void *ctx, const struct msg_run *m)
{
	struct world *w = ctx;

	w->runs++;
	w->run = *m;
}

static inline void
w_stop(void *ctx, const struct msg_run *m)
{
	struct world *w = ctx;

	w->stops++;
	w->run = *m;
	w->run.generation = 0;
}

static inline void
w_job(void *ctx, const struct msg_job *m)
{
	struct world *w = ctx;

	w->jobs++;
	w->asked = *m;
}

static inline void
w_status(void *ctx)
{
	static const char letters[] = "?AyF"; /* unset, Applied, applYing, Failed */
	struct world *w = ctx;
	const struct apply_told *t = &w->a.told;

	w->told[w->statuses++ % (sizeof(w->told) - 1)] = letters[t->status];
	(void)snprintf(w->hash, sizeof(w->hash), "%.*s", (int)t->hash.len, t->hash.data);
	(void)snprintf(w->message, sizeof(w->message), "%s", t->message);
}

static inline void
w_baseline(void *ctx, uint32_t start)
{
	struct world *w = ctx;

	assert_int_equal(start, w->start);
	w->baselines++;
}

static inline void
w_effective(void *ctx, const char *text, size_t len)
{
	struct world *w = ctx;

	w->effectives++;
	(void)snprintf(w->effective, sizeof(w->effective), "%.*s", (int)len, text);
}

static inline void
w_changed(void *ctx)
{
	(void)ctx;
}

static inline void
w_timer(void *ctx, enum apply_timer t, uint64_t ms)
{
	struct world *w = ctx;

	w->timers[t] = ms == 0 ? 0 : w->now + ms;
}

static inline uint64_t
w_now_ms(void *ctx)
{
	return ((struct world *)ctx)->now;
}

static inline uint64_t
w_now_ns(void *ctx)
{
	return ((struct world *)ctx)->now * 1000000;
}

static const struct apply_ops world_ops = {.merge = w_merge,
    .run = w_run,
    .stop = w_stop,
    .job = w_job,
    .status = w_status,
    .baseline = w_baseline,
    .effective = w_effective,
    .changed = w_changed,
    .timer = w_timer,
    .now_ms = w_now_ms,
    .now_ns = w_now_ns};

/* A Collector with remote configuration switched on. */
static inline struct world *
world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	log_set_level(LOG_LEVEL_ERROR);
	w->now = 1000000;
	w->store.gate = 0;
	w->set = (struct apply_settings){.injects = 1,
	    .accepts = 1,
	    .validates = 1,
	    .accepts_restart = 1,
	    .timeout_ms = 30000,
	    .settling_ms = 2000,
	    .stop_ms = 10000,
	    .keep = 10,
	    .config_limit = LIMIT_CONFIG_BYTES,
	    .offers_per_minute = 1000,
	    .restarts_per_minute = 2,
	    .port = PORT};
	w->proc.state = AGENT_STOPPED;
	return w;
}

/* confd starts: procd tells its state first. */
static inline void
world_boot(struct world *w)
{
	w->merges = w->composes = w->runs = w->stops = w->jobs = w->statuses = 0;
	memset(w->told, 0, sizeof(w->told));
	memset(w->timers, 0, sizeof(w->timers));
	memset(&w->run, 0, sizeof(w->run));
	apply_init(&w->a, &world_ops, w, &w->set, &w->store, UID);
	apply_link_up(&w->a);
	apply_procd_up(&w->a);
	assert_int_equal(apply_proc_state(&w->a, &w->proc), 0);
}

static inline void
world_crash(struct world *w) /* of confd: what is in memory is gone */
{
	apply_free(&w->a);
}

static inline void
world_free(struct world *w)
{
	apply_free(&w->a);
	fake_store_clear(&w->store);
	free(w);
}

/* ---- time */

static inline void
pass(struct world *w, uint64_t ms)
{
	uint64_t until = w->now + ms;

	for (;;) {
		int t, next = -1;

		for (t = 0; t < APPLY_TIMERS; t++)
			if (w->timers[t] != 0 && w->timers[t] <= until &&
			    (next == -1 || w->timers[t] < w->timers[next]))
				next = t;
		if (next == -1)
			break;
		if (w->timers[next] > w->now)
			w->now = w->timers[next];
		w->timers[next] = 0;
		apply_timeout(&w->a, (enum apply_timer)next);
	}
	w->now = until;
}

/* ---- merge and the agent's own check */

static inline void
merged(struct world *w, enum merge_status status, const char *text)
{
	struct msg_merge m = {.job = w->job, .kind = w->kind, .status = status};
	struct record_writer r = {0};
	struct error err;
	char *data;
	size_t len;

	if (status == MERGE_DONE_OK && w->kind == MERGE_COMPOSE) {
		record_put(&r, RESULT_EFFECTIVE, 0, 0, text, strlen(text));
		assert_int_equal(record_finish(&r, &data, &len, &err), 0);
	} else {
		data = fake_copy(text, strlen(text));
		len = strlen(text);
	}
	apply_merged(&w->a, &m, &(struct apply_bytes){.data = data, .len = len});
}

static inline void
composed(struct world *w, const char *text) /* and checked */
{
	assert_int_equal(w->a.phase, APPLY_COMPOSE);
	merged(w, MERGE_DONE_OK, text);
	if (w->a.phase == APPLY_CHECK)
		merged(w, MERGE_DONE_OK, "");
}

static inline void
job_done(struct world *w, enum exit_kind how, int value)
{
	struct msg_job_done m = {.token = w->asked.token,
	    .start = 900,
	    .kind = w->asked.kind,
	    .exit = how,
	    .value = value};

	assert_int_equal(apply_job_done(&w->a, &m), 0);
}

static inline void
words(struct world *w, uint32_t start, enum agent_kind kind, const char *text)
{
	struct msg_output_end m = {.start = start, .kind = kind};

	assert_int_equal(apply_output_end(&w->a, &m, text, strlen(text)), 0);
}

/* ---- procd */

static inline void
state(struct world *w, enum agent_state s)
{
	w->proc.state = s;
	w->proc.token = w->run.token;
	w->proc.generation = w->run.generation;
	if (s != AGENT_RUNNING && s != AGENT_STOPPING) {
		w->proc.start = 0;
		w->proc.pid = 0;
		w->proc.started_ns = 0;
	}
	assert_int_equal(apply_proc_state(&w->a, &w->proc), 0);
}

/* What was asked for is done: another process runs. */
static inline void
runs(struct world *w)
{
	uint32_t token = (uint32_t)w->run.token;

	if (w->proc.state == AGENT_RUNNING)
		state(w, AGENT_STOPPING);
	memset(&w->proc, 0, sizeof(w->proc));
	state(w, AGENT_STARTING);
	w->proc.start = ++w->start;
	w->proc.pid = 1000 + (int32_t)w->start;
	w->proc.started_ns = w->now * 1000000;
	state(w, AGENT_RUNNING);
	assert_int_equal((uint32_t)w->run.token == token || w->a.phase != APPLY_IDLE, 1);
}

static inline void
stopped(struct world *w)
{
	memset(&w->proc, 0, sizeof(w->proc));
	state(w, AGENT_STOPPED);
}

static inline void
crashes(struct world *w, enum exit_kind how, int value)
{
	w->proc.exit = how;
	w->proc.value = value;
	w->proc.exit_start = w->start;
	state(w, AGENT_BACKOFF);
}

/* ---- link */

static inline void
connects(struct world *w)
{
	struct msg_link_agent m = {w->start, LINK_CONNECTED};

	assert_int_equal(apply_link_agent(&w->a, &m), 0);
}

static inline void
disconnects(struct world *w)
{
	struct msg_link_agent m = {w->start, LINK_DISCONNECTED};

	assert_int_equal(apply_link_agent(&w->a, &m), 0);
}

static inline void
reports(struct world *w, int healthy, enum worst worst, const char *error)
{
	struct msg_agent_health m = {
	    .start = w->start, .healthy = (uint32_t)healthy, .worst = worst, .components = 3};

	assert_int_equal(
	    apply_health(&w->a, &m, error, strlen(error) + 1, fake_copy("tree", 4), 4), 0);
}

static inline void
well(struct world *w)
{
	connects(w);
	reports(w, 1, WORST_OK, "");
}

/* ---- the server */

static inline char *
make_offer(const char *hash, size_t hash_len, const char *body, int empty_map, size_t *len)
{
	struct offer_file f = {{"", 0}, {"text/yaml", 9}, {body, strlen(body)}};
	struct offer o = {.hash = {hash, hash_len},
	    .empty_map = (uint32_t)empty_map,
	    .count = !empty_map,
	    .files = &f};
	struct error err;
	char *data;

	assert_int_equal(offer_pack(&o, LIMIT_CONFIG_BYTES, &data, len, &err), 0);
	return data;
}

static inline void
offer(struct world *w, const char *hash, const char *body)
{
	size_t len;
	char *data = make_offer(hash, strlen(hash), body, 0, &len);

	apply_offer(&w->a, &(struct apply_bytes){.data = data, .len = len});
}

static inline void
offer_empty_map(struct world *w, const char *hash)
{
	size_t len;
	char *data = make_offer(hash, strlen(hash), "", 1, &len);

	apply_offer(&w->a, &(struct apply_bytes){.data = data, .len = len});
}

/* ---- longer ways */

static inline const char *
text_of(const char *what) /* a configuration with what opampd injects */
{
	static char text[512];

	(void)snprintf(text, sizeof(text), "%s ws://127.0.0.1:%d/v1/opamp %s", what, PORT, UID);
	return text;
}

/* A first start: the local configuration runs and is committed as generation 1. */
static inline struct world *
world_committed(struct world *w)
{
	world_boot(w);
	composed(w, text_of("local"));
	runs(w);
	well(w);
	pass(w, 2000);
	assert_int_equal(w->a.committed, 1);
	w->runs = w->merges = w->composes = w->jobs = w->statuses = w->effectives = 0;
	return w;
}

/* An offer up to the moment its process runs. */
static inline void
tried(struct world *w, const char *hash, const char *body)
{
	offer(w, hash, body);
	composed(w, text_of(body));
	if (w->set.validates)
		job_done(w, EXIT_CODE, 0);
	assert_int_equal(w->a.phase, APPLY_GATE);
}

static inline void
applied(struct world *w, const char *hash, const char *body)
{
	tried(w, hash, body);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_int_equal(w->a.phase, APPLY_IDLE);
	assert_int_equal(w->a.told.status, CONFIG_APPLIED);
}

#endif
