/*
 * client.c: when to connect and what to say (see client.h).  netd.
 * What the server says is in client_server.c, confd in
 * client_confd.c.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/log.h"
#include "wire/wire.h"

#define FIELD_REMOTE_CONFIG 3           /* of ServerToAgent */
#define REPORT_PENDING      (256 * KIB) /* more than that unwritten: the next report waits */
#define LEAVE_MS            3000        /* for the closing handshake */
#define CAUSED              10          /* reports a second that the server may cause */
#define PACE_MS             1000
#define BUSY_MS             30000 /* the least wait for a server that is overloaded and names none */

void
client_later(struct client *c, enum client_timer t, uint64_t ms)
{
	c->ops->timer(c->ctx, t, ms == 0 ? 1 : ms);
}

void
client_never(struct client *c, enum client_timer t)
{
	c->ops->timer(c->ctx, t, 0);
}

void
client_init(struct client *c, const struct client_ops *ops, void *ctx,
    const struct client_settings *set, struct report *report)
{
	memset(c, 0, sizeof(*c));
	c->ops = ops;
	c->ctx = ctx;
	c->set = *set;
	c->report = report;
	c->retry_after_ms = -1;
}

void
client_clear(struct client *c)
{
	free(c->offer);
	c->offer = NULL;
}

static void
tell(struct client *c, uint32_t event, const char *why, int http_status, uint64_t next_ms)
{
	if (c->told.event == SERVER_NONE ||
	    (c->told.event == SERVER_CONNECTED) != (event == SERVER_CONNECTED))
		c->since_ms = c->ops->now_ms(c->ctx);
	c->told = (struct msg_server){.event = event,
	    .http_status = (uint32_t)http_status,
	    .next_ms = next_ms,
	    .capabilities = event == SERVER_CONNECTED ? c->server_capabilities : 0,
	    .for_ms = c->ops->now_ms(c->ctx) - c->since_ms};
	(void)snprintf(c->told_why, sizeof(c->told_why), "%s", why);
	c->ops->state(c->ctx, &c->told, c->told_why);
}

/* ---- attempts */

void
client_attempt(struct client *c)
{
	c->state = CLIENT_CONNECTING;
	c->attempt++;
	/* each step has its own limit where it is made; this is for an answer that never comes */
	client_later(c, CLIENT_TIMER_CONNECT, 4 * c->set.connect_ms + 10000);
	tell(c, SERVER_CONNECTING, "", 0, 0);
	c->ops->connect(c->ctx, c->attempt);
}

/* CC-01: doubling, with full jitter. */
static uint64_t
backoff(struct client *c)
{
	uint64_t delay = c->set.delay_min_ms, i;

	for (i = 0; i < c->failures && delay < c->set.delay_max_ms; i++)
		delay *= 2;
	if (delay > c->set.delay_max_ms)
		delay = c->set.delay_max_ms;
	c->failures++;
	return c->ops->random(c->ctx, delay + 1);
}

static uint64_t
wait_for(struct client *c, int http_status, int64_t retry_after)
{
	uint64_t wait, least;
	int busy = c->throttled || http_status == 429 || http_status == 503;

	if (retry_after >= 0) { /* ER-03, ER-04; not all of us in the same moment */
		least = backoff(c);
		wait = (uint64_t)retry_after;
		if (wait > LIMIT_RETRY_AFTER_MS)
			wait = LIMIT_RETRY_AFTER_MS;
		wait += c->ops->random(c->ctx, wait / 10 + 1);
		if (wait < c->set.delay_min_ms && wait < least)
			wait = least;
		return wait > LIMIT_RETRY_AFTER_MS ? LIMIT_RETRY_AFTER_MS : wait;
	}
	if (http_status == 401 || http_status == 403) { /* CC-08: only the operator can help */
		(void)backoff(c);
		return c->set.delay_max_ms / 2 +
		       c->ops->random(c->ctx, c->set.delay_max_ms / 2 + 1);
	}
	if (busy) { /* it did not say for how long */
		least = c->set.delay_max_ms < BUSY_MS ? c->set.delay_max_ms : BUSY_MS;
		wait = backoff(c);
		return wait > least ? wait : least + c->ops->random(c->ctx, least / 10 + 1);
	}
	if ((c->answered || c->stable) && !c->at_once_used) {
		c->at_once_used = 1; /* CC-02 */
		return 0;
	}
	return backoff(c);
}

