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
#include <sys/wait.h>
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
	(void)fclose(f);
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
	(void)fclose(f);
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

static void
set_prefix(struct cgroup *c, const char *key)
{
	uint64_t h = 14695981039346656037u;

	for (; *key != '\0'; key++)
		h = (h ^ (unsigned char)*key) * 1099511628211u;
	(void)snprintf(c->prefix, sizeof(c->prefix), "opampd-%016llx-", (unsigned long long)h);
}

void
cgroup_take_over(struct cgroup *c, const char *key, int base, int leaf, int told)
{
	c->base = base;
	c->leaf = leaf;
	c->told = told;
	set_prefix(c, key);
}

int
cgroup_take_group(struct cgroup *c, uint32_t start, int group, struct error *err)
{
	char link[64], path[4200];
	const char *name;
	struct stat mine, named;
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", group);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return error_errno(err, "the name of the agent's cgroup");
	path[n] = '\0';
	name = strrchr(path, '/');
	if (name == NULL || strlen(++name) >= sizeof(c->taken) || fstat(group, &mine) == -1 ||
	    fstatat(c->base, name, &named, AT_SYMLINK_NOFOLLOW) == -1 ||
	    mine.st_dev != named.st_dev || mine.st_ino != named.st_ino)
		return error_set(err, "the agent's cgroup %s is none of ours", path);
	(void)snprintf(c->taken, sizeof(c->taken), "%s", name);
	c->taken_start = start;
	return 0;
}

void
cgroup_init(struct cgroup *c, const char *key)
{
	char mount[2048], group[2048], path[4200], probe[64];

	c->base = -1;
	c->leaf = c->told = 0;
	set_prefix(c, key);
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

/* ---- limits: the controllers that keep them */

/* Is the word one of the file's? */
static int
has_word(int dir, const char *name, const char *word)
{
	char text[512], *state = NULL, *w;

	if (read_text(dir, name, text, sizeof(text)) == -1)
		return 0;
	for (w = strtok_r(text, " \n", &state); w != NULL; w = strtok_r(NULL, " \n", &state))
		if (strcmp(w, word) == 0)
			return 1;
	return 0;
}

static int
enable(struct cgroup *c, const char *controller)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "+%s", controller);
	return write_text(c->base, "cgroup.subtree_control", text);
}

/* By the kernel's word on whose child it is: /proc may hide the processes of other users. */
static int
is_ours(long pid)
{
	siginfo_t info;

	return pid == (long)getpid() ||
	       waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* Each process of the group by its number; -1 as soon as fn says so. */
static int
each_process(int group, int (*fn)(int to, long pid), int to)
{
	int fd = openat(group, "cgroup.procs", O_RDONLY | O_CLOEXEC), r = 0;
	FILE *f = fd == -1 ? NULL : fdopen(fd, "r");
	char line[32];

	if (f == NULL)
		return -1;
	while (r == 0 && fgets(line, sizeof(line), f) != NULL)
		r = fn(to, strtol(line, NULL, 10));
	(void)fclose(f);
	return r;
}

static int
refuse_stranger(int to, long pid)
{
	(void)to;
	if (is_ours(pid))
		return 0;
	errno = EBUSY;
	return -1;
}

static int
move_process(int to, long pid)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%ld", pid);
	/* one that has ended meanwhile needs no place */
	return write_text(to, "cgroup.procs", text) == 0 || errno == ESRCH ? 0 : -1;
}

/*
 * A group with processes of its own cannot hand controllers on (but the root can): so we and our children move into
 * a leaf of it.  With a stranger in it the group is not ours to arrange.
 */
