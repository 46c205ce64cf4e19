/*
 * parent_start.c: what the hub's parent gets ready, and how it starts the two others (see parent.h).
 * opamphub.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "parent.h"
#include "privsep/limits.h"
#include "privsep/log.h"
#include "privsep/memfd.h"
#include "privsep/trusted_open.h"

#define BACKLOG 1024

const char *
part_name(enum part part)
{
	return part == PART_FRONT ? "front" : "store";
}

static int
find_user(struct parent *p, struct error *err)
{
	const struct passwd *pw;

	p->uid = geteuid();
	p->gid = getegid();
	if (p->uid != 0)
		return 0;
	pw = getpwnam(p->options.user);
	if (pw == NULL)
		return error_set(err,
		    "there is no user %s, and the hub does not run as root: make it by `useradd "
		    "--system --user-group --no-create-home %s`, or give --user NAME",
		    p->options.user, p->options.user);
	if (pw->pw_uid == 0)
		return error_set(err, "--user %s is root: give another one", p->options.user);
	p->uid = pw->pw_uid;
	p->gid = pw->pw_gid;
	p->change_user = 1;
	return 0;
}

/* Beside opamphub in a build tree, else where they were installed. */
static int
find_programs(struct parent *p, struct error *err)
{
	char self[PATH_MAX], path[PATH_MAX + 64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *dir = OPAMPD_LIBEXECDIR;
	int i;

	if (n > 0) {
		self[n] = '\0';
		*strrchr(self, '/') = '\0';
		(void)snprintf(path, sizeof(path), "%s/opamphub-front", self);
		if (access(path, X_OK) == 0)
			dir = self;
	}
	for (i = 0; i < PART_ALL; i++) {
		(void)snprintf(path, sizeof(path), "%s/opamphub-%s", dir, part_name((enum part)i));
		p->programs[i] = trusted_open(path, TRUSTED_FILE, geteuid(), err);
		if (p->programs[i] == -1)
			return error_prefix(
			    err, "a part of opamphub is missing or not safe to run");
	}
	return 0;
}

static int
listen_on(const struct address *a, const char *what, struct error *err)
{
	int one = 1, fd;

	/* TCP_NODELAY is inherited: an answer's last piece does not wait for what the peer has to say */
	fd = socket(a->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == -1 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1 ||
	    (a->addr.ss_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) == -1) ||
	    bind(fd, (const struct sockaddr *)&a->addr, a->len) == -1 || listen(fd, BACKLOG) == -1)
		return error_errno(err, "listening for %s on %s%s", what, a->text,
		    errno == EADDRINUSE
			? " (another program has the port: stop it, or choose another)"
			: "");
	return fd;
}

int
parent_prepare(struct parent *p, struct error *err)
{
	p->store = -1;
	p->programs[PART_FRONT] = p->programs[PART_STORE] = -1;
	p->listeners[PART_FRONT] = p->listeners[PART_STORE] = -1;
	p->children[PART_FRONT].alive = p->children[PART_STORE].alive = -1;
	if (find_user(p, err) == -1 || find_programs(p, err) == -1)
		return -1;
	if (p->options.check) {
		if (trusted_directory_look(p->options.store, geteuid(), p->uid, 1, err) == -1)
			return error_prefix(err, "--store");
		return 0;
	}
	p->store = trusted_directory(p->options.store, geteuid(), p->uid, p->gid, 0700, 1, err);
	if (p->store == -1)
		return error_prefix(err, "--store");
	p->listeners[PART_FRONT] = listen_on(&p->options.agents.listen, "agents", err);
	if (p->listeners[PART_FRONT] == -1)
		return -1;
	p->listeners[PART_STORE] = listen_on(&p->options.page.listen, "the page", err);
	return p->listeners[PART_STORE] == -1 ? -1 : 0;
}

/* ---- what is handed over */

/* An error says which option names it: "--agents-tls-cert". */
static int
put_file(struct record_writer *w, uint16_t key, const char *side, const char *what,
    const char *path, struct error *err)
{
	char *data;
	size_t len;
	int fd, r;

	if (path == NULL)
		return 0;
	fd = trusted_open(path, TRUSTED_FILE, geteuid(), err);
	if (fd == -1)
		return error_prefix(err, "--%s-%s", side, what);
	r = file_read(fd, LIMIT_SETTINGS_VALUE, &data, &len, err);
	close(fd);
	if (r == -1)
		return error_prefix(err, "--%s-%s: %s", side, what, path);
	record_put(w, key, 0, 0, data, len);
	explicit_bzero(data, len);
	free(data);
	return 0;
}

static int
put_token(struct record_writer *w, const char *line, size_t len, const char *path, unsigned number,
    struct error *err)
{
	const char *space = memchr(line, ' ', len);
	size_t i;

	for (i = 0; i < len; i++)
		if (line[i] < ' ' || line[i] > '~')
			return error_set(err, "%s:%u: not printable ASCII", path, number);
	if (space == NULL || space == line || len - (size_t)(space - line) - 1 < 16)
		return error_set(err,
		    "%s:%u: not a name, a blank and a token of at least 16 characters: write, for "
		    "instance, \"laptop $(openssl rand -hex 16)\"",
		    path, number);
	record_put(w, SETUP_TOKEN, number, 0, line, len);
	return 0;
}

