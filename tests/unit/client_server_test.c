/*
 * client_server_test.c: netd's OpAMP client: what the server says, right and wrong.
 */
#include "client_fake.h"

/* ---- what the server says */

static void
test_FR_03_FR_04_malformed(void **state)
{
	static const struct {
		const char *data;
		size_t len;
	} bad[] = {{"", 0}, {"\x01", 1}, {"\x80", 1},
	    {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11}, {"\x00\xff\xff", 3},
	    {"\x00\x0a\x05x", 4}, {"\x01\x30\x01", 3}};
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	struct fake f;
	size_t before, i;

	(void)state;
	open_up(&f);
	health(&f, 0, "x"); /* an answer is waited for */
	before = f.sent_count;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		client_message(&f.c, (const uint8_t *)bad[i].data, bad[i].len);
	assert_int_equal(f.sent_count, before);
	assert_int_not_equal(f.timers[CLIENT_TIMER_RESPONSE], 0); /* none of them is one */
	assert_int_equal(f.c.state, CLIENT_OPEN);
	client_message(&f.c, (const uint8_t *)"\x00", 1); /* an empty message is one */
	assert_int_equal(f.timers[CLIENT_TIMER_RESPONSE], 0);
	client_message(&f.c, (const uint8_t *)"\x80\x00\x30\x01", 4); /* flags: ReportFullState */
	assert_int_equal(f.sent_count, before + 1);
	(void)a;
	clear(&f);
}

static void
test_CP_07_unknown_things_are_ignored(void **state)
{
	/* field 1000 as varint; flags 0x80; capabilities with a high bit; command of type 77 */
	static const uint8_t data[] = {
	    0, 0xc0, 0x3e, 1, 0x30, 0x80, 0x01, 0x38, 0x81, 0x80, 0x80, 0x01, 0x4a, 2, 0x08, 77};
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	client_message(&f.c, data, sizeof(data));
	assert_int_equal(f.restarts, 0); /* RC-03 */
	assert_int_equal(f.sent_count, before);
	assert_int_equal(f.c.malformed_told, 0);
	clear(&f);
}

static void
test_CP_03_parts_without_capability(void **state)
{
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	Opamp__Proto__V1__AgentRemoteConfig rc = OPAMP__PROTO__V1__AGENT_REMOTE_CONFIG__INIT;
	Opamp__Proto__V1__ConnectionSettingsOffers cs =
	    OPAMP__PROTO__V1__CONNECTION_SETTINGS_OFFERS__INIT;
	Opamp__Proto__V1__PackagesAvailable pa = OPAMP__PROTO__V1__PACKAGES_AVAILABLE__INIT;
	Opamp__Proto__V1__CustomMessage cm = OPAMP__PROTO__V1__CUSTOM_MESSAGE__INIT;
	Opamp__Proto__V1__ServerToAgentCommand co = OPAMP__PROTO__V1__SERVER_TO_AGENT_COMMAND__INIT;
	struct client_settings set = usual;
	struct fake f;
	size_t before;

	(void)state;
	set.capabilities = CAPABILITY(ReportsStatus); /* CP-08: the default */
	init_with(&f, &set);
	sync_all(&f);
	client_opened(&f.c);
	before = f.sent_count;
	a.remote_config = &rc;
	a.connection_settings = &cs;
	a.packages_available = &pa;
	a.custom_message = &cm;
	a.flags = 2;
	say(&f, &a);
	a.command = &co;
	say(&f, &a); /* RC-03 */
	assert_int_equal(f.offers, 0);
	assert_int_equal(f.restarts, 0);
	assert_int_equal(f.sent_count, before);
	assert_int_equal(f.c.ignored_told, 0x3f);
	clear(&f);
}

