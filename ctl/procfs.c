/*
 * procfs.c: reading /proc/PID (see procfs.h).  opampctl only.
 */
#include "procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const procfs_namespaces[PROCFS_NAMESPACES] = {
    "mnt", "net", "pid", "ipc", "uts", "user"};

/* A small file of /proc, terminated; what does not fit is not needed. */
static int
slurp(int dir, const char *name, char *buf, size_t size)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = -1;

	if (fd == -1)
		return -1;
	while (len + 1 < size && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	buf[len] = '\0';
	return n < 0 ? -1 : 0;
}

/* What follows "Key:" at the beginning of a line. */
static const char *
line_of(const char *text, const char *key)
{
	size_t n = strlen(key);
	const char *p;

	for (p = text; p != NULL; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, key, n) == 0 && p[n] == ':')
			return p + n + 1;
	}
	return NULL;
}

static uint64_t
number_of(const char *text, const char *key, int base, uint64_t otherwise)
{
	const char *p = line_of(text, key);

	return p == NULL ? otherwise : strtoull(p, NULL, base);
}

static size_t
list_of(const char *text, const char *key, uint32_t *out, size_t most)
{
	const char *p = line_of(text, key);
	char *end;
	size_t n = 0;

	while (p != NULL && n < most) {
		while (*p == ' ' || *p == '\t')
			p++;
		if (*p < '0' || *p > '9')
			break;
		out[n++] = (uint32_t)strtoul(p, &end, 10);
		p = end;
	}
	return n;
}

static void
read_limits(struct procfs *p, int dir)
{
	static const char *const names[PROCFS_LIMITS] = {"Max core file size", "Max open files",
	    "Max file size", "Max data size", "Max address space", "Max processes"};
	char text[4096];
	const char *at;
	size_t i;

	if (slurp(dir, "limits", text, sizeof(text)) == -1)
		return;
	for (i = 0; i < PROCFS_LIMITS; i++) {
		at = strstr(text, names[i]);
		if (at == NULL)
			continue;
		at += strlen(names[i]);
		at += strspn(at, " ");
		p->limits[i] = *at == 'u' ? UINT64_MAX : strtoull(at, NULL, 10);
	}
}

static void
read_namespaces(struct procfs *p, int dir)
{
	char name[16], target[64], *open;
	size_t i;
	ssize_t n;

	for (i = 0; i < PROCFS_NAMESPACES; i++) {
		(void)snprintf(name, sizeof(name), "ns/%s", procfs_namespaces[i]);
		n = readlinkat(dir, name, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		open = strchr(target, '[');
		p->namespaces[i] = open == NULL ? 0 : strtoull(open + 1, NULL, 10);
	}
}

int
procfs_read(struct procfs *p, pid_t pid, struct error *err)
{
	static const char *const sets[CAP_SETS] = {
	    "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
	char path[32], text[8192];
	struct stat st;
	size_t i;
	int dir;

	memset(p, 0, sizeof(*p));
	p->pid = pid;
	p->descriptors = p->dumpable = p->log_is_file = -1;
	(void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir == -1)
		return error_errno(err, "%s", path);
	if (slurp(dir, "status", text, sizeof(text)) == -1) {
		close(dir);
		return error_errno(err, "%s/status", path);
	}
	p->parent = (pid_t)number_of(text, "PPid", 10, 0);
	(void)list_of(text, "Uid", p->uid, 4);
	(void)list_of(text, "Gid", p->gid, 4);
	p->group_count = list_of(text, "Groups", p->groups, PROCFS_GROUPS);
	for (i = 0; i < CAP_SETS; i++)
		p->caps[i] = number_of(text, sets[i], 16, 0);
	p->no_new_privs = (int)number_of(text, "NoNewPrivs", 10, 0);
	p->seccomp = (int)number_of(text, "Seccomp", 10, 0);
	p->filters = (int)number_of(text, "Seccomp_filters", 10, 0);
	p->threads = (int)number_of(text, "Threads", 10, 0);
	/* files of a process that is not dumpable belong to root */
	if (p->uid[1] != 0 && fstatat(dir, "fd", &st, 0) == 0)
		p->dumpable = st.st_uid != 0;
	if (fstatat(dir, "fd/2", &st, 0) == 0)
		p->log_is_file = S_ISREG(st.st_mode);
	read_limits(p, dir);
	procfs_descriptors(p, dir);
	read_namespaces(p, dir);
	close(dir);
	return 0;
}
