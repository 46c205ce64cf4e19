/*
 * parent_ready_test.c: what the service manager is told and when, with a datagram socket in its place.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "privsep/child.h"
#include "privsep/notify.h"
#include "privsep/parent.h"
#include "privsep/spawn_stage.h"

#define LIMIT_LONG 3600000 /* a limit that no test comes to */

static int manager = -1;
static char manager_name[64];
static struct parent parent;

static int
make_manager(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char *name = manager_name;
	socklen_t len;

	(void)state;
	/* an abstract one: nothing is left of it */
	(void)snprintf(name, sizeof(manager_name), "@opampd-ready-test-%d", getpid());
	memcpy(sun.sun_path, name, strlen(name));
	sun.sun_path[0] = '\0';
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (manager == -1 || bind(manager, (struct sockaddr *)&sun, len) == -1)
		return -1;
	notify_init(name);
	return 0;
}

static int
end_manager(void **state)
{
	(void)state;
	return close(manager);
}

static void
begin(uint64_t limit_ms)
{
	memset(&parent, 0, sizeof(parent));
	parent.base = event_base_new();
	assert_non_null(parent.base);
	parent_ready_begin(&parent, limit_ms);
}

static void
end(void)
{
	char text[1024];

	event_free(parent.ready.news);
	event_free(parent.ready.limit);
	event_free(parent.ready.again);
	event_free(parent.ready.watchdog);
	event_base_free(parent.base);
	while (recv(manager, text, sizeof(text), 0) > 0)
		;
}

static int
say(uint32_t what)
{
	struct msg_settled m = {what};

	return parent_ready_settled(&parent, &m);
}

/* What was told by now, without its time; "" for nothing. */
static const char *
heard(void)
{
	static char text[1024];
	ssize_t n = recv(manager, text, sizeof(text) - 1, 0);
	char *time;

	text[n > 0 ? n : 0] = '\0';
	time = strstr(text, "\nMONOTONIC_USEC=");
	if (time != NULL)
		*time = '\0';
	return text;
}

static void
turn(void)
{
	(void)event_base_loop(parent.base, EVLOOP_NONBLOCK);
}

/* Turns the loop until something is told, and gives how long that took. */
static uint64_t
wait_for(const char *want)
{
	uint64_t begun = now_ms();
	const char *got;

	for (;;) {
		got = heard();
		if (got[0] != '\0')
			break;
		(void)event_base_loop(parent.base, EVLOOP_ONCE);
	}
	assert_string_equal(got, want);
	return now_ms() - begun;
}

/* Reasons are told at once, and in these words. */
static void
test_why_not(void **state)
{
	static const struct {
		uint32_t what;
		struct msg_agent_exit end;
		const char *want;
	} cases[] = {
	    {SETTLED_WAITS, {0}, "no configuration yet: waiting for the server's"},
	    {SETTLED_STOPPED, {0}, "the server sent an empty configuration: no agent runs"},
	    {SETTLED_REFUSED, {0}, "the agent has nothing to run on (opampctl status shows why)"},
	    {SETTLED_ENDED, {.exit = EXIT_CODE, .value = 3},
		"the agent ended by itself with exit code 3: it is started again (opampctl log "
		"shows what it said)"},
	    {SETTLED_ENDED, {.exit = EXIT_OOM},
		"the agent was killed by the kernel: out of memory: it is started again (opampctl "
		"log shows what it said)"},
	    {SETTLED_ENDED, {.exit = EXIT_SPAWN, .value = 2, .stage = STAGE_OPEN},
		"the agent could not be started: opening agent.executable: No such file or "
		"directory: it is tried again"},
	    {SETTLED_GIVEN_UP, {.exit = EXIT_SIGNAL, .value = 11},
		"the agent was ended by signal 11 (Segmentation fault): given up "
		"(agent.restart.max_restarts); opampctl restart starts it again"},
	    /* a confd that lies: nothing has ended */
	    {SETTLED_ENDED, {.exit = 1000000, .value = -1},
		"the agent could not be started: it is started again (opampctl log shows what it "
		"said)"},
	};
	char want[512];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct msg_agent_exit e = cases[i].end;

		begin(LIMIT_LONG);
		e.kind = AGENT_RUN;
		parent_ready_agent_ended(&parent, &e);
		turn();
		assert_string_equal(heard(), "");
		assert_int_equal(say(cases[i].what), 0);
		turn();
		(void)snprintf(want, sizeof(want), "READY=1\nSTATUS=%s", cases[i].want);
		assert_string_equal(heard(), want);
		end();
	}
}

