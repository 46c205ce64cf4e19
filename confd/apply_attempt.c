/*
 * apply_attempt.c: one configuration on its way to the agent, up to the trial (see apply.h).  confd
 * only.  Before the trial nothing of the agent's was touched, and a failure ends it there.
 */
#include "apply_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge_params.h"
#include "privsep/log.h"
#include "privsep/offer.h"
#include "privsep/record.h"

static int
is_base(const struct apply *a)
{
	return !a->try.has_offer && a->committed == 0;
}

static void text_ready(struct apply *a);

/* ---- compose */

/* The server's one file as it is. */
static void
take_raw(struct apply *a)
{
	struct offer o = {0};
	struct error err;
	int r;

	if (a->try.remote.data == NULL) {
		r = bytes_copy(&a->try.text, "", 0);
	} else if (offer_open(&o, a->try.remote.data, a->try.remote.len, a->set.config_limit,
		       &err) == -1) {
		apply_fail(a, 0, "%s", err.text);
		return;
	} else if (o.count != 1) {
		apply_fail(a, 0,
		    "agent.config_format is raw: the configuration has to be exactly one file, and "
		    "this one has %u",
		    o.count);
		offer_close(&o);
		return;
	} else {
		r = bytes_copy(&a->try.text, o.files[0].body.data, o.files[0].body.len);
		/* nothing to add: what runs goes on */
		if (o.files[0].body.len == 0 && a->committed != 0 && !a->stopped) {
			bytes_free(&a->try.text);
			r = store_generation_effective(
			    a->store, a->committed, &a->try.text.data, &a->try.text.len, &err);
		}
		offer_close(&o);
	}
	if (r == -1)
		apply_fail(a, 1, "reading the configuration: no memory, or %s", err.text);
	else
		text_ready(a);
}

static void
ask_merge(struct apply *a, uint32_t kind)
{
	/* who judges the result needs nothing but it, and reads the local files again */
	if (kind == MERGE_CHECK)
		a->ops->merge(a->ctx, ++a->job, kind, NULL, &a->try.text);
	else
		a->ops->merge(a->ctx, ++a->job, kind,
		    a->try.remote.data != NULL ? &a->try.remote : NULL, NULL);
}

void
apply_attempt_begin(struct apply *a)
{
	log_info("%s", a->try.has_offer ? "a new configuration from the server: applying it"
		       : is_base(a)     ? "putting a configuration together from what is local"
					: "putting the configuration together anew");
	if (a->try.has_offer) {
		apply_tell(a, CONFIG_APPLYING, a->try.hash.data, a->try.hash.len, "", 0);
		a->ops->status(a->ctx);
	}
	apply_enter(a, APPLY_COMPOSE);
	if (a->set.raw)
		take_raw(a);
	else
		ask_merge(a, MERGE_COMPOSE);
}

void
apply_attempt_again(struct apply *a)
{
	if (a->set.raw || (a->phase != APPLY_COMPOSE && a->phase != APPLY_CHECK))
		return;
	bytes_free(&a->try.text);
	apply_enter(a, APPLY_COMPOSE);
	ask_merge(a, MERGE_COMPOSE);
}

/* The committed configuration with the uid, port, settings and local files of today. */
void
apply_attempt_identity(struct apply *a, int trusted)
{
	struct error err;
	char *remote = NULL;
	size_t len = 0;

	if (a->set.raw)
		return; /* nothing of ours is in it */
	apply_drop(a, NULL);
	a->try.source = SOURCE_IDENTITY;
	a->try.trusted = trusted;
	/* what the server sent counts only while remote configuration is switched on */
	if (a->set.accepts &&
	    store_generation_remote(a->store, a->committed, &remote, &len, &err) == -1) {
		log_warn("%s", err.text);
		a->recompose = 1; /* one error of the disk may pass */
		apply_hold(a, APPLY_AGAIN_MS);
		return;
	}
	a->try.remote = (struct apply_bytes){.data = remote, .len = len};
	if (a->set.accepts && a->committed_hash.len > 0 &&
	    bytes_copy(&a->try.hash, a->committed_hash.data, a->committed_hash.len) == -1) {
		log_error("no memory for the configuration's hash");
		return;
	}
	apply_attempt_begin(a);
}

void
apply_begin_base(struct apply *a)
{
	if (a->set.raw && a->set.accepts) {
		a->waiting = 1; /* such an agent has nothing to run on before the server says */
		a->ops->changed(a->ctx);
		return;
	}
	apply_drop(a, NULL);
	a->try.source = SOURCE_LOCAL;
	apply_attempt_begin(a);
}

