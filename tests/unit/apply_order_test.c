/*
 * apply_order_test.c: the apply transaction: orders of events that apply_random_test.c found, each told
 * as a story.
 */
#include "apply_world.h"
#include "confd/apply_internal.h"

/* A server that never sends what works: what is kept on disk is bounded, and the way back stays. */
static void
test_I11_generations_without_a_commit(void **state_)
{
	struct world *w = world_new();
	char hash[16];
	int i;

	(void)state_;
	world_boot(w);
	composed(w, text_of("local"));
	runs(w);
	for (i = 0; i < 40; i++) {
		(void)snprintf(hash, sizeof(hash), "h%d", i);
		tried(w, hash, "bad");
		runs(w);
		crashes(w, EXIT_CODE, 1);
		words(w, w->start, AGENT_RUN, "no");
		runs(w);
	}
	assert_true(w->store.count <= w->set.keep + 3);
	assert_int_equal(w->a.committed, 0);
	assert_int_equal(w->store.running, 1);
	assert_non_null(fake_find(&w->store, 1));
	world_free(w);
}

static void
procd_replaced(struct world *w)
{
	apply_procd_down(&w->a);
	apply_procd_up(&w->a);
	w->proc.token = 0;
	assert_int_equal(apply_proc_state(&w->a, &w->proc), 0);
}

/* The order to reload went with procd: what the agent runs is not the trial. */
static void
test_reload_is_lost_with_procd(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	w->set.injects = 0;
	w->set.hup = 1;
	(void)world_committed(w);
	tried(w, "h2", "two");
	assert_int_equal(w->run.how, RUN_RELOAD);
	procd_replaced(w);
	assert_int_equal(w->run.how, RUN_RESTART);
	assert_int_equal(w->run.generation, 2);
	pass(w, 5000);
	assert_int_equal(w->a.committed, 1);
	runs(w);
	pass(w, 2000);
	assert_int_equal(w->a.committed, 2);
	world_free(w);
}

/* The old file was back in its place, and procd did not hear of it: the start has the trial's number only. */
static void
test_I8_confd_dies_on_the_way_back(void **state_)
{
	struct world *w = world_committed(world_new());
	struct msg_state trial;

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	trial = w->proc;
	pass(w, 30000); /* never well */
	assert_int_equal(w->a.phase, APPLY_ROLLBACK);
	assert_int_equal(w->store.running, 1);
	world_crash(w);
	w->proc = trial;
	world_boot(w);
	assert_int_equal(w->run.how, RUN_RESTART);
	assert_int_equal(w->run.generation, 1);
	runs(w);
	well(w);
	pass(w, 5000);
	assert_int_equal(w->store.state.committed, 1);
	assert_string_equal(w->told, "F");
	world_free(w);
}

/* Link goes while the agent reloads: its health of before is not the new configuration's. */
static void
test_link_is_replaced_in_a_reload(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	w->set.hup = 1;
	(void)world_committed(w);
	tried(w, "h2", "two");
	assert_int_equal(w->run.how, RUN_RELOAD);
	apply_link_down(&w->a);
	state(w, AGENT_RUNNING);
	apply_link_up(&w->a);
	connects(w);
	pass(w, 10000);
	assert_int_equal(w->a.committed, 1);
	reports(w, 1, WORST_OK, "");
	pass(w, 2000);
	assert_int_equal(w->a.committed, 2);
	world_free(w);
}

/* A new instance uid gets into the agent's configuration also when the first attempt came to nothing. */
static void
test_ID_02_a_new_uid_is_not_forgotten(void **state_)
{
	struct world *w = world_committed(world_new());
	const char *uid = "01890000-0000-7000-8000-000000000002";
	char text[512];

	(void)state_;
	apply_uid(&w->a, uid);
	merged(w, MERGE_DIED, "");
	assert_int_equal(w->a.phase, APPLY_IDLE);
	pass(w, APPLY_AGAIN_MS);
	(void)snprintf(text, sizeof(text), "local ws://127.0.0.1:%d/v1/opamp %s", PORT, uid);
	composed(w, text);
	job_done(w, EXIT_CODE, 0);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_int_equal(w->a.committed, 2);
	assert_non_null(strstr(fake_find(&w->store, 2)->effective, uid));
	world_free(w);
}

