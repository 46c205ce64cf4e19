/*
 * describe_test.c: who the agent is: its own words, the host's, the settings'.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "netd/describe.h"
#include "wire/wire.h"

typedef Opamp__Proto__V1__AgentDescription Description;
typedef Opamp__Proto__V1__KeyValue KeyValue;

static const uint8_t uid[16] = {0x01, 0x8f, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0xff};

struct fixture {
	struct settings settings;
	struct describe d;
};

static void
init(struct fixture *f, int generic, const char *identifying, size_t identifying_len)
{
	struct record_writer w = {0};
	struct error err;
	size_t len;

	if (generic)
		record_put_u64(&w, SET_AGENT_TYPE, 1);
	record_put_string(&w, SET_EXECUTABLE, "/usr/sbin/rsyslogd");
	if (identifying != NULL)
		record_put(&w, SET_ID_ATTRIBUTES, 1, 1, identifying, identifying_len);
	record_put(&w, SET_OTHER_ATTRIBUTES, 1, 1, "env\0prod", 8);
	record_put(&w, SET_OTHER_ATTRIBUTES, 1, 1, "host.name\0web-1", 15);
	assert_int_equal(record_finish(&w, &f->settings.data, &len, &err), 0);
	assert_int_equal(record_open(&f->settings.record, f->settings.data, len, &err), 0);
	assert_int_equal(describe_init(&f->d, &f->settings, &err), 0);
}

static void
clear(struct fixture *f)
{
	describe_clear(&f->d);
	settings_free(&f->settings);
}

static Description *
describe(struct fixture *f, const void *blob, size_t len)
{
	struct error err = {""};
	ProtobufCMessage *m;
	size_t packed_len;
	char *packed;

	assert_int_equal(describe_pack(&f->d, blob, len, uid, &packed, &packed_len, &err), 0);
	m = wire_unpack(
	    &opamp__proto__v1__agent_description__descriptor, (uint8_t *)packed, packed_len, &err);
	assert_non_null(m);
	free(packed);
	return (Description *)m;
}

static const char *
value(KeyValue **pairs, size_t count, const char *key)
{
	const char *found = NULL;
	size_t i;

	for (i = 0; i < count; i++)
		if (strcmp(pairs[i]->key, key) == 0) {
			assert_null(found); /* each key once */
			found = pairs[i]->value->string_value;
		}
	return found;
}

#define ID(d, key)    value((d)->identifying_attributes, (d)->n_identifying_attributes, key)
#define OTHER(d, key) value((d)->non_identifying_attributes, (d)->n_non_identifying_attributes, key)

/* key=value for both lists, packed as the agent would. */
static char *
blob_of(size_t *len, const char *const *ids, size_t id_count, const char *const *others,
    size_t other_count)
{
	Description d = OPAMP__PROTO__V1__AGENT_DESCRIPTION__INIT;
	KeyValue pairs[16], *lists[2][16];
	Opamp__Proto__V1__AnyValue values[16];
	size_t i, n = 0;
	char *data;

	for (i = 0; i < id_count + other_count; i++) {
		const char *const *list = i < id_count ? ids + 2 * i : others + 2 * (i - id_count);

		opamp__proto__v1__key_value__init(&pairs[n]);
		opamp__proto__v1__any_value__init(&values[n]);
		pairs[n].key = (char *)(uintptr_t)list[0];
		pairs[n].value = &values[n];
		values[n].value_case = OPAMP__PROTO__V1__ANY_VALUE__VALUE_STRING_VALUE;
		values[n].string_value = (char *)(uintptr_t)list[1];
		lists[i >= id_count][i < id_count ? i : i - id_count] = &pairs[n];
		n++;
	}
	d.identifying_attributes = lists[0];
	d.n_identifying_attributes = id_count;
	d.non_identifying_attributes = lists[1];
	d.n_non_identifying_attributes = other_count;
	*len = opamp__proto__v1__agent_description__get_packed_size(&d);
	data = malloc(*len + 1);
	(void)opamp__proto__v1__agent_description__pack(&d, (uint8_t *)data);
	return data;
}

static void
test_DE_01_DE_02_generic_agent(void **state)
{
	struct fixture f = {0};
	Description *d;

	(void)state;
	init(&f, 1, NULL, 0);
	describe_os_release(&f.d, "NAME=x\nPRETTY_NAME=\"Debian \\\"GNU\\\" 12\"\nID=debian\n");
	describe_machine_id(&f.d, "0123456789abcdef0123456789abcdef\n");
	d = describe(&f, "", 0);
	assert_string_equal(ID(d, "service.name"), "rsyslogd");
	assert_null(ID(d, "service.version"));
	assert_string_equal(ID(d, "service.instance.id"), "018f0000-0000-7000-8000-0000000000ff");
	assert_string_equal(OTHER(d, "os.type"), "linux");
	assert_string_equal(OTHER(d, "os.description"), "Debian \"GNU\" 12");
	assert_string_equal(OTHER(d, "host.id"), "0123456789abcdef0123456789abcdef");
	assert_string_equal(OTHER(d, "host.name"), "web-1"); /* the settings know better */
	assert_string_equal(OTHER(d, "env"), "prod");
	assert_non_null(OTHER(d, "host.arch"));
	wire_free(&d->base);
	clear(&f);
}