static int
read_composed(struct apply *a, struct apply_bytes *answer, struct error *err)
{
	struct record r;
	struct record_entry e;
	size_t pos = 0;

	if (record_open(&r, answer->data, answer->len, err) == -1)
		return -1;
	while (record_next(&r, &pos, RESULT_WARNING, &e))
		log_warn("%.*s", (int)e.len, e.value);
	if (!record_find(&r, RESULT_EFFECTIVE, &e) || e.len > LIMIT_YAML_OUTPUT)
		return error_set(err, "merge gave no configuration");
	if (answer->view.mapped == 0)
		return bytes_copy(&a->try.text, e.value, e.len) == -1 ? error_set(err, "no memory")
								      : 0;
	bytes_move(&a->try.text, answer);
	a->try.text.data = (char *)(uintptr_t)e.value;
	a->try.text.len = e.len;
	return 0;
}

static int
is_text_of(struct apply *a, uint64_t generation)
{
	char *text = NULL;
	size_t len = 0;
	int same;

	same = store_generation_effective(a->store, generation, &text, &len, NULL) == 0 &&
	       bytes_equal(&a->try.text, text, len);
	free(text);
	return same;
}

/* The agent was put on these very bytes already, and stays on them. */
static int
runs_text(struct apply *a)
{
	return !a->switched && !a->stopped && a->run_generation != 0 &&
	       is_text_of(a, a->run_generation);
}

void
apply_merged(struct apply *a, const struct msg_merge *m, struct apply_bytes *answer)
{
	struct error err;
	int composing = a->phase == APPLY_COMPOSE;

	if (a->ending || m->job != a->job || (!composing && a->phase != APPLY_CHECK) ||
	    m->kind != (composing ? MERGE_COMPOSE : MERGE_CHECK)) {
		bytes_free(answer);
		return; /* of an attempt that was superseded */
	}
	if (m->status == MERGE_REFUSED) {
		apply_fail(a, m->code != 0, "%.*s", (int)answer->len, answer->data);
	} else if (m->status != MERGE_DONE_OK) {
		apply_fail(a, 1,
		    "putting the configuration together took too much time or memory, or was "
		    "interrupted (status %d)",
		    m->code);
	} else if (!composing) {
		text_ready(a);
	} else if (read_composed(a, answer, &err) == -1) {
		apply_fail(a, 1, "reading what was put together: %s", err.text);
	} else if (runs_text(a)) {
		text_ready(a); /* it was judged when it was new */
	} else {
		apply_enter(a, APPLY_CHECK);
		ask_merge(a, MERGE_CHECK);
	}
	bytes_free(answer);
}

/* ---- the agent's own check */

static void
ask_job(struct apply *a)
{
	struct msg_job m = {.kind = AGENT_VALIDATE,
	    .flags = apply_flags(a),
	    .generation = a->next,
	    .token = ++a->job_last};

	a->job_token = m.token;
	a->ops->job(a->ctx, &m);
}

static int make_generation(struct apply *a);
static void try_it(struct apply *a);
static void stay(struct apply *a);
static void run_base(struct apply *a);

static void
text_ready(struct apply *a)
{
	struct error err;

	if (runs_text(a)) {
		stay(a);
	} else if (is_base(a)) {
		run_base(a); /* whether it validates or not there is nothing better */
	} else if (a->set.validates && !a->try.trusted) {
		if (store_candidate(a->store, a->try.text.data, a->try.text.len, &err) == -1) {
			apply_fail(a, 1, "%s", err.text);
			return;
		}
		apply_enter(a, APPLY_VALIDATE);
		ask_job(a);
	} else {
		try_it(a);
	}
}

/* procd is new: the one that ran the check took it along. */
void
apply_job_again(struct apply *a)
{
	if (a->phase == APPLY_VALIDATE)
		ask_job(a);
}

static void
refused_by_agent(struct apply *a)
{
	const struct msg_job_done *m = &a->job_done;
	const char *words = apply_words_of(a, m->start);
	char end[256];

	(void)apply_exit_text(end, sizeof(end), m->exit, m->value, m->stage);
	store_candidate_remove(a->store);
	a->words_start = 0; /* they are in the text already */
	/* its exit status is its verdict; all else may pass */
	apply_fail(a, m->exit != EXIT_CODE, "the agent's own check: %s%s%s", end,
	    words != NULL && words[0] != '\0' ? ": " : "", words != NULL ? words : "");
}

void
apply_words_came(struct apply *a)
{
	if (a->phase == APPLY_WORDS && (!a->want_words || apply_words_of(a, a->words_start))) {
		a->ops->timer(a->ctx, APPLY_TIMER_WORDS, 0);
		a->want_words = 0;
		refused_by_agent(a);
	} else if (a->phase == APPLY_ROLLBACK) {
		apply_rollback_step(a);
	}
}

