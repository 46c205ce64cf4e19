/*
 * apply_start.c: the first word of procd, at confd's start and whenever procd was replaced: what is on
 * disk, what runs, and what follows from the two (design: the table of events).  confd only.
 */
#include "apply_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/log.h"

/* ---- what the agent's program can do */

static void
ask_probe(struct apply *a)
{
	struct msg_job m = {.kind = AGENT_PROBE, .token = ++a->job_last};

	a->job_token = m.token;
	a->ops->job(a->ctx, &m);
}

static void
remember_gate(struct apply *a)
{
	struct store_cache cache = {0};
	struct error err;

	store_cache(a->store, &cache);
	cache.gate = a->gate;
	if (store_cache_set(a->store, &cache, &err) == -1)
		log_warn("%s", err.text); /* it is asked once more at the next start */
	store_cache_free(&cache);
}

static void resume(struct apply *a);

void
apply_probe_done(struct apply *a, const struct msg_job_done *m)
{
	char text[256];

	a->gate = m->exit == EXIT_CODE && m->value == 0;
	if (m->exit == EXIT_CODE)
		remember_gate(a);
	else
		log_warn("asking the agent's program what it can do: %s",
		    apply_exit_text(text, sizeof(text), m->exit, m->value, m->stage));
	resume(a);
}

/* ---- what runs, and what is committed */

/* Is what is put in by us still true in it?  It is text of our own making: no need to parse it. */
static int
suits(struct apply *a, uint64_t generation)
{
	char endpoint[64], *text = NULL;
	size_t len = 0;
	int ok;

	if (!a->set.injects)
		return 1;
	(void)snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%u/v1/opamp", a->set.port);
	ok = store_generation_effective(a->store, generation, &text, &len, NULL) == 0 &&
	     memmem(text, len, endpoint, strlen(endpoint)) != NULL &&
	     memmem(text, len, a->uid_text, strlen(a->uid_text)) != NULL;
	free(text);
	return ok;
}

static int
lives(const struct msg_state *p)
{
	return p->state != AGENT_STOPPED && p->state != AGENT_STOPPING;
}

/* Also where it seems to be in its place: a switch may have been cut off before it was durable. */
static int
put_in_place(struct apply *a, uint64_t generation)
{
	struct error err;

	if (store_switch(a->store, generation, &err) == 0)
		return 0;
	log_error("%s", err.text);
	return store_running(a->store) == generation ? 0 : -1;
}

/* The agent is not started, and not told to read its file again, while that is another one. */
static int
home_in_place(struct apply *a)
{
	if (put_in_place(a, a->committed) == 0)
		return 1;
	(void)snprintf(a->local_error, sizeof(a->local_error),
	    "the agent's configuration cannot be put in its place (storage.directory: the log says "
	    "why)");
	apply_back_later(a);
	a->held = 1; /* nothing is put together anew before */
	return 0;
}

static void
resume_committed(struct apply *a)
{
	const struct msg_state p = a->agent.proc;

	a->phase = APPLY_IDLE;
	a->recompose = !a->set.raw; /* settings or local files may be others than they were */
	if (lives(&p) && p.generation != 0 && apply_same_text(a, p.generation, a->committed)) {
		(void)home_in_place(a);
		apply_run(a, RUN_ENSURE, p.generation); /* ours alone was interrupted */
	} else if (lives(&p)) {
		if (home_in_place(a))
			apply_run(a, a->set.hup ? RUN_RELOAD : RUN_RESTART, a->committed);
	} else if (suits(a, a->committed)) {
		if (home_in_place(a))
			apply_run(a, RUN_ENSURE, a->committed);
	} else {
		a->recompose = 0;
		apply_attempt_identity(a, 1);
		if (a->phase == APPLY_IDLE &&
		    a->run_generation == 0 && /* it could not even begin */
		    home_in_place(a))
			apply_run(a, RUN_ENSURE, a->committed);
	}
}

/* Nothing was ever committed: what runs is the local configuration, or nothing does. */
static void
resume_base(struct apply *a)
{
	const struct msg_state *p = &a->agent.proc;
	struct store_meta *meta = calloc(1, sizeof(*meta));

	a->phase = APPLY_IDLE;
	if (meta != NULL && lives(p) && p->generation != 0 &&
	    store_generation_meta(a->store, p->generation, meta, NULL) == 0 &&
	    meta->source == SOURCE_LOCAL && meta->hash_len == 0) {
		a->base = p->generation;
		a->recompose = 1;
		(void)put_in_place(a, a->base); /* the next one may lie there, unused */
		apply_run(a, RUN_ENSURE, a->base);
	}
	free(meta);
}

/* An empty map leaves nothing to run only where nothing is local, and while the server's word counts. */
static int
still_stopped(const struct apply *a)
{
	return a->set.raw || (a->set.accepts && !a->set.has_local);
}

