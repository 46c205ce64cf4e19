/*
 * json_text.h: JSON that is written straight as text, where a tree of jansson's would be made only to be
 * dumped.  opamphub-store.
 */
#ifndef HUB_JSON_TEXT_H
#define HUB_JSON_TEXT_H

#include <stddef.h>

struct json_text { /* begins as zeros; data is malloc'd, the owner frees it */
	char *data;
	size_t len, room;
	int failed; /* memory ran out: the text is not whole */
};

/* What is JSON already. */
void json_text_raw(struct json_text *t, const char *text);

/* A string with its quotes; data is UTF-8, which the caller has checked. */
void json_text_string(struct json_text *t, const char *data, size_t len);

/* Bytes as a string of hexadecimal digits. */
void json_text_hex(struct json_text *t, const char *data, size_t len);

#endif