/* ... but an agent that does not run on it is not restarted for it without end. */
static void
test_what_fails_in_the_agent_is_not_tried_without_end(void **state_)
{
	struct world *w = world_committed(world_new());
	int i;

	(void)state_;
	apply_uid(&w->a, "01890000-0000-7000-8000-000000000002");
	for (i = 0; i < 20; i++) {
		pass(w, 600000);
		if (w->a.phase != APPLY_COMPOSE)
			break;
		composed(w, "other");
		job_done(w, EXIT_CODE, 0);
		runs(w);
		crashes(w, EXIT_CODE, 1);
		words(w, w->start, AGENT_RUN, "no");
		runs(w);
		well(w);
	}
	assert_int_equal(i, APPLY_TRIALS);
	world_free(w);
}

/* ---- found by reading */

/* The way back is barred: the committed one is not said to be in force while the agent runs on another. */
static void
test_ST_04_applied_is_not_told_while_the_way_back_is_barred(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	applied(w, "h2", "two");
	tried(w, "h3", "three");
	runs(w);
	w->store.fail_switch = 2;
	crashes(w, EXIT_CODE, 7);
	words(w, w->start, AGENT_RUN, "Error: port");
	assert_int_equal(w->a.phase, APPLY_IDLE);
	assert_string_equal(w->told, "yAyF");
	assert_int_equal(w->store.running, 3);
	offer(w, "h2", "two");
	assert_string_equal(w->told, "yAyFy");
	composed(w, text_of("two"));
	job_done(w, EXIT_CODE, 0);
	assert_string_equal(w->told, "yAyFyF"); /* it cannot be put in its place either */
	w->store.fail_switch = 0;
	pass(w, APPLY_AGAIN_MAX);
	assert_int_equal(w->run.generation, 2);
	assert_int_equal(w->store.running, 2);
	world_free(w);
}

/* ... and it is tried again also when that is due while the agent's last words are waited for. */
static void
test_the_way_back_is_tried_again_without_words(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	runs(w);
	w->store.fail_switch = 2;
	crashes(w, EXIT_CODE, 7);
	assert_int_equal(w->a.phase, APPLY_ROLLBACK);
	pass(w, APPLY_WORDS_MS + APPLY_SETTLE_BACK + 10000);
	assert_int_equal(w->a.phase, APPLY_IDLE);
	assert_string_equal(w->told, "yF");
	assert_ptr_equal(strstr(w->message, "; and the agent"), strrchr(w->message, ';'));
	w->store.fail_switch = 0;
	pass(w, APPLY_AGAIN_MAX);
	assert_int_equal(w->run.generation, 1);
	assert_int_equal(w->store.running, 1);
	world_free(w);
}

/* An offer that comes while the committed one cannot be put in its place does not start what lies there. */
static void
test_I8_an_offer_starts_nothing_that_is_not_in_place(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	tried(w, "h2", "two");
	world_crash(w);
	memset(&w->proc, 0, sizeof(w->proc));
	w->proc.state = AGENT_STOPPED;
	w->store.fail_switch = 2;
	world_boot(w);
	assert_int_equal(w->store.running, 2);
	assert_int_equal(w->runs, 0);
	offer(w, "h3", "three");
	assert_int_equal(w->runs, 0);
	merged(w, MERGE_REFUSED, "no");
	assert_int_equal(w->runs, 0);
	w->store.fail_switch = 0;
	pass(w, APPLY_AGAIN_MAX);
	assert_int_equal(w->run.generation, 1);
	assert_int_equal(w->store.running, 1);
	world_free(w);
}

/*
 * A trial that the agent reads by its reload's signal, and then confd and procd are replaced at once (new
 * settings, say): the parent knows the start by the number it began with.
 */
