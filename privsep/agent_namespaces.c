/*
 * agent_namespaces.c: namespaces where the agent shares its user with us (see agent_namespaces.h), where
 * files are its own as well as ours and only Landlock stands between.  Landlock does not look at
 * everything: not at connecting to a socket, not at changes of modes, times and attributes, and before
 * Linux 6.2 not at truncate.  The mounts do.
 */
#include "agent_namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent_spawn.h"
#include "log.h"

/* libc's headers are older than the call */
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#define RDONLY   0x00000001u
#define AT_WHOLE 0x8000 /* AT_RECURSIVE */
#define OF_MOST  64     /* paths of agent.strict.write that are made writable again */

struct attributes { /* struct mount_attr */
	uint64_t set, clear, propagation, user_namespace;
};

static int
write_map(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r;

	if (fd == -1)
		return -1;
	r = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
	close(fd);
	return r;
}

/* Our files in /proc are ours while dumpable. */
static void
map_ids(const struct agent_command *c)
{
	char uids[64], gids[64];

	(void)snprintf(uids, sizeof(uids), "%u %u 1", c->uid, c->uid);
	(void)snprintf(gids, sizeof(gids), "%u %u 1", c->gid, c->gid);
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == -1 ||
	    write_map("/proc/self/setgroups", "deny") == -1 ||
	    write_map("/proc/self/uid_map", uids) == -1 ||
	    write_map("/proc/self/gid_map", gids) == -1)
		log_warn("mapping the agent's ids in its user namespace: %s", strerror(errno));
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static int
set_attributes(const char *path, unsigned flags, uint64_t set, uint64_t clear)
{
	struct attributes a = {.set = set, .clear = clear};

	return (int)syscall(SYS_mount_setattr, AT_FDCWD, path, flags, &a, sizeof(a));
}

/* Its own directory, then those of agent.strict.write; NULL: no more. */
static const char *
writable(const struct agent_command *c, size_t *pos, size_t *count, char path[PATH_MAX])
{
	struct record_entry e;

	if ((*count)++ == 0)
		return c->work_path;
	if (*count > OF_MOST || !settings_next(c->settings, pos, SET_STRICT_WRITE, &e))
		return NULL;
	(void)snprintf(path, PATH_MAX, "%.*s", (int)e.len, e.value);
	return path;
}

/* What is writable gets a mount of its own first, which the whole tree's change is then undone for. */
static int
only_its_own_is_writable(const struct agent_command *c)
{
	char buf[PATH_MAX];
	const char *path;
	size_t pos = 0, count = 0;

	while ((path = writable(c, &pos, &count, buf)) != NULL)
		if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) == -1 && errno != ENOENT)
			return -1;
	if (set_attributes("/", AT_WHOLE, RDONLY, 0) == -1)
		return -1;
	pos = count = 0;
	while ((path = writable(c, &pos, &count, buf)) != NULL)
		/* a mount below that was read-only before stays so */
		if (set_attributes(path, AT_WHOLE, 0, RDONLY) == -1 && errno != ENOENT)
			(void)set_attributes(path, 0, 0, RDONLY);
	return 0;
}

/* By the new mounts: by the old ones it would be writable for ever, and getcwd(3) finds no way to it. */
static void
work_dir_again(struct agent_command *c)
{
	struct stat before, after;
	int dir = open(c->work_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir >= 0 && fstat(dir, &after) == 0 && fstat(c->work_dir, &before) == 0 &&
	    after.st_dev == before.st_dev && after.st_ino == before.st_ino)
		c->work_dir = dir;
	else if (dir >= 0)
		close(dir);
}

void
agent_namespaces(struct agent_command *c)
{
	map_ids(c);
	/* mounts that the host makes later come along */
	if (unshare(CLONE_NEWNS) == -1 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == -1) {
		log_warn("mounts of its own for the agent: %s", strerror(errno));
		return;
	}
	/* with our uid it would be the operator at the control socket */
	if (c->control_path != NULL &&
	    mount("/dev/null", c->control_path, NULL, MS_BIND, NULL) == -1)
		log_warn("hiding the control socket from the agent: %s", strerror(errno));
	if (settings_u64(c->settings, SET_SANDBOX) != 0 && only_its_own_is_writable(c) == -1)
		log_warn("a read-only view of the host's files for the agent: %s", strerror(errno));
	work_dir_again(c);
}
