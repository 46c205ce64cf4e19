/*
 * image.c: trees as a power loss leaves them (see image.h).
 */
#include "image.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_NODES   128
#define MOST_ENTRIES 32

typedef uint64_t node_key; /* of an inode: numbers are used again, times of birth are not */

struct entry {
	char name[64];
	node_key key;
};

struct node {
	node_key key;
	mode_t mode;
	char *data; /* of a file, or a link's target */
	size_t len;
	struct entry entries[MOST_ENTRIES]; /* of a directory */
	size_t count;
	char made[PATH_MAX]; /* while a tree is made: where this inode already is */
};

struct image {
	struct node *nodes;
	size_t count;
	node_key root;
};

static node_key
key_of(int dir, const char *name, mode_t *mode)
{
	struct statx x;

	if (statx(dir, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME,
		&x) == -1)
		err(1, "statx %s", name);
	*mode = x.stx_mode;
	return (x.stx_ino << 20) ^ (uint64_t)x.stx_btime.tv_sec * 1000000007u ^
	       (uint64_t)x.stx_btime.tv_nsec;
}

static struct node *
find(const struct image *i, node_key key)
{
	size_t n;

	for (n = 0; n < i->count; n++)
		if (i->nodes[n].key == key)
			return &i->nodes[n];
	return NULL;
}

static struct node *
node_for(struct image *i, node_key key, mode_t mode)
{
	struct node *n = find(i, key);

	if (n == NULL) {
		if (i->count == MOST_NODES)
			errx(1, "more than %d files in an image", MOST_NODES);
		n = &i->nodes[i->count++];
		memset(n, 0, sizeof(*n));
		n->key = key;
	}
	n->mode = mode;
	return n;
}

/* What fd has now. */
static void
take(struct node *n, int fd)
{
	struct stat st;
	struct dirent *e;
	mode_t mode;
	DIR *d;
	int own;

	if (fstat(fd, &st) == -1)
		err(1, "fstat");
	if (S_ISREG(st.st_mode)) {
		free(n->data);
		n->len = (size_t)st.st_size;
		n->data = malloc(n->len + 1);
		if (n->data == NULL || pread(fd, n->data, n->len, 0) != (ssize_t)n->len)
			err(1, "reading a file");
		return;
	}
	n->count = 0;
	own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = own == -1 ? NULL : fdopendir(own);
	if (d == NULL)
		err(1, "listing a directory");
	while ((e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (n->count == MOST_ENTRIES || strlen(e->d_name) >= sizeof(n->entries[0].name))
			errx(1, "a directory too large for an image");
		(void)strcpy(n->entries[n->count].name, e->d_name);
		n->entries[n->count++].key = key_of(fd, e->d_name, &mode);
	}
	closedir(d);
}

static void
take_tree(struct image *i, int fd)
{
	mode_t mode;
	struct node *n = node_for(i, key_of(fd, "", &mode), 0);
	size_t e, at = (size_t)(n - i->nodes);
	char target[PATH_MAX];
	ssize_t len;
	int below;

	n->mode = mode;
	take(n, fd);
	for (e = 0; S_ISDIR(mode) && e < i->nodes[at].count; e++) {
		const char *name = i->nodes[at].entries[e].name;
		mode_t of;
		node_key key = key_of(fd, name, &of);

		if (S_ISLNK(of)) {
			n = node_for(i, key, of);
			len = readlinkat(fd, name, target, sizeof(target) - 1);
			if (len < 0)
				err(1, "reading a link");
			target[len] = '\0';
			n->data = strdup(target);
			continue;
		}
		below = openat(fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (below == -1)
			err(1, "opening %s", name);
		take_tree(i, below);
		close(below);
	}
}

struct image *
image_of(const char *path)
{
	struct image *i = calloc(1, sizeof(*i));
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mode_t mode;

	if (i == NULL || fd == -1)
		err(1, "%s", path);
	i->nodes = calloc(MOST_NODES, sizeof(*i->nodes));
	if (i->nodes == NULL)
		err(1, "memory");
	i->root = key_of(fd, "", &mode);
	take_tree(i, fd);
	close(fd);
	return i;
}

void
image_free(struct image *i)
{
	size_t n;

	for (n = 0; n < i->count; n++)
		free(i->nodes[n].data);
	free(i->nodes);
	free(i);
}

void
image_synced(struct image *i, int fd)
{
	mode_t mode;
	node_key key = key_of(fd, "", &mode);

	take(node_for(i, key, mode), fd);
}

/* ---- making */

static void
write_bytes(int fd, const char *data, size_t len)
{
	if (len > 0 && write(fd, data, len) != (ssize_t)len)
		err(1, "writing a file of an image");
}

/* Up to the middle of what differs as it is now, behind it as it was. */
static void
write_torn(int fd, const struct node *was, const struct node *is)
{
	size_t common = was == NULL ? 0 : was->len < is->len ? was->len : is->len, first = 0, last;

	while (first < common && was->data[first] == is->data[first])
		first++;
	last = is->len;
	while (was != NULL && was->len == is->len && last > first &&
	       was->data[last - 1] == is->data[last - 1])
		last--;
	first += (last - first) / 2;
	write_bytes(fd, is->data, first);
	if (was != NULL && was->len > first)
		write_bytes(fd, was->data + first, was->len - first);
}

static void
make_file(const char *path, const struct node *was, const struct node *is, mode_t mode,
    enum image_loss bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd == -1)
		err(1, "%s", path);
	if (is == NULL || (bytes == LOSS_ALL && was != NULL))
		write_bytes(fd, was->data, was->len);
	else if (bytes == LOSS_NONE)
		write_bytes(fd, is->data, is->len);
	else if (bytes == LOSS_TORN)
		write_torn(fd, was, is);
	if (fchmod(fd, mode & 07777) == -1)
		err(1, "%s", path);
	close(fd);
}

static void
make_node(const struct image *durable, const struct image *now, node_key key, enum image_loss names,
    enum image_loss bytes, const char *path)
{
	struct node *was = find(durable, key), *is = find(now, key);
	struct node *any = is != NULL ? is : was, *dir;
	char below[PATH_MAX];
	size_t e;

	if (any == NULL)
		return; /* a name whose inode went: its removal is not durable, nor was it ever */
	if (S_ISDIR(any->mode)) {
		if (mkdir(path, 0700) == -1 || chmod(path, any->mode & 07777) == -1)
			err(1, "%s", path);
		dir = names == LOSS_NONE && is != NULL ? is : was;
		for (e = 0; dir != NULL && e < dir->count; e++) {
			if (snprintf(below, sizeof(below), "%s/%s", path, dir->entries[e].name) >=
			    (int)sizeof(below))
				errx(1, "path too long");
			make_node(durable, now, dir->entries[e].key, names, bytes, below);
		}
	} else if (any->made[0] != '\0') {
		if (link(any->made, path) == -1)
			err(1, "%s", path);
	} else {
		if (S_ISLNK(any->mode)) {
			if (symlink(any->data, path) == -1)
				err(1, "%s", path);
		} else {
			make_file(path, was, is, any->mode, bytes);
		}
		(void)snprintf(any->made, sizeof(any->made), "%s", path);
	}
}

void
image_make(const struct image *durable, const struct image *now, enum image_loss names,
    enum image_loss bytes, const char *path)
{
	size_t n;

	for (n = 0; n < durable->count; n++)
		durable->nodes[n].made[0] = '\0';
	for (n = 0; n < now->count; n++)
		now->nodes[n].made[0] = '\0';
	make_node(durable, now, now->root, names, bytes, path);
}
