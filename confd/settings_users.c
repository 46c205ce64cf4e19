/*
 * settings_users.c: the users and groups that opampd.yaml names or takes for granted, from the texts of
 * /etc/passwd and /etc/group (see settings_read.h).  merge only, in its sandbox.
 */
#include <stdlib.h>
#include <string.h>

#include "settings_read.h"
#include "yaml.h"

static int
field_number(const char *s, uint32_t *value)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	if (end == s || *end != ':' || n > UINT32_MAX - 1)
		return -1;
	*value = (uint32_t)n;
	return 0;
}

static const char *
line_of(const char *text, const char *name)
{
	size_t len = strlen(name);
	const char *s;

	for (s = text; s != NULL && *s != '\0';
	     s = strchr(s, '\n') == NULL ? NULL : strchr(s, '\n') + 1)
		if (strncmp(s, name, len) == 0 && s[len] == ':')
			return s + len + 1;
	return NULL;
}

int
settings_user(const char *passwd, const char *name, uint32_t *uid, uint32_t *gid)
{
	const char *s = line_of(passwd, name);

	if (s == NULL || (s = strchr(s, ':')) == NULL || field_number(++s, uid) == -1)
		return -1;
	s = strchr(s, ':') + 1;
	return field_number(s, gid);
}

int
settings_group(const char *group, const char *name, uint32_t *gid)
{
	const char *s = line_of(group, name);

	if (s == NULL || (s = strchr(s, ':')) == NULL)
		return -1;
	return field_number(s + 1, gid);
}

/* taken: the ids of those before, zero at the end; the place after them gets this one's. */
static void
resolve_user(struct settings_reader *r, enum setting key, const char *name, uint32_t *taken)
{
	uint32_t ids[2];

	if (settings_user(r->users.passwd, name, &ids[0], &ids[1]) == -1) {
		settings_problem(r, r->seen[key].line, r->seen[key].column,
		    "%sthere is no user %s in /etc/passwd; make it: useradd --system --user-group "
		    "--no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin %s",
		    r->seen[key].set ? "agent.run_as: " : "", name, name);
	} else if (ids[0] == 0 || ids[1] == 0) {
		settings_problem(r, r->seen[key].line, r->seen[key].column,
		    "%suser %s is root, or in its group: give it a user id and a group of its own",
		    r->seen[key].set ? "agent.run_as: " : "", name);
	} else {
		while (*taken != 0 && *taken != ids[0])
			taken++;
		if (*taken != 0)
			settings_problem(r, r->seen[key].line, r->seen[key].column,
			    "%suser %s has the user id of another process of opampd: what keeps "
			    "them apart is that each has its own",
			    r->seen[key].set ? "agent.run_as: " : "", name);
		*taken = ids[0];
		record_put(&r->sections[PROC_PARENT], (uint16_t)key, 0, 0, ids, sizeof(ids));
	}
}

/* An ordinary user's agent has that user's groups: a name that is none is a mistake all the same. */
static void
resolve_groups(struct settings_reader *r, const struct yaml_node *groups)
{
	uint32_t gid;
	size_t i;

	for (i = 0; groups != NULL && groups->kind == YAML_SEQ && i < groups->count; i++) {
		const struct yaml_node *g = groups->items[i];

		if (g->kind != YAML_SCALAR)
			continue;
		if (settings_group(r->users.group, g->value, &gid) == -1)
			settings_problem(r, g->line, g->column,
			    "agent.groups: there is no group %.60s in /etc/group", g->value);
		else if (r->users.wanted)
			record_put(&r->sections[PROC_PARENT], SET_GID_EXTRA, g->line, 0, &gid,
			    sizeof(gid));
	}
}

void
settings_resolve_users(struct settings_reader *r, const struct yaml_node *groups)
{
	static const struct {
		enum setting key;
		const char *name;
	} ours[] = {{SET_UID_NETD, "_opampd_net"}, {SET_UID_LINK, "_opampd_link"},
	    {SET_UID_CONFD, "_opampd_conf"}, {SET_UID_PROCD, "_opampd_proc"},
	    {SET_UID_CONNECT, "_opampd_dns"}, {SET_UID_MERGE, "_opampd_merge"}};
	uint32_t gid, taken[sizeof(ours) / sizeof(ours[0]) + 2] = {0};
	size_t i;

	resolve_groups(r, groups);
	if (!r->users.wanted)
		return;
	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		resolve_user(r, ours[i].key, ours[i].name, taken);
	r->seen[SET_UID_AGENT] = r->seen[SET_RUN_AS];
	resolve_user(r, SET_UID_AGENT, r->run_as[0] != '\0' ? r->run_as : "_opampd_agent", taken);
	gid = UINT32_MAX;
	(void)settings_group(r->users.group, "opampd", &gid);
	record_put(&r->sections[PROC_PARENT], SET_GID_READER, 0, 0, &gid, sizeof(gid));
	gid = UINT32_MAX;
	(void)settings_group(r->users.group, "opampd-admin", &gid);
	record_put(&r->sections[PROC_PARENT], SET_GID_ADMIN, 0, 0, &gid, sizeof(gid));
}
