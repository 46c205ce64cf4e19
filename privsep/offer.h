/*
 * offer.h: a remote configuration as one sealed memfd: the form of netd's OFFER and of what
 * confd keeps on disk.  A bounded table of offsets first, then the bytes it points to.
 * Readers check the table once; the files are then ranges of the buffer.
 */
#ifndef PRIVSEP_OFFER_H
#define PRIVSEP_OFFER_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "limits.h"

struct offer_part {
	const char *data; /* borrowed, not terminated */
	size_t len;
};

struct offer_file {
	struct offer_part name, type, body; /* name may be empty; type is the content type */
};

struct offer {
	struct offer_part hash; /* config_hash, opaque, 0 to LIMIT_CONFIG_HASH bytes */
	uint32_t empty_map;     /* 1: config unset or an empty map */
	uint32_t count;
	struct offer_file *files; /* malloc'd; offer_close frees it */
};

/* Makes the buffer (malloc'd).  Refuses more than the limits: files, names, hash, total bytes. */
int offer_pack(
    const struct offer *o, size_t total_limit, char **data, size_t *len, struct error *err);

/* Checks data and fills o, which borrows it.  Duplicate names are refused (CF-08). */
int offer_open(
    struct offer *o, const void *data, size_t len, size_t total_limit, struct error *err);
void offer_close(struct offer *o);

#endif
