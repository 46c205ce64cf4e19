/*
 * store.h: what the hub keeps, behind one thin interface, so that another database can stand beside
 * SQLite.  opamphub-store.  Nothing here knows SQL, JSON or HTTP.
 *
 * Everything between store_begin and store_commit is kept whole or not at all, and is on the disk when
 * store_commit has returned 0.  Times are Unix nanoseconds.  Texts are UTF-8.  What a getter hands out
 * is borrowed until the callback returns.  A callback that returns other than 0 ends the walk.
 * Functions return 0, or -1 with err; getters and those that delete give 1 when there was something,
 * 0 when not.  A callback may use the store, but for the function that calls it.
 */
#ifndef HUB_STORE_H
#define HUB_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "privsep/error.h"

struct store;

/* dir: an open directory that is ours alone; made and migrated as needed. */
struct store *hub_store_open(const char *dir, struct error *err);
void hub_store_close(struct store *s);
int store_begin(struct store *s, struct error *err);
int store_commit(struct store *s, struct error *err);
void store_rollback(struct store *s);

/* 1: since it was asked last the store itself has failed (a full disk), not what was asked of it. */
int store_failed(struct store *s);

struct bytes {
	const char *data; /* NULL: not there */
	size_t len;
};

/* ---- agents */

enum agent_part { /* the large ones, each kept by itself */
	PART_NONE,
	PART_DESCRIPTION, /* JSON */
	PART_HEALTH,      /* JSON */
	PART_EFFECTIVE,   /* JSON: {"files": {name: {"content_type", "body"}}} */
	PART_COMPONENTS,  /* JSON */
	PART_PACKAGES,    /* JSON */
	PART_CUSTOM,      /* JSON */
	PART_COUNT
};

struct agent { /* one row */
	uint8_t uid[16];
	struct bytes name, version;                      /* service.name, service.version */
	uint64_t first_seen, last_seen, connected_since; /* connected_since 0: gone */
	struct bytes transport, address, credential, gone_why;
	uint64_t capabilities;
	int64_t healthy; /* -1: never said */
	uint64_t started;
	struct bytes last_error, status;
	uint32_t config_status; /* RemoteConfigStatuses */
	struct bytes config_hash, config_error;
	uint64_t due;       /* id of the configuration's version assigned now; 0: none */
	uint64_t due_since; /* when it was offered */
	struct bytes components_hash;
	uint32_t settings_status;
	struct bytes settings_hash, settings_error;
	uint32_t parts; /* bits 1 << enum agent_part: those that were ever told */
};

typedef int (*store_agent_cb)(void *ctx, const struct agent *a);
typedef int (*store_bytes_cb)(void *ctx, struct bytes b);

/* Writes the row (made if it is new); parts and attributes are written by their own functions. */
int store_agent_put(struct store *s, const struct agent *a, struct error *err);
/* The same for a row that is there, with the same name and components. */
int store_agent_update(struct store *s, const struct agent *a, struct error *err);
int store_agent_get(
    struct store *s, const uint8_t uid[16], store_agent_cb cb, void *ctx, struct error *err);
int store_agent_part_put(struct store *s, const uint8_t uid[16], enum agent_part part,
    struct bytes json, struct error *err);
int store_agent_part_get(struct store *s, const uint8_t uid[16], enum agent_part part,
    store_bytes_cb cb, void *ctx, struct error *err);
/* All attributes, "name=value" each, in place of the earlier ones. */
int store_agent_attributes(struct store *s, const uint8_t uid[16], const struct bytes *list,
    size_t count, struct error *err);
/* Its attributes, as they were given. */
int store_agent_attributes_get(
    struct store *s, const uint8_t uid[16], store_bytes_cb cb, void *ctx, struct error *err);
/* Which version it is to run now (0: none), and since when. */
int store_agent_due(
    struct store *s, const uint8_t uid[16], uint64_t version, uint64_t when, struct error *err);
/*
 * The same for all that the selector fits and that have no assignment of their own; cb for each of which that is a
 * change, or that is connected and said FAILED, with no more than its uid, capabilities, config_status and config_hash.
 */
int store_agents_due(struct store *s, struct bytes selector, uint64_t version, uint64_t when,
    store_agent_cb cb, void *ctx, struct error *err);
int store_agent_seen(struct store *s, const uint8_t uid[16], uint64_t when, struct error *err);
/* Another agent with these components; cb gets them. */
int store_components_known(
    struct store *s, struct bytes hash, store_bytes_cb cb, void *ctx, struct error *err);
