/*
 * policy_hub_front.c: all that opamphub-front may do: accept on the listener it was handed, read and
 * write its connections and its conversation with the store.  No socket of its own, no connect, no
 * file, no program, no signal.
 */
#include "policy.h"
#include "privsep/policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    POLICY_MEMORY,
    POLICY_LOOP,
    CALL("accept4", "an agent comes"),
    CALL1("fcntl", EQ(1, F_GETFL), "its connection"),
    CALL1("fcntl", EQ(1, F_SETFL), "its connection: O_NONBLOCK"),
    CALL1("ioctl", EQ(1, FIONREAD), "how much has arrived"),
    CALL("read", "connections with TLS"),
    CALL("readv", "connections, the store"),
    CALL("write", "connections with TLS, the word that we are ready"),
    CALL("writev", "connections, the store"),
    CALL1("shutdown", EQ(1, SHUT_WR), "the last words of a connection"),
    CALL("close", "connections"),
    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_ERROR), "what went wrong with a connection"),
    {NULL, 0, {{ARG_ANY, 0, 0, 0}}, NULL},
};
/* clang-format on */

static const struct landlock_path paths[] = {{NULL, 0}};

const struct policy policy_hub_front = {
    .proc = PROC_NOBODY,
    .namespaces = SANDBOX_NS_MOUNT | SANDBOX_NS_IPC | SANDBOX_NS_UTS,
    .empty_root = 1,
    .syscalls = syscalls,
    .paths = paths,
    .landlock = 1,
    .scope_signal = 1,
    .limit_nofile = LIMIT_HUB_AGENTS + 64,
    .limit_fsize = 0,
    .limit_data = 1024 * MIB,
    .limit_nproc = 0,
};
