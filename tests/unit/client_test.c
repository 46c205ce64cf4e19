/*
 * client_test.c: netd's OpAMP client: reports, heartbeats, connections, event by event.
 */
#include "client_fake.h"

/* ---- tests: reports */

static void
first_report(struct fake *f)
{
	assert_int_equal(f->sent_count, 1);
	assert_non_null(last(f)->agent_description);
	assert_non_null(last(f)->health);
	assert_null(last(f)->effective_config);
	assert_null(last(f)->agent_disconnect);
	assert_non_null(last(f)->remote_config_status); /* UNSET: the server may offer */
	assert_int_equal(last(f)->remote_config_status->status, CONFIG_UNSET);
	assert_int_equal(last(f)->remote_config_status->last_remote_config_hash.len, 0);
	clear(f);
}

static void
test_ST_01_ST_12_CP_05_first_report(void **state)
{
	struct fake f;
	int early;

	(void)state;
	for (early = 0; early < 2; early++) {
		init(&f);
		assert_int_equal(f.attempts, 0);
		client_confd_up(&f.c); /* meanwhile it looks after its disk */
		assert_int_equal(f.attempts, 1);
		assert_int_equal(f.state.event, SERVER_CONNECTING);
		if (early)
			client_opened(&f.c);
		identity(&f, uid_one);
		health(&f, 1, "");
		assert_int_equal(f.sent_count, 0); /* not before confd has said everything */
		client_synced(&f.c);
		if (!early) {
			assert_int_equal(f.sent_count, 0);
			client_opened(&f.c);
		}
		first_report(&f);
	}
	/* the end comes first: there is nothing to take leave of */
	init(&f);
	client_confd_up(&f.c);
	client_opened(&f.c);
	client_end(&f.c);
	assert_int_equal(f.sent_count, 0);
	clear(&f);
}

static void
test_CP_05_effective_configuration_only_to_who_takes_it(void **state)
{
	struct fake f;

	(void)state;
	init(&f);
	sync_all(&f);
	client_opened(&f.c);
	answer(&f, SERVER_CAN(AcceptsStatus));
	assert_int_equal(f.sent_count, 1);
	effective(&f, "b: 2\n");
	assert_int_equal(f.sent_count, 1);
	f.c.full_wanted = 1;
	client_changed(&f.c);
	assert_null(last(&f)->effective_config);
	answer(&f, SERVER_ALL); /* a server may learn (CP-06) */
	assert_non_null(last(&f)->effective_config);
	clear(&f);
	/* one that never says what it takes */
	init(&f);
	sync_all(&f);
	client_opened(&f.c);
	answer(&f, 0);
	assert_int_equal(f.sent_count, 2);
	assert_non_null(last(&f)->effective_config);
	clear(&f);
}

static void
test_CP_01_CP_02_CF_01_nothing_but_what_is_switched_on(void **state)
{
	struct client_settings set = usual;
	struct fake f;

	(void)state;
	set.capabilities = CAPABILITY(ReportsStatus);
	set.heartbeat_ms = 0;
	init_with(&f, &set);
	sync_all(&f);
	client_opened(&f.c);
	answer(&f, SERVER_ALL);
	assert_int_equal(f.sent_count, 1);
	assert_non_null(last(&f)->agent_description);
	assert_null(last(&f)->health);
	assert_null(last(&f)->remote_config_status);
	health(&f, 0, "broken");
	effective(&f, "x: 1\n");
	status(&f, CONFIG_APPLIED, "h", "");
	assert_int_equal(f.sent_count, 1);
	assert_int_equal(f.timers[CLIENT_TIMER_HEARTBEAT], 0);
	clear(&f);
}

static void
test_ST_03_ST_09_ST_10_HL_04_changes(void **state)
{
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	assert_int_equal(before, 2);
	health(&f, 1, ""); /* the same */
	health_at(&f, 1, "", 7, f.now + 5);
	assert_int_equal(f.sent_count, before);
	health(&f, 0, "exporter is away");
	assert_int_equal(f.sent_count, before + 1);
	assert_string_equal(last(&f)->health->last_error, "exporter is away");
	assert_int_equal(last(&f)->health->healthy, 0);
	assert_int_equal(last(&f)->health->start_time_unix_nano, 7);
	assert_null(last(&f)->agent_description);
	assert_null(last(&f)->effective_config);
	assert_null(last(&f)->remote_config_status);
	effective(&f, "c: 3\n");
	assert_int_equal(f.sent_count, before + 2);
	assert_null(last(&f)->health);
	assert_int_equal(last(&f)->effective_config->config_map->n_config_map, 1);
	effective(&f, "c: 3\n"); /* CF-10 */
	assert_int_equal(f.sent_count, before + 2);
	clear(&f);
}

