/*
 * hub_parts_test.c: small parts of the hub: uids, selectors, gzip, tokens, files of a configuration,
 * YAML looked at, messages as JSON, frames.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "hub/config_files.h"
#include "hub/json_text.h"
#include "hub/frames.h"
#include "hub/gzip.h"
#include "hub/hub.h"
#include "hub/pb_json.h"
#include "hub/selector.h"
#include "hub/setup.h"
#include "hub/yaml_problems.h"
#include "opamp/v1/opamp.pb-c.h"

static void
test_uids_as_text(void **state)
{
	uint8_t uid[16], back[16];
	char text[UID_TEXT];
	int i;

	(void)state;
	for (i = 0; i < 16; i++)
		uid[i] = (uint8_t)(i * 17);
	uid_text(text, uid);
	assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
	assert_int_equal(uid_read(back, text, strlen(text)), 0);
	assert_memory_equal(back, uid, 16);
	assert_int_equal(uid_read(back, "00112233-4455-6677-8899-AABBCCDDEEFF", 36), 0);
	assert_int_equal(uid_read(back, text, 35), -1);
	assert_int_equal(uid_read(back, "00112233x4455-6677-8899-aabbccddeeff", 36), -1);
	assert_int_equal(uid_read(back, "0011223g-4455-6677-8899-aabbccddeeff", 36), -1);
}

static struct bytes
bytes_of(const char *s)
{
	return (struct bytes){s, strlen(s)};
}

static void
test_selectors(void **state)
{
	static const char *const bad[] = {"a", "=b", "a=b,", "a=b,c", ","};
	struct bytes list[] = {bytes_of("os=linux"), bytes_of("x=a=b"), bytes_of("e=")};
	struct selector s;
	struct error err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(selector_read(&s, bytes_of(bad[i]), &err), -1);
	assert_int_equal(selector_read(&s, bytes_of(""), &err), 0);
	assert_true(selector_fits(&s, list, 3));
	assert_int_equal(selector_read(&s, bytes_of("os=linux,x=a=b,e="), &err), 0);
	assert_true(selector_fits(&s, list, 3));
	assert_false(selector_fits(&s, list, 2));
	assert_int_equal(selector_read(&s, bytes_of("os=linux,os=other"), &err), 0);
	assert_false(selector_fits(&s, list, 3));
}

static void
test_SZ_05_gzip_is_bounded(void **state)
{
	char *zeros = calloc(1, 1 << 20), *packed, *back;
	size_t packed_len, len;

	(void)state;
	assert_int_equal(gzip_deflate(zeros, 1 << 20, &packed, &packed_len), 0);
	assert_true(packed_len < 8192);
	assert_int_equal(gzip_inflate(packed, packed_len, 1 << 20, &back, &len), 0);
	assert_int_equal(len, 1 << 20);
	assert_memory_equal(back, zeros, len);
	free(back);
	assert_int_equal(gzip_inflate(packed, packed_len, (1 << 20) - 1, &back, &len), 1);
	assert_null(back);
	assert_int_equal(gzip_inflate(packed, packed_len - 1, 1 << 20, &back, &len), -1);
	assert_int_equal(gzip_inflate("not gzip", 8, 100, &back, &len), -1);
	assert_int_equal(gzip_inflate("", 0, 100, &back, &len), -1);
	free(packed);
	free(zeros);
}

static void
test_CC_07_tokens_by_their_names(void **state)
{
	struct record_writer w = {0};
	struct setup s = {0};
	const char *name;
	struct error err;
	size_t len;

	(void)state;
	assert_int_equal(record_finish(&w, &s.data, &len, &err), 0);
	assert_int_equal(record_open(&s.record, s.data, len, &err), 0);
	assert_false(setup_has_tokens(&s));
	free(s.data);
	record_put_string(&w, SETUP_TOKEN, "laptop 0123456789abcdef");
	record_put_string(&w, SETUP_TOKEN, "fleet fedcba9876543210");
	assert_int_equal(record_finish(&w, &s.data, &len, &err), 0);
	assert_int_equal(record_open(&s.record, s.data, len, &err), 0);
	assert_true(setup_has_tokens(&s));
	assert_int_equal(setup_token(&s, "fedcba9876543210", &name, &len), 0);
	assert_int_equal(len, 5);
	assert_memory_equal(name, "fleet", 5);
	assert_int_equal(setup_token(&s, "fedcba9876543211", &name, &len), -1);
	assert_int_equal(setup_token(&s, "fedcba98765432100", &name, &len), -1);
	assert_int_equal(setup_token(&s, "fedcba98765432", &name, &len), -1);
	assert_int_equal(setup_token(&s, "", &name, &len), -1);
	assert_int_equal(setup_token(&s, NULL, &name, &len), -1);
	assert_string_equal(setup_bearer("bearer  x"), "x");
	assert_null(setup_bearer("Basic x"));
	assert_null(setup_bearer(NULL));
	free(s.data);
}

static void
test_files_of_a_configuration(void **state)
{
	json_t *a = json_pack("{s:{s:s, s:s}, s:{s:s}}", "a", "body", "1", "content_type",
	    "text/yaml", "b", "body", "2");
	json_t *b = json_pack("{s:{s:s}, s:{s:s, s:s}}", "b", "body", "2", "a", "body", "1",
	    "content_type", "text/yaml");
	json_t *c = json_pack("{s:{s:s, s:s}, s:{s:s}}", "a", "body", "1t", "content_type",
	    "ext/yaml", "b", "body", "2");
	json_t *bad = json_pack("{s:{s:i}}", "a", "body", 1);
	uint8_t x[32], y[32], z[32];
	struct error err;

	(void)state;
	config_files_hash(a, x);
	config_files_hash(b, y);
	config_files_hash(c, z);
	assert_memory_equal(x, y, 32); /* the order of names is nothing */
	assert_memory_not_equal(x, z, 32);
	assert_int_equal(config_files_check(a, &err), 0);
	assert_int_equal(config_files_check(bad, &err), -1);
	assert_int_equal(config_files_check(NULL, &err), -1);
	json_decref(a);
	json_decref(b);
	json_decref(c);
	json_decref(bad);
}

