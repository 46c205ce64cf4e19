/*
 * child.c: the frame of a child process (see child.h).  netd, link, confd, procd, connect, merge.
 */
#include "child.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "memfd.h"

#define LARGE_BLOCK (256 * 1024) /* what malloc takes from the kernel, and gives back, by itself */

uint64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t
now_unix_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
parent_gone(void *ctx, struct channel *ch)
{
	struct child *c = ctx;

	(void)ch;
	if (c->go == 0)
		_exit(0);
	event_base_loopbreak(c->base);
}

static void
parent_broken(void *ctx, struct channel *ch, enum channel_rule rule, uint32_t type)
{
	(void)ctx;
	(void)ch;
	fatal("the parent sent %s (message %u)", channel_rule_name(rule), type);
}

static void
peer_lost(struct child *c, enum proc peer)
{
	channel_free(c->peers[peer]);
	c->peers[peer] = NULL;
	c->stuffed[peer] = 0;
	if (c->handlers->peer_down != NULL)
		c->handlers->peer_down(c->ctx, peer);
}

/*
 * A peer that died comes back with a new channel.  One that did not, with our end broken, would not: then we
 * make room for a successor, to whom the parent gives new channels, and who hears everything anew.
 */
static void
peer_gone(void *ctx, struct channel *ch)
{
	if (channel_error(ch) != 0)
		fatal("the channel with %s: %s", proc_name(channel_peer(ch)),
		    strerror(channel_error(ch)));
	peer_lost(ctx, channel_peer(ch));
}

static void
peer_broken(void *ctx, struct channel *ch, enum channel_rule rule, uint32_t type)
{
	struct child *c = ctx;
	struct msg_accuse accuse = {(uint32_t)channel_peer(ch), (uint32_t)rule, type};

	child_send(c, PROC_PARENT, MSG_CHILD_ACCUSE, &accuse, NULL, 0, -1);
	peer_lost(c, channel_peer(ch));
}

static int
peer_message(void *ctx, struct message *m)
{
	struct child *c = ctx;

	return c->handlers->message != NULL ? c->handlers->message(c->ctx, m) : -1;
}

static const struct channel_callbacks peer_callbacks = {peer_message, peer_gone, peer_broken};

static int
take_peer(struct child *c, struct message *m)
{
	const struct msg_peer *p = m->payload;
	struct channel *old;

	if (p->peer <= PROC_PARENT || p->peer >= PROC_COUNT || p->epoch <= c->epoch[p->peer])
		return -1;
	old = c->peers[p->peer];
	c->peers[p->peer] = NULL;
	c->stuffed[p->peer] = 0;
	if (old != NULL) {
		channel_free(old);
		if (c->handlers->peer_down != NULL)
			c->handlers->peer_down(c->ctx, (enum proc)p->peer);
	}
	c->epoch[p->peer] = p->epoch;
	c->peers[p->peer] = channel_new(
	    c->base, message_take_fd(m), c->self, (enum proc)p->peer, &peer_callbacks, c);
	if (c->peers[p->peer] == NULL)
		fatal("no memory for a channel to %s", proc_name(p->peer));
	if (c->go && c->handlers->peer_up != NULL)
		c->handlers->peer_up(c->ctx, (enum proc)p->peer);
	return 0;
}

static int
take_start(struct child *c, struct message *m)
{
	struct error err;

	if (c->start.proc != PROC_NOBODY)
		return -1;
	memcpy(&c->start, m->payload, sizeof(c->start));
	if (c->start.proc != (uint32_t)c->self || c->start.log_level > LOG_LEVEL_DEBUG ||
	    c->start.group_count > sizeof(c->start.groups) / sizeof(c->start.groups[0]))
		return -1;
	log_init(proc_name(c->self),
	    c->start.flags & CHILD_SINK_JOURNAL  ? LOG_SINK_JOURNAL
	    : c->start.flags & CHILD_SINK_SYSLOG ? LOG_SINK_SYSLOG
						 : LOG_SINK_STDERR,
	    (enum log_level)c->start.log_level);
	if (settings_open(&c->settings, m->fd, c->self, &err) == -1)
		fatal("%s", err.text);
	return 0;
}

static int
parent_message(void *ctx, struct message *m)
{
	struct child *c = ctx;

	switch (m->type) {
	case MSG_CHILD_START:
		return take_start(c, m);
	case MSG_CHILD_PEER:
		return take_peer(c, m);
	case MSG_CHILD_GO:
		if (c->start.proc == PROC_NOBODY || c->go)
			return -1;
		c->go = 1;
		return 0;
	case MSG_CHILD_END:
		if (c->handlers->end != NULL)
			c->handlers->end(c->ctx);
		return 0;
	default:
		return c->handlers->message != NULL ? c->handlers->message(c->ctx, m) : -1;
	}
}

static const struct channel_callbacks parent_callbacks = {
    parent_message, parent_gone, parent_broken};

static int
compare_bytes(const void *a, const void *b)
{
	return *(const unsigned char *)a - *(const unsigned char *)b;
}

void
child_prepare_libc(void)
{
	static unsigned char numbers[2048];

	/* by itself glibc keeps up to 32 MiB, once freed, for more of the like, which seldom comes */
	(void)mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
	(void)mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK);
	/* libm and OpenSSL look for the time zone */
	(void)setenv("TZ", "UTC0", 1);
	tzset();
	/* qsort of more than 1 KiB asks how much memory there is (glibc before 2.37) */
	qsort(numbers, sizeof(numbers), 1, compare_bytes);
}

