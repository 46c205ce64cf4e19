/*
 * policy_merge.c: all that the one-shot merge may do: read the descriptors it was handed, think, and
 * hand one result back.
 */
#include "policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    POLICY_MEMORY,
    POLICY_REALLOC(),
    POLICY_LOG,
    POLICY_LAST_WORDS,
    POLICY_MEMFD,
    POLICY_VIEW_MEMFD(),
    CALL1("sendmsg", EQ(2, MSG_DONTWAIT | MSG_NOSIGNAL), "the result, to the parent"),
    CALL("close", "what was read"),
    CALL1("newfstatat", EQ(3, AT_EMPTY_PATH), "fstat: how much there is to read"),
    CALL("fstat", "the same", UNSEEN("with glibc from 2.39 on")),
    CALL("write", "the result, into a memory file"),
    END_OF_CALLS,
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
    .limit_nofile = LIMIT_CONFIG_FILES + 32, /* or as many as it was handed, and a few (child.c) */
    .limit_fsize = LIMIT_MEMFD,
    .limit_data = LIMIT_MERGE_MEMORY,
    .limit_nproc = 0,
};