static void
test_RC_01_RC_02_command_alone(void **state)
{
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	Opamp__Proto__V1__AgentRemoteConfig rc = OPAMP__PROTO__V1__AGENT_REMOTE_CONFIG__INIT;
	Opamp__Proto__V1__AgentIdentification id = OPAMP__PROTO__V1__AGENT_IDENTIFICATION__INIT;
	Opamp__Proto__V1__ServerToAgentCommand co = OPAMP__PROTO__V1__SERVER_TO_AGENT_COMMAND__INIT;
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	id.new_instance_uid.data = (uint8_t *)(uintptr_t)uid_two;
	id.new_instance_uid.len = 16;
	a.command = &co;
	a.remote_config = &rc;
	a.agent_identification = &id;
	a.flags = 1;
	say(&f, &a);
	assert_int_equal(f.restarts, 1);
	assert_int_equal(f.offers, 0);
	assert_int_equal(f.uids, 0);
	assert_int_equal(f.sent_count, before);
	clear(&f);
}

static void
test_ID_02_new_uid(void **state)
{
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	Opamp__Proto__V1__AgentIdentification id = OPAMP__PROTO__V1__AGENT_IDENTIFICATION__INIT;
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	id.new_instance_uid.data = (uint8_t *)(uintptr_t)uid_two;
	id.new_instance_uid.len = 16;
	a.agent_identification = &id;
	a.flags = 1;
	say(&f, &a);
	assert_int_equal(f.uids, 1);
	assert_memory_equal(f.uid, uid_two, 16);
	assert_int_equal(
	    f.sent_count, before); /* stored before it is used; nothing with the old one */
	id.new_instance_uid.data = (uint8_t *)(uintptr_t)uid_three;
	say(&f, &a);
	assert_int_equal(f.uids, 1); /* one at a time */
	identity(&f, uid_two);
	assert_int_equal(f.uids, 2);
	assert_memory_equal(f.uid, uid_three, 16);
	identity(&f, uid_three);
	assert_int_equal(f.sent_count, before + 1);
	assert_memory_equal(last(&f)->instance_uid.data, uid_three, 16);
	assert_non_null(last(&f)->agent_description);
	/* confd that cannot store it: the old one stays, reports go on */
	id.new_instance_uid.data = (uint8_t *)(uintptr_t)uid_one;
	a.flags = 0;
	say(&f, &a);
	health(&f, 0, "meanwhile");
	assert_int_equal(f.sent_count, before + 1);
	fire(&f, CLIENT_TIMER_UID);
	assert_int_equal(f.sent_count, before + 2);
	assert_memory_equal(last(&f)->instance_uid.data, uid_three, 16);
	clear(&f);
}

static void
test_ID_03_bad_uids(void **state)
{
	static const uint8_t zero[17], long_one[17] = {1};
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	Opamp__Proto__V1__AgentIdentification id = OPAMP__PROTO__V1__AGENT_IDENTIFICATION__INIT;
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	a.agent_identification = &id;
	say(&f, &a); /* empty */
	id.new_instance_uid.data = (uint8_t *)(uintptr_t)zero;
	id.new_instance_uid.len = 16;
	say(&f, &a);
	id.new_instance_uid.data = (uint8_t *)(uintptr_t)long_one;
	id.new_instance_uid.len = 17;
	say(&f, &a);
	id.new_instance_uid.len = 15;
	say(&f, &a);
	id.new_instance_uid.data = (uint8_t *)(uintptr_t)uid_one; /* it is ours already */
	id.new_instance_uid.len = 16;
	say(&f, &a);
	assert_int_equal(f.uids, 0);
	assert_int_equal(f.sent_count, before);
	clear(&f);
}

