/*
 * policy_connect.c: all that the one-shot connector may do: resolve a name with libc's resolver and
 * connect.  It keeps the host's network and files, the latter read-only and few.
 */
#include <netinet/in.h>

#include "policy_common.h"

#define SOCKET(family, type, protocol, why)                                                        \
	CALL3("socket", EQ(0, family), MASK_EQ(1, 0xf, type), EQ(2, protocol), why)

/* clang-format off: a table */
static const struct syscall_rule syscalls[] = {
    POLICY_MEMORY,
    POLICY_CHANNELS,
    POLICY_LOOP,
    SOCKET(AF_INET, SOCK_STREAM, IPPROTO_TCP, "the connection"),
    SOCKET(AF_INET6, SOCK_STREAM, IPPROTO_TCP, "the connection"),
    SOCKET(AF_INET, SOCK_STREAM, 0, "DNS over TCP, for long answers"),
    SOCKET(AF_INET6, SOCK_STREAM, 0, "DNS over TCP, for long answers"),
    SOCKET(AF_INET, SOCK_DGRAM, 0, "DNS, and the choice of a source address"),
    SOCKET(AF_INET6, SOCK_DGRAM, 0, "DNS, and the choice of a source address"),
    SOCKET(AF_INET, SOCK_DGRAM, IPPROTO_IP, "the choice of a source address"),
    SOCKET(AF_INET, SOCK_DGRAM, IPPROTO_UDP, "the choice of a source address"),
    SOCKET(AF_INET6, SOCK_DGRAM, IPPROTO_UDP, "the choice of a source address"),
    {"socket", 97 /* EAFNOSUPPORT */, {EQ(0, AF_UNIX)}, "nscd is not asked"},
    {"socket", 97, {EQ(0, AF_NETLINK)}, "libc then takes both families for usable"},
    CALL("connect", "the connection, and DNS"),
    CALL("getsockname", "the choice of a source address"),
    CALL("getpeername", "the choice of a source address"),
    CALL2("getsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_ERROR), "did the connection succeed"),
    CALL2("setsockopt", EQ(1, IPPROTO_TCP), EQ(2, 1), "TCP_NODELAY"),
    /* no other: with SO_LINGER whoever closes the socket last, the parent or netd, may have to wait */
    CALL2("setsockopt", EQ(1, SOL_SOCKET), EQ(2, SO_KEEPALIVE), "a peer that vanished"),
    CALL2("setsockopt", EQ(1, IPPROTO_IP), EQ(2, IP_RECVERR), "libc's resolver"),
    CALL2("setsockopt", EQ(1, IPPROTO_IPV6), EQ(2, IPV6_RECVERR), "libc's resolver"),
    CALL("sendto", "DNS"),
    CALL("sendmmsg", "DNS: both questions at once"),
    CALL("recvfrom", "DNS"),
    CALL("read", "the resolver's files"),
    CALL("writev", "DNS over TCP"),
    CALL1("openat", EQ(2, O_RDONLY | O_CLOEXEC), "hosts, resolv.conf, nsswitch.conf, gai.conf"),
    CALL1("openat", EQ(2, O_RDONLY), "the same, with other libc versions"),
    CALL("newfstatat", "has resolv.conf changed"),
    CALL("lseek", "the resolver's files"),
    CALL("pread64", "libraries of name services"),
    CALL2("mmap", MASK_EQ(2, PROT_EXEC | PROT_WRITE, PROT_EXEC),
	MASK_EQ(3, ~(uint64_t)MAP_PLAIN, MAP_PRIVATE), "libraries of name services"),
    CALL1("ioctl", EQ(1, FIONREAD), "DNS"),
    CALL("uname", "the resolver's search list"),
    {NULL, 0, {{ARG_ANY, 0, 0, 0}}, NULL},
};

static const struct landlock_path paths[] = {
    {"/etc", LL_FS_READ}, /* the directory: resolv.conf is replaced by rename */
    {"/run/systemd/resolve", LL_FS_READ},
    {"/run/resolvconf", LL_FS_READ},
    {"/run/NetworkManager", LL_FS_READ},
    {"/lib", LL_FS_READ | LL_FS_EXECUTE},
    {"/usr/lib", LL_FS_READ | LL_FS_EXECUTE},
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
