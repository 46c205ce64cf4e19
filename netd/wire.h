/*
 * wire.h: OpAMP messages from foreign bytes: a look at the wire before protobuf-c decodes it, within
 * limits.h, and the header that goes before each message on WebSocket.  netd, link, hub.
 * OpAMP: WebSocket Message Format.
 */
#ifndef NETD_WIRE_H
#define NETD_WIRE_H

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
 * The varint header of a message received over WebSocket must be 0 (any encoding of up to ten bytes).
 * *body and *body_len get what follows; an empty body is a valid empty message (FR-03, FR-04).
 */
int wire_frame(
    const uint8_t *data, size_t len, const uint8_t **body, size_t *body_len, struct error *err);

#define WIRE_HEADER 0x00 /* what we send before each message (FR-02) */

/* Is it UTF-8 as RFC 3629 has it, without NUL? */
int wire_utf8(const uint8_t *s, size_t len);

#endif
