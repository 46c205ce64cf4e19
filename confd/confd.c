/*
 * confd.c: main of opampd-confd: the state of the configuration, on disk and in force.  It has no
 * network, starts no program, and reads neither YAML nor protobuf: it carries bytes that it does not
 * look into.
 */
#include "confd.h"

#include <unistd.h>

#include "privsep/landlock.h"
#include "privsep/log.h"
#include "privsep/sandbox.h"

static const struct child_handlers handlers = {.message = confd_message,
    .peer_up = confd_peer_up,
    .peer_down = confd_peer_down,
    .end = confd_end};

int
main(void)
{
	static struct confd confd;
	struct confd *c = &confd;
	struct error err;
	uint32_t peer;

	c->state_dir = c->listener = -1;
	child_begin(&c->child, &policy_confd, &handlers, c);
	if (!c->have_env || c->state_dir < 0)
		fatal("the parent did not hand over the storage directory");
	if (sandbox_allow_fd(c->state_dir, LL_FS_STATE) == -1)
		fatal("the sandbox cannot be told of the storage directory");
	child_sandbox(&c->child);
	/* what is on disk is foreign bytes: read in the sandbox */
	if (confd_open(c, &err) == -1)
		fatal("%s", err.text);
	if (c->listener >= 0) {
		c->control =
		    control_new(c->child.base, c->listener, &c->env, &confd_control_ops, c);
		if (c->control == NULL)
			fatal("no memory for the control socket");
		c->listener = -1;
	}
	for (peer = PROC_PARENT + 1; peer < PROC_COUNT; peer++)
		if (c->child.peers[peer] != NULL)
			confd_peer_up(c, (enum proc)peer);
	child_run(&c->child);
}
