/*
 * upgrade.h: the opening handshake of WebSocket, the client's side (RFC 6455, section 4.1): the
 * request, and the strict reading of its answer.  netd.  Knows no sockets.
 */
#ifndef NETD_UPGRADE_H
#define NETD_UPGRADE_H

#include <event2/buffer.h>

#include "privsep/error.h"
#include "privsep/url.h"
#include "transport.h"

struct upgrade;

enum upgrade_state {
	UPGRADE_WAIT, /* for more bytes */
	UPGRADE_DONE, /* what is left of `in` is WebSocket */
	UPGRADE_REFUSED,
};

/* url and headers are borrowed. */
struct upgrade *upgrade_new(const struct url *url, const char *headers, struct error *err);
void upgrade_free(struct upgrade *u); /* NULL is fine */

int upgrade_request(struct upgrade *u, struct evbuffer *out, struct error *err);

/* Reads the answer.  UPGRADE_REFUSED: err has the reason, end its status and Retry-After. */
enum upgrade_state upgrade_answer(
    struct upgrade *u, struct evbuffer *in, struct transport_end *end, struct error *err);

/* The connection ended: 1 if an answer had come (err has the reason), 0 if there was none. */
int upgrade_eof(struct upgrade *u, struct error *err);

/* Its time is over: what is to be said. */
const char *upgrade_waiting(const struct upgrade *u);

/* May the settings give this header?  Those that the handshake makes itself are not theirs. */
int upgrade_header_free(const char *name);

#endif
