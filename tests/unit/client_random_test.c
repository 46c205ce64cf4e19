/*
 * client_random_test.c: netd's client in any order of events: what a server says, confd and the connection
 * do, by dice with a fixed seed.  After each step what must always hold is checked.  do_send of
 * client_fake.h checks that every message has the uid, and that sequence_num rises by one.
 *
 * STEPS and SEED in the environment make it longer, and another one.
 */
#include "client_fake.h"

#define MOST 4000 /* messages kept before they are thrown away */

struct play {
	struct fake f;
	uint64_t seed, due[CLIENT_TIMER_COUNT];
	int confd; /* lives */
	uint8_t stored[16];
	unsigned long step;
};

#define CHECK(p, what)                                                                             \
	do {                                                                                       \
		if (!(what))                                                                       \
			fail_msg("step %lu, state %d: %s", (p)->step, (int)(p)->f.c.state, #what); \
	} while (0)

static uint64_t
dice(struct play *p, uint64_t below)
{
	p->seed ^= p->seed << 13;
	p->seed ^= p->seed >> 7;
	p->seed ^= p->seed << 17;
	return (p->seed >> 11) % below;
}

/* ---- the server */

static void
server_says(struct play *p)
{
	static const char *const hashes[] = {"", "a", "b", "c"};
	Opamp__Proto__V1__ServerErrorResponse error = OPAMP__PROTO__V1__SERVER_ERROR_RESPONSE__INIT;
	Opamp__Proto__V1__ServerToAgentCommand restart =
	    OPAMP__PROTO__V1__SERVER_TO_AGENT_COMMAND__INIT;
	Opamp__Proto__V1__AgentIdentification id = OPAMP__PROTO__V1__AGENT_IDENTIFICATION__INIT;
	Opamp__Proto__V1__AgentRemoteConfig remote = OPAMP__PROTO__V1__AGENT_REMOTE_CONFIG__INIT;
	Opamp__Proto__V1__AgentConfigMap map = OPAMP__PROTO__V1__AGENT_CONFIG_MAP__INIT;
	Opamp__Proto__V1__AgentConfigFile file = OPAMP__PROTO__V1__AGENT_CONFIG_FILE__INIT;
	Opamp__Proto__V1__AgentConfigMap__ConfigMapEntry
	    entry = OPAMP__PROTO__V1__AGENT_CONFIG_MAP__CONFIG_MAP_ENTRY__INIT,
	    *list[1] = {&entry};
	static uint8_t body[8192];
	uint8_t uid[16] = {(uint8_t)dice(p, 4), 1};
	const char *hash = hashes[dice(p, 4)];
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;

	if (p->f.c.state != CLIENT_OPEN)
		return;
	if (dice(p, 3) == 0)
		a.capabilities = dice(p, 2) == 0 ? SERVER_ALL : dice(p, 64);
	if (dice(p, 60) == 0)
		a.error_response = &error;
	error.type = (Opamp__Proto__V1__ServerErrorResponseType)dice(p, 3);
	error.error_message = (char *)(uintptr_t) "no";
	if (dice(p, 10) == 0)
		a.command = &restart;
	if (dice(p, 12) == 0)
		a.agent_identification = &id;
	id.new_instance_uid.data = uid;
	id.new_instance_uid.len = dice(p, 10) == 0 ? 3 : 16;
	if (dice(p, 4) == 0)
		a.flags = 1;
	if (dice(p, 4) == 0)
		a.remote_config = &remote;
	remote.config_hash.data = (uint8_t *)(uintptr_t)hash;
	remote.config_hash.len = strlen(hash);
	remote.config = &map;
	if (dice(p, 4) != 0) {
		map.config_map = list;
		map.n_config_map = 1;
		entry.key = (char *)(uintptr_t) "x";
		entry.value = &file;
		file.body.data = body;
		file.body.len = dice(p, 6) == 0 ? sizeof(body) : 10; /* too large, sometimes */
	}
	if (dice(p, 20) == 0) {
		a.instance_uid.data = uid;
		a.instance_uid.len = 16;
	}
	say(&p->f, &a);
}

/* ---- confd */

static void
confd_up(struct play *p)
{
	p->confd = 1;
	client_confd_up(&p->f.c);
	identity(&p->f, p->stored);
	health(&p->f, 1, "");
	status(&p->f, CONFIG_UNSET, "", "");
	client_synced(&p->f.c);
}

static void
confd_does(struct play *p)
{
	static const char *const hashes[] = {"", "a", "b", "c"};
	char text[32];

	if (!p->confd) {
		confd_up(p);
		return;
	}
	(void)snprintf(text, sizeof(text), "n: %u\n", (unsigned)dice(p, 5));
	switch (dice(p, 7)) {
	case 0:
		p->confd = 0;
		client_confd_down(&p->f.c);
		break;
	case 1:
		health(&p->f, (int)dice(p, 2), "");
		break;
	case 2:
		effective(&p->f, text);
		break;
	case 3:
		status(&p->f, (uint32_t)dice(p, 4), hashes[dice(p, 4)], "");
		break;
	case 4:
		client_credit(&p->f.c);
		break;
	case 5: /* it has stored what it was asked for; it may as well refuse, and say nothing */
		if (memcmp(p->f.uid, p->stored, 16) != 0 && p->f.uids > 0) {
			memcpy(p->stored, p->f.uid, 16);
			identity(&p->f, p->stored);
		}
		break;
	default:
		break;
	}
}

/* ---- the connection, and time */

static void
connection_does(struct play *p)
{
	struct client *c = &p->f.c;

	p->f.random_max = (int)dice(p, 2);
	if (c->state == CLIENT_CONNECTING && dice(p, 3) != 0)
		client_opened(c);
	else if (c->state == CLIENT_CONNECTING)
		fail_with(&p->f, dice(p, 2) == 0 ? 503 : 0, (int64_t)dice(p, 5000) - 1);
	else if (c->state == CLIENT_CLOSING || dice(p, 20) == 0)
		fail_with(&p->f, 0, -1);
	else if (p->f.pending == 0 && dice(p, 3) == 0)
		p->f.pending = (size_t)dice(p, 2 * 256 * 1024);
	else if (p->f.pending > 0) {
		p->f.pending = 0;
		client_drained(c);
	}
}

/* do_timer of the fake keeps how long, and this when. */
static void
time_passes(struct play *p, uint64_t ms)
{
	struct fake *f = &p->f;
	int t;

	f->now += ms;
	for (t = 0; t < CLIENT_TIMER_COUNT; t++) {
		if (f->timers[t] == 0 || f->timers[t] > ms) {
			f->timers[t] -= f->timers[t] == 0 ? 0 : ms;
			continue;
		}
		f->timers[t] = 0;
		client_timeout(&f->c, (enum client_timer)t);
	}
}

static void
check(struct play *p)
{
	struct client *c = &p->f.c;
	const uint64_t *timers = p->f.timers;

	/* what may be waited for: the word of confd, a timer, an answer that has its time */
	switch (c->state) {
	case CLIENT_WAITING:
		CHECK(p, !c->synced);
		CHECK(p, p->f.sent_count == 0);
		break;
	case CLIENT_BACKOFF:
	case CLIENT_CONNECTING:
		CHECK(p, timers[CLIENT_TIMER_CONNECT] != 0);
		CHECK(p, timers[CLIENT_TIMER_CONNECT] <= LIMIT_RETRY_AFTER_MS);
		break;
	case CLIENT_OPEN:
		CHECK(p, timers[CLIENT_TIMER_PING] != 0);
		CHECK(p, timers[CLIENT_TIMER_HEARTBEAT] != 0);
		CHECK(p, !c->report_waits || timers[CLIENT_TIMER_RESPONSE] != 0);
		/* what is to be said is said, or something is to come that has it said */
		CHECK(p, !(c->full_wanted ||
			     report_due(c->report,
				 c->capabilities_known && (c->server_capabilities == 0 ||
							      (c->server_capabilities & 4))
				     ? 0
				     : 4)) ||
			     !c->synced || c->have_next_uid || p->f.pending > 256 * 1024 ||
			     timers[CLIENT_TIMER_FULL] != 0);
		break;
	case CLIENT_CLOSING:
		CHECK(p, timers[CLIENT_TIMER_CLOSE] != 0);
		break;
	case CLIENT_ENDED:
		CHECK(p, 0);
		break;
	}
	/* an attempt is not begun while another one is out: each ends as one of these */
	CHECK(p, p->f.attempts == c->attempt);
	CHECK(p, !c->have_next_uid || timers[CLIENT_TIMER_UID] != 0);
	CHECK(p, c->offer == NULL || c->offer_len <= 4096 + 1024);
	CHECK(p, c->offer == NULL || !c->offer_credit);
	if (p->f.sent_count >= MOST) {
		size_t i;

		for (i = 0; i + 1 < p->f.sent_count; i++)
			wire_free(&p->f.sent[i]->base);
		p->f.sent[0] = p->f.sent[p->f.sent_count - 1];
		p->f.sent_count = 1;
	}
}

static void
test_CC_04_ST_06_I14_any_order_of_events(void **state_)
{
	const char *steps = getenv("STEPS"), *seed = getenv("SEED");
	unsigned long n = steps == NULL ? 200000 : strtoul(steps, NULL, 10), i;
	struct play *p = calloc(1, sizeof(*p));

	(void)state_;
	assert_non_null(p);
	p->seed = (seed == NULL ? 1 : strtoull(seed, NULL, 10)) * 0x9e3779b97f4a7c15u + 1;
	init(&p->f);
	log_set_level((enum log_level)LOG_LEVEL_ERROR);
	memcpy(p->stored, uid_one, 16);
	for (i = 0; i < n; i++) {
		p->step = i;
		switch (dice(p, 8)) {
		case 0:
		case 1:
		case 2:
			server_says(p);
			break;
		case 3:
		case 4:
			confd_does(p);
			break;
		case 5:
			connection_does(p);
			break;
		case 6:
			time_passes(p, dice(p, 1000) + 1);
			break;
		default:
			time_passes(p, dice(p, 20) == 0 ? dice(p, 400000) + 1 : dice(p, 50) + 1);
			break;
		}
		check(p);
	}
	client_end(&p->f.c);
	if (p->f.c.state == CLIENT_CLOSING)
		fail_with(&p->f, 0, -1);
	assert_int_equal(p->f.dones, 1);
	clear(&p->f);
	free(p);
}

/* ---- told as stories */

static void
offers(struct fake *f, const char *hash, size_t body_len)
{
	static uint8_t body[8192];
	Opamp__Proto__V1__AgentRemoteConfig remote = OPAMP__PROTO__V1__AGENT_REMOTE_CONFIG__INIT;
	Opamp__Proto__V1__AgentConfigMap map = OPAMP__PROTO__V1__AGENT_CONFIG_MAP__INIT;
	Opamp__Proto__V1__AgentConfigFile file = OPAMP__PROTO__V1__AGENT_CONFIG_FILE__INIT;
	Opamp__Proto__V1__AgentConfigMap__ConfigMapEntry
	    entry = OPAMP__PROTO__V1__AGENT_CONFIG_MAP__CONFIG_MAP_ENTRY__INIT,
	    *list[1] = {&entry};
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;

	a.remote_config = &remote;
	remote.config_hash.data = (uint8_t *)(uintptr_t)hash;
	remote.config_hash.len = strlen(hash);
	remote.config = &map;
	map.config_map = list;
	map.n_config_map = 1;
	entry.key = (char *)(uintptr_t) "x";
	entry.value = &file;
	file.body.data = body;
	file.body.len = body_len;
	say(f, &a);
}

/* confd has nothing to add to what it said of "a": the refusal of "b" must not stay its last word. */
static void
test_CF_03_back_to_the_applied_one_after_a_refusal(void **state_)
{
	struct fake f;

	(void)state_;
	open_up(&f);
	status(&f, CONFIG_APPLIED, "a", "");
	assert_int_equal(last(&f)->remote_config_status->status, CONFIG_APPLIED);
	offers(&f, "b", 8192);
	assert_int_equal(last(&f)->remote_config_status->status, CONFIG_FAILED);
	offers(&f, "a", 10);
	assert_int_equal(f.offers, 1);
	assert_non_null(last(&f)->remote_config_status);
	assert_int_equal(last(&f)->remote_config_status->status, CONFIG_APPLIED);
	assert_memory_equal(last(&f)->remote_config_status->last_remote_config_hash.data, "a", 1);
	clear(&f);
}

static void
assigns(struct fake *f, const uint8_t uid[16])
{
	Opamp__Proto__V1__AgentIdentification id = OPAMP__PROTO__V1__AGENT_IDENTIFICATION__INIT;
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;

	a.agent_identification = &id;
	id.new_instance_uid.data = (uint8_t *)(uintptr_t)uid;
	id.new_instance_uid.len = 16;
	say(f, &a);
}

/* confd refused it, and the connection went before its time was over: reports go on all the same. */
static void
test_ID_02_a_uid_that_is_not_stored_over_a_reconnect(void **state_)
{
	struct fake f;
	size_t sent;

	(void)state_;
	open_up(&f);
	assigns(&f, uid_two);
	assert_int_equal(f.uids, 1);
	fail_with(&f, 0, -1);
	fire(&f, CLIENT_TIMER_UID);
	fire(&f, CLIENT_TIMER_CONNECT);
	client_opened(&f.c);
	answer(&f, SERVER_ALL);
	sent = f.sent_count;
	health(&f, 0, "news");
	assert_int_equal(f.sent_count, sent + 1);
	assigns(&f, uid_three);
	assert_int_equal(f.uids, 2);
	clear(&f);
}

/* Two, and back to the one it has: the newest is what counts. */
static void
test_ID_02_the_newest_uid_is_the_one_it_had(void **state_)
{
	struct fake f;

	(void)state_;
	open_up(&f);
	assigns(&f, uid_two);
	assigns(&f, uid_one);
	identity(&f, uid_two); /* confd has stored the first */
	assert_int_equal(f.uids, 2);
	assert_memory_equal(f.uid, uid_one, 16);
	clear(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_CF_03_back_to_the_applied_one_after_a_refusal),
	    cmocka_unit_test(test_ID_02_a_uid_that_is_not_stored_over_a_reconnect),
	    cmocka_unit_test(test_ID_02_the_newest_uid_is_the_one_it_had),
	    cmocka_unit_test(test_CC_04_ST_06_I14_any_order_of_events),
	};

	return cmocka_run_group_tests_name("client_random", tests, NULL, NULL);
}