static void
test_YAML_is_looked_at(void **state)
{
	static const struct {
		const char *text;
		int line, column;
		const char *what;
	} all[] = {
	    {"a: 1\nb: 2\n", 0, 0, ""},
	    {"", 0, 0, ""},
	    {"a: 1\nb: [1, 2\nc: 3\n", 3, 2, "flow"},
	    {"a: 1\na: 2\n", 2, 1, "twice"},
	    {"a: &x 1\nb: *x\n", 2, 4, "alias"},
	    {"a: 1\n--- \nb: 2\n", 2, 1, "second document"},
	    {"a: {b: 1, b: 2}\n", 1, 11, "twice"},
	    {"x:\n  - a: 1\n  - a: 1\n", 0, 0, ""},
	    {"a: \"\\q\"\n", 1, 5, "escape"},
	};
	char deep[300];
	json_t *problems, *p;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		problems = json_array();
		yaml_problems(problems, "f", all[i].text, strlen(all[i].text));
		p = json_array_get(problems, 0);
		assert_int_equal(json_integer_value(json_object_get(p, "line")), all[i].line);
		assert_int_equal(json_integer_value(json_object_get(p, "column")), all[i].column);
		if (all[i].line > 0)
			assert_non_null(
			    strstr(json_string_value(json_object_get(p, "what")), all[i].what));
		json_decref(problems);
	}
	memset(deep, '[', sizeof(deep));
	problems = json_array();
	yaml_problems(problems, "f", deep, sizeof(deep));
	assert_int_equal(json_array_size(problems), 1);
	json_decref(problems);
}

static void
test_messages_as_JSON(void **state)
{
	Opamp__Proto__V1__ComponentHealth h = OPAMP__PROTO__V1__COMPONENT_HEALTH__INIT,
					  child = OPAMP__PROTO__V1__COMPONENT_HEALTH__INIT;
	Opamp__Proto__V1__ComponentHealth__ComponentHealthMapEntry entry =
	    OPAMP__PROTO__V1__COMPONENT_HEALTH__COMPONENT_HEALTH_MAP_ENTRY__INIT;
	Opamp__Proto__V1__ComponentHealth__ComponentHealthMapEntry *list[] = {&entry};
	Opamp__Proto__V1__KeyValue kv = OPAMP__PROTO__V1__KEY_VALUE__INIT;
	Opamp__Proto__V1__AnyValue value = OPAMP__PROTO__V1__ANY_VALUE__INIT;
	Opamp__Proto__V1__KeyValue *attributes[] = {&kv};
	json_t *j;
	char *text;

	(void)state;
	h.healthy = 1;
	h.start_time_unix_nano = 7;
	entry.key = (char *)"a\"b";
	entry.value = &child;
	child.last_error = (char *)"x";
	h.n_component_health_map = 1;
	h.component_health_map = list;
	kv.key = (char *)"k";
	kv.value = &value;
	value.value_case = OPAMP__PROTO__V1__ANY_VALUE__VALUE_BYTES_VALUE;
	value.bytes_value.len = 2;
	value.bytes_value.data = (uint8_t *)"\x01\xff";
	h.n_attributes = 1;
	h.attributes = attributes;
	j = pb_json(&h.base);
	text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text,
	    "{\"attributes\":{\"k\":\"01ff\"},\"component_health_map\":{\"a\\\"b\":{\"last_error\":"
	    "\"x\"}},\"healthy\":true,\"start_time_unix_nano\":7}");
	free(text);
	json_decref(j);
}

