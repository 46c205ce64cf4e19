/*
 * store_test.c: what confd has on disk: every function, damage in every byte, leftovers, disks that
 * are full or read-only, things planted in the directory.  (Kills and errors at each system call are
 * in tests/system/store_crash.t.)
 */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confd/store.h"
#include "confd/store_internal.h"
#include "privsep/landlock.h"
#include "privsep/log.h"
#include "privsep/sandbox.h"

#define NAME "effective.yaml"

/* ---- syncs are counted: these take libc's place in this program */

static unsigned syncs;

int fsync(int fd);
int fdatasync(int fd);

int
fsync(int fd)
{
	syncs++;
	return (int)syscall(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
	syncs++;
	return (int)syscall(SYS_fdatasync, fd);
}

/* ---- a directory for each test */

static char top[64];
static char told[1024];
static struct error err;
static struct msg_environment env;

static int
setup(void **state)
{
	(void)state;
	strcpy(top, "/tmp/store-test-XXXXXX");
	if (mkdtemp(top) == NULL)
		return -1;
	memset(&env, 0, sizeof(env));
	env.agent_gid = getgid();
	env.binary_ino = 42;
	return 0;
}

static void
remove_all(const char *path)
{
	char below[4096];
	struct dirent *e;
	DIR *d;

	if (unlink(path) == 0 || errno == ENOENT)
		return;
	(void)chmod(path, 0700);
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
		remove_all(below);
	}
	if (d != NULL)
		closedir(d);
	(void)rmdir(path);
}

static int
teardown(void **state)
{
	(void)state;
	remove_all(top);
	return 0;
}

static const char *
at(const char *name)
{
	static char paths[4][256];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	snprintf(path, 256, "%s/%s", top, name);
	return path;
}

static struct store *
try_open(void)
{
	int dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir == -1) {
		error_errno(&err, "opening %s", top);
		return NULL;
	}
	return store_open(dir, NAME, &env, told, &err);
}

static struct store *
must_open(void)
{
	struct store *s = try_open();

	if (s == NULL)
		print_error("%s\n", err.text);
	assert_non_null(s);
	return s;
}

static int
exists(const char *name)
{
	struct stat st;

	return lstat(at(name), &st) == 0;
}

static char *
slurp(const char *name, size_t *len)
{
	static char buf[1 << 20];
	FILE *f = fopen(at(name), "rb");

	assert_non_null(f);
	*len = fread(buf, 1, sizeof(buf) - 1, f);
	buf[*len] = '\0';
	fclose(f);
	return buf;
}