static void
test_ID_04_another_uid(void **state)
{
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	before = f.sent_count;
	a.flags = 1;
	a.instance_uid.data = (uint8_t *)(uintptr_t)uid_two;
	a.instance_uid.len = 16;
	say(&f, &a);
	a.instance_uid.len = 3;
	say(&f, &a);
	assert_int_equal(f.sent_count, before);
	/* the uid we had is still known while answers to it are on their way */
	identity(&f, uid_two);
	assert_int_equal(f.sent_count, before + 1);
	a.instance_uid.data = (uint8_t *)(uintptr_t)uid_one;
	a.instance_uid.len = 16;
	say(&f, &a);
	assert_int_equal(f.sent_count, before + 2);
	f.now += 10000;
	a.instance_uid.data = (uint8_t *)(uintptr_t)uid_two;
	a.flags = 0;
	say(&f, &a);
	a.instance_uid.data = (uint8_t *)(uintptr_t)uid_one;
	a.flags = 1;
	say(&f, &a);
	assert_int_equal(f.sent_count, before + 2);
	clear(&f);
}

/* ---- offers */

struct remote {
	Answer a;
	Opamp__Proto__V1__AgentRemoteConfig rc;
	Opamp__Proto__V1__AgentConfigMap map;
	Opamp__Proto__V1__AgentConfigMap__ConfigMapEntry entries[2], *list[2];
	Opamp__Proto__V1__AgentConfigFile files[2];
};

static void
make_remote(struct remote *r, const char *hash, size_t count)
{
	static const char *const names[] = {"b", "a"};
	size_t i;

	opamp__proto__v1__server_to_agent__init(&r->a);
	opamp__proto__v1__agent_remote_config__init(&r->rc);
	opamp__proto__v1__agent_config_map__init(&r->map);
	r->rc.config_hash.data = (uint8_t *)(uintptr_t)hash;
	r->rc.config_hash.len = strlen(hash);
	r->rc.config = &r->map;
	r->a.remote_config = &r->rc;
	r->map.config_map = r->list;
	r->map.n_config_map = count;
	for (i = 0; i < count; i++) {
		opamp__proto__v1__agent_config_map__config_map_entry__init(&r->entries[i]);
		opamp__proto__v1__agent_config_file__init(&r->files[i]);
		r->files[i].body.data = (uint8_t *)(uintptr_t) "body";
		r->files[i].body.len = 4;
		r->entries[i].key = (char *)(uintptr_t)names[i];
		r->entries[i].value = &r->files[i];
		r->list[i] = &r->entries[i];
	}
}

static void
test_CF_04_CF_07_CF_08_offers(void **state)
{
	struct remote r;
	struct offer o;
	struct error err;
	struct fake f;

	(void)state;
	open_up(&f);
	make_remote(&r, "one", 2);
	say(&f, &r.a);
	assert_int_equal(f.offers, 1);
	assert_int_equal(f.offer.files, 2);
	assert_int_equal(f.offer.flags, 0);
	assert_int_equal(offer_open(&o, f.offer_data, f.offer_len, 4096, &err), 0);
	assert_int_equal(o.hash.len, 3);
	assert_memory_equal(o.hash.data, "one", 3);
	assert_memory_equal(o.files[0].name.data, "b", 1);
	offer_close(&o);
	/* no credit: the newest is kept */
	make_remote(&r, "two", 2);
	say(&f, &r.a);
	make_remote(&r, "three", 0);
	say(&f, &r.a);
	assert_int_equal(f.offers, 1);
	client_credit(&f.c);
	assert_int_equal(f.offers, 2);
	assert_int_equal(f.offer.flags, OFFER_EMPTY_MAP);
	assert_int_equal(offer_open(&o, f.offer_data, f.offer_len, 4096, &err), 0);
	assert_memory_equal(o.hash.data, "three", 5);
	offer_close(&o);
	client_credit(&f.c);
	client_credit(&f.c);
	assert_int_equal(f.offers, 2);
	clear(&f);
}

