/*
 * ws.c: messages, control frames and the closing handshake of RFC 6455 over libwslay's frame layer
 * (see ws.h).  netd, link.  Every frame is judged by its header before libwslay or any memory sees
 * the rest of it; libwslay's event layer is not used (it judges a frame only when the payload
 * begins, passes one-byte Close frames, and queues pongs without bound).
 */
#include "ws.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <wslay/wslay.h>

#include "privsep/limits.h"
#include "wire.h"

#define CONTROL_MAX  125        /* payload of a control frame */
#define HEADER_MAX   14         /* with the mask */
#define REASON_MAX   123        /* in a Close frame, after the code */
#define MESSAGE_KEPT (64 * KIB) /* a larger buffer is given back after its message */
#define NO_STATUS    1005       /* "the Close frame had no code" */
#define ROOM_FIRST   (16 * KIB) /* first size of the message buffer */

struct ws {
	enum ws_role role;
	enum ws_state state;
	size_t max_message;
	struct ws_callbacks cb;
	void *ctx;
	wslay_frame_context_ptr frames; /* NULL: at rest */
	struct error *why;              /* for WS_CLOSED and WS_BROKEN */
	uint16_t peer_code;

	/* the frame that is being received */
	struct evbuffer *in; /* during ws_input only */
	int in_frame;
	uint8_t opcode, fin;
	uint64_t raw_left; /* bytes of it, header included, that libwslay has not been given */
	uint64_t payload_left;
	uint8_t control[CONTROL_MAX];
	size_t control_len;

	/* the message that is being put together */
	int in_message;
	uint32_t fragments;
	uint8_t *message;
	size_t len, room;
	size_t announced; /* len when the frame that is being received is whole */

	/* sending */
	struct evbuffer *out;
	int close_queued;
	uint8_t *space; /* where the frame that is being made goes */
	size_t space_len;
	uint64_t put;                         /* bytes ever put into out */
	uint64_t frame_ends[LIMIT_WS_QUEUED]; /* of the last ones, in terms of put */
	uint64_t frame_count;
	int stalled;
	int held; /* the owner wants no message now */
};

/* ---- sending */

static int with_frames(struct ws *w);

static ssize_t
frame_bytes(const uint8_t *data, size_t len, int flags, void *ctx)
{
	struct ws *w = ctx;

	(void)flags;
	if (len > w->space_len)
		return -1;
	memcpy(w->space, data, len);
	w->space += len;
	w->space_len -= len;
	return (ssize_t)len;
}

static int
frame_mask(uint8_t *buf, size_t len, void *ctx)
{
	(void)ctx;
	return getrandom(buf, len, 0) == (ssize_t)len ? 0 : -1;
}

/* Are there at least n frames of ours in out still? */
static int
are_unread(const struct ws *w, uint64_t n)
{
	return w->frame_count >= n &&
	       w->frame_ends[(w->frame_count - n) % LIMIT_WS_QUEUED] + evbuffer_get_length(w->out) >
		   w->put;
}

void
ws_output(struct ws *w)
{
	if (are_unread(w, LIMIT_WS_QUEUED))
		w->stalled = 1;
	else if (!are_unread(w, LIMIT_WS_QUEUED / 2 + 1))
		w->stalled = 0;
}

int
ws_stalled(const struct ws *w)
{
	return w->stalled && w->state == WS_OPEN; /* later nothing is answered */
}

/* One whole frame into out, or nothing of it. */
static int
put_frame(
    struct ws *w, uint8_t opcode, const void *head, size_t head_len, const void *body, size_t len)
{
	struct wslay_frame_iocb f = {.fin = 1, .opcode = opcode, .mask = w->role == WS_CLIENT};
	struct evbuffer_iovec v;
	size_t total, size;

	if (with_frames(w) == -1 || __builtin_add_overflow(head_len, len, &total) ||
	    __builtin_add_overflow(total, HEADER_MAX, &size) ||
	    evbuffer_reserve_space(w->out, (ev_ssize_t)size, &v, 1) != 1)
		return -1;
	w->space = v.iov_base;
	w->space_len = size;
	f.payload_length = total;
	f.data = head;
	f.data_length = head_len;
	if (head_len > 0 && wslay_frame_send(w->frames, &f) != (ssize_t)head_len)
		return -1;
	f.data = body;
	f.data_length = len;
	if ((head_len == 0 || len > 0) && wslay_frame_send(w->frames, &f) != (ssize_t)len)
		return -1;
	v.iov_len = size - w->space_len;
	if (evbuffer_commit_space(w->out, &v, 1) == -1)
		return -1;
	w->put += v.iov_len;
	w->frame_ends[w->frame_count++ % LIMIT_WS_QUEUED] = w->put;
	ws_output(w);
	return 0;
}