static void
resume_stopped(struct apply *a)
{
	a->phase = APPLY_IDLE;
	apply_stop_agent(a);
	if (still_stopped(a))
		return;
	log_info("the agent was stopped by an empty configuration; by the settings of now there is "
		 "one to run");
	if (a->committed == 0) {
		a->stopped = 0; /* apply_next begins it */
		return;
	}
	/* what is committed is not what the server wants: it is stopped until this one runs */
	a->try.source = SOURCE_LOCAL;
	if (a->set.accepts && a->told.status == CONFIG_APPLIED &&
	    bytes_copy(&a->try.hash, a->told.hash.data, a->told.hash.len) == -1)
		fatal("no memory for the state");
	apply_attempt_begin(a);
}

/* The attempt whose trial the record says was under way. */
static void
recall_trial(struct apply *a, uint64_t trial)
{
	char *remote = NULL;
	size_t remote_len;
	struct store_meta *meta = calloc(1, sizeof(*meta));
	struct error err;

	if (meta == NULL)
		fatal("no memory for the state");
	a->try.has_offer = a->told.status == CONFIG_APPLYING;
	a->try.generation = trial;
	if (store_generation_meta(a->store, trial, meta, &err) == -1)
		log_warn("%s", err.text);
	a->try.source = meta->source;
	a->try.made_ns = meta->made_ns;
	if (bytes_copy(&a->try.hash, a->try.has_offer ? a->told.hash.data : meta->hash,
		a->try.has_offer ? a->told.hash.len : meta->hash_len) == -1)
		fatal("no memory for the state");
	a->try.has_remote =
	    store_generation_remote(a->store, trial, &remote, &remote_len, NULL) == 0 &&
	    remote != NULL;
	free(remote);
	free(meta);
}

/* 1: what is to run is decided, or will be by the gate; 0: the trial is over, and nothing runs. */
static int
resume_trial(struct apply *a, uint64_t trial)
{
	const struct msg_state p = a->agent.proc;
	char text[256];

	recall_trial(a, trial);
	a->recompose = !a->set.raw; /* what it goes back to may be of another day */
	if (!lives(&p)) {
		(void)snprintf(a->fail_text, sizeof(a->fail_text),
		    "interrupted: opampd ended, or the host did, while it was being tried");
		a->fail_passing = 1;
		a->phase = APPLY_ROLLBACK;
		apply_rollback_close(a);
		return 0;
	}
	a->switched = 1;
	if (p.generation == 0 || !apply_same_text(a, p.generation, trial)) {
		apply_fail(a, 1, "interrupted: opampd ended before the agent was started on it");
	} else if (!apply_same_text(a, store_running(a->store), trial)) {
		apply_fail(a, 1, "interrupted: it had failed, and opampd ended on the way back");
	} else if (put_in_place(a, trial) == -1) {
		apply_fail(a, 1, "interrupted: its file could not be put in its place");
	} else if (p.state == AGENT_RUNNING || p.state == AGENT_STARTING) {
		log_info("generation %llu is still on trial", (unsigned long long)trial);
		apply_run(a, RUN_ENSURE, p.generation);
		apply_gate_begin(a);
	} else {
		apply_fail(a, 1, "the agent did not run on it: %s",
		    apply_exit_text(text, sizeof(text), p.exit, p.value, p.stage));
	}
	return 1;
}

static void
resume(struct apply *a)
{
	const struct store_state *st = store_state(a->store);
	int decided = st->phase == PHASE_TRIAL && st->trial != 0 && resume_trial(a, st->trial);

	if (decided)
		;
	else if (a->stopped)
		resume_stopped(a);
	else if (a->committed != 0)
		resume_committed(a);
	else
		resume_base(a);
	a->ops->changed(a->ctx);
	if (a->pending.data != NULL && a->phase != APPLY_IDLE)
		apply_take_pending(a);
	apply_next(a);
}

/* ---- procd was replaced, and has forgotten what it was told */

void
apply_restate(struct apply *a)
{
	const struct msg_state p = a->agent.proc;

	if (a->phase == APPLY_PROBE)
		ask_probe(a);
	apply_job_again(a);
	if (a->ending || a->run_generation == 0) {
		if (a->phase != APPLY_PROBE)
			apply_stop_agent(a);
		return;
	}
	if (p.state == AGENT_RUNNING && p.start != 0 && p.start == a->to_end) {
		/* whatever its number: it may have been reloaded since */
		apply_run(a, RUN_RESTART, a->run_generation);
	} else if (p.state == AGENT_RUNNING && p.generation == a->run_generation) {
		apply_run(a, RUN_ENSURE, a->run_generation);
	} else if (p.state == AGENT_RUNNING && p.start == a->run_start && a->obeyed) {
		a->token = p.token; /* started on another one and reloaded since: as it should be */
	} else if (p.state == AGENT_RUNNING) {
		apply_run(a, RUN_RESTART, a->run_generation);
	} else if (a->phase == APPLY_GATE && a->run_start != 0) {
		apply_fail(a, 1, "the agent did not run on it: it ended while procd was replaced");
	} else {
		apply_run(a, RUN_ENSURE, a->run_generation);
	}
}

void
apply_first_state(struct apply *a)
{
	if (a->phase != APPLY_WAITING) {
		apply_restate(a);
	} else if (a->ending) {
		apply_stop_agent(a);
	} else if (a->set.injects && a->gate == -1) {
		apply_enter(a, APPLY_PROBE);
		ask_probe(a);
	} else {
		resume(a);
	}
}