static void
connection_over(struct client *c, const struct client_failure *f)
{
	enum client_timer t;
	char text[ERROR_TEXT + 64];
	uint64_t wait;

	for (t = CLIENT_TIMER_CONNECT; t <= CLIENT_TIMER_CLOSE; t++)
		client_never(c, t);
	report_lost(c->report);
	c->have_last_uid = 0;
	if (c->ending) {
		c->state = CLIENT_ENDED;
		tell(c, SERVER_LOST, f->why, 0, 0);
		c->ops->done(c->ctx);
		return;
	}
	wait = wait_for(c, f->http_status,
	    f->retry_after_ms > c->retry_after_ms ? f->retry_after_ms : c->retry_after_ms);
	c->state = CLIENT_BACKOFF;
	(void)snprintf(text, sizeof(text), "%s", f->why);
	log_warn("the server: %s; next attempt in %llu.%llu s", text,
	    (unsigned long long)(wait / 1000), (unsigned long long)(wait % 1000 / 100));
	tell(c, SERVER_LOST, text, f->http_status, wait);
	c->answered = c->stable = c->throttled = 0;
	c->retry_after_ms = -1;
	client_later(c, CLIENT_TIMER_CONNECT, wait);
}

void
client_failed(struct client *c, const struct client_failure *f)
{
	struct client_failure left = {c->leaving, 0, -1};

	switch (c->state) {
	case CLIENT_CONNECTING:
	case CLIENT_OPEN:
		connection_over(c, f);
		break;
	case CLIENT_CLOSING:
		connection_over(c, &left);
		break;
	case CLIENT_WAITING:
	case CLIENT_BACKOFF:
	case CLIENT_ENDED:
		break;
	}
}

void
client_leave(struct client *c, uint16_t code, const char *why)
{
	if (c->state != CLIENT_OPEN)
		return;
	(void)snprintf(c->leaving, sizeof(c->leaving), "%s", why);
	c->state = CLIENT_CLOSING;
	client_never(c, CLIENT_TIMER_HEARTBEAT);
	client_never(c, CLIENT_TIMER_PING);
	client_never(c, CLIENT_TIMER_RESPONSE);
	client_later(c, CLIENT_TIMER_CLOSE, LEAVE_MS);
	c->ops->close(c->ctx, code, why);
}

/* No answer, no pong: nothing is left to say on this connection. */
static void
give_up(struct client *c, const char *why)
{
	struct client_failure f = {why, 0, -1};

	c->ops->drop(c->ctx);
	connection_over(c, &f);
}

/* ---- reports */

static unsigned
report_flags(const struct client *c)
{
	/*
	 * CP-05: what the server takes is known from its first answer.  One that never says (bits 0,
	 * "unspecified") gets all we have.
	 */
	if (!c->capabilities_known ||
	    (c->server_capabilities != 0 &&
		(c->server_capabilities &
		    OPAMP__PROTO__V1__SERVER_CAPABILITIES__ServerCapabilities_AcceptsEffectiveConfig) ==
		    0))
		return REPORT_NO_EFFECTIVE;
	return 0;
}

static void
send_report(struct client *c, unsigned flags)
{
	struct error err;
	size_t len;
	char *data;

	if (!c->complete) { /* we do not know yet who we are; the connection is there before */
		c->first_waits = 1;
		return;
	}
	c->first_waits = 0;
	if (report_build(c->report, flags, &data, &len, &err) == -1) {
		log_error("%s", err.text);
		return;
	}
	if (c->ops->send(c->ctx, data, len) == -1)
		log_debug("a report could not be sent: the connection is being closed");
	free(data);
	if (c->set.heartbeat_ms > 0) /* HB-01: from the last message of any kind */
		client_later(c, CLIENT_TIMER_HEARTBEAT, c->set.heartbeat_ms);
	if (!c->report_waits) { /* ER-07 */
		c->report_waits = 1;
		c->report_pending = c->ops->pending(c->ctx);
		client_later(c, CLIENT_TIMER_RESPONSE, c->set.response_ms);
	}
}

static int
full_may_go(struct client *c)
{
	uint64_t since = c->ops->now_ms(c->ctx) - c->full_ms;

	if (!c->full_wanted)
		return 0;
	if (c->full_sent && since < LIMIT_FULL_STATE_MS) {
		client_later(c, CLIENT_TIMER_FULL, LIMIT_FULL_STATE_MS - since);
		return 0;
	}
	return 1;
}

