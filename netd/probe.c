/*
 * probe.c: the agent's health endpoint (see probe.h).  link.
 * One question at a time, each over a connection of its own; of the answer nothing but the status
 * counts, and nothing but a status number or our own words goes on.
 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "wire/http.h"
#include "privsep/log.h"

#define FIRST_MS 100  /* between questions to an agent that never was well, doubling */
#define AGAIN_MS 1000 /* after the parent had no connection to give */
#define REQUEST  4096
#define WORDS    512

enum probe_state {
	PROBE_IDLE, /* start 0, or the timer says when to ask */
	PROBE_CONNECTING,
	PROBE_ASKED, /* the request is sent */
	PROBE_REST,  /* judged; what else it says is read and dropped until the next question */
};

struct probe {
	struct child *child;
	char request[REQUEST];
	size_t request_len;
	uint64_t interval_ms, timeout_ms;
	struct event *timer; /* PROBE_IDLE, _REST: the next question; else: no answer in time */
	struct event *reading;
	struct evbuffer *in;
	int fd;
	enum probe_state state;
	size_t rest; /* bytes of its answer that are still read */
	uint32_t attempt;
	uint32_t start; /* 0 = none runs */
	uint64_t asked_ms, wait_ms;
	int was_ok;   /* of this start, once */
	int answered; /* ok and why are what confd knows */
	uint32_t ok;
	char why[WORDS];
};

static void on_timer(evutil_socket_t fd, short what, void *arg);
static void on_readable(evutil_socket_t fd, short what, void *arg);

/* http://host[:port][/path][?query], as the settings reader has checked it. */
static int
make_request(struct probe *p, const char *url, struct error *err)
{
	const char *host = strncasecmp(url, "http://", 7) == 0 ? url + 7 : url, *path;
	size_t host_len = strcspn(host, "/?");
	int n;

	path = host + host_len;
	n = snprintf(p->request, sizeof(p->request),
	    "GET %s%s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: opampd/" OPAMPD_VERSION
	    "\r\nAccept: */*\r\nConnection: close\r\n\r\n",
	    *path == '/' ? "" : "/", path, (int)host_len, host);
	if (n < 0 || (size_t)n >= sizeof(p->request) || !http_value_ok(url))
		return error_set(err, "agent.health.endpoint: too long, or not a URL");
	p->request_len = (size_t)n;
	return 0;
}

struct probe *
probe_new(struct child *child, struct error *err)
{
	char *url = settings_string(&child->settings, SET_HEALTH_ENDPOINT);
	struct probe *p;
	int r;

	err->text[0] = '\0';
	if (url == NULL)
		return NULL;
	p = calloc(1, sizeof(*p));
	if (p == NULL) {
		free(url);
		(void)error_set(err, "no memory for the health probe");
		return NULL;
	}
	p->child = child;
	p->fd = -1;
	p->interval_ms = settings_u64(&child->settings, SET_HEALTH_INTERVAL);
	p->timeout_ms = settings_u64(&child->settings, SET_HEALTH_TIMEOUT);
	r = make_request(p, url, err);
	free(url);
	p->timer = event_new(child->base, -1, 0, on_timer, p);
	p->in = evbuffer_new();
	if (r == 0 && (p->timer == NULL || p->in == NULL))
		r = error_set(err, "no memory for the health probe");
	if (r == -1) {
		probe_free(p);
		return NULL;
	}
	return p;
}

static void
in_ms(struct probe *p, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	(void)event_add(p->timer, &tv);
}

static void
hang_up(struct probe *p)
{
	if (p->reading != NULL)
		event_free(p->reading);
	p->reading = NULL;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	p->state = PROBE_IDLE;
}

void
probe_free(struct probe *p)
{
	if (p == NULL)
		return;
	hang_up(p);
	if (p->timer != NULL)
		event_free(p->timer);
	if (p->in != NULL)
		evbuffer_free(p->in);
	free(p);
}

/* ---- to confd */

static void
tell_confd(struct probe *p)
{
	struct msg_probe m = {.start = p->start, .ok = p->ok};

	child_send(p->child, PROC_CONFD, MSG_AGENT_PROBED, &m, p->why, strlen(p->why), -1);
}

void
probe_confd_up(struct probe *p)
{
	if (p != NULL && p->answered)
		tell_confd(p);
}

/* ---- one question */

/* Counted from the last question, so that slow answers do not stretch the interval. */
static void
ask_later(struct probe *p)
{
	uint64_t passed = now_ms() - p->asked_ms, wait = p->interval_ms;

	if (!p->was_ok) { /* one that is starting is not to wait a whole interval for its health */
		p->wait_ms = p->wait_ms == 0 ? FIRST_MS : 2 * p->wait_ms;
		if (p->wait_ms > p->interval_ms)
			p->wait_ms = p->interval_ms;
		wait = p->wait_ms;
	}
	in_ms(p, passed < wait ? wait - passed : 0);
}

/* why: "" = it is well. */
static void
verdict(struct probe *p, const char *why)
{
	uint32_t ok = *why == '\0';
	int news = !p->answered || p->ok != ok || strcmp(p->why, why) != 0;

	p->answered = 1;
	p->was_ok |= ok == 1;
	p->ok = ok;
	(void)snprintf(p->why, sizeof(p->why), "%s", why);
	if (news)
		tell_confd(p);
	ask_later(p);
}

