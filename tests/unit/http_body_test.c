/*
 * http_body_test.c: bodies in their three forms, whole and byte by byte, cut and malformed.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "wire/http_body.h"

static struct http_head head;
static struct http_body body;

static void
begin(const char *lines)
{
	char text[1000];
	size_t used;

	(void)snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n\r\n", lines);
	assert_int_equal(http_head(&head, HTTP_RESPONSE, text, strlen(text), &used, NULL), 1);
	http_body_begin(&body, &head);
}

/* Feeds in pieces; gives the last answer, and in *taken how many bytes belonged to the body. */
static int
feed(const char *data, size_t len, size_t step, size_t *taken, struct error *err)
{
	size_t n, used;
	char *exact;
	int r = 0;

	for (*taken = 0; r == 0 && *taken < len;) {
		n = len - *taken < step ? len - *taken : step;
		exact = malloc(n);
		memcpy(exact, data + *taken, n);
		r = http_body_input(&body, exact, n, &used, err);
		free(exact);
		if (r == 0)
			assert_int_equal(used, n);
		if (r == -1)
			return -1;
		*taken += used;
	}
	return r;
}

static void
test_whole_bodies(void **state)
{
	static const struct {
		const char *head, *data, *text;
		size_t rest;
	} good[] = {
	    {"401 No\r\nContent-Length: 5", "helloHTTP", "hello", 4},
	    {"200 OK\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\nrest", "hello", 4},
	    {"200 OK\r\nTransfer-Encoding: chunked", "0\r\n\r\n", "", 0},
	    {"200 OK\r\nTransfer-Encoding: chunked",
		"1;a=\"b\"\r\nh\r\n0004 ;x\r\nello\r\n00;y\r\nX-Trailer: a\r\nY:\tb\r\n\r\n", NULL,
		0},
	    {"200 OK\r\nTransfer-Encoding: chunked",
		"1;a=\"b c\"\r\nh\r\n0004;x\r\nello\r\n00;y\r\nX-Trailer: a\r\nY:\tb\r\n\r\n",
		"hello", 0},
	    {"200 OK\r\nTransfer-Encoding: chunked",
		"a\r\n0123456789\r\nA\r\nabcdefghij\r\n1a\r\nzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n0\r\n\r"
		"\n",
		"0123456789abcdefghijzzzzzzzzzzzzzzzzzzzzzzzzzz", 0},
	};
	size_t i, step, taken;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		for (step = 1; step < 60; step++) {
			begin(good[i].head);
			if (good[i].text == NULL) { /* blanks behind the size: refused */
				assert_int_equal(
				    feed(good[i].data, strlen(good[i].data), step, &taken, NULL),
				    -1);
				continue;
			}
			assert_int_equal(
			    feed(good[i].data, strlen(good[i].data), step, &taken, NULL), 1);
			assert_int_equal(taken, strlen(good[i].data) - good[i].rest);
			assert_string_equal(body.text, good[i].text);
			assert_int_equal(body.kept, strlen(good[i].text));
			assert_false(body.cut);
			assert_int_equal(http_body_eof(&body, NULL), 1);
		}
}

static void
test_answers_without_a_body(void **state)
{
	static const char *heads[] = {"204 No Content", "304 Not Modified\r\nContent-Length: 7",
	    "200 OK\r\nContent-Length: 0", "101 Switching Protocols"};
	size_t i, used;

	(void)state;
	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		begin(heads[i]);
		assert_int_equal(http_body_input(&body, "rest", 4, &used, NULL), 1);
		assert_int_equal(used, 0);
		begin(heads[i]);
		assert_int_equal(http_body_input(&body, NULL, 0, &used, NULL), 1);
	}
}

static void
test_until_the_connection_ends(void **state)
{
	size_t taken;

	(void)state;
	begin("503 Later");
	assert_int_equal(feed("over\0load", 9, 2, &taken, NULL), 0);
	assert_int_equal(http_body_eof(&body, NULL), 1);
	assert_int_equal(body.kept, 9);
	assert_memory_equal(body.text, "over\0load", 10);
	begin("503 Later");
	assert_int_equal(http_body_eof(&body, NULL), 1);
}

static void
test_malformed_chunks(void **state)
{
	static const char *bad[] = {"\r\n", ";\r\n", "x\r\n", " 5\r\nhello", "5 \r\nhello",
	    "-1\r\n", "+1\r\na", "0x1\r\na", "5\nhello", "5\rhello", "5\r\nhello0\r\n\r\n",
	    "5\r\nhelloo\r\n", "5\r\nhello\n0\r\n", "1000000000000000\r\n", "0000000000000001\r\na",
	    "5;a\nb", "5;a\x01\r\n", "5;a\x7f\r\n", "0\r\nA: b\n\r\n", "0\r\n\rX",
	    "0\r\nA\x02: b\r\n\r\n"};
	size_t i, step, taken;
	struct error err;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (step = 1; step < 8; step++) {
			begin("200 OK\r\nTransfer-Encoding: chunked");
			err.text[0] = '\0';
			assert_int_equal(feed(bad[i], strlen(bad[i]), step, &taken, &err), -1);
			assert_true(strlen(err.text) > 10);
		}
}

