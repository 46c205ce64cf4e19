/*
 * channel_fd.c: of what kind is a descriptor that came along (see channel.h)?  Every process.
 */
#include "channel.h"

#include <linux/magic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "memfd.h"

#ifndef CGROUP2_SUPER_MAGIC
#define CGROUP2_SUPER_MAGIC 0x63677270
#endif

static int
socket_is(int fd, int want_domain_unix, int want_type, int want_listen)
{
	int domain, type, listening;
	socklen_t n = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == -1)
		return 0;
	n = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == -1)
		return 0;
	n = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) == -1)
		return 0;
	if (want_listen)
		return listening && (domain == AF_INET || domain == AF_INET6 || domain == AF_UNIX);
	if (want_domain_unix)
		return domain == AF_UNIX && type == want_type && !listening;
	return (domain == AF_INET || domain == AF_INET6) && type == want_type && !listening;
}

static int
netlink_is(int fd)
{
	int domain;
	socklen_t n = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_NETLINK;
}

int
channel_fd_is(int fd, enum fd_kind kind)
{
	struct stat st;
	struct statfs sfs;

	/*
	 * The seals and the socket's kind are the kernel's answers.  fstat may be a question to a file
	 * system that a local user serves and that never answers: the parent, which takes only memory
	 * files and sockets, never asks it.
	 */
	switch (kind) {
	case FD_MEMFD:
		return memfd_check(fd, LIMIT_MEMFD, NULL, NULL) == 0;
	case FD_STREAM:
		return socket_is(fd, 0, SOCK_STREAM, 0);
	case FD_LISTENER:
		return socket_is(fd, 0, 0, 1);
	case FD_CHANNEL:
		return socket_is(fd, 1, SOCK_SEQPACKET, 0);
	case FD_NETLINK:
		return netlink_is(fd);
	default:
		break;
	}
	if (fstat(fd, &st) == -1)
		return 0;
	switch (kind) {
	case FD_FILE:
		return S_ISREG(st.st_mode);
	case FD_DIR:
		return S_ISDIR(st.st_mode);
	case FD_PIPE:
		return S_ISFIFO(st.st_mode);
	case FD_PIDFD: /* an anonymous inode, or pidfs on newer kernels: no usual file type, or regular */
		return !S_ISDIR(st.st_mode) && !S_ISSOCK(st.st_mode) && !S_ISFIFO(st.st_mode) &&
		       !S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode) && !S_ISLNK(st.st_mode);
	case FD_CGROUP:
		return S_ISREG(st.st_mode) && fstatfs(fd, &sfs) == 0 &&
		       (unsigned long)sfs.f_type == CGROUP2_SUPER_MAGIC;
	case FD_NONE:
	default:
		return 0;
	}
}
