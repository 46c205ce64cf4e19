/*
 * pace.c: a bucket of processor time for what peers send (see pace.h).  netd, link.
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

static void
refill(struct pace *p)
{
	uint64_t now = now_ms(), passed = now - p->credit_ms;

	p->credit_ms = now;
	if (passed >= BURST_US / PER_MS * 2)
		p->credit_us = BURST_US;
	else
		p->credit_us += (int64_t)passed * PER_MS;
	if (p->credit_us > BURST_US)
		p->credit_us = BURST_US;
}

/* When the debt is paid, and not before. */
static void
wait_for_credit(struct pace *p)
{
	uint64_t ms = p->credit_us < 0 ? (uint64_t)-p->credit_us / PER_MS : 0;
	struct timeval tv;

	if (ms < REST_MS)
		ms = REST_MS;
	tv = (struct timeval){(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
	(void)event_add(p->timer, &tv);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct pace *p = arg;
	struct pace_source *s;

	(void)fd;
	(void)what;
	refill(p);
	if (p->credit_us < 0) {
		wait_for_credit(p);
		return;
	}
	while ((s = LIST_FIRST(&p->resting)) != NULL) {
		pace_forget(s);
		s->wake(s->ctx);
	}
}

int
pace_init(struct pace *p, struct event_base *base)
{
	memset(p, 0, sizeof(*p));
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
	if (p == NULL || p->timer == NULL)
		return 0;
	refill(p);
	p->credit_us -= (int64_t)(processor_ns() - p->turn_ns) / 1000;
	if (p->credit_us >= 0 || s->rests)
		return s->rests;
	s->rests = 1;
	LIST_INSERT_HEAD(&p->resting, s, entry);
	wait_for_credit(p);
	return 1;
}

void
pace_forget(struct pace_source *s)
{
	if (s->rests)
		LIST_REMOVE(s, entry);
	s->rests = 0;
}
