/*
 * parent_child.c: the parent's children: start, hand-over, death, another start.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "memfd.h"
#include "parent.h"

#define READY_MS    10000
#define BACKOFF_MIN 100
#define STABLE_MS   60000
#define LEAVE_MS    5000 /* for netd to take leave of the server */

static const struct channel_callbacks callbacks;

int
parent_arm(struct event *e, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	return event_add(e, &tv);
}

int
parent_reaped(int pidfd, siginfo_t *info)
{
	info->si_pid = 0;
	return waitid(P_PIDFD, (id_t)pidfd, info, WEXITED | WNOHANG) == 0 && info->si_pid != 0;
}

static int
is_daemon(enum proc proc)
{
	return (P_DAEMONS & 1u << proc) != 0;
}

static void
describe_end(const struct slot *s, int status)
{
	const char *name = proc_name(s->proc);

	if (!is_daemon(s->proc) && s->answered && WIFSIGNALED(status) &&
	    WTERMSIG(status) == SIGKILL)
		return; /* by us: nobody waits for it any more */
	if (is_daemon(s->proc) && s->state == SLOT_ENDING && WIFSIGNALED(status) &&
	    WTERMSIG(status) == SIGKILL)
		return; /* by slot_replace, or at the end and told then */
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		log_error("%s (pid %d) was ended by its sandbox: it made a system call that is not "
			  "on its "
			  "list (the kernel's log names it)",
		    name, s->pid);
	else if (WIFSIGNALED(status))
		log_error("%s (pid %d) was ended by signal %d (%s)", name, s->pid, WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == 127 || WEXITSTATUS(status) == 126)
		log_error("%s could not be executed", name);
	else if (is_daemon(s->proc) && (s->state != SLOT_ENDING || WEXITSTATUS(status) != 0))
		log_error("%s (pid %d) ended by itself with status %d", name, s->pid,
		    WEXITSTATUS(status));
}

static void
forget(struct slot *s)
{
	channel_free(s->channel);
	s->channel = NULL;
	if (s->exited != NULL)
		event_free(s->exited);
	s->exited = NULL;
	if (s->timer != NULL)
		(void)event_del(s->timer);
	if (s->pidfd >= 0)
		close(s->pidfd);
	s->pidfd = -1;
	s->pid = 0;
	s->state = SLOT_DOWN;
}

static void
plan_restart(struct slot *s, uint64_t lived_ms)
{
	if (lived_ms >= STABLE_MS)
		s->backoff_ms = 0;
	s->backoff_ms = s->backoff_ms == 0 ? BACKOFF_MIN : s->backoff_ms * 2;
	if (s->backoff_ms > LIMIT_BACKOFF_CHILD_MS)
		s->backoff_ms = LIMIT_BACKOFF_CHILD_MS;
	log_info("%s will be started again in %llu ms", proc_name(s->proc),
	    (unsigned long long)s->backoff_ms);
	s->restarts++;
	(void)parent_arm(s->timer, s->backoff_ms);
}

static void
on_exit_event(evutil_socket_t fd, short what, void *arg)
{
	struct slot *s = arg;
	struct parent *p = s->parent;
	siginfo_t info = {0};
	uint64_t lived;
	int status, was_ending = s->state == SLOT_ENDING;

	(void)what;
	if (!parent_reaped(fd, &info))
		return;
	status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
	/* its last messages are still in the channel: they count */
	if (s->channel != NULL && !is_daemon(s->proc))
		while (channel_wait(s->channel, 0, NULL) == 1)
			;
	describe_end(s, status);
	lived = now_ms() - s->since_ms;
	forget(s);
	if (!is_daemon(s->proc)) {
		parent_job_ended(s, status);
		if (p->ending)
			parent_shutdown_step(p);
		return;
	}
	parent_tell_child(p, s);
	parent_asker_gone(s);
	if (p->ending)
		parent_shutdown_step(p);
	else if (parent_upgrade_holds(p)) /* the next one is the next opampd's */
		parent_upgrade_step(p);
	else if (!was_ending || slot_start(s, 0, 0) == -1) /* was_ending: by a reload */
		plan_restart(s, lived);
}

void
slot_kill(struct slot *s, const char *why)
{
	if (s->pid == 0)
		return;
	if (why != NULL && now_ms() - s->last_accused_ms > 1000) {
		s->last_accused_ms = now_ms();
		log_error("ending %s (pid %d): %s", proc_name(s->proc), s->pid, why);
	}
	(void)syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
}

