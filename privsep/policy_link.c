/*
 * policy_link.c: all that link may do: accept on the listener it was handed, read the agent's
 * output, append to the agent's log, ask the kernel who is at the other end.  No socket of its own,
 * no connect, no file, no program, no signal.
 */
#include "policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    POLICY_MEMORY,
    POLICY_REALLOC(),
    POLICY_CHANNELS,
    POLICY_PEERS,
    CALL2("fcntl", EQ(1, F_SETFL), EQ(2, O_RDONLY | O_NONBLOCK), "the agent's output"),
    POLICY_MEMFD,
    POLICY_VIEW_MEMFD(UNSEEN("now and then: a predecessor's secret that comes after the start")),
    POLICY_LOOP,
    CALL1("getrandom", EQ(2, 0), "secrets, hash seeds"),
    CALL1("accept4", EQ(3, SOCK_NONBLOCK | SOCK_CLOEXEC), "the agent's extension comes"),
    CALL("getsockname", "the loopback connection's ends, for the question who owns it"),
    CALL("getpeername", "the loopback connection's ends, for the question who owns it"),
    /* no flags: MSG_FASTOPEN would be a connect */
    CALL1("sendto", EQ(3, 0), "that question; sock_diag (a descriptor handed in)",
	UNCHECKED("the address is netlink's, which has one")),
    CALL1("recvfrom", EQ(3, MSG_DONTWAIT), "its answer"),
    CALL("read", "the agent's output"),
    CALL("readv", "the agent's connection and probe"),
    CALL("write", "the agent's log"),
    CALL("writev", "the agent's connection and probe"),
    CALL1("ioctl", EQ(1, FIONREAD), "how much has arrived"),
    /* SHUT_RD would end the listener, which the parent and every later link share, for good */
    CALL1("clock_gettime", EQ(0, CLOCK_PROCESS_CPUTIME_ID), "what a peer's bytes cost"),
    CALL1("shutdown", EQ(1, SHUT_WR), "leaving"),
    END_OF_CALLS,
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
    .limit_nofile = 48,
    .limit_fsize = LIMIT_MEMFD, /* or agent.log.max_size, where that is more (child.c) */
    .limit_data = 512 * MIB,
    .limit_nproc = 0,
};