static void
offered(struct fake *f, unsigned count, const void *body, size_t len)
{
	struct offer o;
	struct error err;

	assert_int_equal(f->offers, count);
	assert_int_equal(f->offer.files, 2);
	assert_int_equal(offer_open(&o, f->offer_data, f->offer_len, MIB, &err), 0);
	assert_int_equal(o.hash.len, 4);
	assert_memory_equal(o.hash.data, "hash", 4);
	assert_int_equal(o.files[0].name.len, 1);
	assert_memory_equal(o.files[0].name.data, "b", 1);
	assert_int_equal(o.files[0].type.len, 9);
	assert_memory_equal(o.files[0].type.data, "text/yaml", 9);
	assert_int_equal(o.files[0].body.len, len);
	assert_memory_equal(o.files[0].body.data, body, len);
	assert_memory_equal(o.files[1].name.data, "a", 1);
	assert_int_equal(o.files[1].body.len, 0);
	offer_close(&o);
	client_credit(&f->c);
}

/* A large one is not unpacked; what comes of it is the same, whatever form it has. */
static void
test_CF_04_large_offers(void **state)
{
	static uint8_t body[100000], packed[200100], whole[200200];
	static const uint8_t unknown[] = {0x98, 0x06, 0x01}; /* field 99 */
	struct remote r;
	struct fake f;
	size_t len, i, head;

	(void)state;
	for (i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 7);
	open_up(&f);
	f.c.set.config_size = MIB;
	make_remote(&r, "hash", 2);
	r.files[0].body.data = body;
	r.files[0].body.len = sizeof(body);
	r.files[0].content_type = (char *)(uintptr_t) "text/yaml";
	r.entries[1].value = NULL;
	say(&f, &r.a);
	offered(&f, 1, body, sizeof(body));

	/* its configuration in two pieces, which are to be put together; and what nobody knows */
	len = opamp__proto__v1__agent_remote_config__pack(&r.rc, packed);
	r.rc.config = NULL;
	len += opamp__proto__v1__agent_remote_config__pack(&r.rc, packed + len);
	r.rc.config = &r.map;
	r.map.n_config_map = 0;
	len += opamp__proto__v1__agent_remote_config__pack(&r.rc, packed + len);
	memcpy(packed + len, unknown, sizeof(unknown));
	len += sizeof(unknown);
	whole[0] = 0;
	head = 1 + opamp__proto__v1__server_to_agent__pack(
		       &(Answer)OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT, whole + 1);
	whole[head++] = 3 << 3 | 2;
	for (i = len; i >= 0x80; i >>= 7)
		whole[head++] = (uint8_t)(i | 0x80);
	whole[head++] = (uint8_t)i;
	memcpy(whole + head, packed, len);
	client_message(&f.c, whole, head + len);
	offered(&f, 2, body, sizeof(body));

	/* too large: the server is told, with its hash */
	f.c.set.config_size = 1000;
	r.map.n_config_map = 2;
	say(&f, &r.a);
	assert_int_equal(f.offers, 2);
	clear(&f);
}

static void
test_offers_while_confd_is_away(void **state)
{
	struct remote r;
	struct fake f;
	int i;

	(void)state;
	open_up(&f);
	client_confd_down(&f.c);
	make_remote(&r, "kept", 1);
	say(&f, &r.a);
	assert_int_equal(f.offers, 0);
	client_confd_up(&f.c);
	assert_int_equal(f.offers, 1);
	/* it dies with it: once more, and not for ever */
	for (i = 0; i < 5; i++) {
		client_confd_down(&f.c);
		client_confd_up(&f.c);
	}
	assert_int_equal(f.offers, 2);
	f.fail_offer = 1;
	say(&f, &r.a);
	f.fail_offer = 0;
	assert_int_equal(f.c.offer_credit, 1);
	say(&f, &r.a);
	assert_int_equal(f.offers, 3);
	clear(&f);
}

