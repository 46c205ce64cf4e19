/*
 * fuzz_procfs.c: the text of /proc/PID/status and limits, in which a process has its name, as opampctl
 * reads it: any bytes, cut at the size of its buffers.  Input: the text of status, a NUL, that of limits.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int fuzz_openat(const char *name);

#define openat(dir, name, flags) ((void)(dir), fuzz_openat(name))
#include "ctl/procfs.c" /* with its files made by us */
#undef openat

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *text[2];
static size_t text_len[2];

static int
fuzz_openat(const char *name)
{
	int which = strcmp(name, "limits") == 0, fd;

	if (!which && strcmp(name, "status") != 0)
		return -1;
	fd = memfd_create("proc", MFD_CLOEXEC);
	if (fd == -1 || write(fd, text[which], text_len[which]) != (ssize_t)text_len[which] ||
	    lseek(fd, 0, SEEK_SET) == -1)
		abort();
	return fd;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = size == 0 ? NULL : memchr(data, 0, size);
	struct procfs p;
	struct error err;

	text[0] = text[1] = data;
	text_len[0] = nul == NULL ? size : (size_t)(nul - data);
	text_len[1] = nul == NULL ? 0 : size - text_len[0] - 1;
	if (nul != NULL)
		text[1] = nul + 1;
	if (procfs_read(&p, getpid(), &err) == -1)
		abort(); /* whatever stands there, it is a process */
	if (p.pid != getpid() || p.group_count > PROCFS_GROUPS)
		abort();
	return 0;
}
