/*
 * link_server.c: who may talk to the link (see link_server.h).  link.
 * A stranger costs an accept, one question to the kernel and a close: nothing of what he sends is
 * read.
 */
#include "link_server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link_connection.h"
#include "peer.h"
#include "privsep/log.h"

#define ACCEPTS_PER_TURN 16
#define TELL_MS          60000
#define LEAVE_MS         500

static const struct timeval no_descriptors = {0, 100000};

static void refuse_early(struct link_server *s);
static void on_early_by(evutil_socket_t fd, short what, void *arg);
static void on_accept(evutil_socket_t fd, short what, void *arg);

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	struct link_server *s = arg;

	(void)fd;
	(void)what;
	if (s->accepting != NULL)
		(void)event_add(s->accepting, NULL);
}

static void
on_leave_by(evutil_socket_t fd, short what, void *arg)
{
	struct link_server *s = arg;
	struct link_connection *c;

	(void)fd;
	(void)what;
	while ((c = LIST_FIRST(&s->connections)) != NULL)
		link_connection_free(c);
	link_server_gone(s);
}

struct link_server *
link_server_new(struct child *child, struct link_secrets *secrets, struct link_sessions *sessions)
{
	struct link_server *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->child = child;
	s->secrets = secrets;
	s->sessions = sessions;
	s->listener = s->diag = -1;
	LIST_INIT(&s->connections);
	s->again = event_new(child->base, -1, 0, on_again, s);
	s->leave_by = event_new(child->base, -1, 0, on_leave_by, s);
	s->early_by = event_new(child->base, -1, 0, on_early_by, s);
	if (s->again == NULL || s->leave_by == NULL || s->early_by == NULL) {
		link_server_free(s);
		return NULL;
	}
	return s;
}

void
link_server_pace(struct link_server *s, struct pace *p)
{
	s->pace = p;
}

static void
stop_listening(struct link_server *s)
{
	if (s->accepting != NULL)
		event_free(s->accepting);
	s->accepting = NULL;
	if (s->listener >= 0)
		close(s->listener);
	s->listener = -1;
}

void
link_server_free(struct link_server *s)
{
	struct link_connection *c;

	if (s == NULL)
		return;
	while ((c = LIST_FIRST(&s->connections)) != NULL)
		link_connection_free(c);
	stop_listening(s);
	if (s->diag >= 0)
		close(s->diag);
	if (s->again != NULL)
		event_free(s->again);
	if (s->leave_by != NULL)
		event_free(s->leave_by);
	if (s->early_by != NULL) {
		refuse_early(s);
		event_free(s->early_by);
	}
	free(s);
}

int
link_server_listener(struct link_server *s, int fd)
{
	stop_listening(s);
	s->listener = fd;
	s->accepting = event_new(s->child->base, fd, EV_READ | EV_PERSIST, on_accept, s);
	if (fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) == -1 || s->accepting == NULL ||
	    event_add(s->accepting, NULL) == -1) {
		log_error("the listener for the agent cannot be used");
		stop_listening(s);
		return -1;
	}
	return 0;
}

void
link_server_diag(struct link_server *s, int fd)
{
	if (s->diag >= 0)
		close(s->diag);
	s->diag = fd;
}

void
link_server_check(struct link_server *s)
{
	struct error err;

	if (s->listener < 0)
		return;
	if (s->diag < 0)
		log_error("whose a loopback connection is cannot be asked: the agent's connections "
			  "will be refused");
	else if (peer_usable(s->diag, s->listener, &err) == -1)
		log_error("%s: the agent's connections will be refused", err.text);
}

/* Once a minute: a stranger must not fill our log either. */
void
link_server_refused(struct link_server *s, const char *why)
{
	uint64_t now = now_ms();

	s->strangers++;
	if (s->strangers_told_ms != 0 && now - s->strangers_told_ms < TELL_MS)
		return;
	log_warn("connections to the agent's port refused or closed: %llu; the last because %s",
	    (unsigned long long)s->strangers, why);
	s->strangers = 0;
	s->strangers_told_ms = now;
}

/*
 * The oldest of those that have shown no secret yet makes room: after a last look at what it has
 * sent, so that many new ones at once cannot push out the one that had its secret on the way.
 */
static void
make_room(struct link_server *s)
{
	struct link_connection *c, *oldest = NULL;

	LIST_FOREACH (c, &s->connections, entry)
		if (c->start == 0)
			oldest = c; /* new ones are put in front */
	if (oldest != NULL && (link_connection_drain(oldest) == -1 || oldest->start == 0))
		link_connection_free(oldest);
}

/*
 * An agent connects within milliseconds of its exec, and then waits long before it tries again: it may
 * be here before we were told of its start.  So a few wait for that, unread, while no agent runs; a
 * stranger can only push out others that wait.
 */
