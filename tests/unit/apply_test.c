/*
 * apply_test.c: the apply transaction, event by event: the life of an offer, and the rows of the design's
 * table of events.
 */
#include "apply_world.h"

/* ---- the way that all want */

static void
test_first_start_runs_the_local_configuration(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	world_boot(w);
	assert_int_equal(w->composes, 1);
	assert_string_equal(w->remote_has, "");
	composed(w, text_of("local"));
	assert_int_equal(w->run.generation, 1);
	assert_int_equal(w->store.running, 1);
	assert_int_equal(w->store.state.committed, 0); /* not proved yet */
	assert_int_equal(w->jobs, 0);
	runs(w);
	well(w);
	pass(w, 1999);
	assert_int_equal(w->a.committed, 0);
	pass(w, 1);
	assert_int_equal(w->store.state.committed, 1);
	assert_int_equal(w->baselines, 1);
	assert_int_equal(w->statuses, 0); /* the server sent nothing: there is no status */
	world_free(w);
}

static void
test_first_start_fails_and_goes_on(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	world_boot(w);
	composed(w, text_of("local"));
	runs(w);
	crashes(w, EXIT_CODE, 1);
	assert_int_equal(
	    w->runs, 1); /* procd tries again by itself; there is nothing to go back to */
	runs(w);
	well(w);
	pass(w, 2000);
	assert_int_equal(w->a.committed, 1);
	world_free(w);
}

static void
test_local_files_that_cannot_be_used(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	world_boot(w);
	merged(w, MERGE_REFUSED, "local.yaml:3:1: duplicate key");
	assert_int_equal(w->runs, 0);
	assert_non_null(strstr(w->a.local_error, "local.yaml:3:1"));
	pass(w, 1000); /* it may be mended meanwhile */
	composed(w, text_of("local"));
	assert_int_equal(w->runs, 1);
	assert_string_equal(w->a.local_error, "");
	world_free(w);
}

static void
test_CF_05_applying_then_applied(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	offer(w, "h2", "two");
	assert_string_equal(w->told, "y");
	assert_int_equal(w->kind, MERGE_COMPOSE);
	assert_string_equal(w->remote_has, "two");
	merged(w, MERGE_DONE_OK, text_of("two"));
	assert_int_equal(w->kind, MERGE_CHECK); /* a second, fresh look */
	assert_int_equal(w->store.candidate, 0);
	merged(w, MERGE_DONE_OK, "");
	assert_int_equal(w->asked.kind, AGENT_VALIDATE);
	assert_int_equal(w->store.candidate, 1);
	assert_int_equal(w->runs, 0); /* nothing was touched so far */
	assert_int_equal(w->store.count, 1);
	job_done(w, EXIT_CODE, 0);
	assert_int_equal(w->store.candidate, 0);
	assert_int_equal(w->store.state.phase, PHASE_TRIAL);
	assert_int_equal(w->store.state.trial, 2);
	assert_int_equal(w->store.state.committed, 1);
	assert_int_equal(w->store.state.status, CONFIG_APPLYING);
	assert_int_equal(w->store.ready, 1); /* the way back is there before the agent is touched */
	assert_int_equal(w->run.how, RUN_RESTART);
	assert_int_equal(w->run.generation, 2);
	assert_int_equal(w->store.running, 2);
	runs(w);
	connects(w);
	reports(w, 0, WORST_STARTING, "");
	pass(w, 2000);
	reports(w, 1, WORST_OK, "");
	pass(w, 1999);
	assert_string_equal(w->told, "y");
	pass(w, 1);
	assert_string_equal(w->told, "yA");
	assert_string_equal(w->hash, "h2");
	assert_int_equal(w->store.state.committed, 2);
	assert_int_equal(w->store.state.trial, 0);
	assert_int_equal(w->store.state.phase, PHASE_IDLE);
	assert_int_equal(w->baselines, 2);
	assert_int_equal(w->timers[APPLY_TIMER_GATE], 0);
	world_free(w);
}

