/*
 * channel_test.c: invariant I6: whoever sends what the table does not allow is not read again.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "privsep/channel.h"
#include "privsep/log.h"
#include "privsep/memfd.h"

struct seen {
	int messages, gone, broken;
	uint32_t type;
	size_t tail_len;
	char tail[64];
	enum channel_rule rule;
	int answer;
	int fd_was;
};

static int
on_message(void *ctx, struct message *m)
{
	struct seen *s = ctx;

	s->messages++;
	s->type = m->type;
	s->tail_len = m->tail_len;
	s->fd_was = m->fd;
	memcpy(s->tail, m->tail, m->tail_len < 63 ? m->tail_len + 1 : 63);
	return s->answer;
}

static void
on_gone(void *ctx, struct channel *c)
{
	(void)c;
	((struct seen *)ctx)->gone++;
}

static void
on_broken(void *ctx, struct channel *c, enum channel_rule rule, uint32_t type)
{
	struct seen *s = ctx;

	(void)c;
	(void)type;
	s->broken++;
	s->rule = rule;
}

static const struct channel_callbacks callbacks = {on_message, on_gone, on_broken};

struct pair {
	struct channel *c;
	struct seen seen;
	int raw; /* the other end */
};

/* confd's end of its channel to link is the channel; the test plays link with raw bytes. */
static void
open_pair(struct pair *p, enum proc self, enum proc peer)
{
	int sv[2];

	memset(p, 0, sizeof(*p));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	p->c = channel_new(NULL, sv[0], self, peer, &callbacks, &p->seen);
	assert_non_null(p->c);
	p->raw = sv[1];
}

static void
close_pair(struct pair *p)
{
	channel_free(p->c);
	close(p->raw);
}

static void
send_raw(int fd, const void *data, size_t len, const int *fds, size_t n)
{
	struct iovec iov = {(void *)(uintptr_t)data, len};
	char control[CMSG_SPACE(sizeof(int) * 4)] = {0};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cm = (struct cmsghdr *)(void *)control;

	if (n > 0) {
		h.msg_control = control;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(cm), fds, sizeof(int) * n);
	}
	assert_int_equal(sendmsg(fd, &h, 0), (ssize_t)len);
}

struct raw {
	uint32_t type, len, id, zero;
	char payload[LIMIT_MESSAGE_PAYLOAD + 64];
};

static void
send_message(struct pair *p, uint32_t type, uint32_t len, const int *fds, size_t n)
{
	static struct raw raw;

	memset(&raw, 0, sizeof(raw));
	raw.type = type;
	raw.len = len;
	raw.id = 1;
	send_raw(p->raw, &raw, 16 + len, fds, n);
}

static void
expect_broken(struct pair *p, enum channel_rule rule)
{
	assert_int_equal(channel_wait(p->c, 1000, NULL), -1);
	assert_int_equal(p->seen.broken, 1);
	assert_int_equal(p->seen.rule, rule);
	assert_int_equal(p->seen.messages, 0);
	close_pair(p);
}

static void
test_a_message_arrives_whole(void **state)
{
	struct msg_probe probe = {.start = 3, .ok = 0};
	struct pair p;
	struct channel *link;
	struct seen ignored = {0};

	(void)state;
	open_pair(&p, PROC_CONFD, PROC_LINK);
	link = channel_new(NULL, p.raw, PROC_LINK, PROC_CONFD, &callbacks, &ignored);
	assert_int_equal(channel_send(link, MSG_AGENT_PROBED, &probe, "503", 3, -1), 0);
	assert_int_equal(channel_wait(p.c, 1000, NULL), 1);
	assert_int_equal(p.seen.type, MSG_AGENT_PROBED);
	assert_string_equal(p.seen.tail, "503");
	channel_free(link);
	assert_int_equal(channel_wait(p.c, 1000, NULL), 0);
	assert_int_equal(p.seen.gone, 1);
	channel_free(p.c);
}