/* Nothing more is expected of the connection. */
static void
settle(struct probe *p, const char *why)
{
	hang_up(p);
	verdict(p, why);
}

static void
ask(struct probe *p)
{
	struct msg_connect m = {ENDPOINT_HEALTH, ++p->attempt};

	p->asked_ms = now_ms();
	p->state = PROBE_CONNECTING;
	in_ms(p, p->timeout_ms);
	child_send(p->child, PROC_PARENT, MSG_CONNECT_REQUEST, &m, NULL, 0, -1);
}

static void
cancel(struct probe *p)
{
	struct msg_connect m = {ENDPOINT_HEALTH, p->attempt};

	if (p->state == PROBE_CONNECTING)
		child_send(p->child, PROC_PARENT, MSG_CONNECT_CANCEL, &m, NULL, 0, -1);
	hang_up(p);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;
	char why[WORDS];

	(void)fd;
	(void)what;
	if (p->state == PROBE_IDLE || p->state == PROBE_REST) {
		hang_up(p);
		ask(p);
		return;
	}
	cancel(p);
	(void)snprintf(why, sizeof(why), "the health endpoint did not answer within %llu ms",
	    (unsigned long long)p->timeout_ms);
	settle(p, why);
}

/* 1: settled; 0: more is needed. */
static int
judge(struct probe *p)
{
	struct http_head h;
	struct error err;
	size_t len = evbuffer_get_length(p->in), used = 0;
	const char *data = (const char *)evbuffer_pullup(p->in, (ev_ssize_t)len);
	char why[WORDS];
	int r = data == NULL ? 0 : http_head(&h, HTTP_RESPONSE, data, len, &used, &err);

	if (r == 0)
		return 0;
	if (r == 1 && h.status >= 200 && h.status <= 299)
		why[0] = '\0';
	else if (r == 1)
		(void)snprintf(why, sizeof(why), "the health endpoint answered %d", h.status);
	else
		(void)snprintf(why, sizeof(why), "the health endpoint: %.400s", err.text);
	/* an agent whose answer nobody reads to its end may complain of that line by line */
	p->state = PROBE_REST;
	p->rest = LIMIT_PROBE_BODY;
	verdict(p, why);
	return 1;
}

static void
drop_rest(struct probe *p, evutil_socket_t fd)
{
	int n;

	(void)evbuffer_drain(p->in, evbuffer_get_length(p->in));
	n = evbuffer_read(p->in, fd, LIMIT_HTTP_HEAD);
	if (n == -1 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
		return;
	if (n <= 0 || (size_t)n >= p->rest)
		hang_up(p);
	else
		p->rest -= (size_t)n;
	(void)evbuffer_drain(p->in, evbuffer_get_length(p->in));
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;
	int n;

	(void)what;
	if (p->state == PROBE_REST) {
		drop_rest(p, fd);
		return;
	}
	n = evbuffer_read(p->in, fd, LIMIT_HTTP_HEAD);
	if (n == -1 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
		return;
	if (n > 0 && judge(p) == 0)
		return;
	if (n == 0)
		settle(p, "the health endpoint closed the connection without an answer");
	else if (n == -1)
		settle(p, "the health endpoint broke the connection");
}

void
probe_connected(struct probe *p, const struct msg_connect *m, int fd)
{
	if (p == NULL || p->state != PROBE_CONNECTING || m->attempt != p->attempt) {
		close(fd);
		return;
	}
	p->fd = fd;
	p->state = PROBE_ASKED;
	(void)evbuffer_drain(p->in, evbuffer_get_length(p->in));
	p->reading = event_new(p->child->base, fd, EV_READ | EV_PERSIST, on_readable, p);
	if (p->reading == NULL || fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) == -1 ||
	    event_add(p->reading, NULL) == -1) {
		log_error("the health endpoint cannot be asked: no memory");
		hang_up(p);
		in_ms(p, AGAIN_MS);
		return;
	}
	/* a fresh connection takes a request of this size whole */
	if (write(fd, p->request, p->request_len) != (ssize_t)p->request_len)
		settle(p, "the health endpoint broke the connection");
}

void
probe_failed(struct probe *p, const struct msg_connect_failed *m)
{
	char why[WORDS];

	if (p == NULL || p->state != PROBE_CONNECTING || m->attempt != p->attempt)
		return;
	if (m->kind == CONNECT_DIED || (m->kind == CONNECT_ERRNO && m->code == EAGAIN)) {
		hang_up(p); /* nobody was asked: that says nothing about the agent */
		in_ms(p, AGAIN_MS);
		return;
	}
	if (m->kind == CONNECT_RESOLVE)
		(void)snprintf(
		    why, sizeof(why), "the health endpoint's name: %s", gai_strerror(m->code));
	else
		(void)snprintf(why, sizeof(why), "connecting to the health endpoint: %s",
		    strerror(m->kind == CONNECT_ERRNO ? m->code : ETIMEDOUT));
	settle(p, why);
}

/* ---- the agent comes and goes */

void
probe_begin(struct probe *p, uint32_t start)
{
	if (p == NULL)
		return;
	cancel(p);
	p->start = start;
	p->was_ok = p->answered = 0;
	p->wait_ms = 0;
	in_ms(p, 0); /* from the loop: in the sandbox, that is */
}

void
probe_end(struct probe *p, uint32_t start)
{
	if (p == NULL || start == 0 || p->start != start)
		return;
	cancel(p);
	(void)event_del(p->timer);
	p->start = 0;
	p->answered = 0;
}
