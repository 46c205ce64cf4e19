/*
 * policy.c: prints every process's declared policy as JSON, for tests that compare it with what the
 * kernel says of live processes.
 */
#include <inttypes.h>
#include <stdio.h>

#include "privsep/sandbox.h"

static void
print(const char *name, const struct policy *p, const char *after)
{
	const struct syscall_rule *rule;
	size_t calls = 0;

	for (rule = p->syscalls; rule->name != NULL; rule++)
		calls++;
	printf(" \"%s\": {\"user\": \"%s\", \"capabilities\": %" PRIu64 ", \"namespaces\": %" PRIu32
	       ", \"empty_root\": %d, \"deny_list\": %d, \"rules\": %zu, \"landlock\": %d, "
	       "\"nofile\": %" PRIu64 ", \"fsize\": %" PRIu64 ", \"data\": %" PRIu64
	       ", \"nproc\": %d}%s\n",
	    name, p->user == NULL ? "" : p->user, p->capabilities, p->namespaces, p->empty_root,
	    p->deny_list, calls, p->landlock, p->limit_nofile, p->limit_fsize, p->limit_data,
	    p->limit_nproc, after);
}

int
main(void)
{
	int proc;

	printf("{\n");
	for (proc = PROC_PARENT; proc < PROC_COUNT; proc++)
		print(proc_name((uint32_t)proc), policy_of((enum proc)proc), ",");
	print("agent", &policy_agent, "");
	printf("}\n");
	return 0;
}