/* An end that was asked for, and the end of a validation, are no news. */
static void
test_other_ends(void **state)
{
	struct msg_agent_exit e = {.kind = AGENT_RUN, .exit = EXIT_CODE, .value = 3};

	(void)state;
	begin(LIMIT_LONG);
	parent_ready_agent_ended(&parent, &e);
	e = (struct msg_agent_exit){.kind = AGENT_VALIDATE, .exit = EXIT_CODE, .value = 4};
	parent_ready_agent_ended(&parent, &e);
	e = (struct msg_agent_exit){.kind = AGENT_RUN, .exit = EXIT_CODE, .value = 5, .asked = 1};
	parent_ready_agent_ended(&parent, &e);
	assert_int_equal(parent.ready.end.value, 3);
	end();
}

/* That it runs is told when it has done so for a while, without a break. */
static void
test_runs(void **state)
{
	uint64_t begun;

	(void)state;
	begin(LIMIT_LONG);
	assert_int_equal(say(SETTLED_RUNS), 0);
	assert_true(event_pending(parent.ready.news, EV_TIMEOUT, NULL) != 0);
	assert_string_equal(heard(), "");
	assert_int_equal(say(SETTLED_NOT), 0);
	assert_false(event_pending(parent.ready.news, EV_TIMEOUT, NULL));
	begun = now_ms();
	assert_int_equal(say(SETTLED_RUNS), 0);
	assert_int_equal(say(SETTLED_RUNS), 0);
	(void)wait_for("READY=1\nSTATUS=the agent runs");
	/* libevent's clock is the coarse one */
	assert_true(now_ms() - begun + 20 >= LIMIT_READY_LIVES_MS);
	/* ready is told once; and nothing twice */
	assert_int_equal(say(SETTLED_NOT), 0);
	assert_int_equal(say(SETTLED_RUNS), 0);
	assert_int_equal(say(SETTLED_WAITS), 0);
	(void)wait_for("STATUS=no configuration yet: waiting for the server's");
	end();
}

/* One that is not well yet has its time; a crash in it is told at once. */
static void
test_unwell(void **state)
{
	struct timeval due, before;

	(void)state;
	begin(LIMIT_LONG);
	(void)gettimeofday(&before, NULL);
	assert_int_equal(say(SETTLED_UNWELL), 0);
	assert_true(event_pending(parent.ready.news, EV_TIMEOUT, &due) != 0);
	assert_true(due.tv_sec - before.tv_sec + 1 >= LIMIT_READY_UNWELL_MS / 1000);
	assert_int_equal(say(SETTLED_ENDED), 0);
	turn();
	assert_true(strncmp(heard(), "READY=1\nSTATUS=the agent ", 25) == 0);
	end();
}

/* Whatever confd says or does not say, the manager's patience is not used up. */
static void
test_limit(void **state)
{
	static const char unknown[] =
	    "READY=1\nSTATUS=whether the agent runs is not known yet (opampctl status, and the "
	    "log)";
	const char *got;

	(void)state;
	begin(50);
	(void)wait_for(unknown);
	end();
	begin(50);
	do {
		assert_int_equal(say(SETTLED_RUNS), 0);
		assert_int_equal(say(SETTLED_NOT), 0);
		turn();
		got = heard();
	} while (got[0] == '\0');
	assert_string_equal(got, unknown);
	end();
}

/* However often a confd that was taken over speaks, the manager hears one word in a while. */
static void
test_I11_pace(void **state)
{
	uint64_t begun;
	unsigned i, told = 0;

	(void)state;
	begin(LIMIT_LONG);
	assert_int_equal(say(SETTLED_WAITS), 0);
	turn();
	assert_true(strncmp(heard(), "READY=1\n", 8) == 0);
	begun = now_ms();
	while (now_ms() - begun < LIMIT_READY_LIVES_MS / 2)
		for (i = SETTLED_NOT; i < SETTLED_COUNT; i++) {
			assert_int_equal(say(i), 0);
			turn();
			told += heard()[0] != '\0';
		}
	assert_true(told <= (now_ms() - begun) / LIMIT_READY_LIVES_MS);
	/* the last one is not lost */
	while (strstr(parent.ready.status, "given up") == NULL)
		(void)event_base_loop(parent.base, EVLOOP_ONCE);
	end();
}

