/*
 * agent_landlock.c: the agent's Landlock rules (see agent_landlock.h), between fork and exec.
 */
#include "agent_landlock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent_spawn.h"
#include "landlock.h"
#include "sandbox.h"

#define READ_EXECUTE (LL_FS_READ | LL_FS_EXECUTE)

struct rules {
	int set, abi, failed;
};

static void
allow(struct rules *r, const char *path, uint64_t rights)
{
	struct error err;

	if (sandbox_landlock_path(r->set, r->abi, path, rights, &err) == -1)
		r->failed = 1;
}

static void
allow_list(struct rules *r, const struct settings *s, enum setting key, uint64_t rights)
{
	struct record_entry e;
	size_t pos = 0;
	char path[PATH_MAX];

	while (settings_next(s, &pos, key, &e)) {
		(void)snprintf(path, sizeof(path), "%.*s", (int)e.len, e.value);
		allow(r, path, rights);
	}
}

static void
allow_ports(struct rules *r, const struct settings *s, enum setting key, uint64_t rights)
{
	struct record_entry e;
	size_t pos = 0;
	char text[8];

	while (settings_next(s, &pos, key, &e)) {
		struct ll_port port = {.rights = rights};

		(void)snprintf(text, sizeof(text), "%.*s", (int)e.len, e.value);
		port.port = strtoul(text, NULL, 10);
		if (port.port > 65535 || syscall(LL_ADD_RULE, r->set, LL_RULE_PORT, &port, 0) == -1)
			r->failed = 1;
	}
}

/*
 * A path whose last name is no link: what it points to may be what we hide, or not ours to give.  What
 * is not there, or not to be seen, or stands on a file system whose server is gone, is given nothing;
 * a server that does not answer is not asked.
 */
static void
allow_real(struct rules *r, const char *path, uint64_t rights)
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct error err;
	struct statx st;

	if (fd == -1) {
		r->failed |= errno == EMFILE || errno == ENFILE || errno == ENOMEM;
		return;
	}
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0 &&
	    !S_ISLNK(st.stx_mode) && sandbox_landlock_fd(r->set, r->abi, fd, rights, &err) == -1)
		r->failed = 1;
	close(fd);
}

struct hidden {
	char path[AGENT_HIDDEN][PATH_MAX]; /* as the kernel sees them: no link on the way */
	size_t count;
};

enum relation {
	BESIDE,
	ABOVE,
	HIDDEN
};

static enum relation
relation_of(const struct hidden *h, const char *path)
{
	size_t i, len = strlen(path);
	enum relation found = BESIDE;

	for (i = 0; i < h->count; i++) {
		if (strncmp(h->path[i], path, len) != 0)
			continue;
		if (h->path[i][len] == '\0')
			return HIDDEN;
		if (h->path[i][len] == '/')
			found = ABOVE;
	}
	return found;
}

/*
 * Landlock only gives: to leave something out, everything beside the way to it is given, level by
 * level.  What is made later beside that way is out of reach until the next start.
 */
static void
allow_beside(struct rules *r, const struct hidden *h, const char *dir, unsigned depth)
{
	char below[PATH_MAX];
	struct dirent *e;
	DIR *d;

	d = depth > PATH_MAX / 2 ? NULL : opendir(dir);
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    snprintf(below, sizeof(below), "%s/%s", dir[1] == '\0' ? "" : dir, e->d_name) >=
			(int)sizeof(below))
			continue;
		switch (relation_of(h, below)) {
		case HIDDEN:
			break;
		case ABOVE:
			allow_beside(r, h, below, depth + 1);
			break;
		case BESIDE:
		default:
			allow_real(r, below, READ_EXECUTE);
			break;
		}
	}
	if (d != NULL)
		closedir(d);
}

static void
allow_all_but(struct rules *r, const struct agent_command *c)
{
	struct hidden h = {.count = 0};
	size_t i;

	for (i = 0; i < AGENT_HIDDEN; i++) {
		if (c->hidden[i] == NULL)
			continue;
		if (realpath(c->hidden[i], h.path[h.count]) != NULL)
			h.count++;
		else if (errno != ENOENT)
			r->failed = 1; /* rather no agent than one that reads it */
	}
	allow_beside(r, &h, "/", 0);
	allow(r, "/", LL_FS_READ_DIR); /* names only */
}

static void
standard(struct rules *r, const struct agent_command *c)
{
	char path[PATH_MAX];

	if (c->unprivileged)
		allow_all_but(r, c);
	else
		allow(r, "/", READ_EXECUTE);
	(void)snprintf(path, sizeof(path), "%s/agent", c->storage_path);
	allow_real(r, path, LL_FS_READ); /* the directory is confd's: a link could point anywhere */
}

static void
strict_rules(struct rules *r, const struct agent_command *c)
{
	char path[PATH_MAX];
	char *executable = settings_string(c->settings, SET_EXECUTABLE);
	struct ll_port port = {.rights = LL_NET_CONNECT_TCP, .port = c->link_port};

	if (executable != NULL)
		allow(r, executable, LL_FS_READ_FILE | LL_FS_EXECUTE);
	free(executable);
	allow(r, "/lib", READ_EXECUTE);
	allow(r, "/lib64", READ_EXECUTE);
	allow(r, "/usr/lib", READ_EXECUTE);
	(void)snprintf(path, sizeof(path), "%s/agent", c->storage_path);
	allow_real(r, path, LL_FS_READ); /* the directory is confd's: a link could point anywhere */
	allow_list(r, c->settings, SET_STRICT_READ, LL_FS_READ);
	allow_list(r, c->settings, SET_STRICT_EXECUTE, READ_EXECUTE);
	if (r->abi >= 4) {
		allow_ports(r, c->settings, SET_STRICT_BIND, LL_NET_BIND_TCP);
		allow_ports(r, c->settings, SET_STRICT_CONNECT, LL_NET_CONNECT_TCP);
		if (c->link_port != 0 && syscall(LL_ADD_RULE, r->set, LL_RULE_PORT, &port, 0) == -1)
			r->failed = 1;
	}
}

int
agent_landlock(const struct agent_command *c, int strict)
{
	struct rules r = {.abi = sandbox_landlock_abi()};
	struct error err;

	if (r.abi == 0)
		return 0;
	r.set = sandbox_landlock_begin(r.abi, strict, 1, &err);
	if (r.set == -1)
		return -1;
	if (strict)
		strict_rules(&r, c);
	else
		standard(&r, c);
	if (sandbox_landlock_fd(r.set, r.abi, c->work_dir, READ_EXECUTE | LL_FS_WRITE, &err) == -1)
		r.failed = 1;
	allow_list(&r, c->settings, SET_STRICT_WRITE, LL_FS_READ | LL_FS_WRITE);
	allow(&r, "/dev/null", LL_FS_READ_FILE | LL_FS_WRITE_FILE);
	allow(&r, "/dev/zero", LL_FS_READ_FILE | LL_FS_WRITE_FILE);
	allow(&r, "/dev/full", LL_FS_READ_FILE | LL_FS_WRITE_FILE);
	allow(&r, "/dev/random", LL_FS_READ_FILE);
	allow(&r, "/dev/urandom", LL_FS_READ_FILE);
	/* the secret file and the output pipes are opened through here; memory files need no rule */
	allow(&r, "/proc/self", LL_FS_READ);
	if (r.failed) {
		close(r.set);
		return -1;
	}
	return sandbox_landlock_end(r.set, &err);
}
