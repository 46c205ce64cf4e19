/*
 * writer.c: what both forms share (see writer.h).  opampctl only.
 */
#include "writer.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "privsep/child.h"
#include "privsep/log.h"

void
out_section(struct writer *w, const char *name)
{
	w->ops->section(w, name);
}

void
out_end(struct writer *w)
{
	w->ops->end(w);
}

void
out_table(struct writer *w, const char *name, const char *const *columns)
{
	w->ops->table(w, name, columns);
}

void
out_row(struct writer *w)
{
	w->ops->row(w);
}

void
out_bytes(struct writer *w, const char *name, const char *value, size_t len)
{
	w->ops->string(w, name, value, len);
}

void
out_string(struct writer *w, const char *name, const char *value)
{
	if (value != NULL)
		w->ops->string(w, name, value, strlen(value));
}

void
out_hex(struct writer *w, const char *name, const void *value, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *bytes = value;
	char *text = malloc(len * 2 + 1);
	size_t i;

	if (text == NULL)
		return;
	for (i = 0; i < len; i++) {
		text[i * 2] = digits[bytes[i] >> 4];
		text[i * 2 + 1] = digits[bytes[i] & 15];
	}
	w->ops->string(w, name, text, len * 2);
	free(text);
}

void
out_number(struct writer *w, const char *name, uint64_t value)
{
	w->ops->number(w, name, value, NULL);
}

void
out_number_shown(struct writer *w, const char *name, uint64_t value, const char *shown)
{
	w->ops->number(w, name, value, shown);
}

void
out_boolean(struct writer *w, const char *name, int value)
{
	w->ops->boolean(w, name, value != 0, value ? "yes" : "no");
}

void
out_duration_ms(struct writer *w, const char *name, uint64_t ms)
{
	char text[64];

	w->ops->number(w, name, ms, duration_text(text, sizeof(text), ms));
}

void
out_time(struct writer *w, const char *name, uint64_t ns)
{
	char stamp[40], ago[64], shown[128];
	uint64_t now = now_unix_ns();

	if (ns == 0)
		return;
	(void)time_text(stamp, sizeof(stamp), ns);
	if (ns <= now)
		(void)snprintf(shown, sizeof(shown), "%s (%s ago)", stamp,
		    duration_text(ago, sizeof(ago), (now - ns) / 1000000));
	else
		(void)snprintf(shown, sizeof(shown), "%s", stamp);
	w->ops->time(w, name, ns, shown);
}

void
out_note(struct writer *w, const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	w->ops->note(w, text);
}

int
writer_finish(struct writer *w)
{
	return w->ops->finish(w);
}

const char *
duration_text(char *buf, size_t size, uint64_t ms)
{
	unsigned long long s = ms / 1000;

	if (ms < 1000)
		(void)snprintf(buf, size, "%llu ms", (unsigned long long)ms);
	else if (s < 60)
		(void)snprintf(buf, size, "%llu s", s);
	else if (s < 3600)
		(void)snprintf(buf, size, "%llu min %llu s", s / 60, s % 60);
	else if (s < 86400)
		(void)snprintf(buf, size, "%llu h %llu min", s / 3600, s % 3600 / 60);
	else
		(void)snprintf(buf, size, "%llu d %llu h", s / 86400, s % 86400 / 3600);
	return buf;
}

const char *
time_text(char *buf, size_t size, uint64_t ns)
{
	time_t t = (time_t)(ns / 1000000000u);
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(buf, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)snprintf(buf, size, "%llu ns", (unsigned long long)ns);
	return buf;
}

char *
escape_lines(const char *text, size_t len)
{
	char *out;
	size_t i = 0, o = 0, run;

	if (len > (SIZE_MAX - 8) / 4)
		return NULL;
	out = malloc(len * 4 + 8);
	if (out == NULL)
		return NULL;
	while (i < len) {
		if (text[i] == '\n' || text[i] == '\t' || text[i] == '\\') {
			out[o++] = text[i++];
			continue;
		}
		for (run = i;
		     run < len && text[run] != '\n' && text[run] != '\t' && text[run] != '\\';
		     run++)
			;
		(void)log_escape(out + o, (run - i) * 4 + 5, text + i, run - i);
		o += strlen(out + o);
		i = run;
	}
	out[o] = '\0';
	return out;
}