static void
test_I6_every_pair_of_peers_and_every_type(void **state)
{
	uint32_t self, peer, type;
	struct pair p;

	(void)state;
	for (self = PROC_PARENT; self < PROC_COUNT; self++)
		for (peer = PROC_PARENT; peer < PROC_COUNT; peer++)
			for (type = 0; type < MSG_COUNT + 2; type++) {
				const struct message_rule *r =
				    type < MSG_COUNT ? &message_rules[type] : &message_rules[0];
				int allowed = (r->from & 1u << peer) && (r->to & 1u << self);

				if (allowed && r->fd != FD_NONE)
					continue; /* the descriptor tests see to these */
				open_pair(&p, (enum proc)self, (enum proc)peer);
				send_message(&p, type, r->size, NULL, 0);
				if (allowed) {
					assert_int_equal(channel_wait(p.c, 1000, NULL), 1);
					close_pair(&p);
				} else {
					expect_broken(&p, RULE_TYPE);
				}
			}
}

static void
test_I6_sizes_at_their_edges(void **state)
{
	uint32_t type, over;
	struct pair p;

	(void)state;
	for (type = 1; type < MSG_COUNT; type++) {
		const struct message_rule *r = &message_rules[type];
		enum proc self = (enum proc)__builtin_ctz(r->to),
			  peer = (enum proc)__builtin_ctz(r->from);

		if (r->fd != FD_NONE)
			continue;
		if (r->size > 0) {
			open_pair(&p, self, peer);
			send_message(&p, type, r->size - 1, NULL, 0);
			expect_broken(&p, RULE_SIZE);
		}
		over = r->size + r->tail + 1;
		open_pair(&p, self, peer);
		send_message(&p, type, over, NULL, 0);
		expect_broken(&p, RULE_SIZE);
	}
}

static void
test_I6_header_that_lies(void **state)
{
	uint32_t lies[4] = {MSG_OFFER_CREDIT, 4, 1, 0}, reserved[4] = {MSG_OFFER_CREDIT, 0, 1, 7};
	struct pair p;

	(void)state;
	open_pair(&p, PROC_NETD, PROC_CONFD);
	send_raw(p.raw, lies, sizeof(lies), NULL, 0);
	expect_broken(&p, RULE_SIZE);
	open_pair(&p, PROC_NETD, PROC_CONFD);
	send_raw(p.raw, reserved, sizeof(reserved), NULL, 0);
	expect_broken(&p, RULE_SIZE);
	open_pair(&p, PROC_NETD, PROC_CONFD);
	send_raw(p.raw, lies, 7, NULL, 0);
	expect_broken(&p, RULE_TRUNCATED);
}

static void
test_I6_too_long_for_any_message(void **state)
{
	static char huge[LIMIT_MESSAGE_PAYLOAD + 64];
	struct pair p;

	(void)state;
	open_pair(&p, PROC_CONFD, PROC_LINK);
	send_raw(p.raw, huge, sizeof(huge), NULL, 0);
	expect_broken(&p, RULE_TRUNCATED);
}

static void
test_I6_zero_length_ends_the_peer(void **state)
{
	struct pair p;

	(void)state;
	open_pair(&p, PROC_CONFD, PROC_LINK);
	send_raw(p.raw, "", 0, NULL, 0);
	expect_broken(&p, RULE_EMPTY);
	/* at the end of a channel one reads no bytes either: that is no offence */
	open_pair(&p, PROC_CONFD, PROC_LINK);
	assert_int_equal(shutdown(p.raw, SHUT_WR), 0);
	assert_int_equal(channel_wait(p.c, 1000, NULL), 0);
	assert_int_equal(p.seen.gone, 1);
	assert_int_equal(p.seen.broken, 0);
	close_pair(&p);
}

