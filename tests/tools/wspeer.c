/*
 * wspeer.c: wire/ws.c on a real connection, in either role, for tests against other implementations.
 *
 *	wspeer server MAX        listens on loopback, prints the port; one connection after the other
 *	wspeer client MAX PORT   one connection to loopback
 *
 * Binary messages are sent back, but for: "ping" (a ping; "pong" is sent when its pong comes) and
 * "close CODE WORDS" (we close).  At the end of each connection a line says how it was: "closed CODE
 * words", "broken words", "eof".
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/http.h"
#include "wire/ws.h"

#define CHUNK     (64 * KIB)
#define LINGER_MS 5000 /* for the peer to close, once we have said what we had to say */

struct peer {
	int fd;
	struct evbuffer *in, *out;
	struct ws *w;
	int asked; /* pings of ours that wait for a pong */
};

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static int
on_message(void *ctx, const uint8_t *data, size_t len)
{
	struct peer *p = ctx;
	char text[200], *words;
	unsigned long code;

	if (len < sizeof(text)) {
		memcpy(text, data, len);
		text[len] = '\0';
		if (strcmp(text, "ping") == 0) {
			p->asked++;
			return ws_ping(p->w);
		}
		if (strncmp(text, "close ", 6) == 0) {
			code = strtoul(text + 6, &words, 10);
			ws_close(p->w, (uint16_t)code, *words == ' ' ? words + 1 : NULL);
			return 0;
		}
	}
	return ws_send(p->w, data, len / 3, data + len / 3, len - len / 3);
}

static void
on_pong(void *ctx)
{
	struct peer *p = ctx;

	if (p->asked > 0) {
		p->asked--;
		(void)ws_send(p->w, NULL, 0, "pong", 4);
	}
}

/* Waits and moves bytes.  0: the connection is at its end. */
static int
turn(struct peer *p, int reading, int timeout_ms)
{
	struct pollfd pf = {.fd = p->fd, .events = reading ? POLLIN : 0};
	int n;

	if (evbuffer_get_length(p->out) > 0)
		pf.events |= POLLOUT;
	if (poll(&pf, 1, timeout_ms) <= 0)
		return 0;
	if (pf.revents & POLLOUT && evbuffer_write(p->out, p->fd) == -1 && errno != EAGAIN)
		return 0;
	if (reading && pf.revents & (POLLIN | POLLHUP | POLLERR)) {
		n = evbuffer_read(p->in, p->fd, CHUNK);
		return n > 0 || (n == -1 && errno == EAGAIN);
	}
	return !(pf.revents & (POLLHUP | POLLERR));
}

/* Reads the peer's head; fills h. */
static int
take_head(struct peer *p, enum http_kind kind, struct http_head *h)
{
	size_t used;
	int r;

	while ((r = http_head(h, kind, (const char *)evbuffer_pullup(p->in, -1),
		    evbuffer_get_length(p->in), &used, NULL)) == 0)
		if (!turn(p, 1, LINGER_MS))
			return -1;
	if (r == 1)
		evbuffer_drain(p->in, used);
	return r == 1 ? 0 : -1;
}

static int
shake_hands(struct peer *p, enum ws_role role)
{
	static struct http_head h;
	char key[WSKEY_SIZE], accept[WSKEY_ACCEPT_SIZE];
	const char *theirs;

	if (role == WS_CLIENT) {
		if (wskey_new(key) == -1 || wskey_accept(key, accept) == -1)
			return -1;
		evbuffer_add_printf(p->out,
		    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
		    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
		    "Sec-WebSocket-Key: %s\r\n\r\n",
		    key);
		if (take_head(p, HTTP_RESPONSE, &h) == -1 || h.status != 101)
			return -1;
		theirs = http_get(&h, "Sec-WebSocket-Accept");
		return theirs != NULL && strcmp(theirs, accept) == 0 ? 0 : -1;
	}
	if (take_head(p, HTTP_REQUEST, &h) == -1 || !http_has_token(&h, "Upgrade", "websocket"))
		return -1;
	theirs = http_get(&h, "Sec-WebSocket-Key");
	if (theirs == NULL || wskey_accept(theirs, accept) == -1)
		return -1;
	evbuffer_add_printf(p->out,
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
	    "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
	    accept);
	return 0;
}

/* Writes what is left, then reads until the peer is gone, so that it sees our last words. */
static void
end(struct peer *p)
{
	while (evbuffer_get_length(p->out) > 0 && turn(p, 0, LINGER_MS))
		;
	shutdown(p->fd, SHUT_WR);
	while (turn(p, 1, LINGER_MS))
		evbuffer_drain(p->in, evbuffer_get_length(p->in));
}

static void
converse(struct peer *p, enum ws_role role, size_t max)
{
	static const struct ws_callbacks cb = {on_message, on_pong};
	enum ws_state state = WS_OPEN;
	struct error err = {""};

	p->asked = 0;
	p->in = evbuffer_new();
	p->out = evbuffer_new();
	p->w = ws_new(role, max, &cb, p, p->out);
	if (p->in == NULL || p->out == NULL || p->w == NULL)
		die("memory");
	if (evutil_make_socket_nonblocking(p->fd) == -1)
		die("fcntl");
	if (shake_hands(p, role) == -1) {
		printf("no handshake\n");
	} else {
		do
			state = ws_input(p->w, p->in, &err);
		while (state <= WS_CLOSING && turn(p, !ws_stalled(p->w), -1));
		end(p);
		if (state == WS_CLOSED)
			printf("closed %u %s\n", ws_peer_code(p->w), err.text);
		else
			printf("%s%s\n", state == WS_BROKEN ? "broken " : "eof", err.text);
	}
	fflush(stdout);
	ws_free(p->w);
	evbuffer_free(p->in);
	evbuffer_free(p->out);
	close(p->fd);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	struct peer p;
	size_t max;
	int s;

	if (argc < 3) {
		fprintf(stderr, "wspeer server MAX | wspeer client MAX PORT\n");
		return 2;
	}
	max = strtoul(argv[2], NULL, 10);
	s = socket(AF_INET, SOCK_STREAM, 0);
	if (strcmp(argv[1], "client") == 0) {
		a.sin_port = htons((uint16_t)(argc > 3 ? strtoul(argv[3], NULL, 10) : 0));
		if (connect(s, (struct sockaddr *)&a, sizeof(a)) == -1)
			die("connect");
		p.fd = s;
		converse(&p, WS_CLIENT, max);
		return 0;
	}
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) == -1 || listen(s, 16) == -1 ||
	    getsockname(s, (struct sockaddr *)&a, &len) == -1)
		die("listen");
	printf("%u\n", ntohs(a.sin_port));
	fflush(stdout);
	while ((p.fd = accept(s, NULL, NULL)) >= 0)
		converse(&p, WS_SERVER, max);
	die("accept");
}