void
slot_timer(struct slot *s, uint64_t ms)
{
	(void)parent_arm(s->timer, ms);
}

void
slot_end(struct slot *s, uint64_t patience_ms)
{
	if (s->pid == 0)
		return;
	s->state = SLOT_ENDING;
	slot_send(s, MSG_CHILD_END, NULL, -1);
	(void)parent_arm(s->timer, patience_ms);
}

void
slot_replace(struct slot *s)
{
	if (s->pid == 0 || s->state == SLOT_ENDING)
		return; /* it comes with its new settings anyway */
	if (s->proc == PROC_NETD) {
		slot_end(s, LEAVE_MS);
	} else { /* the others' orderly end would be the agent's; they are made to be killed */
		s->state = SLOT_ENDING;
		slot_kill(s, NULL);
	}
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct slot *s = arg;

	(void)fd;
	(void)what;
	if (s->state == SLOT_DOWN && is_daemon(s->proc)) {
		if (!s->parent->ending && !parent_upgrade_holds(s->parent) &&
		    slot_start(s, 0, 0) == -1)
			plan_restart(s, 0);
	} else if (s->state == SLOT_DOWN) {
		parent_job_next(s);
	} else if (s->state != SLOT_UP || !is_daemon(s->proc)) {
		slot_kill(s, "it took too long");
	}
}

