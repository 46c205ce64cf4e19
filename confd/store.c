/*
 * store.c: the store's beginning and end (see store.h).  confd only.  Opening it makes what is missing
 * and takes away what an earlier process left half-made; a disk that cannot be written is told, and is
 * no reason to do without what can be read.
 */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
open_directories(struct store *s, struct error *err)
{
	struct stat st;

	if (fstat(s->dir, &st) == -1)
		return error_errno(err, "looking at storage.directory");
	s->owner = st.st_uid;
	s->generations = store_directory(s->dir, "generations", s->owner, 0700, 0, err);
	if (s->generations == -1)
		return -1;
	s->agent = store_directory(s->dir, "agent", s->owner, 02750, s->env.agent_gid, err);
	if (s->agent == -1)
		return -1;
	s->candidate =
	    store_directory(s->agent, "candidate", s->owner, 02750, s->env.agent_gid, err);
	return s->candidate == -1 ? -1 : 0;
}

static void
sweep(struct store *s)
{
	static const char *const names[] = {STORE_NEW STORE_IDENTITY, STORE_NEW STORE_STATE,
	    STORE_NEW STORE_CACHE, STORE_NEW "current", STORE_NEW "committed"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)store_unlink(s->dir, names[i], 0);
	generation_sweep(s);
	store_agent_sweep(s);
}

struct store *
store_open(int dir, const char *config_name, const struct msg_environment *env, char told[1024],
    struct error *err)
{
	struct store *s;

	told[0] = '\0';
	if (config_name[0] == '\0' || config_name[0] == '.' || strchr(config_name, '/') != NULL ||
	    strcmp(config_name, "candidate") == 0 || strlen(config_name) > NAME_MAX - 8) {
		error_set(err,
		    "agent.config_name: \"%.64s\" cannot be the name of the agent's file",
		    config_name);
		close(dir);
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		error_set(err, "no memory for the state on disk");
		close(dir);
		return NULL;
	}
	s->dir = dir;
	s->generations = s->agent = s->candidate = s->state_fd = -1;
	s->env = *env;
	s->config_name = strdup(config_name);
	if (s->config_name == NULL) {
		error_set(err, "no memory for the state on disk");
	} else if (open_directories(s, err) == 0 && store_state_open(s, told, 1024, err) == 0) {
		sweep(s);
		return s;
	}
	store_close(s);
	return NULL;
}

void
store_close(struct store *s)
{
	int fds[5], i;

	if (s == NULL)
		return;
	fds[0] = s->dir;
	fds[1] = s->generations;
	fds[2] = s->agent;
	fds[3] = s->candidate;
	fds[4] = s->state_fd;
	for (i = 0; i < 5; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(s->config_name);
	free(s);
}
