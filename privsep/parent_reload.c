/*
 * parent_reload.c: the settings once more, while everything runs.  All or nothing: settings that
 * cannot be taken over whole leave everything as it was.
 *
 * A sandbox never widens: a process whose section changed is ended, and another one started.  The
 * agent is restarted only when its own command changed.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memfd.h"
#include "parent.h"

/* What the parent opened once and others hold: these need another start of opampd. */
static const enum setting fixed[] = {SET_STORAGE, SET_CONTROL_SOCKET, SET_LINK_PORT, SET_AGENT_TYPE,
    SET_LOG_DIR, SET_UID_NETD, SET_UID_LINK, SET_UID_CONFD, SET_UID_PROCD, SET_UID_CONNECT,
    SET_UID_MERGE, SET_GID_READER, SET_GID_ADMIN, SET_NONE};

/* What the agent's process is made of. */
static const enum setting process[] = {SET_EXECUTABLE, SET_ARGS, SET_ENV, SET_UID_AGENT,
    SET_GID_EXTRA, SET_CAPABILITIES, SET_SANDBOX, SET_STRICT_READ, SET_STRICT_WRITE,
    SET_STRICT_EXECUTE, SET_STRICT_BIND, SET_STRICT_CONNECT, SET_LIMIT_MEMORY, SET_LIMIT_PROCESSES,
    SET_LIMIT_FILES, SET_LIMIT_DATA, SET_WORK_DIR, SET_CONFIG_NAME, SET_NONE};

static int
same_value(const struct settings *a, const struct settings *b, enum setting key)
{
	struct record_entry x, y;
	size_t i = 0, j = 0;
	int more;

	for (;;) {
		more = settings_next(a, &i, key, &x);
		if (more != settings_next(b, &j, key, &y))
			return 0;
		if (!more)
			return 1;
		if (x.len != y.len || memcmp(x.value, y.value, x.len) != 0)
			return 0;
	}
}

/* The first key of the list that differs, or SET_NONE. */
static enum setting
first_change(const enum setting *keys, const struct settings *a, const struct settings *b)
{
	for (; *keys != SET_NONE; keys++)
		if (!same_value(a, b, *keys))
			return *keys;
	return SET_NONE;
}

/* The same keys with the same values; where they stand in the file does not matter. */
static int
same_section(int a, int b)
{
	struct record r[2];
	char *data[2] = {NULL, NULL};
	size_t len[2] = {0, 0}, i, pos[2] = {0, 0};
	struct record_entry e[2] = {0};
	int fds[2] = {a, b}, more, same = 1;

	for (i = 0; i < 2; i++)
		if (memfd_read(fds[i], LIMIT_SETTINGS_RECORD, &data[i], &len[i], NULL) == -1 ||
		    record_open(&r[i], data[i], len[i], NULL) == -1)
			same = 0;
	while (same) {
		more = record_next(&r[0], &pos[0], 0, &e[0]);
		if (more != record_next(&r[1], &pos[1], 0, &e[1]))
			same = 0;
		else if (!more)
			break;
		else
			same = e[0].key == e[1].key && e[0].len == e[1].len &&
			       memcmp(e[0].value, e[1].value, e[0].len) == 0;
	}
	for (i = 0; i < 2; i++) {
		if (data[i] != NULL)
			explicit_bzero(data[i], len[i]);
		free(data[i]);
	}
	return same;
}

static const char *
name_of(enum setting key)
{
	return setting_rules[key].name != NULL ? setting_name(key)
					       : "a user or group of opampd's own";
}

/* The new settings in place of the old, if all they name is there; otherwise nothing happened. */
static int
take_over(struct parent *p, struct settings *old, struct agent_command *old_command)
{
	struct settings fresh;
	struct error err;
	enum setting key;

	if (settings_open(&fresh, p->new_sections[PROC_PARENT], PROC_PARENT, &err) == -1) {
		log_error("%s", err.text);
		return -1;
	}
	key = first_change(fixed, &p->settings, &fresh);
	if (key != SET_NONE) {
		log_error("%s: %s has changed, which takes a restart of opampd", p->settings_name,
		    name_of(key));
		settings_free(&fresh);
		return -1;
	}
	*old = p->settings;
	*old_command = p->command;
	p->settings = fresh;
	if (parent_command_read(p) == 0) {
		if ((p->command.capabilities & ~p->agent_capabilities) == 0) {
			if (parent_command_work_dir(p) == 0)
				return 0;
		} else {
			log_error(
			    "%s: agent.capabilities: one more than opampd was started with, which "
			    "takes a restart of opampd",
			    p->settings_name);
		}
	}
	parent_command_free(&p->command);
	settings_free(&p->settings);
	p->settings = *old;
	p->command = *old_command;
	return -1;
}