static void
spit(const char *name, const void *data, size_t len)
{
	FILE *f = fopen(at(name), "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

static int
make(struct store *s, uint64_t generation, const char *effective)
{
	struct store_meta m = {
	    .generation = generation, .source = SOURCE_REMOTE, .made_ns = 5, .hash_len = 4};

	memcpy(m.hash, "hash", 4);
	return store_generation_make(s, &m, "offer", 5, effective, strlen(effective), &err);
}

/* What the engine does for an offer that proves itself. */
static int
apply(struct store *s, uint64_t generation, const char *effective)
{
	struct store_state st = *store_state(s);

	if (st.committed != 0 && store_keep_ready(s, st.committed, &err) == -1)
		return -1;
	if (make(s, generation, effective) == -1)
		return -1;
	st.trial = generation;
	st.phase = PHASE_TRIAL;
	st.next = generation + 1;
	st.status = CONFIG_APPLYING;
	if (store_state_set(s, &st, &err) == -1 || store_switch(s, generation, &err) == -1)
		return -1;
	st.committed = generation;
	st.trial = 0;
	st.phase = PHASE_IDLE;
	st.status = CONFIG_APPLIED;
	st.hash_len = 4;
	memcpy(st.hash, "hash", 4);
	if (store_state_set(s, &st, &err) == -1)
		return -1;
	(void)store_generation_outcome(s, generation, OUTCOME_COMMITTED, "", &err);
	return 0;
}

static void
effective_is(struct store *s, uint64_t generation, const char *text)
{
	char *data = NULL;
	size_t len;

	assert_int_equal(store_generation_effective(s, generation, &data, &len, &err), 0);
	assert_string_equal(data, text);
	assert_int_equal(len, strlen(text));
	free(data);
}

static void
runs(const char *text)
{
	size_t len;

	assert_string_equal(slurp("agent/" NAME, &len), text);
}

/* ---- what it is for */

static void
test_a_new_directory_has_nothing(void **state)
{
	struct store_cache c = {0};
	struct store *s = must_open();
	uint64_t *list;
	uint8_t uid[16];
	size_t count;
	struct stat st;

	(void)state;
	assert_string_equal(told, "");
	assert_int_equal(store_state(s)->committed, 0);
	assert_int_equal(store_state(s)->next, 1);
	assert_int_equal(store_identity(s, uid, &err), 0);
	assert_int_equal(store_running(s), 0);
	assert_int_equal(store_generations(s, &list, &count, &err), 0);
	assert_int_equal(count, 0);
	free(list);
	store_cache(s, &c);
	assert_int_equal(c.gate, -1);
	assert_null(c.description);
	assert_int_equal(stat(at("agent"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 02750);
	assert_int_equal(stat(at("agent/candidate"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 02750);
	assert_int_equal(stat(at("generations"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(at("state"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	store_close(s);
	store_close(NULL);
	s = must_open();
	assert_string_equal(told, "");
	store_close(s);
}

static void
test_I8_an_apply_is_kept(void **state)
{
	struct store_meta *m = malloc(sizeof(*m));
	struct store *s = must_open();
	struct stat st;
	char *data, link[64];
	size_t len;
	ssize_t n;

	(void)state;
	assert_non_null(m);
	assert_int_equal(apply(s, 1, "one\n"), 0);
	assert_int_equal(apply(s, 2, "two\n"), 0);
	store_close(s);
	s = must_open();
	assert_string_equal(told, "");
	assert_int_equal(store_state(s)->committed, 2);
	assert_int_equal(store_state(s)->phase, PHASE_IDLE);
	assert_int_equal(store_state(s)->next, 3);
	assert_int_equal(store_state(s)->status, CONFIG_APPLIED);
	assert_int_equal(store_state(s)->hash_len, 4);
	assert_memory_equal(store_state(s)->hash, "hash", 4);
	assert_int_equal(store_running(s), 2);
	runs("two\n");
	effective_is(s, 1, "one\n");
	effective_is(s, 2, "two\n");
	assert_int_equal(store_generation_remote(s, 2, &data, &len, &err), 0);
	assert_int_equal(len, 5);
	assert_memory_equal(data, "offer", 5);
	free(data);
	assert_int_equal(store_generation_meta(s, 2, m, &err), 0);
	assert_int_equal(m->source, SOURCE_REMOTE);
	assert_int_equal(m->outcome, OUTCOME_COMMITTED);
	assert_true(m->ended_ns > 1000000000000000000u);
	assert_int_equal(m->made_ns, 5);
	assert_int_equal(stat(at("agent/" NAME), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_gid, env.agent_gid);
	n = readlink(at("current"), link, sizeof(link));
	assert_int_equal(n, 18);
	assert_memory_equal(link, "generations/000002", 18);
	n = readlink(at("committed"), link, sizeof(link));
	assert_int_equal(n, 18);
	assert_memory_equal(link, "generations/000002", 18);
	assert_false(exists("agent/.keep-000001")); /* nobody goes back to it */
	store_close(s);
	free(m);
}

static void
test_at_most_seven_syncs_for_an_apply(void **state)
{
	struct store *s = must_open();

	(void)state;
	assert_int_equal(apply(s, 1, "one\n"), 0);
	syncs = 0;
	assert_int_equal(apply(s, 2, "two\n"), 0);
	print_message("an apply: %u syncs\n", syncs);
	assert_true(syncs >= 5 && syncs <= 7);
	syncs = 0;
	assert_int_equal(store_keep_ready(s, 1, &err), 0);
	assert_int_equal(store_switch(s, 1, &err), 0);
	assert_int_equal(syncs, 1);
	store_close(s);
}

static void
test_a_local_generation_has_no_remote_part(void **state)
{
	struct store_meta m = {.generation = 1, .source = SOURCE_LOCAL};
	struct store *s = must_open();
	char *data = (char *)1;
	size_t len;

	(void)state;
	assert_int_equal(store_generation_make(s, &m, NULL, 0, "", 0, &err), 0);
	assert_int_equal(store_generation_remote(s, 1, &data, &len, &err), 0);
	assert_null(data);
	effective_is(s, 1, ""); /* an empty file is one */
	store_close(s);
}

static void
test_numbers_are_never_used_twice(void **state)
{
	struct store_state st;
	struct store *s = must_open();

	(void)state;
	assert_int_equal(apply(s, 1, "one\n"), 0);
	assert_int_equal(make(s, 1, "again\n"), -1);
	assert_non_null(strstr(err.text, "is there already"));
	effective_is(s, 1, "one\n");
	st = *store_state(s);
	st.next = 1;
	assert_int_equal(store_state_set(s, &st, &err), -1);
	st.next = 2;
	st.committed = 2;
	assert_int_equal(store_state_set(s, &st, &err), -1);
	assert_int_equal(store_state(s)->committed, 1);
	/* made, and confd died before the record knew of it */
	assert_int_equal(make(s, 7, "seven\n"), 0);
	store_close(s);
	s = must_open();
	assert_int_equal(store_state(s)->next, 8);
	assert_int_equal(store_state(s)->committed, 1);
	assert_int_equal(make(s, 0, "zero\n"), -1);
	assert_int_equal(make(s, 1000000000000, "large\n"), -1);
	assert_int_equal(make(s, 999999, "six digits\n"), 0);
	assert_int_equal(make(s, 1000000, "seven digits\n"), 0);
	store_close(s);
	s = must_open();
	assert_int_equal(store_state(s)->next, 1000001);
	store_close(s);
}

/* A record ends where the opampd that wrote it knew nothing more. */
static void
test_an_earlier_record_is_read(void **state)
{
	struct store *s = must_open();
	struct store_state *found = malloc(sizeof(*found)), st = *store_state(s);
	uint64_t sequence, used, crc;
	char *data;
	size_t len;

	(void)state;
	assert_non_null(found);
	st.status = CONFIG_FAILED;
	st.sum = 0x1234567890;
	assert_int_equal(store_state_set(s, &st, &err), 0);
	assert_int_equal(store_state_set(s, &st, &err), 0);
	store_close(s);
	data = slurp("state", &len);
	assert_true(store_state_parse(data, STORE_SLOT, found, &sequence));
	assert_true(found->sum == 0x1234567890);
	memcpy(&used, data + STORE_MAGIC, sizeof(used));
	used -= sizeof(uint64_t);
	memcpy(data + STORE_MAGIC, &used, sizeof(used));
	crc = store_crc(0, data, (size_t)used - sizeof(crc));
	memcpy(data + used - sizeof(crc), &crc, sizeof(crc));
	assert_true(store_state_parse(data, STORE_SLOT, found, &sequence));
	assert_true(found->sum == 0);
	assert_int_equal(found->status, CONFIG_FAILED);
	free(found);
}

static void
test_pruning_spares_what_is_needed(void **state)
{
	struct store_state st;
	struct store *s = must_open();
	uint64_t *list, i;
	size_t count;

	(void)state;
	assert_int_equal(apply(s, 1, "one\n"), 0);
	for (i = 2; i <= 12; i++)
		assert_int_equal(make(s, i, "more\n"), 0);
	st = *store_state(s);
	st.trial = 3;
	st.phase = PHASE_TRIAL;
	st.next = 13;
	assert_int_equal(store_state_set(s, &st, &err), 0);
	store_prune(s, 5, 2);
	assert_int_equal(store_generations(s, &list, &count, &err), 0);
	assert_int_equal(count, 5);
	assert_int_equal(list[0], 1);
	assert_int_equal(list[1], 2);
	assert_int_equal(list[2], 3);
	assert_int_equal(list[3], 11);
	assert_int_equal(list[4], 12);
	free(list);
	store_prune(s, 0, 0);
	assert_int_equal(store_generations(s, &list, &count, &err), 0);
	assert_int_equal(count, 2);
	free(list);
	assert_int_equal(store_state(s)->next, 13);
	runs("one\n");
	store_close(s);
}

/* Nine offers that fail push out nine others, but not what a damaged committed one falls back to. */
static void
test_pruning_keeps_one_to_fall_back_to(void **state)
{
	struct store *s = must_open();
	uint64_t *list, i;
	size_t count;

	(void)state;
	for (i = 1; i <= 3; i++)
		assert_int_equal(apply(s, i, "proven\n"), 0);
	for (i = 4; i <= 20; i++) {
		store_prune(s, 4, 0);
		assert_int_equal(make(s, i, "fails\n"), 0);
		(void)store_generation_outcome(s, i, OUTCOME_FAILED, "no", &err);
	}
	assert_int_equal(store_generations(s, &list, &count, &err), 0);
	assert_int_equal(count, 5);
	assert_int_equal(list[0], 2);
	assert_int_equal(list[1], 3); /* committed */
	assert_int_equal(list[2], 18);
	free(list);
	/* it is one of those that are counted */
	store_prune(s, 1, 0);
	assert_int_equal(store_generations(s, &list, &count, &err), 0);
	assert_int_equal(count, 1);
	assert_int_equal(list[0], 3);
	free(list);
	store_close(s);
}

static void
test_candidate_comes_and_goes(void **state)
{
	struct store *s = must_open();
	struct stat st;
	size_t len;

	(void)state;
	assert_int_equal(store_candidate(s, "try", 3, &err), 0);
	assert_int_equal(stat(at("agent/candidate/" NAME), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(store_candidate(s, "again", 5, &err), 0);
	assert_string_equal(slurp("agent/candidate/" NAME, &len), "again");
	store_candidate_remove(s);
	store_candidate_remove(s);
	assert_false(exists("agent/candidate/" NAME));
	assert_int_equal(store_candidate(s, "left", 4, &err), 0);
	store_close(s);
	store_close(must_open());
	assert_false(exists("agent/candidate/" NAME)); /* a check that was cut off */
}

static void
test_cache_belongs_to_one_binary(void **state)
{
	struct store_cache c = {.gate = 1, .description = (char *)"who", .description_len = 3},
			   got = {0};
	struct store *s = must_open();
	char *large = calloc(1, LIMIT_STATE_DESCRIPTION + 1);

	(void)state;
	assert_non_null(large);
	assert_int_equal(store_cache_set(s, &c, &err), 0);
	store_cache(s, &got);
	assert_int_equal(got.gate, 1);
	assert_int_equal(got.description_len, 3);
	assert_memory_equal(got.description, "who", 3);
	store_cache_free(&got);
	c.description = large;
	c.description_len = LIMIT_STATE_DESCRIPTION + 1;
	assert_int_equal(store_cache_set(s, &c, &err), -1);
	c.description_len--;
	c.gate = 0;
	assert_int_equal(store_cache_set(s, &c, &err), 0);
	store_cache(s, &got);
	assert_int_equal(got.gate, 0);
	assert_int_equal(got.description_len, LIMIT_STATE_DESCRIPTION);
	store_cache_free(&got);
	c.description = NULL;
	c.gate = -1;
	assert_int_equal(store_cache_set(s, &c, &err), 0);
	store_cache(s, &got);
	assert_int_equal(got.gate, -1);
	assert_null(got.description);
	c.gate = 1;
	assert_int_equal(store_cache_set(s, &c, &err), 0);
	store_close(s);
	env.binary_mtime++;
	s = must_open();
	store_cache(s, &got);
	assert_int_equal(got.gate, -1);
	store_close(s);
	free(large);
}

/* What cannot be read for want of a descriptor is not damaged: nothing else takes its place. */
static void
test_I8_no_descriptor_is_no_damage(void **state)
{
	static const uint8_t one[16] = "0123456789abcde";
	struct rlimit before, few;
	struct store *s = must_open();
	uint8_t uid[16];
	int spare, opened = 0, n, r;

	(void)state;
	assert_int_equal(apply(s, 1, "first"), 0);
	assert_int_equal(apply(s, 2, "second"), 0);
	assert_int_equal(store_identity_set(s, one, &err), 0);
	store_close(s);
	spare = dup(0);
	close(spare);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (n = 1; n < 16; n++) {
		few = (struct rlimit){(rlim_t)(spare + n), before.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		s = try_open();
		r = s == NULL ? 0 : store_identity(s, uid, &err);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		if (s == NULL)
			continue;
		opened++;
		assert_string_equal(told, "");
		assert_int_equal(store_state(s)->committed, 2);
		assert_true(r == 1 || r == -2);
		store_close(s);
	}
	assert_true(opened > 0 && opened < 15);
}

static void
test_identity_is_kept(void **state)
{
	static const uint8_t one[16] = "0123456789abcde", two[16] = "ABCDEFGHIJKLMNO";
	struct store *s = must_open();
	uint8_t uid[16];
	size_t len;

	(void)state;
	assert_int_equal(store_identity_set(s, one, &err), 0);
	store_close(s);
	s = must_open();
	assert_int_equal(store_identity(s, uid, &err), 1);
	assert_memory_equal(uid, one, 16);
	assert_int_equal(store_identity_set(s, two, &err), 0);
	assert_int_equal(store_identity(s, uid, &err), 1);
	assert_memory_equal(uid, two, 16);
	assert_memory_equal(slurp("identity", &len), "41424344-4546-4748-494a-4b4c4d4e4f00 ", 37);
	store_close(s);
}

static void
test_checksum_is_the_one_it_says(void **state)
{
	(void)state;
	assert_true(store_crc(0, "123456789", 9) == 0x995dc9bbdf1939faull);
	assert_true(store_crc(store_crc(0, "1234", 4), "56789", 5) == 0x995dc9bbdf1939faull);
}

/* ---- damage: each byte in turn */

static void
test_damaged_identity_is_told(void **state)
{
	static const uint8_t one[16] = "0123456789abcde";
	struct store *s = must_open();
	char good[64];
	uint8_t uid[16];
	size_t len, i;
	unsigned bit;

	(void)state;
	assert_int_equal(store_identity_set(s, one, &err), 0);
	memcpy(good, slurp("identity", &len), sizeof(good));
	for (i = 0; i < len; i++)
		for (bit = 0; bit < 8; bit++) {
			good[i] ^= (char)(1 << bit);
			spit("identity", good, len);
			assert_int_equal(store_identity(s, uid, &err), -1);
			good[i] ^= (char)(1 << bit);
		}
	for (i = 0; i < len; i++) {
		spit("identity", good, i);
		assert_int_equal(store_identity(s, uid, &err), -1);
	}
	assert_int_equal(store_identity_set(s, one, &err), 0);
	assert_int_equal(store_identity(s, uid, &err), 1);
	store_close(s);
}

static void
test_I8_damaged_slot_gives_way_to_the_other(void **state)
{
	struct store *s = must_open();
	struct store_state *found = malloc(sizeof(*found));
	uint64_t sequence, newest;
	char *good, *bad;
	size_t len, i, slot, used;

	(void)state;
	assert_non_null(found);
	assert_int_equal(apply(s, 1, "one\n"), 0);
	store_close(s);
	bad = malloc(2 * STORE_SLOT);
	good = malloc(2 * STORE_SLOT);
	assert_non_null(bad);
	assert_non_null(good);
	memcpy(good, slurp("state", &len), 2 * STORE_SLOT);
	assert_int_equal(len, 2 * STORE_SLOT);
	assert_true(store_state_parse(good, STORE_SLOT, found, &sequence));
	assert_true(store_state_parse(good + STORE_SLOT, STORE_SLOT, found, &newest));
	slot = newest > sequence;
	memcpy(&used, good + slot * STORE_SLOT + STORE_MAGIC, sizeof(used));
	assert_true(used > 60 && used < 200);
	for (i = 0; i < used; i++) { /* the newest one loses a byte */
		memcpy(bad, good, 2 * STORE_SLOT);
		bad[slot * STORE_SLOT + i] ^= 0x41;
		spit("state", bad, len);
		s = must_open();
		assert_non_null(
		    strstr(told, "one of the two records in the file state is damaged"));
		assert_int_equal(store_state(s)->phase, PHASE_TRIAL);
		assert_int_equal(store_state(s)->trial, 1);
		assert_int_equal(store_state(s)->committed, 0);
		store_close(s);
	}
	for (i = 0; i < used; i++) { /* the older one: nobody minds */
		memcpy(bad, good, 2 * STORE_SLOT);
		bad[(1 - slot) * STORE_SLOT + i] ^= 0x41;
		spit("state", bad, len);
		s = must_open();
		assert_int_equal(store_state(s)->committed, 1);
		assert_int_equal(store_state(s)->phase, PHASE_IDLE);
		store_close(s);
	}
	for (i = 0; i < 2 * STORE_SLOT; i += 1021) { /* cut off anywhere */
		spit("state", good, i);
		s = must_open();
		assert_true(store_state(s)->committed == 1 || store_state(s)->trial == 1);
		assert_int_equal(store_state(s)->next, 2);
		store_close(s);
	}
	free(found);
	free(good);
	free(bad);
}

static void
test_lost_record_is_taken_from_the_generations(void **state)
{
	struct store *s = must_open();

	(void)state;
	assert_int_equal(apply(s, 1, "one\n"), 0);
	assert_int_equal(apply(s, 2, "two\n"), 0);
	assert_int_equal(make(s, 3, "never proved itself\n"), 0);
	store_close(s);
	spit("state", "nonsense", 8);
	s = must_open();
	assert_non_null(strstr(told, "each of the two records in the file state is damaged"));
	assert_non_null(strstr(told, "the state record is lost"));
	assert_int_equal(store_state(s)->committed, 2);
	assert_int_equal(store_state(s)->phase, PHASE_IDLE);
	assert_int_equal(store_state(s)->status, CONFIG_UNSET);
	assert_int_equal(store_state(s)->next, 4);
	store_close(s);
	s = must_open(); /* and is whole again */
	assert_string_equal(told, "");
	assert_int_equal(store_state(s)->committed, 2);
	store_close(s);
	assert_int_equal(unlink(at("state")), 0);
	s = must_open();
	assert_int_equal(store_state(s)->committed, 2);
	store_close(s);
	assert_int_equal(truncate(at("state"), 100 << 20), 0); /* far too large is no harm */
	s = must_open();
	assert_int_equal(store_state(s)->committed, 2);
	store_close(s);
}

static void
test_damaged_generation_is_never_run(void **state)
{
	static const char *const files[] = {
	    "generations/000002/meta", "generations/000002/effective"};
	struct store *s = must_open();
	struct store_meta *m = malloc(sizeof(*m));
	char good[512], *data;
	size_t len, i, f, n;

	(void)state;
	assert_non_null(m);
	assert_int_equal(apply(s, 1, "one\n"), 0);
	assert_int_equal(apply(s, 2, "two\n"), 0);
	for (f = 0; f < 2; f++) {
		memcpy(good, slurp(files[f], &len), sizeof(good));
		assert_true(len < sizeof(good));
		for (i = 0; i < len; i++) {
			good[i] ^= 0x10;
			spit(files[f], good, len);
			good[i] ^= 0x10;
			assert_int_equal(store_generation_effective(s, 2, &data, &n, &err), -1);
			assert_non_null(strstr(err.text, "generation 2: "));
			if (f == 0) {
				assert_int_equal(store_generation_meta(s, 2, m, &err), -1);
				assert_int_equal(
				    store_generation_remote(s, 2, &data, &n, &err), -1);
			}
		}
		spit(files[f], good, len);
		effective_is(s, 2, "two\n");
	}
	/* the outcome is for the history only: not known when it cannot be read */
	memcpy(good, slurp("generations/000002/outcome", &len), sizeof(good));
	for (i = 0; i < len; i++) {
		good[i] ^= 0x10;
		spit("generations/000002/outcome", good, len);
		good[i] ^= 0x10;
		assert_int_equal(store_generation_meta(s, 2, m, &err), 0);
		assert_int_equal(m->outcome, OUTCOME_NONE);
	}
	store_close(s);
	/* the committed one gone: the one before it, and the server is to offer anew */
	remove_all(at("generations/000002"));
	s = must_open();
	assert_non_null(strstr(told, "generation 2, which was committed, is damaged or gone"));
	assert_int_equal(store_state(s)->committed, 1);
	assert_int_equal(store_state(s)->next, 3);
	assert_int_equal(store_state(s)->status, CONFIG_UNSET);
	assert_int_equal(store_state(s)->hash_len, 0);
	assert_int_equal(store_generation_meta(s, 2, m, &err), -1);
	store_close(s);
	free(m);
}

static void
test_damaged_cache_is_no_cache(void **state)
{
	struct store_cache c = {.gate = 1, .description = (char *)"who", .description_len = 3},
			   got = {0};
	struct store *s = must_open();
	char good[256];
	size_t len, i;

	(void)state;
	assert_int_equal(store_cache_set(s, &c, &err), 0);
	memcpy(good, slurp("cache", &len), sizeof(good));
	for (i = 0; i < len; i++) {
		good[i] ^= 0x20;
		spit("cache", good, len);
		good[i] ^= 0x20;
		store_cache(s, &got);
		assert_int_equal(got.gate, -1);
		assert_null(got.description);
	}
	for (i = 0; i < len; i++) {
		spit("cache", good, i);
		store_cache(s, &got);
		assert_int_equal(got.gate, -1);
	}
	store_close(s);
}

/* ---- going back */

static void
test_I8_going_back_takes_no_new_space(void **state)
{
	struct store_state st;
	struct store *s = must_open();

	(void)state;
	assert_int_equal(apply(s, 1, "one\n"), 0);
	assert_int_equal(store_keep_ready(s, 1, &err), 0);
	assert_int_equal(store_keep_ready(s, 1, &err), 0); /* once more is no harm */
	assert_true(exists("agent/.keep-000001"));
	assert_int_equal(make(s, 2, "two\n"), 0);
	st = *store_state(s);
	st.trial = 2;
	st.phase = PHASE_TRIAL;
	st.next = 3;
	assert_int_equal(store_state_set(s, &st, &err), 0);
	assert_int_equal(store_switch(s, 2, &err), 0);
	assert_int_equal(store_running(s), 2);
	runs("two\n");
	store_close(s);
	s = must_open(); /* the link outlives a restart */
	assert_true(exists("agent/.keep-000001"));
	assert_int_equal(store_running(s), 2);
	assert_int_equal(store_switch(s, 1, &err), 0);
	assert_false(exists("agent/.keep-000001"));
	assert_int_equal(store_running(s), 1);
	assert_int_equal(store_switch(s, 1, &err), 0);
	runs("one\n");
	assert_int_equal(store_switch(s, 9, &err), -1);
	runs("one\n");
	store_close(s);
}

/* agent.run_as is another user than when the file was made: it is to be readable all the same. */
static void
test_the_agent_may_be_somebody_else(void **state)
{
	struct store *s = must_open();
	struct stat st;

	(void)state;
	if (getuid() != 0)
		skip(); /* a group that is not ours cannot be given */
	assert_int_equal(apply(s, 1, "one\n"), 0);
	assert_int_equal(apply(s, 2, "two\n"), 0);
	store_close(s);
	env.agent_gid = 65534;
	s = must_open();
	assert_int_equal(store_switch(s, 2, &err), 0);
	assert_int_equal(stat(at("agent/" NAME), &st), 0);
	assert_int_equal(st.st_gid, 65534);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(store_keep_ready(s, 1, &err), 0);
	assert_int_equal(store_switch(s, 1, &err), 0);
	assert_int_equal(stat(at("agent/" NAME), &st), 0);
	assert_int_equal(st.st_gid, 65534);
	store_close(s);
}

static void
test_what_runs_is_found_by_its_bytes_too(void **state)
{
	struct store *s = must_open();

	(void)state;
	assert_int_equal(apply(s, 1, "one\n"), 0);
	assert_int_equal(apply(s, 2, "two\n"), 0);
	assert_int_equal(unlink(at("agent/" NAME)), 0);
	spit("agent/" NAME, "one\n", 4); /* as where hard links cannot be had */
	assert_int_equal(store_running(s), 1);
	spit("agent/" NAME, "own\n", 4);
	assert_int_equal(store_running(s), 0);
	assert_int_equal(store_switch(s, 2, &err), 0);
	runs("two\n");
	store_close(s);
}

static void
test_leftovers_are_swept(void **state)
{
	static const char *const dirs[] = {"generations/.new-000009", "generations/.old-000004"};
	static const char *const files[] = {"generations/.new-000009/meta",
	    "generations/.new-000009/effective", ".new-identity", ".new-state", ".new-cache",
	    "agent/.keep-000004", "agent/.new-x", ("agent/candidate/.new-" NAME)};
	struct store *s = must_open();
	size_t i;

	(void)state;
	assert_int_equal(apply(s, 1, "one\n"), 0);
	store_close(s);
	for (i = 0; i < 2; i++)
		assert_int_equal(mkdir(at(dirs[i]), 0700), 0);
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		spit(files[i], "half", 4);
	assert_int_equal(symlink("x", at(".new-current")), 0);
	spit("agent/own", "of somebody else", 16);
	s = must_open();
	for (i = 0; i < 2; i++)
		assert_false(exists(dirs[i]));
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		assert_false(exists(files[i]));
	assert_false(exists(".new-current"));
	assert_true(exists("agent/own"));
	assert_int_equal(store_state(s)->committed, 1);
	store_close(s);
}

/* ---- what else may stand there */

static void
test_planted_links_lead_nowhere(void **state)
{
	static const uint8_t one[16] = "0123456789abcde";
	char outside[80];
	uint8_t uid[16];
	struct store *s = must_open();

	(void)state;
	snprintf(outside, sizeof(outside), "%s-outside", top);
	assert_int_equal(apply(s, 1, "one\n"), 0);
	assert_int_equal(symlink(outside, at("identity")), 0);
	assert_int_equal(store_identity(s, uid, &err), -1);
	assert_non_null(strstr(err.text, "symbolic link"));
	assert_int_equal(store_identity_set(s, one, &err), 0); /* takes the link's place */
	assert_int_equal(access(outside, F_OK), -1);
	assert_int_equal(store_identity(s, uid, &err), 1);
	assert_int_equal(symlink(outside, at("agent/candidate/.new-" NAME)), 0);
	assert_int_equal(store_candidate(s, "try", 3, &err), 0);
	assert_int_equal(access(outside, F_OK), -1);
	assert_int_equal(unlink(at("agent/" NAME)), 0);
	assert_int_equal(symlink(outside, at("agent/" NAME)), 0);
	assert_int_equal(store_running(s), 0);
	assert_int_equal(store_switch(s, 1, &err), 0);
	runs("one\n");
	assert_int_equal(symlink("000001", at("generations/000005")), 0);
	assert_int_equal(store_switch(s, 5, &err), -1);
	assert_int_equal(make(s, 5, "five\n"), -1);
	store_close(s);
}

static void
test_odd_files_are_refused(void **state)
{
	struct store *s = must_open();
	uint8_t uid[16];
	char *data;
	size_t len;

	(void)state;
	assert_int_equal(mkfifo(at("identity"), 0600), 0); /* must not block */
	assert_int_equal(store_identity(s, uid, &err), -1);
	assert_non_null(strstr(err.text, "not a regular file"));
	assert_int_equal(unlink(at("identity")), 0);
	spit("identity", "x", 1);
	assert_int_equal(chmod(at("identity"), 0666), 0);
	assert_int_equal(store_identity(s, uid, &err), -1);
	assert_non_null(strstr(err.text, "written by everybody"));
	assert_int_equal(unlink(at("identity")), 0);
	spit("identity", "x", 1);
	assert_int_equal(truncate(at("identity"), 1 << 30), 0);
	assert_int_equal(store_identity(s, uid, &err), -1);
	assert_non_null(strstr(err.text, "more than"));
	assert_int_equal(mkdir(at("generations/000003"), 0700), 0);
	assert_int_equal(store_generation_effective(s, 3, &data, &len, &err), -1);
	assert_non_null(strstr(err.text, "meta is gone"));
	spit("generations/000004", "", 0);
	assert_int_equal(store_generation_effective(s, 4, &data, &len, &err), -1);
	spit("generations/stranger", "", 0);
	spit("generations/0000005", "", 0);
	spit("generations/00000a", "", 0);
	store_close(s);
	s = must_open();
	assert_int_equal(store_state(s)->next, 5);
	store_close(s);
	assert_null(store_open(open(top, O_RDONLY | O_DIRECTORY), "../x", &env, told, &err));
	assert_null(store_open(open(top, O_RDONLY | O_DIRECTORY), ".x", &env, told, &err));
	assert_null(store_open(open(top, O_RDONLY | O_DIRECTORY), "", &env, told, &err));
	assert_null(store_open(open(top, O_RDONLY | O_DIRECTORY), "candidate", &env, told, &err));
}

static void
test_files_of_another_owner_are_refused(void **state)
{
	struct store *s = must_open();

	(void)state;
	store_close(s);
	if (getuid() != 0)
		skip();
	assert_int_equal(chown(at("state"), 65534, 65534), 0);
	assert_null(try_open());
	assert_non_null(strstr(err.text, "state below storage.directory belongs to user 65534: it "
					 "must belong to user 0"));
	assert_int_equal(chown(at("state"), 0, 0), 0);
	assert_int_equal(chown(at("generations"), 65534, 65534), 0);
	assert_null(try_open());
	assert_non_null(strstr(err.text, "generations below storage.directory belongs to user"));
}

/* ---- disks and limits.  In a child, which may then be anybody and lose what it likes. */

static void
in_child(void (*deed)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		deed();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define WANT(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s (%s) (%s)\n", __FILE__, __LINE__, #x, err.text, \
			    told);                                                                 \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* Everything that writes fails, nothing that was there is lost, everything can be read. */
static int
plant(const char *name, int what) /* instead of what is there */
{
	char below[96];

	if (exists(name) && rename(at(name), at("was")) == -1)
		return -1;
	switch (what) {
	case 0:
		return symlink("nowhere", at(name));
	case 1:
		return symlink("was", at(name));
	case 2:
		spit(name, "junk", 4);
		return 0;
	case 3: /* only somebody without privileges is kept out by this */
		return mkdir(at(name), 0);
	default: /* and one that is not empty */
		snprintf(below, sizeof(below), "%.80s/x", name);
		return mkdir(at(name), 0700) == -1 ? -1 : mkdir(at(below), 0700);
	}
}

/* Whatever a confd that was taken over leaves in its directory: the next one starts and works (I14). */
static void
start_and_work(void)
{
	static const char *const names[] = {"state", "generations", "agent", "agent/candidate",
	    ("agent/" NAME), ".new-state", "identity", "cache", "generations/.new-"};
	static const uint8_t one[16] = "0123456789abcde";
	char name[64];
	struct store *s;
	uint64_t next;
	size_t i;
	int what;

	if (getuid() == 0)
		WANT(chown(top, 65534, 65534) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
	env.agent_gid = getgid();
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (what = 0; what < 5; what++) {
			remove_all(at("was"));
			s = try_open();
			WANT(s != NULL);
			next = store_state(s)->next;
			WANT(apply(s, next, "before\n") == 0);
			store_close(s);
			snprintf(name, sizeof(name), "%s", names[i]);
			if (name[strlen(name) - 1] == '-') /* that of the next one */
				snprintf(name + strlen(name), 16, "%06u", (unsigned)next + 1);
			WANT(plant(name, what) == 0);
			s = try_open();
			WANT(s != NULL);
			next = store_state(s)->next;
			WANT(apply(s, next, "after\n") == 0);
			WANT(store_identity_set(s, one, &err) == 0);
			WANT(store_running(s) == next);
			store_close(s);
			s = try_open();
			WANT(s != NULL && told[0] == '\0');
			WANT(store_state(s)->committed == next);
			store_close(s);
		}
	WANT(exists("damaged-1"));
}

static void
test_I14_what_a_confd_left_keeps_nobody_from_starting(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_NOTHING);
	in_child(start_and_work);
}

/* A record that none of ours can read may be a later opampd's: it is kept. */
static void
test_a_record_of_a_later_opampd_is_kept(void **state)
{
	struct store *s = must_open();
	size_t len;

	(void)state;
	assert_int_equal(apply(s, 1, "one\n"), 0);
	store_close(s);
	spit("state", "OPAMPst2 and more", 17);
	s = must_open();
	assert_int_equal(store_state(s)->committed, 1);
	assert_string_equal(slurp("damaged-1", &len), "OPAMPst2 and more");
	store_close(s);
}

static void
want_unwritable(const char *why)
{
	static const uint8_t two[16] = "ABCDEFGHIJKLMNO";
	static struct store_state st;
	struct store_cache c = {.gate = 1};
	struct store *s = try_open();
	uint8_t uid[16];
	char *data;
	size_t len;

	WANT(s != NULL);
	st = *store_state(s);
	WANT(st.committed == 1 && st.phase == PHASE_IDLE);
	WANT(store_identity(s, uid, &err) == 1);
	WANT(store_identity_set(s, two, &err) == -1 && strstr(err.text, why) != NULL);
	WANT(make(s, 2, "two\n") == -1 && strstr(err.text, why) != NULL);
	WANT(store_candidate(s, "x", 1, &err) == -1 && strstr(err.text, why) != NULL);
	WANT(store_cache_set(s, &c, &err) == -1 && strstr(err.text, why) != NULL);
	WANT(store_generation_outcome(s, 1, OUTCOME_FAILED, "x", &err) == -1);
	st.stopped = 1;
	WANT(store_state_set(s, &st, &err) == -1 && strstr(err.text, why) != NULL);
	WANT(store_state(s)->stopped == 0);
	WANT(store_identity(s, uid, &err) == 1 && uid[0] == '0');
	WANT(store_running(s) == 1);
	WANT(store_generation_effective(s, 1, &data, &len, &err) == 0);
	free(data);
	store_close(s);
}

static void
prepare_one(void)
{
	static const uint8_t one[16] = "0123456789abcde";
	struct store *s = must_open();

	assert_int_equal(apply(s, 1, "one\n"), 0);
	assert_int_equal(store_identity_set(s, one, &err), 0);
	store_close(s);
}

static void
want_intact(void)
{
	struct store *s = must_open();

	assert_int_equal(store_state(s)->committed, 1);
	assert_int_equal(store_state(s)->stopped, 0);
	assert_int_equal(store_running(s), 1);
	effective_is(s, 1, "one\n");
	assert_int_equal(apply(s, store_state(s)->next, "after\n"), 0);
	store_close(s);
}

static void
remount_read_only(void)
{
	WANT(unshare(CLONE_NEWNS) == 0);
	WANT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	WANT(mount(top, top, NULL, MS_BIND, NULL) == 0);
	WANT(mount(NULL, top, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
	want_unwritable("Read-only file system; mount its file system for writing");
}

static void
as_somebody_else(void)
{
	/* may read, may not write: the directory's owner is somebody else */
	WANT(setgid(65534) == 0 && setuid(65534) == 0);
	WANT(try_open() == NULL);
	WANT(strstr(err.text, "Permission denied; it and everything in it must belong to") != NULL);
}

static void
test_I8_read_only_disk_loses_nothing(void **state)
{
	(void)state;
	if (getuid() != 0)
		skip();
	prepare_one();
	assert_int_equal(chmod(top, 0711 | 0444), 0);
	in_child(remount_read_only);
	in_child(as_somebody_else);
	want_intact();
}

static void
no_permission(void)
{
	if (getuid() == 0)
		WANT(setgid(65534) == 0 && setuid(65534) == 0);
	WANT(chmod(top, 0500) == 0 && chmod(at("generations"), 0500) == 0);
	WANT(try_open() != NULL); /* generations' mode is set right: it is ours */
	WANT(strstr(told, "nothing can be kept: making state") != NULL);
	WANT(chmod(top, 0700) == 0);
}

static void
test_missing_permissions_are_told(void **state)
{
	struct store *s = must_open();

	(void)state;
	store_close(s);
	assert_int_equal(unlink(at("state")), 0);
	if (getuid() == 0) {
		assert_int_equal(chown(top, 65534, 65534), 0);
		assert_int_equal(chown(at("agent"), 65534, 65534), 0);
		assert_int_equal(chown(at("agent/candidate"), 65534, 65534), 0);
		assert_int_equal(chown(at("generations"), 65534, 65534), 0);
		env.agent_gid = 65534;
	}
	in_child(no_permission);
}

static void
no_file_may_grow(void)
{
	struct rlimit none = {0, 0};

	WANT(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	WANT(setrlimit(RLIMIT_FSIZE, &none) == 0);
	want_unwritable("File too large");
}

static void
test_I8_files_that_cannot_grow_lose_nothing(void **state)
{
	(void)state;
	prepare_one();
	in_child(no_file_may_grow);
	want_intact();
}

/* A small file system, filled to the last block while the second configuration is on trial. */
static void
fill_the_disk(void)
{
	static char block[4096];
	static struct store_state st;
	struct store *s;
	int fd;

	WANT(unshare(CLONE_NEWNS) == 0);
	WANT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	WANT(mount("small", top, "tmpfs", 0, "size=1m,mode=0700") == 0);
	s = try_open();
	WANT(s != NULL && apply(s, 1, "one\n") == 0);
	WANT(store_keep_ready(s, 1, &err) == 0);
	WANT(make(s, 2, "two\n") == 0);
	st = *store_state(s);
	st.trial = 2;
	st.phase = PHASE_TRIAL;
	st.next = 3;
	WANT(store_state_set(s, &st, &err) == 0 && store_switch(s, 2, &err) == 0);
	fd = open(at("filler"), O_WRONLY | O_CREAT, 0600);
	while (write(fd, block, sizeof(block)) > 0)
		;
	WANT(errno == ENOSPC);
	/* back, and the record in place, all without a new block */
	WANT(store_switch(s, 1, &err) == 0 && store_running(s) == 1);
	st.trial = 0;
	st.phase = PHASE_IDLE;
	WANT(store_state_set(s, &st, &err) == 0);
	WANT(make(s, 3, "three\n") == -1);
	WANT(strstr(err.text, "No space left on device; make room on its file system") != NULL);
	WANT(!exists("generations/.new-000003") && !exists("generations/000003"));
	store_close(s);
	s = try_open();
	WANT(s != NULL && told[0] == '\0');
	WANT(store_state(s)->committed == 1 && store_state(s)->next == 3);
	WANT(store_running(s) == 1);
	store_close(s);
	/* a first start on a full disk: told, and the agent's directories are there */
	WANT(unlink(at("state")) == 0);
	while (write(fd, block, sizeof(block)) > 0)
		;
	s = try_open();
	WANT(s != NULL && strstr(told, "nothing can be kept: writing state") != NULL);
	WANT(store_state(s)->committed == 1); /* by its outcome */
	st = *store_state(s);
	WANT(store_state_set(s, &st, &err) == -1);
	close(fd);
	WANT(unlink(at("filler")) == 0);
	WANT(store_state_set(s, &st, &err) == 0); /* room again: kept again */
	store_close(s);
	s = try_open();
	WANT(s != NULL && told[0] == '\0');
	store_close(s);
}

static void
test_I8_full_disk_loses_nothing(void **state)
{
	(void)state;
	if (getuid() != 0)
		skip();
	in_child(fill_the_disk);
}

/* ---- inside confd's own sandbox */

static void
in_the_sandbox(void)
{
	static const uint8_t one[16] = "0123456789abcde";
	struct msg_start start = {.uid = 65534, .gid = 65534};
	struct store_cache c = {.gate = 1, .description = (char *)"who", .description_len = 3};
	struct sandbox_result result;
	struct store *s;
	uint8_t uid[16];
	uint64_t i;
	int dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (getuid() != 0)
		start.flags = CHILD_UNPRIVILEGED;
	WANT(sandbox_allow_fd(dir, LL_FS_READ | LL_FS_WRITE) == 0);
	WANT(sandbox_enter(&policy_confd, &start, &result, &err) == 0);
	s = store_open(dir, NAME, &env, told, &err);
	WANT(s != NULL && told[0] == '\0');
	WANT(store_identity_set(s, one, &err) == 0 && store_identity(s, uid, &err) == 1);
	for (i = 1; i < 6; i++) {
		WANT(store_candidate(s, "try", 3, &err) == 0);
		store_candidate_remove(s);
		WANT(apply(s, i, "text\n") == 0);
		WANT(store_running(s) == i);
	}
	WANT(store_switch(s, 4, &err) == 0 && store_running(s) == 4);
	store_prune(s, 2, 0);
	WANT(store_generation_outcome(s, 4, OUTCOME_FAILED, "why", &err) == 0);
	WANT(store_cache_set(s, &c, &err) == 0);
	store_cache(s, &c);
	store_close(s);
	s = NULL;
	_exit(0);
}

static void
test_I5_the_store_works_in_confds_sandbox(void **state)
{
	struct stat st;

	(void)state;
	if (getuid() == 0) {
		assert_int_equal(chown(top, 65534, 65534), 0);
		env.agent_gid = 65534;
	}
	assert_int_equal(chmod(top, 0711), 0);
	in_child(in_the_sandbox);
	assert_int_equal(stat(at("agent/" NAME), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(stat(at("agent"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 02750);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_a_new_directory_has_nothing),
	    T(test_I8_an_apply_is_kept),
	    T(test_at_most_seven_syncs_for_an_apply),
	    T(test_a_local_generation_has_no_remote_part),
	    T(test_numbers_are_never_used_twice),
	    T(test_an_earlier_record_is_read),
	    T(test_pruning_spares_what_is_needed),
	    T(test_pruning_keeps_one_to_fall_back_to),
	    T(test_candidate_comes_and_goes),
	    T(test_cache_belongs_to_one_binary),
	    T(test_I8_no_descriptor_is_no_damage),
	    T(test_identity_is_kept),
	    T(test_checksum_is_the_one_it_says),
	    T(test_damaged_identity_is_told),
	    T(test_I8_damaged_slot_gives_way_to_the_other),
	    T(test_lost_record_is_taken_from_the_generations),
	    T(test_damaged_generation_is_never_run),
	    T(test_damaged_cache_is_no_cache),
	    T(test_I8_going_back_takes_no_new_space),
	    T(test_the_agent_may_be_somebody_else),
	    T(test_what_runs_is_found_by_its_bytes_too),
	    T(test_leftovers_are_swept),
	    T(test_planted_links_lead_nowhere),
	    T(test_odd_files_are_refused),
	    T(test_I14_what_a_confd_left_keeps_nobody_from_starting),
	    T(test_a_record_of_a_later_opampd_is_kept),
	    T(test_files_of_another_owner_are_refused),
	    T(test_I8_read_only_disk_loses_nothing),
	    T(test_missing_permissions_are_told),
	    T(test_I8_files_that_cannot_grow_lose_nothing),
	    T(test_I8_full_disk_loses_nothing),
	    T(test_I5_the_store_works_in_confds_sandbox),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
