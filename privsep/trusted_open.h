/*
 * trusted_open.h: opening what the settings name.  The parent only.
 * As root, a file is trusted when it and every directory on the way belong to root and nobody else
 * may write them; a symbolic link is followed only where it stands in such a directory.  Started by
 * an ordinary user, that user is trusted as well.
 */
#ifndef PRIVSEP_TRUSTED_OPEN_H
#define PRIVSEP_TRUSTED_OPEN_H

#include <sys/types.h>

#include "error.h"

enum trusted_kind {
	TRUSTED_FILE,
	TRUSTED_DIRECTORY
};

/* An open descriptor (O_CLOEXEC, read-only), or -1 with the component at fault and the remedy. */
int trusted_open(const char *path, enum trusted_kind kind, uid_t owner, struct error *err);

/*
 * The directory at path, made if it is missing (one level) with this owner, group and mode; the
 * directory above must be trusted.  A directory that is there must have that owner.  A mode with which
 * others write there is an error, or put right where the directory is `theirs`: its owner is the
 * agent or a process that reads foreign bytes, and can set it.
 */
int trusted_directory(const char *path, uid_t trusted, uid_t owner, gid_t group, mode_t mode,
    int theirs, struct error *err);

/* Would trusted_directory give it?  Makes nothing.  0, or -1 and why not. */
int trusted_directory_look(
    const char *path, uid_t trusted, uid_t owner, int theirs, struct error *err);

/*
 * From here on files are opened and made as this user and group, by root alone; as before with geteuid() and
 * getegid().  Whether we may be dumped and the signal of a parent's death stay as they were.
 */
void trusted_be(uid_t user, gid_t group);

#endif
