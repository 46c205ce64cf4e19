/*
 * confd_in.c: what confd's neighbours say.  confd only.  Blobs are carried, never looked into.
 */
#include "confd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply_internal.h"
#include "privsep/log.h"
#include "privsep/memfd.h"

static int
take_bytes(struct message *m, struct apply_bytes *b, struct error *err)
{
	*b = (struct apply_bytes){0};
	if (memfd_view(message_take_fd(m), LIMIT_MEMFD, &b->view, err) == -1)
		return -1;
	b->data = b->view.data;
	b->len = b->view.len;
	return 0;
}

/* ---- the parent */

static int
on_parent(struct confd *c, struct message *m)
{
	const struct msg_environment *environment = m->payload;
	const struct msg_child *child = m->payload;
	struct apply_bytes answer;
	struct error err;

	switch (m->type) {
	case MSG_CONFD_STATE_DIR:
		if (c->state_dir >= 0 || c->ready)
			return -1;
		c->state_dir = message_take_fd(m);
		return 0;
	case MSG_CONFD_CONTROL:
		if (c->listener >= 0 || c->ready)
			return -1;
		c->listener = message_take_fd(m);
		return 0;
	case MSG_CONFD_ENVIRONMENT:
		if (c->ready && environment->reloaded == 0)
			return -1;
		if (c->ready) {
			apply_try_anew(&c->apply);
			return 0;
		}
		memcpy(&c->env, m->payload, sizeof(c->env));
		c->have_env = 1;
		return 0;
	case MSG_CONFD_CHILD:
		if (child->proc == PROC_NOBODY || child->proc >= PROC_COUNT)
			return -1;
		c->children[child->proc] = *child;
		return 0;
	case MSG_MERGE_RESULT:
		if (!c->ready)
			return -1;
		if (take_bytes(m, &answer, &err) == -1) {
			log_error("reading merge's answer: %s", err.text);
			return -1;
		}
		apply_merged(&c->apply, m->payload, &answer);
		return 0;
	default:
		return -1;
	}
}

/* ---- netd */

/* Not before this turn's messages were read: who sent two of them cannot have waited for it. */
static void
owe_credit(struct confd *c)
{
	static const struct timeval soon = {0, 0};

	if (event_add(c->credit, &soon) == -1)
		fatal("no memory for a timer");
}

void
confd_give_credit(struct confd *c)
{
	c->offer_credit = 1;
	child_send(&c->child, PROC_NETD, MSG_OFFER_CREDIT, NULL, NULL, 0, -1);
}

static int
on_offer(struct confd *c, struct message *m)
{
	struct apply_bytes offer;
	struct error err;

	if (!c->offer_credit)
		return -1;
	c->offer_credit = 0;
	/* a netd that comes anew hears that it is not here, and the server sends it again */
	if (take_bytes(m, &offer, &err) == -1) {
		log_error("reading an offer: %s", err.text);
		return -1;
	}
	confd_save_uid(c); /* where one can be written the other can */
	apply_offer(&c->apply, &offer);
	owe_credit(c);
	return 0;
}

/*
 * Since when it is connected, or is not: attempts that come to nothing do not count, nor does a netd in
 * another's place.
 */
static void
server_is(struct confd *c, const struct msg_server *s, uint64_t for_ms)
{
	uint64_t now = now_unix_ns();

	if (c->server.event == SERVER_NONE) /* netd knows it from before us */
		c->server_since_ns = for_ms < now / 1000000 ? now - for_ms * 1000000 : now;
	else if ((s->event == SERVER_CONNECTED) != (c->server.event == SERVER_CONNECTED))
		c->server_since_ns = now;
	c->server = *s;
}

static int
on_server(struct confd *c, const struct message *m)
{
	const struct msg_server *s = m->payload;

	if (s->event == SERVER_NONE || s->event > SERVER_LOST)
		return -1;
	server_is(c, s, s->for_ms);
	c->server_at_ms = now_ms();
	/* why the last attempt failed is told until the next one has ended, one way or the other */
	if (s->event == SERVER_CONNECTING && m->tail_len == 0)
		return 0;
	memcpy(c->server_text, m->tail, m->tail_len);
	c->server_text[m->tail_len] = '\0';
	return 0;
}

/* Said once until one is obeyed: a server may send any number. */
static void
on_restart(struct confd *c)
{
	struct error err;
	int refused = apply_restart(&c->apply, 1, &err) == -1;

	if (refused && !c->restart_refused)
		log_warn("the server's restart command is not obeyed: %s", err.text);
	c->restart_refused = refused;
}

