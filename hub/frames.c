/*
 * frames.c: one end of the conversation between front and store (see frames.h).
 */
#include "frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>

#define READ_SIZE   (128 * KIB)
#define LITTLE      (1 * MIB)
#define READS_TURN  8
#define READS_LEAST 2
#define TURN_US     8000 /* after it, and READS_LEAST, there is a turn for what else there is to do */

struct frames {
	int fd, store;
	struct frames_callbacks cb;
	void *ctx;
	struct evbuffer *in, *out;
	struct event *reading, *writing;
	int paused, over, full; /* full: more than LITTLE waits */
};

static const struct {
	const char *name;
	int to_store;
	size_t most;
} table[FRAME_TYPES] = {
#define FRAME(name, to_store, most, meaning) [FRAME_##name] = {#name, to_store, most},
    FRAME_TABLE(FRAME)
#undef FRAME
};

const char *
frame_name(uint32_t type)
{
	return type > FRAME_NOTHING && type < FRAME_TYPES ? table[type].name : "?";
}

size_t
frame_most(uint32_t type)
{
	return type < FRAME_TYPES ? table[type].most : 0;
}

int
frame_to_store(uint32_t type)
{
	return type < FRAME_TYPES && table[type].to_store;
}

static void
over(struct frames *f, const char *why)
{
	if (f->over)
		return;
	f->over = 1;
	(void)event_del(f->reading);
	(void)event_del(f->writing);
	f->cb.gone(f->ctx, why);
}

/* 1: one was handled; 0: more bytes are needed; -1: over. */
static int
take(struct frames *f)
{
	struct frame_header h;
	struct record r;
	struct error err = {""};
	unsigned char *data;

	if (evbuffer_copyout(f->in, &h, sizeof(h)) < (ev_ssize_t)sizeof(h))
		return 0;
	if (h.type == FRAME_NOTHING || h.type >= FRAME_TYPES ||
	    table[h.type].to_store != f->store) {
		over(f, "a frame that is not in the table");
		return -1;
	}
	if (h.len > table[h.type].most) {
		over(f, "a frame longer than the table allows");
		return -1;
	}
	if (evbuffer_get_length(f->in) < sizeof(h) + h.len)
		return 0;
	(void)evbuffer_drain(f->in, sizeof(h));
	data = evbuffer_pullup(f->in, (ev_ssize_t)h.len);
	if ((data == NULL && h.len > 0) || record_open(&r, data, h.len, &err) == -1 ||
	    f->cb.frame(f->ctx, &h, &r, &err) == -1) {
		(void)error_prefix(&err, "a frame %s", table[h.type].name);
		over(f, err.text);
		return -1;
	}
	(void)evbuffer_drain(f->in, h.len);
	return 1;
}

/* What is whole; 1: there was something. */
static int
handle(struct frames *f)
{
	int any = 0, r = 1;

	while (!f->paused && r == 1) {
		r = take(f);
		any |= r == 1;
	}
	return any;
}

static void
end_turn(struct frames *f, int any)
{
	if (any && !f->over && f->cb.turn != NULL)
		f->cb.turn(f->ctx);
}

/* evbuffer_read takes 4 KiB at a time: so little in a turn would be a commit for every few reports. */
static ssize_t
read_more(struct frames *f)
{
	struct evbuffer_iovec v[2];
	struct iovec io[2];
	int i, count = evbuffer_reserve_space(f->in, READ_SIZE, v, 2);
	ssize_t n;
	size_t left;

	if (count <= 0) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < count; i++)
		io[i] = (struct iovec){v[i].iov_base, v[i].iov_len};
	n = readv(f->fd, io, count);
	for (i = 0, left = n > 0 ? (size_t)n : 0; i < count; left -= v[i++].iov_len)
		if (v[i].iov_len > left)
			v[i].iov_len = left;
	if (n > 0 && evbuffer_commit_space(f->in, v, count) == -1) {
		errno = ENOMEM;
		return -1;
	}
	return n;
}

