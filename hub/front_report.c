/*
 * front_report.c: between OpAMP's messages and the frames for the store (see front_report.h).
 * opamphub-front.
 */
#include "front_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pb_json.h"

#define ATTRIBUTE_TEXT 1024 /* "name=value" of an attribute that can be selected by */
#define HEADERS        64
#define CLASSES        4

typedef Opamp__Proto__V1__AgentToServer Report;

int
report_has_parts(const Report *m)
{
	return m->agent_description != NULL || m->health != NULL || m->effective_config != NULL ||
	       m->remote_config_status != NULL || m->package_statuses != NULL ||
	       m->agent_disconnect != NULL || m->custom_capabilities != NULL ||
	       m->available_components != NULL || m->connection_settings_status != NULL;
}

/* Cut between two characters when it is longer than the store takes. */
static void
put_text(struct record_writer *w, uint16_t key, const char *text)
{
	size_t n = text == NULL ? 0 : strlen(text);

	if (n > LIMIT_HUB_TEXT)
		for (n = LIMIT_HUB_TEXT; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;)
			n--;
	record_put(w, key, 0, 0, text == NULL ? "" : text, n);
}

static void
put_bytes(struct record_writer *w, uint16_t key, const ProtobufCBinaryData *b)
{
	record_put(w, key, 0, 0, b->data == NULL ? (const void *)"" : b->data, b->len);
}

static int
put_json(struct record_writer *w, uint16_t key, const void *message, struct error *err)
{
	json_t *j = pb_json(message);
	char *text = j == NULL ? NULL : json_dumps(j, JSON_COMPACT);

	json_decref(j);
	if (text == NULL)
		return error_set(err, "a report for the store: out of memory");
	record_put_string(w, key, text);
	free(text);
	return 0;
}

/* ---- the description */

static int
as_text(const Opamp__Proto__V1__AnyValue *v, char *text, size_t size)
{
	if (v == NULL)
		return -1;
	switch (v->value_case) {
	case OPAMP__PROTO__V1__ANY_VALUE__VALUE_STRING_VALUE:
		return snprintf(text, size, "%s", v->string_value) < (int)size ? 0 : -1;
	case OPAMP__PROTO__V1__ANY_VALUE__VALUE_INT_VALUE:
		return snprintf(text, size, "%lld", (long long)v->int_value) < (int)size ? 0 : -1;
	case OPAMP__PROTO__V1__ANY_VALUE__VALUE_BOOL_VALUE:
		return snprintf(text, size, "%s", v->bool_value ? "true" : "false") > 0 ? 0 : -1;
	default:
		return -1;
	}
}

static void
put_attributes(struct record_writer *w, Opamp__Proto__V1__KeyValue *const *list, size_t count)
{
	char value[ATTRIBUTE_TEXT], pair[ATTRIBUTE_TEXT];
	size_t i;
	int n;

	for (i = 0; i < count; i++) {
		/* a name with "=" in it could be taken for another name and value */
		if (list[i]->key == NULL || list[i]->key[0] == '\0' ||
		    strchr(list[i]->key, '=') != NULL ||
		    as_text(list[i]->value, value, sizeof(value)) == -1)
			continue;
		n = snprintf(pair, sizeof(pair), "%s=%s", list[i]->key, value);
		if (n < (int)sizeof(pair))
			record_put_string(w, KEY_ATTRIBUTE, pair);
		if (strcmp(list[i]->key, "service.name") == 0)
			record_put_string(w, KEY_NAME, value);
		else if (strcmp(list[i]->key, "service.version") == 0)
			record_put_string(w, KEY_VERSION, value);
	}
}

static int
put_description(
    struct record_writer *w, const Opamp__Proto__V1__AgentDescription *d, struct error *err)
{
	if (put_json(w, KEY_DESCRIPTION, d, err) == -1)
		return -1;
	put_attributes(w, d->identifying_attributes, d->n_identifying_attributes);
	put_attributes(w, d->non_identifying_attributes, d->n_non_identifying_attributes);
	return 0;
}

/* ---- the other parts */

static int
put_health(struct record_writer *w, const Opamp__Proto__V1__ComponentHealth *h, struct error *err)
{
	if (put_json(w, KEY_HEALTH, h, err) == -1)
		return -1;
	record_put_u64(w, KEY_HEALTHY, h->healthy != 0);
	record_put_u64(w, KEY_STARTED, h->start_time_unix_nano);
	put_text(w, KEY_LAST_ERROR, h->last_error);
	put_text(w, KEY_STATUS, h->status);
	return 0;
}

