/*
 * front_answer.c: what goes to agents: answers, offers, commands, messages (see front.h).
 * opamphub-front.
 */
#include <stdlib.h>
#include <string.h>

#include "front.h"
#include "front_report.h"
#include "privsep/log.h"

#define OUR_BITS                                                                                   \
	(OPAMP__PROTO__V1__SERVER_CAPABILITIES__ServerCapabilities_AcceptsStatus |                 \
	    OPAMP__PROTO__V1__SERVER_CAPABILITIES__ServerCapabilities_OffersRemoteConfig |         \
	    OPAMP__PROTO__V1__SERVER_CAPABILITIES__ServerCapabilities_AcceptsEffectiveConfig |     \
	    OPAMP__PROTO__V1__SERVER_CAPABILITIES__ServerCapabilities_AcceptsPackagesStatus |      \
	    OPAMP__PROTO__V1__SERVER_CAPABILITIES__ServerCapabilities_OffersConnectionSettings)
#define PUSH_TURN  128  /* offers at one time, */
#define PUSH_EACH  1000 /* so many microseconds apart */
#define SENT_BATCH 8192 /* named in one SENT */
#define PUSH_FULL                                                                                  \
	(2 * MIB) /* frames that the store has not taken: no more offers, which make more */

typedef Opamp__Proto__V1__ServerToAgent Answer;

/* Packed; NULL when memory ran out. */
static uint8_t *
packed(const Answer *m, size_t *len)
{
	uint8_t *data;

	*len = protobuf_c_message_get_packed_size(&m->base);
	data = malloc(*len + 1);
	if (data != NULL)
		(void)protobuf_c_message_pack(&m->base, data);
	return data;
}

static struct front_config *
config_find(struct front *f, uint32_t number)
{
	struct front_config *k;

	LIST_FOREACH (k, &f->configs, entry)
		if (k->number == number)
			return k;
	return NULL;
}

/* ---- telling the store what went out */

void
answer_flush_sent(struct front *f)
{
	struct record_writer w = {0};
	struct error err;

	if (f->sent.count == 0)
		return;
	record_put_u64(&w, KEY_WHAT, FRAME_OFFER);
	record_put_u64(&w, KEY_CONFIG, f->sent_config);
	record_put(&w, KEY_CONNS, 0, 0, f->sent.numbers, f->sent.count * sizeof(*f->sent.numbers));
	f->sent.count = 0;
	if (frames_send(f->frames, FRAME_SENT, 0, 0, &w, &err) == -1)
		front_dies(err.text);
}

static void
sent(struct conversation *c, uint32_t config)
{
	struct front *f = c->front;

	if (f->sent_config != config || f->sent.count >= SENT_BATCH)
		answer_flush_sent(f);
	f->sent_config = config;
	if (front_list_add(&f->sent, c->number) == -1)
		front_dies("out of memory");
}

static void
tell(struct conversation *c, uint32_t frame, uint32_t what, const char *why)
{
	struct record_writer w = {0};
	struct error err;

	record_put_u64(&w, KEY_WHAT, what);
	if (why != NULL)
		record_put_string(&w, KEY_WHY, why);
	else
		record_put(&w, KEY_CONNS, 0, 0, &c->number, sizeof(c->number));
	if (frames_send(c->front->frames, frame, c->number, 0, &w, &err) == -1)
		front_dies(err.text);
}

/* ---- answers */

static void
queue_due(struct conversation *c)
{
	if (c->queued_due || !c->websocket)
		return;
	c->queued_due = 1;
	TAILQ_INSERT_TAIL(&c->front->due, c, due_entry);
}

/* body: what stands packed already, joined to m.  -1: not sent. */
static int
send_to(struct conversation *c, const Answer *m, const uint8_t *body, size_t len)
{
	size_t head_len;
	uint8_t *head = packed(m, &head_len);
	int r;

	if (head == NULL)
		return -1;
	/* SZ-03: our own limit holds for what we send too */
	r = head_len + len > LIMIT_HUB_MESSAGE
		? -1
		: server_answer(c->peer->server, head, head_len, body, len);
	free(head);
	return r;
}

static Answer
answer_to(struct conversation *c)
{
	Answer m = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;

	m.instance_uid.data = c->uid;
	m.instance_uid.len = sizeof(c->uid);
	return m;
}

static int
accepts_config(const struct conversation *c)
{
	return (c->capabilities &
		   OPAMP__PROTO__V1__AGENT_CAPABILITIES__AgentCapabilities_AcceptsRemoteConfig) !=
	       0;
}

