/*
 * transport_fake.h: the other end of a connection for the tests of netd's transport: a process that
 * plays a server, with TLS if wanted, and certificates made for the occasion.
 */
#ifndef TESTS_UNIT_TRANSPORT_FAKE_H
#define TESTS_UNIT_TRANSPORT_FAKE_H

#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "netd/transport.h"
#include "wire/ws.h"
#include "privsep/limits.h"
#include "privsep/log.h"

/* ---- certificates */

struct authority {
	EVP_PKEY *key;
	X509 *cert;
};

static inline char *
pem_of(X509 *cert, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *copy;
	long len;

	if (cert != NULL)
		assert_int_equal(PEM_write_bio_X509(bio, cert), 1);
	if (key != NULL)
		assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	len = BIO_get_mem_data(bio, &data);
	copy = strndup(data, (size_t)len);
	BIO_free(bio);
	return copy;
}

static inline X509 *
make_cert(EVP_PKEY *key, const char *name, const char *alt, long from, long to,
    const struct authority *by, int is_ca)
{
	X509 *cert = X509_new();
	X509_EXTENSION *e;
	X509V3_CTX ctx;

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1 + (long)(getpid() + clock()));
	X509_gmtime_adj(X509_getm_notBefore(cert), from);
	X509_gmtime_adj(X509_getm_notAfter(cert), to);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
	    (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(by == NULL ? cert : by->cert));
	X509_set_pubkey(cert, key);
	X509V3_set_ctx(&ctx, by == NULL ? cert : by->cert, cert, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(
	    NULL, &ctx, NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "CA:FALSE");
	X509_add_ext(cert, e, -1);
	X509_EXTENSION_free(e);
	if (alt != NULL) {
		e = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, alt);
		X509_add_ext(cert, e, -1);
		X509_EXTENSION_free(e);
	}
	assert_true(X509_sign(cert, by == NULL ? key : by->key, EVP_sha256()) > 0);
	return cert;
}

static inline struct authority
make_authority(const char *name)
{
	struct authority a = {EVP_EC_gen("P-256"), NULL};

	a.cert = make_cert(a.key, name, NULL, -10, 3600, NULL, 1);
	return a;
}

/* ---- the server, in a process of its own, blocking */

struct server_end {
	int fd;
	SSL *ssl;
	char request[8192];
};

struct server_plan {
	void (*serve)(struct server_end *s); /* after the handshake of TLS */
	EVP_PKEY *key;                       /* TLS, if not NULL */
	X509 *cert;
	X509 *client_ca; /* a client certificate is demanded */
	int max_version; /* 0 = any */
	const char *want_sni;
};

static inline ssize_t
server_read(struct server_end *s, void *buf, size_t len)
{
	return s->ssl != NULL ? SSL_read(s->ssl, buf, (int)len) : read(s->fd, buf, len);
}

static inline void
server_write(struct server_end *s, const void *data, size_t len)
{
	ssize_t n;

	for (; len > 0; len -= (size_t)n, data = (const char *)data + n) {
		n = s->ssl != NULL ? SSL_write(s->ssl, data, (int)len) : write(s->fd, data, len);
		if (n <= 0)
			return;
	}
}

static inline void
server_text(struct server_end *s, const char *text)
{
	server_write(s, text, strlen(text));
}

static inline void
server_request(struct server_end *s)
{
	size_t len = 0;
	ssize_t n;

	while (strstr(s->request, "\r\n\r\n") == NULL && len < sizeof(s->request) - 1) {
		n = server_read(s, s->request + len, sizeof(s->request) - 1 - len);
		if (n <= 0)
			_exit(3);
		len += (size_t)n;
	}
}

/* Reads until the end of the connection. */
static inline void
server_drain(struct server_end *s)
{
	char buf[4096];

	while (server_read(s, buf, sizeof(buf)) > 0)
		;
}

static inline const char *
server_accept_key(struct server_end *s)
{
	static char accept[WSKEY_ACCEPT_SIZE];
	char *key;

	server_request(s);
	key = strstr(s->request, "Sec-WebSocket-Key: ");
	if (key == NULL)
		_exit(4);
	key += 19;
	key[strcspn(key, "\r")] = '\0';
	if (wskey_accept(key, accept) == -1)
		_exit(5);
	return accept;
}

static inline void
server_upgrade(struct server_end *s)
{
	char head[256];

	(void)snprintf(head, sizeof(head),
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n"
	    "Connection: keep-alive, upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
	    server_accept_key(s));
	server_text(s, head);
}

