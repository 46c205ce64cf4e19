/*
 * policy_init.c: all that process 1 of the agent's PID namespace may do (agent_init.c): wait, and say
 * once how the agent ended.  No user of its own, no capability, no file, no other descriptor.
 */
#include "agent_init.h"
#include "policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    CALL("wait4", "reaping"),
    CALL1("write", EQ(0, AGENT_INIT_FD), "how the agent ended"),
    CALL("exit_group", "the end"),
    END_OF_CALLS,
};
/* clang-format on */

static const struct landlock_path paths[] = {{NULL, 0}};

const struct policy policy_init = {
    .proc = PROC_NOBODY,
    .syscalls = syscalls,
    .paths = paths,
    .landlock = 1,
    .scope_signal = 1,
    .limit_nproc = -1,
};
