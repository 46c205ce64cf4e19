/*
 * fuzz_frame_messages.c: the frame that every child has (privsep/child.c), as each of them, with real channels to the
 * parent and all neighbours: any bytes with any descriptors.  Merge takes its files as the real one does.
 *
 * What must hold: each message is refused by exactly the rule that MESSAGE_TABLE says, computed here once more;
 * what a handler sees is the payload that was sent, its tail ends with a NUL, its descriptor is of the kind that is
 * due; a neighbour that broke a rule is accused, and by that name; the parent's breach is the end.
 *
 * Input: one byte whose frame it is; then steps of eight bytes and a payload of one byte for each field.
 */
#include <setjmp.h>
#include <signal.h>
#include <unistd.h>

#include "privsep/channel.c" /* its struct: one that was left in the middle is freed all the same */
#include "privsep/child.h"
#include "privsep/log.h"

static jmp_buf frame_end;
static _Noreturn void
frame_leaves(int how, ...)
{
	longjmp(frame_end, how);
}
#define fatal(...)    frame_leaves(1, __VA_ARGS__)
#define _exit(status) frame_leaves(2, status)
#define log_init(...) ((void)0) /* nothing is printed, whatever level is asked for */
#include "privsep/child.c"
#undef fatal
#undef _exit
#undef log_init
#define main merge_main
int merge_main(void);
#include "confd/merge.c"
#undef main

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS 400

enum kind { /* of descriptors that are at hand */
	NONE,
	SEALED,
	UNSEALED,
	HUGE_ONE,
	FILE_ONE,
	DIR_ONE,
	TCP,
	TCP_LISTENER,
	SEQPACKET,
	STREAM_UNIX,
	NETLINK_ONE,
	PIPE_ONE,
	EVENT,
	DEVICE,
	KINDS
};

/* What each may pass for: bits of enum fd_kind.  FD_PIDFD is believed of what is no usual kind of file. */
static const uint32_t passes[KINDS] = {[SEALED] = 1u << FD_MEMFD | 1u << FD_FILE | 1u << FD_PIDFD,
    [UNSEALED] = 1u << FD_FILE | 1u << FD_PIDFD,
    [HUGE_ONE] = 1u << FD_FILE | 1u << FD_PIDFD,
    [FILE_ONE] = 1u << FD_FILE | 1u << FD_PIDFD,
    [DIR_ONE] = 1u << FD_DIR,
    [TCP] = 1u << FD_STREAM,
    [TCP_LISTENER] = 1u << FD_LISTENER,
    [SEQPACKET] = 1u << FD_CHANNEL,
    [NETLINK_ONE] = 1u << FD_NETLINK,
    [PIPE_ONE] = 1u << FD_PIPE,
    [EVENT] = 1u << FD_PIDFD};

static int pool[KINDS];
static struct frame {
	struct child child;
	struct merge merge;
	int ends[PROC_COUNT]; /* the other ends; -1 = no such channel */
	uint32_t epoch;
	/* the message under way */
	enum proc from;
	struct {
		uint32_t head[4];
		uint8_t payload[LIMIT_MESSAGE_PAYLOAD + 64];
	} raw;
	int seen, answer;
	uint32_t accused;
} frame;

static void
make_pool(void)
{
	struct record_writer empty = {0};
	int sv[2];

	pool[NONE] = -1;
	pool[SEALED] = record_finish_memfd(&empty, "settings", NULL);
	pool[UNSEALED] = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	pool[HUGE_ONE] = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (ftruncate(pool[HUGE_ONE], LIMIT_MEMFD + 1) == -1 ||
	    fcntl(pool[HUGE_ONE], F_ADD_SEALS, 15) == -1)
		abort();
	pool[FILE_ONE] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	pool[DIR_ONE] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pool[TCP] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pool[TCP_LISTENER] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)listen(pool[TCP_LISTENER], 1);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == -1)
		abort();
	pool[SEQPACKET] = sv[0];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == -1)
		abort();
	pool[STREAM_UNIX] = sv[0];
	pool[NETLINK_ONE] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (pipe2(sv, O_CLOEXEC) == -1)
		abort();
	pool[PIPE_ONE] = sv[0];
	pool[EVENT] = eventfd(0, EFD_CLOEXEC);
	pool[DEVICE] = open("/dev/null", O_RDWR | O_CLOEXEC);
}

/* ---- the frame under test */

