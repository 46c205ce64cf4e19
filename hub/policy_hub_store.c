/*
 * policy_hub_store.c: all that opamphub-store may do: read and write the store's directory, accept on
 * the page's listener, its conversation with front.  No socket of its own, no connect, no program,
 * no signal, no file elsewhere.
 */
#include "policy.h"
#include "privsep/policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    POLICY_MEMORY,
    POLICY_LOOP,
    CALL("accept4", "a browser or a program comes"),
    CALL1("fcntl", EQ(1, F_GETFL), "its connection"),
    CALL1("fcntl", EQ(1, F_SETFL), "its connection: O_NONBLOCK"),
    CALL1("fcntl", EQ(1, F_SETLK), "SQLite's lock"),
    CALL1("fcntl", EQ(1, F_GETLK), "SQLite's lock"),
    CALL1("fcntl", EQ(1, F_SETFD), "SQLite's files are not for programs"),
    CALL1("fcntl", EQ(1, F_GETFD), "SQLite's files are not for programs"),
    CALL1("ioctl", EQ(1, FIONREAD), "how much has arrived"),
    CALL("read", "connections with TLS, the store"),
    CALL("readv", "connections, front"),
    CALL("write", "connections with TLS, the store, the word that we are ready"),
    CALL("writev", "connections, front"),
    CALL1("shutdown", EQ(1, SHUT_WR), "the last words of a connection"),
    CALL("close", "connections, the store's files"),
    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_ERROR), "what went wrong with a connection"),
    /* the store's directory is the only one that Landlock leaves */
    CALL1("openat",
	MASK0(2, ~(uint64_t)(O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_EXCL | O_DIRECTORY)),
	"the store's files"),
    CALL("pread64", "the store"),
    CALL("pwrite64", "the store"),
    CALL("fsync", "the store, durable"),
    CALL("fdatasync", "the store, durable"),
    CALL("ftruncate", "the store's log"),
    CALL("unlink", "the store's log at the end"),
    CALL("newfstatat", "the store's files"),
    CALL("stat", "the same, with other libc versions"),
    CALL("lstat", "the same, with other libc versions"),
    CALL("fstat", "the same, with other libc versions"),
    CALL("access", "is there a log that was left over?"),
    CALL("readlink", "no link on the way"),
    CALL("getcwd", "SQLite makes paths whole"),
    CALL("geteuid", "SQLite: a file that root made keeps its owner"),
    CALL("lseek", "the store"),
    {NULL, 0, {{ARG_ANY, 0, 0, 0}}, NULL},
};
/* clang-format on */

static const struct landlock_path paths[] = {{NULL, 0}};

const struct policy policy_hub_store = {
    .proc = PROC_NOBODY,
    .namespaces = SANDBOX_NS_IPC | SANDBOX_NS_UTS,
    .syscalls = syscalls,
    .paths = paths,
    .landlock = 1,
    .scope_signal = 1,
    .limit_nofile = 1024,
    .limit_data = 1024 * MIB,
    .limit_nproc = 0,
};
