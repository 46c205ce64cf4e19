/*
 * wire.c: the look at the wire before decoding (see wire.h).  netd, link, hub.
 * protobuf-c recurses without limit, takes any bytes for a string and keeps unknown fields: none of
 * that is reached by bytes that this file has not accepted.
 */
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/limits.h"

#define PATH_SIZE 256

#define LARGE (64 * KIB) /* less is copied: that costs nothing */

struct scan {
	size_t fields, unknown;
	char path[PATH_SIZE];
	struct error *err;
};

struct bytes {
	const uint8_t *p, *end;
};

#define HIGH_BITS 0x8080808080808080u
#define LOW_SEVEN 0x7f7f7f7f7f7f7f7fu

int
wire_utf8(const uint8_t *s, size_t len)
{
	size_t i = 0, n, k;
	uint64_t eight;
	uint32_t c;

	while (i < len) {
		if (len - i >=
		    sizeof(eight)) { /* most of it is ASCII: eight at a time, none high or NUL */
			memcpy(&eight, s + i, sizeof(eight));
			if ((eight & HIGH_BITS) == 0 &&
			    ((eight + LOW_SEVEN) & HIGH_BITS) == HIGH_BITS) {
				i += sizeof(eight);
				continue;
			}
		}
		if (s[i] == 0)
			return 0;
		if (s[i] < 0x80) {
			i++;
			continue;
		}
		n = s[i] >= 0xf0 ? 3 : s[i] >= 0xe0 ? 2 : 1;
		if (s[i] < 0xc2 || s[i] > 0xf4 || n >= len - i)
			return 0;
		c = s[i] & (0x3fu >> n);
		for (k = 1; k <= n; k++) {
			if ((s[i + k] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (s[i + k] & 0x3fu);
		}
		if ((n == 2 && c < 0x800) || (n == 3 && c < 0x10000) || c > 0x10ffff ||
		    (c >= 0xd800 && c <= 0xdfff))
			return 0;
		i += n + 1;
	}
	return 1;
}

static int
varint(struct bytes *b, uint64_t *value)
{
	uint64_t v = 0;
	int shift;

	for (shift = 0; shift < 70; shift += 7) {
		if (b->p == b->end)
			return -1;
		v |= shift < 64 ? (uint64_t)(*b->p & 0x7f) << shift : 0;
		if ((*b->p++ & 0x80) == 0) {
			*value = v;
			return 0;
		}
	}
	return -1;
}

static int
fault(struct scan *s, const char *what)
{
	return error_set(
	    s->err, "protobuf: %s: %s", s->path[0] == '\0' ? "message" : s->path, what);
}

static uint32_t
wire_type_of(ProtobufCType t)
{
	switch (t) {
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 1;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return 2;
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return 5;
	default:
		return 0;
	}
}

static int scan_message(
    struct scan *s, const ProtobufCMessageDescriptor *d, struct bytes b, int depth);

/* Numbers in one length-delimited field: their count is what they will cost. */
static int
scan_packed(struct scan *s, const ProtobufCFieldDescriptor *f, struct bytes b)
{
	uint32_t type = wire_type_of(f->type);
	size_t count = 0, unit = type == 1 ? 8 : 4;
	uint64_t v;

	while (b.p < b.end) {
		if (++count > LIMIT_PB_ELEMENTS)
			return fault(s, "more than 100,000 elements");
		if (type == 0) {
			if (varint(&b, &v) == -1)
				return fault(s, "a number is cut or too long");
		} else if ((size_t)(b.end - b.p) < unit) {
			return fault(s, "a number is cut");
		} else {
			b.p += unit;
		}
	}
	return 0;
}

static int
scan_delimited(struct scan *s, const ProtobufCFieldDescriptor *f, struct bytes b, int depth)
{
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return scan_message(s, f->descriptor, b, depth + 1);
	if (f->type == PROTOBUF_C_TYPE_STRING) {
		if ((size_t)(b.end - b.p) > LIMIT_PB_STRING)
			return fault(s, "a text of more than 4 MiB");
		if (!wire_utf8(b.p, (size_t)(b.end - b.p)))
			return fault(s, "a text that is not UTF-8, or has a NUL in it");
		return 0;
	}
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return 0;
	return scan_packed(s, f, b);
}

/* One field's value; b is moved behind it. */
static int
scan_field(
    struct scan *s, const ProtobufCFieldDescriptor *f, uint32_t type, struct bytes *b, int depth)
{
	struct bytes inner;
	uint64_t v;

	if (f != NULL && type != wire_type_of(f->type) &&
	    !(type == 2 && f->label == PROTOBUF_C_LABEL_REPEATED))
		return fault(s, "a value of another type");
	switch (type) {
	case 0:
		return varint(b, &v) == -1 ? fault(s, "a number is cut or too long") : 0;
	case 1:
	case 5:
		if ((size_t)(b->end - b->p) < (type == 1 ? 8u : 4u))
			return fault(s, "a number is cut");
		b->p += type == 1 ? 8 : 4;
		return 0;
	case 2:
		if (varint(b, &v) == -1 || v > (uint64_t)(b->end - b->p))
			return fault(s, "a length reaches past the end");
		inner = (struct bytes){b->p, b->p + v};
		b->p += v;
		return f == NULL ? 0 : scan_delimited(s, f, inner, depth);
	default:
		return fault(s, "a group or an unknown wire type");
	}
}

static int
scan_message(struct scan *s, const ProtobufCMessageDescriptor *d, struct bytes b, int depth)
{
	uint32_t counts[64] = {0};
	size_t path_len = strlen(s->path);
	const ProtobufCFieldDescriptor *f;
	uint64_t tag;
	unsigned place;
	int r;

	if (depth > (int)LIMIT_PB_DEPTH)
		return fault(s, "nested more than 64 deep");
	while (b.p < b.end) {
		if (++s->fields > LIMIT_PB_FIELDS)
			return fault(s, "more than 1,000,000 fields");
		if (varint(&b, &tag) == -1 || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
			return fault(s, "a broken field number");
		f = protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
		s->unknown += f == NULL;
		if (f != NULL) {
			place = (unsigned)(f - d->fields);
			if (place < 64 && ++counts[place] > LIMIT_PB_ELEMENTS)
				return fault(s, "more than 100,000 elements of one field");
			(void)snprintf(s->path + path_len, PATH_SIZE - path_len, "%s%s",
			    path_len == 0 ? "" : ".", f->name);
		}
		r = scan_field(s, f, (uint32_t)(tag & 7), &b, depth);
		if (r == -1)
			return -1;
		s->path[path_len] = '\0';
	}
	return 0;
}

int
wire_scan(const ProtobufCMessageDescriptor *d, const uint8_t *data, size_t len, struct error *err)
{
	struct scan s = {.err = err};

	return scan_message(&s, d, (struct bytes){data, data + len}, 1);
}

int
wire_scan_known(
    const ProtobufCMessageDescriptor *d, const uint8_t *data, size_t len, struct error *err)
{
	struct scan s = {.err = err};

	if (scan_message(&s, d, (struct bytes){data, data + len}, 1) == -1)
		return -1;
	return s.unknown == 0;
}

int
wire_next(struct wire_walk *w, uint32_t *field, struct wire_part *part)
{
	struct bytes b = {w->p, w->end};
	uint64_t tag, v;

	while (b.p < b.end) {
		const uint8_t *begin = b.p;

		if (varint(&b, &tag) == -1 ||
		    ((tag & 7) != 1 && (tag & 7) != 5 && varint(&b, &v) == -1))
			return 0;
		if ((tag & 7) == 0)
			continue;
		if ((tag & 7) != 2)
			v = (tag & 7) == 1 ? 8 : 4;
		if (v > (uint64_t)(b.end - b.p))
			return 0;
		if ((tag & 7) == 2) {
			*field = (uint32_t)(tag >> 3);
			*part = (struct wire_part){b.p, (size_t)v, begin, b.p + v};
			w->p = b.p + v;
			return 1;
		}
		b.p += v;
	}
	return 0;
}

size_t
wire_field(const uint8_t *data, size_t len, uint32_t field, struct wire_part *part)
{
	struct wire_walk w = {data, data + len};
	struct wire_part one;
	size_t found = 0;
	uint32_t number;

	*part = (struct wire_part){0};
	while (wire_next(&w, &number, &one))
		if (number == field) {
			*part = one;
			found++;
		}
	return found;
}

/* The scan has bounded the depth of what is walked here. */
static void
drop_unknown(ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	unsigned i;
	size_t k, n;

	for (i = 0; i < m->n_unknown_fields; i++)
		free(m->unknown_fields[i].data);
	if (m->n_unknown_fields > 0)
		free(m->unknown_fields);
	m->unknown_fields = NULL;
	m->n_unknown_fields = 0;
	for (i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		const char *at = (const char *)m + f->offset;
		ProtobufCMessage **list, *one;

		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			memcpy(&n, (const char *)m + f->quantifier_offset, sizeof(n));
			memcpy(&list, at, sizeof(list));
			for (k = 0; k < n; k++)
				drop_unknown(list[k]);
		} else {
			uint32_t which = f->id;

			if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
				memcpy(
				    &which, (const char *)m + f->quantifier_offset, sizeof(which));
			/* NOLINTNEXTLINE(bugprone-sizeof-expression): the field is a pointer */
			memcpy(&one, at, sizeof(one));
			if (which == f->id && one != NULL)
				drop_unknown(one);
		}
	}
}

/* Scanned already. */
static ProtobufCMessage *
unpack(const ProtobufCMessageDescriptor *d, const uint8_t *data, size_t len, struct error *err)
{
	struct budget budget;
	ProtobufCMessage *m;

	budget_init(&budget, LIMIT_PB_BUDGET_FACTOR * len + MIB);
	m = protobuf_c_message_unpack(d, &budget.allocator, len, data);
	if (m == NULL) {
		error_set(err, budget.exceeded
				   ? "protobuf: the message needs more memory than its size allows"
				   : "protobuf: the message cannot be decoded");
		return NULL;
	}
	drop_unknown(m);
	return m;
}

ProtobufCMessage *
wire_unpack(const ProtobufCMessageDescriptor *d, const uint8_t *data, size_t len, struct error *err)
{
	return wire_scan(d, data, len, err) == -1 ? NULL : unpack(d, data, len, err);
}

ProtobufCMessage *
wire_unpack_beside(const ProtobufCMessageDescriptor *d, const uint8_t *data, size_t len,
    uint32_t field, struct wire_part *part, struct error *err)
{
	ProtobufCMessage *m;
	size_t before, after;
	uint8_t *rest;

	*part = (struct wire_part){0};
	if (wire_scan(d, data, len, err) == -1)
		return NULL;
	if (wire_field(data, len, field, part) != 1 || part->len < LARGE) {
		*part = (struct wire_part){0};
		return unpack(d, data, len, err);
	}
	before = (size_t)(part->begin - data);
	after = len - (size_t)(part->end - data);
	rest = malloc(before + after + 1);
	if (rest == NULL) {
		error_set(err, "protobuf: no memory for %zu bytes", before + after);
		return NULL;
	}
	memcpy(rest, data, before);
	memcpy(rest + before, part->end, after);
	m = unpack(d, rest, before + after, err);
	free(rest);
	return m;
}

void
wire_free(ProtobufCMessage *m)
{
	/* the budget's memory is malloc's */
	if (m != NULL)
		protobuf_c_message_free_unpacked(m, NULL);
}

int
wire_frame(
    const uint8_t *data, size_t len, const uint8_t **body, size_t *body_len, struct error *err)
{
	struct bytes b = {data, data + len};
	uint64_t header;

	if (varint(&b, &header) == -1)
		return error_set(
		    err, "the header before an OpAMP message is cut or longer than ten bytes");
	if (header != 0)
		return error_set(err, "the header before an OpAMP message is %llu, not 0",
		    (unsigned long long)header);
	*body = b.p;
	*body_len = (size_t)(b.end - b.p);
	return 0;
}
