/*
 * happy_test.c: connecting to one of several addresses (RFC 8305).
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netd/happy.h"
#include "privsep/child.h"

struct address {
	struct addrinfo info;
	struct sockaddr_storage at;
};

static void
set4(struct address *a, uint32_t host, uint16_t port, struct address *next)
{
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)&a->at;

	memset(a, 0, sizeof(*a));
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(host);
	in->sin_port = htons(port);
	a->info.ai_family = AF_INET;
	a->info.ai_addr = (struct sockaddr *)(void *)&a->at;
	a->info.ai_addrlen = sizeof(*in);
	a->info.ai_next = next == NULL ? NULL : &next->info;
}

static void
set6(struct address *a, const struct in6_addr *host, uint16_t port, struct address *next)
{
	struct sockaddr_in6 *in = (struct sockaddr_in6 *)(void *)&a->at;

	memset(a, 0, sizeof(*a));
	in->sin6_family = AF_INET6;
	in->sin6_addr = *host;
	in->sin6_port = htons(port);
	a->info.ai_family = AF_INET6;
	a->info.ai_addr = (struct sockaddr *)(void *)&a->at;
	a->info.ai_addrlen = sizeof(*in);
	a->info.ai_next = next == NULL ? NULL : &next->info;
}

static int
listener(uint16_t *port, int backlog)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)(void *)&a, sizeof(a)), 0);
	if (backlog > 0)
		assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)(void *)&a, &n), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static void
test_families_take_turns(void **state)
{
	static const struct in6_addr six = {{{0x20, 1, 0xd, 0xb8}}};
	const struct addrinfo *order[HAPPY_ADDRESSES];
	struct address a[5];

	(void)state;
	set4(&a[4], 0x0a000003, 1, NULL);
	set4(&a[3], 0x0a000002, 1, &a[4]);
	set4(&a[2], 0x0a000001, 1, &a[3]);
	set6(&a[1], &six, 1, &a[2]);
	set6(&a[0], &six, 1, &a[1]);
	assert_int_equal(happy_order(&a[0].info, 0, order), 5);
	assert_ptr_equal(order[0], &a[0].info);
	assert_ptr_equal(order[1], &a[2].info);
	assert_ptr_equal(order[2], &a[1].info);
	assert_ptr_equal(order[3], &a[3].info);
	assert_ptr_equal(order[4], &a[4].info);
	assert_int_equal(happy_order(NULL, 0, order), 0);
}

static void
test_only_loopback_where_it_must_be(void **state)
{
	static const struct in6_addr outside = {{{0x20, 1, 0xd, 0xb8}}};
	static const struct in6_addr mapped = {
	    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}}};
	const struct addrinfo *order[HAPPY_ADDRESSES];
	struct address a[5];
	struct happy_answer answer;

	(void)state;
	set6(&a[4], &outside, 1, NULL);
	set6(&a[3], &mapped, 1, &a[4]);
	set6(&a[2], &in6addr_loopback, 1, &a[3]);
	set4(&a[1], 0x7f000001, 1, &a[2]);
	set4(&a[0], 0x0a000001, 1, &a[1]);
	assert_int_equal(happy_order(&a[0].info, 1, order), 3);
	assert_ptr_equal(order[0], &a[1].info);
	assert_ptr_equal(order[1], &a[2].info);
	assert_ptr_equal(order[2], &a[3].info);
	a[0].info.ai_next = NULL;
	answer = happy_connect(&a[0].info, 1, now_ms() + 1000);
	assert_int_equal(answer.fd, -1);
	assert_int_equal(answer.kind, CONNECT_ERRNO);
	assert_int_equal(answer.code, EADDRNOTAVAIL);
}

static void
test_more_addresses_than_are_tried(void **state)
{
	const struct addrinfo *order[HAPPY_ADDRESSES];
	static struct address a[HAPPY_ADDRESSES + 9];
	size_t i, n = sizeof(a) / sizeof(a[0]);

	(void)state;
	for (i = n; i-- > 0;)
		set4(&a[i], 0x7f000001, 1, i + 1 < n ? &a[i + 1] : NULL);
	assert_int_equal(happy_order(&a[0].info, 0, order), HAPPY_ADDRESSES);
}

static void
test_a_refused_address_is_passed_over_at_once(void **state)
{
	struct address a[2];
	struct happy_answer answer;
	uint16_t good, bad;
	int fd = listener(&good, 4), closed = listener(&bad, 0), one;
	socklen_t n = sizeof(one);
	uint64_t begin = now_ms();

	(void)state;
	set4(&a[1], INADDR_LOOPBACK, good, NULL);
	set4(&a[0], INADDR_LOOPBACK, bad, &a[1]);
	answer = happy_connect(&a[0].info, 0, begin + 5000);
	assert_true(answer.fd >= 0);
	assert_int_equal(answer.kind, CONNECT_OK);
	assert_in_range(now_ms() - begin, 0, HAPPY_DELAY_MS - 50);
	assert_int_equal(getsockopt(answer.fd, IPPROTO_TCP, TCP_NODELAY, &one, &n), 0);
	assert_int_not_equal(one, 0);
	assert_int_equal(getsockopt(answer.fd, SOL_SOCKET, SO_KEEPALIVE, &one, &n), 0);
	assert_int_not_equal(one, 0);
	assert_true(fcntl(answer.fd, F_GETFD) & FD_CLOEXEC);
	close(answer.fd);
	a[0].info.ai_next = NULL;
	answer = happy_connect(&a[0].info, 0, now_ms() + 5000);
	assert_int_equal(answer.fd, -1);
	assert_int_equal(answer.kind, CONNECT_ERRNO);
	assert_int_equal(answer.code, ECONNREFUSED);
	close(fd);
	close(closed);
}

/* A listener whose queue is full does not answer: what a dead host looks like. */
static int
silent(uint16_t *port, int fillers[8])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = listener(port, 1), i;

	a.sin_port = htons(*port);
	for (i = 0; i < 8; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(fillers[i], (struct sockaddr *)(void *)&a, sizeof(a));
	}
	return fd;
}

static void
test_a_silent_address_holds_up_for_a_quarter_second(void **state)
{
	struct address a[2];
	struct happy_answer answer;
	uint16_t good, dead;
	int fillers[8], i, fd = listener(&good, 4), deaf = silent(&dead, fillers);
	uint64_t begin = now_ms();

	(void)state;
	set4(&a[1], INADDR_LOOPBACK, good, NULL);
	set4(&a[0], INADDR_LOOPBACK, dead, &a[1]);
	answer = happy_connect(&a[0].info, 0, begin + 5000);
	assert_true(answer.fd >= 0);
	assert_in_range(now_ms() - begin, HAPPY_DELAY_MS - 1, 1000);
	close(answer.fd);
	/* and for no longer than the caller has */
	a[0].info.ai_next = NULL;
	begin = now_ms();
	answer = happy_connect(&a[0].info, 0, begin + 300);
	assert_int_equal(answer.fd, -1);
	assert_int_equal(answer.kind, CONNECT_TIMEOUT);
	assert_in_range(now_ms() - begin, 299, 1000);
	for (i = 0; i < 8; i++)
		close(fillers[i]);
	close(deaf);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_families_take_turns),
	    cmocka_unit_test(test_only_loopback_where_it_must_be),
	    cmocka_unit_test(test_more_addresses_than_are_tried),
	    cmocka_unit_test(test_a_refused_address_is_passed_over_at_once),
	    cmocka_unit_test(test_a_silent_address_holds_up_for_a_quarter_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
