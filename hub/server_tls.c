/*
 * server_tls.c: TLS as a server, on bufferevents (see server_tls.h).
 */
#include "server_tls.h"

#include <string.h>
#include <unistd.h>

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#define KEY_UPDATES 1000 /* of one connection */

static int
fault(const char *what, struct error *err)
{
	const char *words = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return error_set(err, "%s: %s", what, words == NULL ? "OpenSSL gives no reason" : words);
}

static int
library(struct error *err)
{
	unsigned char random[16];

	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT |
				 OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
		NULL) != 1 ||
	    RAND_bytes(random, sizeof(random)) != 1)
		return fault("OpenSSL cannot be used", err);
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
text(const struct setup *s, uint16_t key)
{
	struct record_entry e;

	return record_find(&s->record, key, &e) ? BIO_new_mem_buf(e.value, (int)e.len) : NULL;
}

static int
use_certificates(SSL_CTX *ctx, BIO *b, struct error *err)
{
	X509 *x = PEM_read_bio_X509(b, NULL, no_password, NULL);
	int r;

	if (x == NULL)
		return fault("the TLS certificate file has no certificate", err);
	r = SSL_CTX_use_certificate(ctx, x);
	X509_free(x);
	if (r != 1)
		return fault("the TLS certificate", err);
	while ((x = PEM_read_bio_X509(b, NULL, no_password, NULL)) != NULL)
		if (SSL_CTX_add0_chain_cert(ctx, x) != 1) {
			X509_free(x);
			return fault("the TLS certificate's chain", err);
		}
	ERR_clear_error();
	return 0;
}

static int
use_key(SSL_CTX *ctx, BIO *b, struct error *err)
{
	EVP_PKEY *key = b == NULL ? NULL : PEM_read_bio_PrivateKey(b, NULL, no_password, NULL);
	int r;

	if (key == NULL)
		return fault(
		    "the TLS key file has no key that can be used without a password", err);
	r = SSL_CTX_use_PrivateKey(ctx, key);
	EVP_PKEY_free(key);
	if (r != 1 || SSL_CTX_check_private_key(ctx) != 1)
		return fault("the TLS key does not belong to the certificate", err);
	return 0;
}

static int
demand_clients(SSL_CTX *ctx, BIO *b, struct error *err)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	X509 *x;
	int count = 0;

	while ((x = PEM_read_bio_X509(b, NULL, no_password, NULL)) != NULL) {
		if (X509_STORE_add_cert(store, x) != 1 || SSL_CTX_add_client_CA(ctx, x) != 1) {
			X509_free(x);
			return fault("the clients' authorities", err);
		}
		X509_free(x);
		count++;
	}
	ERR_clear_error();
	if (count == 0)
		return error_set(err, "the file of the clients' authorities has no certificate");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return 0;
}

/*
 * OpenSSL takes new keys without end within one read, and everybody else would
 * wait: who sends more of them than anybody needs is treated as if it had said
 * goodbye.
 */
static void
on_message(int write, int version, int type, const void *data, size_t len, SSL *ssl, void *arg)
{
	uintptr_t count = (uintptr_t)SSL_get_app_data(ssl);

	(void)version;
	(void)arg;
	if (write || type != SSL3_RT_HANDSHAKE || len == 0 ||
	    *(const uint8_t *)data != SSL3_MT_KEY_UPDATE)
		return;
	(void)SSL_set_app_data(ssl, (void *)(count + 1));
	if (count >= KEY_UPDATES)
		SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
}

static int
fill(SSL_CTX *ctx, const struct setup *s, struct error *err)
{
	BIO *cert = text(s, SETUP_TLS_CERT), *key = text(s, SETUP_TLS_KEY),
	    *ca = text(s, SETUP_CLIENT_CA);
	static const unsigned char id[] = "opamphub";
	SSL *warm;
	int r;

	(void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	(void)SSL_CTX_set_options(
	    ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_msg_callback(ctx, on_message);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1);
	(void)SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
	r = use_certificates(ctx, cert, err);
	if (r == 0)
		r = use_key(ctx, key, err);
	if (r == 0 && ca != NULL)
		r = demand_clients(ctx, ca, err);
	if (r == 0) {
		warm = SSL_new(ctx); /* a session's tables, before the sandbox */
		if (warm == NULL)
			r = fault("TLS", err);
		SSL_free(warm);
	}
	BIO_free(cert);
	BIO_free(key);
	BIO_free(ca);
	return r;
}

int
server_tls_new(const struct setup *s, SSL_CTX **ctx, struct error *err)
{
	struct record_entry e;

	*ctx = NULL;
	if (!record_find(&s->record, SETUP_TLS_CERT, &e))
		return 0;
	if (library(err) == -1)
		return -1;
	*ctx = SSL_CTX_new(TLS_server_method());
	if (*ctx == NULL)
		return fault("TLS", err);
	if (fill(*ctx, s, err) == 0)
		return 0;
	SSL_CTX_free(*ctx);
	*ctx = NULL;
	return -1;
}

struct bufferevent *
server_tls_bufferevent(struct event_base *base, evutil_socket_t fd, SSL_CTX *ctx)
{
	struct bufferevent *bev = NULL;
	SSL *ssl;

	if (ctx == NULL)
		bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	else if ((ssl = SSL_new(ctx)) != NULL) {
		bev = bufferevent_openssl_socket_new(
		    base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
		if (bev == NULL)
			SSL_free(ssl);
	}
	if (bev == NULL)
		close(fd);
	return bev;
}
