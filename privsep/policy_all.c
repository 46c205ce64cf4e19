/*
 * policy_all.c: the policy of each process, for who shows them all: opampctl, documents, tests.  No daemon
 * links it: each carries its own policy alone.
 */
#include "sandbox.h"

const struct policy *
policy_of(enum proc proc)
{
	static const struct policy *const policies[PROC_COUNT] = {
	    [PROC_PARENT] = &policy_parent,
	    [PROC_NETD] = &policy_netd,
	    [PROC_LINK] = &policy_link,
	    [PROC_CONFD] = &policy_confd,
	    [PROC_PROCD] = &policy_procd,
	    [PROC_CONNECT] = &policy_connect,
	    [PROC_MERGE] = &policy_merge,
	};

	return proc < PROC_COUNT && policies[proc] != NULL ? policies[proc] : &policy_merge;
}
