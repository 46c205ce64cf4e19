/*
 * link_session.h: OpAMP's server side towards the agent: what one start of it has said, what is to
 * be answered, and what confd has yet to hear.  link.  Knows nothing of sockets: a conversation may
 * go on over another connection, by WebSocket or plain HTTP.
 */
#ifndef NETD_LINK_SESSION_H
#define NETD_LINK_SESSION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "link_health.h"
#include "privsep/child.h"
#include "privsep/memfd.h"

#define LINK_SILENCE_MS 75000 /* the agent speaks each 30 s: two and a half times that is no life */

struct link_blob { /* the latest of what is opaque to confd */
	char *data;
	size_t len;
	int known;
	struct memfd_view view; /* what data lies in; zero: it is malloc'd */
};

struct link_session { /* one start of the agent */
	LIST_ENTRY(link_session) entry;
	struct link_sessions *all;
	uint32_t start;
	int connected, told_connected;
	uint64_t heard_ms; /* the last message */
	int silent;        /* for too long */
	struct event *silence;
	int first; /* no message on this connection yet */
	int have_sequence;
	uint64_t sequence;
	int want_full;         /* ReportFullState is to be asked for */
	int asked_description; /* on this connection */
	uint64_t asked_ms;
	int mismatch_told;
	uint64_t refused_ms; /* when the log was last told of a message that cannot be used */
	struct link_health health;
	struct link_blob description, effective;
	int health_due, description_due, effective_due; /* confd has not heard the latest */
};

struct link_sessions {
	struct child *child;
	LIST_HEAD(session_list, link_session) list;
	uint8_t uid[16]; /* LINK_IDENTITY */
	int have_uid;
	struct link_baseline baseline;
	struct event *later; /* confd's channel was full, or it was told often enough */
	uint64_t window_ms;  /* news for confd are counted from here */
	unsigned news;
	uint64_t silence_ms;
};

int link_sessions_init(struct link_sessions *all, struct child *child);
void link_sessions_clear(struct link_sessions *all);

/* The session of a start, made if there is none; NULL: no memory. */
struct link_session *link_session_of(struct link_sessions *all, uint32_t start);

/* That start is over: confd hears of its last state, then all is forgotten. */
void link_session_end(struct link_sessions *all, uint32_t start);

void link_session_connected(struct link_session *s);
void link_session_disconnected(struct link_session *s);

/*
 * One AgentToServer (without the WebSocket framing's header).  Gives the ServerToAgent that answers
 * it (OpAMP: every message is answered), malloc'd.  What cannot be decoded is answered with
 * BAD_REQUEST.  -1: no memory for an answer.
 */
int link_session_message(struct link_session *s, const void *data, size_t len, char **answer,
    size_t *answer_len, struct error *err);

/* The same for a message that is not even framed as one of OpAMP's (FR-03): BAD_REQUEST with why. */
int link_session_malformed(
    struct link_session *s, const char *why, char **answer, size_t *answer_len, struct error *err);

/* LINK_IDENTITY, LINK_BASELINE, and confd's channel being there anew. */
void link_sessions_identity(struct link_sessions *all, const uint8_t uid[16]);
void link_sessions_baseline(struct link_sessions *all, uint32_t start);
void link_sessions_confd_up(struct link_sessions *all);

#endif
