/*
 * relay.c: stands in for any of opampd's processes and hands its place to a test: what the parent gave it
 * (the channel) is passed to the socket named "relay.sock" beside it, with its name; then it waits to be
 * killed, or for the test to let it go.  The test is then whoever took that process over.  Tests only
 * (tests/lib/taken.py).
 *
 * As merge it lets the real one (merge.real beside it) read the settings: without those there is no daemon.
 * With the file relay.settings beside it, it takes these over as well.
 */
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "privsep/child.h"

struct first { /* message on the channel, as channel.c writes it */
	uint32_t head[4];
	struct msg_start start;
};

static void
let_the_real_one_do(const char *dir)
{
	char path[PATH_MAX + 32];
	char name[] = "opampd-merge", *argv[] = {name, NULL}, *env[] = {NULL};
	struct first first = {0};

	(void)snprintf(path, sizeof(path), "%s/relay.settings", dir);
	if (access(path, F_OK) == 0 ||
	    recv(CHILD_CHANNEL_FD, &first, sizeof(first), MSG_PEEK) != (ssize_t)sizeof(first) ||
	    first.start.merge_kind != MERGE_SETTINGS)
		return;
	(void)snprintf(path, sizeof(path), "%s/merge.real", dir);
	(void)execve(path, argv, env);
	_exit(126);
}

static int
hand_over(int to, const char *name)
{
	char line[64];
	struct iovec iov = {line, 0};
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr h = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space)};
	int fd = CHILD_CHANNEL_FD;

	memset(&control, 0, sizeof(control));
	iov.iov_len = (size_t)snprintf(line, sizeof(line), "%s %d", name, (int)getpid());
	control.align.cmsg_len = CMSG_LEN(sizeof(int));
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	return sendmsg(to, &h, MSG_NOSIGNAL) == -1 ? -1 : 0;
}

int
main(int argc, char **argv)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char self[PATH_MAX], *slash;
	const char *name = argc == 1 ? strrchr(argv[0], '-') : NULL;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int s;

	if (name == NULL || n <= 0)
		return 2;
	self[n] = '\0';
	slash = strrchr(self, '/');
	*slash = '\0';
	if (strcmp(++name, "merge") == 0)
		let_the_real_one_do(self);
	if (strlen(self) + sizeof("/relay.sock") > sizeof(sun.sun_path))
		return 2;
	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%.90s/relay.sock", self);
	s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (s == -1 || connect(s, (struct sockaddr *)&sun, sizeof(sun)) == -1 ||
	    hand_over(s, name) == -1)
		return 2;
	close(CHILD_CHANNEL_FD);
	(void)prctl(PR_SET_PDEATHSIG, 9);
	(void)!read(s, self, 1); /* the end of file is the test's leave */
	return 0;
}
