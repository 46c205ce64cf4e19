/*
 * verbs.c: the table of opampctl's commands, what they share, and the commands of a few lines.  opampctl only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

const struct verb ctl_verbs[] = {
    {"status", "", "", NULL, "the daemon, the agent, the server, the configuration", 0,
	verb_status},
    {"health", "", "", NULL, "how the agent is, each component; exit status 5 when not well", 0,
	verb_health},
    {"config", "[effective|remote|diff]", "", "effective remote diff",
	"what the agent runs, what the server sent, what changed", 3, verb_config},
    {"history", "[-n number]", "n:", NULL, "the configurations that were tried, the newest last", 0,
	verb_history},
    {"log", "[-f] [-n lines]", "fn:", NULL, "the agent's output; -f follows it", 0, verb_log},
    {"restart", "", "", NULL, "have the agent restarted", 0, verb_restart},
    {"reload", "", "", NULL, "have opampd read its settings again", 0, verb_reload},
    {"sandbox", "[process]", "", "parent netd link confd procd agent",
	"what the kernel says of each process, beside what is declared", 1, verb_sandbox},
    {"version", "", "", NULL, "the versions of opampctl and of the daemon", 0, verb_version},
    {"completion", "", "", NULL, NULL, 0, verb_completion},
    {NULL, NULL, NULL, NULL, NULL, 0, NULL},
};

enum ctl_exit
ctl_ask(
    struct ctl *c, enum control_verb verb, uint32_t argument, uint64_t number, struct reply *reply)
{
	return client_ask(c->socket_path, verb, argument, number, reply, &c->err);
}

int
ctl_number(struct ctl *c, const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
		return error_set(&c->err,
		    "%s: the number of a configuration belongs there (see opampctl history)", text);
	return 0;
}

static enum ctl_exit
act(struct ctl *c, enum control_verb verb, const char *said)
{
	struct reply reply;
	enum ctl_exit status = ctl_ask(c, verb, 0, 0, &reply);

	if (status != CTL_OK)
		return status;
	reply_free(&reply);
	if (c->json)
		out_boolean(c->w, "asked", 1);
	else
		out_note(c->w, "%s", said);
	return CTL_OK;
}

enum ctl_exit
verb_restart(struct ctl *c, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return act(c, CONTROL_RESTART, "the agent is being restarted");
}

enum ctl_exit
verb_reload(struct ctl *c, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return act(c, CONTROL_RELOAD, "opampd reads its settings; its log says what came of it");
}

enum ctl_exit
verb_version(struct ctl *c, int argc, char **argv)
{
	struct reply reply;
	enum ctl_exit status = ctl_ask(c, CONTROL_STATUS, 0, 0, &reply);
	char *version;

	(void)argc;
	(void)argv;
	/* a daemon that is not there, or not for us, has a version too: the question is answered */
	out_string(c->w, "opampctl", OPAMPD_VERSION);
	if (status == CTL_OK) {
		version = record_string(&reply.record, CK_VERSION);
		out_string(c->w, "opampd", version);
		free(version);
		reply_free(&reply);
	} else {
		c->err.text[0] = '\0';
		out_note(c->w, "%-18s %s", "opampd",
		    status == CTL_NOT_THERE ? "not running" : "not known: it could not be asked");
	}
	return CTL_OK;
}

/* ---- completion for bash, from the table */

static void
print_flags(const struct verb *v)
{
	const char *o;

	printf("-j -s");
	for (o = v->options; *o != '\0'; o++)
		if (*o != ':')
			printf(" -%c", *o);
}

enum ctl_exit
verb_completion(struct ctl *c, int argc, char **argv)
{
	const struct verb *v;

	(void)argc;
	(void)argv;
	c->silent = 1;
	printf("# bash completion for opampctl, made by `opampctl completion`\n"
	       "_opampctl()\n{\n"
	       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb='' i\n"
	       "\tCOMPREPLY=()\n"
	       "\tif [[ $prev == -s ]]; then\n"
	       "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n\t\treturn\n\tfi\n"
	       "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	       "\t\tcase ${COMP_WORDS[i]} in\n"
	       "\t\t-s) ((i++)) ;;\n"
	       "\t\t-*) ;;\n"
	       "\t\t*) verb=${COMP_WORDS[i]}; break ;;\n"
	       "\t\tesac\n\tdone\n"
	       "\tlocal words=''\n"
	       "\tcase $verb in\n"
	       "\t'') words='-j -s -V -h");
	for (v = ctl_verbs; v->name != NULL; v++)
		if (v->help != NULL)
			printf(" %s", v->name);
	printf("' ;;\n");
	for (v = ctl_verbs; v->name != NULL; v++) {
		if (v->help == NULL)
			continue;
		printf("\t%s) words='", v->name);
		print_flags(v);
		printf("%s%s' ;;\n", v->words != NULL ? " " : "", v->words != NULL ? v->words : "");
	}
	printf("\tesac\n"
	       "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	       "}\n"
	       "complete -F _opampctl opampctl\n");
	return CTL_OK;
}
