/*
 * identity.h: the instance uid: 16 bytes, a UUID of version 7 unless someone chose otherwise (ID-01).
 * confd only.
 */
#ifndef CONFD_IDENTITY_H
#define CONFD_IDENTITY_H

#include <stdint.h>

#define UUID_SIZE 16
#define UUID_TEXT 37 /* with its terminator */

/* A new one, by the clock and the kernel's random numbers.  -1: errno says why there are none. */
int identity_make(uint8_t uid[UUID_SIZE], uint64_t unix_ms);
/* The canonical form, lower case. */
void identity_text(char text[UUID_TEXT], const uint8_t uid[UUID_SIZE]);
/* The canonical form in either case and nothing else; -1 otherwise. */
int identity_parse(uint8_t uid[UUID_SIZE], const char *text);
int identity_is_zero(const uint8_t uid[UUID_SIZE]);

#endif
