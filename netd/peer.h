/*
 * peer.h: who owns the other end of a loopback connection (I15), asked of the kernel by
 * NETLINK_SOCK_DIAG.  link.  One exact query, a few microseconds whatever the table's size.
 */
#ifndef NETD_PEER_H
#define NETD_PEER_H

#include <stdint.h>

#include "privsep/error.h"

struct inet_diag_msg;

enum peer_answer {
	PEER_NOBODY,   /* gone, half closed, not on this host: no identity */
	PEER_KNOWN,    /* *uid is who made the socket */
	PEER_UNUSABLE, /* the kernel cannot say: err has why */
};

/*
 * diag is a NETLINK_SOCK_DIAG socket of the network namespace the connection is in, conn an
 * accepted IPv4 or IPv6 TCP connection.  Call it right after accept, before the first byte is read.
 */
enum peer_answer peer_uid(int diag, int conn, uint32_t *uid, struct error *err);

/*
 * The judgement alone: only an established socket with an inode has an owner; a socket that was
 * closed is reported with uid 0.
 */
enum peer_answer peer_judge(const struct inet_diag_msg *m, uint32_t *uid);

/*
 * Can the kernel answer at all?  Asks for the listener itself, which is surely there.  0, or -1
 * with what the operator has to do.
 */
int peer_usable(int diag, int listener, struct error *err);

#endif
