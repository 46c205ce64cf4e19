/*
 * apply.c: the apply transaction (see apply.h): its state, the record, what procd is told, and what is
 * to be done next when nothing is under way.  confd only.
 */
#include "apply_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/log.h"

/* ---- bytes */

void
bytes_free(struct apply_bytes *b)
{
	if (b->view.mapped != 0)
		memfd_view_end(&b->view);
	else
		free(b->data);
	*b = (struct apply_bytes){0};
}

void
bytes_move(struct apply_bytes *to, struct apply_bytes *from)
{
	struct apply_bytes b = *from;

	*from = (struct apply_bytes){0};
	bytes_free(to);
	*to = b;
}

int
bytes_copy(struct apply_bytes *to, const void *data, size_t len)
{
	char *copy = malloc(len + 1);

	if (copy == NULL)
		return -1;
	if (len > 0)
		memcpy(copy, data, len);
	copy[len] = '\0';
	bytes_free(to);
	to->data = copy;
	to->len = len;
	return 0;
}

int
bytes_equal(const struct apply_bytes *b, const void *data, size_t len)
{
	return b->len == len && (len == 0 || memcmp(b->data, data, len) == 0);
}

/* What goes to the server has to be UTF-8, and was so before it was cut. */
void
text_trim(char *text)
{
	size_t len = strlen(text), i = len;
	unsigned char c;

	while (i > 0 && len - i < 3 && ((unsigned char)text[i - 1] & 0xc0) == 0x80)
		i--;
	if (i == 0)
		return;
	c = (unsigned char)text[i - 1];
	if (len - i < (c >= 0xf0 ? 3u : c >= 0xe0 ? 2u : c >= 0xc0 ? 1u : 0u))
		text[i - 1] = '\0';
}

/* ---- start and end */

void
apply_pass_numbers(struct apply *a)
{
	uint64_t *numbers = NULL;
	size_t count = 0;
	struct error err;

	if (store_generations(a->store, &numbers, &count, &err) == -1)
		log_warn("%s", err.text);
	else if (count > 0 && numbers[count - 1] >= a->next)
		a->next = numbers[count - 1] + 1;
	free(numbers);
}

static void
read_record(struct apply *a)
{
	const struct store_state *st = store_state(a->store);
	struct store_meta *meta = calloc(1, sizeof(*meta));
	struct error err;

	a->committed = st->committed;
	a->stopped = st->stopped != 0;
	a->told.status = st->status;
	a->told.passing = st->passing != 0;
	a->told.failed_at_ns = st->failed_at_ns;
	if (bytes_copy(&a->told.hash, st->hash, st->hash_len) == -1 || meta == NULL)
		fatal("no memory for the state");
	(void)snprintf(
	    a->told.message, sizeof(a->told.message), "%.*s", (int)st->message_len, st->message);
	if (a->committed != 0) {
		if (store_generation_meta(a->store, a->committed, meta, &err) == -1)
			log_warn("%s", err.text);
		else if (bytes_copy(&a->committed_hash, meta->hash, meta->hash_len) == -1)
			fatal("no memory for the state");
		a->committed_offer = meta->source == SOURCE_REMOTE || meta->hash_len > 0;
	}
	free(meta);
	/* numbers are never used twice: also not the one of a trial that the record never saw */
	a->next = st->next == 0 ? 1 : st->next;
	apply_pass_numbers(a);
}

static int
forget_failed(struct apply *a)
{
	struct error err;

	if (a->told.status != CONFIG_FAILED)
		return 0;
	log_info("the settings were read again: the server may offer the configuration again that "
		 "could not be applied");
	apply_tell(a, CONFIG_UNSET, "", 0, "", 0);
	a->failures = 0;
	(void)apply_scratch(a);
	if (apply_record(a, &err) == -1)
		log_error("%s", err.text);
	return 1;
}

void
apply_try_anew(struct apply *a)
{
	if (!a->ending && forget_failed(a))
		a->ops->status(a->ctx);
}

void
apply_init(struct apply *a, const struct apply_ops *ops, void *ctx,
    const struct apply_settings *set, struct store *store, const char *uid_text)
{
	struct store_cache cache = {0};

	memset(a, 0, sizeof(*a));
	a->ops = ops;
	a->ctx = ctx;
	a->set = *set;
	a->store = store;
	(void)snprintf(a->uid_text, sizeof(a->uid_text), "%s", uid_text);
	/* unlike any number of a predecessor: procd repeats it */
	a->token = a->job_last = ops->now_ns(ctx);
	a->job = (uint32_t)a->token;
	apply_bucket_init(&a->offers, set->offers_per_minute, ops->now_ms(ctx));
	apply_bucket_init(&a->restarts, set->restarts_per_minute, ops->now_ms(ctx));
	a->gate = 0;
	if (set->injects) {
		store_cache(store, &cache);
		a->gate = cache.gate;
		store_cache_free(&cache);
	}
	read_record(a);
	if (set->reloaded || (store_state(store)->sum != 0 && set->sum != store_state(store)->sum))
		(void)forget_failed(a); /* netd is told all when it is there */
}

