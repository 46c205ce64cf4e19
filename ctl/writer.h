/*
 * writer.h: what opampctl prints, written once and shown as text for people or as JSON.  opampctl only.
 * A name serves both: "started_at" is a JSON member, and "started at" in text.  Everything foreign is made
 * safe for terminals here: text is escaped as in log.h, JSON is pure ASCII.
 */
#ifndef CTL_WRITER_H
#define CTL_WRITER_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "privsep/messages.h"

#define WRITER_COLUMNS 12

struct writer;

struct writer_ops {
	void (*section)(struct writer *w, const char *name);
	void (*end)(struct writer *w);
	void (*table)(struct writer *w, const char *name, const char *const *columns);
	void (*row)(struct writer *w);
	/* shown: for people; value: of the kind that JSON shows */
	void (*string)(struct writer *w, const char *name, const char *value, size_t len);
	void (*number)(struct writer *w, const char *name, uint64_t value, const char *shown);
	void (*boolean)(struct writer *w, const char *name, int value, const char *shown);
	void (*time)(struct writer *w, const char *name, uint64_t ns, const char *shown);
	void (*note)(struct writer *w, const char *text);
	int (*finish)(
	    struct writer *w); /* prints what is left and frees; -1: could not be written */
};

struct writer {
	const struct writer_ops *ops;
};

/* NULL when memory ran out. */
struct writer *writer_text_new(FILE *out);
struct writer *writer_json_new(FILE *out, int compact); /* compact: on one line */

/* An object in the object that is open; name NULL is not allowed.  Ended by out_end. */
void out_section(struct writer *w, const char *name);
void out_end(struct writer *w);

/*
 * A list of objects: columns (ends with NULL) in the order of the table; a row's fields are named like
 * columns, and one that is missing is empty.  Ended by out_end.
 */
void out_table(struct writer *w, const char *name, const char *const *columns);
void out_row(struct writer *w);

/* Fields.  Foreign text may hold anything; line ends are kept for people, in a table only the first. */
void out_string(struct writer *w, const char *name, const char *value); /* NULL: left out */
void out_bytes(struct writer *w, const char *name, const char *value, size_t len);
void out_hex(struct writer *w, const char *name, const void *value, size_t len);
void out_number(struct writer *w, const char *name, uint64_t value);
void out_number_shown(struct writer *w, const char *name, uint64_t value, const char *shown);
void out_boolean(struct writer *w, const char *name, int value);
void out_duration_ms(struct writer *w, const char *name, uint64_t ms);
void out_time(struct writer *w, const char *name, uint64_t ns); /* 0: left out */
/* Words for people only, not in JSON. */
void out_note(struct writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int writer_finish(struct writer *w);

/* "3 min 20 s"; "2026-11-25T19:00:00Z". */
const char *duration_text(char *buf, size_t size, uint64_t ms);
const char *time_text(char *buf, size_t size, uint64_t ns);

/*
 * Escaped as log_escape does, but for line ends, tabs and backslashes, which stay: whole files.  malloc'd.
 */
char *escape_lines(const char *text, size_t len);

#endif
