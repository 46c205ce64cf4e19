/*
 * faults_record.c: what a process does to files, as lines of text, so that every disk that a power loss
 * could leave can be made from them (tests/lib/crashstates.py).  A file is named by its inode's number;
 * a number that is made again means another file from there on.
 *
 *	create INODE DIRECTORY NAME     mkdir INODE DIRECTORY NAME     symlink INODE DIRECTORY NAME TARGET
 *	write INODE OFFSET HEX          attr INODE MODE GROUP          sync INODE
 *	truncate INODE LENGTH
 *	rename DIRECTORY NAME DIRECTORY NAME    link INODE DIRECTORY NAME    unlink DIRECTORY NAME
 *
 * DIRECTORY is an inode's number too.  Only calls that did something are told.
 */
#include "faults.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIECE (1u << 20) /* more than confd writes at once in a test */

static FILE *out;
static struct user_regs_struct entry;
static long at; /* where a write begins */
static char names[2][4096];
static int existed; /* what is opened by a path was there */

void
faults_record_to(const char *path)
{
	out = fopen(path, "w");
	if (out == NULL)
		faults_fail(path);
}

static void
path_of(char path[64], pid_t pid, int fd)
{
	(void)snprintf(path, 64, "/proc/%d/fd/%d", pid, fd);
}

int
faults_is_regular(pid_t pid, int fd)
{
	struct stat st;
	char path[64], target[64];
	ssize_t n;

	path_of(path, pid, fd);
	n = readlink(path, target, sizeof(target));
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       !(n >= 7 && memcmp(target, "/memfd:", 7) == 0);
}

static unsigned long long
inode_of(pid_t pid, int fd)
{
	struct stat st;
	char path[64];

	path_of(path, pid, fd);
	return stat(path, &st) == -1 ? 0 : (unsigned long long)st.st_ino;
}

/* Of a name in its directory. */
static unsigned long long
inode_at(pid_t pid, int dir, const char *name)
{
	struct stat st;
	char path[64];
	int fd, r;

	path_of(path, pid, dir);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return 0;
	r = fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW);
	close(fd);
	return r == -1 ? 0 : (unsigned long long)st.st_ino;
}

static size_t
fetch(pid_t pid, unsigned long address, void *to, size_t len)
{
	struct iovec here = {to, len}, there = {(void *)address, len};
	ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);

	return n < 0 ? 0 : (size_t)n;
}

static void
fetch_text(pid_t pid, unsigned long address, char to[4096])
{
	size_t n = fetch(pid, address, to, 4095);

	/* up to the end of a page, if it stands near the end of what there is */
	if (n == 0)
		n = fetch(pid, address, to, 4096 - address % 4096);
	to[n < 4095 ? n : 4095] = '\0';
}

/* A path from the root, in names[0] as we see it; "": another one. */
static void
fetch_path(pid_t pid, unsigned long address)
{
	int n = snprintf(names[0], sizeof(names[0]), "/proc/%d/root", pid);

	fetch_text(pid, address, names[1]);
	if (names[1][0] != '/' || strlen(names[1]) >= sizeof(names[0]) - (size_t)n)
		names[0][0] = '\0';
	else
		memcpy(names[0] + n, names[1], strlen(names[1]) + 1);
}

static long
position(pid_t pid, int fd)
{
	char path[64];
	long pos = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	f = fopen(path, "r");
	if (f == NULL || fscanf(f, "pos: %ld", &pos) != 1)
		faults_fail(path);
	(void)fclose(f);
	return pos;
}

void
faults_record_entry(pid_t pid, const struct user_regs_struct *r)
{
	entry = *r;
	switch (r->orig_rax) {
	case SYS_write:
		at = faults_is_regular(pid, (int)r->rdi) ? position(pid, (int)r->rdi) : -1;
		break;
	case SYS_openat:
		fetch_path(pid, r->rsi);
		existed = access(names[0], F_OK) == 0;
		break;
	case SYS_unlink:
		fetch_path(pid, r->rdi);
		break;
	case SYS_openat2:
	case SYS_mkdirat:
	case SYS_unlinkat:
		fetch_text(pid, r->rsi, names[0]);
		break;
	case SYS_renameat:
	case SYS_renameat2:
	case SYS_linkat:
		fetch_text(pid, r->rsi, names[0]);
		fetch_text(pid, r->r10, names[1]);
		break;
	case SYS_symlinkat:
		fetch_text(pid, r->rdi, names[0]);
		fetch_text(pid, r->rdx, names[1]);
		break;
	default:
		break;
	}
}

