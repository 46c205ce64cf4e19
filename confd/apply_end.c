/*
 * apply_end.c: how an attempt ends: committed, or back to what was there (see apply.h).  confd only.
 * Going back needs no write: the record on disk says "trial" until the new one can be written, and who
 * reads that after a crash goes back as well.
 */
#include "apply_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "privsep/log.h"

/* ---- kept */

static void
prove(struct apply *a, uint64_t generation)
{
	struct error err;

	if (store_generation_outcome(a->store, generation, OUTCOME_COMMITTED, "", &err) == -1)
		log_warn("%s", err.text);
	if (a->agent.proc.start != 0 && apply_running(a)) {
		a->ops->baseline(a->ctx, a->agent.proc.start);
		a->baselined = 1;
	}
}

/* What the server sent is no part of it any more: it is to offer anew when it may. */
static int
takes_back(const struct apply *a)
{
	return !a->try.has_offer && !a->set.accepts && a->told.status != CONFIG_UNSET;
}

static int
write_commit(struct apply *a, uint64_t generation, struct error *err)
{
	struct store_state *st = apply_scratch(a);

	st->committed = generation;
	st->trial = 0;
	st->phase = PHASE_IDLE;
	st->stopped = 0;
	if (a->try.has_offer || takes_back(a)) {
		st->status = a->try.has_offer ? CONFIG_APPLIED : CONFIG_UNSET;
		st->passing = 0;
		st->failed_at_ns = 0;
		st->message_len = 0;
		memset(st->message, 0, sizeof(st->message));
		st->hash_len = (uint32_t)a->try.hash.len;
		memset(st->hash, 0, sizeof(st->hash));
		if (a->try.hash.len > 0)
			memcpy(st->hash, a->try.hash.data, a->try.hash.len);
	}
	return apply_record(a, err);
}

void
apply_commit(struct apply *a)
{
	struct error err;
	uint64_t generation = a->try.generation;
	int has_offer = a->try.has_offer, back = takes_back(a);

	if (write_commit(a, generation, &err) == -1) {
		apply_fail(a, 1, "it works, but that cannot be written down: %s", err.text);
		return;
	}
	log_info("generation %llu is committed", (unsigned long long)generation);
	a->committed = generation;
	a->base = 0;
	a->stopped = 0;
	a->switched = 0;
	a->failures = 0;
	a->held = 0;
	a->again = 0;
	a->local_error[0] = '\0';
	a->committed_offer = a->try.has_remote;
	if (bytes_copy(&a->committed_hash, a->try.hash.data, a->try.hash.len) == -1)
		bytes_free(&a->committed_hash);
	if (has_offer)
		apply_tell(a, CONFIG_APPLIED, a->try.hash.data, a->try.hash.len, "", 0);
	else if (back)
		apply_tell(a, CONFIG_UNSET, "", 0, "", 0);
	a->try.generation = 0;
	apply_drop(a, NULL);
	prove(a, generation);
	if (has_offer || back)
		a->ops->status(a->ctx);
	apply_enter(a, APPLY_IDLE);
	apply_next(a);
}

/* It adds nothing to what is committed and runs: that is so whether it can be written down or not. */
void
apply_in_force(struct apply *a, const struct error *err)
{
	log_error("the server's configuration is in force, but that is not kept: %s", err->text);
	a->failures = 0;
	apply_tell(a, CONFIG_APPLIED, a->try.hash.data, a->try.hash.len, "", 0);
	apply_drop(a, NULL);
	a->ops->status(a->ctx);
	apply_enter(a, APPLY_IDLE);
	apply_next(a);
}

/* What runs while nothing was committed has proved itself. */
void
apply_commit_base(struct apply *a)
{
	struct error err;
	int back = takes_back(a);

	if (write_commit(a, a->base, &err) == -1) {
		log_error("%s", err.text); /* it runs on; the next start puts it together again */
		a->well_since_ms = 0;      /* not with each word of the agent's */
		return;
	}
	if (back) {
		apply_tell(a, CONFIG_UNSET, "", 0, "", 0);
		a->ops->status(a->ctx);
	}
	log_info("generation %llu is committed", (unsigned long long)a->base);
	a->committed = a->base;
	a->committed_offer = 0;
	bytes_free(&a->committed_hash);
	a->base = 0;
	prove(a, a->committed);
	apply_next(a);
}

/* ---- not kept */

/* Nothing is put together anew for a while, which grows each time. */
void
apply_hold(struct apply *a, uint64_t ms)
{
	unsigned i;

	for (i = 0; i < a->again && ms < APPLY_AGAIN_MAX; i++)
		ms *= 2;
	a->again++;
	a->held = 1;
	a->ops->timer(a->ctx, APPLY_TIMER_AGAIN, ms < APPLY_AGAIN_MAX ? ms : APPLY_AGAIN_MAX);
}

