/*
 * happy.h: one TCP connection to whichever of a name's addresses answers first (RFC 8305, the part
 * after the lookup).  connect.  Blocks: it is all that process does.
 */
#ifndef NETD_HAPPY_H
#define NETD_HAPPY_H

#include <netdb.h>
#include <stdint.h>

#include "privsep/messages.h"

#define HAPPY_ADDRESSES 32  /* of one name that are tried */
#define HAPPY_DELAY_MS  250 /* between attempts, unless one fails earlier */

struct happy_answer {
	int fd;        /* connected, non-blocking, close-on-exec; -1 = failed */
	uint32_t kind; /* enum connect_failure */
	int32_t code;
};

/*
 * Tries the addresses until deadline_ms (by now_ms).  loopback_only: others are passed over.
 * The answer's code is the errno value that says most about why.
 */
struct happy_answer happy_connect(
    const struct addrinfo *list, int loopback_only, uint64_t deadline_ms);

/* The order of attempts: as the resolver sorted them, families taking turns.  Gives the count. */
size_t happy_order(
    const struct addrinfo *list, int loopback_only, const struct addrinfo *out[HAPPY_ADDRESSES]);

#endif