static void
put_effective(struct record_writer *w, const Opamp__Proto__V1__EffectiveConfig *c)
{
	const Opamp__Proto__V1__AgentConfigMap *map = c->config_map;
	const Opamp__Proto__V1__AgentConfigFile *f;
	size_t i;

	if (map == NULL || map->n_config_map == 0)
		record_put_u64(w, KEY_EFFECTIVE_NONE, 1);
	for (i = 0; map != NULL && i < map->n_config_map; i++) {
		f = map->config_map[i]->value;
		put_text(w, KEY_EFFECTIVE, map->config_map[i]->key);
		put_text(w, KEY_FILE_TYPE, f == NULL ? "" : f->content_type);
		if (f != NULL)
			put_bytes(w, KEY_FILE_BODY, &f->body);
		else
			record_put(w, KEY_FILE_BODY, 0, 0, "", 0);
	}
}

static int
put_components(
    struct record_writer *w, const Opamp__Proto__V1__AvailableComponents *c, struct error *err)
{
	if (c->n_components > 0 && put_json(w, KEY_COMPONENTS, c, err) == -1)
		return -1;
	put_bytes(w, KEY_COMPONENTS_HASH, &c->hash);
	return 0;
}

static int
hash_fits(const ProtobufCBinaryData *hash, const char *what, struct error *err)
{
	return hash->len <= LIMIT_CONFIG_HASH
		   ? 0
		   : error_set(err, "%s of %zu bytes: at most %u are taken", what, hash->len,
			 LIMIT_CONFIG_HASH);
}

int
report_check(const Report *m, struct error *err)
{
	if (m->remote_config_status != NULL &&
	    hash_fits(&m->remote_config_status->last_remote_config_hash,
		"remote_config_status.last_remote_config_hash", err) == -1)
		return -1;
	if (m->available_components != NULL &&
	    hash_fits(&m->available_components->hash, "available_components.hash", err) == -1)
		return -1;
	return m->connection_settings_status == NULL
		   ? 0
		   : hash_fits(&m->connection_settings_status->last_connection_settings_hash,
			 "connection_settings_status.last_connection_settings_hash", err);
}

int
report_put(struct record_writer *w, const Report *m, struct error *err)
{
	if (m->agent_description != NULL && put_description(w, m->agent_description, err) == -1)
		return -1;
	if (m->health != NULL && put_health(w, m->health, err) == -1)
		return -1;
	if (m->effective_config != NULL)
		put_effective(w, m->effective_config);
	if (m->remote_config_status != NULL) {
		record_put_u64(w, KEY_CONFIG_STATUS, (uint64_t)m->remote_config_status->status);
		put_bytes(w, KEY_CONFIG_HASH, &m->remote_config_status->last_remote_config_hash);
		put_text(w, KEY_CONFIG_ERROR, m->remote_config_status->error_message);
	}
	if (m->available_components != NULL &&
	    put_components(w, m->available_components, err) == -1)
		return -1;
	if (m->package_statuses != NULL &&
	    put_json(w, KEY_PACKAGES, m->package_statuses, err) == -1)
		return -1;
	if (m->custom_capabilities != NULL &&
	    put_json(w, KEY_CUSTOM, m->custom_capabilities, err) == -1)
		return -1;
	if (m->connection_settings_status != NULL) {
		record_put_u64(
		    w, KEY_SETTINGS_STATUS, (uint64_t)m->connection_settings_status->status);
		put_bytes(w, KEY_SETTINGS_HASH,
		    &m->connection_settings_status->last_connection_settings_hash);
		put_text(w, KEY_SETTINGS_ERROR, m->connection_settings_status->error_message);
	}
	return 0;
}

/* ---- what the store wants offered */

static int
pack(const Opamp__Proto__V1__ServerToAgent *m, uint8_t **data, size_t *len, struct error *err)
{
	*len = protobuf_c_message_get_packed_size(&m->base);
	*data = malloc(*len + 1);
	if (*data == NULL)
		return error_set(err, "out of memory");
	(void)protobuf_c_message_pack(&m->base, *data);
	return 0;
}

struct files { /* a configuration on its way from a record */
	Opamp__Proto__V1__AgentConfigMap map;
	Opamp__Proto__V1__AgentConfigMap__ConfigMapEntry entries[LIMIT_CONFIG_FILES];
	Opamp__Proto__V1__AgentConfigMap__ConfigMapEntry *list[LIMIT_CONFIG_FILES];
	Opamp__Proto__V1__AgentConfigFile files[LIMIT_CONFIG_FILES];
	char *texts[2 * LIMIT_CONFIG_FILES];
	size_t count, text_count;
};

