/*
 * selector.c: which agents are meant (see selector.h).  opamphub-store.
 */
#include "selector.h"

#include <string.h>

/* One part up to an unescaped `end` or the text's end; unescaped into s->text. */
static struct bytes
part(struct selector *s, size_t *used, const struct bytes *text, size_t *pos, char end)
{
	struct bytes b = {s->text + *used, 0};
	char c;

	for (; *pos < text->len; (*pos)++) {
		c = text->data[*pos];
		if (c == end)
			break;
		if (c == '\\' && *pos + 1 < text->len)
			c = text->data[++*pos];
		s->text[(*used)++] = c;
		b.len++;
	}
	return b;
}

int
selector_read(struct selector *s, struct bytes text, struct error *err)
{
	size_t pos = 0, used = 0;

	s->count = 0;
	if (text.len > sizeof(s->text))
		return error_set(err, "the selector is longer than %d bytes", SELECTOR_TEXT);
	while (pos < text.len) {
		if (s->count == SELECTOR_PAIRS)
			return error_set(
			    err, "the selector has more than %d pairs", SELECTOR_PAIRS);
		s->pairs[s->count].name = part(s, &used, &text, &pos, '=');
		if (pos == text.len || s->pairs[s->count].name.len == 0)
			return error_set(err,
			    "the selector's part %zu is not name=value: write, for instance, "
			    "host.name=web1,os.type=linux",
			    s->count + 1);
		pos++;
		s->pairs[s->count].value = part(s, &used, &text, &pos, ',');
		s->count++;
		if (pos < text.len && ++pos == text.len)
			return error_set(err, "the selector ends with a comma");
	}
	return 0;
}

int
selector_fits(const struct selector *s, const struct bytes *list, size_t count)
{
	const struct bytes *n, *v;
	size_t i, j;

	for (i = 0; i < s->count; i++) {
		n = &s->pairs[i].name;
		v = &s->pairs[i].value;
		for (j = 0; j < count; j++)
			if (list[j].len == n->len + 1 + v->len &&
			    memcmp(list[j].data, n->data, n->len) == 0 &&
			    list[j].data[n->len] == '=' &&
			    memcmp(list[j].data + n->len + 1, v->data, v->len) == 0)
				break;
		if (j == count)
			return 0;
	}
	return 1;
}