void
child_begin(struct child *c, const struct policy *policy, const struct child_handlers *h, void *ctx)
{
	struct error err;

	memset(c, 0, sizeof(*c));
	c->self = policy->proc;
	c->policy = policy;
	c->handlers = h;
	c->ctx = ctx;
	log_init(proc_name(c->self), LOG_SINK_STDERR, LOG_LEVEL_INFO);
	if (!channel_fd_is(CHILD_CHANNEL_FD, FD_CHANNEL))
		fatal("this program is started by opampd, not by hand");
	child_prepare_libc();
	c->base = event_base_new();
	if (c->base == NULL)
		fatal("no event loop");
	c->peers[PROC_PARENT] =
	    channel_new(c->base, CHILD_CHANNEL_FD, c->self, PROC_PARENT, &parent_callbacks, c);
	if (c->peers[PROC_PARENT] == NULL)
		fatal("no memory for the parent's channel");
	while (!c->go)
		if (channel_wait(c->peers[PROC_PARENT], 10000, &err) != 1)
			fatal("waiting for the parent's instructions: %s", err.text);
}

/* What the settings make of the limits: what a process that was taken over can hold is to be little. */
static void
fit_limits(const struct child *c, struct policy *policy)
{
	uint64_t offer, log;
	int next;

	if (c->self == PROC_NETD) {
		offer = settings_u64(&c->settings, SET_CONFIG_SIZE) + LIMIT_OFFER_BESIDE;
		if (offer < policy->limit_fsize)
			policy->limit_fsize = offer;
	}
	/* agent.log may be set to be larger than any memory file */
	if (c->self == PROC_LINK) {
		log = settings_u64(&c->settings, SET_LOG_SIZE) + LIMIT_LOG_LINE;
		if (log > policy->limit_fsize)
			policy->limit_fsize = log;
	}
	/* all that it reads is there */
	next = c->self == PROC_MERGE ? fcntl(CHILD_CHANNEL_FD, F_DUPFD_CLOEXEC, 0) : -1;
	if (next >= 0) {
		close(next);
		policy->limit_nofile = (uint64_t)next + LIMIT_RESULTS;
	}
}

void
child_sandbox(struct child *c)
{
	struct policy policy = *c->policy;
	struct sandbox_result result;
	struct msg_ready ready;
	struct error err;
	uint32_t peer;

	fit_limits(c, &policy);
	/* too large a file is an error of the write, not the end of the process */
	(void)signal(SIGXFSZ, SIG_IGN);
	if (sandbox_enter(&policy, &c->start, &result, &err) == -1)
		fatal("entering the sandbox: %s", err.text);
	ready = (struct msg_ready){.seccomp = (uint32_t)result.seccomp,
	    .landlock_abi = (uint32_t)result.landlock_abi,
	    .namespaces = result.namespaces};
	child_send(c, PROC_PARENT, MSG_CHILD_READY, &ready, NULL, 0, -1);
	for (peer = PROC_PARENT + 1; peer < PROC_COUNT; peer++)
		if (c->peers[peer] != NULL && c->handlers->peer_up != NULL)
			c->handlers->peer_up(c->ctx, (enum proc)peer);
}

int
child_loop(struct child *c)
{
	if (event_base_dispatch(c->base) == -1) {
		log_error("the event loop failed");
		return 1;
	}
	return 0;
}

void
child_run(struct child *c)
{
	_exit(child_loop(c));
}

void
child_exit(struct child *c, int status)
{
	uint32_t peer;

	for (peer = PROC_PARENT; peer < PROC_COUNT; peer++)
		if (c->peers[peer] != NULL)
			(void)channel_flush(c->peers[peer], 1000);
	_exit(status);
}

/* Not at once: the caller may be in the middle of something that needs the peer. */
static void
drop_stuffed(evutil_socket_t fd, short what, void *arg)
{
	struct child *c = arg;
	uint32_t peer;

	(void)fd;
	(void)what;
	for (peer = PROC_PARENT + 1; peer < PROC_COUNT; peer++)
		if (c->stuffed[peer] && c->peers[peer] != NULL)
			peer_lost(c, (enum proc)peer);
}

static void
accuse_stuffed(struct child *c, enum proc peer, uint32_t type)
{
	struct msg_accuse accuse = {(uint32_t)peer, RULE_QUEUE, type};

	log_error("%s does not read its messages", proc_name(peer));
	c->stuffed[peer] = 1;
	if (event_base_once(c->base, -1, EV_TIMEOUT, drop_stuffed, c, NULL) == -1)
		fatal("no memory to drop a channel");
	child_send(c, PROC_PARENT, MSG_CHILD_ACCUSE, &accuse, NULL, 0, -1);
}

void
child_send(struct child *c, enum proc to, uint32_t type, const void *payload, const void *tail,
    size_t tail_len, int fd)
{
	if (c->peers[to] == NULL || c->stuffed[to]) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (to != PROC_PARENT && (c->self == PROC_CONFD || c->self == PROC_PROCD) &&
	    channel_full(c->peers[to], fd >= 0)) {
		if (fd >= 0)
			close(fd);
		accuse_stuffed(c, to, type);
		return;
	}
	if (channel_send(c->peers[to], type, payload, tail, tail_len, fd) == -1)
		fatal("cannot go on without a message to %s", proc_name(to));
}

void
child_send_blob(struct child *c, enum proc to, uint32_t type, const void *payload, const void *tail,
    size_t tail_len, const void *blob, size_t blob_len)
{
	struct error err;
	int fd;

	if (c->peers[to] == NULL || c->stuffed[to])
		return;
	fd = memfd_seal(message_rules[type].name, blob, blob_len, &err);
	/* else it would never be said: whoever takes our place says everything */
	if (fd == -1)
		fatal("%s for %s: %s", message_rules[type].name, proc_name(to), err.text);
	child_send(c, to, type, payload, tail, tail_len, fd);
}
