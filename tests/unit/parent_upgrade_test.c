/*
 * parent_upgrade_test.c: what a child that was taken over left to the parent does not hold up an upgrade: a
 * descriptor whose close waits for whom it belongs to.  close() is this file's, so that it can wait, and
 * waitid(), so that any program is fit for an upgrade.
 */
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "privsep/child.h"
#include "privsep/discard.h"
#include "privsep/notify.h"
#include "privsep/parent.h"

static struct parent parent;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int hang;       /* a close by another thread does not come back */
static unsigned apart; /* so many were closed by another thread */

int
close(int fd)
{
	int r = (int)syscall(SYS_close, fd);

	if (syscall(SYS_gettid) == getpid())
		return r;
	(void)pthread_mutex_lock(&lock);
	apart++;
	while (hang)
		(void)pthread_cond_wait(&changed, &lock);
	(void)pthread_mutex_unlock(&lock);
	return r;
}

/* Whatever the new program said when it was asked. */
int
waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	int r = (int)syscall(SYS_waitid, type, id, info, options, NULL);

	if (r == 0 && info->si_pid != 0 && info->si_pid == parent.upgrade.pid) {
		info->si_code = CLD_EXITED;
		info->si_status = UPGRADE_FIT;
	}
	return r;
}

static void
let(int hangs)
{
	(void)pthread_mutex_lock(&lock);
	hang = hangs;
	(void)pthread_cond_broadcast(&changed);
	(void)pthread_mutex_unlock(&lock);
}

static void
until_closed(void)
{
	while (discard_pending() != 0)
		(void)usleep(1000);
}

static void
begin(void)
{
	static char program[] = "/nonexistent/opampd";

	let(0);
	memset(&parent, 0, sizeof(parent));
	parent.base = event_base_new();
	assert_non_null(parent.base);
	parent.version = "1";
	parent_ready_begin(&parent, 1000);
	parent.program = program;
	parent.settings_name = "/nonexistent/opampd.yaml";
	parent.upgrade.program = parent.upgrade.pidfd = parent.guard.pidfd = parent.guard.channel =
	    -1;
}

static void
end(void)
{
	if (parent.upgrade.step != NULL)
		event_free(parent.upgrade.step);
	if (parent.upgrade.deadline != NULL)
		event_free(parent.upgrade.deadline);
	event_free(parent.ready.news);
	event_free(parent.ready.limit);
	event_free(parent.ready.again);
	event_free(parent.ready.watchdog);
	event_base_free(parent.base);
}

/* What is said when an upgrade is asked for. */
static const char *
ask(void)
{
	static char text[4096];
	int fd = memfd_create("log", MFD_CLOEXEC), kept = dup(2);
	ssize_t n;

	assert_true(fd >= 0 && kept >= 0);
	assert_int_equal(dup2(fd, 2), 2);
	log_init("test", LOG_SINK_STDERR, LOG_LEVEL_ERROR);
	parent_upgrade(&parent);
	log_init("test", LOG_SINK_STDERR, LOG_LEVEL_NOTHING);
	assert_int_equal(dup2(kept, 2), 2);
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	close(fd);
	close(kept);
	assert_int_equal(parent.upgrade.stage, UPGRADE_NONE);
	return text;
}

/* The exec would wait for that thread, with all signals blocked and no child of ours left. */
static void
test_I9_a_close_that_hangs(void **state)
{
	int p[2];

	(void)state;
	begin();
	let(1);
	assert_int_equal(pipe(p), 0);
	discard_fd(p[1]);
	assert_int_equal(discard_pending(), 1);
	assert_non_null(strstr(ask(), "is not closed yet"));
	let(0);
	until_closed();
	assert_non_null(strstr(ask(), "/nonexistent")); /* nothing else is in its way */
	close(p[0]);
	end();
}

/* ---- until the exec, in a process of its own */

static int
manager_socket(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char name[64];
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(name, sizeof(name), "@opampd-upgrade-test-%d", getpid());
	memcpy(sun.sun_path, name, strlen(name));
	sun.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&sun,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
	    0);
	assert_int_equal(setenv("WATCHDOG_USEC", "7200000000", 1), 0);
	(void)unsetenv("WATCHDOG_PID");
	notify_init(name);
	return fd;
}

/* What it was told last, and how many words in all. */
static unsigned
last_word(int fd, char *text, size_t size)
{
	unsigned words = 0;
	ssize_t n;

	text[0] = '\0';
	for (; (n = recv(fd, text, size - 1, 0)) > 0; words++) {
		text[n] = '\0';
		text[strcspn(text, "\n")] = '\0';
	}
	return words;
}

