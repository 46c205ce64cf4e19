/*
 * connect.c: opampd-connect, one shot: resolves the host of one endpoint of the settings, connects,
 * hands the connected descriptor to the parent, ends.  Reads the answers of the host's name servers
 * and the hosts file, and nothing else: no library of a name service; holds nothing.  It must never send a byte on a connection that it makes.
 *
 * getaddrinfo cannot be given a time limit: the parent ends a connector that takes too long.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <nss.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/child.h"
#include "privsep/log.h"
#include "privsep/url.h"

#include "happy.h"

struct connector {
	struct child child;
	uint32_t endpoint; /* enum endpoint */
	struct url url;
	uint64_t deadline_ms;
};

/* Which endpoint of the settings, and until when. */
static int
read_endpoint(struct connector *c, struct error *err)
{
	int health = c->endpoint == ENDPOINT_HEALTH;
	enum setting key = health ? SET_HEALTH_ENDPOINT : SET_ENDPOINT;
	enum setting limit = health ? SET_HEALTH_TIMEOUT : SET_CONNECT_TIMEOUT;
	char *text;
	int r;

	if (c->endpoint != ENDPOINT_SERVER && !health)
		return error_set(err, "no endpoint has number %u", c->endpoint);
	text = settings_string(&c->child.settings, key);
	if (text == NULL)
		return error_set(err, "the settings have no %s", setting_rules[key].name);
	r = url_split(&c->url, health ? URL_OF_PROBE : URL_OF_SERVER, text, err);
	free(text);
	if (r == -1)
		return error_prefix(err, "%s", setting_rules[key].name);
	c->deadline_ms = now_ms() + settings_u64(&c->child.settings, limit);
	return 0;
}

static struct happy_answer
resolve_and_connect(struct connector *c)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
	    .ai_socktype = SOCK_STREAM,
	    .ai_protocol = IPPROTO_TCP,
	    .ai_flags = AI_NUMERICSERV};
	struct happy_answer answer = {.fd = -1, .kind = CONNECT_RESOLVE};
	struct addrinfo *list = NULL;

	answer.code = getaddrinfo(c->url.host, c->url.port_text, &hints, &list);
	if (answer.code == EAI_SYSTEM)
		log_warn("looking up %s: %s", c->url.host, strerror(errno));
	if (answer.code != 0)
		return answer;
	answer = happy_connect(list, c->endpoint == ENDPOINT_HEALTH, c->deadline_ms);
	freeaddrinfo(list);
	return answer;
}

static void
tell(struct connector *c, const struct happy_answer *answer)
{
	struct msg_connect_failed failed = {
	    .endpoint = c->endpoint, .kind = answer->kind, .code = answer->code};

	if (answer->fd >= 0)
		child_send(&c->child, PROC_PARENT, MSG_CONNECTOR_DONE, NULL, NULL, 0, answer->fd);
	else
		child_send(&c->child, PROC_PARENT, MSG_CONNECTOR_FAILED, &failed, NULL, 0, -1);
}

int
main(void)
{
	static const struct child_handlers handlers; /* the frame takes all that a connector gets */
	static struct connector c;
	struct happy_answer answer;
	struct error err;

	child_begin(&c.child, &policy_connect, &handlers, &c);
	c.endpoint = c.child.start.endpoint;
	if (read_endpoint(&c, &err) == -1)
		fatal("%s", err.text);
	/* what else nsswitch.conf names are libraries: foreign code that calls what it likes */
	if (__nss_configure_lookup("hosts", "files dns") == -1)
		fatal("choosing the hosts file and DNS to look names up: %s", strerror(errno));
	child_sandbox(&c.child);
	answer = resolve_and_connect(&c);
	tell(&c, &answer);
	child_exit(&c.child, 0);
}
