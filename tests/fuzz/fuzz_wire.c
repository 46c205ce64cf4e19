/*
 * fuzz_wire.c: any bytes as an OpAMP message of either kind: what the scan accepts is decoded within
 * its budget, and what is packed again is accepted again.
 */
#include <stdint.h>
#include <stdlib.h>

#include "netd/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *body;
	size_t len;

	if (wire_frame(data, size, &body, &len, NULL) == -1)
		return 0;
	one(&opamp__proto__v1__agent_to_server__descriptor, body, len);
	one(&opamp__proto__v1__server_to_agent__descriptor, body, len);
	return 0;
}
