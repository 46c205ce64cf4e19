/*
 * link_file_test.c: what the parent lets link hand to the agent as a file of its configuration.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netd/link_secret.h"
#include "privsep/link_file.h"
#include "privsep/memfd.h"

static int
check(const char *text, size_t len)
{
	int fd = memfd_seal("test", text, len, NULL), r = link_file_check(fd);

	close(fd);
	return r;
}

static void
test_what_link_makes_is_accepted(void **state)
{
	static struct link_secrets s;
	int fd = link_secrets_next(&s, NULL);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(link_file_check(fd), 0);
	close(fd);
}

static void
test_what_the_parent_makes_is_accepted(void **state)
{
	int a = link_file_make(), b = link_file_make();
	char *one, *other;
	size_t len;

	(void)state;
	assert_int_equal(link_file_check(a), 0);
	assert_int_equal(link_file_check(b), 0);
	assert_int_equal(memfd_read(a, LINK_FILE_LEN, &one, &len, NULL), 0);
	assert_int_equal(memfd_read(b, LINK_FILE_LEN, &other, &len, NULL), 0);
	assert_memory_not_equal(one, other, len);
	free(one);
	free(other);
	close(a);
	close(b);
}

/* I4: a link that was taken over must not configure the agent. */
static void
test_I4_nothing_else_is(void **state)
{
	static const char evil[] = "receivers: {filelog: {include: [/etc/passwd]}}\n";
	char good[LINK_FILE_LEN + 1], text[LINK_FILE_LEN + 2], digits[LINK_FILE_DIGITS + 1];
	size_t i;

	(void)state;
	memset(digits, 'a', LINK_FILE_DIGITS);
	digits[LINK_FILE_DIGITS] = '\0';
	(void)snprintf(good, sizeof(good), "%s%s%s", LINK_FILE_BEFORE, digits, LINK_FILE_AFTER);
	assert_int_equal(check(good, LINK_FILE_LEN), 0);
	assert_int_equal(check(evil, sizeof(evil) - 1), -1);
	assert_int_equal(check("", 0), -1);
	assert_int_equal(check(good, LINK_FILE_LEN - 1), -1);
	memcpy(text, good, LINK_FILE_LEN);
	text[LINK_FILE_LEN] = '\n';
	assert_int_equal(check(text, LINK_FILE_LEN + 1), -1);
	for (i = 0; i < LINK_FILE_LEN; i++) {
		memcpy(text, good, LINK_FILE_LEN);
		text[i] = text[i] == '$' ? '{' : '$';
		assert_int_equal(check(text, LINK_FILE_LEN), -1);
	}
}

static void
test_it_must_be_sealed(void **state)
{
	FILE *f = tmpfile();

	(void)state;
	assert_int_equal(link_file_check(fileno(f)), -1);
	fclose(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_link_makes_is_accepted),
	    cmocka_unit_test(test_what_the_parent_makes_is_accepted),
	    cmocka_unit_test(test_I4_nothing_else_is),
	    cmocka_unit_test(test_it_must_be_sealed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
