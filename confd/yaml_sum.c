/*
 * yaml_sum.c: one number for a tree (see yaml.h).  merge only.
 */
#include <string.h>

#include "privsep/limits.h"
#include "yaml.h"

#define PLAIN 1 /* YAML_PLAIN_SCALAR_STYLE */

static uint64_t
mix(uint64_t sum, uint64_t word)
{
	sum = (sum ^ word) * 0x9e3779b97f4a7c15u; /* the golden ratio */
	return sum ^ sum >> 32;
}

static uint64_t
mix_text(uint64_t sum, const char *text, size_t len)
{
	uint64_t word;
	size_t i;

	sum = mix(sum, len);
	for (i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, text + i, sizeof(word));
		sum = mix(sum, word);
	}
	word = 0;
	memcpy(&word, text + i, len - i);
	return mix(sum, word);
}

static uint64_t
add(uint64_t sum, const struct yaml_node *n, int depth)
{
	size_t i;

	if (depth > 2 * (int)LIMIT_YAML_DEPTH)
		return sum;
	sum = mix(sum, n->kind);
	sum = n->tag == NULL ? mix(sum, 1) : mix_text(sum, n->tag, strlen(n->tag));
	if (n->kind == YAML_SCALAR) {
		/* what tree_equal says of plain and quoted */
		sum = mix(sum, n->tag == NULL && tree_always_string(n) ? 2 : n->style == PLAIN);
		return mix_text(sum, n->value, n->len);
	}
	sum = mix(sum, n->count);
	for (i = 0; i < n->count; i++) {
		if (n->kind == YAML_MAP)
			sum = add(sum, n->pairs[i].key, depth + 1);
		sum = add(sum, n->kind == YAML_MAP ? n->pairs[i].value : n->items[i], depth + 1);
	}
	return sum;
}

uint64_t
tree_sum(const struct yaml_node *n)
{
	uint64_t sum = n == NULL ? 1 : add(1, n, 0);

	return sum == 0 ? 1 : sum;
}
