/*
 * uplink_settings.c: what the settings say about the server and the connection.  netd, before the
 * sandbox.  Values of headers are secrets: none is logged.
 */
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include <openssl/crypto.h>

#include "wire/http.h"
#include "privsep/log.h"
#include "upgrade.h"
#include "uplink.h"

#define LINGER_MS 1000 /* for the server's end of the connection after both have said goodbye */

#define AGENT_CAN(name) OPAMP__PROTO__V1__AGENT_CAPABILITIES__AgentCapabilities_##name

/* CP-01, CP-02: what works and is switched on, and nothing else. */
static uint64_t
capabilities(const struct settings *s)
{
	static const struct {
		enum setting key;
		uint64_t bit;
	} bits[] = {
	    {SET_ACCEPTS_CONFIG, AGENT_CAN(AcceptsRemoteConfig)},
	    {SET_REPORTS_EFFECTIVE, AGENT_CAN(ReportsEffectiveConfig)},
	    {SET_ACCEPTS_RESTART, AGENT_CAN(AcceptsRestartCommand)},
	    {SET_REPORTS_HEALTH, AGENT_CAN(ReportsHealth)},
	    {SET_REPORTS_CONFIG, AGENT_CAN(ReportsRemoteConfig)},
	    {SET_REPORTS_HEARTBEAT, AGENT_CAN(ReportsHeartbeat)},
	};
	uint64_t set = AGENT_CAN(ReportsStatus);
	size_t i;

	for (i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		if (settings_bool(s, bits[i].key))
			set |= bits[i].bit;
	return set;
}

int
uplink_read_client(const struct settings *s, struct client_settings *set, struct error *err)
{
	*set = (struct client_settings){.capabilities = capabilities(s),
	    .heartbeat_ms =
		settings_bool(s, SET_REPORTS_HEARTBEAT) ? settings_u64(s, SET_HEARTBEAT) : 0,
	    .ping_ms = settings_u64(s, SET_PING),
	    .response_ms = settings_u64(s, SET_RESPONSE_TIMEOUT),
	    .connect_ms = settings_u64(s, SET_CONNECT_TIMEOUT),
	    .delay_min_ms = settings_u64(s, SET_RECONNECT_MIN),
	    .delay_max_ms = settings_u64(s, SET_RECONNECT_MAX),
	    .stable_ms = settings_u64(s, SET_RECONNECT_STABLE),
	    .config_size = settings_u64(s, SET_CONFIG_SIZE)};
	if (set->delay_max_ms < set->delay_min_ms)
		return error_set(
		    err, "server.reconnect.max_delay is less than server.reconnect.initial_delay");
	return 0;
}

/* ---- headers */

static int
add_header(struct evbuffer *lines, const struct record_entry *e, int *agent)
{
	const char *name, *value;
	size_t len;
	char *text;
	int ok;

	if (settings_pair(e, &name, &value, &len) == -1)
		return 0;
	text = strndup(value, len);
	if (text == NULL)
		return -1;
	ok = http_name_ok(name) && http_value_ok(text);
	if (!ok || !upgrade_header_free(name)) {
		log_warn("server.headers: %.100s: %s: left out", name,
		    ok ? "opampd makes this one itself" : "not a header as HTTP has it");
		free(text);
		return 0;
	}
	*agent |= strcasecmp(name, "User-Agent") == 0;
	ok = evbuffer_add_printf(lines, "%s: %s\r\n", name, text);
	OPENSSL_cleanse(text, len);
	free(text);
	return ok == -1 ? -1 : 0;
}

static char *
read_headers(const struct settings *s)
{
	struct evbuffer *lines = evbuffer_new();
	struct record_entry e;
	size_t pos = 0, len;
	char *text = NULL;
	int agent = 0, failed = lines == NULL;

	while (!failed && settings_next(s, &pos, SET_HEADERS, &e))
		failed = add_header(lines, &e, &agent) == -1;
	if (!failed && !agent)
		failed =
		    evbuffer_add_printf(lines, "User-Agent: opampd/%s\r\n", OPAMPD_VERSION) == -1;
	if (!failed) {
		len = evbuffer_get_length(lines);
		text = calloc(1, len + 1);
		if (text != NULL)
			(void)evbuffer_remove(lines, text, len);
	}
	if (lines != NULL)
		evbuffer_free(lines);
	return text;
}

/* ---- TLS */

/* A file that the settings name and that is not here must not be passed over in silence. */
static int
missing(const struct uplink *u, enum setting key, enum file_kind kind, struct error *err)
{
	if (!settings_has(&u->child.settings, key) || u->files[kind] != NULL)
		return 0;
	return error_set(err, "%s: the file could not be read", setting_name(key));
}

static int
read_tls(struct uplink *u, struct tls_settings *t, char *texts[4], struct error *err)
{
	const struct settings *s = &u->child.settings;
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	static const enum setting keys[4] = {
	    SET_CA_PEM, SET_CERT_PEM, SET_KEY_PEM, SET_TLS_SERVER_NAME};
	int own_ca, i;

	if (missing(u, SET_CA_FILE, FILE_CA, err) == -1 ||
	    missing(u, SET_CERT_FILE, FILE_CERT, err) == -1 ||
	    missing(u, SET_KEY_FILE, FILE_KEY, err) == -1)
		return -1;
	for (i = 0; i < 4; i++)
		texts[i] = settings_has(s, keys[i]) ? settings_string(s, keys[i]) : NULL;
	own_ca = u->files[FILE_CA] != NULL || texts[0] != NULL;
	t->ca[0] = (struct tls_text){u->files[FILE_CA], "server.tls.ca_file"};
	t->ca[1] = (struct tls_text){texts[0], "server.tls.ca_pem"};
	if (!own_ca || settings_bool(s, SET_SYSTEM_CA))
		t->system_ca = (struct tls_text){
		    u->files[FILE_SYSTEM_CA], "/etc/ssl/certs/ca-certificates.crt"};
	t->cert = texts[1] != NULL ? (struct tls_text){texts[1], "server.tls.cert_pem"}
				   : (struct tls_text){u->files[FILE_CERT], "server.tls.cert_file"};
	t->key = texts[2] != NULL ? (struct tls_text){texts[2], "server.tls.key_pem"}
				  : (struct tls_text){u->files[FILE_KEY], "server.tls.key_file"};
	t->server_name = texts[3];
	t->min_version = versions[settings_u64(s, SET_TLS_MIN) % 2];
	t->max_version = versions[settings_u64(s, SET_TLS_MAX) % 2];
	t->skip_verify = settings_bool(s, SET_TLS_SKIP_VERIFY);
	if ((t->cert.data == NULL) != (t->key.data == NULL))
		return error_set(err, "server.tls: a client certificate and its key go together");
	if (t->min_version > t->max_version)
		return error_set(err, "server.tls.min_version is newer than max_version");
	return 0;
}

static int
make_tls(struct uplink *u, struct error *err)
{
	struct tls_settings t = {0};
	char *texts[4] = {NULL};
	int i;

	if (tls_library(err) == 0 && read_tls(u, &t, texts, err) == 0)
		u->set.tls = tls_new(&t, err);
	if (u->set.tls != NULL && t.skip_verify)
		log_warn(
		    "server.tls.insecure_skip_verify is true: ANYBODY CAN BE THE SERVER, nothing "
		    "checks who it is; for laboratories only");
	else if (u->set.tls != NULL && t.ca[0].data == NULL && t.ca[1].data == NULL &&
		 t.system_ca.data == NULL)
		log_error("this host has no certificate authorities in "
			  "/etc/ssl/certs/ca-certificates.crt: no server can be verified; install "
			  "ca-certificates, or name one with server.tls.ca_file");
	for (i = 0; i < 4; i++) {
		if (texts[i] != NULL)
			OPENSSL_cleanse(texts[i], strlen(texts[i]));
		free(texts[i]);
	}
	if (u->set.tls != NULL)
		return 0;
	/* each attempt fails with this, so that opampctl can tell it too; nothing is ever sent */
	log_error("no connection to the server can be made: %s", err->text);
	u->set.tls_fault = strdup(err->text);
	return u->set.tls_fault == NULL ? -1 : 0;
}

int
uplink_read_transport(struct uplink *u, struct error *err)
{
	const struct settings *s = &u->child.settings;
	char *endpoint = settings_string(s, SET_ENDPOINT);

	if (endpoint == NULL || url_split(&u->set.url, URL_OF_SERVER, endpoint, err) == -1) {
		if (endpoint == NULL)
			(void)error_set(err, "none is set");
		free(endpoint);
		return error_prefix(err, "server.endpoint");
	}
	free(endpoint);
	u->set.max_message = settings_u64(s, SET_MESSAGE_SIZE);
	u->set.step_ms = settings_u64(s, SET_CONNECT_TIMEOUT);
	u->set.linger_ms = LINGER_MS;
	u->set.headers = read_headers(s);
	if (u->set.headers == NULL)
		return error_set(err, "no memory for server.headers");
	if (u->set.url.scheme == URL_WSS)
		return make_tls(u, err);
	if (!url_is_loopback(&u->set.url))
		log_warn(
		    "server.endpoint begins with ws://: what is said, server.headers included, "
		    "can be read and changed on its way");
	return 0;
}
