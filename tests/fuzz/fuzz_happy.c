/*
 * fuzz_happy.c: what a resolver may answer, and what connecting to it may give.  Input: one byte (1:
 * loopback only), one byte: how many addresses, each of one byte of kind and one of the last octet; then a
 * byte for everything the network does.  What must hold: each usable address is tried once at most, in
 * its turn, nothing but loopback where only that is allowed, every descriptor is closed or handed over,
 * and there is an end.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "privsep/child.h"

static int fuzz_socket(int family);
static int fuzz_connect(int fd, const struct sockaddr *a);
static int fuzz_poll(struct pollfd *p, nfds_t n, int ms);
static int fuzz_getsockopt(int *code);
static int fuzz_close(int fd);
static uint64_t fuzz_now(void);

#define socket(family, type, protocol)    fuzz_socket(family)
#define connect(fd, a, len)               fuzz_connect(fd, a)
#define poll(p, n, ms)                    fuzz_poll(p, n, ms)
#define getsockopt(fd, level, name, v, n) ((void)(n), fuzz_getsockopt(v))
#define setsockopt(fd, level, name, v, n) ((void)(v), 0)
#define close(fd)                         fuzz_close(fd)
#define now_ms()                          fuzz_now()
#include "netd/happy.c" /* with the network played by us */

#define FIRST 100 /* descriptors are numbers only */
#define MOST  64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	const uint8_t *data;
	size_t size;
	int loopback_only, made, open[MOST], calls;
	uint64_t now;
} net;

static uint8_t
byte(void)
{
	if (net.size == 0)
		return 0;
	net.size--;
	return *net.data++;
}

static int
fuzz_socket(int family)
{
	if (family != AF_INET && family != AF_INET6)
		abort();
	if (net.made == MOST)
		abort(); /* more than there are addresses */
	if (byte() == 1) {
		errno = EMFILE;
		return -1;
	}
	net.open[net.made] = 1;
	return FIRST + net.made++;
}

static int
fuzz_connect(int fd, const struct sockaddr *a)
{
	static const int codes[] = {EINPROGRESS, ENETUNREACH, ECONNREFUSED, EACCES, EINPROGRESS};

	if (!net.open[fd - FIRST])
		abort();
	if (net.loopback_only && a->sa_family == AF_INET &&
	    ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 != 127)
		abort();
	errno = codes[byte() % 5];
	return -1;
}

static int
fuzz_poll(struct pollfd *p, nfds_t n, int ms)
{
	uint8_t what = byte();
	nfds_t i;

	if (n > HAPPY_ADDRESSES || ms < 0 || ++net.calls > 10000)
		abort(); /* it goes round and round */
	for (i = 0; i < n; i++)
		p[i].revents = 0;
	if (n == 0 || what < 64) {
		net.now += (uint64_t)ms;
		return 0;
	}
	if (what < 80) {
		errno = EINTR;
		return -1;
	}
	net.now += (uint64_t)(ms * (what & 3) / 4);
	p[what % n].revents = POLLOUT;
	return 1;
}

static int
fuzz_getsockopt(int *code)
{
	static const int codes[] = {0, ECONNREFUSED, ETIMEDOUT, ENETUNREACH};
	uint8_t what = byte();

	*code = codes[what & 3];
	errno = EINVAL;
	return what < 250 ? 0 : -1;
}

static int
fuzz_close(int fd)
{
	if (fd < FIRST || fd >= FIRST + net.made || !net.open[fd - FIRST])
		abort();
	net.open[fd - FIRST] = 0;
	return 0;
}

static uint64_t
fuzz_now(void)
{
	return net.now;
}

struct address {
	struct addrinfo info;
	struct sockaddr_in6 v6;
	struct sockaddr_in v4;
};

static void
make(struct address *a, uint8_t kind, uint8_t last)
{
	a->v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(1)};
	a->v4.sin_addr.s_addr = htonl((kind & 8 ? 0x7f000000u : 0x0a000000u) | last);
	a->v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(1)};
	a->v6.sin6_addr.s6_addr[15] = last;
	if (kind & 16) { /* an IPv4 address in IPv6's clothes */
		a->v6.sin6_addr.s6_addr[10] = a->v6.sin6_addr.s6_addr[11] = 0xff;
		a->v6.sin6_addr.s6_addr[12] = kind & 8 ? 127 : 10;
	}
	a->info.ai_family = (kind & 3) == 0 ? AF_INET : (kind & 3) == 1 ? AF_INET6 : AF_UNIX;
	a->info.ai_addr =
	    (kind & 3) == 0 ? (struct sockaddr *)(void *)&a->v4 : (struct sockaddr *)(void *)&a->v6;
	a->info.ai_addrlen = (kind & 3) == 0 ? sizeof(a->v4) : sizeof(a->v6);
	if (kind & 32)
		a->info.ai_addrlen -= 8; /* too short for what it says to be */
	if (kind & 64)
		a->info.ai_addr = NULL;
}

static void
check_order(const struct addrinfo *list, int loopback_only)
{
	const struct addrinfo *order[HAPPY_ADDRESSES];
	size_t n = happy_order(list, loopback_only, order), i, j;

	if (n > HAPPY_ADDRESSES)
		abort();
	for (i = 0; i < n; i++)
		for (j = 0; j < i; j++)
			if (order[i] == order[j])
				abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct address *a;
	struct happy_answer answer;
	size_t n, i;
	int k, left = 0;

	if (size < 2)
		return 0;
	memset(&net, 0, sizeof(net));
	net.data = data;
	net.size = size;
	net.loopback_only = byte() & 1;
	net.now = 1000000;
	n = byte() % MOST;
	a = calloc(n + 1, sizeof(*a));
	if (a == NULL)
		abort();
	for (i = 0; i < n; i++) {
		uint8_t kind = byte(), last = byte();

		make(&a[i], kind, last);
		a[i].info.ai_next = i + 1 < n ? &a[i + 1].info : NULL;
	}
	check_order(n > 0 ? &a[0].info : NULL, net.loopback_only);
	answer = happy_connect(n > 0 ? &a[0].info : NULL, net.loopback_only, net.now + 30000);
	for (k = 0; k < net.made; k++)
		left += net.open[k];
	if (answer.fd >= 0 ? left != 1 || !net.open[answer.fd - FIRST] || answer.kind != CONNECT_OK
			   : left != 0 || answer.kind == CONNECT_OK)
		abort();
	free(a);
	return 0;
}