static void
test_SZ_01_CF_08_offers_that_cannot_be(void **state)
{
	char big[5000];
	struct remote r;
	struct fake f;

	(void)state;
	open_up(&f);
	memset(big, 'x', sizeof(big));
	make_remote(&r, "big", 1);
	r.files[0].body.data = (uint8_t *)big;
	r.files[0].body.len = sizeof(big);
	say(&f, &r.a);
	assert_int_equal(f.offers, 0);
	assert_int_equal(last(&f)->remote_config_status->status, CONFIG_FAILED);
	assert_memory_equal(last(&f)->remote_config_status->last_remote_config_hash.data, "big", 3);
	assert_non_null(
	    strstr(last(&f)->remote_config_status->error_message, "limits.config_size"));
	make_remote(&r, "twice", 2);
	r.entries[1].key = r.entries[0].key;
	say(&f, &r.a);
	assert_int_equal(f.offers, 0);
	assert_memory_equal(
	    last(&f)->remote_config_status->last_remote_config_hash.data, "twice", 5);
	clear(&f);
}

static void
test_reports_that_the_server_causes_are_paced(void **state)
{
	char hash[16], big[5000];
	struct remote r;
	struct fake f;
	size_t before, i;

	(void)state;
	open_up(&f);
	f.now += 5000;
	before = f.sent_count;
	memset(big, 'x', sizeof(big));
	for (i = 0; i < 1000; i++) { /* each is refused by us, each answer causes the next */
		(void)snprintf(hash, sizeof(hash), "h%zu", i);
		make_remote(&r, hash, 1);
		r.files[0].body.data = (uint8_t *)big;
		r.files[0].body.len = sizeof(big);
		say(&f, &r.a);
	}
	assert_in_range(f.sent_count, before + 1, before + 20);
	fire(&f, CLIENT_TIMER_FULL);
	assert_memory_equal(
	    last(&f)->remote_config_status->last_remote_config_hash.data, "h999", 4);
	clear(&f);
}

/* ---- errors */

static void
say_error(struct fake *f, int type, int64_t retry_ns)
{
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	Opamp__Proto__V1__ServerErrorResponse e = OPAMP__PROTO__V1__SERVER_ERROR_RESPONSE__INIT;
	Opamp__Proto__V1__RetryInfo retry = OPAMP__PROTO__V1__RETRY_INFO__INIT;
	Opamp__Proto__V1__ServerToAgentCommand co = OPAMP__PROTO__V1__SERVER_TO_AGENT_COMMAND__INIT;

	a.error_response = &e;
	a.command = &co;
	a.flags = 1;
	a.capabilities = 1;
	e.type = (Opamp__Proto__V1__ServerErrorResponseType)type;
	e.error_message = (char *)(uintptr_t) "because";
	if (retry_ns >= 0) {
		e.details_case = OPAMP__PROTO__V1__SERVER_ERROR_RESPONSE__DETAILS_RETRY_INFO;
		e.retry_info = &retry;
		retry.retry_after_nanoseconds = (uint64_t)retry_ns;
	}
	say(f, &a);
}

static void
test_ER_01_ER_02_bad_request(void **state)
{
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	health(&f, 0, "what it does not like");
	before = f.sent_count;
	say_error(&f, 1, -1);
	say_error(&f, 0, -1);
	say_error(&f, 99, -1);
	assert_int_equal(f.sent_count, before); /* not again, no full state either */
	assert_int_equal(f.restarts, 0);
	assert_int_equal(f.c.server_capabilities, SERVER_ALL);
	assert_int_equal(f.c.state, CLIENT_OPEN);
	fail_with(&f, 0, -1);
	fire(&f, CLIENT_TIMER_CONNECT);
	client_opened(&f.c);
	assert_null(last(&f)->health); /* after a reconnect neither */
	clear(&f);
}

