/*
 * messages_meaning.c: the messages in words (see messages.h).  Documents; no daemon carries it.
 */
#include "messages.h"

#include <stddef.h>

static const char *const meanings[MSG_COUNT] = {
#define MESSAGE(name, from, to, payload, tail, fd, meaning) [MSG_##name] = (meaning),
    MESSAGE_TABLE
#undef MESSAGE
};

const char *
message_meaning(uint32_t type)
{
	return type < MSG_COUNT ? meanings[type] : NULL;
}
