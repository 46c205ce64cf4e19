/*
 * supervise_test.c: procd's state machine, event by event, with a clock of the test's own.
 */
#include "test.h"

#include <signal.h>
#include <string.h>

#include "procd/supervise.h"

struct fake {
	struct supervise s;
	uint64_t now, timers[TIMER_COUNT];
	struct msg_agent_start started[16];
	size_t starts, signals, kills, jobs;
	int last_signal;
	uint32_t killed;
	struct msg_state state;
	struct msg_job_done job;
	uint32_t next_start;
};

static void
do_start(void *ctx, const struct msg_agent_start *m)
{
	struct fake *f = ctx;

	f->started[f->starts++ % 16] = *m;
}

static void
do_signal(void *ctx, uint32_t start, int sig)
{
	struct fake *f = ctx;

	(void)start;
	f->signals++;
	f->last_signal = sig;
}

static void
do_kill(void *ctx, uint32_t start)
{
	struct fake *f = ctx;

	f->kills++;
	f->killed = start;
}

static void
do_timer(void *ctx, enum supervise_timer t, uint64_t ms)
{
	((struct fake *)ctx)->timers[t] = ms;
}

static void
do_state(void *ctx, const struct msg_state *m)
{
	((struct fake *)ctx)->state = *m;
}

static void
do_job_done(void *ctx, const struct msg_job_done *m)
{
	struct fake *f = ctx;

	f->jobs++;
	f->job = *m;
}

static uint64_t
do_now(void *ctx)
{
	return ((struct fake *)ctx)->now;
}

static const struct supervise_ops ops = {
    do_start, do_signal, do_kill, do_timer, do_state, do_job_done, do_now};

static void
init(struct fake *f)
{
	const struct supervise_settings set = {.stop_signal = SIGTERM,
	    .reload_signal = SIGHUP,
	    .grace_ms = 10000,
	    .delay_min_ms = 100,
	    .delay_max_ms = 60000,
	    .reset_ms = 60000,
	    .validate_ms = 20000,
	    .probe_ms = 10000};

	memset(f, 0, sizeof(*f));
	f->now = 1000;
	supervise_init(&f->s, &ops, f, &set);
}

static void
run(struct fake *f, enum run_how how, uint64_t generation)
{
	struct msg_run m = {.how = how, .generation = generation, .token = 1000 + generation};

	assert_int_equal(supervise_run(&f->s, &m), 0);
}

static void
stop(struct fake *f)
{
	struct msg_run m = {.token = 5};

	supervise_stop(&f->s, &m);
}

static void
started(struct fake *f, enum agent_kind kind, uint64_t generation)
{
	struct msg_agent m = {.start = ++f->next_start,
	    .kind = kind,
	    .pid = 100 + (int32_t)f->next_start,
	    .generation = generation,
	    .started_ns = 77};

	assert_int_equal(supervise_started(&f->s, &m), 0);
}

static void
exited(struct fake *f, enum agent_kind kind, enum exit_kind how, int value)
{
	struct msg_agent_exit m = {
	    .start = f->next_start, .kind = kind, .exit = how, .value = value};

	assert_int_equal(supervise_exited(&f->s, &m), 0);
}

static void
test_HL_01_start_and_its_time(void **state)
{
	struct fake f;

	(void)state;
	init(&f);
	run(&f, RUN_ENSURE, 3);
	assert_int_equal(f.starts, 1);
	assert_int_equal(f.started[0].generation, 3);
	assert_int_equal(f.state.state, AGENT_STARTING);
	started(&f, AGENT_RUN, 3);
	assert_int_equal(f.state.state, AGENT_RUNNING);
	assert_int_equal(f.state.started_ns, 77);
	assert_int_equal(f.state.token, 1003);
	run(&f, RUN_ENSURE, 3); /* it runs: nothing happens */
	assert_int_equal(f.starts, 1);
	assert_int_equal(f.signals, 0);
}

static void
test_RC_01_restart_waits_for_the_end(void **state)
{
	struct fake f;

	(void)state;
	init(&f);
	run(&f, RUN_ENSURE, 1);
	started(&f, AGENT_RUN, 1);
	run(&f, RUN_RESTART, 2);
	assert_int_equal(f.last_signal, SIGTERM);
	assert_int_equal(f.timers[TIMER_GRACE], 10000);
	assert_int_equal(f.starts, 1); /* never twice (I9) */
	exited(&f, AGENT_RUN, EXIT_CODE, 0);
	assert_int_equal(f.starts, 2);
	assert_int_equal(f.started[1].generation, 2);
	started(&f, AGENT_RUN, 2);
	assert_int_equal(f.state.generation, 2);
	assert_int_equal(f.state.exit, EXIT_NONE); /* an end that was asked for is no news */
}

