/*
 * log.h: one line per event to descriptor 2.  Every process.
 * Foreign text is escaped here, for every caller: control characters, invalid UTF-8 and
 * backslashes become \xNN, so that nobody can forge a line or steer a terminal.
 */
#ifndef PRIVSEP_LOG_H
#define PRIVSEP_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_NOTHING = -1, /* tests that provoke errors by the thousand */
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* What descriptor 2 is.  The parent opens it; every child inherits it and only writes. */
enum log_sink {
	LOG_SINK_STDERR,  /* a terminal, a pipe or a file: time stamp, level, process */
	LOG_SINK_JOURNAL, /* "<N>" before the line, the journal adds the rest */
	LOG_SINK_SYSLOG,  /* a connected /dev/log datagram socket: RFC 3164 */
	LOG_SINK_PLAIN,   /* for a person who asked (opampd -n): the text alone */
};

/* name is kept, not copied: a string constant such as "netd". */
void log_init(const char *name, enum log_sink sink, enum log_level level);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
int log_enabled(enum log_level level);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prints at error level and ends the process with status 1: start-up or a broken invariant only. */
void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/*
 * Writes the escaped form of src into dst (always terminated, cut at size) and returns dst.
 * log_* already escape the whole line: this is for text that goes elsewhere (a terminal, a report).
 */
char *log_escape(char *dst, size_t size, const void *src, size_t len);

#endif