static void
write_end(struct apply *a)
{
	struct store_state *st = apply_scratch(a);
	struct error err;

	st->trial = 0;
	st->phase = PHASE_IDLE;
	if (apply_record(a, &err) == -1)
		log_error("%s", err.text);
}

/*
 * Ours alone failed for a reason that may pass: what was to be in it (an instance uid, say) is not
 * forgotten.  An agent that was restarted for it is not restarted for it again without end.
 */
static void
try_again(struct apply *a)
{
	if (!a->fail_passing || (a->try.generation != 0 && a->again + 1 >= APPLY_TRIALS))
		return;
	a->recompose = 1;
	apply_hold(a, a->try.generation != 0 ? APPLY_RETRY_MS : APPLY_AGAIN_MS);
}

static void
finish(struct apply *a)
{
	int has_offer = a->try.has_offer;

	if (has_offer) {
		log_error("the server's configuration was not applied: %s", a->fail_text);
		apply_tell(a, CONFIG_FAILED, a->try.hash.data, a->try.hash.len, a->fail_text,
		    a->fail_passing);
	} else {
		log_error("the configuration put together anew was not applied, the one before "
			  "stays: %s",
		    a->fail_text);
		try_again(a);
	}
	write_end(a);
	apply_drop(a, a->fail_text);
	a->phase = APPLY_IDLE;
	if (has_offer)
		a->ops->status(a->ctx);
	a->ops->changed(a->ctx);
}

static void
base_failed(struct apply *a)
{
	log_error("the agent has nothing to run on: %s", a->fail_text);
	(void)snprintf(a->local_error, sizeof(a->local_error), "%s", a->fail_text);
	apply_drop(a, a->fail_text);
	apply_hold(a, APPLY_AGAIN_MS);
	apply_enter(a, APPLY_IDLE);
	if (a->pending.data != NULL)
		apply_take_pending(a);
}

/*
 * The agent was not touched yet: then it is not touched now.  What a start is called is not always what it
 * has read: it may have started by itself after the file was put in place and before procd was told, and
 * then confd ended.  And a procd that never had an order (token 0) knows of no reload.
 */
static int
still_runs(struct apply *a, uint64_t back, uint64_t in_place)
{
	const struct msg_state *p = &a->agent.proc;

	if (a->run_generation == 0)
		return p->state == AGENT_RUNNING && p->generation == back && p->token != 0 &&
		       (in_place == back || p->started_ns < a->try.made_ns);
	return apply_same_text(a, a->run_generation, back);
}

/* It is tried again: soon, for it may have been one error, and then less and less often. */
void
apply_back_later(struct apply *a)
{
	uint64_t ms = APPLY_AGAIN_MS;
	unsigned i;

	for (i = 0; i < a->stuck && ms < APPLY_AGAIN_MAX; i++)
		ms *= 2;
	a->stuck++;
	a->switched = 1;
	a->ops->timer(a->ctx, APPLY_TIMER_AGAIN, ms < APPLY_AGAIN_MAX ? ms : APPLY_AGAIN_MAX);
}

/*
 * The agent's file cannot be changed back (the disk became read-only): the agent stays on what it has, that
 * is said, and it is tried again.
 */
static void
stuck(struct apply *a, const struct error *err)
{
	static const char barred[] =
	    "; and the agent cannot be put back on the configuration before";
	size_t len = strlen(a->fail_text);

	log_error("going back: %s", err->text);
	if (strstr(a->fail_text, barred) == NULL) /* else it is the second try */
		(void)snprintf(
		    a->fail_text + len, sizeof(a->fail_text) - len, "%s: %s", barred, err->text);
	apply_back_later(a);
}

/* The committed one again, or what ran before there was one, or nothing. */
void
apply_go_back(struct apply *a)
{
	uint64_t back = a->stopped ? 0 : a->committed != 0 ? a->committed : a->base, in_place;
	struct error err;

	if (back == 0) {
		a->switched = 0;
		apply_stop_agent(a);
		return;
	}
	in_place = store_running(a->store);
	if (store_switch(a->store, back, &err) == -1) {
		if (store_running(a->store) != back) {
			stuck(a, &err);
			return;
		}
		log_error("%s", err.text); /* in its place, but a power loss may undo it */
	}
	a->switched = 0;
	a->stuck = 0;
	a->local_error[0] = '\0';
	if (still_runs(a, back, in_place)) {
		apply_run(a, RUN_ENSURE, a->run_generation != 0 ? a->run_generation : back);
	} else {
		log_info("going back to generation %llu", (unsigned long long)back);
		apply_run(a, RUN_RESTART, back);
	}
}

