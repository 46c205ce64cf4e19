/*
 * store_generation.c: generations on disk (see store.h).  confd only.  A generation is a directory that
 * is made whole under another name and then renamed; afterwards only its outcome, a file of its own,
 * is ever written.
 *
 *	meta       what it came from, the remote configuration itself, length and checksum of the file below
 *	effective  the file the agent runs on, readable by the agent's group
 *	outcome    how it ended; not synced, for the history
 */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define META_MAGIC    "OPAMPmt1"
#define OUTCOME_MAGIC "OPAMPoc1"
#define DIGITS        6  /* at least */
#define MOST_DIGITS   12 /* at most */
#define MOST_LISTED   65536

void
generation_name(char name[STORE_NAME], const char *prefix, uint64_t generation)
{
	(void)snprintf(
	    name, STORE_NAME, "%s%0*llu", prefix, DIGITS, (unsigned long long)generation);
}

uint64_t
generation_number(const char *name)
{
	uint64_t number = 0;
	size_t len = strspn(name, "0123456789"), i;

	if (name[len] != '\0' || len < DIGITS || len > MOST_DIGITS ||
	    (len > DIGITS && name[0] == '0'))
		return 0;
	for (i = 0; i < len; i++)
		number = number * 10 + (uint64_t)(name[i] - '0');
	return number;
}

/* ---- making */

static int
pack_meta(struct pack *p, const struct store_meta *m, const void *remote, size_t remote_len,
    const void *effective, size_t effective_len)
{
	pack_begin(p, META_MAGIC);
	pack_u64(p, m->generation);
	pack_u32(p, m->source);
	pack_u64(p, m->made_ns);
	pack_bytes(p, m->hash, m->hash_len);
	pack_u64(p, effective_len);
	pack_u64(p, store_crc(0, effective, effective_len));
	pack_u32(p, remote != NULL);
	pack_bytes(p, remote, remote != NULL ? remote_len : 0);
	return pack_finish(p);
}

static int
write_files(struct store *s, int dir, const struct pack *meta, const void *effective,
    size_t effective_len, struct error *err)
{
	struct store_file run = {.name = STORE_RUN,
	    .mode = 0640,
	    .group = s->env.agent_gid,
	    .sync = 1,
	    .what = "a generation's file effective"};
	struct store_file m = {
	    .name = STORE_META, .mode = 0600, .sync = 1, .what = "a generation's file meta"};

	if (store_create(dir, &run, effective, effective_len, err) == -1 ||
	    store_create(dir, &m, meta->data, meta->len, err) == -1)
		return -1;
	if (store_sync(dir) == -1)
		return store_fail(err, "making durable", "a generation's directory");
	return 0;
}

/* Under its final name and durable there; -1: it may have either name. */
static int
place(struct store *s, const char *fresh, const char *name, struct error *err)
{
	if (store_rename(s->generations, fresh, s->generations, name) == -1)
		return store_fail(err, "giving its name to generation", name);
	if (store_sync(s->generations) == -1)
		return store_fail(err, "making durable generation", name);
	return 0;
}

static void
remove_generation(struct store *s, const char *name, uint64_t generation)
{
	char old[STORE_NAME];

	/* by a rename first: half a generation is never to be seen under its name */
	generation_name(old, STORE_OLD, generation);
	(void)store_remove_tree(s->generations, old);
	if (store_rename(s->generations, name, s->generations, old) == 0)
		(void)store_remove_tree(s->generations, old);
}

