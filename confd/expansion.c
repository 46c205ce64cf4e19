/*
 * expansion.c: finding ${...} as the Collector would (see expansion.h).  merge only.
 * The model is confmap/expand.go, findURI: an expansion ends at the first "}", begins at the last
 * "${" before it, and an even number of "$" in front of that leaves it an expansion.
 */
#include "expansion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/limits.h"

#define SHOWN 200 /* bytes of an expansion in a message */

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

/* Nothing that YAML, the Collector's search for "${" or a path could take for more than a word. */
static int
harmless(const char *s)
{
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			   "_-./:@,+=~ ")] == '\0' &&
	       strstr(s, "..") == NULL;
}

static int
entry_covers(const char *entry, const char *text)
{
	size_t len = strlen(entry);

	if (strcmp(entry, text) == 0)
		return 1;
	return len > 0 && entry[len - 1] == '*' && strncmp(entry, text, len - 1) == 0 &&
	       harmless(text + len - 1);
}

int
expansion_listed(const struct expansion_list *l, const char *text)
{
	const char *fallback = strncmp(text, "env:", 4) == 0 ? strstr(text, ":-") : NULL;
	char *name = NULL;
	size_t i;
	int found = 0;

	if (l == NULL || l->count == 0)
		return 0;
	if (fallback != NULL && harmless(fallback))
		name = strndup(text, (size_t)(fallback - text));
	for (i = 0; i < l->count && !found; i++) {
		/* a default that is not harmless must be listed word for word */
		if (fallback != NULL)
			found = strcmp(l->items[i], text) == 0 ||
				(name != NULL && entry_covers(l->items[i], name));
		else
			found = entry_covers(l->items[i], text);
	}
	free(name);
	return found;
}

/* Where the next "${" that is no escape begins, at or after `from`; len when there is none. */
static size_t
next_opening(const char *s, size_t len, size_t from)
{
	size_t i = from, run;
	const char *dollar;

	while (i < len && (dollar = memchr(s + i, '$', len - i)) != NULL) {
		i = (size_t)(dollar - s);
		for (run = 0; i < len && s[i] == '$'; i++)
			run++;
		if (i < len && s[i] == '{' && run % 2 == 1)
			return i - 1;
	}
	return len;
}

/* str, int and their like say what a text is; any other tag could make another text of it. */
static int
tag_changes(const char *tag)
{
	static const char *const core[] = {"str", "int", "float", "bool", "null", "map", "seq"};
	static const char prefix[] = "tag:yaml.org,2002:";
	size_t i;

	if (tag == NULL)
		return 0;
	if (strncmp(tag, prefix, sizeof(prefix) - 1) != 0)
		return 1;
	for (i = 0; i < sizeof(core) / sizeof(core[0]); i++)
		if (strcmp(tag + sizeof(prefix) - 1, core[i]) == 0)
			return 0;
	return 1;
}

static int
notable(const struct yaml_node *n)
{
	return tag_changes(n->tag) ||
	       (n->kind == YAML_SCALAR && next_opening(n->value, n->len, 0) < n->len);
}

typedef int (*visitor)(void *ctx, const struct yaml_node *n);

