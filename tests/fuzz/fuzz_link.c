/*
 * fuzz_link.c: what an agent may send as OpAMP, message after message on one connection, through the
 * link's session to confd.  Input: u16 length (little end first), so many bytes of AgentToServer, and
 * again; the last one may be shorter.  Length 0xffff: the connection breaks and comes back, a baseline is
 * taken, confd is there anew; 0xfffe: every timer that is set fires; 0xfffd: what comes is not framed as
 * OpAMP's; 0xfffc: the next message has a configuration of 64 KiB and more behind it.  What must hold: confd gets what its table of messages allows, within the limits, and what it
 * carries further is what netd would take.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "netd/link_session.h"
#include "wire/wire.h"
#include "privsep/log.h"
#include "privsep/memfd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const char *answer, size_t len)
{
	ProtobufCMessage *m = wire_unpack(
	    &opamp__proto__v1__server_to_agent__descriptor, (const uint8_t *)answer, len, NULL);

	if (m == NULL)
		abort(); /* what we answer is what we would accept */
	wire_free(m);
}

static void
check_health(const struct link_health *h)
{
	if (!h->known)
		return;
	if (h->text_len > sizeof(h->text) || memchr(h->text, '\0', h->text_len) == NULL ||
	    h->worst < WORST_OK || h->worst > WORST_STOPPED ||
	    h->component_count > LIMIT_HEALTH_COMPONENTS)
		abort();
}

/* ---- confd's end */

static void
check_blob(const struct message *m, const ProtobufCMessageDescriptor *d)
{
	ProtobufCMessage *part;
	char *data;
	size_t len;

	if (memfd_read(m->fd, LIMIT_MEMFD, &data, &len, NULL) == -1)
		abort();
	part = wire_unpack(d, (const uint8_t *)data, len, NULL);
	if (part == NULL)
		abort();
	wire_free(part);
	free(data);
}

static int
confd_hears(void *ctx, struct message *m)
{
	const struct msg_agent_health *h = m->payload;

	(void)ctx;
	switch (m->type) {
	case MSG_AGENT_HEALTH:
		if (h->healthy > 1 || h->worst > WORST_STOPPED ||
		    memchr(m->tail, '\0', m->tail_len) == NULL)
			abort();
		check_blob(m, &opamp__proto__v1__component_health__descriptor);
		return 0;
	case MSG_AGENT_DESCRIPTION:
		check_blob(m, &opamp__proto__v1__agent_description__descriptor);
		return 0;
	case MSG_AGENT_EFFECTIVE:
	case MSG_LINK_AGENT:
		return 0;
	default:
		abort();
	}
}

static void
confd_complains(void *ctx, struct channel *c, enum channel_rule rule, uint32_t type)
{
	(void)ctx;
	(void)c;
	(void)rule;
	(void)type;
	abort();
}

static void
be_child(struct child *child)
{
	static const struct channel_callbacks ours, theirs = {confd_hears, NULL, confd_complains};
	int sv[2];

	log_set_level(LOG_LEVEL_ERROR);
	child->self = PROC_LINK;
	child->base = event_base_new();
	if (child->base == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == -1)
		abort();
	child->peers[PROC_CONFD] =
	    channel_new(child->base, sv[0], PROC_LINK, PROC_CONFD, &ours, child);
	if (child->peers[PROC_CONFD] == NULL ||
	    channel_new(child->base, sv[1], PROC_CONFD, PROC_LINK, &theirs, NULL) == NULL)
		abort();
}

/* ---- the agent's */

static void
deliver(struct link_session *s, int framed, const uint8_t *data, size_t len)
{
	struct error err;
	char *answer;
	size_t answer_len;
	int r = framed ? link_session_message(s, data, len, &answer, &answer_len, &err)
		       : link_session_malformed(s, "no frame", &answer, &answer_len, &err);

	if (r == 0) {
		check(answer, answer_len);
		free(answer);
	}
	check_health(&s->health);
}

/* The bytes, and an effective configuration of one large file behind them; other: of another content. */
static void
deliver_large(struct link_session *s, const uint8_t *data, size_t size, char content)
{
	/* effective_config { config_map { config_map { key: "" value { body } } } } */
	static const uint8_t head[] = {0x32, 0x9c, 0x80, 0x04, 0x0a, 0x98, 0x80, 0x04, 0x0a, 0x94,
	    0x80, 0x04, 0x0a, 0x00, 0x12, 0x8e, 0x80, 0x04, 0x0a, 0x80, 0x80, 0x04, 0x12, 0x08, 'p',
	    'l', 'a', 'i', 'n', '/', 'x', 'y'};
	const size_t body = 64 * KIB, begin = 22;
	uint8_t *text = malloc(size + sizeof(head) + body), *p = text;

	if (text == NULL)
		abort();
	memcpy(p, data, size);
	p += size;
	memcpy(p, head, begin);
	p += begin;
	memset(p, content, body);
	p += body;
	memcpy(p, head + begin, sizeof(head) - begin);
	if (content == 'y')
		*p = 0x1a; /* a field that we do not know */
	p += sizeof(head) - begin;
	deliver(s, 1, text, (size_t)(p - text));
	free(text);
}

static void
step(struct link_sessions *all, struct link_session *s, size_t what)
{
	if (what == 0xffff) {
		link_session_disconnected(s);
		link_sessions_baseline(all, 1);
		link_sessions_confd_up(all);
		link_session_connected(s);
	} else if (what == 0xfffe) {
		all->silence_ms = 0;
		if (event_pending(all->later, EV_TIMEOUT, NULL))
			event_active(all->later, EV_TIMEOUT, 1);
		if (s->silence != NULL && event_pending(s->silence, EV_TIMEOUT, NULL))
			event_active(s->silence, EV_TIMEOUT, 1);
	} else {
		deliver(s, 0, NULL, 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct child child;
	static const uint8_t uid[16] = {1, 2, 3};
	struct link_sessions all;
	struct link_session *s;
	uint64_t silence_ms;
	size_t len;
	int large = 0;

	if (child.base == NULL)
		be_child(&child);
	if (link_sessions_init(&all, &child) == -1)
		return 0;
	link_sessions_identity(&all, uid);
	s = link_session_of(&all, 1);
	if (s == NULL)
		abort();
	link_session_connected(s);
	silence_ms = all.silence_ms;
	while (size >= 2) {
		len = (size_t)data[0] | (size_t)data[1] << 8;
		data += 2;
		size -= 2;
		if (len == 0xfffc) {
			large = 1;
			continue;
		}
		if (len > 0xfffc) {
			step(&all, s, len);
			len = 0;
		} else {
			len = len < size ? len : size;
			if (large)
				deliver_large(s, data, len, len & 1 ? 'x' : 'y');
			else
				deliver(s, 1, data, len);
			large = 0;
		}
		(void)event_base_loop(child.base, EVLOOP_NONBLOCK);
		all.silence_ms = silence_ms;
		data += len;
		size -= len;
	}
	link_session_disconnected(s);
	link_session_end(&all, 1);
	link_sessions_clear(&all);
	(void)event_base_loop(child.base, EVLOOP_NONBLOCK);
	return 0;
}
