/*
 * report.c: what the server is told (see report.h).  netd.
 * The parts are kept packed and joined to a message as they are: a configuration of many megabytes is
 * not decoded again for each report.  Everything in them was checked when it came.
 */
#include "report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "privsep/limits.h"
#include "privsep/log.h"
#include "wire/wire.h"

typedef Opamp__Proto__V1__ComponentHealth Health;
typedef Opamp__Proto__V1__EffectiveConfig Effective;
typedef Opamp__Proto__V1__RemoteConfigStatus Status;

#define CONTENT_TYPE "text/yaml"

/* Field numbers of AgentToServer. */
enum field {
	FIELD_UID = 1,
	FIELD_SEQUENCE = 2,
	FIELD_DESCRIPTION = 3,
	FIELD_CAPABILITIES = 4,
	FIELD_HEALTH = 5,
	FIELD_EFFECTIVE = 6,
	FIELD_STATUS = 7,
	FIELD_DISCONNECT = 9,
};

static const struct part {
	const char *name;
	enum field field;
	uint64_t capability;
} parts[PART_COUNT] = {
    [PART_DESCRIPTION] = {"the description", FIELD_DESCRIPTION,
	OPAMP__PROTO__V1__AGENT_CAPABILITIES__AgentCapabilities_ReportsStatus},
    [PART_HEALTH] = {"the health", FIELD_HEALTH,
	OPAMP__PROTO__V1__AGENT_CAPABILITIES__AgentCapabilities_ReportsHealth},
    [PART_EFFECTIVE] = {"the effective configuration", FIELD_EFFECTIVE,
	OPAMP__PROTO__V1__AGENT_CAPABILITIES__AgentCapabilities_ReportsEffectiveConfig},
    [PART_STATUS] = {"the status of the remote configuration", FIELD_STATUS,
	OPAMP__PROTO__V1__AGENT_CAPABILITIES__AgentCapabilities_ReportsRemoteConfig},
};

void
report_init(struct report *r, const struct describe *d, uint64_t capabilities, size_t max_message)
{
	memset(r, 0, sizeof(*r));
	r->describe = d;
	r->capabilities = capabilities;
	/* what is built can always be queued (ws_send), with a little before it */
	r->max_message = max_message < LIMIT_WS_OUTPUT - MIB ? max_message : LIMIT_WS_OUTPUT - MIB;
}

static void
drop(struct report_piece *p)
{
	if (p->view.mapped != 0)
		memfd_view_end(&p->view);
	else
		free(p->packed);
	*p = (struct report_piece){0};
}

void
report_clear(struct report *r)
{
	size_t i;

	for (i = 0; i < PART_COUNT; i++)
		drop(&r->parts[i]);
	free(r->agent);
	free(r->confds);
	free(r->timeless);
	memset(r, 0, sizeof(*r));
}

/* ---- the parts */

/* packed is taken. */
static int
keep(struct report *r, enum report_part which, char *packed, size_t len)
{
	struct report_piece *p = &r->parts[which];

	if (p->packed != NULL && p->len == len && memcmp(p->packed, packed, len) == 0) {
		free(packed);
		return 0;
	}
	drop(p);
	*p = (struct report_piece){.packed = packed, .len = len, .due = 1};
	return 1;
}

/* The same for what lies in a memory file: it is taken, or not if it is no news. */
static int
keep_view(struct report *r, enum report_part which, struct memfd_view *view)
{
	struct report_piece *p = &r->parts[which];

	if (p->packed != NULL && p->len == view->len && memcmp(p->packed, view->data, p->len) == 0)
		return 0;
	drop(p);
	if (view->fd >= 0)
		close(view->fd);
	view->fd = -1;
	*p = (struct report_piece){.packed = view->data, .len = view->len, .due = 1, .view = *view};
	*view = (struct memfd_view){.fd = -1};
	return 1;
}

static char *
pack(const ProtobufCMessage *m, size_t *len, struct error *err)
{
	char *data;

	*len = protobuf_c_message_get_packed_size(m);
	data = malloc(*len + 1);
	if (data == NULL)
		(void)error_set(err, "no memory for %zu bytes of a report", *len);
	else
		(void)protobuf_c_message_pack(m, (uint8_t *)data);
	return data;
}

static int
redescribe(struct report *r, struct error *err)
{
	char *packed;
	size_t len;

	if (describe_pack(r->describe, r->agent == NULL ? "" : r->agent, r->agent_len, r->uid,
		&packed, &len, err) == -1)
		return -1;
	return keep(r, PART_DESCRIPTION, packed, len);
}