static void
test_I6_descriptors(void **state)
{
	int fds[3], plain = open("/dev/null", O_RDWR | O_CLOEXEC), pipes[2], sealed, unsealed;
	struct pair p;
	size_t i;
	int wrong[6];

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	sealed = memfd_seal("t", "x", 1, NULL);
	unsealed = memfd_create("t", 0);
	fds[0] = fds[1] = fds[2] = sealed;
	/* none where one belongs */
	open_pair(&p, PROC_CONFD, PROC_NETD);
	send_message(&p, MSG_OFFER, sizeof(struct msg_offer), NULL, 0);
	expect_broken(&p, RULE_DESCRIPTOR);
	/* one where none does */
	open_pair(&p, PROC_CONFD, PROC_NETD);
	send_message(&p, MSG_SERVER_RESTART, 0, fds, 1);
	expect_broken(&p, RULE_DESCRIPTOR);
	/* two, three */
	open_pair(&p, PROC_CONFD, PROC_NETD);
	send_message(&p, MSG_OFFER, sizeof(struct msg_offer), fds, 2);
	expect_broken(&p, RULE_DESCRIPTOR);
	open_pair(&p, PROC_CONFD, PROC_NETD);
	send_message(&p, MSG_OFFER, sizeof(struct msg_offer), fds, 3);
	expect_broken(&p, RULE_DESCRIPTOR);
	/* the wrong kind */
	wrong[0] = plain;
	wrong[1] = pipes[0];
	wrong[2] = unsealed;
	wrong[3] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	wrong[4] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	wrong[5] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	for (i = 0; i < 6; i++) {
		open_pair(&p, PROC_CONFD, PROC_NETD);
		send_message(&p, MSG_OFFER, sizeof(struct msg_offer), &wrong[i], 1);
		expect_broken(&p, RULE_DESCRIPTOR);
	}
	/* its own channel is none either */
	open_pair(&p, PROC_CONFD, PROC_NETD);
	send_message(&p, MSG_OFFER, sizeof(struct msg_offer), &p.raw, 1);
	expect_broken(&p, RULE_DESCRIPTOR);
	/* and the right one passes */
	open_pair(&p, PROC_CONFD, PROC_NETD);
	send_message(&p, MSG_OFFER, sizeof(struct msg_offer), &sealed, 1);
	assert_int_equal(channel_wait(p.c, 1000, NULL), 1);
	assert_true(p.seen.fd_was >= 0);
	assert_int_equal(fcntl(p.seen.fd_was, F_GETFD), -1); /* not taken: closed for us */
	close_pair(&p);
	for (i = 3; i < 6; i++)
		close(wrong[i]);
	close(plain);
	close(pipes[0]);
	close(pipes[1]);
	close(sealed);
	close(unsealed);
}

static void
test_I6_content_that_a_handler_refuses(void **state)
{
	struct pair p;

	(void)state;
	open_pair(&p, PROC_CONFD, PROC_NETD);
	p.seen.answer = -1;
	send_message(&p, MSG_SERVER_RESTART, 0, NULL, 0);
	assert_int_equal(channel_wait(p.c, 1000, NULL), -1);
	assert_int_equal(p.seen.rule, RULE_CONTENT);
	close_pair(&p);
}

static void
test_I11_queue_is_bounded(void **state)
{
	struct pair p;
	int i, failed = 0;

	(void)state;
	open_pair(&p, PROC_NETD, PROC_CONFD);
	for (i = 0; i < 4096 && !failed; i++)
		failed = channel_send(p.c, MSG_SERVER_RESTART, NULL, NULL, 0, -1);
	assert_int_equal(failed, -1);
	assert_true(channel_queued(p.c) <= LIMIT_CHANNEL_QUEUE);
	close_pair(&p);
}

