/*
 * control.c: the control socket (see control.h).  confd only.  Clients are local users: nothing they
 * send is believed, nothing they fail to read makes confd wait, and what waits for them is bounded.
 */
#include "control.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "privsep/log.h"

struct client {
	TAILQ_ENTRY(client) link; /* the one that moved last is at the end */
	struct control *control;
	struct event *readable, *writable;
	int fd, last; /* last: ends when its answer is out */
	struct control_answer head;
	int head_sent;
	char *body; /* of the answer that is on its way; NULL = none */
	size_t len, sent;
};

TAILQ_HEAD(client_list, client);

struct control {
	struct event_base *base;
	struct event *listener;
	struct msg_environment env;
	const struct control_ops *ops;
	void *ctx;
	struct client_list clients;
	size_t count, waiting; /* clients; bytes of answers */
	int fd;
};

static void
client_free(struct client *cl)
{
	struct control *c = cl->control;

	TAILQ_REMOVE(&c->clients, cl, link);
	c->count--;
	c->waiting -= cl->len;
	if (cl->readable != NULL)
		event_free(cl->readable);
	if (cl->writable != NULL)
		event_free(cl->writable);
	close(cl->fd);
	free(cl->body);
	free(cl);
}

/* ---- who may */

int
control_may(const struct msg_environment *env, uint32_t uid, uint32_t gid, const uint32_t *groups,
    size_t count)
{
	size_t i;
	int may = 0;

	if (uid == 0 || uid == env->owner_uid)
		return 2;
	/*
	 * Started by an ordinary user, the socket has mode 0600, so that only that user and root get
	 * here; and where confd is in a user namespace, root's id is shown as the one that stands
	 * for all that are not mapped.
	 */
	if (env->owner_uid != 0)
		return uid == 65534 ? 2 : 0;
	for (i = 0; i <= count; i++) {
		uint32_t g = i == count ? gid : groups[i];

		if (g == UINT32_MAX || g == 0)
			continue;
		if (g == env->admin_gid)
			return 2;
		if (g == env->reader_gid)
			may = 1;
	}
	return may;
}

static int
client_may(const struct client *cl)
{
	struct ucred peer = {0, (uid_t)-1, (gid_t)-1};
	uint32_t groups[LIMIT_CONTROL_GROUPS];
	socklen_t len = sizeof(peer), size = sizeof(groups);

	if (getsockopt(cl->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == -1)
		return 0;
	if (getsockopt(cl->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == -1)
		size = 0;
	return control_may(&cl->control->env, peer.uid, peer.gid, groups, size / sizeof(groups[0]));
}

static int
acts(uint16_t verb)
{
	return verb == CONTROL_RESTART || verb == CONTROL_RELOAD;
}

/* ---- answering */

static void
alive(struct client *cl)
{
	static const struct timeval idle = {
	    LIMIT_CONTROL_IDLE_MS / 1000, LIMIT_CONTROL_IDLE_MS % 1000 * 1000};
	struct control *c = cl->control;

	TAILQ_REMOVE(&c->clients, cl, link);
	TAILQ_INSERT_TAIL(&c->clients, cl, link);
	/* one direction at a time: while an answer is on its way nothing more is read */
	(void)event_del(cl->body != NULL ? cl->readable : cl->writable);
	(void)event_add(cl->body != NULL ? cl->writable : cl->readable, &idle);
}

/* 1 sent, 0 not now, -1 the client is gone. */
static int
put(struct client *cl, const void *data, size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = sendmsg(cl->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0)
		return 1;
	return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? 0 : -1;
}

/* Sends as much of the answer as the kernel takes; may free the client. */
static void
go_on(struct client *cl)
{
	size_t n;
	int r = 1;

	if (!cl->head_sent) {
		r = put(cl, &cl->head, sizeof(cl->head));
		cl->head_sent = r == 1;
	}
	while (r == 1 && cl->sent < cl->len) {
		n = cl->len - cl->sent < CONTROL_CHUNK ? cl->len - cl->sent : CONTROL_CHUNK;
		r = put(cl, cl->body + cl->sent, n);
		if (r == 1)
			cl->sent += n;
	}
	if (r == -1 || (r == 1 && cl->last)) {
		client_free(cl);
		return;
	}
	if (r == 1) {
		free(cl->body);
		cl->body = NULL;
		cl->control->waiting -= cl->len;
		cl->len = cl->sent = 0;
	}
	alive(cl);
}

/* Takes body (malloc'd). */
static void
send_answer(struct client *cl, uint16_t verb, enum control_result result, char *body, size_t len)
{
	cl->head = (struct control_answer){.magic = CONTROL_MAGIC,
	    .version = CONTROL_VERSION,
	    .verb = verb,
	    .result = result,
	    .length = len};
	cl->head_sent = 0;
	cl->body = body;
	cl->len = len;
	cl->sent = 0;
	cl->control->waiting += len;
	go_on(cl);
}

static void
send_error(struct client *cl, uint16_t verb, enum control_result result, const struct error *err)
{
	char *text = strdup(err->text);

	if (text == NULL)
		client_free(cl);
	else
		send_answer(cl, verb, result, text, strlen(text));
}

static void
answer(struct client *cl, const struct control_request *rq)
{
	struct control *c = cl->control;
	struct record_writer w = {0};
	struct error err = {""};
	enum control_result result;
	char *body = NULL;
	size_t len = 0;
	int may = client_may(cl);

	if (rq->verb == CONTROL_NOTHING || rq->verb >= CONTROL_VERBS) {
		(void)error_set(&err,
		    "this opampd (%s) does not know request %u: use the opampctl "
		    "that came with it",
		    OPAMPD_VERSION, rq->verb);
		send_error(cl, rq->verb, CONTROL_UNKNOWN, &err);
		return;
	}
	if (may == 0 || (may < 2 && acts(rq->verb))) {
		(void)error_set(&err,
		    acts(rq->verb) ? "only root and members of the groups opampd and opampd-admin, "
				     "both, may do that"
				   : "only root and members of the group opampd may look");
		cl->last = may == 0;
		send_error(cl, rq->verb, CONTROL_DENIED, &err);
		return;
	}
	if (c->waiting >= LIMIT_CONTROL_BYTES) {
		(void)error_set(&err, "other clients have not taken their answers yet: ask again");
		send_error(cl, rq->verb, CONTROL_BUSY, &err);
		return;
	}
	if (rq->verb == CONTROL_STATUS || rq->verb == CONTROL_CHILDREN) {
		record_put_string(&w, CK_VERSION, OPAMPD_VERSION);
		record_put_u64(&w, CK_PID, (uint64_t)getpid());
		record_put_u64(&w, CK_OWNER_UID, c->env.owner_uid);
		record_put_u64(&w, CK_WEAK, c->env.weak);
	}
	result = c->ops->answer(c->ctx, rq, may == 2, &w, &err);
	if (result == CONTROL_OK && record_finish(&w, &body, &len, &err) == -1)
		result = CONTROL_FAILED;
	if (result == CONTROL_OK && len > CONTROL_ANSWER) {
		free(body);
		(void)error_set(
		    &err, "the answer has %zu bytes, more than %u", len, CONTROL_ANSWER);
		result = CONTROL_FAILED;
	}
	if (result == CONTROL_OK) {
		send_answer(cl, rq->verb, result, body, len);
		return;
	}
	record_discard(&w);
	send_error(cl, rq->verb, result, &err);
}

/* ---- requests */

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *cl = arg;
	struct control_request rq = {0};
	struct iovec iov = {&rq, sizeof(rq)};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	struct error err;
	ssize_t n;

	if (what & EV_TIMEOUT) {
		client_free(cl);
		return;
	}
	n = recvmsg(fd, &h, MSG_DONTWAIT);
	if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
		alive(cl); /* nothing came, but nobody wakes us for nothing */
		return;
	}
	/* the end; or what no opampctl of any version sends; a descriptor shows as MSG_CTRUNC */
	if (n < (ssize_t)offsetof(struct control_request, argument) || rq.magic != CONTROL_MAGIC ||
	    (h.msg_flags & MSG_CTRUNC) != 0) {
		client_free(cl);
		return;
	}
	if (rq.version != CONTROL_VERSION || n != sizeof(rq) || (h.msg_flags & MSG_TRUNC) != 0) {
		(void)error_set(&err,
		    "the request is of version %u, this opampd (%s) speaks version %u: use the "
		    "opampctl that came with it",
		    rq.version, OPAMPD_VERSION, CONTROL_VERSION);
		cl->last = 1;
		send_error(cl, rq.verb, CONTROL_UNKNOWN, &err);
		return;
	}
	answer(cl, &rq);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	if (what & EV_TIMEOUT)
		client_free(arg);
	else
		go_on(arg);
}

