/*
 * fuzz_link_messages.c: what parent and confd may send, in any order and with any content, to the
 * handlers of opampd-link itself.  Input: one byte, whether the agent is a generic one with a health
 * endpoint; then steps.  A step is a byte: the number of a message of the table (its payload
 * follows; with 0x80 one byte for each field, for small numbers; its descriptor is one of the right kind), or 0xfe: so many bytes (u8 length) of the
 * agent's output, or 0xff: a neighbour's channel is new.
 */
int link_main(void);
#define main link_main
#include "netd/link.c" /* the handlers are the program's own */
#undef main

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <linux/netlink.h>

#include "privsep/memfd.h"

#include "messages.h"

#define PIPES 4
#define STEPS 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	int pipes[PIPES]; /* writing ends */
	size_t next;
} bench;

static void
quiet(int fd, const void *data, size_t len)
{
	if (fd >= 0 && write(fd, data, len) == -1)
		return; /* a full pipe, a closed one: the agent's trouble */
}

static int
new_pipe(void)
{
	int fds[2];
	int *place = &bench.pipes[bench.next++ % PIPES];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == -1)
		return -1;
	if (*place >= 0)
		close(*place);
	*place = fds[1];
	return fds[0];
}

static int
new_listener(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0)
		(void)listen(fd, 1);
	return fd;
}

/* What the channel lets through: a descriptor of the right kind, its content anything. */
static int
descriptor(uint32_t kind, const uint8_t *data, size_t len)
{
	int sv[2];

	switch (kind) {
	case FD_MEMFD:
		return memfd_seal("fuzz", data, len > 200 ? 200 : len, NULL);
	case FD_FILE:
		return memfd_create("log", MFD_CLOEXEC);
	case FD_STREAM:
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == -1)
			return -1;
		quiet(sv[1], data, len > 200 ? 200 : len);
		close(sv[1]);
		return sv[0];
	case FD_LISTENER:
		return new_listener();
	case FD_NETLINK:
		return socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	case FD_PIPE:
		return new_pipe();
	default:
		return -1;
	}
}

/* One message.  Gives the bytes used; 0 = the sender would be ended here. */
static size_t
message(struct link *l, uint32_t type, int small, const uint8_t *data, size_t size)
{
	const struct message_rule *rule = &message_rules[type];
	_Alignas(16) char payload[LIMIT_MESSAGE_PAYLOAD] = {0};
	struct message m = {.type = type, .payload = payload, .tail = "", .fd = -1};
	size_t want = small ? rule->size / 4 : rule->size, n = want > size ? size : want, i;
	int r;

	m.peer = rule->from & P(CONFD) ? PROC_CONFD : PROC_PARENT;
	if (!small)
		memcpy(payload, data, n);
	for (i = 0; small && i < n; i++)
		put_field(payload + 4 * i, data[i]);
	if (rule->fd != FD_NONE) {
		m.fd = descriptor(rule->fd, data + n, size - n);
		if (m.fd == -1)
			return 0;
	}
	r = on_message(l, &m);
	count_message(type, m.peer, PROC_LINK, r == 0);
	if (m.fd >= 0)
		close(m.fd);
	return r == -1 ? 0 : n + 1;
}

/* Handled by the frame of every child, not by link. */
static int
is_for_link(uint32_t type)
{
	return type > MSG_NONE && type < MSG_COUNT && (message_rules[type].to & P(LINK)) != 0 &&
	       (type < MSG_CHILD_START || type > MSG_CHILD_END);
}

static void
steps(struct link *l, const uint8_t *data, size_t size)
{
	size_t n;
	int i;

	for (i = 0; i < STEPS && size > 0; i++) {
		uint8_t step = *data++;

		size--;
		n = 1;
		if (step == 0xfe && size > 0) {
			n = (size_t)data[0] + 1 > size ? size : (size_t)data[0] + 1;
			quiet(bench.pipes[(bench.next + PIPES - 1) % PIPES], data + 1, n - 1);
			n++;
		} else if (step == 0xff) {
			on_peer_up(l, PROC_CONFD);
		} else if (is_for_link(step & 0x7f)) {
			n = message(l, step & 0x7f, step >> 7, data, size);
			if (n == 0)
				return;
		}
		data += n - 1;
		size -= n - 1;
		(void)event_base_loop(l->child.base, EVLOOP_NONBLOCK);
	}
}

static void
give_settings(struct link *l, int generic)
{
	struct record_writer w = {0};
	struct error err;
	int fd;

	record_put_u64(&w, SET_AGENT_TYPE, (uint64_t)generic);
	if (generic)
		record_put_string(&w, SET_HEALTH_ENDPOINT, "http://127.0.0.1:13133/");
	fd = record_finish_memfd(&w, "settings", &err);
	if (fd == -1 || settings_open(&l->child.settings, fd, PROC_LINK, &err) == -1)
		abort();
	close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct event_base *base;
	struct link *l;
	size_t i;

	if (base == NULL) {
		log_set_level(LOG_LEVEL_NOTHING);
		base = event_base_new();
		(void)signal(SIGPIPE, SIG_IGN);
	}
	if (size == 0)
		return 0;
	input_begins();
	l = calloc(1, sizeof(*l));
	if (l == NULL || base == NULL)
		abort();
	for (i = 0; i < PIPES; i++)
		bench.pipes[i] = -1;
	bench.next = 0;
	l->child.self = PROC_LINK;
	l->child.base = base;
	give_settings(l, data[0] & 1);
	set_up(l);
	l->working = 1;
	steps(l, data + 1, size - 1);
	for (i = 0; i < PIPES; i++)
		if (bench.pipes[i] >= 0)
			close(bench.pipes[i]);
	link_server_free(l->server);
	output_free(l->output);
	probe_free(l->probe);
	link_sessions_clear(&l->sessions);
	pace_clear(&l->pace);
	settings_free(&l->child.settings);
	free(l);
	input_ends();
	return 0;
}