/* A terminated copy, which `files` owns. */
static char *
keep(struct files *f, const struct record_entry *e)
{
	char *copy;

	if (memchr(e->value, '\0', e->len) != NULL ||
	    f->text_count == sizeof(f->texts) / sizeof(f->texts[0]))
		return NULL;
	copy = strndup(e->value, e->len);
	if (copy != NULL)
		f->texts[f->text_count++] = copy;
	return copy;
}

static int
read_files(struct files *f, const struct record *r, struct error *err)
{
	struct record_entry name, type, body;
	size_t pos = 0, type_pos = 0, body_pos = 0, i;

	opamp__proto__v1__agent_config_map__init(&f->map);
	while (record_next(r, &pos, KEY_FILE_NAME, &name)) {
		i = f->count;
		if (i == LIMIT_CONFIG_FILES || !record_next(r, &type_pos, KEY_FILE_TYPE, &type) ||
		    !record_next(r, &body_pos, KEY_FILE_BODY, &body))
			return error_set(err, "a file without type and body, or too many");
		opamp__proto__v1__agent_config_map__config_map_entry__init(&f->entries[i]);
		opamp__proto__v1__agent_config_file__init(&f->files[i]);
		f->entries[i].key = keep(f, &name);
		f->files[i].content_type = keep(f, &type);
		if (f->entries[i].key == NULL || f->files[i].content_type == NULL)
			return error_set(err, "a name with a NUL, or no memory");
		f->files[i].body.data = (uint8_t *)(uintptr_t)body.value;
		f->files[i].body.len = body.len;
		f->entries[i].value = &f->files[i];
		f->list[i] = &f->entries[i];
		f->count++;
	}
	f->map.n_config_map = f->count;
	f->map.config_map = f->list;
	return 0;
}

int
config_pack(const struct record *r, uint8_t **data, size_t *len, struct error *err)
{
	Opamp__Proto__V1__ServerToAgent m = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	Opamp__Proto__V1__AgentRemoteConfig c = OPAMP__PROTO__V1__AGENT_REMOTE_CONFIG__INIT;
	struct files *f = calloc(1, sizeof(*f));
	struct record_entry hash;
	int result = -1;

	if (f == NULL)
		return error_set(err, "out of memory");
	if (!record_find(r, KEY_CONFIG_HASH, &hash) || hash.len == 0) {
		(void)error_set(err, "no hash");
		goto out;
	}
	if (read_files(f, r, err) == -1)
		goto out;
	c.config = &f->map;
	c.config_hash.data = (uint8_t *)(uintptr_t)hash.value;
	c.config_hash.len = hash.len;
	m.remote_config = &c;
	result = pack(&m, data, len, err);
out:
	while (f->text_count > 0)
		free(f->texts[--f->text_count]);
	free(f);
	return result;
}

/* ---- connection settings: one class after the other in the record, each begun by KEY_CLASS */

struct class
{
	Opamp__Proto__V1__Headers headers;
	Opamp__Proto__V1__Header header[HEADERS];
	Opamp__Proto__V1__Header *header_list[HEADERS];
	Opamp__Proto__V1__TLSCertificate certificate;
	Opamp__Proto__V1__TLSConnectionSettings tls;
	Opamp__Proto__V1__OpAMPConnectionSettings opamp;
	Opamp__Proto__V1__TelemetryConnectionSettings telemetry;
	char *texts[2 * HEADERS + 4];
	size_t text_count;
	char *endpoint;
	uint64_t kind, heartbeat;
	int have_certificate, have_tls;
};

static char *
class_text(struct class *c, const char *text, size_t len)
{
	char *copy;

	if (c->text_count == sizeof(c->texts) / sizeof(c->texts[0]) ||
	    memchr(text, '\0', len) != NULL)
		return NULL;
	copy = strndup(text, len);
	if (copy != NULL)
		c->texts[c->text_count++] = copy;
	return copy;
}

static int
class_header(struct class *c, const struct record_entry *e)
{
	const char *colon = memchr(e->value, ':', e->len);
	size_t i = c->headers.n_headers, name;

	if (colon == NULL || i == HEADERS)
		return -1;
	name = (size_t)(colon - e->value);
	opamp__proto__v1__header__init(&c->header[i]);
	c->header[i].key = class_text(c, e->value, name);
	for (name++; name < e->len && e->value[name] == ' ';)
		name++;
	c->header[i].value = class_text(c, e->value + name, e->len - name);
	if (c->header[i].key == NULL || c->header[i].value == NULL)
		return -1;
	c->header_list[i] = &c->header[i];
	c->headers.headers = c->header_list;
	c->headers.n_headers++;
	return 0;
}

