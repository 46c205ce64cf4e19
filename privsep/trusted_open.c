/*
 * trusted_open.c: opening what the settings name (see trusted_open.h).  The parent only.
 * The walk opens each component by itself, without following links, and looks before it goes on.
 */
#include "trusted_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

#define MAX_LINKS 16

static int
looks_trusted(int fd, const char *what, uid_t owner, int is_link, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return error_errno(err, "%s", what);
	if (st.st_uid != 0 && st.st_uid != owner)
		return error_set(err, "%s belongs to user %u, who could change it: chown %s it",
		    what, st.st_uid, owner == 0 ? "root" : "yourself");
	if (!is_link && (st.st_mode & (S_IWGRP | S_IWOTH)) != 0 &&
	    !(S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) != 0 && owner != 0))
		return error_set(err, "%s can be written by others: chmod go-w it%s", what,
		    S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) != 0
			? ", or keep the file elsewhere than in a directory for everybody"
			: "");
	return 0;
}

struct walk {
	int dir; /* the directory reached so far */
	char rest[PATH_MAX];
	char done[PATH_MAX]; /* for messages */
	int links;
	uid_t owner;
	struct error *err;
};

static int
enter(struct walk *w, int fd)
{
	close(w->dir);
	w->dir = fd;
	return 0;
}

/* A link's target takes its place in front of what is left of the path. */
static int
follow(struct walk *w, int fd, const char *what)
{
	char target[PATH_MAX], joined[PATH_MAX];
	ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);

	if (n < 0)
		return error_errno(w->err, "reading the link %s", what);
	target[n] = '\0';
	if (++w->links > MAX_LINKS)
		return error_set(w->err, "%s: too many symbolic links", what);
	if (snprintf(joined, sizeof(joined), "%s/%s", target, w->rest) >= (int)sizeof(joined))
		return error_set(w->err, "%s: path too long", what);
	(void)snprintf(w->rest, sizeof(w->rest), "%s", joined);
	if (target[0] == '/') {
		int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (root == -1)
			return error_errno(w->err, "opening /");
		w->done[0] = '\0';
		return enter(w, root);
	}
	return 0;
}

/* Takes the first name off the rest: 1, or 0 when nothing is left. */
static int
next_name(struct walk *w, char *name, size_t size)
{
	char *s = w->rest, *end;

	while (*s == '/')
		s++;
	if (*s == '\0')
		return 0;
	end = strchrnul(s, '/');
	if ((size_t)(end - s) >= size)
		return 0;
	memcpy(name, s, (size_t)(end - s));
	name[end - s] = '\0';
	memmove(w->rest, end, strlen(end) + 1);
	return 1;
}

static int
has_rest(const struct walk *w)
{
	return w->rest[strspn(w->rest, "/")] != '\0';
}

/* One component: 0 go on (or arrived: *found set), -1. */
static int
step(struct walk *w, const char *name, int *found)
{
	char what[PATH_MAX + NAME_MAX + 2];
	struct stat st;
	int fd;

	(void)snprintf(what, sizeof(what), "%s/%s", w->done, name);
	fd = openat(w->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1)
		return error_errno(w->err, "%s", what);
	if (fstat(fd, &st) == -1 ||
	    looks_trusted(fd, what, w->owner, S_ISLNK(st.st_mode), w->err) == -1) {
		close(fd);
		return -1;
	}
	if (S_ISLNK(st.st_mode)) {
		int r = follow(w, fd, what);

		close(fd);
		return r;
	}
	if (has_rest(w) && !S_ISDIR(st.st_mode)) {
		close(fd);
		return error_set(w->err, "%s is not a directory", what);
	}
	if (!has_rest(w)) {
		*found = fd;
		return 0;
	}
	if (strlen(what) < sizeof(w->done))
		memcpy(w->done, what, strlen(what) + 1);
	return enter(w, fd);
}

