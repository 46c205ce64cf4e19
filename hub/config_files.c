/*
 * config_files.c: a configuration's files between their forms (see config_files.h).
 */
#include "config_files.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "privsep/limits.h"
#include "privsep/log.h"

static const char *
text_of(const json_t *file, const char *member, size_t *len)
{
	const json_t *t = json_object_get(file, member);

	*len = t == NULL ? 0 : json_string_length(t);
	return t == NULL ? "" : json_string_value(t);
}

int
config_files_check(const json_t *files, struct error *err)
{
	const char *name;
	const json_t *file;
	size_t total = 0, len, i;

	if (!json_is_object(files))
		return error_set(err, "files: not an object of names and files");
	if (json_object_size(files) > LIMIT_CONFIG_FILES)
		return error_set(err, "files: more than %d", LIMIT_CONFIG_FILES);
	json_object_foreach((json_t *)(uintptr_t)files, name, file)
	{
		if (strlen(name) > LIMIT_CONFIG_NAME)
			return error_set(
			    err, "files: a name longer than %d bytes", LIMIT_CONFIG_NAME);
		for (i = 0; name[i] != '\0'; i++)
			if ((unsigned char)name[i] < ' ' || name[i] == 127)
				return error_set(err, "files: a control character in a name");
		if (!json_is_object(file) || !json_is_string(json_object_get(file, "body")) ||
		    (json_object_get(file, "content_type") != NULL &&
			!json_is_string(json_object_get(file, "content_type"))))
			return error_set(err,
			    "files: \"%.200s\" is not {\"content_type\": text, \"body\": text}",
			    name);
		(void)text_of(file, "body", &len);
		total += len;
	}
	if (total > LIMIT_CONFIG_BYTES)
		return error_set(err, "files: %zu bytes together; at most %u can be offered", total,
		    LIMIT_CONFIG_BYTES);
	return 0;
}

static void
add(EVP_MD_CTX *h, const char *data, size_t len)
{
	uint8_t size[8];
	int i;

	for (i = 0; i < 8; i++)
		size[i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
	(void)EVP_DigestUpdate(h, size, sizeof(size));
	(void)EVP_DigestUpdate(h, data, len);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void
config_files_hash(const json_t *files, uint8_t hash[32])
{
	const char *names[LIMIT_CONFIG_FILES] = {NULL}, *name, *text;
	const json_t *file;
	EVP_MD_CTX *h = EVP_MD_CTX_new();
	size_t n = 0, i, len;

	json_object_foreach((json_t *)(uintptr_t)files, name, file) if (n < LIMIT_CONFIG_FILES)
	    names[n++] = name;
	qsort(names, n, sizeof(names[0]), by_name);
	if (h == NULL || EVP_DigestInit_ex(h, EVP_sha256(), NULL) != 1)
		fatal("SHA-256 cannot be had");
	for (i = 0; i < n; i++) {
		file = json_object_get(files, names[i]);
		add(h, names[i], strlen(names[i]));
		text = text_of(file, "content_type", &len);
		add(h, text, len);
		text = text_of(file, "body", &len);
		add(h, text, len);
	}
	(void)EVP_DigestFinal_ex(h, hash, NULL);
	EVP_MD_CTX_free(h);
}

void
config_files_put(struct record_writer *w, const json_t *files)
{
	const char *name, *text;
	const json_t *file;
	size_t len;

	json_object_foreach((json_t *)(uintptr_t)files, name, file)
	{
		record_put_string(w, KEY_FILE_NAME, name);
		text = text_of(file, "content_type", &len);
		record_put(w, KEY_FILE_TYPE, 0, 0, text, len);
		text = text_of(file, "body", &len);
		record_put(w, KEY_FILE_BODY, 0, 0, text, len);
	}
}