static void
test_seven_syncs_at_most(void **state_)
{
	struct world *w = world_committed(world_new());
	unsigned before = w->store.writes;

	(void)state_;
	applied(w, "h2", "two");
	/* the record twice; the generation, the link and the candidate are the store's business */
	assert_int_equal(w->store.writes - before, 2);
	world_free(w);
}

/* ---- what is refused before the agent is touched */

static void
test_CF_05_CF_12_refused_by_merge(void **state_)
{
	struct world *w = world_committed(world_new());
	int i;

	(void)state_;
	offer(w, "bad", "x: ${env:A}");
	merged(w, MERGE_REFUSED, "remote:1:4: ${env:A} is not allowed");
	assert_string_equal(w->told, "yF");
	assert_non_null(strstr(w->message, "remote:1:4"));
	assert_int_equal(w->runs + w->stops, 0);
	assert_int_equal(w->store.state.status, CONFIG_FAILED);
	assert_int_equal(w->store.state.passing, 0);
	for (i = 0; i < 1000; i++) /* the content does not get better */
		offer(w, "bad", "x: ${env:A}");
	pass(w, 3600000);
	offer(w, "bad", "x: ${env:A}");
	assert_string_equal(w->told, "yF");
	assert_int_equal(w->composes, 1);
	world_free(w);
}

static void
test_refused_by_the_second_look(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	offer(w, "bad", "x");
	merged(w, MERGE_DONE_OK, "emitted");
	merged(w, MERGE_REFUSED, "extensions.opamp is not as opampd made it");
	assert_string_equal(w->told, "yF");
	assert_int_equal(w->runs + w->jobs, 0);
	world_free(w);
}

static void
test_merge_that_dies_is_passing(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	offer(w, "h2", "two");
	merged(w, MERGE_DIED, "");
	assert_string_equal(w->told, "yF");
	assert_int_equal(w->store.state.passing, 1);
	world_free(w);
}

static void
test_refused_by_the_agents_own_check(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	offer(w, "bad", "x");
	composed(w, text_of("x"));
	job_done(w, EXIT_CODE, 1);
	assert_string_equal(w->told, "y"); /* its words are on their way */
	words(w, 900, AGENT_VALIDATE, "Error: unknown type: \"nosuch\"");
	assert_string_equal(w->told, "yF");
	assert_non_null(strstr(w->message, "exit code 1"));
	assert_non_null(strstr(w->message, "Error: unknown type: \"nosuch\""));
	assert_int_equal(w->store.state.passing, 0);
	assert_int_equal(w->runs, 0);
	assert_int_equal(w->store.candidate, 0);
	assert_int_equal(w->store.count, 1);
	/* the next one is not held up */
	applied(w, "good", "good");
	world_free(w);
}

static void
test_check_without_words_and_check_that_hangs(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	offer(w, "a", "a");
	composed(w, text_of("a"));
	job_done(w, EXIT_CODE, 1);
	pass(w, APPLY_WORDS_MS);
	assert_string_equal(w->told, "yF");
	offer(w, "b", "b");
	composed(w, text_of("b"));
	words(w, 900, AGENT_VALIDATE, "loading");
	job_done(w, EXIT_TIMEOUT, 9);
	assert_string_equal(w->told, "yFyF");
	assert_non_null(strstr(w->message, "took too long"));
	assert_int_equal(w->store.state.passing, 1);
	world_free(w);
}

/* ---- trials that fail */

