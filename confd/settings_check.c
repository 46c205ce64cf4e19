/*
 * settings_check.c: what a value of opampd.yaml must be beyond its type (see settings_value.h).
 * merge only.  Each answer says what belongs there.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "privsep/url.h"
#include "settings_value.h"

static const char *
fault(struct error *err, int result)
{
	return result == -1 ? err->text : NULL;
}

static int
is_uuid(const char *s)
{
	size_t i;

	for (i = 0; i < 36; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (s[i] != '-')
				return 0;
		} else if (s[i] == '\0' || strchr("0123456789abcdefABCDEF", s[i]) == NULL) {
			return 0;
		}
	}
	return s[36] == '\0';
}

static int
url(const char *text, int loopback_only, struct error *err)
{
	struct url u;

	if (url_split(&u, loopback_only ? URL_OF_PROBE : URL_OF_SERVER, text, err) == -1)
		return -1;
	if (loopback_only && !url_is_loopback(&u))
		return error_set(err, "the host must be this one: 127.0.0.1, [::1] or localhost");
	return 0;
}

/* PEM is not read here, and what is no PEM at all is found before a connection fails of it. */
static const char *
pem_fault(enum setting key, const char *text)
{
	if (key == SET_KEY_PEM)
		return strstr(text, "-----BEGIN ") != NULL &&
			       strstr(text, "PRIVATE KEY-----") != NULL
			   ? NULL
			   : "not a private key in PEM: it begins with a line "
			     "\"-----BEGIN PRIVATE KEY-----\"; a file's name belongs in key_file";
	if (strstr(text, "-----BEGIN CERTIFICATE-----") != NULL ||
	    strstr(text, "-----BEGIN TRUSTED CERTIFICATE-----") != NULL)
		return NULL;
	return key == SET_CA_PEM
		   ? "not a certificate in PEM: it begins with a line "
		     "\"-----BEGIN CERTIFICATE-----\"; a file's name belongs in ca_file"
		   : "not a certificate in PEM: it begins with a line "
		     "\"-----BEGIN CERTIFICATE-----\"; a file's name belongs in cert_file";
}

static const char *
too_long(const struct setting_rule *rule, size_t len, struct error *err)
{
	if (len <= rule->max)
		return NULL;
	return fault(err, error_set(err, "%zu bytes long: at most %llu are possible", len,
			      (unsigned long long)rule->max));
}

const char *
settings_text_fault(const struct setting_rule *rule, const char *text, struct error *err)
{
	if (rule->key == SET_INSTANCE_ID && !is_uuid(text))
		return "not a UUID: 32 hexadecimal digits in the form "
		       "01234567-89ab-cdef-0123-456789abcdef (uuidgen makes one)";
	if (text[0] == '\0' && (rule->type != SETTING_STRING || rule->key == SET_CONFIG_NAME))
		return "empty: give a value, or remove the line";
	if (too_long(rule, strlen(text), err) != NULL)
		return err->text;
	if (rule->type == SETTING_URL && url(text, rule->key == SET_HEALTH_ENDPOINT, err) == -1)
		return err->text;
	if (rule->type == SETTING_PATH && strncmp(text, "~", 1) == 0)
		return "~ stands for no directory here: write the whole path, from / on";
	if ((rule->key == SET_CA_PEM || rule->key == SET_CERT_PEM || rule->key == SET_KEY_PEM) &&
	    text[0] != '\0')
		return pem_fault((enum setting)rule->key, text);
	if (rule->key == SET_CONFIG_NAME && (strchr(text, '/') != NULL || text[0] == '.'))
		return "a plain file name belongs here, without slashes or a dot at its start";
	if (rule->type == SETTING_USER && (strcmp(text, "root") == 0 || strcmp(text, "0") == 0))
		return "root is refused: name an ordinary system user";
	return NULL;
}

static int
is_port(const char *text)
{
	size_t n = strspn(text, "0123456789");
	unsigned long port = strtoul(text, NULL, 10);

	return n > 0 && n <= 5 && text[n] == '\0' && port >= 1 && port <= 65535;
}

const char *
settings_item_fault(const struct setting_rule *rule, const char *text, struct error *err)
{
	if (too_long(rule, strlen(text), err) != NULL && rule->key != SET_STRICT_BIND &&
	    rule->key != SET_STRICT_CONNECT)
		return err->text;
	switch ((enum setting)rule->key) {
	case SET_CONFIG_FILES:
		if (text[0] == '\0')
			return "empty: give a file's name, or remove the line";
		if (text[0] != '$' || strcmp(text, "$REMOTE_CONFIG") == 0 ||
		    strcmp(text, "$OPAMP_EXTENSION_CONFIG") == 0 ||
		    strcmp(text, "$OWN_TELEMETRY_CONFIG") == 0)
			return NULL;
		return fault(
		    err, error_set(err,
			     "\"%.80s\" is none of $REMOTE_CONFIG, $OPAMP_EXTENSION_CONFIG, "
			     "$OWN_TELEMETRY_CONFIG",
			     text));
	case SET_STRICT_BIND:
	case SET_STRICT_CONNECT:
		if (is_port(text))
			return NULL;
		return fault(err,
		    error_set(err, "\"%.80s\" is not a TCP port: a number from 1 to 65535", text));
	case SET_STRICT_READ:
	case SET_STRICT_WRITE:
	case SET_STRICT_EXECUTE:
		if (text[0] == '/')
			return NULL;
		return fault(err,
		    error_set(err, "\"%.80s\" is not an absolute path: it begins with /", text));
	case SET_REMOTE_EXPANSION:
		if (strchr(text, ':') != NULL && strchr(text, '$') == NULL &&
		    strpbrk(text, "{}") == NULL)
			return NULL;
		return fault(err, error_set(err,
				      "\"%.80s\" names no expansion: write scheme and name without "
				      "${ and }, such "
				      "as env:API_KEY or file:/etc/otelcol/token",
				      text));
	default:
		return NULL;
	}
}

const char *
settings_pair_fault(const struct setting_rule *rule, const char *name, size_t name_len,
    const char *value, struct error *err)
{
	if (too_long(rule, name_len + 1 + strlen(value), err) != NULL)
		return err->text;
	if (name_len == 0)
		return "a name belongs before the colon";
	if (rule->type == SETTING_HEADERS) {
		if (strpbrk(name, " \t\r\n:") != NULL)
			return "a header's name has no blanks and no colon";
		if (strpbrk(value, "\r\n") != NULL)
			return "a header's value is one line";
	}
	if (rule->key == SET_ENV && strchr(name, '=') != NULL)
		return "a variable's name has no =";
	return NULL;
}