int
trusted_open(const char *path, enum trusted_kind kind, uid_t owner, struct error *err)
{
	struct walk w = {.owner = owner, .err = err};
	char name[NAME_MAX + 1], self[64];
	int found = -1, fd = -1;
	struct stat st;

	if (path[0] != '/')
		return error_set(err, "%s: not an absolute path", path);
	if (snprintf(w.rest, sizeof(w.rest), "%s", path) >= (int)sizeof(w.rest))
		return error_set(err, "%.100s...: path too long", path);
	w.dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (w.dir == -1)
		return error_errno(err, "opening /");
	if (!has_rest(&w) && kind == TRUSTED_DIRECTORY)
		found = dup(w.dir);
	while (found == -1 && next_name(&w, name, sizeof(name)))
		if (step(&w, name, &found) == -1)
			goto out;
	if (found == -1) {
		error_set(err, "%s: names no file", path);
		goto out;
	}
	if (fstat(found, &st) == -1 ||
	    !(kind == TRUSTED_DIRECTORY ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode))) {
		error_set(err, "%s is not a %s", path,
		    kind == TRUSTED_DIRECTORY ? "directory" : "regular file");
		goto out;
	}
	/* the very file that was looked at, by its O_PATH descriptor */
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", found);
	fd = open(self,
	    O_RDONLY | O_CLOEXEC | O_NONBLOCK | (kind == TRUSTED_DIRECTORY ? O_DIRECTORY : 0));
	if (fd == -1)
		error_errno(err, "opening %s", path);
out:
	if (found >= 0)
		close(found);
	close(w.dir);
	return fd;
}

/*
 * What belongs to another user is opened, and its mode set, as that user: so root needs no capability to pass over
 * modes (CAP_DAC_OVERRIDE, CAP_FOWNER).  An ordinary user has no other to be.  The kernel takes such a change for a
 * new user altogether: who may not be dumped becomes what fs.suid_dumpable says, and the signal of a parent's death
 * is forgotten.  Neither is meant.
 */
void
trusted_be(uid_t user, gid_t group)
{
	int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), death = 0;

	if (geteuid() != 0)
		return;
	(void)prctl(PR_GET_PDEATHSIG, &death, 0, 0, 0);
	(void)setfsgid(group);
	(void)setfsuid(user);
	(void)prctl(PR_SET_DUMPABLE, dumpable == 1, 0, 0, 0);
	(void)prctl(PR_SET_PDEATHSIG, death, 0, 0, 0);
}

static void
be(uid_t owner)
{
	trusted_be(owner, getegid());
}

static int
open_directory(int dir, const char *name, uid_t owner)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), saved;

	if (fd >= 0 || errno != EACCES)
		return fd;
	be(owner);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	saved = errno;
	be(0);
	errno = saved;
	return fd;
}

enum mode {
	MODE_GOOD,
	MODE_LOCKED, /* its owner cannot use it */
	MODE_OPEN,   /* others can write there */
};

static int
belongs_to_another(const char *path, const struct stat *st, uid_t owner, struct error *err)
{
	return error_set(err,
	    "%s belongs to user %u with mode %03o, and must belong to user %u and be writable by "
	    "nobody else: name another directory, or chown %u and chmod go-w this one",
	    path, st->st_uid, st->st_mode & 0777, owner, owner);
}

/* What opampd writes in belongs to whom it shall (-1: it does not), and nobody else writes there. */
static int
mode_of(int fd, const char *path, uid_t owner, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return error_errno(err, "looking at %s", path);
	if (st.st_uid == owner && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return (st.st_mode & S_IRWXU) == S_IRWXU ? MODE_GOOD : MODE_LOCKED;
	(void)belongs_to_another(path, &st, owner, err);
	return st.st_uid == owner ? MODE_OPEN : -1;
}

/*
 * The owner of what is `theirs` is the agent, or a process of ours that was taken over once: it can set
 * any mode, which must not keep opampd from its next start for good (I14).
 */
static int
settle_mode(
    int fd, const char *path, uid_t owner, int found, mode_t mode, int theirs, struct error *err)
{
	int r;

	if (found == -1 || found == MODE_GOOD || (found == MODE_LOCKED && !theirs))
		return found == -1 ? -1 : 0;
	if (!theirs)
		return -1;
	be(owner);
	r = fchmod(fd, mode);
	be(0);
	if (r == -1)
		return found == MODE_LOCKED ? 0 : error_errno(err, "setting the mode of %s", path);
	log_warn("%s: %s: its mode is set to %03o", path,
	    found == MODE_OPEN ? "others could write there" : "its owner could not use it",
	    (unsigned)mode);
	return 0;
}

/* Its owner's as it should be: then only its mode keeps us out, which is put right. */
static int
looks_ours(int dir, const char *name, uid_t owner)
{
	int saved = errno, ours;
	struct stat st;

	ours = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
	       st.st_uid == owner;
	errno = saved;
	return ours;
}

/* One that may not be opened: its owner's mode, or is it another's? */
static int
not_opened(int dir, const char *name, const char *path, uid_t owner, struct error *err)
{
	int saved = errno;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
	    st.st_uid != owner)
		return belongs_to_another(path, &st, owner, err);
	errno = saved;
	return error_errno(err, "opening the directory %s", path);
}

