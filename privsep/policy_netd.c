/*
 * policy_netd.c: all that netd may do (invariant I3): no socket, no connect, no file, no program,
 * no signal.  It reads and writes the connection it was handed, and its channels.
 */
#include "policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    POLICY_MEMORY,
    POLICY_CHANNELS,
    POLICY_MEMFD,
    POLICY_LOOP,
    CALL("read", "the connection"),
    CALL("readv", "the connection"),
    CALL("write", "the connection, under TLS"),
    CALL("writev", "the connection"),
    CALL1("ioctl", EQ(1, FIONREAD), "how much has arrived"),
    CALL1("shutdown", EQ(1, SHUT_WR), "leaving"),
    {NULL, 0, {{ARG_ANY, 0, 0, 0}}, NULL},
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
    .limit_nofile = 64,
    .limit_fsize = LIMIT_MEMFD,
    .limit_data = 512 * MIB,
    .limit_nproc = 0,
};