static void
test_HL_01_no_start_time_without_a_process(void **state)
{
	struct fake f;

	(void)state;
	open_up(&f);
	health_at(&f, 0, "stopped", 0, f.now);
	assert_int_equal(last(&f)->health->start_time_unix_nano, 0);
	clear(&f);
}

static void
test_ST_04_equal_offers_make_no_reports(void **state)
{
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	Opamp__Proto__V1__AgentRemoteConfig rc = OPAMP__PROTO__V1__AGENT_REMOTE_CONFIG__INIT;
	struct fake f;
	size_t before, i;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	rc.config_hash.data = (uint8_t *)(uintptr_t) "h";
	rc.config_hash.len = 1;
	a.remote_config = &rc;
	for (i = 0; i < 1000; i++)
		say(&f, &a);
	assert_int_equal(f.sent_count, before);
	assert_int_equal(f.offers, 1); /* the rest waits for credit, the newest of it */
	clear(&f);
}

static void
test_CF_05_each_status_is_a_report(void **state)
{
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	status(&f, CONFIG_APPLYING, "hash", "");
	status(&f, CONFIG_FAILED, "hash", "Error: no such component");
	assert_int_equal(f.sent_count, before + 2);
	assert_int_equal(f.sent[before]->remote_config_status->status, CONFIG_APPLYING);
	assert_int_equal(last(&f)->remote_config_status->status, CONFIG_FAILED);
	assert_string_equal(
	    last(&f)->remote_config_status->error_message, "Error: no such component");
	assert_memory_equal(
	    last(&f)->remote_config_status->last_remote_config_hash.data, "hash", 4);
	clear(&f);
}

static void
test_ST_08_full_state(void **state)
{
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	struct fake f;
	size_t before;
	int i;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	a.flags = OPAMP__PROTO__V1__SERVER_TO_AGENT_FLAGS__ServerToAgentFlags_ReportFullState;
	say(&f, &a);
	assert_int_equal(f.sent_count, before + 1);
	assert_non_null(last(&f)->agent_description);
	assert_non_null(last(&f)->health);
	assert_non_null(last(&f)->effective_config);
	assert_non_null(last(&f)->remote_config_status);
	/* a server that asks in every answer gets one a second, not as fast as it talks */
	for (i = 0; i < 1000; i++)
		say(&f, &a);
	assert_int_equal(f.sent_count, before + 1);
	fire(&f, CLIENT_TIMER_FULL);
	assert_int_equal(f.sent_count, before + 2);
	assert_non_null(last(&f)->effective_config);
	clear(&f);
}

static void
test_SZ_04_too_large_to_send(void **state)
{
	char *text = malloc(70000);
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	log_set_level(LOG_LEVEL_ERROR);
	before = f.sent_count;
	memset(text, 'x', 69999);
	text[69999] = '\0';
	f.c.synced = 0; /* both at once */
	effective(&f, text);
	health(&f, 0, "broken");
	client_synced(&f.c);
	assert_int_equal(f.sent_count, before + 1);
	assert_null(last(&f)->effective_config);
	assert_non_null(last(&f)->health);
	assert_true(f.sent_bytes < 65536);
	effective(&f, "small: 1\n");
	assert_non_null(last(&f)->effective_config);
	free(text);
	clear(&f);
}

static void
test_ST_11_offline_only_the_latest_is_kept(void **state)
{
	char text[64];
	struct fake f;
	size_t before, i;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	fail_with(&f, 0, -1);
	for (i = 0; i < 10000; i++) {
		(void)snprintf(text, sizeof(text), "error %zu", i);
		health(&f, 0, text);
		status(&f, CONFIG_APPLYING, text, "");
	}
	assert_int_equal(f.sent_count, before);
	fire(&f, CLIENT_TIMER_CONNECT);
	client_opened(&f.c);
	assert_int_equal(f.sent_count, before + 1);
	assert_string_equal(last(&f)->health->last_error, "error 9999");
	clear(&f);
}

