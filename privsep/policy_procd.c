/*
 * policy_procd.c: all that procd may do: signal what it was handed (pidfd_send_signal; there is no
 * kill, no pidfd_open, no open), write to the cgroup.kill it was handed, talk to its two peers.
 * No Landlock signal scope: a landlocked process with it gets EPERM on an agent it took over.
 */
#include "policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    CALL("brk", "malloc", UNSEEN("with many messages that wait")),
    POLICY_MAP(UNSEEN("with many messages that wait")),
    POLICY_CHANNELS,
    POLICY_PEERS,
    POLICY_LOOP,
    CALL("fstatfs", "is this descriptor a cgroup's"),
    CALL2("pidfd_send_signal", EQ(2, 0), EQ(3, 0), "the agent",
	UNCHECKED("agent.stop_signal and agent.reload_signal name the signals")),
    CALL1("write", EQ(2, 1), "one byte: cgroup.kill"),
    END_OF_CALLS,
};
/* clang-format on */

static const struct landlock_path paths[] = {{NULL, 0}};

const struct policy policy_procd = {
    .proc = PROC_PROCD,
    .user = "_opampd_proc",
    .capabilities = 1ull << CAP_KILL,
    .namespaces = SANDBOX_NS_MOUNT | SANDBOX_NS_NET | SANDBOX_NS_IPC | SANDBOX_NS_UTS,
    .empty_root = 1,
    .syscalls = syscalls,
    .paths = paths,
    .landlock = 1,
    .scope_signal = 0,
    .ends_by_itself = 1, /* when the parent dies it ends the agent's group, then itself */
    .limit_nofile = 32,
    .limit_fsize = 0, /* it can make no file, and the log may be one */
    .limit_data = 64 * MIB,
    .limit_nproc = 0,
};
