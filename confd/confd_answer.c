/*
 * confd_answer.c: what opampctl asks (privsep/control_proto.h): form and permission were checked by
 * control.c.  confd only.
 */
#include "confd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- pieces */

static void
put_text(struct record_writer *w, uint16_t key, const char *text)
{
	if (text != NULL && text[0] != '\0')
		record_put_string(w, key, text);
}

static void
put_daemon(const struct confd *c, struct record_writer *w)
{
	const struct settings *s = &c->child.settings;
	char *storage = settings_string(s, SET_STORAGE), *dir = settings_string(s, SET_LOG_DIR);
	char path[4096 + 32];

	record_put(w, CK_INSTANCE_UID, 0, 0, c->uid, UUID_SIZE);
	put_text(w, CK_STORAGE, storage);
	if (dir != NULL)
		(void)snprintf(path, sizeof(path), "%s/agent.log", dir);
	else if (c->child.start.flags & CHILD_UNPRIVILEGED && storage != NULL)
		(void)snprintf(path, sizeof(path), "%s/agent.log", storage);
	else
		(void)snprintf(path, sizeof(path), "/var/log/opampd/agent.log");
	put_text(w, CK_LOG_PATH, path);
	free(storage);
	free(dir);
}

static void
put_agent(const struct confd *c, struct record_writer *w)
{
	const struct apply_agent *g = &c->apply.agent;
	const struct msg_state *p = &g->proc;

	record_put_string(w, CK_AGENT_TYPE,
	    settings_u64(&c->child.settings, SET_AGENT_TYPE) == 0 ? "collector" : "generic");
	if (!g->proc_known)
		return;
	record_put_u64(w, CK_AGENT_STATE, p->state);
	record_put_u64(w, CK_AGENT_PID, (uint64_t)(p->pid < 0 ? 0 : p->pid));
	record_put_u64(w, CK_AGENT_STARTED, p->started_ns);
	record_put_u64(w, CK_AGENT_RESTARTS, p->restarts);
	record_put_u64(w, CK_AGENT_NEXT_MS, p->next_ms);
	if (p->exit != EXIT_NONE) {
		record_put_u64(w, CK_AGENT_EXIT, p->exit);
		record_put_u64(w, CK_AGENT_EXIT_VALUE, (uint64_t)(uint32_t)p->value);
		record_put_u64(w, CK_AGENT_EXIT_STAGE, p->stage);
	}
	put_text(w, CK_AGENT_OUTPUT, g->run_words.text);
}

static void
put_server(const struct confd *c, struct record_writer *w)
{
	uint64_t gone = now_ms() - c->server_at_ms;
	char *endpoint = settings_string(&c->child.settings, SET_ENDPOINT);

	if (endpoint != NULL) {
		endpoint[strcspn(endpoint, "?")] = '\0'; /* there could be a secret in it */
		put_text(w, CK_SERVER_ENDPOINT, endpoint);
	}
	free(endpoint);
	if (c->server.event == SERVER_NONE)
		return;
	record_put_u64(w, CK_SERVER_EVENT, c->server.event);
	record_put_u64(w, CK_SERVER_SINCE, c->server_since_ns);
	record_put_u64(w, CK_SERVER_HTTP, c->server.http_status);
	record_put_u64(
	    w, CK_SERVER_NEXT_MS, c->server.next_ms > gone ? c->server.next_ms - gone : 0);
	put_text(w, CK_SERVER_TEXT, c->server_text);
	record_put_u64(w, CK_SERVER_CAPABILITIES, c->server.capabilities);
}

static const char *
step_of(const struct apply *a)
{
	static const char *const steps[] = {[APPLY_WAITING] = "waiting for procd",
	    [APPLY_PROBE] = "asking the agent's program what it can do",
	    [APPLY_COMPOSE] = "composing",
	    [APPLY_CHECK] = "checking",
	    [APPLY_VALIDATE] = "validating",
	    [APPLY_WORDS] = "validating",
	    [APPLY_ROLLBACK] = "going back",
	    [APPLY_STOPPING] = "stopping the agent"};

	if (a->phase == APPLY_GATE)
		return a->well_since_ms != 0 ? "settling" : "waiting for health";
	return steps[a->phase];
}