static void
test_I8_both_are_replaced_after_a_reload(void **state_)
{
	struct world *w = world_new();
	struct msg_state begun;

	(void)state_;
	w->set.hup = 1;
	(void)world_committed(w);
	begun = w->proc;
	begun.token = 0;
	pass(w, 1000);
	tried(w, "h2", "two");
	assert_int_equal(w->run.how, RUN_RELOAD);
	state(w, AGENT_RUNNING);
	world_crash(w);
	w->proc = begun;
	world_boot(w);
	assert_int_equal(w->store.running, 1);
	assert_int_equal(w->run.how, RUN_RESTART);
	assert_int_equal(w->run.generation, 1);
	runs(w);
	assert_string_equal(w->told, "F");
	world_free(w);
}

/* The way back from it is a restart, and is not lost with the procd that was to do it. */
static void
test_I8_procd_is_replaced_on_the_way_back_from_a_reload(void **state_)
{
	struct world *w = world_new();
	struct msg_state begun;

	(void)state_;
	w->set.hup = 1;
	(void)world_committed(w);
	begun = w->proc;
	tried(w, "h2", "two");
	assert_int_equal(w->run.how, RUN_RELOAD);
	state(w, AGENT_RUNNING);
	disconnects(w);
	pass(w, 30000); /* never well again */
	assert_int_equal(w->run.how, RUN_RESTART);
	assert_int_equal(w->run.generation, 1);
	state(w, AGENT_STOPPING);
	w->proc = begun;
	procd_replaced(w);
	assert_int_equal(w->run.how, RUN_RESTART);
	assert_int_equal(w->run.generation, 1);
	runs(w);
	procd_replaced(w); /* that one is the new one: it stays */
	assert_int_equal(w->run.how, RUN_ENSURE);
	world_free(w);
}

/* Remote configuration is switched off, then on again: what is no longer in force is not said to be. */
static void
test_ST_04_remote_configuration_off_and_on_again(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	applied(w, "h2", "two");
	world_crash(w);
	w->set.accepts = 0;
	world_boot(w);
	assert_string_equal(w->remote_has, "");
	composed(w, text_of("local"));
	job_done(w, EXIT_CODE, 0);
	runs(w);
	assert_string_equal(w->told, "");
	well(w);
	pass(w, 2000);
	assert_int_equal(w->a.committed, 3);
	assert_string_equal(w->told, "?");
	assert_string_equal(w->hash, "");
	assert_int_equal(w->store.state.status, CONFIG_UNSET);
	world_crash(w);
	w->set.accepts = 1;
	world_boot(w);
	composed(w, text_of("local"));
	applied(w, "h2", "two");
	assert_string_equal(w->told, "yA");
	assert_int_equal(w->a.committed, 4);
	world_free(w);
}

/* Its proof cannot be written down: that is tried now and then, not with each word of the agent's. */
static void
test_a_full_disk_and_the_first_proof(void **state_)
{
	struct world *w = world_new();
	uint64_t at;

	(void)state_;
	world_boot(w);
	composed(w, text_of("local"));
	runs(w);
	w->store.fail_state = 1;
	well(w);
	pass(w, 2000);
	assert_int_equal(w->a.committed, 0);
	w->store.fail_state = 0;
	for (at = w->now; w->now < at + 1900; pass(w, 100)) {
		reports(w, 1, WORST_OK, "");
		assert_int_equal(w->a.committed, 0);
	}
	pass(w, 100);
	assert_int_equal(w->a.committed, 1);
	world_free(w);
}

/* Stopped by an empty map, and then the settings leave something to run: local files, or no server's word. */
static void
stopped_and(int accepts, int has_local)
{
	struct world *w = world_committed(world_new());

	applied(w, "h2", "two");
	offer_empty_map(w, "h3");
	stopped(w);
	assert_int_equal(w->a.stopped, 1);
	assert_string_equal(w->told, "yAA");
	world_crash(w);
	world_boot(w); /* the settings are as they were */
	assert_int_equal(w->merges + w->runs, 0);
	assert_int_equal(w->a.stopped, 1);
	world_crash(w);
	w->set.accepts = accepts;
	w->set.has_local = has_local;
	world_boot(w);
	assert_int_equal(w->runs, 0);
	composed(w, text_of("local"));
	assert_string_equal(w->remote_has, "");
	job_done(w, EXIT_CODE, 0);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_int_equal(w->a.committed, 3);
	assert_int_equal(w->a.stopped, 0);
	assert_int_equal(w->store.state.stopped, 0);
	if (accepts) /* it is what the empty map asks for */
		assert_true(bytes_equal(&w->a.committed_hash, "h3", 2));
	else
		assert_string_equal(w->told, "?");
	world_free(w);
}