static int
on_frame_message(void *ctx, struct message *m)
{
	const struct message_rule *rule = &message_rules[m->type];

	(void)ctx;
	frame.seen = 1;
	if (m->peer != frame.from || (rule->from & 1u << m->peer) == 0 ||
	    (rule->to & 1u << frame.child.self) == 0)
		abort();
	if (memcmp(m->payload, frame.raw.payload, rule->size) != 0 ||
	    m->tail_len != frame.raw.head[1] - rule->size || m->tail[m->tail_len] != '\0' ||
	    memcmp(m->tail, frame.raw.payload + rule->size, m->tail_len) != 0)
		abort();
	if ((m->fd >= 0) != (rule->fd != FD_NONE))
		abort();
	if (frame.child.self == PROC_MERGE)
		return take_file(&frame.merge, m);
	if (m->fd >= 0 && (frame.raw.payload[0] & 1) != 0)
		close(message_take_fd(m));
	return frame.answer;
}

static const struct child_handlers frame_handlers = {.message = on_frame_message};

static void
new_end(enum proc peer, int sv[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == -1)
		abort();
	if (frame.ends[peer] >= 0)
		close(frame.ends[peer]);
	frame.ends[peer] = sv[1];
}

static int
are_neighbours(uint32_t a, uint32_t b)
{
	return (a == PROC_CONFD && (b == PROC_NETD || b == PROC_LINK || b == PROC_PROCD)) ||
	       (b == PROC_CONFD && (a == PROC_NETD || a == PROC_LINK || a == PROC_PROCD));
}

static void
give_peer(enum proc peer)
{
	int sv[2];

	if (!are_neighbours(frame.child.self, peer) || frame.child.peers[peer] != NULL)
		return;
	new_end(peer, sv);
	frame.child.peers[peer] = channel_new(
	    frame.child.base, sv[0], frame.child.self, peer, &peer_callbacks, &frame.child);
}

static struct event_base *base;

static void
begin(enum proc self)
{
	struct child *c = &frame.child;
	uint32_t i;
	int sv[2];

	if (base == NULL)
		base = event_base_new();
	memset(&frame, 0, sizeof(frame));
	for (i = 0; i < PROC_COUNT; i++)
		frame.ends[i] = -1;
	frame.merge.settings.fd = frame.merge.passwd.fd = frame.merge.group.fd =
	    frame.merge.environment.fd = frame.merge.remote.fd = frame.merge.parameters.fd =
		frame.merge.emitted.fd = -1;
	for (i = 0; i < LIMIT_CONFIG_FILES; i++)
		frame.merge.local[i].fd = -1;
	c->self = self;
	c->handlers = &frame_handlers;
	c->base = base;
	new_end(PROC_PARENT, sv);
	c->peers[PROC_PARENT] = channel_new(base, sv[0], self, PROC_PARENT, &parent_callbacks, c);
	for (i = PROC_NETD; i < PROC_COUNT; i++)
		give_peer((enum proc)i);
}

static void
close_input(struct input *in)
{
	if (in->fd >= 0)
		close(in->fd);
}

static void
finish(void)
{
	struct merge *m = &frame.merge;
	uint32_t i;

	for (i = 0; i < PROC_COUNT; i++) {
		if (frame.child.peers[i] != NULL)
			frame.child.peers[i]->busy = 0;
		channel_free(frame.child.peers[i]);
		if (frame.ends[i] >= 0)
			close(frame.ends[i]);
	}
	close_input(&m->settings);
	close_input(&m->passwd);
	close_input(&m->group);
	close_input(&m->environment);
	close_input(&m->remote);
	close_input(&m->parameters);
	close_input(&m->emitted);
	for (i = 0; i < m->local_count; i++)
		close_input(&m->local[i]);
	settings_free(&frame.child.settings);
}

/* ---- what the table says */

