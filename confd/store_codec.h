/*
 * store_codec.h: the form of confd's own files: a magic of eight bytes, the length, fields, and a
 * checksum over all of it.  confd only.  The checksum (CRC-64) is there to notice torn writes and
 * failing disks, not attackers: nobody but confd and root can write below its directory.  A reader
 * checks every length nevertheless, and never reads past the end.
 */
#ifndef CONFD_STORE_CODEC_H
#define CONFD_STORE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#define STORE_MAGIC 8 /* bytes of a magic */

struct pack { /* a writer; one error is kept until pack_finish */
	unsigned char *data;
	size_t len, size;
	int failed;
};

struct unpack { /* a reader; borrows the buffer */
	const unsigned char *at;
	size_t left;
	int failed;
};

/* CRC-64/XZ of data, going on from a crc of what came before (0 at the start). */
uint64_t store_crc(uint64_t crc, const void *data, size_t len);

void pack_begin(struct pack *p, const char magic[STORE_MAGIC]);
void pack_raw(struct pack *p, const void *data, size_t len);
void pack_u32(struct pack *p, uint32_t value);
void pack_u64(struct pack *p, uint64_t value);
void pack_bytes(struct pack *p, const void *data, size_t len); /* with their length in front */
/* Puts length and checksum in: 0, and p->data (malloc'd) is the caller's; -1: no memory. */
int pack_finish(struct pack *p);

/* -1: another magic, a wrong length or a wrong checksum.  Bytes after the frame are let be. */
int unpack_begin(struct unpack *u, const char magic[STORE_MAGIC], const void *data, size_t len);
uint32_t unpack_u32(struct unpack *u);
uint64_t unpack_u64(struct unpack *u);
/* Borrowed; more than most is a failure. */
const void *unpack_bytes(struct unpack *u, size_t most, size_t *len);
/* 0 when every field was there and nothing is left over. */
int unpack_end(const struct unpack *u);

#endif