/* A parent without children and agent, whose new program is one that only ends. */
static void
make_quiet(void)
{
	static char program[] = "/bin/true", root[] = "/", *argv[] = {program, NULL},
		    *nothing[] = {NULL};
	size_t i;
	int fd;

	begin();
	parent.program = program;
	parent.settings_name = "/etc/passwd"; /* never read: a file of root's that is there */
	parent.unprivileged = geteuid() != 0;
	parent.cwd = root;
	parent.argv = argv;
	parent.environment = nothing;
	parent.state_dir = parent.control = parent.link_listener = parent.cgroup.base = -1;
	for (i = 0; i < AGENT_SLOTS; i++)
		parent.agents[i].pidfd = -1;
	fd = open(parent.settings_name, O_RDONLY | O_CLOEXEC);
	if (fd == -1 || parent_identity(fd, parent.settings_id) == -1)
		_exit(90);
	close(fd);
}

/* Never returns: it becomes the new program, or ends with another status. */
static void __attribute__((noreturn)) upgrade_with_a_close(int said, int from, int hung)
{
	unsigned i;

	make_quiet();
	let(1);
	parent_upgrade(&parent);
	discard_fd(hung); /* sent while the program was asked */
	while (parent.upgrade.stage == UPGRADE_CHECK)
		(void)event_base_loop(parent.base, EVLOOP_ONCE);
	for (i = 0; i < 20; i++)
		(void)event_base_loop(parent.base, EVLOOP_ONCE);
	if (parent.upgrade.stage != UPGRADE_HOLD || discard_pending() != 1)
		_exit(91);
	(void)!write(said, "waits", 5);
	if (read(from, &i, 1) != 1)
		_exit(92);
	let(0);
	while (parent.upgrade.stage == UPGRADE_HOLD)
		(void)event_base_loop(parent.base, EVLOOP_ONCE);
	_exit(93); /* it was taken back */
}

/*
 * One that hangs when the children end is waited for; and the last word before the exec is for the watchdog,
 * since the new program's first comes only when it has read its settings.
 */
static void
test_I9_a_close_that_is_waited_for(void **state)
{
	int said[2], go[2], hung[2], manager = manager_socket(), status;
	char text[256];
	unsigned words;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(said, O_CLOEXEC) | pipe2(go, O_CLOEXEC) | pipe2(hung, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		upgrade_with_a_close(said[1], go[0], hung[1]);
	close(said[1]);
	close(go[0]);
	memset(text, 0, sizeof(text));
	assert_int_equal(read(said[0], text, 5), 5);
	assert_string_equal(text, "waits");
	words = last_word(manager, text, sizeof(text));
	assert_int_equal(words, 2); /* the first one at the start */
	assert_string_equal(text, "STATUS=looking at the new program");
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(read(said[0], text, 5), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0); /* the new program's */
	assert_int_equal(last_word(manager, text, sizeof(text)), 1);
	assert_string_equal(text, "WATCHDOG=1");
	close(said[0]);
	close(go[1]);
	close(hung[0]);
	close(hung[1]);
	close(manager);
}

static void
send_descriptor(int to, int fd)
{
	struct iovec iov = {(char[]){"?"}, 1};
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.align = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct msghdr h = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space)};

	memcpy(CMSG_DATA(&control.align), &fd, sizeof(int));
	assert_int_equal(sendmsg(to, &h, 0), 1);
}

/* It is not read any more; closing the channel alone would close what it sent in the parent's loop. */
static void
test_I14_what_the_guard_sent(void **state)
{
	static char storage[] = "/nonexistent";
	struct upgrade_state taken = {.upgrades = 1, .cgroup = -1};
	int sv[2], p[2];
	unsigned before;
	pid_t pid;

	(void)state;
	begin();
	parent.command.storage_path = storage;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
	send_descriptor(sv[1], p[1]);
	close(p[1]);
	close(sv[1]);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(0);
	taken.guard_pid = pid;
	taken.guard_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	taken.guard_channel = sv[0];
	parent.taken = &taken;
	before = apart;
	parent_takeover(&parent);
	while (parent.guard.pid != 0)
		(void)event_base_loop(parent.base, EVLOOP_ONCE);
	until_closed();
	assert_int_equal(apart, before + 1);
	assert_int_equal(read(p[0], &pid, 1), 0); /* and it is closed */
	close(p[0]);
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_I9_a_close_that_hangs),
	    cmocka_unit_test(test_I14_what_the_guard_sent),
	    cmocka_unit_test(test_I9_a_close_that_is_waited_for),
	};

	log_init("test", LOG_SINK_STDERR, LOG_LEVEL_NOTHING);
	return cmocka_run_group_tests_name("parent_upgrade", tests, NULL, NULL);
}
