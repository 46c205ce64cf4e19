/*
 * parent_files.c: what the parent opens once at its start and hands to the others: their programs,
 * the directories, the control socket, the link's listener; and the agent's log, which it rotates.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "parent.h"
#include "sandbox.h"
#include "trusted_open.h"

#define LOCK_MS      2000 /* for the end of what a killed opampd left */
#define LOCK_STEP_MS 50

/* A file that was replaced since it was executed: the kernel says so behind its name. */
static void
without_deleted(char *path)
{
	static const char mark[] = " (deleted)";
	size_t len = strlen(path), n = sizeof(mark) - 1;

	if (len > n && strcmp(path + len - n, mark) == 0 && access(path, F_OK) == -1)
		path[len - n] = '\0';
}

/* Our own programs: beside opampd in a build tree, else where they were installed. */
int
parent_open_programs(struct parent *p)
{
	char self[PATH_MAX], path[PATH_MAX + 64], *slash;
	struct error err;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	uint32_t i;

	if (n <= 0)
		return error_set(NULL, "/proc");
	self[n] = '\0';
	without_deleted(self);
	p->program = strdup(self);
	slash = strrchr(self, '/');
	*slash = '\0';
	(void)snprintf(path, sizeof(path), "%s/opampd-merge", self);
	p->program_dir = strdup(access(path, X_OK) == 0 ? self : OPAMPD_LIBEXECDIR);
	if (p->program == NULL || p->program_dir == NULL)
		return -1;
	for (i = PROC_NETD; i < PROC_COUNT; i++) {
		if (p->check_only && p->taken == NULL && i != PROC_MERGE)
			continue;
		(void)snprintf(path, sizeof(path), "%s/opampd-%s", p->program_dir, proc_name(i));
		p->programs[i] = trusted_open(path, TRUSTED_FILE, parent_trusted_user(p), &err);
		if (p->programs[i] == -1) {
			log_error("a part of opampd is missing or not safe to run: %s", err.text);
			return -1;
		}
	}
	return 0;
}

/* One that was killed may leave children that are about to end, and hold the lock with it. */
static int
lock(int dir)
{
	static const struct timespec moment = {.tv_nsec = LOCK_STEP_MS * 1000000L};
	unsigned waited = 0;

	while (flock(dir, LOCK_EX | LOCK_NB) == -1) {
		if (waited >= LOCK_MS)
			return -1;
		waited += LOCK_STEP_MS;
		(void)nanosleep(&moment, NULL);
	}
	return 0;
}

static int
open_directories(struct parent *p)
{
	uid_t me = geteuid(), conf = me;
	gid_t conf_gid = getegid(), reader = getegid();
	struct record_entry e;
	struct error err;
	char place[PATH_MAX], *path;

	if (record_find(&p->settings.record, SET_UID_CONFD, &e)) {
		memcpy(&conf, e.value, 4);
		memcpy(&conf_gid, e.value + 4, 4);
	}
	if (record_find(&p->settings.record, SET_GID_READER, &e))
		memcpy(&reader, e.value, 4);
	if (reader == UINT32_MAX)
		reader = 0;
	p->state_dir = trusted_directory(p->command.storage_path, parent_trusted_user(p), conf,
	    conf_gid, p->unprivileged ? 0700 : 0711, 1, &err);
	parent_place(p, SET_STORAGE, place, sizeof(place));
	if (p->state_dir == -1) {
		log_error("%s: %s", place, err.text);
		return -1;
	}
	if (!parent_takeover_storage(p) && lock(p->state_dir) == -1) {
		log_error("%s: %s is in use by another opampd: end it, or name another directory",
		    place, p->command.storage_path);
		return -1;
	}
	if (parent_command_work_dir(p) == -1)
		return -1;
	path = parent_path(p, SET_LOG_DIR, "/var/log/opampd", "");
	p->log_path = path;
	p->log_dir =
	    p->unprivileged && strcmp(path, p->command.storage_path) == 0
		? fcntl(p->state_dir, F_DUPFD_CLOEXEC, 4)
		: trusted_directory(path, parent_trusted_user(p), me, reader, 0750, 0, &err);
	if (p->log_dir == -1) {
		parent_place(p, SET_LOG_DIR, place, sizeof(place));
		log_error("%s: %s", place, err.text);
		return -1;
	}
	return 0;
}

/*
 * What is made between these two is the group's that may look (control.reader_group): without CAP_CHOWN.  No file
 * that was there is opened between them, since who has another group for files passes over no modes.
 */