void
client_report(struct client *c)
{
	unsigned flags = report_flags(c);

	if (c->first_waits && c->state == CLIENT_OPEN && c->complete) {
		send_report(c, flags);
		return;
	}
	if (c->state != CLIENT_OPEN || !c->synced || c->have_next_uid ||
	    c->ops->pending(c->ctx) > REPORT_PENDING)
		return;
	if (full_may_go(c)) {
		c->full_wanted = 0;
		c->full_sent = 1;
		c->full_ms = c->ops->now_ms(c->ctx);
		send_report(c, flags | REPORT_FULL);
	} else if (report_due(c->report, flags)) {
		send_report(c, flags);
	}
}

/* ---- the connection */

static void
watch_silence(struct client *c)
{
	if (c->set.ping_ms > 0)
		client_later(c, CLIENT_TIMER_PING, c->set.ping_ms);
}

void
client_opened(struct client *c)
{
	if (c->state != CLIENT_CONNECTING)
		return;
	c->state = CLIENT_OPEN;
	client_never(c, CLIENT_TIMER_CONNECT);
	c->answered = c->stable = c->throttled = 0;
	c->capabilities_known = 0;
	c->server_capabilities = 0;
	c->report_waits = c->pinged = 0;
	c->full_wanted = 0;
	c->malformed_told = c->foreign_told = c->error_told = c->uid_told = 0;
	c->heard_ms = c->ops->now_ms(c->ctx);
	watch_silence(c);
	if (c->set.stable_ms > 0)
		client_later(c, CLIENT_TIMER_STABLE, c->set.stable_ms);
	else
		client_timeout(c, CLIENT_TIMER_STABLE);
	send_report(c, report_flags(c)); /* ST-01, also with nothing new */
}

/* The timer is moved when it fires: what comes in costs no timer. */
void
client_heard(struct client *c)
{
	c->heard_ms = c->ops->now_ms(c->ctx);
	c->pinged = 0;
}

void
client_drained(struct client *c)
{
	client_report(c);
}

static int
uid_is_ours(struct client *c, const ProtobufCBinaryData *uid)
{
	if (uid->len == 0)
		return 1; /* servers of small projects leave it out */
	if (uid->len != sizeof(c->report->uid))
		return 0;
	if (memcmp(uid->data, c->report->uid, uid->len) == 0) {
		c->have_last_uid = 0;
		return 1;
	}
	/* on its way while the uid changed */
	return (c->have_last_uid && memcmp(uid->data, c->last_uid, uid->len) == 0) ||
	       (c->have_next_uid && memcmp(uid->data, c->next_uid, uid->len) == 0);
}

static void
heard_answer(struct client *c, const Opamp__Proto__V1__ServerToAgent *m)
{
	int first = c->told.event != SERVER_CONNECTED;

	if (m->capabilities != 0) /* CP-04: 0 later on is "unchanged" */
		c->server_capabilities = m->capabilities;
	c->capabilities_known = 1;
	c->answered = 1;
	if (!first && c->told.capabilities == c->server_capabilities)
		return;
	if (first)
		log_info("connected to the server%s%s", c->set.server != NULL ? " " : "",
		    c->set.server != NULL ? c->set.server : "");
	tell(c, SERVER_CONNECTED, "", 0, 0);
}

/* Reports that the server's messages cause are paced, or it could have us talk without end. */
static void
report_caused(struct client *c)
{
	uint64_t now = c->ops->now_ms(c->ctx);

	if (c->state != CLIENT_OPEN || (!c->full_wanted && !report_due(c->report, report_flags(c))))
		return;
	if (now - c->window_ms >= PACE_MS) {
		c->window_ms = now;
		c->caused = 0;
	}
	if (++c->caused > CAUSED)
		client_later(c, CLIENT_TIMER_FULL, PACE_MS);
	else
		client_report(c);
}

void
client_message(struct client *c, const uint8_t *data, size_t len)
{
	Opamp__Proto__V1__ServerToAgent *m = NULL;
	const uint8_t *body;
	struct wire_part config;
	struct error err;

	if (c->state != CLIENT_OPEN)
		return; /* we have said goodbye */
	if (wire_frame(data, len, &body, &len, &err) == 0)
		m = (Opamp__Proto__V1__ServerToAgent *)wire_unpack_beside(
		    &opamp__proto__v1__server_to_agent__descriptor, body, len, FIELD_REMOTE_CONFIG,
		    &config, &err);
	if (m == NULL) {
		if (!c->malformed_told)
			log_warn("the server sent a message that cannot be used: %s", err.text);
		c->malformed_told = 1; /* once for each connection: it may send many */
		return;
	}
	if (!uid_is_ours(c, &m->instance_uid)) { /* ID-04 */
		if (!c->foreign_told)
			log_warn("the server sent a message for another instance uid: ignored");
		c->foreign_told = 1;
	} else {
		c->report_waits = 0;
		client_never(c, CLIENT_TIMER_RESPONSE);
		if (m->error_response == NULL) /* ER-01 */
			heard_answer(c, m);
		client_handle(c, m, &config);
		report_caused(c);
	}
	wire_free(&m->base);
}

