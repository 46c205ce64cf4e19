/*
 * tls.h: TLS towards the server, by OpenSSL.  netd.  The context is made before the sandbox from
 * what the parent handed over; afterwards nothing opens a file or reads a configuration.
 */
#ifndef NETD_TLS_H
#define NETD_TLS_H

#include <stddef.h>

#include <openssl/ssl.h>

#include "privsep/error.h"

struct tls_text {                /* PEM; NULL = none */
	const char *data, *name; /* name: where it came from, for messages */
};

struct tls_settings {
	struct tls_text ca[2];     /* authorities that may vouch for the server, all of them */
	struct tls_text system_ca; /* the host's, likewise */
	struct tls_text cert, key;
	int min_version, max_version; /* TLS1_2_VERSION, TLS1_3_VERSION */
	int skip_verify;
	const char *server_name; /* in place of the URL's host; NULL = none */
};

struct tls;

/* Before tls_new, once: OpenSSL without its configuration file, everything it makes lazily made. */
int tls_library(struct error *err);

struct tls *tls_new(const struct tls_settings *s, struct error *err);
void tls_free(struct tls *t); /* NULL is fine */

/* A client's session over fd (not taken), which is to prove that it is host. */
SSL *tls_session(struct tls *t, int fd, const char *host, struct error *err);

/* A turn begins: calls on ssl read LIMIT_TLS_TURN bytes at most until the next one, then want to wait. */
void tls_turn(SSL *ssl);

/* Has the server sent more than a handshake may have? */
int tls_handshake_too_long(SSL *ssl);

/* close_notify, if it can be written at once. */
void tls_goodbye(SSL *ssl);

enum tls_want {
	TLS_READ,
	TLS_WRITE,
	TLS_CLOSED, /* the peer said goodbye (close_notify) */
	TLS_FAILED, /* err has the reason */
};

/* What a call on ssl that gave `result` <= 0 wants; saved_errno: errno right after it. */
enum tls_want tls_judge(
    struct tls *t, SSL *ssl, int result, int saved_errno, const char *host, struct error *err);

#endif
