/*
 * transport_test.c: netd's connection: the upgrade and its wrong answers, messages, the end.
 */
#include "transport_fake.h"

#define URL    "ws://127.0.0.1:4320/v1/opamp?x=1"
#define HEAD   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
#define ACCEPT "Sec-WebSocket-Accept: "

static const char *const request[] = {"GET /v1/opamp?x=1 HTTP/1.1\r\n", "Host: 127.0.0.1:4320\r\n",
    "Connection: Upgrade\r\n", "Upgrade: websocket\r\n", "Sec-WebSocket-Version: 13\r\n",
    "X-Test: yes\r\n"};

static const char *answer; /* of the server's process, which is a copy of ours */

static void
say_answer(struct server_end *s)
{
	size_t i;

	server_request(s);
	for (i = 0; i < sizeof(request) / sizeof(request[0]); i++)
		if (strstr(s->request, request[i]) == NULL)
			_exit(9);
	server_text(s, answer);
}

static void
say_nothing(struct server_end *s)
{
	server_request(s);
	server_drain(s);
}

static void
test_FR_06_wrong_answers(void **state)
{
	static const struct {
		const char *answer, *why;
		int status;
		int64_t retry;
	} cases[] = {
	    {HEAD ACCEPT "AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", "a wrong Sec-WebSocket-Accept", 0,
		-1},
	    {HEAD "\r\n", "no Sec-WebSocket-Accept", 0, -1},
	    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "not an upgrade to WebSocket", 0, -1},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "(HTTP 200)", 200, -1},
	    {"HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nbad token\r\n\r", "(HTTP 401)",
		401, -1},
	    {"HTTP/1.1 403 Forbidden\r\n\r\nuntil the end", "it says: until the end", 403, -1},
	    {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "see server.endpoint", 404, -1},
	    {"HTTP/1.1 302 Found\r\nLocation: https://other/\r\nContent-Length: 0\r\n\r\n",
		"to https://other/: redirects are not followed", 302, -1},
	    {"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", "not available",
		503, 7000},
	    {"HTTP/1.1 429 Slow\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n",
		"not available", 429, LIMIT_RETRY_AFTER_MS},
	    {"HTTP/1.1 503 Busy\r\nRetry-After: -5\r\nContent-Length: 0\r\n\r\n", "not available",
		503, -1},
	    {"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nit b\r\n4;x=y\r\nroke\r\n"
	     "0\r\nA: b\r\n\r\n",
		"(HTTP 500); it says: it broke", 500, -1},
	    {"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n", "(HTTP 500)", 500,
		-1},
	    {"HTTP/1.1 500 Oops\r\nContent-Length: 6\r\n\r\n<html>", "(HTTP 500)", 500, -1},
	    {"HTTP/1.1 101 A\nUpgrade: websocket\n\n", "instead of answering", 0, -1},
	    {"HTTP/1.1 999 A\r\n\r\n", "not HTTP as it must be", 0, -1},
	    {"\x15\x03\x03", "wss://", 0, -1},
	    {"220 mail ready\r\n", "does not speak HTTP/1.1", 0, -1},
	    {"", "instead of answering", 0, -1},
	    {"HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 103 Wait\r\n\r\nHTTP/1.1 418 Teapot\r\n\r\n",
		"(HTTP 418)", 418, -1},
	    {"HTTP/1.1 100 W\r\n\r\nHTTP/1.1 100 W\r\n\r\nHTTP/1.1 100 W\r\n\r\nHTTP/1.1 100 "
	     "W\r\n\r\n"
	     "HTTP/1.1 100 W\r\n\r\nHTTP/1.1 100 W\r\n\r\n",
		"one interim answer after the other", 0, -1},
	};
	const struct server_plan plan = {.serve = say_answer};
	struct fake f;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		answer = cases[i].answer;
		fake_init(&f, URL);
		fake_attempt(&f, &plan);
		if (strstr(f.why, cases[i].why) == NULL)
			fail_msg("case %zu: %s", i, f.why);
		assert_int_equal(f.opened, 0);
		assert_int_equal(f.http_status, cases[i].status);
		assert_int_equal(f.retry_after_ms, cases[i].retry);
		fake_clear(&f);
		assert_int_equal(f.server_status, 0);
	}
}

static void
say_much(struct server_end *s)
{
	int i;

	server_request(s);
	server_text(s, "HTTP/1.1 200 OK\r\n");
	for (i = 0; i < 100000; i++)
		server_text(s, "Header: value\r\n");
}

static void
test_SZ_01_a_head_without_end(void **state)
{
	const struct server_plan plan = {.serve = say_much};
	struct fake f;

	(void)state;
	fake_init(&f, URL);
	fake_attempt(&f, &plan);
	assert_non_null(strstr(f.why, "32 KiB"));
	fake_clear(&f);
}

