/*
 * fuzz_link_http.c: the bytes of an accepted connection of the agent's user, through HTTP, WebSocket
 * and OpAMP, as they come from a socket.  Input: one byte, how many bytes arrive at once (0: all;
 * the top bit: the answers are read at the end only), then the bytes.  The secret is the digits 0 to f, four times:
 * without it nothing is heard.
 */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netd/link_server.h"
#include "privsep/log.h"

#define SECRET "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define AGENT  1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
turn(struct child *child, int peer, int hears)
{
	char buf[4096];

	(void)event_base_loop(child->base, EVLOOP_NONBLOCK);
	while (hears && recv(peer, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static void
talk(struct child *child, struct link_server *server, const uint8_t *data, size_t size)
{
	size_t part = data[0] & 127, n;
	int hears = data[0] < 128, little = 1, sv[2], i;
	ssize_t sent;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == -1)
		return;
	if (!hears) /* a pipe that is full soon */
		(void)setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
	link_server_take(server, sv[0], AGENT);
	for (data++, size--; size > 0; data += sent, size -= (size_t)sent) {
		n = part == 0 || part > size ? size : part;
		sent = send(sv[1], data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		turn(child, sv[1], hears);
		if (sent <= 0)
			break;
	}
	if (hears)
		(void)shutdown(sv[1], SHUT_WR);
	for (i = 0; i < (hears ? 4 : 12); i++)
		turn(child, sv[1], 1);
	close(sv[1]);
}

static int
was_heard(const struct link_sessions *all)
{
	const struct link_session *s;

	LIST_FOREACH (s, &all->list, entry)
		if (s->connected || s->heard_ms != 0)
			return 1;
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct child child;
	struct link_secrets secrets = {.next = SECRET};
	struct link_sessions sessions;
	struct link_server *server;
	struct error err;

	if (child.base == NULL) {
		log_set_level(LOG_LEVEL_ERROR);
		(void)signal(SIGPIPE, SIG_IGN);
		child.self = PROC_LINK;
		child.base = event_base_new();
	}
	if (size == 0 || child.base == NULL || link_sessions_init(&sessions, &child) == -1)
		return 0;
	server = link_server_new(&child, &secrets, &sessions);
	if (server == NULL || link_secrets_begun(&secrets, 1, AGENT_RUN, AGENT, &err) == NULL)
		abort();
	talk(&child, server, data, size);
	if (memmem(data, size, SECRET, sizeof(SECRET) - 1) == NULL && was_heard(&sessions))
		abort();
	link_server_ended(server, 1);
	link_session_end(&sessions, 1);
	link_server_free(server);
	link_sessions_clear(&sessions);
	return 0;
}
