/*
 * apply_more_test.c: the apply transaction: which offers count, what is run at a start, reload by signal,
 * identity, restart, other kinds of agents; and the health that is reported.
 */
#include "apply_world.h"

#include "confd/apply_internal.h"
#include "confd/health.h"
#include "confd/identity.h"

static void
offer_bytes(struct world *w, const char *hash, size_t hash_len, const char *body)
{
	size_t len;
	char *data = make_offer(hash, hash_len, body, 0, &len);

	apply_offer(&w->a, &(struct apply_bytes){.data = data, .len = len});
}

/* ---- offers */

static void
test_CF_06_ST_04_a_thousand_equal_offers(void **state_)
{
	struct world *w = world_committed(world_new());
	unsigned runs_before;
	int i;

	(void)state_;
	tried(w, "h2", "two");
	for (i = 0; i < 1000; i++) /* also while it is being applied */
		offer(w, "h2", "two");
	runs(w);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yA");
	runs_before = w->runs;
	for (i = 0; i < 1000; i++)
		offer(w, "h2", "two");
	assert_string_equal(w->told, "yA");
	assert_int_equal(w->runs, runs_before);
	assert_int_equal(w->composes, 1);
	/* and after a restart of confd */
	world_crash(w);
	world_boot(w);
	offer(w, "h2", "two");
	assert_int_equal(w->statuses, 0);
	world_free(w);
}

static void
test_CF_06_back_to_the_committed_one(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	applied(w, "h2", "two");
	offer(w, "bad", "bad");
	merged(w, MERGE_REFUSED, "no");
	offer(w, "h2", "two"); /* it runs already: APPLIED at once */
	assert_string_equal(w->told, "yAyFA");
	assert_string_equal(w->hash, "h2");
	assert_int_equal(w->store.state.status, CONFIG_APPLIED);
	assert_int_equal(w->a.phase, APPLY_IDLE);
	world_free(w);
}

static void
test_passing_failure_is_tried_again_later(void **state_)
{
	struct world *w = world_committed(world_new());
	int i;

	(void)state_;
	for (i = 0; i < 3; i++) {
		tried(w, "h2", "two");
		runs(w);
		crashes(w, EXIT_CODE, 1);
		words(w, w->start, AGENT_RUN, "no");
		runs(w);
		well(w);
		assert_int_equal(w->a.told.status, CONFIG_FAILED);
		offer(w, "h2", "two");
		assert_int_equal(w->a.phase, APPLY_IDLE); /* too early */
		pass(w, (uint64_t)APPLY_RETRY_MS * (i < 2 ? 1 : 2) - 1);
		offer(w, "h2", "two");
		assert_int_equal(w->a.phase, APPLY_IDLE);
		pass(w, 1);
	}
	assert_string_equal(w->told, "yFyFyF"); /* the server is told the same either way */
	world_free(w);
}

static void
test_CF_04_hashes_of_any_length(void **state_)
{
	struct world *w = world_committed(world_new());
	char *big = malloc(LIMIT_CONFIG_HASH);
	size_t i;

	(void)state_;
	assert_non_null(big);
	for (i = 0; i < LIMIT_CONFIG_HASH; i++)
		big[i] = (char)(i * 7); /* zeroes too */
	offer_bytes(w, big, LIMIT_CONFIG_HASH, "two");
	composed(w, text_of("two"));
	job_done(w, EXIT_CODE, 0);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_int_equal(w->a.told.status, CONFIG_APPLIED);
	assert_int_equal(w->store.state.hash_len, LIMIT_CONFIG_HASH);
	assert_memory_equal(w->store.state.hash, big, LIMIT_CONFIG_HASH);
	/* none at all: then the bytes decide whether it is the same */
	offer_bytes(w, "", 0, "three");
	composed(w, text_of("three"));
	job_done(w, EXIT_CODE, 0);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yAyA");
	offer_bytes(w, "", 0, "three");
	assert_string_equal(w->told, "yAyA");
	world_crash(w);
	world_boot(w);
	composed(w, text_of("three")); /* what is local has not changed */
	offer_bytes(w, "", 0, "three");
	assert_int_equal(w->a.phase, APPLY_IDLE);
	assert_true(w->statuses <= 1);
	offer_bytes(w, "", 0, "four");
	assert_int_equal(w->a.phase, APPLY_COMPOSE);
	free(big);
	world_free(w);
}

