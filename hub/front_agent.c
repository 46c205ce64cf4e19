/*
 * front_agent.c: what agents say: conversations, their sequence, twins, and reports for the store
 * (see front.h).  opamphub-front.
 */
#include <stdlib.h>
#include <string.h>

#include "front.h"
#include "front_report.h"
#include "privsep/log.h"
#include "wire/wire.h"

typedef Opamp__Proto__V1__AgentToServer Report;

/* ---- finding and making */

struct conversation *
conversation_find(struct front *f, uint32_t number)
{
	struct conversation *c;

	LIST_FOREACH (c, &f->numbers[number % FRONT_BUCKETS], by_number)
		if (c->number == number)
			return c;
	return NULL;
}

static struct conversation *
find_uid(struct front *f, const uint8_t uid[16], const struct conversation *but)
{
	struct conversation *c;

	LIST_FOREACH (c, &f->uids[uid_hash(uid) % FRONT_BUCKETS], by_uid)
		if (c != but && memcmp(c->uid, uid, 16) == 0)
			return c;
	return NULL;
}

static struct conversation *
begin(struct peer *p, const uint8_t uid[16])
{
	struct front *f = p->front;
	struct conversation *c;

	if (f->conversations >= 2 * f->max_agents || (c = calloc(1, sizeof(*c))) == NULL)
		return NULL;
	f->conversations++;
	c->front = f;
	c->number = ++f->last_number;
	c->websocket = server_is_websocket(p->server) != 0;
	memcpy(c->uid, uid, 16);
	STAILQ_INIT(&c->queue);
	LIST_INSERT_HEAD(&f->numbers[c->number % FRONT_BUCKETS], c, by_number);
	LIST_INSERT_HEAD(&f->uids[uid_hash(uid) % FRONT_BUCKETS], c, by_uid);
	return c;
}

