/*
 * pace.c: a bucket of processor time for what peers send (see pace.h).  netd, link, hub.
 */
#include "pace.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

#include <event2/event.h>

#include "privsep/child.h"
#include "privsep/limits.h"

#define REST_MS 10                        /* at least: waking up costs something too */
#define PER_MS  (10 * LIMIT_BUSY_PERCENT) /* microseconds that a millisecond brings */
#ifdef OPAMPD_SANITIZED /* ten times as slow, with the same time limits in the tests */
#define BURST_US (10000 * (int64_t)LIMIT_BUSY_BURST_MS)
#else
#define BURST_US (1000 * (int64_t)LIMIT_BUSY_BURST_MS)
#endif

static uint64_t
processor_ns(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == -1)
		return 0;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* At credit_ms 0 the burst is there. */
static void
fill(int64_t *credit_us, uint64_t *credit_ms)
{
	uint64_t now = now_ms(), passed = now - *credit_ms;

	*credit_ms = now;
	if (passed >= BURST_US / PER_MS * 2)
		*credit_us = BURST_US;
	else
		*credit_us += (int64_t)passed * PER_MS;
	if (*credit_us > BURST_US)
		*credit_us = BURST_US;
}

/* What the source may cost still. */
static int64_t *
credit_of(struct pace *p, struct pace_source *s)
{
	if (p->each)
		fill(&s->credit_us, &s->credit_ms);
	else
		fill(&p->credit_us, &p->credit_ms);
	return p->each ? &s->credit_us : &p->credit_us;
}

/* When the debt is paid, and not before. */
static void
wait_for_credit(struct pace *p, int64_t credit_us)
{
	uint64_t ms = credit_us < 0 ? (uint64_t)-credit_us / PER_MS : 0;
	struct timeval tv;

	if (ms < REST_MS)
		ms = REST_MS;
	if (p->each && event_pending(p->timer, EV_TIMEOUT, NULL) && p->wake_ms <= now_ms() + ms)
		return; /* somebody's time comes earlier */
	p->wake_ms = now_ms() + ms;
	tv = (struct timeval){(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
	(void)event_add(p->timer, &tv);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct pace *p = arg;
	struct pace_list woken = LIST_HEAD_INITIALIZER(woken);
	struct pace_source *s, *next;
	int64_t credit, least = INT64_MIN;

	(void)fd;
	(void)what;
	for (s = LIST_FIRST(&p->resting); s != NULL; s = next) {
		next = LIST_NEXT(s, entry);
		credit = *credit_of(p, s);
		if (credit >= 0) {
			LIST_REMOVE(s, entry);
			LIST_INSERT_HEAD(&woken, s, entry);
		} else if (credit > least)
			least = credit;
	}
	if (least != INT64_MIN)
		wait_for_credit(p, least);
	while ((s = LIST_FIRST(&woken)) != NULL) { /* it, or another, may go meanwhile */
		pace_forget(s);
		s->wake(s->ctx);
	}
}

int
pace_init(struct pace *p, struct event_base *base)
{
	int each = p->each;

	memset(p, 0, sizeof(*p));
	p->each = each;
	LIST_INIT(&p->resting);
	p->credit_us = BURST_US;
	p->credit_ms = now_ms();
	p->timer = event_new(base, -1, 0, on_timer, p);
	return p->timer == NULL ? -1 : 0;
}

void
pace_clear(struct pace *p)
{
	if (p->timer != NULL)
		event_free(p->timer);
	p->timer = NULL;
}

void
pace_begin(struct pace *p)
{
	if (p != NULL && p->timer != NULL)
		p->turn_ns = processor_ns();
}

int
pace_end(struct pace *p, struct pace_source *s)
{
	int64_t *credit;

	if (p == NULL || p->timer == NULL)
		return 0;
	credit = credit_of(p, s);
	*credit -= (int64_t)(processor_ns() - p->turn_ns) / 1000;
	if (*credit >= 0 || s->rests)
		return s->rests;
	s->rests = 1;
	LIST_INSERT_HEAD(&p->resting, s, entry);
	wait_for_credit(p, *credit);
	return 1;
}

void
pace_charge(struct pace *p, uint64_t us)
{
	if (p != NULL)
		p->turn_ns -= us * 1000;
}

void
pace_forget(struct pace_source *s)
{
	if (s->rests)
		LIST_REMOVE(s, entry);
	s->rests = 0;
}
