/*
 * opamphub.c: the hub's parent: reads the options, listens, starts opamphub-front (which talks to
 * agents) and opamphub-store (which keeps what they say and serves page and API), and starts both
 * anew when one ends.  It reads nothing that agents or browsers send.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>
#include <linux/capability.h>

#include "parent.h"
#include "privsep/child.h"
#include "privsep/log.h"
#include "privsep/notify.h"
#include "privsep/sandbox.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MOST_MS  30000
#define LIVED_MS         10000 /* a start that lived so long makes the next one prompt */
#define END_MS           5000

struct hub {
	struct parent parent;
	struct event_base *base;
	struct event *signals[5], *again, *patience, *watchdog, *words[PART_ALL];
	uint64_t backoff_ms, started_ms;
	int ending, reloading, told;
	int killed; /* one was ended by a signal, and nobody asked it to end */
};

static void
in_ms(struct event *e, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	(void)event_add(e, &tv);
}

/* Both are told to end by the end of their pipes; patience ends them otherwise. */
static void
end_children(struct hub *h)
{
	int i;

	for (i = 0; i < PART_ALL; i++) {
		if (h->words[i] != NULL)
			event_free(h->words[i]);
		h->words[i] = NULL;
		if (h->parent.children[i].alive >= 0)
			close(h->parent.children[i].alive);
		h->parent.children[i].alive = -1;
	}
	in_ms(h->patience, END_MS);
}

static void
on_word(evutil_socket_t fd, short what, void *arg)
{
	struct hub *h = arg;
	char c;
	int i, ready = 1;

	(void)what;
	for (i = 0; i < PART_ALL; i++) {
		if (h->parent.children[i].alive == fd)
			h->parent.children[i].ready = read(fd, &c, 1) == 1;
		ready &= h->parent.children[i].ready;
	}
	if (!ready)
		return;
	notify("READY=1");
	if (!h->told)
		log_info("agents: %s://%s/v1/opamp; page: %s://%s/; store: %s",
		    h->parent.options.agents.cert != NULL ? "wss" : "ws",
		    h->parent.options.agents.listen.text,
		    h->parent.options.page.cert != NULL ? "https" : "http",
		    h->parent.options.page.listen.text, h->parent.options.store);
	h->told = 1;
}

static void
start(struct hub *h)
{
	struct error err;
	int i;

	h->started_ms = now_ms();
	if (parent_start(&h->parent, &err) == -1) {
		if (!h->told)
			fatal("%s", err.text);
		log_error("%s", err.text);
		end_children(h);
		return;
	}
	for (i = 0; i < PART_ALL; i++) {
		h->words[i] = event_new(h->base, h->parent.children[i].alive, EV_READ, on_word, h);
		if (h->words[i] == NULL || event_add(h->words[i], NULL) == -1)
			fatal("out of memory");
	}
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	start(arg);
}

static void
on_patience(evutil_socket_t fd, short what, void *arg)
{
	struct hub *h = arg;
	int i;

	(void)fd;
	(void)what;
	for (i = 0; i < PART_ALL; i++)
		if (h->parent.children[i].pid > 0)
			(void)kill(h->parent.children[i].pid, SIGKILL);
}

static void
tell_end(const struct hub *h, enum part part, int status)
{
	if (h->ending || h->reloading || (h->parent.children[part].alive < 0 && WIFEXITED(status)))
		return; /* as it was asked to, or for want of the other one */
	if (WIFSIGNALED(status))
		log_error("opamphub-%s was ended by signal %d (%s); both parts are started anew",
		    part_name(part), WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		log_error("opamphub-%s ended with status %d; both parts are started anew",
		    part_name(part), WEXITSTATUS(status));
}

static void
all_ended(struct hub *h)
{
	(void)event_del(h->patience);
	if (h->ending == 2 && h->killed) /* the other one ended for want of it */
		h->ending = 0;
	h->killed = 0;
	if (h->ending) {
		(void)event_base_loopbreak(h->base);
		return;
	}
	if (h->reloading || now_ms() - h->started_ms > LIVED_MS)
		h->backoff_ms = h->reloading ? 0 : BACKOFF_FIRST_MS;
	else
		h->backoff_ms =
		    h->backoff_ms * 2 < BACKOFF_FIRST_MS ? BACKOFF_FIRST_MS : h->backoff_ms * 2;
	if (h->backoff_ms > BACKOFF_MOST_MS)
		h->backoff_ms = BACKOFF_MOST_MS;
	h->reloading = 0;
	in_ms(h->again, h->backoff_ms);
}

static void
on_child(evutil_socket_t fd, short what, void *arg)
{
	struct hub *h = arg;
	int status, i, alive = 0;
	pid_t pid;

	(void)fd;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (i = 0; i < PART_ALL; i++)
			if (h->parent.children[i].pid == pid) {
				tell_end(h, (enum part)i, status);
				h->killed |=
				    WIFSIGNALED(status) && h->parent.children[i].alive >= 0;
				if (!h->told && WIFEXITED(status) && WEXITSTATUS(status) != 0)
					h->ending = 2; /* it said why: the first start failed */
				h->parent.children[i].pid = 0;
				end_children(h);
			}
	for (i = 0; i < PART_ALL; i++)
		alive |= h->parent.children[i].pid > 0;
	if (!alive && !event_pending(h->again, EV_TIMEOUT, NULL))
		all_ended(h);
}

static void
on_end(evutil_socket_t fd, short what, void *arg)
{
	struct hub *h = arg;

	(void)what;
	if (h->ending)
		return;
	h->ending = 1;
	log_info("%s: taking leave of the agents", strsignal((int)fd));
	notify("STOPPING=1");
	(void)event_del(h->again);
	end_children(h);
	if (h->parent.children[PART_FRONT].pid <= 0 && h->parent.children[PART_STORE].pid <= 0)
		(void)event_base_loopbreak(h->base);
}

/* Certificates, keys and tokens are read anew; what cannot be used changes nothing. */
static void
on_reload(evutil_socket_t fd, short what, void *arg)
{
	struct hub *h = arg;
	struct error err;
	int i, record;

	(void)fd;
	(void)what;
	for (i = 0; i < PART_ALL; i++) {
		record = parent_record(&h->parent, (enum part)i, &err);
		if (record == -1) {
			log_error("reload: %s; nothing was changed", err.text);
			return;
		}
		close(record);
	}
	if (h->ending || h->parent.children[PART_FRONT].pid <= 0)
		return;
	log_info("reload: both parts are started anew");
	h->reloading = 1;
	end_children(h);
}

static void
on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	notify("WATCHDOG=1");
	in_ms(((struct hub *)arg)->watchdog, notify_watchdog_ms());
}

