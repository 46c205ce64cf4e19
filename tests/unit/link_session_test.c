/*
 * link_session_test.c: what one start of the agent says, what it is answered and what confd hears of
 * it, without a connection: reloads, silence, a confd that does not keep up.
 */
#include "link_fake.h"

#include <stdio.h>

#include "netd/link_session.h"
#include "wire/wire.h"

typedef Opamp__Proto__V1__AgentToServer Report;
typedef Opamp__Proto__V1__ServerToAgent Answer;
typedef Opamp__Proto__V1__ComponentHealth Health;

#define FULL OPAMP__PROTO__V1__SERVER_TO_AGENT_FLAGS__ServerToAgentFlags_ReportFullState

struct bench {
	struct fake *fake;
	struct link_sessions all;
	struct link_session *s;
	uint64_t sequence;
};

static uint8_t uid[16] = {1, 2, 3};

static void
open_bench(struct bench *b)
{
	b->fake = fake_new();
	assert_int_equal(link_sessions_init(&b->all, &b->fake->child), 0);
	b->s = link_session_of(&b->all, 1);
	assert_non_null(b->s);
	b->sequence = 0;
	link_session_connected(b->s);
}

static void
close_bench(struct bench *b)
{
	link_sessions_clear(&b->all);
	fake_free(b->fake);
}

/* Sends r, with uid and the next number, and gives the answer's flags. */
static uint64_t
say(struct bench *b, Report *r)
{
	static uint8_t data[65536];
	struct error err;
	Answer *a;
	char *answer;
	size_t len;
	uint64_t flags;

	r->instance_uid.data = uid;
	r->instance_uid.len = sizeof(uid);
	r->sequence_num = b->sequence++;
	len = opamp__proto__v1__agent_to_server__pack(r, data);
	assert_int_equal(link_session_message(b->s, data, len, &answer, &len, &err), 0);
	a = (Answer *)wire_unpack(
	    &opamp__proto__v1__server_to_agent__descriptor, (uint8_t *)answer, len, &err);
	assert_non_null(a);
	assert_int_equal(a->instance_uid.len, sizeof(uid));
	assert_memory_equal(a->instance_uid.data, uid, sizeof(uid));
	flags = a->flags;
	/* it only listens: whatever the agent could take, nothing is offered and nothing commanded */
	assert_null(a->remote_config);
	assert_null(a->connection_settings);
	assert_null(a->packages_available);
	assert_null(a->command);
	assert_null(a->custom_message);
	wire_free(&a->base);
	free(answer);
	return flags;
}

static uint64_t
say_health(struct bench *b, const char *status, int described)
{
	Opamp__Proto__V1__AgentDescription d = OPAMP__PROTO__V1__AGENT_DESCRIPTION__INIT;
	Report r = OPAMP__PROTO__V1__AGENT_TO_SERVER__INIT;
	Health h = OPAMP__PROTO__V1__COMPONENT_HEALTH__INIT;

	h.status = (char *)(uintptr_t)status;
	h.healthy = strcmp(status, "StatusOK") == 0;
	r.health = &h;
	if (described)
		r.agent_description = &d;
	return say(b, &r);
}

static uint64_t
heartbeat(struct bench *b)
{
	Report r = OPAMP__PROTO__V1__AGENT_TO_SERVER__INIT;

	return say(b, &r);
}

static const struct msg_agent_health *
health(const struct heard *h)
{
	return (const void *)h->payload;
}

static uint32_t
event(struct bench *b)
{
	struct msg_link_agent m;

	memcpy(&m, fake_expect(b->fake, MSG_LINK_AGENT)->payload, sizeof(m));
	assert_int_equal(m.start, 1);
	return m.event;
}

/* What an agent says without end is told now and then, and the last of it always. */
static void
test_I11_an_agent_that_says_something_else_each_time(void **state)
{
	struct heard *h, *newest = NULL;
	struct bench b;
	char status[32];
	int i, told = 0;

	(void)state;
	open_bench(&b);
	for (i = 0; i < 1000; i++) {
		(void)snprintf(status, sizeof(status), "Status%d", i);
		(void)say_health(&b, status, i == 0);
	}
	while ((h = fake_find(b.fake, MSG_AGENT_HEALTH, 1500)) != NULL) {
		newest = h;
		told++;
	}
	assert_true(told <= 3 * LIMIT_NEWS_PER_SECOND);
	assert_non_null(newest);
	assert_string_equal(newest->tail + strlen(newest->tail) + 1, "Status999");
	close_bench(&b);
}