static void
test_dies_at_start_goes_back_with_the_reason(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	crashes(w, EXIT_CODE, 7);
	assert_int_equal(w->run.generation, 1); /* back at once */
	assert_int_equal(w->run.how, RUN_RESTART);
	assert_int_equal(w->store.running, 1);
	assert_string_equal(w->told, "y"); /* FAILED when the old one runs again */
	words(w, w->start, AGENT_RUN, "Error: listen tcp :4317: address already in use");
	assert_string_equal(w->told, "y");
	runs(w);
	assert_string_equal(w->told, "yF");
	assert_string_equal(w->hash, "h2");
	assert_non_null(strstr(w->message, "exit code 7"));
	assert_non_null(strstr(w->message, "address already in use"));
	assert_int_equal(w->store.state.committed, 1);
	assert_int_equal(w->store.state.phase, PHASE_IDLE);
	assert_int_equal(w->store.state.passing, 1);
	assert_int_equal(fake_find(&w->store, 2)->meta.outcome, OUTCOME_FAILED);
	world_free(w);
}

static void
test_reasons_signal_memory_and_no_start(void **state_)
{
	static const struct {
		enum exit_kind exit;
		int value;
		const char *says;
	} ends[] = {{EXIT_SIGNAL, 11, "signal 11"}, {EXIT_OOM, 0, "out of memory"},
	    {EXIT_SPAWN, 2, "could not be started"}};
	size_t i;

	(void)state_;
	for (i = 0; i < 3; i++) {
		struct world *w = world_committed(world_new());

		tried(w, "h2", "two");
		runs(w);
		crashes(w, ends[i].exit, ends[i].value);
		runs(w);
		pass(w, APPLY_WORDS_MS); /* it said nothing */
		assert_string_equal(w->told, "yF");
		assert_non_null(strstr(w->message, ends[i].says));
		world_free(w);
	}
}

static void
test_hangs_until_the_time_is_over(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	runs(w); /* and never says a word */
	pass(w, 29999);
	assert_int_equal(w->a.phase, APPLY_GATE);
	pass(w, 1);
	assert_int_equal(w->run.generation, 1);
	runs(w);
	assert_string_equal(w->told, "yF");
	assert_non_null(strstr(w->message, "config_apply_timeout"));
	assert_non_null(strstr(w->message, "has not connected"));
	assert_int_equal(w->store.state.passing, 1);
	world_free(w);
}

static void
test_component_permanent_at_once_recoverable_at_the_end(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	connects(w);
	reports(w, 0, WORST_PERMANENT, "receiver:otlp: address already in use");
	assert_int_equal(w->run.generation, 1);
	runs(w);
	assert_string_equal(w->told, "yF");
	assert_non_null(strstr(w->message, "receiver:otlp"));
	well(w);
	/* a backend that was well before is away: time to come back, and no more */
	tried(w, "h3", "three");
	runs(w);
	connects(w);
	reports(w, 0, WORST_RECOVERABLE_NEW, "exporter:otlp: connection refused");
	pass(w, 29000);
	assert_int_equal(w->a.phase, APPLY_GATE);
	pass(w, 1000);
	runs(w);
	assert_string_equal(w->told, "yFyF");
	assert_non_null(strstr(w->message, "exporter:otlp: connection refused"));
	well(w);
	/* one that was not well before is no fault of this configuration */
	tried(w, "h4", "four");
	runs(w);
	connects(w);
	reports(w, 0, WORST_RECOVERABLE_OLD, "exporter:otlp: connection refused");
	pass(w, 2000);
	assert_string_equal(w->told, "yFyFyA");
	world_free(w);
}

static void
test_unhealthy_while_settling(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	well(w);
	pass(w, 1500);
	reports(w, 0, WORST_STARTING, "");
	pass(w, 1500);
	assert_string_equal(w->told, "y");
	reports(w, 1, WORST_OK, "");
	pass(w, 1999);
	assert_string_equal(w->told, "y");
	pass(w, 1);
	assert_string_equal(w->told, "yA");
	world_free(w);
}

