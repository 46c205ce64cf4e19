/*
 * web_static.c: the page's files, which are in the program itself (hub/static, embedded by
 * hub/embed.py).  opamphub-store.
 */
#include <stdio.h>
#include <string.h>

#include "static.h"
#include "web_inside.h"

int
web_static(struct web_request *q)
{
	const char *name = strcmp(q->path, "/") == 0 ? "/index.html" : q->path;
	const struct static_file *f;

	if (q->method != METHOD_GET)
		return 0;
	for (f = static_files; f->name != NULL; f++)
		if (strcmp(f->name, name) == 0) {
			web_reply(q, 200, f->type, f->data, f->len);
			return 1;
		}
	return 0;
}
