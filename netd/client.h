/*
 * client.h: OpAMP towards the server: when to connect, what to say, what to make of what it says.
 * netd.  A state machine without descriptors or clocks of its own, so that tests can drive it.
 *
 * Not here yet, by design: plain HTTP (another transport below the same machine), connection
 * settings, packages, custom messages, own telemetry.  No capability announces them, and what the
 * server sends of them is passed over (CP-03).
 */
#ifndef NETD_CLIENT_H
#define NETD_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "opamp/v1/opamp.pb-c.h"
#include "report.h"
#include "wire/wire.h"

enum client_timer {
	CLIENT_TIMER_CONNECT,   /* the next attempt; while one runs: it has had its time */
	CLIENT_TIMER_HEARTBEAT, /* nothing was sent for so long */
	CLIENT_TIMER_PING,      /* nothing was received for so long */
	CLIENT_TIMER_RESPONSE,  /* a report without an answer */
	CLIENT_TIMER_STABLE,    /* the connection has lived */
	CLIENT_TIMER_CLOSE,     /* the closing handshake has had its time */
	CLIENT_TIMER_FULL,      /* the next full report may go out */
	CLIENT_TIMER_UID,       /* confd has had its time to store a new uid */
	CLIENT_TIMER_COUNT
};

struct client_ops {
	/* Have a connection made; client_connected or client_failed follows, unless cancelled. */
	void (*connect)(void *ctx, uint32_t attempt);
	void (*cancel)(void *ctx, uint32_t attempt);
	/* One message on the open conversation. */
	int (*send)(void *ctx, const void *body, size_t len);
	/* Bytes that wait to be written; client_drained follows when they are few again. */
	size_t (*pending)(void *ctx);
	void (*ping)(void *ctx);
	/* The closing handshake; client_failed follows. */
	void (*close)(void *ctx, uint16_t code, const char *reason);
	/* The connection goes at once; nothing of it follows. */
	void (*drop)(void *ctx);
	void (*timer)(void *ctx, enum client_timer t, uint64_t ms); /* 0 = off */
	/* To confd. */
	int (*offer)(void *ctx, const struct msg_offer *m, const char *data, size_t len);
	void (*restart)(void *ctx);
	void (*new_uid)(void *ctx, const uint8_t uid[16]);
	void (*state)(void *ctx, const struct msg_server *m, const char *why);
	/* Everything is said and closed: the process may end. */
	void (*done)(void *ctx);
	uint64_t (*now_ms)(void *ctx);
	uint64_t (*random)(void *ctx, uint64_t below); /* 0 to below - 1; below > 0 */
};

struct client_settings {
	uint64_t capabilities; /* AgentCapabilities */
	uint64_t heartbeat_ms; /* 0 = none */
	uint64_t ping_ms;      /* 0 = none */
	uint64_t response_ms, connect_ms;
	uint64_t delay_min_ms, delay_max_ms, stable_ms;
	size_t config_size;
	const char *server; /* for the log: host and port; borrowed; or NULL */
};

struct client_failure {         /* why there is no connection (any more) */
	const char *why;        /* for people */
	int http_status;        /* of a refused upgrade, or 0 */
	int64_t retry_after_ms; /* as the server asks, or -1 */
};

enum client_state {
	CLIENT_WAITING,    /* for confd's first full state */
	CLIENT_BACKOFF,    /* for the next attempt */
	CLIENT_CONNECTING, /* attempt under way: name, connection, TLS, upgrade */
	CLIENT_OPEN,
	CLIENT_CLOSING, /* our Close was sent */
	CLIENT_ENDED,
};

struct client {
	const struct client_ops *ops;
	void *ctx;
	struct client_settings set;
	struct report *report;
	enum client_state state;
	/* confd */
	int synced;       /* its full state is here */
	int complete;     /* it was, once: a report can be made */
	int first_waits;  /* for that; of a connection that is open */
	int offer_credit; /* the next offer may go to it */
	char *offer;      /* the newest one, until confd has taken it */
	size_t offer_len;
	struct msg_offer offer_head;
	int offer_sent; /* how often; a confd that dies of it gets it once more, not for ever */
	uint8_t next_uid[16], last_uid[16]; /* assigned, not stored yet; the one before */
	int have_next_uid, have_last_uid;
	/* attempts */
	uint32_t attempt;
	uint64_t failures; /* since a connection was stable */
	int at_once_used;  /* the retry without a wait, since then */
	int ending;
	/* the connection */
	int answered; /* a ServerToAgent came on it */
	int stable;
	int throttled; /* UNAVAILABLE came on it */
	uint64_t server_capabilities;
	int capabilities_known;
	uint64_t heard_ms;
	int report_waits, pinged;
	size_t report_pending, ping_pending; /* unwritten when they were last looked at */
	int full_wanted;                     /* ReportFullState */
	int full_sent;
	uint64_t full_ms;   /* when */
	uint64_t window_ms; /* reports that the server caused are counted from here */
	uint64_t caused;
	int64_t retry_after_ms; /* asked for by UNAVAILABLE, or -1 */
	char leaving[256];      /* why we closed */
	/* logged once */
	unsigned ignored_told; /* bits of what was passed over */
	uint64_t refused_ms;   /* when the log was last told of a configuration that is refused */
	int malformed_told, foreign_told, error_told, uid_told;
	/* what opampctl is told */
	uint64_t since_ms; /* connected since then, or not */
	struct msg_server told;
	char told_why[512];
};

void client_init(struct client *c, const struct client_ops *ops, void *ctx,
    const struct client_settings *set, struct report *report);
void client_clear(struct client *c);

/* From confd, by way of its channel. */
void client_confd_up(struct client *c);
void client_confd_down(struct client *c);
int client_identity(struct client *c, const uint8_t uid[16], struct error *err);
void client_synced(struct client *c);
void client_changed(struct client *c); /* the report took something new */
void client_credit(struct client *c);

/* From the connection. */
void client_opened(struct client *c);
void client_heard(struct client *c); /* any bytes */
void client_message(struct client *c, const uint8_t *data, size_t len);
void client_drained(struct client *c);
void client_failed(struct client *c, const struct client_failure *f);

void client_timeout(struct client *c, enum client_timer t);

/* The process is to end: AgentDisconnect, Close; done follows. */
void client_end(struct client *c);

/* One ServerToAgent that is meant for us. */
void client_handle(
    struct client *c, const Opamp__Proto__V1__ServerToAgent *m, const struct wire_part *config);

/* For client_*.c only. */
void client_later(struct client *c, enum client_timer t, uint64_t ms);
void client_never(struct client *c, enum client_timer t);
void client_attempt(struct client *c);
/* Says what the server has not heard, if it can be said now. */
void client_report(struct client *c);
/* The closing handshake, then an attempt after a wait.  why: for people. */
void client_leave(struct client *c, uint16_t code, const char *why);
/* To confd; data (offer.h) is taken.  The newest waits while confd has no credit left for it. */
void client_offer(struct client *c, const struct msg_offer *m, char *data, size_t len);
/* To confd, to be stored; it is ours when confd says so (ID-02). */
void client_assign_uid(struct client *c, const uint8_t uid[16]);

#endif