static void
test_ST_02_after_a_reconnect(void **state)
{
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	fail_with(&f, 0, -1);
	fire(&f, CLIENT_TIMER_CONNECT);
	client_opened(&f.c);
	assert_int_equal(
	    f.sent_count, before + 1); /* ST-01: a report, if there is nothing to say too */
	assert_null(last(&f)->agent_description);
	assert_null(last(&f)->health);
	/* what was sent and not answered goes again */
	answer(&f, SERVER_ALL);
	health(&f, 0, "lost on its way");
	fail_with(&f, 0, -1);
	fire(&f, CLIENT_TIMER_CONNECT);
	client_opened(&f.c);
	assert_non_null(last(&f)->health);
	assert_string_equal(last(&f)->health->last_error, "lost on its way");
	assert_null(last(&f)->agent_description);
	clear(&f);
}

static void
test_new_confd_state_starts_again(void **state)
{
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	client_confd_down(&f.c);
	client_confd_up(&f.c);
	assert_int_equal(f.state.event, SERVER_CONNECTED);
	identity(&f, uid_one);
	health(&f, 0, "while it was away");
	effective(&f, "new: 1\n");
	assert_int_equal(f.sent_count, before);
	client_synced(&f.c);
	assert_int_equal(f.sent_count, before + 1);
	assert_non_null(last(&f)->health);
	assert_non_null(last(&f)->effective_config);
	assert_null(last(&f)->agent_description);
	assert_int_equal(f.attempts, 1);
	clear(&f);
}

static void
test_a_server_that_does_not_read(void **state)
{
	struct fake f;
	size_t before, i;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	f.pending = 1024 * 1024;
	for (i = 0; i < 100; i++)
		health(&f, i % 2 == 0, "flapping");
	assert_int_equal(f.sent_count, before);
	fire(&f, CLIENT_TIMER_HEARTBEAT);
	assert_int_equal(f.sent_count, before);
	f.pending = 0;
	client_drained(&f.c);
	assert_int_equal(f.sent_count, before + 1);
	clear(&f);
}

/* ---- heartbeats, dead connections */

static void
test_HB_01_HB_03_HB_04_heartbeat(void **state)
{
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	f.now += 29000;
	f.timers[CLIENT_TIMER_HEARTBEAT] = 1000;
	health(&f, 0, "x");
	assert_int_equal(f.timers[CLIENT_TIMER_HEARTBEAT], 30000); /* from the last message */
	fire(&f, CLIENT_TIMER_HEARTBEAT);
	assert_int_equal(f.sent_count, before + 2);
	assert_null(last(&f)->health);
	assert_null(last(&f)->agent_description);
	fail_with(&f, 0, -1);
	assert_int_equal(f.timers[CLIENT_TIMER_HEARTBEAT], 0);
	assert_int_equal(f.timers[CLIENT_TIMER_PING], 0);
	assert_int_equal(f.timers[CLIENT_TIMER_RESPONSE], 0);
	clear(&f);
}

static void
test_HB_05_ping(void **state)
{
	struct fake f;

	(void)state;
	open_up(&f);
	f.now += 20000;
	client_heard(&f.c);
	f.now -= 20000;
	fire(&f, CLIENT_TIMER_PING); /* only 40 s of silence yet */
	assert_int_equal(f.pings, 0);
	assert_int_equal(f.timers[CLIENT_TIMER_PING], 20000);
	fire(&f, CLIENT_TIMER_PING);
	assert_int_equal(f.pings, 1);
	client_heard(&f.c); /* the pong */
	fire(&f, CLIENT_TIMER_PING);
	assert_int_equal(f.pings, 2);
	fire(&f, CLIENT_TIMER_PING);
	assert_int_equal(f.drops, 1);
	assert_int_equal(f.state.event, SERVER_LOST);
	assert_non_null(strstr(f.why, "ping"));
	assert_int_equal(f.c.state, CLIENT_BACKOFF);
	clear(&f);
}

static void
test_ER_07_no_answer(void **state)
{
	struct fake f;

	(void)state;
	open_up(&f);
	assert_int_equal(f.timers[CLIENT_TIMER_RESPONSE], 0);
	health(&f, 0, "x");
	assert_int_equal(f.timers[CLIENT_TIMER_RESPONSE], 60000);
	f.timers[CLIENT_TIMER_RESPONSE] = 30000;
	health(&f, 1, "");
	assert_int_equal(f.timers[CLIENT_TIMER_RESPONSE], 30000); /* from the oldest without one */
	fire(&f, CLIENT_TIMER_RESPONSE);
	assert_int_equal(f.drops, 1);
	assert_non_null(strstr(f.why, "server.response_timeout"));
	clear(&f);
}

