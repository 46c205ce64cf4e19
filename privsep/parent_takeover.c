/*
 * parent_takeover.c: the other half of an upgrade in place (parent_upgrade.c): this program was executed by an
 * opampd in its own process, and finds the agent running as its child.  The parent only.
 *
 * What it was left is checked before it is used (upgrade_state.c).  Something strange here ends the process,
 * and with it the agent, as any death of the parent does (I9): nobody goes on with half of it.  opampd -n
 * with the same record, run before by the one that leaves, says what can be said beforehand.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "parent.h"
#include "sandbox.h"

/* Close-on-exec what the record names; nothing else stays open, the record included. */
static void
keep_named(struct upgrade_state *s)
{
	unsigned from = 3, next;
	size_t i;

	do {
		next = ~0u;
		for (i = 0; i < UPGRADE_FDS; i++) {
			int32_t fd = *upgrade_fd(s, i, NULL);

			if (fd != -1 && (unsigned)fd >= from && (unsigned)fd < next)
				next = (unsigned)fd;
		}
		if (next > from && close_range(from, next == ~0u ? ~0u : next - 1, 0) == -1)
			fatal("closing what is not ours: %s", strerror(errno));
		if (next != ~0u && fcntl((int)next, F_SETFD, FD_CLOEXEC) == -1)
			fatal("descriptor %u of the record: %s", next, strerror(errno));
		from = next + 1;
	} while (next != ~0u);
}

/* What the one before was started with; not the record's variable, which was only for us. */
static void
take_environment(struct parent *p, char *strings, size_t len)
{
	char *end = strings + len;

	p->cwd = strings;
	if (clearenv() != 0)
		fatal("no empty environment");
	for (strings += strlen(strings) + 1; strings < end; strings += strlen(strings) + 1)
		if (strchr(strings, '=') != NULL && putenv(strings) != 0)
			fatal("no memory for the environment");
}

void
parent_takeover_begin(struct parent *p, int check_only)
{
	char *word = secure_getenv(UPGRADE_VARIABLE);
	struct error err;
	char *end, *strings;
	size_t len;
	long fd;

	if (word == NULL)
		return;
	/* before anything is read: the agent of an ordinary user's opampd runs already */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1)
		fatal("taking over: %s", strerror(errno));
	(void)prctl(PR_SET_NAME, "opampd", 0, 0, 0); /* it was executed by descriptor */
	fd = strtol(word, &end, 10);
	if (*word < '0' || *word > '9' || *end != '\0' || fd < 3 || fd >= LIMIT_UPGRADE_FD)
		fatal(
		    "%s is no descriptor's number: opampd sets it, nobody else", UPGRADE_VARIABLE);
	p->taken = calloc(1, sizeof(*p->taken));
	if (p->taken == NULL)
		fatal("no memory");
	if (upgrade_state_read(
		(int)fd, check_only ? getppid() : getpid(), p->taken, &strings, &len, &err) == -1 ||
	    (!check_only && upgrade_state_look(p->taken, &err) == -1))
		fatal("%s", err.text);
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		fatal("%s: this process is no opampd's", UPGRADE_VARIABLE);
	if (check_only)
		close((int)fd);
	else
		keep_named(p->taken);
	/* its name as well, where the kernel shows it */
	explicit_bzero(word - sizeof(UPGRADE_VARIABLE), strlen(word) + sizeof(UPGRADE_VARIABLE));
	take_environment(p, strings, len);
}

