/*
 * http.h: a strict, bounded reader of HTTP/1.1 heads: responses (netd, the probe) and requests (link).
 * RFC 9112, without its leniencies: CRLF only, no folding, no blanks before colons, one
 * Content-Length, never both length and transfer coding.
 */
#ifndef WIRE_HTTP_H
#define WIRE_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "privsep/error.h"
#include "privsep/limits.h"

struct http_header {
	const char *name, *value; /* in the head's own memory, terminated */
};

struct http_head {
	int status;                  /* response: 100 to 599; request: 0 */
	const char *method, *target; /* request */
	struct http_header headers[LIMIT_HTTP_HEADERS];
	size_t count;
	int chunked;
	int64_t length; /* Content-Length, or -1 */
	char text[LIMIT_HTTP_HEAD + 1];
};

enum http_kind {
	HTTP_RESPONSE,
	HTTP_REQUEST
};

/*
 * Reads a head from the first bytes of a connection.  1: done, *used bytes belong to it; 0: more
 * bytes are needed; -1: not HTTP as it must be, or over a limit.  Call again from the start with more.
 */
int http_head(struct http_head *h, enum http_kind kind, const char *data, size_t len, size_t *used,
    struct error *err);

/* A header's value, or NULL; names are compared without case.  The first one counts. */
const char *http_get(const struct http_head *h, const char *name);

/* Is token in the comma-separated list of any header with that name (without case)? */
int http_has_token(const struct http_head *h, const char *name, const char *token);

/*
 * Retry-After, seconds or a date in any of RFC 9110's three forms, as milliseconds from now_s (Unix
 * seconds): at least 0, at most LIMIT_RETRY_AFTER_MS; -1 when value is neither.
 */
int64_t http_retry_after(const char *value, int64_t now_s);

/* The reason phrase of a status that we answer with. */
const char *http_reason(int status);

/* Nothing in it that would end a header line or is not allowed in one. */
int http_value_ok(const char *value);
int http_name_ok(const char *name);

#endif
