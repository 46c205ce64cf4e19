/*
 * server_tls.h: TLS as a server, by OpenSSL, on bufferevents.  opamphub-front, opamphub-store.
 */
#ifndef HUB_SERVER_TLS_H
#define HUB_SERVER_TLS_H

#include <event2/util.h>
#include <openssl/ssl.h>

#include "setup.h"

struct event_base;
struct bufferevent;

/*
 * From SETUP_TLS_CERT and _KEY, and SETUP_CLIENT_CA if there is one.  *ctx is NULL when the setup
 * has no certificate.  Before the sandbox: OpenSSL makes all it makes lazily.
 */
int server_tls_new(const struct setup *s, SSL_CTX **ctx, struct error *err);

/* A bufferevent over fd (taken, also on failure); ctx NULL: plain.  NULL: out of memory. */
struct bufferevent *server_tls_bufferevent(
    struct event_base *base, evutil_socket_t fd, SSL_CTX *ctx);

#endif
