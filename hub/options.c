/*
 * options.c: opamphub's command line (see options.h).
 */
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "privsep/limits.h"

#define DEFAULT_SILENCE 90 /* seconds: three times the usual heartbeat */

const char options_usage[] =
    "usage: opamphub [-nv] [--store DIR] [--agents ADDRESS:PORT] [--page ADDRESS:PORT]\n"
    "                [--agents-tls-cert FILE --agents-tls-key FILE [--agents-client-ca FILE]]\n"
    "                [--page-tls-cert FILE --page-tls-key FILE]\n"
    "                [--agents-token-file FILE] [--page-token-file FILE] [--page-host NAME]...\n"
    "                [--custom-capability NAME]... [--message-limit BYTES] [--max-agents NUMBER]\n"
    "                [--silence SECONDS]\n"
    "                [--user NAME] [--version] [--help]\n";

enum option_code {
	OPT_STORE = 256,
	OPT_AGENTS,
	OPT_PAGE,
	OPT_AGENTS_CERT,
	OPT_AGENTS_KEY,
	OPT_AGENTS_CA,
	OPT_PAGE_CERT,
	OPT_PAGE_KEY,
	OPT_AGENTS_TOKENS,
	OPT_PAGE_TOKENS,
	OPT_HOST,
	OPT_CUSTOM,
	OPT_MESSAGE,
	OPT_MAX,
	OPT_SILENCE,
	OPT_USER,
	OPT_VERSION,
	OPT_HELP,
};

static const struct option all[] = {
    {"store", required_argument, NULL, OPT_STORE},
    {"agents", required_argument, NULL, OPT_AGENTS},
    {"page", required_argument, NULL, OPT_PAGE},
    {"agents-tls-cert", required_argument, NULL, OPT_AGENTS_CERT},
    {"agents-tls-key", required_argument, NULL, OPT_AGENTS_KEY},
    {"agents-client-ca", required_argument, NULL, OPT_AGENTS_CA},
    {"page-tls-cert", required_argument, NULL, OPT_PAGE_CERT},
    {"page-tls-key", required_argument, NULL, OPT_PAGE_KEY},
    {"agents-token-file", required_argument, NULL, OPT_AGENTS_TOKENS},
    {"page-token-file", required_argument, NULL, OPT_PAGE_TOKENS},
    {"page-host", required_argument, NULL, OPT_HOST},
    {"custom-capability", required_argument, NULL, OPT_CUSTOM},
    {"message-limit", required_argument, NULL, OPT_MESSAGE},
    {"max-agents", required_argument, NULL, OPT_MAX},
    {"silence", required_argument, NULL, OPT_SILENCE},
    {"user", required_argument, NULL, OPT_USER},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

/* "192.0.2.1:80", "[::1]:80": numbers only, so that nothing has to be resolved. */
static int
read_address(struct address *a, const char *option, const char *text, struct error *err)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&a->addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a->addr;
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2] = "", *end;
	unsigned long port;
	size_t n = colon == NULL ? sizeof(host) : (size_t)(colon - text);

	if (n >= sizeof(host))
		goto bad;
	memcpy(host, text, n);
	errno = 0;
	port = strtoul(colon + 1, &end, 10);
	if (errno != 0 || end == colon + 1 || *end != '\0' || port > 65535 || colon[1] == '-')
		goto bad;
	memset(a, 0, sizeof(*a));
	a->text = text;
	if (host[0] == '[' && n > 2 && host[n - 1] == ']') {
		host[n - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) != 1)
			goto bad;
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		a->len = sizeof(*v6);
		a->loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) != 0;
		return 0;
	}
	if (inet_pton(AF_INET, host, &v4->sin_addr) != 1)
		goto bad;
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	a->len = sizeof(*v4);
	a->loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	return 0;
bad:
	return error_set(err,
	    "%s %s: not an address and a port as numbers: write, for instance, 127.0.0.1:4320 or "
	    "[::1]:4320",
	    option, text);
}

static int
read_number(uint64_t *n, const char *option, const char *text, uint64_t least, uint64_t most,
    struct error *err)
{
	char *end;

	errno = 0;
	*n = strtoumax(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || *n < least || *n > most)
		return error_set(err, "%s %s: not a number from %" PRIu64 " to %" PRIu64, option,
		    text, least, most);
	return 0;
}

static int
add(const char **list, const char *option, const char *text, struct error *err)
{
	size_t i = 0;

	while (list[i] != NULL)
		i++;
	if (i == OPTION_LIST - 1)
		return error_set(err, "%s: given more than %d times", option, OPTION_LIST - 1);
	if (text[0] == '\0' || strlen(text) > 255)
		return error_set(err, "%s: empty, or longer than 255 bytes", option);
	list[i] = text;
	return 0;
}

