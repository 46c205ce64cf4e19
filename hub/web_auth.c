/*
 * web_auth.c: whose request it is, and whether it may be acted on (see web_inside.h).
 * opamphub-store.
 *
 * A page of another origin can make a browser send requests here.  So: the Host must be ours (a name
 * that somebody else's DNS points to us is not), what changes anything is JSON by its content type
 * (which no form can send), and Origin and Sec-Fetch-Site must not speak of another site.  A token
 * comes as a header, or as a cookie that only this origin's requests carry.
 */
#include <netinet/in.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "privsep/child.h"
#include "privsep/log.h"
#include "web_inside.h"

#define COOKIE      "opamphub"
#define COOKIE_S    (12 * 3600)
#define RATE_SECOND 50 /* requests of one token or address each second, on the average */
#define RATE_BURST  400
#define TRY_SECOND  1 /* wrong tokens of one address */
#define TRY_BURST   10

/* ---- rates */

static uint64_t
mix(uint64_t h, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len-- > 0)
		h = (h ^ *p++) * 0x100000001b3u;
	return h;
}

static uint64_t
address_key(const struct sockaddr *a, uint64_t kind)
{
	uint64_t h = 0xcbf29ce484222325u ^ kind;

	if (a->sa_family == AF_INET6) /* a host has a whole /64 */
		return mix(h, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, 8);
	return mix(h, &((const struct sockaddr_in *)(const void *)a)->sin_addr, 4);
}

/* 1: one more is too many. */
static int
too_many(struct web *w, uint64_t key, uint32_t second, uint32_t burst, int take)
{
	struct web_rate *r = &w->rates[key % WEB_RATES];
	uint64_t now = now_ms(), more;

	if (r->key != key) {
		r->key = key;
		r->left = burst;
		r->filled_ms = now;
	}
	more = (now - r->filled_ms) * second / 1000;
	if (more > 0) {
		r->left = r->left + more > burst ? burst : r->left + (uint32_t)more;
		r->filled_ms = now;
	}
	if (r->left == 0)
		return 1;
	r->left -= take != 0;
	return 0;
}

/* ---- tokens and cookies */

/* "name.expiry.mac" with the mac over what is before it. */
static void
cookie_mac(const struct web *w, const char *text, size_t len, char hex[65])
{
	uint8_t mac[EVP_MAX_MD_SIZE] = {0};
	unsigned n = 0;

	(void)HMAC(EVP_sha256(), w->cookie_key, sizeof(w->cookie_key), (const uint8_t *)text, len,
	    mac, &n);
	hex_text(hex, mac, 32);
}

static int
same_text(const char *a, const char *b, size_t len)
{
	unsigned char differs = 0;
	size_t i;

	for (i = 0; i < len; i++)
		differs |= (unsigned char)(a[i] ^ b[i]);
	return !differs;
}

/* The value of our cookie in the header, its length in *len; NULL: none. */
static const char *
find_cookie(const char *header, size_t *len)
{
	const char *p = header;
	size_t n;

	while (p != NULL && *p != '\0') {
		p += strspn(p, " ;");
		n = strcspn(p, ";");
		if (n > sizeof(COOKIE) && memcmp(p, COOKIE "=", sizeof(COOKIE)) == 0) {
			*len = n - sizeof(COOKIE);
			return p + sizeof(COOKIE);
		}
		p += n;
	}
	return NULL;
}

static int
cookie_author(struct web_request *q, const char *header)
{
	const char *value, *first, *second;
	char hex[65];
	size_t len;

	if (header == NULL || (value = find_cookie(header, &len)) == NULL || len <= 64 ||
	    value[len - 65] != '.')
		return -1;
	cookie_mac(q->web, value, len - 65, hex);
	if (!same_text(hex, value + len - 64, 64))
		return -1;
	second = value + len - 65;
	first = memchr(value, '.', (size_t)(second - value));
	if (first == NULL || (size_t)(first - value) >= sizeof(q->author) ||
	    strtoull(first + 1, NULL, 10) < now_unix_ns() / 1000000000)
		return -1;
	memcpy(q->author, value, (size_t)(first - value));
	q->author[first - value] = '\0';
	return 0;
}

static int
token_author(struct web_request *q, const char *token)
{
	const char *name;
	size_t len;

	if (token == NULL || setup_token(q->web->setup, token, &name, &len) == -1)
		return -1;
	if (len >= sizeof(q->author))
		len = sizeof(q->author) - 1;
	memcpy(q->author, name, len);
	q->author[len] = '\0';
	return 0;
}