/* The row, its parts, attributes, events and assignments. */
int store_agent_forget(struct store *s, const uint8_t uid[16], struct error *err);
/* After a start nobody is connected. */
int store_agents_all_gone(struct store *s, struct error *err);

enum agent_sort {
	SORT_NAME,
	SORT_VERSION,
	SORT_HEALTH,
	SORT_CONFIG,
	SORT_LAST_SEEN,
	SORT_FIRST_SEEN
};

struct agent_query {
	struct bytes search;        /* in name, version, uid, any attribute; without case */
	struct bytes selector;      /* "name=value,name=value": all must hold (selector.h) */
	int64_t connected, healthy; /* 0, 1, or -1: either */
	int64_t config_status;      /* or -1 */
	enum agent_sort sort;
	int descending;
	uint64_t offset, limit;
};

struct agent_counts {
	uint64_t total, connected, healthy, unhealthy, applied, applying, failed, waiting;
};

/* Calls cb for the page wanted; *matches: how many there are in all. */
int store_agents_list(struct store *s, const struct agent_query *q, store_agent_cb cb, void *ctx,
    uint64_t *matches, struct error *err);
int store_agents_counts(struct store *s, struct agent_counts *c, struct error *err);
/* Names of attributes with the number of agents that have them, most first. */
int store_attribute_names(struct store *s, size_t limit,
    int (*cb)(void *ctx, struct bytes name, uint64_t agents), void *ctx, struct error *err);

/* ---- configurations: a name, and versions that never change */

struct configuration {
	uint64_t id;
	struct bytes name;
	uint64_t created;
	uint64_t latest; /* id of its newest version */
	uint64_t versions;
	int deleted;
};

struct configuration_version {
	uint64_t id; /* over all configurations */
	uint64_t configuration;
	uint64_t number; /* 1, 2, ... within the configuration */
	uint64_t created;
	struct bytes author, comment;
	uint8_t
	    hash[32]; /* SHA-256 of the files as hub/config_hash.h says: the offer's config_hash */
	struct bytes files; /* JSON: {name: {"content_type", "body"}} */
};

int store_configuration_new(
    struct store *s, struct bytes name, uint64_t when, uint64_t *id, struct error *err);
int store_configuration_delete(struct store *s, uint64_t id, struct error *err);
int store_configurations(struct store *s, int (*cb)(void *ctx, const struct configuration *c),
    void *ctx, struct error *err);
int store_version_new(
    struct store *s, struct configuration_version *v, struct error *err); /* fills id, number */
int store_version_get(struct store *s, uint64_t id,
    int (*cb)(void *ctx, const struct configuration_version *v), void *ctx, struct error *err);
int store_versions(struct store *s, uint64_t configuration,
    int (*cb)(void *ctx, const struct configuration_version *v), void *ctx, struct error *err);

/* ---- assignments: which version an agent, or every agent that a selector fits, is to run */

struct assignment {
	uint64_t id;
	uint64_t version;
	int has_uid;
	uint8_t uid[16];       /* one agent, which goes before every selector */
	struct bytes selector; /* "" fits all; among those that fit the newest assignment counts */
	uint64_t created;
	struct bytes author;
};

int store_assignment_new(struct store *s, struct assignment *a, struct error *err); /* fills id */
int store_assignment_delete(struct store *s, uint64_t id, struct error *err);
int store_assignments(struct store *s, int (*cb)(void *ctx, const struct assignment *a), void *ctx,
    struct error *err);

/* ---- what happened, per agent, newest first; bounded per agent by HUB_EVENTS */

struct event_row {
	uint64_t id, when;
	uint8_t uid[16];
	struct bytes kind; /* "connected", "offered", "applied", ...: a word */
	struct bytes text;
};

int store_event_add(struct store *s, const struct event_row *e, struct error *err);
/* uid NULL: of all agents.  before: an id, 0 = from the newest. */
int store_events(struct store *s, const uint8_t *uid, uint64_t before, size_t limit,
    int (*cb)(void *ctx, const struct event_row *e), void *ctx, struct error *err);

/* ---- connection settings offered, one for all agents that a selector fits; body as the API took it */
struct settings_offer {
	uint64_t id;
	struct bytes selector;
	struct bytes body; /* JSON */
	uint8_t hash[32];
	uint64_t created;
	struct bytes author;
};
int store_settings_new(struct store *s, struct settings_offer *o, struct error *err);
int store_settings_delete(struct store *s, uint64_t id, struct error *err);
int store_settings_list(struct store *s, int (*cb)(void *ctx, const struct settings_offer *o),
    void *ctx, struct error *err);

#endif
