/*
 * messages.h: what the fuzz targets of the message handlers share: every message is counted by its row of
 * MESSAGE_TABLE, sender and receiver; an input must leave as many descriptors and as much memory as there were.
 * Included once, by a target's only file.  At the end the counts are added to the file named in the
 * environment (MESSAGES), which tests/lib/fuzz-messages.py reads.
 */
#ifndef TESTS_FUZZ_MESSAGES_H
#define TESTS_FUZZ_MESSAGES_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/messages.h"

#define WARM_INPUTS   200        /* libraries make what they keep at their first use */
#define GROWTH_BYTES  (64 * KIB) /* of the heap, over all inputs after these */
#define GROWTH_INPUTS 64         /* inputs between two looks at the descriptors */

static struct counts {
	uint64_t handled[MSG_COUNT][PROC_COUNT][PROC_COUNT]; /* type, sender, receiver */
	uint64_t taken[MSG_COUNT][PROC_COUNT][PROC_COUNT];
	uint64_t refused, inputs; /* refused: by the channel */
	size_t heap, descriptors;
} counts;

/* Of AddressSanitizer, where it is linked. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static void
counts_write(void)
{
	const char *path = getenv("MESSAGES");
	FILE *f = path == NULL ? NULL : fopen(path, "ae");
	uint32_t type, from, to;

	if (f == NULL)
		return;
	for (type = 1; type < MSG_COUNT; type++)
		for (from = 1; from < PROC_COUNT; from++)
			for (to = 1; to < PROC_COUNT; to++)
				if (counts.handled[type][from][to] != 0)
					fprintf(f, "%s %s %s %llu %llu\n", message_rules[type].name,
					    proc_name(from), proc_name(to),
					    (unsigned long long)counts.handled[type][from][to],
					    (unsigned long long)counts.taken[type][from][to]);
	fprintf(f, "refused %llu\ninputs %llu\n", (unsigned long long)counts.refused,
	    (unsigned long long)counts.inputs);
	fclose(f);
}

/* Fields are mostly small numbers: one byte of input for each word, now and then one at an edge. */
static inline void
put_field(void *to, uint8_t b)
{
	static const uint32_t edges[16] = {0xffffffff, 0x7fffffff, 0x80000000, 0xfffffffe, 8, 9, 16,
	    31, 32, 63, 64, 127, 128, 255, 256, 0x10000};
	uint32_t word = b < 240 ? b % 8 : edges[b - 240];

	memcpy(to, &word, sizeof(word));
}

static void
count_message(uint32_t type, uint32_t from, uint32_t to, int was_taken)
{
	counts.handled[type][from][to]++;
	counts.taken[type][from][to] += was_taken != 0;
}

static size_t
open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n;
}

static void
input_begins(void)
{
	if (counts.inputs++ == 0)
		(void)atexit(counts_write);
	if (counts.inputs % GROWTH_INPUTS == 0)
		counts.descriptors = open_descriptors();
	if (&__sanitizer_get_current_allocated_bytes != NULL)
		counts.heap -= __sanitizer_get_current_allocated_bytes();
}

/* heap is the sum of what the inputs have left behind: differences, which may pass zero. */
static void
input_ends(void)
{
	if (counts.inputs % GROWTH_INPUTS == 0 && open_descriptors() != counts.descriptors) {
		fprintf(stderr, "descriptors: %zu before this input, %zu after it\n",
		    counts.descriptors, open_descriptors());
		abort();
	}
	if (&__sanitizer_get_current_allocated_bytes == NULL)
		return;
	counts.heap += __sanitizer_get_current_allocated_bytes();
	if (counts.inputs < WARM_INPUTS)
		counts.heap = 0;
	if ((ssize_t)counts.heap > (ssize_t)GROWTH_BYTES) {
		fprintf(stderr, "%zd bytes left behind by %llu inputs\n", (ssize_t)counts.heap,
		    (unsigned long long)counts.inputs);
		abort();
	}
}

#endif
