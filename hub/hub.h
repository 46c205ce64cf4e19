/*
 * hub.h: small things that the parts of the hub share.  opamphub, opamphub-front, opamphub-store.
 */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include <stddef.h>
#include <stdint.h>

#include "privsep/error.h"
#include "privsep/limits.h"

#define UID_TEXT 37 /* 8-4-4-4-12 hexadecimal digits, terminated */

/* Canonical lower-case form. */
void uid_text(char text[UID_TEXT], const uint8_t uid[16]);

/* The canonical form, either case.  -1: it is not. */
int uid_read(uint8_t uid[16], const char *text, size_t len);

/* For tables by uid. */
unsigned uid_hash(const uint8_t uid[16]);

/* ASCII only; the rest stays. */
static inline char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Lower-case hexadecimal, terminated: 2 * len + 1 bytes. */
void hex_text(char *text, const uint8_t *data, size_t len);

#endif
