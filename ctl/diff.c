/*
 * diff.c: longest common subsequence of lines, by the textbook's table (see diff.h).  opampctl only.
 * Common lines at both ends are set aside first, so that the table is small for what people compare.
 */
#include "diff.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXT 3

struct line {
	const char *text;
	size_t len; /* without the line end */
	int whole;  /* has a line end */
};

struct edit {
	char sign; /* ' ', '-', '+' */
	const struct line *line;
};

struct side {
	struct line *lines;
	size_t count;
};

struct buffer {
	char *data;
	size_t len, size;
	int failed;
};

static int
split(struct side *s, const char *text, size_t len)
{
	size_t i, n = 0, start = 0;

	for (i = 0; i < len; i++)
		n += text[i] == '\n';
	if (n >= DIFF_LINES)
		return -1;
	s->lines = calloc(n + 1, sizeof(*s->lines));
	if (s->lines == NULL)
		return -1;
	for (i = 0; i < len; i++) {
		if (text[i] != '\n')
			continue;
		s->lines[s->count++] = (struct line){text + start, i - start, 1};
		start = i + 1;
	}
	if (start < len)
		s->lines[s->count++] = (struct line){text + start, len - start, 0};
	return 0;
}

static int
same(const struct line *a, const struct line *b)
{
	return a->len == b->len && a->whole == b->whole && memcmp(a->text, b->text, a->len) == 0;
}

static void
put(struct buffer *b, const char *text, size_t len)
{
	char *bigger;
	size_t size = b->size == 0 ? 4096 : b->size;

	while (size - b->len <= len)
		size *= 2;
	if (size != b->size) {
		bigger = realloc(b->data, size);
		if (bigger == NULL) {
			b->failed = 1;
			return;
		}
		b->data = bigger;
		b->size = size;
	}
	memcpy(b->data + b->len, text, len);
	b->len += len;
	b->data[b->len] = '\0';
}

/* The differing middle: a[from..a_to) against b[from..b_to). */
static size_t
middle(struct edit *out, const struct side *a, size_t a_to, const struct side *b, size_t b_to,
    size_t from)
{
	size_t n = a_to - from, m = b_to - from, i, j, k = 0;
	uint32_t *table = NULL;

#define AT(i, j) table[(i) * (m + 1) + (j)]
	if ((n + 1) <= DIFF_CELLS / (m + 1))
		table = calloc((n + 1) * (m + 1), sizeof(*table));
	if (table == NULL) {
		for (i = 0; i < n; i++)
			out[k++] = (struct edit){'-', &a->lines[from + i]};
		for (j = 0; j < m; j++)
			out[k++] = (struct edit){'+', &b->lines[from + j]};
		return k;
	}
	for (i = n; i-- > 0;)
		for (j = m; j-- > 0;)
			AT(i, j) = same(&a->lines[from + i], &b->lines[from + j])
				       ? AT(i + 1, j + 1) + 1
				   : AT(i + 1, j) >= AT(i, j + 1) ? AT(i + 1, j)
								  : AT(i, j + 1);
	for (i = j = 0; i < n || j < m;) {
		if (i < n && j < m && same(&a->lines[from + i], &b->lines[from + j])) {
			out[k++] = (struct edit){' ', &a->lines[from + i]};
			i++;
			j++;
		} else if (i < n && (j == m || AT(i + 1, j) >= AT(i, j + 1))) {
			out[k++] = (struct edit){'-', &a->lines[from + i++]};
		} else {
			out[k++] = (struct edit){'+', &b->lines[from + j++]};
		}
	}
#undef AT
	free(table);
	return k;
}

static void
put_hunk(
    struct buffer *out, const struct edit *edits, size_t from, size_t to, size_t a_at, size_t b_at)
{
	size_t i, a = 0, b = 0;
	char head[128];

	for (i = from; i < to; i++) {
		a += edits[i].sign != '+';
		b += edits[i].sign != '-';
	}
	(void)snprintf(head, sizeof(head), "@@ -%zu,%zu +%zu,%zu @@\n", a == 0 ? a_at : a_at + 1, a,
	    b == 0 ? b_at : b_at + 1, b);
	put(out, head, strlen(head));
	for (i = from; i < to; i++) {
		put(out, &edits[i].sign, 1);
		put(out, edits[i].line->text, edits[i].line->len);
		put(out, "\n", 1);
		if (!edits[i].line->whole)
			put(out, "\\ No newline at end of file\n", 28);
	}
}

static void
put_hunks(struct buffer *out, const struct edit *edits, size_t count)
{
	size_t i = 0, from, to, a_at = 0, b_at = 0, seen = 0, last;

	while (i < count) {
		if (edits[i].sign == ' ') {
			i++;
			continue;
		}
		from = i > CONTEXT ? i - CONTEXT : 0;
		if (from < seen)
			from = seen;
		/* changes closer than twice the context share a hunk */
		for (last = i; i < count && i - last <= 2 * CONTEXT; i++)
			if (edits[i].sign != ' ')
				last = i;
		to = last + 1 + CONTEXT < count ? last + 1 + CONTEXT : count;
		for (; seen < from; seen++) {
			a_at++; /* all are common lines */
			b_at++;
		}
		put_hunk(out, edits, from, to, a_at, b_at);
		for (; seen < to; seen++) {
			a_at += edits[seen].sign != '+';
			b_at += edits[seen].sign != '-';
		}
		i = to;
	}
}

char *
diff_unified(const char *a, size_t a_len, const char *a_name, const char *b, size_t b_len,
    const char *b_name, struct error *err)
{
	struct side sa = {0}, sb = {0};
	struct buffer out = {0};
	struct edit *edits = NULL;
	size_t from = 0, a_to, b_to, n = 0, i;
	char head[1200];

	if (split(&sa, a, a_len) == -1 || split(&sb, b, b_len) == -1)
		goto fail;
	edits = calloc(sa.count + sb.count + 1, sizeof(*edits));
	if (edits == NULL)
		goto fail;
	a_to = sa.count;
	b_to = sb.count;
	while (from < a_to && from < b_to && same(&sa.lines[from], &sb.lines[from]))
		from++;
	while (a_to > from && b_to > from && same(&sa.lines[a_to - 1], &sb.lines[b_to - 1])) {
		a_to--;
		b_to--;
	}
	for (i = 0; i < from; i++)
		edits[n++] = (struct edit){' ', &sa.lines[i]};
	n += middle(edits + n, &sa, a_to, &sb, b_to, from);
	for (i = a_to; i < sa.count; i++)
		edits[n++] = (struct edit){' ', &sa.lines[i]};
	put(&out, "", 0);
	if (a_to > from || b_to > from) {
		(void)snprintf(head, sizeof(head), "--- %.500s\n+++ %.500s\n", a_name, b_name);
		put(&out, head, strlen(head));
		put_hunks(&out, edits, n);
	}
	free(sa.lines);
	free(sb.lines);
	free(edits);
	if (!out.failed)
		return out.data;
	free(out.data);
	(void)error_set(err, "no memory for a comparison");
	return NULL;
fail:
	free(sa.lines);
	free(sb.lines);
	(void)error_set(err, "comparing: no memory, or more than %u lines", DIFF_LINES);
	return NULL;
}
