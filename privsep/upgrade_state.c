/*
 * upgrade_state.c: the record of an upgrade (see upgrade_state.h).  The parent only.
 * It was written by a parent, and is checked as if by a stranger: the new program may be of any version.
 */
#include "upgrade_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "log.h"
#include "memfd.h"

const enum proc upgrade_daemons[UPGRADE_DAEMONS] = {PROC_NETD, PROC_LINK, PROC_CONFD, PROC_PROCD};

static const struct {
	size_t offset;
	enum fd_kind kind;
} places[UPGRADE_FDS] = {
    {offsetof(struct upgrade_state, state_dir), FD_DIR},
    {offsetof(struct upgrade_state, control), FD_LISTENER},
    {offsetof(struct upgrade_state, link_listener), FD_LISTENER},
    {offsetof(struct upgrade_state, cgroup), FD_DIR},
    {offsetof(struct upgrade_state, guard_pidfd), FD_PIDFD},
    {offsetof(struct upgrade_state, guard_channel), FD_CHANNEL},
    {offsetof(struct upgrade_state, agent.pidfd), FD_PIDFD},
    {offsetof(struct upgrade_state, agent.agent), FD_PIDFD},
    {offsetof(struct upgrade_state, agent.init), FD_CHANNEL},
    {offsetof(struct upgrade_state, agent.group), FD_DIR},
    {offsetof(struct upgrade_state, agent.secret), FD_MEMFD},
    {offsetof(struct upgrade_state, agent.out), FD_PIPE},
    {offsetof(struct upgrade_state, agent.err), FD_PIPE},
};

int32_t *
upgrade_fd(struct upgrade_state *s, size_t i, enum fd_kind *kind)
{
	if (kind != NULL)
		*kind = places[i].kind;
	return (int32_t *)(void *)((char *)s + places[i].offset);
}

int
upgrade_state_write(
    const struct upgrade_state *s, const char *cwd, char *const *environment, struct error *err)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int fd = -1;

	if (f == NULL)
		return error_set(err, "no memory");
	(void)fwrite(s, sizeof(*s), 1, f);
	(void)fwrite(cwd, strlen(cwd) + 1, 1, f);
	for (; *environment != NULL; environment++)
		(void)fwrite(*environment, strlen(*environment) + 1, 1, f);
	if (fclose(f) != 0)
		return error_set(err, "no memory");
	fd = len > LIMIT_UPGRADE_STATE
		 ? error_set(err, "the environment is longer than %u bytes", LIMIT_UPGRADE_STATE)
		 : memfd_seal("upgrade", text, len, err);
	explicit_bzero(text, len); /* the environment may hold secrets (I12) */
	free(text);
	return fd;
}

static int
numbers_are_sound(struct upgrade_state *s)
{
	const struct upgrade_agent *a = &s->agent;
	size_t i, j;

	for (i = 0; i < UPGRADE_FDS; i++) {
		int32_t fd = *upgrade_fd(s, i, NULL);

		if (fd != -1 && (fd < 3 || fd >= LIMIT_UPGRADE_FD))
			return 0;
		for (j = 0; fd != -1 && j < i; j++)
			if (*upgrade_fd(s, j, NULL) == fd)
				return 0;
	}
	if (s->state_dir == -1 || s->control == -1 ||
	    (s->guard_pid > 0) != (s->guard_pidfd != -1) ||
	    (s->guard_pid > 0) != (s->guard_channel != -1))
		return 0;
	if (a->start == 0) { /* then there is nothing of it */
		for (i = 6; i < UPGRADE_FDS; i++)
			if (*upgrade_fd(s, i, NULL) != -1)
				return 0;
		return 1;
	}
	/* its init and the pidfd beside it come together (agent_init.h) */
	return a->start <= s->next_start && a->pid > 0 && a->agent_pid > 0 && a->pidfd != -1 &&
	       a->out != -1 && a->err != -1 && (a->init == -1) == (a->agent == -1);
}

int
upgrade_state_read(
    int fd, int32_t pid, struct upgrade_state *s, char **strings, size_t *len, struct error *err)
{
	char *data;
	size_t size;

	if (memfd_read(fd, LIMIT_UPGRADE_STATE, &data, &size, err) == -1)
		return error_prefix(err, "the record of an upgrade");
	if (size < sizeof(*s) + 2 || data[size - 1] != '\0') {
		free(data);
		return error_set(err, "the record of an upgrade is cut");
	}
	memcpy(s, data, sizeof(*s));
	*len = size - sizeof(*s);
	memmove(data, data + sizeof(*s), *len);
	explicit_bzero(data + *len, sizeof(*s));
	*strings = data;
	if (s->magic != UPGRADE_MAGIC || s->format != UPGRADE_FORMAT || s->size != sizeof(*s))
		error_set(err,
		    "the record of an upgrade has format %u and %u bytes, and this opampd knows "
		    "format %u and %zu bytes",
		    s->format, s->size, UPGRADE_FORMAT, sizeof(*s));
	else if (s->pid != pid)
		error_set(err, "the record of an upgrade is for process %d", s->pid);
	else if (s->unprivileged > 1 || (s->unprivileged == 0) != (geteuid() == 0))
		error_set(err, "the record of an upgrade is another user's");
	else if (s->upgrades == 0 || s->upgrades > LIMIT_UPGRADES || s->sink > LOG_SINK_SYSLOG ||
		 s->cgroup_leaf > 1 || s->pad != 0 || data[0] != '/' || !numbers_are_sound(s))
		error_set(err, "the record of an upgrade is not what an opampd writes");
	else
		return 0;
	explicit_bzero(data, *len);
	free(data);
	*strings = NULL;
	return -1;
}

int
upgrade_state_look(struct upgrade_state *s, struct error *err)
{
	enum fd_kind kind;
	size_t i;

	for (i = 0; i < UPGRADE_FDS; i++) {
		int fd = *upgrade_fd(s, i, &kind);

		if (fd != -1 && !channel_fd_is(fd, kind))
			return error_set(err,
			    "the record of an upgrade names descriptor %d (place %zu), which is "
			    "not what it should be",
			    fd, i);
	}
	return 0;
}