static void
drop_queue(struct conversation *c)
{
	struct queued *q;

	while ((q = STAILQ_FIRST(&c->queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&c->queue, entry);
		free(q);
	}
	c->queued_len = 0;
	if (c->peer != NULL)
		server_keeps(c->peer->server, 0);
}

void
conversation_end(struct conversation *c, const char *why)
{
	struct record_writer w = {0};
	struct error err;

	if (c->begun) {
		record_put_string(&w, KEY_WHY, why);
		record_put_u64(&w, KEY_LEFT, c->left);
		if (frames_send(c->front->frames, FRAME_GONE, c->number, 0, &w, &err) == -1)
			front_dies(err.text);
	}
	if (c->peer != NULL)
		c->peer->conversation = NULL;
	answer_forget(c);
	drop_queue(c);
	LIST_REMOVE(c, by_number);
	LIST_REMOVE(c, by_uid);
	c->front->conversations--;
	free(c->settings);
	free(c);
}

/* ---- twins (ID-05) */

/* True: the message has to wait until it is known whether another with this uid lives. */
static int
check_twin(struct conversation *c)
{
	struct conversation *old = find_uid(c->front, c->uid, c);

	if (old == NULL || c->twin)
		return 0;
	if (!old->websocket) { /* it polls no more: it came back by WebSocket */
		conversation_end(old, "the agent goes on over another connection");
		return 0;
	}
	if (c->twin_by_s == 0) {
		c->twin_by_s = c->front->now_s + FRONT_TWIN_S + 1;
		old->pinged = 1;
		server_ping(old->peer->server);
	}
	return 1;
}

/* Nobody answered the ping: the old one is dead, and this one is the agent. */
static void
old_is_dead(struct conversation *c)
{
	struct conversation *old = find_uid(c->front, c->uid, c);

	c->twin_by_s = 0;
	if (old != NULL && old->peer != NULL)
		server_leave(old->peer->server, 1001, "another connection took its place");
	if (old != NULL)
		conversation_end(old, "the agent goes on over another connection");
	conversation_go_on(c);
}

void
agent_pong(struct peer *p)
{
	struct conversation *c = p->conversation, *other;
	struct front *f = p->front;

	if (c == NULL)
		return;
	c->alive_s = f->now_s;
	if (!c->pinged)
		return;
	c->pinged = 0;
	LIST_FOREACH (other, &f->uids[uid_hash(c->uid) % FRONT_BUCKETS], by_uid)
		if (other != c && other->twin_by_s != 0 && memcmp(other->uid, c->uid, 16) == 0) {
			other->twin_by_s = 0;
			other->twin = 1;
			conversation_go_on(other);
			return;
		}
}

/* ---- messages */

static void
put_origin(struct record_writer *w, const struct conversation *c)
{
	const struct peer *p = c->peer;
	char text[80];

	record_put_string(w, KEY_TRANSPORT,
	    c->websocket ? (p->front->tls != NULL ? "wss" : "ws")
			 : (p->front->tls != NULL ? "https" : "http"));
	record_put_string(w, KEY_ADDRESS, peer_address(p, text, sizeof(text)));
	record_put(w, KEY_CREDENTIAL, 0, 0, p->credential == NULL ? "" : p->credential,
	    p->credential == NULL ? 0 : p->credential_len);
}

/* What the store is to know; the answer waits for its verdict. */
static int
report(struct conversation *c, const Report *m, size_t len, unsigned flags)
{
	struct record_writer w = {0};
	struct error err;

	if (!c->begun)
		flags |= REPORT_FIRST;
	if (c->twin)
		flags |= REPORT_TWIN;
	if (m->flags &
	    OPAMP__PROTO__V1__AGENT_TO_SERVER_FLAGS__AgentToServerFlags_RequestInstanceUid)
		flags |= REPORT_WANTS_UID;
	if (m->agent_disconnect != NULL)
		flags |= REPORT_LEAVES;
	record_put(&w, KEY_UID, 0, 0, c->uid, sizeof(c->uid));
	record_put_u64(&w, KEY_FLAGS, flags);
	record_put_u64(&w, KEY_SEQUENCE, m->sequence_num);
	record_put_u64(&w, KEY_CAPABILITIES, m->capabilities);
	if (flags & REPORT_FIRST)
		put_origin(&w, c);
	if (report_put(&w, m, &err) == -1 ||
	    frames_send(c->front->frames, FRAME_REPORT, c->number, ++c->serial, &w, &err) == -1) {
		record_discard(&w);
		log_warn("%s", err.text);
		return -1;
	}
	pace_charge(&c->front->pace, FRONT_STORE_US + len / KIB * FRONT_STORE_US_KIB);
	c->begun = 1;
	c->waiting = 1;
	if (c->websocket)
		server_hold(c->peer->server);
	return 0;
}

/* CM-03: what we did not announce is dropped. */
static void
custom(struct conversation *c, const Opamp__Proto__V1__CustomMessage *m)
{
	struct record_writer w = {0};
	struct record_entry e;
	struct error err;
	size_t pos = 0, n = m->capability == NULL ? 0 : strlen(m->capability);

	while (record_next(&c->front->setup.record, &pos, SETUP_CUSTOM, &e)) {
		if (e.len != n || n == 0 || memcmp(e.value, m->capability, n) != 0)
			continue;
		if (m->data.len > LIMIT_HUB_CUSTOM / 2)
			break;
		record_put_string(&w, KEY_CAPABILITY, m->capability);
		record_put_string(&w, KEY_TYPE, m->type == NULL ? "" : m->type);
		record_put(&w, KEY_DATA, 0, 0, m->data.len == 0 ? (const void *)"" : m->data.data,
		    m->data.len);
		if (frames_send(c->front->frames, FRAME_CUSTOM, c->number, 0, &w, &err) == -1)
			log_warn("%s", err.text);
		return;
	}
	log_debug("a custom message of a capability that the hub does not have was dropped");
}

/* One message that is the conversation's, in its turn. */
static int
act(struct conversation *c, const Report *m, size_t len)
{
	unsigned flags = 0;
	int first = !c->begun, news;
	struct error err;

	c->heard = 1;
	c->heard_s = c->alive_s = c->front->now_s;
	if (frames_pending(c->front->frames) > FRONT_PENDING) {
		answer_error(c->peer, c->uid, 1, "the hub has too much to do");
		return 0;
	}
	if (!first && !c->twin && m->sequence_num == c->sequence && c->sequence != 0) {
		answer_send(c, 0, NULL); /* ER-06: seen before; answered, not acted on */
		return 0;
	}
	if (!first && m->sequence_num != c->sequence + 1)
		flags |= REPORT_GAP;
	if (report_check(m, &err) == -1) {
		answer_error(c->peer, c->uid, 0, err.text);
		return 0;
	}
	news = first || c->twin || flags != 0 || m->flags != 0 ||
	       m->capabilities != c->capabilities || report_has_parts(m);
	c->sequence = m->sequence_num;
	c->capabilities = m->capabilities;
	c->left |= m->agent_disconnect != NULL;
	if (m->custom_message != NULL && !first)
		custom(c, m->custom_message);
	if (news)
		return report(c, m, len, flags);
	answer_send(c, 0, NULL);
	return 0;
}

/* A poller's conversation and the connection that it came by last: from now on apart. */
static void
part_from(struct conversation *c)
{
	struct peer *p = c->peer;

	if (p == NULL)
		return;
	if (c->waiting || c->twin_by_s != 0)
		server_refuse(p->server, 503, NULL); /* its answer will not come */
	drop_queue(c);
	answer_landed(c);
	c->unread = 0;
	c->waiting = 0;
	c->peer = NULL;
	p->conversation = NULL;
}

/* The conversation that a message belongs to; NULL: out of memory, or too many. */
static struct conversation *
conversation_of(struct peer *p, const uint8_t uid[16])
{
	struct conversation *c = p->conversation;

	if (c != NULL && !c->websocket &&
	    (server_is_websocket(p->server) || memcmp(c->uid, uid, 16) != 0)) {
		part_from(c);
		c = NULL;
	}
	if (server_is_websocket(p->server)) {
		if (c != NULL && memcmp(c->uid, uid, 16) != 0) { /* it took the uid we gave it */
			conversation_end(c, "the agent goes on under another uid");
			c = NULL;
		}
		if (c == NULL)
			c = begin(p, uid);
	} else if (c == NULL) {
		c = find_uid(p->front, uid, NULL);
		if (c == NULL || c->websocket)
			c = begin(p, uid);
		else
			part_from(c);
	}
	if (c != NULL) {
		c->peer = p;
		p->conversation = c;
	}
	return c;
}

static int
put_aside(struct conversation *c, const uint8_t *data, size_t len)
{
	struct queued *q = malloc(sizeof(*q) + len);

	if (q == NULL)
		return -1;
	q->len = len;
	memcpy(q->data, data, len);
	STAILQ_INSERT_TAIL(&c->queue, q, entry);
	c->queued_len += len;
	server_hold(c->peer->server);
	server_keeps(c->peer->server, c->queued_len);
	return 0;
}

static int
take(struct conversation *c, const uint8_t *data, size_t len)
{
	struct error err;
	ProtobufCMessage *m =
	    wire_unpack(&opamp__proto__v1__agent_to_server__descriptor, data, len, &err);
	int r;

	if (m == NULL) {
		answer_error(c->peer, c->uid, 0, err.text);
		return 0;
	}
	r = act(c, (const Report *)m, len);
	wire_free(m);
	return r;
}

/* The instance uid, read before anything else is believed.  -1: the answer says why. */
static int
uid_of(struct peer *p, const Report *m, uint8_t uid[16])
{
	static const uint8_t zero[16];
	int wants =
	    (m->flags &
		OPAMP__PROTO__V1__AGENT_TO_SERVER_FLAGS__AgentToServerFlags_RequestInstanceUid) !=
	    0;

	memset(uid, 0, 16);
	if (m->instance_uid.len == 16)
		memcpy(uid, m->instance_uid.data, 16);
	else if (!wants || m->instance_uid.len != 0) {
		answer_error(p, NULL, 0, "instance_uid must have 16 bytes");
		return -1;
	}
	if (memcmp(uid, zero, 16) == 0 && !wants) {
		answer_error(p, NULL, 0, "instance_uid must not be zero");
		return -1;
	}
	return 0;
}

int
agent_message(struct peer *p, const uint8_t *data, size_t len)
{
	struct conversation *c = p->conversation;
	struct error err;
	ProtobufCMessage *m;
	uint8_t uid[16];
	int r = -1;

	if (c != NULL && (c->waiting || c->twin_by_s != 0 || !STAILQ_EMPTY(&c->queue)))
		return put_aside(c, data, len);
	m = wire_unpack(&opamp__proto__v1__agent_to_server__descriptor, data, len, &err);
	if (m == NULL) { /* ST-13 */
		answer_error(p, c == NULL ? NULL : c->uid, 0, err.text);
		return 0;
	}
	if (uid_of(p, (const Report *)m, uid) == -1) {
		wire_free(m);
		return 0;
	}
	c = conversation_of(p, uid);
	if (c == NULL) {
		answer_error(p, uid, 1, "the hub has too many agents");
		r = 0;
	} else if (!c->begun && check_twin(c))
		r = put_aside(c, data, len);
	else
		r = act(c, (const Report *)m, len);
	wire_free(m);
	return r;
}

int
agent_malformed(struct peer *p, const char *why)
{
	answer_error(p, p->conversation == NULL ? NULL : p->conversation->uid, 0, why);
	return 0;
}

void
conversation_go_on(struct conversation *c)
{
	struct queued *q;
	int r = 0;

	while (r == 0 && !c->waiting && c->peer != NULL && (q = STAILQ_FIRST(&c->queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&c->queue, entry);
		c->queued_len -= q->len;
		server_keeps(c->peer->server, c->queued_len);
		r = take(c, q->data, q->len);
		free(q);
	}
	if (c->peer == NULL)
		return;
	if (r == -1)
		server_leave(c->peer->server, 1011, "out of memory");
	if (!c->waiting)
		server_go_on(c->peer->server);
}

/* ---- time and ends */

void
agent_closed(struct peer *p, const char *why)
{
	struct conversation *c = p->conversation;

	if (c == NULL)
		return;
	if (!c->websocket && !c->left && c->begun) { /* it will poll again */
		part_from(c);
		return;
	}
	conversation_end(c, c->left ? "the agent said goodbye" : why);
}

/* Who does not read what it is offered holds up nobody else, and is sent away in the end.  1: it was. */
static int
is_deaf(struct conversation *c)
{
	uint32_t since = c->front->now_s - c->flight_s;

	if (c->flight != 0 && since >= FRONT_STUCK_S) {
		answer_landed(c); /* the connections' budget bounds it still */
		c->unread = 1;
	}
	if (!c->unread || c->peer == NULL || since <= LIMIT_HUB_UNREAD_MS / 1000)
		return 0;
	server_leave(c->peer->server, 1008, "what you are offered is not read");
	conversation_end(c, "it does not read what it is offered");
	return 1;
}

/* 1: another conversation may be gone with it. */
static int
tick_one(struct conversation *c)
{
	uint32_t silent = c->front->now_s - c->alive_s;

	if (is_deaf(c))
		return 1;
	if (c->twin_by_s != 0) {
		if (c->front->now_s < c->twin_by_s)
			return 0;
		old_is_dead(c);
		return 1;
	}
	if (!c->begun && c->peer == NULL) {
		conversation_end(c, "it never began");
		return 1;
	}
	if (!c->begun || c->waiting)
		return 0;
	if (!c->websocket) {
		if (silent > c->front->silence_s)
			conversation_end(c, "it polls no more");
	} else if (silent > c->front->silence_s * 3 / 2) {
		server_leave(c->peer->server, 1001, "nothing was heard of you");
		conversation_end(c, "nothing was heard of it");
	} else if (silent > c->front->silence_s && !c->pinged) {
		c->pinged = 1;
		server_ping(c->peer->server);
	}
	return 0;
}

void
agents_tick(struct front *f)
{
	struct front_list heard = {0};
	struct conversation *c, *next;
	struct record_writer w = {0};
	struct error err;
	unsigned i;

	for (i = 0; i < FRONT_BUCKETS; i++)
		for (c = LIST_FIRST(&f->numbers[i]); c != NULL; c = next) {
			next = LIST_NEXT(c, by_number);
			if (c->heard && c->begun && front_list_add(&heard, c->number) == -1)
				front_dies("out of memory");
			c->heard = 0;
			if (tick_one(c))
				next = LIST_FIRST(&f->numbers[i]);
		}
	if (heard.count > 0) {
		record_put(
		    &w, KEY_CONNS, 0, 0, heard.numbers, heard.count * sizeof(*heard.numbers));
		if (frames_send(f->frames, FRAME_ALIVE, 0, 0, &w, &err) == -1)
			front_dies(err.text);
	}
	free(heard.numbers);
}
