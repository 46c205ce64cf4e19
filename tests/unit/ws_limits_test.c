/*
 * ws_limits_test.c: what a peer would have wire/ws.c keep in memory, and what it keeps.
 */
#include "ws_talk.h"

#include <malloc.h>

static void
test_SZ_01_the_number_of_fragments(void **state)
{
	struct evbuffer *b = evbuffer_new();
	struct talk t;
	size_t before;
	enum ws_role role;
	int i;

	(void)state;
	for (role = WS_CLIENT; role <= WS_SERVER; role++) {
		talk_begin(&t, role, LIMIT_OPAMP_MESSAGE);
		before = mallinfo2().uordblks;
		add_frame(b, role, 0x02, "a", 1);
		for (i = 2; i < (int)LIMIT_WS_FRAGMENTS; i++)
			add_frame(b, role, 0x00, "a", 1);
		assert_int_equal(feed(&t, b, 5), WS_OPEN);
		assert_true(mallinfo2().uordblks < before + 64 * KIB);
		add_frame(b, role, 0x80, "a", 1);
		assert_int_equal(feed(&t, b, 5), WS_OPEN);
		assert_int_equal(t.count, 1);
		assert_int_equal(evbuffer_get_length(t.messages), LIMIT_WS_FRAGMENTS);

		add_frame(b, role, 0x02, "a", 1); /* counted from the start again */
		for (i = 1; i < (int)LIMIT_WS_FRAGMENTS; i++)
			add_frame(b, role, 0x00, "", 0);
		assert_int_equal(feed(&t, b, 1000), WS_OPEN);
		add_frame(b, role, 0x80, "", 0);
		assert_int_equal(feed(&t, b, 1000), WS_BROKEN);
		assert_int_equal(sent_close(&t), 1009);
		talk_end(&t);
	}
	evbuffer_free(b);
}

/* A Collector reports a configuration of 10 MiB in pieces of its buffer's size. */
static void
test_SZ_01_large_fragments_may_be_many(void **state)
{
	struct evbuffer *b = evbuffer_new();
	static uint8_t piece[4 * KIB];
	struct talk t;
	enum ws_role role;
	int i, n = 10 * MIB / sizeof(piece);

	(void)state;
	for (role = WS_CLIENT; role <= WS_SERVER; role++) {
		talk_begin(&t, role, LIMIT_OPAMP_MESSAGE);
		for (i = 0; i < n; i++)
			add_frame(b, role,
			    i == 0       ? 0x02
			    : i == n - 1 ? 0x80
					 : 0x00,
			    piece, sizeof(piece));
		assert_int_equal(feed(&t, b, 64 * KIB), WS_OPEN);
		assert_int_equal(t.count, 1);
		assert_int_equal(evbuffer_get_length(t.messages), 10 * MIB);
		evbuffer_drain(t.messages, 10 * MIB);

		/* on average: small ones later count as well */
		add_frame(b, role, 0x02, piece, LIMIT_WS_FRAGMENT);
		for (i = 1; i < (int)LIMIT_WS_FRAGMENTS; i++)
			add_frame(b, role, 0x00, piece, LIMIT_WS_FRAGMENT);
		add_frame(b, role, 0x00, piece, 1);
		assert_int_equal(feed(&t, b, 64 * KIB), WS_OPEN);
		add_frame(b, role, 0x00, piece, 1);
		assert_int_equal(feed(&t, b, 64 * KIB), WS_BROKEN);
		assert_int_equal(sent_close(&t), 1009);
		talk_end(&t);
	}
	evbuffer_free(b);
}

