/*
 * fuzz_ws.c: what a peer may send as WebSocket frames, in both roles.  Input: one byte of options (1:
 * we are the server, 2: messages are sent back, 4: we close after the first one, 8: what we send is
 * never read, 16: messages are refused), one byte: how many bytes come at a time, then the bytes.
 * Checked: the state only moves forward, what we send are whole frames as our role must send them with
 * one Close frame at the end at most, memory stays within the limits, and the messages are those that a
 * plain reader of RFC 6455 finds in the same bytes.
 */
#include <stdint.h>
#include <stdlib.h>

#include "wire/ws.h"
#include "privsep/limits.h"

#define MAX_MESSAGE KIB /* small, so that inputs pass it */
/* what may wait to be read: pongs and, sent back, messages */
#define MAX_WAITING (LIMIT_WS_QUEUED * (MAX_MESSAGE + 14))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

struct fuzz {
	uint8_t options;
	struct ws *w;
	struct evbuffer *in, *out;
	size_t closes; /* Close frames seen in what we sent */
	size_t before; /* allocated at the start */
	size_t count;  /* messages, and what they say */
	uint64_t sum;
};

enum {
	SERVER = 1,
	ECHO = 2,
	CLOSE = 4,
	UNREAD = 8,
	REFUSE = 16
};

static uint64_t
add_byte(uint64_t sum, uint8_t byte)
{
	return (sum ^ byte) * 0x100000001b3u;
}

/* ---- a reader of frames as plain as can be, over bytes that are all there */

struct reader {
	const uint8_t *p;
	size_t left;
	int masked, in_message;
	uint32_t fragments;
	size_t len, count, most; /* of the message; messages read; messages wanted */
	uint64_t sum, message;   /* of all whole messages; of this one */
};

/* The frame's payload length, or -1 when that is no frame that we take, or not all of its head is there. */
static int64_t
plain_head(struct reader *r, uint8_t key[4])
{
	uint8_t opcode = r->p[0] & 15, small = r->p[1] & 127;
	size_t wide = small == 126 ? 2 : small == 127 ? 8 : 0, i;
	uint64_t length = small;

	if (r->p[0] & 0x70 || r->p[1] >> 7 != r->masked || opcode == 1 ||
	    (opcode > 2 && opcode < 8) || opcode > 10 ||
	    (opcode >= 8 && (!(r->p[0] & 0x80) || small > 125)) ||
	    (opcode == 0 && (!r->in_message || r->fragments >= LIMIT_WS_FRAGMENTS)) ||
	    (opcode == 2 && r->in_message) || r->left < 2 + wide)
		return -1;
	for (length = wide > 0 ? 0 : small, i = 0; i < wide; i++)
		length = length << 8 | r->p[2 + i];
	if ((wide > 0 && length < 126) || (wide == 8 && length < 65536) ||
	    (opcode < 8 && length > MAX_MESSAGE - (opcode == 0 ? r->len : 0)))
		return -1;
	r->p += 2 + wide;
	r->left -= 2 + wide;
	if (r->left < (r->masked ? 4 : 0))
		return -1;
	for (i = 0; i < 4 && r->masked; i++)
		key[i] = *r->p++;
	r->left -= r->masked ? 4 : 0;
	return (int64_t)length;
}

static void
plain_read(struct reader *r)
{
	uint8_t first, key[4] = {0};
	int64_t length, i;

	while (r->left >= 2 && r->count < r->most) {
		first = r->p[0];
		length = plain_head(r, key);
		if (length < 0 || (uint64_t)length > r->left || (first & 15) == 8)
			return;
		if ((first & 15) == 2) {
			r->in_message = 1;
			r->fragments = 0;
			r->len = 0;
			r->message = r->sum;
		}
		for (i = 0; (first & 8) == 0 && i < length; i++)
			r->message = add_byte(r->message, r->p[i] ^ key[i & 3]);
		r->p += length;
		r->left -= (size_t)length;
		if (first & 8)
			continue;
		r->fragments++;
		r->len += (size_t)length;
		if (first & 0x80) {
			r->in_message = 0;
			r->sum = add_byte(r->message, 0xff);
			r->count++;
		}
	}
}

