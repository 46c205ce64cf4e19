/*
 * writer_json.c: one JSON object (see writer.h).  opampctl only.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/log.h"
#include "writer.h"

#define DEPTH 16

struct json_writer {
	struct writer w;
	FILE *out;
	json_t *root;
	json_t *stack[DEPTH]; /* objects and arrays that are open; borrowed but for the root */
	int depth;
	int failed;
	size_t flags;
};

static json_t *
top(struct json_writer *j)
{
	json_t *t = j->stack[j->depth];

	/* fields of a table's row go into the last element */
	return json_is_array(t) ? json_array_get(t, json_array_size(t) - 1) : t;
}

static void
set(struct writer *w, const char *name, json_t *value)
{
	struct json_writer *j = (struct json_writer *)w;

	if (json_object_set_new(top(j), name, value) == -1)
		j->failed = 1;
}

static void
open_value(struct writer *w, const char *name, json_t *value)
{
	struct json_writer *j = (struct json_writer *)w;

	set(w, name, value);
	if (j->depth + 1 == DEPTH || value == NULL)
		j->failed = 1;
	else
		j->stack[++j->depth] = value;
}

static void
json_section(struct writer *w, const char *name)
{
	open_value(w, name, json_object());
}

static void
json_table(struct writer *w, const char *name, const char *const *columns)
{
	(void)columns;
	open_value(w, name, json_array());
}

static void
json_end(struct writer *w)
{
	struct json_writer *j = (struct json_writer *)w;

	if (j->depth > 0)
		j->depth--;
}

static void
json_row(struct writer *w)
{
	struct json_writer *j = (struct json_writer *)w;

	if (json_array_append_new(j->stack[j->depth], json_object()) == -1)
		j->failed = 1;
}

/* What is not UTF-8 is shown escaped. */
static void
json_bytes(struct writer *w, const char *name, const char *value, size_t len)
{
	json_t *s = json_stringn(value, len);
	char *escaped;

	if (s == NULL && len < SIZE_MAX / 8) {
		escaped = malloc(len * 4 + 5);
		if (escaped != NULL)
			s = json_string(log_escape(escaped, len * 4 + 5, value, len));
		free(escaped);
	}
	set(w, name, s);
}

static void
json_number(struct writer *w, const char *name, uint64_t value, const char *shown)
{
	(void)shown;
	set(w, name, json_integer((json_int_t)(value > INT64_MAX ? INT64_MAX : value)));
}

static void
json_bool(struct writer *w, const char *name, int value, const char *shown)
{
	(void)shown;
	set(w, name, json_boolean(value));
}

static void
json_time(struct writer *w, const char *name, uint64_t ns, const char *shown)
{
	char text[40];

	(void)shown;
	set(w, name, json_string(time_text(text, sizeof(text), ns)));
}

static void
json_note(struct writer *w, const char *text)
{
	(void)w;
	(void)text;
}

/* jansson leaves DEL as it is, which can only stand in a string. */
static int
put(const char *text, size_t len, void *arg)
{
	FILE *out = arg;
	size_t i;

	for (i = 0; i < len; i++)
		if (text[i] == 0x7f ? fputs("\\u007f", out) == EOF : fputc(text[i], out) == EOF)
			return -1;
	return 0;
}

static int
json_finish(struct writer *w)
{
	struct json_writer *j = (struct json_writer *)w;
	int r = j->failed;

	if (json_dump_callback(j->root, put, j->out, j->flags | JSON_ENSURE_ASCII) == -1 ||
	    fputc('\n', j->out) == EOF || fflush(j->out) == EOF)
		r = 1;
	json_decref(j->root);
	free(j);
	return r ? -1 : 0;
}

static const struct writer_ops ops = {.section = json_section,
    .end = json_end,
    .table = json_table,
    .row = json_row,
    .string = json_bytes,
    .number = json_number,
    .boolean = json_bool,
    .time = json_time,
    .note = json_note,
    .finish = json_finish};

struct writer *
writer_json_new(FILE *out, int compact)
{
	struct json_writer *j = calloc(1, sizeof(*j));

	if (j == NULL)
		return NULL;
	j->w.ops = &ops;
	j->out = out;
	j->flags = compact ? JSON_COMPACT : JSON_INDENT(2);
	j->root = j->stack[0] = json_object();
	if (j->root == NULL) {
		free(j);
		return NULL;
	}
	return &j->w;
}