static void
test_ST_07_a_restarted_link_asks_for_the_full_state_once(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b);
	b.sequence = 41;
	assert_int_equal(heartbeat(&b), FULL);
	assert_int_equal(say_health(&b, "StatusOK", 1), 0);
	assert_int_equal(heartbeat(&b), 0);
	b.sequence++;
	assert_int_equal(heartbeat(&b), 0); /* a gap, but just asked: not each message is */
	b.s->asked_ms = 0;
	assert_int_equal(heartbeat(&b), FULL);
	close_bench(&b);
}

static void
test_CP_05_the_agent_is_offered_nothing(void **state)
{
	Report r = OPAMP__PROTO__V1__AGENT_TO_SERVER__INIT;
	struct bench b;
	unsigned bit;

	(void)state;
	open_bench(&b);
	(void)say_health(&b, "StatusOK", 1);
	for (bit = 0; bit < 64; bit++) { /* say() looks at each answer */
		r.capabilities = 1ull << bit;
		assert_int_equal(say(&b, &r), 0);
	}
	close_bench(&b);
}

static void
test_ST_07_an_agent_that_never_describes_itself_is_asked_once(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b);
	assert_int_equal(say_health(&b, "StatusOK", 0), FULL);
	b.s->asked_ms = 0;
	assert_int_equal(heartbeat(&b), 0);
	assert_int_equal(heartbeat(&b), 0);
	close_bench(&b);
}

/* SIGHUP: the Collector leaves and comes back within milliseconds, counting from the start. */
static void
test_reload_of_the_agent_is_heard_as_one(void **state)
{
	Report bye = OPAMP__PROTO__V1__AGENT_TO_SERVER__INIT;
	Opamp__Proto__V1__AgentDisconnect leaves = OPAMP__PROTO__V1__AGENT_DISCONNECT__INIT;
	struct bench b;

	(void)state;
	open_bench(&b);
	assert_int_equal(say_health(&b, "StatusOK", 1), 0);
	assert_int_equal(event(&b), LINK_CONNECTED);
	assert_int_equal(health(fake_expect(b.fake, MSG_AGENT_HEALTH))->worst, WORST_OK);
	fake_expect(b.fake, MSG_AGENT_DESCRIPTION);
	bye.agent_disconnect = &leaves;
	assert_int_equal(say(&b, &bye), 0);
	assert_int_equal(event(&b), LINK_DISCONNECTED);
	link_session_disconnected(b.s); /* and the connection itself */
	fake_expect_none(b.fake, MSG_LINK_AGENT);
	b.sequence = 0;
	link_session_connected(b.s);
	assert_int_equal(event(&b), LINK_CONNECTED);
	/* the same health, but of another life: confd hears it, and what has not changed is not told */
	assert_int_equal(say_health(&b, "StatusOK", 1), 0);
	assert_int_equal(health(fake_expect(b.fake, MSG_AGENT_HEALTH))->worst, WORST_OK);
	fake_expect_none(b.fake, MSG_AGENT_DESCRIPTION);
	assert_int_equal(say_health(&b, "StatusOK", 0), 0);
	fake_expect_none(b.fake, MSG_AGENT_HEALTH);
	close_bench(&b);
}

static void
test_last_words_come_before_the_goodbye(void **state)
{
	Report bye = OPAMP__PROTO__V1__AGENT_TO_SERVER__INIT;
	Opamp__Proto__V1__AgentDisconnect leaves = OPAMP__PROTO__V1__AGENT_DISCONNECT__INIT;
	Health h = OPAMP__PROTO__V1__COMPONENT_HEALTH__INIT;
	struct bench b;

	(void)state;
	open_bench(&b);
	h.status = (char *)(uintptr_t) "StatusStopping";
	bye.health = &h;
	bye.agent_disconnect = &leaves;
	(void)say(&b, &bye);
	assert_int_equal(event(&b), LINK_CONNECTED);
	fake_settle(b.fake);
	assert_int_equal(b.fake->heard[b.fake->count - 2].type, MSG_AGENT_HEALTH);
	assert_int_equal(b.fake->heard[b.fake->count - 1].type, MSG_LINK_AGENT);
	close_bench(&b);
}

static void
test_silence_is_no_health(void **state)
{
	struct bench b;
	struct heard *h;

	(void)state;
	open_bench(&b);
	b.all.silence_ms = 50;
	link_session_connected(b.s);
	(void)say_health(&b, "StatusOK", 1);
	assert_int_equal(health(fake_expect(b.fake, MSG_AGENT_HEALTH))->healthy, 1);
	h = fake_expect(b.fake, MSG_AGENT_HEALTH);
	assert_int_equal(health(h)->healthy, 0);
	assert_int_equal(health(h)->worst, WORST_NONE);
	assert_non_null(strstr(h->tail, "no sign of life"));
	fake_expect_none(b.fake, MSG_AGENT_HEALTH);
	(void)heartbeat(&b);
	assert_int_equal(health(fake_expect(b.fake, MSG_AGENT_HEALTH))->healthy, 1);
	close_bench(&b);
}

