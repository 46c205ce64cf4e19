/*
 * fuzz_http.c: HTTP/1.1 heads of both kinds, and the body behind a response's.  Input: one byte (0: a
 * response, 1: a request), one byte: how many bytes of the body come at a time, then the bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/http.h"
#include "wire/http_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_head(const struct http_head *h, enum http_kind kind)
{
	const char *after;
	int64_t ms;
	size_t i;

	for (i = 0; i < h->count; i++)
		if (!http_name_ok(h->headers[i].name) || !http_value_ok(h->headers[i].value) ||
		    http_get(h, h->headers[i].name) == NULL)
			abort();
	if (h->count > LIMIT_HTTP_HEADERS || (h->chunked && h->length >= 0) || h->length < -1)
		abort();
	if (kind == HTTP_RESPONSE ? h->status < 100 || h->status > 599
				  : h->method == NULL || h->target == NULL || *h->target == '\0')
		abort();
	after = http_get(h, "Retry-After");
	ms = after == NULL ? 0 : http_retry_after(after, 1750000000);
	if (ms < -1 || ms > LIMIT_RETRY_AFTER_MS)
		abort();
	(void)http_has_token(h, "Connection", "Upgrade");
}

/*
 * Is there, before anything else that is wrong, a chunk whose size no number of ours holds?  It must be
 * refused; read as less, it would let one answer hide another.
 */
static int
has_endless_chunk(const uint8_t *p, size_t left)
{
	size_t n, digits;
	uint64_t size;

	for (;;) {
		for (n = digits = 0, size = 0; n < left; n++) {
			const char *hex = "0123456789abcdefABCDEF";
			const char *at = p[n] == 0 ? NULL : strchr(hex, p[n]);

			if (at == NULL)
				break;
			size = size << 4 | (unsigned)(at - hex < 16 ? at - hex : at - hex - 6);
			digits += digits > 0 || p[n] != '0';
		}
		if (digits > 16)
			return 1;
		/* goes on only where it is the plainest form */
		if (n == 0 || size == 0 || left - n < 4 || memcmp(p + n, "\r\n", 2) != 0 ||
		    left - n - 4 < size || memcmp(p + n + 2 + size, "\r\n", 2) != 0)
			return 0;
		p += n + 4 + size;
		left -= n + 4 + size;
	}
}

static void
read_body(const struct http_head *h, const uint8_t *data, size_t size, size_t step)
{
	struct http_body b;
	struct error err;
	size_t used = 0, n;
	int r, endless = h->chunked && h->status >= 200 && h->status != 204 && h->status != 304 &&
			 size < LIMIT_HTTP_BODY && has_endless_chunk(data, size);

	http_body_begin(&b, h);
	do {
		n = size < step ? size : step;
		r = http_body_input(&b, (const char *)data, n, &used, &err);
		if (r == -1)
			return;
		if (used > n || (r == 0 && used != n) || b.kept > HTTP_BODY_KEPT ||
		    b.text[b.kept] != '\0' || b.seen > LIMIT_HTTP_BODY)
			abort();
		data += used;
		size -= used;
	} while (r == 0 && size > 0);
	if (endless)
		abort();
	if (r == 0)
		r = http_body_eof(&b, &err);
	if (r == 1 && http_body_input(&b, "x", 1, &used, &err) + (int)used != 1)
		abort(); /* what is whole takes no more */
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http_head h, shorter;
	enum http_kind kind;
	struct error err;
	size_t used = 0, step;

	if (size < 2)
		return 0;
	kind = data[0] & 1 ? HTTP_REQUEST : HTTP_RESPONSE;
	step = data[1] == 0 ? 4096 : data[1];
	data += 2;
	size -= 2;
	if (http_head(&h, kind, (const char *)data, size, &used, &err) != 1)
		return 0;
	if (used > size || used > LIMIT_HTTP_HEAD)
		abort();
	check_head(&h, kind);
	if (http_head(&shorter, kind, (const char *)data, used - 1, &used, &err) != 0)
		abort(); /* one byte less is not whole, and not wrong */
	if (kind == HTTP_RESPONSE)
		read_body(&h, data + used, size - used, step);
	return 0;
}
