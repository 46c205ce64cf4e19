/*
 * link.c: opampd-link: OpAMP towards the agent on loopback, its health probe, its output.
 * Reads everything the agent says and can do nothing about it but tell confd: it has no socket, no
 * file and no program of its own, and no OpenSSL.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "link_secret.h"
#include "link_server.h"
#include "link_session.h"
#include "output.h"
#include "privsep/child.h"
#include "privsep/log.h"
#include "probe.h"

#define COLLECTOR 0 /* agent.type */

struct link {
	struct child child;
	int set_up, working;
	int collector; /* other agents have no OpAMP, so no secret either */
	struct link_secrets secrets;
	struct link_sessions sessions;
	struct link_server *server;
	struct output *output;
	struct probe *probe;
	struct pace pace;
};

/* At the first message after CHILD_START, which the frame has handled: the settings are there. */
static void
set_up(struct link *l)
{
	struct error err = {""};

	if (l->set_up)
		return;
	l->set_up = 1;
	l->collector = settings_u64(&l->child.settings, SET_AGENT_TYPE) == COLLECTOR;
	l->output = output_new(&l->child, settings_u64(&l->child.settings, SET_LOG_SIZE),
	    settings_bool(&l->child.settings, SET_PASSTHROUGH));
	if (l->output == NULL || link_sessions_init(&l->sessions, &l->child) == -1 ||
	    (l->server = link_server_new(&l->child, &l->secrets, &l->sessions)) == NULL ||
	    pace_init(&l->pace, l->child.base) == -1)
		fatal("no memory for the link to the agent");
	link_server_pace(l->server, &l->pace);
	output_pace(l->output, &l->pace);
	l->probe = probe_new(&l->child, &err);
	if (l->probe == NULL && err.text[0] != '\0')
		fatal("%s", err.text);
}

static void
send_secret(struct link *l)
{
	struct error err;
	int fd;

	if (!l->collector || !l->working)
		return;
	fd = link_secrets_next(&l->secrets, &err);
	if (fd == -1)
		fatal("%s", err.text);
	if (fd >= 0)
		child_send(&l->child, PROC_PARENT, MSG_LINK_SECRET_NEXT, NULL, NULL, 0, fd);
}

static int
agent_began(struct link *l, const struct msg_agent *m)
{
	struct error err;

	if (m->kind == AGENT_NOTHING || m->kind > AGENT_PROBE)
		return -1;
	if (link_secrets_begun(&l->secrets, m->start, m->kind, m->uid, &err) == NULL) {
		log_error("%s", err.text);
		return -1;
	}
	link_server_begun(l->server);
	send_secret(l);
	if (m->kind == AGENT_RUN)
		probe_begin(l->probe, m->start);
	return 0;
}

static void
agent_ended(struct link *l, const struct msg_agent_exit *m)
{
	probe_end(l->probe, m->start);
	link_server_ended(l->server, m->start);
	link_session_end(&l->sessions, m->start);
	link_secrets_ended(&l->secrets, m->start);
	output_ended(l->output, m->start);
}

/* A file that our predecessor made: it may have been taken over, so a bad one is no one's fault. */
static void
take_secret(struct link *l, struct message *m)
{
	const struct msg_secret *secret = m->payload;
	struct error err;

	if (link_secrets_given(&l->secrets, secret->start, m->fd, &err) == -1)
		log_error("%s", err.text);
}

static int
on_parent(struct link *l, struct message *m)
{
	switch (m->type) {
	case MSG_LINK_LISTENER:
		return link_server_listener(l->server, message_take_fd(m));
	case MSG_LINK_DIAG:
		link_server_diag(l->server, message_take_fd(m));
		return 0;
	case MSG_LINK_LOG:
		output_log(l->output, message_take_fd(m));
		return 0;
	case MSG_LINK_OUTPUT:
		return output_stream(l->output, m->payload, message_take_fd(m));
	case MSG_LINK_SECRET:
		take_secret(l, m);
		return 0;
	case MSG_LINK_BEGUN:
		return agent_began(l, m->payload);
	case MSG_LINK_ENDED:
		agent_ended(l, m->payload);
		return 0;
	case MSG_CONNECT_DONE:
		probe_connected(l->probe, m->payload, message_take_fd(m));
		return 0;
	case MSG_CONNECT_FAILED:
		probe_failed(l->probe, m->payload);
		return 0;
	default:
		return -1;
	}
}

static int
on_message(void *ctx, struct message *m)
{
	const struct msg_start_id *baseline = m->payload;
	const struct msg_uid *identity = m->payload;
	struct link *l = ctx;

	set_up(l);
	switch (m->type) {
	case MSG_LINK_BASELINE:
		link_sessions_baseline(&l->sessions, baseline->start);
		return 0;
	case MSG_LINK_IDENTITY:
		link_sessions_identity(&l->sessions, identity->uid);
		return 0;
	default:
		return on_parent(l, m);
	}
}

static void
on_peer_up(void *ctx, enum proc peer)
{
	struct link *l = ctx;

	if (peer != PROC_CONFD)
		return;
	link_sessions_confd_up(&l->sessions);
	output_confd_up(l->output);
	probe_confd_up(l->probe);
}

static void
said_goodbye(void *ctx)
{
	struct link *l = ctx;

	output_drain(l->output);
	child_exit(&l->child, 0);
}

static void
on_end(void *ctx)
{
	struct link *l = ctx;

	set_up(l);
	link_server_leave(l->server, said_goodbye, l);
}

static const struct child_handlers handlers = {on_message, on_peer_up, NULL, on_end};

int
main(void)
{
	static struct link l;

	/* a disk quota or a vanished reader is an error of one write, not our end */
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	child_begin(&l.child, &policy_link, &handlers, &l);
	set_up(&l);
	child_sandbox(&l.child);
	l.working = 1;
	link_server_check(l.server);
	send_secret(&l);
	child_run(&l.child);
}
