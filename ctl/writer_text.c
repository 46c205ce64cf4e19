/*
 * writer_text.c: sections and tables for people (see writer.h).  opampctl only.
 */
#include <stdlib.h>
#include <string.h>

#include "privsep/log.h"
#include "writer.h"

#define LABEL_WIDTH 18

struct text_writer {
	struct writer w;
	FILE *out;
	int depth; /* sections that are open */
	int began; /* something was printed: an empty line comes before the next section */
	/* the table that is open */
	int in_table, failed;
	const char *columns[WRITER_COLUMNS];
	size_t column_count, row_count, size;
	char **cells; /* row_count * column_count, malloc'd or NULL */
};

static void
indent(struct text_writer *t)
{
	fprintf(t->out, "%*s", t->depth * 2, "");
}

static void
print_label(struct text_writer *t, const char *name)
{
	char label[64];
	size_t i, n = strlen(name) < sizeof(label) - 1 ? strlen(name) : sizeof(label) - 1;

	if (n > 3 && strcmp(name + n - 3, "_ms") == 0)
		n -= 3; /* people see the unit */
	for (i = 0; i < n; i++)
		label[i] = name[i] == '_' ? ' ' : name[i];
	label[n] = '\0';
	indent(t);
	fprintf(t->out, "%-*s ", LABEL_WIDTH, label);
	t->began = 1;
}

static void
text_section(struct writer *w, const char *name)
{
	struct text_writer *t = (struct text_writer *)w;

	if (t->began && t->depth == 0)
		fputc('\n', t->out);
	indent(t);
	for (; *name != '\0'; name++)
		fputc(*name == '_' ? ' ' : *name, t->out);
	fputc('\n', t->out);
	t->began = 1;
	t->depth++;
}

/* ---- tables */

static char **
cell(struct text_writer *t, size_t row, size_t column)
{
	return &t->cells[row * t->column_count + column];
}

