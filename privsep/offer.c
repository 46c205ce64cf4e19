/*
 * offer.c: a remote configuration in one buffer (see offer.h).  netd packs; confd and merge open.
 * Layout: struct head, then count struct entry, then bytes; offsets from the start of the buffer.
 */
#include "offer.h"

#include <stdlib.h>
#include <string.h>

#define OFFER_MAGIC 0x4f46464fu

struct range {
	uint32_t offset, len;
};

struct head {
	uint32_t magic, empty_map, count;
	struct range hash;
};

struct entry {
	struct range name, type, body;
};

static int
check_limits(const struct offer *o, size_t total_limit, size_t *bytes, struct error *err)
{
	size_t i, total = 0;

	if (o->count > LIMIT_CONFIG_FILES)
		return error_set(err, "configuration of %u files, more than the %u allowed",
		    o->count, LIMIT_CONFIG_FILES);
	if (o->hash.len > LIMIT_CONFIG_HASH)
		return error_set(err, "config_hash of %zu bytes, more than the %u allowed",
		    o->hash.len, LIMIT_CONFIG_HASH);
	*bytes = o->hash.len;
	for (i = 0; i < o->count; i++) {
		const struct offer_file *f = &o->files[i];

		if (f->name.len > LIMIT_CONFIG_NAME || f->type.len > LIMIT_CONFIG_NAME)
			return error_set(err, "file name or content type of more than %u bytes",
			    LIMIT_CONFIG_NAME);
		if (f->body.len > total_limit || total + f->body.len > total_limit)
			return error_set(err,
			    "configuration larger than the %zu bytes allowed (limits.config_size)",
			    total_limit);
		total += f->body.len;
		*bytes += f->name.len + f->type.len + f->body.len;
	}
	return 0;
}

static struct range
put(char *data, size_t *pos, struct offer_part part)
{
	struct range r = {(uint32_t)*pos, (uint32_t)part.len};

	if (part.len > 0)
		memcpy(data + *pos, part.data, part.len);
	*pos += part.len;
	return r;
}

int
offer_pack(const struct offer *o, size_t total_limit, char **data, size_t *len, struct error *err)
{
	struct head head = {OFFER_MAGIC, o->empty_map != 0, o->count, {0, 0}};
	struct entry entry;
	size_t pos, bytes = 0, i;
	char *buf;

	if (check_limits(o, total_limit, &bytes, err) == -1)
		return -1;
	pos = sizeof(head) + o->count * sizeof(entry);
	buf = malloc(pos + bytes);
	if (buf == NULL)
		return error_set(err, "no memory for a configuration of %zu bytes", bytes);
	*len = pos + bytes;
	head.hash = put(buf, &pos, o->hash);
	memcpy(buf, &head, sizeof(head));
	for (i = 0; i < o->count; i++) {
		entry.name = put(buf, &pos, o->files[i].name);
		entry.type = put(buf, &pos, o->files[i].type);
		entry.body = put(buf, &pos, o->files[i].body);
		memcpy(buf + sizeof(head) + i * sizeof(entry), &entry, sizeof(entry));
	}
	*data = buf;
	return 0;
}

/* Ranges must follow one another without gap or overlap: there is one form for one content. */
static int
take(const char *data, size_t len, size_t *pos, struct range r, struct offer_part *part)
{
	if (r.offset != *pos || r.len > len - *pos)
		return -1;
	part->data = data + *pos;
	part->len = r.len;
	*pos += r.len;
	return 0;
}

static int
same_part(const struct offer_part *a, const struct offer_part *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

int
offer_open(struct offer *o, const void *data, size_t len, size_t total_limit, struct error *err)
{
	const char *p = data;
	struct head head;
	struct entry entry;
	size_t pos, bytes, i, k;

	memset(o, 0, sizeof(*o));
	if (len < sizeof(head) || len > UINT32_MAX)
		return error_set(err, "offer of %zu bytes is no offer", len);
	memcpy(&head, p, sizeof(head));
	if (head.magic != OFFER_MAGIC || head.empty_map > 1 || head.count > LIMIT_CONFIG_FILES ||
	    len - sizeof(head) < head.count * sizeof(entry))
		return error_set(err, "offer with a broken head");
	o->empty_map = head.empty_map;
	o->count = head.count;
	o->files = calloc(head.count == 0 ? 1 : head.count, sizeof(*o->files));
	if (o->files == NULL)
		return error_set(err, "no memory for the table of an offer");
	pos = sizeof(head) + head.count * sizeof(entry);
	if (take(p, len, &pos, head.hash, &o->hash) == -1)
		goto broken;
	for (i = 0; i < head.count; i++) {
		memcpy(&entry, p + sizeof(head) + i * sizeof(entry), sizeof(entry));
		if (take(p, len, &pos, entry.name, &o->files[i].name) == -1 ||
		    take(p, len, &pos, entry.type, &o->files[i].type) == -1 ||
		    take(p, len, &pos, entry.body, &o->files[i].body) == -1)
			goto broken;
		for (k = 0; k < i; k++)
			if (same_part(&o->files[k].name, &o->files[i].name)) {
				offer_close(o);
				return error_set(err, "two files with the same name");
			}
	}
	if (pos != len)
		goto broken;
	if (check_limits(o, total_limit, &bytes, err) == -1) {
		offer_close(o);
		return -1;
	}
	return 0;
broken:
	offer_close(o);
	return error_set(err, "offer with a broken table");
}

void
offer_close(struct offer *o)
{
	free(o->files);
	memset(o, 0, sizeof(*o));
}
