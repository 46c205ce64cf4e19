/*
 * budget.c: a protobuf-c allocator with a limit (see budget.h).  netd, link, hub.
 * What is freed does not come back: a message is decoded once, and its cost is what it asked for.
 */
#include "budget.h"

#include <stdlib.h>

#define OVERHEAD 32 /* malloc's own, roughly: a million empty elements are not free */

static void *
take(void *ctx, size_t size)
{
	struct budget *b = ctx;
	size_t cost;

	if (__builtin_add_overflow(size, (size_t)OVERHEAD, &cost) || cost > b->left) {
		b->exceeded = 1;
		return NULL;
	}
	b->left -= cost;
	return calloc(1, size == 0 ? 1 : size);
}

static void
give(void *ctx, void *p)
{
	(void)ctx;
	free(p);
}

void
budget_init(struct budget *b, size_t limit)
{
	b->allocator.alloc = take;
	b->allocator.free = give;
	b->allocator.allocator_data = b;
	b->left = limit;
	b->exceeded = 0;
}