/* The newest that was committed before the one that is. */
static uint64_t
previous_of(const struct confd *c)
{
	struct store_meta *meta = calloc(1, sizeof(*meta));
	uint64_t *numbers = NULL, found = 0;
	size_t count = 0, i;

	if (meta != NULL && store_generations(c->store, &numbers, &count, NULL) == 0)
		for (i = count; i > 0 && found == 0; i--)
			if (numbers[i - 1] < c->apply.committed &&
			    store_generation_meta(c->store, numbers[i - 1], meta, NULL) == 0 &&
			    meta->outcome == OUTCOME_COMMITTED)
				found = numbers[i - 1];
	free(numbers);
	free(meta);
	return found;
}

static void
put_configuration(const struct confd *c, struct record_writer *w)
{
	const struct apply *a = &c->apply;

	record_put_u64(w, CK_RUNNING, apply_current(a));
	record_put_u64(w, CK_COMMITTED, a->committed);
	record_put_u64(w, CK_TRIAL, a->try.generation);
	record_put_u64(w, CK_PREVIOUS, previous_of(c));
	record_put_u64(w, CK_STOPPED, (uint64_t)a->stopped);
	record_put_u64(w, CK_CONFIG_STATUS, a->told.status);
	if (a->told.status != CONFIG_UNSET)
		record_put(w, CK_CONFIG_HASH, 0, 0, a->told.hash.data, a->told.hash.len);
	put_text(w, CK_CONFIG_MESSAGE, a->told.message);
	put_text(w, CK_CONFIG_STEP, step_of(a));
}

static void
put_health(const struct confd *c, struct record_writer *w)
{
	const struct apply *a = &c->apply;
	const struct apply_agent *g = &a->agent;
	struct health_report now;
	const struct health_report *r = &c->health;

	if (!c->health_sent) { /* held: our predecessor's word stands at the server, but not here */
		health_compose(a, &now);
		r = &now;
	}
	record_put_u64(w, CK_HEALTHY, (uint64_t)r->healthy);
	put_text(w, CK_HEALTH_ERROR, r->error);
	put_text(w, CK_HEALTH_STATUS, r->status);
	record_put_u64(w, CK_HEALTH_TIME, r->status_time_ns);
	if (a->set.injects)
		record_put_u64(
		    w, CK_HEALTH_LINK, g->link_start != 0 && g->link_start == g->proc.start);
	if (a->set.probes && g->probe.start != 0 && g->probe.start == g->proc.start) {
		record_put_u64(w, CK_HEALTH_PROBE, g->probe.ok);
		put_text(w, CK_HEALTH_PROBE_TEXT, g->probe_text);
	}
	if (g->health_known && g->health.start == g->proc.start) {
		record_put_u64(w, CK_HEALTH_WORST, g->health.worst);
		record_put_u64(w, CK_HEALTH_COMPONENTS, g->health.components);
		record_put(w, CK_HEALTH_TREE, 0, 0, g->component, g->component_len);
	}
}

/* ---- verbs */

static int
is_there(const struct confd *c, uint64_t generation)
{
	uint64_t *numbers = NULL;
	size_t count = 0, i;
	int found = 0;

	if (store_generations(c->store, &numbers, &count, NULL) == -1)
		return 1; /* then the first error says more */
	for (i = 0; i < count; i++)
		found |= numbers[i] == generation;
	free(numbers);
	return found;
}

static enum control_result
answer_config(const struct confd *c, const struct control_request *rq, struct record_writer *w,
    struct error *err)
{
	uint64_t generation = rq->number;
	char *data = NULL;
	size_t len = 0;
	int r;

	if (generation == 0)
		generation =
		    apply_current(&c->apply) != 0 ? apply_current(&c->apply) : c->apply.committed;
	if (generation == 0) {
		error_set(err, "there is no configuration yet");
		return CONTROL_MISSING;
	}
	if (rq->argument == CONTROL_CONFIG_EFFECTIVE)
		r = store_generation_effective(c->store, generation, &data, &len, err);
	else if (rq->argument == CONTROL_CONFIG_REMOTE)
		r = store_generation_remote(c->store, generation, &data, &len, err);
	else
		return CONTROL_UNKNOWN;
	if (r == -1) {
		if (!is_there(c, generation))
			error_set(err,
			    "there is no generation %llu: opampctl history shows those that are "
			    "kept",
			    (unsigned long long)generation);
		return CONTROL_MISSING;
	}
	record_put_u64(w, CK_GENERATION, generation);
	if (data != NULL)
		record_put(w, rq->argument == CONTROL_CONFIG_EFFECTIVE ? CK_TEXT : CK_OFFER, 0, 0,
		    data, len);
	free(data);
	return CONTROL_OK;
}