/* What waits holds descriptors, hence memory files: of a child's messages that have one, few may. */
static void
test_I11_descriptors_that_wait_are_bounded(void **state)
{
	static const struct msg_status m;
	struct pair p;
	int i, failed = 0, refused = 0, fd;

	(void)state;
	open_pair(&p, PROC_CONFD, PROC_NETD);
	for (i = 0; i < 4096 && !failed; i++) {
		fd = memfd_seal("x", "x", 1, NULL);
		assert_true(fd >= 0);
		refused = channel_full(p.c, 1);
		failed = channel_send(p.c, MSG_NET_STATUS, &m, NULL, 0, fd);
	}
	assert_int_equal(failed, -1);
	assert_true(refused);
	assert_int_equal(channel_queued(p.c), LIMIT_CHANNEL_FILES);
	/* those without one go on, in their place behind them */
	assert_false(channel_full(p.c, 0));
	assert_int_equal(channel_send(p.c, MSG_NET_SYNCED, NULL, NULL, 0, -1), 0);
	assert_int_equal(channel_queued(p.c), LIMIT_CHANNEL_FILES + 1);
	close_pair(&p);
	/* the parent's are all that a start takes */
	open_pair(&p, PROC_PARENT, PROC_MERGE);
	for (i = 0; i < LIMIT_CONFIG_FILES && channel_queued(p.c) < 2 * LIMIT_CHANNEL_FILES; i++)
		assert_int_equal(channel_send(p.c, MSG_CHILD_FILE, &(struct msg_file){0}, NULL, 0,
				     memfd_seal("x", "x", 1, NULL)),
		    0);
	close_pair(&p);
}

/* Sends a descriptor where nobody takes it; 0, or the error. */
static int
leave_under_way(int sock, int fd)
{
	char byte = 0;
	struct iovec iov = {&byte, 1};
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.align = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct msghdr h = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space)};

	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	return sendmsg(sock, &h, MSG_DONTWAIT | MSG_NOSIGNAL) == -1 ? errno : 0;
}

/*
 * The kernel counts descriptors under way by user: others of that user may have taken all.  The socket
 * can be written all the while; the last words are waited for, for the time given, without turning in circles.
 */
static int
flush_without_circles(void)
{
	const struct rlimit few = {24, 24};
	static const struct msg_status m;
	struct rusage used;
	struct pair p;
	int fd = memfd_seal("x", "x", 1, NULL), other[2], i, r = 0;

	open_pair(&p, PROC_CONFD, PROC_NETD);
	if (fd == -1 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, other) == -1 ||
	    setrlimit(RLIMIT_NOFILE, &few) == -1 ||
	    (geteuid() == 0 && setresuid(64999, 64999, 64999) == -1))
		return 2;
	for (i = 0; i < 100 && r == 0; i++)
		r = leave_under_way(other[0], fd);
	if (r != ETOOMANYREFS)
		return 3;
	(void)alarm(30);
	if (channel_send(p.c, MSG_NET_STATUS, &m, NULL, 0, fd) == -1 ||
	    channel_flush(p.c, 500) != -1 || channel_queued(p.c) != 1)
		return 4;
	(void)getrusage(RUSAGE_SELF, &used);
	return used.ru_utime.tv_sec + used.ru_stime.tv_sec > 0 ||
	       used.ru_utime.tv_usec + used.ru_stime.tv_usec > 200000;
}

