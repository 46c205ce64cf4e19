/*
 * sandbox_test.c: each policy as the kernel enforces it: a child enters it and does one thing.
 * (The tests of the real processes in their real sandbox are in tests/system/prison.t.)
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "privsep/log.h"
#include "privsep/sandbox.h"

typedef int (*deed)(void); /* 0 done, else errno */

/* The wait status of a child that entered the policy and did the deed. */
static int
after(const struct policy *p, deed what)
{
	struct msg_start start = {.uid = 65534, .gid = 65534};
	struct sandbox_result result;
	struct error err;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (getuid() != 0)
			start.flags = CHILD_UNPRIVILEGED;
		if (sandbox_enter(p, &start, &result, &err) == -1) {
			dprintf(2, "%s\n", err.text);
			_exit(200);
		}
		_exit(what());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int
killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static int
do_nothing(void)
{
	return 0;
}

static int
do_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) == -1 ? errno : 0;
}

static int
do_open(void)
{
	return syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY) == -1 ? errno : 0;
}

static int
do_exec(void)
{
	char *argv[] = {NULL};

	return syscall(SYS_execve, "/bin/true", argv, argv) == -1 ? errno : 0;
}

static int
do_kill(void)
{
	return syscall(SYS_kill, getppid(), 0) == -1 ? errno : 0;
}

static int
do_fork(void)
{
	return (int)syscall(SYS_fork);
}

static int
do_map_executable(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		       MAP_FAILED
		   ? errno
		   : 0;
}

static const struct policy *const all[] = {
    &policy_netd, &policy_link, &policy_confd, &policy_procd, &policy_merge};
#define COUNT (sizeof(all) / sizeof(all[0]))

static void
test_I5_every_policy_can_be_entered(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < COUNT; i++)
		assert_int_equal(after(all[i], do_nothing), 0);
	assert_int_equal(after(&policy_connect, do_nothing), 0);
}

static void
test_I3_no_socket(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < COUNT; i++)
		assert_true(killed(after(all[i], do_socket)));
}

static void
test_I5_no_program_no_fork_no_signal(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < COUNT; i++) {
		assert_true(killed(after(all[i], do_exec)));
		assert_true(killed(after(all[i], do_fork)));
		assert_true(killed(after(all[i], do_kill)));
	}
	assert_true(killed(after(&policy_connect, do_exec)));
	assert_true(killed(after(&policy_connect, do_kill)));
}

static void
test_I5_no_executable_memory(void **state)
{
#ifdef OPAMPD_SANITIZED
	skip(); /* the sanitizers' own rows allow any mapping */
#endif
	size_t i;

	(void)state;
	for (i = 0; i < COUNT; i++)
		assert_true(killed(after(all[i], do_map_executable)));
}

static void
test_I3_no_file(void **state)
{
#ifdef OPAMPD_SANITIZED
	skip(); /* the sanitizers open files for their reports */
#endif
	int status;

	(void)state;
	assert_true(killed(after(&policy_netd, do_open)));
	assert_true(killed(after(&policy_link, do_open)));
	assert_true(killed(after(&policy_procd, do_open)));
	assert_true(killed(after(&policy_merge, do_open)));
	assert_true(killed(after(&policy_confd, do_open))); /* openat only for directories */
	status = after(&policy_connect, do_open);
	assert_int_equal(WEXITSTATUS(status), 0); /* /etc is the resolver's */
}

static int
do_confess(void)
{
	struct rlimit core;
	char byte;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 1;
	if (getrlimit(RLIMIT_CORE, &core) == -1 || core.rlim_max != 0)
		return 2;
	if (getuid() == 0 || geteuid() == 0)
		return 3;
	(void)byte;
	return 0;
}

static void
test_I5_no_new_privs_not_dumpable_no_core_not_root(void **state)
{
	/* the questions themselves are not on any allow-list: ask under a deny-list */
	struct policy p = policy_netd;

	(void)state;
	p.deny_list = 1;
	p.syscalls = policy_agent.syscalls;
	assert_int_equal(after(&p, do_confess), 0);
}

static int
do_mptcp(void)
{
	return socket(AF_INET, SOCK_STREAM, 262) == -1 ? errno : 0;
}

static int
do_unshare(void)
{
	return (int)syscall(SYS_unshare, 0x10000000);
}

/* The kernel looks at the lower half of an int; a filter that compares all of it can be passed. */
#define HIGH 0x100000000ul

static int
do_mptcp_with_high_bits(void)
{
	return syscall(SYS_socket, AF_INET | HIGH, SOCK_STREAM | HIGH, 262 | HIGH) == -1 ? errno
											 : 0;
}

static int
do_tiocsti_with_high_bits(void)
{
	return syscall(SYS_ioctl, 0, TIOCSTI | HIGH, "x") == -1 ? errno : 0;
}

