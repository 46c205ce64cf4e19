/*
 * client_server.c: what the server says and what becomes of it (see client.h).  netd.
 * Nothing here decides: an offer, a restart, a new uid go to confd as typed requests.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "privsep/log.h"
#include "privsep/offer.h"

#define TELL_MS 10000 /* between two lines of the log on the same */

typedef Opamp__Proto__V1__ServerToAgent Message;
typedef Opamp__Proto__V1__AgentConfigMap__ConfigMapEntry Entry;

#define CAPABLE(c, name)                                                                           \
	(((c)->set.capabilities &                                                                  \
	     OPAMP__PROTO__V1__AGENT_CAPABILITIES__AgentCapabilities_##name) != 0)

enum ignored { /* parts of a message whose capability we do not announce (CP-03) */
	IGNORED_CONFIG,
	IGNORED_CONNECTION,
	IGNORED_PACKAGES,
	IGNORED_COMMAND,
	IGNORED_COMPONENTS,
	IGNORED_CUSTOM,
};

static void
ignore(struct client *c, enum ignored what)
{
	static const char *const names[] = {
	    [IGNORED_CONFIG] =
		"a remote configuration, and capabilities.accepts_remote_config is false",
	    [IGNORED_CONNECTION] = "connection settings, which opampd does not take",
	    [IGNORED_PACKAGES] = "packages, which opampd does not take",
	    [IGNORED_COMMAND] =
		"a restart command, and capabilities.accepts_restart_command is false",
	    [IGNORED_COMPONENTS] = "a wish for the agent's components, which opampd does not list",
	    [IGNORED_CUSTOM] = "a custom message, which opampd does not take",
	};

	if ((c->ignored_told & 1u << what) == 0)
		log_warn("the server sent %s: ignored, now and later", names[what]);
	c->ignored_told |= 1u << what;
}

/* ---- errors */

static void
handle_error(struct client *c, const Opamp__Proto__V1__ServerErrorResponse *e)
{
	char why[ERROR_TEXT];
	uint64_t ms;

	if (e->type !=
	    OPAMP__PROTO__V1__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_Unavailable) {
		/* ER-02: the message was answered, and is not sent again */
		report_answered(c->report);
		c->answered = 1;
		if (!c->error_told)
			log_warn("the server could not use our report: %.1000s", e->error_message);
		c->error_told = 1;
		return;
	}
	c->throttled = 1;
	if (e->details_case == OPAMP__PROTO__V1__SERVER_ERROR_RESPONSE__DETAILS_RETRY_INFO &&
	    e->retry_info != NULL) {
		ms = e->retry_info->retry_after_nanoseconds / 1000000;
		c->retry_after_ms = ms > LIMIT_RETRY_AFTER_MS ? LIMIT_RETRY_AFTER_MS : (int64_t)ms;
	}
	(void)snprintf(why, sizeof(why), "it is not available%s%.200s",
	    e->error_message[0] == '\0' ? "" : ": ", e->error_message);
	client_leave(c, 1000, why);
}

/* ---- the parts */

static void
handle_command(struct client *c, const Opamp__Proto__V1__ServerToAgentCommand *command)
{
	if (command->type != OPAMP__PROTO__V1__COMMAND_TYPE__CommandType_Restart)
		return; /* RC-03 */
	if (!CAPABLE(c, AcceptsRestartCommand)) {
		ignore(c, IGNORED_COMMAND);
		return;
	}
	log_debug("the server wants the agent restarted"); /* confd says so when it does it */
	c->ops->restart(c->ctx);
}

static void
handle_identification(struct client *c, const ProtobufCBinaryData *uid)
{
	static const uint8_t nobody[16];

	if (uid->len != sizeof(nobody) || memcmp(uid->data, nobody, sizeof(nobody)) == 0) {
		if (!c->uid_told)
			log_warn("the server assigned an instance uid of %zu bytes%s: refused",
			    uid->len, uid->len == sizeof(nobody) ? ", all zero" : "");
		c->uid_told = 1;
		return;
	}
	/* also the one we have, while another one is on its way: the newest counts */
	if (c->have_next_uid || memcmp(uid->data, c->report->uid, sizeof(nobody)) != 0)
		client_assign_uid(c, uid->data);
}

static struct offer_part
part_of(const char *s)
{
	return (struct offer_part){s, strlen(s)};
}

static int
make_room(struct offer *o, size_t n, struct error *err)
{
	if (n > LIMIT_CONFIG_FILES)
		return error_set(err, "configuration of %zu files, more than the %u allowed", n,
		    LIMIT_CONFIG_FILES);
	o->files = calloc(n + 1, sizeof(*o->files));
	if (o->files == NULL)
		return error_set(err, "no memory for a configuration of %zu files", n);
	o->count = (uint32_t)n;
	o->empty_map = n == 0;
	return 0;
}

static int
files_of(const Opamp__Proto__V1__AgentRemoteConfig *r, struct offer *o, struct error *err)
{
	const Opamp__Proto__V1__AgentConfigMap *map = r->config;
	size_t i, n = map == NULL ? 0 : map->n_config_map;

	o->hash = (struct offer_part){(const char *)r->config_hash.data, r->config_hash.len};
	if (make_room(o, n, err) == -1 || o->files == NULL)
		return -1;
	for (i = 0; i < n; i++) {
		const Entry *e = map->config_map[i];

		o->files[i].name = part_of(e->key);
		o->files[i].type = part_of("");
		if (e->value == NULL)
			continue;
		o->files[i].type = part_of(e->value->content_type);
		o->files[i].body =
		    (struct offer_part){(const char *)e->value->body.data, e->value->body.len};
	}
	return 0;
}

/* A field of bytes or text; of several the last counts. */
static struct offer_part
bytes_at(const struct wire_part *message, uint32_t field)
{
	struct wire_part p;

	if (wire_field(message->data, message->len, field, &p) == 0)
		return part_of("");
	return (struct offer_part){(const char *)p.data, p.len};
}

/*
 * The same from the wire, for a large one, which is then copied once.  0: it is in pieces that have to be put
 * together first, which nobody sends.
 */
static int
files_at(const struct wire_part *config, struct offer *o, struct error *err)
{
	struct wire_part map, entry, value;
	struct wire_walk walk;
	uint32_t field;
	size_t n = 0;

	o->hash = bytes_at(config, 2);
	if (wire_field(config->data, config->len, 1, &map) != 1)
		return 0;
	if (make_room(o, wire_field(map.data, map.len, 1, &entry), err) == -1)
		return -1;
	walk = (struct wire_walk){map.data, map.data + map.len};
	while (n < o->count && wire_next(&walk, &field, &entry)) {
		if (field != 1)
			continue;
		if (wire_field(entry.data, entry.len, 2, &value) > 1)
			return 0;
		o->files[n].name = bytes_at(&entry, 1);
		o->files[n].body = bytes_at(&value, 1);
		o->files[n++].type = bytes_at(&value, 2);
	}
	return 1;
}

/* In a sealed table of its own; a refusal is the server's to hear (FAILED). */
static int
pack_offer(
    const struct client *c, const struct offer *o, char **data, size_t *len, struct error *err)
{
	struct offer check;

	if (offer_pack(o, c->set.config_size, data, len, err) == -1)
		return -1;
	if (offer_open(&check, *data, *len, c->set.config_size, err) == -1) {
		free(*data); /* a name that is there twice */
		return -1;
	}
	offer_close(&check);
	return 0;
}

/* It may send many. */
static void
say_refused(struct client *c, const char *why)
{
	uint64_t now = c->ops->now_ms(c->ctx);

	if (c->refused_ms != 0 && now - c->refused_ms < TELL_MS)
		return;
	c->refused_ms = now;
	log_warn("the server's configuration is refused: %s", why);
}

/* good: o is whole; otherwise err says what is wrong with it, and its hash is all there is. */
static void
take_offer(struct client *c, const struct offer *o, int good, struct error *err)
{
	struct msg_offer m;
	size_t len = 0;
	char *data = NULL;

	if (!good || pack_offer(c, o, &data, &len, err) == -1) {
		say_refused(c, err->text);
		if (o->hash.len <= LIMIT_CONFIG_HASH)
			(void)report_refused(c->report, o->hash.data, o->hash.len, err->text);
		return;
	}
	report_offered(c->report, o->hash.data, o->hash.len);
	m = (struct msg_offer){.flags = o->empty_map ? OFFER_EMPTY_MAP : 0, .files = o->count};
	client_offer(c, &m, data, len);
}

static void
handle_config(struct client *c, const Opamp__Proto__V1__AgentRemoteConfig *r)
{
	struct offer o = {0};
	struct error err;
	int good;

	if (!CAPABLE(c, AcceptsRemoteConfig)) {
		ignore(c, IGNORED_CONFIG);
		return;
	}
	good = files_of(r, &o, &err) == 0;
	take_offer(c, &o, good, &err);
	free(o.files);
}

static void
handle_large_config(struct client *c, const struct wire_part *part)
{
	Opamp__Proto__V1__AgentRemoteConfig *r;
	struct offer o = {0};
	struct error err;
	int found;

	if (!CAPABLE(c, AcceptsRemoteConfig)) {
		ignore(c, IGNORED_CONFIG);
		return;
	}
	found = files_at(part, &o, &err);
	if (found != 0)
		take_offer(c, &o, found == 1, &err);
	free(o.files);
	if (found != 0)
		return;
	r = (Opamp__Proto__V1__AgentRemoteConfig *)wire_unpack(
	    &opamp__proto__v1__agent_remote_config__descriptor, part->data, part->len, &err);
	if (r == NULL) {
		say_refused(c, err.text);
		return;
	}
	handle_config(c, r);
	wire_free(&r->base);
}

static void
handle_rest(struct client *c, const Message *m)
{
	if (m->connection_settings != NULL)
		ignore(c, IGNORED_CONNECTION);
	if (m->packages_available != NULL)
		ignore(c, IGNORED_PACKAGES);
	if (m->custom_message != NULL)
		ignore(c, IGNORED_CUSTOM);
	if (m->flags &
	    OPAMP__PROTO__V1__SERVER_TO_AGENT_FLAGS__ServerToAgentFlags_ReportAvailableComponents)
		ignore(c, IGNORED_COMPONENTS);
}

void
client_handle(struct client *c, const Message *m, const struct wire_part *config)
{
	if (m->error_response != NULL) {
		handle_error(c, m->error_response);
		return;
	}
	report_answered(c->report);
	if (m->command != NULL) { /* RC-02 */
		handle_command(c, m->command);
		return;
	}
	if (m->agent_identification != NULL) /* the new uid first, then the rest */
		handle_identification(c, &m->agent_identification->new_instance_uid);
	if (m->flags & OPAMP__PROTO__V1__SERVER_TO_AGENT_FLAGS__ServerToAgentFlags_ReportFullState)
		c->full_wanted = 1;
	if (config->data != NULL)
		handle_large_config(c, config);
	else if (m->remote_config != NULL)
		handle_config(c, m->remote_config);
	handle_rest(c, m);
}
