/*
 * api_stream.c: GET /api/v1/stream: what changes, as server-sent events.  opamphub-store.
 * An agent that changes often is told of at most each second.  A watcher that comes back says what it
 * saw last and is told to read everything anew ("reset") when that is too long ago to be known.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/child.h"
#include "web_inside.h"

#define KEEP_ALIVE_S 15
#define CHANGED_MOST 2048 /* more agents changed in a second: the watchers read anew */
#define KEPT         512  /* events that can be sent again */

struct kept {
	uint64_t id;
	char *text;
	size_t len;
};

struct stream {
	uint64_t id; /* of the last event; begins at the time of our start: never seen before */
	uint8_t (*changed)[16];
	size_t changed_count;
	int overflow, counts;
	size_t kept_bytes;
	uint64_t first; /* the oldest event that is kept */
	unsigned quiet_s;
	struct kept kept[KEPT];
};

int
stream_new(struct web *w, struct error *err)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (s != NULL)
		s->changed = calloc(CHANGED_MOST, sizeof(*s->changed));
	if (s == NULL || s->changed == NULL) {
		free(s);
		return error_set(err, "out of memory");
	}
	s->id = now_unix_ns() / 1000;
	s->first = s->id + 1;
	w->stream = s;
	return 0;
}

static void
to_all(struct web *w, const char *text, size_t len)
{
	struct web_connection *c = web_streams(w, NULL), *next;

	for (; c != NULL; c = next) {
		next = web_streams(w, c);
		web_stream_send(c, text, len);
	}
	w->stream->quiet_s = 0;
}

static void
keep(struct stream *s, char *text, size_t len)
{
	struct kept *k = &s->kept[s->id % KEPT];

	s->kept_bytes += len - k->len;
	free(k->text);
	*k = (struct kept){s->id, text, len};
	if (s->id >= s->first + KEPT)
		s->first = s->id - KEPT + 1;
}

/* Agents that say much are told of no longer, when they are too many. */
static void
limit_kept(struct stream *s)
{
	struct kept *k;

	for (; s->kept_bytes > LIMIT_HUB_WEB_KEPT && s->first <= s->id; s->first++) {
		k = &s->kept[s->first % KEPT];
		s->kept_bytes -= k->len;
		free(k->text);
		*k = (struct kept){0, NULL, 0};
	}
}

static void
tell(struct web *w, const char *kind, json_t *data)
{
	struct stream *s = w->stream;
	char *dump = data == NULL ? NULL : json_dumps(data, JSON_COMPACT);
	char *text = NULL;
	int n;

	json_decref(data);
	if (dump == NULL)
		return;
	s->id++;
	n = asprintf(
	    &text, "id: %llu\nevent: %s\ndata: %s\n\n", (unsigned long long)s->id, kind, dump);
	free(dump);
	if (n < 0) {
		s->first = s->id + 1; /* who missed it reads everything anew */
		return;
	}
	keep(s, text, (size_t)n);
	to_all(w, text, (size_t)n);
	limit_kept(s);
}

void
stream_begin(struct web_request *q)
{
	struct stream *s = q->web->stream;
	struct web_connection *c = q->connection;
	uint64_t id = q->last_event;
	char text[128];

	if (web_begin_stream(q) == -1) {
		web_fault(q, 503, "too many are watching");
		return;
	}
	(void)snprintf(text, sizeof(text), "retry: 2000\nid: %llu\nevent: %s\ndata: {}\n\n",
	    (unsigned long long)s->id, id == 0 ? "hello" : "back");
	if (id != 0 && id + 1 < s->first)
		(void)snprintf(text, sizeof(text), "id: %llu\nevent: reset\ndata: {}\n\n",
		    (unsigned long long)s->id);
	else if (id > s->id)
		(void)snprintf(text, sizeof(text), "id: %llu\nevent: reset\ndata: {}\n\n",
		    (unsigned long long)s->id);
	else if (id != 0)
		for (id++; id <= s->id; id++)
			web_stream_send(c, s->kept[id % KEPT].text, s->kept[id % KEPT].len);
	web_stream_send(c, text, strlen(text));
}

void
stream_news(struct web *w, enum fleet_news news, const uint8_t *uid, uint64_t id)
{
	static const char *const kinds[] = {[NEWS_CONFIGURATION] = "configuration",
	    [NEWS_ASSIGNMENT] = "assignment",
	    [NEWS_SETTINGS] = "settings"};
	struct stream *s = w->stream;
	char text[UID_TEXT];
	size_t i;

	s->counts = 1;
	if (news == NEWS_GONE) {
		uid_text(text, uid);
		tell(w, "gone", json_pack("{s:s}", "uid", text));
		return;
	}
	if (news != NEWS_AGENT) {
		tell(w, kinds[news], json_pack("{s:I}", "id", (json_int_t)id));
		return;
	}
	if (w->watchers == 0) {
		if (s->first <= s->id) /* nobody was told: who comes back reads everything anew */
			s->first = ++s->id + 1;
		return;
	}
	for (i = 0; i < s->changed_count && i < 16; i++) /* the same one again and again */
		if (memcmp(s->changed[s->changed_count - 1 - i], uid, 16) == 0)
			return;
	if (s->changed_count == CHANGED_MOST)
		s->overflow = 1;
	else
		memcpy(s->changed[s->changed_count++], uid, 16);
}

static int
tell_agent(void *ctx, const struct agent *a)
{
	struct web *w = ctx;

	tell(w, "agent", api_agent_item(w, a));
	return 0;
}

static int
by_uid(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

void
stream_tick(struct web *w)
{
	struct stream *s = w->stream;
	struct error err;
	size_t i;

	if (w->watchers == 0) {
		s->changed_count = 0;
		s->overflow = s->counts = 0;
		return;
	}
	if (s->overflow)
		tell(w, "reset", json_object());
	else {
		qsort(s->changed, s->changed_count, 16, by_uid);
		for (i = 0; i < s->changed_count; i++)
			if (i == 0 || memcmp(s->changed[i], s->changed[i - 1], 16) != 0)
				(void)store_agent_get(
				    fleet_store(w->fleet), s->changed[i], tell_agent, w, &err);
	}
	if (s->counts)
		tell(w, "counts", api_counts(w));
	s->changed_count = 0;
	s->overflow = s->counts = 0;
	if (++s->quiet_s >= KEEP_ALIVE_S)
		to_all(w, ": still here\n\n", 14);
}
