/*
 * settings_value.c: single values of opampd.yaml (see settings_value.h).  merge only.
 */
#include "settings_value.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPANDED_MAX LIMIT_SETTINGS_VALUE

static int
parse_digits(const char **s, uint64_t *value)
{
	uint64_t n = 0;

	if (!isdigit((unsigned char)**s))
		return -1;
	for (; isdigit((unsigned char)**s); (*s)++)
		if (__builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(**s - '0'), &n))
			return -1;
	*value = n;
	return 0;
}

static int
parse_unit(const char **s, uint64_t *factor)
{
	static const struct {
		const char *name;
		uint64_t factor;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	size_t i, len;

	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		len = strlen(units[i].name);
		if (strncmp(*s, units[i].name, len) == 0 && !isalpha((unsigned char)(*s)[len])) {
			*s += len;
			*factor = units[i].factor;
			return 0;
		}
	}
	return -1;
}

/* Go's form: "1m30s", "1.5s", "500ms"; "0" needs no unit. */
static int
parse_duration(const char *s, uint64_t *ms)
{
	uint64_t total = 0, n, factor, fraction, scale, part;

	if (strcmp(s, "0") == 0) {
		*ms = 0;
		return 0;
	}
	if (*s == '\0')
		return -1;
	while (*s != '\0') {
		fraction = 0;
		scale = 1;
		if (parse_digits(&s, &n) == -1)
			return -1;
		if (*s == '.') {
			for (s++; isdigit((unsigned char)*s); s++)
				if (scale < 1000000) {
					fraction = fraction * 10 + (uint64_t)(*s - '0');
					scale *= 10;
				}
		}
		if (parse_unit(&s, &factor) == -1 || __builtin_mul_overflow(n, factor, &part) ||
		    __builtin_add_overflow(part, fraction * factor / scale, &part) ||
		    __builtin_add_overflow(total, part, &total))
			return -1;
	}
	*ms = total;
	return 0;
}

static int
parse_size(const char *s, uint64_t *bytes)
{
	static const struct {
		const char *name;
		uint64_t factor;
	} units[] = {{"", 1}, {"B", 1}, {"KiB", 1ull << 10}, {"MiB", 1ull << 20},
	    {"GiB", 1ull << 30}, {"TiB", 1ull << 40}, {"kB", 1000}, {"MB", 1000000},
	    {"GB", 1000000000}};
	uint64_t n;
	size_t i;

	if (parse_digits(&s, &n) == -1)
		return -1;
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(s, units[i].name) == 0)
			return __builtin_mul_overflow(n, units[i].factor, bytes) ? -1 : 0;
	return -1;
}

static int
parse_word(const char *words, const char *text, uint64_t *value)
{
	const char *end;
	uint64_t n = 0;

	for (;; words = end + 1, n++) {
		end = strchrnul(words, '|');
		if (strlen(text) == (size_t)(end - words) &&
		    strncmp(words, text, strlen(text)) == 0) {
			*value = n;
			return 0;
		}
		if (*end == '\0')
			return -1;
	}
}

/* A bound as a person would write it: the largest unit that leaves a whole number. */
static const char *
written(const struct setting_rule *rule, uint64_t n, char *buf, size_t size)
{
	static const struct {
		enum setting_type type;
		const char *name;
		uint64_t factor;
	} units[] = {{SETTING_DURATION, "h", 3600000}, {SETTING_DURATION, "m", 60000},
	    {SETTING_DURATION, "s", 1000}, {SETTING_DURATION, "ms", 1},
	    {SETTING_SIZE, "TiB", 1ull << 40}, {SETTING_SIZE, "GiB", 1ull << 30},
	    {SETTING_SIZE, "MiB", 1ull << 20}, {SETTING_SIZE, "KiB", 1ull << 10}};
	size_t i;

	for (i = 0; n != 0 && i < sizeof(units) / sizeof(units[0]); i++)
		if (rule->type == units[i].type && n % units[i].factor == 0) {
			(void)snprintf(buf, size, "%llu%s",
			    (unsigned long long)(n / units[i].factor), units[i].name);
			return buf;
		}
	(void)snprintf(buf, size, "%llu", (unsigned long long)n);
	return buf;
}

