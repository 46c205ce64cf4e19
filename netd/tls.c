/*
 * tls.c: TLS towards the server (see tls.h).  netd.
 */
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "authorities.h"
#include "privsep/limits.h"

struct tls {
	SSL_CTX *ctx;
	BIO_METHOD *wire;
	char *server_name;
	int skip_verify;
	struct authorities *authorities; /* of the host, unless the settings name some */
};

/* ---- the wire: a descriptor, read in turns */

struct wire {
	int fd;
	size_t left; /* of this turn */
};

/* OpenSSL goes on by itself as long as there is something: empty messages, key updates, tickets. */
static int
wire_read(BIO *bio, char *buf, int size)
{
	struct wire *w = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (w->left == 0) {
		errno = EAGAIN;
		BIO_set_retry_read(bio);
		return -1;
	}
	if ((size_t)size > w->left)
		size = (int)w->left;
	n = read(w->fd, buf, (size_t)size);
	if (n > 0)
		w->left -= (size_t)n;
	else if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		BIO_set_retry_read(bio);
	else if (n == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return (int)n;
}

static int
wire_write(BIO *bio, const char *buf, int size)
{
	struct wire *w = BIO_get_data(bio);
	ssize_t n = write(w->fd, buf, (size_t)size);

	BIO_clear_retry_flags(bio);
	if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		BIO_set_retry_write(bio);
	return (int)n;
}

static long
wire_ctrl(BIO *bio, int command, long number, void *p)
{
	(void)number;
	(void)p;
	if (command == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return command == BIO_CTRL_FLUSH;
}

static int
wire_free(BIO *bio)
{
	free(BIO_get_data(bio));
	return 1;
}

static BIO *
wire_new(struct tls *t, int fd)
{
	struct wire *w = calloc(1, sizeof(*w));
	BIO *bio = w == NULL ? NULL : BIO_new(t->wire);

	if (bio == NULL) {
		free(w);
		return NULL;
	}
	*w = (struct wire){fd, LIMIT_TLS_TURN};
	BIO_set_data(bio, w);
	BIO_set_init(bio, 1);
	return bio;
}

static int
wire_method(struct tls *t)
{
	t->wire = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "turns");
	return t->wire != NULL && BIO_meth_set_read(t->wire, wire_read) == 1 &&
		       BIO_meth_set_write(t->wire, wire_write) == 1 &&
		       BIO_meth_set_ctrl(t->wire, wire_ctrl) == 1 &&
		       BIO_meth_set_destroy(t->wire, wire_free) == 1
		   ? 0
		   : -1;
}

void
tls_turn(SSL *ssl)
{
	struct wire *w = BIO_get_data(SSL_get_rbio(ssl));

	w->left = LIMIT_TLS_TURN;
}

int
tls_handshake_too_long(SSL *ssl)
{
	return BIO_number_read(SSL_get_rbio(ssl)) > LIMIT_TLS_HANDSHAKE;
}

/* The oldest error is the cause, the rest is where it passed through. */
static const char *
ssl_words(void)
{
	unsigned long e = ERR_peek_error();
	const char *words = e == 0 ? NULL : ERR_reason_error_string(e);

	return words != NULL ? words : "no reason given";
}

int
tls_library(struct error *err)
{
	unsigned char random[16];
	SSL_CTX *warm;
	SSL *ssl;

	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT |
				 OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
		NULL) != 1)
		return error_set(err, "OpenSSL cannot be initialised: %s", ssl_words());
	/* the random generator, the provider's algorithms and a session's tables */
	warm = SSL_CTX_new(TLS_client_method());
	ssl = warm == NULL ? NULL : SSL_new(warm);
	if (ssl == NULL || RAND_bytes(random, sizeof(random)) != 1)
		return error_set(err, "OpenSSL cannot be used: %s", ssl_words());
	SSL_free(ssl);
	SSL_CTX_free(warm);
	return 0;
}

/* A key that wants a password has nobody to ask. */
static int
no_password(char *buf, int size, int writing, void *ctx)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)ctx;
	return 0;
}

static BIO *
bio_of(const char *text)
{
	return BIO_new_mem_buf(text, -1);
}

