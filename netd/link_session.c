/*
 * link_session.c: OpAMP towards the agent (see link_session.h).  link.
 * Whatever the agent sends, confd's queue stays short: of everything the latest waits here.
 */
#include "link_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/log.h"
#include "wire/wire.h"

#define CONFD_QUEUE 16 /* more waiting for confd than that: later */
#define LATER_MS    50
#define TELL_MS     60000
#define FULL_MS     1000 /* between two ReportFullState: an agent that counts wrongly is no loop */

typedef Opamp__Proto__V1__AgentToServer Report;
typedef Opamp__Proto__V1__EffectiveConfig Effective;

#define FIELD_EFFECTIVE_CONFIG 6 /* of AgentToServer */
typedef Opamp__Proto__V1__ServerToAgent Answer;

static void on_silence(evutil_socket_t fd, short what, void *arg);
static void on_later(evutil_socket_t fd, short what, void *arg);

int
link_sessions_init(struct link_sessions *all, struct child *child)
{
	memset(all, 0, sizeof(*all));
	all->child = child;
	all->silence_ms = LINK_SILENCE_MS;
	LIST_INIT(&all->list);
	all->later = event_new(child->base, -1, 0, on_later, all);
	return all->later == NULL ? -1 : 0;
}

static void
drop(struct link_blob *b)
{
	if (b->view.mapped != 0)
		memfd_view_end(&b->view);
	else
		free(b->data);
	*b = (struct link_blob){0};
}

static void
free_session(struct link_session *s)
{
	LIST_REMOVE(s, entry);
	event_free(s->silence);
	link_health_clear(&s->health);
	free(s->description.data);
	drop(&s->effective);
	free(s);
}

void
link_sessions_clear(struct link_sessions *all)
{
	struct link_session *s;

	while ((s = LIST_FIRST(&all->list)) != NULL)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it is off the list, by a pointer to a pointer */
		free_session(s);
	link_baseline_clear(&all->baseline);
	if (all->later != NULL)
		event_free(all->later);
	all->later = NULL;
}

static struct link_session *
find(struct link_sessions *all, uint32_t start)
{
	struct link_session *s;

	LIST_FOREACH (s, &all->list, entry)
		if (s->start == start)
			return s;
	return NULL;
}

struct link_session *
link_session_of(struct link_sessions *all, uint32_t start)
{
	struct link_session *s = find(all, start);

	if (s != NULL)
		return s;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->all = all;
	s->start = start;
	s->silence = event_new(all->child->base, -1, 0, on_silence, s);
	if (s->silence == NULL) {
		free(s);
		return NULL;
	}
	LIST_INSERT_HEAD(&all->list, s, entry);
	return s;
}

/* ---- to confd */

static void
send_connected(struct link_session *s)
{
	struct msg_link_agent m = {
	    .start = s->start, .event = s->connected ? LINK_CONNECTED : LINK_DISCONNECTED};

	s->told_connected = s->connected;
	child_send(s->all->child, PROC_CONFD, MSG_LINK_AGENT, &m, NULL, 0, -1);
}

static void
send_blob(struct link_session *s, uint32_t type, struct link_blob *b)
{
	struct msg_blob m = {.start = s->start};

	if (b->view.mapped == 0 || b->view.fd == -1) {
		child_send_blob(s->all->child, PROC_CONFD, type, &m, NULL, 0, b->data, b->len);
		return;
	}
	child_send(s->all->child, PROC_CONFD, type, &m, NULL, 0, b->view.fd);
	b->view.fd = -1; /* if confd dies, the next one is given a copy */
}

static void
send_health(struct link_session *s)
{
	const struct link_health *h = &s->health;
	struct msg_agent_health m = {.start = s->start,
	    .healthy = (uint32_t)h->healthy,
	    .worst = h->worst,
	    .components = h->count,
	    .status_time_ns = h->status_time_ns};
	char text[128];
	int n;

	if (!s->silent) {
		child_send_blob(s->all->child, PROC_CONFD, MSG_AGENT_HEALTH, &m, h->text,
		    h->text_len, h->packed, h->packed_len);
		return;
	}
	m.healthy = 0;
	m.worst = WORST_NONE;
	m.status_time_ns = now_unix_ns();
	n = snprintf(text, sizeof(text), "no sign of life for %llu s",
	    (unsigned long long)(s->all->silence_ms / 1000));
	child_send_blob(
	    s->all->child, PROC_CONFD, MSG_AGENT_HEALTH, &m, text, (size_t)n + 1, "", 0);
}

