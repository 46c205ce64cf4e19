/*
 * settings.h: opampd.yaml as the processes see it.  The table in settings_keys.h says for each key:
 * its place in the file, its type, bounds and default, and which processes get it (a secret goes
 * to the one that needs it and to nobody else, I12).  merge reads the file and writes one record
 * for each process; the others only use the getters below.
 */
#ifndef PRIVSEP_SETTINGS_H
#define PRIVSEP_SETTINGS_H

#include "messages.h"
#include "record.h"

enum setting_type {
	SETTING_NONE,
	SETTING_BOOL,     /* u64 0 or 1 */
	SETTING_INT,      /* u64, min..max */
	SETTING_SIZE,     /* u64 bytes; "16MiB", "64KiB", plain number */
	SETTING_DURATION, /* u64 milliseconds; Go's form: "5s", "1m30s", "500ms" */
	SETTING_STRING,
	SETTING_PATH,    /* absolute; a relative one is made absolute by the parent's cwd */
	SETTING_URL,     /* ws or wss (server), http (probe) */
	SETTING_ENUM,    /* u64: position in the words, from 0; words "a|b|c" */
	SETTING_LIST,    /* one entry per element */
	SETTING_MAP,     /* one entry per pair: key NUL value */
	SETTING_HEADERS, /* map of lists: one entry per value: name NUL value */
	SETTING_USER,    /* a name; resolved: SET_AGENT_UID and _GID follow */
	SETTING_REFUSED, /* a key of opampsupervisor that opampd does not have; meaning = why and what to do */
	SETTING_FALSE,   /* a bool of theirs that may only be false for now; meaning = why */
	SETTING_DERIVED, /* no key in the file: put in by merge */
};

struct setting_rule {
	uint16_t key;     /* enum setting */
	const char *name; /* "server.tls.ca_file" */
	enum setting_type type;
	uint64_t min, max;     /* INT, SIZE, DURATION (ms); STRING, LIST: bytes of a value */
	const char *words;     /* ENUM */
	const char *otherwise; /* the default as it would stand in the file; NULL = none */
	int required;
	uint32_t to; /* set of 1u << enum proc */
};

#include "settings_keys.h"

enum setting {
	SET_NONE,
#define SETTING(id, name, type, min, max, words, otherwise, required, to, meaning) SET_##id,
	SETTING_TABLE
#undef SETTING
	    SET_COUNT
};

extern const struct setting_rule setting_rules[SET_COUNT];

/* One line for the man page; why and what to do, for a key that is refused. */
const char *setting_meaning(enum setting key);

struct settings {
	char *data; /* owned */
	struct record record;
};

/*
 * Takes the memfd's bytes: every entry is checked against the table (key meant for `self`, type,
 * bounds).  settings_free releases.
 */
int settings_open(struct settings *s, int memfd, enum proc self, struct error *err);
void settings_free(struct settings *s);

/* Getters give the default of the table when the file said nothing. */
uint64_t settings_u64(const struct settings *s, enum setting key);
int settings_bool(const struct settings *s, enum setting key);
/* malloc'd, terminated; NULL when not set. */
char *settings_string(const struct settings *s, enum setting key);
/* Was it in the file? */
int settings_has(const struct settings *s, enum setting key);
/* Walks LIST entries (value), MAP and HEADERS entries (value = name, NUL, value): see record_next. */
int settings_next(const struct settings *s, size_t *pos, enum setting key, struct record_entry *e);
/* Splits a MAP or HEADERS entry: *name is terminated inside the entry, *value has *value_len bytes. */
int settings_pair(
    const struct record_entry *e, const char **name, const char **value, size_t *value_len);
/* "file:line:col: key" for messages; file is given by the caller. */
const char *setting_name(enum setting key);

#endif
