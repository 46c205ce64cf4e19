/*
 * gzip.h: gzip bodies, bounded, as server.h wants them.  opamphub-front.
 */
#ifndef HUB_GZIP_H
#define HUB_GZIP_H

#include <stddef.h>

/* 0: *data is malloc'd; -1: not gzip, or more after it, or no memory; 1: more than `most`. */
int gzip_inflate(const void *body, size_t len, size_t most, char **data, size_t *out_len);

/* 0: *data is malloc'd and shorter than len; -1: not worth it. */
int gzip_deflate(const void *body, size_t len, char **data, size_t *out_len);

#endif
