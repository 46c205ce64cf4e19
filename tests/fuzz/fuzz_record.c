/*
 * fuzz_record.c: a settings section, an offer and a file with the link's secret as a taken-over writer would
 * make them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "privsep/link_file.h"
#include "privsep/memfd.h"
#include "privsep/offer.h"
#include "privsep/record.h"
#include "privsep/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted under a limit keeps it. */
static void
small_offer(const uint8_t *data, size_t size)
{
	size_t limit = size / 4, total = 0, i;
	struct offer o;

	if (offer_open(&o, data, size, limit, NULL) == -1)
		return;
	for (i = 0; i < o.count; i++) {
		if (o.files[i].name.len > LIMIT_CONFIG_NAME ||
		    o.files[i].type.len > LIMIT_CONFIG_NAME)
			abort();
		total += o.files[i].body.len;
	}
	if (total > limit || o.count > LIMIT_CONFIG_FILES || o.hash.len > LIMIT_CONFIG_HASH)
		abort();
	offer_close(&o);
}

static int
is_secret(const uint8_t *data, size_t size)
{
	const size_t before = sizeof(LINK_FILE_BEFORE) - 1, after = sizeof(LINK_FILE_AFTER) - 1;
	size_t i;

	if (size != before + LINK_FILE_DIGITS + after ||
	    memcmp(data, LINK_FILE_BEFORE, before) != 0 ||
	    memcmp(data + size - after, LINK_FILE_AFTER, after) != 0)
		return 0;
	for (i = 0; i < LINK_FILE_DIGITS; i++)
		if (data[before + i] == 0 || strchr("0123456789abcdef", data[before + i]) == NULL)
			return 0;
	return 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record_entry e;
	struct record r;
	struct settings s;
	struct offer o;
	size_t pos = 0, total = 0;
	char *again;
	uint32_t self;
	int fd;

	if (record_open(&r, data, size, NULL) == 0)
		while (record_next(&r, &pos, 0, &e))
			for (total = 0; total < e.len; total++)
				pos += (size_t)(e.value[total] & 0); /* touch every byte */
	if (offer_open(&o, data, size, LIMIT_CONFIG_BYTES, NULL) == 0) {
		if (offer_pack(&o, LIMIT_CONFIG_BYTES, &again, &total, NULL) == -1 || total != size)
			abort();
		free(again);
		offer_close(&o);
	}
	small_offer(data, size);
	fd = memfd_seal("fuzz", data, size, NULL);
	if (fd == -1)
		return 0;
	if ((link_file_check(fd) == 0) != is_secret(data, size))
		abort();
	for (self = PROC_PARENT; self < PROC_COUNT; self++)
		if (settings_open(&s, fd, (enum proc)self, NULL) == 0) {
			(void)settings_u64(&s, SET_HEARTBEAT);
			free(settings_string(&s, SET_ENDPOINT));
			settings_free(&s);
		}
	close(fd);
	return 0;
}