/* Every certificate of a PEM text into the store; at least one must be there. */
static int
add_authorities(SSL_CTX *ctx, const struct tls_text *text, struct error *err)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *bio = bio_of(text->data);
	unsigned long e;
	X509 *cert;
	size_t n = 0;
	int added = bio == NULL ? -1 : 0;

	while (added == 0 && (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
		if (X509_STORE_add_cert(store, cert) != 1)
			added = -1;
		X509_free(cert);
		n++;
	}
	e = ERR_peek_last_error();
	if (added == -1)
		(void)error_set(err, "%s: certificate %zu: %s", text->name, n, ssl_words());
	else if (n == 0 || ERR_GET_REASON(e) != PEM_R_NO_START_LINE)
		added = error_set(
		    err, "%s: %s", text->name, n == 0 ? "no certificate (PEM) in it" : ssl_words());
	ERR_clear_error();
	BIO_free(bio);
	return added;
}

/* The first certificate is ours, those after it are sent along. */
static int
use_certificate(SSL_CTX *ctx, const struct tls_text *text, struct error *err)
{
	BIO *bio = bio_of(text->data);
	X509 *cert = bio == NULL ? NULL : PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
	int ok;

	ok = cert != NULL && SSL_CTX_use_certificate(ctx, cert) == 1;
	X509_free(cert);
	while (ok && (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL)
		if (SSL_CTX_add0_chain_cert(ctx, cert) != 1) {
			X509_free(cert);
			ok = 0;
		}
	if (!ok)
		(void)error_set(err, "%s: client certificate (PEM): %s", text->name, ssl_words());
	ERR_clear_error();
	BIO_free(bio);
	return ok ? 0 : -1;
}

static int
use_key(SSL_CTX *ctx, const struct tls_text *text, struct error *err)
{
	BIO *bio = bio_of(text->data);
	EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	int result = 0;

	if (key == NULL)
		result = error_set(err,
		    "%s: private key (PEM): %s; a key with a password cannot be used", text->name,
		    ssl_words());
	else if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
		result = error_set(
		    err, "%s: not the key of the client certificate: %s", text->name, ssl_words());
	EVP_PKEY_free(key);
	ERR_clear_error();
	BIO_free(bio);
	return result;
}

static int
add_all_authorities(struct tls *t, const struct tls_settings *s, struct error *err)
{
	size_t i, own = 0;

	for (i = 0; i < sizeof(s->ca) / sizeof(s->ca[0]); i++) {
		if (s->ca[i].data == NULL)
			continue;
		if (add_authorities(t->ctx, &s->ca[i], err) == -1)
			return -1;
		own++;
	}
	if (s->system_ca.data == NULL)
		return 0;
	/* OpenSSL asks for those that it has not found: of two of one name it must know both */
	if (own > 0)
		return add_authorities(t->ctx, &s->system_ca, err);
	return authorities_add(SSL_CTX_get_cert_store(t->ctx), s->system_ca.data, s->system_ca.name,
	    &t->authorities, err);
}

static int
set_up(struct tls *t, const struct tls_settings *s, struct error *err)
{
	SSL_CTX *ctx = t->ctx;

	/* no renegotiation (TLS 1.2), no compression, and no ticket that would skip a verification */
	SSL_CTX_set_options(
	    ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* one call must not go on as long as a peer sends what is no data: key updates, tickets */
	(void)SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify_depth(ctx, 10);
	SSL_CTX_set_max_cert_list(ctx, LIMIT_TLS_CHAIN);
	if (SSL_CTX_get_security_level(ctx) < 2) /* keys and signatures of 112 bits and more */
		SSL_CTX_set_security_level(ctx, 2);
	if (SSL_CTX_set_min_proto_version(ctx, s->min_version) != 1 ||
	    SSL_CTX_set_max_proto_version(ctx, s->max_version) != 1)
		return error_set(err, "server.tls: these versions cannot be set: %s", ssl_words());
	SSL_CTX_set_verify(ctx, s->skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	if (!s->skip_verify && add_all_authorities(t, s, err) == -1)
		return -1;
	if (s->cert.data != NULL &&
	    (use_certificate(ctx, &s->cert, err) == -1 || use_key(ctx, &s->key, err) == -1))
		return -1;
	return 0;
}

struct tls *
tls_new(const struct tls_settings *s, struct error *err)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		(void)error_set(err, "no memory for TLS");
		return NULL;
	}
	t->skip_verify = s->skip_verify;
	t->server_name = s->server_name == NULL ? NULL : strdup(s->server_name);
	t->ctx = SSL_CTX_new(TLS_client_method());
	if (t->ctx == NULL || wire_method(t) == -1 ||
	    (s->server_name != NULL && t->server_name == NULL))
		(void)error_set(err, "no memory for TLS");
	else if (set_up(t, s, err) == 0)
		return t;
	tls_free(t);
	return NULL;
}

void
tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_CTX_free(t->ctx);
	authorities_free(t->authorities);
	BIO_meth_free(t->wire);
	free(t->server_name);
	free(t);
}

