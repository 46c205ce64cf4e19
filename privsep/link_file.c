/*
 * link_file.c: files with the link's secret (see link_file.h).  The parent.
 * A constant number of bytes is compared with a constant: nothing is parsed.
 */
#include "link_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "memfd.h"

int
link_file_check(int fd)
{
	static const char digits[] = "0123456789abcdef", before[] = LINK_FILE_BEFORE,
			  after[] = LINK_FILE_AFTER;
	char text[LINK_FILE_LEN];
	size_t len, i;
	int bad;

	if (memfd_check(fd, LINK_FILE_LEN, &len, NULL) == -1 || len != LINK_FILE_LEN ||
	    pread(fd, text, sizeof(text), 0) != (ssize_t)sizeof(text))
		return -1;
	bad = memcmp(text, before, sizeof(before) - 1) != 0 ||
	      memcmp(text + sizeof(text) - (sizeof(after) - 1), after, sizeof(after) - 1) != 0;
	for (i = 0; i < LINK_FILE_DIGITS; i++)
		bad |= memchr(digits, text[sizeof(before) - 1 + i], sizeof(digits) - 1) == NULL;
	explicit_bzero(text, sizeof(text));
	return bad ? -1 : 0;
}

int
link_file_make(void)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char raw[LINK_FILE_DIGITS];
	char digits[LINK_FILE_DIGITS + 1], text[LINK_FILE_LEN + 1];
	size_t i;
	int fd;

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return -1;
	for (i = 0; i < LINK_FILE_DIGITS; i++)
		digits[i] = hex[raw[i] & 15];
	digits[i] = '\0';
	(void)snprintf(text, sizeof(text), "%s%s%s", LINK_FILE_BEFORE, digits, LINK_FILE_AFTER);
	fd = memfd_seal("link", text, LINK_FILE_LEN, NULL);
	explicit_bzero(raw, sizeof(raw));
	explicit_bzero(digits, sizeof(digits));
	explicit_bzero(text, sizeof(text));
	return fd;
}
