/*
 * url.c: the URLs of the settings, taken apart (see url.h).  Every process; reads the operator's
 * text only.
 */
#include "url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct scheme {
	enum url_scheme scheme;
	const char *name;
	uint16_t port, usual; /* ours; the one that Host leaves away */
	const char *path;
} table[] = {
    {URL_WS, "ws", 4320, 80, "/v1/opamp"},
    {URL_WSS, "wss", 4320, 443, "/v1/opamp"},
    {URL_HTTP, "http", 80, 80, "/"},
};

static int
check_text(const char *text, struct error *err)
{
	size_t i;

	for (i = 0; text[i] != '\0'; i++) {
		if ((unsigned char)text[i] <= ' ' || text[i] == 127)
			return error_set(err, "a URL has no blanks or control characters");
		if ((unsigned char)text[i] > 127)
			return error_set(err, "a URL has ASCII characters only: write the host as "
					      "xn--..., the path with %%XX");
	}
	if (i > URL_TEXT)
		return error_set(err, "the URL is longer than %d bytes", URL_TEXT);
	return 0;
}

static const struct scheme *
read_scheme(unsigned schemes, const char *text, struct error *err)
{
	const char *colon = strstr(text, "://");
	size_t i, len = colon == NULL ? 0 : (size_t)(colon - text);

	for (i = 0; colon != NULL && i < sizeof(table) / sizeof(table[0]); i++)
		if (schemes & table[i].scheme && strlen(table[i].name) == len &&
		    strncasecmp(table[i].name, text, len) == 0)
			return &table[i];
	error_set(err, "\"%.200s\" is not a URL that begins with %s", text,
	    schemes & URL_HTTP ? "http://" : "ws:// or wss://");
	return NULL;
}

static int
read_host(struct url *u, const char *host, size_t len, int brackets, struct error *err)
{
	struct in6_addr address;

	if (len == 0)
		return error_set(err, "the URL names no host");
	if (len > URL_HOST)
		return error_set(err, "the URL's host is longer than %d bytes", URL_HOST);
	memcpy(u->host, host, len);
	u->host[len] = '\0';
	if (brackets)
		return inet_pton(AF_INET6, u->host, &address) == 1
			   ? 0
			   : error_set(err, "\"[%s]\" in the URL is not an IPv6 address", u->host);
	if (strspn(u->host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") !=
	    len)
		return error_set(err, "\"%s\" in the URL is neither a host name nor an address%s",
		    u->host,
		    strchr(u->host, ':') != NULL ? " (IPv6 addresses stand in [brackets])" : "");
	return 0;
}

/* text: what follows the host up to the path; empty, or ":4320". */
static int
read_port(struct url *u, const char *text, size_t len, uint16_t otherwise, struct error *err)
{
	uint32_t port = 0;
	size_t i;

	for (i = 1; i < len && i <= 5 && text[i] >= '0' && text[i] <= '9'; i++)
		port = port * 10 + (uint32_t)(text[i] - '0');
	if (len > 0 && (text[0] != ':' || i != len || port == 0 || port > 65535))
		return error_set(err, "the URL's port is not a number from 1 to 65535");
	u->port = len > 0 ? (uint16_t)port : otherwise;
	(void)snprintf(u->port_text, sizeof(u->port_text), "%u", u->port);
	return 0;
}

int
url_split(struct url *u, unsigned schemes, const char *text, struct error *err)
{
	const struct scheme *scheme;
	const char *host, *end, *host_end;
	int brackets, other;

	memset(u, 0, sizeof(*u));
	if (check_text(text, err) == -1)
		return -1;
	scheme = read_scheme(schemes, text, err);
	if (scheme == NULL)
		return -1;
	u->scheme = scheme->scheme;
	host = text + strlen(scheme->name) + 3;
	end = host + strcspn(host, "/?#");
	if (memchr(host, '@', (size_t)(end - host)) != NULL)
		return error_set(err, "no user name or password in the URL: use server.headers");
	if (strchr(end, '#') != NULL)
		return error_set(err, "no #fragment in this URL");
	brackets = host[0] == '[';
	if (brackets) {
		host++;
		host_end = memchr(host, ']', (size_t)(end - host));
		if (host_end == NULL)
			return error_set(err, "\"[\" without \"]\" in the URL");
	} else { /* the last colon: an IPv6 address without brackets is told as such */
		host_end = memrchr(host, ':', (size_t)(end - host));
		if (host_end == NULL)
			host_end = end;
	}
	if (read_host(u, host, (size_t)(host_end - host), brackets, err) == -1)
		return -1;
	host_end += brackets;
	if (read_port(u, host_end, (size_t)(end - host_end), scheme->port, err) == -1)
		return -1;
	other = u->port != scheme->usual;
	(void)snprintf(u->host_header, sizeof(u->host_header), "%s%s%s%s%s", brackets ? "[" : "",
	    u->host, brackets ? "]" : "", other ? ":" : "", other ? u->port_text : "");
	(void)snprintf(u->target, sizeof(u->target), "%s%s", *end == '/' ? "" : scheme->path, end);
	return 0;
}

int
url_is_loopback(const struct url *u)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (strcasecmp(u->host, "localhost") == 0)
		return 1;
	if (inet_pton(AF_INET, u->host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, u->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}