static int
do_connect_by_fast_open(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&sin, sizeof(sin)) == -1 ? errno
											    : 0;
}

static int listener; /* made before the sandbox, as link's is */

/* A taken-over confd must not leave a program for local users that runs as its user. */
static int
do_set_user_id(void)
{
	return syscall(SYS_fchmod, listener, 04711) == -1 ? errno : 0;
}

static int
do_open_to_others(void)
{
	return syscall(SYS_fchmod, listener, 0604) == -1 ? errno : 0;
}

static void
make_listener(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

	listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(listener, 1), 0);
}

static int
do_end_listener(void)
{
	return shutdown(listener, SHUT_RDWR) == -1 ? errno : 0;
}

static int
do_leave(void)
{
	return shutdown(listener, SHUT_WR) == -1 ? errno : 0;
}

static int
do_fast_open_on_listener(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

	return sendto(listener, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&sin, sizeof(sin)) == -1
		   ? errno
		   : 0;
}

/* The listener outlives link: a link that was taken over must not end it, nor connect with it. */
static void
test_I14_link_cannot_end_its_listener_nor_connect(void **state)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);
	int client;

	(void)state;
	make_listener();
	assert_true(killed(after(&policy_link, do_end_listener)));
	assert_true(killed(after(&policy_netd, do_end_listener)));
	assert_true(killed(after(&policy_link, do_fast_open_on_listener)));
	assert_int_equal(WEXITSTATUS(after(&policy_link, do_leave)), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sin, &len), 0);
	client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&sin, len), 0);
	close(client);
	close(listener);
}

static int
do_huge_memory_file(void)
{
	return syscall(SYS_memfd_create, "x", 1 | MFD_HUGETLB) == -1 ? errno : 0;
}

static int
do_memory_file(void)
{
	return syscall(SYS_memfd_create, "x", MFD_CLOEXEC | MFD_ALLOW_SEALING | 8) == -1 &&
		       errno != EINVAL /* before Linux 6.3 */
		   ? errno
		   : 0;
}

static void
test_I11_memory_files_not_from_huge_pages(void **state)
{
	(void)state;
	assert_true(killed(after(&policy_netd, do_huge_memory_file)));
	assert_true(killed(after(&policy_merge, do_huge_memory_file)));
	assert_int_equal(after(&policy_netd, do_memory_file), 0);
}

static int channel_end; /* made before the fork: its peer is the parent */

static int
do_ask_for_pidfd(void)
{
	int fd = -1;
	socklen_t len = sizeof(fd);

	return getsockopt(channel_end, SOL_SOCKET, 77 /* SO_PEERPIDFD */, &fd, &len) == -1 ? errno
											   : 0;
}

static int
do_ask_for_type(void)
{
	int type;
	socklen_t len = sizeof(type);

	return getsockopt(channel_end, SOL_SOCKET, SO_TYPE, &type, &len) == -1 ? errno : 0;
}

/* A pidfd of the parent in procd's hands, with its CAP_KILL, would be the end of everything. */
static void
test_I9_nobody_gets_the_parents_pidfd_from_its_channel(void **state)
{
	int sv[2];
	size_t i;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
	channel_end = sv[1];
	for (i = 0; i < COUNT; i++) {
		assert_true(killed(after(all[i], do_ask_for_pidfd)));
		if (all[i] != &policy_merge) /* which takes no more sockets */
			assert_int_equal(after(all[i], do_ask_for_type), 0);
	}
	assert_true(killed(after(&policy_connect, do_ask_for_pidfd)));
	close(sv[0]);
	close(sv[1]);
}

static void
test_I13_the_agents_deny_list(void **state)
{
	struct policy p = policy_agent;
	static const struct landlock_path none[] = {{NULL, 0}};

	(void)state;
	p.paths = none;
	assert_int_equal(WEXITSTATUS(after(&p, do_mptcp)), EPROTONOSUPPORT);
	assert_int_equal(WEXITSTATUS(after(&p, do_mptcp_with_high_bits)), EPROTONOSUPPORT);
	assert_true(killed(after(&p, do_tiocsti_with_high_bits)));
	assert_int_equal(WEXITSTATUS(after(&p, do_connect_by_fast_open)), EOPNOTSUPP);
	assert_true(killed(after(&p, do_unshare)));
	assert_int_equal(WEXITSTATUS(after(&p, do_socket)), 0);
}

static void
test_every_row_says_why(void **state)
{
	size_t i;

	(void)state;
	for (i = PROC_PARENT; i < PROC_COUNT; i++) {
		const struct syscall_rule *r;

		for (r = policy_of((enum proc)i)->syscalls; r->name != NULL; r++)
			assert_true(r->why != NULL && r->why[0] != '\0');
	}
}

static void
test_I5_confd_makes_nothing_for_other_users(void **state)
{
	(void)state;
	assert_true(killed(after(&policy_confd, do_set_user_id)));
	assert_true(killed(after(&policy_confd, do_open_to_others)));
}

