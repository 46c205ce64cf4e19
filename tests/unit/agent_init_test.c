/*
 * agent_init_test.c: the agent behind an init of ours: how it ended is told truly, signals reach it as
 * anywhere else, its orphans are reaped, and nothing of it is left.  As root without a cgroup and as an
 * ordinary user.  What it inherits is in agent_spawn_test.c.
 */
#include "agent_world.h"

static int
has(const char *line)
{
	char text[512];

	snprintf(text, sizeof(text), "\n%s\n", line);
	if (strstr(report, text) == NULL)
		fprintf(stderr, "not there: \"%s\" in:\n%s\n", line, report);
	return strstr(report, text) != NULL;
}

/* ---- the agent's deeds */

static void
say(const char *line)
{
	(void)!write(1, line, strlen(line));
}

/* A process that its maker leaves behind; it ends at once, or never. */
static pid_t
orphan(int stays)
{
	int p[2];
	pid_t pid = 0;

	if (pipe2(p, O_CLOEXEC) == -1)
		_exit(90);
	if (fork() == 0) {
		pid = fork();
		if (pid == 0) {
			(void)setsid();
			while (stays)
				pause();
			_exit(0);
		}
		(void)!write(p[1], &pid, sizeof(pid));
		_exit(0);
	}
	(void)!read(p[0], &pid, sizeof(pid));
	(void)wait(NULL);
	return pid;
}

static void
leave_orphans(void)
{
	pid_t gone = orphan(0), left = orphan(1);
	int i;

	for (i = 0; i < WAIT_MS && kill(gone, 0) == 0; i++) /* also while it is a zombie */
		(void)poll(NULL, 0, 1);
	say(kill(gone, 0) == -1 && errno == ESRCH ? "reaped 1\n" : "reaped 0\n");
	say(kill(left, 0) == 0 ? "left 1\n" : "left 0\n");
	_exit(0);
}

static void
do_deed(const char *deed)
{
	if (strcmp(deed, "exit") == 0)
		_exit(42);
	if (strcmp(deed, "crash") == 0)
		abort();
	if (strcmp(deed, "orphans") == 0)
		leave_orphans();
	if (strcmp(deed, "wait") != 0)
		return;
	say("stays\n");
	for (;;)
		pause();
}

/* ---- what comes of them */

static void
both(struct world w, const char *const *wanted)
{
	size_t i;

	for (w.user = 0; w.user <= 1; w.user++) {
		struct world one = w;

		if (!w.user && getuid() != 0)
			continue;
		one.mode = MODE_STANDARD;
		assert_true(run(&one));
		assert_true(has("stage 0 Success"));
		if (strstr(report, "\ninit told ") == NULL)
			skip(); /* no PID namespaces to be had */
		assert_true(has("init told 1"));
		for (i = 0; wanted[i] != NULL; i++)
			assert_true(has(wanted[i]));
	}
}

static void
test_exit_codes_are_true(void **state)
{
	static const char *const wanted[] = {"status exit 42", NULL};

	(void)state;
	both((struct world){.deed = "exit"}, wanted);
}

static void
test_a_crash_is_told_by_its_signal(void **state)
{
	static const char *const wanted[] = {"status signal 6", NULL};

	(void)state;
	both((struct world){.deed = "crash"}, wanted);
}

/* As process 1 it would not get it. */
static void
test_a_signal_without_a_handler_ends_it(void **state)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGKILL};
	char line[64];
	const char *const wanted[] = {line, NULL};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		snprintf(line, sizeof(line), "status signal %d", numbers[i]);
		both((struct world){.deed = "wait", .signals = {numbers[i]}}, wanted);
	}
}

static void
test_stopped_is_no_end(void **state)
{
	static const char *const wanted[] = {"stopped 1", "status signal 15", NULL};

	(void)state;
	both((struct world){.deed = "wait", .signals = {SIGSTOP, SIGCONT, SIGTERM}}, wanted);
}

/* run() would wait in vain for the end of the output if one of them lived on. */
static void
test_I9_orphans_are_reaped_and_end_with_it(void **state)
{
	static const char *const wanted[] = {"reaped 1", "left 1", "gone 1", "status exit 0", NULL};

	(void)state;
	both((struct world){.deed = "orphans"}, wanted);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_exit_codes_are_true),
	    cmocka_unit_test(test_a_crash_is_told_by_its_signal),
	    cmocka_unit_test(test_a_signal_without_a_handler_ends_it),
	    cmocka_unit_test(test_stopped_is_no_end),
	    cmocka_unit_test(test_I9_orphans_are_reaped_and_end_with_it),
	};

	if (argc > 4 && strcmp(argv[1], "agent") == 0) {
		do_deed(argv[2]);
		agent_main(argv);
	}
	return cmocka_run_group_tests_name("agent_init", tests, NULL, NULL);
}
