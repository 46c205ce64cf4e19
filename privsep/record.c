/*
 * record.c: lists of keyed values in one buffer (see record.h).  Every process.
 * The bytes come from another process: nothing is believed before record_open has seen it.
 */
#include "record.h"

#include <stdlib.h>
#include <string.h>

#include "memfd.h"

#define HEAD_SIZE  8
#define ENTRY_SIZE 12
#define WRITER_MAX (128u << 20)

int
record_open(struct record *r, const void *data, size_t len, struct error *err)
{
	const char *p = data;
	uint32_t head[2], value_len, i;
	size_t pos = HEAD_SIZE;

	if (len < HEAD_SIZE)
		return error_set(err, "record of %zu bytes is too short", len);
	memcpy(head, p, sizeof(head));
	if (head[0] != RECORD_MAGIC)
		return error_set(err, "not a record: wrong magic number");
	for (i = 0; i < head[1]; i++) {
		if (len - pos < ENTRY_SIZE)
			return error_set(err, "record ends inside entry %u of %u", i, head[1]);
		memcpy(&value_len, p + pos + 8, sizeof(value_len));
		pos += ENTRY_SIZE;
		if (len - pos < value_len)
			return error_set(err, "record ends inside the value of entry %u", i);
		pos += value_len;
	}
	if (pos != len)
		return error_set(err, "%zu bytes after the last entry of a record", len - pos);
	r->data = p;
	r->len = len;
	r->count = head[1];
	return 0;
}

int
record_next(const struct record *r, size_t *pos, uint16_t key, struct record_entry *e)
{
	if (*pos == 0)
		*pos = HEAD_SIZE;
	while (r->data != NULL && *pos < r->len) {
		memcpy(&e->key, r->data + *pos, 2);
		memcpy(&e->column, r->data + *pos + 2, 2);
		memcpy(&e->line, r->data + *pos + 4, 4);
		memcpy(&e->len, r->data + *pos + 8, 4);
		e->value = r->data + *pos + ENTRY_SIZE;
		*pos += ENTRY_SIZE + e->len;
		if (key == 0 || e->key == key)
			return 1;
	}
	return 0;
}

int
record_find(const struct record *r, uint16_t key, struct record_entry *e)
{
	size_t pos = 0;

	return record_next(r, &pos, key, e);
}

uint64_t
record_u64(const struct record *r, uint16_t key, uint64_t otherwise)
{
	struct record_entry e;
	uint64_t value;

	if (!record_find(r, key, &e) || e.len != sizeof(value))
		return otherwise;
	memcpy(&value, e.value, sizeof(value));
	return value;
}

char *
record_string(const struct record *r, uint16_t key)
{
	struct record_entry e;
	char *copy;

	if (!record_find(r, key, &e) || memchr(e.value, '\0', e.len) != NULL)
		return NULL;
	copy = malloc((size_t)e.len + 1);
	if (copy != NULL) {
		memcpy(copy, e.value, e.len);
		copy[e.len] = '\0';
	}
	return copy;
}

static int
reserve(struct record_writer *w, size_t more)
{
	size_t want, size = w->size == 0 ? 1024 : w->size;
	char *bigger;

	if (w->failed)
		return -1;
	if (more > WRITER_MAX || w->len + more > WRITER_MAX)
		goto fail;
	want = w->len + more;
	if (want <= w->size)
		return 0;
	while (size < want)
		size *= 2;
	bigger = realloc(w->data, size);
	if (bigger == NULL)
		goto fail;
	w->data = bigger;
	w->size = size;
	return 0;
fail:
	w->failed = 1;
	return -1;
}

void
record_put(struct record_writer *w, uint16_t key, uint32_t line, uint16_t column, const void *value,
    size_t len)
{
	uint32_t len32 = (uint32_t)len;
	size_t head = w->len == 0 ? HEAD_SIZE : 0;
	char *p;

	if (len > WRITER_MAX) {
		w->failed = 1;
		return;
	}
	if (reserve(w, head + ENTRY_SIZE + len) == -1)
		return;
	w->len += head;
	p = w->data + w->len;
	memcpy(p, &key, 2);
	memcpy(p + 2, &column, 2);
	memcpy(p + 4, &line, 4);
	memcpy(p + 8, &len32, 4);
	if (len > 0)
		memcpy(p + ENTRY_SIZE, value, len);
	w->len += ENTRY_SIZE + len;
	w->count++;
}

void
record_put_u64(struct record_writer *w, uint16_t key, uint64_t value)
{
	record_put(w, key, 0, 0, &value, sizeof(value));
}

void
record_put_string(struct record_writer *w, uint16_t key, const char *value)
{
	record_put(w, key, 0, 0, value, strlen(value));
}

int
record_finish(struct record_writer *w, char **data, size_t *len, struct error *err)
{
	uint32_t head[2] = {RECORD_MAGIC, w->count};

	if (w->len == 0 && reserve(w, HEAD_SIZE) == 0)
		w->len = HEAD_SIZE;
	if (w->failed) {
		record_discard(w);
		return error_set(err, "no memory for a record, or more than %u bytes", WRITER_MAX);
	}
	memcpy(w->data, head, sizeof(head));
	*data = w->data;
	*len = w->len;
	memset(w, 0, sizeof(*w));
	return 0;
}

int
record_finish_memfd(struct record_writer *w, const char *name, struct error *err)
{
	char *data = NULL;
	size_t len = 0;
	int fd;

	if (record_finish(w, &data, &len, err) == -1)
		return -1;
	fd = memfd_seal(name, data, len, err);
	explicit_bzero(data, len); /* sections of the settings may hold credentials */
	free(data);
	return fd;
}

void
record_discard(struct record_writer *w)
{
	free(w->data);
	memset(w, 0, sizeof(*w));
}
