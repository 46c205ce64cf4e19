/*
 * expansion.c: finding ${...} as the Collector would (see expansion.h).  merge only.
 * "$$" is a dollar sign.  Braces nest: every ${ is looked at by itself, so the outer one of
 * ${env:${env:X}} is judged with the inner one in it, and the inner one again.
 */
#include "expansion.h"

#include <stdlib.h>
#include <string.h>

#include "privsep/limits.h"

int
expansion_add(struct expansion_list *l, const char *text, size_t len)
{
	char **bigger, *copy;

	if (l->count == l->size) {
		bigger = realloc(l->items, (l->size == 0 ? 8 : l->size * 2) * sizeof(*bigger));
		if (bigger == NULL)
			return -1;
		l->items = bigger;
		l->size = l->size == 0 ? 8 : l->size * 2;
	}
	copy = strndup(text, len);
	if (copy == NULL)
		return -1;
	l->items[l->count++] = copy;
	return 0;
}

void
expansion_list_free(struct expansion_list *l)
{
	size_t i;

	for (i = 0; i < l->count; i++)
		free(l->items[i]);
	free(l->items);
	memset(l, 0, sizeof(*l));
}

int
expansion_listed(const struct expansion_list *l, const char *text)
{
	size_t i, len;

	if (l == NULL)
		return 0;
	for (i = 0; i < l->count; i++) {
		len = strlen(l->items[i]);
		if (strcmp(l->items[i], text) == 0)
			return 1;
		if (len > 0 && l->items[i][len - 1] == '*' &&
		    strncmp(l->items[i], text, len - 1) == 0)
			return 1;
	}
	return 0;
}

/*
 * The next expansion at or after *pos: 1 and its inside in (*start, *len); 0 none; -1 no closing
 * brace.  An odd run of $ before { expands: "$${x}" is text, "$$${x}" is a dollar and an expansion.
 */
static int
next(const char *s, size_t size, size_t *pos, size_t *start, size_t *len)
{
	size_t i = *pos, run, depth, k;

	for (; i < size; i++) {
		if (s[i] != '$')
			continue;
		for (run = 0; i < size && s[i] == '$'; i++)
			run++;
		if (i == size || s[i] != '{' || run % 2 == 0)
			continue;
		depth = 0;
		for (k = i; k < size; k++) {
			if (s[k] == '{')
				depth++;
			else if (s[k] == '}' && --depth == 0)
				break;
		}
		if (k == size)
			return -1;
		*start = i + 1;
		*len = k - i - 1;
		*pos = i + 1; /* inner ones are looked at as well */
		return 1;
	}
	return 0;
}

/* "NAME" means "env:NAME"; a default (env:X:-y) belongs to the same permission. */
static char *
canonical(const char *s, size_t len)
{
	const char *colon = memchr(s, ':', len), *rest;
	size_t scheme = colon == NULL ? 0 : (size_t)(colon - s), i;
	int has_scheme = colon != NULL && scheme > 1;
	char *out;

	for (i = 0; has_scheme && i < scheme; i++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-",
			s[i]) == NULL)
			has_scheme = 0;
	if (has_scheme && colon[1] == '-' && scheme > 1 && memcmp(s, "env", 3) != 0)
		has_scheme = 0; /* ${NAME:-default} */
	out = calloc(1, len + 5);
	if (out == NULL)
		return NULL;
	if (!has_scheme)
		memcpy(out, "env:", 4);
	memcpy(out + strlen(out), s, len);
	if (strncmp(out, "env:", 4) == 0) {
		rest = strstr(out, ":-");
		if (rest != NULL)
			out[rest - out] = '\0';
	}
	return out;
}

typedef int (*visitor)(void *ctx, const struct yaml_node *at, const char *name);

static int
visit_text(const struct yaml_node *at, const char *s, size_t size, visitor v, void *ctx)
{
	size_t pos = 0, start, len;
	char *name;
	int r;

	while ((r = next(s, size, &pos, &start, &len)) == 1) {
		name = canonical(s + start, len);
		if (name == NULL)
			return -1;
		r = v(ctx, at, name);
		free(name);
		if (r == -1)
			return -1;
	}
	return r == -1 ? v(ctx, at, NULL) : 0;
}

static int
visit(const struct yaml_node *n, visitor v, void *ctx, int depth)
{
	size_t i;

	if (n == NULL)
		return 0;
	if (depth > 2 * (int)LIMIT_YAML_DEPTH)
		return -1;
	if (n->tag != NULL && visit_text(n, n->tag, strlen(n->tag), v, ctx) == -1)
		return -1;
	if (n->kind == YAML_SCALAR)
		return visit_text(n, n->value, n->len, v, ctx);
	for (i = 0; i < n->count; i++) {
		if (n->kind == YAML_SEQ) {
			if (visit(n->items[i], v, ctx, depth + 1) == -1)
				return -1;
		} else if (visit(n->pairs[i].key, v, ctx, depth + 1) == -1 ||
			   visit(n->pairs[i].value, v, ctx, depth + 1) == -1) {
			return -1;
		}
	}
	return 0;
}

static int
collect(void *ctx, const struct yaml_node *at, const char *name)
{
	(void)at;
	return name == NULL ? 0 : expansion_add(ctx, name, strlen(name));
}

int
expansion_collect(const struct yaml_node *n, struct expansion_list *l, int depth)
{
	return visit(n, collect, l, depth);
}

struct check {
	const struct expansion_list *allowed, *known;
	struct error *err;
};

static int
check(void *ctx, const struct yaml_node *at, const char *name)
{
	struct check *c = ctx;

	if (name == NULL)
		return tree_error(
		    c->err, at, "\"${\" without its \"}\": write $${ for the characters");
	if (expansion_listed(c->allowed, name) || expansion_listed(c->known, name))
		return 0;
	return tree_error(c->err, at,
	    "the expansion ${%.200s} is not allowed in a remote configuration; an operator who "
	    "wants it "
	    "adds to opampd.yaml: policy: {remote_expansion: [\"%.200s\"]}",
	    name, name);
}

int
expansion_check(const struct yaml_node *n, const struct expansion_list *allowed,
    const struct expansion_list *known, int depth, struct error *err)
{
	struct check c = {allowed, known, err};

	if (err != NULL)
		err->text[0] = '\0';
	if (visit(n, check, &c, depth) == 0)
		return 0;
	if (err != NULL && err->text[0] == '\0')
		return error_set(err, "no memory for checking expansions");
	return -1;
}
