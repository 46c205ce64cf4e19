/*
 * parent_jobs.c: the one-shots: connections for netd and link, merges for confd.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "memfd.h"
#include "parent.h"
#include "trusted_open.h"

static void
allow_time(struct slot *s, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	(void)event_add(s->timer, &tv);
}

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

	s->answered = 1;
	slot_kill(s, NULL);
}

void
parent_connect_request(struct slot *from, const struct msg_connect *m)
{
	struct parent *p = from->parent;
	struct slot *s = connect_slot(p, from->proc);

	/* netd may go to the server, link to the health endpoint, and nobody anywhere else (I3) */
	if (m->endpoint != (from->proc == PROC_NETD ? ENDPOINT_SERVER : ENDPOINT_HEALTH) ||
	    (m->endpoint == ENDPOINT_HEALTH && !settings_has(&p->settings, SET_HEALTH_ENDPOINT))) {
		slot_kill(from, "it asked for a connection that it may not have");
		return;
	}
	if (s->pid != 0) { /* one at a time: the old attempt is on its way out */
		parent_connect_cancel(from);
		connect_failed(p, from->proc, m, CONNECT_ERRNO, EBUSY);
		return;
	}
	s->asker = from->proc;
	s->connect = *m;
	if (slot_start(s, 0, m->endpoint) == -1) {
		connect_failed(p, from->proc, m, CONNECT_DIED, 0);
		return;
	}
	slot_send(s, MSG_CHILD_GO, NULL, -1);
	allow_time(s, settings_u64(&p->settings, SET_CONNECT_TIMEOUT) + 2000);
}

void
parent_connector_message(struct slot *s, struct message *m)
{
	struct parent *p = s->parent;
	const struct msg_connect_failed *f = m->payload;

	if (s->answered)
		return;
	s->answered = 1;
	if (m->type == MSG_CONNECTOR_DONE)
		slot_send(&p->daemons[s->asker], MSG_CONNECT_DONE, &s->connect, message_take_fd(m));
	else
		connect_failed(p, s->asker, &s->connect, f->kind, f->code);
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

static void
refuse(struct parent *p, const struct msg_merge *m, const char *text)
{
	merge_result(p, m, MERGE_REFUSED, 0, memfd_seal("error", text, strlen(text), NULL));
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

int
parent_merge_request(struct parent *p, const struct msg_merge *m, int params)
{
	struct slot *s = &p->merge;
	struct error err;

	if (m->kind != MERGE_COMPOSE && m->kind != MERGE_CHECK) {
		close(params);
		return -1;
	}
	if (s->pid != 0) { /* confd has one job at a time; an older one may still be ending */
		s->answered = 1;
		slot_kill(s, NULL);
		close(params);
		merge_result(p, m, MERGE_DIED, 0, -1);
		return 0;
	}
	s->merge = *m;
	if (slot_start(s, m->kind, 0) == -1) {
		close(params);
		merge_result(p, m, MERGE_DIED, 0, -1);
		return 0;
	}
	give(s, FILE_PARAMETERS, &params);
	give(s, FILE_REMOTE, &p->merge_remote);
	give(s, FILE_EMITTED, &p->merge_emitted);
	if (give_local(p, s, &err) == -1) {
		s->answered = 1;
		slot_kill(s, NULL);
		refuse(p, m, err.text);
		return 0;
	}
	slot_send(s, MSG_CHILD_GO, NULL, -1);
	allow_time(s, LIMIT_MERGE_SECONDS * 1000);
	return 0;
}

void
parent_merge_message(struct slot *s, struct message *m)
{
	const struct msg_merge *a = m->payload;

	if (s->answered || (a->status != MERGE_DONE_OK && a->status != MERGE_REFUSED))
		return;
	s->answered = 1;
	merge_result(s->parent, &s->merge, a->status, 0, message_take_fd(m));
}

/* A one-shot has ended: who waits and got no answer gets one now. */
void
parent_job_ended(struct slot *s, int status)
{
	struct parent *p = s->parent;

	if (s == &p->reader) {
		if (!s->answered)
			log_error("the settings reader ended without an answer");
		p->reading = 0;
		return;
	}
	if (s->answered)
		return;
	if (s == &p->merge)
		merge_result(p, &s->merge, MERGE_DIED, status, -1);
	else
		connect_failed(p, s->asker, &s->connect,
		    WIFSIGNALED(status) && WTERMSIG(status) == 9 ? CONNECT_TIMEOUT : CONNECT_DIED,
		    0);
}
