/*
 * apply_offer.c: which of the server's offers are acted on, and when (CF-06, CF-07, ST-04; "Where the
 * specification leaves a choice").  confd only.
 *
 * netd has one credit, which confd gives back at once: what waits here is the newest one, in a place
 * of its own, until the rate allows another.
 */
#include "apply_internal.h"

#include <stdlib.h>
#include <string.h>

#include "privsep/log.h"
#include "privsep/offer.h"

#define MINUTE_MS 60000

void
apply_bucket_init(struct apply_bucket *b, uint64_t per_minute, uint64_t now_ms)
{
	*b = (struct apply_bucket){per_minute, now_ms, (double)per_minute};
}

uint64_t
apply_bucket_take(struct apply_bucket *b, uint64_t now_ms)
{
	double rate = (double)b->per_minute / MINUTE_MS;

	b->tokens += (double)(now_ms - b->at_ms) * rate;
	b->at_ms = now_ms;
	if (b->tokens > (double)b->per_minute)
		b->tokens = (double)b->per_minute;
	if (b->tokens >= 1) {
		b->tokens -= 1;
		return 0;
	}
	return (uint64_t)((1 - b->tokens) / rate) + 1;
}

/* FNV-1a: whether it is the last offer, by its hash or, for servers that send none, by its bytes. */
static uint64_t
sum_of(const struct offer *o, const struct apply_bytes *b)
{
	const char *data = o->hash.len > 0 ? o->hash.data : b->data;
	size_t i, len = o->hash.len > 0 ? o->hash.len : b->len;
	uint64_t h = 0xcbf29ce484222325u;

	for (i = 0; i < len; i++)
		h = (h ^ (unsigned char)data[i]) * 0x100000001b3u;
	return h;
}

static int
equal(const struct apply *a, const struct apply_bytes *hash, const struct offer *o, uint64_t sum)
{
	return bytes_equal(hash, o->hash.data, o->hash.len) &&
	       (o->hash.len > 0 || sum == a->last_sum);
}

/* Without a hash the bytes decide. */
static int
is_committed(struct apply *a, const struct offer *o)
{
	char *data = NULL;
	size_t len = 0;
	int same;

	if (a->committed == 0 || a->stopped || !a->committed_offer ||
	    !bytes_equal(&a->committed_hash, o->hash.data, o->hash.len))
		return 0;
	if (o->hash.len > 0)
		return 1;
	same = store_generation_remote(a->store, a->committed, &data, &len, NULL) == 0 &&
	       data != NULL && bytes_equal(&a->pending, data, len);
	free(data);
	return same;
}

/* The time that has to pass before the same hash is tried again. */
static uint64_t
retry_ns(const struct apply *a)
{
	uint64_t ms = APPLY_RETRY_MS;
	unsigned i;

	for (i = 1; i < a->failures && ms < APPLY_RETRY_MAX; i++)
		ms *= 2;
	return (ms < APPLY_RETRY_MAX ? ms : APPLY_RETRY_MAX) * 1000000;
}

static int
too_early(const struct apply *a)
{
	uint64_t now = a->ops->now_ns(a->ctx);

	/* a clock that was set back is no reason to wait for it */
	return now >= a->told.failed_at_ns && now - a->told.failed_at_ns < retry_ns(a);
}

/* Nothing is to be done, and the server knows it. */
static int
settled(const struct apply *a, const struct offer *o, uint64_t sum)
{
	if (a->try.has_offer && a->phase != APPLY_IDLE)
		return equal(a, &a->try.hash, o, sum);
	if (!equal(a, &a->told.hash, o, sum))
		return 0;
	return a->told.status == CONFIG_APPLIED ||
	       (a->told.status == CONFIG_FAILED && (!a->told.passing || too_early(a)));
}

/* An operator may have sent it again on purpose.  Said once: there are servers that do it without end. */
static void
say_settled(struct apply *a)
{
	if (a->told.status != CONFIG_FAILED || a->told.passing || a->told_again ||
	    a->phase != APPLY_IDLE)
		return;
	a->told_again = 1;
	log_info(
	    "the server has sent a configuration again that was refused; it is tried again after "
	    "opampctl reload, when the reason is mended");
}