int
store_generation_make(struct store *s, const struct store_meta *meta, const void *remote,
    size_t remote_len, const void *effective, size_t effective_len, struct error *err)
{
	char name[STORE_NAME], fresh[STORE_NAME];
	struct pack p;
	int dir, r = -1;

	generation_name(name, "", meta->generation);
	generation_name(fresh, STORE_NEW, meta->generation);
	if (meta->generation == 0 || generation_number(name) != meta->generation ||
	    meta->source > SOURCE_IDENTITY || meta->hash_len > sizeof(meta->hash))
		return error_set(err, "generation %llu cannot be made: not a number for one",
		    (unsigned long long)meta->generation);
	dir = store_openat(s->generations, name, O_PATH | O_NOFOLLOW, 0);
	if (dir >= 0) {
		close(dir);
		return error_set(err, "generation %s is there already", name);
	}
	if (pack_meta(&p, meta, remote, remote_len, effective, effective_len) == -1)
		return error_set(err, "no memory for generation %s", name);
	if (p.len > LIMIT_MEMFD || effective_len > LIMIT_MEMFD) {
		free(p.data);
		return error_set(err, "generation %s is larger than %u bytes", name, LIMIT_MEMFD);
	}
	(void)store_remove_tree(s->generations, fresh);
	if (TEMP_FAILURE_RETRY(mkdirat(s->generations, fresh, 0700)) == -1 &&
	    (errno != EEXIST || store_set_aside(s->generations, fresh, s->owner) == -1 ||
		TEMP_FAILURE_RETRY(mkdirat(s->generations, fresh, 0700)) == -1)) {
		store_fail(err, "making the directory of generation", name);
		free(p.data);
		return -1;
	}
	dir = store_openat(s->generations, fresh, O_RDONLY | O_DIRECTORY, 0);
	if (dir == -1)
		store_fail(err, "opening the directory of generation", name);
	else
		r = write_files(s, dir, &p, effective, effective_len, err);
	if (dir >= 0)
		close(dir);
	free(p.data);
	if (r == 0)
		r = place(s, fresh, name, err);
	if (r == -1) {
		(void)store_remove_tree(s->generations, fresh);
		remove_generation(s, name, meta->generation);
	}
	return r;
}

/* ---- how it ended */

int
generation_open(struct store *s, uint64_t generation, struct error *err)
{
	char name[STORE_NAME];
	int dir;

	generation_name(name, "", generation);
	dir = store_openat(s->generations, name, O_RDONLY | O_DIRECTORY, 0);
	if (dir == -1)
		return store_fail(err, "opening generation", name);
	return dir;
}