static int
move_to_leaf(struct cgroup *c)
{
	char name[80];
	int leaf, r;

	if (each_process(c->base, refuse_stranger, -1) == -1)
		return -1;
	(void)snprintf(name, sizeof(name), "%ssupervisor", c->prefix);
	if (mkdirat(c->base, name, 0755) == -1 && errno != EEXIST)
		return -1;
	leaf = openat(c->base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (leaf == -1)
		return -1;
	c->leaf = 1;
	r = each_process(c->base, move_process, leaf);
	close(leaf);
	return r;
}

/* 0: groups made in ours have that controller. */
static int
provide(struct cgroup *c, const char *controller, struct error *err)
{
	if (has_word(c->base, "cgroup.subtree_control", controller))
		return 0;
	if (!has_word(c->base, "cgroup.controllers", controller))
		return error_set(err,
		    "this host's cgroups (v2) have no %s controller here; "
		    "with systemd, Delegate=yes gives it",
		    controller);
	if (enable(c, controller) == 0)
		return 0;
	if (errno == EBUSY && !c->leaf && move_to_leaf(c) == -1)
		return errno == EBUSY
			   ? error_set(err,
				 "processes other than opampd's are in its cgroup: start it in "
				 "one of its own")
			   : error_errno(err, "moving opampd into a cgroup of its own");
	if (enable(c, controller) == -1)
		return error_errno(err, "handing on the %s controller", controller);
	return 0;
}

/* Told once: the agent may start often. */
static void
lacks(struct cgroup *c, const char *setting, const struct error *why)
{
	int bit = setting[0] == 'm' ? 1 : 2;

	if ((c->told & bit) == 0)
		log_warn("agent.limits.%s is not in force: %s%s", setting, why->text,
		    bit == 2 ? " (the agent's user has that limit all the same)" : "");
	c->told |= bit;
}

void
cgroup_lacking(struct cgroup *c, uint64_t memory)
{
	struct error why;

	if (memory == 0)
		return;
	(void)error_set(&why,
	    "opampd can make no cgroup (v2): as an ordinary user it needs one that is "
	    "delegated to it");
	lacks(c, "memory", &why);
}

static void
limit(int dir, const char *controller, uint64_t value)
{
	char text[32], file[32];
	struct error err;

	if (value == 0)
		return;
	(void)snprintf(file, sizeof(file), "%s.max", controller);
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	if (write_text(dir, file, text) == -1) {
		error_errno(&err, "writing %s", file);
		log_warn("agent.limits: %s: the limit is not in force", err.text);
	}
}

int
cgroup_make(
    struct cgroup *c, uint32_t start, uint64_t memory, uint64_t processes, struct error *err)
{
	char name[80];
	struct error why;
	int dir;

	/* before the group is made: it is made with the controllers that there are then */
	if (memory != 0 && provide(c, "memory", &why) == -1) {
		lacks(c, "memory", &why);
		memory = 0;
	}
	if (processes != 0 && provide(c, "pids", &why) == -1) {
		lacks(c, "processes", &why);
		processes = 0;
	}
	(void)snprintf(name, sizeof(name), "%s%u", c->prefix, start);
	/* one that is there already was killed and could not be removed: not that one again */
	if (mkdirat(c->base, name, 0755) == -1)
		return error_errno(err, "making the cgroup %s", name);
	dir = openat(c->base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir == -1)
		return error_errno(err, "opening the cgroup %s", name);
	limit(dir, "memory", memory);
	limit(dir, "pids", processes);
	return dir;
}

void
cgroup_end(struct cgroup *c)
{
	char leaf[2048];
	const char *name;

	if (c->base == -1 || !c->leaf || own_group(leaf, sizeof(leaf)) == -1)
		return;
	/* by its own name: after an upgrade it may be one of another prefix */
	name = strrchr(leaf, '/');
	/* while a controller is handed on nobody may come back */
	(void)write_text(c->base, "cgroup.subtree_control", "-memory");
	(void)write_text(c->base, "cgroup.subtree_control", "-pids");
	if (move_process(c->base, (long)getpid()) == 0 && name != NULL && name[1] != '\0')
		(void)unlinkat(c->base, name + 1, AT_REMOVEDIR);
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

	if (start == c->taken_start)
		return sweep_named(c, c->taken);
	(void)snprintf(name, sizeof(name), "%s%u", c->prefix, start);
	return sweep_named(c, name);
}