static void
test_link_away_is_not_blamed(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	pass(w, 20000);
	apply_link_down(&w->a);
	pass(w, 3600000); /* the clock stands */
	assert_int_equal(w->a.phase, APPLY_GATE);
	apply_link_up(&w->a);
	pass(w, 27000);
	assert_int_equal(w->a.phase, APPLY_GATE);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yA");
	world_free(w);
}

/* An agent that ends link again and again is judged all the same. */
static void
test_a_trial_ends_though_link_does_not_stay(void **state_)
{
	struct world *w = world_committed(world_new());
	unsigned i;

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	for (i = 0; i < APPLY_LINKS; i++) {
		apply_link_down(&w->a);
		apply_link_up(&w->a);
		pass(w, 20000);
		assert_int_equal(w->a.phase, APPLY_GATE);
	}
	apply_link_down(&w->a);
	apply_link_up(&w->a);
	assert_int_equal(w->a.phase, APPLY_ROLLBACK);
	assert_int_equal(w->run.generation, 1);
	world_free(w);
}

/* ---- the table of events */

static void
test_power_loss_in_a_trial(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	world_crash(w);
	memset(&w->proc, 0, sizeof(w->proc));
	w->proc.state = AGENT_STOPPED;
	world_boot(w);
	assert_int_equal(w->run.generation, 1);
	assert_int_equal(w->store.running, 1);
	runs(w);
	assert_string_equal(w->told, "F");
	assert_string_equal(w->hash, "h2");
	assert_non_null(strstr(w->message, "interrupted"));
	assert_int_equal(w->store.state.passing, 1);
	assert_int_equal(w->store.state.committed, 1);
	world_free(w);
}

/* One error of the disk is over soon: the way back is tried again after a second, then less often. */
static void
test_the_way_back_is_tried_again(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	w->store.fail_switch = 2;
	crashes(w, EXIT_CODE, 7);
	words(w, w->start, AGENT_RUN, "Error: port");
	assert_int_equal(w->run.generation, 2); /* it stays on what it has */
	pass(w, APPLY_AGAIN_MS);
	assert_int_equal(w->run.generation, 2);
	w->store.fail_switch = 0;
	pass(w, 2 * APPLY_AGAIN_MS - 1);
	assert_int_equal(w->run.generation, 2);
	pass(w, 1);
	assert_int_equal(w->run.generation, 1);
	assert_int_equal(w->run.how, RUN_RESTART);
	assert_int_equal(w->store.running, 1);
	world_free(w);
}

/* After a power loss in a trial the agent is not started on the tried one under the committed one's name. */
static void
test_nothing_starts_before_its_file_is_in_place(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	world_crash(w);
	memset(&w->proc, 0, sizeof(w->proc));
	w->proc.state = AGENT_STOPPED;
	w->store.fail_switch = 2;
	w->store.fail_make = 1;
	world_boot(w);
	assert_int_equal(w->store.running, 2);
	assert_int_equal(w->runs, 0);
	assert_string_equal(w->hash, "h2");
	w->store.fail_switch = w->store.fail_make = 0;
	pass(w, APPLY_AGAIN_MS);
	assert_int_equal(w->run.generation, 1);
	assert_int_equal(w->store.running, 1);
	world_free(w);
}

static void
test_confd_dies_in_a_trial(void **state_)
{
	struct world *w = world_committed(world_new());
	int before;

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	world_crash(w);
	world_boot(w); /* procd: it still runs, with its process id */
	before = w->proc.pid;
	assert_int_equal(w->run.how, RUN_ENSURE);
	assert_int_equal(w->run.generation, 2);
	state(w, AGENT_RUNNING);
	assert_int_equal(w->a.phase, APPLY_GATE);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "A");
	assert_string_equal(w->hash, "h2");
	assert_int_equal(w->proc.pid, before);
	/* the same, but it died meanwhile */
	tried(w, "h3", "three");
	runs(w);
	world_crash(w);
	w->proc.exit = EXIT_CODE;
	w->proc.value = 3;
	w->proc.state = AGENT_BACKOFF;
	world_boot(w);
	assert_int_equal(w->run.generation, 2);
	runs(w);
	assert_string_equal(w->told, "F");
	assert_non_null(strstr(w->message, "exit code 3"));
	world_free(w);
}