static int
class_entry(struct class *c, const struct record_entry *e)
{
	ProtobufCBinaryData bytes = {e->len, (uint8_t *)(uintptr_t)e->value};

	switch (e->key) {
	case KEY_ENDPOINT:
		c->endpoint = class_text(c, e->value, e->len);
		return c->endpoint == NULL ? -1 : 0;
	case KEY_HEADER:
		return class_header(c, e);
	case KEY_CA:
		c->have_tls = 1;
		c->tls.ca_pem_contents = class_text(c, e->value, e->len);
		return c->tls.ca_pem_contents == NULL ? -1 : 0;
	case KEY_CERT:
		c->have_certificate = 1;
		c->certificate.cert = bytes;
		return 0;
	case KEY_CERT_KEY:
		c->certificate.private_key = bytes;
		return 0;
	case KEY_HEARTBEAT:
		if (e->len != sizeof(c->heartbeat))
			return -1;
		memcpy(&c->heartbeat, e->value, sizeof(c->heartbeat));
		return 0;
	default:
		return -1;
	}
}

static void
class_begin(struct class *c, uint64_t kind)
{
	opamp__proto__v1__headers__init(&c->headers);
	opamp__proto__v1__tlscertificate__init(&c->certificate);
	opamp__proto__v1__tlsconnection_settings__init(&c->tls);
	opamp__proto__v1__op_ampconnection_settings__init(&c->opamp);
	opamp__proto__v1__telemetry_connection_settings__init(&c->telemetry);
	c->kind = kind;
}

static int
class_end(struct class *c, Opamp__Proto__V1__ConnectionSettingsOffers *o)
{
	Opamp__Proto__V1__TelemetryConnectionSettings *t = &c->telemetry;

	if (c->kind == SETTINGS_OPAMP) {
		if (c->endpoint != NULL)
			c->opamp.destination_endpoint = c->endpoint;
		c->opamp.headers = c->headers.n_headers > 0 ? &c->headers : NULL;
		c->opamp.certificate = c->have_certificate ? &c->certificate : NULL;
		c->opamp.tls = c->have_tls ? &c->tls : NULL;
		c->opamp.heartbeat_interval_seconds = c->heartbeat;
		o->opamp = &c->opamp;
		return 0;
	}
	if (c->endpoint != NULL)
		t->destination_endpoint = c->endpoint;
	t->headers = c->headers.n_headers > 0 ? &c->headers : NULL;
	t->certificate = c->have_certificate ? &c->certificate : NULL;
	t->tls = c->have_tls ? &c->tls : NULL;
	if (c->kind == SETTINGS_METRICS)
		o->own_metrics = t;
	else if (c->kind == SETTINGS_TRACES)
		o->own_traces = t;
	else if (c->kind == SETTINGS_LOGS)
		o->own_logs = t;
	else
		return -1;
	return 0;
}

/* Fills classes (count of them) and o.  -1: not as it must be. */
static int
read_classes(struct class *classes, size_t *count, const struct record *r,
    Opamp__Proto__V1__ConnectionSettingsOffers *o)
{
	struct record_entry e;
	uint64_t kind;
	size_t pos = 0;

	while (record_next(r, &pos, 0, &e)) {
		if (e.key == KEY_SETTINGS_HASH) {
			o->hash.data = (uint8_t *)(uintptr_t)e.value;
			o->hash.len = e.len;
		} else if (e.key == KEY_CLASS) {
			if (*count == CLASSES || e.len != sizeof(kind))
				return -1;
			memcpy(&kind, e.value, sizeof(kind));
			class_begin(&classes[(*count)++], kind);
		} else if (*count == 0 || class_entry(&classes[*count - 1], &e) == -1)
			return -1;
	}
	for (pos = 0; pos < *count; pos++)
		if (class_end(&classes[pos], o) == -1)
			return -1;
	return *count > 0 && o->hash.len > 0 ? 0 : -1;
}

int
settings_pack(const struct record *r, uint8_t **data, size_t *len, struct error *err)
{
	Opamp__Proto__V1__ServerToAgent m = OPAMP__PROTO__V1__SERVER_TO_AGENT__INIT;
	Opamp__Proto__V1__ConnectionSettingsOffers o =
	    OPAMP__PROTO__V1__CONNECTION_SETTINGS_OFFERS__INIT;
	struct class *classes = calloc(CLASSES, sizeof(*classes));
	size_t count = 0, i;
	int result = -1;

	if (classes == NULL)
		return error_set(err, "out of memory");
	if (read_classes(classes, &count, r, &o) == -1)
		(void)error_set(err, "connection settings not as they must be");
	else {
		m.connection_settings = &o;
		result = pack(&m, data, len, err);
	}
	for (i = 0; i < count; i++)
		while (classes[i].text_count > 0)
			free(classes[i].texts[--classes[i].text_count]);
	free(classes);
	return result;
}
