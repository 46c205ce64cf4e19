/*
 * agent_init.c: process 1 of the agent's PID namespace (see agent_init.h).  A copy of the parent that
 * has nothing of it but its memory, which nobody can read: not dumpable, the agent's user, no
 * capability, no file, and three system calls.  It reads nothing but how its children ended.
 */
#include "agent_init.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_clone.h"
#include "agent_spawn.h"
#include "sandbox.h"

#define TO_FD      AGENT_INIT_FD
#define AGENT_FD   4
#define BEGIN_MS   5000 /* for what is a few system calls */
#define FDINFO_MAX 4096

enum word {
	WORD_NONE,
	WORD_BEGUN, /* with the agent's pidfd */
	WORD_FAILED,
	WORD_ENDED
};

struct said {
	uint32_t word;
	int32_t value; /* errno, or a wait status */
};

/* ---- process 1 */

static void
fail(int error)
{
	struct said s = {WORD_FAILED, error};

	(void)!write(TO_FD, &s, sizeof(s));
	_exit(125);
}

/* Only the two that it needs. */
static int
descriptors(int to, int agent)
{
	int high_to = fcntl(to, F_DUPFD_CLOEXEC, 20),
	    high_agent = fcntl(agent, F_DUPFD_CLOEXEC, 20);

	if (high_to == -1 || high_agent == -1 || dup2(high_to, TO_FD) == -1 ||
	    dup2(high_agent, AGENT_FD) == -1)
		return -1;
	return close_range(0, TO_FD - 1, 0) | close_range(AGENT_FD + 1, ~0u, 0);
}

/* The agent's user and no capability of any kind, so that nothing is gained by taking it over. */
static int
drop(const struct agent_command *c)
{
	struct error err;

	if (sandbox_bounding(0, &err) == -1)
		return -1;
	if (!c->unprivileged &&
	    (setgroups(0, NULL) == -1 || setresgid(c->gid, c->gid, c->gid) == -1 ||
		setresuid(c->uid, c->uid, c->uid) == -1))
		return -1;
	if (sandbox_capabilities(0, &err) == -1)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) | prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static int
no_files(void)
{
	int abi = sandbox_landlock_abi(), set;
	struct error err;

	if (abi == 0)
		return 0;
	set = sandbox_landlock_begin(abi, 1, 1, &err);
	return set == -1 ? -1 : sandbox_landlock_end(set, &err);
}

/* The socket is shared with nobody: that its other end is closed means that the parent is gone. */
static void
end_with_parent(void)
{
	struct pollfd p = {.fd = TO_FD};

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == -1 || poll(&p, 1, 0) != 0)
		_exit(125);
}

static int
tell_begun(void)
{
	struct said s = {WORD_BEGUN, 0};
	struct iovec iov = {&s, sizeof(s)};
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr h = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space)};
	const int fd = AGENT_FD;

	memset(&control, 0, sizeof(control));
	control.align.cmsg_len = CMSG_LEN(sizeof(int));
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(int));
	return sendmsg(TO_FD, &h, MSG_NOSIGNAL) == sizeof(s) ? close(AGENT_FD) : -1;
}

/* Until the agent has ended; then its orphans are the kernel's to end. */
static void
reap(pid_t agent)
{
	struct said s = {WORD_ENDED, 0};
	pid_t pid;

	do
		pid = waitpid(-1, &s.value, 0);
	while (pid != agent && (pid != -1 || errno == EINTR));
	if (pid == agent)
		(void)!write(TO_FD, &s, sizeof(s));
	_exit(0);
}

/* It would be called as the parent is, whose copy it is. */
static void
take_title(const struct agent_command *c)
{
	static const char title[] = "opampd-init: process 1 of the agent's own";
	size_t n = strlen(title);

	(void)prctl(PR_SET_NAME, "opampd-init", 0, 0, 0);
	if (c->title_size < 2)
		return;
	memset(c->title, 0, c->title_size);
	memcpy(c->title, title, n < c->title_size ? n : c->title_size - 1);
}

void
agent_init(const struct agent_command *c, int to)
{
	int pidfd = -1;
	pid_t agent = agent_clone(0, -1, &pidfd);
	struct error err;

	if (agent == 0)
		return;
	if (agent == -1) {
		struct said s = {WORD_FAILED, errno};

		(void)!write(to, &s, sizeof(s));
		_exit(125);
	}
	take_title(c);
	(void)setsid();
	if (descriptors(to, pidfd) == -1)
		_exit(125);
	if (chdir("/") == -1 || drop(c) == -1)
		fail(errno);
	end_with_parent();
	if (no_files() == -1 || tell_begun() == -1)
		fail(errno);
	if (sandbox_seccomp(&policy_init, &err) == -1)
		_exit(125); /* before the parent lets the agent go on: it ends with us */
	reap(agent);
}

/* ---- the parent */

static int
wait_for(int from)
{
	struct pollfd p = {.fd = from, .events = POLLIN};
	int n;

	do
		n = poll(&p, 1, BEGIN_MS);
	while (n == -1 && errno == EINTR);
	if (n == 0)
		errno = ETIMEDOUT;
	return n == 1 ? 0 : -1;
}

/* A pidfd's number in our own PID namespace, as the kernel shows it. */
pid_t
agent_number_of(int pidfd)
{
	char path[64], text[FDINFO_MAX];
	const char *line;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	line = strstr(text, "\nPid:");
	n = line == NULL ? -1 : strtol(line + 5, NULL, 10);
	if (n <= 0)
		errno = ESRCH;
	return n > 0 ? (pid_t)n : -1;
}

int
agent_init_begun(int from, pid_t *pid, int *pidfd)
{
	struct said s = {WORD_NONE, 0};
	struct iovec iov = {&s, sizeof(s)};
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr h = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space)};
	struct cmsghdr *cm;
	ssize_t n;

	*pidfd = -1;
	if (wait_for(from) == -1)
		return -1;
	n = recvmsg(from, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	cm = n >= 0 ? CMSG_FIRSTHDR(&h) : NULL;
	if (cm != NULL && cm->cmsg_type == SCM_RIGHTS && cm->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(pidfd, CMSG_DATA(cm), sizeof(int));
	if (n == sizeof(s) && s.word == WORD_BEGUN && *pidfd >= 0) {
		*pid = agent_number_of(*pidfd);
		if (*pid > 0)
			return 0;
	} else if (n >= 0) {
		errno = n == sizeof(s) && s.word == WORD_FAILED ? s.value : ECHILD;
	}
	if (*pidfd >= 0)
		close(*pidfd);
	*pidfd = -1;
	return -1;
}

int
agent_init_ended(int from, int *status)
{
	struct said s;

	if (recv(from, &s, sizeof(s), MSG_DONTWAIT) != sizeof(s) || s.word != WORD_ENDED)
		return 0;
	*status = s.value;
	return 1;
}
