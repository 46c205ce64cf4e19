/*
 * policy.h: what each process of the hub may do, as data (policy_hub_*.c), and putting it in force.
 * opamphub, opamphub-front, opamphub-store.
 */
#ifndef HUB_POLICY_H
#define HUB_POLICY_H

#include "privsep/sandbox.h"
#include "setup.h"

extern const struct policy policy_hub_front, policy_hub_store;

/*
 * Ids as the setup says, no capability, no new privileges, not dumpable, no core, Landlock (dir: an
 * open directory to be used, or -1), seccomp.  There is no way back.  1: that directory is the root now.
 */
int hub_sandbox(const struct policy *p, const struct setup *s, int dir, struct error *err);

#endif
