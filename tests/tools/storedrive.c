/*
 * storedrive.c: shows that whatever moment confd is killed, a disk fails, or the power goes, what the
 * next start finds is the old configuration or the new one, whole (I8).  It does what confd's engine
 * does with the store (an apply, one that is rolled back, a change of identity, a first start, pruning),
 * in a child that is stopped at each of its system calls: killed there; or that call fails, once or
 * from then on; or the tree is made anew as a power loss would leave it.  Then the store is opened
 * again and looked at.  Prints TAP.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "confd/store.h"
#include "image.h"
#include "stepper.h"

#define NAME "effective.yaml"

enum deed_result {
	DEED_DONE,
	DEED_ROLLED_BACK,
	DEED_NOT_OPENED,
	DEED_STUCK
};

static const uint8_t uid_old[16] = "old-identity....", uid_new[16] = "NEW-IDENTITY....";
static struct msg_environment env;
static char top[PATH_MAX], place[PATH_MAX + 16]; /* all our trees; the one at work */
static char why[4096];                           /* the first thing found wrong */

/* ---- what confd's engine does */

static void
text_of(char text[64], uint64_t generation)
{
	(void)snprintf(text, 64, "configuration: %llu # whole\n", (unsigned long long)generation);
}

static struct store *
open_store(const char *path, char told[1024], struct error *error)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir == -1 ? NULL : store_open(dir, NAME, &env, told, error);
}

static int
go_back(struct store *s, const struct store_state *before)
{
	static struct store_state st;
	int r = 0;

	st = *before;
	st.next = store_state(s)->next;
	st.status = CONFIG_FAILED;
	st.passing = 1;
	if (before->committed != 0 && store_switch(s, before->committed, NULL) == -1)
		r = -1;
	/* nothing to undo: the record need not be written */
	if (store_state(s)->phase == PHASE_TRIAL && store_state_set(s, &st, NULL) == -1)
		r = -1;
	return r == -1 ? DEED_STUCK : DEED_ROLLED_BACK;
}

/* What an interrupted trial left is undone first. */
static int
settle(struct store *s)
{
	static struct store_state st;

	st = *store_state(s);
	if (st.phase == PHASE_IDLE)
		return DEED_ROLLED_BACK;
	st.phase = PHASE_IDLE;
	st.trial = 0;
	return go_back(s, &st);
}

static int
try_generation(struct store *s, uint64_t generation)
{
	static struct store_meta meta;
	static struct store_state st;
	char text[64];

	text_of(text, generation);
	memset(&meta, 0, sizeof(meta));
	meta.generation = generation;
	meta.source = SOURCE_REMOTE;
	meta.hash_len = 8;
	memcpy(meta.hash, &generation, 8);
	st = *store_state(s);
	if (st.committed != 0 && store_keep_ready(s, st.committed, NULL) == -1)
		return -1;
	if (store_generation_make(s, &meta, "offer", 5, text, strlen(text), NULL) == -1)
		return -1;
	st.trial = generation;
	st.phase = PHASE_TRIAL;
	st.next = generation + 1;
	st.status = CONFIG_APPLYING;
	if (store_state_set(s, &st, NULL) == -1)
		return -1;
	return store_switch(s, generation, NULL);
}

static int
commit(struct store *s)
{
	static struct store_state st;

	st = *store_state(s);
	st.committed = st.trial;
	st.trial = 0;
	st.phase = PHASE_IDLE;
	st.status = CONFIG_APPLIED;
	st.hash_len = 8;
	memcpy(st.hash, &st.committed, 8);
	if (store_state_set(s, &st, NULL) == -1)
		return -1;
	(void)store_generation_outcome(s, st.committed, OUTCOME_COMMITTED, "", NULL);
	return 0;
}

static int
apply_once(struct store *s)
{
	static struct store_state before;

	if (settle(s) == DEED_STUCK)
		return DEED_STUCK;
	before = *store_state(s);
	if (try_generation(s, before.next) == -1 || commit(s) == -1)
		return go_back(s, &before);
	return DEED_DONE;
}

/* ---- the deeds */

static int
deed_apply(void *path)
{
	char told[1024];
	struct store *s = open_store(path, told, NULL);
	int r;

	if (s == NULL)
		return DEED_NOT_OPENED;
	r = apply_once(s);
	store_close(s);
	return r;
}

/* The gate says no. */
static int
deed_rollback(void *path)
{
	static struct store_state before;
	char told[1024];
	struct store *s = open_store(path, told, NULL);
	int r;

	if (s == NULL)
		return DEED_NOT_OPENED;
	before = *store_state(s);
	(void)try_generation(s, before.next);
	r = go_back(s, &before);
	(void)store_generation_outcome(s, before.next, OUTCOME_FAILED, "unhealthy", NULL);
	store_close(s);
	return r;
}