static void
test_three_empty_cases_stay_apart(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	/* nothing was ever sent: what is local runs, and there is no status */
	world_committed(w);
	assert_int_equal(w->statuses, 0);
	/* one entry with an empty body: nothing to add, nothing is restarted */
	offer(w, "h2", "");
	assert_string_equal(w->remote_has, "");
	composed(w, text_of("local"));
	assert_string_equal(w->told, "yA");
	assert_int_equal(w->runs, 0);
	assert_int_equal(w->store.state.committed, 2);
	/* an empty map, and nothing local: stop */
	offer_empty_map(w, "h3");
	assert_int_equal(w->stops, 1);
	assert_string_equal(w->told, "yA");
	stopped(w);
	assert_string_equal(w->told, "yAA");
	assert_string_equal(w->hash, "h3");
	assert_int_equal(w->store.state.stopped, 1);
	offer_empty_map(w, "h3");
	assert_string_equal(w->told, "yAA");
	/* it stays so over a restart */
	world_crash(w);
	world_boot(w);
	stopped(w);
	assert_int_equal(w->runs + w->merges, 0);
	/* until there is something to run */
	applied(w, "h4", "four");
	assert_int_equal(w->store.state.stopped, 0);
	world_free(w);
}

/* What link tells before procd's first word is of the agent that runs on, and is not told again. */
static void
test_ST_08_who_reports_may_run(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	world_committed(w);
	assert_true(apply_may_run(&w->a));
	world_crash(w);
	apply_init(&w->a, &world_ops, w, &w->set, &w->store, UID);
	assert_int_equal(w->a.phase, APPLY_WAITING);
	assert_true(apply_may_run(&w->a));
	world_crash(w);
	world_boot(w);
	composed(w, text_of("local"));
	offer_empty_map(w, "h3");
	assert_false(apply_may_run(&w->a)); /* it is just ending */
	stopped(w);
	assert_false(apply_may_run(&w->a));
	world_free(w);
}

static void
test_empty_map_with_local_files(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	w->set.has_local = 1;
	world_committed(w);
	applied(w, "h2", "two");
	offer_empty_map(w, "h3");
	composed(w, text_of("local"));
	job_done(w, EXIT_CODE, 0);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yAyA");
	assert_int_equal(w->stops, 0);
	world_free(w);
}

static void
test_failure_after_a_stop_goes_back_to_the_stop(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	offer_empty_map(w, "h2");
	stopped(w);
	tried(w, "h3", "three");
	runs(w);
	crashes(w, EXIT_CODE, 1);
	assert_int_equal(w->stops, 2);
	stopped(w);
	pass(w, APPLY_WORDS_MS);
	assert_string_equal(w->told, "AyF");
	assert_int_equal(w->store.state.stopped, 1);
	world_free(w);
}

static void
test_offers_are_rate_limited_newest_wins(void **state_)
{
	struct world *w = world_new();
	char hash[16];
	int i;

	(void)state_;
	w->set.offers_per_minute = 2;
	world_committed(w);
	for (i = 0; i < 100; i++) {
		(void)snprintf(hash, sizeof(hash), "h%d", i);
		offer(w, hash, hash);
	}
	assert_string_equal(w->told, "yy");
	assert_string_equal(w->remote_has, "h1");
	pass(w, 30001);
	assert_string_equal(w->remote_has, "h99");
	world_free(w);
}

static void
test_CP_08_SE_03_remote_configuration_off(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	w->set.accepts = 0;
	world_committed(w);
	offer(w, "h2", "two");
	assert_int_equal(w->statuses + w->merges, 0);
	world_free(w);
}

