/*
 * http_body.h: the body of an HTTP/1.1 response, bit by bit: by Content-Length, in chunks, or until
 * the connection ends.  netd, link: error pages and probes, so a body is short or it is cut, and only
 * its beginning is kept.  As strict as http.h: CRLF only, bounded sizes, extensions and trailers read
 * and thrown away.  Also that of a request in chunks (wire/server.c), all of which is kept.
 */
#ifndef WIRE_HTTP_BODY_H
#define WIRE_HTTP_BODY_H

#include "http.h"

#define HTTP_BODY_KEPT 512 /* bytes that are kept */

struct evbuffer;

struct http_body {
	int state;     /* of http_body.c */
	int cut;       /* it was longer than its limit: the connection is of no more use */
	size_t limit;  /* of seen */
	uint64_t left; /* of the length, or of this chunk */
	size_t seen;   /* bytes taken, chunk headers included */
	unsigned line; /* bytes of this chunk header or trailer line */
	size_t kept;
	struct evbuffer *into;         /* where all of it goes; NULL: its beginning to text */
	char text[HTTP_BODY_KEPT + 1]; /* foreign bytes; always terminated */
};

/* The body that follows this head (of an answer to anything but HEAD and CONNECT). */
void http_body_begin(struct http_body *b, const struct http_head *h);

/* A body in chunks, of which at most limit bytes go to the buffer, which stays the caller's. */
void http_body_begin_chunks(struct http_body *b, struct evbuffer *into, size_t limit);

/*
 * Takes bytes.  1: the body is whole (or cut), *used bytes belong to it; 0: all were taken, more are
 * needed; -1: not a body as it must be.  May be called at once with len 0: some have no body.
 */
int http_body_input(
    struct http_body *b, const char *data, size_t len, size_t *used, struct error *err);

/* The connection ended.  1: so did the body; -1: it ended too early. */
int http_body_eof(struct http_body *b, struct error *err);

#endif
