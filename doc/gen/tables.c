/*
 * tables.c: what the documents share with the code, printed from the same tables: at build time only.
 *
 *	tables messages             doc/messages.md
 *	tables fill FILE            FILE with its @KEYS@, @REFUSED@, @POLICIES@, @HUB@ lines replaced (mdoc),
 *	                            and its @PROCESS name@, @FRAMES@ lines (Markdown: security.c)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub/policy.h"
#include "privsep/policy_text.h"
#include "privsep/settings.h"
#include "security.h"

/* ---- mdoc */

static void
text(const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '\\')
			fputs("\\e", stdout);
		else if (*s == '\n')
			fputs("\n", stdout);
		else
			fputc(*s, stdout);
	}
}

/* A line of text: begins with nothing that mdoc takes for a request, ends as a sentence. */
static void
sentence(const char *s)
{
	size_t n = strlen(s);
	char first = s[0];

	if (n == 0)
		return;
	if (first >= 'a' && first <= 'z')
		first = (char)(first - 'a' + 'A');
	fputs("\\&", stdout);
	/* what is a name in code stays as it is */
	if (n > 5 && (strncmp(s, "ws://", 5) == 0 || strncmp(s, "http:", 5) == 0))
		first = s[0];
	fputc(first, stdout);
	text(s + 1);
	puts(s[n - 1] == '.' ? "" : ".");
}

/* ---- settings */

static const char *
own(const struct setting_rule *r)
{
	static const char prefix[] = "own key: ";

	const char *meaning = setting_meaning((enum setting)r->key);

	return strncmp(meaning, prefix, sizeof(prefix) - 1) == 0 ? meaning + sizeof(prefix) - 1
								 : NULL;
}

static void
print_kind(const struct setting_rule *r)
{
	static const char *const kinds[] = {[SETTING_BOOL] = "true or false",
	    [SETTING_INT] = "number",
	    [SETTING_SIZE] = "size",
	    [SETTING_DURATION] = "duration",
	    [SETTING_STRING] = "text",
	    [SETTING_PATH] = "path",
	    [SETTING_URL] = "URL",
	    [SETTING_LIST] = "list",
	    [SETTING_MAP] = "map",
	    [SETTING_HEADERS] = "map of text or lists",
	    [SETTING_USER] = "user",
	    [SETTING_FALSE] = "false"};
	const char *p;

	if (r->type == SETTING_ENUM) {
		for (p = r->words; *p != '\0'; p++)
			if (*p == '|')
				fputs(strchr(p + 1, '|') == NULL ? " or " : ", ", stdout);
			else
				fputc(*p, stdout);
	} else {
		fputs(kinds[r->type], stdout);
	}
	if (r->type == SETTING_INT)
		printf(
		    " from %llu to %llu", (unsigned long long)r->min, (unsigned long long)r->max);
	if (r->required)
		fputs(", required", stdout);
	if (r->otherwise != NULL && r->type != SETTING_FALSE)
		printf(", default %s", r->otherwise);
	if (own(r) != NULL)
		fputs(", own", stdout);
}

static void
print_keys(int refused)
{
	size_t i;

	puts(".Bl -tag -width Ds");
	for (i = 1; i < SET_COUNT; i++) {
		const struct setting_rule *r = &setting_rules[i];

		if (r->name == NULL || r->type == SETTING_DERIVED)
			continue;
		if ((r->type == SETTING_REFUSED || r->type == SETTING_FALSE) != refused)
			continue;
		printf(".It Ic %s", r->name);
		if (r->type == SETTING_REFUSED) {
			puts("");
		} else {
			fputs(" Pq ", stdout);
			print_kind(r);
			puts("");
		}
		sentence(own(r) != NULL ? own(r) : setting_meaning((enum setting)r->key));
	}
	puts(".El");
}

/* ---- policies */

static void
print_calls(const struct policy *p)
{
	const struct syscall_rule *rule;
	char buf[1024];

	printf("%s\n.Bl -tag -width \"pidfd_send_signal\" -compact\n",
	    p->deny_list ? "Denied system calls:" : "System calls:");
	for (rule = p->syscalls; rule->name != NULL; rule++) {
		printf(".It Fn %s\n", rule->name);
		text(rule->why);
		if (policy_condition(buf, sizeof(buf), rule)[0] != '\0')
			printf(" (%s)", buf);
		if (rule->action > 0)
			printf("; refused with %s", policy_action(p, rule));
		if (rule->unseen != NULL) {
			fputs("; only ", stdout);
			text(rule->unseen);
		}
		if (rule->unchecked != NULL) {
			fputs("; no more is checked: ", stdout);
			text(rule->unchecked);
		}
		puts("");
	}
	puts(".El");
}