static void
test_go_sends_files_in_any_order(void **state)
{
	Opamp__Proto__V1__AgentConfigFile x = OPAMP__PROTO__V1__AGENT_CONFIG_FILE__INIT;
	Opamp__Proto__V1__AgentConfigMap__ConfigMapEntry
	    one = OPAMP__PROTO__V1__AGENT_CONFIG_MAP__CONFIG_MAP_ENTRY__INIT,
	    two = OPAMP__PROTO__V1__AGENT_CONFIG_MAP__CONFIG_MAP_ENTRY__INIT,
	    *there[] = {&one, &two}, *back[] = {&two, &one};
	Opamp__Proto__V1__AgentConfigMap map = OPAMP__PROTO__V1__AGENT_CONFIG_MAP__INIT;
	Opamp__Proto__V1__EffectiveConfig effective = OPAMP__PROTO__V1__EFFECTIVE_CONFIG__INIT;
	Report r = OPAMP__PROTO__V1__AGENT_TO_SERVER__INIT;
	struct bench b;

	(void)state;
	open_bench(&b);
	one.key = (char *)(uintptr_t) "a";
	two.key = (char *)(uintptr_t) "b";
	one.value = two.value = &x;
	map.n_config_map = 2;
	map.config_map = there;
	effective.config_map = &map;
	r.effective_config = &effective;
	(void)say(&b, &r);
	fake_expect(b.fake, MSG_AGENT_EFFECTIVE);
	map.config_map = back;
	(void)say(&b, &r);
	fake_expect_none(b.fake, MSG_AGENT_EFFECTIVE);
	map.n_config_map = 1;
	(void)say(&b, &r);
	fake_expect(b.fake, MSG_AGENT_EFFECTIVE);
	close_bench(&b);
}

static void
test_a_slow_confd_gets_the_latest_only(void **state)
{
	char status[32];
	struct bench b;
	struct heard *h;
	int i;

	(void)state;
	open_bench(&b);
	(void)say_health(&b, "StatusOK", 1);
	fake_expect(b.fake, MSG_AGENT_HEALTH);
	channel_pause(b.fake->ends[PROC_CONFD]);
	for (i = 0; i < 2000; i++) {
		(void)snprintf(status, sizeof(status), "Status%d", i);
		(void)say_health(&b, status, 0);
		assert_true(channel_queued(b.fake->child.peers[PROC_CONFD]) <= 32);
	}
	channel_resume(b.fake->ends[PROC_CONFD]);
	while ((h = fake_find(b.fake, MSG_AGENT_HEALTH, 2000)) != NULL)
		if (strstr(h->tail + strlen(h->tail) + 1, "Status1999") != NULL)
			break;
	assert_non_null(h);
	close_bench(&b);
}

static void
test_a_new_baseline_judges_what_is_known(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b);
	link_sessions_baseline(&b.all, 1); /* nothing known: no baseline */
	assert_false(b.all.baseline.set);
	(void)say_health(&b, "StatusOK", 1);
	link_sessions_baseline(&b.all, 1);
	assert_true(b.all.baseline.set);
	(void)say_health(&b, "StatusRecoverableError", 0);
	fake_expect(b.fake, MSG_AGENT_HEALTH);
	assert_int_equal(
	    health(fake_expect(b.fake, MSG_AGENT_HEALTH))->worst, WORST_RECOVERABLE_NEW);
	link_sessions_baseline(&b.all, 1);
	assert_int_equal(
	    health(fake_expect(b.fake, MSG_AGENT_HEALTH))->worst, WORST_RECOVERABLE_OLD);
	close_bench(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_I11_an_agent_that_says_something_else_each_time),
	    cmocka_unit_test(test_ST_07_a_restarted_link_asks_for_the_full_state_once),
	    cmocka_unit_test(test_CP_05_the_agent_is_offered_nothing),
	    cmocka_unit_test(test_ST_07_an_agent_that_never_describes_itself_is_asked_once),
	    cmocka_unit_test(test_reload_of_the_agent_is_heard_as_one),
	    cmocka_unit_test(test_last_words_come_before_the_goodbye),
	    cmocka_unit_test(test_silence_is_no_health),
	    cmocka_unit_test(test_go_sends_files_in_any_order),
	    cmocka_unit_test(test_a_slow_confd_gets_the_latest_only),
	    cmocka_unit_test(test_a_new_baseline_judges_what_is_known),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