/* The offer that belongs into an answer now, or NULL. */
static struct front_config *
offer_due(struct conversation *c)
{
	if (c->due == 0 || c->unread || !accepts_config(c))
		return NULL;
	if (c->offered == c->due && c->front->now_s - c->offered_s < FRONT_RESEND_S)
		return NULL;
	return config_find(c->front, c->due);
}

static void
offer_went(struct conversation *c, const struct front_config *k)
{
	c->offered = k->number;
	c->offered_s = c->front->now_s;
	if (c->flight == 0)
		c->flight_s = c->front->now_s;
	c->flight += k->len;
	c->front->flight += k->len;
	sent(c, k->number);
}

/* RC-04: a poll is answered by the command alone, which has to wait for one. */
static int
restart_instead(struct conversation *c)
{
	Opamp__Proto__V1__ServerToAgentCommand command =
	    OPAMP__PROTO__V1__SERVER_TO_AGENT_COMMAND__INIT;
	Answer m = answer_to(c);

	if (!c->restart || c->websocket)
		return 0;
	c->restart = 0;
	m.command = &command;
	if (send_to(c, &m, NULL, 0) == -1)
		return 0;
	tell(c, FRAME_SENT, FRAME_COMMAND, NULL);
	return 1;
}

void
answer_send(struct conversation *c, uint64_t flags, const uint8_t *new_uid)
{
	Opamp__Proto__V1__AgentIdentification id = OPAMP__PROTO__V1__AGENT_IDENTIFICATION__INIT;
	Opamp__Proto__V1__CustomCapabilities custom = OPAMP__PROTO__V1__CUSTOM_CAPABILITIES__INIT;
	struct front_config *k = offer_due(c);
	Answer m = answer_to(c);

	if (restart_instead(c))
		return;
	if (k != NULL && c->front->flight >= FRONT_FLIGHT) {
		queue_due(
		    c); /* it has its turn when others have read theirs; a poller asks again */
		k = NULL;
	}
	m.flags = flags;
	if (new_uid != NULL) {
		id.new_instance_uid.data = (uint8_t *)(uintptr_t)new_uid;
		id.new_instance_uid.len = 16;
		m.agent_identification = &id;
		k = NULL; /* the new one gets what is due to it */
	}
	if (!c->told) {
		m.capabilities = OUR_BITS;
		custom.n_capabilities = c->front->custom_count;
		custom.capabilities = c->front->custom;
		if (custom.n_capabilities > 0)
			m.custom_capabilities = &custom;
	}
	if (k == NULL && c->settings != NULL && new_uid == NULL) {
		if (send_to(c, &m, c->settings, c->settings_len) == 0) {
			tell(c, FRAME_SENT, FRAME_SETTINGS, NULL);
			c->told = 1;
		}
		free(c->settings);
		c->settings = NULL;
		return;
	}
	if (send_to(c, &m, k == NULL ? NULL : k->data, k == NULL ? 0 : k->len) == -1) {
		if (k != NULL)
			tell(c, FRAME_UNSENT, FRAME_OFFER, "it could not be sent");
		return;
	}
	c->told = 1;
	if (k != NULL)
		offer_went(c, k);
}

void
answer_error(struct peer *p, const uint8_t *uid, int unavailable, const char *why)
{
	Opamp__Proto__V1__ServerErrorResponse e = OPAMP__PROTO__V1__SERVER_ERROR_RESPONSE__INIT;
	Opamp__Proto__V1__RetryInfo retry = OPAMP__PROTO__V1__RETRY_INFO__INIT;
	Answer m = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	char text[512];
	uint8_t *data;
	size_t len;

	(void)log_escape(text, sizeof(text), why, strlen(why));
	e.error_message = text;
	e.type =
	    unavailable
		? OPAMP__PROTO__V1__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_Unavailable
		: OPAMP__PROTO__V1__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_BadRequest;
	if (unavailable) {
		retry.retry_after_nanoseconds = FRONT_BUSY_S * 1000000000ull;
		e.details_case = OPAMP__PROTO__V1__SERVER_ERROR_RESPONSE__DETAILS_RETRY_INFO;
		e.retry_info = &retry;
	}
	if (uid != NULL) {
		m.instance_uid.data = (uint8_t *)(uintptr_t)uid;
		m.instance_uid.len = 16;
	}
	m.error_response = &e; /* ST-14: and no other field */
	log_debug("an agent's message was refused: %s", text);
	data = packed(&m, &len);
	if (data == NULL || server_answer(p->server, NULL, 0, data, len) == -1)
		server_leave(p->server, 1011, "no answer could be made");
	free(data);
}

