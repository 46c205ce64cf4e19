/*
 * settings_meaning.c: what each setting is for, in words (see settings.h).  Documents and merge, which tells
 * it to who wrote a key that is refused; no daemon carries it.
 */
#include "settings.h"

static const char *const meanings[SET_COUNT] = {
#define SETTING(id, name, type, min, max, words, otherwise, required, to, meaning)                 \
	[SET_##id] = (meaning),
    SETTING_TABLE
#undef SETTING
};

const char *
setting_meaning(enum setting key)
{
	return key < SET_COUNT ? meanings[key] : NULL;
}
