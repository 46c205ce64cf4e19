/*
 * wire_test.c: the look at the wire: what protobuf-c would take, and must not see.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"
#include "privsep/limits.h"

#define TO_SERVER &opamp__proto__v1__agent_to_server__descriptor
#define ANY       &opamp__proto__v1__any_value__descriptor

static void
refused(const ProtobufCMessageDescriptor *d, const void *data, size_t len, const char *want)
{
	struct error err = {""};
	uint8_t *exact = malloc(len == 0 ? 1 : len);

	memcpy(exact, data, len);
	assert_null(wire_unpack(d, exact, len, &err));
	free(exact);
	if (strstr(err.text, want) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", want, err.text);
}

static void
test_FR_03_headers(void **state)
{
	static const uint8_t zero[] = {0}, longer[] = {0x80, 0x00}, one[] = {1, 0x08},
			     ten[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00,
				 0x42},
			     eleven[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
				 0x00},
			     cut[] = {0x80};
	const uint8_t *body;
	size_t len;

	(void)state;
	assert_int_equal(wire_frame(zero, 1, &body, &len, NULL), 0);
	assert_int_equal(len, 0);
	assert_int_equal(wire_frame(longer, 2, &body, &len, NULL), 0);
	assert_int_equal(len, 0);
	assert_int_equal(wire_frame(ten, 11, &body, &len, NULL), 0);
	assert_int_equal(len, 1);
	assert_int_equal(body[0], 0x42);
	assert_int_equal(wire_frame(one, 2, &body, &len, NULL), -1);
	assert_int_equal(wire_frame(eleven, 11, &body, &len, NULL), -1);
	assert_int_equal(wire_frame(cut, 1, &body, &len, NULL), -1);
	assert_int_equal(wire_frame(cut, 0, &body, &len, NULL), -1);
}

static void
test_FR_04_an_empty_message_is_one(void **state)
{
	ProtobufCMessage *m = wire_unpack(TO_SERVER, (const uint8_t *)"", 0, NULL);

	(void)state;
	assert_non_null(m);
	wire_free(m);
}

static void
test_CP_07_unknown_fields_are_dropped(void **state)
{
	/* field 99: varint 1; field 100: bytes "abc"; sequence_num 5 */
	static const uint8_t in[] = {0x98, 0x06, 0x01, 0xa2, 0x06, 3, 'a', 'b', 'c', 0x10, 5};
	Opamp__Proto__V1__AgentToServer *m =
	    (Opamp__Proto__V1__AgentToServer *)(void *)wire_unpack(TO_SERVER, in, sizeof(in), NULL);
	uint8_t out[16];

	(void)state;
	assert_non_null(m);
	assert_int_equal(m->sequence_num, 5);
	assert_int_equal(opamp__proto__v1__agent_to_server__pack(m, out), 2);
	wire_free(&m->base);
}

/* One large field stays where it is; all else is as if the message were unpacked whole. */
static void
test_a_large_field_stays_where_it_is(void **state)
{
	static uint8_t body[70000], in[200000], twice[400000];
	Opamp__Proto__V1__AgentConfigFile file = OPAMP__PROTO__V1__AGENT_CONFIG_FILE__INIT;
	Opamp__Proto__V1__AgentConfigMap__ConfigMapEntry
	    entry = OPAMP__PROTO__V1__AGENT_CONFIG_MAP__CONFIG_MAP_ENTRY__INIT,
	    *entries[1] = {&entry};
	Opamp__Proto__V1__AgentConfigMap map = OPAMP__PROTO__V1__AGENT_CONFIG_MAP__INIT;
	Opamp__Proto__V1__EffectiveConfig e = OPAMP__PROTO__V1__EFFECTIVE_CONFIG__INIT;
	Opamp__Proto__V1__AgentToServer m = OPAMP__PROTO__V1__AGENT_TO_SERVER__INIT, *out;
	struct wire_part part;
	struct error err;
	size_t len;

	(void)state;
	file.body.data = body;
	file.body.len = sizeof(body);
	entry.value = &file;
	map.config_map = entries;
	map.n_config_map = 1;
	e.config_map = &map;
	m.effective_config = &e;
	m.sequence_num = 7;
	m.flags = 1;
	len = opamp__proto__v1__agent_to_server__pack(&m, in);
	out = (Opamp__Proto__V1__AgentToServer *)(void *)wire_unpack_beside(
	    TO_SERVER, in, len, 6, &part, &err);
	assert_non_null(out);
	assert_int_equal(out->sequence_num, 7);
	assert_int_equal(out->flags, 1);
	assert_null(out->effective_config);
	assert_int_equal(part.len, opamp__proto__v1__effective_config__get_packed_size(&e));
	assert_int_equal(wire_scan_known(&opamp__proto__v1__effective_config__descriptor, part.data,
			     part.len, &err),
	    1);
	wire_free(&out->base);
	/* twice: protobuf merges them */
	memcpy(twice, in, len);
	memcpy(twice + len, in, len);
	out = (Opamp__Proto__V1__AgentToServer *)(void *)wire_unpack_beside(
	    TO_SERVER, twice, 2 * len, 6, &part, &err);
	assert_non_null(out);
	assert_null(part.data);
	assert_int_equal(out->effective_config->config_map->n_config_map, 2);
	wire_free(&out->base);
	/* small */
	file.body.len = 10;
	len = opamp__proto__v1__agent_to_server__pack(&m, in);
	out = (Opamp__Proto__V1__AgentToServer *)(void *)wire_unpack_beside(
	    TO_SERVER, in, len, 6, &part, &err);
	assert_non_null(out);
	assert_null(part.data);
	assert_int_equal(out->effective_config->config_map->config_map[0]->value->body.len, 10);
	wire_free(&out->base);
	/* what nobody knows, inside */
	assert_int_equal(wire_scan_known(TO_SERVER, (const uint8_t *)"\x98\x06\x01", 3, &err), 0);
	assert_int_equal(wire_scan_known(TO_SERVER, (const uint8_t *)"\x98", 1, &err), -1);
}

