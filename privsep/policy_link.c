/*
 * policy_link.c: all that link may do: accept on the listener it was handed, read the agent's
 * output, append to the agent's log, ask the kernel who is at the other end.  No socket of its own,
 * no connect, no file, no program, no signal.
 */
#include "policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    POLICY_MEMORY,
    POLICY_CHANNELS,
    POLICY_MEMFD,
    POLICY_LOOP,
    CALL("accept4", "the agent's extension comes"),
    CALL("getsockname", "the loopback connection's ends, for the question who owns it"),
    CALL("getpeername", "the loopback connection's ends, for the question who owns it"),
    /* no flags: MSG_FASTOPEN would be a connect */
    CALL1("sendto", EQ(3, 0), "that question; sock_diag (a descriptor handed in)"),
    CALL("recvfrom", "its answer"),
    CALL("read", "the agent's connection, output and probe"),
    CALL("readv", "the agent's connection"),
    CALL("write", "the agent's log"),
    CALL("writev", "the agent's connection"),
    CALL1("ioctl", EQ(1, FIONREAD), "how much has arrived"),
    /* SHUT_RD would end the listener, which the parent and every later link share, for good */
    CALL1("shutdown", EQ(1, SHUT_WR), "leaving"),
    {NULL, 0, {{ARG_ANY, 0, 0, 0}}, NULL},
};
/* clang-format on */

static const struct landlock_path paths[] = {{NULL, 0}};

const struct policy policy_link = {
    .proc = PROC_LINK,
    .user = "_opampd_link",
    .namespaces = SANDBOX_NS_MOUNT | SANDBOX_NS_NET | SANDBOX_NS_IPC | SANDBOX_NS_UTS,
    .empty_root = 1,
    .syscalls = syscalls,
    .paths = paths,
    .landlock = 1,
    .scope_signal = 1,
    .limit_nofile = 128,
    .limit_fsize = LIMIT_MEMFD, /* or agent.log.max_size, where that is more (child.c) */
    .limit_data = 512 * MIB,
    .limit_nproc = 0,
};