/* Between the record and the switch: the agent was not touched, and is not. */
static void
test_confd_dies_before_the_switch(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	world_crash(w); /* procd never heard of it */
	world_boot(w);
	assert_int_equal(w->run.how, RUN_ENSURE);
	assert_int_equal(w->run.generation, 1);
	state(w, AGENT_RUNNING);
	assert_string_equal(w->told, "F");
	assert_int_equal(w->store.running, 1);
	world_free(w);
}

static void
procd_dies(struct world *w, enum agent_state now, uint64_t generation)
{
	apply_procd_down(&w->a);
	apply_procd_up(&w->a);
	w->proc.token = 0;
	w->proc.state = now;
	w->proc.generation = generation;
	if (now == AGENT_STOPPED)
		w->proc.start = 0;
	assert_int_equal(apply_proc_state(&w->a, &w->proc), 0);
}

static void
test_procd_dies_in_a_trial(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	procd_dies(w, AGENT_RUNNING, 2);
	assert_int_equal(w->run.how, RUN_ENSURE); /* taken over */
	state(w, AGENT_RUNNING);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yA");
	/* procd died before it obeyed: once more */
	tried(w, "h3", "three");
	procd_dies(w, AGENT_RUNNING, 2);
	assert_int_equal(w->run.how, RUN_RESTART);
	assert_int_equal(w->run.generation, 3);
	runs(w);
	/* the agent died with it */
	procd_dies(w, AGENT_STOPPED, 0);
	assert_int_equal(w->run.generation, 2);
	runs(w);
	assert_string_equal(w->told, "yAyF");
	/* without a trial it is just started again */
	procd_dies(w, AGENT_STOPPED, 0);
	assert_int_equal(w->run.how, RUN_ENSURE);
	assert_int_equal(w->run.generation, 2);
	world_free(w);
}

static void
test_procd_dies_in_a_check(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	offer(w, "h2", "two");
	composed(w, text_of("two"));
	assert_int_equal(w->jobs, 1);
	procd_dies(w, AGENT_RUNNING, 1);
	assert_int_equal(w->jobs, 2);
	job_done(w, EXIT_CODE, 0);
	assert_int_equal(w->a.phase, APPLY_GATE);
	world_free(w);
}

static void
test_CF_07_newer_offer_before_the_switch(void **state_)
{
	struct world *w = world_committed(world_new());
	uint32_t old_job;

	(void)state_;
	offer(w, "h2", "two");
	old_job = w->job;
	offer(w, "h3", "three");
	assert_string_equal(w->told, "yy");
	assert_true(w->job != old_job);
	assert_string_equal(w->remote_has, "three");
	composed(w, text_of("three"));
	offer(w, "h4", "four");    /* while the check runs */
	job_done(w, EXIT_CODE, 0); /* of h3: nobody waits for it */
	assert_int_equal(w->a.phase, APPLY_COMPOSE);
	composed(w, text_of("four"));
	job_done(w, EXIT_CODE, 0);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yyyA");
	assert_string_equal(w->hash, "h4");
	assert_int_equal(w->store.state.committed, 2);
	world_free(w);
}

static void
test_CF_07_newer_offer_after_the_switch(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	well(w);
	offer(w, "bad", "bad");
	pass(w, 10000); /* the one on trial is not committed any more */
	assert_int_equal(w->store.state.committed, 1);
	merged(w, MERGE_REFUSED, "no");
	assert_int_equal(w->run.generation, 1); /* the target stays the committed one */
	runs(w);
	assert_string_equal(w->told, "yyF");
	assert_string_equal(w->hash, "bad");
	assert_int_equal(w->store.running, 1);
	/* and one that is good takes its place */
	well(w);
	tried(w, "h3", "three");
	runs(w);
	applied(w, "h4", "four");
	assert_int_equal(w->store.state.committed, w->run.generation);
	world_free(w);
}

