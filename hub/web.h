/*
 * web.h: the page and the API on the page's port.  opamphub-store.
 */
#ifndef HUB_WEB_H
#define HUB_WEB_H

#include "fleet.h"
#include "setup.h"

struct web;

/* Before the sandbox.  Nothing is accepted yet. */
struct web *web_new(struct event_base *base, const struct setup *setup, struct error *err);

/* Begins to accept on SETUP_FD_LISTENER. */
int web_serve(struct web *w, struct fleet *fleet, struct error *err);

/* For those that watch (GET /api/v1/stream). */
void web_news(struct web *w, enum fleet_news news, const uint8_t *uid, uint64_t id);

#endif