/*
 * The committed configuration came with this hash: the server is told, the agent is not touched.  Not while
 * it is on another one because the way back is barred.
 */
static void
tell_committed(struct apply *a, const struct offer *o, uint64_t sum)
{
	struct error err;

	a->last_sum = sum;
	a->failures = 0;
	apply_tell(a, CONFIG_APPLIED, o->hash.data, o->hash.len, "", 0);
	(void)apply_scratch(a);
	if (apply_record(a, &err) == -1)
		log_error("%s", err.text);
	a->ops->status(a->ctx);
}

/* What is under way is superseded. */
static void
make_way(struct apply *a)
{
	struct error err;

	apply_rollback_close(a); /* a result that only waits for the agent is told now */
	if (a->phase != APPLY_IDLE && !a->try.has_offer)
		a->recompose = 1; /* it was for a reason of ours, which stands if the offer fails */
	apply_drop(a, "a newer configuration came");
	a->phase = APPLY_IDLE;
	/* at start, while the committed one was being put together anew: it need not wait */
	if (a->run_generation == 0 && !a->stopped && a->committed != 0) {
		if (store_switch(a->store, a->committed, &err) == -1)
			log_error("%s", err.text);
		if (store_running(a->store) == a->committed)
			apply_run(a, RUN_ENSURE, a->committed);
		else /* not on what else lies there */
			apply_back_later(a);
	}
}

static void
begin(struct apply *a, const struct offer *o, uint64_t sum)
{
	int again = a->told.status == CONFIG_FAILED && a->told.passing && a->last_sum == sum;

	a->failures = again ? a->failures + 1 : 0;
	a->last_sum = sum;
	a->try.has_offer = 1;
	a->try.empty_map = o->empty_map != 0;
	a->try.source = o->empty_map ? SOURCE_LOCAL : SOURCE_REMOTE;
	bytes_move(&a->try.remote, &a->pending);
	if (bytes_copy(&a->try.hash, o->hash.data, o->hash.len) == -1) {
		log_error("no memory for an offer");
		apply_drop(a, NULL);
		return;
	}
	if (a->set.weak)
		apply_refuse(a,
		    "opampd was started by an ordinary user on a kernel without Landlock, so the "
		    "agent could read opampd's state: to take remote configurations all the same, "
		    "add policy.allow_remote_config_without_landlock: true to opampd.yaml");
	else if (a->try.empty_map && (!a->set.has_local || a->set.raw))
		apply_stop_for_empty(a);
	else
		apply_attempt_begin(a);
}

void
apply_take_pending(struct apply *a)
{
	struct offer o = {0};
	struct error err;
	uint64_t sum, wait;

	if (a->ending)
		return;
	if (offer_open(&o, a->pending.data, a->pending.len, a->set.config_limit, &err) == -1) {
		log_error("an offer cannot be read: %s", err.text);
		bytes_free(&a->pending);
		return;
	}
	sum = sum_of(&o, &a->pending);
	if (!a->set.accepts || settled(a, &o, sum)) {
		say_settled(a);
		bytes_free(&a->pending);
	} else if (a->phase == APPLY_IDLE && !a->switched && is_committed(a, &o)) {
		tell_committed(a, &o, sum);
		bytes_free(&a->pending);
	} else if ((wait = apply_bucket_take(&a->offers, a->ops->now_ms(a->ctx))) != 0) {
		a->ops->timer(a->ctx, APPLY_TIMER_RATE, wait);
	} else {
		make_way(a);
		begin(a, &o, sum);
	}
	offer_close(&o);
}

void
apply_offer(struct apply *a, struct apply_bytes *offer)
{
	bytes_move(&a->pending, offer);
	if (a->phase != APPLY_WAITING && a->phase != APPLY_PROBE)
		apply_take_pending(a);
}
