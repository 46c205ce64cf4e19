/*
 * memfd.c: sealed memory files (see memfd.h).  Every process.
 */
#include "memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#define VIEW_MAPS (64u * 1024) /* less is read: a mapping costs as much */
#define ALL_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int
memfd_seal(const char *name, const void *data, size_t len, struct error *err)
{
	const char *p = data;
	size_t done = 0;
	ssize_t n;
	int fd;

	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd == -1 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd == -1)
		return error_errno(err, "making a memory file for %s", name);
	while (done < len) {
		n = write(fd, p + done, len - done);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			error_errno(err, "writing %zu bytes of %s to a memory file", len, name);
			close(fd);
			return -1;
		}
		done += (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, ALL_SEALS) == -1) {
		error_errno(err, "sealing the memory file of %s", name);
		close(fd);
		return -1;
	}
	return fd;
}

int
memfd_check(int fd, size_t limit, size_t *len, struct error *err)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals == -1 || (seals & ALL_SEALS) != ALL_SEALS)
		return error_set(err, "not a memory file with all four seals");
	if (fstat(fd, &st) == -1)
		return error_errno(err, "looking at a memory file");
	if (st.st_size < 0 || (uint64_t)st.st_size > limit)
		return error_set(err, "memory file of %lld bytes, more than the %zu allowed",
		    (long long)st.st_size, limit);
	if (len != NULL)
		*len = (size_t)st.st_size;
	return 0;
}

static int
read_whole(int fd, size_t size, char **data, size_t *len, struct error *err)
{
	size_t done = 0;
	ssize_t n;
	char *buf = malloc(size + 1);

	if (buf == NULL)
		return error_set(err, "no memory for %zu bytes", size);
	while (done < size) {
		n = pread(fd, buf + done, size - done, (off_t)done);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1) {
			error_errno(err, "reading");
			free(buf);
			return -1;
		}
		if (n == 0)
			break;
		done += (size_t)n;
	}
	buf[done] = '\0';
	*data = buf;
	*len = done;
	return 0;
}

int
memfd_read(int fd, size_t limit, char **data, size_t *len, struct error *err)
{
	size_t size = 0;

	if (memfd_check(fd, limit, &size, err) == -1)
		return -1;
	return read_whole(fd, size, data, len, err);
}

int
memfd_view(int fd, size_t limit, struct memfd_view *v, struct error *err)
{
	void *map;

	*v = (struct memfd_view){.fd = -1};
	if (memfd_check(fd, limit, &v->len, err) == -1)
		goto fail;
	if (v->len < VIEW_MAPS) {
		if (read_whole(fd, v->len, &v->data, &v->len, err) == -1)
			goto fail;
		close(fd);
		return 0;
	}
	map = mmap(NULL, v->len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED) {
		error_errno(err, "mapping a memory file of %zu bytes", v->len);
		goto fail;
	}
	v->data = map;
	v->mapped = v->len;
	v->fd = fd;
	return 0;
fail:
	close(fd);
	return -1;
}

void
memfd_view_end(struct memfd_view *v)
{
	if (v->mapped == 0) {
		free(v->data);
	} else {
		(void)munmap(v->data, v->mapped);
		if (v->fd >= 0)
			close(v->fd);
	}
	*v = (struct memfd_view){.fd = -1};
}

int
file_read(int fd, size_t limit, char **data, size_t *len, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return error_errno(err, "looking at a file");
	if (!S_ISREG(st.st_mode))
		return error_set(err, "not a regular file");
	if (st.st_size < 0 || (uint64_t)st.st_size > limit)
		return error_set(
		    err, "%lld bytes, more than the %zu allowed", (long long)st.st_size, limit);
	return read_whole(fd, (size_t)st.st_size, data, len, err);
}
