/*
 * fuzz_control.c: clients of the control socket.  The input is cut into messages: one byte of length,
 * then so many bytes; length 255 reads what has come so far, 254 asks who may do what (the next bytes say
 * who asks and whom the settings name), 253 is a further client, which never speaks.
 */
#include <event2/event.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "confd/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum control_result
answer(void *ctx, const struct control_request *rq, int may_act, struct record_writer *w,
    struct error *err)
{
	static char text[40000];

	(void)ctx;
	(void)may_act;
	if (rq->magic != CONTROL_MAGIC || rq->version != CONTROL_VERSION ||
	    rq->verb == CONTROL_NOTHING || rq->verb >= CONTROL_VERBS)
		abort();
	if (rq->number % 3 == 1) {
		(void)error_set(err, "no");
		return CONTROL_MISSING;
	}
	record_put(w, CK_TEXT, 0, 0, text, rq->number % sizeof(text));
	return CONTROL_OK;
}

/* Root and the owner act; where root is the owner, so do admins, and readers look; nobody else. */
static void
judge(const uint8_t *p)
{
	static const uint32_t ids[] = {0, 1000, 65534, UINT32_MAX, 910, 911, 912, 1};
	struct msg_environment env = {.owner_uid = ids[p[0] & 7],
	    .admin_gid = ids[p[0] >> 3 & 7],
	    .reader_gid = ids[p[1] & 7]};
	uint32_t uid = ids[p[1] >> 3 & 7], gid = ids[p[2] & 7], groups[2];
	int may, admin = 0, reader = 0;
	size_t i;

	groups[0] = ids[p[2] >> 3 & 7];
	groups[1] = ids[p[3] & 7];
	may = control_may(&env, uid, gid, groups, p[3] >> 3 & 2);
	for (i = 0; i < (p[3] >> 3 & 2); i++) {
		admin |= groups[i] == env.admin_gid && groups[i] != 0 && groups[i] != UINT32_MAX;
		reader |= groups[i] == env.reader_gid && groups[i] != 0 && groups[i] != UINT32_MAX;
	}
	admin |= gid == env.admin_gid && gid != 0 && gid != UINT32_MAX;
	reader |= gid == env.reader_gid && gid != 0 && gid != UINT32_MAX;
	if (uid == 0 || uid == env.owner_uid || (env.owner_uid != 0 && uid == 65534) ||
	    (env.owner_uid == 0 && admin)) {
		if (may != 2)
			abort();
	} else if (may != (env.owner_uid == 0 && reader)) {
		abort();
	}
}

static void
one_more(struct control *c, int *ends, size_t *count, size_t most)
{
	int sv[2];

	if (*count == most || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sv) == -1)
		return;
	if (control_take(c, sv[0]) == -1)
		abort();
	ends[(*count)++] = sv[1];
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct control_ops ops = {answer};
	static struct event_base *base;
	struct msg_environment env = {.owner_uid = getuid()};
	struct control *c;
	char sink[CONTROL_CHUNK];
	int sv[2], listener[2], ends[2 * LIMIT_CONTROL_CONNECTIONS];
	size_t n, count = 0;

	if (base == NULL)
		base = event_base_new();
	if (base == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, listener) == -1)
		abort();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sv) == -1)
		abort();
	c = control_new(base, listener[0], &env, &ops, NULL);
	if (c == NULL || control_take(c, sv[0]) == -1)
		abort();
	while (size > 0) {
		n = *data++;
		size--;
		if (n == 255) {
			while (recv(sv[1], sink, sizeof(sink), 0) > 0)
				;
			n = 0;
		} else if (n == 254 && size >= 4) {
			judge(data);
			data += 4;
			size -= 4;
			continue;
		} else if (n == 253) {
			one_more(c, ends, &count, sizeof(ends) / sizeof(ends[0]));
			n = 0;
		}
		n = n < size ? n : size;
		if (n > 0)
			(void)send(sv[1], data, n, MSG_NOSIGNAL);
		data += n;
		size -= n;
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
	}
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	control_free(c);
	while (count > 0)
		close(ends[--count]);
	close(sv[1]);
	close(listener[1]);
	return 0;
}
