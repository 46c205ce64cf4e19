/*
 * stream.h: bytes of a connection, under TLS or not: one call for both.  netd, transport.c only.
 */
#ifndef NETD_STREAM_H
#define NETD_STREAM_H

#include "tls.h"

#define STREAM_PIECE 16384 /* at most so much in one call: a record of TLS */

struct stream {
	int fd;
	SSL *ssl; /* NULL: plain */
	struct tls *tls;
	const char *host;
};

enum stream_result {
	STREAM_SOME,
	STREAM_WAIT,       /* a read for bytes to read, a write for room */
	STREAM_WAIT_OTHER, /* the other way, as TLS may */
	STREAM_CLOSED,     /* by the peer, properly */
	STREAM_FAILED,     /* why says it */
};

/* TLS only: STREAM_SOME when it is done. */
enum stream_result stream_handshake(struct stream *s, struct error *why);

/* At most STREAM_PIECE bytes; *n: how many it were. */
enum stream_result stream_read(
    struct stream *s, void *buf, size_t size, size_t *n, struct error *why);
enum stream_result stream_write(
    struct stream *s, const void *data, size_t len, size_t *n, struct error *why);

#endif
