/*
 * wskey.c: the key of WebSocket's opening handshake and the answer that proves the server read it
 * (RFC 6455, section 4.2.2).  netd, link.  SHA-1 is here for this alone: link does not link OpenSSL,
 * and nothing secret hangs on it.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "ws.h"

#define SHA1_SIZE  20
#define SHA1_BLOCK 64
#define INPUT_SIZE 60 /* a key and the protocol's GUID: two blocks when padded */

static uint32_t
rotate(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

/* FIPS 180-4, section 6.1.2. */
static void
sha1_block(uint32_t h[5], const uint8_t *p)
{
	uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f, k, t;
	unsigned i;

	for (i = 0; i < 16; i++, p += 4)
		w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	for (; i < 80; i++)
		w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	for (i = 0; i < 80; i++) {
		if (i < 20) {
			f = (b & c) | (~b & d);
			k = 0x5a827999;
		} else if (i < 40) {
			f = b ^ c ^ d;
			k = 0x6ed9eba1;
		} else if (i < 60) {
			f = (b & c) | (b & d) | (c & d);
			k = 0x8f1bbcdc;
		} else {
			f = b ^ c ^ d;
			k = 0xca62c1d6;
		}
		t = rotate(a, 5) + f + e + k + w[i];
		e = d;
		d = c;
		c = rotate(b, 30);
		b = a;
		a = t;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

static void
sha1(const char text[INPUT_SIZE], uint8_t out[SHA1_SIZE])
{
	uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	uint8_t block[SHA1_BLOCK * 2] = {0};
	size_t i;

	memcpy(block, text, INPUT_SIZE);
	block[INPUT_SIZE] = 0x80;
	block[sizeof(block) - 2] = INPUT_SIZE * 8 >> 8; /* length in bits */
	block[sizeof(block) - 1] = INPUT_SIZE * 8 & 0xff;
	for (i = 0; i < sizeof(block); i += SHA1_BLOCK)
		sha1_block(h, block + i);
	for (i = 0; i < SHA1_SIZE; i++)
		out[i] = (uint8_t)(h[i / 4] >> (24 - i % 4 * 8));
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void
base64(const uint8_t *in, size_t len, char *out)
{
	uint32_t v;
	size_t i;

	for (i = 0; i < len; i += 3) {
		v = (uint32_t)in[i] << 16;
		v |= i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0;
		v |= i + 2 < len ? in[i + 2] : 0;
		*out++ = alphabet[v >> 18];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = i + 1 < len ? alphabet[v >> 6 & 63] : '=';
		*out++ = i + 2 < len ? alphabet[v & 63] : '=';
	}
	*out = '\0';
}

int
wskey_new(char key[WSKEY_SIZE])
{
	uint8_t raw[16];

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return -1;
	base64(raw, sizeof(raw), key);
	return 0;
}

int
wskey_accept(const char *key, char accept[WSKEY_ACCEPT_SIZE])
{
	char text[INPUT_SIZE + 1];
	uint8_t digest[SHA1_SIZE];

	/* 22 characters carry 16 bytes; that the last four bits are zero is not asked for */
	if (strspn(key, alphabet) != WSKEY_SIZE - 3 || strcmp(key + WSKEY_SIZE - 3, "==") != 0)
		return -1;
	(void)snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
	sha1(text, digest);
	base64(digest, sizeof(digest), accept);
	return 0;
}