int
apply_job_done(struct apply *a, const struct msg_job_done *m)
{
	if (m->exit == EXIT_NONE || m->exit > EXIT_TIMEOUT)
		return -1;
	if (a->ending || m->token != a->job_token || a->job_token == 0)
		return 0;
	if (a->phase == APPLY_PROBE) {
		a->job_token = 0;
		apply_probe_done(a, m);
		return 0;
	}
	if (a->phase != APPLY_VALIDATE)
		return 0;
	a->job_token = 0;
	a->job_done = *m;
	if (m->exit == EXIT_CODE && m->value == 0) {
		store_candidate_remove(a->store);
		a->try.validated = 1;
		try_it(a);
		return 0;
	}
	a->want_words = m->start != 0;
	a->words_start = m->start;
	apply_enter(a, APPLY_WORDS);
	a->ops->timer(a->ctx, APPLY_TIMER_WORDS, APPLY_WORDS_MS);
	apply_words_came(a);
	return 0;
}

/* ---- on disk, and in the agent's place */

static int
write_generation(struct apply *a, struct error *err)
{
	struct store_meta *meta = calloc(1, sizeof(*meta));
	int r;

	if (meta == NULL)
		return error_set(err, "writing the configuration: no memory");
	/* here and not at the commit: a server may well send none that can be committed */
	store_prune(a->store, a->set.keep - 1, a->committed != 0 ? a->run_generation : a->base);
	/* one may have stayed under its name that could be neither made durable nor removed */
	apply_pass_numbers(a);
	meta->generation = a->next;
	meta->source = a->try.source;
	meta->made_ns = a->ops->now_ns(a->ctx);
	meta->hash_len = (uint32_t)a->try.hash.len;
	if (a->try.hash.len > 0)
		memcpy(meta->hash, a->try.hash.data, a->try.hash.len);
	r = store_generation_make(a->store, meta, a->try.remote.data, a->try.remote.len,
	    a->try.text.data, a->try.text.len, err);
	free(meta);
	if (r == -1)
		return -1;
	a->try.generation = a->next++;
	a->try.has_remote = a->try.remote.data != NULL;
	bytes_free(&a->try.remote);
	bytes_free(&a->try.text);
	return 0;
}

static int
make_generation(struct apply *a)
{
	struct error err;

	if (write_generation(a, &err) == 0)
		return 0;
	apply_fail(a, 1, "%s", err.text);
	return -1;
}

/* Everything that going back will need is there before anything is touched. */
static int
put_on_trial(struct apply *a, struct error *err)
{
	uint64_t back = a->committed != 0 ? a->committed : a->base;
	struct store_state *st;

	if (back != 0 && store_keep_ready(a->store, back, err) == -1)
		return -1;
	st = apply_scratch(a);
	st->trial = a->try.generation;
	st->phase = PHASE_TRIAL;
	if (apply_record(a, err) == -1)
		return -1;
	a->switched = 1;
	return store_switch(a->store, a->try.generation, err);
}

static void
try_it(struct apply *a)
{
	struct error err;

	if (make_generation(a) == -1)
		return;
	if (put_on_trial(a, &err) == -1) {
		apply_fail(a, 1, "%s", err.text);
		return;
	}
	a->try.reload = apply_may_reload(a);
	log_info("generation %llu is on trial", (unsigned long long)a->try.generation);
	/* no event comes in between: the gate begins with the order */
	apply_run(a, a->try.reload ? RUN_RELOAD : RUN_RESTART, a->try.generation);
	apply_gate_begin(a);
}

static void
run_base(struct apply *a)
{
	struct error err;

	if (make_generation(a) == -1)
		return;
	(void)apply_scratch(a);
	if (apply_record(a, &err) == -1 || store_switch(a->store, a->try.generation, &err) == -1) {
		apply_fail(a, 1, "%s", err.text);
		return;
	}
	a->base = a->try.generation;
	a->local_error[0] = '\0';
	a->again = 0;
	a->try.generation = 0; /* no trial: it stays, whatever comes of it */
	apply_drop(a, NULL);
	apply_run(a, RUN_RESTART, a->base);
	apply_enter(a, APPLY_IDLE);
	apply_next(a);
}

/* The agent runs on these very bytes already: they get a number, and it is not touched. */
static void
stay(struct apply *a)
{
	struct error err;

	if (!a->try.has_offer) {
		log_info("nothing has changed in the agent's configuration");
		apply_drop(a, NULL);
		apply_enter(a, APPLY_IDLE);
		apply_next(a);
		return;
	}
	if (a->committed != 0) { /* they have proved themselves */
		if (write_generation(a, &err) == -1) {
			apply_in_force(a, &err);
			return;
		}
		if (store_switch(a->store, a->try.generation, &err) == -1)
			log_warn("%s", err.text);
		apply_commit(a);
		return;
	}
	if (make_generation(a) == -1)
		return;
	if (put_on_trial(a, &err) == -1) {
		apply_fail(a, 1, "%s", err.text);
	} else {
		apply_run(a, RUN_ENSURE, a->run_generation);
		apply_gate_begin(a);
	}
}
