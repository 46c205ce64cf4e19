/*
 * log.c: the log (see log.h).  Every process; only ever writes to descriptor 2.
 * One write per line, so that lines of several processes do not mix.
 */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 8192

static struct {
	const char *name;
	enum log_sink sink;
	enum log_level level;
	int pid; /* asked for before the sandbox, and after going to the background */
} logger = {"opampd", LOG_SINK_STDERR, LOG_LEVEL_INFO, 0};

void
log_init(const char *name, enum log_sink sink, enum log_level level)
{
	logger.name = name;
	logger.sink = sink;
	logger.level = level;
	logger.pid = (int)getpid();
}

void
log_set_level(enum log_level level)
{
	logger.level = level;
}

enum log_level
log_get_level(void)
{
	return logger.level;
}

int
log_enabled(enum log_level level)
{
	return level <= logger.level;
}

/* The length of the well-formed UTF-8 sequence at s (1 to 4), or 0. */
static size_t
utf8_length(const unsigned char *s, size_t left)
{
	static const unsigned char second_low[] = {0x80, 0xa0, 0x80, 0x90};
	size_t want, i;
	unsigned char low = 0x80, high = 0xbf;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		want = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		want = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		want = 4;
	else
		return 0;
	if (want > left)
		return 0;
	if (s[0] == 0xe0)
		low = second_low[1];
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = second_low[3];
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (i = 2; i < want; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return want;
}

/* Code points U+0080 to U+009F are control characters too, and U+2028/9 and U+202A to E turn lines. */
static int
utf8_is_harmful(const unsigned char *s, size_t n)
{
	if (n == 2 && s[0] == 0xc2 && s[1] < 0xa0)
		return 1;
	if (n == 3 && s[0] == 0xe2 && s[1] == 0x80 && s[2] >= 0xa8 && s[2] <= 0xae)
		return 1;
	return n == 3 && s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9;
}

char *
log_escape(char *dst, size_t size, const void *src, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *s = src;
	size_t i = 0, o = 0, n, k;

	while (i < len) {
		n = utf8_length(s + i, len - i);
		if (n > 1 && utf8_is_harmful(s + i, n))
			n = 0;
		if (n == 1 && (s[i] < 0x20 || s[i] == 0x7f || s[i] == '\\'))
			n = 0;
		if (n == 0) {
			if (o + 4 >= size)
				break;
			dst[o++] = '\\';
			dst[o++] = 'x';
			dst[o++] = hex[s[i] >> 4];
			dst[o++] = hex[s[i] & 15];
			i++;
			continue;
		}
		if (o + n >= size)
			break;
		for (k = 0; k < n; k++)
			dst[o++] = (char)s[i++];
	}
	if (size > 0)
		dst[o] = '\0';
	return dst;
}

/* In one write, unless somebody cuts it short: then its rest follows. */
static void
put(const char *line, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(2, line, len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		line += n;
		len -= (size_t)n;
	}
}

static void
emit(enum log_level level, const char *body)
{
	static const char *const words[] = {"error", "warn", "info", "debug"};
	static const int priorities[] = {3, 4, 6, 7};
	char line[LINE_SIZE + 128], stamp[40];
	struct timespec now;
	struct tm tm;
	int n;

	switch (logger.sink) {
	case LOG_SINK_JOURNAL:
		n = snprintf(
		    line, sizeof(line), "<%d>%s: %s\n", priorities[level], logger.name, body);
		break;
	case LOG_SINK_SYSLOG: /* facility daemon is 3 */
		n = snprintf(line, sizeof(line), "<%d>opampd[%d]: %s: %s",
		    3 * 8 + priorities[level], logger.pid, logger.name, body);
		break;
	case LOG_SINK_PLAIN:
		n = snprintf(
		    line, sizeof(line), "%s%s\n", level == LOG_LEVEL_WARN ? "warning: " : "", body);
		break;
	case LOG_SINK_STDERR:
	default:
		(void)clock_gettime(CLOCK_REALTIME, &now);
		(void)gmtime_r(&now.tv_sec, &tm);
		(void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
		n = snprintf(line, sizeof(line), "%s.%03ldZ %-5s %s: %s\n", stamp,
		    now.tv_nsec / 1000000, words[level], logger.name, body);
		break;
	}
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(line)) {
		n = (int)sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	put(line, (size_t)n);
}

__attribute__((format(printf, 2, 0))) static void
vlog(enum log_level level, const char *fmt, va_list ap)
{
	char raw[LINE_SIZE / 2], escaped[LINE_SIZE];
	int saved = errno, n;

	if (!log_enabled(level))
		return;
	n = vsnprintf(raw, sizeof(raw), fmt, ap);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(raw))
		n = (int)sizeof(raw) - 1;
	emit(level, log_escape(escaped, sizeof(escaped), raw, (size_t)n));
	errno = saved;
}

#define LOG_FUNCTION(name, level)                                                                  \
	void name(const char *fmt, ...)                                                            \
	{                                                                                          \
		va_list ap;                                                                        \
		va_start(ap, fmt);                                                                 \
		vlog((level), fmt, ap);                                                            \
		va_end(ap);                                                                        \
	}

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

void
log_at(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(level, fmt, ap);
	va_end(ap);
}

void
fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(LOG_LEVEL_ERROR, fmt, ap);
	va_end(ap);
	_exit(1);
}
