/*
 * http_test.c: heads as they must be, and as a hostile peer would have them.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/http.h"

static struct http_head head;

static int
read_head(enum http_kind kind, const char *text, size_t *used, struct error *err)
{
	size_t len = strlen(text);
	char *exact = malloc(len == 0 ? 1 : len);
	int r;

	memcpy(exact, text, len);
	r = http_head(&head, kind, exact, len, used, err);
	free(exact);
	return r;
}

static void
test_FR_06_an_upgrade(void **state)
{
	static const char text[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
				   "CONNECTION:\tkeep-alive , Upgrade \r\nX: a:b\r\n\r\nrest";
	size_t used, i;

	(void)state;
	assert_int_equal(read_head(HTTP_RESPONSE, text, &used, NULL), 1);
	assert_int_equal(used, sizeof(text) - 1 - 4);
	assert_int_equal(head.status, 101);
	assert_true(http_has_token(&head, "connection", "upgrade"));
	assert_false(http_has_token(&head, "connection", "up"));
	assert_string_equal(http_get(&head, "x"), "a:b");
	assert_null(http_get(&head, "y"));
	for (i = 0; i < used; i++) { /* cut anywhere: more is needed */
		char *cut = strndup(text, i);

		assert_int_equal(read_head(HTTP_RESPONSE, cut, &used, NULL), 0);
		free(cut);
		used = sizeof(text) - 5;
	}
}

static void
test_FR_07_requests(void **state)
{
	size_t used;

	(void)state;
	assert_int_equal(read_head(HTTP_REQUEST,
			     "POST /v1/opamp HTTP/1.1\r\nContent-Length: 12\r\n\r\n", &used, NULL),
	    1);
	assert_string_equal(head.method, "POST");
	assert_string_equal(head.target, "/v1/opamp");
	assert_int_equal(head.length, 12);
	assert_int_equal(read_head(HTTP_REQUEST, "GET / HTTP/1.0\r\n\r\n", &used, NULL), -1);
	assert_int_equal(read_head(HTTP_REQUEST, "GET  / HTTP/1.1\r\n\r\n", &used, NULL), -1);
	assert_int_equal(read_head(HTTP_REQUEST, "G\x01T / HTTP/1.1\r\n\r\n", &used, NULL), -1);
}

static void
test_SE_05_what_is_refused(void **state)
{
	static const char *const bad[] = {"HTTP/2 200\r\n\r\n", "HTTP/1.1 20\r\n\r\n",
	    "HTTP/1.1 2000\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n", "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nA : c\r\n\r\n", "HTTP/1.1 200 OK\r\n: c\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\nB: c\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
	    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"};
	struct error err;
	size_t used, i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err.text[0] = '\0';
		assert_int_equal(read_head(HTTP_RESPONSE, bad[i], &used, &err), -1);
		assert_true(err.text[0] != '\0');
	}
}

static void
test_I11_limits(void **state)
{
	char *text = malloc(LIMIT_HTTP_HEAD + 64), *p;
	size_t used;
	int i;

	(void)state;
	memset(text, 'a', LIMIT_HTTP_HEAD + 63);
	text[LIMIT_HTTP_HEAD + 63] = '\0';
	assert_int_equal(read_head(HTTP_RESPONSE, text, &used, NULL), -1);
	p = text + sprintf(text, "HTTP/1.1 200 OK\r\n");
	for (i = 0; i <= LIMIT_HTTP_HEADERS; i++)
		p += sprintf(p, "A: b\r\n");
	strcpy(p, "\r\n");
	assert_int_equal(read_head(HTTP_RESPONSE, text, &used, NULL), -1);
	free(text);
}

static void
test_ER_04_retry_after(void **state)
{
	const int64_t now = 784111777; /* Sun, 06 Nov 1994 08:49:37 GMT */

	(void)state;
	assert_int_equal(http_retry_after("120", now), 120000);
	assert_int_equal(http_retry_after("0", now), 0);
	assert_int_equal(http_retry_after("99999999999999999999999", now), LIMIT_RETRY_AFTER_MS);
	assert_int_equal(http_retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), 60000);
	assert_int_equal(http_retry_after("Sunday, 06-Nov-94 08:50:37 GMT", now), 60000);
	assert_int_equal(http_retry_after("Sun Nov  6 08:50:37 1994", now), 60000);
	assert_int_equal(http_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), 0);
	assert_int_equal(http_retry_after("-1", now), -1);
	assert_int_equal(http_retry_after("soon", now), -1);
	assert_int_equal(http_retry_after("", now), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_FR_06_an_upgrade),
	    cmocka_unit_test(test_FR_07_requests),
	    cmocka_unit_test(test_SE_05_what_is_refused),
	    cmocka_unit_test(test_I11_limits),
	    cmocka_unit_test(test_ER_04_retry_after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
