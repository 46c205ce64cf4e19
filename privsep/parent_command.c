/*
 * parent_command.c: the agent's command and the files of the settings, checked before any of it is
 * used: at the start, and again at a reload.  Everything wrong is said, not only the first thing.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parent.h"
#include "trusted_open.h"

void
parent_place(const struct parent *p, enum setting key, char *buf, size_t size)
{
	struct record_entry e;

	if (record_find(&p->settings.record, (uint16_t)key, &e) && e.line != 0)
		(void)snprintf(buf, size, "%s:%u:%u: %s", p->settings_name, e.line, e.column,
		    setting_name(key));
	else
		(void)snprintf(buf, size, "%s (default)", setting_name(key));
}

uid_t
parent_trusted_user(const struct parent *p)
{
	return p->unprivileged ? getuid() : 0;
}

int
parent_open_named(struct parent *p, enum setting key, struct error *err)
{
	char *path = settings_has(&p->settings, key) ? settings_string(&p->settings, key) : NULL;
	char place[PATH_MAX];
	int fd;

	if (path == NULL)
		return error_set(err, "%s is not set", setting_name(key));
	fd = trusted_open(path, TRUSTED_FILE, parent_trusted_user(p), err);
	free(path);
	if (fd == -1) {
		parent_place(p, key, place, sizeof(place));
		error_prefix(err, "%s", place);
	}
	return fd;
}

/*
 * Another file than the one before?  As an ordinary user the agent may have our user, and could then set
 * the times of its own program and have confd started anew with it: they are not looked at (a reload does).
 */
static int
is_other(const struct parent *p, const uint64_t *id)
{
	const struct agent_command *c = &p->command;
	size_t n = p->unprivileged ? 3 : sizeof(c->binary) / sizeof(c->binary[0]);

	return c->executable >= 0 && memcmp(c->binary, id, n * sizeof(*id)) != 0;
}

int
parent_identity(int fd, uint64_t *id)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return -1;
	id[0] = st.st_dev;
	id[1] = st.st_ino;
	id[2] = (uint64_t)st.st_size;
	id[3] = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
	id[4] = (uint64_t)st.st_ctim.tv_sec * 1000000000u + (uint64_t)st.st_ctim.tv_nsec;
	return 0;
}

int
parent_open_executable(struct parent *p, struct error *err)
{
	struct agent_command *c = &p->command;
	uint64_t id[5];
	struct stat st;
	char place[PATH_MAX];
	int fd, other;

	errno = 0;
	fd = parent_open_named(p, SET_EXECUTABLE, err);
	if (fd == -1) {
		errno = errno == 0 ? EPERM : errno; /* it is there, and not to be trusted */
		return -1;
	}
	if (fstat(fd, &st) == -1 || (st.st_mode & 0111) == 0 || parent_identity(fd, id) == -1) {
		parent_place(p, SET_EXECUTABLE, place, sizeof(place));
		close(fd);
		errno = EACCES;
		return error_set(err, "%s: not executable: chmod +x it", place);
	}
	other = is_other(p, id);
	if (other || c->executable == -1)
		memcpy(c->binary, id, sizeof(id));
	if (c->executable >= 0)
		close(c->executable);
	c->executable = fd;
	return other;
}

/* Are the files there?  They are opened again when they are used. */
static int
look_at_files(struct parent *p)
{
	static const enum setting keys[] = {SET_CA_FILE, SET_CERT_FILE, SET_KEY_FILE};
	struct record_entry e;
	struct error err;
	char path[PATH_MAX];
	size_t i, pos = 0;
	int fd, result = 0;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!settings_has(&p->settings, keys[i]))
			continue;
		fd = parent_open_named(p, keys[i], &err);
		if (fd == -1) {
			log_error("%s", err.text);
			result = -1;
		} else {
			close(fd);
		}
	}
	while (settings_next(&p->settings, &pos, SET_CONFIG_FILES, &e)) {
		if (e.len == 0 || e.value[0] == '$' || e.len >= sizeof(path))
			continue;
		(void)snprintf(path, sizeof(path), "%.*s", (int)e.len, e.value);
		fd = trusted_open(path, TRUSTED_FILE, parent_trusted_user(p), &err);
		if (fd == -1) {
			log_error("%s:%u:%u: agent.config_files: %s", p->settings_name, e.line,
			    e.column, err.text);
			result = -1;
		} else {
			close(fd);
		}
	}
	return result;
}

