/*
 * fuzz_ws.c: what a peer may send as WebSocket frames, in both roles.  Input: one byte of options (1:
 * we are the server, 2: messages are sent back, 4: we close after the first one, 8: what we send is
 * never read, 16: messages are refused), one byte: how many bytes come at a time, then the bytes.
 * Checked: the state only moves forward, what we send are whole frames as our role must send them with
 * one Close frame at the end at most, and memory stays within the limits.
 */
#include <stdint.h>
#include <stdlib.h>

#include "netd/ws.h"
#include "privsep/limits.h"

#define MAX_MESSAGE (64 * KIB)
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
};

enum {
	SERVER = 1,
	ECHO = 2,
	CLOSE = 4,
	UNREAD = 8,
	REFUSE = 16
};

static int
on_message(void *ctx, const uint8_t *data, size_t len)
{
	struct fuzz *f = ctx;

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
	if ((is != WS_OPEN) != (f.closes == 1))
		abort();
	ws_free(f.w);
	evbuffer_free(f.in);
	evbuffer_free(f.out);
	return 0;
}
