/*
 * policy_confd.c: all that confd may do: write below its state directory (Landlock names it by the
 * descriptor it was handed), answer on the control socket it was handed.  No socket of its own, no
 * program, no signal.
 */
#include "policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    POLICY_MEMORY,
    POLICY_CHANNELS,
    POLICY_MEMFD,
    POLICY_LOOP,
    CALL("openat2", "files below the state directory (RESOLVE_BENEATH)"),
    CALL("read", "state"),
    CALL("write", "state"),
    CALL("pwrite64", "the state record"),
    CALL("fsync", "durable state"),
    CALL("fdatasync", "durable state"),
    CALL("mkdirat", "a new generation"),
    CALL("renameat", "atomic replacement"),
    CALL("renameat2", "the same, where the kernel has only this"),
    CALL("linkat", "the file that ran before, for going back without a write"),
    CALL("unlinkat", "pruning generations"),
    CALL("symlinkat", "current and committed, for people"),
    /* the umask (077) sees to open and mkdir: so no file of ours is anything to other users */
    CALL1("fchmod", MASK0(1, ~02770ull), "modes of new files; nothing for others, no set-user-id"),
    CALL("fchown", "the agent's group on what it may read"),
    CALL("getdents64", "listing generations"),
    CALL("accept4", "opampctl comes"),
    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_PEERCRED), "who asks"),
    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_PEERGROUPS), "who asks"),
    {NULL, 0, {{ARG_ANY, 0, 0, 0}}, NULL},
};
/* clang-format on */

static const struct landlock_path paths[] = {{NULL, 0}};

const struct policy policy_confd = {
    .proc = PROC_CONFD,
    .user = "_opampd_conf",
    .namespaces = SANDBOX_NS_MOUNT | SANDBOX_NS_NET | SANDBOX_NS_IPC | SANDBOX_NS_UTS,
    .empty_root = 1,
    .syscalls = syscalls,
    .paths = paths,
    .landlock = 1,
    .scope_signal = 1,
    .limit_nofile = 128,
    .limit_fsize = LIMIT_MEMFD,
    .limit_data = 512 * MIB,
    .limit_nproc = 0,
};