static void
test_SZ_02_announced_bytes_take_no_memory(void **state)
{
	struct evbuffer *b = evbuffer_new();
	static uint8_t some[100000];
	struct talk t;
	struct mallinfo2 before, now;

	(void)state;
	talk_begin(&t, WS_CLIENT, LIMIT_OPAMP_MESSAGE);
	before = mallinfo2();
	add_header(b, WS_CLIENT, 0x82, LIMIT_OPAMP_MESSAGE, 0);
	evbuffer_add(b, some, 10);
	assert_int_equal(feed(&t, b, 4096), WS_OPEN);
	now = mallinfo2();
	assert_true(now.uordblks + now.hblkhd <= before.uordblks + before.hblkhd + 64 * KIB);
	evbuffer_add(b, some, sizeof(some));
	assert_int_equal(feed(&t, b, 4096), WS_OPEN);
	now = mallinfo2();
	assert_true(now.uordblks + now.hblkhd <= before.uordblks + before.hblkhd + 512 * KIB);
	evbuffer_free(b);
	talk_end(&t);
}

/* Pings whose pongs nobody reads: a bound on what is kept, no input taken, and it goes on later. */
static void
test_FR_06_a_flood_of_pings(void **state)
{
	static const size_t bound = LIMIT_WS_QUEUED * (125 + 6);
	static uint8_t payload[125];
	size_t i, sent = 400000, answered = 0, before;
	struct frame f;
	struct talk t;
	enum ws_role role;

	(void)state;
	for (role = WS_CLIENT; role <= WS_SERVER; role++) {
		talk_begin(&t, role, MAX_MESSAGE);
		before = mallinfo2().uordblks;
		for (i = 0; i < sent; i++) {
			if (!ws_stalled(t.w))
				add_frame(t.in, role, 0x89, payload, sizeof(payload));
			assert_int_equal(ws_input(t.w, t.in, NULL), WS_OPEN);
			assert_true(evbuffer_get_length(t.out) <= bound);
		}
		assert_true(ws_stalled(t.w));
		assert_int_equal(ws_ping(t.w), -1);
		assert_true(mallinfo2().uordblks < before + 64 * KIB);

		/* 1,000 at once: they are all answered, as room comes */
		for (i = 0; i < 1000; i++)
			add_frame(t.in, role, 0x89, payload, sizeof(payload));
		for (i = 0; sent_frame(&t, &f); i++) {
			assert_int_equal(f.first, 0x8a);
			answered++;
			ws_output(t.w);
			if (i % 7 == 0)
				ws_input(t.w, t.in, NULL);
			assert_true(evbuffer_get_length(t.out) <= bound);
		}
		assert_int_equal(answered, LIMIT_WS_QUEUED + 1000);
		assert_false(ws_stalled(t.w));
		assert_int_equal(evbuffer_get_length(t.in), 0);
		answered = 0;
		talk_end(&t);
	}
}

/* The same with answers: a peer that asks and asks, and reads nothing. */
static void
test_FR_06_a_flood_of_messages_that_are_answered(void **state)
{
	static uint8_t payload[1000];
	struct talk t;
	size_t i;

	(void)state;
	talk_begin(&t, WS_SERVER, MAX_MESSAGE);
	t.echo = 1;
	for (i = 0; i < 1000; i++)
		add_frame(t.in, WS_SERVER, 0x82, payload, sizeof(payload));
	assert_int_equal(ws_input(t.w, t.in, NULL), WS_OPEN);
	assert_true(ws_stalled(t.w));
	assert_int_equal(t.count, LIMIT_WS_QUEUED);
	evbuffer_drain(t.out, LIMIT_WS_QUEUED / 2 * (sizeof(payload) + 4) - 1);
	ws_output(t.w);
	assert_true(ws_stalled(t.w));
	evbuffer_drain(t.out, 1);
	ws_output(t.w);
	assert_false(ws_stalled(t.w));
	assert_int_equal(ws_input(t.w, t.in, NULL), WS_OPEN);
	assert_int_equal(t.count, LIMIT_WS_QUEUED + LIMIT_WS_QUEUED / 2);
	ws_close(t.w, 1000, NULL); /* then nothing is answered any more, and input is taken */
	assert_false(ws_stalled(t.w));
	assert_int_equal(ws_input(t.w, t.in, NULL), WS_CLOSING);
	assert_int_equal(evbuffer_get_length(t.in), 0);
	talk_end(&t);
}

