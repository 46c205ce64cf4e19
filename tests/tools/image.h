/*
 * image.h: a directory tree in memory, as the disk would have it after a power loss: what was synced is
 * there, what was not is not, or only half.  The strict model of POSIX: a file's bytes are durable by
 * its own fsync, a name by its directory's.  Tests only.
 */
#ifndef TESTS_TOOLS_IMAGE_H
#define TESTS_TOOLS_IMAGE_H

struct image;

enum image_loss {
	LOSS_NONE, /* as the kernel has it in memory */
	LOSS_ALL,  /* only what was synced */
	LOSS_TORN, /* half of what changed since (files only) */
};

/* Of the tree at path, all of it durable.  Ends the program when it cannot. */
struct image *image_of(const char *path);
void image_free(struct image *i);
/* This file or directory was synced just now. */
void image_synced(struct image *i, int fd);
/*
 * Makes at path (which must not exist) the tree that a power loss leaves: names after `names`, bytes
 * after `bytes`.  now: the tree in memory at that moment.
 */
void image_make(const struct image *durable, const struct image *now, enum image_loss names,
    enum image_loss bytes, const char *path);

#endif