static void
put_write(pid_t pid, int fd, long offset, size_t len)
{
	static unsigned char bytes[PIECE];
	size_t i;

	if (!faults_is_regular(pid, fd))
		return;
	if (len > sizeof(bytes) || fetch(pid, entry.rsi, bytes, len) != len)
		faults_fail("reading what it wrote");
	fprintf(out, "write %llu %ld ", inode_of(pid, fd), offset);
	for (i = 0; i < len; i++)
		fprintf(out, "%02x", bytes[i]);
	fputc('\n', out);
}

static void
put_attributes(pid_t pid, int fd)
{
	struct stat st;
	char path[64];

	path_of(path, pid, fd);
	if (stat(path, &st) == 0)
		fprintf(out, "attr %llu %o %u\n", (unsigned long long)st.st_ino,
		    st.st_mode & 07777u, st.st_gid);
}

/* The directory's inode, and the name in it, of the path in names[0]; NULL: none that we know. */
static const char *
place_of_path(unsigned long long *directory)
{
	char *slash = strrchr(names[0], '/');
	struct stat st;
	int r;

	if (slash == NULL)
		return NULL;
	*slash = '\0';
	r = stat(names[0], &st);
	*slash = '/';
	*directory = (unsigned long long)st.st_ino;
	return r == -1 ? NULL : slash + 1;
}

static void
put_made(unsigned long long inode)
{
	unsigned long long directory;
	const char *name = existed ? NULL : place_of_path(&directory);

	if (name != NULL)
		fprintf(out, "create %llu %llu %s\n", inode, directory, name);
}

static void
put_gone(void)
{
	unsigned long long directory;
	const char *name = place_of_path(&directory);

	if (name != NULL)
		fprintf(out, "unlink %llu %s\n", directory, name);
}

void
faults_record_exit(pid_t pid, long result)
{
	int fd = (int)entry.rdi;
	uint64_t flags = 0;

	if (result < 0)
		return;
	switch (entry.orig_rax) {
	case SYS_openat2:
		(void)fetch(pid, entry.rdx, &flags, sizeof(flags));
		if (flags & O_CREAT)
			fprintf(out, "create %llu %llu %s\n", inode_of(pid, (int)result),
			    inode_of(pid, fd), names[0]);
		if (flags & O_TRUNC)
			fprintf(out, "truncate %llu 0\n", inode_of(pid, (int)result));
		break;
	case SYS_openat: /* by a path that begins at the root */
		if (entry.rdx & O_CREAT)
			put_made(inode_of(pid, (int)result));
		break;
	case SYS_ftruncate:
		fprintf(out, "truncate %llu %ld\n", inode_of(pid, fd), (long)entry.rsi);
		break;
	case SYS_unlink:
		put_gone();
		break;
	case SYS_write:
		if (at >= 0)
			put_write(pid, fd, at, (size_t)result);
		break;
	case SYS_pwrite64:
		put_write(pid, fd, (long)entry.r10, (size_t)result);
		break;
	case SYS_mkdirat:
		fprintf(out, "mkdir %llu %llu %s\n", inode_at(pid, fd, names[0]), inode_of(pid, fd),
		    names[0]);
		break;
	case SYS_fchmod:
	case SYS_fchown:
		put_attributes(pid, fd);
		break;
	case SYS_fsync:
	case SYS_fdatasync:
		fprintf(out, "sync %llu\n", inode_of(pid, fd));
		break;
	case SYS_renameat:
	case SYS_renameat2:
		fprintf(out, "rename %llu %s %llu %s\n", inode_of(pid, fd), names[0],
		    inode_of(pid, (int)entry.rdx), names[1]);
		break;
	case SYS_linkat:
		fprintf(out, "link %llu %llu %s\n", inode_at(pid, (int)entry.rdx, names[1]),
		    inode_of(pid, (int)entry.rdx), names[1]);
		break;
	case SYS_unlinkat:
		fprintf(out, "unlink %llu %s\n", inode_of(pid, fd), names[0]);
		break;
	case SYS_symlinkat:
		fprintf(out, "symlink %llu %llu %s %s\n", inode_at(pid, (int)entry.rsi, names[1]),
		    inode_of(pid, (int)entry.rsi), names[1], names[0]);
		break;
	default:
		break;
	}
	(void)fflush(out);
}