/* Characters, not bytes: every byte that does not continue one.  Good enough for columns. */
static int
width(const char *s)
{
	int n = 0;

	for (; s != NULL && *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void
print_table(struct text_writer *t)
{
	int widths[WRITER_COLUMNS] = {0}, pad = 0;
	size_t r, c, used[WRITER_COLUMNS], n = 0, k;
	const char *s;

	for (c = 0; c < t->column_count; c++) {
		for (r = 0; r < t->row_count; r++)
			if (width(*cell(t, r, c)) > widths[c])
				widths[c] = width(*cell(t, r, c));
		if (widths[c] == 0)
			continue; /* nothing in it */
		if (widths[c] < width(t->columns[c]))
			widths[c] = width(t->columns[c]);
		used[n++] = c;
	}
	if (n > 0 && t->row_count > 0)
		indent(t);
	for (k = 0; k < n && t->row_count > 0; k++) {
		fprintf(t->out, "%*s", pad, "");
		for (s = t->columns[used[k]]; *s != '\0'; s++)
			fputc(*s == '_' ? ' ' : *s >= 'a' && *s <= 'z' ? *s - 32 : *s, t->out);
		pad = widths[used[k]] - width(t->columns[used[k]]) + 2;
	}
	if (n > 0 && t->row_count > 0)
		fputc('\n', t->out);
	for (r = 0; r < t->row_count; r++) {
		indent(t);
		for (k = 0, pad = 0; k < n; k++) {
			s = *cell(t, r, used[k]);
			if (s != NULL && *s != '\0') {
				fprintf(t->out, "%*s%s", pad, "", s);
				pad = 0;
			}
			pad += widths[used[k]] - width(s) + 2;
		}
		fputc('\n', t->out);
	}
}

static void
text_table(struct writer *w, const char *name, const char *const *columns)
{
	struct text_writer *t = (struct text_writer *)w;

	(void)name;
	if (t->began && t->depth == 0)
		fputc('\n', t->out);
	t->began = 1;
	t->in_table = 1;
	t->column_count = t->row_count = 0;
	while (columns[t->column_count] != NULL && t->column_count < WRITER_COLUMNS) {
		t->columns[t->column_count] = columns[t->column_count];
		t->column_count++;
	}
}

static void
text_row(struct writer *w)
{
	struct text_writer *t = (struct text_writer *)w;
	size_t want = (t->row_count + 1) * t->column_count;
	char **bigger;

	if (want > t->size) {
		bigger = realloc(t->cells, want * 2 * sizeof(char *));
		if (bigger == NULL) {
			t->failed = 1;
			return;
		}
		t->cells = bigger;
		t->size = want * 2;
	}
	memset(&t->cells[t->row_count * t->column_count], 0, t->column_count * sizeof(char *));
	t->row_count++;
}

static void
text_end(struct writer *w)
{
	struct text_writer *t = (struct text_writer *)w;
	size_t i;

	if (!t->in_table) {
		if (t->depth > 0)
			t->depth--;
		return;
	}
	print_table(t);
	for (i = 0; i < t->row_count * t->column_count; i++)
		free(t->cells[i]);
	t->row_count = 0;
	t->in_table = 0;
}

static void
set_cell(struct text_writer *t, const char *name, const char *value, size_t len)
{
	const char *end = memchr(value, '\n', len);
	size_t c, cut = end == NULL ? len : (size_t)(end - value);
	char *copy;

	for (c = 0; c < t->column_count && strcmp(t->columns[c], name) != 0; c++)
		;
	if (c == t->column_count || t->row_count == 0 || *cell(t, t->row_count - 1, c) != NULL)
		return;
	copy = malloc(cut * 4 + 9);
	if (copy == NULL) {
		t->failed = 1;
		return;
	}
	(void)log_escape(copy, cut * 4 + 5, value, cut);
	if (end != NULL && end + 1 < value + len)
		memcpy(copy + strlen(copy), " ...", sizeof(" ..."));
	*cell(t, t->row_count - 1, c) = copy;
}

/* ---- fields */

static void
text_string(struct writer *w, const char *name, const char *value, size_t len)
{
	struct text_writer *t = (struct text_writer *)w;
	char *escaped, *line, *end;

	if (len > SIZE_MAX / 8)
		return;
	if (t->in_table) {
		set_cell(t, name, value, len);
		return;
	}
	while (len > 0 && value[len - 1] == '\n')
		len--;
	escaped = escape_lines(value, len);
	if (escaped == NULL) {
		t->failed = 1;
		return;
	}
	print_label(t, name);
	for (line = escaped; (end = strchr(line, '\n')) != NULL; line = end + 1)
		fprintf(t->out, "%.*s\n%*s", (int)(end - line), line,
		    t->depth * 2 + LABEL_WIDTH + 1, "");
	fprintf(t->out, "%s\n", line);
	free(escaped);
}

static void
text_number(struct writer *w, const char *name, uint64_t value, const char *shown)
{
	char digits[24];

	(void)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value);
	if (shown == NULL)
		shown = digits;
	text_string(w, name, shown, strlen(shown));
}

static void
text_boolean(struct writer *w, const char *name, int value, const char *shown)
{
	(void)value;
	text_string(w, name, shown, strlen(shown));
}

static void
text_time(struct writer *w, const char *name, uint64_t ns, const char *shown)
{
	(void)ns;
	text_string(w, name, shown, strlen(shown));
}

static void
text_note(struct writer *w, const char *text)
{
	struct text_writer *t = (struct text_writer *)w;
	char *escaped = escape_lines(text, strlen(text)), *line, *end;

	if (escaped == NULL)
		return;
	for (line = escaped; line != NULL; line = end) {
		end = strchr(line, '\n');
		if (end != NULL)
			*end++ = '\0';
		indent(t);
		fprintf(t->out, "%s\n", line);
	}
	t->began = 1;
	free(escaped);
}

static int
text_finish(struct writer *w)
{
	struct text_writer *t = (struct text_writer *)w;
	int failed = t->failed || fflush(t->out) == EOF || ferror(t->out);

	free(t->cells);
	free(t);
	return failed ? -1 : 0;
}

static const struct writer_ops ops = {.section = text_section,
    .end = text_end,
    .table = text_table,
    .row = text_row,
    .string = text_string,
    .number = text_number,
    .boolean = text_boolean,
    .time = text_time,
    .note = text_note,
    .finish = text_finish};

struct writer *
writer_text_new(FILE *out)
{
	struct text_writer *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->w.ops = &ops;
	t->out = out;
	return &t->w;
}