static gid_t
readers(const struct parent *p)
{
	struct record_entry e;
	gid_t reader = UINT32_MAX;

	if (!p->unprivileged && record_find(&p->settings.record, SET_GID_READER, &e))
		memcpy(&reader, e.value, 4);
	return reader;
}

static void
make_for_readers(const struct parent *p)
{
	if (readers(p) != UINT32_MAX)
		trusted_be(geteuid(), readers(p));
}

static void
make_for_us(void)
{
	trusted_be(geteuid(), getegid());
}

static int
open_control(struct parent *p)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char *path =
	    parent_path(p, SET_CONTROL_SOCKET, "/run/opampd/control.sock", "/control.sock");
	char dir[sizeof(sun.sun_path)], *slash;
	struct error err;
	struct stat st;
	int fd = -1, dir_fd = -1, r, error;

	if (parent_takeover_control(p)) {
		free(path);
		return 0;
	}
	if (path == NULL || strlen(path) >= sizeof(sun.sun_path)) {
		log_error("control.socket: the path is longer than 107 bytes: name a shorter one");
		goto fail;
	}
	(void)snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	*slash = '\0';
	dir_fd = p->unprivileged && strcmp(dir, p->command.storage_path) == 0
		     ? fcntl(p->state_dir, F_DUPFD_CLOEXEC, 4)
		     : trusted_directory(
			   dir, parent_trusted_user(p), geteuid(), getegid(), 0755, 0, &err);
	if (dir_fd == -1) {
		log_error("control.socket: %s", err.text);
		goto fail;
	}
	if (fstatat(dir_fd, slash + 1, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!S_ISSOCK(st.st_mode)) {
			log_error("control.socket: %s is there and no socket: remove it", path);
			goto fail;
		}
		(void)unlinkat(dir_fd, slash + 1, 0); /* ours: the lock on the storage says so */
	}
	(void)snprintf(
	    sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/%.80s", dir_fd, slash + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	make_for_readers(p);
	r = fd == -1 ? -1 : bind(fd, (struct sockaddr *)&sun, sizeof(sun));
	error = errno;
	make_for_us();
	if (r == -1 || listen(fd, 16) == -1) {
		log_error("control.socket: %s: %s", path, strerror(r == -1 ? error : errno));
		goto fail;
	}
	if (fchmodat(dir_fd, slash + 1, p->unprivileged ? 0600 : 0660, 0) == -1)
		log_error("control.socket: %s: chmod: %s", path, strerror(errno));
	p->control = fd;
	close(dir_fd);
	free(path);
	return 0;
fail:
	if (fd >= 0)
		close(fd);
	if (dir_fd >= 0)
		close(dir_fd);
	free(path);
	return -1;
}

/*
 * A port of our own for each storage directory, so that it is the same at the next start: what the
 * agent ran on names it, and need not be made anew (on a full disk it could not be).  Above the
 * range that connections are given by default.
 */
static uint16_t
usual_port(const char *storage)
{
	uint32_t h = 2166136261u;

	for (; *storage != '\0'; storage++)
		h = (h ^ (unsigned char)*storage) * 16777619u;
	return (uint16_t)(61000 + h % 4536);
}

static int
open_link(struct parent *p)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(sin);
	uint64_t port = settings_u64(&p->settings, SET_LINK_PORT);
	char place[PATH_MAX];
	int fd, one = 1, error;

	if (!driver_of(&p->settings)->uses_link || parent_takeover_link(p))
		return 0;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	if (fd == -1)
		goto fail;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	sin.sin_port = htons(port != 0 ? (uint16_t)port : usual_port(p->command.storage_path));
	if (bind(fd, (struct sockaddr *)&sin, len) == -1) {
		if (port != 0)
			goto fail;
		sin.sin_port = 0; /* taken by another: any free one */
		if (bind(fd, (struct sockaddr *)&sin, len) == -1)
			goto fail;
	}
	if (listen(fd, 16) == -1 || getsockname(fd, (struct sockaddr *)&sin, &len) == -1)
		goto fail;
	p->link_listener = fd;
	p->link_port = ntohs(sin.sin_port);
	p->command.link_port = p->link_port;
	return 0;
fail:
	error = errno;
	parent_place(p, SET_LINK_PORT, place, sizeof(place));
	log_error("%s: listening on 127.0.0.1:%u for the agent: %s%s", place, (unsigned)port,
	    strerror(error),
	    error == EADDRINUSE ? ": end what listens there, or write 0 for any free port" : "");
	if (fd >= 0)
		close(fd);
	return -1;
}