/* ---- timers */

/* A long message on a slow line is no dead connection as long as it gets shorter. */
static int
moves(struct client *c, size_t *before)
{
	size_t was = *before;

	*before = c->ops->pending(c->ctx);
	return *before < was;
}

static void
on_silence(struct client *c)
{
	uint64_t quiet = c->ops->now_ms(c->ctx) - c->heard_ms;

	if (quiet < c->set.ping_ms) {
		client_later(c, CLIENT_TIMER_PING, c->set.ping_ms - quiet);
	} else if (c->pinged && moves(c, &c->ping_pending)) {
		watch_silence(c);
	} else if (c->pinged) {
		give_up(c, "the connection is dead: no answer to a ping (server.ping_interval)");
	} else {
		c->pinged = 1;
		c->ops->ping(c->ctx);
		c->ping_pending = c->ops->pending(c->ctx);
		watch_silence(c);
	}
}

static void
on_connect_timer(struct client *c)
{
	struct client_failure f = {"connecting took too long (server.connect_timeout)", 0, -1};

	if (c->state == CLIENT_BACKOFF) {
		client_attempt(c);
	} else if (c->state == CLIENT_CONNECTING) {
		c->ops->cancel(c->ctx, c->attempt);
		c->ops->drop(c->ctx);
		connection_over(c, &f);
	}
}

static void
on_close_timer(struct client *c)
{
	struct client_failure f = {c->leaving, 0, -1};

	if (c->state != CLIENT_CLOSING)
		return;
	c->ops->drop(c->ctx);
	connection_over(c, &f);
}

static void
on_uid_timer(struct client *c)
{
	if (!c->have_next_uid)
		return;
	c->have_next_uid = 0; /* it was not stored: the old one stays */
	log_warn("the new instance uid was not stored in time: the old one stays");
	client_report(c);
}

void
client_timeout(struct client *c, enum client_timer t)
{
	if (t == CLIENT_TIMER_CONNECT)
		on_connect_timer(c);
	else if (t == CLIENT_TIMER_CLOSE)
		on_close_timer(c);
	else if (t == CLIENT_TIMER_UID)
		on_uid_timer(c); /* connected or not: reports wait for it */
	if (c->state != CLIENT_OPEN)
		return;
	switch (t) {
	case CLIENT_TIMER_HEARTBEAT:
		if (c->ops->pending(c->ctx) > REPORT_PENDING)
			client_later(c, CLIENT_TIMER_HEARTBEAT, c->set.heartbeat_ms);
		else
			send_report(c, report_flags(c));
		break;
	case CLIENT_TIMER_PING:
		on_silence(c);
		break;
	case CLIENT_TIMER_RESPONSE:
		if (c->report_waits && moves(c, &c->report_pending))
			client_later(c, CLIENT_TIMER_RESPONSE, c->set.response_ms);
		else if (c->report_waits)
			give_up(c, "no answer to a report (server.response_timeout)");
		break;
	case CLIENT_TIMER_STABLE:
		c->stable = 1;
		c->failures = 0;
		c->at_once_used = 0;
		break;
	case CLIENT_TIMER_FULL:
		client_report(c);
		break;
	case CLIENT_TIMER_CONNECT:
	case CLIENT_TIMER_CLOSE:
	case CLIENT_TIMER_UID:
	case CLIENT_TIMER_COUNT:
		break;
	}
}

/* ---- the end */

void
client_end(struct client *c)
{
	if (c->ending)
		return;
	c->ending = 1;
	switch (c->state) {
	case CLIENT_OPEN: /* CC-03 */
		send_report(c, report_flags(c) | REPORT_DISCONNECT);
		client_leave(c, 1000, "opampd ends");
		return;
	case CLIENT_CLOSING:
		return;
	case CLIENT_CONNECTING:
		c->ops->cancel(c->ctx, c->attempt);
		c->ops->drop(c->ctx);
		break;
	case CLIENT_WAITING:
	case CLIENT_BACKOFF:
	case CLIENT_ENDED:
		break;
	}
	client_never(c, CLIENT_TIMER_CONNECT);
	c->state = CLIENT_ENDED;
	c->ops->done(c->ctx);
}
