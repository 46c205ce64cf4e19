/*
 * netd.c: main of opampd-netd: OpAMP towards the server.
 * Reads everything the server sends and can do nothing about it but tell confd: it has no socket but
 * the one connection it is handed, no file, no program, no signal (I3).
 */
#include <signal.h>

#include "privsep/log.h"
#include "uplink.h"

int
main(void)
{
	static struct uplink uplink;
	struct error err;

	(void)signal(SIGPIPE, SIG_IGN); /* a server that left is an error of write, no more */
	child_begin(&uplink.child, &policy_netd, &uplink_handlers, &uplink);
	if (uplink_init(&uplink, &err) == -1)
		fatal("%s", err.text);
	child_sandbox(&uplink.child);
	child_run(&uplink.child);
}
