/*
 * parent_exec.c: a child of the parent's between fork and exec.  It has the parent's rights until it
 * drops them itself (sandbox.c); nothing foreign is read here.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "parent.h"

/*
 * A terminal is open for reading as well, and flags set on it or on a pipe would be the parent's
 * too: a child gets its own, for writing alone.  A file or socket stays as it is.
 */
static void
open_own_log(void)
{
	struct stat st;
	int fd;

	if (fstat(2, &st) == -1 || (!S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode)))
		return;
	/* O_NONBLOCK: a pipe whose reader is gone */
	fd = open("/proc/self/fd/2", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return;
	if (fcntl(fd, F_SETFL, O_WRONLY) == 0)
		(void)dup2(fd, 2);
	close(fd);
}

/* Between fork and exec: the channel at 3, the log at 2, nothing else. */
void
parent_exec_child(const struct parent *p, enum proc proc, int channel)
{
	static char *const no_environment[] = {NULL};
	char name[32];
	char *argv[] = {name, NULL};
	int null, program;

	(void)snprintf(name, sizeof(name), "opampd-%s", proc_name(proc));
	open_own_log();
	(void)setsid(); /* a terminal's Ctrl-C is for the parent, which ends the others in order */
	null = open("/dev/null", O_RDWR);
	program = fcntl(p->programs[proc], F_DUPFD_CLOEXEC, 10);
	if (null == -1 || program == -1 || dup2(null, 0) == -1 || dup2(null, 1) == -1)
		_exit(126);
	if (channel == CHILD_CHANNEL_FD ? fcntl(channel, F_SETFD, 0) == -1
					: dup2(channel, CHILD_CHANNEL_FD) == -1)
		_exit(126);
	if (close_range(4, (unsigned)program - 1, 0) == -1 ||
	    close_range((unsigned)program + 1, ~0u, 0) == -1)
		_exit(126);
	(void)syscall(SYS_execveat, program, "", argv, no_environment, AT_EMPTY_PATH);
	_exit(127);
}