static void
test_stop_grace_kill(void **state)
{
	struct fake f;

	(void)state;
	init(&f);
	run(&f, RUN_ENSURE, 1);
	started(&f, AGENT_RUN, 1);
	stop(&f);
	assert_int_equal(f.state.state, AGENT_STOPPING);
	supervise_timeout(&f.s, TIMER_GRACE);
	assert_int_equal(f.killed, f.next_start);
	exited(&f, AGENT_RUN, EXIT_SIGNAL, SIGKILL);
	assert_int_equal(f.state.state, AGENT_STOPPED);
	assert_int_equal(f.state.started_ns, 0);
	assert_int_equal(f.starts, 1);
}

static void
test_crash_back_off_doubles_and_resets(void **state)
{
	static const uint64_t delays[] = {
	    100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000};
	struct fake f;
	size_t i;

	(void)state;
	init(&f);
	run(&f, RUN_ENSURE, 1);
	for (i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
		started(&f, AGENT_RUN, 1);
		exited(&f, AGENT_RUN, EXIT_SIGNAL, SIGSEGV);
		assert_int_equal(f.state.state, AGENT_BACKOFF);
		assert_int_equal(f.timers[TIMER_BACKOFF], delays[i]);
		assert_int_equal(f.state.next_ms, delays[i]);
		assert_int_equal(f.state.exit, EXIT_SIGNAL);
		assert_int_equal(f.state.value, SIGSEGV);
		supervise_timeout(&f.s, TIMER_BACKOFF);
	}
	started(&f, AGENT_RUN, 1);
	assert_int_equal(f.state.restarts, 12);
	f.now += 60000; /* a stable minute */
	exited(&f, AGENT_RUN, EXIT_CODE, 1);
	assert_int_equal(f.timers[TIMER_BACKOFF], 100);
}

/* By the parent, since its command has changed: no crash, and no waiting. */
static void
test_an_end_the_parent_asked_for(void **state)
{
	struct fake f;
	struct msg_agent_exit m = {
	    .start = 1, .kind = AGENT_RUN, .exit = EXIT_CODE, .asked = 1, .generation = 3};

	(void)state;
	init(&f);
	run(&f, RUN_RESTART, 3);
	started(&f, AGENT_RUN, 3);
	assert_int_equal(supervise_exited(&f.s, &m), 0);
	assert_int_equal(f.state.state, AGENT_STARTING);
	assert_int_equal(f.starts, 2);
	assert_int_equal(f.state.restarts, 0);
	assert_int_equal(f.state.exit, EXIT_NONE);
}

static void
test_ceiling(void **state)
{
	struct fake f;

	(void)state;
	init(&f);
	f.s.set.ceiling = 2;
	run(&f, RUN_ENSURE, 1);
	started(&f, AGENT_RUN, 1);
	exited(&f, AGENT_RUN, EXIT_CODE, 1);
	supervise_timeout(&f.s, TIMER_BACKOFF);
	started(&f, AGENT_RUN, 1);
	exited(&f, AGENT_RUN, EXIT_CODE, 1);
	supervise_timeout(&f.s, TIMER_BACKOFF);
	started(&f, AGENT_RUN, 1);
	exited(&f, AGENT_RUN, EXIT_CODE, 1);
	assert_int_equal(f.state.state, AGENT_GIVEN_UP);
	run(&f, RUN_RESTART, 2); /* a new configuration is a new chance (I14) */
	assert_int_equal(f.state.state, AGENT_STARTING);
}

static void
test_a_start_that_fails_is_tried_again(void **state)
{
	struct msg_agent_exit m = {.kind = AGENT_RUN, .exit = EXIT_SPAWN, .value = 26, .stage = 9};
	struct fake f;

	(void)state;
	init(&f);
	run(&f, RUN_ENSURE, 1);
	assert_int_equal(supervise_exited(&f.s, &m), 0);
	assert_int_equal(f.state.state, AGENT_BACKOFF);
	assert_int_equal(f.state.exit, EXIT_SPAWN);
	assert_int_equal(f.state.stage, 9);
	supervise_timeout(&f.s, TIMER_BACKOFF);
	assert_int_equal(f.starts, 2);
}

static void
test_reload_is_a_signal_and_its_end_is_told(void **state)
{
	struct fake f;

	(void)state;
	init(&f);
	run(&f, RUN_ENSURE, 1);
	started(&f, AGENT_RUN, 1);
	run(&f, RUN_RELOAD, 2);
	assert_int_equal(f.last_signal, SIGHUP);
	assert_int_equal(f.state.state, AGENT_RUNNING);
	assert_int_equal(f.state.generation, 2);
	exited(&f, AGENT_RUN, EXIT_CODE, 1);
	assert_int_equal(f.state.state, AGENT_BACKOFF);
	assert_int_equal(f.state.exit_start, f.next_start);
	run(&f, RUN_RESTART, 1); /* confd goes back */
	assert_int_equal(f.started[1].generation, 1);
}

