/*
 * store_internal.h: what the files of confd's store share among themselves (see store.h).  confd only.
 * Paths are relative to a directory descriptor and opened by openat2 so that they cannot leave it, by
 * symbolic link or otherwise.
 */
#ifndef CONFD_STORE_INTERNAL_H
#define CONFD_STORE_INTERNAL_H

#include <limits.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "store.h"
#include "store_codec.h"

#define STORE_NAME     64         /* "generations/" and a number, and what is below it */
#define STORE_NEW      ".new-"    /* made under this name, then renamed */
#define STORE_OLD      ".old-"    /* renamed to this, then removed */
#define STORE_KEEP     ".keep-"   /* in agent/: a link made beforehand, for going back */
#define STORE_ASIDE    "damaged-" /* what stood in the way, for people */
#define STORE_IDENTITY "identity"
#define STORE_STATE    "state"
#define STORE_CACHE    "cache"
#define STORE_META     "meta"
#define STORE_OUTCOME  "outcome"
#define STORE_RUN      "effective" /* in a generation: the file the agent runs on */

struct store {
	int dir, generations, agent, candidate; /* directories */
	int state_fd;                           /* -1: cannot be written, or is not there yet */
	uid_t owner;                            /* of dir: everything below is to be his */
	char *config_name;
	struct msg_environment env;
	uint64_t sequence; /* of the slot that counts */
	unsigned slot;     /* which it is */
	struct store_state state;
};

/* ---- store_file.c */

/* "doing what below storage.directory: errno's words: what to do".  Returns -1. */
int store_fail(struct error *err, const char *doing, const char *what);

/* openat2 below dir, never through a link.  flags as open(2); mode for O_CREAT. */
int store_openat(int dir, const char *path, int flags, mode_t mode);

/*
 * What stands there, is ours and cannot be used (a confd that was taken over may have left it) gets another
 * name, so that it keeps nobody from starting (I14); the log says so.  -1: it is not ours, or cannot be moved;
 * errno is as it was.
 */
int store_set_aside(int dir, const char *name, uid_t owner);

/* A directory that is there or is made: ours, not writable by others, with this mode and group. */
int store_directory(
    int dir, const char *name, uid_t owner, mode_t mode, gid_t group, struct error *err);

/* Mode and, with group bits in it, group, where they are others.  -1 with errno. */
int store_set_owner(int fd, mode_t mode, gid_t group);

/* An open file is to be regular, ours, at most limit bytes. */
int store_check(int fd, uid_t owner, size_t limit, const char *what, struct error *err);

/* 1: read whole (malloc'd, a NUL after the end); 0: there is none; -1. */
int store_read(int dir, const char *name, uid_t owner, size_t limit, char **data, size_t *len,
    struct error *err);

struct store_file { /* what a file is to be */
	const char *name;
	mode_t mode;
	gid_t group;      /* with mode 0640 */
	int sync;         /* 0: a power loss may take it */
	const char *what; /* for messages, below storage.directory */
};

/*
 * Reading failed with this errno (0: no call failed): what is there is not what was written, or is gone.
 * Else a call failed, and it may be whole.  An EIO that comes STORE_TRIES times is damage too.
 */
#define STORE_TRIES 3
int store_is_damage(int error);

/* A new file, written whole (and synced); -1: nothing is left of it. */
int store_create(
    int dir, const struct store_file *f, const void *data, size_t len, struct error *err);
/* The one way a file is replaced: made under another name, synced, renamed, directory synced. */
int store_replace(
    int dir, const struct store_file *f, const void *data, size_t len, struct error *err);
int store_write_all(int fd, const void *data, size_t len);
/* fsync, renameat and unlinkat: 0 or -1 with errno, which is never EINTR. */
int store_sync(int fd);
int store_rename(int dir, const char *name, int to, const char *new_name);
int store_place(int dir, const char *fresh, const char *name); /* also where a directory stands */
int store_unlink(int dir, const char *name, int flags);

/* A symbolic link for people; a failure does not matter. */
void store_symlink(int dir, const char *target, const char *name);

/* Calls each with every name in dir but . and ..; it may remove them.  -1: cannot be listed. */
int store_list(int dir, void (*each)(void *ctx, const char *name), void *ctx, struct error *err);
/* Removes a directory of files. */
int store_remove_tree(int dir, const char *name);

/* ---- store_state.c */

/* Reads the record, or takes its place together again; makes the file.  told gets what was odd. */
int store_state_open(struct store *s, char *told, size_t told_size, struct error *err);
/* A slot's bytes: 1 and *state, *sequence filled; 0: not a whole record. */
int store_state_parse(const void *data, size_t len, struct store_state *state, uint64_t *sequence);
#define STORE_SLOT (96 * KIB) /* from one slot to the next; a record is smaller */

/* ---- store_generation.c */

void generation_name(char name[STORE_NAME], const char *prefix, uint64_t generation);
/* The number, or 0 when the name is none of ours. */
uint64_t generation_number(const char *name);
/* Its directory, or -1. */
int generation_open(struct store *s, uint64_t generation, struct error *err);
struct generation_file { /* what its meta says of the file the agent runs on */
	uint64_t len, crc;
};
/* A meta's bytes: 1, 0 when they are none.  *remote borrows data; NULL: no remote part. */
int store_meta_parse(const void *data, size_t len, struct store_meta *meta,
    struct generation_file *file, const void **remote, size_t *remote_len);
/* Fills meta and file; remote (malloc'd, NULL: no remote part) unless it is NULL. */
int generation_read(struct store *s, uint64_t generation, struct store_meta *meta,
    struct generation_file *file, char **remote, size_t *remote_len, struct error *err);
/* Half-made and half-removed ones go. */
void generation_sweep(struct store *s);

/* ---- store_cache.c: 1, or 0 when the bytes are none of ours (or of another binary) */

int store_identity_parse(const char *text, size_t len, uint8_t uid[16]);
int store_cache_parse(
    const void *data, size_t len, const struct msg_environment *env, struct store_cache *c);

/* ---- store_agent.c */

void store_agent_sweep(struct store *s);

#endif
