/*
 * link_secret.c: the link's secrets (see link_secret.h).  link.
 * Must never write one anywhere but into the sealed file for the parent.
 */
#include "link_secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "privsep/memfd.h"
#include "privsep/messages.h"

_Static_assert(LINK_SECRET_LEN == LINK_FILE_DIGITS, "a secret fills its place in the file");
static const char before[] = LINK_FILE_BEFORE, after[] = LINK_FILE_AFTER;

static int
make(char secret[LINK_SECRET_LEN + 1], struct error *err)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char raw[LINK_SECRET_BYTES];
	size_t i;

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return error_errno(err, "random bytes for the link's secret");
	for (i = 0; i < sizeof(raw); i++) {
		secret[2 * i] = hex[raw[i] >> 4];
		secret[2 * i + 1] = hex[raw[i] & 15];
	}
	secret[LINK_SECRET_LEN] = '\0';
	explicit_bzero(raw, sizeof(raw));
	return 0;
}

int
link_secrets_next(struct link_secrets *s, struct error *err)
{
	char text[LINK_FILE_LEN + 1];
	int fd;

	if (s->next[0] != '\0')
		return -2;
	if (make(s->next, err) == -1)
		return -1;
	(void)snprintf(text, sizeof(text), "%s%s%s", before, s->next, after);
	fd = memfd_seal("link", text, LINK_FILE_LEN, err);
	explicit_bzero(text, sizeof(text));
	if (fd == -1)
		s->next[0] = '\0';
	return fd;
}

/* The same text as is written above, or nothing. */
static int
read_back(int fd, char secret[LINK_SECRET_LEN + 1], struct error *err)
{
	char *text;
	size_t len;
	int ok;

	if (memfd_read(fd, LINK_FILE_LEN, &text, &len, err) == -1)
		return error_prefix(err, "a secret file of the link");
	ok = len == LINK_FILE_LEN && memcmp(text, before, sizeof(before) - 1) == 0 &&
	     memcmp(text + LINK_FILE_LEN - (sizeof(after) - 1), after, sizeof(after) - 1) == 0 &&
	     strspn(text + sizeof(before) - 1, "0123456789abcdef") == LINK_SECRET_LEN;
	if (ok) {
		memcpy(secret, text + sizeof(before) - 1, LINK_SECRET_LEN);
		secret[LINK_SECRET_LEN] = '\0';
	}
	explicit_bzero(text, len);
	free(text);
	return ok ? 0 : error_set(err, "a secret file of the link is not one of ours");
}

struct link_start *
link_secrets_start(struct link_secrets *s, uint32_t start)
{
	size_t i;

	for (i = 0; i < LINK_STARTS; i++)
		if (start != 0 && s->starts[i].start == start)
			return &s->starts[i];
	return NULL;
}

static struct link_start *
new_start(struct link_secrets *s, uint32_t start, struct error *err)
{
	size_t i;

	for (i = 0; start != 0 && i < LINK_STARTS; i++)
		if (s->starts[i].start == 0) {
			memset(&s->starts[i], 0, sizeof(s->starts[i]));
			s->starts[i].start = start;
			return &s->starts[i];
		}
	(void)error_set(err, "start %u of the agent is one too many", start);
	return NULL;
}

int
link_secrets_given(struct link_secrets *s, uint32_t start, int fd, struct error *err)
{
	struct link_start *st;

	if (start == 0)
		return read_back(fd, s->next, err);
	st = link_secrets_start(s, start);
	if (st == NULL)
		st = new_start(s, start, err);
	return st == NULL ? -1 : read_back(fd, st->secret, err);
}

struct link_start *
link_secrets_begun(
    struct link_secrets *s, uint32_t start, uint32_t kind, uint32_t uid, struct error *err)
{
	struct link_start *st = link_secrets_start(s, start);

	if (st == NULL)
		st = new_start(s, start, err);
	if (st == NULL)
		return NULL;
	if (st->begun) {
		(void)error_set(err, "start %u of the agent began twice", start);
		return NULL;
	}
	st->begun = 1;
	st->kind = kind;
	st->uid = uid;
	if (kind == AGENT_RUN && st->secret[0] == '\0') {
		memcpy(st->secret, s->next, sizeof(st->secret));
		explicit_bzero(s->next, sizeof(s->next));
	}
	return st;
}

void
link_secrets_ended(struct link_secrets *s, uint32_t start)
{
	struct link_start *st = link_secrets_start(s, start);

	if (st != NULL)
		explicit_bzero(st, sizeof(*st));
}

/* 1 if they are equal, in a time that depends on nothing. */
static int
equal(const char *a, const char *b)
{
	unsigned different = 0;
	size_t i;

	for (i = 0; i < LINK_SECRET_LEN; i++)
		different |= (unsigned)(a[i] ^ b[i]);
	return different == 0;
}

struct link_start *
link_secrets_find(struct link_secrets *s, const char *presented, size_t len, uint32_t uid)
{
	struct link_start *found = NULL;
	char padded[LINK_SECRET_LEN] = {0};
	size_t i;

	memcpy(padded, presented, len < sizeof(padded) ? len : sizeof(padded));
	for (i = 0; i < LINK_STARTS; i++) {
		struct link_start *st = &s->starts[i];
		int same = equal(padded, st->secret);

		if (same && len == LINK_SECRET_LEN && st->start != 0 && st->begun &&
		    st->secret[0] != '\0' && st->uid == uid)
			found = st;
	}
	explicit_bzero(padded, sizeof(padded));
	return found;
}

int
link_secrets_expects(const struct link_secrets *s, uint32_t uid)
{
	size_t i;

	for (i = 0; i < LINK_STARTS; i++)
		if (s->starts[i].begun && s->starts[i].uid == uid)
			return 1;
	return 0;
}

int
link_secrets_lives(const struct link_secrets *s, uint32_t kind)
{
	size_t i;

	for (i = 0; i < LINK_STARTS; i++)
		if (s->starts[i].begun && s->starts[i].kind == kind)
			return 1;
	return 0;
}
