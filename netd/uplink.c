/*
 * uplink.c: netd's ends tied together (see uplink.h).  netd.
 */
#include "uplink.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>

#include "privsep/log.h"
#include "privsep/memfd.h"

#define CONFD_QUEUE 16 /* messages waiting for confd: more say nothing new */

/* ---- what the client wants done */

static void
drop_transport(struct uplink *u)
{
	transport_free(u->transport);
	u->transport = NULL;
}

static void
do_connect(void *ctx, uint32_t attempt)
{
	struct uplink *u = ctx;
	struct msg_connect m = {ENDPOINT_SERVER, attempt};

	log_debug("connecting to %s", u->set.url.host_header);
	child_send(&u->child, PROC_PARENT, MSG_CONNECT_REQUEST, &m, NULL, 0, -1);
}

static void
do_cancel(void *ctx, uint32_t attempt)
{
	struct uplink *u = ctx;
	struct msg_connect m = {ENDPOINT_SERVER, attempt};

	if (u->transport == NULL) /* otherwise it was answered */
		child_send(&u->child, PROC_PARENT, MSG_CONNECT_CANCEL, &m, NULL, 0, -1);
}

static int
do_send(void *ctx, const void *body, size_t len)
{
	struct uplink *u = ctx;

	return u->transport == NULL ? -1 : transport_send(u->transport, body, len);
}

static size_t
do_pending(void *ctx)
{
	struct uplink *u = ctx;

	return u->transport == NULL ? 0 : transport_pending(u->transport);
}

static void
do_ping(void *ctx)
{
	struct uplink *u = ctx;

	if (u->transport != NULL)
		transport_ping(u->transport);
}

static void
do_close(void *ctx, uint16_t code, const char *reason)
{
	struct uplink *u = ctx;

	if (u->transport != NULL)
		transport_close(u->transport, code, reason);
}

static void
do_drop(void *ctx)
{
	drop_transport(ctx);
}

static void
do_timer(void *ctx, enum client_timer t, uint64_t ms)
{
	struct uplink *u = ctx;
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	if (ms == 0)
		(void)event_del(u->timers[t]);
	else
		(void)event_add(u->timers[t], &tv);
}

static int
do_offer(void *ctx, const struct msg_offer *m, const char *data, size_t len)
{
	struct uplink *u = ctx;
	struct error err;
	int fd = memfd_seal("offer", data, len, &err);

	if (fd == -1) {
		log_error("a remote configuration for confd: %s", err.text);
		return -1;
	}
	child_send(&u->child, PROC_CONFD, MSG_OFFER, m, NULL, 0, fd);
	return 0;
}

/* confd may be in fsync for minutes: what it has yet to read must not grow by what the server does. */
static int
confd_is_slow(struct uplink *u)
{
	struct channel *confd = u->child.peers[PROC_CONFD];

	return confd != NULL && channel_queued(confd) >= CONFD_QUEUE;
}

static void
do_restart(void *ctx)
{
	struct uplink *u = ctx;

	if (confd_is_slow(u))
		return; /* one of those before it is this one too */
	child_send(&u->child, PROC_CONFD, MSG_SERVER_RESTART, NULL, NULL, 0, -1);
}

static void
do_new_uid(void *ctx, const uint8_t uid[16])
{
	struct uplink *u = ctx;
	struct msg_uid m;

	memcpy(m.uid, uid, sizeof(m.uid));
	child_send(&u->child, PROC_CONFD, MSG_SERVER_UID, &m, NULL, 0, -1);
}

static void
do_state(void *ctx, const struct msg_server *m, const char *why)
{
	struct uplink *u = ctx;

	if (!confd_is_slow(u))
		child_send(
		    &u->child, PROC_CONFD, MSG_SERVER_STATE, m, why, strnlen(why, TEXT_TAIL), -1);
}

static void
do_done(void *ctx)
{
	struct uplink *u = ctx;

	drop_transport(u);
	child_exit(&u->child, 0);
}

static uint64_t
do_now(void *ctx)
{
	(void)ctx;
	return now_ms();
}

static uint64_t
do_random(void *ctx, uint64_t below)
{
	uint64_t r = 0;

	(void)ctx;
	if (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
		return below / 2;
	return r % below;
}

static const struct client_ops client_ops = {do_connect, do_cancel, do_send, do_pending, do_ping,
    do_close, do_drop, do_timer, do_offer, do_restart, do_new_uid, do_state, do_done, do_now,
    do_random};

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct uplink_timer *t = arg;

	(void)fd;
	(void)what;
	client_timeout(&t->uplink->client, t->timer);
}

/* ---- what the connection says */

static void
on_opened(void *ctx)
{
	client_opened(&((struct uplink *)ctx)->client);
}