/* As root: neither root (I13) nor one of ours, whose processes it could signal and trace (I15). */
static int
refuse_user(const struct parent *p)
{
	static const enum setting ours[] = {SET_UID_NETD, SET_UID_LINK, SET_UID_CONFD,
	    SET_UID_PROCD, SET_UID_CONNECT, SET_UID_MERGE};
	char place[PATH_MAX];
	struct record_entry e;
	size_t i;

	if (p->unprivileged ||
	    (p->check_only && !record_find(&p->settings.record, SET_UID_AGENT, &e)))
		return 0;
	parent_place(p, SET_RUN_AS, place, sizeof(place));
	if (p->command.uid == 0 || p->command.gid == 0) {
		log_error("%s: root is refused: name an ordinary system user", place);
		return -1;
	}
	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (record_find(&p->settings.record, (uint16_t)ours[i], &e) &&
		    memcmp(e.value, &p->command.uid, 4) == 0) {
			log_error(
			    "%s: this user is opampd's own: name one for the agent alone", place);
			return -1;
		}
	return 0;
}

static int
read_command(struct parent *p)
{
	static const struct {
		const char *name;
		unsigned cap;
	} caps[] = {{"CAP_NET_BIND_SERVICE", 10}, {"CAP_NET_RAW", 13}, {"CAP_NET_ADMIN", 12},
	    {"CAP_DAC_READ_SEARCH", 2}, {"CAP_SYS_PTRACE", 19}, {"CAP_SYSLOG", 34},
	    {"CAP_PERFMON", 38}, {"CAP_BPF", 39}, {"CAP_AUDIT_READ", 37}};
	struct record_entry e;
	size_t pos = 0, i;
	int result = 0;

	p->command.settings = &p->settings;
	p->command.unprivileged = p->unprivileged;
	p->command.uid = getuid();
	p->command.gid = getgid();
	if (record_find(&p->settings.record, SET_UID_AGENT, &e)) {
		memcpy(&p->command.uid, e.value, 4);
		memcpy(&p->command.gid, e.value + 4, 4);
	}
	if (refuse_user(p) == -1)
		result = -1;
	while (settings_next(&p->settings, &pos, SET_GID_EXTRA, &e) && p->command.group_count < 32)
		memcpy(&p->command.groups[p->command.group_count++], e.value, 4);
	pos = 0;
	while (settings_next(&p->settings, &pos, SET_CAPABILITIES, &e)) {
		for (i = 0; i < sizeof(caps) / sizeof(caps[0]); i++)
			if (e.len == strlen(caps[i].name) &&
			    memcmp(e.value, caps[i].name, e.len) == 0)
				break;
		if (i == sizeof(caps) / sizeof(caps[0])) {
			log_error(
			    "%s:%u:%u: agent.capabilities: \"%.*s\" is none of those that an "
			    "agent may have: CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_NET_ADMIN, "
			    "CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYSLOG, CAP_PERFMON, "
			    "CAP_BPF, CAP_AUDIT_READ",
			    p->settings_name, e.line, e.column, (int)e.len, e.value);
			result = -1;
		} else {
			p->command.capabilities |= 1ull << caps[i].cap;
		}
	}
	return result;
}

/* What the settings give the agent, and nothing of ours; a temporary directory of its own. */
static int
make_environment(struct parent *p)
{
	struct record_entry e;
	const char *name, *value;
	size_t pos = 0, n = 0, len;
	int has_tmpdir = 0;
	char **env = calloc(p->settings.record.count + 2, sizeof(*env));

	p->command.env = env;
	if (env == NULL)
		return -1;
	while (settings_next(&p->settings, &pos, SET_ENV, &e)) {
		if (settings_pair(&e, &name, &value, &len) == -1)
			continue;
		if (asprintf(&env[n], "%s=%.*s", name, (int)len, value) == -1) {
			env[n] = NULL;
			return -1;
		}
		has_tmpdir |= strcmp(name, "TMPDIR") == 0;
		n++;
	}
	if (!has_tmpdir && asprintf(&env[n], "TMPDIR=%s/tmp", p->command.work_path) == -1) {
		env[n] = NULL;
		return -1;
	}
	return 0;
}

