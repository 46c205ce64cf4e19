/*
 * replay.c: runs one fuzz target over files, without libFuzzer, so that the corpus is
 * checked with any compiler.  A file ending in .hex is decoded from hexadecimal text first
 * ("#" starts a comment).  Each input runs in a copy of its own size, so that ASan sees
 * every byte read past the end.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t
unhex(unsigned char *text, size_t len)
{
	size_t i, out = 0;
	int high = -1, digit;

	for (i = 0; i < len; i++) {
		if (text[i] == '#') {
			while (i < len && text[i] != '\n')
				i++;
			continue;
		}
		if (!isxdigit(text[i]))
			continue;
		digit = isdigit(text[i]) ? text[i] - '0' : tolower(text[i]) - 'a' + 10;
		if (high < 0) {
			high = digit;
			continue;
		}
		text[out++] = (unsigned char)(high << 4 | digit);
		high = -1;
	}
	return out;
}

static int
run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	unsigned char *buf = NULL;
	const char *dot = strrchr(path, '.');
	size_t len = 0, got;

	if (f == NULL) {
		perror(path);
		return -1;
	}
	do {
		unsigned char *bigger = realloc(buf, len + 65536);

		if (bigger == NULL)
			abort();
		buf = bigger;
		got = fread(buf + len, 1, 65536, f);
		len += got;
	} while (got > 0);
	fclose(f);
	if (dot != NULL && strcmp(dot, ".hex") == 0)
		len = unhex(buf, len);
	uint8_t *exact = malloc(len == 0 ? 1 : len);
	if (exact == NULL)
		abort();
	memcpy(exact, buf, len);
	free(buf);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	return 0;
}

int
main(int argc, char **argv)
{
	int i, failed = 0;

	for (i = 1; i < argc; i++)
		if (run_file(argv[i]) == -1)
			failed = 1;
	printf("%s: %d inputs\n", argv[0], argc - 1);
	return failed;
}
