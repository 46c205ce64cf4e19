/*
 * output.c: the agent's output (see output.h).  link.
 * Must never block, never take more memory than a few buffers, and never believe a byte of it.
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output_line.h"
#include "privsep/log.h"

#define STARTS         16 /* at once: one runs, one is checked; the rest are on their way out */
#define STREAMS        2
#define READ_SIZE      (32 * KIB)
#define READS_PER_TURN 4 /* other descriptors get their turn between */
#define DRAIN_READS    64
#define BATCH_SIZE     (4 * LIMIT_LOG_LINE + 64 * KIB)
#define TAIL_LINE      (2 * KIB) /* of one line in the last words */
#define ERROR_SIZE     (4 * KIB)
#define REPORT_SIZE    (LIMIT_AGENT_TEXT - 512) /* what a report has room for beside other words */
#define ASK_AGAIN_MS   60000
#define COMPLAIN_MS    60000

struct stream {
	struct output_start *start;
	struct event *event;
	int fd; /* -1 = not there, or ended */
	unsigned number;
	struct pace_source pace;
	size_t len; /* of the line so far */
	char line[LIMIT_LOG_LINE];
};

struct words { /* whole lines, escaped, '\n' between them */
	size_t len, lines;
	char text[LIMIT_LOG_TAIL_BYTES];
};

struct output_start {
	LIST_ENTRY(output_start) entry;
	struct output *output;
	uint32_t start, kind;
	unsigned seen, open; /* streams */
	struct stream streams[STREAMS];
	struct words tail;
	struct words error;            /* the last block of error lines */
	const struct stream *in_error; /* the stream that prints one now */
	size_t since_error;            /* lines after it */
};

struct output {
	struct child *child;
	struct pace *pace;
	LIST_HEAD(start_list, output_start) starts;
	size_t count;
	int passthrough;
	int log; /* -1 = none */
	uint64_t size, max_size;
	uint64_t asked_ms; /* for a rotation; 0 = not */
	uint64_t lost, complained_ms;
	int lost_errno;
	uint32_t last_start; /* of the last run that ended */
	char last_words[TEXT_TAIL];
	size_t last_len;
	size_t batched, batched_lines;
	char batch[BATCH_SIZE];
};

struct output *
output_new(struct child *child, uint64_t max_size, int passthrough)
{
	struct output *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return NULL;
	o->child = child;
	o->log = -1;
	o->max_size = max_size;
	o->passthrough = passthrough;
	LIST_INIT(&o->starts);
	return o;
}

void
output_pace(struct output *o, struct pace *p)
{
	o->pace = p;
}

static void
close_stream(struct stream *s)
{
	pace_forget(&s->pace);
	if (s->event != NULL)
		event_free(s->event);
	s->event = NULL;
	if (s->fd >= 0) {
		close(s->fd);
		s->start->open--;
	}
	s->fd = -1;
}

static void
free_start(struct output_start *st)
{
	size_t i;

	for (i = 0; i < STREAMS; i++)
		close_stream(&st->streams[i]);
	LIST_REMOVE(st, entry);
	st->output->count--;
	free(st);
}

void
output_free(struct output *o)
{
	struct output_start *st;

	if (o == NULL)
		return;
	while ((st = LIST_FIRST(&o->starts)) != NULL)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it is off the list, by a pointer to a pointer */
		free_start(st);
	if (o->log >= 0)
		close(o->log);
	free(o);
}

/* ---- agent.log */

static void
complain(struct output *o)
{
	uint64_t now = now_ms();

	if (o->lost == 0 || (o->complained_ms != 0 && now - o->complained_ms < COMPLAIN_MS))
		return;
	log_warn("agent.log: %llu lines of the agent's output were lost: %s",
	    (unsigned long long)o->lost, strerror(o->lost_errno));
	o->complained_ms = now;
	o->lost = 0;
}

static void
ask_rotation(struct output *o)
{
	uint64_t now = now_ms();

	if (o->size <= o->max_size || o->log < 0 ||
	    (o->asked_ms != 0 && now - o->asked_ms < ASK_AGAIN_MS))
		return;
	o->asked_ms = now;
	child_send(o->child, PROC_PARENT, MSG_LINK_ROTATE, NULL, NULL, 0, -1);
}

