/*
 * hasten.c: where in opampd's memory the parent's patience stands, so that a test which ends processes by the
 * thousand need not wait for each back-off: "NAME OFFSET" lines, offsets into struct parent.  Tests only.
 */
#include <stddef.h>
#include <stdio.h>

#include "privsep/parent.h"

int
main(void)
{
	static const enum proc daemons[] = {PROC_NETD, PROC_LINK, PROC_CONFD, PROC_PROCD};
	size_t i;

	for (i = 0; i < sizeof(daemons) / sizeof(daemons[0]); i++)
		printf("%s %zu\n", proc_name(daemons[i]),
		    offsetof(struct parent, daemons) + (size_t)daemons[i] * sizeof(struct slot) +
			offsetof(struct slot, backoff_ms));
	for (i = 0; i < CONNECT_SLOTS; i++)
		printf("connects%zu %zu\n", i,
		    offsetof(struct parent, connects) + i * sizeof(struct slot) +
			offsetof(struct slot, asked) + offsetof(struct rate, count));
	printf("starts %zu\n", offsetof(struct parent, starts) + offsetof(struct rate, count));
	return 0;
}
