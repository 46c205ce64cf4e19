/*
 * identity.c: see identity.h.  confd only.
 */
#include "identity.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

int
identity_make(uint8_t uid[UUID_SIZE], uint64_t unix_ms)
{
	int i;

	if (getrandom(uid, UUID_SIZE, 0) != UUID_SIZE)
		return -1;
	for (i = 0; i < 6; i++)
		uid[i] = (uint8_t)(unix_ms >> (40 - 8 * i));
	uid[6] = (uint8_t)(0x70 | (uid[6] & 0x0f)); /* version 7 */
	uid[8] = (uint8_t)(0x80 | (uid[8] & 0x3f)); /* variant of RFC 9562 */
	return 0;
}

void
identity_text(char text[UUID_TEXT], const uint8_t uid[UUID_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	char *p = text;
	int i;

	for (i = 0; i < UUID_SIZE; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[uid[i] >> 4];
		*p++ = digits[uid[i] & 15];
	}
	*p = '\0';
}

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
identity_parse(uint8_t uid[UUID_SIZE], const char *text)
{
	int i, high, low;

	for (i = 0; i < UUID_SIZE; i++) {
		if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
			return -1;
		high = digit(text[0]);
		low = high == -1 ? -1 : digit(text[1]);
		if (low == -1)
			return -1;
		uid[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	return *text == '\0' ? 0 : -1;
}

int
identity_is_zero(const uint8_t uid[UUID_SIZE])
{
	static const uint8_t zero[UUID_SIZE];

	return memcmp(uid, zero, UUID_SIZE) == 0;
}
