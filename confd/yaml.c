/*
 * yaml.c: the tree (see yaml.h).  merge only.  Memory comes from chunks that go together.
 */
#include "yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "privsep/limits.h"

#define CHUNK_SIZE  (64 * 1024)
#define INDEX_AFTER 16
#define PLAIN       1 /* YAML_PLAIN_SCALAR_STYLE */
#define DOUBLE      3 /* YAML_DOUBLE_QUOTED_SCALAR_STYLE */

struct chunk {
	struct chunk *next;
	size_t used, size;
	char data[] __attribute__((aligned(16)));
};

static void *
take(struct yaml_tree *t, size_t bytes)
{
	struct chunk *c = t->chunks;
	size_t want = (bytes + 15) & ~(size_t)15, size = want > CHUNK_SIZE ? want : CHUNK_SIZE;
	void *p;

	if (want < bytes || want > LIMIT_YAML_TREE - t->bytes)
		return NULL;
	if (c == NULL || c->size - c->used < want) {
		c = calloc(1, sizeof(*c) + size);
		if (c == NULL)
			return NULL;
		c->size = size;
		c->next = t->chunks;
		t->chunks = c;
	}
	p = c->data + c->used;
	c->used += want;
	t->bytes += want;
	return p;
}

void
tree_free(struct yaml_tree *t)
{
	struct chunk *c = t->chunks, *next;

	for (; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	memset(t, 0, sizeof(*t));
}

int
tree_adopt(struct yaml_tree *t, struct yaml_tree *from)
{
	struct chunk *c = from->chunks, *mine = t->chunks;

	if (from->nodes > LIMIT_YAML_NODES - t->nodes || from->bytes > LIMIT_YAML_TREE - t->bytes)
		return -1;
	if (c == NULL)
		return 0;
	if (mine == NULL) {
		t->chunks = c;
	} else { /* behind the first, which has room */
		while (c->next != NULL)
			c = c->next;
		c->next = mine->next;
		mine->next = from->chunks;
	}
	t->nodes += from->nodes;
	t->bytes += from->bytes;
	memset(from, 0, sizeof(*from));
	return 0;
}

static char *
keep(struct yaml_tree *t, const char *text, size_t len)
{
	char *copy = take(t, len + 1);

	if (copy != NULL) {
		memcpy(copy, text, len);
		copy[len] = '\0';
	}
	return copy;
}

static struct yaml_node *
new_node(struct yaml_tree *t, enum yaml_kind kind)
{
	struct yaml_node *n;

	if (t->nodes >= LIMIT_YAML_NODES)
		return NULL;
	n = take(t, sizeof(*n));
	if (n != NULL) {
		t->nodes++;
		n->kind = kind;
		n->file = "";
	}
	return n;
}

struct yaml_node *
tree_new_map(struct yaml_tree *t)
{
	return new_node(t, YAML_MAP);
}

struct yaml_node *
tree_new_seq(struct yaml_tree *t)
{
	return new_node(t, YAML_SEQ);
}

static struct yaml_node *
new_scalar(struct yaml_tree *t, const char *text, size_t len, int style)
{
	struct yaml_node *n = new_node(t, YAML_SCALAR);

	if (n == NULL || (n->value = keep(t, text, len)) == NULL)
		return NULL;
	n->len = len;
	n->style = style;
	return n;
}

struct yaml_node *
tree_new_plain(struct yaml_tree *t, const char *text)
{
	return new_scalar(t, text, strlen(text), PLAIN);
}

struct yaml_node *
tree_new_literal(struct yaml_tree *t, const char *text)
{
	struct yaml_node *n;
	size_t len = strlen(text), dollars = 0, i, o = 0;

	for (i = 0; i < len; i++)
		dollars += text[i] == '$';
	n = new_node(t, YAML_SCALAR);
	if (n == NULL || (n->value = take(t, len + dollars + 1)) == NULL)
		return NULL;
	for (i = 0; i < len; i++) {
		n->value[o++] = text[i];
		if (text[i] == '$')
			n->value[o++] = '$';
	}
	n->len = o;
	n->style = DOUBLE;
	return n;
}

#define ROTATE(x, n) ((x) << (n) | (x) >> (64 - (n)))

static void
sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = ROTATE(v[1], 13) ^ v[0];
	v[0] = ROTATE(v[0], 32);
	v[2] += v[3];
	v[3] = ROTATE(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = ROTATE(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = ROTATE(v[1], 17) ^ v[2];
	v[2] = ROTATE(v[2], 32);
}

/*
 * SipHash-1-3 under a secret of this process, so that a server cannot choose 100,000 keys that
 * fall on one place.  The secret is the kernel's (AT_RANDOM): it costs no system call.
 */
static uint32_t
hash(const char *s, size_t len)
{
	const void *random = (const void *)getauxval(AT_RANDOM); /* 16 bytes */
	uint64_t k[2] = {0}, v[4], word;
	size_t i;

	if (random != NULL)
		memcpy(k, random, sizeof(k));
	v[0] = k[0] ^ 0x736f6d6570736575u;
	v[1] = k[1] ^ 0x646f72616e646f6du;
	v[2] = k[0] ^ 0x6c7967656e657261u;
	v[3] = k[1] ^ 0x7465646279746573u;
	for (i = 0; i <= len; i += 8) {
		word = 0;
		memcpy(&word, s + i, len - i < 8 ? len - i : 8);
		if (len - i < 8)
			word |= (uint64_t)len << 56;
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static int
same_text(const struct yaml_node *n, const char *s, size_t len)
{
	return n->len == len && memcmp(n->value, s, len) == 0;
}

static struct yaml_pair *
find(const struct yaml_node *map, const char *key, size_t len)
{
	size_t i, at;

	if (map->index == NULL) {
		for (i = 0; i < map->count; i++)
			if (same_text(map->pairs[i].key, key, len))
				return &map->pairs[i];
		return NULL;
	}
	for (at = hash(key, len) & (map->index_size - 1); map->index[at] != 0;
	     at = (at + 1) & (map->index_size - 1))
		if (same_text(map->pairs[map->index[at] - 1].key, key, len))
			return &map->pairs[map->index[at] - 1];
	return NULL;
}

static void
index_put(struct yaml_node *map, size_t place)
{
	const struct yaml_node *key = map->pairs[place].key;
	size_t at = hash(key->value, key->len) & (map->index_size - 1);

	while (map->index[at] != 0)
		at = (at + 1) & (map->index_size - 1);
	map->index[at] = (uint32_t)place + 1;
}

static int
index_grow(struct yaml_tree *t, struct yaml_node *map)
{
	size_t i, size = map->index_size == 0 ? 64 : map->index_size;

	if (map->count < INDEX_AFTER || map->count * 2 < map->index_size)
		return 0;
	while (size < map->count * 4)
		size *= 2;
	map->index = take(t, size * sizeof(*map->index));
	if (map->index == NULL)
		return -1;
	map->index_size = size;
	for (i = 0; i < map->count; i++)
		index_put(map, i);
	return 0;
}

/* Room for one more element of `unit` bytes; the old array stays in its chunk. */
static void *
grow(struct yaml_tree *t, struct yaml_node *n, const void *old, size_t unit)
{
	size_t size = n->size == 0 ? 4 : n->size * 2;
	void *bigger;

	if (n->count < n->size)
		return (void *)(uintptr_t)old;
	bigger = take(t, size * unit);
	if (bigger == NULL)
		return NULL;
	if (n->count > 0)
		memcpy(bigger, old, n->count * unit);
	n->size = size;
	return bigger;
}

struct yaml_node *
tree_get(const struct yaml_node *map, const char *key)
{
	struct yaml_pair *p;

	if (map == NULL || map->kind != YAML_MAP)
		return NULL;
	p = find(map, key, strlen(key));
	return p == NULL ? NULL : p->value;
}

int
tree_set_node(
    struct yaml_tree *t, struct yaml_node *map, struct yaml_node *key, struct yaml_node *value)
{
	struct yaml_pair *p;

	if (key == NULL || value == NULL)
		return -1;
	p = find(map, key->value, key->len);
	if (p != NULL) {
		p->value = value;
		return 0;
	}
	p = grow(t, map, map->pairs, sizeof(*p));
	if (p == NULL)
		return -1;
	map->pairs = p;
	map->pairs[map->count++] = (struct yaml_pair){key, value};
	if (map->index != NULL)
		index_put(map, map->count - 1);
	return index_grow(t, map);
}

int
tree_set(struct yaml_tree *t, struct yaml_node *map, const char *key, struct yaml_node *value)
{
	return tree_set_node(t, map, tree_new_plain(t, key), value);
}

int
tree_append(struct yaml_tree *t, struct yaml_node *seq, struct yaml_node *item)
{
	struct yaml_node **items;

	if (item == NULL)
		return -1;
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): a list of pointers */
	items = grow(t, seq, seq->items, sizeof(*items));
	if (items == NULL)
		return -1;
	seq->items = items;
	seq->items[seq->count++] = item;
	return 0;
}

struct yaml_node *
tree_copy(struct yaml_tree *t, const struct yaml_node *from, int depth)
{
	struct yaml_node *n;
	size_t i;

	if (depth > (int)LIMIT_YAML_DEPTH || from == NULL)
		return NULL;
	n = new_node(t, from->kind);
	if (n == NULL)
		return NULL;
	n->file = from->file;
	n->line = from->line;
	n->column = from->column;
	n->style = from->style;
	if (from->tag != NULL && (n->tag = keep(t, from->tag, strlen(from->tag))) == NULL)
		return NULL;
	if (from->kind == YAML_SCALAR) {
		n->len = from->len;
		n->value = keep(t, from->value, from->len);
		return n->value == NULL ? NULL : n;
	}
	for (i = 0; i < from->count; i++) {
		int r = from->kind == YAML_SEQ
			    ? tree_append(t, n, tree_copy(t, from->items[i], depth + 1))
			    : tree_set_node(t, n, tree_copy(t, from->pairs[i].key, depth + 1),
				  tree_copy(t, from->pairs[i].value, depth + 1));

		if (r == -1)
			return NULL;
	}
	return n;
}

static int
same_tag(const struct yaml_node *a, const struct yaml_node *b)
{
	if (a->tag == NULL || b->tag == NULL)
		return a->tag == b->tag;
	return strcmp(a->tag, b->tag) == 0;
}

/* How many bytes from s on are letters, digits and the like: by eights, since most of a file is. */
static size_t
plain_run(const unsigned char *s, size_t len)
{
	const uint64_t ones = 0x0101010101010101u, highs = ones << 7;
	uint64_t w;
	size_t i;

	for (i = 0; i + sizeof(w) <= len; i += sizeof(w)) {
		memcpy(&w, s + i, sizeof(w));
		/* a byte below 0x20, of 0x7f, or above: its high bit is set here */
		if (((w | (w - ones * 0x20) | (w + ones)) & highs) != 0)
			break;
	}
	return i;
}

int
tree_always_string(const struct yaml_node *n)
{
	size_t i;

	for (i = plain_run((const unsigned char *)n->value, n->len); i < n->len; i++)
		if (n->value[i] == '\n' || n->value[i] == '\t' || (n->value[i] & 0x80) != 0)
			return 1;
	return 0;
}

static int
same_scalar(const struct yaml_node *a, const struct yaml_node *b)
{
	return same_text(a, b->value, b->len) && ((a->style == PLAIN) == (b->style == PLAIN) ||
						     (a->tag == NULL && tree_always_string(a)));
}

int
tree_same_node(const struct yaml_node *a, const struct yaml_node *b)
{
	return a->kind == b->kind && same_tag(a, b) &&
	       (a->kind != YAML_SCALAR || same_scalar(a, b));
}

const struct yaml_node *
tree_difference(const struct yaml_node *a, const struct yaml_node *b, int depth)
{
	const struct yaml_node *d = NULL;
	size_t i;

	if (depth > 2 * (int)LIMIT_YAML_DEPTH || !tree_same_node(a, b))
		return a;
	for (i = 0; i < a->count && i < b->count && d == NULL; i++) {
		if (a->kind == YAML_SEQ) {
			d = tree_difference(a->items[i], b->items[i], depth + 1);
			continue;
		}
		d = tree_difference(a->pairs[i].key, b->pairs[i].key, depth + 1);
		if (d == NULL)
			d = tree_difference(a->pairs[i].value, b->pairs[i].value, depth + 1);
	}
	return d != NULL || a->kind == YAML_SCALAR || a->count == b->count ? d : a;
}

int
tree_equal(const struct yaml_node *a, const struct yaml_node *b, int depth)
{
	if (a == NULL || b == NULL)
		return a == b;
	return tree_difference(a, b, depth) == NULL;
}

int
tree_is_null(const struct yaml_node *n)
{
	if (n == NULL || n->kind != YAML_SCALAR || n->style != PLAIN || n->tag != NULL)
		return 0;
	return n->len == 0 || same_text(n, "~", 1) || same_text(n, "null", 4) ||
	       same_text(n, "Null", 4) || same_text(n, "NULL", 4);
}

int
tree_is(const struct yaml_node *n, const char *s)
{
	return n != NULL && n->kind == YAML_SCALAR && same_text(n, s, strlen(s));
}

int
tree_error(struct error *err, const struct yaml_node *at, const char *fmt, ...)
{
	char text[ERROR_TEXT / 2];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (at == NULL || at->line == 0)
		return error_set(err, "%s", text);
	return error_set(err, "%s:%u:%u: %s", at->file, at->line, at->column, text);
}

/* The character at s: its length in bytes and its number, or 0 when the bytes are no UTF-8. */
static size_t
character(const unsigned char *s, size_t len, uint32_t *c)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	size_t i;

	if (n == 0 || n > len || s[0] > 0xf4)
		return 0;
	*c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (s[i] & 0x3fu);
	}
	if (*c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff))
		return 0;
	return n;
}

