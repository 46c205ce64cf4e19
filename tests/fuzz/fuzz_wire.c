/*
 * fuzz_wire.c: any bytes as an OpAMP message of either kind: what the scan accepts is decoded within
 * its budget, is no deeper than the limit, and what is packed again is accepted again; a large part that is
 * left in place says the same as one that is decoded with the rest; and text is UTF-8 for us when it is for
 * a plain reader.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/limits.h"
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How deep it is; what the table says of a message is protobuf-c's, not ours. */
static int
depth_of(const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	ProtobufCMessage *const *list, *one;
	int deepest = 0, deep;
	uint32_t which;
	size_t n, k;
	unsigned i;

	for (i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		const char *at = (const char *)m + f->offset;

		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		memcpy(&one, at, sizeof(one));
		list = &one;
		n = one != NULL;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			memcpy(&n, (const char *)m + f->quantifier_offset, sizeof(n));
			memcpy(&list, at, sizeof(list));
		} else if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
			memcpy(&which, (const char *)m + f->quantifier_offset, sizeof(which));
			n = which == f->id && one != NULL;
		}
		for (k = 0; k < n; k++) {
			deep = depth_of(list[k]);
			deepest = deep > deepest ? deep : deepest;
		}
	}
	return deepest + 1;
}

/* Bytes of the character at s, 0 = none: by writing each candidate down and comparing. */
static size_t
plain_character(const uint8_t *s, size_t len)
{
	static const uint32_t from[] = {1, 0x80, 0x800, 0x10000, 0x110000};
	uint8_t written[4];
	uint32_t c = 0;
	size_t n, i;

	for (n = 1; n <= 4 && n <= len; n++) {
		c = n == 1 ? s[0] : s[0] & (0xffu >> (n + 1));
		for (i = 1; i < n; i++)
			c = c << 6 | (s[i] & 63u);
		if (c < from[n - 1] || c >= from[n] || (c >= 0xd800 && c < 0xe000))
			continue;
		written[0] = (uint8_t)(n == 1 ? c : (0xf00u >> n & 0xff) | c >> (6 * (n - 1)));
		for (i = 1; i < n; i++)
			written[i] = (uint8_t)(0x80 | (c >> (6 * (n - 1 - i)) & 63));
		if (memcmp(written, s, n) == 0)
			return n;
	}
	return 0;
}

static void
text(const uint8_t *s, size_t len)
{
	int ours = wire_utf8(s, len);
	size_t at = 0, n;

	while (at < len && (n = plain_character(s + at, len - at)) > 0)
		at += n;
	if (ours != (at == len))
		abort();
}

static void
one(const ProtobufCMessageDescriptor *d, const uint8_t *data, size_t size)
{
	ProtobufCMessage *m, *again;
	struct error err;
	uint8_t *packed;
	size_t len;

	m = wire_unpack(d, data, size, &err);
	if (m == NULL)
		return;
	if (depth_of(m) > (int)LIMIT_PB_DEPTH)
		abort();
	len = protobuf_c_message_get_packed_size(m);
	packed = malloc(len + 1);
	if (packed == NULL || protobuf_c_message_pack(m, packed) != len)
		abort();
	again = wire_unpack(d, packed, len, &err);
	if (again == NULL)
		abort();
	wire_free(again);
	wire_free(m);
	free(packed);
}

/* The whole and the part of it that stays where it is, put together again. */
static void
beside(const uint8_t *data, size_t size)
{
	const ProtobufCMessageDescriptor *d = &opamp__proto__v1__agent_to_server__descriptor;
	Opamp__Proto__V1__AgentToServer *whole, *rest;
	ProtobufCMessage *effective = NULL;
	struct wire_part part;
	uint8_t *one_way, *other;
	size_t len;

	whole = (Opamp__Proto__V1__AgentToServer *)wire_unpack(d, data, size, NULL);
	rest = (Opamp__Proto__V1__AgentToServer *)wire_unpack_beside(d, data, size, 6, &part, NULL);
	if (whole != NULL && rest == NULL)
		abort();
	if (whole == NULL) { /* its part may be what takes too much memory */
		wire_free(rest == NULL ? NULL : &rest->base);
		return;
	}
	if (part.data != NULL) {
		effective = wire_unpack(
		    &opamp__proto__v1__effective_config__descriptor, part.data, part.len, NULL);
		if (effective == NULL || rest->effective_config != NULL)
			abort();
		rest->effective_config = (Opamp__Proto__V1__EffectiveConfig *)effective;
	}
	len = protobuf_c_message_get_packed_size(&whole->base);
	if (len != protobuf_c_message_get_packed_size(&rest->base))
		abort();
	one_way = malloc(2 * len + 1);
	if (one_way == NULL)
		abort();
	other = one_way + len;
	(void)protobuf_c_message_pack(&whole->base, one_way);
	(void)protobuf_c_message_pack(&rest->base, other);
	if (memcmp(one_way, other, len) != 0)
		abort();
	free(one_way);
	wire_free(&whole->base);
	wire_free(&rest->base);
}

/* The input's message with a large effective configuration behind it, which begins with other bytes of it. */
static void
beside_large(const uint8_t *data, size_t size)
{
	const size_t large = 64 * KIB, first = size / 2, second = size - first;
	const size_t inner = second + 4 + large, room = size + large + 64;
	uint8_t *text = malloc(room), *p = text;
	int shift;

	if (text == NULL)
		abort();
	memcpy(p, data, first);
	p += first;
	*p++ = 6 << 3 | 2;
	for (shift = 0; shift < 14; shift += 7)
		*p++ = (uint8_t)(0x80 | (inner >> shift & 0x7f));
	*p++ = (uint8_t)(inner >> 14);
	memcpy(p, data + first, second);
	p += second;
	*p++ = 15 << 3 | 2; /* a field that nobody knows, large */
	for (shift = 0; shift < 14; shift += 7)
		*p++ = (uint8_t)(0x80 | (large >> shift & 0x7f));
	*p++ = (uint8_t)(large >> 14);
	memset(p, 'x', large);
	p += large;
	beside(text, (size_t)(p - text));
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *body;
	size_t len;

	text(data, size);
	if (wire_frame(data, size, &body, &len, NULL) == -1)
		return 0;
	one(&opamp__proto__v1__agent_to_server__descriptor, body, len);
	one(&opamp__proto__v1__server_to_agent__descriptor, body, len);
	beside(body, len);
	if (len % 16 == 0 && len < 8 * KIB) /* it takes its time */
		beside_large(body, len);
	return 0;
}
