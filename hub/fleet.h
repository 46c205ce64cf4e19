/*
 * fleet.h: what the hub knows of its agents while it runs, and what it wants of them: takes front's
 * reports to the store, decides what each agent is to run, and tells front.  opamphub-store.
 * What is told to agents or to watchers is on the disk before.
 */
#ifndef HUB_FLEET_H
#define HUB_FLEET_H

#include <sys/queue.h>

#include <jansson.h>

#include "frames.h"
#include "hub.h"
#include "selector.h"
#include "store.h"

struct event_base;
struct fleet;

enum fleet_news {
	NEWS_AGENT,         /* uid: it is new, or something of it changed */
	NEWS_GONE,          /* uid: forgotten */
	NEWS_CONFIGURATION, /* id: made, deleted, or it has a new version */
	NEWS_ASSIGNMENT,    /* id: made or deleted */
	NEWS_SETTINGS,      /* id */
};

/* After each commit, for each that changed. */
typedef void (*fleet_watcher)(void *ctx, enum fleet_news news, const uint8_t *uid, uint64_t id);

/* fd: the conversation with front.  custom: capabilities that the hub announces.  NULL: err. */
struct fleet *fleet_new(struct event_base *base, struct store *store, int fd, uint64_t max_agents,
    fleet_watcher watch, void *ctx, struct error *err);
struct store *fleet_store(struct fleet *f);

/* Is there a conversation with it now? */
int fleet_is_connected(struct fleet *f, const uint8_t uid[16]);

/* The rest returns 0 and is done for good, or -1 with err; 1 where it says so. */

/* A new configuration or version (files: checked by config_files_check). */
int fleet_configuration_new(struct fleet *f, struct bytes name, uint64_t *id, struct error *err);
int fleet_configuration_delete(
    struct fleet *f, uint64_t id, struct error *err); /* 1: it was there */
int fleet_version_new(struct fleet *f, uint64_t configuration, const json_t *files,
    struct bytes author, struct bytes comment, uint64_t *id, struct error *err);

/* a: version, uid or selector, author; id is filled. */
int fleet_assign(struct fleet *f, struct assignment *a, struct error *err);
int fleet_unassign(struct fleet *f, uint64_t id, struct error *err); /* 1: it was there */

enum fleet_answer {
	FLEET_SENT,    /* it is on its way */
	FLEET_UNKNOWN, /* no such agent */
	FLEET_AWAY,    /* it is not connected */
	FLEET_UNABLE,  /* its capabilities do not allow it */
	FLEET_FAILED,  /* err */
};
enum fleet_answer fleet_restart(
    struct fleet *f, const uint8_t uid[16], struct bytes author, struct error *err);
/* The version that is due to it is offered once more. */
enum fleet_answer fleet_resend(
    struct fleet *f, const uint8_t uid[16], struct bytes author, struct error *err);
enum fleet_answer fleet_message(struct fleet *f, const uint8_t uid[16], struct bytes capability,
    struct bytes type, struct bytes data, struct bytes author, struct error *err);
enum fleet_answer fleet_forget(
    struct fleet *f, const uint8_t uid[16], struct bytes author, struct error *err);

/* Connection settings: o's selector, body (checked by settings_offer_check), author; id is filled. */
int fleet_settings_new(struct fleet *f, struct settings_offer *o, struct error *err);
int fleet_settings_delete(struct fleet *f, uint64_t id, struct error *err); /* 1: it was there */

/* Numbers for /metrics. */
struct fleet_figures {
	uint64_t reports, commits, offers, commands, messages, unsent, conversations;
};
struct fleet_figures fleet_figures(const struct fleet *f);

#endif
