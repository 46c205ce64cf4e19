/*
 * frames.h: everything that opamphub-front and opamphub-store say to each other, in one table.
 *
 * front parses what agents send and can neither read nor write the store; store keeps the fleet and
 * serves the page and the API, and never sees a byte of OpAMP.  Between them is one stream socket
 * with frames: a header of fixed size, then a record (privsep/record.h) whose keys are below.  Each
 * side treats the other's frames as foreign bytes: bounded, every field checked; a frame that is not
 * in the table, or not as the table has it, ends the conversation, and the parent starts both anew.
 */
#ifndef HUB_FRAMES_H
#define HUB_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "privsep/error.h"
#include "privsep/limits.h"
#include "privsep/record.h"

struct frame_header {
	uint32_t len;  /* bytes of the record that follows */
	uint32_t type; /* enum frame_type */
	uint32_t conn; /* which conversation with an agent: front's number, never 0, never reused */
	uint32_t serial; /* of a REPORT: repeated in its VERDICT */
};

/*
 *   FRAME(name, to the store?, largest record, meaning)
 *
 * A conversation is a WebSocket connection, or over plain HTTP all requests with one instance uid
 * until HUB_HTTP_GONE intervals went by without one.
 */
#define FRAME_TABLE(FRAME)                                                                         \
	/* front to store */                                                                       \
	FRAME(REPORT, 1, LIMIT_HUB_REPORT,                                                         \
	    "what an agent said, the parts that came; answered by one VERDICT once it is stored")  \
	FRAME(ALIVE, 1, LIMIT_HUB_BATCH,                                                           \
	    "conversations heard of since the last ALIVE: at most each second")                    \
	FRAME(GONE, 1, 64 * KIB, "the conversation is over, and why")                              \
	FRAME(CUSTOM, 1, LIMIT_HUB_CUSTOM, "a custom message of the agent")                        \
	FRAME(UNSENT, 1, 64 * KIB,                                                                 \
	    "something of the store's could not be sent to the agent: what, and why")              \
	FRAME(SENT, 1, LIMIT_HUB_BATCH, "offers, commands and messages that went out to agents")   \
	/* store to front */                                                                       \
	FRAME(VERDICT, 0, 64 * KIB, "that report is stored; what its answer has to carry")         \
	FRAME(                                                                                     \
	    CONFIG, 0, LIMIT_HUB_CONFIG, "a configuration that OFFERs will name: hash and files")  \
	FRAME(FORGET, 0, 1 * KIB, "that configuration is offered no more")                         \
	FRAME(OFFER, 0, LIMIT_HUB_BATCH,                                                           \
	    "conversations to which that configuration is due, now and in answers until another "  \
	    "OFFER or AGREED")                                                                     \
	FRAME(AGREED, 0, LIMIT_HUB_BATCH, "conversations to which nothing is due any more")        \
	FRAME(COMMAND, 0, 1 * KIB, "Restart, sent alone (RC-04)")                                  \
	FRAME(MESSAGE, 0, LIMIT_HUB_CUSTOM, "a custom message for the agent")                      \
	FRAME(SETTINGS, 0, 1 * MIB, "connection settings to be offered: OpAMP and own telemetry")  \
	FRAME(CLOSE, 0, 1 * KIB,                                                                   \
	    "end that conversation: its credentials are revoked, or the operator removed the "     \
	    "agent")

enum frame_type {
	FRAME_NOTHING,
#define FRAME(name, to_store, most, meaning) FRAME_##name,
	FRAME_TABLE(FRAME)
#undef FRAME
	FRAME_TYPES
};

/*
 * Keys of the records.  Numbers are u64 (record_put_u64); texts are UTF-8 without NUL; JSON is a whole
 * document as jansson writes it, made by front, checked by the store before it is kept.
 */