/* An agent may say another thing in each message; confd, netd and the server hear the latest of each. */
static int
too_often(struct link_sessions *all)
{
	uint64_t now = now_ms(), left;
	struct timeval tv;

	if (now - all->window_ms >= 1000) {
		all->window_ms = now;
		all->news = 0;
	}
	if (++all->news <= LIMIT_NEWS_PER_SECOND)
		return 0;
	left = 1000 - (now - all->window_ms);
	tv = (struct timeval){0, (suseconds_t)(left < 1000 ? left * 1000 : 999999)};
	(void)event_add(all->later, &tv);
	return 1;
}

/* What confd has not heard, as far as it takes it now; last: this session will not come again. */
static void
tell_confd_of(struct link_session *s, int last)
{
	static const struct timeval later = {0, LATER_MS * 1000};
	struct channel *confd = s->all->child->peers[PROC_CONFD];

	if (confd == NULL)
		return; /* all of it goes when confd is there */
	if (channel_queued(confd) >= CONFD_QUEUE) {
		(void)event_add(s->all->later, &later);
		return;
	}
	if (s->connected && !s->told_connected)
		send_connected(s);
	if ((s->description_due || s->effective_due || s->health_due) && !last && too_often(s->all))
		return;
	if (s->description_due)
		send_blob(s, MSG_AGENT_DESCRIPTION, &s->description);
	if (s->effective_due)
		send_blob(s, MSG_AGENT_EFFECTIVE, &s->effective);
	if (s->health_due)
		send_health(s);
	if (!s->connected && s->told_connected)
		send_connected(s); /* after its last words */
	s->description_due = s->effective_due = s->health_due = 0;
}

static void
tell_confd(struct link_session *s)
{
	tell_confd_of(s, 0);
}

static void
on_later(evutil_socket_t fd, short what, void *arg)
{
	struct link_sessions *all = arg;
	struct link_session *s;

	(void)fd;
	(void)what;
	LIST_FOREACH (s, &all->list, entry)
		tell_confd(s);
}

void
link_sessions_confd_up(struct link_sessions *all)
{
	struct link_session *s;

	LIST_FOREACH (s, &all->list, entry) {
		s->told_connected = 0;
		s->description_due = s->description.known;
		s->effective_due = s->effective.known;
		s->health_due = s->health.known || s->silent;
		tell_confd(s);
	}
}

void
link_sessions_identity(struct link_sessions *all, const uint8_t uid[16])
{
	struct link_session *s;

	memcpy(all->uid, uid, sizeof(all->uid));
	all->have_uid = 1;
	LIST_FOREACH (s, &all->list, entry)
		s->mismatch_told = 0;
}

void
link_sessions_baseline(struct link_sessions *all, uint32_t start)
{
	struct link_session *s = find(all, start);
	struct error err;

	if (s == NULL || !s->health.known)
		return; /* nothing is known of it: the one before stays */
	if (link_baseline_take(&all->baseline, &s->health, &err) == -1) {
		log_warn("%s", err.text);
		return;
	}
	LIST_FOREACH (s, &all->list, entry)
		if (link_health_judge(&s->health, &all->baseline)) {
			s->health_due = 1;
			tell_confd(s);
		}
}

/* ---- signs of life */

static void
watch(struct link_session *s, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	(void)event_add(s->silence, &tv);
}

/* Armed anew only when it fires: a message costs no timer. */
static void
on_silence(evutil_socket_t fd, short what, void *arg)
{
	struct link_session *s = arg;
	uint64_t quiet = now_ms() - s->heard_ms;

	(void)fd;
	(void)what;
	if (quiet < s->all->silence_ms) {
		watch(s, s->all->silence_ms - quiet);
		return;
	}
	log_warn("the agent has not spoken for %llu s", (unsigned long long)(quiet / 1000));
	s->silent = 1;
	s->health_due = 1;
	tell_confd(s);
}

static void
alive(struct link_session *s)
{
	s->heard_ms = now_ms();
	if (!s->silent)
		return;
	log_info("the agent speaks again");
	s->silent = 0;
	s->health_due = s->health.known;
	if (s->connected)
		watch(s, s->all->silence_ms);
}

void
link_session_connected(struct link_session *s)
{
	s->first = 1;
	s->asked_description = 0;
	s->connected = 1;
	alive(s);
	watch(s, s->all->silence_ms);
	tell_confd(s);
}

