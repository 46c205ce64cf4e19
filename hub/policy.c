/*
 * policy.c: putting a policy of the hub in force (see policy.h).
 */
#include "policy.h"

#include "privsep/child.h"

int
hub_sandbox(const struct policy *p, const struct setup *s, int dir, struct error *err)
{
	struct msg_start start = {0};
	struct sandbox_result result;
	struct record_entry e;

	if (record_find(&s->record, SETUP_UID, &e)) {
		start.uid = (uint32_t)record_u64(&s->record, SETUP_UID, 0);
		start.gid = (uint32_t)record_u64(&s->record, SETUP_GID, 0);
		if (start.uid == 0 || start.gid == 0)
			return error_set(err, "the user to become is root");
	} else
		start.flags = CHILD_UNPRIVILEGED;
	if (dir != -1 && sandbox_allow_fd(dir, HUB_STORE_RIGHTS) == -1)
		return error_errno(err, "a Landlock rule for the store's directory");
	if (sandbox_enter(p, &start, &result, err) == -1)
		return -1;
	return p->root_at != 0 && (result.namespaces & SANDBOX_NS_MOUNT) != 0;
}
