/*
 * settings_read.h: opampd.yaml into one record for each process.  merge only, in its sandbox.
 * Every mistake in the file is found in one go, each with its place and its remedy.
 */
#ifndef CONFD_SETTINGS_READ_H
#define CONFD_SETTINGS_READ_H

#include "privsep/record.h"
#include "privsep/settings.h"

#define SETTINGS_ERRORS 50

struct settings_problem {
	uint32_t line, column;
	char text[600]; /* "file:line:col: key: what; what to do" */
};

struct settings_users {             /* who the processes run as; all zero for an ordinary user */
	int wanted;                 /* 1: look users up, 0: ordinary user */
	const char *passwd, *group; /* the texts of /etc/passwd and /etc/group */
};

struct settings_reader {  /* zero-initialise, fill the first four, free with settings_reader_free */
	const char *file; /* name for messages */
	const char *environment; /* NUL-separated NAME=value, ends with an empty string */
	const char *cwd;         /* for relative paths */
	struct settings_users users;

	struct record_writer sections[PROC_COUNT];
	struct settings_problem problems[SETTINGS_ERRORS];
	size_t problem_count;
	char warnings[4096];
	/* for checks between keys */
	struct settings_place {
		uint32_t line, column;
		uint64_t number;
		int set, tried; /* tried: it is there, with a mistake or without */
	} seen[SET_COUNT];
	char run_as[64];
	int unknown;    /* a key that is none: it may be a missing one's, misspelt */
	int config_arg; /* agent.args has a --config */
	int parsed;     /* YAML it is: the sections have what could be read */
};

/* 0 when the file is good; otherwise the problems are sorted by place. */
int settings_read(struct settings_reader *r, const char *data, size_t len);
void settings_reader_free(struct settings_reader *r);

/* settings_users.c: into the parent's section.  groups: agent.groups, or NULL. */
struct yaml_node;
void settings_resolve_users(struct settings_reader *r, const struct yaml_node *groups);
/* Notes a problem; line 0: of the whole file. */
void settings_problem(struct settings_reader *r, uint32_t line, uint32_t column, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));

/* uid and gid of a user in the text of /etc/passwd; -1 when it is not there. */
int settings_user(const char *passwd, const char *name, uint32_t *uid, uint32_t *gid);
int settings_group(const char *group, const char *name, uint32_t *gid);

#endif
