/*
 * opampd.c: main of opampd, the parent: options, the settings, then the loop of parent.c.
 * It reads no foreign bytes (invariant I2) and keeps only the capabilities that starting needs.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "notify.h"
#include "parent.h"
#include "sandbox.h"

#define DEFAULT_SETTINGS OPAMPD_SYSCONFDIR "/opampd/opampd.yaml"

static void
usage(FILE *to, int status)
{
	fprintf(to, "usage: opampd [-dhnvV] [-f file]\n"
		    "  -d       stay in the foreground, log to standard error\n"
		    "  -f file  the settings (default " DEFAULT_SETTINGS ")\n"
		    "  -h       print this\n"
		    "  -n       check the settings and all they name, start nothing\n"
		    "  -v       say more; messages between the processes by name\n"
		    "  -V       print the version\n");
	exit(status);
}

struct options {
	const char *file;
	int check_only, foreground, verbose;
};

static struct options
parse_options(int argc, char **argv)
{
	struct options o = {.file = DEFAULT_SETTINGS};
	int c;

	while ((c = getopt(argc, argv, "df:hnvV")) != -1) {
		switch (c) {
		case 'd':
			o.foreground = 1;
			break;
		case 'f':
			o.file = optarg;
			break;
		case 'h':
			usage(stdout, 0);
			break;
		case 'n':
			o.check_only = 1;
			break;
		case 'v':
			o.verbose = 1;
			break;
		case 'V':
			printf("opampd %s\n", OPAMPD_VERSION);
			exit(0);
		default:
			usage(stderr, 2);
		}
	}
	if (optind != argc) {
		fprintf(stderr,
		    "opampd: %s: there are only options, no arguments: the settings are named by "
		    "-f\n",
		    argv[optind]);
		usage(stderr, 2);
	}
	return o;
}

/* keep: the parent before us left descriptors that were looked at */
static void
open_standard_descriptors(int keep)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < 3);
	if (fd >= 0)
		close(fd);
	if (!keep)
		(void)close_range(3, ~0u, 0);
}

static int
is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;
	char *end;

	if (stream == NULL || fstat(2, &st) == -1)
		return 0;
	dev = strtoull(stream, &end, 10);
	if (end == stream || *end != ':')
		return 0;
	stream = end + 1;
	ino = strtoull(stream, &end, 10);
	return end != stream && *end == '\0' && st.st_dev == dev && st.st_ino == ino;
}

/* Descriptor 2 becomes the log: every child inherits it and only ever writes. */
static enum log_sink
open_syslog(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd == -1 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1) {
		if (fd >= 0)
			close(fd);
		log_warn("no syslog at /dev/log: the log stays on standard error");
		return LOG_SINK_STDERR;
	}
	(void)dup2(fd, 2);
	close(fd);
	return LOG_SINK_SYSLOG;
}

static void
to_background(struct parent *p)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid = fork();

	if (pid == -1)
		fatal("going to the background: %s", strerror(errno));
	if (pid > 0)
		_exit(0);
	(void)setsid();
	(void)dup2(null, 0);
	(void)dup2(null, 1);
	p->sink = open_syslog();
	if (event_reinit(p->base) == -1)
		fatal("going to the background: the event loop does not come along");
}

/* What is in force, said once; what is not, said clearly. */
static void
tell_start(const struct parent *p)
{
	log_info("opampd %s %s with %s", p->version,
	    p->taken != NULL ? "takes the place of the one before" : "starts", p->settings_name);
	if (p->unprivileged)
		log_warn(
		    "started by an ordinary user: every process has the user id %u; every other "
		    "restriction is in force",
		    getuid());
	if (p->landlock_abi == 0)
		log_warn("this kernel has no Landlock: the file restrictions of the processes and "
			 "of the "
			 "agent are not in force");
	else if (p->landlock_abi < 4)
		log_info(
		    "Landlock ABI %d: files only, no ports (ABI 4) and no signal scope (ABI 6)",
		    p->landlock_abi);
}

