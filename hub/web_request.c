/*
 * web_request.c: what stands in a request to the page or the API (see web_inside.h): its path, its parameters, its
 * JSON.  opamphub-store.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_read.h"
#include "privsep/limits.h"
#include "privsep/log.h"
#include "web_inside.h"
#include "wire/wire.h"

static int
hex_digit(char c)
{
	c = lower(c);
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX, and in a query "+"; -1: broken, a NUL, or not UTF-8. */
static int
decode(char *out, size_t size, const char *in, size_t len, int query)
{
	size_t i, n = 0;
	int high, low;

	for (i = 0; i < len; i++) {
		if (n + 1 >= size)
			return -1;
		if (in[i] == '%') {
			high = i + 1 < len ? hex_digit(in[i + 1]) : -1;
			low = i + 2 < len ? hex_digit(in[i + 2]) : -1;
			if (high < 0 || low < 0 || (high == 0 && low == 0))
				return -1;
			out[n++] = (char)(high << 4 | low);
			i += 2;
		} else
			out[n++] = query && in[i] == '+' ? ' ' : in[i];
	}
	out[n] = '\0';
	return wire_utf8((const uint8_t *)out, n) ? 0 : -1;
}

char *
web_parameter(const struct web_request *q, const char *name)
{
	const char *p = q->query, *end, *equals;
	size_t n = strlen(name), len;
	char *value;

	for (; *p != '\0'; p = *end == '\0' ? end : end + 1) {
		end = p + strcspn(p, "&");
		equals = memchr(p, '=', (size_t)(end - p));
		if (equals == NULL || (size_t)(equals - p) != n || memcmp(p, name, n) != 0)
			continue;
		len = (size_t)(end - equals - 1);
		value = malloc(len + 1);
		if (value != NULL && decode(value, len + 1, equals + 1, len, 1) == -1)
			value[0] = '\0';
		return value;
	}
	return NULL;
}

json_t *
web_body(struct web_request *q)
{
	json_error_t fault;
	int too_large;
	json_t *j = json_read(q->body, q->body_len, JSON_REJECT_DUPLICATES, LIMIT_HUB_JSON_PIECES,
	    &fault, &too_large);
	char safe[JSON_ERROR_TEXT_LENGTH * 4];

	if (j != NULL)
		return j;
	if (too_large) {
		web_fault(q, 413, "the body has too many values");
		return NULL;
	}
	(void)log_escape(safe, sizeof(safe), fault.text, strlen(fault.text));
	web_json(q, 400,
	    json_pack("{s:{s:s, s:i, s:i}}", "error", "what", safe, "line", fault.line, "column",
		fault.column));
	return NULL;
}

int
web_target(struct web_request *q, const char *target)
{
	const char *question = strchr(target, '?');
	size_t len = question == NULL ? strlen(target) : (size_t)(question - target);

	if (target[0] != '/' || decode(q->path, sizeof(q->path), target, len, 0) == -1)
		return -1;
	if (question != NULL && strlen(question + 1) >= sizeof(q->query))
		return -1;
	(void)snprintf(q->query, sizeof(q->query), "%s", question == NULL ? "" : question + 1);
	return 0;
}
