/*
 * memfd.h: bulk data between processes, as sealed memory files.  Every process.
 * A receiver never reads or maps them before all four seals are seen, so the bytes cannot change under
 * it, nor the file become shorter than what is mapped.
 */
#ifndef PRIVSEP_MEMFD_H
#define PRIVSEP_MEMFD_H

#include <stddef.h>

#include "error.h"

/* A new memfd with len bytes of data, all four seals set.  Returns the descriptor or -1. */
int memfd_seal(const char *name, const void *data, size_t len, struct error *err);

/*
 * Checks that fd is a memfd with all four seals and at most limit bytes, and reads it whole.
 * *data is malloc'd with a NUL after the last byte (not counted in *len); the caller frees it.
 */
int memfd_read(int fd, size_t limit, char **data, size_t *len, struct error *err);

/* The bytes of a memory file: small ones in memory of their own, large ones as they stand in the file. */
struct memfd_view {
	char *data; /* read only; a NUL behind the last byte where mapped is 0 */
	size_t len;
	size_t mapped; /* bytes; 0: data is malloc'd */
	int fd;        /* with mapped: the file, to be handed on; -1 when it was */
};

/* As memfd_read; fd is taken whatever comes of it. */
int memfd_view(int fd, size_t limit, struct memfd_view *v, struct error *err);
void memfd_view_end(struct memfd_view *v);

/* The checks of memfd_read without reading.  *len may be NULL. */
int memfd_check(int fd, size_t limit, size_t *len, struct error *err);

/* Reads a regular file (or memfd) from its start, up to limit bytes; more is an error. */
int file_read(int fd, size_t limit, char **data, size_t *len, struct error *err);

#endif
