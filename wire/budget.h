/*
 * budget.h: a protobuf-c allocator with a limit.  netd, link, hub.
 * protobuf-c has no limits of its own: a message that decodes to many times its size ends here.
 */
#ifndef WIRE_BUDGET_H
#define WIRE_BUDGET_H

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

struct budget {
	ProtobufCAllocator allocator; /* hand out &budget.allocator */
	size_t left;
	int exceeded;
};

/* limit in bytes; memory comes zeroed. */
void budget_init(struct budget *b, size_t limit);

#endif