int
ws_send(struct ws *w, const void *head, size_t head_len, const void *body, size_t len)
{
	size_t waiting = evbuffer_get_length(w->out);

	if (w->state != WS_OPEN || waiting > LIMIT_WS_OUTPUT ||
	    head_len > LIMIT_WS_OUTPUT - waiting || len > LIMIT_WS_OUTPUT - waiting - head_len)
		return -1;
	return put_frame(w, WSLAY_BINARY_FRAME, head, head_len, body, len);
}

int
ws_ping(struct ws *w)
{
	if (w->state != WS_OPEN || ws_stalled(w))
		return -1;
	return put_frame(w, WSLAY_PING, NULL, 0, NULL, 0);
}

/* RFC 6455, section 7.4, and what IANA added: may this stand in a Close frame? */
static int
is_close_code(unsigned code)
{
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
	       (code >= 3000 && code <= 4999);
}

/* wire_utf8, but NUL is a character like any other. */
static int
is_utf8(const uint8_t *s, size_t len)
{
	const uint8_t *nul;

	while ((nul = memchr(s, 0, len)) != NULL) {
		if (!wire_utf8(s, (size_t)(nul - s)))
			return 0;
		len -= (size_t)(nul + 1 - s);
		s = nul + 1;
	}
	return wire_utf8(s, len);
}

static void
put_close(struct ws *w, uint16_t code, const char *reason)
{
	uint8_t number[2] = {(uint8_t)(code >> 8), (uint8_t)code};
	size_t len;

	if (w->close_queued)
		return;
	w->close_queued = 1;
	if (!is_close_code(code)) {
		(void)put_frame(w, WSLAY_CONNECTION_CLOSE, NULL, 0, NULL, 0);
		return;
	}
	len = strnlen(reason, REASON_MAX);
	while (len > 0 && !is_utf8((const uint8_t *)reason, len))
		len--; /* cut within a character */
	(void)put_frame(w, WSLAY_CONNECTION_CLOSE, number, sizeof(number), reason, len);
}

void
ws_close(struct ws *w, uint16_t code, const char *reason)
{
	if (w->state != WS_OPEN)
		return;
	put_close(w, code, reason == NULL ? "" : reason);
	w->state = WS_CLOSING;
}