int
report_identity(struct report *r, const uint8_t uid[16], struct error *err)
{
	static const uint8_t nobody[16];

	if (memcmp(uid, nobody, sizeof(nobody)) == 0)
		return error_set(err, "the instance uid is all zero");
	if (r->have_uid && memcmp(uid, r->uid, sizeof(r->uid)) == 0)
		return 0;
	memcpy(r->uid, uid, sizeof(r->uid));
	r->have_uid = 1;
	return redescribe(r, err) == -1 ? -1 : 1;
}

int
report_description(struct report *r, const void *blob, size_t len, struct error *err)
{
	char *old = r->agent, *new = malloc(len + 1);
	size_t old_len = r->agent_len;
	int changed;

	if (new == NULL)
		return error_set(err, "no memory for the agent's description");
	memcpy(new, blob, len);
	r->agent = new;
	r->agent_len = len;
	changed = redescribe(r, err);
	if (changed == -1) {
		r->agent = old;
		r->agent_len = old_len;
		free(new);
		return -1;
	}
	free(old);
	return changed;
}

/* The depth was bounded by wire_unpack. */
static void
forget_times(Health *h)
{
	size_t i;

	h->status_time_unix_nano = 0;
	for (i = 0; i < h->n_component_health_map; i++)
		if (h->component_health_map[i]->value != NULL)
			forget_times(h->component_health_map[i]->value);
}

/* Text of a peer as proto3 wants it: UTF-8 without NUL, at most size - 1 bytes. */
static char *
clean_text(char *buf, size_t size, const char *s, size_t len)
{
	size_t n = len < size ? len : size - 1;

	while (n > 0 && n < len && ((unsigned char)s[n] & 0xc0) == 0x80)
		n--; /* not within a character */
	if (!wire_utf8((const uint8_t *)s, n))
		return log_escape(buf, size, s, n);
	memcpy(buf, s, n);
	buf[n] = '\0';
	return buf;
}

int
report_health(struct report *r, const struct msg_health *m, const char *text, size_t text_len,
    const void *tree, size_t len, struct error *err)
{
	char error_text[LIMIT_AGENT_TEXT + 1], status_text[LIMIT_AGENT_TEXT + 1];
	const char *nul = memchr(text, '\0', text_len);
	size_t first = nul == NULL ? text_len : (size_t)(nul - text), packed_len, timeless_len;
	char *packed = NULL, *timeless = NULL;
	Health *h;

	h = (Health *)wire_unpack(&opamp__proto__v1__component_health__descriptor, tree, len, err);
	if (h == NULL)
		return error_prefix(err, "the agent's health");
	/* its own words on the whole are in m and text; of the tree, the components are wanted */
	free(h->last_error == protobuf_c_empty_string ? NULL : h->last_error);
	free(h->status == protobuf_c_empty_string ? NULL : h->status);
	h->last_error = clean_text(error_text, sizeof(error_text), text, first);
	h->status = nul == NULL ? (char *)(uintptr_t) ""
				: clean_text(status_text, sizeof(status_text), nul + 1,
				      strnlen(nul + 1, text_len - first - 1));
	h->healthy = m->healthy != 0;
	h->start_time_unix_nano = m->started_ns;
	h->status_time_unix_nano = m->status_time_ns;
	packed = pack(&h->base, &packed_len, err);
	forget_times(h);
	timeless = pack(&h->base, &timeless_len, err);
	h->last_error = h->status = (char *)(uintptr_t)protobuf_c_empty_string;
	wire_free(&h->base);
	if (packed == NULL || timeless == NULL) {
		free(packed);
		free(timeless);
		return -1;
	}
	/* HL-04: a later time of the same status is no news */
	if (r->timeless != NULL && r->timeless_len == timeless_len &&
	    memcmp(r->timeless, timeless, timeless_len) == 0) {
		free(packed);
		free(timeless);
		return 0;
	}
	free(r->timeless);
	r->timeless = timeless;
	r->timeless_len = timeless_len;
	return keep(r, PART_HEALTH, packed, packed_len);
}

static char *
pack_text(const void *blob, size_t len, size_t *packed_len, struct error *err)
{
	Opamp__Proto__V1__AgentConfigFile file = OPAMP__PROTO__V1__AGENT_CONFIG_FILE__INIT;
	Opamp__Proto__V1__AgentConfigMap__ConfigMapEntry
	    entry = OPAMP__PROTO__V1__AGENT_CONFIG_MAP__CONFIG_MAP_ENTRY__INIT,
	    *entries[1] = {&entry};
	Opamp__Proto__V1__AgentConfigMap map = OPAMP__PROTO__V1__AGENT_CONFIG_MAP__INIT;
	Effective e = OPAMP__PROTO__V1__EFFECTIVE_CONFIG__INIT;

	file.body.data = (uint8_t *)(uintptr_t)blob;
	file.body.len = len;
	file.content_type = (char *)(uintptr_t)CONTENT_TYPE;
	entry.value = &file;
	map.config_map = entries;
	map.n_config_map = 1;
	e.config_map = &map;
	return pack(&e.base, packed_len, err);
}