static void
restrict_self(struct parent *p)
{
	struct rlimit none = {0, 0};
	struct error err;
	uint64_t keep = policy_parent.capabilities | p->command.capabilities;

	if (setrlimit(RLIMIT_CORE, &none) == -1 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		fatal("restricting the parent: %s", strerror(errno));
	/* an ordinary user may come with ambient capabilities: only the agent's are kept */
	if (p->unprivileged)
		keep = p->command.capabilities;
	p->kept = keep;
	if (sandbox_bounding(keep, &err) == -1 || sandbox_capabilities(keep, &err) == -1)
		fatal("restricting the parent: %s", err.text);
	if (sandbox_seccomp(&policy_parent, &err) == -1)
		fatal("restricting the parent: %s", err.text);
}

/* A copy: our own environment is emptied before the first child of ours lives on. */
static char **
copy_environment(void)
{
	char **copy, **from = environ;
	size_t n = 0, i;

	while (from != NULL && from[n] != NULL)
		n++;
	copy = calloc(n + 1, sizeof(*copy));
	if (copy == NULL)
		fatal("no memory for the environment");
	for (i = 0; from != NULL && i < n; i++) {
		copy[i] = strdup(from[i]);
		if (copy[i] == NULL)
			fatal("no memory for the environment");
	}
	return copy;
}

/* Also where the kernel shows it (/proc/PID/environ): it may hold secrets that the settings name (I12). */
static void
empty_environment(void)
{
	size_t i;

	for (i = 0; environ != NULL && environ[i] != NULL; i++)
		explicit_bzero(environ[i], strlen(environ[i]));
	if (clearenv() != 0)
		fatal("no empty environment");
}

static void
init(struct parent *p, const struct options *o)
{
	size_t i;

	p->settings_name = o->file;
	p->verbose = o->verbose;
	p->foreground = o->foreground;
	p->check_only = o->check_only;
	p->unprivileged = geteuid() != 0;
	p->landlock_abi = sandbox_landlock_abi();
	p->environment = copy_environment();
	p->version = OPAMPD_VERSION;
	if (p->taken == NULL)
		p->cwd = getcwd(NULL, 0);
	p->sink = o->check_only      ? LOG_SINK_PLAIN
		  : p->taken != NULL ? (enum log_sink)p->taken->sink
				     : LOG_SINK_STDERR;
	p->level = o->verbose ? LOG_LEVEL_DEBUG : o->check_only ? LOG_LEVEL_WARN : LOG_LEVEL_INFO;
	p->state_dir = p->log_dir = p->work_dir = p->control = p->link_listener = -1;
	p->secret_next = -1;
	p->staged = p->merge_next = (struct merge_job){0, -1, -1, -1};
	p->command.executable = p->command.work_dir = -1;
	p->cgroup.base = -1;
	p->upgrade.program = p->upgrade.pidfd = p->guard.pidfd = p->guard.channel = -1;
	for (i = 0; i < PROC_COUNT; i++) {
		p->sections[i] = p->new_sections[i] = p->programs[i] = -1;
		p->daemons[i] = (struct slot){.parent = p, .proc = (enum proc)i, .pidfd = -1};
	}
	for (i = 0; i < CONNECT_SLOTS; i++)
		p->connects[i] = (struct slot){.parent = p, .proc = PROC_CONNECT, .pidfd = -1};
	p->merge = (struct slot){.parent = p, .proc = PROC_MERGE, .pidfd = -1};
	p->reader = p->merge;
	for (i = 0; i < AGENT_SLOTS; i++)
		p->agents[i] = (struct agent_slot){.parent = p,
		    .pidfd = -1,
		    .agent = -1,
		    .init = -1,
		    .group = -1,
		    .secret = -1,
		    .out = -1,
		    .err = -1};
	if (p->environment == NULL)
		fatal("no memory for the environment");
	if (p->cwd == NULL)
		fatal("the working directory cannot be read: %s", strerror(errno));
	if (o->foreground && is_journal())
		p->sink = LOG_SINK_JOURNAL;
	log_init("opampd", p->sink, p->level);
	p->base = event_base_new();
	if (p->base == NULL)
		fatal("no event loop");
}

static int
take_settings(struct parent *p)
{
	struct error err;
	size_t i;

	if (parent_read_settings(p) == -1) {
		if (p->check_only)
			parent_look_at_rest(p);
		return -1;
	}
	for (i = 0; i < PROC_COUNT; i++) {
		p->sections[i] = p->new_sections[i];
		p->new_sections[i] = -1;
	}
	if (settings_open(&p->settings, p->sections[PROC_PARENT], PROC_PARENT, &err) == -1) {
		log_error("%s", err.text);
		return -1;
	}
	memcpy(p->settings_id, p->new_settings_id, sizeof(p->settings_id));
	if (!p->check_only)
		parent_take_level(p);
	if (parent_open_files(p) == -1)
		return -1;
	p->agent_capabilities = p->command.capabilities;
	return 0;
}

/*
 * The arguments and, behind them, the environment, as the kernel laid them out.  Only a process that is a
 * copy of this one and needs neither writes there (agent_init.c).
 */
static void
find_title(struct parent *p, int argc, char **argv)
{
	char *end;
	char **e;

	if (argc == 0)
		return;
	end = argv[0];
	for (e = argv; *e == end; e++)
		end += strlen(*e) + 1;
	for (e = environ; e != NULL && *e == end; e++)
		end += strlen(*e) + 1;
	p->title = argv[0];
	p->title_size = (size_t)(end - argv[0]);
}

/* In the filter of the one before: a sanitizer's search for leaks at exit would trace us, which ends the process. */
static int
leave(const struct parent *p, int status)
{
	if (p->taken != NULL)
		_exit(status);
	return status;
}

/* A word to read the settings again, or to upgrade, that comes while we start waits until we can (parent_run). */
static void
hold_signals(void)
{
	sigset_t held;

	(void)sigemptyset(&held);
	(void)sigaddset(&held, SIGHUP);
	(void)sigaddset(&held, SIGUSR2);
	(void)sigprocmask(SIG_BLOCK, &held, NULL);
}

int
main(int argc, char **argv)
{
	static struct parent parent;
	struct parent *p = &parent;
	struct options o;

	if (getuid() != geteuid() || getgid() != getegid())
		fatal("opampd is not made to be set-user-id");
	find_title(p, argc, argv);
	p->argv = argv;
	o = parse_options(argc, argv);
	if (!o.check_only)
		hold_signals();
	parent_takeover_begin(p, o.check_only);
	/* log lines have UTC; and libc shall not look for the time zone again and again */
	(void)setenv("TZ", "UTC0", 1);
	open_standard_descriptors(p->taken != NULL);
	(void)umask(077);
	init(p, &o);
	notify_init(getenv("NOTIFY_SOCKET"));
	if (parent_open_programs(p) == -1 || take_settings(p) == -1)
		return leave(p, 1);
	if (o.check_only && p->taken != NULL)
		return leave(p, UPGRADE_FIT);
	if (o.check_only) {
		fprintf(stderr, "%s: configuration OK\n", o.file);
		return 0;
	}
	if (p->taken != NULL) /* it is there, and its log open */
		;
	else if (!o.foreground && getenv("NOTIFY_SOCKET") == NULL)
		to_background(p);
	else if (is_journal())
		p->sink = LOG_SINK_JOURNAL;
	log_init("opampd", p->sink, p->level);
	if (chdir("/") == -1)
		fatal("changing to /: %s", strerror(errno));
	tell_start(p);
	restrict_self(p);
	empty_environment();
	/* nothing is left to be written; a sanitizer's search for leaks would trace us, which is denied */
	_exit(parent_run(p));
}
