/*
 * fuzz_upgrade.c: the record that an opampd leaves to the one that takes its place, as nobody should have written
 * it.  Input: the record.  Whose process it is for is taken from itself, and whether it is root's from who runs
 * this, so that a corpus fits everybody; descriptors 200 to 212 are what the places 0 to 12 want.
 *
 * What must hold: what is refused leaves nothing; what is taken is what was given, byte for byte, and would be
 * written so again; no descriptor is named twice or is one of the first three; one that is not open is found
 * out; and the same record unsealed, or for another process, is refused.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "privsep/limits.h"
#include "privsep/memfd.h"
#include "privsep/upgrade_state.h"

#define FIRST 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
one_of(enum fd_kind kind)
{
	static const struct sockaddr anywhere = {.sa_family = AF_UNIX};
	int sv[2] = {-1, -1}, fd;

	switch (kind) {
	case FD_DIR:
		return open("/", O_RDONLY | O_DIRECTORY);
	case FD_LISTENER:
		fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		return bind(fd, &anywhere, sizeof(sa_family_t)) == 0 && listen(fd, 1) == 0 ? fd
											   : -1;
	case FD_CHANNEL:
		return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv) == 0 ? sv[0] : -1;
	case FD_PIPE:
		return pipe(sv) == 0 ? sv[0] : -1;
	case FD_MEMFD:
		return memfd_seal("secret", "", 0, NULL);
	default: /* a pidfd, which is known as an anonymous inode alone; valgrind has no word for it */
		return eventfd(0, 0);
	}
}

static void
make_descriptors(void)
{
	struct upgrade_state s;
	enum fd_kind kind;
	size_t i;
	int fd;

	for (i = 0; i < UPGRADE_FDS; i++) {
		(void)upgrade_fd(&s, i, &kind);
		fd = one_of(kind);
		if (fd == -1 || dup2(fd, FIRST + (int)i) == -1)
			abort();
		close(fd);
	}
}

static void
check_numbers(struct upgrade_state *s)
{
	unsigned char seen[LIMIT_UPGRADE_FD] = {1, 1, 1};
	int all_open = 1;
	size_t i;

	for (i = 0; i < UPGRADE_FDS; i++) {
		int32_t fd = *upgrade_fd(s, i, NULL);

		if (fd == -1)
			continue;
		if (fd < 0 || fd >= LIMIT_UPGRADE_FD || seen[fd]++ != 0)
			abort();
		all_open &= fcntl(fd, F_GETFD) != -1;
	}
	if (upgrade_state_look(s, NULL) == 0 && !all_open)
		abort();
}

/* The strings as the new opampd walks through them; the record that they would make. */
static void
write_again(
    const struct upgrade_state *s, char *strings, size_t len, const uint8_t *in, size_t size)
{
	char **environment = calloc(len + 1, sizeof(*environment)), *at, *again = NULL;
	size_t n = 0, again_len = 0;
	int fd;

	if (environment == NULL || strings[0] != '/' || strings[len - 1] != '\0')
		abort();
	for (at = strings + strlen(strings) + 1; at < strings + len; at += strlen(at) + 1)
		environment[n++] = at;
	if (at != strings + len)
		abort();
	fd = upgrade_state_write(s, strings, environment, NULL);
	if (fd == -1 || memfd_read(fd, LIMIT_UPGRADE_STATE, &again, &again_len, NULL) == -1 ||
	    again_len != size || memcmp(again, in, size) != 0)
		abort();
	free(again);
	close(fd);
	free(environment);
}

static void
refused(int fd, int32_t pid)
{
	struct upgrade_state s;
	char *strings = NULL;
	struct error err = {{0}};
	size_t len;

	if (upgrade_state_read(fd, pid, &s, &strings, &len, &err) != -1 || strings != NULL ||
	    strncmp(err.text, "the record of an upgrade", 24) != 0)
		abort();
}

static void
unsealed(const uint8_t *in, size_t size, int32_t pid)
{
	int fd = (int)syscall(SYS_memfd_create, "open", 2u /* MFD_ALLOW_SEALING */);

	if (fd == -1 || write(fd, in, size) != (ssize_t)size)
		abort();
	refused(fd, pid);
	close(fd);
}

/* Gives whom the record is for. */
static int32_t
fit(uint8_t *in, size_t size)
{
	struct upgrade_state s;

	if (size < sizeof(s))
		return 1;
	memcpy(&s, in, sizeof(s));
	if (s.unprivileged <= 1)
		s.unprivileged = geteuid() != 0;
	memcpy(in, &s, sizeof(s));
	return s.pid;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int made;
	uint8_t *in = malloc(size + 1);
	struct upgrade_state s;
	char *strings = NULL;
	struct error err = {{0}};
	size_t len = 0;
	int32_t pid;
	int fd;

	if (!made)
		make_descriptors();
	made = 1;
	if (in == NULL)
		abort();
	memcpy(in, data, size);
	pid = fit(in, size);
	fd = memfd_seal("upgrade", in, size, NULL);
	if (fd == -1)
		abort();
	if (upgrade_state_read(fd, pid, &s, &strings, &len, &err) == 0) {
		if (len != size - sizeof(s) || memcmp(&s, in, sizeof(s)) != 0)
			abort();
		check_numbers(&s);
		write_again(&s, strings, len, in, size);
		refused(fd, pid ^ 1);
		unsealed(in, size, pid);
		free(strings);
	} else {
		refused(fd, pid);
	}
	close(fd);
	free(in);
	return 0;
}