void
web_session(struct web_request *q)
{
	json_t *body = web_body(q);
	char text[WEB_AUTHOR + 32], hex[65], header[512];

	if (body == NULL)
		return;
	if (!setup_has_tokens(q->web->setup))
		web_json(q, 200, json_pack("{s:s}", "author", ""));
	else if (token_author(q, json_string_value(json_object_get(body, "token"))) == -1 ||
		 strchr(q->author, '.') != NULL)
		web_fault(q, 401, "no such token");
	else {
		(void)snprintf(text, sizeof(text), "%s.%" PRIu64, q->author,
		    now_unix_ns() / 1000000000 + COOKIE_S);
		cookie_mac(q->web, text, strlen(text), hex);
		(void)snprintf(header, sizeof(header),
		    "Set-Cookie: " COOKIE
		    "=%s.%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Strict%s\r\n",
		    text, hex, COOKIE_S, q->secure ? "; Secure" : "");
		web_reply_headers(q, 200, header, "application/json", "{}", 2);
	}
	json_decref(body);
}

/* ---- whose page asks */

/* "host:port" as it may be asked for: where we listen, localhost, and what --page-host names. */
static int
host_is_ours(const struct web *w, const char *host)
{
	const char *port = strrchr(w->listen, ':');
	struct record_entry e;
	size_t pos = 0, len;

	if (host == NULL)
		return 0;
	if (strcasecmp(host, w->listen) == 0)
		return 1;
	len = strcspn(host, ":");
	if (strncasecmp(host, "localhost", len) == 0 && len == 9 && strcmp(host + len, port) == 0)
		return 1;
	while (record_next(&w->setup->record, &pos, SETUP_HOST, &e))
		if ((strlen(host) == e.len && strncasecmp(host, e.value, e.len) == 0) ||
		    (len == e.len && strncasecmp(host, e.value, e.len) == 0))
			return 1;
	return 0;
}

static int
origin_is_ours(const struct web_request *q, const char *origin, const char *host)
{
	const char *scheme = q->secure ? "https://" : "http://";
	size_t n = strlen(scheme);

	return strncmp(origin, scheme, n) == 0 && strcasecmp(origin + n, host) == 0;
}

/* What changes something: JSON, from our own page or from no page at all. */
static int
check_change(struct web_request *q, const struct http_head *h)
{
	const char *type = http_get(h, "Content-Type"), *origin = http_get(h, "Origin"),
		   *site = http_get(h, "Sec-Fetch-Site"), *host = http_get(h, "Host");

	if (origin != NULL && !origin_is_ours(q, origin, host)) {
		web_fault(q, 403, "the request comes from a page of another origin");
		return 403;
	}
	if (site != NULL && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0) {
		web_fault(q, 403, "the request comes from another site");
		return 403;
	}
	if (q->method != METHOD_DELETE &&
	    (type == NULL || strncasecmp(type, "application/json", 16) != 0 ||
		(type[16] != '\0' && type[16] != ';' && type[16] != ' '))) {
		web_fault(q, 415, "the body must be JSON: Content-Type: application/json");
		return 415;
	}
	return 0;
}

/* The page itself and its files say nothing, and ask for the token. */
static int
is_open(const struct web_request *q)
{
	return q->method == METHOD_GET
		   ? strncmp(q->path, "/api/", 5) != 0 && strcmp(q->path, "/metrics") != 0
		   : strcmp(q->path, "/api/v1/session") == 0;
}

static void
refuse(struct web_request *q, int status, const char *headers, const char *what)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "{\"error\":{\"what\":\"%s\"}}", what);
	web_reply_headers(q, status, headers, "application/json", text, strlen(text));
}

static int
authenticate(struct web_request *q, const struct http_head *h, const struct sockaddr *from)
{
	const char *bearer = setup_bearer(http_get(h, "Authorization"));
	uint64_t key = address_key(from, 2);
	int session = strcmp(q->path, "/api/v1/session") == 0;

	if (!setup_has_tokens(q->web->setup))
		return 0;
	/* whoever guesses at the same address does not keep out who has the token */
	if (!session && !is_open(q) &&
	    (token_author(q, bearer) == 0 || cookie_author(q, http_get(h, "Cookie")) == 0))
		return 0;
	if (too_many(q->web, key, TRY_SECOND, TRY_BURST, bearer != NULL || session)) {
		refuse(q, 429, "Retry-After: 10\r\n", "too many tries");
		return 429;
	}
	if (is_open(q))
		return 0;
	refuse(q, 401, "WWW-Authenticate: Bearer\r\n", "a token is needed");
	return 401;
}

int
web_allow(struct web_request *q, const struct http_head *h, const struct sockaddr *from)
{
	int status;

	if (!host_is_ours(q->web, http_get(h, "Host"))) {
		web_fault(q, 421,
		    "the hub is not asked for by this name: start it with --page-host NAME");
		return 421;
	}
	if (q->method == METHOD_OTHER) {
		web_reply_headers(q, 405, "Allow: GET, POST, DELETE\r\n", NULL, "", 0);
		return 405;
	}
	if (too_many(q->web, address_key(from, 1), RATE_SECOND, RATE_BURST, 1)) {
		refuse(q, 429, "Retry-After: 1\r\n", "too many requests");
		return 429;
	}
	status = authenticate(q, h, from);
	if (status == 0 && q->method != METHOD_GET)
		status = check_change(q, h);
	return status;
}