void
apply_fail(struct apply *a, int passing, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(a->fail_text, sizeof(a->fail_text), fmt, ap);
	va_end(ap);
	a->fail_passing = passing;
	if (!a->try.has_offer && a->committed == 0 && !a->switched) {
		base_failed(a);
		return;
	}
	if (!a->switched) {
		finish(a);
		/* at start: the committed one was only to be brought up to date */
		if (a->run_generation == 0 && a->committed != 0 && !a->stopped)
			apply_go_back(a);
		apply_next(a);
		return;
	}
	a->ops->timer(a->ctx, APPLY_TIMER_GATE, 0);
	a->ops->timer(a->ctx, APPLY_TIMER_SETTLE, 0);
	apply_enter(a, APPLY_ROLLBACK);
	if (a->want_words)
		a->ops->timer(a->ctx, APPLY_TIMER_WORDS, APPLY_WORDS_MS);
	a->ops->timer(a->ctx, APPLY_TIMER_BACK, a->set.stop_ms + APPLY_SETTLE_BACK);
	apply_go_back(a);
	apply_rollback_step(a);
}

void
apply_refuse(struct apply *a, const char *why)
{
	apply_fail(a, 0, "%s", why);
}

/* ---- the way back, and the way to a stop */

void
apply_rollback_close(struct apply *a)
{
	const char *words;
	size_t len = strlen(a->fail_text);
	char text[1024];

	a->ops->timer(a->ctx, APPLY_TIMER_BACK, 0);
	a->ops->timer(a->ctx, APPLY_TIMER_WORDS, 0);
	if (a->phase == APPLY_ROLLBACK) {
		words = a->words_start != 0 ? apply_words_of(a, a->words_start) : NULL;
		if (words != NULL && words[0] != '\0')
			(void)snprintf(a->fail_text + len, sizeof(a->fail_text) - len, ": %s",
			    apply_last_words(words, a->words_exit, text, sizeof(text)));
		finish(a);
	} else if (a->phase == APPLY_STOPPING) {
		apply_drop(a, NULL);
		a->phase = APPLY_IDLE;
		a->ops->status(a->ctx);
		a->ops->changed(a->ctx);
	}
}

void
apply_rollback_done(struct apply *a)
{
	apply_rollback_close(a);
	apply_next(a);
}

void
apply_rollback_step(struct apply *a)
{
	const struct msg_state *p = &a->agent.proc;
	int there =
	    p->token == a->token &&
	    (a->run_generation == 0 ? p->state == AGENT_STOPPED
				    : p->state == AGENT_RUNNING || p->state == AGENT_BACKOFF ||
					  p->state == AGENT_GIVEN_UP);

	if (a->phase != APPLY_ROLLBACK && a->phase != APPLY_STOPPING)
		return;
	if (!a->agent.proc_known || a->agent.proc_fresh || !there)
		return;
	if (a->phase == APPLY_ROLLBACK && a->want_words &&
	    apply_words_of(a, a->words_start) == NULL)
		return;
	apply_rollback_done(a);
}

/* An empty map that leaves nothing to run: the agent stops, and that is what was wanted. */
void
apply_stop_for_empty(struct apply *a)
{
	struct store_state *st;
	struct error err;

	log_info("the server sent an empty configuration: stopping the agent");
	a->fail_text[0] = '\0';
	st = apply_scratch(a);
	st->stopped = 1;
	st->trial = 0;
	st->phase = PHASE_IDLE;
	st->status = CONFIG_APPLIED;
	st->passing = 0;
	st->failed_at_ns = 0;
	st->message_len = 0;
	st->hash_len = (uint32_t)a->try.hash.len;
	memset(st->hash, 0, sizeof(st->hash));
	if (a->try.hash.len > 0)
		memcpy(st->hash, a->try.hash.data, a->try.hash.len);
	if (apply_record(a, &err) == -1) {
		apply_fail(a, 1, "%s", err.text);
		return;
	}
	a->stopped = 1;
	a->switched = 0;
	a->waiting = 0;
	a->failures = 0;
	apply_tell(a, CONFIG_APPLIED, a->try.hash.data, a->try.hash.len, "", 0);
	apply_enter(a, APPLY_STOPPING);
	a->ops->timer(a->ctx, APPLY_TIMER_BACK, a->set.stop_ms + APPLY_SETTLE_BACK);
	apply_stop_agent(a);
	apply_rollback_step(a);
}
