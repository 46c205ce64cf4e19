/*
 * policy_connect.c: all that the one-shot connector may do: resolve a name with libc's resolver and
 * connect.  It keeps the host's network and files, the latter read-only and few.
 */
#include <errno.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "policy_common.h"

/* never inherited, blocking or not */
#define SOCKET(family, type, protocol, ...)                                                        \
	CALL3("socket", EQ(0, family),                                                             \
	    MASK_EQ(1, ~(uint64_t)SOCK_NONBLOCK, (type) | SOCK_CLOEXEC), EQ(2, protocol),          \
	    __VA_ARGS__)

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    CALL("brk", "malloc"),
    POLICY_MAP(UNSEEN("with more than 128 KiB of addresses")),
    POLICY_LOG,
    POLICY_POLL("waiting for connections and answers"),
    CALL("restart_syscall", "the same, after a stop and continue"),
    CALL1("sendmsg", EQ(2, MSG_DONTWAIT | MSG_NOSIGNAL), "the answer, to the parent"),
    CALL("close", "descriptors"),
    SOCKET(AF_INET, SOCK_STREAM, IPPROTO_TCP, "the connection"),
    SOCKET(AF_INET6, SOCK_STREAM, IPPROTO_TCP, "the connection"),
    SOCKET(AF_INET, SOCK_STREAM, 0, "DNS over TCP, for long answers"),
    SOCKET(AF_INET6, SOCK_STREAM, 0, "DNS over TCP, for long answers"),
    SOCKET(AF_INET, SOCK_DGRAM, 0, "DNS, and the choice of a source address"),
    SOCKET(AF_INET6, SOCK_DGRAM, 0, "DNS, and the choice of a source address"),
    {.name = "socket",
	.action = EAFNOSUPPORT,
	.args = {EQ(0, AF_NETLINK)},
	.why = "libc then takes both families for usable"},
    CALL("connect", "the connection, and DNS"),
    CALL("getsockname", "the choice of a source address"),
    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_ERROR), "did the connection succeed"),
    /* no other: with SO_LINGER whoever closes the socket last, the parent or netd, may have to wait */
    CALL2("setsockopt", EQ(1, IPPROTO_TCP), EQ(2, TCP_NODELAY), "the connection"),
    CALL2("setsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_KEEPALIVE), "a peer that vanished"),
    CALL2("setsockopt", EQ(1, IPPROTO_IP), EQ(2, IP_RECVERR), "DNS"),
    CALL2("setsockopt", EQ(1, IPPROTO_IPV6), EQ(2, IPV6_RECVERR), "DNS"),
    CALL2("sendto", EQ(3, MSG_NOSIGNAL), EQ(4, 0), "DNS: one question after the other"),
    CALL1("sendmmsg", EQ(3, MSG_NOSIGNAL), "DNS: both questions at once"),
    CALL1("recvfrom", EQ(3, 0), "DNS"),
    CALL("read", "the resolver's files, DNS over TCP"),
    CALL("writev", "DNS over TCP"),
    CALL1("ioctl", EQ(1, FIONREAD), "DNS"),
    CALL1("openat", EQ(2, O_RDONLY | O_CLOEXEC), "hosts, resolv.conf, nsswitch.conf, gai.conf"),
    CALL1("newfstatat", SOME_OF(3, AT_EMPTY_PATH), "the resolver's files: have they changed"),
    CALL("fstat", "the same", UNSEEN("with glibc from 2.39 on")),
    CALL1("lseek", EQ(2, SEEK_SET), "the resolver's files"),
    CALL("uname", "the resolver's search list"),
    CALL1("futex", EQ(1, FUTEX_WAKE | FUTEX_PRIVATE_FLAG), "libc's once: nobody waits"),
    END_OF_CALLS,
};

static const struct landlock_path paths[] = {
    {"/etc", LL_FS_READ}, /* the directory: resolv.conf is replaced by rename */
    {"/run/systemd/resolve", LL_FS_READ},
    {"/run/resolvconf", LL_FS_READ},
    {"/run/NetworkManager", LL_FS_READ},
    {NULL, 0},
};
/* clang-format on */

const struct policy policy_connect = {
    .proc = PROC_CONNECT,
    .user = "_opampd_dns",
    .namespaces = SANDBOX_NS_IPC,
    .syscalls = syscalls,
    .paths = paths,
    .landlock = 1,
    .scope_signal = 1,
    .limit_nofile = 64,
    .limit_fsize = 0, /* it can make no file, and the log may be one */
    .limit_data = 64 * MIB,
    .limit_nproc = 0,
};
