/*
 * parent.c: the parent's loop: signals, reload, orderly shutdown.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "memfd.h"
#include "notify.h"
#include "parent.h"

enum step {
	STEP_NONE,
	STEP_CONFD,
	STEP_NETD,
	STEP_REST,
	STEP_DONE
};

static void
end_slot(struct slot *s)
{
	if (s->pid == 0)
		return;
	s->state = SLOT_ENDING;
	slot_send(s, MSG_CHILD_END, NULL, -1);
}

static void
kill_everything(struct parent *p)
{
	size_t i;

	parent_agent_kill_all(p);
	for (i = 0; i < PROC_COUNT; i++)
		slot_kill(&p->daemons[i], NULL);
	for (i = 0; i < CONNECT_SLOTS; i++)
		slot_kill(&p->connects[i], NULL);
	slot_kill(&p->merge, NULL);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;

	(void)fd;
	(void)what;
	log_warn("shutting down takes too long: ending what is left");
	p->ending = STEP_REST;
	kill_everything(p);
	parent_shutdown_step(p);
}

/*
 * confd first: it has the agent stopped and says so to netd; then netd takes leave of the server;
 * then the rest.  Each step waits for processes to end, not for time.
 */
void
parent_shutdown_step(struct parent *p)
{
	if (p->ending == STEP_CONFD && p->daemons[PROC_CONFD].pid == 0 && !parent_agent_lives(p)) {
		p->ending = STEP_NETD;
		end_slot(&p->daemons[PROC_NETD]);
	}
	if (p->ending == STEP_CONFD && p->daemons[PROC_CONFD].pid == 0)
		parent_agent_kill_all(p); /* confd died before it could have the agent stopped */
	if (p->ending == STEP_NETD && p->daemons[PROC_NETD].pid == 0) {
		p->ending = STEP_REST;
		end_slot(&p->daemons[PROC_LINK]);
		end_slot(&p->daemons[PROC_PROCD]);
	}
	if (p->ending == STEP_REST && p->daemons[PROC_LINK].pid == 0 &&
	    p->daemons[PROC_PROCD].pid == 0 && p->daemons[PROC_NETD].pid == 0 &&
	    p->daemons[PROC_CONFD].pid == 0 && !parent_agent_lives(p)) {
		p->ending = STEP_DONE;
		event_base_loopbreak(p->base);
	}
}

void
parent_shutdown(struct parent *p)
{
	struct timeval tv = {0, 0};

	if (p->ending) { /* asked twice: at once */
		on_deadline(-1, 0, p);
		return;
	}
	log_info("shutting down");
	notify("STOPPING=1");
	p->ending = STEP_CONFD;
	tv.tv_sec =
	    (time_t)((settings_u64(&p->settings, SET_STOP_TIMEOUT) + LIMIT_SHUTDOWN_MS / 2) / 1000);
	p->deadline = event_new(p->base, -1, 0, on_deadline, p);
	if (p->deadline != NULL)
		(void)event_add(p->deadline, &tv);
	end_slot(&p->daemons[PROC_CONFD]);
	parent_shutdown_step(p);
}

static void
on_end_signal(evutil_socket_t sig, short what, void *arg)
{
	(void)what;
	log_info("got %s", strsignal((int)sig));
	parent_shutdown(arg);
}

static int
same_section(int a, int b)
{
	char *x, *y;
	size_t nx, ny;
	int same;

	if (memfd_read(a, LIMIT_SETTINGS_RECORD, &x, &nx, NULL) == -1)
		return 0;
	if (memfd_read(b, LIMIT_SETTINGS_RECORD, &y, &ny, NULL) == -1) {
		free(x);
		return 0;
	}
	same = nx == ny && memcmp(x, y, nx) == 0;
	explicit_bzero(x, nx);
	explicit_bzero(y, ny);
	free(x);
	free(y);
	return same;
}

/*
 * A sandbox never widens: a process whose section changed is ended and started anew.  What the
 * parent itself uses (paths, users, the agent's command) needs a restart of opampd.
 */
static void
reload(struct parent *p)
{
	size_t i;
	int old;

	log_info("reading %s again", p->settings_name);
	notify("RELOADING=1");
	if (parent_read_settings(p) == -1) {
		log_error("the settings stay as they were");
		notify("READY=1");
		return;
	}
	if (!same_section(p->sections[PROC_PARENT], p->new_sections[PROC_PARENT]))
		log_warn("some changed keys concern opampd itself or the agent's command: they "
			 "count after "
			 "the next restart of opampd");
	for (i = PROC_NETD; i < PROC_COUNT; i++) {
		int changed = !same_section(p->sections[i], p->new_sections[i]);

		old = p->sections[i];
		p->sections[i] = p->new_sections[i];
		p->new_sections[i] = -1;
		close(old);
		/* certificate files may have changed under the same name */
		if (i == PROC_NETD && (settings_has(&p->settings, SET_CA_FILE) ||
					  settings_has(&p->settings, SET_CERT_FILE)))
			changed = 1;
		if (changed && p->daemons[i].pid != 0) {
			log_info("%s gets its new settings", proc_name((uint32_t)i));
			p->daemons[i].state = SLOT_ENDING;
			slot_kill(&p->daemons[i], NULL);
		}
	}
	notify("READY=1");
}

static void
on_reload_signal(evutil_socket_t sig, short what, void *arg)
{
	struct parent *p = arg;

	(void)sig;
	(void)what;
	p->reload_wanted = 0;
	if (!p->ending && !p->reading)
		reload(p);
}

/* Strangers of whom we are the parent as process 1 of a container. */
static void
on_child_signal(evutil_socket_t sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	(void)arg;
	if (getpid() != 1)
		return;
	for (;;) {
		siginfo_t info = {0};
		struct parent *p = arg;
		size_t i;
		int ours = 0;

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1 || info.si_pid == 0)
			return;
		for (i = 0; i < PROC_COUNT; i++)
			ours |= p->daemons[i].pid == info.si_pid;
		for (i = 0; i < AGENT_SLOTS; i++)
			ours |= p->agents[i].start != 0 && p->agents[i].pid == info.si_pid;
		for (i = 0; i < CONNECT_SLOTS; i++)
			ours |= p->connects[i].pid == info.si_pid;
		if (ours || p->merge.pid == info.si_pid || p->reader.pid == info.si_pid)
			return; /* reaped by its pidfd */
		(void)waitid(P_PID, (id_t)info.si_pid, &info, WEXITED | WNOHANG);
	}
}

static int
catch_signals(struct parent *p)
{
	static const struct {
		int sig;
		event_callback_fn fn;
	} caught[] = {{SIGTERM, on_end_signal}, {SIGINT, on_end_signal}, {SIGHUP, on_reload_signal},
	    {SIGCHLD, on_child_signal}};
	size_t i;

	(void)signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < 4; i++) {
		p->signals[i] = evsignal_new(p->base, caught[i].sig, caught[i].fn, p);
		if (p->signals[i] == NULL || event_add(p->signals[i], NULL) == -1)
			return -1;
	}
	return 0;
}

int
parent_run(struct parent *p)
{
	if (catch_signals(p) == -1)
		fatal("catching signals: no memory");
	cgroup_init(&p->cgroup, p->command.storage_path);
	if (p->cgroup.base == -1)
		log_info(
		    "no cgroups to be had: the agent and all it starts are kept together by a PID "
		    "namespace, where the kernel gives one");
	parent_start_daemons(p);
	notify("READY=1");
	(void)event_base_dispatch(p->base);
	log_info("ended");
	return p->exit_status;
}
