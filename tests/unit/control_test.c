/*
 * control_test.c: the control socket against good, strange and hostile clients (I6, I11).
 * confd's part is an ops table that gives what the test wants.
 */
#include "test.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "confd/control.h"

#define BIG (3 * MIB)

struct fixture {
	struct event_base *base;
	struct control *control;
	struct msg_environment env;
	char dir[64], path[96];
	int asked, may_act;
	struct control_request last;
};

static enum control_result
answer(void *ctx, const struct control_request *rq, int may_act, struct record_writer *w,
    struct error *err)
{
	struct fixture *f = ctx;
	char *big;

	f->asked++;
	f->may_act = may_act;
	f->last = *rq;
	switch (rq->verb) {
	case CONTROL_STATUS:
		record_put_u64(w, CK_RUNNING, 17);
		return CONTROL_OK;
	case CONTROL_CONFIG:
		big = calloc(1, BIG);
		record_put(w, CK_TEXT, 0, 0, big, BIG);
		free(big);
		return CONTROL_OK;
	case CONTROL_HISTORY:
		record_put_u64(w, CK_RUNNING, 1); /* thrown away */
		(void)error_set(err, "no such generation");
		return CONTROL_MISSING;
	default:
		return CONTROL_OK;
	}
}

static const struct control_ops ops = {answer};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd;

	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/control_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", f->path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 16), 0);
	f->base = event_base_new();
	f->env = (struct msg_environment){
	    .admin_gid = UINT32_MAX, .reader_gid = UINT32_MAX, .owner_uid = getuid()};
	f->control = control_new(f->base, fd, &f->env, &ops, f);
	assert_non_null(f->control);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	control_free(f->control);
	event_base_free(f->base);
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static int
client(struct fixture *f)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

/* Everything that can be done without waiting. */
static void
turn(struct fixture *f)
{
	int i;

	for (i = 0; i < 64; i++)
		(void)event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static void
ask(int fd, uint16_t verb)
{
	struct control_request rq = {.magic = CONTROL_MAGIC, .version = CONTROL_VERSION};

	rq.verb = verb;
	rq.argument = CONTROL_CONFIG_EFFECTIVE;
	assert_int_equal(send(fd, &rq, sizeof(rq), MSG_NOSIGNAL), sizeof(rq));
}

/* The whole answer, its body terminated and malloc'd. */
static struct control_answer
take(struct fixture *f, int fd, char **body)
{
	struct control_answer a = {0};
	size_t got = 0, idle = 0;
	ssize_t n;

	turn(f);
	assert_int_equal(recv(fd, &a, sizeof(a), 0), sizeof(a));
	assert_int_equal(a.magic, CONTROL_MAGIC);
	assert_int_equal(a.version, CONTROL_VERSION);
	assert_true(a.length <= CONTROL_ANSWER);
	*body = calloc(1, a.length + 1);
	while (got < a.length && idle < 1000) {
		n = recv(fd, *body + got, a.length - got, 0);
		if (n > 0) {
			assert_true(n <= (ssize_t)CONTROL_CHUNK);
			got += (size_t)n;
			idle = 0;
		} else {
			turn(f);
			idle++;
		}
	}
	assert_int_equal(got, a.length);
	return a;
}

/* confd has closed: 0, or ECONNRESET where it left something unread. */
static int
closed(struct fixture *f, int fd)
{
	char c;
	ssize_t n;

	turn(f);
	n = recv(fd, &c, 1, 0);
	return n == 0 || (n == -1 && errno == ECONNRESET);
}

static void
test_status_is_answered_again_and_again(void **state)
{
	struct fixture *f = *state;
	struct control_answer a;
	struct record r;
	char *body;
	int fd = client(f), i;

	for (i = 1; i <= 3; i++) {
		ask(fd, CONTROL_STATUS);
		a = take(f, fd, &body);
		assert_int_equal(a.result, CONTROL_OK);
		assert_int_equal(a.verb, CONTROL_STATUS);
		assert_int_equal(record_open(&r, body, a.length, NULL), 0);
		assert_int_equal(record_u64(&r, CK_RUNNING, 0), 17);
		assert_int_equal(record_u64(&r, CK_PID, 0), getpid());
		free(body);
		assert_int_equal(f->asked, i);
		assert_int_equal(f->may_act, 1);
	}
	close(fd);
}

static void
test_a_refusal_has_its_text(void **state)
{
	struct fixture *f = *state;
	struct control_answer a;
	char *body;
	int fd = client(f);

	ask(fd, CONTROL_HISTORY);
	a = take(f, fd, &body);
	assert_int_equal(a.result, CONTROL_MISSING);
	assert_string_equal(body, "no such generation");
	free(body);
	ask(fd, CONTROL_VERBS);
	a = take(f, fd, &body);
	assert_int_equal(a.result, CONTROL_UNKNOWN);
	assert_non_null(strstr(body, "use the opampctl that came with it"));
	free(body);
	close(fd);
}

static void
test_a_large_answer_comes_in_pieces(void **state)
{
	struct fixture *f = *state;
	struct control_answer a;
	struct record_entry e;
	struct record r;
	char *body;
	int fd = client(f);

	ask(fd, CONTROL_CONFIG);
	a = take(f, fd, &body);
	assert_int_equal(a.result, CONTROL_OK);
	assert_int_equal(record_open(&r, body, a.length, NULL), 0);
	assert_true(record_find(&r, CK_TEXT, &e));
	assert_int_equal(e.len, BIG);
	free(body);
	close(fd);
}

static void
test_another_version_is_told(void **state)
{
	struct fixture *f = *state;
	struct control_request rq = {.magic = CONTROL_MAGIC, .version = 2, .verb = CONTROL_STATUS};
	struct control_answer a;
	char *body, longer[200] = {0};
	int fd = client(f);

	assert_int_equal(send(fd, &rq, sizeof(rq), 0), sizeof(rq));
	a = take(f, fd, &body);
	assert_int_equal(a.result, CONTROL_UNKNOWN);
	assert_non_null(strstr(body, "version 2"));
	free(body);
	assert_true(closed(f, fd));
	close(fd);
	/* a later version may have a longer request */
	fd = client(f);
	memcpy(longer, &rq, sizeof(rq));
	assert_int_equal(send(fd, longer, sizeof(longer), 0), sizeof(longer));
	a = take(f, fd, &body);
	assert_int_equal(a.result, CONTROL_UNKNOWN);
	free(body);
	close(fd);
	assert_int_equal(f->asked, 0);
}

static void
test_I6_what_is_no_request_ends_the_client(void **state)
{
	struct fixture *f = *state;
	struct control_request rq = {.magic = CONTROL_MAGIC ^ 1, .version = CONTROL_VERSION};
	static const size_t sizes[] = {0, 1, 4, 7};
	size_t i;
	int fd;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fd = client(f);
		(void)send(fd, &rq, sizes[i], MSG_NOSIGNAL);
		assert_true(closed(f, fd));
		close(fd);
	}
	fd = client(f);
	rq.verb = CONTROL_STATUS;
	assert_int_equal(send(fd, &rq, sizeof(rq), 0), sizeof(rq));
	assert_true(closed(f, fd));
	close(fd);
	fd = client(f); /* goes without a word */
	close(fd);
	turn(f);
	assert_int_equal(f->asked, 0);
}