static void
test_refused_where_the_agent_could_read_our_state(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	w->set.weak = 1;
	world_committed(w);
	offer(w, "h2", "two");
	assert_string_equal(w->told, "F");
	assert_non_null(strstr(w->message, "policy.allow_remote_config_without_landlock: true"));
	assert_int_equal(w->merges, 0);
	world_free(w);
}

/* ---- starts */

static void
cold(struct world *w)
{
	world_crash(w);
	memset(&w->proc, 0, sizeof(w->proc));
	w->proc.state = AGENT_STOPPED;
	world_boot(w);
}

static void
test_committed_one_runs_at_once(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	applied(w, "h2", "two");
	cold(w);
	assert_int_equal(w->runs, 1); /* before any merge or check */
	assert_int_equal(w->run.generation, 2);
	assert_int_equal(w->jobs, 0);
	runs(w);
	composed(w, text_of("two")); /* behind its back: has anything changed? */
	assert_int_equal(w->runs, 1);
	assert_int_equal(w->statuses, 0);
	world_free(w);
}

static void
test_local_files_changed_while_we_were_away(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	applied(w, "h2", "two");
	cold(w);
	runs(w);
	assert_string_equal(w->remote_has, "two");
	composed(w, text_of("two, and new local files"));
	job_done(w, EXIT_CODE, 0);
	assert_int_equal(w->run.generation, 3);
	runs(w);
	crashes(w, EXIT_CODE, 1); /* they are no good */
	assert_int_equal(w->run.generation, 2);
	runs(w);
	pass(w, APPLY_WORDS_MS);
	assert_int_equal(w->statuses, 0); /* the server's configuration is as it was */
	assert_int_equal(w->store.state.committed, 2);
	cold(w);
	runs(w);
	composed(w, text_of("two, and better local files"));
	job_done(w, EXIT_CODE, 0);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_int_equal(w->statuses, 0);
	assert_int_equal(w->store.state.committed, 4);
	offer(w, "h2", "two"); /* still the server's h2 */
	assert_int_equal(w->statuses, 0);
	world_free(w);
}

static void
test_link_has_another_port(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	w->set.port = PORT + 1;
	cold(w);
	assert_int_equal(w->runs, 0); /* it would not find us */
	merged(w, MERGE_DONE_OK, "new port");
	merged(w, MERGE_DONE_OK, "");
	assert_int_equal(w->jobs, 0); /* ours alone is new in it */
	assert_int_equal(w->run.generation, 2);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_int_equal(w->store.state.committed, 2);
	/* if that cannot be, the committed one runs all the same */
	w->set.port = PORT + 2;
	cold(w);
	merged(w, MERGE_DIED, "");
	assert_int_equal(w->run.generation, 2);
	/* and an offer that comes meanwhile does not leave the host without an agent */
	cold(w);
	assert_int_equal(w->runs, 0);
	offer(w, "h5", "five");
	assert_int_equal(w->run.generation, 2);
	world_free(w);
}

static void
test_power_loss_in_a_trial_and_another_port(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	w->set.port = PORT + 1;
	cold(w);
	assert_string_equal(w->told, "F");
	assert_int_equal(w->runs, 0); /* generation 1 would not find us: it is brought up to date */
	composed(w, "local, new port");
	assert_int_equal(w->runs, 1);
	assert_int_equal(w->run.generation, 3);
	assert_string_equal(w->told, "F");
	world_free(w);
}

/* Nothing was committed yet, and the offer adds nothing: it is proved on the process that runs. */
static void
test_same_text_before_anything_was_committed(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	world_boot(w);
	composed(w, text_of("local"));
	runs(w);
	offer(w, "h1", "");
	composed(w, text_of("local"));
	assert_int_equal(w->run.how, RUN_ENSURE);
	assert_int_equal(w->run.generation, 1);
	state(w, AGENT_RUNNING);
	world_crash(w); /* confd dies: it goes on */
	world_boot(w);
	assert_int_equal(w->run.how, RUN_ENSURE);
	state(w, AGENT_RUNNING);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "A");
	assert_int_equal(w->store.state.committed, 2);
	world_free(w);
}