static void
test_SE_05_malformed(void **state)
{
	static const uint8_t group[] = {0x0b, 0x0c}, cut[] = {0x0a, 5, 'a'},
			     type[] = {0x12, 1, 'a'}, zero[] = {0x00, 1},
			     varint[] = {0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
				 0x80, 0x01},
			     huge[] = {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
	/* health.last_error */
	static const uint8_t nul[] = {0x2a, 4, 0x1a, 2, 'a', 0},
			     bad[] = {0x2a, 4, 0x1a, 2, 0xc0, 0xaf};

	(void)state;
	refused(TO_SERVER, group, sizeof(group), "another type");
	refused(TO_SERVER, cut, sizeof(cut), "instance_uid: a length reaches past the end");
	refused(TO_SERVER, type, sizeof(type), "sequence_num: a value of another type");
	refused(TO_SERVER, zero, sizeof(zero), "broken field number");
	refused(TO_SERVER, varint, sizeof(varint), "cut or too long");
	refused(TO_SERVER, huge, sizeof(huge), "past the end");
	refused(TO_SERVER, nul, sizeof(nul),
	    "health.last_error: a text that is not UTF-8, or has a NUL");
	refused(TO_SERVER, bad, sizeof(bad), "health.last_error");
}

/* AnyValue{array_value{values[AnyValue ...]}} nested `levels` deep, built from the inside out. */
static uint8_t *
nested(size_t levels, size_t *len)
{
	size_t size = levels * 16 + 16, at = size, n, i, k;
	uint8_t *buf = malloc(size), header[11];

	for (i = 0; i < levels; i++) {
		n = size - at;
		k = 0;
		header[k++] = i % 2 == 0 ? 0x0a : 0x2a; /* values, array_value */
		for (; n >= 0x80; n >>= 7)
			header[k++] = (uint8_t)(n | 0x80);
		header[k++] = (uint8_t)n;
		at -= k;
		memcpy(buf + at, header, k);
	}
	*len = size - at;
	memmove(buf, buf + at, *len);
	return buf;
}

static void
test_I11_depth(void **state)
{
	uint8_t *data;
	size_t len;
	ProtobufCMessage *m;

	(void)state;
	data = nested(62, &len);
	m = wire_unpack(ANY, data, len, NULL);
	assert_non_null(m);
	wire_free(m);
	free(data);
	data = nested(100000, &len);
	refused(ANY, data, len, "nested more than 64 deep");
	free(data);
}

static void
test_I11_counts_and_memory(void **state)
{
	size_t n = 200000, i;
	uint8_t *data = malloc(2 * n);

	(void)state;
	for (i = 0; i < n; i++) { /* identifying attributes without content */
		data[2 * i] = 0x0a;
		data[2 * i + 1] = 0;
	}
	refused(&opamp__proto__v1__agent_description__descriptor, data, 2 * n,
	    "more than 100,000 elements");
	/* fewer, but each costs far more than its two bytes */
	refused(
	    &opamp__proto__v1__agent_description__descriptor, data, 190000, "needs more memory");
	/* a million repeats of one sub-message */
	for (i = 0; i < n; i++)
		data[2 * i] = 0x2a;
	refused(TO_SERVER, data, 2 * n, "more than 100,000 elements");
	free(data);
}

static void
test_utf8(void **state)
{
	(void)state;
	assert_true(wire_utf8((const uint8_t *)"aä€\U0001F600", 10));
	assert_false(wire_utf8((const uint8_t *)"\xed\xa0\x80", 3));
	assert_false(wire_utf8((const uint8_t *)"\xf4\x90\x80\x80", 4));
	assert_false(wire_utf8((const uint8_t *)"\xe0\x80\x80", 3));
	assert_false(wire_utf8((const uint8_t *)"\xe2\x82", 2));
	assert_false(wire_utf8((const uint8_t *)"a\0b", 3));
	assert_true(wire_utf8((const uint8_t *)"", 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_FR_03_headers),
	    cmocka_unit_test(test_FR_04_an_empty_message_is_one),
	    cmocka_unit_test(test_CP_07_unknown_fields_are_dropped),
	    cmocka_unit_test(test_a_large_field_stays_where_it_is),
	    cmocka_unit_test(test_SE_05_malformed),
	    cmocka_unit_test(test_I11_depth),
	    cmocka_unit_test(test_I11_counts_and_memory),
	    cmocka_unit_test(test_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
