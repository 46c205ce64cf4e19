/*
 * front.c: opamphub-front, the process of the hub that talks to agents.  It reads what they send and
 * tells the store in frames (frames.h); it has no file, no store, no program, no socket but what it
 * was handed and what it accepts.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "front.h"
#include "gzip.h"
#include "policy.h"
#include "privsep/log.h"
#include "server_tls.h"

#define HEAD_MS  10000
#define BODY_MS  30000
#define CLOSE_MS 2000
#define LEAVE_MS 1500

void
front_dies(const char *why)
{
	fatal("%s", why);
}

int
front_list_add(struct front_list *l, uint32_t number)
{
	size_t room = l->room == 0 ? 256 : 2 * l->room;
	uint32_t *bigger;

	if (l->count == l->room) {
		bigger = realloc(l->numbers, room * sizeof(*bigger));
		if (bigger == NULL)
			return -1;
		l->numbers = bigger;
		l->room = room;
	}
	l->numbers[l->count++] = number;
	return 0;
}

static uint32_t
seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint32_t)t.tv_sec + 1; /* 0 is "never" */
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct front *f = arg;

	(void)fd;
	(void)what;
	f->now_s = seconds();
	if (f->accepting != NULL && f->peers < f->max_agents)
		(void)event_add(f->accepting, NULL);
	agents_tick(f);
	answer_flush_sent(f);
}

static void
on_pushing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	answer_push(arg);
}

static void
on_frames_turn(void *ctx)
{
	answer_flush_sent(ctx);
}

static void
on_frames_drained(void *ctx)
{
	answer_push(ctx);
}

static void
on_frames_gone(void *ctx, const char *why)
{
	struct front *f = ctx;

	if (!f->leaving)
		fatal("the conversation with opamphub-store: %s", why);
}

static void
on_left(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)event_base_loopbreak(((struct front *)arg)->base);
}

/* CC-05: agents are told goodbye, with a time limit.  The pipe's end: the parent wants it, or died. */
static void
on_end(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval limit = {0, LEAVE_MS * 1000 % 1000000}, rest = {LEAVE_MS / 1000, 0};
	struct front *f = arg;
	struct peer *p, *next;
	struct timeval tv;

	(void)fd;
	(void)what;
	if (f->leaving)
		return;
	f->leaving = 1;
	(void)event_del(f->ending);
	front_stop_listening(f);
	for (p = LIST_FIRST(&f->all_peers); p != NULL; p = next) {
		next = LIST_NEXT(p, entry);
		server_leave(p->server, 1001, "the hub is leaving");
	}
	evutil_timeradd(&limit, &rest, &tv);
	(void)event_base_once(f->base, -1, EV_TIMEOUT, on_left, f, &tv);
}

static int
take_setup(struct front *f, struct error *err)
{
	struct record_entry e;
	size_t pos = 0;

	f->max_agents = record_u64(&f->setup.record, SETUP_MAX_AGENTS, LIMIT_HUB_AGENTS);
	f->silence_s = (uint32_t)record_u64(&f->setup.record, SETUP_SILENCE, 90);
	f->rules = (struct server_rules){"/v1/opamp",
	    (size_t)record_u64(&f->setup.record, SETUP_MESSAGE_LIMIT, LIMIT_HUB_MESSAGE), 256 * KIB,
	    HEAD_MS, BODY_MS, f->silence_s * 1500, CLOSE_MS, gzip_inflate, gzip_deflate, &f->budget,
	    &f->pace};
	f->budget.most = LIMIT_HUB_UNFINISHED;
	while (record_next(&f->setup.record, &pos, SETUP_CUSTOM, &e)) {
		char **more = realloc(f->custom, (f->custom_count + 1) * sizeof(*more));

		if (more == NULL)
			return error_set(err, "out of memory");
		f->custom = more;
		f->custom[f->custom_count] = strndup(e.value, e.len);
		if (f->custom[f->custom_count++] == NULL)
			return error_set(err, "out of memory");
	}
	return server_tls_new(&f->setup, &f->tls, err);
}

static int
begin(struct front *f, struct error *err)
{
	static const struct frames_callbacks callbacks = {
	    answer_frame, on_frames_turn, on_frames_drained, on_frames_gone};
	static const struct timeval second = {1, 0};

	struct event_config *changes = event_config_new();

	/* what a turn wants of a connection and takes back costs no call */
	if (changes != NULL) {
		(void)event_config_set_flag(changes, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
		f->base = event_base_new_with_config(changes);
		event_config_free(changes);
	}
	if (f->base == NULL)
		return error_set(err, "out of memory");
	f->frames = frames_new(f->base, SETUP_FD_FRAMES, 0, &callbacks, f);
	f->pace.each = 1;
	if (pace_init(&f->pace, f->base) == -1)
		return error_set(err, "out of memory");
	f->tick = event_new(f->base, -1, EV_PERSIST, on_tick, f);
	f->pushing = event_new(f->base, -1, 0, on_pushing, f);
	f->ending = event_new(f->base, SETUP_FD_ALIVE, EV_READ, on_end, f);
	if (f->frames == NULL || f->tick == NULL || f->pushing == NULL || f->ending == NULL ||
	    event_add(f->tick, &second) == -1 || event_add(f->ending, NULL) == -1)
		return error_set(err, "out of memory");
	f->now_s = seconds();
	return front_listen(f, err);
}

int
main(void)
{
	static struct front f = {.listener = -1};
	struct error err;

	setup_begin(&f.setup, "hub-front");
	TAILQ_INIT(&f.due);
	if (take_setup(&f, &err) == -1 || begin(&f, &err) == -1 ||
	    hub_sandbox(&policy_hub_front, &f.setup, -1, &err) == -1)
		fatal("%s", err.text);
	setup_ready();
	(void)event_base_dispatch(f.base);
	_exit(0);
}