static void
test_confd_restarts_agent_is_not_touched(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	applied(w, "h2", "two");
	offer(w, "h3", "two again"); /* the same text: committed without a restart */
	composed(w, text_of("two"));
	assert_int_equal(w->store.state.committed, 3);
	assert_int_equal(w->proc.generation, 2);
	world_crash(w);
	world_boot(w);
	assert_int_equal(w->run.how, RUN_ENSURE);
	assert_int_equal(w->run.generation, 2);
	state(w, AGENT_RUNNING);
	composed(w, text_of("two"));
	assert_int_equal(w->runs, 1);
	assert_int_equal(w->stops, 0);
	world_free(w);
}

static void
test_confd_restarts_before_anything_was_committed(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	world_boot(w);
	composed(w, text_of("local"));
	runs(w);
	world_crash(w);
	world_boot(w);
	assert_int_equal(w->run.how, RUN_ENSURE);
	assert_int_equal(w->run.generation, 1);
	state(w, AGENT_RUNNING);
	composed(w, text_of("local"));
	assert_int_equal(w->runs, 1);
	well(w);
	pass(w, 2000);
	assert_int_equal(w->store.state.committed, 1);
	world_free(w);
}

static void
test_first_offer_fails_back_to_what_is_local(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	world_boot(w);
	composed(w, text_of("local"));
	runs(w);
	tried(w, "h2", "two"); /* before the local one has proved itself */
	runs(w);
	crashes(w, EXIT_CODE, 1);
	assert_int_equal(w->run.generation, 1);
	runs(w);
	pass(w, APPLY_WORDS_MS);
	assert_string_equal(w->told, "yF");
	well(w);
	pass(w, 2000);
	assert_int_equal(w->store.state.committed, 1);
	world_free(w);
}

static void
test_program_is_asked_once(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	w->store.gate = -1;
	world_boot(w);
	assert_int_equal(w->asked.kind, AGENT_PROBE);
	offer(w, "h1", "one"); /* waits for it */
	assert_int_equal(w->merges, 0);
	apply_procd_down(&w->a); /* and procd dies with the answer */
	apply_procd_up(&w->a);
	assert_int_equal(apply_proc_state(&w->a, &w->proc), 0);
	assert_int_equal(w->jobs, 2);
	job_done(w, EXIT_CODE, 0);
	assert_int_equal(w->store.gate, 1);
	assert_string_equal(w->remote_has, "one");
	composed(w, text_of("one"));
	assert_int_equal(w->asked.flags, AGENT_NO_PIPELINES_GATE);
	job_done(w, EXIT_CODE, 0);
	assert_int_equal(w->run.flags, AGENT_NO_PIPELINES_GATE);
	cold(w);
	assert_int_equal(w->jobs, 0); /* known */
	/* one that cannot even be asked is run all the same */
	w->store.gate = -1;
	cold(w);
	job_done(w, EXIT_TIMEOUT, 9);
	stopped(w);
	assert_int_equal(w->store.gate, -1);
	assert_true(w->runs + w->merges > 0);
	world_free(w);
}

/* ---- reload by signal */

static void
test_hup_reload_and_its_exit(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	w->set.hup = 1;
	world_committed(w);
	offer(w, "h2", "two");
	composed(w, text_of("two"));
	job_done(w, EXIT_CODE, 0);
	assert_int_equal(w->run.how, RUN_RELOAD);
	state(w, AGENT_RUNNING); /* the same process */
	pass(w, 10000);
	assert_string_equal(w->told, "y"); /* what it said before the reload does not count */
	disconnects(w);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yA");
	/* a bad reload ends a Collector: that is a rollback in the same step */
	offer(w, "h3", "three");
	composed(w, text_of("three"));
	job_done(w, EXIT_CODE, 0);
	state(w, AGENT_RUNNING);
	crashes(w, EXIT_CODE, 1);
	assert_int_equal(w->run.how, RUN_RESTART);
	assert_int_equal(w->run.generation, 2);
	runs(w);
	pass(w, APPLY_WORDS_MS);
	assert_string_equal(w->told, "yAyF");
	world_free(w);
}

