/*
 * sandbox_policy.c: `opampctl sandbox NAME`: all that is declared for one process, as doc/security.md has it.
 * opampctl only.
 */
#include <string.h>

#include "ctl.h"
#include "privsep/landlock.h"
#include "privsep/policy_held.h"
#include "privsep/policy_text.h"

const struct policy *
sandbox_policy(const char *name)
{
	enum proc proc = proc_by_name(name);

	if (strcmp(name, "agent") == 0)
		return &policy_agent;
	return proc == PROC_NOBODY ? NULL : policy_of(proc);
}

static void
show_calls(struct ctl *c, const struct policy *p)
{
	static const char *const columns[] = {"call", "action", "condition", "why", NULL};
	const struct syscall_rule *rule;
	char text[1024];

	out_table(c->w, "calls", columns);
	for (rule = p->syscalls; rule->name != NULL; rule++) {
		out_row(c->w);
		out_string(c->w, "call", rule->name);
		out_string(c->w, "action", policy_action(p, rule));
		out_string(c->w, "condition", policy_condition(text, sizeof(text), rule));
		out_string(c->w, "why", policy_why(text, sizeof(text), rule));
	}
	out_end(c->w);
}

static void
show_files(struct ctl *c, const struct policy *p)
{
	static const char *const columns[] = {"path", "rights", NULL};
	const struct landlock_path *path = p->paths;
	char text[512];

	if (!p->landlock || p == &policy_agent)
		return;
	out_table(c->w, "files", columns);
	if (p == &policy_confd) {
		out_row(c->w);
		out_string(c->w, "path", "storage.directory");
		out_string(c->w, "rights", policy_rights(text, sizeof(text), LL_FS_STATE));
	}
	for (; path != NULL && path->path != NULL; path++) {
		out_row(c->w);
		out_string(c->w, "path", path->path);
		out_string(c->w, "rights", policy_rights(text, sizeof(text), path->rights));
	}
	out_end(c->w);
}

static void
show_messages(struct ctl *c, enum proc proc, int sent)
{
	static const char *const columns[2][4] = {
	    {"takes", "from", "meaning", NULL}, {"sends", "to", "meaning", NULL}};
	const struct message_rule *m;
	char text[128];
	uint32_t i;

	out_table(c->w, sent ? "messages_sent" : "messages_taken", columns[sent]);
	for (i = 1; i < MSG_COUNT; i++) {
		m = &message_rules[i];
		if (((sent ? m->from : m->to) & 1u << proc) == 0)
			continue;
		out_row(c->w);
		out_string(c->w, columns[sent][0], m->name);
		out_string(c->w, columns[sent][1],
		    policy_processes(text, sizeof(text), sent ? m->to : m->from));
		out_string(c->w, "meaning", message_meaning(i));
	}
	out_end(c->w);
}

void
sandbox_show(struct ctl *c, const char *name)
{
	static const char *const columns[] = {"descriptor", "what", NULL};
	const struct policy *p = sandbox_policy(name);
	const struct held *h;

	if (p == NULL)
		return;
	show_files(c, p);
	out_table(c->w, "holds", columns);
	for (h = policy_held(name); h != NULL && h->kind != HELD_NONE; h++) {
		out_row(c->w);
		out_string(c->w, "descriptor", held_name(h->kind));
		out_string(c->w, "what", h->what);
	}
	out_end(c->w);
	if (p != &policy_agent) {
		show_messages(c, p->proc, 1);
		show_messages(c, p->proc, 0);
	}
	show_calls(c, p);
}
