/*
 * fuzz_settings.c: any text as opampd.yaml.  What is accepted must open as a section for every
 * process; what is refused must say why.
 */
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "confd/settings_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings_reader *r = calloc(1, sizeof(*r));
	struct settings s;
	uint32_t i;
	int fd;

	if (r == NULL || size > 65536) {
		free(r);
		return 0;
	}
	r->file = "opampd.yaml";
	r->environment = "NAME=value\0OTHER=1\0";
	r->cwd = "/tmp";
	if (settings_read(r, (const char *)data, size) == -1) {
		if (r->problem_count == 0 || r->problems[0].text[0] == '\0')
			abort();
	} else {
		for (i = PROC_PARENT; i < PROC_COUNT; i++) {
			fd = record_finish_memfd(&r->sections[i], "settings", NULL);
			if (fd == -1 || settings_open(&s, fd, (enum proc)i, NULL) == -1)
				abort();
			settings_free(&s);
			close(fd);
		}
	}
	settings_reader_free(r);
	free(r);
	return 0;
}
