/*
 * agent_clone.c: fork with a pidfd, into namespaces and a cgroup (see agent_clone.h).
 */
#include "agent_clone.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* It has done nothing yet but wait for us, so that nobody of its own is left behind. */
static int
move(pid_t pid, int group)
{
	int fd = openat(group, "cgroup.procs", O_WRONLY | O_CLOEXEC), r;
	char text[16];

	if (fd == -1)
		return -1;
	(void)snprintf(text, sizeof(text), "%d", pid);
	r = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
	close(fd);
	return r;
}

/* Containers refuse clone3, whose flags no filter can see; what it does beyond clone is done afterwards. */
static pid_t
by_clone(uint64_t namespaces, int group, int *pidfd)
{
	pid_t pid = (pid_t)syscall(SYS_clone, (unsigned long)(namespaces | CLONE_PIDFD | SIGCHLD),
	    NULL, pidfd, NULL, NULL);
	int saved;

	if (pid > 0 && group >= 0 && move(pid, group) == -1) {
		saved = errno;
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		close(*pidfd);
		*pidfd = -1;
		errno = saved;
		return -1;
	}
	return pid;
}

pid_t
agent_clone(uint64_t namespaces, int group, int *pidfd)
{
	struct clone_args ca = {.flags = CLONE_PIDFD | namespaces, .exit_signal = SIGCHLD};
	pid_t pid;

	ca.pidfd = (__u64)(uintptr_t)pidfd;
	if (group >= 0) {
		ca.flags |= CLONE_INTO_CGROUP;
		ca.cgroup = (__u64)group;
	}
	pid = (pid_t)syscall(SYS_clone3, &ca, sizeof(ca));
	return pid == -1 && errno == ENOSYS ? by_clone(namespaces, group, pidfd) : pid;
}
