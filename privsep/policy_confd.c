/*
 * policy_confd.c: all that confd may do: write below its state directory (Landlock names it by the
 * descriptor it was handed), answer on the control socket it was handed.  No socket of its own, no
 * program, no signal.
 */
#include <linux/openat2.h>

#include "policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    POLICY_MEMORY,
    POLICY_REALLOC(UNSEEN("an answer to opampctl that outgrows what malloc had mapped")),
    POLICY_CHANNELS,
    POLICY_PEERS,
    POLICY_MEMFD,
    POLICY_VIEW_MEMFD(),
    POLICY_LOOP,
    CALL1("getrandom", EQ(2, 0), "a new identity, hash seeds"),
    CALL("getpid", "for opampctl, of whom its answer is"),
    CALL1("openat2", EQ(3, sizeof(struct open_how)),
	"files below the state directory (RESOLVE_BENEATH); its flags lie in memory: Landlock "
	"bounds them"),
    CALL("write", "state"),
    CALL("pwrite64", "the state record"),
    CALL("fsync", "durable state"),
    CALL("fdatasync", "durable state"),
    CALL1("mkdirat", EQ(2, 0700), "a new generation"),
#ifdef SYS_renameat
    CALL("renameat", "atomic replacement"),
#else
    CALL1("renameat2", EQ(4, 0), "atomic replacement"),
#endif
    CALL1("linkat", EQ(4, 0), "the file that ran before, for going back without a write"),
    CALL1("unlinkat", SOME_OF(2, AT_REMOVEDIR), "pruning generations"),
    CALL("symlinkat", "current and committed, for people"),
    /* the umask (077) sees to open and mkdir: so no file of ours is anything to other users */
    CALL1("fchmod", MASK0(1, ~02770ull), "modes of new files; nothing for others, no set-user-id"),
    CALL1("fchown", MASK_EQ(1, 0xffffffff, 0xffffffff), "the agent's group on what it may read"),
    CALL("getdents64", "listing generations"),
    CALL1("recvmsg", EQ(2, MSG_DONTWAIT), "a request of opampctl: no descriptor is taken"),
    CALL1("accept4", EQ(3, SOCK_NONBLOCK | SOCK_CLOEXEC), "opampctl comes"),
    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_PEERCRED), "who asks"),
    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_PEERGROUPS), "who asks"),
    END_OF_CALLS,
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
    /* with what waits for netd and the parent, where they read nothing: their queues are full first */
    .limit_nofile = 2 * LIMIT_CHANNEL_FILES + 64,
    .limit_fsize = LIMIT_MEMFD,
    .limit_data = 512 * MIB,
    .limit_nproc = 0,
};