void
link_session_disconnected(struct link_session *s)
{
	s->connected = 0;
	(void)event_del(s->silence);
	tell_confd(s);
}

void
link_session_end(struct link_sessions *all, uint32_t start)
{
	struct link_session *s = find(all, start);

	if (s == NULL)
		return;
	s->connected = 0;
	(void)event_del(s->silence);
	tell_confd_of(s, 1);
	free_session(s);
}

/* ---- what the agent says */

/* ST-07: a message was lost, or this one leaves out what we never heard. */
static void
follow_sequence(struct link_session *s, const Report *r)
{
	int described = r->agent_description != NULL, follows;

	follows = s->have_sequence && r->sequence_num == s->sequence + 1;
	if (!follows && !(s->first && described))
		s->want_full = 1;
	if (!described && !s->description.known && !s->asked_description) {
		s->want_full = 1;
		s->asked_description = 1;
	}
	s->have_sequence = 1;
	s->sequence = r->sequence_num;
}

static void
check_uid(struct link_session *s, const Report *r)
{
	if (!s->all->have_uid || s->mismatch_told ||
	    memcmp(r->instance_uid.data, s->all->uid, sizeof(s->all->uid)) == 0)
		return;
	s->mismatch_told = 1;
	log_info("the agent speaks with an instance uid of its own; ours is reported");
}

/* 1 if it is news. */
static int
keep(struct link_blob *b, char *data, size_t len)
{
	if (data == NULL)
		return 0;
	if (b->known && b->len == len && memcmp(b->data, data, len) == 0) {
		free(data);
		return 0;
	}
	drop(b);
	b->data = data;
	b->len = len;
	b->known = 1;
	return 1;
}

static char *
pack(const ProtobufCMessage *m, size_t *len)
{
	char *data;

	*len = protobuf_c_message_get_packed_size(m);
	data = malloc(*len + 1);
	if (data != NULL)
		(void)protobuf_c_message_pack(m, (uint8_t *)data);
	else
		log_error("no memory for what the agent reports (%zu bytes)", *len);
	return data;
}

