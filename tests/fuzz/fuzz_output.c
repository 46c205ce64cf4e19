/*
 * fuzz_output.c: a line of the agent's output, as the log, the last words and the passthrough see it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "netd/output_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
escape(const char *line, size_t len, size_t room)
{
	char *dst = malloc(room + 1);
	size_t n, i;

	if (dst == NULL)
		return;
	n = output_escape(dst, room, line, len);
	if (n > room)
		abort();
	for (i = 0; i < n; i++)
		if (((unsigned char)dst[i] < 0x20 && dst[i] != '\t') || dst[i] == 0x7f)
			abort(); /* nothing that steers a terminal may pass */
	free(dst);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t sizes[] = {1, 2, 16, 300, 4096};
	const char *line = (const char *)data;
	char *text;
	size_t i;

	escape(line, size, 4 * size);
	escape(line, size, size / 2);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		text = malloc(sizes[i]);
		if (text == NULL)
			return 0;
		(void)output_read_line(text, sizes[i], line, size, 1 + (unsigned)(i & 1));
		if (memchr(text, '\0', sizes[i]) == NULL)
			abort();
		free(text);
	}
	(void)output_error_begins(line, size);
	(void)output_error_ends(line, size);
	return 0;
}
