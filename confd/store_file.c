/*
 * store_file.c: files below the one directory that confd was handed: opened without following links,
 * read with a bound, replaced whole (see store_internal.h).  confd only; it never opens an absolute
 * path, and never a name that leads out of the directory.
 */
#include "store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "privsep/log.h"
#include "privsep/memfd.h"

/* openat2's own: libc's headers are older than the call */
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#define RESOLVE_MAGICLINKS_NO 0x02u
#define RESOLVE_SYMLINKS_NO   0x04u
#define RESOLVE_BENEATH_DIR   0x08u

#define MOST_ASIDE  1000
#define LIST_BUFFER (32 * KIB)
#define LIST_MOST   (1 * MIB) /* bytes of names: more are not looked at */

struct how { /* struct open_how */
	uint64_t flags, mode, resolve;
};

static const char *
remedy(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
		return "; make room on its file system";
	case EROFS:
		return "; mount its file system for writing";
	case EACCES:
	case EPERM:
		return "; it and everything in it must belong to the user that opampd-confd runs "
		       "as";
	case ELOOP:
		return "; it must not be a symbolic link: remove it";
	case ENOTDIR:
	case EISDIR:
		return "; something else stands in its place: remove it";
	case EIO:
		return "; look for disk errors in the kernel's log";
	default:
		return "";
	}
}

int
store_fail(struct error *err, const char *doing, const char *what)
{
	int saved = errno;

	error_set(err, "%s %s below storage.directory: %s%s", doing, what, strerror(saved),
	    remedy(saved));
	errno = saved;
	return -1;
}

int
store_is_damage(int error)
{
	return error == 0 || error == ENOENT || error == ENOTDIR || error == EISDIR ||
	       error == ELOOP;
}

int
store_openat(int dir, const char *path, int flags, mode_t mode)
{
	struct how how = {(uint64_t)(flags | O_CLOEXEC), mode,
	    RESOLVE_MAGICLINKS_NO | RESOLVE_SYMLINKS_NO | RESOLVE_BENEATH_DIR};
	long fd;

	do
		fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	while (fd == -1 && errno == EINTR);
	return (int)fd;
}

/* What a signal or a file system over the network interrupted is done again. */
int
store_sync(int fd)
{
	return TEMP_FAILURE_RETRY(fsync(fd)) == -1 ? -1 : 0;
}

int
store_rename(int dir, const char *name, int to, const char *new_name)
{
	return TEMP_FAILURE_RETRY(renameat(dir, name, to, new_name)) == -1 ? -1 : 0;
}

int
store_unlink(int dir, const char *name, int flags)
{
	return TEMP_FAILURE_RETRY(unlinkat(dir, name, flags)) == -1 ? -1 : 0;
}

int
store_set_owner(int fd, mode_t mode, gid_t group)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return -1;
	/* the group first: a change of it may take mode bits away */
	if ((mode & S_IRWXG) != 0 && st.st_gid != group) {
		if (TEMP_FAILURE_RETRY(fchown(fd, (uid_t)-1, group)) == -1)
			return -1;
		st.st_mode = 0;
	}
	if ((st.st_mode & 07777) == mode)
		return 0;
	return TEMP_FAILURE_RETRY(fchmod(fd, mode)) == -1 ? -1 : 0;
}

int
store_set_aside(int dir, const char *name, uid_t owner)
{
	char aside[STORE_NAME];
	int saved = errno, fd = store_openat(dir, name, O_PATH | O_NOFOLLOW, 0), r = -1;
	struct stat st;
	unsigned i;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == owner) {
		r = 0;
		for (i = 1; i <= MOST_ASIDE && r == 0; i++) {
			(void)snprintf(aside, sizeof(aside), STORE_ASIDE "%u", i);
			r = store_openat(dir, aside, O_PATH | O_NOFOLLOW, 0);
			if (r >= 0) {
				close(r);
				r = 0;
			}
		}
		r = r == -1 && errno == ENOENT ? store_rename(dir, name, dir, aside) : -1;
	}
	if (fd >= 0)
		close(fd);
	if (r == 0)
		log_error("%s below storage.directory cannot be used (%s): it was set aside as %s, "
			  "and opampd goes on without it; look at it, then remove it",
		    name, saved == 0 ? "it is not what opampd makes there" : strerror(saved),
		    aside);
	errno = saved;
	return r;
}

