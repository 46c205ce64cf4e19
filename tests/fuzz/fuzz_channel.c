/*
 * fuzz_channel.c: any datagram with any descriptors on a channel, as a taken-over process may send it, at
 * either end that the table has.  Input: u8 who we are, u8 who the peer is, then steps: u8 how (the low
 * five bits: which descriptor, see kinds[]; 32: a second one, 64: the bytes are the datagram, header and
 * all; 128: it comes while we have paused), u8 type, u16 length (little end first), so many bytes of payload and
 * tail.  A payload that begins with 0xee is refused by the handler, with 0xef it frees the channel, with
 * 0xed it pauses it, with 0xec it keeps the descriptor.
 *
 * What must hold: a handler sees only messages of the table, of this peer and for us, of the size and with
 * exactly the descriptor that the table names (I6), as they were sent; after the first wrong one nothing
 * more; and no descriptor is left open.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/netlink.h>

#include <event2/event.h>

#include "privsep/channel.h"
#include "privsep/discard.h"
#include "privsep/log.h"
#include "privsep/memfd.h"

#define MOST 24 /* descriptors */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define K(kind) (1u << FD_##kind)

/* What each of them is, and may pass for. */
static struct {
	int fd;
	unsigned is;
} kinds[MOST];
static size_t kind_count;

static struct {
	struct channel *c;
	enum proc self, peer;
	int freed, over, paused,
	    given; /* given: place in kinds[] of what the last datagram had, -1 = none */
	uint8_t sent[sizeof(uint32_t) * 4 + LIMIT_MESSAGE_PAYLOAD + 16];
	size_t sent_len;
} now;

static void
add(int fd, unsigned is)
{
	if (fd == -1 || kind_count == MOST)
		abort();
	kinds[kind_count].fd = fd;
	kinds[kind_count++].is = is;
}

/* A memory file of so many bytes, with these seals. */
static int
memory(off_t size, int seals)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd == -1 || ftruncate(fd, size) == -1 || fcntl(fd, F_ADD_SEALS, seals) == -1)
		abort();
	return fd;
}

static void
make_kinds(void)
{
	const int all = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	/* a pidfd may look like a regular file: FD_PIDFD takes both (pidfs) */
	const unsigned file = K(FILE) | K(PIDFD);
	int fds[2], tcp;

	add(memory(10, all), file | K(MEMFD));
	add(memory(10, all & ~F_SEAL_WRITE), file);
	add(memory(10, all & ~F_SEAL_SEAL), file);
	add(memory(10, all & ~F_SEAL_GROW), file);
	add(memory(10, all & ~F_SEAL_SHRINK), file);
	add(memory((off_t)LIMIT_MEMFD, all), file | K(MEMFD));
	add(memory((off_t)LIMIT_MEMFD + 1, all), file);
	add(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), K(DIR));
	add(open("/dev/null", O_RDWR | O_CLOEXEC), 0);
	if (pipe2(fds, O_CLOEXEC) == -1)
		abort();
	add(fds[0], K(PIPE));
	add(fds[1], K(PIPE));
	add(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), K(STREAM));
	add(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), 0);
	tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (tcp == -1 || listen(tcp, 1) == -1)
		abort();
	add(tcp, K(LISTENER));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == -1)
		abort();
	add(fds[0], K(CHANNEL));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
		abort();
	add(fds[0], 0);
	add(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), 0);
	add(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG), K(NETLINK));
	add(eventfd(0, EFD_CLOEXEC), K(PIDFD));
	add(epoll_create1(EPOLL_CLOEXEC), K(PIDFD));
	add((int)syscall(SYS_pidfd_open, getpid(), 0), K(PIDFD) | K(FILE));
	add(open("/proc/self/status", O_RDONLY | O_CLOEXEC), file);
	add(open("/proc/self/status", O_PATH | O_CLOEXEC), file);
}

/* In place of privsep's, which closes in a thread of its own: so that it can be seen that it is closed. */
void
discard_fd(int fd)
{
	close(fd);
}

/* ---- the receiver */

static void
check(const struct message *m)
{
	const struct message_rule *r;
	size_t head = 4 * sizeof(uint32_t);

	if (m->type == MSG_NONE || m->type >= MSG_COUNT || m->peer != now.peer || now.over ||
	    now.paused)
		abort();
	r = &message_rules[m->type];
	if (!(r->from & 1u << now.peer) || !(r->to & 1u << now.self) || m->tail_len > r->tail ||
	    m->tail != (const char *)m->payload + r->size || m->tail[m->tail_len] != '\0')
		abort();
	if ((m->fd >= 0) != (r->fd != FD_NONE) || (m->fd >= 0) != (now.given >= 0))
		abort();
	if (m->fd >= 0 && !(kinds[now.given].is & 1u << r->fd))
		abort();
	if (now.sent_len != head + r->size + m->tail_len ||
	    memcmp(now.sent + head, m->payload, r->size + m->tail_len) != 0)
		abort();
}

