/*
 * fuzz_control.c: a client of the control socket.  The input is cut into messages: one byte of length,
 * then so many bytes; length 255 reads what has come so far.
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct control_ops ops = {answer};
	static struct event_base *base;
	struct msg_environment env = {.owner_uid = getuid()};
	struct control *c;
	char sink[CONTROL_CHUNK];
	int sv[2], listener[2];
	size_t n;

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
	close(sv[1]);
	close(listener[1]);
	return 0;
}