static void
test_I11_no_circles_while_too_many_descriptors_are_under_way(void **state)
{
	int status = -1;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(flush_without_circles());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* The fd that the channel uses is no socket any more: as if the kernel refused the call. */
static void
test_a_call_that_fails_is_no_end_of_the_peer(void **state)
{
	struct pair p;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), own, spare;
	char got[64];

	(void)state;
	open_pair(&p, PROC_NETD, PROC_CONFD);
	own = p.raw - 1; /* channel_new was given the first of the pair */
	spare = fcntl(own, F_DUPFD_CLOEXEC, 0);
	assert_true(null >= 0 && spare >= 0);
	assert_int_equal(dup2(null, own), own);
	assert_int_equal(channel_send(p.c, MSG_SERVER_RESTART, NULL, NULL, 0, -1), 0);
	assert_int_equal(channel_error(p.c), ENOTSOCK);
	/* what comes after a message that was lost is not sent, either */
	assert_int_equal(dup2(spare, own), own);
	assert_int_equal(channel_send(p.c, MSG_SERVER_RESTART, NULL, NULL, 0, -1), 0);
	assert_int_equal(recv(p.raw, got, sizeof(got), MSG_DONTWAIT), -1);
	/* and it is told once, though the peer is there */
	assert_int_equal(channel_wait(p.c, 1000, NULL), 0);
	assert_int_equal(p.seen.gone, 1);
	close_pair(&p);
	/* the same for a read */
	open_pair(&p, PROC_NETD, PROC_CONFD);
	assert_int_equal(dup2(null, p.raw - 1), p.raw - 1);
	assert_int_equal(channel_wait(p.c, 1000, NULL), 0);
	assert_int_equal(channel_error(p.c), ENOTSOCK);
	close_pair(&p);
	/* a peer that left is no error */
	open_pair(&p, PROC_NETD, PROC_CONFD);
	close(p.raw);
	assert_int_equal(channel_wait(p.c, 1000, NULL), 0);
	assert_int_equal(channel_error(p.c), 0);
	assert_int_equal(p.seen.gone, 1);
	channel_free(p.c);
	close(null);
	close(spare);
}

static void
test_what_the_table_forbids_is_not_sent(void **state)
{
	struct pair p;

	(void)state;
	open_pair(&p, PROC_NETD, PROC_CONFD);
	assert_int_equal(channel_send(p.c, MSG_PROC_RUN, NULL, NULL, 0, -1), -1);
	assert_int_equal(channel_send(p.c, MSG_SERVER_RESTART, NULL, "x", 1, -1), -1);
	assert_int_equal(channel_send(p.c, MSG_NONE, NULL, NULL, 0, -1), -1);
	close_pair(&p);
}

/* I2, I3: read off the table itself. */
static void
test_I2_I3_the_table_keeps_the_walls(void **state)
{
	uint32_t type;

	(void)state;
	for (type = 1; type < MSG_COUNT; type++) {
		const struct message_rule *r = &message_rules[type];

		if (r->to & (P(PARENT) | P(PROCD)))
			assert_int_equal(r->tail, 0);
		if (r->from & P(NETD))
			assert_int_equal(r->to & ~(P(PARENT) | P(CONFD)), 0);
		if (r->to & P(NETD))
			assert_int_equal(r->from & ~(P(PARENT) | P(CONFD)), 0);
		if (r->to & P(PROCD))
			assert_int_equal(r->from & ~(P(PARENT) | P(CONFD)), 0);
		assert_true(r->size + r->tail <= LIMIT_MESSAGE_PAYLOAD);
		assert_int_equal((r->from | r->to) & P(NOBODY), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_message_arrives_whole),
	    cmocka_unit_test(test_I6_every_pair_of_peers_and_every_type),
	    cmocka_unit_test(test_I6_sizes_at_their_edges),
	    cmocka_unit_test(test_I6_header_that_lies),
	    cmocka_unit_test(test_I6_too_long_for_any_message),
	    cmocka_unit_test(test_I6_zero_length_ends_the_peer),
	    cmocka_unit_test(test_I6_descriptors),
	    cmocka_unit_test(test_I6_content_that_a_handler_refuses),
	    cmocka_unit_test(test_I11_queue_is_bounded),
	    cmocka_unit_test(test_I11_no_circles_while_too_many_descriptors_are_under_way),
	    cmocka_unit_test(test_I11_descriptors_that_wait_are_bounded),
	    cmocka_unit_test(test_a_call_that_fails_is_no_end_of_the_peer),
	    cmocka_unit_test(test_what_the_table_forbids_is_not_sent),
	    cmocka_unit_test(test_I2_I3_the_table_keeps_the_walls),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