static void
test_DE_03_DE_04_what_the_agent_says(void **state)
{
	static const char *const ids[] = {"service.name", "io.opentelemetry.collector",
	    "service.version", "0.149.0", "service.instance.id", "its own", "team", "a"};
	static const char *const newer[] = {
	    "service.name", "io.opentelemetry.collector", "service.version", "0.150.0"};
	static const char *const others[] = {"os.description", "Ubuntu", "host.name", "agent-says",
	    "os.type", "linux", "os.type", "linux"};
	struct fixture f = {0};
	size_t len, packed_len[2];
	struct error err;
	Description *d;
	char *blob, *packed[2];

	(void)state;
	init(&f, 0, "team\0b", 6);
	describe_os_release(&f.d, "PRETTY_NAME=Host\n");
	blob = blob_of(&len, ids, 4, others, 4);
	d = describe(&f, blob, len);
	assert_string_equal(ID(d, "service.name"), "io.opentelemetry.collector");
	assert_string_equal(ID(d, "service.version"), "0.149.0");
	assert_string_equal(ID(d, "service.instance.id"), "018f0000-0000-7000-8000-0000000000ff");
	assert_string_equal(ID(d, "team"), "b");
	assert_string_equal(OTHER(d, "os.description"), "Ubuntu");
	assert_string_equal(OTHER(d, "host.name"), "web-1");
	wire_free(&d->base);
	assert_int_equal(describe_pack(&f.d, blob, len, uid, &packed[0], &packed_len[0], &err), 0);
	free(blob);
	blob = blob_of(&len, newer, 2, NULL, 0);
	assert_int_equal(describe_pack(&f.d, blob, len, uid, &packed[1], &packed_len[1], &err), 0);
	assert_true(
	    packed_len[0] != packed_len[1] || memcmp(packed[0], packed[1], packed_len[0]) != 0);
	free(blob);
	free(packed[0]);
	free(packed[1]);
	clear(&f);
}

static void
test_the_uid_is_ours_whatever_the_settings_say(void **state)
{
	struct fixture f = {0};
	Description *d;

	(void)state;
	init(&f, 0, "service.instance.id\0theirs", 26);
	d = describe(&f, "", 0);
	assert_string_equal(ID(d, "service.instance.id"), "018f0000-0000-7000-8000-0000000000ff");
	assert_null(ID(d, "service.name")); /* a Collector says it itself */
	wire_free(&d->base);
	clear(&f);
}

static void
test_the_order_does_not_matter(void **state)
{
	static const char *const one[] = {"a", "1", "b", "2", "c", "3"};
	static const char *const two[] = {"c", "3", "b", "0", "a", "1", "b", "2"};
	struct fixture f = {0};
	size_t len, packed_len[2];
	struct error err;
	char *blob, *packed[2];

	(void)state;
	init(&f, 0, NULL, 0);
	blob = blob_of(&len, one, 3, one, 3);
	assert_int_equal(describe_pack(&f.d, blob, len, uid, &packed[0], &packed_len[0], &err), 0);
	free(blob);
	blob = blob_of(&len, two, 4, two, 4);
	assert_int_equal(describe_pack(&f.d, blob, len, uid, &packed[1], &packed_len[1], &err), 0);
	free(blob);
	assert_int_equal(packed_len[0], packed_len[1]);
	assert_memory_equal(packed[0], packed[1], packed_len[0]);
	free(packed[0]);
	free(packed[1]);
	clear(&f);
}

static void
test_files_that_say_nothing_useful(void **state)
{
	static const char *const os[] = {"", "\n\n", "PRETTY_NAME=", "PRETTY_NAME=\"\"",
	    "PRETTY_NAME=\"\xff\"", "XPRETTY_NAME=x", "PRETTY_NAME"};
	static const char *const ids[] = {"", "uninitialized\n", "0123",
	    "0123456789ABCDEF0123456789abcdef", "0123456789abcdef0123456789abcdef0\n"};
	struct fixture f = {0};
	size_t i;

	(void)state;
	init(&f, 0, NULL, 0);
	for (i = 0; i < sizeof(os) / sizeof(os[0]); i++)
		describe_os_release(&f.d, os[i]);
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		describe_machine_id(&f.d, ids[i]);
	assert_null(f.d.os_description);
	assert_null(f.d.host_id);
	describe_os_release(&f.d, "PRETTY_NAME='a \\b'");
	assert_string_equal(f.d.os_description, "a \\b");
	clear(&f);
}

static void
test_a_description_that_is_none(void **state)
{
	struct fixture f = {0};
	struct error err;
	size_t len;
	char *packed;

	(void)state;
	init(&f, 0, NULL, 0);
	assert_int_equal(describe_pack(&f.d, "\x0a\xff", 2, uid, &packed, &len, &err), -1);
	assert_non_null(strstr(err.text, "the agent's description"));
	clear(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_DE_01_DE_02_generic_agent),
	    cmocka_unit_test(test_DE_03_DE_04_what_the_agent_says),
	    cmocka_unit_test(test_the_uid_is_ours_whatever_the_settings_say),
	    cmocka_unit_test(test_the_order_does_not_matter),
	    cmocka_unit_test(test_files_that_say_nothing_useful),
	    cmocka_unit_test(test_a_description_that_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
