/*
 * static.h: files that are part of opamphub-store; made by hub/embed.py from hub/static and
 * hub/openapi.json.
 */
#ifndef HUB_STATIC_H
#define HUB_STATIC_H

#include <stddef.h>

struct static_file {
	const char *name, *type; /* "/app.js", its media type */
	const void *data;
	size_t len;
};

extern const struct static_file static_files[]; /* ends with name NULL */
extern const char hub_openapi[];
extern const size_t hub_openapi_size;

#endif