static int
stands_in_the_way(int error)
{
	return error == ENOTDIR || error == EISDIR || error == ELOOP || error == EACCES ||
	       error == ENOTEMPTY || error == EEXIST;
}

int
store_directory(int dir, const char *name, uid_t owner, mode_t mode, gid_t group, struct error *err)
{
	struct stat st;
	int fd = store_openat(dir, name, O_RDONLY | O_DIRECTORY, 0), made = 0;

	if (fd == -1 && stands_in_the_way(errno) && store_set_aside(dir, name, owner) == 0)
		errno = ENOENT;
	if (fd == -1 && errno == ENOENT) {
		made = 1;
		if (TEMP_FAILURE_RETRY(mkdirat(dir, name, 0700)) == -1 && errno != EEXIST)
			return store_fail(err, "making the directory", name);
		fd = store_openat(dir, name, O_RDONLY | O_DIRECTORY, 0);
	}
	if (fd == -1)
		return store_fail(err, "opening the directory", name);
	if (fstat(fd, &st) == -1) {
		store_fail(err, "looking at the directory", name);
	} else if (st.st_uid != owner) {
		error_set(err,
		    "%s below storage.directory belongs to user %u: it must belong to user %u "
		    "(chown -R %u)",
		    name, st.st_uid, owner, owner);
	} else if (store_set_owner(fd, mode, group) == -1 &&
		   !(errno == EROFS && !made && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)) {
		store_fail(err, "setting mode and group of the directory", name);
	} else {
		return fd;
	}
	close(fd);
	return -1;
}

int
store_check(int fd, uid_t owner, size_t limit, const char *what, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return store_fail(err, "looking at", what);
	if (!S_ISREG(st.st_mode))
		return error_set(
		    err, "%s below storage.directory is not a regular file: remove it", what);
	if (st.st_uid != owner)
		return error_set(err,
		    "%s below storage.directory belongs to user %u: it must belong to user %u "
		    "(chown %u)",
		    what, st.st_uid, owner, owner);
	if ((st.st_mode & S_IWOTH) != 0)
		return error_set(err,
		    "%s below storage.directory can be written by everybody: chmod o-w it", what);
	if (st.st_size < 0 || (uint64_t)st.st_size > limit)
		return error_set(err, "%s below storage.directory has %lld bytes, more than %zu",
		    what, (long long)st.st_size, limit);
	return 0;
}

int
store_read(int dir, const char *name, uid_t owner, size_t limit, char **data, size_t *len,
    struct error *err)
{
	int fd = store_openat(dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0), r;

	if (fd == -1 && errno == ENOENT)
		return 0;
	if (fd == -1)
		return store_fail(err, "opening", name);
	r = store_check(fd, owner, limit, name, err);
	if (r == 0 && (r = file_read(fd, limit, data, len, err)) == -1)
		error_prefix(err, "%s below storage.directory", name);
	close(fd);
	return r == -1 ? -1 : 1;
}

