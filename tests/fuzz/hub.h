/*
 * hub.h: what the fuzz targets of opamphub share: records and frames made of their input, a store in a
 * directory of its own, emptied for each input, and a fleet.  tests/fuzz/fuzz_hub_*.c
 */
#ifndef FUZZ_HUB_H
#define FUZZ_HUB_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <signal.h>

#include <event2/event.h>

#include "hub/fleet_inside.h"
#include "hub/store_sqlite.h"
#include "privsep/log.h"

struct input {
	const uint8_t *data;
	size_t size;
};

static inline uint8_t
input_byte(struct input *in)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->data++;
}

static inline const uint8_t *
input_bytes(struct input *in, size_t *len)
{
	const uint8_t *p = in->data;

	if (*len > in->size)
		*len = in->size;
	in->data += *len;
	in->size -= *len;
	return p;
}

static inline int
is_number(unsigned key)
{
	return key == KEY_FLAGS || key == KEY_SEQUENCE || key == KEY_CAPABILITIES ||
	       key == KEY_HEALTHY || key == KEY_STARTED || key == KEY_CONFIG_STATUS ||
	       key == KEY_EFFECTIVE_NONE || key == KEY_SETTINGS_STATUS || key == KEY_LEFT ||
	       key == KEY_ANSWER || key == KEY_CONFIG || key == KEY_CLASS || key == KEY_HEARTBEAT ||
	       key == KEY_WHAT;
}

/*
 * Entries: key, length, so many bytes; a uid may be one byte, numbers are as many as there are, little
 * end first, KEY_CONNS has a conversation in each byte.  Key 0 ends the record.
 */
static inline void
input_record(struct input *in, struct record_writer *w)
{
	unsigned key;
	size_t len, i;

	while (in->size > 0 && (key = input_byte(in)) != 0) {
		const uint8_t *p;
		uint32_t conns[255];
		uint8_t uid[16];
		uint64_t n = 0;

		len = input_byte(in);
		p = input_bytes(in, &len);
		if (key == KEY_UID && len == 1) {
			memset(uid, p[0], sizeof(uid));
			record_put(w, KEY_UID, 0, 0, uid, sizeof(uid));
		} else if (is_number(key) && len <= 8) {
			for (i = 0; i < len; i++)
				n |= (uint64_t)p[i] << (8 * i);
			record_put_u64(w, (uint16_t)key, n);
		} else if (key == KEY_CONNS) {
			for (i = 0; i < len; i++)
				conns[i] = p[i];
			record_put(w, KEY_CONNS, 0, 0, conns, len * sizeof(conns[0]));
		} else
			record_put(w, (uint16_t)key, 0, 0, len == 0 ? (const void *)"" : p, len);
	}
}

/* The record read back; data is to be freed.  -1: not one. */
static inline int
input_open(struct input *in, struct record *r, char **data)
{
	struct record_writer w = {0};
	struct error err;
	size_t len;

	input_record(in, &w);
	*data = NULL;
	if (record_finish(&w, data, &len, &err) == -1)
		abort();
	return record_open(r, *data, len, &err);
}

/* Whatever came at the other end of the conversation: every frame is in the table, and whole. */
static inline void
take_frames(
    int fd, int to_store, void (*each)(const struct frame_header *h, const struct record *r))
{
	static char buf[4 * MIB];
	static size_t have;
	struct frame_header h;
	struct record r;
	struct error err;
	ssize_t n;

	while (
	    have < sizeof(buf) && (n = recv(fd, buf + have, sizeof(buf) - have, MSG_DONTWAIT)) > 0)
		have += (size_t)n;
	while (have >= sizeof(h)) {
		memcpy(&h, buf, sizeof(h));
		if (h.type == FRAME_NOTHING || h.type >= FRAME_TYPES ||
		    frame_to_store(h.type) != to_store || h.len > frame_most(h.type))
			abort();
		if (have < sizeof(h) + h.len)
			return;
		if (record_open(&r, buf + sizeof(h), h.len, &err) == -1)
			abort();
		each(&h, &r);
		have -= sizeof(h) + h.len;
		memmove(buf, buf + sizeof(h) + h.len, have);
	}
}

/* ---- the store's side */

static char bed_dir[] = "/tmp/fuzz-hub-XXXXXX";

static inline void
bed_remove(void)
{
	static const char *const names[] = {"hub.db", "hub.db-wal", "hub.db-shm", "hub.db-journal"};
	char path[64];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", bed_dir, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(bed_dir);
}

static inline void
bed_sql(struct store *s, const char *text)
{
	if (sqlite3_exec(s->db, text, NULL, NULL, NULL) != SQLITE_OK) {
		fprintf(stderr, "%s: %s\n", text, sqlite3_errmsg(s->db));
		abort();
	}
}

struct bed {
	struct event_base *base;
	struct store *store;
	struct fleet *fleet;
	int other; /* front's end */
};

static inline void
bed_make(struct bed *b, fleet_watcher watch, void *ctx)
{
	struct error err;
	int sv[2];

	(void)signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	b->base = event_base_new();
	if (b->base == NULL || mkdtemp(bed_dir) == NULL || atexit(bed_remove) != 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == -1)
		abort();
	b->store = hub_store_open(bed_dir, &err);
	if (b->store == NULL) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	bed_sql(b->store, "PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF");
	b->fleet = fleet_new(b->base, b->store, sv[0], 8, watch, ctx, &err);
	b->other = sv[1];
	if (b->fleet == NULL)
		abort();
}

static inline int
bed_empty(void *ctx, int n, char **values, char **names)
{
	char text[128];

	(void)n;
	(void)names;
	(void)snprintf(text, sizeof(text), "DELETE FROM \"%s\"", values[0]);
	bed_sql(ctx, text);
	return 0;
}

/* As if nothing had ever been. */
static inline void
bed_clear(struct bed *b)
{
	struct fleet *f = b->fleet;
	struct conv *c;
	struct error err;
	unsigned i;

	fleet_undo(f);
	for (i = 0; i < FLEET_BUCKETS && f->figures.conversations > 0; i++)
		while ((c = LIST_FIRST(&f->numbers[i])) != NULL)
			fleet_conv_free(f, c);
	bed_sql(b->store, "BEGIN");
	if (sqlite3_exec(b->store->db, "SELECT name FROM sqlite_master WHERE type='table'",
		bed_empty, b->store, NULL) != SQLITE_OK)
		abort();
	bed_sql(b->store, "COMMIT");
	f->known_count = 0;
	f->agents = 0;
	if (fleet_targets_load(f, &err) == -1)
		abort();
}

#endif
