/*
 * opampctl.c: main of opampctl: options, the verb, the exit status.  It looks and asks over the control
 * socket; it changes nothing itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "restrict.h"

static void
usage(FILE *to)
{
	const struct verb *v;

	fprintf(to, "usage: opampctl [-hjV] [-s socket] command [arguments]\n");
	for (v = ctl_verbs; v->name != NULL; v++)
		if (v->help != NULL)
			fprintf(to, "  %-8s %-22s %s\n", v->name, v->args, v->help);
	fprintf(to,
	    "  -j         JSON in place of text\n"
	    "  -s socket  the control socket (default: $OPAMPD_SOCKET, or " CONTROL_SOCKET ")\n"
	    "  -V         print opampctl's version\n");
}

static const struct verb *
find(const char *name)
{
	const struct verb *v, *found = NULL;
	size_t n = strlen(name);

	for (v = ctl_verbs; v->name != NULL; v++)
		if (strcmp(v->name, name) == 0)
			return v;
	/* a beginning that only one command has */
	for (v = ctl_verbs; v->name != NULL; v++) {
		if (v->help == NULL || n == 0 || strncmp(v->name, name, n) != 0)
			continue;
		if (found != NULL)
			return NULL;
		found = v;
	}
	return found;
}

/* Options before and after the verb; -1: wrong use, already told. */
static int
parse(struct ctl *c, int argc, char **argv, const char *options)
{
	char *end;
	int o;

	while ((o = getopt(argc, argv, options)) != -1) {
		switch (o) {
		case 'j':
			c->json = 1;
			break;
		case 's':
			c->socket_path = optarg;
			break;
		case 'f':
			c->follow = 1;
			break;
		case 'n':
			errno = 0;
			c->lines = strtol(optarg, &end, 10);
			if (errno != 0 || *end != '\0' || end == optarg || c->lines < 0) {
				fprintf(stderr,
				    "opampctl: -n %s: a number of lines belongs there\n", optarg);
				return -1;
			}
			break;
		case 'h':
			usage(stdout);
			exit(CTL_OK);
		case 'V':
			printf("opampctl %s\n", OPAMPD_VERSION);
			exit(CTL_OK);
		default:
			return -1;
		}
	}
	return 0;
}

static void
print_error(const struct ctl *c)
{
	char *escaped = escape_lines(c->err.text, strlen(c->err.text));

	if (c->err.text[0] != '\0')
		fprintf(stderr, "opampctl: %s\n", escaped == NULL ? "no memory" : escaped);
	free(escaped);
}

static enum ctl_exit
run(struct ctl *c, const struct verb *v, int argc, char **argv)
{
	enum ctl_exit status;

	c->w = c->json ? writer_json_new(stdout, 0) : writer_text_new(stdout);
	if (c->w == NULL) {
		fprintf(stderr, "opampctl: no memory\n");
		return CTL_FAILED;
	}
	/* Landlock would also hide /proc's part of processes that are outside of it */
	restrict_self(v->run != verb_sandbox);
	status = v->run(c, argc, argv);
	/* an error has its words on standard error and leaves standard output empty */
	if (!c->silent && (status == CTL_OK || status == CTL_UNHEALTHY) &&
	    writer_finish(c->w) == -1 && status == CTL_OK) {
		fprintf(stderr, "opampctl: writing: %s\n", strerror(errno));
		status = CTL_FAILED;
	}
	print_error(c);
	return status;
}

int
main(int argc, char **argv)
{
	static struct ctl ctl = {.lines = -1};
	struct ctl *c = &ctl;
	const struct verb *v;
	char options[32];
	const char *env = getenv("OPAMPD_SOCKET");

	c->socket_path = env != NULL && env[0] != '\0' ? env : CONTROL_SOCKET;
	if (parse(c, argc, argv, "+hjs:V") == -1 || optind == argc) {
		usage(stderr);
		return CTL_USAGE;
	}
	v = find(argv[optind]);
	if (v == NULL) {
		fprintf(stderr, "opampctl: %s: no such command, or the beginning of several\n",
		    argv[optind]);
		usage(stderr);
		return CTL_USAGE;
	}
	argc -= optind;
	argv += optind;
	optind = 0; /* getopt anew, with the verb as program name */
	(void)snprintf(options, sizeof(options), "hjs:%s", v->options);
	if (parse(c, argc, argv, options) == -1 || argc - optind > v->most) {
		fprintf(stderr, "usage: opampctl [-j] [-s socket] %s %s\n", v->name, v->args);
		return CTL_USAGE;
	}
	return (int)run(c, v, argc - optind, argv + optind);
}
