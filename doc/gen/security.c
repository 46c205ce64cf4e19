/*
 * security.c: doc/security.md, for the auditor: one process after the other, from the policies, the table of
 * messages and what each holds.  At build time only.
 */
#include "security.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hub/frames.h"
#include "hub/policy.h"
#include "privsep/landlock.h"
#include "privsep/limits.h"
#include "privsep/policy_held.h"
#include "privsep/policy_text.h"

static const struct policy *
policy_by_name(const char *name)
{
	static const struct {
		const char *name;
		const struct policy *policy;
	} others[] = {{"agent", &policy_agent}, {"init", &policy_init}, {"log", &policy_log},
	    {"hub", &policy_parent}, {"hub-front", &policy_hub_front},
	    {"hub-store", &policy_hub_store}};
	size_t i;

	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcmp(others[i].name, name) == 0)
			return others[i].policy;
	return proc_by_name(name) == PROC_NOBODY ? NULL : policy_of(proc_by_name(name));
}

/* A cell of a table: on one line, without the sign that ends it. */
static void
cell(const char *s)
{
	for (; *s != '\0'; s++)
		if (*s == '|')
			fputs("\\|", stdout);
		else
			fputc(*s, stdout);
}

/* ---- who it is and where */

static void
print_files(const struct policy *p)
{
	const struct landlock_path *path;
	char buf[512];

	if (p == &policy_confd)
		printf(
		    "below `storage.directory`: %s", policy_rights(buf, sizeof(buf), LL_FS_STATE));
	else if (p == &policy_hub_store)
		printf("below the store's directory: %s",
		    policy_rights(buf, sizeof(buf), HUB_STORE_RIGHTS));
	else if (p->paths == NULL || p->paths->path == NULL)
		fputs("none", stdout);
	for (path = p->paths; path != NULL && path->path != NULL; path++)
		printf("%s`%s`: %s", path == p->paths ? "" : "; ", path->path,
		    policy_rights(buf, sizeof(buf), path->rights));
}

static void
print_landlock(const struct policy *p)
{
	if (p == &policy_agent) {
		puts("| Landlock | as `agent.sandbox` says: below |");
		return;
	}
	if (!p->landlock) {
		puts("| Landlock | none |");
		return;
	}
	fputs("| Landlock: files | ", stdout);
	print_files(p);
	printf(" |\n| Landlock: TCP, from ABI 4 on | %s |\n",
	    p->proc == PROC_CONNECT ? "not restricted" : "no bind, no connect");
	printf("| Landlock: scopes, from ABI 6 on | no abstract socket of others%s |\n",
	    p->scope_signal ? ", no signal to others" : "");
}

static void
print_identity(const char *name, const struct policy *p)
{
	int hub = strncmp(name, "hub", 3) == 0;
	char buf[1024];

	puts("| | |\n| --- | --- |");
	if (p == &policy_agent || p == &policy_init)
		puts("| user | `agent.run_as` |");
	else if (p == &policy_parent)
		puts("| user | root |");
	else
		printf("| user | `%s` |\n", hub ? "_opamphub" : p->user);
	if (p == &policy_agent)
		puts("| capabilities | those of `agent.capabilities` |");
	else if (strcmp(name, "hub") != 0) /* its own are no policy: see the text */
		printf("| capabilities | %s%s |\n",
		    policy_capabilities(buf, sizeof(buf), p->capabilities),
		    p == &policy_parent ? ", and those of `agent.capabilities`" : "");
	if (p != &policy_agent && p != &policy_parent && p != &policy_init)
		printf("| own namespaces | %s |\n| root directory | %s |\n",
		    policy_namespaces(buf, sizeof(buf), p->namespaces),
		    p->empty_root     ? "empty, read-only"
		    : p->root_at != 0 ? "the store's directory"
				      : "the host's");
	print_landlock(p);
}

/* ---- limits */