static void
test_HB_05_ER_07_a_slow_line_is_not_dead(void **state)
{
	size_t left;
	struct fake f;

	(void)state;
	open_up(&f);
	f.pending = 200000;
	health(&f, 0, "behind much else");
	fire(&f, CLIENT_TIMER_PING);
	assert_int_equal(f.pings, 1);
	for (left = 150000; left > 0; left -= 50000) {
		f.pending = left;
		fire(&f, CLIENT_TIMER_RESPONSE);
		fire(&f, CLIENT_TIMER_PING);
		assert_int_equal(f.drops, 0);
	}
	fire(&f, CLIENT_TIMER_RESPONSE); /* it stands still */
	assert_int_equal(f.drops, 1);
	clear(&f);
}

/* ---- connections */

static void
test_CC_01_backoff(void **state)
{
	static const uint64_t want[] = {
	    1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 256000, 300000, 300000, 300000};
	struct fake f;
	size_t i;

	(void)state;
	init(&f);
	sync_all(&f);
	f.random_max = 1;
	for (i = 0; i < 12; i++) {
		fail_with(&f, 0, -1);
		assert_int_equal(f.timers[CLIENT_TIMER_CONNECT], want[i]);
		assert_int_equal(f.state.next_ms, want[i]);
		fire(&f, CLIENT_TIMER_CONNECT);
		assert_int_equal(f.attempts, i + 2);
	}
	f.random_max = 0; /* full jitter: from nothing to all of it */
	fail_with(&f, 0, -1);
	assert_int_equal(f.timers[CLIENT_TIMER_CONNECT], 1);
	clear(&f);
}

/* For how long it has been away: attempts do not count, nor does a confd that comes anew. */
static void
test_how_long_the_server_is_away(void **state)
{
	struct fake f;
	uint64_t begun;
	int i;

	(void)state;
	init(&f);
	begun = f.now;
	sync_all(&f);
	for (i = 0; i < 4; i++) {
		fail_with(&f, 0, -1);
		assert_int_equal(f.state.for_ms, f.now - begun);
		fire(&f, CLIENT_TIMER_CONNECT);
		assert_int_equal(f.state.event, SERVER_CONNECTING);
		assert_int_equal(f.state.for_ms, f.now - begun);
	}
	f.now += 500;
	client_confd_down(&f.c);
	client_confd_up(&f.c);
	assert_int_equal(f.state.for_ms, f.now - begun);
	client_opened(&f.c);
	sync_all(&f);
	answer(&f, SERVER_ALL);
	assert_int_equal(f.state.event, SERVER_CONNECTED);
	assert_int_equal(f.state.for_ms, 0);
	f.now += 700;
	fail_with(&f, 0, -1);
	assert_int_equal(f.state.event, SERVER_LOST);
	assert_int_equal(f.state.for_ms, 0);
	clear(&f);
}

static void
test_CC_02_accept_then_drop_is_not_hammered(void **state)
{
	struct fake f;
	uint64_t begun;
	size_t i;

	(void)state;
	open_up(&f);
	f.random_max = 1;
	fail_with(&f, 0, -1);
	assert_int_equal(f.timers[CLIENT_TIMER_CONNECT], 1); /* the first try at once */
	begun = f.now;
	for (i = 0; i < 20; i++) { /* accepts, answers, and drops */
		fire(&f, CLIENT_TIMER_CONNECT);
		client_opened(&f.c);
		answer(&f, SERVER_ALL);
		fail_with(&f, 0, -1);
	}
	assert_true(f.now - begun > 1000000);
	/* one that lives makes all good */
	fire(&f, CLIENT_TIMER_CONNECT);
	client_opened(&f.c);
	answer(&f, SERVER_ALL);
	fire(&f, CLIENT_TIMER_STABLE);
	fail_with(&f, 0, -1);
	assert_int_equal(f.timers[CLIENT_TIMER_CONNECT], 1);
	fire(&f, CLIENT_TIMER_CONNECT);
	fail_with(&f, 0, -1);
	assert_int_equal(f.timers[CLIENT_TIMER_CONNECT], 1000);
	clear(&f);
	/* one that accepts and says nothing: no try at once at all */
	init(&f);
	sync_all(&f);
	f.random_max = 1;
	client_opened(&f.c);
	fail_with(&f, 0, -1);
	assert_int_equal(f.timers[CLIENT_TIMER_CONNECT], 1000);
	clear(&f);
}