static void
on_heard(void *ctx)
{
	client_heard(&((struct uplink *)ctx)->client);
}

static void
on_server_message(void *ctx, const uint8_t *data, size_t len)
{
	client_message(&((struct uplink *)ctx)->client, data, len);
}

static void
on_drained(void *ctx)
{
	client_drained(&((struct uplink *)ctx)->client);
}

static void
on_ended(void *ctx, const struct transport_end *e)
{
	struct uplink *u = ctx;
	struct error why;
	struct client_failure f = {why.text, e->http_status, e->retry_after_ms};

	(void)error_set(&why, "%s", e->why); /* e goes with the transport */
	drop_transport(u);
	client_failed(&u->client, &f);
}

static const struct transport_callbacks transport_callbacks = {
    on_opened, on_heard, on_server_message, on_drained, on_ended};

/* ---- the parent */

static int
take_file(struct uplink *u, struct message *m)
{
	const struct msg_file *f = m->payload;
	struct error err;
	size_t len;

	if (u->ready || f->kind == FILE_NOTHING || f->kind >= UPLINK_FILES)
		return -1;
	free(u->files[f->kind]);
	u->files[f->kind] = NULL;
	if (file_read(m->fd, LIMIT_SETTINGS_FILE, &u->files[f->kind], &len, &err) == -1)
		log_error("a file of the settings: %s", err.text);
	return 0;
}

static int
is_waited_for(const struct uplink *u, uint32_t attempt)
{
	return u->client.state == CLIENT_CONNECTING && u->client.attempt == attempt &&
	       u->transport == NULL;
}

static int
on_connected(struct uplink *u, struct message *m)
{
	const struct msg_connect *c = m->payload;
	struct client_failure f = {NULL, 0, -1};
	struct error err;

	if (c->endpoint != ENDPOINT_SERVER)
		return -1;
	if (!is_waited_for(u, c->attempt))
		return 0; /* of an attempt that was given up: the channel closes it */
	u->transport = transport_new(
	    u->child.base, message_take_fd(m), &u->set, &transport_callbacks, u, &err);
	if (u->transport != NULL)
		return 0;
	f.why = err.text;
	client_failed(&u->client, &f);
	return 0;
}

void
uplink_connect_words(
    char *text, size_t size, const struct url *url, const struct msg_connect_failed *m)
{
	switch (m->kind) {
	case CONNECT_RESOLVE:
		(void)snprintf(text, size, "resolving %s: %s", url->host, gai_strerror(m->code));
		break;
	case CONNECT_ERRNO:
		(void)snprintf(text, size, "connecting to %s, port %u: %s", url->host, url->port,
		    m->code == EAGAIN ? "too many attempts in a second" : strerror(m->code));
		break;
	case CONNECT_TIMEOUT:
		(void)snprintf(text, size,
		    "connecting to %s, port %u: no answer in time (server.connect_timeout)",
		    url->host, url->port);
		break;
	default:
		(void)snprintf(text, size,
		    "connecting to %s, port %u: opampd-connect ended without an answer", url->host,
		    url->port);
	}
}

static int
on_connect_failed(struct uplink *u, const struct msg_connect_failed *m)
{
	char text[512];
	struct client_failure f = {text, 0, -1};

	if (m->endpoint != ENDPOINT_SERVER || m->kind == CONNECT_OK || m->kind > CONNECT_DIED)
		return -1;
	if (!is_waited_for(u, m->attempt))
		return 0;
	uplink_connect_words(text, sizeof(text), &u->set.url, m);
	client_failed(&u->client, &f);
	return 0;
}

/* ---- confd */

/* Bytes in a memfd that are not what they should be are the agent's or a disk's fault: no rule broken. */
static void
took(struct uplink *u, int changed, const struct error *err)
{
	if (changed == -1)
		log_error("not reported: %s", err->text);
	else if (changed)
		client_changed(&u->client);
}

static int
on_blob(struct uplink *u, struct message *m)
{
	const struct msg_health *health = m->payload;
	const struct msg_effective *effective = m->payload;
	const struct msg_status *status = m->payload;
	struct error err;
	struct memfd_view view;

	if ((m->type == MSG_NET_EFFECTIVE && effective->form > EFFECTIVE_TEXT) ||
	    (m->type == MSG_NET_STATUS && status->status > CONFIG_FAILED) ||
	    (m->type == MSG_NET_HEALTH && health->healthy > 1))
		return -1;
	if (memfd_view(message_take_fd(m), LIMIT_MEMFD, &view, &err) == -1) {
		log_error("%s: %s", message_rules[m->type].name, err.text);
		return 0;
	}
	if (m->type == MSG_NET_DESCRIPTION)
		took(u, report_description(&u->report, view.data, view.len, &err), &err);
	else if (m->type == MSG_NET_HEALTH)
		took(u,
		    report_health(
			&u->report, health, m->tail, m->tail_len, view.data, view.len, &err),
		    &err);
	else if (m->type == MSG_NET_EFFECTIVE)
		took(u, report_effective(&u->report, effective->form, &view, &err), &err);
	else
		took(u, report_status(&u->report, status->status, view.data, view.len, &err), &err);
	memfd_view_end(&view);
	return 0;
}

