/*
 * front_accept.c: connections of agents: accepting, TLS, who may speak (see front.h).  opamphub-front.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>

#include "front.h"
#include "privsep/log.h"
#include "server_tls.h"

#define ACCEPTS_TURN 64

const char *
peer_address(const struct peer *p, char *text, size_t size)
{
	const struct sockaddr_storage *a = p->address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)a;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)a;
	char host[INET6_ADDRSTRLEN];

	if (a == NULL)
		return "?";
	if (a->ss_family == AF_INET6) {
		if (inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host)) == NULL)
			return "?";
		(void)snprintf(text, size, "[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		if (inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host)) == NULL)
			return "?";
		(void)snprintf(text, size, "%s:%u", host, ntohs(v4->sin_port));
	}
	return text;
}

void
peer_free(struct peer *p)
{
	LIST_REMOVE(p, entry);
	p->front->peers--;
	server_free(p->server);
	free(p->address);
	free(p->certificate);
	free(p);
}

/* The name in its client certificate goes before a token's. */
static void
certificate_name(struct peer *p, struct bufferevent *bev)
{
	SSL *ssl = p->front->tls == NULL ? NULL : bufferevent_openssl_get_ssl(bev);
	X509 *x = ssl == NULL ? NULL : SSL_get0_peer_certificate(ssl);
	char name[64];
	int n;

	if (x == NULL)
		return;
	n = X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, name, sizeof(name));
	if (n <= 0)
		return;
	free(p->certificate);
	p->certificate = strndup(name, sizeof(name));
	p->credential = p->certificate;
	p->credential_len = p->certificate == NULL ? 0 : (uint32_t)strlen(p->certificate);
}

/* CC-07: before anything else is read of it. */
static int
on_request(void *ctx, const struct http_head *h, const char **headers)
{
	struct peer *p = ctx;
	const struct setup *s = &p->front->setup;
	size_t len;

	certificate_name(p, server_bufferevent(p->server));
	if (!setup_has_tokens(s))
		return 0;
	if (setup_token(s, setup_bearer(http_get(h, "Authorization")), &p->credential, &len) ==
	    -1) {
		*headers = "WWW-Authenticate: Bearer\r\n";
		return 401;
	}
	p->credential_len = (uint32_t)len;
	return 0;
}

static void
on_opened(void *ctx)
{
	(void)ctx;
}

static int
on_message(void *ctx, const uint8_t *data, size_t len)
{
	return agent_message(ctx, data, len);
}

static int
on_malformed(void *ctx, const char *why)
{
	return agent_malformed(ctx, why);
}

static void
on_pong(void *ctx)
{
	agent_pong(ctx);
}

static void
on_drained(void *ctx)
{
	answer_drained(ctx);
}

static void
on_fault(void *ctx, const char *why)
{
	char text[80];

	log_debug("%s: %s", peer_address(ctx, text, sizeof(text)), why);
}

static void
on_closed(void *ctx, const char *why)
{
	struct peer *p = ctx;
	struct front *f = p->front;

	agent_closed(p, why);
	peer_free(p);
	if (f->listener >= 0 && f->accepting != NULL)
		(void)event_add(f->accepting, NULL);
}

static const struct server_callbacks callbacks = {
    on_request, on_opened, on_message, on_malformed, on_pong, on_drained, on_fault, on_closed};

static void
take(struct front *f, int fd, const struct sockaddr_storage *a, socklen_t len)
{
	struct peer *p = calloc(1, sizeof(*p));
	struct bufferevent *bev;

	if (p == NULL) {
		close(fd);
		return;
	}
	p->front = f;
	p->address = malloc(len);
	if (p->address != NULL)
		memcpy(p->address, a, len);
	bev = server_tls_bufferevent(f->base, fd, f->tls);
	p->server = bev == NULL ? NULL : server_new(bev, &f->rules, &callbacks, p);
	if (p->server == NULL) {
		log_warn("an agent's connection: out of memory");
		free(p->address);
		free(p);
		return;
	}
	LIST_INSERT_HEAD(&f->all_peers, p, entry);
	f->peers++;
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct front *f = arg;
	struct sockaddr_storage a;
	socklen_t len;
	int n, turns = ACCEPTS_TURN;

	(void)what;
	while (turns-- > 0) {
		if (f->peers >= f->max_agents) {
			(void)event_del(f->accepting); /* until one leaves */
			return;
		}
		len = sizeof(a);
		n = accept4(fd, (struct sockaddr *)&a, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (n >= 0) {
			take(f, n, &a, len);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			(void)event_del(f->accepting); /* the tick begins anew */
			log_warn("accepting an agent's connection: %s", strerror(errno));
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

int
front_listen(struct front *f, struct error *err)
{
	f->listener = SETUP_FD_LISTENER;
	(void)evutil_make_socket_nonblocking(f->listener);
	f->accepting = event_new(f->base, f->listener, EV_READ | EV_PERSIST, on_accept, f);
	if (f->accepting == NULL || event_add(f->accepting, NULL) == -1)
		return error_set(err, "listening: out of memory");
	return 0;
}

void
front_stop_listening(struct front *f)
{
	if (f->accepting != NULL)
		event_free(f->accepting);
	f->accepting = NULL;
	if (f->listener >= 0)
		close(f->listener);
	f->listener = -1;
}