/* ---- the real one */

static int
on_message(void *ctx, const uint8_t *data, size_t len)
{
	struct fuzz *f = ctx;
	size_t i;

	for (i = 0; i < len; i++)
		f->sum = add_byte(f->sum, data[i]);
	f->sum = add_byte(f->sum, 0xff);
	f->count++;
	if (len > MAX_MESSAGE || ws_state(f->w) != WS_OPEN)
		abort();
	if (f->options & ECHO && ws_send(f->w, data, len / 2, data + len / 2, len - len / 2) == -1)
		abort();
	if (f->options & CLOSE)
		ws_close(f->w, 1001, "bye");
	return f->options & REFUSE ? -1 : 0;
}

/* Reads what was sent as the peer would; aborts where a peer would close. */
static void
read_sent(struct fuzz *f)
{
	size_t length, header, i, left = evbuffer_get_length(f->out);
	const uint8_t *p = evbuffer_pullup(f->out, -1);

	while (left > 0) {
		if (f->closes > 0 || left < 2 || (p[0] & 0xf0) != 0x80 ||
		    p[1] >> 7 == (f->options & SERVER))
			abort();
		length = p[1] & 0x7f;
		header = length < 126 ? 2 : length == 126 ? 4 : 10;
		if (header > 2)
			for (length = 0, i = 2; i < header; i++)
				length = length << 8 | p[i];
		header += f->options & SERVER ? 0 : 4;
		if (header + length > left || (p[0] & 8 && length > 125))
			abort();
		f->closes += p[0] == 0x88;
		p += header + length;
		left -= header + length;
	}
	evbuffer_drain(f->out, evbuffer_get_length(f->out));
}

static void
check(struct fuzz *f, enum ws_state was, enum ws_state is)
{
	size_t buffers = evbuffer_get_length(f->in) + evbuffer_get_length(f->out);

	if (is < was || is != ws_state(f->w) || evbuffer_get_length(f->out) > MAX_WAITING)
		abort();
	if ((is == WS_CLOSED || is == WS_BROKEN) && evbuffer_get_length(f->in) > 0)
		abort();
	/* one message, and evbuffers that may be half empty */
	if (__sanitizer_get_current_allocated_bytes != NULL &&
	    __sanitizer_get_current_allocated_bytes() >
		f->before + 2 * MAX_MESSAGE + 4 * buffers + 64 * KIB)
		abort();
}

static void
compare(const struct fuzz *f, const uint8_t *data, size_t size)
{
	struct reader r = {
	    .p = data, .left = size, .masked = f->options & SERVER, .most = SIZE_MAX};

	if (f->options & (CLOSE | REFUSE))
		r.most = 1;
	plain_read(&r);
	if (r.count != f->count || r.sum != f->sum)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ws_callbacks cb = {on_message, NULL};
	struct fuzz f = {0};
	enum ws_state was, is = WS_OPEN;
	struct error err;
	size_t at, n, step;

	if (size < 2)
		return 0;
	f.options = data[0];
	step = data[1] == 0 ? 4096 : data[1];
	if (__sanitizer_get_current_allocated_bytes != NULL)
		f.before = __sanitizer_get_current_allocated_bytes();
	f.in = evbuffer_new();
	f.out = evbuffer_new();
	f.w = ws_new(f.options & SERVER ? WS_SERVER : WS_CLIENT, MAX_MESSAGE, &cb, &f, f.out);
	if (f.w == NULL)
		abort();
	for (at = 2; at < size; at += n) {
		n = size - at < step ? size - at : step;
		evbuffer_add(f.in, data + at, n);
		was = is;
		is = ws_input(f.w, f.in, &err);
		check(&f, was, is);
		if (f.options & UNREAD)
			continue;
		read_sent(&f);
		ws_output(f.w);
		if (ws_stalled(f.w))
			abort();
	}
	read_sent(&f);
	if (!(f.options & UNREAD)) /* what is never read makes it stop reading, too */
		compare(&f, data + 2, size - 2);
	if ((is != WS_OPEN) != (f.closes == 1))
		abort();
	ws_free(f.w);
	evbuffer_free(f.in);
	evbuffer_free(f.out);
	return 0;
}