static int
on_identity(struct uplink *u, const struct msg_uid *m)
{
	struct error err;

	if (client_identity(&u->client, m->uid, &err) == 0)
		return 0;
	log_error("the instance uid: %s", err.text);
	return -1;
}

static int
on_message(void *ctx, struct message *m)
{
	struct uplink *u = ctx;

	if (m->type == MSG_CHILD_FILE)
		return take_file(u, m);
	if (!u->ready)
		return -1;
	switch (m->type) {
	case MSG_CONNECT_DONE:
		return on_connected(u, m);
	case MSG_CONNECT_FAILED:
		return on_connect_failed(u, m->payload);
	case MSG_OFFER_CREDIT:
		client_credit(&u->client);
		return 0;
	case MSG_NET_IDENTITY:
		return on_identity(u, m->payload);
	case MSG_NET_DESCRIPTION:
	case MSG_NET_HEALTH:
	case MSG_NET_EFFECTIVE:
	case MSG_NET_STATUS:
		return on_blob(u, m);
	case MSG_NET_SYNCED:
		client_synced(&u->client);
		return 0;
	default:
		return -1;
	}
}

static void
on_peer_up(void *ctx, enum proc peer)
{
	if (peer == PROC_CONFD)
		client_confd_up(&((struct uplink *)ctx)->client);
}

static void
on_peer_down(void *ctx, enum proc peer)
{
	if (peer == PROC_CONFD)
		client_confd_down(&((struct uplink *)ctx)->client);
}

/* In the next turn of the loop: confd's last words may be there already, and belong in our last. */
static void
on_end(void *ctx)
{
	static const struct timeval soon = {0, 0};

	(void)event_add(((struct uplink *)ctx)->ending, &soon);
}

static void
on_ending(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	client_end(&((struct uplink *)arg)->client);
}

const struct child_handlers uplink_handlers = {
    .message = on_message, .peer_up = on_peer_up, .peer_down = on_peer_down, .end = on_end};

/* ---- the object */

static void
forget_files(struct uplink *u)
{
	size_t i;

	for (i = 0; i < UPLINK_FILES; i++) {
		if (u->files[i] != NULL)
			OPENSSL_cleanse(u->files[i], strlen(u->files[i])); /* a key among them */
		free(u->files[i]);
		u->files[i] = NULL;
	}
}

int
uplink_init(struct uplink *u, struct error *err)
{
	struct client_settings set;
	const struct settings *s = &u->child.settings;
	size_t i;

	if (uplink_read_client(s, &set, err) == -1 || uplink_read_transport(u, err) == -1 ||
	    describe_init(&u->describe, s, err) == -1)
		return -1;
	if (u->files[FILE_OS_RELEASE] != NULL)
		describe_os_release(&u->describe, u->files[FILE_OS_RELEASE]);
	if (u->files[FILE_MACHINE_ID] != NULL)
		describe_machine_id(&u->describe, u->files[FILE_MACHINE_ID]);
	forget_files(u);
	report_init(&u->report, &u->describe, set.capabilities, u->set.max_message);
	set.server = u->set.url.host_header;
	client_init(&u->client, &client_ops, u, &set, &u->report);
	for (i = 0; i < CLIENT_TIMER_COUNT; i++) {
		u->timer_contexts[i] = (struct uplink_timer){u, (enum client_timer)i};
		u->timers[i] = event_new(u->child.base, -1, 0, on_timer, &u->timer_contexts[i]);
		if (u->timers[i] == NULL)
			return error_set(err, "no memory for a timer");
	}
	u->ending = event_new(u->child.base, -1, 0, on_ending, u);
	u->set.pace = &u->pace;
	if (u->ending == NULL || pace_init(&u->pace, u->child.base) == -1)
		return error_set(err, "no memory for a timer");
	u->ready = 1;
	return 0;
}

void
uplink_clear(struct uplink *u)
{
	size_t i;

	drop_transport(u);
	for (i = 0; i < CLIENT_TIMER_COUNT; i++)
		if (u->timers[i] != NULL)
			event_free(u->timers[i]);
	if (u->ending != NULL)
		event_free(u->ending);
	pace_clear(&u->pace);
	forget_files(u);
	client_clear(&u->client);
	report_clear(&u->report);
	describe_clear(&u->describe);
	tls_free(u->set.tls);
	free(u->set.tls_fault);
	free(u->set.headers);
	u->ready = 0;
}
