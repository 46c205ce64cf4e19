/*
 * selector.h: "name=value,name=value": which agents are meant, by their attributes; all pairs must
 * hold, and none fits every agent.  opamphub-store.  A comma or backslash in a value is written \, or \\.
 */
#ifndef HUB_SELECTOR_H
#define HUB_SELECTOR_H

#include "store.h"

#define SELECTOR_PAIRS 16
#define SELECTOR_TEXT  1024

struct selector {
	size_t count;
	struct {
		struct bytes name, value; /* in text */
	} pairs[SELECTOR_PAIRS];
	char text[SELECTOR_TEXT];
};

/* -1: err says what is wrong with it, for people. */
int selector_read(struct selector *s, struct bytes text, struct error *err);

/* list: "name=value" each, as store_agent_attributes takes them. */
int selector_fits(const struct selector *s, const struct bytes *list, size_t count);

#endif
