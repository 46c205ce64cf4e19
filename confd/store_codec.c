/*
 * store_codec.c: confd's own files as checksummed frames (see store_codec.h).  confd only; touches no
 * descriptor.
 */
#include "store_codec.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define HEAD (STORE_MAGIC + sizeof(uint64_t)) /* magic, length of the whole frame */
#define TAIL sizeof(uint64_t)

#define POLYNOMIAL 0xc96c5795d7870f42ull /* ECMA-182, reflected */

/* tables[k][b]: what byte b does to the sum with k zero bytes behind it. */
static void
make_tables(uint64_t tables[8][256])
{
	size_t i, k;
	int bit;

	for (i = 0; i < 256; i++) {
		uint64_t c = i;

		for (bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
		tables[0][i] = c;
	}
	for (k = 1; k < 8; k++)
		for (i = 0; i < 256; i++)
			tables[k][i] = tables[0][tables[k - 1][i] & 0xff] ^ tables[k - 1][i] >> 8;
}

/* Eight bytes at a time: configurations have millions.  The tables are made at the first call. */
uint64_t
store_crc(uint64_t crc, const void *data, size_t len)
{
	static uint64_t t[8][256];
	const unsigned char *p = data;
	uint64_t w;

	if (t[0][1] == 0)
		make_tables(t);
	crc = ~crc;
	for (; len >= sizeof(w); len -= sizeof(w), p += sizeof(w)) {
		memcpy(&w, p, sizeof(w));
		w = le64toh(w) ^ crc;
		crc = t[7][w & 0xff] ^ t[6][w >> 8 & 0xff] ^ t[5][w >> 16 & 0xff] ^
		      t[4][w >> 24 & 0xff] ^ t[3][w >> 32 & 0xff] ^ t[2][w >> 40 & 0xff] ^
		      t[1][w >> 48 & 0xff] ^ t[0][w >> 56];
	}
	for (; len > 0; len--)
		crc = t[0][(crc ^ *p++) & 0xff] ^ crc >> 8;
	return ~crc;
}

void
pack_raw(struct pack *p, const void *data, size_t len)
{
	unsigned char *bigger;
	size_t need, size;

	if (p->failed)
		return;
	if (__builtin_add_overflow(p->len, len, &need)) {
		p->failed = 1;
		return;
	}
	if (need > p->size) {
		size = need < SIZE_MAX / 2 ? need + need / 2 + 256 : need;
		bigger = realloc(p->data, size);
		if (bigger == NULL) {
			p->failed = 1;
			return;
		}
		p->data = bigger;
		p->size = size;
	}
	if (len > 0)
		memcpy(p->data + p->len, data, len);
	p->len = need;
}

void
pack_begin(struct pack *p, const char magic[STORE_MAGIC])
{
	memset(p, 0, sizeof(*p));
	pack_raw(p, magic, STORE_MAGIC);
	pack_u64(p, 0); /* the length, when it is known */
}

void
pack_u32(struct pack *p, uint32_t value)
{
	pack_raw(p, &value, sizeof(value));
}

void
pack_u64(struct pack *p, uint64_t value)
{
	pack_raw(p, &value, sizeof(value));
}

void
pack_bytes(struct pack *p, const void *data, size_t len)
{
	pack_u64(p, len);
	pack_raw(p, data, len);
}

int
pack_finish(struct pack *p)
{
	uint64_t len;

	if (!p->failed) {
		len = p->len + TAIL;
		memcpy(p->data + STORE_MAGIC, &len, sizeof(len));
		pack_u64(p, store_crc(0, p->data, p->len));
	}
	if (p->failed) {
		free(p->data);
		p->data = NULL;
		return -1;
	}
	return 0;
}

int
unpack_begin(struct unpack *u, const char magic[STORE_MAGIC], const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t whole, crc;

	memset(u, 0, sizeof(*u));
	u->failed = 1;
	if (len < HEAD + TAIL || memcmp(p, magic, STORE_MAGIC) != 0)
		return -1;
	memcpy(&whole, p + STORE_MAGIC, sizeof(whole));
	if (whole < HEAD + TAIL || whole > len)
		return -1;
	memcpy(&crc, p + whole - TAIL, sizeof(crc));
	if (crc != store_crc(0, p, (size_t)whole - TAIL))
		return -1;
	u->at = p + HEAD;
	u->left = (size_t)whole - HEAD - TAIL;
	u->failed = 0;
	return 0;
}

static int
unpack_raw(struct unpack *u, void *out, size_t len)
{
	if (u->failed || u->left < len) {
		u->failed = 1;
		memset(out, 0, len);
		return -1;
	}
	memcpy(out, u->at, len);
	u->at += len;
	u->left -= len;
	return 0;
}

uint32_t
unpack_u32(struct unpack *u)
{
	uint32_t value;

	(void)unpack_raw(u, &value, sizeof(value));
	return value;
}

uint64_t
unpack_u64(struct unpack *u)
{
	uint64_t value;

	(void)unpack_raw(u, &value, sizeof(value));
	return value;
}

const void *
unpack_bytes(struct unpack *u, size_t most, size_t *len)
{
	uint64_t n = unpack_u64(u);
	const void *at = u->at;

	*len = 0;
	if (u->failed || n > most || n > u->left) {
		u->failed = 1;
		return NULL;
	}
	*len = (size_t)n;
	u->at += n;
	u->left -= (size_t)n;
	return at;
}

int
unpack_end(const struct unpack *u)
{
	return u->failed || u->left != 0 ? -1 : 0;
}
