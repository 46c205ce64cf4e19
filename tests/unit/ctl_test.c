/*
 * ctl_test.c: opampctl's parts: the comparison of texts, the words, the writers, durations.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confd/store.h"
#include "ctl/diff.h"
#include "ctl/procfs.h"
#include "ctl/words.h"
#include "ctl/writer.h"
#include "privsep/policy_text.h"

static void
check_diff(const char *a, const char *b, const char *expected)
{
	char *text = diff_unified(a, strlen(a), "a", b, strlen(b), "b", NULL);

	assert_non_null(text);
	assert_string_equal(text, expected);
	free(text);
}

static void
test_differences(void **state)
{
	(void)state;
	check_diff("", "", "");
	check_diff("x\n", "x\n", "");
	check_diff("", "x\n", "--- a\n+++ b\n@@ -0,0 +1,1 @@\n+x\n");
	check_diff("x\n", "", "--- a\n+++ b\n@@ -1,1 +0,0 @@\n-x\n");
	check_diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
	    "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
	check_diff(
	    "x", "x\n", "--- a\n+++ b\n@@ -1,1 +1,1 @@\n-x\n\\ No newline at end of file\n+x\n");
}

/* What patch(1) makes of a and our difference is b. */
static void
test_differences_can_be_applied_by_patch(void **state)
{
	char dir[] = "/tmp/ctl_test.XXXXXX", command[512], a[400], b[400], *text;
	size_t i, la, lb;
	unsigned seed, x;
	FILE *f;

	(void)state;
	if (system("command -v patch >/dev/null 2>&1") != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	for (seed = 1; seed <= 40; seed++) {
		x = seed * 2654435761u;
		for (i = la = lb = 0; i < 60; i++) {
			x = x * 1664525u + 1013904223u;
			if (x >> 28 != 0)
				la += (size_t)sprintf(a + la, "%u\n", x >> 30);
			if (x >> 26 % 16 != 0 && (x >> 20 & 7) != 0)
				lb += (size_t)sprintf(b + lb, "%u\n", x >> 30);
		}
		text = diff_unified(a, la, "a", b, lb, "b", NULL);
		assert_non_null(text);
		(void)snprintf(command, sizeof(command), "%s/a", dir);
		f = fopen(command, "w");
		assert_non_null(f);
		assert_int_equal(fwrite(a, 1, la, f), la);
		assert_int_equal(fclose(f), 0);
		(void)snprintf(command, sizeof(command), "%s/b", dir);
		f = fopen(command, "w");
		assert_non_null(f);
		assert_int_equal(fwrite(b, 1, lb, f), lb);
		assert_int_equal(fclose(f), 0);
		(void)snprintf(
		    command, sizeof(command), "cd %s && patch -s a - && cmp -s a b", dir);
		f = popen(command, "w");
		assert_non_null(f);
		assert_true(fputs(text, f) >= 0);
		i = (size_t)pclose(f);
		if (text[0] != '\0')
			assert_int_equal(i, 0);
		free(text);
	}
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static void
test_I11_a_comparison_is_bounded(void **state)
{
	size_t n = 200000, i;
	char *a = malloc(n * 2), *b = malloc(n * 2), *text;

	(void)state;
	for (i = 0; i < n; i++) {
		a[i * 2] = (char)('a' + i % 7);
		b[i * 2] = (char)('a' + i % 5);
		a[i * 2 + 1] = b[i * 2 + 1] = '\n';
	}
	text = diff_unified(a, n * 2, "a", b, n * 2, "b", NULL);
	assert_non_null(text);
	assert_memory_equal(text, "--- a\n+++ b\n@@ ", 15);
	free(text);
	free(a);
	free(b);
}

static void
test_words_agree_with_confd(void **state)
{
	char text[128];

	(void)state;
	assert_string_equal(word_source(SOURCE_LOCAL), "local");
	assert_string_equal(word_source(SOURCE_REMOTE), "server");
	assert_string_equal(word_source(SOURCE_IDENTITY), "composed anew");
	assert_string_equal(word_outcome(OUTCOME_COMMITTED), "committed");
	assert_string_equal(word_outcome(OUTCOME_FAILED), "failed");
	assert_string_equal(word_agent_state(AGENT_RUNNING), "running");
	assert_string_equal(word_agent_state(AGENT_GIVEN_UP), "given up after too many crashes");
	assert_string_equal(word_server_event(SERVER_CONNECTED), "connected");
	assert_string_equal(word_config_status(CONFIG_FAILED), "FAILED");
	assert_string_equal(word_worst(WORST_FATAL), "fatal error");
	assert_string_equal(word_agent_state(UINT64_MAX), "unknown");
	assert_null(exit_text(text, sizeof(text), EXIT_NONE, 0, 0));
	assert_string_equal(exit_text(text, sizeof(text), EXIT_CODE, 3, 0), "exit status 3");
	assert_non_null(strstr(exit_text(text, sizeof(text), EXIT_SIGNAL, 11, 0), "signal 11"));
}

static void
test_durations(void **state)
{
	char text[64];

	(void)state;
	assert_string_equal(duration_text(text, sizeof(text), 999), "999 ms");
	assert_string_equal(duration_text(text, sizeof(text), 59999), "59 s");
	assert_string_equal(duration_text(text, sizeof(text), 61000), "1 min 1 s");
	assert_string_equal(duration_text(text, sizeof(text), 7260000), "2 h 1 min");
	assert_string_equal(duration_text(text, sizeof(text), 90000000), "1 d 1 h");
	assert_string_equal(
	    time_text(text, sizeof(text), 1700000000000000000u), "2023-11-14T22:13:20Z");
}

static void
test_the_kernel_is_read_right(void **state)
{
	struct procfs p;
	struct error err;

	(void)state;
	assert_int_equal(procfs_read(&p, getpid(), &err), 0);
	assert_int_equal(p.parent, getppid());
	assert_int_equal(p.uid[1], geteuid());
	assert_int_equal(p.gid[0], getgid());
	assert_true(p.descriptors > 2);
	assert_true(p.namespaces[0] != 0);
	assert_int_equal(p.threads, 1);
	assert_true(p.limits[PROCFS_NOFILE] > 0);
	assert_int_equal(procfs_read(&p, 0x7ffffff0, &err), -1);
	assert_non_null(strstr(err.text, "/proc/2147483632"));
}

static void
test_policies_in_words(void **state)
{
	char text[512];
	struct syscall_rule rule = {.name = "x",
	    .action = 13,
	    .args = {{ARG_EQ, 1, 3, 0}, {ARG_MASK0, 2, 4, 0}, {ARG_MASK_EQ, 3, 1, 15}},
	    .why = "y"};

	(void)state;
	assert_string_equal(policy_condition(text, sizeof(text), &rule),
	    "argument 1 = 0x3, argument 2 & 0x4 = 0, argument 3 & 0xf = 0x1");
	assert_string_equal(policy_action(&policy_netd, &rule), "EACCES");
	rule.action = 0;
	assert_string_equal(policy_action(&policy_netd, &rule), "allowed");
	assert_string_equal(policy_action(&policy_agent, &rule), "ends the process");
	assert_string_equal(
	    policy_capabilities(text, sizeof(text), 1 << 5 | 1), "CAP_CHOWN CAP_KILL");
	assert_string_equal(policy_capabilities(text, sizeof(text), 0), "none");
	assert_string_equal(
	    policy_namespaces(text, sizeof(text), SANDBOX_NS_NET | SANDBOX_NS_MOUNT), "mnt net");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_differences),
	    cmocka_unit_test(test_differences_can_be_applied_by_patch),
	    cmocka_unit_test(test_I11_a_comparison_is_bounded),
	    cmocka_unit_test(test_words_agree_with_confd),
	    cmocka_unit_test(test_durations),
	    cmocka_unit_test(test_the_kernel_is_read_right),
	    cmocka_unit_test(test_policies_in_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