static int
keep_early(struct link_server *s, int fd, uint32_t uid)
{
	static const struct timeval limit = {
	    LIMIT_LINK_PENDING_MS / 1000, LIMIT_LINK_PENDING_MS % 1000 * 1000};

	if (link_secrets_lives(s->secrets, AGENT_RUN) || s->done != NULL)
		return 0;
	if (s->early_count == LIMIT_LINK_EARLY) {
		close(s->early[0].fd);
		memmove(&s->early[0], &s->early[1], --s->early_count * sizeof(s->early[0]));
	}
	s->early[s->early_count].fd = fd;
	s->early[s->early_count++].uid = uid;
	(void)event_add(s->early_by, &limit);
	return 1;
}

static void
refuse_early(struct link_server *s)
{
	while (s->early_count > 0) {
		link_server_refused(s, "they are not the agent's");
		close(s->early[--s->early_count].fd);
	}
	(void)event_del(s->early_by);
}

static void
on_early_by(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	refuse_early(arg);
}

void
link_server_begun(struct link_server *s)
{
	size_t i, n = s->early_count;

	if (!link_secrets_lives(s->secrets, AGENT_RUN))
		return;
	s->early_count = 0;
	(void)event_del(s->early_by);
	for (i = 0; i < n; i++)
		link_server_take(s, s->early[i].fd, s->early[i].uid);
}

void
link_server_take(struct link_server *s, int fd, uint32_t uid)
{
	struct link_connection *c;

	if (!link_secrets_expects(s->secrets, uid)) {
		if (keep_early(s, fd, uid))
			return;
		link_server_refused(s, "they are not the agent's");
		close(fd);
		return;
	}
	if (s->pending >= LIMIT_LINK_PENDING)
		make_room(s);
	c = link_connection_new(s, fd, uid);
	if (c == NULL) {
		close(fd);
		return;
	}
	LIST_INSERT_HEAD(&s->connections, c, entry);
	s->pending++;
}

/* Before its first byte is read. */
static void
admit(struct link_server *s, int fd)
{
	struct error err;
	uint32_t uid;

	if (s->diag < 0 || peer_uid(s->diag, fd, &uid, &err) != PEER_KNOWN) {
		link_server_refused(s, s->diag < 0 ? "whose they are cannot be asked" : err.text);
		close(fd);
		return;
	}
	link_server_take(s, fd, uid);
}

static void
on_accept(evutil_socket_t listener, short what, void *arg)
{
	struct link_server *s = arg;
	int i, fd;

	(void)what;
	for (i = 0; i < ACCEPTS_PER_TURN; i++) {
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			admit(s, fd);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK) {
			link_server_refused(s, "no descriptors or memory left");
			(void)event_del(s->accepting);
			(void)event_add(s->again, &no_descriptors);
		}
		return;
	}
}

/* Others of the same start go; the one with the conversation only if c has it now. */
static void
close_others(struct link_connection *c, int all)
{
	struct link_connection *other, *next;

	for (other = LIST_FIRST(&c->server->connections); other != NULL; other = next) {
		next = LIST_NEXT(other, entry);
		if (other == c || other->start != c->start ||
		    (!all && other->state == CONNECTION_WEBSOCKET))
			continue;
		other->session = NULL;
		link_connection_free(other);
	}
}

void
link_server_verified(struct link_connection *c, const struct link_start *start)
{
	c->start = start->start;
	c->server->pending--;
	c->session = link_session_of(c->server->sessions, start->start);
	close_others(c, 0); /* so that a start has two at most */
}

/* After a reload of the agent the new connection may come before the old one has gone. */
void
link_server_newest(struct link_connection *c)
{
	close_others(c, 1);
}

void
link_server_ended(struct link_server *s, uint32_t start)
{
	struct link_connection *c, *next;

	for (c = LIST_FIRST(&s->connections); c != NULL; c = next) {
		next = LIST_NEXT(c, entry);
		if (c->start != start || start == 0)
			continue;
		(void)link_connection_drain(c); /* its last words */
		c->session = NULL;
		link_connection_free(c);
	}
}

void
link_server_gone(struct link_server *s)
{
	void (*done)(void *ctx) = s->done;

	if (done == NULL || !LIST_EMPTY(&s->connections))
		return;
	s->done = NULL;
	(void)event_del(s->leave_by);
	done(s->done_ctx);
}

void
link_server_leave(struct link_server *s, void (*done)(void *ctx), void *ctx)
{
	static const struct timeval limit = {0, LEAVE_MS * 1000};
	struct link_connection *c, *next;

	stop_listening(s);
	refuse_early(s);
	for (c = LIST_FIRST(&s->connections); c != NULL; c = next) {
		next = LIST_NEXT(c, entry);
		link_connection_leave(c);
	}
	s->done = done;
	s->done_ctx = ctx;
	(void)event_add(s->leave_by, &limit);
	link_server_gone(s);
}