/* Client and server over each other, of every size around the length forms, in two parts. */
static void
test_FR_06_SZ_01_both_roles_together(void **state)
{
	static const size_t sizes[] = {
	    0, 1, 2, 125, 126, 127, 65535, 65536, 65537, 300000, 3 * MIB, LIMIT_OPAMP_MESSAGE};
	uint8_t *data = malloc(LIMIT_OPAMP_MESSAGE);
	struct talk client, server;
	size_t i, k, cut;

	(void)state;
	for (i = 0; i < LIMIT_OPAMP_MESSAGE; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	talk_begin(&client, WS_CLIENT, LIMIT_OPAMP_MESSAGE);
	talk_begin(&server, WS_SERVER, LIMIT_OPAMP_MESSAGE);
	server.echo = 1;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (k = 0; k < 3; k++) {
			cut = k == 0 ? 0 : k == 1 ? sizes[i] : sizes[i] / 3;
			assert_int_equal(
			    ws_send(client.w, data, cut, data + cut, sizes[i] - cut), 0);
			assert_int_equal(ws_input(server.w, client.out, NULL), WS_OPEN);
			assert_int_equal(ws_input(client.w, server.out, NULL), WS_OPEN);
			assert_int_equal(evbuffer_get_length(client.messages), sizes[i]);
			if (sizes[i] > 0)
				assert_memory_equal(
				    evbuffer_pullup(client.messages, -1), data, sizes[i]);
			evbuffer_drain(client.messages, sizes[i]);
			evbuffer_drain(server.messages, sizes[i]);
		}
	assert_int_equal(client.count, 36);
	ws_close(client.w, 1000, "done");
	assert_int_equal(ws_input(server.w, client.out, &server.err), WS_CLOSED);
	assert_int_equal(ws_input(client.w, server.out, NULL), WS_CLOSED);
	assert_non_null(strstr(server.err.text, "done"));
	talk_end(&client);
	talk_end(&server);
	free(data);
}

static void
test_SZ_01_output_has_an_end(void **state)
{
	struct talk t;
	uint8_t *data = calloc(1, LIMIT_WS_OUTPUT + 1);
	size_t before;

	(void)state;
	talk_begin(&t, WS_SERVER, MAX_MESSAGE);
	assert_int_equal(ws_send(t.w, NULL, 0, data, LIMIT_WS_OUTPUT + 1), -1);
	assert_int_equal(ws_send(t.w, data, SIZE_MAX, data, SIZE_MAX), -1);
	assert_int_equal(ws_send(t.w, data, 1, data, LIMIT_WS_OUTPUT), -1);
	assert_int_equal(evbuffer_get_length(t.out), 0);
	assert_int_equal(ws_send(t.w, NULL, 0, data, LIMIT_WS_OUTPUT / 2), 0);
	before = evbuffer_get_length(t.out);
	assert_int_equal(ws_send(t.w, NULL, 0, data, LIMIT_WS_OUTPUT / 2), -1);
	assert_int_equal(evbuffer_get_length(t.out), before);
	assert_int_equal(ws_state(t.w), WS_OPEN);
	talk_end(&t);
	free(data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_SZ_01_the_number_of_fragments),
	    cmocka_unit_test(test_SZ_01_large_fragments_may_be_many),
	    cmocka_unit_test(test_SZ_02_announced_bytes_take_no_memory),
	    cmocka_unit_test(test_FR_06_a_flood_of_pings),
	    cmocka_unit_test(test_FR_06_a_flood_of_messages_that_are_answered),
	    cmocka_unit_test(test_FR_06_SZ_01_both_roles_together),
	    cmocka_unit_test(test_SZ_01_output_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