static void
test_stopped_no_longer_than_the_settings_say(void **state_)
{
	(void)state_;
	stopped_and(0, 0);
	stopped_and(1, 1);
}

/* The committed generation could not be read when a new uid was to go into it: once more, later. */
static void
test_ID_02_a_generation_that_could_not_be_read(void **state_)
{
	struct world *w = world_committed(world_new());

	(void)state_;
	w->store.generations[0].meta.generation = 77;
	apply_uid(&w->a, "01890000-0000-7000-8000-000000000002");
	assert_int_equal(w->a.phase, APPLY_IDLE);
	assert_int_equal(w->merges, 0);
	w->store.generations[0].meta.generation = 1;
	pass(w, APPLY_AGAIN_MS);
	assert_int_equal(w->a.phase, APPLY_COMPOSE);
	world_free(w);
}

/* A local file that is away for a moment says nothing about the server's configuration. */
static void
test_a_local_file_that_is_away_is_passing(void **state_)
{
	struct world *w = world_committed(world_new());
	struct msg_merge m = {.kind = MERGE_COMPOSE, .status = MERGE_REFUSED, .code = 1};

	(void)state_;
	offer(w, "h2", "two");
	m.job = w->job;
	apply_merged(
	    &w->a, &m, &(struct apply_bytes){.data = fake_copy("no such file", 12), .len = 12});
	assert_string_equal(w->told, "yF");
	assert_string_equal(w->message, "no such file");
	pass(w, APPLY_RETRY_MS);
	offer(w, "h2", "two");
	assert_string_equal(w->told, "yFy");
	world_free(w);
}

/* Refused, then mended on the host: a server that compares hashes is to offer it again. */
static void
refused(struct world *w, const char *hash)
{
	offer(w, hash, "bad");
	merged(w, MERGE_REFUSED, "an expansion that is not allowed");
	assert_int_equal(w->a.told.status, CONFIG_FAILED);
}

static void
test_CF_06_a_reload_forgets_what_failed(void **state_)
{
	struct world *w;

	(void)state_;
	w = world_new();
	w->set.sum = 7;
	world_committed(w);
	applied(w, "h1", "one");
	refused(w, "h2");
	assert_string_equal(w->told, "yAyF");
	apply_try_anew(&w->a);
	assert_string_equal(w->told, "yAyF?");
	assert_string_equal(w->hash, "");
	assert_int_equal(w->store.state.status, CONFIG_UNSET);
	apply_try_anew(&w->a); /* said once */
	assert_string_equal(w->told, "yAyF?");
	offer(w, "h1", "one"); /* the one that runs */
	assert_string_equal(w->told, "yAyF?A");
	offer(w, "h2", "bad");
	assert_string_equal(w->told, "yAyF?Ay");
	apply_try_anew(&w->a); /* while it is tried */
	assert_string_equal(w->told, "yAyF?Ay");
	composed(w, text_of("now it works"));
	job_done(w, EXIT_CODE, 0);
	runs(w);
	well(w);
	pass(w, 2000);
	assert_string_equal(w->told, "yAyF?AyA");
	apply_try_anew(&w->a); /* nor does what works become unknown */
	assert_string_equal(w->told, "yAyF?AyA");
	world_free(w);
}

static void
test_CF_06_so_do_other_settings_at_a_start(void **state_)
{
	struct world *w = world_new();

	(void)state_;
	w->set.sum = 7;
	world_committed(w);
	refused(w, "h2");
	world_crash(w);
	world_boot(w); /* the same settings */
	assert_int_equal(w->a.told.status, CONFIG_FAILED);
	world_crash(w);
	w->set.sum = 8;
	world_boot(w);
	assert_int_equal(w->a.told.status, CONFIG_UNSET);
	assert_int_equal(w->a.told.hash.len, 0);
	assert_int_equal(w->store.state.status, CONFIG_UNSET);
	composed(w, text_of("local")); /* as at every start */
	refused(w, "h2");
	world_crash(w);
	world_boot(w);
	assert_int_equal(w->a.told.status, CONFIG_FAILED);
	world_crash(w);
	w->set.reloaded = 1;
	world_boot(w);
	assert_int_equal(w->a.told.status, CONFIG_UNSET);
	world_crash(w);
	w->set.reloaded = 0;
	w->store.state.status = CONFIG_FAILED;
	w->store.state.sum = 0; /* an earlier opampd's record: not known */
	world_boot(w);
	assert_int_equal(w->a.told.status, CONFIG_FAILED);
	world_free(w);
}