int
trusted_directory_look(const char *path, uid_t trusted, uid_t owner, int theirs, struct error *err)
{
	const char *name = strrchr(path, '/');
	char above[PATH_MAX];
	int dir, fd, result = 0;

	if (path[0] != '/' || name[1] == '\0' || strlen(path) >= sizeof(above))
		return error_set(err, "%s: not an absolute path of a directory", path);
	(void)snprintf(above, sizeof(above), "%.*s", name == path ? 1 : (int)(name - path), path);
	dir = trusted_open(above, TRUSTED_DIRECTORY, trusted, err);
	if (dir == -1)
		return -1;
	fd = open_directory(dir, name + 1, owner);
	if (fd >= 0)
		result = mode_of(fd, path, owner, err);
	else if (errno == EACCES && theirs)
		result = looks_ours(dir, name + 1, owner)
			     ? 0
			     : not_opened(dir, name + 1, path, owner, err);
	else if (errno != ENOENT)
		result = not_opened(dir, name + 1, path, owner, err);
	else if (faccessat(dir, ".", W_OK, AT_EACCESS) == -1)
		result = error_set(err,
		    "%s is not there, and cannot be made in %s (%s): name another directory", path,
		    above, strerror(errno));
	if (fd >= 0)
		close(fd);
	close(dir);
	return result == -1 || (result == MODE_OPEN && !theirs) ? -1 : 0;
}

int
trusted_directory(const char *path, uid_t trusted, uid_t owner, gid_t group, mode_t mode,
    int theirs, struct error *err)
{
	char above[PATH_MAX];
	const char *name;
	int dir, fd, r;

	name = strrchr(path, '/');
	if (path[0] != '/' || name == NULL || name[1] == '\0' || strlen(path) >= sizeof(above))
		return error_set(err, "%s: not an absolute path of a directory", path);
	(void)snprintf(above, sizeof(above), "%.*s", name == path ? 1 : (int)(name - path), path);
	dir = trusted_open(above, TRUSTED_DIRECTORY, trusted, err);
	if (dir == -1)
		return -1;
	name++;
	fd = open_directory(dir, name, owner);
	if (fd == -1 && errno == ENOENT) {
		if (mkdirat(dir, name, 0700) == -1) {
			error_errno(err, "making the directory %s", path);
			goto out;
		}
		fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd == -1 || fchmod(fd, mode) == -1 ||
		    ((owner != geteuid() || group != getegid()) &&
			fchown(fd, owner, group) == -1)) {
			error_errno(err,
			    "making the directory %s for user %u (where opampd's unit lacks "
			    "CAP_CHOWN, it has to be there)",
			    path, owner);
			if (fd >= 0)
				close(fd);
			fd = -1;
			(void)unlinkat(dir, name, AT_REMOVEDIR);
			goto out;
		}
	}
	/* the owner may be us, whom modes hold for */
	if (fd == -1 && errno == EACCES && theirs && looks_ours(dir, name, owner)) {
		be(owner);
		r = fchmodat(dir, name, mode, 0);
		be(0);
		if (r == -1) {
			error_errno(err, "setting the mode of %s", path);
			goto out;
		}
		fd = open_directory(dir, name, owner);
	}
	if (fd == -1) {
		(void)not_opened(dir, name, path, owner, err);
		goto out;
	}
	if (settle_mode(fd, path, owner, mode_of(fd, path, owner, err), mode, theirs, err) == -1) {
		close(fd);
		fd = -1;
	}
out:
	close(dir);
	return fd;
}
