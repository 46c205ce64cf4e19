/*
 * log.c: `opampctl log`: the agent's output, from the file that opampd keeps; opampctl reads it itself, with the
 * caller's own rights.  Following waits for the kernel's word (inotify), and goes on through rotations.
 * opampctl only.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "privsep/limits.h"

#define DEFAULT_LINES 20
#define MOST_FILES    100 /* agent.log.max_files goes no further */

struct follower {
	struct ctl *c;
	char path[PATH_MAX];
	int fd;
	ino_t inode;
	off_t offset; /* read so far */
	char *line;   /* a line that has no end yet */
	size_t len;
};

static int
print_line(struct follower *f, const char *line, size_t len)
{
	struct writer *w;
	char *escaped;
	int bad;

	if (f->c->json) { /* one object for each line, so that it can be followed too */
		w = writer_json_new(stdout, 1);
		if (w == NULL)
			return error_set(&f->c->err, "no memory");
		out_bytes(w, "line", line, len);
		bad = writer_finish(w) == -1;
	} else {
		escaped = escape_lines(line, len);
		bad = escaped == NULL || puts(escaped) == EOF || fflush(stdout) == EOF;
		free(escaped);
	}
	return bad ? error_errno(&f->c->err, "writing") : 0;
}

static int
take(struct follower *f, const char *data, size_t len)
{
	const char *end;
	size_t n;

	while (len > 0) {
		end = memchr(data, '\n', len);
		n = end == NULL ? len : (size_t)(end - data);
		if (n > LIMIT_LOG_LINE - f->len)
			n = LIMIT_LOG_LINE - f->len;
		memcpy(f->line + f->len, data, n);
		f->len += n;
		data += n;
		len -= n;
		if (len > 0 && *data == '\n') {
			data++;
			len--;
		} else if (f->len < LIMIT_LOG_LINE) {
			return 0; /* the rest is still to come */
		}
		if (print_line(f, f->line, f->len) == -1)
			return -1;
		f->len = 0;
	}
	return 0;
}

/* Everything from f->offset to the end of what is open. */
static int
read_on(struct follower *f)
{
	char buf[16384];
	struct stat st;
	ssize_t n;

	if (fstat(f->fd, &st) == 0 && st.st_size < f->offset)
		f->offset = 0; /* cut by somebody's hand */
	while ((n = pread(f->fd, buf, sizeof(buf), f->offset)) > 0) {
		f->offset += n;
		if (take(f, buf, (size_t)n) == -1)
			return -1;
	}
	return n == -1 ? error_errno(&f->c->err, "%s: reading", f->path) : 0;
}

static int
open_file(struct follower *f, const char *path)
{
	struct stat st;

	if (f->fd >= 0)
		close(f->fd);
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (f->fd == -1)
		return -1;
	if (fstat(f->fd, &st) == -1 || !S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return -1;
	}
	f->inode = st.st_ino;
	f->offset = 0;
	return 0;
}

/* The offset at which the last `lines` lines begin. */
static int
seek_last(struct follower *f, long lines)
{
	char buf[16384];
	struct stat st;
	off_t at, start;
	ssize_t n, i;

	if (fstat(f->fd, &st) == -1)
		return error_errno(&f->c->err, "%s", f->path);
	at = st.st_size;
	f->offset = at;
	while (at > 0) {
		start = at > (off_t)sizeof(buf) ? at - (off_t)sizeof(buf) : 0;
		n = pread(f->fd, buf, (size_t)(at - start), start);
		if (n < 0)
			return error_errno(&f->c->err, "%s: reading", f->path);
		for (i = n; i-- > 0;) {
			/* the line end at the very end belongs to the last line */
			if (buf[i] != '\n' || start + i + 1 == st.st_size)
				continue;
			if (--lines <= 0) {
				f->offset = lines == 0 ? start + i + 1 : st.st_size;
				return 0;
			}
		}
		at = start;
	}
	f->offset = lines > 0 ? 0 : st.st_size;
	return 0;
}