static void
test_I7_a_new_procd_takes_over(void **state)
{
	struct fake f;

	(void)state;
	init(&f);
	started(&f, AGENT_RUN, 9);
	assert_int_equal(f.state.state, AGENT_RUNNING);
	assert_int_equal(f.state.generation, 9);
	run(&f, RUN_ENSURE, 9);
	assert_int_equal(f.starts, 0);
	assert_int_equal(f.signals, 0);
	exited(&f, AGENT_RUN, EXIT_CODE, 3);
	supervise_timeout(&f.s, TIMER_BACKOFF);
	assert_int_equal(f.started[0].generation, 9);
	/* with confd away it goes on with what it found */
	init(&f);
	started(&f, AGENT_RUN, 9);
	exited(&f, AGENT_RUN, EXIT_CODE, 3);
	supervise_timeout(&f.s, TIMER_BACKOFF);
	assert_int_equal(f.started[0].generation, 9);
}

static void
test_orders_that_cross_a_start(void **state)
{
	struct fake f;

	(void)state;
	init(&f);
	run(&f, RUN_ENSURE, 1);
	run(&f, RUN_RESTART, 2); /* before the parent said that 1 runs */
	started(&f, AGENT_RUN, 1);
	assert_int_equal(f.state.state, AGENT_STOPPING);
	exited(&f, AGENT_RUN, EXIT_CODE, 0);
	assert_int_equal(f.started[1].generation, 2);
	stop(&f);
	started(&f, AGENT_RUN, 2);
	assert_int_equal(f.state.state, AGENT_STOPPING);
	run(&f, RUN_ENSURE, 3);
	exited(&f, AGENT_RUN, EXIT_CODE, 0);
	assert_int_equal(f.started[2].generation, 3);
}

static void
test_jobs(void **state)
{
	struct msg_job job = {.kind = AGENT_VALIDATE, .generation = 4, .token = 44}, other = job;
	struct fake f;

	(void)state;
	init(&f);
	assert_int_equal(supervise_job(&f.s, &job), 0);
	assert_int_equal(f.timers[TIMER_JOB], 20000);
	started(&f, AGENT_VALIDATE, 4);
	exited(&f, AGENT_VALIDATE, EXIT_CODE, 1);
	assert_int_equal(f.job.token, 44);
	assert_int_equal(f.job.exit, EXIT_CODE);
	assert_int_equal(f.job.value, 1);
	/* too long */
	assert_int_equal(supervise_job(&f.s, &job), 0);
	started(&f, AGENT_VALIDATE, 4);
	supervise_timeout(&f.s, TIMER_JOB);
	assert_int_equal(f.killed, f.next_start);
	exited(&f, AGENT_VALIDATE, EXIT_SIGNAL, SIGKILL);
	assert_int_equal(f.job.exit, EXIT_TIMEOUT);
	/* also where the parent took longer to start it than it may take */
	assert_int_equal(supervise_job(&f.s, &job), 0);
	supervise_timeout(&f.s, TIMER_JOB);
	started(&f, AGENT_VALIDATE, 4);
	assert_int_equal(f.killed, f.next_start);
	exited(&f, AGENT_VALIDATE, EXIT_SIGNAL, SIGKILL);
	assert_int_equal(f.job.exit, EXIT_TIMEOUT);
	/* a newer one drops the older, whose end is not told */
	assert_int_equal(supervise_job(&f.s, &job), 0);
	started(&f, AGENT_VALIDATE, 4);
	other.token = 55;
	assert_int_equal(supervise_job(&f.s, &other), 0);
	f.jobs = 0;
	exited(&f, AGENT_VALIDATE, EXIT_SIGNAL, SIGKILL);
	assert_int_equal(f.jobs, 0);
	started(&f, AGENT_VALIDATE, 4);
	exited(&f, AGENT_VALIDATE, EXIT_CODE, 0);
	assert_int_equal(f.job.token, 55);
}

static void
test_I6_fields_out_of_range(void **state)
{
	struct msg_run r = {.how = 9};
	struct msg_job j = {.kind = AGENT_RUN};
	struct msg_agent a = {.start = 0, .kind = AGENT_RUN};
	struct msg_agent_exit e = {.kind = 7};
	struct fake f;

	(void)state;
	init(&f);
	assert_int_equal(supervise_run(&f.s, &r), -1);
	r = (struct msg_run){.how = RUN_ENSURE, .flags = 0x80};
	assert_int_equal(supervise_run(&f.s, &r), -1);
	assert_int_equal(supervise_job(&f.s, &j), -1);
	assert_int_equal(supervise_started(&f.s, &a), -1);
	assert_int_equal(supervise_exited(&f.s, &e), -1);
	assert_int_equal(f.starts, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_HL_01_start_and_its_time),
	    cmocka_unit_test(test_RC_01_restart_waits_for_the_end),
	    cmocka_unit_test(test_stop_grace_kill),
	    cmocka_unit_test(test_crash_back_off_doubles_and_resets),
	    cmocka_unit_test(test_ceiling),
	    cmocka_unit_test(test_an_end_the_parent_asked_for),
	    cmocka_unit_test(test_a_start_that_fails_is_tried_again),
	    cmocka_unit_test(test_reload_is_a_signal_and_its_end_is_told),
	    cmocka_unit_test(test_I7_a_new_procd_takes_over),
	    cmocka_unit_test(test_orders_that_cross_a_start),
	    cmocka_unit_test(test_jobs),
	    cmocka_unit_test(test_I6_fields_out_of_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