static int
deed_identity(void *path)
{
	char told[1024];
	struct store *s = open_store(path, told, NULL);
	int r;

	if (s == NULL)
		return DEED_NOT_OPENED;
	r = store_identity_set(s, uid_new, NULL) == -1 ? DEED_STUCK : apply_once(s);
	store_close(s);
	return r;
}

static int
deed_house_keeping(void *path)
{
	struct store_cache c = {.gate = 1, .description = (char *)"who", .description_len = 3};
	char told[1024];
	struct store *s = open_store(path, told, NULL);
	int r;

	if (s == NULL)
		return DEED_NOT_OPENED;
	(void)store_cache_set(s, &c, NULL);
	(void)store_candidate(s, "candidate", 9, NULL);
	r = apply_once(s);
	store_candidate_remove(s);
	store_prune(s, 1, 0);
	store_close(s);
	return r;
}

struct scenario {
	const char *name;
	int (*deed)(void *path);
	int applied; /* configurations that were there before */
	int failed;  /* one that was rolled back, and one that was cut off, before */
	int commits; /* 1: done means that a new one is committed */
	int renames; /* 1: the identity changes */
};

static const struct scenario scenarios[] = {
    {"an apply", deed_apply, 2, 0, 1, 0},
    {"a rollback", deed_rollback, 2, 0, 0, 0},
    {"a new identity", deed_identity, 2, 0, 1, 1},
    {"a first start", deed_apply, 0, 0, 1, 0},
    {"an apply after one that was cut off, cache, check, pruning", deed_house_keeping, 2, 1, 1, 0},
};

/* ---- trees */

static void
remove_all(const char *path)
{
	char below[PATH_MAX];
	struct dirent *e;
	DIR *d;

	if (unlink(path) == 0 || errno == ENOENT)
		return;
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (snprintf(below, sizeof(below), "%s/%s", path, e->d_name) < (int)sizeof(below))
			remove_all(below);
	}
	if (d != NULL)
		closedir(d);
	if (rmdir(path) == -1 && errno != ENOENT)
		err(1, "removing %s", path);
}

/* As it is before the deed, kept as an image. */
static struct image *
prepare(const struct scenario *c)
{
	struct image *made;
	struct store *s;
	struct error error;
	char told[1024];
	int i;

	if (mkdir(place, 0700) == -1)
		err(1, "%s", place);
	if (c->applied > 0) {
		s = open_store(place, told, &error);
		if (s == NULL)
			errx(1, "%s", error.text);
		if (store_identity_set(s, uid_old, &error) == -1)
			errx(1, "%s", error.text);
		for (i = 0; i < c->applied; i++)
			if (apply_once(s) != DEED_DONE)
				errx(1, "preparing");
		store_close(s);
		if (c->failed && (deed_rollback(place) != DEED_ROLLED_BACK ||
				     (s = open_store(place, told, &error)) == NULL ||
				     try_generation(s, store_state(s)->next) == -1 ||
				     store_candidate(s, "left", 4, &error) == -1))
			errx(1, "preparing one that was cut off");
		if (c->failed)
			store_close(s);
	}
	made = image_of(place);
	remove_all(place);
	return made;
}

/* ---- what the next start finds */

#define WANT(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			(void)snprintf(why, sizeof(why), "%s (line %d) (%.1000s) (%.1000s)", #x,   \
			    __LINE__, error.text, told);                                           \
			return -1;                                                                 \
		}                                                                                  \
	} while (0)

static uint64_t
agents_file(const char *path)
{
	char file[PATH_MAX], text[64], got[65];
	uint64_t number;
	ssize_t n;
	int fd;

	(void)snprintf(file, sizeof(file), "%s/agent/" NAME, path);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return 0;
	n = read(fd, got, 64);
	close(fd);
	got[n < 0 ? 0 : n] = '\0';
	for (number = 1; number < 20; number++) {
		text_of(text, number);
		if (strcmp(text, got) == 0)
			return number;
	}
	return UINT64_MAX; /* none that was ever whole */
}