/* ---- the log, which all share */

static int
do_shut_log(void)
{
	return (int)syscall(SYS_shutdown, 2, SHUT_WR);
}

static int
do_shut_log_by_high_bits(void)
{
	return (int)syscall(SYS_shutdown, (1ul << 32) + 2, SHUT_WR);
}

static int
do_unappend_log(void)
{
	return (int)syscall(SYS_fcntl, 2, F_SETFL, O_RDWR);
}

static int
do_overwrite_log(void)
{
	return (int)syscall(SYS_pwrite64, 2, "x", 1, 0);
}

static int
do_rewind_log(void)
{
	return (int)syscall(SYS_lseek, 2, 0, SEEK_SET);
}

static int
do_connect_log(void)
{
	struct sockaddr a = {.sa_family = AF_UNSPEC};

	return (int)syscall(SYS_connect, 2, &a, sizeof(a));
}

static int
do_send_log(void)
{
	struct msghdr h = {0};

	return (int)syscall(SYS_sendmsg, 2, &h, 0);
}

static int
do_read_log(void)
{
	char c;

	return (int)syscall(SYS_read, 2, &c, 0);
}

static int
do_write_log(void)
{
	return write(2, "", 1) == 1 ? 0 : 1;
}

static void
test_I14_nobody_ends_or_forges_the_log(void **state)
{
	static const deed deeds[] = {do_shut_log, do_shut_log_by_high_bits, do_unappend_log,
	    do_overwrite_log, do_rewind_log, do_connect_log, do_send_log, do_read_log};
	static const struct policy *const ours[] = {&policy_netd, &policy_link, &policy_confd,
	    &policy_procd, &policy_merge, &policy_connect};
	int sv[2], own = dup(2), passed = 0;
	size_t i, k;
	char c;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(dup2(sv[0], 2), 2);
	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		for (k = 0; k < sizeof(deeds) / sizeof(deeds[0]); k++)
			if (!killed(after(ours[i], deeds[k]))) {
				dprintf(own, "policy %zu: deed %zu on the log passes\n", i, k);
				passed++;
			}
	assert_int_equal(after(&policy_netd, do_write_log), 0);
	assert_int_equal(dup2(own, 2), 2);
	assert_int_equal(passed, 0);
	close(own);
	close(sv[0]);
	assert_int_equal(read(sv[1], &c, 1), 1); /* what netd wrote */
	close(sv[1]);
}

/* ---- what outlives whoever made it */

static int
do_linger(void)
{
	struct linger l = {1, 60000};

	return (int)syscall(SYS_setsockopt, 3, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

static int
do_source_route(void)
{
	return (int)syscall(SYS_setsockopt, 3, IPPROTO_IP, IP_OPTIONS, "", 0);
}

static int
do_keep_alive(void)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);

	return setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) == 0 ? 0 : errno;
}

/* The parent, or netd, would wait in close() for a peer that does not read. */
static void
test_I14_a_connection_cannot_be_made_to_linger(void **state)
{
	(void)state;
	assert_true(killed(after(&policy_connect, do_linger)));
	assert_true(killed(after(&policy_connect, do_source_route)));
	assert_int_equal(after(&policy_connect, do_keep_alive), 0);
}

static int
do_map_shared(void)
{
	return mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno
											    : 0;
}

/* RLIMIT_DATA does not count it. */
static void
test_I11_no_shared_memory(void **state)
{
	size_t i;

	(void)state;
#ifdef OPAMPD_SANITIZED
	skip(); /* the sanitizers' run time is let map what it likes */
#endif
	for (i = 0; i < COUNT; i++)
		assert_true(killed(after(all[i], do_map_shared)));
	assert_true(killed(after(&policy_connect, do_map_shared)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_I5_every_policy_can_be_entered),
	    cmocka_unit_test(test_I3_no_socket),
	    cmocka_unit_test(test_I5_no_program_no_fork_no_signal),
	    cmocka_unit_test(test_I5_no_executable_memory),
	    cmocka_unit_test(test_I3_no_file),
	    cmocka_unit_test(test_I5_confd_makes_nothing_for_other_users),
	    cmocka_unit_test(test_I5_no_new_privs_not_dumpable_no_core_not_root),
	    cmocka_unit_test(test_I14_link_cannot_end_its_listener_nor_connect),
	    cmocka_unit_test(test_I11_memory_files_not_from_huge_pages),
	    cmocka_unit_test(test_I9_nobody_gets_the_parents_pidfd_from_its_channel),
	    cmocka_unit_test(test_I14_nobody_ends_or_forges_the_log),
	    cmocka_unit_test(test_I14_a_connection_cannot_be_made_to_linger),
	    cmocka_unit_test(test_I11_no_shared_memory),
	    cmocka_unit_test(test_I13_the_agents_deny_list),
	    cmocka_unit_test(test_every_row_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
