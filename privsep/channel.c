/*
 * channel.c: checked messages over a socketpair (see channel.h).  Every process.
 * Nothing here blocks but channel_wait and channel_flush; nothing believes the peer.
 */
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "discard.h"
#include "log.h"

#define READS_PER_TURN 32  /* other descriptors get their turn between */
#define DESCRIPTORS    253 /* the kernel's SCM_MAX_FD: most that can come along */
#define FLUSH_AGAIN_MS 10
#define UNREAD         512 /* messages thrown away at the end of a channel */

struct header {
	uint32_t type;
	uint32_t len; /* of payload and tail */
	uint32_t id;
	uint32_t zero;
};

struct queued {
	TAILQ_ENTRY(queued) entry;
	struct header head;
	int fd;
	char data[];
};

struct channel {
	int fd;
	enum proc self, peer;
	const struct channel_callbacks *cb;
	void *ctx;
	struct event_base *base;
	struct event *reading, *writing, *retry;
	TAILQ_HEAD(queue_head, queued) queue;
	size_t queued, files; /* files: those of them with a descriptor */
	uint32_t next_id;
	int paused, over; /* over: gone or broken was told */
	int error;        /* of a call of ours: the peer may well be there */
	int busy, freed;  /* in a callback; freed inside it */
	enum channel_rule broken_rule;
	char buffer[sizeof(struct header) + LIMIT_MESSAGE_PAYLOAD + 1] __attribute__((aligned(16)));
};

static const char *const rule_names[] = {
    [RULE_NONE] = "no rule",
    [RULE_TYPE] = "a message it may not send",
    [RULE_SIZE] = "a message of the wrong size",
    [RULE_DESCRIPTOR] = "a wrong or missing descriptor",
    [RULE_TRUNCATED] = "a message cut short",
    [RULE_EMPTY] = "an empty message",
    [RULE_CONTENT] = "a field out of its range",
    [RULE_QUEUE] = "more than it had credit for",
};

const char *
channel_rule_name(enum channel_rule rule)
{
	return rule_names[(size_t)rule < sizeof(rule_names) / sizeof(rule_names[0]) ? rule
										    : RULE_NONE];
}

void
channel_trace(const struct channel *c, const char *direction, uint32_t type, size_t len, int fd)
{
	if (log_enabled(LOG_LEVEL_DEBUG))
		log_debug("%s %s %s, %zu bytes%s", direction, proc_name(c->peer),
		    type < MSG_COUNT && type != 0 ? message_rules[type].name : "?", len,
		    fd >= 0 ? ", descriptor" : "");
}

enum proc
channel_peer(const struct channel *c)
{
	return c->peer;
}

/* The parent must not wait for whom a descriptor belongs to; the others end with it. */
static void
drop(const struct channel *c, int fd)
{
	if (c->self == PROC_PARENT)
		discard_fd(fd);
	else
		close(fd);
}

/* Every descriptor that came along is taken out; more than one means -2. */
static int
descriptor_of(const struct channel *c, struct msghdr *h)
{
	struct cmsghdr *cm;
	int fd = -1, count = 0, *fds;
	size_t i, n;

	for (cm = CMSG_FIRSTHDR(h); cm != NULL; cm = CMSG_NXTHDR(h, cm)) {
		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		fds = (int *)(void *)CMSG_DATA(cm);
		for (i = 0; i < n; i++) {
			if (count++ == 0)
				fd = fds[i];
			else
				drop(c, fds[i]);
		}
	}
	if (count > 1) {
		drop(c, fd);
		return -2;
	}
	return fd;
}