static void
test_newer_offer_while_going_back(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	crashes(w, EXIT_CODE, 1);
	offer(w, "h3", "three"); /* h2 ends in a final state first */
	assert_string_equal(w->told, "yFy");
	composed(w, text_of("three"));
	job_done(w, EXIT_CODE, 0);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yFyA");
	world_free(w);
}

static void
test_CF_07_flood(void **state_)
{
	struct world *w = world_committed(world_new());
	char hash[16];
	int i;

	(void)state_;
	for (i = 0; i < 500; i++) {
		(void)snprintf(hash, sizeof(hash), "h%d", i);
		offer(w, hash, hash);
		if (i % 3 == 0)
			composed(w, text_of(hash));
		if (i % 9 == 0)
			job_done(w, EXIT_CODE, 0);
	}
	composed(w, text_of("last"));
	job_done(w, EXIT_CODE, 0);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->hash, "h499");
	assert_int_equal(w->a.told.status, CONFIG_APPLIED);
	world_free(w);
}

static void
test_committed_one_fails_after_a_rollback(void **state_)
{
	struct world *w = world_committed(world_new());
	unsigned before;

	(void)state_;
	applied(w, "h2", "two");
	tried(w, "h3", "three");
	runs(w);
	crashes(w, EXIT_CODE, 1);
	crashes(w, EXIT_CODE, 1); /* of generation 2 now */
	pass(w, APPLY_WORDS_MS);
	assert_int_equal(w->a.told.status, CONFIG_FAILED);
	before = w->runs;
	for (int i = 0; i < 20; i++) {
		runs(w);
		crashes(w, EXIT_CODE, 1);
		pass(w, 60000);
	}
	assert_int_equal(w->runs, before); /* procd's back-off, for ever; never an older one */
	assert_int_equal(w->a.committed, 2);
	runs(w);
	applied(w, "h4", "four"); /* new offers are accepted */
	world_free(w);
}

static void
test_commit_cannot_be_written(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	well(w);
	w->store.fail_state = w->store.fail_make = w->store.fail_switch = 1; /* the disk is full */
	pass(w, 2000);
	assert_int_equal(w->run.generation, 1);
	assert_int_equal(w->store.running, 1); /* the way back takes no space */
	runs(w);
	assert_string_equal(w->told, "yF");
	assert_non_null(strstr(w->message, "No space left"));
	assert_int_equal(w->a.told.passing, 1);
	/* the record on disk still says trial: who reads it goes back as well */
	assert_int_equal(w->store.state.phase, PHASE_TRIAL);
	offer(w, "h3", "three");
	composed(w, text_of("three"));
	job_done(w, EXIT_CODE, 0);
	assert_string_equal(w->told, "yFyF"); /* said, nothing lost, nothing touched */
	assert_int_equal(w->run.generation, 1);
	w->store.fail_state = w->store.fail_make = w->store.fail_switch = 0;
	well(w);
	applied(w, "h4", "four");
	assert_int_equal(w->store.state.phase, PHASE_IDLE);
	world_free(w);
}

/* One that stays under its name, though it failed, does not keep the next ones from being made. */
static void
test_a_generation_that_was_left_behind(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	w->store.fail_make = 2;
	offer(w, "h2", "two");
	composed(w, text_of("two"));
	job_done(w, EXIT_CODE, 0);
	assert_string_equal(w->told, "yF");
	assert_int_equal(w->runs, 0);
	w->store.fail_make = 0;
	tried(w, "h3", "three");
	assert_int_equal(w->run.generation, 3);
	world_free(w);
}

