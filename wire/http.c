/*
 * http.c: HTTP/1.1 heads (see http.h).  netd, link.
 */
#include "http.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static int
is_token(unsigned char c)
{
	return isalnum(c) || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

int
http_name_ok(const char *name)
{
	if (*name == '\0')
		return 0;
	for (; *name != '\0'; name++)
		if (!is_token((unsigned char)*name))
			return 0;
	return 1;
}

int
http_value_ok(const char *value)
{
	for (; *value != '\0'; value++)
		if ((unsigned char)*value < ' ' ? *value != '\t' : (unsigned char)*value == 127)
			return 0;
	return 1;
}

static int
status_line(struct http_head *h, char *line, struct error *err)
{
	int i;

	if (strncmp(line, "HTTP/1.1 ", 9) != 0 && strncmp(line, "HTTP/1.0 ", 9) != 0)
		return error_set(err, "the answer does not begin with HTTP/1.1");
	for (i = 9; i < 12; i++)
		if (!isdigit((unsigned char)line[i]))
			return error_set(err, "the answer has no status of three digits");
	if ((line[12] != ' ' && line[12] != '\0') || !http_value_ok(line))
		return error_set(err, "the status line is malformed");
	h->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
	if (h->status < 100 || h->status > 599)
		return error_set(err, "status %d is none of HTTP's", h->status);
	return 0;
}

static int
request_line(struct http_head *h, char *line, struct error *err)
{
	char *target = strchr(line, ' '),
	     *version = target == NULL ? NULL : strchr(target + 1, ' '), *p;

	if (version == NULL || strcmp(version + 1, "HTTP/1.1") != 0)
		return error_set(err, "the request line is malformed, or not HTTP/1.1");
	*target++ = '\0';
	*version = '\0';
	if (!http_name_ok(line) || *target == '\0')
		return error_set(err, "the request line is malformed");
	for (p = target; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 127)
			return error_set(
			    err, "the request's target has characters it may not have");
	h->method = line;
	h->target = target;
	return 0;
}

static int
content_length(struct http_head *h, const char *value, struct error *err)
{
	int64_t n = 0;

	if (h->length >= 0)
		return error_set(err, "two Content-Length headers");
	if (*value == '\0' || strlen(value) > 15)
		return error_set(err, "Content-Length is no number");
	for (; *value != '\0'; value++) {
		if (!isdigit((unsigned char)*value))
			return error_set(err, "Content-Length is no number");
		n = n * 10 + (*value - '0');
	}
	h->length = n;
	return 0;
}

static int
header_line(struct http_head *h, char *line, struct error *err)
{
	char *colon = strchr(line, ':'), *value, *end;

	if (h->count == LIMIT_HTTP_HEADERS)
		return error_set(err, "more than %d headers", LIMIT_HTTP_HEADERS);
	if (colon == NULL)
		return error_set(err, "a header line without a colon");
	*colon = '\0';
	if (!http_name_ok(line))
		return error_set(err, "a header's name has characters it may not have");
	for (value = colon + 1; *value == ' ' || *value == '\t'; value++)
		;
	for (end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t'); end--)
		end[-1] = '\0';
	if (!http_value_ok(value))
		return error_set(err, "a header's value has control characters");
	/* whose name counts would be a matter of taste */
	if (strcasecmp(line, "Host") == 0 && http_get(h, "Host") != NULL)
		return error_set(err, "two Host headers");
	h->headers[h->count++] = (struct http_header){line, value};
	if (strcasecmp(line, "Content-Length") == 0)
		return content_length(h, value, err);
	if (strcasecmp(line, "Transfer-Encoding") == 0) {
		if (h->chunked || strcasecmp(value, "chunked") != 0)
			return error_set(err, "a transfer coding other than chunked");
		h->chunked = 1;
	}
	return 0;
}

int
http_head(struct http_head *h, enum http_kind kind, const char *data, size_t len, size_t *used,
    struct error *err)
{
	size_t window = len > LIMIT_HTTP_HEAD ? LIMIT_HTTP_HEAD : len;
	const char *end = len == 0 ? NULL : memmem(data, window, "\r\n\r\n", 4);
	char *line, *next;
	int first = 1, r;

	if (len == 0)
		return 0; /* data may be NULL */
	/* what begins otherwise becomes no answer, however long one waits */
	if (kind == HTTP_RESPONSE && memcmp(data, "HTTP/1.", len < 7 ? len : 7) != 0)
		return error_set(err, "the answer does not begin with HTTP/1.1");
	if (end == NULL && len >= LIMIT_HTTP_HEAD)
		return error_set(err, "a head of more than 32 KiB");
	if (memchr(data, '\0', end == NULL ? window : (size_t)(end - data)) != NULL)
		return error_set(err, "a NUL byte in the head");
	if (end == NULL)
		return 0;
	h->status = 0;
	h->method = h->target = NULL;
	h->count = 0;
	h->chunked = 0;
	h->length = -1;
	memcpy(h->text, data, (size_t)(end - data));
	h->text[end - data] = '\0';
	for (line = h->text; line != NULL; line = next) {
		next = strstr(line, "\r\n");
		if (next != NULL) {
			*next = '\0';
			next += 2;
		}
		if (strlen(line) > LIMIT_HTTP_LINE)
			return error_set(err, "a line of more than 8 KiB");
		if (strpbrk(line, "\r\n") != NULL)
			return error_set(err, "a line end that is not CRLF");
		if (!first)
			r = header_line(h, line, err);
		else
			r = kind == HTTP_RESPONSE ? status_line(h, line, err)
						  : request_line(h, line, err);
		if (r == -1)
			return -1;
		first = 0;
	}
	if (h->chunked && h->length >= 0)
		return error_set(err, "both Content-Length and Transfer-Encoding");
	if (h->chunked && kind == HTTP_RESPONSE && strncmp(h->text, "HTTP/1.0", 8) == 0)
		return error_set(err, "Transfer-Encoding in HTTP/1.0");
	*used = (size_t)(end - data) + 4;
	return 1;
}

const char *
http_get(const struct http_head *h, const char *name)
{
	size_t i;

	for (i = 0; i < h->count; i++)
		if (strcasecmp(h->headers[i].name, name) == 0)
			return h->headers[i].value;
	return NULL;
}

int
http_has_token(const struct http_head *h, const char *name, const char *token)
{
	size_t i, len = strlen(token), n;
	const char *s;

	for (i = 0; i < h->count; i++) {
		if (strcasecmp(h->headers[i].name, name) != 0)
			continue;
		for (s = h->headers[i].value; *s != '\0';) {
			s += strspn(s, " \t,");
			n = strcspn(s, " \t,");
			if (n == len && strncasecmp(s, token, len) == 0)
				return 1;
			s += n;
		}
	}
	return 0;
}

static int64_t
capped(int64_t seconds)
{
	if (seconds <= 0)
		return 0;
	return seconds > LIMIT_RETRY_AFTER_MS / 1000 ? LIMIT_RETRY_AFTER_MS : seconds * 1000;
}

int64_t
http_retry_after(const char *value, int64_t now_s)
{
	static const char *const forms[] = {
	    "%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"};
	int64_t n = 0;
	const char *s;
	struct tm tm;
	size_t i;

	for (s = value; isdigit((unsigned char)*s); s++)
		if (n <= LIMIT_RETRY_AFTER_MS)
			n = n * 10 + (*s - '0');
	if (s != value && *s == '\0')
		return capped(n);
	for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		memset(&tm, 0, sizeof(tm));
		s = strptime(value, forms[i], &tm);
		if (s != NULL && *s == '\0')
			return capped((int64_t)timegm(&tm) - now_s);
	}
	return -1;
}

const char *
http_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} all[] = {{200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"},
	    {304, "Not Modified"}, {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"},
	    {404, "Not Found"}, {405, "Method Not Allowed"}, {409, "Conflict"},
	    {411, "Length Required"}, {413, "Content Too Large"}, {415, "Unsupported Media Type"},
	    {421, "Misdirected Request"}, {422, "Unprocessable Content"}, {426, "Upgrade Required"},
	    {429, "Too Many Requests"}, {503, "Service Unavailable"}};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i].status == status)
			return all[i].reason;
	return "Internal Server Error";
}
