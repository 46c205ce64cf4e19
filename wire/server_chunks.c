/*
 * server_chunks.c: the body of a request that comes in chunks (see server_chunks.h).
 */
#include "server_chunks.h"

#include <stdlib.h>

#include <event2/buffer.h>

#include "http_body.h"

struct server_chunks {
	struct http_body body;
	struct evbuffer *kept;
};

struct server_chunks *
server_chunks_new(size_t limit)
{
	struct server_chunks *c = calloc(1, sizeof(*c));

	if (c == NULL || (c->kept = evbuffer_new()) == NULL) {
		free(c);
		return NULL;
	}
	http_body_begin_chunks(&c->body, c->kept, limit);
	return c;
}

int
server_chunks_take(struct server_chunks *c, struct evbuffer *in, struct error *err)
{
	size_t len = evbuffer_get_length(in), used = 0;
	const char *data = (const char *)evbuffer_pullup(in, -1);
	int r;

	if (len == 0)
		return 0;
	if (data == NULL) {
		error_set(err, "out of memory");
		return 503;
	}
	r = http_body_input(&c->body, data, len, &used, err);
	(void)evbuffer_drain(in, used);
	if (c->body.cut) {
		error_set(err, "a body longer than the limit");
		return 413;
	}
	return r == -1 ? 400 : r == 1 ? 200 : 0;
}

unsigned char *
server_chunks_body(struct server_chunks *c, size_t *len)
{
	*len = evbuffer_get_length(c->kept);
	return evbuffer_pullup(c->kept, -1);
}

size_t
server_chunks_memory(const struct server_chunks *c)
{
	return c == NULL ? 0 : evbuffer_get_length(c->kept);
}

void
server_chunks_free(struct server_chunks *c)
{
	if (c == NULL)
		return;
	evbuffer_free(c->kept);
	free(c);
}
