/*
 * fuzz_hub_text.c: opamphub's small readers.  Input: which (one byte), then its text: z gzip, s a selector
 * and after a line's end attributes, y YAML for the editor's problems, f a configuration's files as JSON,
 * u a uid.
 */
#include <stdlib.h>
#include <string.h>

#include "hub/config_files.h"
#include "hub/gzip.h"
#include "hub/json_read.h"
#include "hub/selector.h"
#include "hub/yaml_problems.h"
#include "hub/hub.h"

#define MOST 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
gzip(const uint8_t *data, size_t size)
{
	char *plain, *packed, *again;
	size_t len, packed_len, again_len;

	if (gzip_inflate(data, size, MOST, &plain, &len) != 0)
		return;
	if (len > MOST)
		abort();
	if (len > 0 && gzip_deflate(plain, len, &packed, &packed_len) == 0) {
		if (gzip_inflate(packed, packed_len, len, &again, &again_len) != 0 ||
		    again_len != len || memcmp(plain, again, len) != 0)
			abort();
		free(again);
		free(packed);
	}
	free(plain);
}

static void
selector(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\n', size);
	struct bytes text = {(const char *)data, end == NULL ? size : (size_t)(end - data)},
		     list[8];
	struct selector s;
	struct error err;
	size_t count = 0, i, used = 0;

	if (selector_read(&s, text, &err) == -1)
		return;
	if (s.count > SELECTOR_PAIRS)
		abort();
	for (i = 0; i < s.count; i++)
		used += s.pairs[i].name.len + s.pairs[i].value.len;
	if (used > sizeof(s.text) || (text.len == 0) != (s.count == 0))
		abort();
	size -= text.len + (end != NULL);
	data += text.len + (end != NULL);
	while (size > 0 && count < 8) {
		end = memchr(data, '\n', size);
		list[count] =
		    (struct bytes){(const char *)data, end == NULL ? size : (size_t)(end - data)};
		i = list[count++].len + (end != NULL);
		data += i;
		size -= i;
	}
	(void)selector_fits(&s, list, count);
}

static void
files(const uint8_t *data, size_t size)
{
	struct record_writer w = {0};
	struct record r;
	struct record_entry e;
	struct error err;
	json_error_t fault;
	json_t *j = json_read(
	    (const char *)data, size, JSON_REJECT_DUPLICATES, LIMIT_HUB_JSON_PIECES, &fault, NULL);
	uint8_t hash[32], again[32];
	size_t len, pos = 0, count = 0;
	char *out;

	if (j != NULL && config_files_check(j, &err) == 0) {
		config_files_hash(j, hash);
		config_files_hash(j, again);
		config_files_put(&w, j);
		if (memcmp(hash, again, sizeof(hash)) != 0 ||
		    record_finish(&w, &out, &len, &err) == -1 ||
		    record_open(&r, out, len, &err) == -1)
			abort();
		while (record_next(&r, &pos, KEY_FILE_BODY, &e))
			count++;
		if (count != json_object_size(j))
			abort();
		free(out);
	}
	json_decref(j);
}

static void
yaml(const uint8_t *data, size_t size)
{
	json_t *problems = json_array();

	yaml_problems(problems, "f", (const char *)data, size);
	if (json_array_size(problems) > 200)
		abort();
	json_decref(problems);
}

static void
uid(const uint8_t *data, size_t size)
{
	uint8_t u[16], again[16];
	char text[UID_TEXT];

	if (uid_read(u, (const char *)data, size) == -1)
		return;
	uid_text(text, u);
	if (uid_read(again, text, strlen(text)) == -1 || memcmp(u, again, sizeof(u)) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0]) {
	case 'z':
		gzip(data + 1, size - 1);
		break;
	case 's':
		selector(data + 1, size - 1);
		break;
	case 'y':
		yaml(data + 1, size - 1);
		break;
	case 'f':
		files(data + 1, size - 1);
		break;
	case 'u':
		uid(data + 1, size - 1);
		break;
	default:
		break;
	}
	return 0;
}
