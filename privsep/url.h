/*
 * url.h: the URLs of the settings, taken apart.  merge checks them with it (opampd -n), connect
 * and netd read where to connect to and what to ask for, link what to ask the health endpoint.
 * The text comes from opampd.yaml, never from a peer.
 */
#ifndef PRIVSEP_URL_H
#define PRIVSEP_URL_H

#include <stdint.h>

#include "error.h"

#define URL_TEXT 2048 /* bytes of a URL */
#define URL_HOST 253  /* bytes of a host name */

enum url_scheme {
	URL_NOTHING,
	URL_WS = 1,
	URL_WSS = 2,
	URL_HTTP = 4,
};

#define URL_OF_SERVER (URL_WS | URL_WSS) /* server.endpoint */
#define URL_OF_PROBE  URL_HTTP           /* agent.health.endpoint */

struct url {
	enum url_scheme scheme;
	char host[URL_HOST + 1]; /* for the resolver; an IPv6 address has no brackets here */
	uint16_t port;           /* as given, or 4320 for ws and wss, 80 for http */
	char port_text[6];       /* the same for getaddrinfo */
	char host_header[URL_HOST + 3 +
			 6];        /* value of Host: with brackets; port if not 80 (wss: 443) */
	char target[URL_TEXT + 16]; /* path and query, as in the request line; never empty */
};

/*
 * schemes: a set of enum url_scheme.  A scheme of them, a host name, an IPv4 address or an IPv6 address in brackets, perhaps a
 * port, a path, a query.  No user, no fragment, printable ASCII only.  Without a path the target is
 * /v1/opamp for ws and wss, / for http.
 */
int url_split(struct url *u, unsigned schemes, const char *text, struct error *err);

/* Is the host "localhost", 127.0.0.0/8 or ::1?  What a name resolves to is for connect to see. */
int url_is_loopback(const struct url *u);

#endif