char *
parent_path(const struct parent *p, enum setting key, const char *as_root, const char *below)
{
	char *out = NULL;

	if (settings_has(&p->settings, key))
		return settings_string(&p->settings, key);
	if (!p->unprivileged)
		return strdup(as_root);
	return asprintf(&out, "%s%s", p->command.storage_path, below) == -1 ? NULL : out;
}

/* Headers with credentials stand in the settings; the key is the client certificate's. */
static void
hide_what_is_ours(struct parent *p)
{
	struct agent_command *c = &p->command;
	const char *slash = p->settings_name[0] == '/' ? "" : "/";

	c->hidden[0] = strdup(c->storage_path);
	if (c->hidden[0] == NULL || asprintf(&c->hidden[1], "%s%s%s", *slash == '\0' ? "" : p->cwd,
					slash, p->settings_name) == -1)
		fatal("no memory");
	c->control_path = parent_path(p, SET_CONTROL_SOCKET, "", "/control.sock");
	if (settings_has(&p->settings, SET_KEY_FILE))
		c->hidden[2] = settings_string(&p->settings, SET_KEY_FILE);
}

int
parent_command_read(struct parent *p)
{
	char *name = settings_string(&p->settings, SET_CONFIG_NAME);
	struct agent_command *c = &p->command;
	struct error err;
	int result = 0;

	memset(c, 0, sizeof(*c));
	c->executable = c->work_dir = -1;
	c->link_port = p->link_port;
	c->title = p->title;
	c->title_size = p->title_size;
	c->storage_path = settings_string(&p->settings, SET_STORAGE);
	c->work_path = parent_path(p, SET_WORK_DIR, "/var/lib/opampd-agent", "/work");
	if (name == NULL || c->storage_path == NULL || c->work_path == NULL ||
	    make_environment(p) == -1 ||
	    asprintf(&c->run_path, "%s/agent/%s", c->storage_path, name) == -1 ||
	    asprintf(&c->candidate_path, "%s/agent/candidate/%s", c->storage_path, name) == -1)
		fatal("no memory");
	free(name);
	if (p->unprivileged)
		hide_what_is_ours(p);
	if (read_command(p) == -1)
		result = -1;
	if (parent_open_executable(p, &err) == -1) {
		log_error("%s", err.text);
		result = -1;
	}
	if (look_at_files(p) == -1)
		result = -1;
	return result;
}

void
parent_command_look(struct parent *p)
{
	struct agent_command *c = &p->command;
	struct error err;

	c->executable = c->work_dir = -1;
	c->storage_path = settings_string(&p->settings, SET_STORAGE);
	c->work_path = parent_path(p, SET_WORK_DIR, "/var/lib/opampd-agent", "/work");
	if (c->storage_path == NULL || c->work_path == NULL)
		fatal("no memory");
	(void)read_command(p);
	if (settings_has(&p->settings, SET_EXECUTABLE) && parent_open_executable(p, &err) == -1)
		log_error("%s", err.text);
	(void)look_at_files(p);
}

int
parent_command_work_dir(struct parent *p)
{
	struct agent_command *c = &p->command;
	struct error err;
	char place[PATH_MAX];

	c->work_dir =
	    trusted_directory(c->work_path, parent_trusted_user(p), c->uid, c->gid, 0750, 1, &err);
	if (c->work_dir == -1) {
		parent_place(p, SET_WORK_DIR, place, sizeof(place));
		log_error("%s: %s", place, err.text);
		return -1;
	}
	return 0;
}

void
parent_command_free(struct agent_command *c)
{
	size_t i;

	for (i = 0; c->env != NULL && c->env[i] != NULL; i++) {
		explicit_bzero(c->env[i], strlen(c->env[i]));
		free(c->env[i]);
	}
	free(c->env);
	for (i = 0; i < AGENT_HIDDEN; i++)
		free(c->hidden[i]);
	free(c->control_path);
	free(c->storage_path);
	free(c->work_path);
	free(c->run_path);
	free(c->candidate_path);
	if (c->executable >= 0)
		close(c->executable);
	if (c->work_dir >= 0)
		close(c->work_dir);
	memset(c, 0, sizeof(*c));
	c->executable = c->work_dir = -1;
}