/* All descriptors are taken, to be closed by us: the kernel would wait where drop does not. */
static ssize_t
take(struct channel *c, size_t size, int *fd, int *flags)
{
	struct iovec iov = {c->buffer, size};
	union {
		char space[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space};
	ssize_t n;

	h.msg_controllen = c->self == PROC_PARENT ? sizeof(control.space) : CMSG_SPACE(sizeof(int));
	do
		n = recvmsg(c->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n == -1 && errno == EINTR);
	*fd = n == -1 ? -1 : descriptor_of(c, &h);
	*flags = h.msg_flags;
	return n;
}

static void
stop(struct channel *c)
{
	struct queued *q;

	c->over = 1;
	if (c->reading != NULL)
		event_del(c->reading);
	if (c->writing != NULL)
		event_del(c->writing);
	if (c->retry != NULL)
		event_del(c->retry);
	while ((q = TAILQ_FIRST(&c->queue)) != NULL) {
		TAILQ_REMOVE(&c->queue, q, entry);
		if (q->fd >= 0)
			close(q->fd);
		free(q);
	}
	c->queued = c->files = 0;
}

static void
release(struct channel *c)
{
	int i, fd, flags;
	ssize_t n;

	if (c->reading != NULL)
		event_free(c->reading);
	if (c->writing != NULL)
		event_free(c->writing);
	if (c->retry != NULL)
		event_free(c->retry);
	/* what nobody has read may hold descriptors too */
	for (i = 0; c->self == PROC_PARENT && i < UNREAD; i++) {
		n = take(c, sizeof(c->buffer) - 1, &fd, &flags);
		if (n == -1)
			break;
		if (fd >= 0)
			drop(c, fd);
	}
	close(c->fd);
	free(c);
}

void
channel_free(struct channel *c)
{
	if (c == NULL)
		return;
	stop(c);
	c->freed = 1;
	if (c->busy == 0)
		release(c);
}

static void
leave(struct channel *c)
{
	if (--c->busy == 0 && c->freed)
		release(c);
}

static void
told_gone(struct channel *c)
{
	if (c->over)
		return;
	stop(c);
	if (c->cb->gone != NULL)
		c->cb->gone(c->ctx, c);
}

int
channel_error(const struct channel *c)
{
	return c->error;
}

/* Nothing goes through it any more, though the peer did not close it: who reads it is told, soon. */
static void
failed(struct channel *c, int error)
{
	c->error = error;
	if (c->reading != NULL)
		event_active(c->reading, EV_READ, 0);
}

static int
is_gone(int error)
{
	return error == EPIPE || error == ECONNRESET || error == ECONNREFUSED || error == ENOTCONN;
}

static void
told_broken(struct channel *c, enum channel_rule rule, uint32_t type)
{
	if (c->over)
		return;
	log_error("%s sent %s (%s)", proc_name(c->peer), channel_rule_name(rule),
	    type < MSG_COUNT && type != 0 ? message_rules[type].name : "no message of the table");
	stop(c);
	c->broken_rule = rule;
	if (c->cb->broken != NULL)
		c->cb->broken(c->ctx, c, rule, type);
	else if (c->cb->gone != NULL)
		c->cb->gone(c->ctx, c);
}

static enum channel_rule
judge(const struct channel *c, const struct header *head, size_t got, int fd)
{
	const struct message_rule *rule;

	if (head->type == MSG_NONE || head->type >= MSG_COUNT)
		return RULE_TYPE;
	rule = &message_rules[head->type];
	if ((rule->from & (1u << c->peer)) == 0 || (rule->to & (1u << c->self)) == 0)
		return RULE_TYPE;
	if (head->len != got - sizeof(*head) || head->zero != 0 || head->len < rule->size ||
	    head->len - rule->size > rule->tail)
		return RULE_SIZE;
	if (fd == -2 || (rule->fd == FD_NONE) != (fd == -1))
		return RULE_DESCRIPTOR;
	if (fd >= 0 && !channel_fd_is(fd, (enum fd_kind)rule->fd))
		return RULE_DESCRIPTOR;
	return RULE_NONE;
}

/* No bytes: the end of the channel, or a message without any?  Only at the end there is no other side. */
static int
at_end(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) != 0; /* a look that fails accuses nobody */
}