/* ---- offers that go out by themselves */

void
answer_forget(struct conversation *c)
{
	if (c->queued_due)
		TAILQ_REMOVE(&c->front->due, c, due_entry);
	c->queued_due = 0;
	answer_landed(c);
}

void
answer_landed(struct conversation *c)
{
	if (c->flight == 0)
		return;
	c->front->flight -= c->flight;
	c->flight = 0;
	if (!TAILQ_EMPTY(&c->front->due))
		event_active(c->front->pushing, 0, 0);
}

void
answer_drained(struct peer *p)
{
	struct conversation *c = p->conversation;

	if (c == NULL)
		return;
	answer_landed(c);
	if (c->unread && c->due != 0) /* meanwhile another may have become due */
		queue_due(c);
	c->unread = 0;
}

/* What thousands of agents answer at once would only wait here: they get their offers as the store keeps up. */
static int
may_push(const struct front *f)
{
	return f->flight < FRONT_FLIGHT && frames_pending(f->frames) < PUSH_FULL;
}

void
answer_push(struct front *f)
{
	struct conversation *c;
	static const struct timeval each = {0, PUSH_EACH};
	struct front_config *k;
	unsigned turn = PUSH_TURN;
	Answer m;

	while (turn-- > 0 && may_push(f) && (c = TAILQ_FIRST(&f->due)) != NULL) {
		TAILQ_REMOVE(&f->due, c, due_entry);
		c->queued_due = 0;
		/* one whose report is with the store gets it with the answer */
		if (c->peer == NULL || c->waiting || !c->told || (k = offer_due(c)) == NULL)
			continue;
		m = answer_to(c);
		if (send_to(c, &m, k->data, k->len) == -1)
			tell(c, FRAME_UNSENT, FRAME_OFFER, "it could not be sent");
		else
			offer_went(c, k);
	}
	answer_flush_sent(f);
	if (!TAILQ_EMPTY(&f->due) && may_push(f))
		(void)event_add(f->pushing, &each);
}

/* ---- frames of the store */

static int
verdict(struct conversation *c, const struct frame_header *h, const struct record *r)
{
	uint64_t answer = record_u64(r, KEY_ANSWER, 0), flags = 0;
	struct record_entry uid;
	int has_uid = record_find(r, KEY_NEW_UID, &uid) && uid.len == 16;

	if (!c->waiting || h->serial != c->serial)
		return 0; /* of a request whose connection broke meanwhile */
	c->waiting = 0;
	if (answer & VERDICT_FULL_STATE)
		flags |=
		    OPAMP__PROTO__V1__SERVER_TO_AGENT_FLAGS__ServerToAgentFlags_ReportFullState;
	if (answer & VERDICT_COMPONENTS)
		flags |=
		    OPAMP__PROTO__V1__SERVER_TO_AGENT_FLAGS__ServerToAgentFlags_ReportAvailableComponents;
	if (c->peer == NULL)
		return 0;
	if (answer & VERDICT_BUSY) {
		c->begun = 0; /* nothing was stored: as if it had not been said */
		answer_error(c->peer, c->uid, 1, "the hub has too much to do");
	} else
		answer_send(c, flags, has_uid ? (const uint8_t *)uid.value : NULL);
	conversation_go_on(c);
	return 0;
}

static int
take_config(struct front *f, const struct record *r, struct error *err)
{
	struct front_config *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return error_set(err, "out of memory");
	(void)error_set(err, "no number, or one that is there already");
	k->number = (uint32_t)record_u64(r, KEY_CONFIG, 0);
	if (k->number == 0 || config_find(f, k->number) != NULL ||
	    config_pack(r, &k->data, &k->len, err) == -1) {
		free(k);
		return error_prefix(err, "a configuration that cannot be offered");
	}
	LIST_INSERT_HEAD(&f->configs, k, entry);
	return 0;
}

static int
forget_config(struct front *f, const struct record *r)
{
	struct front_config *k = config_find(f, (uint32_t)record_u64(r, KEY_CONFIG, 0));

	if (k == NULL)
		return 0;
	LIST_REMOVE(k, entry);
	free(k->data);
	free(k);
	return 0;
}

