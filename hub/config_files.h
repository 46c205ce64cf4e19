/*
 * config_files.h: a configuration's files between their forms: JSON {name: {"content_type", "body"}}
 * as API and store have them, and entries of a record as front wants them; and their hash.
 * opamphub-store.
 */
#ifndef HUB_CONFIG_FILES_H
#define HUB_CONFIG_FILES_H

#include <jansson.h>

#include "frames.h"
#include "store.h"

/*
 * Are they files that can be offered?  Names unique and without control characters, one to
 * LIMIT_CONFIG_FILES of them (or none: "run without remote configuration"), bodies of text, together
 * at most LIMIT_CONFIG_BYTES.  -1: err says which is not.
 */
int config_files_check(const json_t *files, struct error *err);

/*
 * SHA-256 over the files sorted by name: for name, content type and body the length in bytes (64
 * bits, big-endian) and then the bytes.
 */
void config_files_hash(const json_t *files, uint8_t hash[32]);

/* KEY_FILE_NAME, _TYPE and _BODY of each. */
void config_files_put(struct record_writer *w, const json_t *files);

#endif