static void
test_I14_out_of_range(void **state)
{
	(void)state;
	begin(LIMIT_LONG);
	assert_int_equal(say(SETTLED_COUNT), -1);
	assert_int_equal(say(~0u), -1);
	turn();
	assert_string_equal(heard(), "");
	end();
}

/* A reload before it is ready is not told: READY=1 at its end would be wrong. */
static void
test_reload(void **state)
{
	(void)state;
	begin(LIMIT_LONG);
	parent_ready_reloads(&parent, 0);
	parent_ready_reloads(&parent, 1);
	assert_string_equal(heard(), "");
	assert_int_equal(say(SETTLED_WAITS), 0);
	turn();
	assert_true(strncmp(heard(), "READY=1\n", 8) == 0);
	parent_ready_reloads(&parent, 0);
	assert_string_equal(heard(), "RELOADING=1");
	parent_ready_reloads(&parent, 1);
	assert_string_equal(heard(), "READY=1");
	parent_ready_ends(&parent);
	assert_string_equal(heard(), "STOPPING=1\nSTATUS=shutting down");
	end();
}

/* A word on a refused upgrade stands for a while, then the one on the agent again, which has not changed. */
static void
test_refused_upgrade(void **state)
{
	struct timeval now, due;

	(void)state;
	begin(LIMIT_LONG);
	parent_ready_upgrades(&parent, 0);
	assert_string_equal(heard(), "STATUS=looking at the new program");
	parent_ready_upgrades(&parent, 1); /* before it is ready: that word is to come anyway */
	assert_string_equal(heard(), "STATUS=an upgrade was refused: the log says why");
	assert_false(event_pending(parent.ready.again, EV_TIMEOUT, NULL));
	assert_int_equal(say(SETTLED_WAITS), 0);
	turn();
	assert_string_equal(
	    heard(), "READY=1\nSTATUS=no configuration yet: waiting for the server's");
	parent_ready_upgrades(&parent, 0);
	parent_ready_upgrades(&parent, 1);
	assert_string_equal(heard(), "STATUS=looking at the new program");
	assert_string_equal(heard(), "STATUS=an upgrade was refused: the log says why");
	(void)gettimeofday(&now, NULL);
	assert_true(event_pending(parent.ready.again, EV_TIMEOUT, &due) != 0);
	assert_true(due.tv_sec <= now.tv_sec + LIMIT_READY_REFUSED_MS / 1000 + 1);
	event_active(parent.ready.again, EV_TIMEOUT, 1); /* as if that were over */
	turn();
	assert_string_equal(heard(), "STATUS=no configuration yet: waiting for the server's");
	parent_ready_upgrades(&parent, 1);
	parent_ready_upgrades(&parent, 0); /* the next one is asked for meanwhile */
	assert_false(event_pending(parent.ready.again, EV_TIMEOUT, NULL));
	end();
}

/* At once, not only after a while: at an upgrade the manager has waited since the one before. */
static void
test_watchdog(void **state)
{
	(void)state;
	assert_int_equal(setenv("WATCHDOG_USEC", "7200000000", 1), 0);
	(void)unsetenv("WATCHDOG_PID");
	notify_init(manager_name);
	begin(LIMIT_LONG);
	assert_string_equal(heard(), "WATCHDOG=1");
	assert_string_equal(heard(), "");
	assert_true(event_pending(parent.ready.watchdog, EV_TIMEOUT, NULL) != 0);
	end();
	assert_int_equal(setenv("WATCHDOG_USEC", "0", 1), 0);
	notify_init(manager_name);
	begin(LIMIT_LONG);
	assert_string_equal(heard(), "");
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_why_not),
	    cmocka_unit_test(test_other_ends),
	    cmocka_unit_test(test_runs),
	    cmocka_unit_test(test_unwell),
	    cmocka_unit_test(test_limit),
	    cmocka_unit_test(test_I11_pace),
	    cmocka_unit_test(test_I14_out_of_range),
	    cmocka_unit_test(test_reload),
	    cmocka_unit_test(test_refused_upgrade),
	    cmocka_unit_test(test_watchdog),
	};

	log_init("test", LOG_SINK_STDERR, LOG_LEVEL_NOTHING);
	return cmocka_run_group_tests_name("parent_ready", tests, make_manager, end_manager);
}