static int
look_at_generations(struct store *s)
{
	struct error error = {""};
	char told[] = "", text[64], *data;
	uint64_t *list;
	size_t count, i, len;

	WANT(store_generations(s, &list, &count, &error) == 0);
	for (i = 0; i < count; i++) {
		WANT(list[i] < store_state(s)->next);
		WANT(store_generation_effective(s, list[i], &data, &len, &error) == 0);
		text_of(text, list[i]);
		WANT(len == strlen(text) && memcmp(data, text, len) == 0);
		free(data);
		WANT(store_generation_remote(s, list[i], &data, &len, &error) == 0);
		WANT(data != NULL && len == 5);
		free(data);
	}
	free(list);
	return 0;
}

static int
left_over(const char *path)
{
	struct dirent *e;
	char below[PATH_MAX];
	DIR *d = opendir(path);
	int found = 0;

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, ".new-", 5) == 0 || strncmp(e->d_name, ".old-", 5) == 0)
			found = 1;
		if (e->d_type == DT_DIR && e->d_name[0] != '.' &&
		    snprintf(below, sizeof(below), "%s/%s", path, e->d_name) < (int)sizeof(below))
			found |= left_over(below);
	}
	if (d != NULL)
		closedir(d);
	return found;
}

/* result: a deed_result or STEP_KILLED.  lossy: a power loss, a slot may be damaged. */
static int
look(const struct scenario *c, const char *path, int result, int lossy)
{
	static struct store_state st;
	struct error error = {""};
	char told[1024] = "";
	struct store *s = open_store(path, told, &error);
	uint64_t old = (uint64_t)c->applied, new = old + (c->failed ? 3 : 1), runs;
	uint8_t uid[16];
	int known;

	WANT(s != NULL);
	WANT(told[0] == '\0' || (lossy && strstr(told, "one of the two records") != NULL));
	st = *store_state(s);
	runs = agents_file(path);
	WANT(store_running(s) == runs);
	/* old or new */
	WANT(st.committed == old || (c->commits && st.committed == new));
	WANT(st.phase == PHASE_IDLE || (st.trial > st.committed && st.trial <= new));
	if (result == DEED_DONE)
		WANT(st.committed == new &&st.phase == PHASE_IDLE);
	if (result == DEED_ROLLED_BACK || (result == DEED_NOT_OPENED && !c->failed))
		WANT(st.committed == old && st.phase == PHASE_IDLE);
	/* and what is in the agent's place fits */
	if (result != DEED_STUCK && st.phase == PHASE_IDLE)
		WANT(runs == st.committed || (old == 0 && st.committed == 0));
	WANT(runs == st.committed || runs == st.trial || result == DEED_STUCK ||
	     (old == 0 && st.committed == 0));
	if (look_at_generations(s) == -1)
		return -1;
	known = store_identity(s, uid, &error);
	WANT(known == (old > 0));
	if (known)
		WANT(
		    memcmp(uid, uid_old, 16) == 0 || (c->renames && memcmp(uid, uid_new, 16) == 0));
	if (known && c->renames && result == DEED_DONE)
		WANT(memcmp(uid, uid_new, 16) == 0);
	WANT(!left_over(path));
	/* life goes on: back to the committed one, and another apply */
	WANT(apply_once(s) == DEED_DONE);
	store_close(s);
	s = open_store(path, told, &error);
	WANT(s != NULL && told[0] == '\0');
	WANT(store_state(s)->committed == store_state(s)->next - 1);
	WANT(store_running(s) == store_state(s)->committed);
	WANT(agents_file(path) == store_state(s)->committed);
	store_close(s);
	return 0;
}

/* ---- all points */

static unsigned tests, failures, all_points;

static void
report(const struct scenario *c, const char *how, unsigned points, int good, unsigned at)
{
	printf("%s %u - I8 %s: %s, %u points\n", good ? "ok" : "not ok", ++tests, c->name, how,
	    points);
	all_points += points;
	if (!good) {
		failures++;
		printf("# at %u: %s\n", at, why);
	}
	fflush(stdout);
}

static void
on_synced(void *ctx, int fd)
{
	image_synced(ctx, fd);
}

/* The tree as any of five power losses leaves it: 0, or -1. */
static int
look_at_losses(const struct scenario *c, const struct image *durable, int result, unsigned *points)
{
	static const struct {
		enum image_loss names, bytes;
	} losses[] = {{LOSS_ALL, LOSS_ALL}, {LOSS_ALL, LOSS_NONE}, {LOSS_ALL, LOSS_TORN},
	    {LOSS_NONE, LOSS_ALL}, {LOSS_NONE, LOSS_TORN}};
	struct image *now = image_of(place);
	char other[PATH_MAX + 16];
	size_t i;
	int r = 0;

	(void)snprintf(other, sizeof(other), "%s/lost", top);
	for (i = 0; i < sizeof(losses) / sizeof(losses[0]) && r == 0; i++) {
		image_make(durable, now, losses[i].names, losses[i].bytes, other);
		r = look(c, other, result, 1);
		if (r == -1)
			(void)snprintf(why + strlen(why), sizeof(why) - strlen(why),
			    " names %d, bytes %d", losses[i].names, losses[i].bytes);
		remove_all(other);
		++*points;
	}
	image_free(now);
	return r;
}

