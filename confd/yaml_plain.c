/*
 * yaml_plain.c: writes the trees that have nothing unusual in them, which are nearly all, as libyaml does and
 * several times as fast: it looks at each character some twenty times (see yaml_emit.c).  merge only.
 * That it reads as it was meant is seen afterwards, as for libyaml's.
 */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "privsep/limits.h"
#include "yaml_output.h"

#define KEY_MOST 100 /* bytes: libyaml writes long keys in another form */
#define INDENT   2

enum {
	IN_PLAIN = 1,  /* anywhere in a plain text */
	FIRST = 2,     /* and at its begin */
	IN_QUOTES = 4, /* as it is in double quotes */
};

static void
make_table(unsigned char table[256])
{
	static const char in_plain[] = "_./+=@%^(),;<>~-${}*!?&|'[]", first[] = "_/$";
	size_t i;
	int c;

	for (c = 0x20; c < 0x7f; c++) {
		if (c != '"' && c != '\\')
			table[c] |= IN_QUOTES;
		if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
			table[c] |= IN_PLAIN | FIRST;
	}
	for (i = 0; in_plain[i] != '\0'; i++)
		table[(unsigned char)in_plain[i]] |= IN_PLAIN;
	for (i = 0; first[i] != '\0'; i++)
		table[(unsigned char)first[i]] |= FIRST;
}

static const unsigned char *
classes(void)
{
	static unsigned char table[256];

	if (table['a'] == 0)
		make_table(table);
	return table;
}

/* A space or a colon with a letter or the like on both sides is nothing special. */
static int
is_between(const unsigned char *class, const char *s, size_t i, size_t len)
{
	return (s[i] == ' ' || s[i] == ':') && i > 0 && i + 1 < len &&
	       (class[(unsigned char)s[i - 1]] & IN_PLAIN) != 0 &&
	       (class[(unsigned char)s[i + 1]] & IN_PLAIN) != 0;
}

static int
usual_scalar(const struct yaml_node *n)
{
	const unsigned char *class = classes();
	size_t i;

	if (n->style == YAML_DOUBLE_QUOTED_SCALAR_STYLE) {
		for (i = 0; i < n->len; i++)
			if ((class[(unsigned char)n->value[i]] & IN_QUOTES) == 0)
				return 0;
		return 1;
	}
	if (n->style != YAML_PLAIN_SCALAR_STYLE)
		return 0;
	if (n->len > 0 && (class[(unsigned char)n->value[0]] & FIRST) == 0)
		return 0;
	for (i = 0; i < n->len; i++)
		if ((class[(unsigned char)n->value[i]] & IN_PLAIN) == 0 &&
		    !is_between(class, n->value, i, n->len))
			return 0;
	return 1;
}

int
tree_is_usual(const struct yaml_node *n, int depth)
{
	size_t i;

	if (depth > (int)LIMIT_YAML_DEPTH || n->tag != NULL)
		return 0;
	if (n->kind == YAML_SCALAR)
		return usual_scalar(n);
	for (i = 0; i < n->count; i++) {
		if (n->kind == YAML_MAP &&
		    (n->pairs[i].key->len == 0 || n->pairs[i].key->len > KEY_MOST ||
			!tree_is_usual(n->pairs[i].key, depth + 1)))
			return 0;
		if (!tree_is_usual(
			n->kind == YAML_MAP ? n->pairs[i].value : n->items[i], depth + 1))
			return 0;
	}
	return 1;
}

/* ---- writing; 1, or 0 when there is no more room */

static int
put(struct output *o, const char *text, size_t len)
{
	return output_write(o, (unsigned char *)(uintptr_t)text, len);
}

static int
put_indent(struct output *o, size_t indent)
{
	static const char spaces[] = "                                ";
	size_t n;

	for (; indent > 0; indent -= n) {
		n = indent < sizeof(spaces) - 1 ? indent : sizeof(spaces) - 1;
		if (!put(o, spaces, n))
			return 0;
	}
	return 1;
}

static int
put_scalar(struct output *o, const struct yaml_node *n)
{
	if (n->style == YAML_PLAIN_SCALAR_STYLE)
		return put(o, n->value, n->len);
	return put(o, "\"", 1) && put(o, n->value, n->len) && put(o, "\"", 1);
}

static int put_parts(struct output *o, const struct yaml_node *n, size_t indent, int begun);

/* What stands behind "key:" or "-", and the end of the line. */
static int
put_value(struct output *o, const struct yaml_node *n, size_t indent, int in_map)
{
	if (n->kind == YAML_SCALAR)
		return (n->len == 0 && n->style == YAML_PLAIN_SCALAR_STYLE) ||
			       (put(o, " ", 1) && put_scalar(o, n))
			   ? put(o, "\n", 1)
			   : 0;
	if (n->count == 0)
		return put(o, n->kind == YAML_MAP ? " {}\n" : " []\n", 4);
	if (!in_map)
		return put(o, " ", 1) && put_parts(o, n, indent + INDENT, 1);
	return put(o, "\n", 1) &&
	       put_parts(o, n, n->kind == YAML_MAP ? indent + INDENT : indent, 0);
}

/* begun: the first one goes on in a line where something stands already. */
static int
put_parts(struct output *o, const struct yaml_node *n, size_t indent, int begun)
{
	size_t i;

	for (i = 0; i < n->count; i++) {
		if (!(begun && i == 0) && !put_indent(o, indent))
			return 0;
		if (n->kind == YAML_SEQ) {
			if (!put(o, "-", 1) || !put_value(o, n->items[i], indent, 0))
				return 0;
		} else if (!put_scalar(o, n->pairs[i].key) || !put(o, ":", 1) ||
			   !put_value(o, n->pairs[i].value, indent, 1)) {
			return 0;
		}
	}
	return 1;
}

int
tree_write_usual(struct output *o, const struct yaml_node *root)
{
	return put_parts(o, root, 0, 0);
}
