/*
 * record.h: a list of (key, line, column, bytes) in one buffer: the form of the settings'
 * sections, of merge's parameters and of opampctl's answers.  Every process.
 * Layout of an entry: u16 key, u16 column, u32 line, u32 length, then the bytes; no padding,
 * host order.  The buffer begins with u32 RECORD_MAGIC, u32 number of entries.
 * A reader checks everything once in record_open; getters then cannot fail on form.
 */
#ifndef PRIVSEP_RECORD_H
#define PRIVSEP_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define RECORD_MAGIC 0x4f504d31u

struct record { /* a reader; borrows the buffer */
	const char *data;
	size_t len;
	uint32_t count;
};

struct record_entry {
	uint16_t key;
	uint16_t column;
	uint32_t line; /* where it stood in the file; 0 = a default or made by us */
	uint32_t len;
	const char *value; /* len bytes, not terminated */
};

struct record_writer { /* zero-initialise; record_finish frees nothing on error */
	char *data;
	size_t len, size;
	uint32_t count;
	int failed;
};

/* Checks magic, every length and that entries fill the buffer exactly. */
int record_open(struct record *r, const void *data, size_t len, struct error *err);

/* Walks: *pos starts at 0; returns 1 and fills e, or 0 at the end.  key 0 = every key. */
int record_next(const struct record *r, size_t *pos, uint16_t key, struct record_entry *e);

/* The first entry with key: 1, or 0 when there is none. */
int record_find(const struct record *r, uint16_t key, struct record_entry *e);

/* Typed values; the default when the entry is not there or has another size. */
uint64_t record_u64(const struct record *r, uint16_t key, uint64_t otherwise);

/* A malloc'd, terminated copy, or NULL when it is not there, has a NUL inside, or memory ran out. */
char *record_string(const struct record *r, uint16_t key);

void record_put(struct record_writer *w, uint16_t key, uint32_t line, uint16_t column,
    const void *value, size_t len);
void record_put_u64(struct record_writer *w, uint16_t key, uint64_t value);
void record_put_string(struct record_writer *w, uint16_t key, const char *value);

/* The finished buffer becomes the caller's (malloc'd). */
int record_finish(struct record_writer *w, char **data, size_t *len, struct error *err);

/* A finished record straight into a sealed memfd; w is freed in every case. */
int record_finish_memfd(struct record_writer *w, const char *name, struct error *err);

void record_discard(struct record_writer *w);

#endif
