/*
 * store_cache.c: the instance uid, and what is known of the agent's binary (see store.h).  confd only.
 * The identity is text, so that people can read it, with a checksum behind it.
 */
#include "store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_MAGIC    "OPAMPca1"
#define UUID_TEXT      36
#define IDENTITY_TEXT  (UUID_TEXT + 1 + 16 + 1) /* uuid, space, checksum, line end */
#define IDENTITY_LIMIT 4096

/* ---- identity */

static void
identity_text(char text[IDENTITY_TEXT + 1], const uint8_t uid[16])
{
	static const char hex[] = "0123456789abcdef";
	size_t i, at = 0;

	for (i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[at++] = '-';
		text[at++] = hex[uid[i] >> 4];
		text[at++] = hex[uid[i] & 15];
	}
	(void)snprintf(text + at, IDENTITY_TEXT + 1 - at, " %016llx\n",
	    (unsigned long long)store_crc(0, text, UUID_TEXT));
}

static int
nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
store_identity_parse(const char *text, size_t len, uint8_t uid[16])
{
	char again[IDENTITY_TEXT + 1];
	size_t i, at = 0;
	int high, low;

	if (len != IDENTITY_TEXT)
		return 0;
	for (i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			at++;
		high = nibble(text[at++]);
		low = nibble(text[at++]);
		if (high < 0 || low < 0)
			return 0;
		uid[i] = (uint8_t)(high << 4 | low);
	}
	/* there is one way to write it; anything else was not written by us */
	identity_text(again, uid);
	return memcmp(again, text, len) == 0;
}

int
store_identity(struct store *s, uint8_t uid[16], struct error *err)
{
	char *text;
	size_t len;
	int r = -1, tries;

	for (tries = 0; tries < STORE_TRIES && r == -1; tries++) {
		errno = 0;
		r = store_read(s->dir, STORE_IDENTITY, s->owner, IDENTITY_LIMIT, &text, &len, err);
		if (r == -1 && store_is_damage(errno))
			return -1;
	}
	if (r != 1)
		return r == 0 || errno == EIO ? r : -2;
	r = store_identity_parse(text, len, uid);
	free(text);
	return r ? 1
		 : error_set(err,
		       "identity below storage.directory is damaged: the instance uid in it cannot "
		       "be told");
}

int
store_identity_set(struct store *s, const uint8_t uid[16], struct error *err)
{
	struct store_file f = {
	    .name = STORE_IDENTITY, .mode = 0600, .sync = 1, .what = STORE_IDENTITY};
	char text[IDENTITY_TEXT + 1];

	identity_text(text, uid);
	return store_replace(s->dir, &f, text, IDENTITY_TEXT, err);
}

/* ---- the agent's binary */

static void
binary_of(uint64_t binary[5], const struct msg_environment *env)
{
	binary[0] = env->binary_dev;
	binary[1] = env->binary_ino;
	binary[2] = env->binary_size;
	binary[3] = env->binary_mtime;
	binary[4] = env->binary_ctime;
}

int
store_cache_parse(
    const void *data, size_t len, const struct msg_environment *env, struct store_cache *c)
{
	uint64_t binary[5];
	const void *description;
	struct unpack u;
	uint32_t gate, known;
	size_t i, n;
	int same = 1;

	c->gate = -1;
	c->description = NULL;
	c->description_len = 0;
	if (unpack_begin(&u, CACHE_MAGIC, data, len) == -1)
		return 0;
	binary_of(binary, env);
	for (i = 0; i < 5; i++)
		same &= unpack_u64(&u) == binary[i];
	gate = unpack_u32(&u);
	known = unpack_u32(&u);
	description = unpack_bytes(&u, LIMIT_STATE_DESCRIPTION, &n);
	if (unpack_end(&u) == -1 || gate > 2 || known > 1 || !same)
		return 0;
	if (known) {
		c->description = malloc(n + 1);
		if (c->description == NULL)
			return 0;
		memcpy(c->description, description, n);
		c->description[n] = '\0';
		c->description_len = n;
	}
	c->gate = (int)gate - 1;
	return 1;
}

void
store_cache(struct store *s, struct store_cache *c)
{
	char *data;
	size_t len;

	c->gate = -1;
	c->description = NULL;
	c->description_len = 0;
	if (store_read(
		s->dir, STORE_CACHE, s->owner, 2 * LIMIT_STATE_DESCRIPTION, &data, &len, NULL) != 1)
		return;
	(void)store_cache_parse(data, len, &s->env, c);
	free(data);
}

int
store_cache_set(struct store *s, const struct store_cache *c, struct error *err)
{
	struct store_file f = {.name = STORE_CACHE, .mode = 0600, .sync = 1, .what = STORE_CACHE};
	uint64_t binary[5];
	struct pack p;
	size_t i;
	int r;

	if (c->description != NULL && c->description_len > LIMIT_STATE_DESCRIPTION)
		return error_set(err,
		    "the agent's description has %zu bytes: more than %u are not kept",
		    c->description_len, LIMIT_STATE_DESCRIPTION);
	binary_of(binary, &s->env);
	pack_begin(&p, CACHE_MAGIC);
	for (i = 0; i < 5; i++)
		pack_u64(&p, binary[i]);
	pack_u32(&p, c->gate < 0 ? 0 : c->gate == 0 ? 1 : 2);
	pack_u32(&p, c->description != NULL);
	pack_bytes(&p, c->description, c->description != NULL ? c->description_len : 0);
	if (pack_finish(&p) == -1)
		return error_set(err, "no memory for what is known of the agent");
	r = store_replace(s->dir, &f, p.data, p.len, err);
	free(p.data);
	return r;
}

void
store_cache_free(struct store_cache *c)
{
	free(c->description);
	c->gate = -1;
	c->description = NULL;
	c->description_len = 0;
}