int
report_effective(struct report *r, uint32_t form, struct memfd_view *view, struct error *err)
{
	const ProtobufCMessageDescriptor *d = &opamp__proto__v1__effective_config__descriptor;
	const void *blob = view->data;
	size_t len = view->len;
	ProtobufCMessage *e;
	size_t packed_len;
	char *packed;

	if (form == EFFECTIVE_NONE && r->parts[PART_EFFECTIVE].packed == NULL)
		return 0; /* not known, and nothing was said of it before */
	if (form == EFFECTIVE_TEXT) {
		packed = pack_text(blob, len, &packed_len, err);
	} else {
		if (form == EFFECTIVE_NONE)
			len = 0;
		/* a large one stays where it is, if there is nothing in it that is not in the protocol */
		if (form != EFFECTIVE_NONE && view->mapped != 0 &&
		    wire_scan_known(d, blob, len, err) == 1)
			return keep_view(r, PART_EFFECTIVE, view);
		e = wire_unpack(d, blob, len, err);
		if (e == NULL)
			return error_prefix(err, "the effective configuration");
		packed = pack(e, &packed_len, err);
		wire_free(e);
	}
	if (packed == NULL)
		return -1;
	return keep(r, PART_EFFECTIVE, packed, packed_len);
}

static int
put_status(struct report *r, uint32_t status, const void *hash, size_t hash_len, char *text,
    struct error *err)
{
	Status s = OPAMP__PROTO__V1__REMOTE_CONFIG_STATUS__INIT;
	char *packed;
	size_t len;

	s.status = (Opamp__Proto__V1__RemoteConfigStatuses)status;
	s.last_remote_config_hash.data = (uint8_t *)(uintptr_t)hash;
	s.last_remote_config_hash.len = hash_len;
	s.error_message = text;
	packed = pack(&s.base, &len, err);
	return packed == NULL ? -1 : keep(r, PART_STATUS, packed, len);
}

/* blob as report_status takes it. */
static void
remember(struct report *r, uint32_t status, const void *blob, size_t len)
{
	char *copy = malloc(len);

	if (copy == NULL)
		return; /* what was said before is no longer it, but the server offers again */
	memcpy(copy, blob, len);
	free(r->confds);
	r->confds = copy;
	r->confds_len = len;
	r->confds_status = status;
}

int
report_status(struct report *r, uint32_t status, const void *blob, size_t len, struct error *err)
{
	char text[4 * LIMIT_AGENT_TEXT];
	const char *data = blob;
	uint32_t hash_len;

	if (len < sizeof(hash_len) || status > CONFIG_FAILED)
		return error_set(err, "a status of the remote configuration that is none");
	memcpy(&hash_len, data, sizeof(hash_len));
	data += sizeof(hash_len);
	len -= sizeof(hash_len);
	if (hash_len > len || hash_len > LIMIT_CONFIG_HASH)
		return error_set(err, "the status of a remote configuration with a hash cut short");
	(void)clean_text(text, sizeof(text), data + hash_len, len - hash_len);
	remember(r, status, blob, sizeof(hash_len) + len);
	return put_status(r, status, data, hash_len, text, err);
}

void
report_offered(struct report *r, const void *hash, size_t len)
{
	struct error err;
	uint32_t hash_len;
	char *blob = r->confds;

	if (blob == NULL)
		return;
	memcpy(&hash_len, blob, sizeof(hash_len));
	if (hash_len != len || (len > 0 && memcmp(blob + sizeof(hash_len), hash, len) != 0))
		return;
	r->confds = NULL; /* it is put back by what it is put in */
	if (report_status(r, r->confds_status, blob, r->confds_len, &err) == -1)
		log_error("%s", err.text);
	free(blob);
}

void
report_complete(struct report *r)
{
	struct error err;

	if (r->parts[PART_STATUS].packed == NULL &&
	    put_status(r, CONFIG_UNSET, "", 0, (char *)(uintptr_t) "", &err) == -1)
		log_error("%s", err.text);
}

int
report_refused(struct report *r, const void *hash, size_t len, const char *why)
{
	char text[ERROR_TEXT];
	struct error err;

	(void)clean_text(text, sizeof(text), why, strlen(why));
	return put_status(r, CONFIG_FAILED, hash, len, text, &err);
}

