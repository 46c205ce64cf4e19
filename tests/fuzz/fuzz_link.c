/*
 * fuzz_link.c: what an agent may send as OpAMP, message after message on one connection, through the
 * link's session; confd is away, so nothing goes out.  Input: u16 length (little end first), so many
 * bytes of AgentToServer, and again; the last one may be shorter.  Length 0xffff: the connection
 * breaks and comes back, a baseline is taken, confd's state is asked for.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "netd/link_session.h"
#include "wire/wire.h"
#include "privsep/log.h"

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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct child child;
	static const uint8_t uid[16] = {1, 2, 3};
	struct link_sessions all;
	struct link_session *s;
	struct error err;
	char *answer;
	size_t len, answer_len;

	if (child.base == NULL) {
		log_set_level(LOG_LEVEL_ERROR);
		child.self = PROC_LINK;
		child.base = event_base_new();
	}
	if (child.base == NULL || link_sessions_init(&all, &child) == -1)
		return 0;
	link_sessions_identity(&all, uid);
	s = link_session_of(&all, 1);
	if (s == NULL)
		abort();
	link_session_connected(s);
	while (size >= 2) {
		len = (size_t)data[0] | (size_t)data[1] << 8;
		data += 2;
		size -= 2;
		if (len == 0xffff) {
			link_session_disconnected(s);
			link_sessions_baseline(&all, 1);
			link_sessions_confd_up(&all);
			link_session_connected(s);
			continue;
		}
		if (len > size)
			len = size;
		if (link_session_message(s, data, len, &answer, &answer_len, &err) == 0) {
			check(answer, answer_len);
			free(answer);
		}
		check_health(&s->health);
		data += len;
		size -= len;
	}
	link_session_end(&all, 1);
	link_sessions_clear(&all);
	return 0;
}