static void
print_policy(const struct policy *p, const char *name)
{
	const struct landlock_path *path;
	char buf[1024];

	printf(".Ss %s\n", name);
	if (p == &policy_log) { /* it says nothing else */
		print_calls(p);
		return;
	}
	puts(".Bl -tag -width \"capabilities\" -compact");
	if (p->user != NULL || p == &policy_agent)
		printf(".It user\n%s\n", p->user != NULL ? p->user : "agent.run_as");
	if (p != &policy_agent)
		printf(".It capabilities\n%s\n",
		    policy_capabilities(buf, sizeof(buf), p->capabilities));
	if (p != &policy_agent && p != &policy_init && p != &policy_parent)
		printf(".It namespaces\nown %s%s\n",
		    policy_namespaces(buf, sizeof(buf), p->namespaces),
		    p->empty_root     ? "; an empty root directory"
		    : p->root_at != 0 ? "; its directory is the root"
				      : "");
	if (p->paths != NULL && p->paths->path != NULL) {
		puts(".It files");
		for (path = p->paths; path->path != NULL; path++)
			printf("%s: %s%s\n", path->path,
			    policy_rights(buf, sizeof(buf), path->rights),
			    path[1].path != NULL ? ";" : "");
	} else if (p->paths != NULL) {
		puts(p == &policy_confd       ? ".It files\nbelow its state directory"
		     : p == &policy_hub_store ? ".It files\nbelow its directory, none to execute"
					      : ".It files\nnone");
	}
	if (p->limit_nofile != 0)
		printf(".It descriptors\nat most %llu\n", (unsigned long long)p->limit_nofile);
	if (p->limit_fsize != 0)
		printf(".It files made\nat most %llu MiB each, memory files too\n",
		    (unsigned long long)p->limit_fsize >> 20);
	if (p->limit_data != 0)
		printf(".It memory\nat most %llu MiB\n", (unsigned long long)p->limit_data >> 20);
	puts(".El\n.Pp");
	print_calls(p);
}

static void
print_policies(void)
{
	uint32_t i;

	print_policy(&policy_parent, "parent");
	for (i = PROC_NETD; i < PROC_COUNT; i++)
		print_policy(policy_of((enum proc)i), proc_name(i));
	print_policy(&policy_log, "all but the parent and the agent: the log");
	print_policy(&policy_init, "init, process 1 of the agent's PID namespace");
	print_policy(&policy_agent, "agent");
}

static int
fill(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[4096], name[32];

	if (f == NULL) {
		perror(path);
		return 1;
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strstr(line, "@KEYS@") != NULL)
			print_keys(0);
		else if (strstr(line, "@REFUSED@") != NULL)
			print_keys(1);
		else if (strstr(line, "@POLICIES@") != NULL)
			print_policies();
		else if (strstr(line, "@HUB@") != NULL) {
			print_policy(&policy_hub_front, "hub-front");
			print_policy(&policy_hub_store, "hub-store");
		} else if (strcmp(line, "@FRAMES@\n") == 0)
			security_frames();
		else if (sscanf(line, "@PROCESS %31[a-z-]@", name) == 1) {
			if (security_process(name) == -1) {
				fprintf(stderr, "%s: there is no process %s\n", path, name);
				return 1;
			}
		} else
			fputs(line, stdout);
	}
	fclose(f);
	return 0;
}

/* ---- messages */

static void
print_set(uint32_t set)
{
	const char *separator = "";
	uint32_t i;

	if (set == P_CHILDREN) {
		fputs("every child", stdout);
		return;
	}
	for (i = 0; i < PROC_COUNT; i++)
		if ((set & 1u << i) != 0) {
			printf("%s%s", separator, proc_name(i));
			separator = ", ";
		}
}

static void
print_messages(void)
{
	static const char *const kinds[] = {[FD_NONE] = "",
	    [FD_MEMFD] = "sealed memory",
	    [FD_FILE] = "file",
	    [FD_DIR] = "directory",
	    [FD_STREAM] = "connection",
	    [FD_LISTENER] = "listener",
	    [FD_CHANNEL] = "channel",
	    [FD_NETLINK] = "netlink socket",
	    [FD_PIPE] = "pipe",
	    [FD_PIDFD] = "pidfd",
	    [FD_CGROUP] = "cgroup file"};
	uint32_t i;

	puts("# Messages between the processes of opampd\n\n"
	     "Made from the table in `privsep/messages.h`: whatever is not listed here ends its "
	     "sender.\n"
	     "Size is the fixed part in bytes; text is the most that may follow it.\n\n"
	     "| message | from | to | size | text | descriptor | meaning |\n"
	     "| --- | --- | --- | --- | --- | --- | --- |");
	for (i = 1; i < MSG_COUNT; i++) {
		const struct message_rule *m = &message_rules[i];

		printf("| %s | ", m->name);
		print_set(m->from);
		fputs(" | ", stdout);
		print_set(m->to);
		printf(" | %u | ", m->size);
		if (m->tail > 0)
			printf("%u", m->tail);
		printf(" | %s | %s |\n", kinds[m->fd], message_meaning(i));
	}
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "fill") == 0)
		return fill(argv[2]);
	if (argc == 2 && strcmp(argv[1], "messages") == 0) {
		print_messages();
		return 0;
	}
	fprintf(stderr, "usage: tables messages | fill file\n");
	return 2;
}
