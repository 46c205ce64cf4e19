/*
 * http_body.c: bodies of responses and of requests in chunks (see http_body.h).  RFC 9112, sections 6 and 7.
 */
#include "http_body.h"

#include <string.h>

#include <event2/buffer.h>

enum state {
	BODY_WHOLE,
	BODY_LENGTH, /* left bytes are to come */
	BODY_UNTIL_EOF,
	BODY_SIZE,      /* in the digits of a chunk's size */
	BODY_EXTENSION, /* behind them */
	BODY_SIZE_LF,
	BODY_CHUNK, /* left bytes are to come */
	BODY_CHUNK_CR,
	BODY_CHUNK_LF,
	BODY_TRAILER, /* at the start of a line, or in it */
	BODY_TRAILER_LF,
};

#define SIZE_DIGITS 15 /* fits in 64 bits; 16 could, but nobody needs them */

void
http_body_begin(struct http_body *b, const struct http_head *h)
{
	memset(b, 0, sizeof(*b));
	b->limit = LIMIT_HTTP_BODY;
	if (h->status < 200 || h->status == 204 || h->status == 304)
		b->state = BODY_WHOLE;
	else if (h->chunked)
		b->state = BODY_SIZE;
	else if (h->length >= 0)
		b->state = h->length == 0 ? BODY_WHOLE : BODY_LENGTH;
	else
		b->state = BODY_UNTIL_EOF;
	b->left = h->length > 0 ? (uint64_t)h->length : 0;
}

void
http_body_begin_chunks(struct http_body *b, struct evbuffer *into, size_t limit)
{
	memset(b, 0, sizeof(*b));
	b->into = into;
	b->limit = limit;
	b->state = BODY_SIZE;
}

/* -1: there is no room for it. */
static int
keep(struct http_body *b, const char *data, size_t len)
{
	size_t room = HTTP_BODY_KEPT - b->kept;

	if (b->into != NULL)
		return evbuffer_get_length(b->into) + len > b->limit
			   ? -1
			   : evbuffer_add(b->into, data, len);
	if (len > room)
		len = room;
	memcpy(b->text + b->kept, data, len);
	b->kept += len;
	return 0;
}

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A byte of a chunk's size, or right behind it. */
static int
size_byte(struct http_body *b, char c, struct error *err)
{
	int d = digit(c);

	if (d >= 0) {
		if (b->line++ == SIZE_DIGITS)
			return error_set(err, "a chunk's size of more than %d digits", SIZE_DIGITS);
		b->left = b->left << 4 | (unsigned)d;
		return 0;
	}
	if (b->line == 0 || (c != '\r' && c != ';'))
		return error_set(err, "a chunk's size is no hexadecimal number");
	b->state = c == '\r' ? BODY_SIZE_LF : BODY_EXTENSION;
	return 0;
}

/* A byte of a chunk's extension or of a trailer line; what they say is not looked at. */
static int
line_byte(struct http_body *b, char c, struct error *err)
{
	if (c == '\r') {
		b->state = b->state == BODY_EXTENSION ? BODY_SIZE_LF : BODY_TRAILER_LF;
		return 0;
	}
	if (((unsigned char)c < ' ' && c != '\t') || c == 127)
		return error_set(err, "a control character between chunks");
	if (++b->line > LIMIT_HTTP_LINE)
		return error_set(err, "a line of more than 8 KiB between chunks");
	return 0;
}

/* The LF behind a CR. */
static int
line_end(struct http_body *b, char c, struct error *err)
{
	if (c != '\n')
		return error_set(err, "a line end between chunks that is not CRLF");
	switch (b->state) {
	case BODY_SIZE_LF:
		b->state = b->left > 0 ? BODY_CHUNK : BODY_TRAILER;
		break;
	case BODY_CHUNK_LF:
		b->state = BODY_SIZE;
		break;
	default: /* a trailer's; an empty one is the end */
		b->state = b->line > 0 ? BODY_TRAILER : BODY_WHOLE;
	}
	b->line = 0;
	return 0;
}

static int
frame_byte(struct http_body *b, char c, struct error *err)
{
	switch (b->state) {
	case BODY_SIZE:
		return size_byte(b, c, err);
	case BODY_EXTENSION:
	case BODY_TRAILER:
		return line_byte(b, c, err);
	case BODY_CHUNK_CR:
		if (c != '\r')
			return error_set(err, "a chunk is longer than its size");
		b->state = BODY_CHUNK_LF;
		return 0;
	default:
		return line_end(b, c, err);
	}
}

/* Some of the bytes that the body is made of; gives how many. */
static size_t
content(struct http_body *b, const char *data, size_t len)
{
	if (b->state != BODY_UNTIL_EOF) {
		if (len > b->left)
			len = (size_t)b->left;
		b->left -= len;
		if (b->left == 0)
			b->state = b->state == BODY_CHUNK ? BODY_CHUNK_CR : BODY_WHOLE;
	}
	if (keep(b, data, len) == -1) {
		b->cut = 1;
		b->state = BODY_WHOLE;
	}
	return len;
}

/* What is between chunks is bounded too: as much again, and a line. */
static size_t
room_of(const struct http_body *b)
{
	return (b->into == NULL ? b->limit : 2 * b->limit + LIMIT_HTTP_LINE) - b->seen;
}

int
http_body_input(struct http_body *b, const char *data, size_t len, size_t *used, struct error *err)
{
	size_t at = 0, room = room_of(b), some = len > room ? room : len;

	while (at < some && b->state != BODY_WHOLE) {
		if (b->state == BODY_LENGTH || b->state == BODY_UNTIL_EOF || b->state == BODY_CHUNK)
			at += content(b, data + at, some - at);
		else if (frame_byte(b, data[at++], err) == -1)
			return -1;
	}
	b->seen += at;
	*used = at;
	if (b->state != BODY_WHOLE && at < len) {
		b->cut = 1;
		b->state = BODY_WHOLE;
	}
	return b->state == BODY_WHOLE;
}

int
http_body_eof(struct http_body *b, struct error *err)
{
	if (b->state != BODY_WHOLE && b->state != BODY_UNTIL_EOF)
		return error_set(err, "the connection ended within the answer");
	b->state = BODY_WHOLE;
	return 1;
}
