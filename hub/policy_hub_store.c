/*
 * policy_hub_store.c: all that opamphub-store may do: read and write the store's directory, accept on
 * the page's listener, its conversation with front.  No socket of its own, no connect, no program,
 * no signal, no file elsewhere.
 */
#include <linux/futex.h>
#include <unistd.h>

#include "policy.h"
#include "privsep/policy_common.h"

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    POLICY_MEMORY,
    POLICY_REALLOC(UNSEEN("now and then: as the heap lies")),
    POLICY_LOG,
    POLICY_EPOLL,
    CALL1("epoll_ctl", SOME_OF(1, EPOLL_CTL_ADD | EPOLL_CTL_DEL | EPOLL_CTL_MOD), "the loop"),
    CALL1("getrandom", EQ(2, 0), "uids, masks of TLS"),
    CALL1("futex", EQ(1, FUTEX_WAKE | FUTEX_PRIVATE_FLAG), "OpenSSL's locks"),
    CALL1("accept4", EQ(3, SOCK_NONBLOCK | SOCK_CLOEXEC), "a browser or a program comes"),
    CALL2("fcntl", EQ(1, F_SETFL), EQ(2, O_RDWR | O_NONBLOCK),
	"the other process and the listener do not block"),
    CALL1("fcntl", EQ(1, F_GETFL), "what they are"),
    CALL1("ioctl", EQ(1, FIONREAD), "how much has arrived"),
    CALL1("shutdown", EQ(1, SHUT_WR), "the last words of a connection"),
    CALL("close", "connections"),
    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_ERROR), "what went wrong with a connection",
	UNSEEN("a connection that breaks while it is written")),
    CALL("readv", "connections, and the other process"),
    CALL("writev", "connections, and the other process"),
    CALL("read", "connections with TLS"),
    CALL("write", "connections with TLS, the store, the word that we are ready"),
    /* SQLite; the store's directory is the only one that Landlock leaves */
    CALL2("openat", SOME_OF(2, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_EXCL | O_DIRECTORY),
	SOME_OF(3, 0666), "the store's files"),
    CALL1("fcntl", EQ(1, F_SETLK), "the store's lock", UNCHECKED("an address")),
    CALL1("fcntl", EQ(1, F_GETLK), "the store's lock", UNSEEN("a lock that is held"),
	UNCHECKED("an address")),
    CALL2("fcntl", EQ(1, F_SETFD), EQ(2, FD_CLOEXEC), "its files are not for programs",
	UNSEEN("where O_CLOEXEC does nothing")),
    CALL1("fcntl", EQ(1, F_GETFD), "its files are not for programs",
	UNSEEN("where O_CLOEXEC does nothing")),
    CALL("pread64", "the store"),
    CALL("pwrite64", "the store"),
    CALL("fsync", "the store, durable", UNSEEN("where SQLite was built without fdatasync")),
    CALL("fdatasync", "the store, durable"),
    CALL("ftruncate", "the store's log"),
    CALL("unlink", "the store's log at the end"),
    CALL1("newfstatat", SOME_OF(3, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW), "the store's files"),
    CALL("fstat", "the same", UNSEEN("with glibc from 2.39 on")),
    CALL("readlink", "no link on the way", UNSEEN("a path with one")),
    CALL("getcwd", "SQLite makes paths whole", UNSEEN("a path that does not begin with a slash")),
    CALL("getpid", "SQLite: has it been forked?"),
    CALL("geteuid", "SQLite: a file that root made keeps its owner"),
    CALL1("lseek", EQ(2, SEEK_SET), "the store", UNSEEN("where pread is not to be had")),
    END_OF_CALLS,
};
/* clang-format on */

static const struct landlock_path paths[] = {{NULL, 0}};

const struct policy policy_hub_store = {
    .proc = PROC_NOBODY,
    .namespaces = SANDBOX_NS_MOUNT | SANDBOX_NS_NET | SANDBOX_NS_IPC | SANDBOX_NS_UTS,
    .root_at = SETUP_FD_STORE,
    .syscalls = syscalls,
    .paths = paths,
    .landlock = 1,
    .scope_signal = 1,
    .limit_nofile = 1024,
    .limit_data = 1024 * MIB,
    .limit_nproc = 0,
};
