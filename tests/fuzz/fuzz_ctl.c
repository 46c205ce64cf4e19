/*
 * fuzz_ctl.c: what opampctl, often run by root, makes of foreign bytes: the agent's component tree, text for a
 * terminal, and two texts to compare (cut at the first NUL).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/diff.h"
#include "ctl/tree.h"
#include "ctl/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
show(struct writer *w, const uint8_t *data, size_t size)
{
	static const char *const columns[] = {
	    "component", "healthy", "status", "since", "error", NULL};

	out_section(w, "all");
	out_bytes(w, "bytes", (const char *)data, size);
	out_hex(w, "hex", data, size);
	out_table(w, "components", columns);
	(void)tree_rows(w, data, size, NULL);
	out_end(w);
	out_end(w);
	if (writer_finish(w) == -1)
		abort();
}

/* Nothing that steers a terminal is left. */
static void
judge(const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (((unsigned char)text[i] < 0x20 && text[i] != '\n' && text[i] != '\t') ||
		    text[i] == 0x7f)
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *cut = size == 0 ? NULL : memchr(data, 0, size);
	size_t first = cut == NULL ? size / 2 : (size_t)(cut - data), len = 0;
	char *text = NULL;
	FILE *f;
	int json;

	for (json = 0; json <= 1; json++) {
		f = open_memstream(&text, &len);
		if (f == NULL)
			abort();
		show(json ? writer_json_new(f, 1) : writer_text_new(f), data, size);
		fclose(f);
		judge(text, len);
		free(text);
	}
	text = diff_unified(
	    (const char *)data, first, "a", (const char *)data + first, size - first, "b", NULL);
	if (text == NULL)
		abort();
	free(text);
	return 0;
}