/* One of the directories, as the start would find it: all that is wrong is said, nothing made. */
static int
look_at(struct parent *p, enum setting key, const char *path, uid_t owner)
{
	const char *storage = p->command.storage_path;
	size_t len = strlen(storage);
	char place[PATH_MAX];
	struct error err;

	/* below the storage, which is looked at itself and is made first */
	if (key != SET_STORAGE && strncmp(path, storage, len) == 0 &&
	    (path[len] == '/' || path[len] == '\0'))
		return 0;
	if (trusted_directory_look(path, parent_trusted_user(p), owner,
		key == SET_STORAGE || key == SET_WORK_DIR, &err) == 0)
		return 0;
	parent_place(p, key, place, sizeof(place));
	log_error("%s: %s", place, err.text);
	return -1;
}

static int
look_at_directories(struct parent *p)
{
	char *log_path = parent_path(p, SET_LOG_DIR, "/var/log/opampd", ""), *slash,
	     *control =
		 parent_path(p, SET_CONTROL_SOCKET, "/run/opampd/control.sock", "/control.sock");
	uid_t conf = geteuid();
	struct record_entry e;
	int result = 0;

	if (record_find(&p->settings.record, SET_UID_CONFD, &e))
		memcpy(&conf, e.value, 4);
	result |= look_at(p, SET_STORAGE, p->command.storage_path, conf);
	result |= look_at(p, SET_WORK_DIR, p->command.work_path, p->command.uid);
	if (log_path != NULL)
		result |= look_at(p, SET_LOG_DIR, log_path, geteuid());
	slash = control != NULL ? strrchr(control, '/') : NULL;
	if (slash != NULL && slash != control) {
		*slash = '\0';
		result |= look_at(p, SET_CONTROL_SOCKET, control, geteuid());
	}
	free(control);
	free(log_path);
	return result;
}

int
parent_open_files(struct parent *p)
{
	int result = parent_command_read(p);

	if (result == 0 && parent_takeover_settings(p) == -1)
		result = -1;
	if (p->check_only)
		return look_at_directories(p) == -1 ? -1 : result;
	if (result == -1)
		return -1;
	if (open_directories(p) == -1 || open_control(p) == -1 || open_link(p) == -1)
		return -1;
	return 0;
}

void
parent_look_at_rest(struct parent *p)
{
	struct record_entry e;

	if (p->new_sections[PROC_PARENT] == -1 ||
	    settings_open(&p->settings, p->new_sections[PROC_PARENT], PROC_PARENT, NULL) == -1)
		return;
	parent_command_look(p);
	/* without our users nobody knows whose the directories should be */
	if (p->unprivileged || (record_find(&p->settings.record, SET_UID_CONFD, &e) &&
				   record_find(&p->settings.record, SET_UID_AGENT, &e)))
		(void)look_at_directories(p);
}

/* ---- the agent's log */

int
parent_log_open(struct parent *p)
{
	struct stat st;
	int fd, error;

	/* O_NONBLOCK: as an ordinary user others than us can make a FIFO here */
	make_for_readers(p);
	fd = openat(p->log_dir, "agent.log",
	    O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
	    p->unprivileged ? 0600 : 0640);
	error = errno;
	make_for_us();
	if (fd == -1) {
		log_error("%s/agent.log: %s", p->log_path, strerror(error));
		return -1;
	}
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
		log_error("%s/agent.log is not a regular file: remove it", p->log_path);
		close(fd);
		return -1;
	}
	/* the umask kept it from the group; one of an older setting keeps its group until the rotation */
	if (readers(p) != UINT32_MAX && st.st_gid == readers(p))
		(void)fchmod(fd, 0640);
	return fd;
}

void
parent_log_rotate(struct parent *p)
{
	uint64_t keep = settings_u64(&p->settings, SET_LOG_FILES), i;
	char from[64], to[64];
	int fd;

	if (parent_too_often(&p->rotations, LIMIT_ROTATIONS_PER_MINUTE, 60000))
		return; /* it asks again when it has written more */
	if (keep <= 1) {
		(void)unlinkat(p->log_dir, "agent.log", 0);
	} else {
		for (i = keep - 1; i > 0; i--) {
			(void)snprintf(to, sizeof(to), "agent.log.%llu", (unsigned long long)i);
			(void)snprintf(from, sizeof(from), i == 1 ? "agent.log" : "agent.log.%llu",
			    (unsigned long long)(i - 1));
			if (renameat(p->log_dir, from, p->log_dir, to) == -1 && errno != ENOENT)
				log_error("rotating %s/%s: %s", p->log_path, from, strerror(errno));
		}
	}
	fd = parent_log_open(p);
	if (fd >= 0)
		slot_send(&p->daemons[PROC_LINK], MSG_LINK_LOG, NULL, fd);
}
