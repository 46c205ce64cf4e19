/*
 * peer.c: the owner of the other end of a loopback connection (see peer.h).  link.
 * Nothing is read from the connection here, and no table of the host is walked.
 */
#include "peer.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

#define ANY_COOKIE (~0u)

struct query {
	struct nlmsghdr head;
	struct inet_diag_req_v2 ask;
};

/* The client's socket has our remote end as its source. */
static int
tuple(struct query *q, const struct sockaddr_storage *local, const struct sockaddr_storage *remote)
{
	const struct sockaddr_in *l4, *r4;
	const struct sockaddr_in6 *l6, *r6;

	if (local->ss_family != remote->ss_family)
		return -1;
	q->ask.sdiag_family = (uint8_t)local->ss_family;
	q->ask.sdiag_protocol = IPPROTO_TCP;
	q->ask.idiag_states = ~0u;
	q->ask.id.idiag_cookie[0] = q->ask.id.idiag_cookie[1] = ANY_COOKIE;
	if (local->ss_family == AF_INET) {
		l4 = (const struct sockaddr_in *)(const void *)local;
		r4 = (const struct sockaddr_in *)(const void *)remote;
		q->ask.id.idiag_sport = r4->sin_port;
		q->ask.id.idiag_dport = l4->sin_port;
		memcpy(q->ask.id.idiag_src, &r4->sin_addr, sizeof(r4->sin_addr));
		memcpy(q->ask.id.idiag_dst, &l4->sin_addr, sizeof(l4->sin_addr));
		return 0;
	}
	if (local->ss_family != AF_INET6)
		return -1;
	l6 = (const struct sockaddr_in6 *)(const void *)local;
	r6 = (const struct sockaddr_in6 *)(const void *)remote;
	q->ask.id.idiag_sport = r6->sin6_port;
	q->ask.id.idiag_dport = l6->sin6_port;
	memcpy(q->ask.id.idiag_src, &r6->sin6_addr, sizeof(r6->sin6_addr));
	memcpy(q->ask.id.idiag_dst, &l6->sin6_addr, sizeof(l6->sin6_addr));
	return 0;
}

/* A datagram of the kernel's that answers sequence: its length, 0 = none there. */
static size_t
answer(int diag, uint32_t sequence, void *buf, size_t size)
{
	struct sockaddr_nl from;
	const struct nlmsghdr *head = buf;
	socklen_t from_len;
	ssize_t n;

	for (;;) {
		from_len = sizeof(from);
		memset(&from, 0, sizeof(from));
		n = recvfrom(
		    diag, buf, size, MSG_DONTWAIT, (struct sockaddr *)(void *)&from, &from_len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n < (ssize_t)sizeof(*head))
			return 0;
		if (from.nl_pid != 0 || head->nlmsg_seq != sequence ||
		    head->nlmsg_len < sizeof(*head) || head->nlmsg_len > (size_t)n)
			continue; /* not the kernel, or an older question's */
		return head->nlmsg_len;
	}
}

enum peer_answer
peer_judge(const struct inet_diag_msg *m, uint32_t *uid)
{
	if (m->idiag_state != TCP_ESTABLISHED || m->idiag_inode == 0)
		return PEER_NOBODY;
	*uid = m->idiag_uid;
	return PEER_KNOWN;
}

static int
same_socket(const struct inet_diag_sockid *a, const struct inet_diag_sockid *b, int family)
{
	size_t n = family == AF_INET ? 4 : 16;

	return a->idiag_sport == b->idiag_sport && a->idiag_dport == b->idiag_dport &&
	       memcmp(a->idiag_src, b->idiag_src, n) == 0 &&
	       memcmp(a->idiag_dst, b->idiag_dst, n) == 0;
}

/*
 * Asks for one socket.  PEER_KNOWN: *m is its entry; PEER_NOBODY: the kernel knows none, or has no
 * module that could (the two look the same here: peer_usable tells).
 */