static void
loop(struct hub *h)
{
	static const struct {
		int signal;
		event_callback_fn call;
	} all[] = {{SIGTERM, on_end}, {SIGINT, on_end}, {SIGHUP, on_reload}, {SIGCHLD, on_child}};
	size_t i;

	h->base = event_base_new();
	if (h->base == NULL)
		fatal("out of memory");
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		h->signals[i] = evsignal_new(h->base, all[i].signal, all[i].call, h);
		if (h->signals[i] == NULL || event_add(h->signals[i], NULL) == -1)
			fatal("out of memory");
	}
	h->again = event_new(h->base, -1, 0, on_again, h);
	h->patience = event_new(h->base, -1, 0, on_patience, h);
	h->watchdog = event_new(h->base, -1, 0, on_watchdog, h);
	if (h->again == NULL || h->patience == NULL || h->watchdog == NULL)
		fatal("out of memory");
	if (notify_watchdog_ms() > 0)
		in_ms(h->watchdog, notify_watchdog_ms());
	start(h);
	(void)event_base_dispatch(h->base);
}

static int
check(const struct parent *p)
{
	struct error err;
	int i, fd;

	for (i = 0; i < PART_ALL; i++) {
		fd = parent_record(p, (enum part)i, &err);
		if (fd == -1) {
			log_error("%s", err.text);
			return 1;
		}
		close(fd);
	}
	(void)puts("opamphub: the options can be used");
	return 0;
}

/*
 * What starting the two others takes and nothing else, and the deny-list of opampd's parent, which
 * they inherit: no debugging, no mounts of others, no kernel modules, no new key or program loader.
 */
static void
restrict_self(void)
{
	struct rlimit none = {0, 0};
	struct error err;
	/* the children's ids, bounding sets and namespaces, and ending those that do not end by themselves */
	uint64_t keep = geteuid() == 0
			    ? 1ull << CAP_SETUID | 1ull << CAP_SETGID | 1ull << CAP_SETPCAP |
				  1ull << CAP_SYS_ADMIN | 1ull << CAP_KILL
			    : 0;

	if (setrlimit(RLIMIT_CORE, &none) == -1 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		fatal("restricting opamphub: %s", strerror(errno));
	if (sandbox_bounding(keep, &err) == -1 || sandbox_capabilities(keep, &err) == -1 ||
	    sandbox_seccomp(&policy_parent, &err) == -1)
		fatal("restricting opamphub: %s", err.text);
}

/* As many connections as the hard limit allows: agents stay connected. */
static void
raise_files(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
}

int
main(int argc, char **argv)
{
	static struct hub h;
	struct error err;

	log_init("opamphub", LOG_SINK_PLAIN, LOG_LEVEL_INFO);
	if (options_read(&h.parent.options, argc, argv, &err) == -1) {
		log_error("opamphub: %s", err.text);
		(void)fputs(options_usage, stderr);
		return 2;
	}
	if (h.parent.options.help || h.parent.options.version) {
		(void)fputs(h.parent.options.help ? options_usage : "opamphub " OPAMPD_VERSION "\n",
		    stdout);
		return 0;
	}
	(void)umask(077);
	raise_files();
	if (parent_prepare(&h.parent, &err) == -1) {
		log_error("opamphub: %s", err.text);
		return 1;
	}
	if (h.parent.options.check)
		return check(&h.parent);
	log_init("opamphub", LOG_SINK_STDERR,
	    h.parent.options.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	notify_init(getenv("NOTIFY_SOCKET"));
	(void)signal(SIGPIPE, SIG_IGN);
	restrict_self();
	loop(&h);
	log_info("ended");
	/* nothing may run at exit that the filter does not know */
	_exit(h.ending == 2 ? 1 : 0);
}