int
store_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;

	while (len > 0) {
		n = write(fd, p, len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		if (n == 0) {
			errno = ENOSPC;
			return -1;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A directory's owner is who may rename in it: us. */
static int
clear_away(int dir, const char *name)
{
	struct stat st;

	if (store_unlink(dir, name, 0) == 0)
		return 0;
	return errno == EISDIR && fstat(dir, &st) == 0 ? store_set_aside(dir, name, st.st_uid) : -1;
}

int
store_create(int dir, const struct store_file *f, const void *data, size_t len, struct error *err)
{
	int fd, saved;

	fd = store_openat(dir, f->name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd == -1 && errno == EEXIST && clear_away(dir, f->name) == 0) /* one was there */
		fd = store_openat(dir, f->name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd == -1)
		return store_fail(err, "making", f->what);
	if (store_write_all(fd, data, len) == -1) {
		store_fail(err, "writing", f->what);
	} else if (store_set_owner(fd, f->mode, f->group) == -1) {
		store_fail(err, "setting mode and group of", f->what);
	} else if (f->sync && store_sync(fd) == -1) {
		store_fail(err, "making durable", f->what);
	} else if (close(fd) == -1 && errno != EINTR) { /* where a file system tells late */
		fd = -1;
		store_fail(err, "writing", f->what);
	} else {
		return 0;
	}
	saved = errno;
	if (fd >= 0)
		close(fd);
	(void)store_unlink(dir, f->name, 0);
	errno = saved;
	return -1;
}

int
store_place(int dir, const char *fresh, const char *name)
{
	if (store_rename(dir, fresh, dir, name) == 0)
		return 0;
	return errno == EISDIR && clear_away(dir, name) == 0 ? store_rename(dir, fresh, dir, name)
							     : -1;
}

int
store_replace(int dir, const struct store_file *f, const void *data, size_t len, struct error *err)
{
	struct store_file made = *f;
	char name[NAME_MAX + 1];

	(void)snprintf(name, sizeof(name), STORE_NEW "%s", f->name);
	made.name = name;
	if (store_create(dir, &made, data, len, err) == -1)
		return -1;
	if (store_place(dir, name, f->name) == -1) {
		store_fail(err, "putting in its place", f->what);
		(void)store_unlink(dir, name, 0);
		return -1;
	}
	if (f->sync && store_sync(dir) == -1)
		return store_fail(err, "making durable the place of", f->what);
	return 0;
}

void
store_symlink(int dir, const char *target, const char *name)
{
	char fresh[STORE_NAME];

	(void)snprintf(fresh, sizeof(fresh), STORE_NEW "%s", name);
	(void)store_unlink(dir, fresh, 0);
	if (TEMP_FAILURE_RETRY(symlinkat(target, dir, fresh)) == 0 &&
	    store_rename(dir, fresh, dir, name) == -1)
		(void)store_unlink(dir, fresh, 0);
}

/*
 * By getdents64 and not readdir, whose opendir and fdopendir make calls that confd has no need for.
 * All names are read before the first is handed out, so that the listener may remove them.
 */
int
store_list(int dir, void (*each)(void *ctx, const char *name), void *ctx, struct error *err)
{
	int fd = store_openat(dir, ".", O_RDONLY | O_DIRECTORY, 0);
	_Alignas(struct dirent64) char buf[LIST_BUFFER];
	char *names = NULL, *bigger;
	size_t used = 0, len, i;
	struct dirent64 *e;
	ssize_t n = -1, at;

	if (fd == -1)
		goto out;
	while ((n = TEMP_FAILURE_RETRY(getdents64(fd, buf, LIST_BUFFER))) > 0 && used < LIST_MOST) {
		for (at = 0; at < n; at += e->d_reclen) {
			e = (struct dirent64 *)(void *)(buf + at);
			len = strlen(e->d_name) + 1;
			if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
				continue;
			bigger = realloc(names, used + len);
			if (bigger == NULL) {
				n = -1;
				goto out;
			}
			names = bigger;
			memcpy(names + used, e->d_name, len);
			used += len;
		}
	}
	for (i = 0; n >= 0 && i < used; i += strlen(names + i) + 1)
		each(ctx, names + i);
out:
	if (n == -1)
		store_fail(err, "listing", "a directory");
	if (fd >= 0)
		close(fd);
	free(names);
	return n == -1 ? -1 : 0;
}

static void
remove_one(void *ctx, const char *name)
{
	(void)store_unlink(*(int *)ctx, name, 0);
}

int
store_remove_tree(int dir, const char *name)
{
	int below = store_openat(dir, name, O_RDONLY | O_DIRECTORY, 0);

	if (below == -1)
		return errno == ENOENT ? 0 : store_unlink(dir, name, 0);
	(void)store_list(below, remove_one, &below, NULL);
	close(below);
	return store_unlink(dir, name, AT_REMOVEDIR);
}