static void
test_full_disk_and_an_offer_of_what_runs(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	w->store.fail_state = w->store.fail_make = 1;
	offer(w, "h2", "two");
	composed(w, text_of("two"));
	job_done(w, EXIT_CODE, 0);
	assert_string_equal(w->told, "yF");
	offer(w, "h3", "");
	composed(w, text_of("local"));
	assert_string_equal(w->told, "yFyA"); /* it is in force */
	assert_int_equal(w->runs, 0);
	world_free(w);
}

static void
test_each_write_may_fail(void **state_)
{
	int which;

	(void)state_;
	for (which = 0; which < 5; which++) {
		struct world *w = world_committed(world_new());
		int *faults[] = {&w->store.fail_state, &w->store.fail_make, &w->store.fail_switch,
		    &w->store.fail_ready, &w->store.fail_candidate};

		*faults[which] = 1;
		offer(w, "h2", "two");
		composed(w, text_of("two"));
		if (w->a.phase == APPLY_VALIDATE)
			job_done(w, EXIT_CODE, 0);
		if (w->a.phase == APPLY_ROLLBACK)
			state(w, AGENT_RUNNING);
		assert_string_equal(w->told, "yF");
		assert_int_equal(w->a.told.passing, 1);
		assert_true(w->runs == 0 || w->run.how == RUN_ENSURE); /* the agent runs on */
		assert_int_equal(w->store.running, 1);
		*faults[which] = 0;
		pass(w, APPLY_RETRY_MS);
		applied(w, "h2", "two"); /* a passing failure: the same hash again */
		world_free(w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_first_start_runs_the_local_configuration),
	    cmocka_unit_test(test_first_start_fails_and_goes_on),
	    cmocka_unit_test(test_local_files_that_cannot_be_used),
	    cmocka_unit_test(test_CF_05_applying_then_applied),
	    cmocka_unit_test(test_seven_syncs_at_most),
	    cmocka_unit_test(test_CF_05_CF_12_refused_by_merge),
	    cmocka_unit_test(test_refused_by_the_second_look),
	    cmocka_unit_test(test_merge_that_dies_is_passing),
	    cmocka_unit_test(test_refused_by_the_agents_own_check),
	    cmocka_unit_test(test_check_without_words_and_check_that_hangs),
	    cmocka_unit_test(test_dies_at_start_goes_back_with_the_reason),
	    cmocka_unit_test(test_reasons_signal_memory_and_no_start),
	    cmocka_unit_test(test_hangs_until_the_time_is_over),
	    cmocka_unit_test(test_component_permanent_at_once_recoverable_at_the_end),
	    cmocka_unit_test(test_unhealthy_while_settling),
	    cmocka_unit_test(test_link_away_is_not_blamed),
	    cmocka_unit_test(test_a_trial_ends_though_link_does_not_stay),
	    cmocka_unit_test(test_power_loss_in_a_trial),
	    cmocka_unit_test(test_the_way_back_is_tried_again),
	    cmocka_unit_test(test_nothing_starts_before_its_file_is_in_place),
	    cmocka_unit_test(test_confd_dies_in_a_trial),
	    cmocka_unit_test(test_confd_dies_before_the_switch),
	    cmocka_unit_test(test_procd_dies_in_a_trial),
	    cmocka_unit_test(test_procd_dies_in_a_check),
	    cmocka_unit_test(test_CF_07_newer_offer_before_the_switch),
	    cmocka_unit_test(test_CF_07_newer_offer_after_the_switch),
	    cmocka_unit_test(test_newer_offer_while_going_back),
	    cmocka_unit_test(test_CF_07_flood),
	    cmocka_unit_test(test_committed_one_fails_after_a_rollback),
	    cmocka_unit_test(test_commit_cannot_be_written),
	    cmocka_unit_test(test_a_generation_that_was_left_behind),
	    cmocka_unit_test(test_full_disk_and_an_offer_of_what_runs),
	    cmocka_unit_test(test_each_write_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