static int
is_address(const char *name)
{
	unsigned char address[16];

	return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* Whom the certificate must name; server name indication is for names only (RFC 6066). */
static int
expect(SSL *ssl, const char *name)
{
	if (is_address(name))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
	/* RFC 9525: the subject's common name is no name of a host */
	SSL_set_hostflags(
	    ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

SSL *
tls_session(struct tls *t, int fd, const char *host, struct error *err)
{
	SSL *ssl = SSL_new(t->ctx);
	const char *name = t->server_name != NULL ? t->server_name : host;

	BIO *wire = wire_new(t, fd);

	ERR_clear_error();
	if (ssl != NULL && wire != NULL)
		SSL_set_bio(ssl, wire, wire);
	else
		BIO_free(wire);
	if (ssl == NULL || wire == NULL || expect(ssl, name) != 1) {
		(void)error_set(err, "TLS towards %s: %s", name, ssl_words());
		ERR_clear_error();
		SSL_free(ssl);
		return NULL;
	}
	SSL_set_connect_state(ssl);
	return ssl;
}

void
tls_goodbye(SSL *ssl)
{
	(void)SSL_shutdown(ssl);
	ERR_clear_error();
}

/* Why the certificate was not taken, and where to look. */
static void
verify_words(struct tls *t, const char *host, long result, struct error *err)
{
	const char *name = t->server_name != NULL ? t->server_name : host;
	const char *words = X509_verify_cert_error_string(result);

	switch (result) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		(void)error_set(err, "TLS: the server's certificate has expired");
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		(void)error_set(err,
		    "TLS: the server's certificate is not valid yet: is this host's "
		    "clock right?");
		break;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		(void)error_set(err,
		    "TLS: the server's certificate is not for %s: write a name that it has in "
		    "server.endpoint, or in server.tls.server_name_override",
		    name);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		(void)error_set(err,
		    "TLS: the server's certificate is from an unknown authority (%s): name it with "
		    "server.tls.ca_file",
		    words);
		break;
	default:
		(void)error_set(err, "TLS: the server's certificate is not accepted: %s", words);
	}
}

/* Where to look, for what OpenSSL says of a handshake. */
static int
advice(unsigned long e, struct error *err)
{
	const char *words = ssl_words();

	if (ERR_GET_LIB(e) != ERR_LIB_SSL)
		return 0;
	switch (ERR_GET_REASON(e)) {
	case SSL_R_UNEXPECTED_EOF_WHILE_READING:
		(void)error_set(err, "TLS: the connection was cut without a goodbye");
		return 1;
	case SSL_R_WRONG_VERSION_NUMBER:
		(void)error_set(err,
		    "TLS: what answers does not speak TLS (wrong version number): is "
		    "server.endpoint to be ws://, or its port another?");
		return 1;
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_WRONG_SSL_VERSION:
		(void)error_set(err,
		    "TLS: the server speaks no version from server.tls.min_version to "
		    "server.tls.max_version (%s)",
		    words);
		return 1;
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
		(void)error_set(err,
		    "TLS: the server accepts none of our ciphers, or wants a client certificate "
		    "(%s): see server.tls.cert_file",
		    words);
		return 1;
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
		(void)error_set(err,
		    "TLS: the server wants a client certificate (%s): see server.tls.cert_file",
		    words);
		return 1;
	default:
		return 0;
	}
}

static enum tls_want
failure(struct tls *t, SSL *ssl, int saved_errno, const char *host, struct error *err)
{
	long verified = SSL_get_verify_result(ssl);
	unsigned long e = ERR_peek_error();

	if (!t->skip_verify && verified != X509_V_OK && !SSL_is_init_finished(ssl))
		verify_words(t, host, verified, err);
	else if (!advice(e, err))
		(void)error_set(err, "TLS: %s",
		    e != 0             ? ssl_words()
		    : saved_errno != 0 ? strerror(saved_errno)
				       : "the connection was cut without a goodbye");
	ERR_clear_error();
	return TLS_FAILED;
}

enum tls_want
tls_judge(struct tls *t, SSL *ssl, int result, int saved_errno, const char *host, struct error *err)
{
	switch (SSL_get_error(ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return TLS_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		(void)error_set(err, "TLS: it closed the connection");
		return TLS_CLOSED;
	default:
		return failure(t, ssl, saved_errno, host, err);
	}
}