/* Killed by a signal: what is told begins with it, and of what it happened to say with the end. */
static void
test_HL_02_last_words_after_a_signal(void **state_)
{
	static const char many[] = "one\ntwo\nthree\nfour", error[] = "panic: no\na\nb\nc\nd";
	char text[1024], *long_line = malloc(5000);
	struct world *w = world_committed(world_new());

	(void)state_;
	assert_non_null(long_line);
	assert_string_equal(
	    apply_last_words(many, EXIT_SIGNAL, text, sizeof(text)), "two\nthree\nfour");
	assert_string_equal(apply_last_words("one\n", EXIT_OOM, text, sizeof(text)), "one");
	assert_string_equal(apply_last_words("", EXIT_SIGNAL, text, sizeof(text)), "");
	assert_ptr_equal(apply_last_words(many, EXIT_CODE, text, sizeof(text)), many);
	assert_ptr_equal(apply_last_words(error, EXIT_SIGNAL, text, sizeof(text)), error);
	memset(long_line, 'x', 4999);
	long_line[4999] = '\0';
	memcpy(long_line + 2000, "\nlast", 5);
	apply_last_words(long_line, EXIT_SIGNAL, text, sizeof(text));
	assert_in_range(strlen(text), 480, 500);
	assert_non_null(strstr(text, "x ...\nlastx"));
	free(long_line);
	/* and so in the report of a trial */
	offer(w, "h2", "two");
	composed(w, text_of("two"));
	job_done(w, EXIT_CODE, 0);
	runs(w);
	words(w, w->start, AGENT_RUN, many);
	crashes(w, EXIT_SIGNAL, 9);
	runs(w);
	pass(w, 20000);
	assert_string_equal(w->told, "yF");
	assert_non_null(strstr(w->message, "ended by signal 9 (Killed): two\nthree\nfour"));
	assert_null(strstr(w->message, "one"));
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_I11_generations_without_a_commit),
	    cmocka_unit_test(test_reload_is_lost_with_procd),
	    cmocka_unit_test(test_I8_confd_dies_on_the_way_back),
	    cmocka_unit_test(test_link_is_replaced_in_a_reload),
	    cmocka_unit_test(test_ID_02_a_new_uid_is_not_forgotten),
	    cmocka_unit_test(test_what_fails_in_the_agent_is_not_tried_without_end),
	    cmocka_unit_test(test_ST_04_applied_is_not_told_while_the_way_back_is_barred),
	    cmocka_unit_test(test_the_way_back_is_tried_again_without_words),
	    cmocka_unit_test(test_I8_an_offer_starts_nothing_that_is_not_in_place),
	    cmocka_unit_test(test_I8_both_are_replaced_after_a_reload),
	    cmocka_unit_test(test_I8_procd_is_replaced_on_the_way_back_from_a_reload),
	    cmocka_unit_test(test_ST_04_remote_configuration_off_and_on_again),
	    cmocka_unit_test(test_a_full_disk_and_the_first_proof),
	    cmocka_unit_test(test_stopped_no_longer_than_the_settings_say),
	    cmocka_unit_test(test_ID_02_a_generation_that_could_not_be_read),
	    cmocka_unit_test(test_a_local_file_that_is_away_is_passing),
	    cmocka_unit_test(test_HL_02_last_words_after_a_signal),
	    cmocka_unit_test(test_CF_06_a_reload_forgets_what_failed),
	    cmocka_unit_test(test_CF_06_so_do_other_settings_at_a_start),
	};

	return cmocka_run_group_tests_name("apply_order", tests, NULL, NULL);
}