static void
test_CC_04_attempts_and_their_limit(void **state)
{
	struct fake f;

	(void)state;
	init(&f);
	sync_all(&f);
	assert_in_range(f.timers[CLIENT_TIMER_CONNECT], 90000, 200000);
	fire(&f, CLIENT_TIMER_CONNECT); /* the parent never answers */
	assert_int_equal(f.cancels, 1);
	assert_int_equal(f.drops, 1);
	assert_int_equal(f.c.state, CLIENT_BACKOFF);
	fail_with(&f, 0, -1); /* of an attempt that is over */
	client_opened(&f.c);
	assert_int_equal(f.c.state, CLIENT_BACKOFF);
	assert_int_equal(f.sent_count, 0);
	fire(&f, CLIENT_TIMER_CONNECT);
	assert_int_equal(f.attempts, 2);
	clear(&f);
}

static void
test_CC_03_leaving(void **state)
{
	static const struct client_failure closed = {"closed", 0, -1};
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	f.pending = 1024 * 1024;
	health_at(&f, 0, "stopped", 0, 1); /* the last health belongs in the last message */
	f.pending = 0;
	client_end(&f.c);
	client_end(&f.c);
	assert_int_equal(f.sent_count, before + 1);
	assert_non_null(last(&f)->agent_disconnect);
	assert_string_equal(last(&f)->health->last_error, "stopped");
	assert_int_equal(f.closes, 1);
	assert_int_equal(f.close_code, 1000);
	assert_int_equal(f.dones, 0);
	client_failed(&f.c, &closed);
	assert_int_equal(f.dones, 1);
	assert_int_equal(f.timers[CLIENT_TIMER_CONNECT], 0);
	clear(&f);
	/* a server that does not end it */
	open_up(&f);
	client_end(&f.c);
	assert_in_range(f.timers[CLIENT_TIMER_CLOSE], 1, 5000);
	fire(&f, CLIENT_TIMER_CLOSE);
	assert_int_equal(f.dones, 1);
	assert_int_equal(f.drops, 1);
	clear(&f);
	/* nobody to say it to */
	init(&f);
	client_end(&f.c);
	assert_int_equal(f.dones, 1);
	client_synced(&f.c);
	assert_int_equal(f.attempts, 0);
	clear(&f);
	init(&f);
	sync_all(&f);
	client_end(&f.c);
	assert_int_equal(f.dones, 1);
	assert_int_equal(f.cancels, 1);
	clear(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ST_01_ST_12_CP_05_first_report),
	    cmocka_unit_test(test_CP_05_effective_configuration_only_to_who_takes_it),
	    cmocka_unit_test(test_CP_01_CP_02_CF_01_nothing_but_what_is_switched_on),
	    cmocka_unit_test(test_ST_03_ST_09_ST_10_HL_04_changes),
	    cmocka_unit_test(test_HL_01_no_start_time_without_a_process),
	    cmocka_unit_test(test_ST_04_equal_offers_make_no_reports),
	    cmocka_unit_test(test_CF_05_each_status_is_a_report),
	    cmocka_unit_test(test_ST_08_full_state),
	    cmocka_unit_test(test_SZ_04_too_large_to_send),
	    cmocka_unit_test(test_ST_11_offline_only_the_latest_is_kept),
	    cmocka_unit_test(test_ST_02_after_a_reconnect),
	    cmocka_unit_test(test_new_confd_state_starts_again),
	    cmocka_unit_test(test_a_server_that_does_not_read),
	    cmocka_unit_test(test_HB_01_HB_03_HB_04_heartbeat),
	    cmocka_unit_test(test_HB_05_ping),
	    cmocka_unit_test(test_ER_07_no_answer),
	    cmocka_unit_test(test_HB_05_ER_07_a_slow_line_is_not_dead),
	    cmocka_unit_test(test_CC_01_backoff),
	    cmocka_unit_test(test_how_long_the_server_is_away),
	    cmocka_unit_test(test_CC_02_accept_then_drop_is_not_hammered),
	    cmocka_unit_test(test_CC_04_attempts_and_their_limit),
	    cmocka_unit_test(test_CC_03_leaving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