/* OFFER and AGREED: for each conversation that is still there. */
static int
set_due(struct front *f, const struct record *r, uint32_t config, struct error *err)
{
	struct conversation *c;
	struct record_entry e;
	uint32_t number;
	size_t at;

	if (!record_find(r, KEY_CONNS, &e) || e.len % sizeof(number) != 0)
		return error_set(err, "no conversations");
	if (config != 0 && config_find(f, config) == NULL)
		return error_set(err, "a configuration that is not known");
	for (at = 0; at < e.len; at += sizeof(number)) {
		memcpy(&number, e.value + at, sizeof(number));
		c = conversation_find(f, number);
		if (c == NULL)
			continue;
		c->due = config;
		c->offered = 0;
		if (config != 0)
			queue_due(c);
	}
	if (config != 0)
		answer_push(f);
	return 0;
}

static void
command(struct conversation *c)
{
	Opamp__Proto__V1__ServerToAgentCommand m = OPAMP__PROTO__V1__SERVER_TO_AGENT_COMMAND__INIT;
	Answer a = answer_to(c);

	if (!c->websocket) {
		c->restart = 1;
		return;
	}
	a.command = &m;
	if (send_to(c, &a, NULL, 0) == -1)
		tell(c, FRAME_UNSENT, FRAME_COMMAND, "it could not be sent");
	else
		tell(c, FRAME_SENT, FRAME_COMMAND, NULL);
}

static int
custom_message(struct conversation *c, const struct record *r)
{
	Opamp__Proto__V1__CustomMessage m = OPAMP__PROTO__V1__CUSTOM_MESSAGE__INIT;
	char *capability = record_string(r, KEY_CAPABILITY), *type = record_string(r, KEY_TYPE);
	Answer a = answer_to(c);
	struct record_entry data;
	int result = -1;

	if (capability != NULL && type != NULL && record_find(r, KEY_DATA, &data)) {
		m.capability = capability;
		m.type = type;
		m.data.data = (uint8_t *)(uintptr_t)data.value;
		m.data.len = data.len;
		a.custom_message = &m;
		if (!c->websocket || send_to(c, &a, NULL, 0) == -1)
			tell(c, FRAME_UNSENT, FRAME_MESSAGE,
			    c->websocket ? "it could not be sent"
					 : "the agent polls by plain HTTP");
		else
			tell(c, FRAME_SENT, FRAME_MESSAGE, NULL);
		result = 0;
	}
	free(capability);
	free(type);
	return result;
}

static int
settings(struct conversation *c, const struct record *r, struct error *err)
{
	Answer a = answer_to(c);

	free(c->settings);
	c->settings = NULL;
	if (settings_pack(r, &c->settings, &c->settings_len, err) == -1)
		return -1;
	if (!c->websocket || c->waiting || !c->told)
		return 0; /* with the next answer */
	if (send_to(c, &a, c->settings, c->settings_len) == -1)
		tell(c, FRAME_UNSENT, FRAME_SETTINGS, "they could not be sent");
	else
		tell(c, FRAME_SENT, FRAME_SETTINGS, NULL);
	free(c->settings);
	c->settings = NULL;
	return 0;
}

int
answer_frame(void *ctx, const struct frame_header *h, const struct record *r, struct error *err)
{
	struct front *f = ctx;
	struct conversation *c = NULL;

	switch (h->type) {
	case FRAME_CONFIG:
		return take_config(f, r, err);
	case FRAME_FORGET:
		return forget_config(f, r);
	case FRAME_OFFER:
	case FRAME_AGREED:
		return set_due(
		    f, r, h->type == FRAME_OFFER ? (uint32_t)record_u64(r, KEY_CONFIG, 0) : 0, err);
	default:
		break;
	}
	c = conversation_find(f, h->conn);
	if (c == NULL)
		return 0; /* it ended meanwhile */
	switch (h->type) {
	case FRAME_VERDICT:
		return verdict(c, h, r);
	case FRAME_COMMAND:
		command(c);
		return 0;
	case FRAME_MESSAGE:
		return custom_message(c, r);
	case FRAME_SETTINGS:
		return settings(c, r, err);
	case FRAME_CLOSE:
		if (c->peer != NULL)
			server_leave(
			    c->peer->server, 1008, "your credentials are not valid any more");
		conversation_end(c, "the hub ended it");
		return 0;
	default:
		return error_set(err, "not for us");
	}
}
