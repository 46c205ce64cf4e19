/*
 * procfs_held.c: which descriptors a process has, by /proc/PID/fd (see procfs.h).  opampctl only.
 */
#include "procfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

/* By what the kernel shows of it, and only where that is a path by what it is. */
static enum held_kind
kind_of(int dir, const char *name)
{
	static const struct {
		const char *begins;
		enum held_kind kind;
	} known[] = {{"anon_inode:[eventpoll]", HELD_LOOP}, {"anon_inode:[eventfd]", HELD_LOOP},
	    {"pipe:", HELD_PIPE}, {"socket:", HELD_SOCKET}, {"/memfd:", HELD_MEMORY},
	    {"anon_inode:[pidfd]", HELD_PIDFD}, {"pidfd:", HELD_PIDFD}};
	static const char kill_file[] = "/cgroup.kill", deleted[] = " (deleted)";
	char target[512];
	struct stat st;
	ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
	size_t i;

	if (n <= 0)
		return HELD_OTHER;
	target[n] = '\0';
	if (strcmp(target, "/dev/null") == 0)
		return HELD_NULL;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strncmp(target, known[i].begins, strlen(known[i].begins)) == 0)
			return known[i].kind;
	if (ends_with(target, deleted)) /* a group that is gone */
		target[(size_t)n - strlen(deleted)] = '\0';
	if (ends_with(target, kill_file))
		return HELD_CGROUP;
	if (fstatat(dir, name, &st, 0) == -1)
		return HELD_OTHER;
	return S_ISREG(st.st_mode) ? HELD_FILE : S_ISDIR(st.st_mode) ? HELD_DIRECTORY : HELD_OTHER;
}

void
procfs_descriptors(struct procfs *p, int dir)
{
	int fd = openat(dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd == -1 ? NULL : fdopendir(fd);
	struct dirent *e;
	enum held_kind kind;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	p->descriptors = 0;
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.') {
			p->descriptors++;
			kind = kind_of(dirfd(d), e->d_name);
			p->held[kind]++;
			if (strcmp(e->d_name, "2") == 0)
				p->second = kind;
		}
	closedir(d);
}