static void
put_generation(const struct store_meta *meta, struct record_writer *w)
{
	record_put_u64(w, CK_GENERATION, meta->generation);
	record_put_u64(w, CK_SOURCE, meta->source);
	record_put_u64(w, CK_OUTCOME, meta->outcome);
	record_put_u64(w, CK_MADE, meta->made_ns);
	record_put_u64(w, CK_ENDED, meta->ended_ns);
	if (meta->hash_len > 0)
		record_put(w, CK_CONFIG_HASH, 0, 0, meta->hash, meta->hash_len);
	put_text(w, CK_CONFIG_MESSAGE, meta->message);
}

static enum control_result
answer_history(const struct confd *c, const struct control_request *rq, struct record_writer *w,
    struct error *err)
{
	struct store_meta *meta = calloc(1, sizeof(*meta));
	uint64_t *numbers = NULL;
	size_t count = 0, i, row = 0;

	if (meta == NULL || store_generations(c->store, &numbers, &count, err) == -1) {
		free(meta);
		return CONTROL_FAILED;
	}
	put_configuration(c, w);
	i = rq->number != 0 && rq->number < count ? count - (size_t)rq->number : 0;
	for (; i < count; i++) {
		if (store_generation_meta(c->store, numbers[i], meta, NULL) == -1)
			continue;
		record_put_u64(w, CK_ROW, row++);
		put_generation(meta, w);
	}
	free(numbers);
	free(meta);
	return CONTROL_OK;
}

static void
put_children(const struct confd *c, struct record_writer *w)
{
	static const char *const sandboxes[] = {"off", "standard", "strict"};
	uint64_t sandbox = settings_u64(&c->child.settings, SET_SANDBOX), row = 0;
	uint32_t i;

	put_agent(c, w);
	record_put_string(w, CK_AGENT_SANDBOX, sandboxes[sandbox < 3 ? sandbox : 1]);
	for (i = 0; i < PROC_COUNT; i++) {
		const struct msg_child *m = &c->children[i];

		if (m->proc == PROC_NOBODY)
			continue;
		record_put_u64(w, CK_ROW, row++);
		record_put_u64(w, CK_PROC, m->proc);
		record_put_u64(w, CK_PROC_PID, (uint64_t)(m->pid < 0 ? 0 : m->pid));
		record_put_u64(w, CK_PROC_RESTARTS, m->restarts);
		record_put_u64(w, CK_PROC_SINCE_MS, m->since_ms);
	}
}

static enum control_result
answer(void *ctx, const struct control_request *rq, int may_act, struct record_writer *w,
    struct error *err)
{
	struct confd *c = ctx;

	(void)may_act; /* control.c refused who may not */
	switch (rq->verb) {
	case CONTROL_STATUS:
		put_daemon(c, w);
		put_agent(c, w);
		put_server(c, w);
		put_configuration(c, w);
		put_health(c, w);
		return CONTROL_OK;
	case CONTROL_CONFIG:
		return answer_config(c, rq, w, err);
	case CONTROL_HEALTH:
		put_health(c, w);
		return CONTROL_OK;
	case CONTROL_HISTORY:
		return answer_history(c, rq, w, err);
	case CONTROL_CHILDREN:
		put_children(c, w);
		return CONTROL_OK;
	case CONTROL_RESTART:
		if (apply_restart(&c->apply, 0, err) == -1)
			return CONTROL_FAILED;
		confd_settle(c);
		return CONTROL_OK;
	case CONTROL_RELOAD:
		child_send(&c->child, PROC_PARENT, MSG_RELOAD_REQUEST, NULL, NULL, 0, -1);
		return CONTROL_OK;
	default:
		return CONTROL_UNKNOWN;
	}
}

const struct control_ops confd_control_ops = {answer};
