/*
 * upgrade_state_test.c: the record that an opampd leaves to the next one in its process: only what it
 * wrote itself is taken, and only by whom it is for.
 */
#include "test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "privsep/memfd.h"
#include "privsep/upgrade_state.h"

static char *const environment[] = {
    (char[]){"A=1"}, (char[]){"SECRET=value with = in it"}, (char[]){"EMPTY="}, NULL};

/* As an opampd writes it whose agent runs in a group of its own. */
static struct upgrade_state
good(void)
{
	struct upgrade_state s = {.magic = UPGRADE_MAGIC,
	    .format = UPGRADE_FORMAT,
	    .size = sizeof(s),
	    .pid = getpid(),
	    .upgrades = 1,
	    .unprivileged = geteuid() != 0,
	    .next_start = 7,
	    .state_dir = 10,
	    .control = 11,
	    .link_listener = 12,
	    .cgroup = 13,
	    .guard_pid = 100,
	    .guard_pidfd = 14,
	    .guard_channel = 15};

	s.agent = (struct upgrade_agent){.start = 7,
	    .pid = 101,
	    .agent_pid = 101,
	    .pidfd = 16,
	    .agent = -1,
	    .init = -1,
	    .group = 17,
	    .secret = 18,
	    .out = 19,
	    .err = 20};
	return s;
}

static int
read_back(const struct upgrade_state *s, const char *cwd, struct upgrade_state *got)
{
	int fd = upgrade_state_write(s, cwd, environment, NULL), r;
	char *strings = NULL;
	struct error err;
	size_t len = 0;

	assert_true(fd >= 0);
	r = upgrade_state_read(fd, getpid(), got, &strings, &len, &err);
	if (r == 0) {
		assert_string_equal(strings, cwd);
		assert_int_equal(
		    len, strlen(cwd) + 1 + 4 + sizeof("SECRET=value with = in it") + 7);
		assert_string_equal(strings + strlen(cwd) + 1, "A=1");
	} else {
		assert_null(strings);
		assert_true(strncmp(err.text, "the record of an upgrade", 24) == 0);
	}
	free(strings);
	close(fd);
	return r;
}

static void
test_what_was_written_is_read(void **state)
{
	struct upgrade_state s = good(), got;

	(void)state;
	assert_int_equal(read_back(&s, "/somewhere", &got), 0);
	assert_memory_equal(&s, &got, sizeof(s));
	s.agent = (struct upgrade_agent){
	    .pidfd = -1, .agent = -1, .init = -1, .group = -1, .secret = -1, .out = -1, .err = -1};
	s.guard_pid = 0;
	s.guard_pidfd = s.guard_channel = s.link_listener = s.cgroup = -1;
	assert_int_equal(read_back(&s, "/", &got), 0); /* no agent, no guard, no cgroups */
}

#define REFUSED(change)                                                                            \
	s = good();                                                                                \
	change;                                                                                    \
	assert_int_equal(read_back(&s, "/", &got), -1)

static void
test_anything_else_is_refused(void **state)
{
	struct upgrade_state s, got;

	(void)state;
	REFUSED(s.magic++);
	REFUSED(s.format++);
	REFUSED(s.format--);
	REFUSED(s.size--);
	REFUSED(s.pid++); /* another process's */
	REFUSED(s.pid = 1);
	REFUSED(s.unprivileged = !s.unprivileged);
	REFUSED(s.unprivileged = 2);
	REFUSED(s.upgrades = 0);
	REFUSED(s.upgrades = LIMIT_UPGRADES + 1);
	REFUSED(s.sink = 3);
	REFUSED(s.sink = ~0u);
	REFUSED(s.cgroup_leaf = 2);
	REFUSED(s.pad = 1);
	REFUSED(s.state_dir = -1);
	REFUSED(s.control = -1);
	REFUSED(s.control = s.state_dir);       /* one number for two */
	REFUSED(s.agent.out = s.guard_channel); /* likewise */
	REFUSED(s.control = 2);                 /* the log */
	REFUSED(s.control = -2);
	REFUSED(s.control = LIMIT_UPGRADE_FD);
	REFUSED(s.guard_pid = 0);
	REFUSED(s.guard_pidfd = -1);
	REFUSED(s.guard_channel = -1);
	REFUSED(s.agent.start = 0); /* no agent, but its descriptors */
	REFUSED(s.agent.start = s.next_start + 1);
	REFUSED(s.agent.pid = 0);
	REFUSED(s.agent.pid = -1);
	REFUSED(s.agent.agent_pid = 0);
	REFUSED(s.agent.pidfd = -1);
	REFUSED(s.agent.out = -1);
	REFUSED(s.agent.err = -1);
	REFUSED(s.agent.init = 30); /* an init without the agent's own pidfd */
	REFUSED(s.agent.agent = 30);
	s = good();
	assert_int_equal(read_back(&s, "relative", &got), -1);
	assert_int_equal(read_back(&s, "", &got), -1);
}