static void
test_hup_not_before_the_agent_listens(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	w->set.hup = 1;
	world_boot(w);
	composed(w, text_of("local"));
	runs(w);
	tried(w, "h2", "two"); /* it is just coming up: the signal might end it */
	assert_int_equal(w->run.how, RUN_RESTART);
	runs(w);
	well(w);
	pass(w, 2000);
	tried(w, "h3", "three");
	assert_int_equal(w->run.how, RUN_RELOAD);
	state(w, AGENT_RUNNING);
	crashes(w, EXIT_SIGNAL, 1); /* by the signal all the same: once more, without it */
	assert_int_equal(w->run.how, RUN_RESTART);
	assert_int_equal(w->run.generation, 3);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yAyA");
	world_free(w);
}

static void
test_hup_never_without_validation(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	w->set.hup = 1;
	w->set.validates = 0;
	world_committed(w);
	offer(w, "h2", "two");
	composed(w, text_of("two"));
	assert_int_equal(w->run.how, RUN_RESTART);
	world_free(w);
}

/* procd is new and knows only what the process was started on. */
static void
test_procd_dies_after_a_reload(void **state_)
{
	struct world *w = world_new();
	unsigned before;

	(void)state_;
	w->set.hup = 1;
	world_committed(w);
	offer(w, "h2", "two");
	composed(w, text_of("two"));
	job_done(w, EXIT_CODE, 0);
	state(w, AGENT_RUNNING);
	disconnects(w);
	well(w);
	pass(w, 2000);
	before = w->runs;
	apply_procd_down(&w->a);
	apply_procd_up(&w->a);
	w->proc.token = 0;
	w->proc.generation = 1;
	assert_int_equal(apply_proc_state(&w->a, &w->proc), 0);
	assert_int_equal(w->runs, before);
	assert_true(apply_well(&w->a));
	world_free(w);
}

/* ---- identity and commands */

static void
test_ID_02_new_uid_reaches_the_agent(void **state_)
{
	struct world *w = world_committed(world_new());
	uint32_t old;

	(void)state_;
	applied(w, "h2", "two");
	apply_uid(&w->a, "01890000-0000-7000-8000-000000000002");
	assert_string_equal(w->remote_has, "two");
	composed(w, "two with the new uid");
	job_done(w, EXIT_CODE, 0);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_int_equal(w->store.state.committed, 3);
	assert_string_equal(w->told, "yA"); /* no news of the server's configuration */
	/* while an offer is being put together: it gets the new one */
	offer(w, "h4", "four");
	old = w->job;
	apply_uid(&w->a, UID);
	assert_true(w->job != old);
	composed(w, text_of("four"));
	job_done(w, EXIT_CODE, 0);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yAyA");
	composed(w, text_of("four")); /* nothing left to do */
	assert_int_equal(w->a.phase, APPLY_IDLE);
	world_free(w);
}

static void
test_RC_01_RC_03_restart_command(void **state_)
{
	struct world *w = world_committed(world_new());
	struct error err;

	(void)state_;
	assert_int_equal(apply_restart(&w->a, 1, &err), 0);
	assert_int_equal(w->run.how, RUN_RESTART);
	assert_int_equal(w->run.generation, 1);
	runs(w);
	assert_int_equal(apply_restart(&w->a, 1, &err), 0);
	assert_int_equal(apply_restart(&w->a, 1, &err), -1); /* two a minute */
	assert_non_null(strstr(err.text, "limits.restarts_per_minute"));
	assert_int_equal(apply_restart(&w->a, 0, &err), 0); /* an admin is not a server */
	pass(w, 30001);
	assert_int_equal(apply_restart(&w->a, 1, &err), 0);
	w->a.set.accepts_restart = 0;
	pass(w, 60000);
	assert_int_equal(apply_restart(&w->a, 1, &err), -1);
	world_free(w);
}

