/*
 * log_test.c: foreign text cannot forge a line or steer a terminal (T5, CVE-2026-28221's lesson).
 */
#include "test.h"

#include <string.h>

#include "privsep/error.h"
#include "privsep/log.h"

static void
expect(const char *in, size_t len, const char *out)
{
	char buf[128];

	assert_string_equal(log_escape(buf, sizeof(buf), in, len), out);
}

static void
test_escape_leaves_text_alone(void **state)
{
	(void)state;
	expect("plain", 5, "plain");
	expect(
	    "Grüße, 世界 \U0001F600", strlen("Grüße, 世界 \U0001F600"), "Grüße, 世界 \U0001F600");
}

static void
test_escape_control_characters(void **state)
{
	(void)state;
	expect("a\nb\x1b[31m\\", 9, "a\\x0ab\\x1b[31m\\x5c");
	expect("\0", 1, "\\x00");
	expect("\xc2\x9b", 2, "\\xc2\\x9b");          /* CSI as one code point */
	expect("\xe2\x80\xae", 3, "\\xe2\\x80\\xae"); /* right-to-left override */
}

static void
test_escape_invalid_utf8(void **state)
{
	(void)state;
	expect("\xff\xfe", 2, "\\xff\\xfe");
	expect("\xc0\xaf", 2, "\\xc0\\xaf");                   /* overlong */
	expect("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");          /* surrogate */
	expect("\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"); /* past U+10FFFF */
	expect("\xe4\xb8", 2, "\\xe4\\xb8");                   /* cut */
}

static void
test_escape_cuts_whole_characters(void **state)
{
	char buf[6];

	(void)state;
	assert_string_equal(log_escape(buf, sizeof(buf), "abcd\n", 5), "abcd");
	assert_string_equal(log_escape(buf, sizeof(buf), "aaaa\xc3\xa4", 6), "aaaa");
	assert_string_equal(log_escape(buf, 1, "a", 1), "");
}

static void
test_error_texts(void **state)
{
	struct error e;

	(void)state;
	assert_int_equal(error_set(&e, "x %d", 1), -1);
	assert_int_equal(error_prefix(&e, "doing %s", "it"), -1);
	assert_string_equal(e.text, "doing it: x 1");
	assert_int_equal(error_set(NULL, "nobody listens"), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_escape_leaves_text_alone),
	    cmocka_unit_test(test_escape_control_characters),
	    cmocka_unit_test(test_escape_invalid_utf8),
	    cmocka_unit_test(test_escape_cuts_whole_characters),
	    cmocka_unit_test(test_error_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