/* One datagram: 1 handled, 0 nothing there, -1 the channel is over. */
static int
receive(struct channel *c)
{
	struct message m = {.peer = c->peer};
	enum channel_rule rule;
	struct header head = {0};
	int flags;
	ssize_t n;

	if (c->error != 0) {
		told_gone(c);
		return -1;
	}
	n = take(c, sizeof(c->buffer) - 1, &m.fd, &flags);
	if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (n == -1 && !is_gone(errno))
		c->error = errno;
	if (n == -1 || (n == 0 && m.fd == -1 && at_end(c->fd))) {
		told_gone(c);
		return -1;
	}
	if (n == 0)
		rule = RULE_EMPTY;
	else if (flags & MSG_CTRUNC)
		rule = RULE_DESCRIPTOR;
	else if ((flags & MSG_TRUNC) || (size_t)n < sizeof(head))
		rule = RULE_TRUNCATED;
	else {
		memcpy(&head, c->buffer, sizeof(head));
		rule = judge(c, &head, (size_t)n, m.fd);
	}
	if (rule == RULE_NONE) {
		m.type = head.type;
		m.id = head.id;
		m.payload = c->buffer + sizeof(head);
		m.tail = c->buffer + sizeof(head) + message_rules[m.type].size;
		m.tail_len = head.len - message_rules[m.type].size;
		c->buffer[n] = '\0';
		channel_trace(c, "from", m.type, head.len, m.fd);
		if (c->cb->message(c->ctx, &m) == -1)
			rule = RULE_CONTENT;
	}
	if (m.fd >= 0)
		drop(c, m.fd);
	if (rule != RULE_NONE)
		told_broken(c, rule, head.type);
	return c->over ? -1 : 1;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct channel *c = arg;
	int i;

	(void)fd;
	(void)what;
	c->busy++;
	for (i = 0; i < READS_PER_TURN && (!c->paused || c->error != 0); i++)
		if (receive(c) != 1)
			break;
	leave(c);
}

/* 1 sent, 0 try later, -1 the peer is gone. */
static int
transmit(struct channel *c, struct queued *q)
{
	struct iovec iov[2] = {{&q->head, sizeof(q->head)}, {q->data, q->head.len}};
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr h = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	memset(&control, 0, sizeof(control));
	if (q->fd >= 0) {
		h.msg_control = control.space;
		h.msg_controllen = sizeof(control.space);
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.align), &q->fd, sizeof(int));
	}
	do
		n = sendmsg(c->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n == -1 && errno == EINTR);
	if (n >= 0)
		return 1;
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ETOOMANYREFS)
		return 0;
	if (!is_gone(errno))
		failed(c, errno);
	return -1;
}

/* Returns -1 when the peer is gone; the reading side will tell. */
static int
drain(struct channel *c)
{
	static const struct timeval soon = {0, 10000};
	struct queued *q;
	int sent;

	if (c->error != 0)
		return -1;
	while ((q = TAILQ_FIRST(&c->queue)) != NULL) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what was sent is off the list, by a pointer to a pointer */
		sent = transmit(c, q);
		if (sent == 0) {
			if (c->writing != NULL) {
				/* too many descriptors in flight: the socket stays writable */
				if (errno == ETOOMANYREFS || errno == ENOBUFS)
					event_add(c->retry, &soon);
				else if (event_add(c->writing, NULL) == -1)
					failed(c, EIO);
			}
			return 0;
		}
		TAILQ_REMOVE(&c->queue, q, entry);
		c->queued--;
		c->files -= q->fd >= 0;
		if (sent == 1)
			channel_trace(c, "to", q->head.type, q->head.len, q->fd);
		if (q->fd >= 0)
			close(q->fd);
		free(q);
		if (sent == -1)
			return -1;
	}
	return 0;
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)drain(arg);
}

struct channel *
channel_new(struct event_base *base, int fd, enum proc self, enum proc peer,
    const struct channel_callbacks *cb, void *ctx)
{
	struct channel *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	TAILQ_INIT(&c->queue);
	c->fd = fd;
	c->self = self;
	c->peer = peer;
	c->cb = cb;
	c->ctx = ctx;
	c->base = base;
	if (fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) == -1) {
		free(c);
		return NULL;
	}
	if (base != NULL) {
		c->reading = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
		c->writing = event_new(base, fd, EV_WRITE, on_writable, c);
		c->retry = event_new(base, -1, 0, on_writable, c);
		if (c->reading == NULL || c->writing == NULL || c->retry == NULL ||
		    event_add(c->reading, NULL) == -1) {
			release(c);
			return NULL;
		}
	}
	return c;
}

