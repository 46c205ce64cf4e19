/*
 * fleet_inside.h: what the parts of the fleet share.  opamphub-store; hub/fleet*.c only.
 */
#ifndef HUB_FLEET_INSIDE_H
#define HUB_FLEET_INSIDE_H

#include "config_files.h"
#include "fleet.h"

#define FLEET_BUCKETS     8192
#define FLEET_ASSIGNMENTS 1024 /* at most */
#define FLEET_SETTINGS    256
#define FLEET_ATTRIBUTES  2048 /* of one agent that are looked at */

struct conv { /* a conversation that front has */
	LIST_ENTRY(conv) by_number, by_uid;
	uint8_t uid[16];
	uint32_t number;
	uint64_t capabilities;
	uint64_t offered;  /* version that front was told to offer, 0 = none */
	int again;         /* it is, once, although the agent has reported its hash */
	uint64_t settings; /* id of the settings' offer that was sent */
};

struct verdict { /* to be sent after the commit */
	uint32_t conv, serial;
	uint64_t flags;
	int has_uid;
	uint8_t uid[16];
};

struct offer { /* likewise; version 0: AGREED */
	uint32_t conv;
	uint64_t version, before; /* before: what it was told to offer until now */
};

struct target { /* an assignment, ready to be compared */
	uint64_t id, version;
	int has_uid;
	uint8_t uid[16];
	struct selector selector;
};

struct settings_target {
	uint64_t id;
	uint8_t hash[32];
	struct selector selector;
	char *body;
	size_t len;
};

#define VERSION_HASH 32
#define FLEET_HASHES 64

struct hashed { /* a version's hash, which never changes; version 0: none */
	uint64_t version;
	uint8_t hash[VERSION_HASH];
};

struct known { /* a version that front has */
	uint64_t version;
};

struct fleet {
	struct store *store;
	struct frames *frames;
	fleet_watcher watch;
	void *watch_ctx;
	uint64_t max_agents, agents;
	LIST_HEAD(conv_list, conv) numbers[FLEET_BUCKETS], uids[FLEET_BUCKETS];
	int open;     /* a transaction is */
	uint64_t now; /* of the transaction */
	struct verdict *verdicts;
	size_t verdict_count, verdict_room;
	struct offer *offers;
	size_t offer_count, offer_room;
	uint8_t (*changed)[16];
	size_t changed_count, changed_room;
	struct target *targets; /* newest first */
	size_t target_count;
	struct settings_target *settings;
	size_t settings_count;
	struct known *known;
	size_t known_count, known_room;
	struct hashed hashes[FLEET_HASHES];
	struct fleet_figures figures;
};

/* Room for one more of a growing list; fatal when memory ran out: the parent starts all anew. */
void fleet_room(void **list, size_t count, size_t *room, size_t size);

struct conv *fleet_conv(struct fleet *f, uint32_t number);
struct conv *fleet_conv_of(struct fleet *f, const uint8_t uid[16]);
struct conv *fleet_conv_new(struct fleet *f, uint32_t number, const uint8_t uid[16]);
void fleet_conv_free(struct fleet *f, struct conv *c);

/*
 * A transaction: begun by the first that needs one, ended by fleet_end (0, or -1 and all undone: what
 * was to be offered is not, and can be later).
 */
int fleet_begin(struct fleet *f, struct error *err);
int fleet_end(struct fleet *f, struct error *err);
void fleet_undo(struct fleet *f);

void fleet_changed(struct fleet *f, const uint8_t uid[16]);
void fleet_offer(struct fleet *f, struct conv *c, uint64_t version);
/* Also where it was offered already; once: the agent has reported its hash. */
void fleet_offer_again(struct fleet *f, struct conv *c, uint64_t version, int once);
int fleet_event(struct fleet *f, const uint8_t uid[16], const char *kind, struct error *err,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* fleet_report.c: one REPORT. */
int fleet_report(
    struct fleet *f, const struct frame_header *h, const struct record *r, struct error *err);

/* fleet_assign.c */
int fleet_targets_load(struct fleet *f, struct error *err);
/* The version that an agent with these attributes is to run; 0: none. */
uint64_t fleet_due(
    const struct fleet *f, const uint8_t uid[16], const struct bytes *list, size_t count);
/* Borrowed until the next call; NULL: there is no such version. */
int fleet_version_hash(struct fleet *f, uint64_t version, const uint8_t **hash, struct error *err);
/* The connection settings for it, or NULL. */
const struct settings_target *fleet_settings_due(
    const struct fleet *f, const struct bytes *list, size_t count);

/* fleet_settings.c: tells front, if it is to be offered and was not yet. */
int fleet_settings_offer(struct fleet *f, struct conv *c, const struct settings_target *t,
    struct bytes reported, struct error *err);

#endif