static int
on_netd(struct confd *c, struct message *m)
{
	const struct msg_uid *uid = m->payload;

	switch (m->type) {
	case MSG_OFFER:
		return on_offer(c, m);
	case MSG_SERVER_RESTART:
		on_restart(c);
		return 0;
	case MSG_SERVER_UID:
		(void)confd_set_uid(c, uid->uid);
		return 0;
	case MSG_SERVER_STATE:
		return on_server(c, m);
	default:
		return -1;
	}
}

/* ---- link */

static int
take_blob(struct message *m, char **data, size_t *len)
{
	struct error err;

	*data = NULL;
	if (memfd_read(m->fd, LIMIT_MEMFD, data, len, &err) == 0)
		return 0;
	log_error("reading what the agent reported: %s", err.text);
	return -1;
}

static int
on_health(struct confd *c, struct message *m)
{
	char *component;
	size_t len;

	if (take_blob(m, &component, &len) == -1)
		return -1;
	return apply_health(&c->apply, m->payload, m->tail, m->tail_len, component, len);
}

static int
on_effective(struct confd *c, struct message *m)
{
	struct apply_bytes effective;
	struct error err;

	if (take_bytes(m, &effective, &err) == -1) {
		log_error("reading what the agent reported: %s", err.text);
		return -1;
	}
	if (apply_may_run(&c->apply)) /* else it is just ending */
		confd_effective(c, EFFECTIVE_PROTOBUF, &effective);
	bytes_free(&effective);
	return 0;
}

static int
on_link(struct confd *c, struct message *m)
{
	char *data;
	size_t len;

	switch (m->type) {
	case MSG_LINK_AGENT:
		return apply_link_agent(&c->apply, m->payload);
	case MSG_AGENT_HEALTH:
		return on_health(c, m);
	case MSG_AGENT_DESCRIPTION:
		if (take_blob(m, &data, &len) == -1)
			return -1;
		confd_describe(c, data, len);
		return 0;
	case MSG_AGENT_EFFECTIVE:
		return on_effective(c, m);
	case MSG_AGENT_OUTPUT_END:
		return apply_output_end(&c->apply, m->payload, m->tail, m->tail_len);
	case MSG_AGENT_PROBED:
		return apply_probed(&c->apply, m->payload, m->tail, m->tail_len);
	default:
		return -1;
	}
}

/* ---- procd */

static int
on_procd(struct confd *c, const struct message *m)
{
	switch (m->type) {
	case MSG_PROC_STATE:
		return apply_proc_state(&c->apply, m->payload);
	case MSG_PROC_JOB_DONE:
		return apply_job_done(&c->apply, m->payload);
	default:
		return -1;
	}
}

int
confd_message(void *ctx, struct message *m)
{
	struct confd *c = ctx;
	int r;

	if (m->peer == PROC_PARENT)
		r = on_parent(c, m);
	else if (!c->ready)
		r = -1;
	else if (m->peer == PROC_NETD)
		r = on_netd(c, m);
	else if (m->peer == PROC_LINK)
		r = on_link(c, m);
	else
		r = m->peer == PROC_PROCD ? on_procd(c, m) : -1;
	confd_settle(c);
	confd_check_end(c);
	return r;
}

/* ---- neighbours come and go */

void
confd_peer_up(void *ctx, enum proc peer)
{
	struct confd *c = ctx;

	if (!c->ready)
		return; /* main comes back to it */
	switch (peer) {
	case PROC_NETD:
		(void)event_del(c->credit);
		c->offer_credit = 1; /* netd knows that it has it */
		confd_sync_netd(c);
		break;
	case PROC_LINK:
		confd_send_uid(c, PROC_LINK, MSG_LINK_IDENTITY);
		apply_link_up(&c->apply);
		break;
	case PROC_PROCD:
		apply_procd_up(&c->apply);
		break;
	default:
		break;
	}
	confd_settle(c);
}

void
confd_peer_down(void *ctx, enum proc peer)
{
	struct confd *c = ctx;

	if (!c->ready)
		return;
	if (peer == PROC_LINK) {
		apply_link_down(&c->apply);
	} else if (peer == PROC_PROCD) {
		apply_procd_down(&c->apply);
	} else if (peer == PROC_NETD) {
		(void)event_del(c->credit);
		c->offer_credit = 0;
		if (c->server.event != SERVER_NONE)
			server_is(c, &(struct msg_server){.event = SERVER_LOST}, 0);
	}
	confd_settle(c);
	confd_check_end(c);
}