int
channel_send(struct channel *c, uint32_t type, const void *payload, const void *tail,
    size_t tail_len, int fd)
{
	const struct message_rule *rule = type < MSG_COUNT ? &message_rules[type] : message_rules;
	struct queued *q;

	/* after one that was lost no later one is to come */
	if (c->over || c->error != 0) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	if ((rule->from & (1u << c->self)) == 0 || (rule->to & (1u << c->peer)) == 0 ||
	    tail_len > rule->tail || (fd >= 0) != (rule->fd != FD_NONE) ||
	    channel_full(c, fd >= 0)) {
		log_error("cannot send %s to %s: %s", rule->name != NULL ? rule->name : "?",
		    proc_name(c->peer),
		    channel_full(c, fd >= 0) ? "its queue is full" : "the table forbids it");
		goto fail;
	}
	q = malloc(sizeof(*q) + rule->size + tail_len);
	if (q == NULL)
		goto fail;
	q->head = (struct header){type, rule->size + (uint32_t)tail_len, ++c->next_id, 0};
	q->fd = fd;
	if (rule->size > 0)
		memcpy(q->data, payload, rule->size);
	if (tail_len > 0)
		memcpy(q->data + rule->size, tail, tail_len);
	TAILQ_INSERT_TAIL(&c->queue, q, entry);
	c->queued++;
	c->files += fd >= 0;
	if (TAILQ_FIRST(&c->queue) == q)
		(void)drain(c);
	return 0;
fail:
	if (fd >= 0)
		close(fd);
	return -1;
}

size_t
channel_queued(const struct channel *c)
{
	return c->queued;
}

int
channel_full(const struct channel *c, int with_fd)
{
	/* the parent hands over at once all that a start needs, and has descriptors for it */
	return c->queued >= LIMIT_CHANNEL_QUEUE ||
	       (with_fd && c->self != PROC_PARENT && c->files >= LIMIT_CHANNEL_FILES);
}

void
channel_pause(struct channel *c)
{
	c->paused = 1;
	if (c->reading != NULL)
		event_del(c->reading);
}

void
channel_resume(struct channel *c)
{
	c->paused = 0;
	if (c->reading != NULL && !c->over && event_add(c->reading, NULL) == -1)
		failed(c, EIO);
}

static int
wait_for(int fd, short events, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	int n;

	do
		n = poll(&p, 1, timeout_ms);
	while (n == -1 && errno == EINTR);
	return n;
}

int
channel_wait(struct channel *c, int timeout_ms, struct error *err)
{
	int got;

	for (;;) {
		c->busy++;
		got = receive(c);
		c->busy--;
		if (got == 1)
			return 1;
		if (got == -1 && c->broken_rule != RULE_NONE)
			return error_set(err, "%s sent %s", proc_name(c->peer),
			    channel_rule_name(c->broken_rule));
		if (got == -1)
			return 0;
		if (wait_for(c->fd, POLLIN, timeout_ms) <= 0)
			return error_set(err, "no word of %s", proc_name(c->peer));
	}
}

int
channel_flush(struct channel *c, int timeout_ms)
{
	size_t before;
	int ready = 0;

	while (!c->over && c->queued > 0) {
		before = c->queued;
		if (drain(c) == -1)
			return -1;
		if (c->queued == 0)
			break;
		/* room, and refused: descriptors under way are counted by user, whoever sent them */
		if (ready && c->queued == before) {
			if (timeout_ms <= 0)
				return -1;
			(void)poll(NULL, 0, FLUSH_AGAIN_MS);
			timeout_ms -= FLUSH_AGAIN_MS;
		}
		ready = wait_for(c->fd, POLLOUT, timeout_ms);
		if (ready <= 0)
			return -1;
	}
	return 0;
}

int
message_take_fd(struct message *m)
{
	int fd = m->fd;

	m->fd = -1;
	return fd;
}
