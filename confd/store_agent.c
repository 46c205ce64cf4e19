/*
 * store_agent.c: the directory agent/, the only part of the store that the agent may read: the file it
 * runs on, and the one its own check is to see (see store.h).  confd only.  Nothing here is read back
 * as truth: which generation runs is found by comparing with generations/.
 */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
store_candidate(struct store *s, const void *data, size_t len, struct error *err)
{
	struct store_file f = {.name = s->config_name,
	    .mode = 0640,
	    .group = s->env.agent_gid,
	    .what = "agent/candidate"};

	return store_replace(s->candidate, &f, data, len, err);
}

void
store_candidate_remove(struct store *s)
{
	(void)store_unlink(s->candidate, s->config_name, 0);
}

/* ---- the file the agent runs on */

static int
identity_of(int dir, const char *path, struct stat *st)
{
	int fd = store_openat(dir, path, O_PATH | O_NOFOLLOW, 0), r;

	if (fd == -1)
		return -1;
	r = fstat(fd, st);
	close(fd);
	return r == -1 || !S_ISREG(st->st_mode) ? -1 : 0;
}

static int
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static void
run_name(char name[STORE_NAME], uint64_t generation)
{
	generation_name(name, "", generation);
	(void)strncat(name, "/" STORE_RUN, STORE_NAME - strlen(name) - 1);
}

/* Where hard links cannot be had (some file systems; Landlock before Linux 5.19): a copy. */
static int
copy_ready(struct store *s, uint64_t generation, const char *keep, struct error *err)
{
	struct store_file f = {.name = keep,
	    .mode = 0640,
	    .group = s->env.agent_gid,
	    .sync = 1,
	    .what = "a copy of a generation's file in agent"};
	size_t len;
	char *data;
	int r;

	if (store_generation_effective(s, generation, &data, &len, err) == -1)
		return -1;
	r = store_create(s->agent, &f, data, len, err);
	free(data);
	return r;
}

static int
link_run(int dir, int agent, const char *keep)
{
	return TEMP_FAILURE_RETRY(linkat(dir, STORE_RUN, agent, keep, 0)) == -1 ? -1 : 0;
}

static int
link_refused(int error)
{
	return error == EXDEV || error == EPERM || error == EMLINK || error == EOPNOTSUPP ||
	       error == ENOSYS;
}

/* 1: the file is this generation's, by its bytes. */
static int
same_bytes(struct store *s, uint64_t generation, const char *data, size_t len)
{
	char *own;
	size_t own_len;
	int same;

	if (store_generation_effective(s, generation, &own, &own_len, NULL) == -1)
		return 0;
	same = own_len == len && memcmp(own, data, len) == 0;
	free(own);
	return same;
}

/* 1: the name in agent/ is this generation's file, as a link or as a copy. */
static int
is_of(struct store *s, const char *name, uint64_t generation)
{
	char run[STORE_NAME], *data;
	struct stat mine, theirs;
	size_t len;
	int same;

	run_name(run, generation);
	if (identity_of(s->agent, name, &mine) == -1 ||
	    identity_of(s->generations, run, &theirs) == -1)
		return 0;
	if (same_file(&mine, &theirs))
		return 1;
	if (mine.st_nlink != 1 || mine.st_size != theirs.st_size ||
	    store_read(s->agent, name, s->owner, LIMIT_MEMFD, &data, &len, NULL) != 1)
		return 0;
	same = same_bytes(s, generation, data, len);
	free(data);
	return same;
}

/* The agent may run as somebody else than when the file was made (agent.run_as). */
static int
give_to_agent(struct store *s, const char *name, struct error *err)
{
	int fd = store_openat(s->agent, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0), r;

	if (fd == -1)
		return store_fail(err, "opening in agent", name);
	r = store_set_owner(fd, 0640, s->env.agent_gid);
	if (r == -1)
		store_fail(err, "setting mode and group in agent of", name);
	close(fd);
	return r;
}

int
store_keep_ready(struct store *s, uint64_t generation, struct error *err)
{
	char keep[STORE_NAME];
	int dir, r;

	generation_name(keep, STORE_KEEP, generation);
	if (is_of(s, keep, generation))
		return give_to_agent(s, keep, err);
	dir = generation_open(s, generation, err);
	if (dir == -1)
		return -1;
	r = link_run(dir, s->agent, keep);
	if (r == -1 && errno == EEXIST &&
	    (store_unlink(s->agent, keep, 0) == 0 ||
		store_set_aside(s->agent, keep, s->owner) == 0))
		r = link_run(dir, s->agent, keep);
	if (r == -1 && link_refused(errno))
		r = copy_ready(s, generation, keep, err);
	else if (r == -1)
		store_fail(
		    err, "linking into agent the file of generation", keep + strlen(STORE_KEEP));
	close(dir);
	if (r == 0 && !is_of(s, keep, generation)) { /* not a regular file */
		(void)store_unlink(s->agent, keep, 0);
		return error_set(err, "generation %s: its file effective is no regular file",
		    keep + strlen(STORE_KEEP));
	}
	return r == -1 ? -1 : give_to_agent(s, keep, err);
}

int
store_switch(struct store *s, uint64_t generation, struct error *err)
{
	char keep[STORE_NAME], place[STORE_NAME];

	generation_name(keep, STORE_KEEP, generation);
	if (!is_of(s, s->config_name, generation)) {
		if (store_keep_ready(s, generation, err) == -1)
			return -1;
		if (store_place(s->agent, keep, s->config_name) == -1)
			return store_fail(err, "putting in the agent's place", keep);
	} else if (give_to_agent(s, s->config_name, err) == -1) {
		return -1;
	}
	/* a switch before this one may have been cut off here: never without it */
	if (store_sync(s->agent) == -1)
		return store_fail(err, "making durable the directory", "agent");
	generation_name(place, "generations/", generation);
	store_symlink(s->dir, place, "current");
	return 0;
}

uint64_t
store_running(struct store *s)
{
	uint64_t first[] = {s->state.trial, s->state.committed}, *list, found = 0;
	struct stat st;
	size_t count, i;

	if (identity_of(s->agent, s->config_name, &st) == -1)
		return 0;
	for (i = 0; i < sizeof(first) / sizeof(first[0]); i++)
		if (first[i] != 0 && is_of(s, s->config_name, first[i]))
			return first[i];
	if (store_generations(s, &list, &count, NULL) == -1)
		return 0;
	while (count > 0 && found == 0)
		if (is_of(s, s->config_name, list[--count]))
			found = list[count];
	free(list);
	return found;
}

/* ---- at the start */

struct sweep {
	int dir;
	char keep[STORE_NAME]; /* this one stays: a rollback may be to come */
};

static void
sweep_one(void *ctx, const char *name)
{
	struct sweep *w = ctx;

	if ((strncmp(name, STORE_NEW, strlen(STORE_NEW)) == 0 ||
		strncmp(name, STORE_KEEP, strlen(STORE_KEEP)) == 0) &&
	    strcmp(name, w->keep) != 0)
		(void)store_unlink(w->dir, name, 0);
}

void
store_agent_sweep(struct store *s)
{
	struct sweep w = {.dir = s->agent};

	generation_name(w.keep, STORE_KEEP, s->state.committed);
	(void)store_list(s->agent, sweep_one, &w, NULL);
	w.dir = s->candidate;
	(void)store_list(s->candidate, sweep_one, &w, NULL);
	store_candidate_remove(s);
}
