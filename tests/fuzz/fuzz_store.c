/*
 * fuzz_store.c: what confd reads back from disk, as a failing disk or another program would leave it:
 * the state record, a generation's meta and outcome, the identity, the cache.  The first byte says what
 * the rest is: 0 to 3 a frame's fields, which get magic, length and checksum so that they are looked
 * at; 4 bytes as they are; 5 and more the same, as files in a directory that is then opened; 128 and more
 * one byte of length, so many bytes of a generation's meta, and its outcome, in such a directory.  A frame
 * in which one bit has turned, or that is cut, is believed by nobody.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "confd/store_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int fsync(int fd);
int fdatasync(int fd);

/* durability is not what is tried here */
int
fsync(int fd)
{
	(void)fd;
	return 0;
}

int
fdatasync(int fd)
{
	(void)fd;
	return 0;
}

static void
parse(const void *data, size_t len)
{
	static struct store_state state;
	static struct store_meta meta;
	struct msg_environment env = {.agent_gid = getgid()};
	struct generation_file file;
	struct store_cache cache;
	const void *remote;
	uint64_t sequence;
	size_t remote_len;
	uint8_t uid[16];

	if (store_state_parse(data, len, &state, &sequence) &&
	    (state.hash_len > sizeof(state.hash) || state.message_len > sizeof(state.message) ||
		state.next <= state.committed || state.next <= state.trial))
		abort();
	if (store_meta_parse(data, len, &meta, &file, &remote, &remote_len) &&
	    (meta.hash_len > sizeof(meta.hash) || remote_len > len))
		abort();
	(void)store_identity_parse(data, len, uid);
	if (store_cache_parse(data, len, &env, &cache) && cache.description_len > len)
		abort();
	store_cache_free(&cache);
}

/* A disk that fails changes bits, and leaves the end away. */
static void
spoil(struct pack *p, const char *magic)
{
	size_t bits = p->len * 8, bit = (store_crc(1, p->data, p->len) >> 7) % bits;
	struct unpack u;

	p->data[bit / 8] ^= (unsigned char)(1u << bit % 8);
	if (unpack_begin(&u, magic, p->data, p->len) == 0)
		abort();
	p->data[bit / 8] ^= (unsigned char)(1u << bit % 8);
	if (unpack_begin(&u, magic, p->data, bit / 8) == 0)
		abort();
}

static void
put(int dir, const char *name, const void *data, size_t len)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd == -1 || write(fd, data, len) != (ssize_t)len)
		abort();
	close(fd);
}

/* A directory whose every file holds these bytes, but the outcome, if there is another one. */
static void
open_all(const void *data, size_t len, const struct pack *outcome)
{
	static const char *const files[] = {"state", "identity", "cache", "generations/000001/meta",
	    "generations/000001/outcome", "generations/000001/effective", "agent/effective.yaml"};
	static char top[] = "/tmp/fuzz-store-XXXXXX", told[1024];
	static struct store_meta meta;
	struct msg_environment env = {.agent_gid = getgid()};
	struct store_cache cache;
	struct store *s;
	uint8_t uid[16];
	char *text;
	size_t i, n;
	int dir;

	if (mkdtemp(top) == NULL)
		abort();
	dir = open(top, O_RDONLY | O_DIRECTORY);
	if (dir == -1 || mkdirat(dir, "generations", 0700) == -1 ||
	    mkdirat(dir, "agent", 0700) == -1 || mkdirat(dir, "generations/000001", 0700) == -1)
		abort();
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		put(dir, files[i], data, len);
	if (outcome != NULL)
		put(dir, "generations/000001/outcome", outcome->data, outcome->len);
	s = store_open(dup(dir), "effective.yaml", &env, told, NULL);
	if (s == NULL)
		abort(); /* damage is no reason not to open */
	if (store_state(s)->next < 2)
		abort(); /* number 1 is taken */
	(void)store_identity(s, uid, NULL);
	(void)store_generation_meta(s, 1, &meta, NULL);
	if (store_generation_remote(s, 1, &text, &n, NULL) == 0)
		free(text);
	(void)store_running(s);
	store_cache(s, &cache);
	store_cache_free(&cache);
	store_prune(s, 0, 0);
	store_close(s);
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		(void)unlinkat(dir, files[i], 0);
	(void)unlinkat(dir, "generations/000001", AT_REMOVEDIR);
	(void)unlinkat(dir, "generations", AT_REMOVEDIR);
	(void)unlinkat(dir, "agent/candidate", AT_REMOVEDIR);
	(void)unlinkat(dir, "agent", AT_REMOVEDIR);
	(void)unlinkat(dir, "damaged-1", 0); /* the state, if it was one that cannot be used */
	close(dir);
	if (rmdir(top) == -1)
		abort();
	memcpy(top + strlen(top) - 6, "XXXXXX", 6);
}

static void
open_generation(const uint8_t *data, size_t size)
{
	size_t n = data[0] < size - 1 ? data[0] : size - 1;
	struct pack meta, outcome;

	pack_begin(&meta, "OPAMPmt1");
	pack_raw(&meta, data + 1, n);
	pack_begin(&outcome, "OPAMPoc1");
	pack_raw(&outcome, data + 1 + n, size - 1 - n);
	if (pack_finish(&meta) == -1 || pack_finish(&outcome) == -1)
		abort();
	open_all(meta.data, meta.len, &outcome);
	free(meta.data);
	free(outcome.data);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char magics[4][STORE_MAGIC + 1] = {
	    "OPAMPst1", "OPAMPmt1", "OPAMPca1", "OPAMPoc1"};
	struct pack p;

	if (size == 0)
		return 0;
	if (data[0] == 4) {
		parse(data + 1, size - 1);
		return 0;
	}
	if (data[0] >= 128) {
		if (size > 1)
			open_generation(data + 1, size - 1);
		return 0;
	}
	pack_begin(&p, magics[data[0] % 4]);
	pack_raw(&p, data + 1, size - 1);
	if (pack_finish(&p) == -1)
		return 0;
	spoil(&p, magics[data[0] % 4]);
	if (data[0] < 4)
		parse(p.data, p.len);
	else
		open_all(p.data, p.len, NULL);
	free(p.data);
	return 0;
}