static void
test_I6_a_descriptor_ends_the_client(void **state)
{
	struct fixture *f = *state;
	struct control_request rq = {.magic = CONTROL_MAGIC, .version = CONTROL_VERSION};
	struct iovec iov = {&rq, sizeof(rq)};
	char space[CMSG_SPACE(sizeof(int))] = {0};
	struct msghdr h = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = space,
	    .msg_controllen = sizeof(space)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&h);
	int fd = client(f), passed = 0;

	rq.verb = CONTROL_STATUS;
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &passed, sizeof(int));
	assert_int_equal(sendmsg(fd, &h, 0), sizeof(rq));
	assert_true(closed(f, fd));
	assert_int_equal(f->asked, 0);
	close(fd);
}

/* Who asks and does not read gets one answer at a time, whatever they send. */
static void
test_I11_a_flood_that_never_reads_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct control_request rq = {.magic = CONTROL_MAGIC, .version = CONTROL_VERSION};
	struct control_answer a;
	char *body;
	int fd[LIMIT_CONTROL_CONNECTIONS], other, i, sent = 0;

	rq.verb = CONTROL_CONFIG;
	for (i = 0; i < (int)LIMIT_CONTROL_CONNECTIONS; i++) {
		fd[i] = client(f);
		turn(f);
		while (send(fd[i], &rq, sizeof(rq), MSG_NOSIGNAL) == sizeof(rq) && sent < 100000)
			sent++;
		turn(f);
	}
	assert_true(f->asked <= (int)LIMIT_CONTROL_CONNECTIONS);
	/* and somebody else is served all the same */
	other = client(f);
	ask(other, CONTROL_STATUS);
	a = take(f, other, &body);
	assert_int_equal(a.result, CONTROL_OK);
	free(body);
	close(other);
	for (i = 0; i < (int)LIMIT_CONTROL_CONNECTIONS; i++)
		close(fd[i]);
	turn(f);
}

static void
test_I11_one_too_many_ends_the_idlest(void **state)
{
	struct fixture *f = *state;
	struct control_answer a;
	char *body;
	int fd[LIMIT_CONTROL_CONNECTIONS + 1], i;

	for (i = 0; i < (int)LIMIT_CONTROL_CONNECTIONS; i++) {
		fd[i] = client(f);
		turn(f);
	}
	ask(fd[0], CONTROL_STATUS); /* moved last now */
	a = take(f, fd[0], &body);
	assert_int_equal(a.result, CONTROL_OK);
	free(body);
	fd[i] = client(f);
	assert_true(closed(f, fd[1]));
	ask(fd[0], CONTROL_STATUS);
	a = take(f, fd[0], &body);
	assert_int_equal(a.result, CONTROL_OK);
	free(body);
	for (i = 0; i <= (int)LIMIT_CONTROL_CONNECTIONS; i++)
		close(fd[i]);
	turn(f);
}