/*
 * A new agent.log is there: what was written to files between ours and it comes first.  Ours was
 * renamed to agent.log.1, then perhaps to .2 and on.
 */
static int
through_rotation(struct follower *f)
{
	char old[PATH_MAX + 16];
	struct stat st;
	int k;

	if (read_on(f) == -1)
		return -1;
	for (k = 1; k <= MOST_FILES; k++) {
		(void)snprintf(old, sizeof(old), "%s.%d", f->path, k);
		if (stat(old, &st) == -1 || st.st_ino == f->inode)
			break;
	}
	if (k > MOST_FILES || stat(old, &st) == -1)
		k = 1; /* ours is gone: nobody can say what came between */
	for (k--; k > 0; k--) {
		(void)snprintf(old, sizeof(old), "%s.%d", f->path, k);
		if (open_file(f, old) == 0 && read_on(f) == -1)
			return -1;
	}
	return open_file(f, f->path) == 0 ? read_on(f) : 0; /* or not there yet */
}

static int
was_rotated(const struct follower *f)
{
	struct stat st;

	return stat(f->path, &st) == 0 && (f->fd == -1 || st.st_ino != f->inode);
}

static enum ctl_exit
follow(struct follower *f)
{
	char dir[PATH_MAX], events[4096], *slash;
	int watch = inotify_init1(IN_CLOEXEC);

	(void)snprintf(dir, sizeof(dir), "%s", f->path);
	slash = strrchr(dir, '/');
	slash[slash == dir] = '\0';
	/* the directory's watch also tells of writes to the files in it */
	if (watch == -1 || inotify_add_watch(watch, dir,
			       IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM) == -1) {
		(void)error_errno(&f->c->err, "watching %s", dir);
		return CTL_FAILED;
	}
	for (;;) {
		if (f->fd >= 0 && read_on(f) == -1)
			return CTL_FAILED;
		if (was_rotated(f) && through_rotation(f) == -1)
			return CTL_FAILED;
		if (read(watch, events, sizeof(events)) == -1 && errno != EINTR) {
			(void)error_errno(&f->c->err, "watching %s", dir);
			return CTL_FAILED;
		}
	}
}

enum ctl_exit
verb_log(struct ctl *c, int argc, char **argv)
{
	struct follower f = {.c = c, .fd = -1};
	struct reply reply;
	char *path;
	enum ctl_exit status = ctl_ask(c, CONTROL_STATUS, 0, 0, &reply);

	(void)argc;
	(void)argv;
	if (status != CTL_OK)
		return status;
	path = record_string(&reply.record, CK_LOG_PATH);
	reply_free(&reply);
	if (path == NULL || path[0] != '/' || strlen(path) >= sizeof(f.path)) {
		free(path);
		(void)error_set(&c->err, "opampd did not say where the agent's log is");
		return CTL_FAILED;
	}
	c->silent = 1; /* lines go out one by one */
	memcpy(f.path, path, strlen(path) + 1);
	free(path);
	f.line = malloc(LIMIT_LOG_LINE);
	if (f.line == NULL) {
		(void)error_set(&c->err, "no memory");
		return CTL_FAILED;
	}
	if (open_file(&f, f.path) == -1 && (errno != ENOENT || !c->follow)) {
		status = errno == EACCES ? CTL_NOT_PERMITTED : CTL_FAILED;
		(void)error_errno(&c->err, "%s", f.path);
		if (status == CTL_NOT_PERMITTED)
			(void)error_set(&c->err,
			    "%s: permission denied: root and members of the group opampd can read "
			    "it",
			    f.path);
	} else if (f.fd >= 0 && (seek_last(&f, c->lines < 0 ? DEFAULT_LINES : c->lines) == -1 ||
				    read_on(&f) == -1)) {
		status = CTL_FAILED;
	} else if (c->follow) {
		status = follow(&f);
	} else if (f.len > 0 && print_line(&f, f.line, f.len) == -1) {
		status = CTL_FAILED; /* a last line without its end */
	}
	if (f.fd >= 0)
		close(f.fd);
	free(f.line);
	return status;
}
