/*
 * policy.h: what each process of the hub may do, as data (policy_hub_*.c), and putting it in force.
 * opamphub, opamphub-front, opamphub-store.
 */
#ifndef HUB_POLICY_H
#define HUB_POLICY_H

#include "privsep/landlock.h"
#include "privsep/sandbox.h"
#include "setup.h"

/* below the store's directory */
#define HUB_STORE_RIGHTS                                                                           \
	(LL_FS_READ_FILE | LL_FS_WRITE_FILE | LL_FS_READ_DIR | LL_FS_MAKE_REG |                    \
	    LL_FS_REMOVE_FILE | LL_FS_TRUNCATE)

extern const struct policy policy_hub_front, policy_hub_store;

/*
 * Ids as the setup says, no capability, no new privileges, not dumpable, no core, Landlock (dir: an
 * open directory to be used, or -1), seccomp.  There is no way back.  1: that directory is the root now.
 */
int hub_sandbox(const struct policy *p, const struct setup *s, int dir, struct error *err);

#endif