static int
on_message(void *ctx, struct message *m)
{
	uint8_t first = 0;

	(void)ctx;
	check(m);
	if (message_rules[m->type].size + m->tail_len > 0)
		memcpy(&first, m->payload, 1);
	if (first == 0xef) {
		channel_free(now.c);
		now.freed = now.over = 1;
	} else if (first == 0xed) {
		channel_pause(now.c);
	} else if (first == 0xec && m->fd >= 0) {
		close(message_take_fd(m));
	}
	return first == 0xee ? -1 : 0;
}

static void
on_gone(void *ctx, struct channel *c)
{
	(void)ctx;
	(void)c;
	if (now.over++ > 0)
		abort();
}

static void
on_broken(void *ctx, struct channel *c, enum channel_rule rule, uint32_t type)
{
	(void)ctx;
	(void)c;
	(void)type;
	if (now.over++ > 0 || rule == RULE_NONE || channel_rule_name(rule) == NULL)
		abort();
}

/* ---- the sender */

static void
say(int fd, const int *with, size_t count)
{
	struct iovec iov = {now.sent, now.sent_len};
	union {
		char space[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};

	memset(&control, 0, sizeof(control));
	if (count > 0) {
		h.msg_control = control.space;
		h.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.align.cmsg_len = CMSG_LEN(count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.align), with, count * sizeof(int));
	}
	if (sendmsg(fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL) == -1)
		now.sent_len = 0; /* it reads no more */
}

/* Bytes of the input that the step took. */
static size_t
step(int fd, const uint8_t *p, size_t left)
{
	uint8_t how = p[0];
	size_t len = (size_t)p[2] | (size_t)p[3] << 8, place = how & 31;
	uint32_t head[4] = {p[1] % (MSG_COUNT + 1u), 0, 7, 0};
	int with[2];

	len = len < left - 4 ? len : left - 4;
	len = len < LIMIT_MESSAGE_PAYLOAD + 1 ? len : LIMIT_MESSAGE_PAYLOAD + 1;
	head[1] = (uint32_t)len;
	memcpy(now.sent, head, sizeof(head));
	memcpy(now.sent + (how & 64 ? 0 : sizeof(head)), p + 4, len);
	now.sent_len = len + (how & 64 ? 0 : sizeof(head));
	now.given = place < kind_count ? (int)place : -1;
	with[0] = with[1] = now.given >= 0 ? kinds[now.given].fd : -1;
	say(fd, with, now.given < 0 ? 0 : how & 32 ? 2 : 1);
	return 4 + len;
}

/* One bit for each of the next descriptors that is open. */
static uint64_t
open_from(int first)
{
	uint64_t set = 0;
	int i;

	for (i = 0; i < 16; i++)
		set |= (uint64_t)(fcntl(first + i, F_GETFD) != -1) << i;
	return set;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct channel_callbacks cb = {on_message, on_gone, on_broken};
	static struct event_base *base;
	int sv[2], first;
	uint64_t before;
	size_t n;

	if (base == NULL) {
		log_set_level(LOG_LEVEL_NOTHING);
		base = event_base_new();
		make_kinds();
	}
	if (size < 2 || base == NULL)
		return 0;
	memset(&now, 0, sizeof(now));
	now.self = (enum proc)(PROC_PARENT + data[0] % (PROC_COUNT - PROC_PARENT));
	now.peer = (enum proc)(PROC_PARENT + data[1] % (PROC_COUNT - PROC_PARENT));
	first = fcntl(2, F_DUPFD_CLOEXEC, 3);
	close(first);
	before = open_from(first);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == -1)
		abort();
	now.c = channel_new(base, sv[0], now.self, now.peer, &cb, NULL);
	if (now.c == NULL)
		abort();
	data += 2;
	size -= 2;
	while (size >= 4 && !now.over) {
		now.paused = data[0] >> 7;
		if (now.paused)
			channel_pause(now.c);
		n = step(sv[1], data, size);
		/* one by one: what a handler sees is what was sent last */
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
		now.paused = 0;
		if (!now.freed)
			channel_resume(now.c);
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
		data += n;
		size -= n;
	}
	close(sv[1]);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	if (!now.freed)
		channel_free(now.c);
	if (open_from(first) != before)
		abort();
	return 0;
}
