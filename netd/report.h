/*
 * report.h: what the server is told: the parts as they are now, which of them it has yet to hear,
 * and the AgentToServer made of them (OpAMP: Agent Status Compression).  netd.  No sockets.
 */
#ifndef NETD_REPORT_H
#define NETD_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "describe.h"
#include "privsep/error.h"
#include "privsep/memfd.h"
#include "privsep/messages.h"

enum report_part {
	PART_DESCRIPTION,
	PART_HEALTH,
	PART_EFFECTIVE,
	PART_STATUS,
	PART_COUNT
	/*
	 * Package statuses, custom capabilities, available components and the status of connection
	 * settings come here once their capabilities are announced.
	 */
};

struct report_piece {
	char *packed; /* the message as it is sent; NULL = not known */
	size_t len;
	int due;                /* changed since it was last sent */
	int unanswered;         /* sent, and the server has not spoken since */
	int oversize;           /* told in the log that it is too large to be sent */
	struct memfd_view view; /* what packed lies in; zero: it is malloc'd */
};

struct report { /* zero-initialise, then report_init */
	const struct describe *describe;
	size_t max_message;
	uint64_t capabilities; /* AgentCapabilities: what is announced */
	uint8_t uid[16];
	int have_uid;
	uint64_t sequence; /* of the next message */
	struct report_piece parts[PART_COUNT];
	char *agent; /* the agent's own AgentDescription */
	size_t agent_len;
	char *
	    confds; /* the status as confd said it last: hash_len, hash, text; not netd's own refusal */
	size_t confds_len;
	uint32_t confds_status;
	char *timeless; /* health without its status times: what a change is measured by */
	size_t timeless_len;
};

void report_init(
    struct report *r, const struct describe *d, uint64_t capabilities, size_t max_message);
void report_clear(struct report *r);

/*
 * What confd says.  1: changed, 0: as before, -1: it cannot be used (err says why), the part stays
 * as it was.
 */
int report_identity(struct report *r, const uint8_t uid[16], struct error *err);
int report_description(struct report *r, const void *blob, size_t len, struct error *err);
int report_health(struct report *r, const struct msg_health *m, const char *text, size_t text_len,
    const void *tree, size_t len, struct error *err);
/* A large one is taken, and view is empty then. */
int report_effective(struct report *r, uint32_t form, struct memfd_view *view, struct error *err);
int report_status(
    struct report *r, uint32_t status, const void *blob, size_t len, struct error *err);

/* That was all: what confd has not spoken of is as it is at first (status: UNSET, no hash). */
void report_complete(struct report *r);

/*
 * An offer goes to confd.  If it is the one that confd's last word was on, confd has nothing to add to it:
 * then that word holds again, and not a refusal of netd's own that came after it.
 */
void report_offered(struct report *r, const void *hash, size_t len);

/* A status from netd itself: an offer that it could not hand on. */
int report_refused(struct report *r, const void *hash, size_t len, const char *why);

enum report_flag {
	REPORT_FULL = 1,       /* every part that is known */
	REPORT_DISCONNECT = 2, /* the last message: with agent_disconnect */
	REPORT_NO_EFFECTIVE =
	    4, /* the server does not take the effective configuration, or not yet */
};

/* Is there something the server has not heard? */
int report_due(const struct report *r, unsigned flags);

/*
 * The next message, malloc'd, without the WebSocket header; parts that are in it are no longer due.
 * A part that makes it larger than max_message is left out, once said in the log (SZ-04).
 */
int report_build(struct report *r, unsigned flags, char **data, size_t *len, struct error *err);

/* The server has spoken: what was sent has arrived.  The connection broke: what has not is due again. */
void report_answered(struct report *r);
void report_lost(struct report *r);

#endif
