/*
 * parent_jobs.c: the one-shots: connections for netd and link, merges for confd.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "memfd.h"
#include "parent.h"
#include "trusted_open.h"

/* ---- connections */

static struct slot *
connect_slot(struct parent *p, enum proc asker)
{
	return &p->connects[asker == PROC_NETD ? 0 : 1];
}

static void
connect_failed(
    struct parent *p, enum proc asker, const struct msg_connect *m, uint32_t kind, int32_t code)
{
	struct msg_connect_failed f = {m->endpoint, m->attempt, kind, code};

	slot_send(&p->daemons[asker], MSG_CONNECT_FAILED, &f, -1);
}

void
parent_connect_cancel(struct slot *from)
{
	struct slot *s = connect_slot(from->parent, from->proc);

	s->waiting = 0;
	s->answered = 1;
	slot_kill(s, NULL);
}

static void
connect_start(struct slot *s)
{
	struct parent *p = s->parent;

	s->waiting = 0;
	s->connect = s->next_connect;
	if (slot_start(s, 0, s->connect.endpoint) == -1) {
		connect_failed(p, s->asker, &s->connect, CONNECT_DIED, 0);
		return;
	}
	slot_send(s, MSG_CHILD_GO, NULL, -1);
	slot_timer(s, settings_u64(&p->settings, SET_CONNECT_TIMEOUT) + 2000);
}

/* A process for every request: whoever asks must not be able to keep the host busy with them. */
int
parent_too_often(struct rate *r, unsigned limit, uint64_t window_ms)
{
	uint64_t now = now_ms();

	if (now - r->since_ms >= window_ms) {
		r->since_ms = now;
		r->count = 0;
	}
	if (r->count >= limit)
		return 1;
	r->count++;
	return 0;
}

int
parent_connect_request(struct slot *from, const struct msg_connect *m)
{
	struct parent *p = from->parent;
	struct slot *s = connect_slot(p, from->proc);

	/* netd may go to the server, link to the health endpoint, and nobody anywhere else (I3) */
	if (m->endpoint != (from->proc == PROC_NETD ? ENDPOINT_SERVER : ENDPOINT_HEALTH) ||
	    (m->endpoint == ENDPOINT_HEALTH && !settings_has(&p->settings, SET_HEALTH_ENDPOINT)))
		return -1;
	if (p->ending || parent_upgrade_holds(p) ||
	    parent_too_often(&s->asked, LIMIT_CONNECTS_PER_SECOND, 1000)) {
		connect_failed(p, from->proc, m, CONNECT_ERRNO, EAGAIN);
		return 0;
	}
	s->asker = from->proc;
	s->next_connect = *m;
	if (s->pid == 0) {
		connect_start(s);
	} else { /* the newer request replaces the older one, when that one was reaped */
		parent_connect_cancel(from);
		s->waiting = 1;
	}
	return 0;
}

