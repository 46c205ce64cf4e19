/*
 * storeproc.c: opamphub-store, the process of the hub that keeps the fleet and serves page and API.
 * It writes its store's directory and nothing else; what agents send reaches it only as front's
 * frames, what browsers send is read in web.c and api*.c.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include <event2/event.h>

#include "fleet.h"
#include "policy.h"
#include "privsep/log.h"
#include "web.h"

struct storeproc {
	struct event_base *base;
	struct setup setup;
	struct store *store;
	struct fleet *fleet;
	struct web *web;
	struct event *ending;
	int dir;
};

/* The pipe's end: the parent wants us to end, or died. */
static void
on_end(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)event_base_loopbreak(((struct storeproc *)arg)->base);
}

static void
on_news(void *ctx, enum fleet_news news, const uint8_t *uid, uint64_t id)
{
	struct storeproc *p = ctx;

	if (p->web != NULL)
		web_news(p->web, news, uid, id);
}

static int
begin(struct storeproc *p, struct error *err)
{
	char *path = record_string(&p->setup.record, SETUP_STORE);
	int rooted;

	p->base = event_base_new();
	/* who looks at the page goes before what thousands of agents say */
	if (path == NULL || p->base == NULL || event_base_priority_init(p->base, 2) == -1)
		return error_set(err, "out of memory");
	p->dir = SETUP_FD_STORE;
	/* a web server before the sandbox: TLS makes all it makes lazily */
	p->web = web_new(p->base, &p->setup, err);
	rooted = p->web == NULL ? -1 : hub_sandbox(&policy_hub_store, &p->setup, p->dir, err);
	if (rooted == -1)
		return -1;
	close(p->dir); /* it leads out of the root */
	p->store = hub_store_open(rooted ? "" : path, err);
	if (p->store == NULL)
		return rooted ? error_prefix(err, "the store in %s", path) : -1;
	p->fleet = fleet_new(p->base, p->store, SETUP_FD_FRAMES,
	    record_u64(&p->setup.record, SETUP_MAX_AGENTS, LIMIT_HUB_AGENTS), on_news, p, err);
	if (p->fleet == NULL)
		return error_prefix(err, "the store in %s", path);
	free(path);
	p->ending = event_new(p->base, SETUP_FD_ALIVE, EV_READ, on_end, p);
	if (p->ending == NULL || event_add(p->ending, NULL) == -1)
		return error_set(err, "out of memory");
	return web_serve(p->web, p->fleet, err);
}

int
main(void)
{
	static struct storeproc p;
	struct error err;

	setup_begin(&p.setup, "hub-store");
	if (begin(&p, &err) == -1)
		fatal("%s", err.text);
	setup_ready();
	(void)event_base_dispatch(p.base);
	hub_store_close(p.store);
	_exit(0);
}