static void
kill_everywhere(const struct scenario *c, const struct image *before)
{
	unsigned at, kills = 0, losses = 0;
	int result, good = 1, survived = 1;

	for (at = 1; good && survived; at++) {
		struct image *durable;
		struct step s = {.kill_at = at, .synced = on_synced};

		image_make(before, before, LOSS_NONE, LOSS_NONE, place);
		durable = image_of(place);
		s.ctx = durable;
		result = step_run(&s, c->deed, place);
		if (result == STEP_BROKE) {
			(void)snprintf(why, sizeof(why), "stepping: %s", strerror(errno));
			good = 0;
		} else { /* at the end: what was said to be done is durable */
			survived = look_at_losses(c, durable, result, &losses) == 0;
			good = survived && look(c, place, result, 0) == 0;
			kills += s.reached != 0;
		}
		image_free(durable);
		remove_all(place);
		if (!s.reached)
			break;
	}
	report(c, "killed at each system call", kills, good || !survived, at);
	report(c, "power lost at each system call, in five ways", losses, survived, at);
}

static void
fail_everywhere(const struct scenario *c, const struct image *before, int error, int onwards)
{
	unsigned at, points = 0;
	int result, good = 1;
	char how[128];

	for (at = 1; good; at++) {
		struct step s = {.fail_at = at, .error = error, .onwards = onwards};

		image_make(before, before, LOSS_NONE, LOSS_NONE, place);
		result = step_run(&s, c->deed, place);
		if (result < 0) {
			(void)snprintf(why, sizeof(why), "the deed died: %s", strerror(errno));
			good = 0;
		} else {
			/* a disk that stays broken lets nothing be undone, either */
			if (onwards && result == DEED_ROLLED_BACK)
				result = DEED_STUCK;
			good = look(c, place, result, 0) == 0;
			if (!good)
				(void)snprintf(why + strlen(why), sizeof(why) - strlen(why),
				    " result %d", result);
		}
		remove_all(place);
		if (!s.reached)
			break;
		points++;
	}
	(void)snprintf(how, sizeof(how), "%s %s", strerrorname_np(error),
	    onwards ? "from each call on" : "from each call once");
	report(c, how, points, good, at);
}

/* Interrupted, or half done: nobody notices. */
static void
hinder_everywhere(const struct scenario *c, const struct image *before, int shorter)
{
	unsigned at, points = 0;
	int result, undisturbed = -1, good = 1;

	for (at = 0; good; at++) { /* at 0: undisturbed */
		struct step s = {.error = EINTR};

		*(shorter ? &s.short_at : &s.fail_at) = at;
		image_make(before, before, LOSS_NONE, LOSS_NONE, place);
		result = step_run(&s, c->deed, place);
		if (at == 0)
			undisturbed = result;
		good = look(c, place, result, 0) == 0;
		if (good && result != undisturbed) {
			(void)snprintf(
			    why, sizeof(why), "result %d, undisturbed %d", result, undisturbed);
			good = 0;
		}
		remove_all(place);
		if (at > 0 && !s.reached)
			break;
		points++;
	}
	report(c,
	    shorter ? "each read and write once by half, unnoticed"
		    : "EINTR from each call once, unnoticed",
	    points, good, at);
}

int
main(void)
{
	static const int errors[] = {EIO, ENOSPC, EROFS, EMFILE};
	const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
	size_t i, e;

	env.agent_gid = getegid();
	(void)snprintf(top, sizeof(top), "%s/storedrive-XXXXXX", where == NULL ? "/tmp" : where);
	if (mkdtemp(top) == NULL)
		err(1, "%s", top);
	(void)snprintf(place, sizeof(place), "%s/state", top);
	(void)umask(0);
	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		struct image *before = prepare(&scenarios[i]);

		kill_everywhere(&scenarios[i], before);
		for (e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
			fail_everywhere(&scenarios[i], before, errors[e], 0);
			fail_everywhere(&scenarios[i], before, errors[e], 1);
		}
		hinder_everywhere(&scenarios[i], before, 0);
		hinder_everywhere(&scenarios[i], before, 1);
		image_free(before);
	}
	remove_all(top);
	printf("# %u points were tried\n1..%u\n", all_points, tests);
	return failures != 0;
}