static void
reload_done(struct parent *p)
{
	struct settings old;
	struct agent_command old_command;
	int all, agent, binary;
	uint32_t i;

	if (parent_settings_result(p) == -1 || take_over(p, &old, &old_command) == -1) {
		log_error("the settings stay as they were");
		parent_ready_reloads(p, 1);
		return;
	}
	all = !same_value(&old, &p->settings, SET_LOG_LEVEL);
	agent = first_change(process, &old, &p->settings) != SET_NONE;
	binary = memcmp(old_command.binary, p->command.binary, sizeof(p->command.binary)) != 0;
	parent_take_level(p);
	memcpy(p->settings_id, p->new_settings_id, sizeof(p->settings_id));
	for (i = PROC_NETD; i < PROC_COUNT; i++) {
		int changed = all || !same_section(p->sections[i], p->new_sections[i]);

		/* the files of these names may have changed */
		if (i == PROC_NETD)
			changed |= settings_has(&p->settings, SET_CA_FILE) ||
				   settings_has(&p->settings, SET_CERT_FILE) ||
				   settings_has(&p->settings, SET_KEY_FILE);
		/* its knowledge of the agent's program, group and local files is of the start */
		if (i == PROC_CONFD)
			changed |= binary || old_command.gid != p->command.gid ||
				   settings_has(&p->settings, SET_CONFIG_FILES);
		close(p->sections[i]);
		p->sections[i] = p->new_sections[i];
		p->new_sections[i] = -1;
		if (!changed)
			continue;
		if (p->daemons[i].pid != 0 && p->daemons[i].state != SLOT_ENDING)
			log_info("%s is started anew with its new settings",
			    proc_name(p->daemons[i].proc));
		slot_replace(&p->daemons[i]);
	}
	close(p->sections[PROC_PARENT]);
	p->sections[PROC_PARENT] = p->new_sections[PROC_PARENT];
	p->new_sections[PROC_PARENT] = -1;
	if (agent)
		parent_agent_stop(p);
	p->reloaded = 1; /* whoever starts in its place is told, too */
	if (p->daemons[PROC_CONFD].pid != 0 && p->daemons[PROC_CONFD].state != SLOT_ENDING)
		parent_environment(p);
	settings_free(&old);
	parent_command_free(&old_command);
	log_info("the new settings are in force");
	parent_ready_reloads(p, 1);
}

void
parent_reload_done(struct parent *p)
{
	int again = p->reload_again;

	p->reloading = p->reload_again = 0;
	if (p->ending)
		return;
	reload_done(p);
	if (p->upgrade.wanted)
		parent_upgrade(p);
	if (again) /* the file may have been read before its last change */
		parent_reload(p);
}

void
parent_reload_request(struct parent *p)
{
	if (p->ending)
		return;
	if (!parent_too_often(&p->reloads, LIMIT_RELOADS_PER_MINUTE, 60000))
		parent_reload(p);
	else if (p->reloads.count++ == LIMIT_RELOADS_PER_MINUTE) /* said once a minute */
		log_warn("more than %u reloads were asked for within a minute: ignored",
		    LIMIT_RELOADS_PER_MINUTE);
}

void
parent_reload(struct parent *p)
{
	if (p->ending)
		return;
	if (p->reloading || p->upgrade.stage != UPGRADE_NONE) {
		p->reload_again = 1;
		return;
	}
	log_info("reading %s again", p->settings_name);
	parent_ready_reloads(p, 0);
	p->reloading = 1;
	if (parent_settings_begin(p) == -1)
		parent_reload_done(p);
}
