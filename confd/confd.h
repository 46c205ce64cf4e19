/*
 * confd.h: the one structure of opampd-confd, and what its files share.  confd only.
 *
 *	confd.c          main: set up, sandbox, loop
 *	confd_start.c    settings, store, identity, timers; the end
 *	confd_in.c       what the neighbours say
 *	confd_out.c      what they are told, and merge's work
 *	confd_answer.c   opampctl's requests
 */
#ifndef CONFD_CONFD_H
#define CONFD_CONFD_H

#include "apply.h"
#include "control.h"
#include "health.h"
#include "identity.h"

struct confd_timer {
	struct confd *confd;
	enum apply_timer timer;
	struct event *event;
};

struct confd {
	struct child child;
	struct msg_environment env;
	int have_env, state_dir, listener;
	int ready; /* everything below is there */
	struct store *store;
	struct apply apply;
	struct control *control;
	uint8_t uid[UUID_SIZE];
	struct apply_bucket uids; /* how many of the server's are taken */
	int uid_refused;          /* and that more came was said */
	int uid_unsaved;          /* ours could not be stored */
	struct confd_timer timers[APPLY_TIMERS];
	struct event *hold, *last_call, *credit, *settle;
	int offer_credit; /* netd may send an offer; credit: it is about to be told so */

	/* health, as it was reported last */
	uint32_t settled, settled_told; /* how it is with the agent; as the parent was told */
	int health_dirty, health_sent, health_held, hold_over;
	int sync_waits; /* NET_SYNCED, for the first health */
	struct health_report health;
	struct apply_bytes health_component;
	/* what else the server is told */
	uint32_t effective_form;
	struct apply_bytes effective, description;
	struct apply_bucket descriptions; /* how many are written to disk */
	int description_unsaved;
	int restart_refused; /* and that was said */
	/* for opampctl */
	struct msg_server server;
	uint64_t server_since_ns, server_at_ms;
	char server_text[TEXT_TAIL + 1];
	struct msg_child children[PROC_COUNT];
};

/* confd_in.c */
int confd_message(void *ctx, struct message *m);
void confd_peer_up(void *ctx, enum proc peer);
void confd_peer_down(void *ctx, enum proc peer);
void confd_give_credit(struct confd *c);

/* confd_out.c */
extern const struct apply_ops confd_ops;
void confd_settle(struct confd *c); /* after each event: what it changed is told */
void confd_hold_over(struct confd *c);
void confd_tell_settled(struct confd *c);
void confd_sync_netd(struct confd *c);
/* What they are is taken if it is news. */
void confd_effective(struct confd *c, uint32_t form, struct apply_bytes *effective);
void confd_save_description(struct confd *c);
void confd_save_uid(struct confd *c);
void confd_describe(struct confd *c, char *data, size_t len); /* data is taken */
int confd_set_uid(struct confd *c, const uint8_t uid[UUID_SIZE]);
void confd_send_uid(struct confd *c, enum proc to, uint32_t type);

/* confd_answer.c */
extern const struct control_ops confd_control_ops;

/* confd_start.c: the settings as the apply transaction needs them */
void confd_apply_settings(const struct confd *c, struct apply_settings *set);
/* The store, identity and state machine in c->state_dir; what main does in the sandbox. */
int confd_open(struct confd *c, struct error *err);
void confd_close(struct confd *c);
void confd_end(void *ctx);
void confd_check_end(struct confd *c);

#endif
