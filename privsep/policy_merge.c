/*
 * policy_merge.c: all that the one-shot merge may do: read the descriptors it was handed, think, and
 * hand one result back.
 */
#include "policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    POLICY_MEMORY,
    POLICY_CHANNELS,
    POLICY_MEMFD,
    POLICY_LOOP,
    CALL("write", "the result, into a memory file"),
    {NULL, 0, {{ARG_ANY, 0, 0, 0}}, NULL},
};
/* clang-format on */

static const struct landlock_path paths[] = {{NULL, 0}};

const struct policy policy_merge = {
    .proc = PROC_MERGE,
    .user = "_opampd_merge",
    .namespaces = SANDBOX_NS_MOUNT | SANDBOX_NS_NET | SANDBOX_NS_IPC | SANDBOX_NS_UTS,
    .empty_root = 1,
    .syscalls = syscalls,
    .paths = paths,
    .landlock = 1,
    .scope_signal = 1,
    .limit_nofile = LIMIT_CONFIG_FILES + 32,
    .limit_fsize = LIMIT_MEMFD,
    .limit_data = LIMIT_MERGE_MEMORY,
    .limit_nproc = 0,
};
