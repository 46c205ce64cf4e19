/*
 * json_read.c: foreign JSON, read within bounds (see json_read.h).
 * jansson's allocator has no context: what may still be taken stands in this file, and counts only
 * while something is read.
 */
#include "json_read.h"

#include <malloc.h>
#include <stdlib.h>

#include "privsep/limits.h"

static struct {
	size_t left, pieces;
	int reading, exceeded;
} budget;

static void *
take(size_t size)
{
	void *p;
	size_t cost;

	if (budget.reading && (size > budget.left || budget.pieces == 0)) {
		budget.exceeded = 1;
		return NULL;
	}
	budget.pieces -= budget.reading != 0;
	p = malloc(size);
	if (p != NULL && budget.reading) {
		cost = malloc_usable_size(p) + sizeof(size_t);
		budget.left -= cost < budget.left ? cost : budget.left;
	}
	return p;
}

static void
give(void *p)
{
	if (p != NULL && budget.reading)
		budget.left += malloc_usable_size(p) + sizeof(size_t);
	free(p);
}

json_t *
json_read(
    const char *text, size_t len, size_t flags, size_t most, json_error_t *fault, int *too_large)
{
	json_t *j;

	json_set_alloc_funcs(take, give);
	budget.left = LIMIT_HUB_JSON_FACTOR * len + 1 * MIB;
	budget.pieces = most;
	budget.exceeded = 0;
	budget.reading = 1;
	j = json_loadb(text, len, flags, fault);
	budget.reading = 0;
	if (too_large != NULL)
		*too_large = j == NULL && budget.exceeded;
	return j;
}