static int
out_of_range(const struct setting_rule *rule, const char *text, struct error *err)
{
	char min[32], max[32];

	return error_set(err, "%.80s is out of range: from %s to %s", text,
	    written(rule, rule->min, min, sizeof(min)), written(rule, rule->max, max, sizeof(max)));
}

int
settings_number(
    const struct setting_rule *rule, const char *text, uint64_t *value, struct error *err)
{
	const char *digits = text;
	char words[200];
	size_t i, n;

	switch (rule->type) {
	case SETTING_BOOL:
	case SETTING_FALSE:
		*value = strcmp(text, "true") == 0;
		if (!*value && strcmp(text, "false") != 0)
			return error_set(err, "\"%.80s\" is neither true nor false", text);
		return 0;
	case SETTING_INT:
		if (parse_digits(&digits, value) == -1 || *digits != '\0')
			return error_set(err,
			    "\"%.80s\" is not a whole number, written with digits alone", text);
		break;
	case SETTING_SIZE:
		if (parse_size(text, value) == -1)
			return error_set(err,
			    "\"%.80s\" is not a size: write bytes, or a unit such as 16MiB", text);
		break;
	case SETTING_DURATION:
		if (parse_duration(text, value) == -1)
			return error_set(err,
			    "\"%.80s\" is not a duration: write it with a unit, such as 10s, 500ms "
			    "or 1m30s",
			    text);
		break;
	case SETTING_ENUM:
		if (parse_word(rule->words, text, value) == 0)
			return 0;
		for (i = 0, n = 0; rule->words[i] != '\0' && n + 3 < sizeof(words); i++) {
			words[n++] = rule->words[i] == '|' ? ',' : rule->words[i];
			if (rule->words[i] == '|')
				words[n++] = ' ';
		}
		words[n] = '\0';
		return error_set(err, "\"%.80s\" is none of: %s", text, words);
	default:
		return error_set(err, "not a number");
	}
	if (*value < rule->min || *value > rule->max)
		return out_of_range(rule, text, err);
	return 0;
}

struct text {
	char *data;
	size_t len, size;
};

static int
append(struct text *t, const char *s, size_t len)
{
	char *bigger;

	if (len > EXPANDED_MAX || t->len + len > EXPANDED_MAX)
		return -1;
	if (t->len + len + 1 > t->size) {
		bigger = realloc(t->data, (t->len + len + 1) * 2);
		if (bigger == NULL)
			return -1;
		t->data = bigger;
		t->size = (t->len + len + 1) * 2;
	}
	memcpy(t->data + t->len, s, len);
	t->len += len;
	t->data[t->len] = '\0';
	return 0;
}

static const char *
variable(const char *environment, const char *name, size_t len)
{
	const char *e;

	for (e = environment; e != NULL && *e != '\0'; e += strlen(e) + 1)
		if (strncmp(e, name, len) == 0 && e[len] == '=')
			return e + len + 1;
	return NULL;
}

static int
good_name(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (!(isalpha((unsigned char)s[i]) || s[i] == '_' ||
			(i > 0 && isdigit((unsigned char)s[i]))))
			return 0;
	return len > 0;
}