int
store_generation_outcome(struct store *s, uint64_t generation, enum store_outcome outcome,
    const char *message, struct error *err)
{
	struct store_file f = {
	    .name = STORE_OUTCOME, .mode = 0600, .what = "a generation's file outcome"};
	struct timespec now = {0, 0};
	struct pack p;
	int dir = generation_open(s, generation, err), r;

	if (dir == -1)
		return -1;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	pack_begin(&p, OUTCOME_MAGIC);
	pack_u64(&p, generation);
	pack_u32(&p, outcome);
	pack_u64(&p, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
	pack_bytes(&p, message, message == NULL ? 0 : strnlen(message, STORE_MESSAGE - 1));
	if (pack_finish(&p) == -1) {
		close(dir);
		return error_set(err, "no memory for the outcome of a generation");
	}
	r = store_create(dir, &f, p.data, p.len, err); /* half of it counts as none */
	free(p.data);
	close(dir);
	return r;
}

/* Damaged or not there: it is not known how it ended. */
static void
read_outcome(struct store *s, int dir, struct store_meta *meta)
{
	const char *message;
	struct unpack u;
	char *data;
	size_t len, message_len;
	uint64_t generation, ended;
	uint32_t outcome;

	if (store_read(dir, STORE_OUTCOME, s->owner, LIMIT_STATE_FILE, &data, &len, NULL) != 1)
		return;
	if (unpack_begin(&u, OUTCOME_MAGIC, data, len) == 0) {
		generation = unpack_u64(&u);
		outcome = unpack_u32(&u);
		ended = unpack_u64(&u);
		message = unpack_bytes(&u, STORE_MESSAGE - 1, &message_len);
		if (unpack_end(&u) == 0 && generation == meta->generation &&
		    outcome <= OUTCOME_FAILED) {
			meta->outcome = outcome;
			meta->ended_ns = ended;
			memcpy(meta->message, message, message_len);
			meta->message[message_len] = '\0';
		}
	}
	free(data);
}

/* ---- reading */

int
store_meta_parse(const void *data, size_t len, struct store_meta *meta,
    struct generation_file *file, const void **remote, size_t *remote_len)
{
	struct unpack u;
	const void *hash;
	size_t hash_len;
	uint32_t has_remote;

	memset(meta, 0, sizeof(*meta));
	if (unpack_begin(&u, META_MAGIC, data, len) == -1)
		return 0;
	meta->generation = unpack_u64(&u);
	meta->source = unpack_u32(&u);
	meta->made_ns = unpack_u64(&u);
	hash = unpack_bytes(&u, sizeof(meta->hash), &hash_len);
	file->len = unpack_u64(&u);
	file->crc = unpack_u64(&u);
	has_remote = unpack_u32(&u);
	*remote = unpack_bytes(&u, LIMIT_MEMFD, remote_len);
	if (unpack_end(&u) == -1 || meta->source > SOURCE_IDENTITY || has_remote > 1)
		return 0;
	meta->hash_len = (uint32_t)hash_len;
	memcpy(meta->hash, hash, hash_len);
	if (!has_remote)
		*remote = NULL;
	return 1;
}

int
generation_read(struct store *s, uint64_t generation, struct store_meta *meta,
    struct generation_file *file, char **remote, size_t *remote_len, struct error *err)
{
	const void *part;
	size_t len, part_len;
	char *data;
	int dir = generation_open(s, generation, err), r;

	if (dir == -1)
		return -1;
	r = store_read(dir, STORE_META, s->owner, LIMIT_MEMFD, &data, &len, err);
	if (r == 0)
		error_set(err, "its file meta is gone");
	if (r == 1) /* a failure from here on is no error of a call */
		errno = 0;
	if (r == 1 && (!store_meta_parse(data, len, meta, file, &part, &part_len) ||
			  meta->generation != generation)) {
		error_set(err, "its file meta is damaged");
		free(data);
		r = -1;
	}
	if (r != 1) {
		close(dir);
		return error_prefix(err, "generation %llu", (unsigned long long)generation);
	}
	read_outcome(s, dir, meta);
	close(dir);
	if (remote != NULL && part != NULL) { /* the buffer goes on as the remote part's */
		memmove(data, part, part_len);
		data[part_len] = '\0';
		*remote = data;
		*remote_len = part_len;
		return 0;
	}
	free(data);
	if (remote != NULL) {
		*remote = NULL;
		*remote_len = 0;
	}
	return 0;
}

int
store_generation_meta(
    struct store *s, uint64_t generation, struct store_meta *meta, struct error *err)
{
	struct generation_file file;

	return generation_read(s, generation, meta, &file, NULL, NULL, err);
}

int
store_generation_remote(
    struct store *s, uint64_t generation, char **data, size_t *len, struct error *err)
{
	struct generation_file file;
	struct store_meta *meta = malloc(sizeof(*meta));
	int r;

	if (meta == NULL)
		return error_set(err, "no memory for a generation");
	r = generation_read(s, generation, meta, &file, data, len, err);
	free(meta);
	return r;
}

int
store_generation_effective(
    struct store *s, uint64_t generation, char **data, size_t *len, struct error *err)
{
	struct generation_file file;
	struct store_meta *meta = malloc(sizeof(*meta));
	int dir, r;

	if (meta == NULL)
		return error_set(err, "no memory for a generation");
	r = generation_read(s, generation, meta, &file, NULL, NULL, err);
	free(meta);
	if (r == -1 || (dir = generation_open(s, generation, err)) == -1)
		return -1;
	r = store_read(dir, STORE_RUN, s->owner, LIMIT_MEMFD, data, len, err);
	close(dir);
	if (r == 0)
		error_set(err, "its file effective is gone");
	if (r == 1)
		errno = 0;
	if (r == 1 && (*len != file.len || store_crc(0, *data, *len) != file.crc)) {
		free(*data);
		error_set(err, "its file effective was changed, or is damaged");
		r = -1;
	}
	return r == 1 ? 0 : error_prefix(err, "generation %llu", (unsigned long long)generation);
}

/* ---- all of them */

struct numbers {
	uint64_t *list;
	size_t count, size;
	int failed;
};

static void
add_number(void *ctx, const char *name)
{
	struct numbers *n = ctx;
	uint64_t number = generation_number(name), *bigger;

	if (number == 0 || n->failed || n->count == MOST_LISTED)
		return;
	if (n->count == n->size) {
		bigger = reallocarray(n->list, n->size * 2 + 16, sizeof(*n->list));
		if (bigger == NULL) {
			n->failed = 1;
			return;
		}
		n->list = bigger;
		n->size = n->size * 2 + 16;
	}
	n->list[n->count++] = number;
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int
store_generations(struct store *s, uint64_t **list, size_t *count, struct error *err)
{
	struct numbers n = {NULL, 0, 0, 0};

	*list = NULL;
	*count = 0;
	if (store_list(s->generations, add_number, &n, err) == -1 || n.failed) {
		free(n.list);
		return n.failed ? error_set(err, "no memory to list the generations") : -1;
	}
	if (n.count > 0)
		qsort(n.list, n.count, sizeof(*n.list), by_number);
	*list = n.list;
	*count = n.count;
	return 0;
}

/* The newest that proved itself beside the committed one: what a damaged one falls back to.  0: none. */
static uint64_t
second_best(struct store *s, const uint64_t *list, size_t count)
{
	struct store_meta *meta = calloc(1, sizeof(*meta));
	uint64_t found = 0;

	if (meta == NULL)
		return 0;
	for (; count > 0 && found == 0; count--)
		if (list[count - 1] != s->state.committed &&
		    store_generation_meta(s, list[count - 1], meta, NULL) == 0 &&
		    meta->outcome == OUTCOME_COMMITTED)
			found = list[count - 1];
	free(meta);
	return found;
}

/* The oldest ones of list until only `keep` are left; gives how many are. */
static size_t
prune(struct store *s, uint64_t *list, size_t count, size_t left, uint64_t keep,
    const uint64_t spared[4])
{
	char name[STORE_NAME];
	size_t i;

	for (i = 0; i < count && left > keep; i++) {
		if (list[i] == 0 || list[i] == s->state.committed || list[i] == spared[0] ||
		    list[i] == spared[1] || list[i] == spared[2] || list[i] == spared[3])
			continue;
		generation_name(name, "", list[i]);
		remove_generation(s, name, list[i]);
		list[i] = 0;
		left--;
	}
	return left;
}

void
store_prune(struct store *s, uint64_t keep, uint64_t spare)
{
	uint64_t *list, spared[4] = {s->state.trial, spare};
	size_t count, left;

	if (store_generations(s, &list, &count, NULL) == -1)
		return;
	spared[2] = store_running(s);
	if (count > keep) {
		/* any number of offers that fail must not push it out; where it is one too many it goes last */
		spared[3] = second_best(s, list, count);
		left = prune(s, list, count, count, keep, spared);
		spared[3] = 0;
		(void)prune(s, list, count, left, keep, spared);
	}
	free(list);
}

static void
sweep_one(void *ctx, const char *name)
{
	struct store *s = ctx;

	if (strncmp(name, STORE_NEW, strlen(STORE_NEW)) == 0 ||
	    strncmp(name, STORE_OLD, strlen(STORE_OLD)) == 0)
		(void)store_remove_tree(s->generations, name);
}

void
generation_sweep(struct store *s)
{
	(void)store_list(s->generations, sweep_one, s, NULL);
}