/* Calls v for each key, value and collection that is notable. */
static int
visit(const struct yaml_node *n, visitor v, void *ctx, int depth)
{
	size_t i;

	if (n == NULL)
		return 0;
	if (depth > 2 * (int)LIMIT_YAML_DEPTH || (notable(n) && v(ctx, n) == -1))
		return -1;
	for (i = 0; n->kind != YAML_SCALAR && i < n->count; i++) {
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

/* A text and its tag as one key that no other pair of the two gives; malloc'd. */
static char *
known_key(const struct yaml_node *n)
{
	const char *tag = n->tag == NULL ? "" : n->tag;
	char *key;

	if (asprintf(&key, "%zu:%s%d%s", strlen(tag), tag, (int)n->kind,
		n->kind == YAML_SCALAR ? n->value : "") == -1)
		return NULL;
	return key;
}

static int
remember(void *ctx, const struct yaml_node *n)
{
	struct expansion_known *k = ctx;
	char *key = known_key(n);
	int r = -1;

	if (key != NULL)
		r = tree_set(&k->tree, k->texts, key, tree_new_plain(&k->tree, ""));
	free(key);
	return r;
}

int
expansion_collect(const struct yaml_node *n, struct expansion_known *k, int depth)
{
	if (k->texts == NULL && (k->texts = tree_new_map(&k->tree)) == NULL)
		return -1;
	return visit(n, remember, k, depth);
}

void
expansion_known_free(struct expansion_known *k)
{
	tree_free(&k->tree);
	k->texts = NULL;
}

struct check {
	const struct expansion_list *allowed;
	const struct expansion_known *known;
	struct error *err;
};

/* What stands between the braces, with its scheme: "NAME" means "env:NAME".  malloc'd. */
static char *
canonical(const char *s, size_t len)
{
	char *out;

	if (asprintf(&out, "%s%.*s", memchr(s, ':', len) == NULL ? "env:" : "", (int)len, s) == -1)
		return NULL;
	return out;
}

/* The length without a default that a permission of the name covers. */
static size_t
without_default(const char *name)
{
	const char *fallback = strncmp(name, "env:", 4) == 0 ? strstr(name, ":-") : NULL;

	return fallback != NULL && harmless(fallback) ? (size_t)(fallback - name) : strlen(name);
}

static int
refuse_unlisted(const struct check *c, const struct yaml_node *at, const char *name)
{
	/* only what can be pasted without a second thought is offered for pasting */
	if (harmless(name) && strlen(name) <= SHOWN)
		return tree_error(c->err, at,
		    "the expansion ${%s} is not allowed in a remote configuration; an operator who "
		    "wants it adds to opampd.yaml: policy: {remote_expansion: [\"%.*s\"]}%s, and "
		    "then runs opampctl reload",
		    name, (int)without_default(name), name,
		    strncmp(name, "env:", 4) == 0
			? ", gives the variable a value in agent.env (the agent gets nothing else "
			  "of an environment)"
			: "");
	return tree_error(c->err, at,
	    "the expansion ${%.200s} is not allowed in a remote configuration: write the value "
	    "out, or move it to a local file",
	    name);
}

/* Every expansion is complete, not nested, and listed. */
static int
check_each(const struct check *c, const struct yaml_node *n)
{
	size_t at = 0, inside, len;
	const char *end;
	char *name;
	int listed;

	while ((at = next_opening(n->value, n->len, at)) < n->len) {
		inside = at + 2;
		end = memchr(n->value + inside, '}', n->len - inside);
		if (end == NULL)
			return tree_error(
			    c->err, n, "\"${\" without its \"}\": write $${ for the characters");
		len = (size_t)(end - n->value) - inside;
		if (memchr(n->value + inside, '$', len) != NULL ||
		    memchr(n->value + inside, '{', len) != NULL)
			return tree_error(c->err, n,
			    "the expansion ${%.*s} begins inside another one, which is not "
			    "allowed in a remote configuration: write the value out, or move it to "
			    "a local file",
			    (int)(len < SHOWN ? len : SHOWN), n->value + inside);
		name = canonical(n->value + inside, len);
		if (name == NULL)
			return error_set(c->err, "no memory for checking expansions");
		listed = expansion_listed(c->allowed, name);
		if (!listed)
			(void)refuse_unlisted(c, n, name);
		free(name);
		if (!listed)
			return -1;
		at = inside + len + 1;
	}
	return 0;
}

/* Nothing beside the expansions that could become one together with what they yield. */
static int
check_between(const struct check *c, const struct yaml_node *n)
{
	const char *s = n->value;
	size_t i = 0, start, ended = n->len; /* where the expansion before this one ended */

	while (i < n->len) {
		if (s[i] != '$') {
			i++;
			continue;
		}
		start = i;
		if (s[i + 1] != '{') /* the value ends in a NUL */
			return tree_error(c->err, n,
			    "a \"$\" beside an expansion could become another one when the "
			    "Collector puts the value in: in a remote configuration give the "
			    "expansion a value of its own");
		while (s[i] != '}') /* check_each saw it */
			i++;
		i++;
		if (start == ended && memmem(s, start, s + start, i - start) != NULL)
			return tree_error(c->err, n,
			    "%.*s is here a second time, right behind another expansion: the "
			    "Collector puts both in at once, and the two values could become "
			    "another expansion: in a remote configuration put something between "
			    "them",
			    (int)(i - start < SHOWN ? i - start : SHOWN), s + start);
		ended = i;
		if (s[i] == '{')
			return tree_error(c->err, n,
			    "a \"{\" right behind an expansion could become another one when the "
			    "Collector puts the value in: in a remote configuration put "
			    "something between them");
	}
	return 0;
}

static int
check(void *ctx, const struct yaml_node *n)
{
	const struct check *c = ctx;
	char *key;

	if (c->known != NULL) {
		key = known_key(n);
		if (key == NULL)
			return error_set(c->err, "no memory for checking expansions");
		if (tree_get(c->known->texts, key) != NULL) {
			free(key);
			return 0;
		}
		free(key);
	}
	if (tag_changes(n->tag))
		return tree_error(c->err, n,
		    "the tag %.100s is not allowed in a remote configuration: write the value as "
		    "plain or quoted text",
		    n->tag);
	return check_each(c, n) == -1 ? -1 : check_between(c, n);
}

int
expansion_check(const struct yaml_node *n, const struct expansion_list *allowed,
    const struct expansion_known *known, int depth, struct error *err)
{
	struct check c = {allowed, known, err};

	if (err != NULL)
		err->text[0] = '\0';
	if (visit(n, check, &c, depth) == 0)
		return 0;
	if (err != NULL && err->text[0] == '\0')
		return error_set(err, "nested too deep for checking expansions");
	return -1;
}