static void
say_slowly(struct server_end *s)
{
	char head[256];
	size_t i;

	(void)snprintf(head, sizeof(head),
	    "%s%s%s\r\n\r\n\x82\x03"
	    "abc",
	    HEAD, ACCEPT, server_accept_key(s));
	for (i = 0; i < strlen(head); i++) {
		server_write(s, head + i, 1);
		usleep(500);
	}
	server_drain(s);
}

static void
test_FR_06_an_answer_byte_by_byte(void **state)
{
	const struct server_plan plan = {.serve = say_slowly};
	struct fake f;

	(void)state;
	fake_init(&f, URL);
	fake_connect(&f, &plan);
	assert_true(fake_run(&f, 10000));
	assert_int_equal(f.opened, 1);
	assert_int_equal(f.messages, 1);
	assert_true(f.heard > 0);
	assert_int_equal(evbuffer_get_length(f.received), 3);
	fake_clear(&f);
}

static void
say_extension(struct server_end *s)
{
	char head[256];

	(void)snprintf(head, sizeof(head),
	    "%s%s%s\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", HEAD, ACCEPT,
	    server_accept_key(s));
	server_text(s, head);
}

static void
test_FR_06_nothing_that_was_not_asked_for(void **state)
{
	const struct server_plan plan = {.serve = say_extension};
	struct fake f;

	(void)state;
	fake_init(&f, URL);
	fake_attempt(&f, &plan);
	assert_non_null(strstr(f.why, "did not ask for"));
	fake_clear(&f);
}

/* The frame of a client: its payload, unmasked, into buf. */
static size_t
take_frame(struct server_end *s, uint8_t *opcode, uint8_t *buf, size_t size)
{
	uint8_t head[2], length[8], mask[4];
	uint64_t len, got;
	size_t i, n;

	if (server_read(s, head, 1) != 1 || server_read(s, head + 1, 1) != 1)
		_exit(10);
	*opcode = head[0] & 15;
	if ((head[1] & 0x80) == 0)
		_exit(11); /* not masked */
	len = head[1] & 0x7f;
	n = len == 126 ? 2 : len == 127 ? 8 : 0;
	for (i = 0, got = 0; i < n; i++) {
		if (server_read(s, length, 1) != 1)
			_exit(12);
		got = got << 8 | length[0];
	}
	len = n == 0 ? len : got;
	for (i = 0; i < 4; i++)
		if (server_read(s, mask + i, 1) != 1)
			_exit(13);
	if (len > size)
		_exit(14);
	for (i = 0; i < len; i += n) {
		n = (size_t)server_read(s, buf + i, len - i);
		if ((ssize_t)n <= 0)
			_exit(15);
	}
	for (i = 0; i < len; i++)
		buf[i] ^= mask[i % 4];
	return len;
}