/* Beyond loopback everybody can try: who may has to be said, and nobody may listen in. */
static int
check_side(const struct side *s, const char *name, struct error *err)
{
	if ((s->cert == NULL) != (s->key == NULL))
		return error_set(err, "--%s-tls-cert and --%s-tls-key go together", name, name);
	if (s->client_ca != NULL && s->cert == NULL)
		return error_set(
		    err, "--%s-client-ca needs --%s-tls-cert and --%s-tls-key", name, name, name);
	if (s->listen.loopback)
		return 0;
	if (s->cert == NULL)
		return error_set(err,
		    "--%s %s is not a loopback address, and what goes over it would be read by "
		    "others: add --%s-tls-cert and --%s-tls-key, or listen on 127.0.0.1",
		    name, s->listen.text, name, name);
	if (s->tokens == NULL && s->client_ca == NULL)
		return error_set(err,
		    "--%s %s is not a loopback address, and everybody could come: add "
		    "--%s-token-file%s, or listen on 127.0.0.1",
		    name, s->listen.text, name,
		    strcmp(name, "agents") == 0 ? " or --agents-client-ca" : "");
	return 0;
}

/* For an ordinary user: below his own state. */
static const char *
default_store(void)
{
	static char path[4096];
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		return "/var/lib/opamphub";
	if (state != NULL && state[0] == '/')
		(void)snprintf(path, sizeof(path), "%s/opamphub", state);
	else
		(void)snprintf(path, sizeof(path), "%s/.local/state/opamphub",
		    home != NULL && home[0] == '/' ? home : "");
	return path;
}

/* Below the directory that opamphub was started in, if it does not begin with a slash. */
static int
read_path(
    struct options *o, const char **path, const char *option, const char *text, struct error *err)
{
	char here[PATH_MAX], *whole;

	while (text[0] == '.' && text[1] == '/')
		text += text[2] == '/' ? 1 : 2;
	if (text[0] == '\0')
		return error_set(err, "%s: the name of a file or directory is missing", option);
	*path = text;
	if (text[0] == '/')
		return 0;
	if (o->made_count == OPTIONS_PATHS)
		return error_set(err, "%s: too many relative paths", option);
	if (getcwd(here, sizeof(here)) == NULL || asprintf(&whole, "%s/%s", here, text) == -1)
		return error_errno(err, "%s %s: finding the directory it is below", option, text);
	o->made[o->made_count++] = whole; /* also when the option is given again */
	*path = whole;
	return 0;
}

static int
take(struct options *o, int c, const char *name, struct error *err)
{
	switch (c) {
	case 'n':
		o->check = 1;
		return 0;
	case 'v':
		o->verbose = 1;
		return 0;
	case OPT_STORE:
		return read_path(o, &o->store, name, optarg, err);
	case OPT_AGENTS:
		return read_address(&o->agents.listen, name, optarg, err);
	case OPT_PAGE:
		return read_address(&o->page.listen, name, optarg, err);
	case OPT_AGENTS_CERT:
		return read_path(o, &o->agents.cert, name, optarg, err);
	case OPT_AGENTS_KEY:
		return read_path(o, &o->agents.key, name, optarg, err);
	case OPT_AGENTS_CA:
		return read_path(o, &o->agents.client_ca, name, optarg, err);
	case OPT_PAGE_CERT:
		return read_path(o, &o->page.cert, name, optarg, err);
	case OPT_PAGE_KEY:
		return read_path(o, &o->page.key, name, optarg, err);
	case OPT_AGENTS_TOKENS:
		return read_path(o, &o->agents.tokens, name, optarg, err);
	case OPT_PAGE_TOKENS:
		return read_path(o, &o->page.tokens, name, optarg, err);
	case OPT_HOST:
		return add(o->hosts, name, optarg, err);
	case OPT_CUSTOM:
		return add(o->custom, name, optarg, err);
	case OPT_MESSAGE:
		return read_number(
		    &o->message_limit, name, optarg, 4 * KIB, LIMIT_HUB_MESSAGE, err);
	case OPT_MAX:
		return read_number(&o->max_agents, name, optarg, 1, LIMIT_HUB_AGENTS, err);
	case OPT_SILENCE:
		return read_number(&o->silence, name, optarg, 2, 86400, err);
	case OPT_USER:
		o->user = optarg;
		return 0;
	case OPT_VERSION:
		o->version = 1;
		return 0;
	case OPT_HELP:
		o->help = 1;
		return 0;
	default:
		return error_set(err, "unknown option, or one without its value");
	}
}

int
options_read(struct options *o, int argc, char **argv, struct error *err)
{
	char name[64];
	int c, index;

	memset(o, 0, sizeof(*o));
	o->store = default_store();
	o->user = "_opamphub";
	o->message_limit = LIMIT_HUB_MESSAGE;
	o->max_agents = LIMIT_HUB_AGENTS;
	o->silence = DEFAULT_SILENCE;
	if (read_address(&o->agents.listen, "--agents", "127.0.0.1:4320", err) == -1 ||
	    read_address(&o->page.listen, "--page", "127.0.0.1:4321", err) == -1)
		return -1;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "nv", all, &index)) != -1) {
		(void)snprintf(name, sizeof(name), "--%s", c >= OPT_STORE ? all[index].name : "");
		if (take(o, c, name, err) == -1)
			return c == '?' || c == ':' ? error_prefix(err, "%s", argv[optind - 1])
						    : -1;
	}
	if (optind < argc)
		return error_set(err, "%s: opamphub takes options only", argv[optind]);
	if (o->store[0] != '/')
		return error_set(err, "no place for the store: give --store DIR");
	if (check_side(&o->agents, "agents", err) == -1)
		return -1;
	return check_side(&o->page, "page", err);
}