static enum channel_rule
verdict(size_t len, const enum kind *kinds, size_t count)
{
	const uint32_t *head = frame.raw.head;
	const struct message_rule *rule;

	if (len == 0)
		return RULE_EMPTY;
	if (count > 2)
		return RULE_DESCRIPTOR; /* no room for them: cut short */
	if (len < sizeof(frame.raw.head) || len > sizeof(frame.raw.head) + LIMIT_MESSAGE_PAYLOAD)
		return RULE_TRUNCATED;
	if (head[0] == 0 || head[0] >= MSG_COUNT)
		return RULE_TYPE;
	rule = &message_rules[head[0]];
	if ((rule->from >> frame.from & 1) == 0 || (rule->to >> frame.child.self & 1) == 0)
		return RULE_TYPE;
	len -= sizeof(frame.raw.head);
	if (head[1] != len || head[3] != 0 || len < rule->size || len > rule->size + rule->tail)
		return RULE_SIZE;
	if (rule->fd == FD_NONE)
		return count == 0 ? RULE_NONE : RULE_DESCRIPTOR;
	return count == 1 && (passes[kinds[0]] >> rule->fd & 1) != 0 ? RULE_NONE : RULE_DESCRIPTOR;
}

/* ---- one message */

static void
send_raw(size_t len, const enum kind *kinds, size_t count)
{
	struct iovec iov = {&frame.raw, len};
	union {
		char space[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[4];
	size_t i;

	for (i = 0; i < count; i++)
		fds[i] = pool[kinds[i]];
	if (count > 0) {
		h.msg_control = control.space;
		h.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.align.cmsg_len = CMSG_LEN(count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.align), fds, count * sizeof(int));
	}
	if (sendmsg(frame.ends[frame.from], &h, MSG_NOSIGNAL) == -1)
		abort();
}

static uint32_t
accused(void)
{
	struct {
		uint32_t head[4];
		struct msg_accuse m;
	} got;
	uint32_t whom = PROC_NOBODY;

	while (
	    recv(frame.ends[PROC_PARENT], &got, sizeof(got), MSG_DONTWAIT) == (ssize_t)sizeof(got))
		if (got.head[0] == MSG_CHILD_ACCUSE)
			whom = got.m.peer;
	return whom;
}

static enum kind
kind_for(uint32_t fd)
{
	uint32_t k;

	for (k = SEALED; k < KINDS; k++)
		if ((passes[k] >> fd & 1) != 0)
			return (enum kind)k;
	return NONE;
}

/* A message of the table between these two, mostly; any number else. */
static uint32_t
choose_type(uint8_t number, int any)
{
	uint32_t type, n = 0, count = 0;

	if (any)
		return number % (MSG_COUNT + 3);
	for (type = 1; type < MSG_COUNT; type++)
		count += (message_rules[type].from >> frame.from & 1) != 0 &&
			 (message_rules[type].to >> frame.child.self & 1) != 0;
	for (type = 1; count > 0 && type < MSG_COUNT; type++)
		if ((message_rules[type].from >> frame.from & 1) != 0 &&
		    (message_rules[type].to >> frame.child.self & 1) != 0 && n++ == number % count)
			return type;
	return number;
}

static int is_frames(uint32_t type);
static int
is_frames(uint32_t type)
{
	return type >= MSG_CHILD_START && type <= MSG_CHILD_END && type != MSG_CHILD_FILE;
}

/* What the frame itself must make of it. */
static int
frame_takes(const uint8_t *payload, const struct child *before)
{
	const struct msg_start *start = (const void *)payload;
	const struct msg_peer *peer = (const void *)payload;

	switch (frame.raw.head[0]) {
	case MSG_CHILD_START: /* its section is a record, or the end comes */
		return before->start.proc == PROC_NOBODY && start->proc == (uint32_t)before->self &&
		       start->log_level <= LOG_LEVEL_DEBUG && start->group_count <= 16;
	case MSG_CHILD_PEER:
		return peer->peer > PROC_PARENT && peer->peer < PROC_COUNT &&
		       peer->epoch > before->epoch[peer->peer];
	case MSG_CHILD_GO:
		return before->start.proc != PROC_NOBODY && !before->go;
	default:
		return 1;
	}
}

/* The message of this step, as it should be but for what b[2] says.  Gives its length and its descriptors. */
static size_t
make_message(const uint8_t *b, const uint8_t *fields, size_t n, enum kind kinds[4], size_t *count)
{
	uint32_t type = choose_type(b[1], b[2] == 1);
	const struct message_rule *rule = &message_rules[type < MSG_COUNT ? type : 0];
	size_t len, i;

	frame.raw.head[0] = type;
	frame.raw.head[2] = b[3];
	frame.raw.head[3] = b[2] == 2;
	len = rule->size + (rule->tail > 0 ? b[4] % (rule->tail + 1) : 0);
	if (b[2] == 3)
		len = rule->size + rule->tail + b[4];
	if (b[2] == 4 && len > 0)
		len--;
	if (b[2] == 5)
		len = LIMIT_MESSAGE_PAYLOAD + b[4] % 2;
	frame.raw.head[1] = (uint32_t)len + (b[2] == 6);
	memset(frame.raw.payload, 0, len < 256 ? len : 256);
	for (i = 0; i < n; i++)
		put_field(frame.raw.payload + 4 * i, fields[i]);
	len += sizeof(frame.raw.head);
	if (b[2] == 7)
		len = b[4] % sizeof(frame.raw.head);
	*count = rule->fd != FD_NONE;
	kinds[0] = kind_for(rule->fd);
	if (b[2] == 8)
		*count = b[5] % 5;
	if (b[2] == 8 || b[2] == 9)
		for (i = 0; i < 4; i++)
			kinds[i] = (enum kind)(1 + (b[6] + i) % (KINDS - 1));
	if (b[2] == 9)
		*count = 1;
	if (*count > 0 && kinds[0] == NONE)
		kinds[0] = FILE_ONE; /* FD_CGROUP: none is at hand */
	return len;
}

/* It was sent, and the frame has had its turn (left: it has ended).  What must hold now. */
static void
check(enum channel_rule want, int left, const struct child *before)
{
	uint32_t type = frame.raw.head[0];

	if (left != 0 && frame.from != PROC_PARENT)
		abort(); /* a neighbour must not end it */
	if (want != RULE_NONE) {
		counts.refused++;
		if (frame.seen || (frame.from == PROC_PARENT) != (left == 1))
			abort();
	} else if (is_frames(type)) {
		count_message(type, PROC_PARENT, frame.child.self, left == 0);
		if (left == 0 && !frame_takes(frame.raw.payload, before))
			abort();
	} else {
		count_message(type, frame.from, frame.child.self, left == 0);
		if (!frame.seen)
			abort();
	}
	if (left == 0 && frame.from != PROC_PARENT &&
	    (want != RULE_NONE || (frame.seen && frame.answer == -1)) &&
	    (frame.child.peers[frame.from] != NULL || accused() != (uint32_t)frame.from))
		abort();
}

/* 0: the parent broke a rule, or ended it. */
static int
step(const uint8_t *b, const uint8_t *fields, size_t n)
{
	static enum channel_rule want; /* over longjmp, as before */
	static struct child before;
	enum kind kinds[4] = {NONE};
	size_t count, len;
	uint32_t i;
	int left;

	frame.from = (enum proc)(b[0] % PROC_COUNT);
	if (frame.ends[frame.from] < 0)
		frame.from = PROC_PARENT;
	len = make_message(b, fields, n, kinds, &count);
	frame.answer = b[7] == 1 ? -1 : 0;
	frame.seen = 0;
	before = frame.child;
	want = verdict(len, kinds, count);
	send_raw(len, kinds, count);
	left = setjmp(frame_end);
	if (left == 0)
		(void)event_base_loop(frame.child.base, EVLOOP_NONBLOCK);
	check(want, left, &before);
	if (left != 0)
		return 0;
	for (i = PROC_NETD; i < PROC_COUNT; i++) {
		/* a channel of the parent's making has nobody at its other end */
		if (frame.child.epoch[i] != before.epoch[i]) {
			channel_free(frame.child.peers[i]);
			frame.child.peers[i] = NULL;
		}
		give_peer((enum proc)i);
	}
	return 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum proc children[] = {
	    PROC_NETD, PROC_LINK, PROC_CONFD, PROC_PROCD, PROC_CONNECT, PROC_MERGE};
	uint8_t b[8];
	size_t n, fields;
	enum proc self;

	if (pool[SEALED] == 0) {
		log_set_level(LOG_LEVEL_NOTHING);
		make_pool();
	}
	if (size == 0)
		return 0;
	self = children[data[0] % 6];
	input_begins();
	begin(self);
	for (data++, size--, n = 0; size >= sizeof(b) && n < STEPS; n++) {
		memcpy(b, data, sizeof(b));
		data += sizeof(b);
		size -= sizeof(b);
		fields = b[3] % 8 > size ? size : b[3] % 8;
		if (!step(b, data, fields)) {
			finish();
			event_base_free(base); /* it was left in the middle of its loop */
			base = NULL;
			begin(self);
		}
		data += fields;
		size -= fields;
	}
	finish();
	event_base_free(base);
	base = NULL;
	input_ends();
	return 0;
}