static int
compare_files(const void *a, const void *b)
{
	Opamp__Proto__V1__AgentConfigMap__ConfigMapEntry *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

static void
take_effective(struct link_session *s, Effective *e)
{
	Opamp__Proto__V1__AgentConfigMap *files = e->config_map;
	size_t len;
	char *data;

	if (files != NULL && files->n_config_map > 1) /* Go sends maps in any order */
		/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are sorted */
		qsort(files->config_map, files->n_config_map, sizeof(*files->config_map),
		    compare_files);
	data = pack(&e->base, &len);
	s->effective_due |= keep(&s->effective, data, len);
}

/* 1: it has one file and nothing unknown: it may go on as it stands. */
static int
is_plain(const struct wire_part *part)
{
	struct wire_part map, file;
	struct error err;

	return wire_scan_known(&opamp__proto__v1__effective_config__descriptor, part->data,
		   part->len, &err) == 1 &&
	       wire_field(part->data, part->len, 1, &map) == 1 &&
	       wire_field(map.data, map.len, 1, &file) == 1;
}

/* Most of what an agent says is its configuration: a large one is in memory once, for confd and netd too. */
static void
take_large_effective(struct link_session *s, const struct wire_part *part)
{
	struct link_blob *b = &s->effective;
	struct error err;
	Effective *e;
	int fd;

	if (!is_plain(part)) {
		e = (Effective *)wire_unpack(
		    &opamp__proto__v1__effective_config__descriptor, part->data, part->len, &err);
		if (e == NULL)
			log_error("the agent's effective configuration: %s", err.text);
		else
			take_effective(s, e);
		wire_free(e == NULL ? NULL : &e->base);
		return;
	}
	if (b->known && b->len == part->len && memcmp(b->data, part->data, part->len) == 0)
		return;
	drop(b);
	fd = memfd_seal("effective", part->data, part->len, &err);
	if (fd == -1 || memfd_view(fd, LIMIT_MEMFD, &b->view, &err) == -1) {
		log_error("the agent's effective configuration: %s", err.text);
		return;
	}
	b->data = b->view.data;
	b->len = b->view.len;
	b->known = 1;
	s->effective_due = 1;
}

/*
 * whole: the first report of a connection, and complete: the agent began anew (a reload).  part: its effective
 * configuration, if that is not in r.
 */
static void
take_report(struct link_session *s, Report *r, const struct wire_part *part, int whole)
{
	struct error err;
	size_t len;
	char *data;
	int news;

	if (r->agent_description != NULL) {
		data = pack(&r->agent_description->base, &len);
		s->description_due |= keep(&s->description, data, len);
	}
	if (part->data != NULL)
		take_large_effective(s, part);
	else if (r->effective_config != NULL)
		take_effective(s, r->effective_config);
	if (r->health != NULL) {
		news = link_health_take(&s->health, r->health, &s->all->baseline, &err);
		if (news == -1)
			log_error("%s", err.text);
		s->health_due |= news == 1 || (news == 0 && whole);
	}
}

/* ---- what it is answered */

static int
finish(const Answer *a, char **answer, size_t *len, struct error *err)
{
	*answer = pack(&a->base, len);
	return *answer == NULL ? error_set(err, "no memory for an answer to the agent") : 0;
}

static int
refuse(struct link_session *s, const Report *r, const char *why, char **answer, size_t *len,
    struct error *err)
{
	Opamp__Proto__V1__ServerErrorResponse e = OPAMP__PROTO__V1__SERVER_ERROR_RESPONSE__INIT;
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	uint64_t now = now_ms();

	if (s->refused_ms == 0 || now - s->refused_ms >= TELL_MS) {
		log_warn("the agent sent a message that cannot be used: %s", why);
		s->refused_ms = now; /* it may send many */
	}
	e.type = OPAMP__PROTO__V1__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_BadRequest;
	e.error_message = (char *)(uintptr_t)why;
	a.error_response = &e;
	if (r != NULL)
		a.instance_uid = r->instance_uid;
	return finish(&a, answer, len, err);
}

static int
reply(struct link_session *s, const Report *r, int first, char **answer, size_t *len,
    struct error *err)
{
	Opamp__Proto__V1__AgentIdentification id = OPAMP__PROTO__V1__AGENT_IDENTIFICATION__INIT;
	Answer a = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	uint64_t now = now_ms();

	a.instance_uid = r->instance_uid; /* ID-08 */
	if (first)
		a.capabilities =
		    OPAMP__PROTO__V1__SERVER_CAPABILITIES__ServerCapabilities_AcceptsStatus |
		    OPAMP__PROTO__V1__SERVER_CAPABILITIES__ServerCapabilities_AcceptsEffectiveConfig;
	if (s->want_full && (s->asked_ms == 0 || now - s->asked_ms >= FULL_MS)) {
		a.flags =
		    OPAMP__PROTO__V1__SERVER_TO_AGENT_FLAGS__ServerToAgentFlags_ReportFullState;
		s->want_full = 0;
		s->asked_ms = now;
	}
	if ((r->flags &
		OPAMP__PROTO__V1__AGENT_TO_SERVER_FLAGS__AgentToServerFlags_RequestInstanceUid) &&
	    s->all->have_uid) {
		id.new_instance_uid.data = s->all->uid;
		id.new_instance_uid.len = sizeof(s->all->uid);
		a.agent_identification = &id;
	}
	return finish(&a, answer, len, err);
}

int
link_session_message(struct link_session *s, const void *data, size_t len, char **answer,
    size_t *answer_len, struct error *err)
{
	struct wire_part effective;
	struct error why;
	Report *r;
	int first, answered;

	if (!s->connected)
		link_session_connected(s); /* plain HTTP, or it spoke after it had left */
	alive(s);
	r = (Report *)wire_unpack_beside(&opamp__proto__v1__agent_to_server__descriptor, data, len,
	    FIELD_EFFECTIVE_CONFIG, &effective, &why);
	if (r == NULL)
		return refuse(s, NULL, why.text, answer, answer_len, err);
	if (r->instance_uid.len != sizeof(s->all->uid)) {
		answered = refuse(s, r, "instance_uid is not 16 bytes", answer, answer_len, err);
		wire_free(&r->base);
		return answered;
	}
	check_uid(s, r);
	follow_sequence(s, r);
	first = s->first;
	s->first = 0;
	take_report(s, r, &effective, first && r->agent_description != NULL);
	answered = reply(s, r, first, answer, answer_len, err);
	if (r->agent_disconnect != NULL)
		link_session_disconnected(s);
	else
		tell_confd(s);
	wire_free(&r->base);
	return answered;
}

int
link_session_malformed(
    struct link_session *s, const char *why, char **answer, size_t *answer_len, struct error *err)
{
	alive(s);
	return refuse(s, NULL, why, answer, answer_len, err);
}