static void
test_restart_in_a_trial(void **state_)
{
	struct world *w = world_committed(world_new());
	struct error err;

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	well(w);
	pass(w, 1000);
	assert_int_equal(apply_restart(&w->a, 1, &err), 0);
	assert_int_equal(w->run.generation, 2);
	pass(w, 2000);
	assert_string_equal(w->told, "y");
	runs(w);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yA");
	world_free(w);
}

static void
test_the_end(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	apply_end(&w->a);
	assert_int_equal(w->stops, 1);
	assert_int_equal(apply_ended(&w->a), 0);
	well(w);
	pass(w, 60000);
	assert_string_equal(w->told, "y"); /* nothing is decided any more */
	stopped(w);
	assert_int_equal(apply_ended(&w->a), 1);
	world_free(w);
}

/* ---- other kinds of agents */

static struct world *
generic(struct world *w)
{
	w->set.injects = w->set.validates = 0;
	return w;
}

static void
test_generic_agent_with_its_process_alone(void **state_)
{
	struct world *w = generic(world_new());

	(void)state_;
	world_boot(w);
	composed(w, "local");
	runs(w);
	assert_string_equal(w->effective, "local");
	pass(w, 2000);
	assert_int_equal(w->store.state.committed, 1);
	offer(w, "h2", "two");
	composed(w, "two");
	runs(w);
	assert_string_equal(w->effective, "two"); /* CF-09: nobody else can tell */
	pass(w, 2000);
	assert_string_equal(w->told, "yA");
	apply_link_down(&w->a); /* is nothing to it */
	tried(w, "h3", "three");
	runs(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yAyA");
	world_free(w);
}

static void
probed(struct world *w, int ok, const char *text)
{
	struct msg_probe m = {w->start, (uint32_t)ok};

	assert_int_equal(apply_probed(&w->a, &m, text, strlen(text)), 0);
}

static void
test_generic_agent_with_a_health_endpoint(void **state_)
{
	struct world *w = generic(world_new());

	(void)state_;
	w->set.probes = 1;
	world_boot(w);
	composed(w, "local");
	runs(w);
	probed(w, 1, "");
	pass(w, 2000);
	tried(w, "h2", "two");
	runs(w);
	pass(w, 5000);
	probed(w, 0, "HTTP status 503");
	pass(w, 25000);
	runs(w);
	assert_string_equal(w->told, "yF");
	assert_non_null(strstr(w->message, "HTTP status 503"));
	world_free(w);
}

static void
test_raw_configuration(void **state_)
{
	struct world *w = generic(world_new());
	struct health_report r;

	(void)state_;
	w->set.raw = 1;
	world_boot(w);
	assert_int_equal(w->runs + w->merges, 0); /* it has nothing to run on */
	health_compose(&w->a, &r);
	assert_int_equal(r.healthy, 0);
	assert_non_null(strstr(r.error, "no configuration yet"));
	offer(w, "h1", "module(load=\"imuxsock\")");
	assert_int_equal(w->merges, 0); /* not read, not merged */
	runs(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yA");
	assert_string_equal(w->effective, "module(load=\"imuxsock\")");
	offer(w, "h2", ""); /* nothing to add */
	assert_string_equal(w->told, "yAyA");
	assert_int_equal(w->runs, 1);
	offer_empty_map(w, "h3");
	stopped(w);
	assert_string_equal(w->told, "yAyAA");
	assert_string_equal(w->effective, "");
	world_free(w);
}

static void
test_raw_first_one_fails(void **state_)
{
	struct world *w = generic(world_new());

	(void)state_;
	w->set.raw = 1;
	world_boot(w);
	offer(w, "h1", "bad");
	runs(w);
	crashes(w, EXIT_CODE, 1);
	assert_int_equal(w->stops, 1); /* nothing to go back to */
	stopped(w);
	pass(w, APPLY_WORDS_MS);
	assert_string_equal(w->told, "yF");
	assert_int_equal(w->a.waiting, 1);
	world_free(w);
}

/* ---- health */

static void
test_HL_01_HL_02_health_by_every_source(void **state_)
{
	struct world *w = world_new();
	struct health_report r;

	(void)state_;
	world_boot(w);
	health_compose(&w->a, &r);
	assert_int_equal(r.healthy, 0);
	assert_int_equal(r.started_ns, 0);
	assert_true(r.error[0] != '\0');
	composed(w, text_of("local"));
	runs(w);
	health_compose(&w->a, &r);
	assert_int_equal(r.healthy, 0);
	assert_int_equal(r.passing, 1);
	assert_string_equal(r.status, "StatusStarting");
	assert_int_equal(r.started_ns, w->proc.started_ns);
	well(w);
	health_compose(&w->a, &r);
	assert_int_equal(r.healthy, 1);
	assert_int_equal(r.passing, 0);
	assert_string_equal(r.error, "");
	assert_memory_equal(r.component, "tree", 4); /* HL-03: as the agent gave it */
	reports(w, 0, WORST_PERMANENT, "receiver:otlp: no");
	health_compose(&w->a, &r);
	assert_int_equal(r.healthy, 0);
	assert_string_equal(r.error, "receiver:otlp: no");
	/* link away: what it said last holds */
	reports(w, 1, WORST_OK, "");
	apply_link_down(&w->a);
	health_compose(&w->a, &r);
	assert_int_equal(r.healthy, 1);
	apply_link_up(&w->a);
	health_compose(&w->a, &r);
	assert_int_equal(r.passing, 1);
	/* it dies */
	crashes(w, EXIT_SIGNAL, 9);
	words(w, w->start, AGENT_RUN, "last words");
	health_compose(&w->a, &r);
	assert_int_equal(r.healthy, 0);
	assert_int_equal(r.passing, 0);
	assert_int_equal(r.started_ns, 0);
	assert_non_null(strstr(r.error, "signal 9"));
	assert_non_null(strstr(r.error, "last words"));
	world_free(w);
}

static void
test_health_of_a_stop_and_of_the_end(void **state_)
{
	struct world *w = world_committed(world_new());
	struct health_report r;

	(void)state_;
	offer_empty_map(w, "h2");
	stopped(w);
	health_compose(&w->a, &r);
	assert_int_equal(r.healthy, 1);
	assert_int_equal(r.started_ns, 0);
	apply_end(&w->a);
	health_compose(&w->a, &r);
	assert_int_equal(r.healthy, 0);
	assert_string_equal(r.error, "opampd is shutting down");
	world_free(w);
}

static void
test_HL_04_time_alone_is_no_change(void **state_)
{
	struct health_report a = {.healthy = 1, .status_time_ns = 1}, b = a;

	(void)state_;
	b.status_time_ns = 2;
	assert_int_equal(health_changed(&a, &b), 0);
	b.started_ns = 1;
	assert_int_equal(health_changed(&a, &b), 1);
	b = a;
	b.component = "x";
	b.component_len = 1;
	assert_int_equal(health_changed(&b, &a), 1);
}

static void
test_texts_are_cut_between_characters(void **state_)
{
	static const struct {
		const char *text, *cut;
	} texts[] = {{"", ""}, {"abc", "abc"}, {"ab\xc3\xa4", "ab\xc3\xa4"}, {"ab\xc3", "ab"},
	    {"a\xe2\x82", "a"}, {"a\xe2\x82\xac", "a\xe2\x82\xac"}, {"\xf0\x9f\x98", ""},
	    {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"}};
	char text[16];
	size_t i;

	(void)state_;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		(void)snprintf(text, sizeof(text), "%s", texts[i].text);
		text_trim(text);
		assert_string_equal(text, texts[i].cut);
	}
}

/* ---- uid */

static void
test_ID_01_uuid(void **state_)
{
	uint8_t uid[16], again[16];
	char text[UUID_TEXT];

	(void)state_;
	assert_int_equal(identity_make(uid, 0x0123456789abu), 0);
	identity_text(text, uid);
	assert_int_equal(strncmp(text, "01234567-89ab-7", 15), 0);
	assert_non_null(strchr("89ab", text[19]));
	assert_int_equal(identity_parse(again, text), 0);
	assert_memory_equal(uid, again, 16);
	assert_int_equal(identity_parse(again, "0123456789ab70008000000000000000"), -1);
	assert_int_equal(identity_parse(again, "01234567-89ab-7000-8000-00000000000"), -1);
	assert_int_equal(identity_parse(again, "01234567-89ab-7000-8000-0000000000000"), -1);
	assert_int_equal(identity_parse(again, "01234567-89ab-7000-8000-00000000000g"), -1);
	assert_int_equal(identity_parse(again, ""), -1);
	memset(uid, 0, sizeof(uid));
	assert_int_equal(identity_is_zero(uid), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_CF_06_ST_04_a_thousand_equal_offers),
	    cmocka_unit_test(test_CF_06_back_to_the_committed_one),
	    cmocka_unit_test(test_passing_failure_is_tried_again_later),
	    cmocka_unit_test(test_CF_04_hashes_of_any_length),
	    cmocka_unit_test(test_three_empty_cases_stay_apart),
	    cmocka_unit_test(test_ST_08_who_reports_may_run),
	    cmocka_unit_test(test_empty_map_with_local_files),
	    cmocka_unit_test(test_failure_after_a_stop_goes_back_to_the_stop),
	    cmocka_unit_test(test_offers_are_rate_limited_newest_wins),
	    cmocka_unit_test(test_CP_08_SE_03_remote_configuration_off),
	    cmocka_unit_test(test_refused_where_the_agent_could_read_our_state),
	    cmocka_unit_test(test_committed_one_runs_at_once),
	    cmocka_unit_test(test_local_files_changed_while_we_were_away),
	    cmocka_unit_test(test_link_has_another_port),
	    cmocka_unit_test(test_power_loss_in_a_trial_and_another_port),
	    cmocka_unit_test(test_same_text_before_anything_was_committed),
	    cmocka_unit_test(test_confd_restarts_agent_is_not_touched),
	    cmocka_unit_test(test_confd_restarts_before_anything_was_committed),
	    cmocka_unit_test(test_first_offer_fails_back_to_what_is_local),
	    cmocka_unit_test(test_program_is_asked_once),
	    cmocka_unit_test(test_hup_reload_and_its_exit),
	    cmocka_unit_test(test_hup_not_before_the_agent_listens),
	    cmocka_unit_test(test_hup_never_without_validation),
	    cmocka_unit_test(test_procd_dies_after_a_reload),
	    cmocka_unit_test(test_ID_02_new_uid_reaches_the_agent),
	    cmocka_unit_test(test_RC_01_RC_03_restart_command),
	    cmocka_unit_test(test_restart_in_a_trial),
	    cmocka_unit_test(test_the_end),
	    cmocka_unit_test(test_generic_agent_with_its_process_alone),
	    cmocka_unit_test(test_generic_agent_with_a_health_endpoint),
	    cmocka_unit_test(test_raw_configuration),
	    cmocka_unit_test(test_raw_first_one_fails),
	    cmocka_unit_test(test_HL_01_HL_02_health_by_every_source),
	    cmocka_unit_test(test_health_of_a_stop_and_of_the_end),
	    cmocka_unit_test(test_HL_04_time_alone_is_no_change),
	    cmocka_unit_test(test_texts_are_cut_between_characters),
	    cmocka_unit_test(test_ID_01_uuid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
