/*
 * policy_netd.c: all that netd may do (invariant I3): no socket, no connect, no file, no program,
 * no signal.  It reads and writes the connection it was handed, and its channels.
 */
#include <linux/futex.h>

#include "policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    POLICY_MEMORY,
    POLICY_REALLOC(),
    POLICY_CHANNELS,
    POLICY_PEERS,
    POLICY_MEMFD,
    POLICY_VIEW_MEMFD(),
    POLICY_LOOP,
    CALL1("getrandom", EQ(2, 0), "masks, jitter, OpenSSL"),
    CALL("getpid", "OpenSSL's random numbers: has it forked"),
    CALL1("futex", EQ(1, FUTEX_WAKE | FUTEX_PRIVATE_FLAG),
	"OpenSSL: what is made once, and nobody waits for",
	UNSEEN("for what OpenSSL first needs after its start")),
    CALL1("time", EQ(0, 0), "OpenSSL: is a certificate valid today", NO_VDSO),
    CALL("read", "the connection"),
    CALL("write", "the connection, under TLS too"),
    CALL1("clock_gettime", EQ(0, CLOCK_PROCESS_CPUTIME_ID), "what a peer's bytes cost"),
    CALL1("shutdown", EQ(1, SHUT_WR), "leaving"),
    END_OF_CALLS,
};
/* clang-format on */

static const struct landlock_path paths[] = {{NULL, 0}};

const struct policy policy_netd = {
    .proc = PROC_NETD,
    .user = "_opampd_net",
    .namespaces = SANDBOX_NS_MOUNT | SANDBOX_NS_NET | SANDBOX_NS_IPC | SANDBOX_NS_UTS,
    .empty_root = 1,
    .syscalls = syscalls,
    .paths = paths,
    .landlock = 1,
    .scope_signal = 1,
    .limit_nofile = 24,
    .limit_fsize =
	LIMIT_MEMFD, /* or limits.config_size and a little, where that is less (child.c) */
    .limit_data = 512 * MIB,
    .limit_nproc = 0,
};
