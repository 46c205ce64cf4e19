/*
 * json_text.c: see json_text.h.  opamphub-store.
 */
#include "json_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hub.h"

#define ESCAPED 6 /* bytes that one may become: \u0001 */

/* Where so many bytes more may be written, or NULL. */
static char *
room(struct json_text *t, size_t len)
{
	size_t need, size;
	char *bigger;

	if (t->failed)
		return NULL;
	if (__builtin_add_overflow(t->len, len, &need) || need > SIZE_MAX / 2) {
		t->failed = 1;
		return NULL;
	}
	if (need > t->room) {
		size = need + need / 2;
		bigger = realloc(t->data, size);
		if (bigger == NULL) {
			t->failed = 1;
			return NULL;
		}
		t->data = bigger;
		t->room = size;
	}
	return t->data + t->len;
}

static void
add(struct json_text *t, const char *data, size_t len)
{
	char *to = room(t, len);

	if (to == NULL || len == 0)
		return;
	memcpy(to, data, len);
	t->len += len;
}

void
json_text_raw(struct json_text *t, const char *text)
{
	add(t, text, strlen(text));
}

static int
is_plain(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\';
}

static void
add_escaped(struct json_text *t, unsigned char c)
{
	static const char digits[] = "0123456789abcdef", from[] = "\"\\\b\f\n\r\t",
			  to[] = "\"\\bfnrt";
	const char *at = c == '\0' ? NULL : strchr(from, c);
	char text[ESCAPED] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};

	if (at == NULL) {
		add(t, text, ESCAPED);
		return;
	}
	text[1] = to[at - from];
	add(t, text, 2);
}

void
json_text_string(struct json_text *t, const char *data, size_t len)
{
	size_t at = 0, end;

	(void)room(t, len + len / 8 + 2); /* most texts need little more */
	add(t, "\"", 1);
	while (at < len && !t->failed) {
		for (end = at; end < len && is_plain((unsigned char)data[end]);)
			end++;
		add(t, data + at, end - at);
		if (end < len)
			add_escaped(t, (unsigned char)data[end++]);
		at = end;
	}
	add(t, "\"", 1);
}

void
json_text_hex(struct json_text *t, const char *data, size_t len)
{
	char *to;

	add(t, "\"", 1);
	to = len > SIZE_MAX / 4 ? NULL : room(t, 2 * len + 1); /* it is terminated */
	if (to != NULL) {
		hex_text(to, (const uint8_t *)data, len);
		t->len += 2 * len;
	} else
		t->failed = 1;
	add(t, "\"", 1);
}
