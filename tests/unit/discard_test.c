/*
 * discard_test.c: what a child sent is closed by somebody else, and no later child has it.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "privsep/discard.h"

/* A pipe is closed by a thread: a child forked at once must not have it, or it is the one that waits. */
static void
test_I14_nothing_is_left_for_a_fork(void **state)
{
	int i, p[2];

	(void)state;
	for (i = 0; i < 500; i++) {
		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		discard_fd(p[1]);
		assert_int_equal(fcntl(p[1], F_GETFD), -1);
		close(p[0]);
	}
}

static void
test_sockets_and_memory_files_need_no_thread(void **state)
{
	struct linger l = {.l_onoff = 1, .l_linger = 100};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_not_equal(fd, -1);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
	discard_fd(fd);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	fd = memfd_create("test", MFD_CLOEXEC);
	assert_int_not_equal(fd, -1);
	discard_fd(fd);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_I14_nothing_is_left_for_a_fork),
	    cmocka_unit_test(test_sockets_and_memory_files_need_no_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
