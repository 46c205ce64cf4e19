/*
 * wire.h: OpAMP messages from foreign bytes: a look at the wire before protobuf-c decodes it, within
 * limits.h, and the header that goes before each message on WebSocket.  netd, link, hub.
 * OpAMP: WebSocket Message Format.
 */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "budget.h"
#include "opamp/v1/opamp.pb-c.h"
#include "privsep/error.h"

/*
 * Checks every byte against the descriptor: depth, number of fields and elements, UTF-8 without NUL in
 * strings, sizes, wire types; groups and overlong varints are refused.  Unknown fields are skipped.
 * err names the path of the field at fault.
 */
int wire_scan(
    const ProtobufCMessageDescriptor *d, const uint8_t *data, size_t len, struct error *err);

/*
 * wire_scan, then unpack under a budget of LIMIT_PB_BUDGET_FACTOR times the size and 1 MiB; unknown
 * fields are dropped, so that they are not packed again.  NULL with err, or a message for wire_free.
 */
ProtobufCMessage *wire_unpack(
    const ProtobufCMessageDescriptor *d, const uint8_t *data, size_t len, struct error *err);
void wire_free(ProtobufCMessage *m);

/*
 * As wire_scan.  1: the bytes may be handed on as they are; 0: there are fields in them that are not in the
 * descriptor, which unpacking would drop.
 */
int wire_scan_known(
    const ProtobufCMessageDescriptor *d, const uint8_t *data, size_t len, struct error *err);

struct wire_part { /* a length-delimited field, borrowed from its message */
	const uint8_t *data;
	size_t len;
	const uint8_t *begin, *end; /* with its key and length */
};

struct wire_walk { /* over a scanned message: {data, data + len} at first */
	const uint8_t *p, *end;
};

/* The next length-delimited field, others are passed over; 0: there is none. */
int wire_next(struct wire_walk *w, uint32_t *field, struct wire_part *part);

/* How many fields of that number a scanned message has, and the last of them; 0 for other wire types. */
size_t wire_field(const uint8_t *data, size_t len, uint32_t field, struct wire_part *part);

/*
 * wire_unpack, but one large field of that number stays where it is: part->data is it, and the message is without
 * it.  NULL where it is small, not there, or there more than once, and then the message is whole.
 */
ProtobufCMessage *wire_unpack_beside(const ProtobufCMessageDescriptor *d, const uint8_t *data,
    size_t len, uint32_t field, struct wire_part *part, struct error *err);

/*
 * The varint header of a message received over WebSocket must be 0 (any encoding of up to ten bytes).
 * *body and *body_len get what follows; an empty body is a valid empty message (FR-03, FR-04).
 */
int wire_frame(
    const uint8_t *data, size_t len, const uint8_t **body, size_t *body_len, struct error *err);

#define WIRE_HEADER 0x00 /* what we send before each message (FR-02) */

/* Is it UTF-8 as RFC 3629 has it, without NUL? */
int wire_utf8(const uint8_t *s, size_t len);

#endif
