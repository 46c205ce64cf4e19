/*
 * policy.c: prints every process's declared policy as JSON, for tests that compare it with what the
 * kernel says of live processes.
 */
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>

#include "hub/policy.h"
#include "privsep/limits.h"
#include "privsep/sandbox.h"

/* Each row: [name, number (negative: not on this machine), action, [test, argument, value, mask]...] */
static void
print_calls(const struct policy *p)
{
	const struct syscall_rule *rule;
	const struct arg_rule *a;

	printf("[");
	for (rule = p->syscalls; rule->name != NULL; rule++) {
		printf("%s[\"%s\", %d, %d", rule == p->syscalls ? "" : ", ", rule->name,
		    seccomp_syscall_resolve_name(rule->name), rule->action);
		for (a = rule->args; a < rule->args + POLICY_ARGS; a++)
			if (a->test != ARG_ANY)
				printf(", [\"%s\", %u, %" PRIu64 ", %" PRIu64 "]",
				    a->test == ARG_EQ      ? "eq"
				    : a->test == ARG_MASK0 ? "mask0"
							   : "mask_eq",
				    a->index, a->value, a->mask);
		printf("]");
	}
	printf("]");
}

/* A sentence in JSON; ours have no quotes, no backslashes. */
static void
print_reason(const char *text)
{
	if (text == NULL)
		printf("null");
	else
		printf("\"%s\"", text);
}

/* For each row: [when it comes though no run sees it, why arguments are not looked at]; or null. */
static void
print_reasons(const struct policy *p)
{
	const struct syscall_rule *rule;

	printf("[");
	for (rule = p->syscalls; rule->name != NULL; rule++) {
		printf("%s[", rule == p->syscalls ? "" : ", ");
		print_reason(rule->unseen);
		printf(", ");
		print_reason(rule->unchecked);
		printf("]");
	}
	printf("]");
}

static void
print(const char *name, const struct policy *p, const char *after)
{
	const struct landlock_path *path;
	const struct syscall_rule *rule;
	size_t calls = 0;

	for (rule = p->syscalls; rule->name != NULL; rule++)
		calls++;
	printf(" \"%s\": {\"user\": \"%s\", \"capabilities\": %" PRIu64 ", \"namespaces\": %" PRIu32
	       ", \"empty_root\": %d, \"deny_list\": %d, \"rules\": %zu, \"landlock\": %d, "
	       "\"scope_signal\": %d, \"nofile\": %" PRIu64 ", \"fsize\": %" PRIu64
	       ", \"data\": %" PRIu64 ", \"as\": %" PRIu64 ", \"nproc\": %d, \"syscalls\": ",
	    name, p->user == NULL ? "" : p->user, p->capabilities, p->namespaces, p->empty_root,
	    p->deny_list, calls, p->landlock, p->scope_signal, p->limit_nofile, p->limit_fsize,
	    p->limit_data, p->limit_data == 0 ? 0 : p->limit_data + LIMIT_SPACE_BESIDE,
	    p->limit_nproc);
	print_calls(p);
	printf(", \"reasons\": ");
	print_reasons(p);
	printf(", \"paths\": [");
	for (path = p->paths; path != NULL && path->path != NULL; path++)
		printf("%s[\"%s\", %" PRIu64 "]", path == p->paths ? "" : ", ", path->path,
		    path->rights);
	printf("]}%s\n", after);
}

int
main(void)
{
	int proc;

	printf("{\n");
	for (proc = PROC_PARENT; proc < PROC_COUNT; proc++)
		print(proc_name((uint32_t)proc), policy_of((enum proc)proc), ",");
	print("hub-front", &policy_hub_front, ",");
	print("hub-store", &policy_hub_store, ",");
	print("log", &policy_log, ",");
	print("init", &policy_init, ",");
	print("agent", &policy_agent, "");
	printf("}\n");
	return 0;
}
