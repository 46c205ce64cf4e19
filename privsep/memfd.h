/*
 * memfd.h: bulk data between processes, as sealed memory files.  Every process.
 * A receiver never maps them and never reads before all four seals are seen, so the
 * bytes cannot change under it.
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

/* The checks of memfd_read without reading.  *len may be NULL. */
int memfd_check(int fd, size_t limit, size_t *len, struct error *err);

/* Reads a regular file (or memfd) from its start, up to limit bytes; more is an error. */
int file_read(int fd, size_t limit, char **data, size_t *len, struct error *err);

#endif
