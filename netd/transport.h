/*
 * transport.h: a connection that the parent handed over, from its first byte to its last: TLS when
 * the URL says so, the HTTP upgrade, WebSocket messages, the closing handshake.  netd.
 * Everything is bounded: what is read in one turn, the HTTP head and body, messages, what waits to be
 * written.  One at a time exists.
 */
#ifndef NETD_TRANSPORT_H
#define NETD_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#include "privsep/error.h"
#include "privsep/url.h"
#include "tls.h"

struct event_base;
struct transport;

struct transport_settings { /* borrowed; outlives every transport */
	struct url url;
	struct tls *tls; /* for wss; NULL: tls_fault says why there can be no connection */
	char *tls_fault;
	char *headers; /* of the settings: "Name: value\r\n" each */
	size_t max_message;
	uint64_t step_ms;   /* for TLS, and again for the upgrade */
	uint64_t linger_ms; /* for the peer's end after the last word */
	struct pace *pace;  /* NULL = none */
};

struct transport_end {
	const char *why;
	int http_status;        /* the upgrade was refused with it, or 0 */
	int64_t retry_after_ms; /* Retry-After of 429 and 503, or -1 */
};

struct transport_callbacks {
	void (*opened)(void *ctx);
	void (*heard)(void *ctx); /* bytes of an open conversation */
	void (*message)(void *ctx, const uint8_t *data, size_t len);
	void (*drained)(void *ctx); /* little waits to be written */
	/* The connection is over.  Called once, last; transport_free may be called in it. */
	void (*ended)(void *ctx, const struct transport_end *e);
};

/* fd is taken, also on failure.  NULL: err says why. */
struct transport *transport_new(struct event_base *base, int fd,
    const struct transport_settings *set, const struct transport_callbacks *cb, void *ctx,
    struct error *err);

/* Closes at once, without a word; safe in a callback.  NULL is fine. */
void transport_free(struct transport *t);

/* One OpAMP message; its header (WIRE_HEADER) is put before it.  -1: not open, or too much waits. */
int transport_send(struct transport *t, const void *body, size_t len);
void transport_ping(struct transport *t);
/* The closing handshake; ended follows, if need be by transport_free after the owner's time limit. */
void transport_close(struct transport *t, uint16_t code, const char *reason);
size_t transport_pending(const struct transport *t);

#endif