void
parent_connector_message(struct slot *s, struct message *m)
{
	struct parent *p = s->parent;
	const struct msg_connect_failed *f = m->payload;
	static const struct linger none;

	if (s->answered)
		return;
	s->answered = 1;
	/* whoever closes it last shall not wait for the other end: it may be us */
	if (m->type == MSG_CONNECTOR_DONE) {
		(void)setsockopt(m->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
		slot_send(&p->daemons[s->asker], MSG_CONNECT_DONE, &s->connect, message_take_fd(m));
	} else {
		connect_failed(p, s->asker, &s->connect, f->kind, f->code);
	}
}

/* ---- merges */

static void
merge_result(struct parent *p, const struct msg_merge *m, uint32_t status, int32_t code, int fd)
{
	struct msg_merge r = {m->job, m->kind, status, code};

	if (fd == -1)
		fd = memfd_seal("nothing", "", 0, NULL);
	slot_send(&p->daemons[PROC_CONFD], MSG_MERGE_RESULT, &r, fd);
}

/* A local file that cannot be opened: it may be back soon. */
static void
refuse(struct parent *p, const struct msg_merge *m, const char *text)
{
	merge_result(p, m, MERGE_REFUSED, 1, memfd_seal("error", text, strlen(text), NULL));
}

static int
give_local(struct parent *p, struct slot *s, struct error *err)
{
	struct record_entry e;
	struct msg_file m = {FILE_LOCAL, 0};
	char path[PATH_MAX];
	size_t pos = 0;
	int fd;

	while (settings_next(&p->settings, &pos, SET_CONFIG_FILES, &e)) {
		if (e.len == 0 || e.value[0] == '$')
			continue;
		(void)snprintf(path, sizeof(path), "%.*s", (int)e.len, e.value);
		fd = trusted_open(path, TRUSTED_FILE, p->unprivileged ? getuid() : 0, err);
		if (fd == -1)
			return error_prefix(err, "agent.config_files");
		slot_send(s, MSG_CHILD_FILE, &m, fd);
		m.index++;
	}
	return 0;
}

static void
give(struct slot *s, uint32_t kind, int *fd)
{
	struct msg_file m = {kind, 0};

	if (*fd >= 0)
		slot_send(s, MSG_CHILD_FILE, &m, *fd);
	*fd = -1;
}

static void
forget_job(struct merge_job *job)
{
	int *fds[] = {&job->remote, &job->emitted, &job->parameters};
	size_t i;

	for (i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

void
parent_merge_input(struct parent *p, uint32_t type, const struct msg_merge *m, int fd)
{
	int *place = type == MSG_MERGE_REMOTE ? &p->staged.remote : &p->staged.emitted;

	if (p->staged.job != m->job)
		forget_job(&p->staged);
	p->staged.job = m->job;
	if (*place >= 0)
		close(*place);
	*place = fd;
}

static void
merge_start(struct parent *p)
{
	struct merge_job job = p->merge_next;
	struct slot *s = &p->merge;
	struct error err;

	s->waiting = parent_too_often(&s->asked, LIMIT_MERGES_PER_SECOND, 1000);
	if (s->waiting) {
		slot_timer(s, 1000 / LIMIT_MERGES_PER_SECOND);
		return;
	}
	s->merge = p->merge_asked;
	p->merge_next = (struct merge_job){0, -1, -1, -1};
	if (slot_start(s, s->merge.kind, 0) == -1) {
		forget_job(&job);
		merge_result(p, &s->merge, MERGE_DIED, 0, -1);
		return;
	}
	give(s, FILE_PARAMETERS, &job.parameters);
	give(s, FILE_REMOTE, &job.remote);
	give(s, FILE_EMITTED, &job.emitted);
	if (give_local(p, s, &err) == -1) {
		s->answered = 1;
		slot_kill(s, NULL);
		refuse(p, &s->merge, err.text);
		return;
	}
	slot_send(s, MSG_CHILD_GO, NULL, -1);
	slot_timer(s, LIMIT_MERGE_SECONDS * 1000);
}

int
parent_merge_request(struct parent *p, const struct msg_merge *m, int params)
{
	struct slot *s = &p->merge;

	if (m->kind != MERGE_COMPOSE && m->kind != MERGE_CHECK) {
		close(params);
		return -1;
	}
	forget_job(&p->merge_next);
	if (p->staged.job != m->job)
		forget_job(&p->staged);
	p->merge_next = p->staged;
	p->merge_next.parameters = params;
	p->merge_asked = *m;
	p->staged = (struct merge_job){0, -1, -1, -1};
	if (s->pid == 0) {
		merge_start(p);
	} else { /* the newer job replaces the older one, when that one was reaped */
		s->answered = 1;
		s->waiting = 1;
		slot_kill(s, NULL);
	}
	return 0;
}

void
parent_merge_message(struct slot *s, struct message *m)
{
	const struct msg_merge *a = m->payload;

	if (s->answered || (a->status != MERGE_DONE_OK && a->status != MERGE_REFUSED))
		return;
	s->answered = 1;
	if (s->merge.kind == MERGE_CHECK)
		s->parent->upgrade.turning_ms = now_ms();
	merge_result(s->parent, &s->merge, a->status, 0, message_take_fd(m));
}

static void
tell_end(struct slot *s, int status)
{
	struct parent *p = s->parent;

	if (s == &p->merge)
		merge_result(p, &s->merge, MERGE_DIED, status, -1);
	else
		connect_failed(p, s->asker, &s->connect,
		    WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? CONNECT_TIMEOUT
								       : CONNECT_DIED,
		    0);
}

/* A one-shot has ended: who waits and got no answer gets one now; then the next one's turn. */
void
parent_job_ended(struct slot *s, int status)
{
	struct parent *p = s->parent;

	if (s == &p->reader) {
		if (!s->answered)
			log_error("the settings reader ended without an answer");
		p->reading = 0;
		if (p->reloading)
			parent_reload_done(p);
		return;
	}
	if (!s->answered)
		tell_end(s, status);
	parent_job_next(s);
}

void
parent_job_next(struct slot *s)
{
	if (parent_upgrade_holds(s->parent)) {
		parent_upgrade_step(s->parent);
		return;
	}
	if (!s->waiting || s->parent->ending)
		return;
	if (s == &s->parent->merge)
		merge_start(s->parent);
	else
		connect_start(s);
}

void
parent_asker_gone(struct slot *s)
{
	struct parent *p = s->parent;

	switch (s->proc) {
	case PROC_NETD:
	case PROC_LINK:
		parent_connect_cancel(s);
		break;
	case PROC_CONFD:
		forget_job(&p->staged);
		forget_job(&p->merge_next);
		p->merge.waiting = 0;
		p->merge.answered = 1;
		slot_kill(&p->merge, NULL);
		break;
	default:
		break;
	}
}
