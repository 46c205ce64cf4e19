/*
 * output_line.c: the lines of the agent's output (see output_line.h).  link.
 * The agent may print anything: every step is bounded by the line's length.
 */
#include "output_line.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct cursor {
	const char *at, *end;
};

struct text { /* bounded, always terminated */
	char *at;
	size_t size, len;
};

struct part { /* of the line, not terminated */
	const char *at;
	size_t len;
};

/* The length of the well-formed, harmless UTF-8 sequence at s, or 0. */
static size_t
plain_length(const unsigned char *s, size_t left)
{
	uint32_t code;
	size_t want, i;

	if (s[0] < 0x80)
		return s[0] == '\t' || (s[0] >= 0x20 && s[0] != 0x7f);
	want = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
	       : s[0] >= 0xe0 && s[0] <= 0xef ? 3
	       : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
					      : 0;
	if (want == 0 || want > left)
		return 0;
	code = s[0] & (0x7fu >> want);
	for (i = 1; i < want; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	if ((want == 3 && code < 0x800) || (want == 4 && code < 0x10000) || code > 0x10ffff ||
	    (code >= 0xd800 && code <= 0xdfff))
		return 0;
	/* C1 controls, line separators, and what turns the direction of writing */
	if (code < 0xa0 || (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069))
		return 0;
	return want;
}

size_t
output_escape(char *dst, size_t size, const char *src, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *s = (const unsigned char *)src;
	size_t i = 0, o = 0, n;

	while (i < len) {
		n = plain_length(s + i, len - i);
		if (n == 0) {
			if (size - o < 4)
				break;
			dst[o++] = '\\';
			dst[o++] = 'x';
			dst[o++] = hex[s[i] >> 4];
			dst[o++] = hex[s[i] & 15];
			i++;
			continue;
		}
		if (size - o < n)
			break;
		memcpy(dst + o, s + i, n);
		o += n;
		i += n;
	}
	return o;
}

static void
add(struct text *t, const char *s, size_t len)
{
	if (len > t->size - 1 - t->len)
		len = t->size - 1 - t->len;
	memcpy(t->at + t->len, s, len);
	t->len += len;
	t->at[t->len] = '\0';
}

static void
skip_space(struct cursor *c)
{
	while (c->at < c->end && isspace((unsigned char)*c->at))
		c->at++;
}

/* A JSON string, quotes included, at c: its inside, still escaped. */
static int
take_string(struct cursor *c, struct part *p)
{
	if (c->at == c->end || *c->at != '"')
		return -1;
	p->at = ++c->at;
	while (c->at < c->end && *c->at != '"') {
		if (*c->at == '\\' && ++c->at == c->end)
			return -1;
		c->at++;
	}
	if (c->at == c->end)
		return -1;
	p->len = (size_t)(c->at - p->at);
	c->at++;
	return 0;
}

/* Any JSON value at c: its whole text.  Brackets are counted, not matched. */
static int
take_value(struct cursor *c, struct part *p)
{
	struct part ignored;
	size_t depth = 0;

	p->at = c->at;
	while (c->at < c->end) {
		if (*c->at == '"') {
			if (take_string(c, &ignored) == -1)
				return -1;
			continue;
		}
		if (depth == 0 && (*c->at == ',' || *c->at == '}'))
			break;
		if (*c->at == '{' || *c->at == '[')
			depth++;
		else if (*c->at == '}' || *c->at == ']')
			depth--;
		c->at++;
	}
	if (c->at == c->end || c->at == p->at)
		return -1;
	p->len = (size_t)(c->at - p->at);
	while (p->len > 0 && isspace((unsigned char)p->at[p->len - 1]))
		p->len--;
	return 0;
}

static int
is(const struct part *p, const char *word)
{
	return p->len == strlen(word) && memcmp(p->at, word, p->len) == 0;
}

static int
level_of(const struct part *p, enum log_level *level)
{
	static const struct {
		const char *word;
		enum log_level level;
	} levels[] = {{"debug", LOG_LEVEL_DEBUG}, {"info", LOG_LEVEL_INFO},
	    {"warn", LOG_LEVEL_WARN}, {"warning", LOG_LEVEL_WARN}, {"error", LOG_LEVEL_ERROR},
	    {"dpanic", LOG_LEVEL_ERROR}, {"panic", LOG_LEVEL_ERROR}, {"fatal", LOG_LEVEL_ERROR}};
	size_t i;

	for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (p->len == strlen(levels[i].word) &&
		    strncasecmp(p->at, levels[i].word, p->len) == 0) {
			*level = levels[i].level;
			return 0;
		}
	return -1;
}

/* What opampd's own log says already, or the same in every line. */
static int
is_noise(const struct part *key)
{
	return is(key, "ts") || is(key, "resource") || is(key, "caller");
}

/* A string's inside with \" \\ \/ undone, and \n \t as a space; the rest as it stands. */
static void
add_unquoted(struct text *t, const struct part *p)
{
	size_t i;

	for (i = 0; i < p->len; i++) {
		if (p->at[i] == '\\' && i + 1 < p->len) {
			i++;
			if (p->at[i] == 'n' || p->at[i] == 't' || p->at[i] == 'r')
				add(t, " ", 1);
			else if (p->at[i] == '"' || p->at[i] == '\\' || p->at[i] == '/')
				add(t, p->at + i, 1);
			else
				add(t, p->at + i - 1, 2);
		} else {
			add(t, p->at + i, 1);
		}
	}
}

static void
add_member(struct text *t, const struct part *key, const struct part *value)
{
	if (t->len > 0)
		add(t, " ", 1);
	add(t, key->at, key->len);
	add(t, "=", 1);
	add(t, value->at, value->len);
}

/* One object of zap's: 0, or -1 when it is not one. */
static int
read_json(struct text *t, struct text *rest, struct cursor c, enum log_level *level)
{
	struct part key, value, inside = {NULL, 0};
	struct cursor in;
	int known = 0;

	if (c.at == c.end || *c.at++ != '{')
		return -1;
	for (;;) {
		skip_space(&c);
		if (take_string(&c, &key) == -1)
			return -1;
		skip_space(&c);
		if (c.at == c.end || *c.at++ != ':')
			return -1;
		skip_space(&c);
		if (take_value(&c, &value) == -1)
			return -1;
		in = (struct cursor){value.at, value.at + value.len};
		if (take_string(&in, &inside) == 0 && in.at == in.end && is(&key, "level"))
			known |= level_of(&inside, level) == 0;
		else if (value.at[0] == '"' && is(&key, "msg"))
			add_unquoted(t, &inside);
		else if (!is_noise(&key))
			add_member(rest, &key, &value);
		if (c.at == c.end || *c.at == '}')
			break;
		c.at++;
	}
	return known ? 0 : -1;
}

/* zap's console form: time, tab, level, tab, words. */
static int
read_console(const char *line, size_t len, enum log_level *level)
{
	const char *first = memchr(line, '\t', len), *second;
	struct part word;

	if (first == NULL || first == line || !isdigit((unsigned char)line[0]))
		return -1;
	second = memchr(first + 1, '\t', len - (size_t)(first + 1 - line));
	if (second == NULL)
		return -1;
	word = (struct part){first + 1, (size_t)(second - first) - 1};
	return level_of(&word, level);
}

/* logfmt, of Prometheus' programs and others: a line of key=value with level= among them. */
static int
read_logfmt(const char *line, size_t len, enum log_level *level)
{
	static const char *const first[] = {"ts=", "time=", "level="};
	const char *at = NULL, *end = line + len;
	struct part word;
	size_t i;

	for (i = 0; i < sizeof(first) / sizeof(first[0]); i++)
		if (len > strlen(first[i]) && memcmp(line, first[i], strlen(first[i])) == 0)
			at = i == 2 ? line : memmem(line, len, " level=", 7);
	if (at == NULL)
		return -1;
	word.at = at + (at == line ? 6 : 7);
	for (word.len = 0; word.at + word.len < end && word.at[word.len] != ' ';)
		word.len++;
	return level_of(&word, level);
}

enum log_level
output_read_line(char *text, size_t size, const char *line, size_t len, unsigned stream)
{
	char others[2048];
	struct text t = {text, size, 0}, rest = {others, sizeof(others), 0};
	struct cursor c = {line, line + len};
	enum log_level level = LOG_LEVEL_INFO;

	text[0] = others[0] = '\0';
	if (read_json(&t, &rest, c, &level) == 0) {
		if (rest.len > 0 && t.len > 0)
			add(&t, " ", 1);
		add(&t, rest.at, rest.len);
		return level;
	}
	t.len = 0;
	add(&t, line, len);
	if (read_console(line, len, &level) == 0 || read_logfmt(line, len, &level) == 0)
		return level;
	if (stream == OUTPUT_STDERR && output_error_begins(line, len))
		return LOG_LEVEL_ERROR;
	return LOG_LEVEL_INFO;
}

int
output_error_begins(const char *line, size_t len)
{
	static const char *const words[] = {"Error:", "panic: ", "fatal error: "};
	enum log_level level;
	size_t i, n;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		n = strlen(words[i]);
		if (len >= n && memcmp(line, words[i], n) == 0)
			return 1;
	}
	return read_logfmt(line, len, &level) == 0 && level == LOG_LEVEL_ERROR;
}

int
output_error_ends(const char *line, size_t len)
{
	enum log_level level;
	size_t i;

	if ((len > 0 && line[0] == '{') || read_logfmt(line, len, &level) == 0)
		return 1;
	/* 2026/01/31 of Go's log package, 2026-01-31 of zap's console */
	if (len < 11)
		return 0;
	for (i = 0; i < 10; i++)
		if (i == 4 || i == 7 ? line[i] != '/' && line[i] != '-'
				     : !isdigit((unsigned char)line[i]))
			return 0;
	return 1;
}