static int
put_tokens(struct record_writer *w, const char *side, const char *path, struct error *err)
{
	struct record_writer file = {0};
	struct record_entry e = {0};
	struct record r;
	const char *line, *end;
	unsigned number = 0, count = 0;
	char *data = NULL;
	size_t len = 0, n;
	int result = -1;

	if (path == NULL)
		return 0;
	if (put_file(&file, SETUP_TOKEN, side, "token-file", path, err) == -1 ||
	    record_finish(&file, &data, &len, err) == -1 || record_open(&r, data, len, err) == -1 ||
	    !record_find(&r, SETUP_TOKEN, &e))
		goto out;
	for (line = e.value; line < e.value + e.len; line = end + 1) {
		end = memchr(line, '\n', e.len - (size_t)(line - e.value));
		if (end == NULL)
			end = e.value + e.len;
		n = (size_t)(end - line);
		number++;
		if (n == 0 || line[0] == '#')
			continue;
		if (put_token(w, line, n, path, number, err) == -1)
			goto out;
		count++;
	}
	result = count > 0 ? 0 : error_set(err, "%s: no token in it", path);
out:
	if (data != NULL)
		explicit_bzero(data, len);
	free(data);
	return result;
}

int
parent_record(const struct parent *p, enum part part, struct error *err)
{
	const struct options *o = &p->options;
	const struct side *s = part == PART_FRONT ? &o->agents : &o->page;
	const char *side = part == PART_FRONT ? "agents" : "page";
	struct record_writer w = {0};
	size_t i;

	record_put_u64(&w, SETUP_LOG_LEVEL, o->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (p->change_user) {
		record_put_u64(&w, SETUP_UID, p->uid);
		record_put_u64(&w, SETUP_GID, p->gid);
	}
	record_put_u64(&w, SETUP_MESSAGE_LIMIT, o->message_limit);
	record_put_u64(&w, SETUP_MAX_AGENTS, o->max_agents);
	record_put_u64(&w, SETUP_SILENCE, o->silence);
	for (i = 0; o->custom[i] != NULL; i++)
		record_put_string(&w, SETUP_CUSTOM, o->custom[i]);
	if (part == PART_STORE) {
		record_put_string(&w, SETUP_STORE, o->store);
		record_put_string(&w, SETUP_LISTEN, o->page.listen.text);
		for (i = 0; o->hosts[i] != NULL; i++)
			record_put_string(&w, SETUP_HOST, o->hosts[i]);
	}
	if (put_file(&w, SETUP_TLS_CERT, side, "tls-cert", s->cert, err) == -1 ||
	    put_file(&w, SETUP_TLS_KEY, side, "tls-key", s->key, err) == -1 ||
	    put_file(&w, SETUP_CLIENT_CA, side, "client-ca", s->client_ca, err) == -1 ||
	    put_tokens(&w, side, s->tokens, err) == -1) {
		record_discard(&w);
		return -1;
	}
	return record_finish_memfd(&w, "opamphub", err);
}

/* ---- starting */

/* Between fork and exec. */
static void __attribute__((noreturn))
become(const struct parent *p, enum part part, const int fds[SETUP_FD_COUNT], pid_t parent)
{
	static char *const no_environment[] = {NULL};
	char name[32];
	char *argv[] = {name, NULL};
	int high[SETUP_FD_COUNT + 1], i, fd, null;

	(void)snprintf(name, sizeof(name), "opamphub-%s", part_name(part));
	(void)setsid();
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	null = open("/dev/null", O_RDWR);
	if (getppid() != parent || null == -1 || dup2(null, 0) == -1 || dup2(null, 1) == -1)
		_exit(126);
	for (i = 0; i <= SETUP_FD_COUNT; i++) {
		fd = i == SETUP_FD_COUNT ? p->programs[part] : fds[i];
		if (part == PART_FRONT && i == SETUP_FD_STORE - SETUP_FD_FRAMES)
			fd = null;
		high[i] = fcntl(fd, F_DUPFD_CLOEXEC, 32);
		if (high[i] == -1)
			_exit(126);
	}
	for (i = 0; i < SETUP_FD_COUNT; i++)
		if (dup2(high[i], SETUP_FD_FRAMES + i) == -1)
			_exit(126);
	if (close_range(SETUP_FD_FRAMES + SETUP_FD_COUNT, 31, 0) == -1 ||
	    close_range(32, ~0u, CLOSE_RANGE_CLOEXEC) == -1)
		_exit(126);
	(void)syscall(SYS_execveat, high[SETUP_FD_COUNT], "", argv, no_environment, AT_EMPTY_PATH);
	_exit(127);
}

static int
start_one(struct parent *p, enum part part, int frames, struct error *err)
{
	int fds[SETUP_FD_COUNT] = {frames, p->listeners[part], -1, -1, p->store}, alive[2];
	struct hub_child *c = &p->children[part];
	sigset_t all, old;
	pid_t me = getpid();

	fds[2] = parent_record(p, part, err);
	if (fds[2] == -1)
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, alive) == -1) {
		close(fds[2]);
		return error_errno(err, "starting opamphub-%s", part_name(part));
	}
	fds[3] = alive[1];
	/* our handlers must not run in the child */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &old);
	c->pid = fork();
	if (c->pid == 0) {
		struct sigaction dfl = {.sa_handler = SIG_DFL};
		int i;

		for (i = 1; i < NSIG; i++)
			(void)sigaction(i, &dfl, NULL);
		/* one for all of the group or the service is the parent's, who lets them take leave */
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);
		(void)sigprocmask(SIG_SETMASK, &old, NULL);
		become(p, part, fds, me);
	}
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	close(fds[2]);
	close(alive[1]);
	if (c->pid == -1) {
		c->pid = 0;
		close(alive[0]);
		return error_errno(err, "starting opamphub-%s", part_name(part));
	}
	c->alive = alive[0];
	c->ready = 0;
	return 0;
}

int
parent_start(struct parent *p, struct error *err)
{
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
		return error_errno(err, "the conversation between front and store");
	r = start_one(p, PART_STORE, pair[1], err);
	if (r == 0)
		r = start_one(p, PART_FRONT, pair[0], err);
	close(pair[0]);
	close(pair[1]);
	return r;
}
