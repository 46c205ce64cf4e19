/*
 * json_read.h: foreign JSON, read within bounds.  opamphub-store.
 * A text of some megabytes can need hundreds of megabytes once it is read ("[[],[],[],..."): no more
 * than LIMIT_HUB_JSON_FACTOR times its size, and 1 MiB, are taken for it.
 */
#ifndef HUB_JSON_READ_H
#define HUB_JSON_READ_H

#include <jansson.h>

/*
 * As json_loadb.  most: so many pieces of memory may be taken, each value needs one to three.  NULL: fault
 * says why; *too_large (may be NULL): it would have needed too much memory.
 */
json_t *json_read(
    const char *text, size_t len, size_t flags, size_t most, json_error_t *fault, int *too_large);

#endif