/* ---- the message */

static int
wanted(const struct report *r, size_t i, unsigned flags)
{
	const struct report_piece *p = &r->parts[i];

	return p->packed != NULL && (r->capabilities & parts[i].capability) != 0 &&
	       (p->due || (flags & REPORT_FULL)) &&
	       !(i == PART_EFFECTIVE && (flags & REPORT_NO_EFFECTIVE));
}

int
report_due(const struct report *r, unsigned flags)
{
	size_t i;

	for (i = 0; i < PART_COUNT; i++)
		if (wanted(r, i, flags & ~(unsigned)REPORT_FULL))
			return 1;
	return 0;
}

static size_t
varint_size(uint64_t v)
{
	size_t n = 1;

	while ((v >>= 7) != 0)
		n++;
	return n;
}

static char *
put_varint(char *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (char)(unsigned char)(v | 0x80);
	*p++ = (char)(unsigned char)v;
	return p;
}

/* Every field number is below 16: one byte of key. */
static char *
put_bytes(char *p, enum field field, const void *data, size_t len)
{
	*p++ = (char)(field << 3 | 2);
	p = put_varint(p, len);
	if (len > 0)
		memcpy(p, data, len);
	return p + len;
}

static size_t
size_of(const struct report *r, const int *in, unsigned flags)
{
	size_t i, size = 1 + varint_size(sizeof(r->uid)) + sizeof(r->uid) + 1 +
			 varint_size(r->sequence) + 1 + varint_size(r->capabilities);

	for (i = 0; i < PART_COUNT; i++)
		if (in[i])
			size += 1 + varint_size(r->parts[i].len) + r->parts[i].len;
	return size + (flags & REPORT_DISCONNECT ? 2 : 0);
}

/* Leaves the largest part out; it counts as told, or it would be tried for ever. */
static void
leave_out_largest(struct report *r, int *in)
{
	size_t i, largest = PART_COUNT;

	for (i = 0; i < PART_COUNT; i++)
		if (in[i] && (largest == PART_COUNT || r->parts[i].len > r->parts[largest].len))
			largest = i;
	if (largest == PART_COUNT)
		return;
	in[largest] = 0;
	r->parts[largest].due = 0;
	if (!r->parts[largest].oversize)
		log_warn("%s of %zu bytes is not reported: a message may have %zu "
			 "(limits.message_size)",
		    parts[largest].name, r->parts[largest].len, r->max_message);
	r->parts[largest].oversize = 1;
}

int
report_build(struct report *r, unsigned flags, char **data, size_t *len, struct error *err)
{
	int in[PART_COUNT];
	size_t i;
	char *p;

	for (i = 0; i < PART_COUNT; i++)
		in[i] = wanted(r, i, flags);
	/* the WebSocket message has one byte of header before this */
	for (i = 0; i < PART_COUNT && size_of(r, in, flags) + 1 > r->max_message; i++)
		leave_out_largest(r, in);
	*len = size_of(r, in, flags);
	p = *data = malloc(*len + 1);
	if (p == NULL)
		return error_set(err, "no memory for a report of %zu bytes", *len);
	p = put_bytes(p, FIELD_UID, r->uid, sizeof(r->uid));
	*p++ = (char)(FIELD_SEQUENCE << 3);
	p = put_varint(p, r->sequence);
	if (in[PART_DESCRIPTION])
		p = put_bytes(p, FIELD_DESCRIPTION, r->parts[PART_DESCRIPTION].packed,
		    r->parts[PART_DESCRIPTION].len);
	*p++ = (char)(FIELD_CAPABILITIES << 3);
	p = put_varint(p, r->capabilities);
	for (i = PART_HEALTH; i < PART_COUNT; i++)
		if (in[i])
			p = put_bytes(p, parts[i].field, r->parts[i].packed, r->parts[i].len);
	if (flags & REPORT_DISCONNECT)
		(void)put_bytes(p, FIELD_DISCONNECT, NULL, 0);
	for (i = 0; i < PART_COUNT; i++)
		if (in[i]) {
			r->parts[i].due = 0;
			r->parts[i].unanswered = 1;
		}
	r->sequence++;
	return 0;
}

void
report_answered(struct report *r)
{
	size_t i;

	for (i = 0; i < PART_COUNT; i++)
		r->parts[i].unanswered = 0;
}

void
report_lost(struct report *r)
{
	size_t i;

	for (i = 0; i < PART_COUNT; i++) {
		r->parts[i].due |= r->parts[i].unanswered;
		r->parts[i].unanswered = 0;
	}
}
