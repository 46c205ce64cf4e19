/*
 * happy.c: attempts side by side (see happy.h).  connect.
 */
#include "happy.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "privsep/child.h"

struct race {
	struct pollfd attempts[HAPPY_ADDRESSES];
	size_t count;
	int32_t code;
};

static int
is_loopback(const struct addrinfo *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)a->ai_addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)a->ai_addr;

	if (a->ai_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		return v6->sin6_addr.s6_addr[12] == 127;
	return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static int
is_usable(const struct addrinfo *a, int loopback_only)
{
	if (a->ai_addr == NULL)
		return 0;
	if (!(a->ai_family == AF_INET && a->ai_addrlen >= sizeof(struct sockaddr_in)) &&
	    !(a->ai_family == AF_INET6 && a->ai_addrlen >= sizeof(struct sockaddr_in6)))
		return 0;
	return !loopback_only || is_loopback(a);
}

static const struct addrinfo *
next_of(const struct addrinfo *a, int family, int same, int loopback_only)
{
	while (a != NULL && !(is_usable(a, loopback_only) && (a->ai_family == family) == same))
		a = a->ai_next;
	return a;
}

size_t
happy_order(
    const struct addrinfo *list, int loopback_only, const struct addrinfo *out[HAPPY_ADDRESSES])
{
	const struct addrinfo *first = list, *turn[2];
	size_t n = 0, which = 0;

	while (first != NULL && !is_usable(first, loopback_only))
		first = first->ai_next;
	if (first == NULL)
		return 0;
	turn[0] = first;
	turn[1] = next_of(first, first->ai_family, 0, loopback_only);
	while (n < HAPPY_ADDRESSES && (turn[0] != NULL || turn[1] != NULL)) {
		if (turn[which] != NULL) {
			out[n++] = turn[which];
			turn[which] = next_of(
			    turn[which]->ai_next, first->ai_family, which == 0, loopback_only);
		}
		which = !which;
	}
	return n;
}

/* Keeps the error that says most: a family the host does not have says least. */
static void
failed(struct race *r, int code)
{
	if (r->code == 0 || r->code == ENETUNREACH || r->code == EADDRNOTAVAIL ||
	    r->code == EAFNOSUPPORT)
		r->code = code;
}

/* 1: under way; 0: failed at once. */
static int
begin(struct race *r, const struct addrinfo *a)
{
	int one = 1, fd;

	fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd == -1) {
		failed(r, errno);
		return 0;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	if (connect(fd, a->ai_addr, a->ai_addrlen) == -1 && errno != EINPROGRESS) {
		failed(r, errno);
		close(fd);
		return 0;
	}
	r->attempts[r->count++] = (struct pollfd){.fd = fd, .events = POLLOUT};
	return 1;
}

/* The descriptor that is connected, or -1; attempts that failed are closed and counted out. */
static int
look(struct race *r, size_t *ended)
{
	socklen_t len;
	size_t i;
	int code, fd;

	for (i = 0; i < r->count; i++) {
		if (r->attempts[i].revents == 0)
			continue;
		fd = r->attempts[i].fd;
		len = sizeof(code);
		code = 0;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) == -1)
			code = errno;
		r->attempts[i] = r->attempts[--r->count];
		if (code == 0)
			return fd;
		failed(r, code);
		close(fd);
		(*ended)++;
		i--;
	}
	return -1;
}

static void
close_all(struct race *r)
{
	while (r->count > 0)
		close(r->attempts[--r->count].fd);
}

struct happy_answer
happy_connect(const struct addrinfo *list, int loopback_only, uint64_t deadline_ms)
{
	const struct addrinfo *order[HAPPY_ADDRESSES];
	size_t n = happy_order(list, loopback_only, order), next = 0, ended;
	struct happy_answer answer = {.fd = -1, .kind = CONNECT_ERRNO, .code = EADDRNOTAVAIL};
	struct race r = {.count = 0};
	uint64_t now, next_at = 0, until;

	while (answer.fd == -1 && (next < n || r.count > 0)) {
		now = now_ms();
		if (now >= deadline_ms) {
			close_all(&r);
			answer.kind = CONNECT_TIMEOUT;
			answer.code = 0;
			return answer;
		}
		if (next < n && now >= next_at) {
			if (begin(&r, order[next++]))
				next_at = now + HAPPY_DELAY_MS;
			continue;
		}
		until = next < n && next_at < deadline_ms ? next_at : deadline_ms;
		if (poll(r.attempts, (nfds_t)r.count, (int)(until - now)) <= 0)
			continue;
		ended = 0;
		answer.fd = look(&r, &ended);
		if (ended > 0)
			next_at = 0; /* the next one need not wait */
	}
	close_all(&r);
	if (answer.fd >= 0) {
		answer.kind = CONNECT_OK;
		answer.code = 0;
	} else if (r.code != 0) {
		answer.code = r.code;
	}
	return answer;
}