void
slot_send(struct slot *s, uint32_t type, const void *payload, int fd)
{
	if (s->channel == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (channel_send(s->channel, type, payload, NULL, 0, fd) == -1)
		slot_kill(s, "it does not read its messages");
}

static void
send_start(struct slot *s, uint32_t merge_kind, uint32_t endpoint)
{
	static const enum setting users[PROC_COUNT] = {[PROC_NETD] = SET_UID_NETD,
	    [PROC_LINK] = SET_UID_LINK,
	    [PROC_CONFD] = SET_UID_CONFD,
	    [PROC_PROCD] = SET_UID_PROCD,
	    [PROC_CONNECT] = SET_UID_CONNECT,
	    [PROC_MERGE] = SET_UID_MERGE};
	struct parent *p = s->parent;
	struct msg_start m = {.proc = s->proc,
	    .epoch = ++p->epoch,
	    .log_level = (uint32_t)p->level,
	    .merge_kind = merge_kind,
	    .endpoint = endpoint};
	struct record_entry e;
	struct record_writer empty = {0};
	int fd;

	if (p->unprivileged)
		m.flags |= CHILD_UNPRIVILEGED;
	if (p->check_only)
		m.flags |= CHILD_CHECK_ONLY;
	if (p->sink == LOG_SINK_JOURNAL)
		m.flags |= CHILD_SINK_JOURNAL;
	if (p->sink == LOG_SINK_SYSLOG)
		m.flags |= CHILD_SINK_SYSLOG;
	if (record_find(&p->settings.record, (uint16_t)users[s->proc], &e) && e.len == 8) {
		memcpy(&m.uid, e.value, 4);
		memcpy(&m.gid, e.value + 4, 4);
	}
	if (s->proc == PROC_CONFD && !p->unprivileged) {
		/* the directory agent/ gets the agent's group, which confd must be in for that */
		m.group_count = 1;
		m.groups[0] = p->command.gid;
	}
	fd = p->sections[s->proc] >= 0 ? fcntl(p->sections[s->proc], F_DUPFD_CLOEXEC, 4)
				       : record_finish_memfd(&empty, "settings", NULL);
	slot_send(s, MSG_CHILD_START, &m, fd);
}

/* In a new process of ours, which was made with all of them blocked. */
static void
fresh_signals(void)
{
	static const int caught[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2, SIGCHLD};
	sigset_t none;
	size_t i;

	for (i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		(void)signal(caught[i], SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

pid_t
slot_fork(void)
{
	sigset_t all, before;
	pid_t pid;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		fresh_signals();
	else
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

int
slot_start(struct slot *s, uint32_t merge_kind, uint32_t endpoint)
{
	struct parent *p = s->parent;
	int sv[2];
	pid_t pid;

	if (s->timer == NULL)
		s->timer = event_new(p->base, -1, 0, on_timer, s);
	if (s->timer == NULL)
		fatal("starting %s: no memory", proc_name(s->proc));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == -1) {
		log_error("making a channel for %s: %s", proc_name(s->proc), strerror(errno));
		return -1;
	}
	pid = slot_fork();
	if (pid == -1) {
		log_error("starting %s: %s", proc_name(s->proc), strerror(errno));
		close(sv[0]);
		close(sv[1]);
		return -1;
	}
	if (pid == 0)
		parent_exec_child(p, s->proc, sv[1]);
	close(sv[1]);
	s->pid = pid;
	s->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	s->state = SLOT_STARTING;
	s->since_ms = now_ms();
	s->answered = 0;
	s->end = sv[0];
	s->channel = channel_new(p->base, sv[0], PROC_PARENT, s->proc, &callbacks, s);
	s->exited = event_new(p->base, s->pidfd, EV_READ | EV_PERSIST, on_exit_event, s);
	if (s->pidfd == -1 || s->channel == NULL || s->exited == NULL)
		fatal("starting %s: no memory or descriptors", proc_name(s->proc));
	(void)event_add(s->exited, NULL);
	(void)parent_arm(s->timer, READY_MS);
	log_debug("started %s, pid %d", proc_name(s->proc), pid);
	send_start(s, merge_kind, endpoint);
	if (is_daemon(s->proc))
		parent_child_ready(s);
	return 0;
}

static void
on_gone(void *ctx, struct channel *c)
{
	struct slot *s = ctx;

	(void)c;
	if (is_daemon(s->proc) && s->state != SLOT_ENDING)
		slot_kill(s, NULL);
}

static void
on_broken(void *ctx, struct channel *c, enum channel_rule rule, uint32_t type)
{
	(void)c;
	(void)type;
	slot_kill(ctx, channel_rule_name(rule));
}

static int
on_ready(struct slot *s, const struct msg_ready *m)
{
	if (s->state == SLOT_ENDING) /* it was asked to end before it could say so */
		return 0;
	if (s->state != SLOT_STARTING)
		return -1;
	s->state = SLOT_UP;
	if (is_daemon(s->proc))
		(void)event_del(s->timer);
	log_debug("%s is ready: seccomp %u, Landlock ABI %u, namespaces %02x", proc_name(s->proc),
	    m->seccomp, m->landlock_abi, m->namespaces);
	if (is_daemon(s->proc))
		parent_tell_child(s->parent, s);
	if (s->proc == PROC_PROCD)
		parent_takeover_guarded(s->parent);
	return m->seccomp == 1 ? 0 : -1;
}

static int
on_accuse(struct slot *s, const struct msg_accuse *m)
{
	/* only of someone it has a channel to: confd is everybody's neighbour, and they are his */
	if (m->peer <= PROC_PARENT || m->peer >= PROC_COUNT || !is_daemon((enum proc)m->peer) ||
	    m->peer == (uint32_t)s->proc || (s->proc != PROC_CONFD && m->peer != PROC_CONFD))
		return -1;
	slot_kill(&s->parent->daemons[m->peer], "a neighbour was sent what it may not send");
	/*
	 * Those that read foreign bytes are not believed for nothing: one that was taken over could
	 * keep confd down for good.  Accusing costs it what it has become; it starts with back-off.
	 */
	if (s->proc == PROC_NETD || s->proc == PROC_LINK)
		slot_kill(s, "it accused a neighbour");
	return 0;
}

static int
on_message(void *ctx, struct message *m)
{
	struct slot *s = ctx;
	struct parent *p = s->parent;
	const struct msg_start_id *id = m->payload;

	switch (m->type) {
	case MSG_CHILD_READY:
		return on_ready(s, m->payload);
	case MSG_CHILD_ACCUSE:
		return on_accuse(s, m->payload);
	case MSG_CONNECT_REQUEST:
		return parent_connect_request(s, m->payload);
	case MSG_CONNECT_CANCEL:
		parent_connect_cancel(s);
		return 0;
	case MSG_CONNECTOR_DONE:
	case MSG_CONNECTOR_FAILED:
		parent_connector_message(s, m);
		return 0;
	case MSG_MERGE_SECTION:
		parent_settings_message(s, m);
		return 0;
	case MSG_MERGE_ANSWER:
		if (s == &p->reader)
			parent_settings_message(s, m);
		else
			parent_merge_message(s, m);
		return 0;
	case MSG_MERGE_REMOTE:
	case MSG_MERGE_EMITTED:
		parent_merge_input(p, m->type, m->payload, message_take_fd(m));
		return 0;
	case MSG_MERGE_REQUEST:
		return parent_merge_request(p, m->payload, message_take_fd(m));
	case MSG_CONFD_SETTLED:
		return parent_ready_settled(p, m->payload);
	case MSG_RELOAD_REQUEST:
		parent_reload_request(p);
		return 0;
	case MSG_LINK_SECRET_NEXT:
		return parent_agent_secret(p, message_take_fd(m));
	case MSG_LINK_ROTATE:
		parent_log_rotate(p);
		return 0;
	case MSG_AGENT_START:
		return parent_agent_request(p, m->payload);
	case MSG_AGENT_KILL:
		parent_agent_kill(p, id->start);
		return 0;
	default:
		return -1;
	}
}

static const struct channel_callbacks callbacks = {on_message, on_gone, on_broken};

/* ---- what each daemon is handed */

static void
give_duplicate(struct slot *s, uint32_t type, const void *payload, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 4);

	if (copy >= 0)
		slot_send(s, type, payload, copy);
}

static void
give_confd(struct slot *s)
{
	struct parent *p = s->parent;
	uint32_t i;

	parent_environment(p);
	give_duplicate(s, MSG_CONFD_STATE_DIR, NULL, p->state_dir);
	give_duplicate(s, MSG_CONFD_CONTROL, NULL, p->control);
	for (i = 1; i < PROC_COUNT; i++)
		if (is_daemon((enum proc)i) && i != PROC_CONFD)
			parent_tell_child(p, &p->daemons[i]);
}

/* A new one for each: in a socket that they share, what one asked is answered to the next one. */
static void
give_diag(struct slot *s)
{
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);

	if (fd >= 0)
		slot_send(s, MSG_LINK_DIAG, NULL, fd);
	else
		log_error(
		    "no sock_diag on this host (%s): the agent's connection cannot be verified",
		    strerror(errno));
}

static void
give_link(struct slot *s)
{
	struct parent *p = s->parent;
	int log_fd = parent_log_open(p);

	if (p->link_listener >= 0) {
		give_duplicate(s, MSG_LINK_LISTENER, NULL, p->link_listener);
		give_diag(s);
	}
	if (log_fd >= 0)
		slot_send(s, MSG_LINK_LOG, NULL, log_fd);
	parent_agent_tell_link(p);
}

/* Both ends of a neighbourhood get a new channel; an end that is away gets it when it comes. */
static void
join(struct parent *p, enum proc a, enum proc b)
{
	struct slot *sa = &p->daemons[a], *sb = &p->daemons[b];
	struct msg_peer ma = {b, ++p->epoch}, mb = {a, p->epoch};
	int sv[2];

	if (sa->channel == NULL || sb->channel == NULL || sa->state == SLOT_ENDING ||
	    sb->state == SLOT_ENDING)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == -1)
		fatal("making a channel between %s and %s: %s", proc_name(a), proc_name(b),
		    strerror(errno));
	slot_send(sa, MSG_CHILD_PEER, &ma, sv[0]);
	slot_send(sb, MSG_CHILD_PEER, &mb, sv[1]);
}

/* The rest of the start: everything it needs, then GO. */
void
parent_child_ready(struct slot *s)
{
	struct parent *p = s->parent;

	switch (s->proc) {
	case PROC_NETD:
		parent_give_netd(s);
		join(p, PROC_NETD, PROC_CONFD);
		break;
	case PROC_LINK:
		give_link(s);
		join(p, PROC_LINK, PROC_CONFD);
		break;
	case PROC_CONFD:
		give_confd(s);
		join(p, PROC_NETD, PROC_CONFD);
		join(p, PROC_LINK, PROC_CONFD);
		join(p, PROC_CONFD, PROC_PROCD);
		break;
	case PROC_PROCD:
		parent_agent_tell_procd(p);
		join(p, PROC_CONFD, PROC_PROCD);
		break;
	default:
		break;
	}
	slot_send(s, MSG_CHILD_GO, NULL, -1);
}

void
parent_tell_child(struct parent *p, const struct slot *s)
{
	struct msg_child m = {.proc = s->proc,
	    .pid = s->pid,
	    .restarts = s->restarts,
	    .since_ms = now_unix_ns() / 1000000};

	slot_send(&p->daemons[PROC_CONFD], MSG_CONFD_CHILD, &m, -1);
}

void
parent_start_daemons(struct parent *p)
{
	/* confd first: it decides what runs, and it can while the others come up */
	static const enum proc order[] = {PROC_CONFD, PROC_PROCD, PROC_LINK, PROC_NETD};
	size_t i;

	for (i = 0; i < 4; i++)
		if (slot_start(&p->daemons[order[i]], 0, 0) == -1)
			plan_restart(&p->daemons[order[i]], 0);
}
