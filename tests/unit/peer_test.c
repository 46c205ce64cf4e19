/*
 * peer_test.c: invariant I15: only the owner of an established socket is somebody.
 */
#include "test.h"

#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <unistd.h>

#include "netd/peer.h"

struct ends {
	int diag, listener, client, server;
};

static void
open_ends(struct ends *e)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t n = sizeof(a);

	e->diag = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	e->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(e->diag >= 0 && e->listener >= 0);
	assert_int_equal(bind(e->listener, (struct sockaddr *)(void *)&a, sizeof(a)), 0);
	assert_int_equal(listen(e->listener, 4), 0);
	assert_int_equal(getsockname(e->listener, (struct sockaddr *)(void *)&a, &n), 0);
	e->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(e->client, (struct sockaddr *)(void *)&a, sizeof(a)), 0);
	e->server = accept4(e->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(e->server >= 0);
}

static void
close_ends(struct ends *e)
{
	if (e->client >= 0)
		close(e->client);
	close(e->server);
	close(e->listener);
	close(e->diag);
}

static int
unusable(struct ends *e)
{
	struct error err;

	return peer_usable(e->diag, e->listener, &err) == -1;
}

static void
test_I15_the_owner_of_a_connection(void **state)
{
	struct ends e;
	struct error err;
	uint32_t uid = 12345;

	(void)state;
	open_ends(&e);
	if (unusable(&e)) {
		close_ends(&e);
		skip(); /* this kernel has no tcp_diag */
	}
	assert_int_equal(peer_uid(e.diag, e.server, &uid, &err), PEER_KNOWN);
	assert_int_equal(uid, geteuid());
	/* twice on one descriptor: answers do not get mixed up */
	assert_int_equal(peer_uid(e.diag, e.client, &uid, &err), PEER_KNOWN);
	close_ends(&e);
}

static void
test_I15_a_closed_peer_is_nobody(void **state)
{
	struct ends e;
	struct error err;
	uint32_t uid = 12345;

	(void)state;
	open_ends(&e);
	if (unusable(&e)) {
		close_ends(&e);
		skip();
	}
	assert_int_equal(write(e.client, "GET", 3), 3);
	close(e.client);
	e.client = -1;
	assert_int_equal(peer_uid(e.diag, e.server, &uid, &err), PEER_NOBODY);
	assert_int_equal(uid, 12345); /* not the 0 that the kernel shows */
	close_ends(&e);
}

static void
test_I15_a_half_closed_peer_is_nobody(void **state)
{
	struct ends e;
	struct error err;
	uint32_t uid = 12345;

	(void)state;
	open_ends(&e);
	if (unusable(&e)) {
		close_ends(&e);
		skip();
	}
	assert_int_equal(shutdown(e.client, SHUT_WR), 0);
	assert_int_equal(peer_uid(e.diag, e.server, &uid, &err), PEER_NOBODY);
	close_ends(&e);
}

static void
test_I15_a_descriptor_that_cannot_answer(void **state)
{
	struct ends e;
	struct error err;
	uint32_t uid;
	int plain;

	(void)state;
	open_ends(&e);
	plain = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	assert_true(plain >= 0);
	assert_int_not_equal(peer_uid(plain, e.server, &uid, &err), PEER_KNOWN);
	assert_int_equal(peer_usable(plain, e.listener, &err), -1);
	close(plain);
	close_ends(&e);
}

static void
test_I15_the_judgement(void **state)
{
	struct inet_diag_msg m;
	uint32_t uid = 7;

	(void)state;
	memset(&m, 0, sizeof(m));
	assert_int_equal(peer_judge(&m, &uid), PEER_NOBODY);
	m.idiag_state = TCP_ESTABLISHED;
	assert_int_equal(peer_judge(&m, &uid), PEER_NOBODY); /* no inode: an orphan */
	m.idiag_inode = 1;
	m.idiag_state = TCP_FIN_WAIT1;
	assert_int_equal(peer_judge(&m, &uid), PEER_NOBODY);
	assert_int_equal(uid, 7);
	m.idiag_state = TCP_ESTABLISHED;
	m.idiag_uid = 42;
	assert_int_equal(peer_judge(&m, &uid), PEER_KNOWN);
	assert_int_equal(uid, 42);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_I15_the_owner_of_a_connection),
	    cmocka_unit_test(test_I15_a_closed_peer_is_nobody),
	    cmocka_unit_test(test_I15_a_half_closed_peer_is_nobody),
	    cmocka_unit_test(test_I15_a_descriptor_that_cannot_answer),
	    cmocka_unit_test(test_I15_the_judgement),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
