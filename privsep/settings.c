/*
 * settings.c: a process's section of the settings (see settings.h).  Every process.
 * The section was written by merge, which read foreign bytes: every entry is checked here
 * against the table before anything uses it.
 */
#include "settings.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memfd.h"

const struct setting_rule setting_rules[SET_COUNT] = {
#define SETTING(id, name_, type_, min_, max_, words_, otherwise_, required_, to_, meaning_)        \
	[SET_##id] = {.key = SET_##id,                                                             \
	    .name = (name_),                                                                       \
	    .type = (type_),                                                                       \
	    .min = (min_),                                                                         \
	    .max = (max_),                                                                         \
	    .words = (words_),                                                                     \
	    .otherwise = (otherwise_),                                                             \
	    .required = (required_),                                                               \
	    .to = (to_)},
    SETTING_TABLE
#undef SETTING
};

static uint64_t
count_words(const char *words)
{
	uint64_t n = 1;

	for (; *words != '\0'; words++)
		n += *words == '|';
	return n;
}

static int
derived_size_is_wrong(const struct record_entry *e)
{
	if (e->key >= SET_UID_NETD && e->key <= SET_UID_AGENT)
		return e->len != 8;
	return e->len != 4;
}

static int
entry_is_wrong(const struct record_entry *e, const struct setting_rule *rule)
{
	uint64_t value = 0;

	switch (rule->type) {
	case SETTING_BOOL:
	case SETTING_INT:
	case SETTING_SIZE:
	case SETTING_DURATION:
	case SETTING_ENUM:
	case SETTING_FALSE:
		if (e->len != sizeof(value))
			return 1;
		memcpy(&value, e->value, sizeof(value));
		if (rule->type == SETTING_ENUM)
			return value >= count_words(rule->words);
		return value < rule->min || value > rule->max;
	case SETTING_STRING:
	case SETTING_PATH:
	case SETTING_URL:
	case SETTING_LIST:
	case SETTING_USER:
		return memchr(e->value, '\0', e->len) != NULL || e->len > LIMIT_SETTINGS_VALUE;
	case SETTING_MAP:
	case SETTING_HEADERS:
		return memchr(e->value, '\0', e->len) == NULL || e->len > LIMIT_SETTINGS_VALUE;
	case SETTING_DERIVED:
		return derived_size_is_wrong(e);
	case SETTING_NONE:
	case SETTING_REFUSED:
	default:
		return 1;
	}
}

int
settings_open(struct settings *s, int memfd, enum proc self, struct error *err)
{
	struct record_entry e;
	size_t len, pos = 0;

	memset(s, 0, sizeof(*s));
	if (memfd_read(memfd, LIMIT_SETTINGS_RECORD, &s->data, &len, err) == -1 ||
	    record_open(&s->record, s->data, len, err) == -1)
		goto fail;
	if (s->record.count > LIMIT_SETTINGS_ENTRIES) {
		error_set(err, "%u entries, more than the %u allowed", s->record.count,
		    LIMIT_SETTINGS_ENTRIES);
		goto fail;
	}
	while (record_next(&s->record, &pos, 0, &e)) {
		if (e.key == SET_NONE || e.key >= SET_COUNT) {
			error_set(err, "unknown key number %u", e.key);
			goto fail;
		}
		if ((setting_rules[e.key].to & (1u << self)) == 0 ||
		    entry_is_wrong(&e, &setting_rules[e.key])) {
			error_set(err, "key %s: not for %s, or out of its form",
			    setting_name((enum setting)e.key), proc_name(self));
			goto fail;
		}
	}
	return 0;
fail:
	settings_free(s);
	return error_prefix(err, "the settings of %s", proc_name(self));
}

void
settings_free(struct settings *s)
{
	if (s->data != NULL)
		explicit_bzero(s->data, s->record.len);
	free(s->data);
	memset(s, 0, sizeof(*s));
}

/* Defaults are written in the table as they would stand in the file. */
static uint64_t
parse_duration(const char *text)
{
	uint64_t total = 0;
	unsigned long n;
	char *end;

	while (*text != '\0') {
		n = strtoul(text, &end, 10);
		if (strncmp(end, "ms", 2) == 0) {
			total += n;
			end += 2;
		} else if (*end == 's') {
			total += n * 1000;
			end++;
		} else if (*end == 'm') {
			total += n * 60000;
			end++;
		} else if (*end == 'h') {
			total += n * 3600000;
			end++;
		} else {
			break;
		}
		text = end;
	}
	return total;
}

static uint64_t
default_u64(const struct setting_rule *rule)
{
	const char *text = rule->otherwise, *word = rule->words;
	uint64_t n = 0;
	char *end;

	if (text == NULL)
		return 0;
	switch (rule->type) {
	case SETTING_BOOL:
	case SETTING_FALSE:
		return strcmp(text, "true") == 0;
	case SETTING_DURATION:
		return parse_duration(text);
	case SETTING_ENUM:
		for (; strncmp(word, text, strlen(text)) != 0 ||
		       (word[strlen(text)] != '|' && word[strlen(text)] != '\0');
		     n++)
			word = strchr(word, '|') + 1;
		return n;
	default:
		n = strtoull(text, &end, 10);
		if (strcmp(end, "MiB") == 0)
			n *= MIB;
		else if (strcmp(end, "KiB") == 0)
			n *= KIB;
		return n;
	}
}

uint64_t
settings_u64(const struct settings *s, enum setting key)
{
	return record_u64(&s->record, (uint16_t)key, default_u64(&setting_rules[key]));
}

int
settings_bool(const struct settings *s, enum setting key)
{
	return settings_u64(s, key) != 0;
}

char *
settings_string(const struct settings *s, enum setting key)
{
	char *value = record_string(&s->record, (uint16_t)key);

	if (value == NULL && setting_rules[key].otherwise != NULL)
		value = strdup(setting_rules[key].otherwise);
	return value;
}

int
settings_has(const struct settings *s, enum setting key)
{
	struct record_entry e;

	return record_find(&s->record, (uint16_t)key, &e);
}

int
settings_next(const struct settings *s, size_t *pos, enum setting key, struct record_entry *e)
{
	return record_next(&s->record, pos, (uint16_t)key, e);
}

int
settings_pair(
    const struct record_entry *e, const char **name, const char **value, size_t *value_len)
{
	const char *nul = memchr(e->value, '\0', e->len);

	if (nul == NULL)
		return -1;
	*name = e->value;
	*value = nul + 1;
	*value_len = e->len - (size_t)(nul - e->value) - 1;
	return 0;
}

const char *
setting_name(enum setting key)
{
	if (key <= SET_NONE || key >= SET_COUNT || setting_rules[key].name == NULL)
		return "(no key)";
	return setting_rules[key].name;
}