/* Writes the batch.  A full disk loses lines, and is told once a minute. */
static void
flush_batch(struct output *o)
{
	size_t done = 0;
	ssize_t n = 0;

	/* a parent that does not rotate must not let the file grow without end */
	if (o->log < 0 || o->size / 2 > o->max_size) {
		o->lost_errno = o->log < 0 ? ENOENT : EFBIG;
		o->lost += o->batched_lines;
		done = o->batched;
	}
	while (done < o->batched) {
		n = write(o->log, o->batch + done, o->batched - done);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			o->lost_errno = n == 0 ? ENOSPC : errno;
			o->lost += o->batched_lines;
			break;
		}
		done += (size_t)n;
		o->size += (uint64_t)n;
	}
	o->batched = o->batched_lines = 0;
	complain(o);
	ask_rotation(o);
}

static void
add_to_log(struct output *o, const char *line, size_t len)
{
	if (sizeof(o->batch) - o->batched < 4 * len + 1)
		flush_batch(o);
	o->batched +=
	    output_escape(o->batch + o->batched, sizeof(o->batch) - o->batched - 1, line, len);
	o->batch[o->batched++] = '\n';
	o->batched_lines++;
}

void
output_log(struct output *o, int fd)
{
	struct stat st;

	flush_batch(o);
	if (o->log >= 0)
		close(o->log);
	o->log = fd;
	o->asked_ms = 0;
	o->size = fstat(fd, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
	ask_rotation(o);
}

/* ---- last words */

static void
drop_first(struct words *w)
{
	char *end = memchr(w->text, '\n', w->len);
	size_t n = end == NULL ? w->len : (size_t)(end - w->text) + 1;

	w->len -= n;
	memmove(w->text, w->text + n, w->len);
	w->lines--;
}

static void
append(struct words *w, const char *text, size_t len)
{
	if (w->lines > 0)
		w->text[w->len++] = '\n';
	memcpy(w->text + w->len, text, len);
	w->len += len;
	w->lines++;
}

static void
remember(struct output_start *st, const struct stream *s, const char *line, size_t len)
{
	char text[TAIL_LINE];
	size_t n = output_escape(text, sizeof(text), line, len);

	while (st->tail.lines > 0 &&
	       (st->tail.lines >= LIMIT_LOG_TAIL || st->tail.len + 1 + n > sizeof(st->tail.text)))
		drop_first(&st->tail);
	append(&st->tail, text, n);
	if (output_error_begins(line, len)) {
		st->error.len = st->error.lines = 0;
		st->in_error = s;
	} else if (st->in_error == s && output_error_ends(line, len)) {
		st->in_error = NULL;
	}
	if (st->in_error == s && st->error.len + 1 + n <= ERROR_SIZE)
		append(&st->error, text, n);
	st->since_error = st->in_error == s ? 0 : st->since_error + 1;
}

static void
send_words(struct output *o, uint32_t start, uint32_t kind, const char *text, size_t len)
{
	struct msg_output_end m = {.start = start, .kind = kind};

	child_send(o->child, PROC_CONFD, MSG_AGENT_OUTPUT_END, &m, text, len, -1);
}

static void
finish_start(struct output_start *st)
{
	struct output *o = st->output;
	const struct words *w;

	while (st->tail.lines > 1 && st->tail.len > REPORT_SIZE)
		drop_first(&st->tail); /* reports are cut at their end, and the end tells most */
	/* an error of long ago is not why it ended now */
	w = st->error.lines > 0 && st->since_error < LIMIT_LOG_TAIL ? &st->error : &st->tail;

	send_words(o, st->start, st->kind, w->text, w->len);
	if (st->kind == AGENT_RUN) {
		o->last_start = st->start;
		o->last_len = w->len;
		memcpy(o->last_words, w->text, w->len);
	}
	free_start(st);
}

void
output_confd_up(struct output *o)
{
	if (o->last_start != 0)
		send_words(o, o->last_start, AGENT_RUN, o->last_words, o->last_len);
}

/* ---- streams */

static void
take_line(struct stream *s)
{
	struct output_start *st = s->start;
	struct output *o = st->output;
	char text[LIMIT_AGENT_TEXT];
	enum log_level level;
	size_t len = s->len;

	s->len = 0;
	if (len > 0 && s->line[len - 1] == '\r')
		len--;
	remember(st, s, s->line, len);
	if (st->kind != AGENT_RUN)
		return; /* a check's words go to confd only */
	add_to_log(o, s->line, len);
	if (o->passthrough && len > 0) {
		level = output_read_line(text, sizeof(text), s->line, len, s->number);
		log_at(level, "agent: %s", text);
	}
}

static void
take_bytes(struct stream *s, const char *data, size_t len)
{
	const char *end = data + len, *newline;
	size_t n;

	while (data < end) {
		newline = memchr(data, '\n', (size_t)(end - data));
		n = (size_t)((newline != NULL ? newline : end) - data);
		while (n > sizeof(s->line) - s->len) { /* too long: goes on as another line */
			size_t part = sizeof(s->line) - s->len;

			memcpy(s->line + s->len, data, part);
			s->len += part;
			data += part;
			n -= part;
			take_line(s);
		}
		memcpy(s->line + s->len, data, n);
		s->len += n;
		data += n;
		if (newline != NULL) {
			take_line(s);
			data++;
		}
	}
}

/* Up to so many reads.  1: there may be more; 0: nothing more now; -1: it ended. */
static int
read_stream(struct stream *s, int reads)
{
	char buf[READ_SIZE];
	ssize_t n;

	while (reads-- > 0) {
		n = read(s->fd, buf, sizeof(buf));
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 0;
		if (n <= 0)
			return -1;
		take_bytes(s, buf, (size_t)n);
	}
	return 1;
}

static void
end_stream(struct stream *s)
{
	if (s->len > 0)
		take_line(s);
	close_stream(s);
}

static void
on_wake(void *ctx)
{
	struct stream *s = ctx;

	(void)event_add(s->event, NULL);
}

static void
on_output(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;
	struct output_start *st = s->start;
	struct output *o = st->output;

	(void)fd;
	(void)what;
	pace_begin(o->pace);
	if (read_stream(s, READS_PER_TURN) == -1) {
		end_stream(s);
		if (st->open == 0 && st->seen == STREAMS)
			finish_start(st);
		flush_batch(o);
		return;
	}
	flush_batch(o);
	if (pace_end(o->pace, &s->pace))
		(void)event_del(s->event);
}

static struct output_start *
find_start(struct output *o, uint32_t start)
{
	struct output_start *st;

	LIST_FOREACH (st, &o->starts, entry)
		if (st->start == start)
			return st;
	return NULL;
}

static struct output_start *
new_start(struct output *o, const struct msg_output *m)
{
	struct output_start *st;
	size_t i;

	if (o->count >= STARTS)
		return NULL;
	st = calloc(1, sizeof(*st));
	if (st == NULL)
		return NULL;
	st->output = o;
	st->start = m->start;
	st->kind = m->kind;
	for (i = 0; i < STREAMS; i++) {
		st->streams[i].start = st;
		st->streams[i].fd = -1;
	}
	LIST_INSERT_HEAD(&o->starts, st, entry);
	o->count++;
	return st;
}

int
output_stream(struct output *o, const struct msg_output *m, int fd)
{
	struct output_start *st = find_start(o, m->start);
	struct stream *s;

	if (m->start == 0 || m->kind == AGENT_NOTHING || m->kind > AGENT_PROBE || m->stream < 1 ||
	    m->stream > STREAMS || (st != NULL && st->kind != m->kind) ||
	    (st == NULL && (st = new_start(o, m)) == NULL) ||
	    st->streams[m->stream - 1].number != 0) {
		close(fd);
		return -1;
	}
	s = &st->streams[m->stream - 1];
	s->number = m->stream;
	s->pace = (struct pace_source){.wake = on_wake, .ctx = s};
	s->fd = fd;
	st->seen++;
	st->open++;
	s->event = event_new(o->child->base, fd, EV_READ | EV_PERSIST, on_output, s);
	if (fcntl(fd, F_SETFL, O_RDONLY | O_NONBLOCK) == -1 || s->event == NULL ||
	    event_add(s->event, NULL) == -1) {
		log_error("the agent's output cannot be read");
		close_stream(s);
	}
	return 0;
}

static void
drain_start(struct output_start *st)
{
	size_t i;

	for (i = 0; i < STREAMS; i++) {
		if (st->streams[i].fd < 0)
			continue;
		(void)read_stream(&st->streams[i], DRAIN_READS);
		end_stream(&st->streams[i]);
	}
}

void
output_ended(struct output *o, uint32_t start)
{
	struct output_start *st = find_start(o, start);

	if (st == NULL)
		return;
	drain_start(st);
	finish_start(st);
	flush_batch(o);
}

/* What ends here ends; what lives on is our successor's: confd is not told that it has ended. */
void
output_drain(struct output *o)
{
	struct output_start *st, *next;
	size_t i;

	for (st = LIST_FIRST(&o->starts); st != NULL; st = next) {
		next = LIST_NEXT(st, entry);
		for (i = 0; i < STREAMS; i++) {
			struct stream *s = &st->streams[i];

			if (s->fd < 0)
				continue;
			if (read_stream(s, DRAIN_READS) == -1)
				end_stream(s);
			else if (s->len > 0)
				take_line(s);
		}
		if (st->open == 0 && st->seen == STREAMS)
			finish_start(st);
	}
	flush_batch(o);
}
