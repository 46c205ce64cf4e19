/*
 * hub.c: small things that the parts of the hub share (see hub.h).
 */
#include "hub.h"

#include <string.h>

static const char digits[] = "0123456789abcdef";

void
hex_text(char *text, const uint8_t *data, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		text[2 * i] = digits[data[i] >> 4];
		text[2 * i + 1] = digits[data[i] & 15];
	}
	text[2 * len] = '\0';
}

unsigned
uid_hash(const uint8_t uid[16])
{
	uint64_t a, b;

	memcpy(&a, uid, 8);
	memcpy(&b, uid + 8, 8);
	a = (a ^ b) * 0x9e3779b97f4a7c15u;
	return (unsigned)(a >> 51);
}

static int
dash_after(size_t byte)
{
	return byte == 3 || byte == 5 || byte == 7 || byte == 9;
}

void
uid_text(char text[UID_TEXT], const uint8_t uid[16])
{
	size_t i, at = 0;

	for (i = 0; i < 16; i++) {
		text[at++] = digits[uid[i] >> 4];
		text[at++] = digits[uid[i] & 15];
		if (dash_after(i))
			text[at++] = '-';
	}
	text[at] = '\0';
}

static int
nibble(char c)
{
	c = lower(c);
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
uid_read(uint8_t uid[16], const char *text, size_t len)
{
	size_t i, at = 0;
	int high, low;

	if (len != UID_TEXT - 1)
		return -1;
	for (i = 0; i < 16; i++) {
		high = nibble(text[at++]);
		low = nibble(text[at++]);
		if (high < 0 || low < 0)
			return -1;
		uid[i] = (uint8_t)(high << 4 | low);
		if (dash_after(i) && text[at++] != '-')
			return -1;
	}
	return 0;
}