static enum peer_answer
ask(int diag, struct query *q, struct inet_diag_msg *m, struct error *err)
{
	static uint32_t sequence;
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	_Alignas(struct nlmsghdr) char buf[4096];
	const struct nlmsghdr *head = (const struct nlmsghdr *)(const void *)buf;
	const struct nlmsgerr *refused;
	size_t n;

	q->head.nlmsg_len = sizeof(*q);
	q->head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	q->head.nlmsg_flags = NLM_F_REQUEST;
	q->head.nlmsg_seq = ++sequence;
	if (sendto(diag, q, sizeof(*q), 0, (const struct sockaddr *)(const void *)&kernel,
		sizeof(kernel)) != (ssize_t)sizeof(*q)) {
		(void)error_errno(err, "asking the kernel who owns a connection");
		return PEER_UNUSABLE;
	}
	/* the kernel answers within the call that asks */
	n = answer(diag, q->head.nlmsg_seq, buf, sizeof(buf));
	if (n >= NLMSG_LENGTH(sizeof(*refused)) && head->nlmsg_type == NLMSG_ERROR) {
		refused = NLMSG_DATA(head);
		errno = -refused->error;
		if (errno == ENOENT) {
			(void)error_set(err, "the kernel knows no such connection");
			return PEER_NOBODY;
		}
		(void)error_errno(err, "the kernel does not say who owns a connection");
		return PEER_UNUSABLE;
	}
	if (n < NLMSG_LENGTH(sizeof(*m)) || head->nlmsg_type != SOCK_DIAG_BY_FAMILY) {
		(void)error_set(err, "the kernel gave no answer to who owns a connection");
		return PEER_UNUSABLE;
	}
	memcpy(m, NLMSG_DATA(head), sizeof(*m));
	return PEER_KNOWN;
}

enum peer_answer
peer_uid(int diag, int conn, uint32_t *uid, struct error *err)
{
	struct sockaddr_storage local, remote;
	socklen_t local_len = sizeof(local), remote_len = sizeof(remote);
	struct inet_diag_msg m;
	struct query q;
	enum peer_answer got;

	memset(&q, 0, sizeof(q));
	memset(&local, 0, sizeof(local));
	memset(&remote, 0, sizeof(remote));
	if (getsockname(conn, (struct sockaddr *)(void *)&local, &local_len) == -1 ||
	    getpeername(conn, (struct sockaddr *)(void *)&remote, &remote_len) == -1 ||
	    tuple(&q, &local, &remote) == -1) {
		(void)error_set(err, "the connection is gone already");
		return PEER_NOBODY;
	}
	got = ask(diag, &q, &m, err);
	if (got != PEER_KNOWN)
		return got;
	if (!same_socket(&m.id, &q.ask.id, local.ss_family)) {
		(void)error_set(err, "the kernel knows no such connection");
		return PEER_NOBODY;
	}
	got = peer_judge(&m, uid);
	if (got == PEER_NOBODY)
		(void)error_set(err, "its other end is closed already");
	return got;
}

int
peer_usable(int diag, int listener, struct error *err)
{
	struct sockaddr_storage local, nowhere;
	socklen_t local_len = sizeof(local);
	struct inet_diag_msg m;
	struct query q;

	memset(&q, 0, sizeof(q));
	memset(&local, 0, sizeof(local));
	memset(&nowhere, 0, sizeof(nowhere));
	if (getsockname(listener, (struct sockaddr *)(void *)&local, &local_len) == -1)
		return error_errno(err, "the listener for the agent");
	nowhere.ss_family = local.ss_family;
	if (tuple(&q, &nowhere, &local) == -1)
		return error_set(err, "the listener for the agent is not a TCP socket");
	if (ask(diag, &q, &m, err) == PEER_KNOWN)
		return 0;
	return error_set(err, "the kernel does not answer questions about TCP sockets "
			      "(modules inet_diag and tcp_diag: modprobe tcp_diag)");
}
