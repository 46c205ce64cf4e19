/*
 * output_line.h: one line of the agent's output: made safe for a file that people read, and read
 * for its level.  link.  Nothing here keeps anything.
 */
#ifndef NETD_OUTPUT_LINE_H
#define NETD_OUTPUT_LINE_H

#include <stddef.h>

#include "privsep/log.h"

#define OUTPUT_STDERR 2

/*
 * Writes src into dst with control characters (tabs stay), terminal-steering code points and what
 * is not UTF-8 as \xNN; backslashes stay, so that JSON can still be read.  Gives the number of
 * bytes written; dst is not terminated.  size >= 4 * len always suffices; less cuts at a character.
 */
size_t output_escape(char *dst, size_t size, const char *src, size_t len);

/*
 * The level and the words of a line: the Collector's JSON ("level", "msg", then the other members
 * as key=value), zap's console form, logfmt, or any text.  text is always terminated.
 */
enum log_level output_read_line(
    char *text, size_t size, const char *line, size_t len, unsigned stream);

/* Does a block of error lines begin here ("Error:", "panic:", "fatal error:", level=error)? */
int output_error_begins(const char *line, size_t len);

/* Is this line surely not of such a block: JSON, logfmt, a time stamp? */
int output_error_ends(const char *line, size_t len);

#endif
