/*
 * policy_hub_front.c: all that opamphub-front may do: accept on the listener it was handed, read and
 * write its connections and its conversation with the store.  No socket of its own, no connect, no
 * file, no program, no signal.
 */
#include <linux/futex.h>

#include "policy.h"
#include "privsep/policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    POLICY_MEMORY,
    POLICY_REALLOC(),
    POLICY_LOG,
    POLICY_EPOLL,
    CALL1("clock_gettime", EQ(0, CLOCK_PROCESS_CPUTIME_ID), "what an agent's bytes cost"),
    CALL1("epoll_ctl", SOME_OF(1, EPOLL_CTL_ADD | EPOLL_CTL_DEL | EPOLL_CTL_MOD), "the loop"),
    CALL1("getrandom", EQ(2, 0), "OpenSSL's random numbers",
	UNSEEN("they are seeded before the sandbox, and anew each hour")),
    CALL1("futex", EQ(1, FUTEX_WAKE | FUTEX_PRIVATE_FLAG), "OpenSSL's locks",
	UNSEEN("for what OpenSSL first needs after its start")),
    CALL1("accept4", EQ(3, SOCK_NONBLOCK | SOCK_CLOEXEC), "an agent comes"),
    CALL1("ioctl", EQ(1, FIONREAD), "how much has arrived"),
    CALL1("shutdown", EQ(1, SHUT_WR), "the last words of a connection"),
    CALL("close", "connections"),
    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_ERROR), "what went wrong with a connection",
	UNSEEN("a connection that breaks while it is written")),
    CALL("readv", "connections, and the other process"),
    CALL("writev", "connections, and the other process"),
    CALL("getpid", "OpenSSL's random numbers: has it been forked?"),
    CALL("read", "connections with TLS"),
    CALL("write", "connections with TLS, the word that we are ready"),
    END_OF_CALLS,
};
/* clang-format on */

static const struct landlock_path paths[] = {{NULL, 0}};

const struct policy policy_hub_front = {
    .proc = PROC_NOBODY,
    .namespaces = SANDBOX_NS_MOUNT | SANDBOX_NS_NET | SANDBOX_NS_IPC | SANDBOX_NS_UTS,
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
