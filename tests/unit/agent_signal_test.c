/*
 * agent_signal_test.c: a signal for the agent that comes before it is the agent: it must end that process,
 * and must not be taken for one to opampd (I14).
 */
#include "test.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "privsep/agent_spawn.h"
#include "privsep/record.h"

static int told[2]; /* as libevent does it: shared with what is forked */

static void
on_signal(int sig)
{
	char c = (char)sig;

	(void)!write(told[1], &c, 1);
}

static void
test_I14_a_stop_before_the_start_is_not_ours(void **state)
{
	static const uint32_t record[2] = {RECORD_MAGIC, 0};
	char empty[sizeof(record)], path[] = "/bin/true", *argv[] = {path, NULL}, c;
	struct settings settings = {0};
	struct agent_command command = {.settings = &settings};
	struct agent_start s;
	struct error err;
	int status = 0;

	(void)state;
	memcpy(empty, record, sizeof(record));
	assert_int_equal(record_open(&settings.record, empty, sizeof(empty), &err), 0);
	assert_int_equal(pipe(told), 0);
	(void)signal(SIGTERM, on_signal);
	assert_int_equal(agent_spawn(&command, argv, -1, -1, &s), 0);
	assert_int_equal(kill(s.agent_pid, SIGTERM), 0);
	close(s.go); /* should it live on, it ends by this */
	assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
	close(told[1]);
	assert_int_equal(read(told[0], &c, 1), 0);
	(void)signal(SIGTERM, SIG_DFL);
	close(told[0]);
	close(s.out);
	close(s.err);
	close(s.report);
	close(s.pidfd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_I14_a_stop_before_the_start_is_not_ours),
	};

	return cmocka_run_group_tests_name("agent_signal", tests, NULL, NULL);
}