static void
test_I11_an_idle_client_is_ended(void **state)
{
	struct fixture *f = *state;
	struct timeval limit = {LIMIT_CONTROL_IDLE_MS / 1000 * 4, 0};
	int fd = client(f);
	char c;

	(void)event_base_loopexit(f->base, &limit);
	turn(f);
	assert_int_equal(recv(fd, &c, 1, 0), -1);
	while (recv(fd, &c, 1, 0) != 0 && !event_base_got_exit(f->base))
		(void)event_base_loop(f->base, EVLOOP_ONCE);
	assert_int_equal(recv(fd, &c, 1, 0), 0);
	close(fd);
}

static void
test_I15_who_may(void **state)
{
	static const uint32_t none[] = {100, 200}, looks[] = {100, 300}, does[] = {300, 400};
	struct msg_environment env = {.reader_gid = 300, .admin_gid = 400, .owner_uid = 0};

	(void)state;
	assert_int_equal(control_may(&env, 0, 0, NULL, 0), 2);
	assert_int_equal(control_may(&env, 1000, 100, none, 2), 0);
	assert_int_equal(control_may(&env, 1000, 100, looks, 2), 1);
	assert_int_equal(control_may(&env, 1000, 100, does, 2), 2);
	assert_int_equal(control_may(&env, 1000, 300, NULL, 0), 1);
	assert_int_equal(control_may(&env, 1000, 400, NULL, 0), 2);
	assert_int_equal(control_may(&env, 65534, 65534, NULL, 0), 0);
	/* no such groups on this host: nobody is in them, and -1 and 0 are nobody's */
	env.reader_gid = env.admin_gid = UINT32_MAX;
	assert_int_equal(control_may(&env, 1000, UINT32_MAX, NULL, 0), 0);
	env.reader_gid = env.admin_gid = 0;
	assert_int_equal(control_may(&env, 1000, 0, NULL, 0), 0);
	/* started by an ordinary user: that user and root, whatever the groups say */
	env = (struct msg_environment){.reader_gid = 300, .admin_gid = 400, .owner_uid = 1000};
	assert_int_equal(control_may(&env, 1000, 100, none, 2), 2);
	assert_int_equal(control_may(&env, 0, 0, NULL, 0), 2);
	assert_int_equal(control_may(&env, 1001, 400, does, 2), 0);
}

/* As root the test borrows another identity for the moment in which the socket is made. */
static void
test_I15_strangers_and_readers_are_refused_with_words(void **state)
{
	struct fixture *f = *state;
	struct msg_environment env = {
	    .reader_gid = 64001, .admin_gid = UINT32_MAX, .owner_uid = getuid() == 0 ? 0 : 64000};
	struct control *c;
	struct control_answer a;
	char *body;
	int sv[2], spare[2], reader;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, spare), 0);
	c = control_new(f->base, spare[0], &env, &ops, f);
	assert_non_null(c);
	for (reader = 0; reader <= (getuid() == 0); reader++) {
		if (getuid() == 0) {
			assert_int_equal(setegid(reader ? 64001 : 64002), 0);
			assert_int_equal(seteuid(64000), 0);
		}
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sv), 0);
		if (getuid() == 0) {
			assert_int_equal(seteuid(0), 0);
			assert_int_equal(setegid(0), 0);
		}
		assert_int_equal(control_take(c, sv[0]), 0);
		if (reader) {
			ask(sv[1], CONTROL_STATUS);
			a = take(f, sv[1], &body);
			assert_int_equal(a.result, CONTROL_OK);
			assert_int_equal(f->may_act, 0);
			free(body);
		}
		ask(sv[1], CONTROL_RESTART);
		a = take(f, sv[1], &body);
		assert_int_equal(a.result, CONTROL_DENIED);
		assert_non_null(strstr(body, "opampd"));
		assert_int_equal(f->asked, reader);
		free(body);
		close(sv[1]);
		turn(f);
	}
	control_free(c);
	close(spare[1]);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_status_is_answered_again_and_again),
	    T(test_a_refusal_has_its_text),
	    T(test_a_large_answer_comes_in_pieces),
	    T(test_another_version_is_told),
	    T(test_I6_what_is_no_request_ends_the_client),
	    T(test_I6_a_descriptor_ends_the_client),
	    T(test_I11_a_flood_that_never_reads_is_bounded),
	    T(test_I11_one_too_many_ends_the_idlest),
	    T(test_I11_an_idle_client_is_ended),
	    T(test_I15_who_may),
	    T(test_I15_strangers_and_readers_are_refused_with_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
