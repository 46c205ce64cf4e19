/*
 * link_fake.h: a link without a parent, for the tests of its modules: struct child with two
 * socketpairs, and what comes out at their other ends.
 */
#ifndef TESTS_UNIT_LINK_FAKE_H
#define TESTS_UNIT_LINK_FAKE_H

#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "privsep/child.h"
#include "privsep/log.h"
#include "privsep/memfd.h"

#define HEARD 1024

struct heard { /* one message that link sent */
	enum proc to;
	uint32_t type;
	char payload[256];
	char tail[TEXT_TAIL + 1];
	size_t tail_len;
	char *blob; /* of its memfd */
	size_t blob_len;
	int read; /* by expect() */
};

struct fake {
	struct child child;
	struct channel *ends[PROC_COUNT]; /* where parent and confd would be */
	struct heard heard[HEARD];
	size_t count;
};

static int
fake_heard(void *ctx, struct message *m, enum proc to)
{
	struct fake *f = ctx;
	struct heard *h = &f->heard[f->count];

	assert_true(f->count < HEARD);
	f->count++;
	h->to = to;
	h->type = m->type;
	memcpy(h->payload, m->payload, message_rules[m->type].size);
	memcpy(h->tail, m->tail, m->tail_len);
	h->tail_len = m->tail_len;
	h->tail[m->tail_len] = '\0';
	if (message_rules[m->type].fd == FD_MEMFD)
		assert_int_equal(memfd_read(m->fd, LIMIT_MEMFD, &h->blob, &h->blob_len, NULL), 0);
	return 0;
}

static int
fake_parent_heard(void *ctx, struct message *m)
{
	return fake_heard(ctx, m, PROC_PARENT);
}

static int
fake_confd_heard(void *ctx, struct message *m)
{
	return fake_heard(ctx, m, PROC_CONFD);
}

static const struct channel_callbacks fake_parent_end = {fake_parent_heard, NULL, NULL};
static const struct channel_callbacks fake_confd_end = {fake_confd_heard, NULL, NULL};
static const struct channel_callbacks fake_link_end = {NULL, NULL, NULL};

static inline void
fake_connect(struct fake *f, enum proc peer)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	f->child.peers[peer] =
	    channel_new(f->child.base, sv[0], PROC_LINK, peer, &fake_link_end, f);
	f->ends[peer] = channel_new(f->child.base, sv[1], peer, PROC_LINK,
	    peer == PROC_PARENT ? &fake_parent_end : &fake_confd_end, f);
	assert_non_null(f->child.peers[peer]);
	assert_non_null(f->ends[peer]);
}

static inline struct fake *
fake_new(void)
{
	struct fake *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->child.self = PROC_LINK;
	f->child.base = event_base_new();
	assert_non_null(f->child.base);
	fake_connect(f, PROC_PARENT);
	fake_connect(f, PROC_CONFD);
	return f;
}

static inline void
fake_free(struct fake *f)
{
	enum proc peer;
	size_t i;

	for (peer = PROC_PARENT; peer < PROC_COUNT; peer++) {
		channel_free(f->child.peers[peer]);
		channel_free(f->ends[peer]);
	}
	for (i = 0; i < f->count; i++)
		free(f->heard[i].blob);
	event_base_free(f->child.base);
	free(f);
}

/* The loop, until nothing is ready. */
static inline void
fake_settle(struct fake *f)
{
	int i;

	for (i = 0; i < 64; i++)
		assert_int_not_equal(event_base_loop(f->child.base, EVLOOP_NONBLOCK), -1);
}

/* The next message of that type not yet looked at, waiting up to two seconds; NULL = none came. */
static inline struct heard *
fake_find(struct fake *f, uint32_t type, int wait_ms)
{
	static const struct timeval tick = {0, 5000};
	uint64_t until = now_ms() + (uint64_t)wait_ms;
	size_t i;

	for (;;) {
		fake_settle(f);
		for (i = 0; i < f->count; i++)
			if (f->heard[i].type == type && !f->heard[i].read) {
				f->heard[i].read = 1;
				return &f->heard[i];
			}
		if (now_ms() >= until)
			return NULL;
		event_base_loopexit(f->child.base, &tick);
		event_base_dispatch(f->child.base);
	}
}

static inline struct heard *
fake_expect(struct fake *f, uint32_t type)
{
	struct heard *h = fake_find(f, type, 2000);

	if (h == NULL)
		fail_msg("no %s came", message_rules[type].name);
	return h;
}

static inline void
fake_expect_none(struct fake *f, uint32_t type)
{
	if (fake_find(f, type, 0) != NULL)
		fail_msg("a %s too many", message_rules[type].name);
}

#endif