static void
print_limits(const char *name, const struct policy *p)
{
	if (p == &policy_agent) {
		puts("| core dumps | 0 |\n| other limits | those of `agent.limits` |");
		return;
	}
	if (p == &policy_init)
		return;
	puts("| core dumps | 0 |");
	if (p == &policy_parent)
		return;
	if (p->limit_nofile != 0)
		printf("| descriptors | %" PRIu64 "%s |\n", p->limit_nofile,
		    strcmp(name, "merge") == 0 ? ", or as many as it was handed and 12" : "");
	if (p->limit_fsize != 0)
		printf("| bytes of a file, memory files too | %" PRIu64 "%s |\n", p->limit_fsize,
		    strcmp(name, "netd") == 0
			? ", or `limits.config_size` and 1 MiB, where that is less"
		    : strcmp(name, "link") == 0
			? ", or `agent.log.max_size` and 16 KiB, where that is more"
			: "");
	if (p->limit_data != 0)
		printf("| bytes of data | %" PRIu64 " |\n| bytes of address space | %" PRIu64
		       " |\n",
		    p->limit_data, p->limit_data + LIMIT_SPACE_BESIDE);
	if (p->limit_nproc >= 0)
		printf("| processes | %d |\n", p->limit_nproc);
}

/* ---- descriptors, messages, calls */

static void
print_held(const char *name)
{
	const struct held *h = policy_held(name);

	if (h == NULL)
		return;
	puts("\n| descriptor | what |\n| --- | --- |");
	for (; h->kind != HELD_NONE; h++) {
		printf("| %s | ", held_name(h->kind));
		cell(h->what);
		puts(" |");
	}
}

static void
print_one_way(enum proc proc, int sent)
{
	const struct message_rule *m;
	char buf[128];
	uint32_t i;

	printf("\n| message that it %s | %s | meaning |\n| --- | --- | --- |\n",
	    sent ? "may send" : "takes", sent ? "to" : "from");
	for (i = 1; i < MSG_COUNT; i++) {
		m = &message_rules[i];
		if (((sent ? m->from : m->to) & 1u << proc) == 0)
			continue;
		printf("| %s | %s | ", m->name,
		    policy_processes(buf, sizeof(buf), sent ? m->to : m->from));
		cell(message_meaning(i));
		puts(" |");
	}
}

static void
print_calls(const struct policy *p)
{
	const struct syscall_rule *rule;
	char buf[1024];

	printf("\n| %s | arguments | %s | %s |\n| --- | --- | --- | --- |\n",
	    p->deny_list ? "denied system call" : "system call", "action",
	    p->deny_list ? "what for" : "when it comes");
	for (rule = p->syscalls; rule->name != NULL; rule++) {
		printf("| %s | ", rule->name);
		cell(policy_condition(buf, sizeof(buf), rule));
		printf(" | %s | ", policy_action(p, rule));
		cell(policy_why(buf, sizeof(buf), rule));
		puts(" |");
	}
}

int
security_process(const char *name)
{
	const struct policy *p = policy_by_name(name);
	enum proc proc = proc_by_name(name);

	if (p == NULL)
		return -1;
	if (p != &policy_log) {
		print_identity(name, p);
		print_limits(name, p);
		print_held(name);
	}
	if (proc != PROC_NOBODY) {
		print_one_way(proc, 1);
		print_one_way(proc, 0);
	}
	if (strcmp(name, "hub") != 0) /* the parent's */
		print_calls(p);
	return 0;
}

void
security_frames(void)
{
	static const char *const meanings[FRAME_TYPES] = {
#define FRAME(name, to_store, most, meaning) [FRAME_##name] = (meaning),
	    FRAME_TABLE(FRAME)
#undef FRAME
	};
	uint32_t i;

	puts("| frame | to | largest, bytes | meaning |\n| --- | --- | --- | --- |");
	for (i = 1; i < FRAME_TYPES; i++) {
		printf("| %s | %s | %zu | ", frame_name(i),
		    frame_to_store(i) ? "hub-store" : "hub-front", frame_most(i));
		cell(meanings[i]);
		puts(" |");
	}
}
