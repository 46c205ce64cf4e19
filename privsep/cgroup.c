/*
 * cgroup.c: the agent's groups (see cgroup.h).  The parent only; reads kernel texts, bounded.
 */
#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

static int
read_text(int dir, const char *name, char *buf, size_t size)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd == -1)
		return -1;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return -1;
	buf[n] = '\0';
	return 0;
}

static int
write_text(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CLOEXEC), r;

	if (fd == -1)
		return -1;
	r = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
	close(fd);
	return r;
}

/* Where cgroup2 is mounted: the field before " - cgroup2" in mountinfo is the fifth. */
static int
find_mount(char *path, size_t size)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096], point[2048];
	int found = -1;

	if (f == NULL)
		return -1;
	while (found == -1 && fgets(line, sizeof(line), f) != NULL)
		if (strstr(line, " - cgroup2 ") != NULL &&
		    sscanf(line, "%*s %*s %*s %*s %2047s", point) == 1) {
			(void)snprintf(path, size, "%s", point);
			found = 0;
		}
	fclose(f);
	return found;
}

static int
own_group(char *path, size_t size)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[2048];
	int found = -1;

	if (f == NULL)
		return -1;
	while (found == -1 && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "0::", 3) == 0) {
			line[strcspn(line, "\n")] = '\0';
			(void)snprintf(path, size, "%s", line + 3);
			found = 0;
		}
	fclose(f);
	return found;
}

/* Kills what is in the group and removes it.  1: gone; 0: its processes still have to end. */
static int
sweep_named(struct cgroup *c, const char *name)
{
	int dir = openat(c->base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir == -1)
		return 1;
	if (unlinkat(c->base, name, AT_REMOVEDIR) == 0) { /* nobody in it, the usual case */
		close(dir);
		return 1;
	}
	(void)write_text(dir, "cgroup.kill", "1");
	close(dir);
	return unlinkat(c->base, name, AT_REMOVEDIR) == 0;
}

/* SIGKILL is delivered: the wait is for the kernel to take the processes apart. */
static int
sweep_and_wait(struct cgroup *c, const char *name)
{
	struct timespec pause = {0, 2000000};
	int i;

	for (i = 0; i < 500; i++) {
		if (sweep_named(c, name))
			return 1;
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

static void
sweep_leftovers(struct cgroup *c)
{
	int fd = dup(c->base);
	DIR *d = fd == -1 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL)
		if (strncmp(e->d_name, c->prefix, strlen(c->prefix)) == 0) {
			log_warn("an earlier run left the group %s behind: ended and removed",
			    e->d_name);
			if (!sweep_and_wait(c, e->d_name))
				log_error(
				    "cannot remove the group %s: %s", e->d_name, strerror(errno));
		}
	closedir(d);
}

void
cgroup_init(struct cgroup *c, const char *key)
{
	char mount[2048], group[2048], path[4200], probe[64];
	uint64_t h = 14695981039346656037u;

	c->base = -1;
	for (; *key != '\0'; key++)
		h = (h ^ (unsigned char)*key) * 1099511628211u;
	(void)snprintf(c->prefix, sizeof(c->prefix), "opampd-%016llx-", (unsigned long long)h);
	if (find_mount(mount, sizeof(mount)) == -1 || own_group(group, sizeof(group)) == -1)
		return;
	(void)snprintf(path, sizeof(path), "%s%s", mount, group);
	c->base = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->base == -1)
		return;
	sweep_leftovers(c);
	(void)snprintf(probe, sizeof(probe), "%sprobe", c->prefix);
	if (mkdirat(c->base, probe, 0755) == -1) {
		log_debug("no cgroups to be made below %s: %s", path, strerror(errno));
		close(c->base);
		c->base = -1;
		return;
	}
	(void)unlinkat(c->base, probe, AT_REMOVEDIR);
}

static void
limit(int dir, const char *file, uint64_t value)
{
	char text[32];

	if (value == 0)
		return;
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	if (write_text(dir, file, text) == -1)
		log_warn("agent.limits: this host's cgroups have no %s: the limit is not in force",
		    file);
}

int
cgroup_make(
    struct cgroup *c, uint32_t start, uint64_t memory, uint64_t processes, struct error *err)
{
	char name[80];
	int dir;

	(void)snprintf(name, sizeof(name), "%s%u", c->prefix, start);
	/* one that is there already was killed and could not be removed: not that one again */
	if (mkdirat(c->base, name, 0755) == -1)
		return error_errno(err, "making the cgroup %s", name);
	dir = openat(c->base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir == -1)
		return error_errno(err, "opening the cgroup %s", name);
	limit(dir, "memory.max", memory);
	limit(dir, "pids.max", processes);
	return dir;
}

int
cgroup_kill_fd(int group)
{
	return openat(group, "cgroup.kill", O_WRONLY | O_CLOEXEC);
}

int
cgroup_was_oom(int group)
{
	char text[512];
	const char *s;

	if (read_text(group, "memory.events", text, sizeof(text)) == -1)
		return 0;
	s = strstr(text, "oom_kill ");
	return s != NULL && strtoul(s + 9, NULL, 10) > 0;
}

int
cgroup_sweep(struct cgroup *c, uint32_t start)
{
	char name[80];

	(void)snprintf(name, sizeof(name), "%s%u", c->prefix, start);
	return sweep_named(c, name);
}
