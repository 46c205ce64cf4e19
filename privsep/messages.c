/*
 * messages.c: the rules made from MESSAGE_TABLE (see messages.h).  Every process.
 */
#include "messages.h"

#include <string.h>

const struct message_rule message_rules[MSG_COUNT] = {
#define MESSAGE(name_, from_, to_, payload_, tail_, fd_, meaning_)                                 \
	[MSG_##name_] = {.name = #name_,                                                           \
	    .from = (from_),                                                                       \
	    .to = (to_),                                                                           \
	    .size = sizeof(struct payload_),                                                       \
	    .tail = (tail_),                                                                       \
	    .fd = (fd_)},
    MESSAGE_TABLE
#undef MESSAGE
};

static const char *const names[PROC_COUNT] = {
    [PROC_NOBODY] = "nobody",
    [PROC_PARENT] = "parent",
    [PROC_NETD] = "netd",
    [PROC_LINK] = "link",
    [PROC_CONFD] = "confd",
    [PROC_PROCD] = "procd",
    [PROC_CONNECT] = "connect",
    [PROC_MERGE] = "merge",
};

const char *
proc_name(uint32_t proc)
{
	return proc < PROC_COUNT ? names[proc] : names[PROC_NOBODY];
}

enum proc
proc_by_name(const char *name)
{
	uint32_t i;

	for (i = PROC_PARENT; i < PROC_COUNT; i++)
		if (strcmp(names[i], name) == 0)
			return (enum proc)i;
	return PROC_NOBODY;
}
