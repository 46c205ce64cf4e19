/*
 * client.h: one question to opampd and its answer.  opampctl only.
 */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include "privsep/control_proto.h"
#include "privsep/error.h"
#include "privsep/record.h"

enum ctl_exit { /* documented in opampctl(8) */
	CTL_OK,
	CTL_FAILED,
	CTL_USAGE,
	CTL_NOT_THERE,
	CTL_NOT_PERMITTED,
	CTL_UNHEALTHY, /* health: not well; sandbox: not as declared */
};

struct reply {
	char *data; /* owned */
	struct record record;
};

/*
 * Asks at the socket.  CTL_OK and *reply filled (reply_free), or an exit status with err filled.
 * Waits at most CLIENT_TIMEOUT_MS for each step.
 */
enum ctl_exit client_ask(const char *socket_path, enum control_verb verb, uint32_t argument,
    uint64_t number, struct reply *reply, struct error *err);
void reply_free(struct reply *reply);

/* The same on a descriptor that is connected already: for tests. */
enum ctl_exit client_talk(int fd, const char *socket_path, const struct control_request *rq,
    struct reply *reply, struct error *err);

#endif
