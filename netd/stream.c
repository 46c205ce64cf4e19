/*
 * stream.c: bytes of a connection (see stream.h).  netd.
 */
#include "stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static enum stream_result
judge_plain(ssize_t got, size_t *n, struct error *why)
{
	if (got > 0) {
		*n = (size_t)got;
		return STREAM_SOME;
	}
	if (got == 0)
		return STREAM_CLOSED;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return STREAM_WAIT;
	(void)error_set(why, "%s", strerror(errno));
	return STREAM_FAILED;
}

/* result: of a call that wants `own` when it has to wait. */
static enum stream_result
judge_tls(struct stream *s, int result, enum tls_want own, size_t *n, struct error *why)
{
	int saved = errno;
	enum tls_want want;

	if (result > 0) {
		*n = (size_t)result;
		return STREAM_SOME;
	}
	want = tls_judge(s->tls, s->ssl, result, saved, s->host, why);
	if (want == TLS_READ || want == TLS_WRITE)
		return want == own ? STREAM_WAIT : STREAM_WAIT_OTHER;
	return want == TLS_CLOSED ? STREAM_CLOSED : STREAM_FAILED;
}

enum stream_result
stream_handshake(struct stream *s, struct error *why)
{
	enum stream_result r;
	size_t n;

	errno = 0;
	r = judge_tls(s, SSL_do_handshake(s->ssl), TLS_READ, &n, why);
	if ((r == STREAM_WAIT || r == STREAM_WAIT_OTHER) && tls_handshake_too_long(s->ssl)) {
		(void)error_set(why, "TLS: the server's handshake does not come to an end");
		return STREAM_FAILED;
	}
	return r;
}

enum stream_result
stream_read(struct stream *s, void *buf, size_t size, size_t *n, struct error *why)
{
	ssize_t got;

	if (size > STREAM_PIECE)
		size = STREAM_PIECE;
	if (s->ssl != NULL) {
		errno = 0;
		return judge_tls(s, SSL_read(s->ssl, buf, (int)size), TLS_READ, n, why);
	}
	do
		got = read(s->fd, buf, size);
	while (got == -1 && errno == EINTR);
	return judge_plain(got, n, why);
}

enum stream_result
stream_write(struct stream *s, const void *data, size_t len, size_t *n, struct error *why)
{
	ssize_t got;

	if (s->ssl != NULL) {
		if (len > STREAM_PIECE)
			len = STREAM_PIECE;
		errno = 0;
		return judge_tls(s, SSL_write(s->ssl, data, (int)len), TLS_WRITE, n, why);
	}
	do
		got = write(s->fd, data, len);
	while (got == -1 && errno == EINTR);
	return got == 0 ? STREAM_WAIT : judge_plain(got, n, why);
}
