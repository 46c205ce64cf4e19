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
 * Landlock only gives: to leave one directory out, everything beside the way to it is given, level
 * by level.  What is made later beside that way is out of reach until the next start.
 */
static void
allow_all_but(struct rules *r, const char *hidden)
{
	char prefix[PATH_MAX] = "/", below[PATH_MAX], name[NAME_MAX + 1];
	const char *rest = hidden;
	struct dirent *e;
	DIR *d;

	while (*rest == '/')
		rest++;
	while (*rest != '\0') {
		(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(rest, "/"), rest);
		d = opendir(prefix);
		while (d != NULL && (e = readdir(d)) != NULL) {
			if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
			    strcmp(e->d_name, name) == 0)
				continue;
			if (snprintf(below, sizeof(below), "%s%s%s", prefix,
				prefix[1] == '\0' ? "" : "/", e->d_name) < (int)sizeof(below))
				allow(r, below, READ_EXECUTE);
		}
		if (d != NULL)
			closedir(d);
		if (snprintf(below, sizeof(below), "%s%s%s", prefix, prefix[1] == '\0' ? "" : "/",
			name) >= (int)sizeof(below))
			return;
		memcpy(prefix, below, strlen(below) + 1);
		rest += strcspn(rest, "/");
		while (*rest == '/')
			rest++;
	}
	allow(r, "/", LL_FS_READ_DIR); /* names only */
}

static void
standard(struct rules *r, const struct agent_command *c)
{
	char path[PATH_MAX];

	if (c->unprivileged)
		allow_all_but(r, c->storage_path);
	else
		allow(r, "/", READ_EXECUTE);
	(void)snprintf(path, sizeof(path), "%s/agent", c->storage_path);
	allow(r, path, LL_FS_READ);
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
	allow(r, path, LL_FS_READ);
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