static void
forget(int32_t *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int
parent_takeover_settings(struct parent *p)
{
	struct upgrade_state *t = p->taken;
	uint64_t needed = policy_parent.capabilities | p->command.capabilities;

	if (t == NULL)
		return 0;
	if (!p->unprivileged && (needed & ~t->capabilities) != 0) {
		log_error(
		    "this opampd needs capabilities that the one before has given up (%llx beside "
		    "%llx): start it anew",
		    (unsigned long long)needed, (unsigned long long)t->capabilities);
		return -1;
	}
	if (p->check_only)
		return 0;
	/* by somebody, in the moment since they were looked at: then everything is as at a start */
	p->taken_changed = memcmp(t->settings, p->settings_id, sizeof(t->settings)) != 0;
	if (p->taken_changed) {
		log_warn("%s was changed in the middle of the upgrade: the agent is started anew",
		    p->settings_name);
		forget(&t->control);
		forget(&t->link_listener);
		forget(&t->state_dir); /* and the lock with it */
	}
	/* what the agent runs on, until its next start */
	memcpy(p->command.binary, t->binary, sizeof(t->binary));
	return 0;
}

/* The directory that is locked since long ago, if it is the one that was opened now. */
int
parent_takeover_storage(struct parent *p)
{
	struct stat before, now;

	if (p->taken == NULL || p->taken->state_dir == -1)
		return 0;
	if (fstat(p->taken->state_dir, &before) == -1 || fstat(p->state_dir, &now) == -1 ||
	    before.st_dev != now.st_dev || before.st_ino != now.st_ino)
		fatal("storage.directory is not the one that opampd was started with: start opampd "
		      "anew");
	close(p->state_dir);
	p->state_dir = p->taken->state_dir;
	return 1;
}

int
parent_takeover_control(struct parent *p)
{
	if (p->taken == NULL || p->taken->control == -1)
		return 0;
	p->control = p->taken->control;
	return 1;
}

int
parent_takeover_link(struct parent *p)
{
	struct sockaddr_in sin = {0};
	socklen_t len = sizeof(sin);

	if (p->taken == NULL || p->taken->link_listener == -1)
		return 0;
	if (getsockname(p->taken->link_listener, (struct sockaddr *)&sin, &len) == -1 ||
	    sin.sin_family != AF_INET || sin.sin_addr.s_addr != htonl(INADDR_LOOPBACK))
		fatal("the listener for the agent is not what it should be");
	p->link_listener = p->taken->link_listener;
	p->link_port = ntohs(sin.sin_port);
	p->command.link_port = p->link_port;
	return 1;
}

/* ---- the guard: the procd of the one before, which ends the agent when our end of its channel closes */

/* What it sent is unread, descriptors with it: they are closed as any that nobody asked for (discard.h). */
static void
end_guard_channel(struct parent *p)
{
	static const struct channel_callbacks none;
	struct channel *c =
	    channel_new(p->base, p->guard.channel, PROC_PARENT, PROC_PROCD, &none, p);

	if (c == NULL)
		fatal("no memory to end the guard's channel");
	channel_free(c);
}

static void
on_guard_ended(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;
	struct guard *g = &p->guard;
	siginfo_t info = {0};

	(void)what;
	if (!parent_reaped(fd, &info))
		return;
	event_free(g->exited);
	close(g->pidfd);
	end_guard_channel(p);
	*g = (struct guard){.pidfd = -1, .channel = -1};
	if (parent_upgrade_holds(p))
		parent_upgrade_step(p);
}

/* There is one of our own, which was told of the agent. */
void
parent_takeover_guarded(struct parent *p)
{
	if (p->guard.pid != 0)
		(void)syscall(SYS_pidfd_send_signal, p->guard.pidfd, SIGKILL, NULL, 0);
	if (parent_upgrade_holds(p))
		parent_upgrade_step(p);
}

static void
take_guard(struct parent *p)
{
	struct guard *g = &p->guard;
	siginfo_t info = {0};

	if (p->taken->guard_pid == 0)
		return;
	*g = (struct guard){
	    p->taken->guard_pid, p->taken->guard_pidfd, p->taken->guard_channel, NULL};
	if (waitid(P_PIDFD, (id_t)g->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == -1)
		fatal("the guard of the agent is no child of ours: %s", strerror(errno));
	g->exited = event_new(p->base, g->pidfd, EV_READ | EV_PERSIST, on_guard_ended, p);
	if (g->exited == NULL || event_add(g->exited, NULL) == -1)
		fatal("no memory to watch the guard");
}

/* ---- the rest, before and after our children are started */

void
parent_takeover(struct parent *p)
{
	const struct upgrade_state *t = p->taken;
	struct error err;
	size_t i;

	p->upgrades = t->upgrades;
	p->next_start = t->next_start;
	for (i = 0; i < UPGRADE_DAEMONS; i++)
		p->daemons[upgrade_daemons[i]].restarts = t->restarts[i];
	cgroup_take_over(&p->cgroup, p->command.storage_path, t->cgroup, (int)t->cgroup_leaf,
	    (int)t->cgroup_told);
	if (t->agent.start != 0 && t->agent.group != -1 &&
	    cgroup_take_group(&p->cgroup, t->agent.start, t->agent.group, &err) == -1)
		fatal("%s", err.text);
	take_guard(p);
	if (t->agent.start != 0)
		parent_agent_take_over(p, &t->agent);
}

void
parent_takeover_end(struct parent *p)
{
	struct agent_slot *a = &p->agents[0];

	/* its end is seen from here on: there is a procd that is to be told of it */
	if (a->start != 0 && event_add(a->exited, NULL) == -1)
		fatal("no memory to watch the agent");
	if (a->start != 0)
		log_info("taken over from the opampd before: the agent runs on, with pid %d",
		    a->agent_pid);
	if (a->start != 0 && (p->taken_changed || a->uid != p->command.uid))
		parent_agent_stop(p);
	free(p->taken);
	p->taken = NULL;
}