/* YAML 1.2: 5.1 Character Set */
static int
printable(uint32_t c)
{
	return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c <= 0x7e) || c == 0x85 ||
	       (c >= 0xa0 && c != 0xfffe && c != 0xffff);
}

/*
 * libyaml compares each %TAG directive with all before it: a file of a million takes it minutes.
 * They are counted where a line begins: after the last byte of what ends one (LF, CR, NEL, LS, PS) or of
 * a byte order mark.  What only looks like one is counted too; a text in a value, however often, is not.
 */
static int
check_directives(const char *file, const char *data, size_t len, struct error *err)
{
	static const char tag[] = "%TAG", begins[] = "\n\r\x85\xa8\xa9\xbf";
	const char *at = data, *end = data + len;
	int count = 0;

	while (len > 0 && (at = memmem(at, (size_t)(end - at), tag, sizeof(tag) - 1)) != NULL) {
		if ((at == data || strchr(begins, at[-1]) != NULL) &&
		    ++count > LIMIT_YAML_DIRECTIVES)
			return error_set(err,
			    "%s: more than %d %%TAG directives: write tags out in full", file,
			    LIMIT_YAML_DIRECTIVES);
		at += sizeof(tag) - 1;
	}
	return 0;
}

int
tree_check_text(const char *file, const char *data, size_t len, struct error *err)
{
	const unsigned char *s = (const unsigned char *)data;
	size_t i, n, line = 1, column = 1;
	uint32_t c;

	for (i = 0; i < len; i += n) {
		n = plain_run(s + i, len - i);
		if (n > 0) {
			column += n;
			continue;
		}
		n = character(s + i, len - i, &c);
		if (n == 0)
			return error_set(err,
			    "%s:%zu:%zu: byte 0x%02x is not UTF-8: the file must be UTF-8 text",
			    file, line, column, s[i]);
		if (!printable(c))
			return error_set(err,
			    "%s:%zu:%zu: character U+%04X%s is not allowed in YAML: remove it, or "
			    "write it as an escape in double quotes",
			    file, line, column, c, c == 0 ? " (a NUL byte)" : "");
		column++;
		if (c == '\n' || (c == '\r' && (i + 1 == len || s[i + 1] != '\n'))) {
			line++;
			column = 1;
		}
	}
	return check_directives(file, data, len, err);
}