/* s is behind "${"; returns the place behind "}", or NULL with err set. */
static const char *
expand_one(struct text *out, const char *s, const char *environment, char *missing,
    size_t missing_size, struct error *err)
{
	const char *end = strchr(s, '}'), *fallback, *value;
	size_t len;

	if (end == NULL || memchr(s, '$', (size_t)(end - s)) != NULL) {
		error_set(
		    err, "\"${\" without \"}\", or one inside another: write $$ for a dollar sign");
		return NULL;
	}
	if (strncmp(s, "env:", 4) == 0) {
		s += 4;
	} else if (memchr(s, ':', (size_t)(end - s)) != NULL && strncmp(s, "file:", 5) == 0) {
		error_set(err,
		    "${file:...} is not read here: the settings reader may open no file; "
		    "write the value, or give it in the environment");
		return NULL;
	}
	fallback = strstr(s, ":-");
	if (fallback != NULL && fallback > end)
		fallback = NULL;
	len = (size_t)((fallback != NULL ? fallback : end) - s);
	if (!good_name(s, len)) {
		error_set(err, "\"${%.*s}\" names no environment variable",
		    (int)(end - s > 80 ? 80 : end - s), s);
		return NULL;
	}
	value = variable(environment, s, len);
	if (value == NULL && fallback == NULL)
		(void)snprintf(missing, missing_size, "%.*s", (int)len, s);
	if ((value != NULL && append(out, value, strlen(value)) == -1) ||
	    (value == NULL && fallback != NULL &&
		append(out, fallback + 2, (size_t)(end - fallback - 2)) == -1)) {
		error_set(err, "too long after expansion");
		return NULL;
	}
	return end + 1;
}

char *
settings_expand(const char *text, const char *environment, int *whole, char *missing,
    size_t missing_size, struct error *err)
{
	struct text out = {0};
	const char *s = text, *behind;

	*whole = 0;
	if (append(&out, "", 0) == -1)
		goto fail;
	while (*s != '\0') {
		if (s[0] == '$' && s[1] == '$') {
			if (append(&out, "$", 1) == -1)
				goto fail;
			s += 2;
		} else if (s[0] == '$' && s[1] == '{') {
			behind = expand_one(&out, s + 2, environment, missing, missing_size, err);
			if (behind == NULL) {
				free(out.data);
				return NULL;
			}
			*whole = s == text && *behind == '\0';
			s = behind;
		} else {
			if (append(&out, s, 1) == -1)
				goto fail;
			s++;
		}
	}
	return out.data;
fail:
	free(out.data);
	error_set(err, "too long after expansion");
	return NULL;
}

static size_t
distance(const char *a, const char *b)
{
	size_t row[128], la = strlen(a), lb = strlen(b), i, k, diagonal, above;

	if (la > 100 || lb > 100)
		return 100;
	for (k = 0; k <= lb; k++)
		row[k] = k;
	for (i = 1; i <= la; i++) {
		diagonal = row[0];
		row[0] = i;
		for (k = 1; k <= lb; k++) {
			above = row[k];
			row[k] = diagonal + (a[i - 1] != b[k - 1]);
			if (above + 1 < row[k])
				row[k] = above + 1;
			if (row[k - 1] + 1 < row[k])
				row[k] = row[k - 1] + 1;
			diagonal = above;
		}
	}
	return row[lb];
}

/* The length of the part of a key's name that has so many dots; 0 when it has fewer. */
static size_t
with_dots(const char *name, size_t dots)
{
	size_t i;

	for (i = 0; name[i] != '\0'; i++)
		if (name[i] == '.' && dots-- == 0)
			return i;
	return dots == 0 ? i : 0;
}

int
settings_nearest(const char *name, char *near, size_t size)
{
	const char *last = strrchr(name, '.'), *other;
	size_t best = strlen(name) / 3 + 2, d, dots = 0, len, i;
	char section[128];

	for (i = 0; name[i] != '\0'; i++)
		dots += name[i] == '.';
	near[0] = '\0';
	for (i = 1; i < SET_COUNT; i++) {
		if (setting_rules[i].name == NULL)
			continue;
		d = distance(name, setting_rules[i].name);
		other = strrchr(setting_rules[i].name, '.');
		/* the right word in the wrong section */
		if (last != NULL && other != NULL && strcmp(last, other) == 0 && d > 3)
			d = 3;
		if (d < best) {
			best = d;
			(void)snprintf(near, size, "%s", setting_rules[i].name);
		}
		/* or it was to be a section */
		len = with_dots(setting_rules[i].name, dots);
		(void)snprintf(section, sizeof(section), "%.*s", (int)len, setting_rules[i].name);
		if (len > 0 && (d = distance(name, section)) < best) {
			best = d;
			(void)snprintf(near, size, "%s", section);
		}
	}
	return near[0] != '\0';
}
