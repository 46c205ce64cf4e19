/*
 * front.h: the process that talks to agents: its connections, and the conversations they carry.
 * opamphub-front; shared by front*.c and nobody else.
 */
#ifndef HUB_FRONT_H
#define HUB_FRONT_H

#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "frames.h"
#include "hub.h"
#include "setup.h"
#include "wire/server.h"

#define FRONT_BUCKETS      8192
#define FRONT_TWIN_S       2          /* a pong within it: two agents with one uid */
#define FRONT_RESEND_S     30         /* an offer that nothing came of goes into an answer again */
#define FRONT_BUSY_S       30         /* retry_info when the store cannot keep up (ER-05) */
#define FRONT_FLIGHT       (32 * MIB) /* offers on their way to agents that have not read them yet */
#define FRONT_STORE_US     1000       /* about what a report costs the store, */
#define FRONT_STORE_US_KIB 16         /* and each KiB of it */
#define FRONT_STUCK_S      1 /* an offer that is not read for so long holds up nobody else */
#define FRONT_PENDING      (16 * MIB) /* frames that the store has not taken: no more reports for now */

struct front;

struct queued { /* a message that waits for its turn */
	STAILQ_ENTRY(queued) entry;
	size_t len;
	uint8_t data[];
};

struct peer { /* a connection */
	LIST_ENTRY(peer) entry;
	struct front *front;
	struct server_connection *server;
	struct conversation
	    *conversation;                /* WebSocket: its own; HTTP: to which an answer is owed */
	struct sockaddr_storage *address; /* as much of one as its family has */
	char *certificate;                /* the common name of its certificate */
	const char *credential; /* not terminated; of setup's record or certificate, or NULL */
	uint32_t credential_len;
};

struct conversation {
	LIST_ENTRY(conversation) by_number, by_uid;
	TAILQ_ENTRY(conversation) due_entry;
	struct front *front;
	struct peer *peer; /* NULL: HTTP, between two requests */
	STAILQ_HEAD(queue, queued) queue;
	size_t queued_len;
	uint8_t *settings; /* packed, to be offered */
	size_t settings_len, flight;
	uint64_t sequence, capabilities;
	uint32_t number, serial;
	uint32_t due, offered; /* configuration's number; the one that went out last */
	uint32_t offered_s, heard_s, alive_s, twin_by_s;
	uint32_t flight_s; /* since when `flight` has not been read */
	uint8_t uid[16];
	unsigned websocket : 1, begun : 1, waiting : 1, told : 1, heard : 1, left : 1, pinged : 1,
	    restart : 1, queued_due : 1, twin : 1, over : 1, unread : 1;
};

struct front_config { /* what OFFERs name */
	LIST_ENTRY(front_config) entry;
	uint32_t number;
	uint8_t *data;
	size_t len;
};

struct front_list { /* conversations to be named in one frame */
	uint32_t *numbers;
	size_t count, room;
};

struct front {
	struct event_base *base;
	struct setup setup;
	struct frames *frames;
	struct server_rules rules;
	struct server_budget budget;
	struct pace pace;
	struct ssl_ctx_st *tls;
	struct event *accepting, *tick, *pushing, *ending;
	int listener;
	uint64_t max_agents;
	uint32_t silence_s; /* without a word: is it there?  Half as long again: no */
	size_t peers, conversations, flight;
	uint32_t last_number, now_s;
	LIST_HEAD(peer_list, peer) all_peers;
	LIST_HEAD(conversation_list, conversation) numbers[FRONT_BUCKETS], uids[FRONT_BUCKETS];
	LIST_HEAD(config_list, front_config) configs;
	TAILQ_HEAD(due_list, conversation) due;
	struct front_list sent; /* offers of `sent_config` since the last SENT */
	uint32_t sent_config;
	char **custom; /* capabilities that we announce */
	size_t custom_count;
	int leaving;
};

/* ---- front_accept.c: connections */
int front_listen(struct front *f, struct error *err);
void front_stop_listening(struct front *f);
void peer_free(struct peer *p); /* and what it carries */
const char *peer_address(const struct peer *p, char *text, size_t size);

/* ---- front_agent.c: conversations */

/* One message of the connection, or one that is not framed as it must be.  -1: drop it. */
int agent_message(struct peer *p, const uint8_t *data, size_t len);
int agent_malformed(struct peer *p, const char *why);
void agent_pong(struct peer *p);
/* The connection is over. */
void agent_closed(struct peer *p, const char *why);
/* Each second. */
void agents_tick(struct front *f);
struct conversation *conversation_find(struct front *f, uint32_t number);
void conversation_end(struct conversation *c, const char *why);
/* Its next message, if there is one and it is its turn. */
void conversation_go_on(struct conversation *c);

/* ---- front_answer.c: what goes to agents */

/* The answer to its report or heartbeat, with all that is due; flags of ServerToAgent. */
void answer_send(struct conversation *c, uint64_t flags, const uint8_t *new_uid);
void answer_error(struct peer *p, const uint8_t *uid, int unavailable, const char *why);
/* One frame of the store. */
int answer_frame(
    void *ctx, const struct frame_header *h, const struct record *r, struct error *err);
/* Offers go out as long as not too much is on its way. */
void answer_push(struct front *f);
void answer_drained(struct peer *p);
/* What was on its way to it is read, or lost. */
void answer_landed(struct conversation *c);
void answer_flush_sent(struct front *f);
void answer_forget(struct conversation *c);

/* ---- front.c */
int front_list_add(struct front_list *l, uint32_t number);
void front_dies(const char *why) __attribute__((noreturn)); /* the parent starts all anew */

#endif