static void
try_free(struct apply *a)
{
	bytes_free(&a->try.hash);
	bytes_free(&a->try.remote);
	bytes_free(&a->try.text);
	memset(&a->try, 0, sizeof(a->try));
}

void
apply_free(struct apply *a)
{
	try_free(a);
	bytes_free(&a->pending);
	bytes_free(&a->committed_hash);
	bytes_free(&a->told.hash);
	free(a->agent.component);
	a->agent.component = NULL;
}

void
apply_end(struct apply *a)
{
	int t;

	if (a->ending)
		return;
	a->ending = 1;
	for (t = 0; t < APPLY_TIMERS; t++)
		a->ops->timer(a->ctx, (enum apply_timer)t, 0);
	apply_stop_agent(a);
}

int
apply_ended(const struct apply *a)
{
	/* nothing was heard of procd yet: the agent may run all the same, after one of us took another's place */
	return a->agent.proc_known && a->agent.proc.state == AGENT_STOPPED &&
	       a->agent.proc.token == a->token;
}

void
apply_enter(struct apply *a, enum apply_phase phase)
{
	a->phase = phase;
	a->ops->changed(a->ctx);
}

/* The attempt is over or superseded; a trial that the agent runs stays where it is (`switched`). */
void
apply_drop(struct apply *a, const char *why)
{
	static const enum apply_timer timers[] = {
	    APPLY_TIMER_GATE, APPLY_TIMER_SETTLE, APPLY_TIMER_WORDS, APPLY_TIMER_BACK};
	struct error err;
	size_t i;

	for (i = 0; i < sizeof(timers) / sizeof(timers[0]); i++)
		a->ops->timer(a->ctx, timers[i], 0);
	if (a->phase == APPLY_VALIDATE || a->phase == APPLY_WORDS)
		store_candidate_remove(a->store);
	if (why != NULL && a->try.generation != 0 &&
	    store_generation_outcome(a->store, a->try.generation, OUTCOME_FAILED, why, &err) == -1)
		log_warn("%s", err.text);
	a->job++;
	a->job_token = 0;
	a->want_words = 0;
	a->words_start = 0;
	a->well_since_ms = 0;
	a->stale = 0;
	try_free(a);
}

/* ---- what the server is told */

void
apply_tell(struct apply *a, uint32_t status, const void *hash, size_t hash_len, const char *message,
    int passing)
{
	if (bytes_copy(&a->told.hash, hash, hash_len) == -1) {
		log_error("no memory for the configuration's hash");
		bytes_free(&a->told.hash);
	}
	a->told.status = status;
	a->told.passing = passing;
	a->told_again = 0;
	a->told.failed_at_ns = status == CONFIG_FAILED ? a->ops->now_ns(a->ctx) : 0;
	(void)snprintf(a->told.message, sizeof(a->told.message), "%s", message);
	text_trim(a->told.message);
}

/* ---- the record */

struct store_state *
apply_scratch(struct apply *a)
{
	struct store_state *st = &a->scratch;

	*st = *store_state(a->store);
	st->stopped = (uint32_t)a->stopped;
	st->next = a->next;
	st->sum = a->set.sum;
	st->status = a->told.status;
	st->passing = (uint32_t)a->told.passing;
	st->failed_at_ns = a->told.failed_at_ns;
	st->hash_len = (uint32_t)a->told.hash.len;
	memset(st->hash, 0, sizeof(st->hash));
	if (a->told.hash.len > 0)
		memcpy(st->hash, a->told.hash.data, a->told.hash.len);
	st->message_len = (uint32_t)strlen(a->told.message);
	memset(st->message, 0, sizeof(st->message));
	memcpy(st->message, a->told.message, st->message_len);
	return st;
}

int
apply_record(struct apply *a, struct error *err)
{
	return store_state_set(a->store, &a->scratch, err);
}

/* ---- procd */

uint32_t
apply_flags(const struct apply *a)
{
	return a->set.injects && a->gate == 1 ? AGENT_NO_PIPELINES_GATE : 0;
}

void
apply_show(struct apply *a, uint64_t generation)
{
	struct error err;
	char *text = NULL;
	size_t len = 0;

	if (generation == 0) {
		a->ops->effective(a->ctx, "", 0);
		return;
	}
	if (a->set.injects)
		return; /* the Collector tells it itself, with its secrets left out */
	if (store_generation_effective(a->store, generation, &text, &len, &err) == -1)
		log_warn("%s", err.text);
	else
		a->ops->effective(a->ctx, text, len);
	free(text);
}

void
apply_run(struct apply *a, uint32_t how, uint64_t generation)
{
	struct msg_run m = {
	    .how = how, .flags = apply_flags(a), .generation = generation, .token = ++a->token};

	a->waiting = 0;
	a->obeyed = 0;
	if (generation != a->run_generation)
		apply_show(a, generation);
	a->run_generation = generation;
	if (how == RUN_RESTART) {
		a->run_start = 0;
		a->to_end = a->agent.proc.start;
	}
	a->well_since_ms = 0;
	a->ops->timer(a->ctx, APPLY_TIMER_SETTLE, 0);
	a->ops->run(a->ctx, &m);
	a->ops->changed(a->ctx);
}