static void
reset_at_once(struct server_end *s)
{
	static const struct linger none = {1, 0};

	server_request(s);
	(void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

/* What an endpoint for TLS does with a request in the clear. */
static void
test_a_reset_in_place_of_an_answer(void **state)
{
	const struct server_plan plan = {.serve = reset_at_once};
	struct fake f;

	(void)state;
	fake_init(&f, URL);
	fake_attempt(&f, &plan);
	assert_int_equal(f.opened, 0);
	assert_non_null(strstr(f.why, "reset by peer: does it want TLS (wss://"));
	fake_clear(&f);
}

static void
say_garbage(struct server_end *s)
{
	uint8_t buf[256], opcode;
	size_t n;

	server_upgrade(s);
	server_text(s, "this is not WebSocket");
	server_text(s, "................................................................");
	n = take_frame(s, &opcode, buf, sizeof(buf));
	if (opcode != 8 || n < 2 || buf[0] != 1002 >> 8 || buf[1] != (1002 & 255))
		_exit(20);
	server_drain(s);
}

static void
test_FR_06_garbage_after_the_upgrade(void **state)
{
	const struct server_plan plan = {.serve = say_garbage};
	struct fake f;

	(void)state;
	fake_init(&f, URL);
	fake_attempt(&f, &plan);
	assert_int_equal(f.opened, 1);
	assert_non_null(strstr(f.why, "1002"));
	fake_clear(&f);
	assert_int_equal(
	    f.server_status, 0); /* it saw the Close frame, though it went on talking */
}

static void
echo(struct server_end *s)
{
	static uint8_t buf[2 * 1024 * 1024];
	uint8_t opcode, head[10] = {0x82, 127};
	size_t n;
	int i;

	server_upgrade(s);
	for (;;) {
		n = take_frame(s, &opcode, buf, sizeof(buf));
		if (opcode == 8)
			break;
		for (i = 0; i < 8; i++)
			head[2 + i] = (uint8_t)((uint64_t)n >> (56 - 8 * i));
		if (n < 126) {
			head[1] = (uint8_t)n;
			server_write(s, head, 2);
		} else {
			head[1] = 127;
			server_write(s, head, 10);
		}
		server_write(s, buf, n);
	}
	if (n < 2 || buf[0] != 1000 >> 8 || buf[1] != (1000 & 255))
		_exit(21);
	buf[0] = 0x88;
	buf[1] = 0;
	server_write(s, buf, 2);
	server_drain(s);
}

static void
test_FR_01_FR_02_CC_03_messages_and_the_end(void **state)
{
	const struct server_plan plan = {.serve = echo};
	size_t len = 1024 * 1024, i;
	unsigned char *big = malloc(len), *got;
	struct fake f;

	(void)state;
	for (i = 0; i < len; i++)
		big[i] = (unsigned char)(i * 7);
	fake_init(&f, URL);
	fake_connect(&f, &plan);
	while (!f.opened)
		assert_false(event_base_loop(f.base, EVLOOP_ONCE));
	assert_int_equal(transport_send(f.t, "hello", 5), 0);
	assert_true(fake_run(&f, 10000));
	got = evbuffer_pullup(f.received, -1);
	assert_int_equal(evbuffer_get_length(f.received), 6);
	assert_memory_equal(got, "\0hello", 6);
	(void)evbuffer_drain(f.received, 6);
	assert_int_equal(transport_send(f.t, big, len), 0);
	assert_true(transport_pending(f.t) > len);
	assert_true(fake_run(&f, 10000));
	assert_int_equal(evbuffer_get_length(f.received), len + 1);
	assert_memory_equal(evbuffer_pullup(f.received, -1) + 1, big, len);
	assert_int_equal(f.drained, 1);
	transport_close(f.t, 1000, "bye");
	assert_int_equal(transport_send(f.t, "late", 4), -1);
	assert_true(fake_run(&f, 10000));
	assert_int_equal(f.ended, 1);
	fake_clear(&f);
	assert_int_equal(f.server_status, 0);
	free(big);
}

static void
test_the_owner_may_end_it_in_a_message(void **state)
{
	const struct server_plan plan = {.serve = say_slowly};
	struct fake f;

	(void)state;
	fake_init(&f, URL);
	f.free_in_message = 1;
	fake_connect(&f, &plan);
	assert_true(fake_run(&f, 10000));
	assert_null(f.t);
	assert_int_equal(f.ended, 0);
	fake_clear(&f);
}

static void
test_CC_01_time_limits(void **state)
{
	const struct server_plan plan = {.serve = say_nothing};
	struct fake f;

	(void)state;
	fake_init(&f, URL);
	f.set.step_ms = 50;
	fake_attempt(&f, &plan);
	assert_non_null(strstr(f.why, "server.connect_timeout"));
	fake_clear(&f);
}

static void
leave_at_once(struct server_end *s)
{
	server_upgrade(s);
}

static void
test_a_server_that_leaves_without_a_word(void **state)
{
	const struct server_plan plan = {.serve = leave_at_once};
	struct fake f;

	(void)state;
	fake_init(&f, URL);
	fake_attempt(&f, &plan);
	assert_int_equal(f.opened, 1);
	assert_string_equal(f.why, "it closed the connection without a goodbye");
	fake_clear(&f);
}

static void
test_SE_05_no_attempt_without_the_authorities(void **state)
{
	static char fault[] = "server.tls.ca_file: no certificate in it";
	struct transport_settings set = {.tls = NULL, .tls_fault = fault};
	struct event_base *base = event_base_new();
	struct error err = {""};
	char byte;
	int sv[2];

	(void)state;
	assert_int_equal(url_split(&set.url, URL_OF_SERVER, "wss://127.0.0.1/", &err), 0);
	set.headers = fault + sizeof(fault) - 1; /* none */
	set.max_message = 65536;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_null(transport_new(base, sv[0], &set, NULL, NULL, &err));
	assert_string_equal(err.text, fault);
	assert_int_equal(read(sv[1], &byte, 1), 0); /* closed, and not a byte was said */
	close(sv[1]);
	event_base_free(base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_FR_06_wrong_answers),
	    cmocka_unit_test(test_SZ_01_a_head_without_end),
	    cmocka_unit_test(test_FR_06_an_answer_byte_by_byte),
	    cmocka_unit_test(test_FR_06_nothing_that_was_not_asked_for),
	    cmocka_unit_test(test_a_reset_in_place_of_an_answer),
	    cmocka_unit_test(test_FR_06_garbage_after_the_upgrade),
	    cmocka_unit_test(test_FR_01_FR_02_CC_03_messages_and_the_end),
	    cmocka_unit_test(test_the_owner_may_end_it_in_a_message),
	    cmocka_unit_test(test_CC_01_time_limits),
	    cmocka_unit_test(test_a_server_that_leaves_without_a_word),
	    cmocka_unit_test(test_SE_05_no_attempt_without_the_authorities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