int
control_take(struct control *c, int fd)
{
	struct client *cl = calloc(1, sizeof(*cl));

	if (cl == NULL) {
		close(fd);
		return -1;
	}
	if (c->count >= LIMIT_CONTROL_CONNECTIONS)
		client_free(TAILQ_FIRST(&c->clients)); /* the one that has not moved for longest */
	cl->control = c;
	cl->fd = fd;
	TAILQ_INSERT_TAIL(&c->clients, cl, link);
	c->count++;
	cl->readable = event_new(c->base, fd, EV_READ, on_readable, cl);
	cl->writable = event_new(c->base, fd, EV_WRITE, on_writable, cl);
	if (cl->readable == NULL || cl->writable == NULL) {
		client_free(cl);
		return -1;
	}
	alive(cl);
	return 0;
}

static void
on_connection(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;
	int client;

	(void)what;
	/* one at a time: those who are served come in between */
	client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (client >= 0) {
		(void)control_take(c, client);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
		log_warn("opampctl is kept waiting: %s", strerror(errno));
		if (c->count > 0)
			client_free(TAILQ_FIRST(&c->clients));
	}
}

struct control *
control_new(struct event_base *base, int listener, const struct msg_environment *env,
    const struct control_ops *ops, void *ctx)
{
	struct control *c = calloc(1, sizeof(*c));

	if (c == NULL)
		goto fail;
	c->base = base;
	c->env = *env;
	c->ops = ops;
	c->ctx = ctx;
	c->fd = listener;
	TAILQ_INIT(&c->clients);
	c->listener = event_new(base, listener, EV_READ | EV_PERSIST, on_connection, c);
	if (c->listener == NULL || event_add(c->listener, NULL) == -1)
		goto fail;
	return c;
fail:
	if (c != NULL && c->listener != NULL)
		event_free(c->listener);
	free(c);
	close(listener);
	return NULL;
}

void
control_free(struct control *c)
{
	struct client *cl;

	if (c == NULL)
		return;
	while ((cl = TAILQ_FIRST(&c->clients)) != NULL)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it is off the list, by a pointer to a pointer */
		client_free(cl);
	event_free(c->listener);
	close(c->fd);
	free(c);
}