void
apply_stop_agent(struct apply *a)
{
	struct msg_run m = {.token = ++a->token};

	if (!a->ending)
		apply_show(a, 0);
	a->run_generation = 0;
	a->run_start = 0;
	a->obeyed = 0;
	a->ops->stop(a->ctx, &m);
	a->ops->changed(a->ctx);
}

int
apply_same_text(struct apply *a, uint64_t generation, uint64_t other)
{
	char *x = NULL, *y = NULL;
	size_t x_len = 0, y_len = 0;
	int same;

	if (generation == other)
		return 1;
	same = store_generation_effective(a->store, generation, &x, &x_len, NULL) == 0 &&
	       store_generation_effective(a->store, other, &y, &y_len, NULL) == 0 &&
	       x_len == y_len && (x_len == 0 || memcmp(x, y, x_len) == 0);
	free(x);
	free(y);
	return same;
}

/* ---- what comes next */

void
apply_next(struct apply *a)
{
	if (a->ending || a->phase != APPLY_IDLE)
		return;
	if (a->pending.data != NULL)
		apply_take_pending(a);
	if (a->phase != APPLY_IDLE || a->stopped || a->held)
		return;
	if (a->committed == 0 && !a->waiting && (a->base == 0 || a->recompose)) {
		a->recompose = 0;
		apply_begin_base(a);
	} else if (a->committed != 0 && a->recompose) {
		a->recompose = 0;
		apply_attempt_identity(a, 0);
	}
}

void
apply_recompose(struct apply *a)
{
	a->recompose = 1;
	a->held = 0;
	a->again = 0;
	if (!a->switched) /* else it is the way back that waits */
		a->ops->timer(a->ctx, APPLY_TIMER_AGAIN, 0);
	apply_next(a);
}

void
apply_uid(struct apply *a, const char *uid_text)
{
	(void)snprintf(a->uid_text, sizeof(a->uid_text), "%s", uid_text);
	apply_attempt_again(a); /* what is being put together has the old one in it */
	apply_recompose(a);
}

int
apply_restart(struct apply *a, int by_server, struct error *err)
{
	if (by_server && !a->set.accepts_restart)
		return error_set(err, "capabilities.accepts_restart_command is not set");
	if (a->ending || a->phase == APPLY_WAITING || a->phase == APPLY_PROBE)
		return error_set(err, "opampd is just starting or ending");
	if (a->stopped)
		return error_set(
		    err, "the agent is stopped: the server sent an empty configuration");
	if (a->run_generation == 0)
		return error_set(err, "there is nothing to run: %s",
		    a->local_error[0] != '\0' ? a->local_error : "no configuration yet");
	if (a->phase == APPLY_ROLLBACK || a->phase == APPLY_STOPPING)
		return error_set(err, "the agent is being restarted already");
	if (by_server && apply_bucket_take(&a->restarts, a->ops->now_ms(a->ctx)) != 0)
		return error_set(err,
		    "more than %llu restart commands in a minute (limits.restarts_per_minute)",
		    (unsigned long long)a->set.restarts_per_minute);
	log_info("restarting the agent, as %s wants", by_server ? "the server" : "an admin");
	apply_run(a, RUN_RESTART, a->run_generation);
	a->stale = 0; /* in a trial: what comes now is of the new start */
	a->try.reload = 0;
	return 0;
}

void
apply_timeout(struct apply *a, enum apply_timer t)
{
	char missing[LIMIT_AGENT_TEXT + 256];

	if (a->ending)
		return;
	switch (t) {
	case APPLY_TIMER_GATE:
		if (a->phase == APPLY_GATE)
			apply_fail(a, 1,
			    "it did not become healthy within %llu ms "
			    "(agent.config_apply_timeout): "
			    "%s",
			    (unsigned long long)a->set.timeout_ms,
			    apply_missing(a, missing, sizeof(missing)));
		break;
	case APPLY_TIMER_SETTLE:
		apply_judge(a);
		break;
	case APPLY_TIMER_WORDS:
		a->want_words = 0;
		apply_words_came(a);
		break;
	case APPLY_TIMER_BACK:
		apply_rollback_done(a);
		break;
	case APPLY_TIMER_RATE:
		if (a->pending.data != NULL && a->phase != APPLY_WAITING && a->phase != APPLY_PROBE)
			apply_take_pending(a);
		break;
	case APPLY_TIMER_AGAIN:
		a->held = 0;
		if ((a->phase == APPLY_IDLE || a->phase == APPLY_ROLLBACK) && a->switched)
			apply_go_back(a); /* it could not before */
		apply_next(a);
		break;
	case APPLY_TIMERS:
	default:
		break;
	}
}

/* Before procd's first word nothing is decided: link may tell of an agent that runs on from before us. */
int
apply_may_run(const struct apply *a)
{
	return apply_current(a) != 0 || a->phase == APPLY_WAITING || a->phase == APPLY_PROBE;
}

uint64_t
apply_current(const struct apply *a)
{
	return a->stopped ? 0 : a->run_generation;
}
