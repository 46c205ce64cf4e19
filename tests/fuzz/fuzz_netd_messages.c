/*
 * fuzz_netd_messages.c: what the parent and confd may send to netd, in any order and with any
 * content.  Input, again and again: u8 place in the list below (and 128: each field is a small number, of one byte), u8 tail length, u16 blob length (little end first), the
 * payload of the type's size, the tail, the blob (it comes as a sealed memfd; for a connection a
 * socket).  What the channel refuses does not get here, so neither does it in this target.
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netd/uplink.h"
#include "privsep/log.h"
#include "privsep/memfd.h"

#include "messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t types[] = {MSG_CHILD_FILE, MSG_CONNECT_DONE, MSG_CONNECT_FAILED,
    MSG_OFFER_CREDIT, MSG_NET_IDENTITY, MSG_NET_DESCRIPTION, MSG_NET_HEALTH, MSG_NET_EFFECTIVE,
    MSG_NET_STATUS, MSG_NET_SYNCED};
#define TYPES (sizeof(types) / sizeof(types[0]))

struct input {
	const uint8_t *p;
	size_t left;
};

/* Takes n bytes, or as many as there are; zeroes instead of the rest. */
static void
take(struct input *in, void *to, size_t n)
{
	size_t got = n > in->left ? in->left : n;

	memset(to, 0, n);
	memcpy(to, in->p, got);
	in->p += got;
	in->left -= got;
}

static void
start(struct uplink *u)
{
	struct record_writer w = {0};
	struct error err;
	size_t len;

	memset(u, 0, sizeof(*u));
	u->child.self = PROC_NETD;
	u->child.base = event_base_new();
	record_put_string(&w, SET_ENDPOINT, "ws://127.0.0.1");
	record_put_string(&w, SET_EXECUTABLE, "/bin/agent");
	record_put_u64(&w, SET_REPORTS_CONFIG, 1);
	if (u->child.base == NULL || record_finish(&w, &u->child.settings.data, &len, &err) == -1 ||
	    record_open(&u->child.settings.record, u->child.settings.data, len, &err) == -1)
		abort();
}

static void
one(struct uplink *u, struct input *in)
{
	static _Alignas(16) char payload[512], tail[256], blob[65536];
	uint8_t head[4];
	struct message m = {.fd = -1};
	const struct message_rule *rule;
	size_t blob_len, i;

	take(in, head, sizeof(head));
	m.type = types[head[0] % 128 % TYPES];
	rule = &message_rules[m.type];
	m.peer = rule->from & 1u << PROC_PARENT ? PROC_PARENT : PROC_CONFD;
	memset(payload, 0, rule->size);
	if (head[0] < 128)
		take(in, payload, rule->size);
	for (i = 0; head[0] >= 128 && i + 4 <= rule->size; i += 4) {
		take(in, tail, 1);
		put_field(payload + i, (uint8_t)tail[0]);
	}
	m.payload = payload;
	m.tail_len = head[1] > rule->tail ? rule->tail : head[1];
	take(in, tail, m.tail_len);
	tail[m.tail_len] = '\0';
	m.tail = tail;
	blob_len = (size_t)head[2] | (size_t)head[3] << 8;
	blob_len = blob_len > in->left ? in->left : blob_len;
	if (rule->fd == FD_STREAM) {
		m.fd = socket(AF_INET, SOCK_STREAM, 0);
	} else if (rule->fd != FD_NONE) {
		take(in, blob, blob_len);
		m.fd = memfd_seal("fuzz", blob, blob_len, NULL);
	}
	if (rule->fd != FD_NONE && m.fd == -1)
		abort();
	count_message(m.type, m.peer, PROC_NETD, uplink_handlers.message(u, &m) == 0);
	if (m.fd >= 0)
		close(m.fd);
}

/* A message that is new in the table belongs into the list; the frame handles CHILD_* itself. */
static void
check_list(void)
{
	uint32_t type, known;
	size_t i;

	for (type = MSG_NONE + 1; type < MSG_COUNT; type++) {
		known = (message_rules[type].to & 1u << PROC_NETD) == 0 ||
			type == MSG_CHILD_START || type == MSG_CHILD_PEER || type == MSG_CHILD_GO ||
			type == MSG_CHILD_END;
		for (i = 0; i < TYPES; i++)
			known |= types[i] == type;
		if (!known)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct uplink u;
	struct input in = {data, size};
	struct error err;

	log_set_level(LOG_LEVEL_NOTHING);
	input_begins();
	(void)signal(SIGPIPE, SIG_IGN); /* as netd does */
	check_list();
	start(&u);
	while (in.left > 0 && *in.p % 128 % TYPES == 0) /* they come before the rest */
		one(&u, &in);
	if (uplink_init(&u, &err) == -1)
		abort();
	uplink_handlers.peer_up(&u, PROC_CONFD);
	while (in.left > 0) {
		one(&u, &in);
		(void)event_base_loop(u.child.base, EVLOOP_NONBLOCK);
	}
	uplink_handlers.peer_down(&u, PROC_CONFD);
	uplink_clear(&u);
	settings_free(&u.child.settings);
	event_base_free(u.child.base);
	input_ends();
	return 0;
}
