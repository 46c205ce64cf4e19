/*
 * server_chunks.h: the body of a request that comes in chunks, as clients send that compress while they
 * send.  wire/server.c; of foreign bytes it keeps the body and nothing else, and never more than its limit.
 */
#ifndef WIRE_SERVER_CHUNKS_H
#define WIRE_SERVER_CHUNKS_H

#include <stddef.h>

struct error;
struct evbuffer;
struct server_chunks;

/* NULL: out of memory. */
struct server_chunks *server_chunks_new(size_t limit);

/*
 * Takes what is in the buffer, and leaves what follows the body.  200: the body is whole; 0: more is to
 * come; else the HTTP status to refuse it with, and why.
 */
int server_chunks_take(struct server_chunks *c, struct evbuffer *in, struct error *err);

/* The body so far; NULL with a length: out of memory. */
unsigned char *server_chunks_body(struct server_chunks *c, size_t *len);

size_t server_chunks_memory(const struct server_chunks *c); /* NULL is fine */

void server_chunks_free(struct server_chunks *c);

#endif
