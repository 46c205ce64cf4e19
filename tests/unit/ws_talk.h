/*
 * ws_talk.h: one conversation of wire/ws.c in memory, with the test as the peer: included by
 * ws_test.c and ws_limits_test.c.
 */
#ifndef TESTS_UNIT_WS_TALK_H
#define TESTS_UNIT_WS_TALK_H

#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "wire/ws.h"
#include "privsep/limits.h"

#define MAX_MESSAGE 70000

struct talk {
	enum ws_role role;
	struct ws *w;
	struct evbuffer *in, *out;
	struct evbuffer *messages; /* all that came, one after the other */
	unsigned count, pongs;
	int answer; /* what the callback gives */
	int close;  /* the callback closes with this code */
	int echo;   /* the callback sends the message back */
	struct error err;
};

static int
on_message(void *ctx, const uint8_t *data, size_t len)
{
	struct talk *t = ctx;

	t->count++;
	assert_non_null(data);
	evbuffer_add(t->messages, data, len);
	if (t->echo)
		assert_int_equal(ws_send(t->w, NULL, 0, data, len), 0);
	if (t->close)
		ws_close(t->w, (uint16_t)t->close, "as the test wants");
	return t->answer;
}

static void
on_pong(void *ctx)
{
	((struct talk *)ctx)->pongs++;
}

static void
talk_begin(struct talk *t, enum ws_role role, size_t max)
{
	static const struct ws_callbacks cb = {on_message, on_pong};

	memset(t, 0, sizeof(*t));
	t->role = role;
	t->in = evbuffer_new();
	t->out = evbuffer_new();
	t->messages = evbuffer_new();
	t->w = ws_new(role, max, &cb, t, t->out);
	assert_non_null(t->w);
}

static void
talk_end(struct talk *t)
{
	ws_free(t->w);
	evbuffer_free(t->in);
	evbuffer_free(t->out);
	evbuffer_free(t->messages);
}

/* A frame as the peer of `role` sends it: first byte, length in `form` bytes (0: shortest). */
static void
add_header(struct evbuffer *b, enum ws_role role, uint8_t first, uint64_t len, int form)
{
	uint8_t head[10] = {first, role == WS_SERVER ? 0x80 : 0};
	int i;

	if (form == 0)
		form = len < 126 ? 1 : len < 65536 ? 2 : 8;
	head[1] |= (uint8_t)(form == 1 ? len : form == 2 ? 126 : 127);
	for (i = 0; form > 1 && i < form; i++)
		head[2 + i] = (uint8_t)(len >> (form - 1 - i) * 8);
	evbuffer_add(b, head, form == 1 ? 2 : (size_t)form + 2);
}

static void
add_frame(struct evbuffer *b, enum ws_role role, uint8_t first, const void *data, size_t len)
{
	static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
	const uint8_t *p = data;
	uint8_t *masked = malloc(len + 1);
	size_t i;

	add_header(b, role, first, len, 0);
	for (i = 0; i < len; i++)
		masked[i] = role == WS_SERVER ? p[i] ^ mask[i % 4] : p[i];
	if (role == WS_SERVER)
		evbuffer_add(b, mask, 4);
	evbuffer_add(b, masked, len);
	free(masked);
}

/* Gives what is in b to the ws, `step` bytes at a time. */
static enum ws_state
feed(struct talk *t, struct evbuffer *b, size_t step)
{
	enum ws_state s = ws_state(t->w);

	while (evbuffer_get_length(b) > 0) {
		assert_true(evbuffer_remove_buffer(b, t->in, step) > 0);
		s = ws_input(t->w, t->in, &t->err);
	}
	return s;
}

struct frame {
	uint8_t first;
	uint8_t payload[128];
	size_t len;
};

/* Takes the next frame off out; checks that it is as our role must send it.  0: none. */
static int
sent_frame(struct talk *t, struct frame *f)
{
	uint8_t head[2], mask[4] = {0};
	size_t i;

	if (evbuffer_remove(t->out, head, 2) != 2)
		return 0;
	assert_int_equal(head[1] >> 7, t->role == WS_CLIENT);
	f->first = head[0];
	f->len = head[1] & 0x7f;
	assert_true(f->len < 126);
	if (t->role == WS_CLIENT)
		assert_int_equal(evbuffer_remove(t->out, mask, 4), 4);
	assert_int_equal(evbuffer_remove(t->out, f->payload, f->len), f->len);
	for (i = 0; i < f->len; i++)
		f->payload[i] ^= mask[i % 4];
	return 1;
}

/* The Close frame is the last thing sent; its code (0: none). */
static int
sent_close(struct talk *t)
{
	struct frame f;

	while (sent_frame(t, &f)) {
		if (f.first != 0x88)
			continue;
		assert_int_equal(evbuffer_get_length(t->out), 0);
		assert_int_not_equal(f.len, 1);
		return f.len == 0 ? 0 : f.payload[0] << 8 | f.payload[1];
	}
	return -1;
}

enum {
	NOT_SENT = -1
};

#endif