static void
test_ended_too_early(void **state)
{
	static const char *heads[] = {
	    "200 OK\r\nContent-Length: 50", "200 OK\r\nTransfer-Encoding: chunked"};
	static const char chunks[] = "5\r\nhello\r\n0\r\nA: b\r\n\r\n";
	size_t i, cut, taken;

	(void)state;
	for (i = 0; i < 2; i++)
		for (cut = 0; cut < sizeof(chunks) - 1; cut++) {
			begin(heads[i]);
			assert_int_equal(feed(chunks, cut, 3, &taken, NULL), 0);
			assert_int_equal(http_body_eof(&body, NULL), -1);
		}
}

static void
test_SZ_01_long_bodies_are_cut(void **state)
{
	static const char *heads[] = {"200 OK\r\nContent-Length: 999999999999999", "200 OK",
	    "200 OK\r\nTransfer-Encoding: chunked"};
	static char data[LIMIT_HTTP_BODY * 2];
	size_t i, step, taken;

	(void)state;
	memset(data, 'x', sizeof(data));
	for (i = 0; i < 3; i++)
		for (step = 1; step < sizeof(data); step = step * 3 + 1) {
			memcpy(data, i == 2 ? "fffffffffffffff\r\n" : "aaaaaaaaaaaaaaaaa", 17);
			begin(heads[i]);
			assert_int_equal(feed(data, sizeof(data), step, &taken, NULL), 1);
			assert_int_equal(taken, LIMIT_HTTP_BODY);
			assert_true(body.cut);
			assert_int_equal(body.kept, HTTP_BODY_KEPT);
			assert_int_equal(strlen(body.text), HTTP_BODY_KEPT);
		}
	/* the limit exactly is whole */
	begin("200 OK\r\nContent-Length: 65536");
	assert_int_equal(feed(data, sizeof(data), 1000, &taken, NULL), 1);
	assert_int_equal(taken, LIMIT_HTTP_BODY);
	assert_false(body.cut);
	/* a line between chunks that does not end */
	begin(heads[2]);
	memcpy(data, "1;", 2);
	assert_int_equal(feed(data, sizeof(data), 1000, &taken, NULL), -1);
	/* tiny chunks: what surrounds them counts */
	begin(heads[2]);
	for (i = 0; i + 6 <= sizeof(data); i += 6)
		memcpy(data + i, "1\r\nx\r\n", 6);
	assert_int_equal(feed(data, sizeof(data), 1000, &taken, NULL), 1);
	assert_true(body.cut);
}

/* A request's: all of it is kept, to the byte that is allowed, and what surrounds it is bounded. */
static void
test_SZ_01_requests_in_chunks(void **state)
{
	static const char small[] = "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nA: b\r\n\r\nPOST";
	static char data[40 * KIB];
	struct evbuffer *kept = evbuffer_new();
	size_t step, taken, i;

	(void)state;
	for (step = 1; step < sizeof(small); step++) {
		http_body_begin_chunks(&body, kept, 11);
		assert_int_equal(feed(small, sizeof(small) - 1, step, &taken, NULL), 1);
		assert_int_equal(taken, sizeof(small) - 1 - 4);
		assert_false(body.cut);
		assert_int_equal(evbuffer_get_length(kept), 11);
		assert_memory_equal(evbuffer_pullup(kept, -1), "hello world", 11);
		(void)evbuffer_drain(kept, 11);
		http_body_begin_chunks(&body, kept, 10);
		assert_int_equal(feed(small, sizeof(small) - 1, step, &taken, NULL), 1);
		assert_true(body.cut);
		assert_true(evbuffer_get_length(kept) <= 10);
		(void)evbuffer_drain(kept, evbuffer_get_length(kept));
	}
	/* trailers for ever */
	memcpy(data, "0;aaaa\r\n", 8);
	for (i = 8; i + 8 <= sizeof(data); i += 8)
		memcpy(data + i, "A: bcd\r\n", 8);
	http_body_begin_chunks(&body, kept, 100);
	assert_int_equal(feed(data, sizeof(data), 100, &taken, NULL), 1);
	assert_true(body.cut);
	assert_int_equal(taken, 200 + LIMIT_HTTP_LINE);
	evbuffer_free(kept);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_whole_bodies),
	    cmocka_unit_test(test_answers_without_a_body),
	    cmocka_unit_test(test_until_the_connection_ends),
	    cmocka_unit_test(test_malformed_chunks),
	    cmocka_unit_test(test_ended_too_early),
	    cmocka_unit_test(test_SZ_01_long_bodies_are_cut),
	    cmocka_unit_test(test_SZ_01_requests_in_chunks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
