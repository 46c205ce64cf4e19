/*
 * gzip.c: gzip bodies, bounded (see gzip.h).  Memory grows with what comes out, never past the limit.
 */
#include "gzip.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#define GZIP_BITS  (15 + 16) /* a gzip header and nothing else */
#define FIRST_ROOM 4096

/* Room for more output, at most most + 1 bytes: the one too many tells that it is too long. */
static int
grow(char **data, size_t *room, size_t most)
{
	size_t want = *room == 0 ? FIRST_ROOM : *room * 2;
	char *bigger;

	if (want > most + 1)
		want = most + 1;
	bigger = realloc(*data, want);
	if (bigger == NULL)
		return -1;
	*data = bigger;
	*room = want;
	return 0;
}

int
gzip_inflate(const void *body, size_t len, size_t most, char **data, size_t *out_len)
{
	z_stream z = {0};
	size_t room = 0, used = 0;
	int r = Z_OK, result = -1;

	*data = NULL;
	if (len > UINT_MAX || inflateInit2(&z, GZIP_BITS) != Z_OK)
		return -1;
	z.next_in = (Bytef *)(uintptr_t)body;
	z.avail_in = (uInt)len;
	while (r == Z_OK) {
		if (used == room && (used > most || grow(data, &room, most) == -1))
			break;
		z.next_out = (Bytef *)*data + used;
		z.avail_out = (uInt)(room - used);
		r = inflate(&z, Z_NO_FLUSH);
		used = room - z.avail_out;
	}
	if (used > most)
		result = 1;
	else if (r == Z_STREAM_END && z.avail_in == 0)
		result = 0;
	(void)inflateEnd(&z);
	if (result != 0) {
		free(*data);
		*data = NULL;
	}
	*out_len = used;
	return result;
}

int
gzip_deflate(const void *body, size_t len, char **data, size_t *out_len)
{
	z_stream z = {0};
	int r;

	*data = NULL;
	if (len > UINT_MAX ||
	    deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, GZIP_BITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -1;
	*data = malloc(len);
	z.next_in = (Bytef *)(uintptr_t)body;
	z.avail_in = (uInt)len;
	z.next_out = (Bytef *)*data;
	z.avail_out = (uInt)len;
	r = *data == NULL ? Z_MEM_ERROR : deflate(&z, Z_FINISH);
	*out_len = len - z.avail_out;
	(void)deflateEnd(&z);
	if (r == Z_STREAM_END)
		return 0;
	free(*data);
	*data = NULL;
	return -1;
}
