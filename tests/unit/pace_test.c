/*
 * pace_test.c: what a peer's bytes may cost (I11).
 */
#include "test.h"

#include <string.h>

#include <event2/event.h>

#include "wire/pace.h"
#include "privsep/child.h"
#include "privsep/limits.h"

struct bed {
	struct event_base *base;
	struct pace pace;
	int woken[2];
};

static void
on_wake(void *ctx)
{
	++*(int *)ctx;
}

/* As if the turn had cost so many milliseconds of processor time: those of a busy machine pass otherwise. */
static void
turn_costs(struct pace *p, uint64_t ms)
{
	pace_begin(p);
	p->turn_ns -= ms * 1000000;
}

static void
test_I11_who_costs_too_much_rests(void **state)
{
	struct bed b = {.base = event_base_new()};
	struct pace_source s = {.wake = on_wake, .ctx = &b.woken[0]},
			   other = {.wake = on_wake, .ctx = &b.woken[1]};
	uint64_t began;

	(void)state;
	assert_int_equal(pace_init(&b.pace, b.base), 0);
	pace_begin(&b.pace);
	assert_int_equal(pace_end(&b.pace, &s), 0);
	b.pace.credit_us = 0; /* the burst is used up */
	began = now_ms();
	turn_costs(&b.pace, 50);
	assert_int_equal(pace_end(&b.pace, &s), 1);
	assert_int_equal(s.rests, 1);
	turn_costs(&b.pace, 10);
	assert_int_equal(pace_end(&b.pace, &other), 1);
	assert_int_equal(event_base_dispatch(b.base), 1); /* until nothing is left to wait for */
	/* 60 ms of work take 240 ms of time at 25 % */
	assert_true(now_ms() - began >= 60 * 100 / LIMIT_BUSY_PERCENT - 20);
	assert_int_equal(b.woken[0], 1);
	assert_int_equal(b.woken[1], 1);
	assert_int_equal(s.rests, 0);
	pace_clear(&b.pace);
	event_base_free(b.base);
}

static void
test_I11_each_has_its_own(void **state)
{
	struct bed b = {.base = event_base_new(), .pace = {.each = 1}};
	struct pace_source s = {.wake = on_wake, .ctx = &b.woken[0]},
			   other = {.wake = on_wake, .ctx = &b.woken[1]};
	uint64_t began = now_ms();

	(void)state;
	assert_int_equal(pace_init(&b.pace, b.base), 0);
	pace_begin(&b.pace);
	assert_int_equal(pace_end(&b.pace, &s), 0);
	s.credit_us = other.credit_us = 0;
	other.credit_ms = now_ms();
	turn_costs(&b.pace, 100);
	assert_int_equal(pace_end(&b.pace, &s), 1);
	pace_begin(&b.pace);
	pace_charge(&b.pace, 30000); /* another's work counts */
	assert_int_equal(pace_end(&b.pace, &other), 1);
	assert_int_equal(event_base_loop(b.base, EVLOOP_ONCE), 0);
	assert_int_equal(b.woken[1], 1); /* who costs less rests for less long */
	assert_int_equal(b.woken[0], 0);
	other.credit_us = 1000;
	pace_begin(&b.pace);
	assert_int_equal(pace_end(&b.pace, &other), 0); /* another's debt is not its own */
	assert_int_equal(event_base_dispatch(b.base), 1);
	assert_int_equal(b.woken[0], 1);
	assert_true(now_ms() - began >= 100 * 100 / LIMIT_BUSY_PERCENT - 20);
	pace_clear(&b.pace);
	event_base_free(b.base);
}

static void
test_I11_a_source_that_goes_is_not_woken(void **state)
{
	struct bed b = {.base = event_base_new()};
	struct pace_source s = {.wake = on_wake, .ctx = &b.woken[0]};

	(void)state;
	assert_int_equal(pace_init(&b.pace, b.base), 0);
	b.pace.credit_us = 0;
	turn_costs(&b.pace, 5);
	assert_int_equal(pace_end(&b.pace, &s), 1);
	pace_forget(&s);
	pace_forget(&s);
	assert_int_equal(event_base_dispatch(b.base), 1);
	assert_int_equal(b.woken[0], 0);
	/* the burst comes back, and no more than it */
	b.pace.credit_ms -= 3600000;
	pace_begin(&b.pace);
	assert_int_equal(pace_end(&b.pace, &s), 0);
	assert_in_range(b.pace.credit_us, 1, 1000 * 10 * LIMIT_BUSY_BURST_MS);
	pace_clear(&b.pace);
	event_base_free(b.base);
	/* no pace: nothing is limited */
	pace_begin(NULL);
	assert_int_equal(pace_end(NULL, &s), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_I11_who_costs_too_much_rests),
	    cmocka_unit_test(test_I11_each_has_its_own),
	    cmocka_unit_test(test_I11_a_source_that_goes_is_not_woken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
