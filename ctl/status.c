/*
 * status.c: `opampctl status` and `opampctl health`.  opampctl only.
 */
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "privsep/messages.h"
#include "tree.h"
#include "words.h"

static uint64_t
get(const struct reply *r, enum control_key key)
{
	return record_u64(&r->record, (uint16_t)key, 0);
}

static int
has(const struct reply *r, enum control_key key)
{
	struct record_entry e;

	return record_find(&r->record, (uint16_t)key, &e);
}

/* A text that is there and not empty. */
static void
text_of(struct writer *w, const char *name, const struct reply *r, enum control_key key)
{
	struct record_entry e;

	if (record_find(&r->record, (uint16_t)key, &e) && e.len > 0)
		out_bytes(w, name, e.value, e.len);
}

static void
generation(struct writer *w, const char *name, const struct reply *r, enum control_key key)
{
	uint64_t n = get(r, key);

	if (n != 0)
		out_number(w, name, n);
}

static void
show_daemon(struct writer *w, const struct reply *r)
{
	struct record_entry e;
	unsigned char u[16];
	char uid[40];

	out_section(w, "opampd");
	text_of(w, "version", r, CK_VERSION);
	if (record_find(&r->record, CK_INSTANCE_UID, &e) && e.len == sizeof(u)) {
		memcpy(u, e.value, sizeof(u));
		(void)snprintf(uid, sizeof(uid),
		    "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0],
		    u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
		    u[13], u[14], u[15]);
		out_string(w, "instance_uid", uid);
	}
	text_of(w, "storage", r, CK_STORAGE);
	text_of(w, "agent_log", r, CK_LOG_PATH);
	if (get(r, CK_WEAK))
		out_string(w, "warning",
		    "started by an ordinary user on a kernel without Landlock: the agent can read "
		    "opampd's state");
	out_end(w);
}

static void
show_server(struct writer *w, const struct reply *r)
{
	out_section(w, "server");
	text_of(w, "endpoint", r, CK_SERVER_ENDPOINT);
	out_string(w, "state", word_server_event(get(r, CK_SERVER_EVENT)));
	out_time(w, "since", get(r, CK_SERVER_SINCE));
	text_of(w, "reason", r, CK_SERVER_TEXT);
	if (get(r, CK_SERVER_HTTP) != 0)
		out_number(w, "http_status", get(r, CK_SERVER_HTTP));
	if (get(r, CK_SERVER_NEXT_MS) != 0)
		out_duration_ms(w, "next_try_ms", get(r, CK_SERVER_NEXT_MS));
	out_end(w);
}

static void
show_agent(struct ctl *c, const struct reply *r)
{
	struct writer *w = c->w;
	uint64_t kind = get(r, CK_AGENT_EXIT);
	char text[256];

	out_section(w, "agent");
	text_of(w, "type", r, CK_AGENT_TYPE);
	out_string(w, "state", word_agent_state(get(r, CK_AGENT_STATE)));
	if (get(r, CK_AGENT_PID) != 0)
		out_number(w, "pid", get(r, CK_AGENT_PID));
	out_time(w, "started", get(r, CK_AGENT_STARTED));
	if (get(r, CK_AGENT_RESTARTS) != 0)
		out_number(w, "restarts", get(r, CK_AGENT_RESTARTS));
	if (get(r, CK_AGENT_NEXT_MS) != 0)
		out_duration_ms(w, "next_try_ms", get(r, CK_AGENT_NEXT_MS));
	out_string(w, "last_end",
	    exit_text(text, sizeof(text), kind, get(r, CK_AGENT_EXIT_VALUE),
		get(r, CK_AGENT_EXIT_STAGE)));
	/* of the run before: of no use to people while all is well */
	if (c->json || get(r, CK_AGENT_STATE) == AGENT_STOPPED ||
	    get(r, CK_AGENT_STATE) > AGENT_STOPPING)
		text_of(w, "last_words", r, CK_AGENT_OUTPUT);
	out_end(w);
}

static void
show_configuration(struct writer *w, const struct reply *r)
{
	struct record_entry e;

	out_section(w, "configuration");
	generation(w, "running", r, CK_RUNNING);
	generation(w, "committed", r, CK_COMMITTED);
	generation(w, "trial", r, CK_TRIAL);
	text_of(w, "step", r, CK_CONFIG_STEP);
	if (get(r, CK_STOPPED))
		out_string(w, "note", "the server wants nothing to run: the agent is stopped");
	else if (get(r, CK_RUNNING) == 0 && get(r, CK_COMMITTED) == 0 && get(r, CK_TRIAL) == 0)
		out_string(w, "note", "none yet");
	if (get(r, CK_CONFIG_STATUS) != 0)
		out_string(w, "remote_status", word_config_status(get(r, CK_CONFIG_STATUS)));
	if (record_find(&r->record, CK_CONFIG_HASH, &e) && e.len > 0)
		out_hex(w, "remote_hash", e.value, e.len < 64 ? e.len : 64);
	text_of(w, "remote_error", r, CK_CONFIG_MESSAGE);
	out_end(w);
}

static void
show_health(struct writer *w, const struct reply *r)
{
	out_boolean(w, "healthy", get(r, CK_HEALTHY) == 1);
	text_of(w, "status", r, CK_HEALTH_STATUS);
	text_of(w, "error", r, CK_HEALTH_ERROR);
	out_time(w, "since", get(r, CK_HEALTH_TIME));
	if (has(r, CK_HEALTH_LINK))
		out_string(w, "agent_link", get(r, CK_HEALTH_LINK) ? "connected" : "not connected");
	if (has(r, CK_HEALTH_PROBE))
		out_string(w, "health_endpoint", get(r, CK_HEALTH_PROBE) ? "well" : "not well");
	text_of(w, "endpoint_error", r, CK_HEALTH_PROBE_TEXT);
	if (get(r, CK_HEALTH_WORST) != 0)
		out_string(w, "worst_component", word_worst(get(r, CK_HEALTH_WORST)));
}

enum ctl_exit
verb_status(struct ctl *c, int argc, char **argv)
{
	struct reply reply;
	enum ctl_exit status = ctl_ask(c, CONTROL_STATUS, 0, 0, &reply);

	(void)argc;
	(void)argv;
	if (status != CTL_OK)
		return status;
	show_daemon(c->w, &reply);
	show_server(c->w, &reply);
	show_agent(c, &reply);
	show_configuration(c->w, &reply);
	out_section(c->w, "health");
	show_health(c->w, &reply);
	out_end(c->w);
	reply_free(&reply);
	return CTL_OK;
}

enum ctl_exit
verb_health(struct ctl *c, int argc, char **argv)
{
	static const char *const columns[] = {
	    "component", "healthy", "status", "since", "error", NULL};
	struct record_entry e;
	struct reply reply;
	enum ctl_exit status = ctl_ask(c, CONTROL_HEALTH, 0, 0, &reply);
	struct error err;

	(void)argc;
	(void)argv;
	if (status != CTL_OK)
		return status;
	show_health(c->w, &reply);
	if (record_find(&reply.record, CK_HEALTH_TREE, &e) && e.len > 0) {
		out_table(c->w, "components", columns);
		if (tree_rows(c->w, e.value, e.len, &err) == -1)
			fprintf(stderr, "opampctl: %s\n", err.text);
		out_end(c->w);
	}
	status = record_u64(&reply.record, CK_HEALTHY, 0) == 1 ? CTL_OK : CTL_UNHEALTHY;
	reply_free(&reply);
	return status;
}