static void
test_ER_03_unavailable(void **state)
{
	static const struct client_failure closed = {"closed", 0, -1};
	struct fake f;
	size_t before;

	(void)state;
	open_up(&f);
	health(&f, 0, "not processed");
	before = f.sent_count;
	say_error(&f, 2, 45000000000);
	assert_int_equal(f.closes, 1);
	assert_int_equal(f.restarts, 0);
	assert_int_equal(f.c.state, CLIENT_CLOSING);
	health(&f, 1, "");
	assert_int_equal(f.sent_count, before); /* all is said */
	client_failed(&f.c, &closed);
	assert_in_range(f.timers[CLIENT_TIMER_CONNECT], 45000, 49500);
	assert_non_null(strstr(f.why, "because"));
	fire(&f, CLIENT_TIMER_CONNECT);
	client_opened(&f.c);
	assert_non_null(last(&f)->health); /* it was not processed: again */
	/* a huge time is capped */
	say_error(&f, 2, INT64_MAX);
	fire(&f, CLIENT_TIMER_CLOSE); /* and a server that does not end the closing is left */
	assert_int_equal(f.drops, 1);
	assert_int_equal(f.timers[CLIENT_TIMER_CONNECT], LIMIT_RETRY_AFTER_MS);
	fire(&f, CLIENT_TIMER_CONNECT);
	client_opened(&f.c);
	/* no time given: no hurry */
	say_error(&f, 2, -1);
	client_failed(&f.c, &closed);
	assert_in_range(f.timers[CLIENT_TIMER_CONNECT], 30000, 33000);
	clear(&f);
}

static void
test_ER_04_retry_after(void **state)
{
	struct fake f;

	(void)state;
	init(&f);
	sync_all(&f);
	f.random_max = 1;
	fail_with(&f, 503, 120000);
	assert_in_range(f.timers[CLIENT_TIMER_CONNECT], 120000, 132000);
	fire(&f, CLIENT_TIMER_CONNECT);
	fail_with(&f, 429, LIMIT_RETRY_AFTER_MS);
	assert_int_equal(f.timers[CLIENT_TIMER_CONNECT], LIMIT_RETRY_AFTER_MS);
	fire(&f, CLIENT_TIMER_CONNECT);
	fail_with(&f, 503, 0); /* at once is not in a loop */
	assert_in_range(f.timers[CLIENT_TIMER_CONNECT], 1000, 300000);
	fire(&f, CLIENT_TIMER_CONNECT);
	fail_with(&f, 503, -1);
	assert_true(f.timers[CLIENT_TIMER_CONNECT] >= 30000);
	assert_int_equal(f.state.http_status, 503);
	clear(&f);
}

static void
test_CC_08_refused_credentials(void **state)
{
	static const int codes[] = {401, 403};
	struct fake f;
	size_t i, k;

	(void)state;
	for (i = 0; i < 2; i++) {
		init(&f);
		sync_all(&f);
		for (k = 0; k < 20; k++) {
			f.random_max = k % 2;
			fail_with(&f, codes[i], -1);
			assert_in_range(f.timers[CLIENT_TIMER_CONNECT], 150000, 300000);
			assert_int_equal(f.state.event, SERVER_LOST);
			assert_int_equal(f.state.http_status, codes[i]);
			assert_int_equal(f.state.next_ms, f.timers[CLIENT_TIMER_CONNECT]);
			fire(&f, CLIENT_TIMER_CONNECT);
		}
		clear(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_FR_03_FR_04_malformed),
	    cmocka_unit_test(test_CP_07_unknown_things_are_ignored),
	    cmocka_unit_test(test_CP_03_parts_without_capability),
	    cmocka_unit_test(test_RC_01_RC_02_command_alone),
	    cmocka_unit_test(test_ID_02_new_uid),
	    cmocka_unit_test(test_ID_03_bad_uids),
	    cmocka_unit_test(test_ID_04_another_uid),
	    cmocka_unit_test(test_CF_04_CF_07_CF_08_offers),
	    cmocka_unit_test(test_CF_04_large_offers),
	    cmocka_unit_test(test_offers_while_confd_is_away),
	    cmocka_unit_test(test_SZ_01_CF_08_offers_that_cannot_be),
	    cmocka_unit_test(test_reports_that_the_server_causes_are_paced),
	    cmocka_unit_test(test_ER_01_ER_02_bad_request),
	    cmocka_unit_test(test_ER_03_unavailable),
	    cmocka_unit_test(test_ER_04_retry_after),
	    cmocka_unit_test(test_CC_08_refused_credentials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
