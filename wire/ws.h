/*
 * ws.h: one WebSocket conversation (RFC 6455) over byte buffers, either role, within limits.h.  netd,
 * link, hub.  libwslay does the framing; nothing outside ws.c sees it.  Knows no sockets: the owner
 * moves bytes between its connection and the two evbuffers, before and after each call.
 *
 * Refused by itself, with the right close code: text (1003), a message over max_message by the
 * frame header alone (1009, nothing is buffered), more than LIMIT_WS_FRAGMENTS frames in a message
 * that have less than LIMIT_WS_FRAGMENT bytes on average (1009), wrong masking for the role, reserved
 * bits, bad opcodes, long or fragmented control frames,
 * bad close codes and close reasons that are not UTF-8 (1002, 1007).  Pongs and answers that the
 * peer does not read are bounded: from LIMIT_WS_QUEUED frames of ours in `out` on no more input is
 * taken, until half of them are written.  Memory for a message grows with the bytes that came, not
 * with those that were announced.
 */
#ifndef WIRE_WS_H
#define WIRE_WS_H

#include <stddef.h>
#include <stdint.h>

#include <event2/buffer.h>

#include "privsep/error.h"

enum ws_role {
	WS_CLIENT, /* masks what it sends, takes unmasked frames only */
	WS_SERVER, /* the other way round */
};

struct ws;

struct ws_callbacks {
	/*
	 * A whole binary message (data is borrowed); none once we are closing.  0, or -1: the
	 * conversation is over at once and ws_input gives WS_BROKEN.  ws_send, ws_ping and ws_close
	 * (for a code that says more than 1008) may be called; ws_free may not.
	 */
	int (*message)(void *ctx, const uint8_t *data, size_t len);
	/* A pong came, asked for or not.  May be NULL. */
	void (*pong)(void *ctx);
};

enum ws_state {
	WS_OPEN,
	WS_CLOSING, /* our Close frame is queued or sent: the peer's is waited for */
	WS_CLOSED,  /* both Close frames went: flush what is queued, then close the connection */
	WS_BROKEN,  /* the peer broke the protocol: flush (a Close frame says why), then close */
};

/* out is where frames to be sent are put; it stays the caller's and outlives the ws.  NULL: no memory. */
struct ws *ws_new(enum ws_role role, size_t max_message, const struct ws_callbacks *cb, void *ctx,
    struct evbuffer *out);
void ws_free(struct ws *w); /* NULL is fine */

/*
 * Takes what is in `in` (drains what it used; back-pressure may leave some: call again when out
 * has been written).  err has the reason for WS_BROKEN; for WS_CLOSED the peer's code and words.
 */
enum ws_state ws_input(struct ws *w, struct evbuffer *in, struct error *err);
enum ws_state ws_state(const struct ws *w);

/* True while ws_input would take nothing, because the peer does not read what we answer. */
int ws_stalled(const struct ws *w);

/* Held: ws_input takes no further frame, also within a call that is under way.  For call-backs. */
void ws_hold(struct ws *w, int held);

/* The caller has written some of `out`: looks whether that ends a stall.  Call after writing. */
void ws_output(struct ws *w);

/*
 * One binary message of the two parts joined (head may be NULL).  -1, and nothing of it is sent:
 * closing, no memory, or more than LIMIT_WS_OUTPUT bytes would wait in out.
 */
int ws_send(struct ws *w, const void *head, size_t head_len, const void *body, size_t len);
int ws_ping(struct ws *w); /* -1 also while stalled */

/*
 * Queues a Close frame (with no code when code may not be sent); no more is sent after it.  reason:
 * UTF-8, cut at 123 bytes, or NULL.
 */
void ws_close(struct ws *w, uint16_t code, const char *reason);

/*
 * Between two messages: gives back the memory that only a message needs.  For owners of thousands of
 * conversations that mostly say nothing; nothing else changes.
 */
void ws_rest(struct ws *w);

/* The peer's close code (1005: none given), 0 while there was no Close frame of it. */
uint16_t ws_peer_code(const struct ws *w);

/* Memory that a message has which is not whole; and is there a part of a frame or message? */
size_t ws_memory(const struct ws *w);
int ws_midway(const struct ws *w);

/* Over at once, as if the peer had broken the protocol: the memory is given back. */
void ws_refuse(struct ws *w, uint16_t code, const char *reason);

/* ---- the opening handshake (RFC 6455, section 4); in wskey.c, SHA-1 of its own */

#define WSKEY_SIZE        25 /* base64 of 16 random bytes, terminated */
#define WSKEY_ACCEPT_SIZE 29

/* A new Sec-WebSocket-Key. */
int wskey_new(char key[WSKEY_SIZE]);

/* The Sec-WebSocket-Accept that belongs to key; -1 when key is not base64 of 16 bytes. */
int wskey_accept(const char *key, char accept[WSKEY_ACCEPT_SIZE]);

#endif