static int break_off(struct ws *w, uint16_t code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void keep_why(struct ws *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What the owner is told at the end: no memory is kept for it before. */
static void
keep_why(struct ws *w, const char *fmt, ...)
{
	va_list ap;

	if (w->why == NULL)
		w->why = calloc(1, sizeof(*w->why));
	if (w->why == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(w->why->text, sizeof(w->why->text), fmt, ap);
	va_end(ap);
}

/* The conversation is over: a Close frame says why, if none went before.  Always -1. */
static int
break_off(struct ws *w, uint16_t code, const char *fmt, ...)
{
	char words[REASON_MAX + 1];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	keep_why(w, "%s (close code %u)", words, code);
	put_close(w, code, words);
	w->state = WS_BROKEN;
	return -1;
}

/* ---- a frame's header */

/* A peer that cuts a large message into pieces of a page has reason to send many; of a few bytes, not. */
static int
too_many_fragments(const struct ws *w)
{
	return w->fragments >= LIMIT_WS_FRAGMENTS &&
	       w->announced / w->fragments < LIMIT_WS_FRAGMENT;
}

/* Judges the first two bytes of a frame. */
static int
judge_start(struct ws *w, const uint8_t *b)
{
	uint8_t opcode = b[0] & 0x0f, len = b[1] & 0x7f;
	int fin = b[0] >> 7, masked = b[1] >> 7;

	if (b[0] & 0x70)
		return break_off(w, 1002, "reserved bits are set in a frame");
	if (masked != (w->role == WS_SERVER))
		return break_off(w, 1002, "a frame is %s", masked ? "masked" : "not masked");
	switch (opcode) {
	case WSLAY_CONNECTION_CLOSE:
	case WSLAY_PING:
	case WSLAY_PONG:
		if (!fin)
			return break_off(w, 1002, "a control frame is fragmented");
		if (len > CONTROL_MAX)
			return break_off(w, 1002, "a control frame is longer than 125 bytes");
		return 0;
	case WSLAY_CONTINUATION_FRAME:
		if (!w->in_message)
			return break_off(w, 1002, "a continuation without a message before it");
		if (too_many_fragments(w))
			return break_off(w, 1009,
			    "a message in more than %u frames of less than "
			    "%u bytes",
			    (unsigned)LIMIT_WS_FRAGMENTS, (unsigned)LIMIT_WS_FRAGMENT);
		return 0;
	case WSLAY_TEXT_FRAME:
	case WSLAY_BINARY_FRAME:
		if (w->in_message)
			return break_off(w, 1002, "a message begins within another");
		if (opcode == WSLAY_TEXT_FRAME)
			return break_off(w, 1003, "text is not taken, only binary messages");
		return 0;
	default:
		return break_off(w, 1002, "unknown opcode %u", opcode);
	}
}

/* The payload length at b (n bytes are there): 1, 0 when more bytes are needed, -1. */
static int
read_length(struct ws *w, const uint8_t *b, size_t n, size_t *header, uint64_t *length)
{
	size_t i, bytes = (b[1] & 0x7f) == 126 ? 2 : 8;
	uint64_t v = 0;

	*header = 2;
	*length = b[1] & 0x7f;
	if (*length < 126)
		return 1;
	if (n < 2 + bytes)
		return 0;
	for (i = 0; i < bytes; i++)
		v = v << 8 | b[2 + i];
	if (v < 126 || (bytes == 8 && v <= UINT16_MAX))
		return break_off(w, 1002, "a frame's length is not in its shortest form");
	*header += bytes;
	*length = v;
	return 1;
}

static void
begin_frame(struct ws *w, uint8_t first, size_t header, uint64_t length)
{
	w->in_frame = 1;
	w->opcode = first & 0x0f;
	w->fin = first >> 7;
	w->payload_left = length;
	w->raw_left = header + (w->role == WS_SERVER ? 4 : 0) + length; /* length is judged */
	w->control_len = 0;
	if (wslay_is_ctrl_frame(w->opcode))
		return;
	if (w->opcode == WSLAY_BINARY_FRAME) {
		w->in_message = 1;
		w->fragments = 0;
		w->len = 0;
		w->announced = 0;
	}
	w->fragments++;
	w->announced += (size_t)length;
}

/* 1: a frame begins; 0: more bytes are needed; -1: broken off. */
static int
next_frame(struct ws *w)
{
	uint8_t b[10];
	ev_ssize_t n = evbuffer_copyout(w->in, b, sizeof(b));
	uint64_t length;
	size_t header, before = w->in_message ? w->announced : 0;
	int r;

	if (n < 2)
		return 0;
	if (judge_start(w, b) == -1)
		return -1;
	r = read_length(w, b, (size_t)n, &header, &length);
	if (r != 1)
		return r;
	if (!wslay_is_ctrl_frame(b[0] & 0x0f) && length > w->max_message - before)
		return break_off(w, 1009, "a message of more than %zu bytes", w->max_message);
	begin_frame(w, b[0], header, length);
	return 1;
}

/* libwslay takes bytes: never more than those of the frame that was judged. */
static ssize_t
more_bytes(uint8_t *buf, size_t len, int flags, void *ctx)
{
	struct ws *w = ctx;
	int n;

	(void)flags;
	if (len > w->raw_left)
		len = (size_t)w->raw_left;
	if (len == 0)
		return -1;
	n = evbuffer_remove(w->in, buf, len);
	if (n <= 0)
		return -1;
	w->raw_left -= (uint64_t)n;
	return n;
}

/* ---- what is in a frame */

/* Memory grows with the bytes that came, never with those that were announced. */
static int
append(struct ws *w, const uint8_t *data, size_t len)
{
	size_t need = w->len + len, room = w->room;
	uint8_t *p;

	if (need > room) {
		room = room < ROOM_FIRST ? ROOM_FIRST : room * 2;
		if (room > w->announced && w->announced >= need)
			room = w->announced;
		room = room < need ? need : room;
		p = realloc(w->message, room);
		if (p == NULL)
			return break_off(w, 1011, "out of memory");
		w->message = p;
		w->room = room;
	}
	memcpy(w->message + w->len, data, len);
	w->len = need;
	return 0;
}

static void
drop_message(struct ws *w)
{
	w->in_message = 0;
	w->len = 0;
	w->announced = 0;
	if (w->room > MESSAGE_KEPT) {
		free(w->message);
		w->message = NULL;
		w->room = 0;
	}
}

static void
deliver(struct ws *w)
{
	static const uint8_t nothing[1];
	const uint8_t *data = w->len == 0 ? nothing : w->message;
	int r = 0;

	w->in_message = 0;
	if (w->state == WS_OPEN)
		r = w->cb.message(w->ctx, data, w->len);
	if (r == -1)
		break_off(w, 1008, "the message was refused");
	drop_message(w);
}

static void
peer_closed(struct ws *w)
{
	const uint8_t *p = w->control;
	uint16_t code = NO_STATUS;

	if (w->control_len == 1) {
		break_off(w, 1002, "a Close frame of one byte");
		return;
	}
	if (w->control_len >= 2) {
		code = (uint16_t)(p[0] << 8 | p[1]);
		if (!is_close_code(code)) {
			break_off(w, 1002, "a Close frame with code %u", code);
			return;
		}
		if (!is_utf8(p + 2, w->control_len - 2)) {
			break_off(w, 1007, "a Close frame whose reason is not UTF-8");
			return;
		}
	}
	w->peer_code = code;
	keep_why(w, "closed by the peer, code %u%s%.*s", code, w->control_len > 2 ? ": " : "",
	    w->control_len > 2 ? (int)w->control_len - 2 : 0, (const char *)p + 2);
	put_close(w, code, "");
	w->state = WS_CLOSED;
}

static void
end_frame(struct ws *w)
{
	w->in_frame = 0;
	switch (w->opcode) {
	case WSLAY_CONNECTION_CLOSE:
		peer_closed(w);
		return;
	case WSLAY_PING:
		if (w->state == WS_OPEN &&
		    put_frame(w, WSLAY_PONG, NULL, 0, w->control, w->control_len) == -1)
			break_off(w, 1011, "out of memory");
		return;
	case WSLAY_PONG:
		if (w->cb.pong != NULL)
			w->cb.pong(w->ctx);
		return;
	default:
		if (w->fin)
			deliver(w);
	}
}

static void
take(struct ws *w, const uint8_t *data, size_t len)
{
	if (wslay_is_ctrl_frame(w->opcode)) {
		memcpy(w->control + w->control_len, data, len); /* judged: at most CONTROL_MAX */
		w->control_len += len;
	} else if (w->state == WS_OPEN && len > 0 && append(w, data, len) == -1) {
		return;
	}
	w->payload_left -= len;
	if (w->payload_left == 0)
		end_frame(w);
}

static int
is_over(const struct ws *w)
{
	return w->state == WS_CLOSED || w->state == WS_BROKEN;
}

enum ws_state
ws_input(struct ws *w, struct evbuffer *in, struct error *err)
{
	struct wslay_frame_iocb f;
	ssize_t r;

	w->in = in;
	ws_output(w);
	if (!is_over(w) && with_frames(w) == -1)
		break_off(w, 1011, "out of memory");
	while (!is_over(w) && !ws_stalled(w) && !w->held) {
		if (!w->in_frame && next_frame(w) != 1)
			break;
		memset(&f, 0, sizeof(f));
		r = wslay_frame_recv(w->frames, &f);
		if (r == WSLAY_ERR_WANT_READ)
			break;
		if (r < 0 || f.data_length > w->payload_left) {
			break_off(w, 1002, "a frame that cannot be read");
			break;
		}
		take(w, f.data, f.data_length);
	}
	w->in = NULL;
	if (is_over(w)) {
		drop_message(w);
		evbuffer_drain(in, evbuffer_get_length(in));
		if (err != NULL)
			(void)error_set(err, "%s", w->why == NULL ? "out of memory" : w->why->text);
	}
	return w->state;
}

/* ---- the rest */

enum ws_state
ws_state(const struct ws *w)
{
	return w->state;
}

void
ws_hold(struct ws *w, int held)
{
	w->held = held;
}

uint16_t
ws_peer_code(const struct ws *w)
{
	return w->peer_code;
}

size_t
ws_memory(const struct ws *w)
{
	return w->room;
}

int
ws_midway(const struct ws *w)
{
	return w->in_frame || w->in_message;
}

void
ws_refuse(struct ws *w, uint16_t code, const char *reason)
{
	if (!is_over(w))
		(void)break_off(w, code, "%s", reason);
	drop_message(w);
}

/* libwslay's context is some kilobytes: it is there while there are bytes for it. */
static int
with_frames(struct ws *w)
{
	static const struct wslay_frame_callbacks callbacks = {frame_bytes, more_bytes, frame_mask};

	if (w->frames != NULL)
		return 0;
	return wslay_frame_context_init(&w->frames, &callbacks, w) == 0 ? 0 : -1;
}

void
ws_rest(struct ws *w)
{
	if (w->in_frame || w->in_message || w->raw_left != 0)
		return;
	if (w->frames != NULL)
		wslay_frame_context_free(w->frames);
	w->frames = NULL;
	free(w->message);
	w->message = NULL;
	w->room = 0;
}

struct ws *
ws_new(enum ws_role role, size_t max_message, const struct ws_callbacks *cb, void *ctx,
    struct evbuffer *out)
{
	struct ws *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->role = role;
	w->max_message = max_message;
	w->cb = *cb;
	w->ctx = ctx;
	w->out = out;
	w->put = evbuffer_get_length(out);
	return w;
}

void
ws_free(struct ws *w)
{
	if (w == NULL)
		return;
	if (w->frames != NULL)
		wslay_frame_context_free(w->frames);
	free(w->message);
	free(w->why);
	free(w);
}