/* Whatever characters there are: what jansson reads of it is what was given. */
static void
test_json_as_text(void **state)
{
	struct json_text t = {0};
	char all[256];
	json_t *j;
	size_t i;

	(void)state;
	for (i = 1; i < 128; i++)
		all[i - 1] = (char)i;
	memcpy(all + 127, "\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80\"\"\"\"", 14);
	json_text_raw(&t, "[");
	json_text_string(&t, all, 140);
	json_text_raw(&t, ",");
	json_text_string(&t, "", 0);
	json_text_raw(&t, ",");
	json_text_hex(&t, "\0\xff\x10", 3);
	json_text_raw(&t, ",");
	json_text_hex(&t, "", 0);
	json_text_raw(&t, "]");
	assert_false(t.failed);
	j = json_loadb(t.data, t.len, 0, NULL);
	assert_non_null(j);
	assert_int_equal(json_string_length(json_array_get(j, 0)), 140);
	assert_memory_equal(json_string_value(json_array_get(j, 0)), all, 140);
	assert_string_equal(json_string_value(json_array_get(j, 1)), "");
	assert_string_equal(json_string_value(json_array_get(j, 2)), "00ff10");
	assert_string_equal(json_string_value(json_array_get(j, 3)), "");
	json_decref(j);
	free(t.data);
}

struct heard {
	int count, turns;
	uint32_t type, conn;
	char gone[256];
	struct event_base *base;
};

static int
on_frame(void *ctx, const struct frame_header *h, const struct record *r, struct error *err)
{
	struct heard *x = ctx;

	(void)r;
	x->count++;
	x->type = h->type;
	x->conn = h->conn;
	return h->conn == 99 ? error_set(err, "not this one") : 0;
}

static void
on_turn(void *ctx)
{
	((struct heard *)ctx)->turns++;
}

static void
on_gone(void *ctx, const char *why)
{
	struct heard *x = ctx;

	(void)strncpy(x->gone, why, sizeof(x->gone) - 1);
}

static const struct frames_callbacks callbacks = {on_frame, on_turn, NULL, on_gone};

/* What a store says to raw bytes of its peer. */
static void
store_hears(const void *data, size_t len, struct heard *x)
{
	struct frames *f;
	int pair[2];

	memset(x, 0, sizeof(*x));
	x->base = event_base_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	f = frames_new(x->base, pair[1], 1, &callbacks, x);
	assert_non_null(f);
	assert_int_equal(write(pair[0], data, len), (ssize_t)len);
	close(pair[0]);
	while (x->gone[0] == '\0')
		assert_int_not_equal(event_base_loop(x->base, EVLOOP_ONCE), -1);
	frames_free(f);
	event_base_free(x->base);
}

static void
test_frames_that_are_not_in_the_table_end_the_conversation(void **state)
{
	struct frame_header h = {8, FRAME_GONE, 5, 0};
	uint32_t record[2] = {RECORD_MAGIC, 0};
	struct heard x;
	char data[64];

	(void)state;
	memcpy(data, &h, sizeof(h));
	memcpy(data + sizeof(h), record, sizeof(record));
	store_hears(data, sizeof(h) + sizeof(record), &x);
	assert_int_equal(x.count, 1);
	assert_int_equal(x.turns, 1);
	assert_string_equal(x.gone, "it has ended");
	h.type = FRAME_VERDICT; /* the other way only */
	memcpy(data, &h, sizeof(h));
	store_hears(data, sizeof(h) + sizeof(record), &x);
	assert_int_equal(x.count, 0);
	assert_non_null(strstr(x.gone, "not in the table"));
	h = (struct frame_header){LIMIT_HUB_BATCH + 1, FRAME_ALIVE, 0, 0};
	store_hears(&h, sizeof(h), &x);
	assert_non_null(strstr(x.gone, "longer"));
	h = (struct frame_header){8, FRAME_GONE, 99, 0};
	memcpy(data, &h, sizeof(h));
	store_hears(data, sizeof(h) + sizeof(record), &x);
	assert_non_null(strstr(x.gone, "not this one"));
	h.conn = 1;
	record[1] = 1; /* one entry is promised */
	memcpy(data, &h, sizeof(h));
	memcpy(data + sizeof(h), record, sizeof(record));
	store_hears(data, sizeof(h) + sizeof(record), &x);
	assert_int_equal(x.count, 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_uids_as_text),
	    cmocka_unit_test(test_selectors),
	    cmocka_unit_test(test_SZ_05_gzip_is_bounded),
	    cmocka_unit_test(test_CC_07_tokens_by_their_names),
	    cmocka_unit_test(test_files_of_a_configuration),
	    cmocka_unit_test(test_YAML_is_looked_at),
	    cmocka_unit_test(test_messages_as_JSON),
	    cmocka_unit_test(test_json_as_text),
	    cmocka_unit_test(test_frames_that_are_not_in_the_table_end_the_conversation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