static uint64_t
now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct frames *f = arg;
	int reads = 0, any = 0, saved;
	uint64_t begun = now_us();
	ssize_t n = 1;

	(void)fd;
	(void)what;
	while (reads < READS_TURN && (reads < READS_LEAST || now_us() - begun < TURN_US) &&
	       !f->over && !f->paused && (n = read_more(f)) > 0) {
		reads++;
		any |= handle(f);
	}
	saved = errno;
	end_turn(f, any);
	if (n == 0)
		over(f, "it has ended");
	else if (n == -1 && saved != EAGAIN && saved != EINTR)
		over(f, strerror(saved));
}

static void
flush(struct frames *f)
{
	while (!f->over && evbuffer_get_length(f->out) > 0) {
		if (evbuffer_write(f->out, f->fd) >= 0 || errno == EINTR)
			continue;
		if (errno == EAGAIN)
			(void)event_add(f->writing, NULL);
		else
			over(f, strerror(errno));
		return;
	}
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct frames *f = arg;

	(void)fd;
	(void)what;
	flush(f);
	if (!f->over && f->full && evbuffer_get_length(f->out) <= LITTLE) {
		f->full = 0;
		if (f->cb.drained != NULL)
			f->cb.drained(f->ctx);
	}
}

struct frames *
frames_new(struct event_base *base, int fd, int store, const struct frames_callbacks *cb, void *ctx)
{
	struct frames *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		close(fd);
		return NULL;
	}
	f->fd = fd;
	f->store = store;
	f->cb = *cb;
	f->ctx = ctx;
	(void)evutil_make_socket_nonblocking(fd);
	f->in = evbuffer_new();
	f->out = evbuffer_new();
	f->reading = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, f);
	f->writing = event_new(base, fd, EV_WRITE, on_writable, f);
	if (f->in == NULL || f->out == NULL || f->reading == NULL || f->writing == NULL ||
	    event_add(f->reading, NULL) == -1) {
		frames_free(f);
		return NULL;
	}
	return f;
}

void
frames_free(struct frames *f)
{
	if (f == NULL)
		return;
	if (f->reading != NULL)
		event_free(f->reading);
	if (f->writing != NULL)
		event_free(f->writing);
	if (f->in != NULL)
		evbuffer_free(f->in);
	if (f->out != NULL)
		evbuffer_free(f->out);
	close(f->fd);
	free(f);
}

int
frames_send(struct frames *f, uint32_t type, uint32_t conn, uint32_t serial,
    struct record_writer *w, struct error *err)
{
	struct record_writer none = {0};
	struct frame_header h = {0, type, conn, serial};
	char *data = NULL;
	size_t len;
	int r;

	if (record_finish(w != NULL ? w : &none, &data, &len, err) == -1)
		return -1;
	if (len > table[type].most) {
		free(data);
		return error_set(err, "a frame %s of %zu bytes: at most %zu are allowed",
		    table[type].name, len, table[type].most);
	}
	h.len = (uint32_t)len;
	r = f->over ? 0 : evbuffer_add(f->out, &h, sizeof(h)) | evbuffer_add(f->out, data, len);
	free(data);
	if (r != 0)
		return error_set(err, "a frame %s: out of memory", table[type].name);
	if (evbuffer_get_length(f->out) > LITTLE)
		f->full = 1;
	/* written by the loop, so that what one turn makes goes out together */
	return f->over ? 0 : event_add(f->writing, NULL);
}

size_t
frames_pending(const struct frames *f)
{
	return evbuffer_get_length(f->out);
}

void
frames_pause(struct frames *f)
{
	f->paused = 1;
	(void)event_del(f->reading);
}

void
frames_resume(struct frames *f)
{
	if (!f->paused || f->over)
		return;
	f->paused = 0;
	(void)event_add(f->reading, NULL);
	end_turn(f, handle(f)); /* what came with the last read */
}