enum frame_key {
	KEY_NOTHING,
	/* REPORT: always */
	KEY_UID,   /* 16 bytes */
	KEY_FLAGS, /* enum report_flag */
	KEY_SEQUENCE,
	KEY_CAPABILITIES, /* the agent's bits */
	/* REPORT_FIRST: where it comes from */
	KEY_TRANSPORT, /* "ws", "wss", "http", "https" */
	KEY_ADDRESS,   /* "192.0.2.1:4711" */
	KEY_CREDENTIAL, /* the name of the token or certificate it showed; empty: none was asked for */
	/* REPORT: parts, each only if it came; an empty JSON object says that the part was empty */
	KEY_DESCRIPTION, /* JSON: {"identifying": {...}, "non_identifying": {...}} */
	KEY_ATTRIBUTE, /* many: "name=value", both lists, strings and numbers only, for selectors */
	KEY_NAME,      /* service.name, */
	KEY_VERSION,   /* service.version, as far as they are strings */
	KEY_HEALTH,    /* JSON: the tree, names as in the .proto */
	KEY_HEALTHY,   /* 0, 1 */
	KEY_STARTED,   /* Unix ns */
	KEY_LAST_ERROR,
	KEY_STATUS,
	KEY_EFFECTIVE,      /* begins one file of the effective configuration: its name; then */
	KEY_FILE_TYPE,      /* its content type, */
	KEY_FILE_BODY,      /* its bytes, opaque */
	KEY_EFFECTIVE_NONE, /* an effective configuration without files came */
	KEY_CONFIG_STATUS,  /* RemoteConfigStatuses; with */
	KEY_CONFIG_HASH,    /* opaque bytes, */
	KEY_CONFIG_ERROR,   /* and the agent's own words */
	KEY_COMPONENTS,     /* JSON; absent while only the hash came */
	KEY_COMPONENTS_HASH,
	KEY_PACKAGES,        /* JSON */
	KEY_CUSTOM,          /* JSON: list of custom capabilities */
	KEY_SETTINGS_STATUS, /* ConnectionSettingsStatuses; with */
	KEY_SETTINGS_HASH,
	KEY_SETTINGS_ERROR,
	/* ALIVE, SENT, OFFER, AGREED */
	KEY_CONNS, /* u32 each */
	/* GONE, UNSENT, CLOSE */
	KEY_WHY,
	KEY_LEFT, /* 1: AgentDisconnect came before */
	/* VERDICT */
	KEY_ANSWER,  /* enum verdict_flag */
	KEY_NEW_UID, /* 16 bytes: AgentIdentification */
	/* CONFIG, FORGET, OFFER: which */
	KEY_CONFIG, /* number, the store's */
	/* CONFIG: KEY_CONFIG_HASH, then for each file KEY_FILE_NAME, KEY_FILE_TYPE, KEY_FILE_BODY */
	KEY_FILE_NAME,
	/* CUSTOM, MESSAGE */
	KEY_CAPABILITY,
	KEY_TYPE,
	KEY_DATA,
	/* SETTINGS: hash; then for each class KEY_CLASS and what belongs to it */
	KEY_CLASS, /* enum settings_class */
	KEY_ENDPOINT,
	KEY_HEADER, /* many: "Name: value" */
	KEY_CA,
	KEY_CERT,
	KEY_CERT_KEY,  /* PEM */
	KEY_HEARTBEAT, /* seconds */
	/* SENT, UNSENT: what */
	KEY_WHAT, /* enum frame_type: OFFER, COMMAND, MESSAGE, SETTINGS */
	KEY_COUNT
};

enum report_flag {
	REPORT_FIRST = 1,     /* of this conversation */
	REPORT_GAP = 2,       /* the sequence number is not the last one plus one (ST-07) */
	REPORT_WANTS_UID = 4, /* RequestInstanceUid (ID-06) */
	REPORT_LEAVES = 8,    /* AgentDisconnect */
	REPORT_TWIN =
	    16, /* another live conversation has this uid: nothing was stored, a uid is due (ID-05) */
};

enum verdict_flag {
	VERDICT_FULL_STATE = 1, /* ReportFullState: the store lacks a part that the bits promise */
	VERDICT_COMPONENTS = 2, /* ReportAvailableComponents: a hash that is not known (AC-03) */
	VERDICT_BUSY = 4,       /* UNAVAILABLE with retry_info: nothing was stored (ER-05) */
};

enum settings_class {
	SETTINGS_NONE,
	SETTINGS_OPAMP,
	SETTINGS_METRICS,
	SETTINGS_TRACES,
	SETTINGS_LOGS,
};

/* ---- one end of the conversation */

struct event_base;
struct frames;

struct frames_callbacks {
	/* One whole frame; the record is borrowed.  -1: it is not as it may be (err): broken. */
	int (*frame)(
	    void *ctx, const struct frame_header *h, const struct record *r, struct error *err);
	/* What one turn brought has been handled: the moment to commit, or to answer. */
	void (*turn)(void *ctx);
	/* Little waits to be written again.  May be NULL. */
	void (*drained)(void *ctx);
	/* The other end is gone, or broke the rules (why).  Called once, last. */
	void (*gone)(void *ctx, const char *why);
};

/* Takes fd.  store: we are the store's end.  NULL: out of memory. */
struct frames *frames_new(
    struct event_base *base, int fd, int store, const struct frames_callbacks *cb, void *ctx);
void frames_free(struct frames *f); /* NULL is fine; not in a callback */

/*
 * Queues a frame; the writer is emptied in every case (NULL: no entries).  -1: out of memory, or
 * longer than the table allows: a bug of ours, err says which.
 */
int frames_send(struct frames *f, uint32_t type, uint32_t conn, uint32_t serial,
    struct record_writer *w, struct error *err);

/* Bytes not yet taken by the other end: the caller stops making more beyond some bound. */
size_t frames_pending(const struct frames *f);

/* No frame is handled until frames_resume. */
void frames_pause(struct frames *f);
void frames_resume(struct frames *f);

const char *frame_name(uint32_t type); /* "?" for none */
size_t frame_most(uint32_t type);
int frame_to_store(uint32_t type);

#endif
