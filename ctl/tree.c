/*
 * tree.c: a reader of ComponentHealth (see tree.h).  opampctl only.
 * Fields: 1 healthy (varint), 3 last_error, 4 status, 5 status_time_unix_nano (fixed64), 6
 * component_health_map (entries with 1 key, 2 value).  Groups and everything unknown are skipped or refused
 * by wire type.
 */
#include "tree.h"

#include <string.h>

#include "privsep/limits.h"

enum {
	WIRE_VARINT,
	WIRE_64 = 1,
	WIRE_BYTES = 2,
	WIRE_32 = 5
};

struct span {
	const unsigned char *p;
	size_t len;
};

struct field {
	uint32_t number;
	uint32_t wire;
	uint64_t value; /* VARINT, 64, 32 */
	struct span bytes;
};

struct reader {
	struct writer *w;
	struct error *err;
	unsigned components;
	char path[512];
};

static int
varint(struct span *s, uint64_t *value)
{
	unsigned shift;

	*value = 0;
	for (shift = 0; shift < 64; shift += 7) {
		if (s->len == 0)
			return -1;
		*value |= (uint64_t)(*s->p & 0x7f) << shift;
		s->len--;
		if ((*s->p++ & 0x80) == 0)
			return 0;
	}
	return -1;
}

static int
fixed(struct span *s, uint64_t *value, size_t n)
{
	size_t i;

	if (s->len < n)
		return -1;
	*value = 0;
	for (i = 0; i < n; i++)
		*value |= (uint64_t)s->p[i] << (8 * i);
	s->p += n;
	s->len -= n;
	return 0;
}

/* 1 and the next field, 0 at the end, -1 when it is no protobuf. */
static int
next(struct span *s, struct field *f)
{
	uint64_t tag;

	if (s->len == 0)
		return 0;
	if (varint(s, &tag) == -1 || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
		return -1;
	*f = (struct field){.number = (uint32_t)(tag >> 3), .wire = (uint32_t)tag & 7};
	switch (f->wire) {
	case WIRE_VARINT:
		return varint(s, &f->value) == -1 ? -1 : 1;
	case WIRE_64:
		return fixed(s, &f->value, 8) == -1 ? -1 : 1;
	case WIRE_32:
		return fixed(s, &f->value, 4) == -1 ? -1 : 1;
	case WIRE_BYTES:
		if (varint(s, &f->value) == -1 || f->value > s->len)
			return -1;
		f->bytes = (struct span){s->p, (size_t)f->value};
		s->p += f->value;
		s->len -= (size_t)f->value;
		return 1;
	default:
		return -1;
	}
}

static int component(struct reader *r, struct span s, int depth);

static void
row(struct reader *r, struct span s)
{
	struct span error = {NULL, 0}, status = {NULL, 0};
	uint64_t healthy = 0, since = 0;
	struct field f;

	while (next(&s, &f) == 1) {
		if (f.number == 1 && f.wire == WIRE_VARINT)
			healthy = f.value;
		else if (f.number == 3 && f.wire == WIRE_BYTES)
			error = f.bytes;
		else if (f.number == 4 && f.wire == WIRE_BYTES)
			status = f.bytes;
		else if (f.number == 5 && f.wire == WIRE_64)
			since = f.value;
	}
	out_row(r->w);
	out_string(r->w, "component", r->path);
	out_boolean(r->w, "healthy", healthy != 0);
	if (status.len > 0)
		out_bytes(r->w, "status", (const char *)status.p, status.len);
	out_time(r->w, "since", since);
	if (error.len > 0)
		out_bytes(r->w, "error", (const char *)error.p, error.len);
}

static int
entry(struct reader *r, struct span s, int depth)
{
	struct span name = {NULL, 0}, value = {NULL, 0};
	size_t was = strlen(r->path), at, n;
	struct field f;
	int k;

	while ((k = next(&s, &f)) == 1) {
		if (f.number == 1 && f.wire == WIRE_BYTES)
			name = f.bytes;
		else if (f.number == 2 && f.wire == WIRE_BYTES)
			value = f.bytes;
	}
	if (k == -1)
		return error_set(r->err, "the component tree is damaged");
	if (++r->components > LIMIT_HEALTH_COMPONENTS)
		return error_set(r->err, "more than %u components: the rest is not shown",
		    LIMIT_HEALTH_COMPONENTS);
	at = was;
	if (was > 0 && at < sizeof(r->path) - 1)
		r->path[at++] = '/';
	n = name.len < sizeof(r->path) - 1 - at ? name.len : sizeof(r->path) - 1 - at;
	if (n > 0)
		memcpy(r->path + at, name.p, n);
	r->path[at + n] = '\0';
	row(r, value);
	k = component(r, value, depth + 1);
	r->path[was] = '\0';
	return k;
}

static int
component(struct reader *r, struct span s, int depth)
{
	struct field f;
	int k;

	if (depth > (int)LIMIT_HEALTH_DEPTH)
		return error_set(r->err, "components nested more than %u deep are not shown",
		    LIMIT_HEALTH_DEPTH);
	while ((k = next(&s, &f)) == 1)
		if (f.number == 6 && f.wire == WIRE_BYTES && entry(r, f.bytes, depth) == -1)
			return -1;
	return k == -1 ? error_set(r->err, "the component tree is damaged") : 0;
}

int
tree_rows(struct writer *w, const void *data, size_t len, struct error *err)
{
	struct reader r = {.w = w, .err = err};

	return component(&r, (struct span){data, len}, 0);
}