static int
read_bytes(const void *data, size_t len)
{
	int fd = memfd_seal("test", data, len, NULL), r;
	struct upgrade_state got;
	char *strings = NULL;
	size_t n;

	r = upgrade_state_read(fd, getpid(), &got, &strings, &n, NULL);
	free(strings);
	close(fd);
	return r;
}

static void
test_cut_and_unsealed_ones(void **state)
{
	struct {
		struct upgrade_state s;
		char strings[8];
	} r = {good(), "/\0A=1"};
	struct upgrade_state got;
	size_t len, n;
	char *strings;
	int fd;

	(void)state;
	for (len = 0; len < sizeof(r.s) + 2; len++)
		assert_int_equal(read_bytes(&r, len), -1);
	assert_int_equal(read_bytes(&r, sizeof(r.s) + 2), 0);
	assert_int_equal(read_bytes(&r, sizeof(r.s) + 3), -1); /* a string without its end */
	assert_int_equal(read_bytes(&r, sizeof(r.s) + 6), 0);
	/* one that could be changed after the look */
	fd = (int)syscall(SYS_memfd_create, "test", 2u /* MFD_ALLOW_SEALING */);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, &r, sizeof(r.s) + 6), sizeof(r.s) + 6);
	assert_int_equal(upgrade_state_read(fd, getpid(), &got, &strings, &n, NULL), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
	assert_int_equal(upgrade_state_read(fd, getpid(), &got, &strings, &n, NULL), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
	assert_int_equal(upgrade_state_read(fd, getpid(), &got, &strings, &n, NULL), 0);
	free(strings);
	close(fd);
}

/* Each place has its kind, and nothing of another kind is taken there. */
static void
test_descriptors(void **state)
{
	int sv[2], p[2], of[11] = {0}, listener;
	struct upgrade_state s = good();
	enum fd_kind kind;
	size_t i, k;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
	assert_int_equal(pipe(p), 0);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(listen(listener, 1), 0);
	of[FD_DIR] = open("/", O_RDONLY | O_DIRECTORY);
	of[FD_LISTENER] = listener;
	of[FD_CHANNEL] = sv[0];
	of[FD_PIPE] = p[0];
	of[FD_MEMFD] = memfd_seal("test", "", 0, NULL);
	of[FD_PIDFD] = (int)syscall(SYS_pidfd_open, getpid(), 0);
	for (i = 0; i < UPGRADE_FDS; i++) {
		int32_t *fd = upgrade_fd(&s, i, &kind);

		assert_true(of[kind] > 0);
		*fd = of[kind];
	}
	assert_int_equal(upgrade_state_look(&s, NULL), 0);
	for (i = 0; i < UPGRADE_FDS; i++) {
		int32_t *fd = upgrade_fd(&s, i, &kind), was = *fd;

		for (k = 0; k < sizeof(of) / sizeof(of[0]); k++) {
			/* a pidfd is known by what it is not: its process is looked at (parent_takeover.c) */
			if (of[k] <= 0 || k == kind || (kind == FD_PIDFD && k == FD_MEMFD))
				continue;
			*fd = of[k];
			assert_int_equal(upgrade_state_look(&s, NULL), -1);
		}
		*fd = 999; /* not open */
		assert_int_equal(upgrade_state_look(&s, NULL), -1);
		*fd = was;
	}
	for (k = 0; k < sizeof(of) / sizeof(of[0]); k++)
		if (of[k] > 0)
			close(of[k]);
	close(sv[1]);
	close(p[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_was_written_is_read),
	    cmocka_unit_test(test_anything_else_is_refused),
	    cmocka_unit_test(test_cut_and_unsealed_ones),
	    cmocka_unit_test(test_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
