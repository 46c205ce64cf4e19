/*
 * fuzz_peer.c: datagrams in answer to "who owns this connection", of the kernel and of others that may
 * send to a netlink socket.  Input: one byte (bits 0 and 1: the connection's family; 4: it is a question
 * for the listener), then datagrams: one byte of flags (1: the kernel sent it, 2: it answers this question,
 * 4: its length is right, 8: it is an entry, 16: an entry for our connection, 32: an error, 64: the call
 * is interrupted first, 128: it is of an established socket with an inode), one byte of length, the bytes.
 * What must hold: nobody is known but by the kernel's answer to this question about this connection.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

static int fuzz_name(int peer, struct sockaddr *a, socklen_t *len);
static ssize_t fuzz_sendto(const void *data, size_t len);
static ssize_t fuzz_recvfrom(void *buf, size_t size, struct sockaddr *from, socklen_t *from_len);

#define getsockname(fd, a, n)                     ((void)(fd), fuzz_name(0, a, n))
#define getpeername(fd, a, n)                     ((void)(fd), fuzz_name(1, a, n))
#define sendto(fd, data, len, flags, to, to_len)  ((void)(fd), (void)(to), fuzz_sendto(data, len))
#define recvfrom(fd, buf, size, flags, from, len) ((void)(fd), fuzz_recvfrom(buf, size, from, len))
#include "netd/peer.c" /* with the kernel played by us */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	const uint8_t *data;
	size_t size;
	unsigned family;
	struct query asked;
	int true_answer; /* the last datagram was the kernel's, about this connection, of an owner */
	uint32_t uid;
} k;

static int
fuzz_name(int peer, struct sockaddr *a, socklen_t *len)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(peer ? 50000 : 4320)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(peer ? 50000 : 4320)};

	v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	v6.sin6_addr = in6addr_loopback;
	switch (k.family) {
	case 0:
		*len = sizeof(v4);
		memcpy(a, &v4, sizeof(v4));
		return 0;
	case 1:
		*len = sizeof(v6);
		memcpy(a, &v6, sizeof(v6));
		return 0;
	case 2:
		a->sa_family = peer ? AF_INET : AF_UNIX;
		return 0;
	default:
		a->sa_family = AF_UNIX;
		errno = ENOTCONN;
		return peer ? -1 : 0;
	}
}

static ssize_t
fuzz_sendto(const void *data, size_t len)
{
	if (len != sizeof(k.asked))
		abort();
	memcpy(&k.asked, data, len);
	return (ssize_t)len;
}

/* A datagram as the flags have it, whatever the input says. */
static void
mend(uint8_t flags, struct nlmsghdr *head, size_t n, struct inet_diag_msg *m)
{
	if (flags & 2)
		head->nlmsg_seq = k.asked.head.nlmsg_seq;
	if (flags & 4)
		head->nlmsg_len = (uint32_t)n;
	if (flags & 8)
		head->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	if (flags & 32)
		head->nlmsg_type = NLMSG_ERROR;
	if (flags & 16)
		m->id = k.asked.ask.id;
	if (flags & 128) {
		m->idiag_state = TCP_ESTABLISHED;
		m->idiag_inode |= 1;
	}
}

static ssize_t
fuzz_recvfrom(void *buf, size_t size, struct sockaddr *from, socklen_t *from_len)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_msg m;
		char more[256];
	} d = {0};
	struct sockaddr_nl nl = {.nl_family = AF_NETLINK};
	uint8_t flags;
	size_t n;

	if (k.size < 2) {
		errno = EAGAIN;
		return -1;
	}
	flags = k.data[0];
	if (flags & 64) {
		errno = EINTR;
		k.data++; /* the rest of it is read anew as another */
		k.size--;
		return -1;
	}
	n = k.data[1];
	k.data += 2;
	k.size -= 2;
	n = n < k.size ? n : k.size;
	memcpy(&d, k.data, n);
	k.data += n;
	k.size -= n;
	mend(flags, &d.head, n, &d.m);
	nl.nl_pid = flags & 1 ? 0 : 4711;
	memcpy(from, &nl, sizeof(nl));
	*from_len = sizeof(nl);
	k.uid = d.m.idiag_uid;
	k.true_answer =
	    flags & 1 && n >= sizeof(d.head) + sizeof(d.m) &&
	    d.head.nlmsg_seq == k.asked.head.nlmsg_seq && d.head.nlmsg_len <= n &&
	    d.head.nlmsg_len >= sizeof(d.head) + sizeof(d.m) &&
	    d.head.nlmsg_type == SOCK_DIAG_BY_FAMILY &&
	    d.m.id.idiag_sport == k.asked.ask.id.idiag_sport &&
	    d.m.id.idiag_dport == k.asked.ask.id.idiag_dport &&
	    memcmp(d.m.id.idiag_src, k.asked.ask.id.idiag_src, k.family == 0 ? 4 : 16) == 0 &&
	    memcmp(d.m.id.idiag_dst, k.asked.ask.id.idiag_dst, k.family == 0 ? 4 : 16) == 0 &&
	    d.m.idiag_state == TCP_ESTABLISHED && d.m.idiag_inode != 0;
	memcpy(buf, &d, n < size ? n : size);
	return (ssize_t)n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	uint32_t uid = 0;

	if (size == 0)
		return 0;
	memset(&k, 0, sizeof(k));
	k.family = data[0] & 3;
	k.data = data + 1;
	k.size = size - 1;
	err.text[0] = '\0';
	if (data[0] & 4) {
		if (peer_usable(3, 4, &err) == -1 && err.text[0] == '\0')
			abort();
		return 0;
	}
	switch (peer_uid(3, 4, &uid, &err)) {
	case PEER_KNOWN:
		if (!k.true_answer || uid != k.uid)
			abort();
		break;
	case PEER_NOBODY:
	case PEER_UNUSABLE:
		if (k.true_answer || err.text[0] == '\0')
			abort();
		break;
	}
	return 0;
}