static inline void __attribute__((noreturn))
server_process(int listener, const struct server_plan *plan)
{
	struct server_end s = {.fd = -1};
	SSL_CTX *ctx;

	alarm(20);
	s.fd = accept(listener, NULL, NULL);
	if (plan->key != NULL) {
		ctx = SSL_CTX_new(TLS_server_method());
		SSL_CTX_use_certificate(ctx, plan->cert);
		SSL_CTX_use_PrivateKey(ctx, plan->key);
		if (plan->max_version != 0)
			SSL_CTX_set_max_proto_version(ctx, plan->max_version);
		if (plan->client_ca != NULL) {
			X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), plan->client_ca);
			SSL_CTX_set_verify(
			    ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		}
		s.ssl = SSL_new(ctx);
		SSL_set_fd(s.ssl, s.fd);
		if (SSL_accept(s.ssl) != 1) {
			char
			    rest[4096]; /* unread, it would make a reset that overtakes our alert */

			(void)shutdown(s.fd, SHUT_WR);
			while (read(s.fd, rest, sizeof(rest)) > 0)
				;
			_exit(2);
		}
		if (plan->want_sni != NULL) {
			const char *sni = SSL_get_servername(s.ssl, TLSEXT_NAMETYPE_host_name);

			if (sni == NULL || strcmp(sni, plan->want_sni) != 0)
				_exit(6);
		}
	}
	plan->serve(&s);
	_exit(0);
}

/* ---- the transport and what it says */

struct fake {
	struct event_base *base;
	struct transport *t;
	struct transport_settings set;
	struct evbuffer *received;
	int opened, ended, messages, drained, heard;
	int free_in_message, close_in_message;
	int http_status;
	int64_t retry_after_ms;
	char why[ERROR_TEXT];
	pid_t server;
	int server_status;
};

static inline void
fake_opened(void *ctx)
{
	struct fake *f = ctx;

	f->opened++;
}

static inline void
fake_heard(void *ctx)
{
	((struct fake *)ctx)->heard++;
}

static inline void
fake_message(void *ctx, const uint8_t *data, size_t len)
{
	struct fake *f = ctx;

	f->messages++;
	(void)evbuffer_add(f->received, data, len);
	if (f->close_in_message)
		transport_close(f->t, 1000, "enough");
	if (f->free_in_message) {
		transport_free(f->t);
		f->t = NULL;
	}
	event_base_loopbreak(f->base);
}

static inline void
fake_drained(void *ctx)
{
	((struct fake *)ctx)->drained++;
}

static inline void
fake_ended(void *ctx, const struct transport_end *e)
{
	struct fake *f = ctx;

	f->ended++;
	f->http_status = e->http_status;
	f->retry_after_ms = e->retry_after_ms;
	(void)snprintf(f->why, sizeof(f->why), "%s", e->why);
	transport_free(f->t);
	f->t = NULL;
	event_base_loopbreak(f->base);
}

static const struct transport_callbacks fake_callbacks = {
    fake_opened, fake_heard, fake_message, fake_drained, fake_ended};

static inline void
fake_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(int *)arg = 1;
}

/* Runs the loop until a message, the end, or ms have passed: then 0. */
static inline int
fake_run(struct fake *f, int ms)
{
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};
	struct event *limit;
	int late = 0;

	limit = event_new(f->base, -1, 0, fake_timeout, &late);
	event_add(limit, &tv);
	while (!late && event_base_loop(f->base, EVLOOP_ONCE) == 0)
		if (event_base_got_break(f->base))
			break;
	event_free(limit);
	return !late;
}

static inline void
fake_init(struct fake *f, const char *url)
{
	struct error err;

	(void)signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	memset(f, 0, sizeof(*f));
	f->base = event_base_new();
	f->received = evbuffer_new();
	assert_int_equal(url_split(&f->set.url, URL_OF_SERVER, url, &err), 0);
	f->set.headers = (char *)(uintptr_t) "X-Test: yes\r\n";
	f->set.max_message = 4 * MIB;
	f->set.step_ms = 10000;
	f->set.linger_ms = 1000;
}

static inline void
fake_connect(struct fake *f, const struct server_plan *plan)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;
	struct error err = {""};

	assert_int_equal(bind(listener, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
	f->server = fork();
	if (f->server == 0)
		server_process(listener, plan);
	fd = socket(AF_INET, SOCK_STREAM, 0); /* the server must not hold it too */
	assert_int_equal(connect(fd, (struct sockaddr *)&a, n), 0);
	close(listener);
	f->t = transport_new(f->base, fd, &f->set, &fake_callbacks, f, &err);
	assert_string_equal(err.text, "");
	assert_non_null(f->t);
}

static inline void
fake_clear(struct fake *f)
{
	transport_free(f->t);
	f->t = NULL;
	assert_int_equal(waitpid(f->server, &f->server_status, 0), f->server);
	evbuffer_free(f->received);
	event_base_free(f->base);
}

/* The whole of it: what the attempt ended with. */
static inline void
fake_attempt(struct fake *f, const struct server_plan *plan)
{
	fake_connect(f, plan);
	while (!f->ended && fake_run(f, 10000))
		;
	assert_int_equal(f->ended, 1);
}

#endif
