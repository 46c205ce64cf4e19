"""One act per kind that a process of opampd must not be able to do, for inject (tests/tools/inject.c), and
what the declared policy (tests/tools/policy.c) says of it."""
import errno
import re
import socket
import struct

ALL64 = (1 << 64) - 1
KILLED = "killed"
PASSES = "passes the filter"
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
O_CLOEXEC, WRITE_NEW = 0o2000000, 0o101
EXEC, READ_EXEC = 4, 5
SIGCHLD, NEWUSER, NEWNS = 17, 0x10000000, 0x20000
CONTROL = "(control) getpid"


def data(bytes_):
    return "b:" + bytes_.hex()


ADDRESS = data(struct.pack("<H", socket.AF_INET) + struct.pack(">H", 9) + socket.inet_aton("127.0.0.2") + bytes(8))
LIMIT = data(struct.pack("<QQ", 4096, 4096))
IOV = data(struct.pack("<QQ", 0, 0))
HOW_READ, HOW_NEW = data(struct.pack("<QQQ", 0, 0, 0)), data(struct.pack("<QQQ", WRITE_NEW, 0o644, 0))
BUFFER = data(bytes(256))


def unix(path):
    return data(struct.pack("<H", socket.AF_UNIX) + path.encode().ljust(108, b"\0"))


class Act:
    """Arguments may be functions of the world (see World in prison.t).  beyond: errnos with which something behind
    the filter refuses what the policy lets pass.  first: a call before, of which only the result counts (r:)."""

    def __init__(self, name, call, *arguments, beyond=(), first=None):
        self.name = name
        self.call = call
        self.arguments = arguments
        self.beyond = beyond
        self.first = first

    def line(self, world):
        return [self.call] + [str(a(world) if callable(a) else a) for a in self.arguments]


def own(world):
    return world.own


def neighbour(world):
    return world.neighbour


def number(text):
    """An argument as the filter sees it; None: an address."""
    return int(text, 0) & ALL64 if re.fullmatch(r"-?\d+|0x[0-9a-f]+", text) else None


def row_holds(row, arguments):
    for test, index, value, mask in row[3:]:
        given = number(arguments[index]) if index < len(arguments) else 0
        if given is None:
            given = 0x7ffc00001000
        if test == "eq" and given != value or test == "mask0" and given & value or \
                test == "mask_eq" and given & mask != value:
            return False
    return True


def by_filter(policy, call, arguments):
    """What one filter does: KILLED, an errno, or PASSES."""
    rows = [row for row in policy["syscalls"] if row[0] == call and row_holds(row, arguments)]
    if re.match(r"0x|int80:", call):  # another ABI
        return KILLED
    if any(row[2] == 0 for row in rows):
        return KILLED if policy["deny_list"] else PASSES
    if rows:
        return rows[0][2]
    return PASSES if policy["deny_list"] else KILLED


def declared(policies, name, line):
    """The declared policy's answer: the parent's filter is inherited, and the stricter one wins."""
    answers = [by_filter(policies[p], line[0], line[1:]) for p in ("parent", name)]
    if KILLED in answers:
        return KILLED
    return next((a for a in answers if a != PASSES), PASSES)


def in_words(answer):
    return answer if isinstance(answer, str) else errno.errorcode.get(answer, str(answer))


NOWHERE = (errno.EACCES, errno.ENOENT)  # Landlock, or the empty root

# ---- for every process with an allow-list
ACTS = [
    Act(CONTROL, "getpid"),
    Act("open a file to read", "openat", AT_FDCWD, "s:/etc/passwd", 0),
    Act("read by open", "open", "s:/etc/passwd", 0),
    Act("read by openat2", "openat2", AT_FDCWD, "s:/etc/passwd", HOW_READ, 24, beyond=NOWHERE),
    Act("open a file to write", "openat", AT_FDCWD, "s:/tmp/opampd-prison", WRITE_NEW, 0o644),
    Act("the same by creat", "creat", "s:/tmp/opampd-prison", 0o644),
    Act("write by openat2", "openat2", AT_FDCWD, "s:/tmp/opampd-prison", HOW_NEW, 24, beyond=NOWHERE + (errno.EROFS,)),
    Act("out of its directory", "openat2", lambda w: w.state, "s:../control.sock", HOW_READ, 24, beyond=NOWHERE),
    Act("write beside its directory", "openat2", lambda w: w.state, "s:../prison", HOW_NEW, 24, beyond=NOWHERE),
    Act("a directory beside its own", "mkdirat", lambda w: w.state, "s:../prison", 0o755, beyond=NOWHERE),
    Act("remove beside its directory", "unlinkat", lambda w: w.state, "s:../control.sock", 0, beyond=NOWHERE),
    Act("rename out of its directory", "renameat", lambda w: w.state, "s:identity", lambda w: w.state, "s:../identity", beyond=NOWHERE + (errno.EXDEV,)),
    Act("link out of its directory", "linkat", lambda w: w.state, "s:identity", lambda w: w.state, "s:../identity", 0, beyond=NOWHERE + (errno.EXDEV, errno.EPERM)),
    Act("symlink beside its directory", "symlinkat", "s:/etc/passwd", lambda w: w.state, "s:../passwd", beyond=NOWHERE),
    Act("a file to root", "fchown", lambda w: w.state, 0, 0, beyond=(errno.EPERM, errno.EINVAL)),
    Act("stat a file", "stat", "s:/etc/passwd", BUFFER),
    Act("the same by newfstatat", "newfstatat", AT_FDCWD, "s:/etc/passwd", BUFFER, 0),
    Act("access", "access", "s:/etc/passwd", 0),
    Act("readlink", "readlink", "s:/proc/self/exe", BUFFER, 256),
    Act("list a directory", "getdents64", own, BUFFER, 256, beyond=(errno.ENOTDIR,)),
    Act("chmod", "fchmodat", AT_FDCWD, "s:/tmp", 0o777),
    Act("mknod", "mknod", "s:/tmp/opampd-prison", 0o10644, 0),
    Act("chdir", "chdir", "s:/"),
    Act("inotify_init1", "inotify_init1", 0),
    Act("name_to_handle_at", "name_to_handle_at", AT_FDCWD, "s:/", BUFFER, BUFFER, 0),
    Act("socket INET stream", "socket", 2, 1, 0),
    Act("socket INET dgram", "socket", 2, 2, 0),
    Act("socket INET raw", "socket", 2, 3, 1),
    Act("socket INET6", "socket", 10, 1, 0),
    Act("socket MPTCP", "socket", 2, 1, 262),
    Act("socket UNIX", "socket", 1, 1, 0),
    Act("socket NETLINK", "socket", 16, 3, 0),
    Act("socket PACKET", "socket", 17, 3, 0x300),
    Act("socket VSOCK", "socket", 40, 1, 0),
    Act("socketpair", "socketpair", 1, 1, 0, BUFFER),
    Act("connect elsewhere", "connect", own, ADDRESS, 16),
    Act("connect by fast open", "sendto", own, "s:x", 1, 0x20000000, ADDRESS, 16),
    Act("the same by sendmsg", "sendmsg", own, BUFFER, 0x20000000),
    Act("bind", "bind", own, ADDRESS, 16),
    Act("listen", "listen", own, 8),
    Act("end a shared socket", "shutdown", own, 2),
    Act("a pidfd of its peer", "getsockopt", own, 1, 77, BUFFER, BUFFER),
    Act("set a socket's option", "setsockopt", own, 1, 2, BUFFER, 4),
    Act("execve", "execve", "s:/bin/true", 0, 0),
    Act("execveat on a descriptor", "execveat", own, "s:", 0, 0, AT_EMPTY_PATH),
    Act("fork", "fork"),
    Act("vfork", "vfork"),
    Act("clone", "clone", SIGCHLD, 0, 0, 0, 0),
    Act("clone3", "clone3", data(struct.pack("<4Q", 0, 0, 0, 0) + struct.pack("<4Q", SIGCHLD, 0, 0, 0)), 64),
    Act("ptrace a neighbour", "ptrace", 16, neighbour, 0, 0),
    Act("ptrace by seize", "ptrace", 0x4206, neighbour, 0, 0),
    Act("read a neighbour", "process_vm_readv", neighbour, IOV, 1, IOV, 1, 0),
    Act("write a neighbour", "process_vm_writev", neighbour, IOV, 1, IOV, 1, 0),
    Act("process_madvise", "process_madvise", own, IOV, 1, 4, 0),
    Act("kill a neighbour", "kill", neighbour, 0),
    Act("kill the parent", "kill", lambda w: w.parent, 0),
    Act("kill the agent", "kill", lambda w: w.agent, 0),
    Act("tgkill a neighbour", "tgkill", neighbour, neighbour, 0),
    Act("queue it a signal", "rt_sigqueueinfo", neighbour, 15, BUFFER),
    Act("pidfd_open a neighbour", "pidfd_open", neighbour, 0),
    Act("pidfd_getfd", "pidfd_getfd", own, 0, 0),
    Act("signal what is no pidfd", "pidfd_send_signal", own, 0, 0, 0, beyond=(errno.EBADF,)),
    Act("kcmp", "kcmp", neighbour, neighbour, 0, 0, 0),
    Act("its priority", "setpriority", 0, 0, 5),
    Act("mount", "mount", "s:none", "s:/", "s:tmpfs", 0, 0),
    Act("umount", "umount2", "s:/", 2),
    Act("open_tree", "open_tree", AT_FDCWD, "s:/", 1),
    Act("fsopen", "fsopen", "s:tmpfs", 0),
    Act("pivot_root", "pivot_root", "s:.", "s:."),
    Act("chroot", "chroot", "s:/"),
    Act("unshare", "unshare", NEWUSER),
    Act("setns", "setns", own, 0),
    Act("bpf", "bpf", 0, BUFFER, 72),
    Act("perf_event_open", "perf_event_open", BUFFER, 0, -1, -1, 0),
    Act("io_uring_setup", "io_uring_setup", 8, BUFFER),
    Act("userfaultfd", "userfaultfd", 1),
    Act("keyctl", "keyctl", 0, -3, 0),
    Act("add_key", "add_key", "s:user", "s:x", "s:y", 1, -3),
    Act("memory to execute", "mmap", 0, 4096, READ_EXEC, 0x22, -1, 0),
    Act("memory made to execute", "mprotect", "p:", 4096, READ_EXEC),
    Act("the same by pkey_mprotect", "pkey_mprotect", "p:", 4096, READ_EXEC, -1),
    Act("memory file of huge pages", "memfd_create", "s:x", 4),
    Act("memory file to execute", "memfd_create", "s:x", 0x10),
    Act("remap_file_pages", "remap_file_pages", "p:", 4096, 0, 0, 0),
    Act("setuid(0)", "setuid", 0),
    Act("setresuid(0)", "setresuid", 0, 0, 0),
    Act("setgid(0)", "setgid", 0),
    Act("setgroups", "setgroups", 0, 0),
    Act("capset", "capset", data(struct.pack("<II", 0x20080522, 0)), data(bytes(24))),
    Act("a limit upwards", "prlimit64", 0, 7, LIMIT, 0),
    Act("the same by setrlimit", "setrlimit", 6, LIMIT),
    Act("personality", "personality", 0x0400000),
    Act("be dumpable", "prctl", 4, 1, 0, 0, 0),
    Act("be traced by anybody", "prctl", 0x59616d61, -1, 0, 0, 0),
    Act("a filter of its own", "seccomp", 1, 0, BUFFER),
    Act("arch_prctl", "arch_prctl", 0x1001, 0),
    Act("a signal handler", "rt_sigaction", 15, BUFFER, 0, 8),
    Act("shared memory", "shmget", 0, 4096, 0o1600),
    Act("a message queue", "msgget", 0, 0o1600),
    Act("a timer", "timerfd_create", 1, 0),
    Act("dup", "dup", own),
    Act("a descriptor's owner", "fcntl", own, 8, neighbour),
    Act("a copy of a descriptor", "fcntl", own, 0, 0),
    Act("typing into a terminal", "ioctl", 0, 0x5412, "s:x"),
    Act("the interfaces", "ioctl", own, 0x8912, BUFFER),
    Act("the host's name", "sethostname", "s:x", 1),
    Act("the kernel's log", "syslog", 3, BUFFER, 256),
    Act("x32's getpid", "0x40000027"),
    Act("the 32-bit getpid", "int80:20"),
]

# ---- the connector, as far as it may more, and merge: a handful
SHADOW = Act("open another file", "openat", AT_FDCWD, "s:/etc/shadow", O_CLOEXEC, beyond=(errno.EACCES, errno.ENOENT))
FEW = {"open a file to write", "write by openat2", "socket INET raw", "socket PACKET", "socket MPTCP", "socket UNIX", "socket NETLINK",
       "bind", "listen", "execve", "clone", "ptrace a neighbour", "kill a neighbour", "pidfd_open a neighbour", "mount",
       "unshare", "io_uring_setup", "memory made to execute", "setuid(0)", "x32's getpid", "the 32-bit getpid", CONTROL}
CONNECT = [a for a in ACTS if a.name in FEW] + [
    SHADOW,
    Act("open our state", "openat", AT_FDCWD, lambda w: "s:" + w.bed.storage("identity"), O_CLOEXEC, beyond=(errno.EACCES,)),
    Act("open our settings", "openat", AT_FDCWD, lambda w: "s:" + w.bed.path("opampd.yaml"), O_CLOEXEC, beyond=(errno.EACCES,)),
    Act("open the parent's environment", "openat", AT_FDCWD, lambda w: f"s:/proc/{w.parent}/environ", O_CLOEXEC, beyond=(errno.EACCES,)),
    Act("memory to execute and write", "mmap", 0, 4096, 7, 0x22, -1, 0),
]
FEWER = {"open a file to read", "socket INET stream", "socket UNIX", "execve", "fork", "ptrace a neighbour", "kill the parent",
         "memory to execute", "write by openat2", CONTROL}
MERGE = [a for a in ACTS if a.name in FEWER]

# ---- the agent: a deny-list, Landlock, and its user
DENIED = (errno.EACCES, errno.EPERM)
AGENT = [
    Act(CONTROL, "getpid"),
    Act("mount", "mount", "s:none", "s:/tmp", "s:tmpfs", 0, 0),
    Act("open_tree", "open_tree", AT_FDCWD, "s:/", 1),
    Act("chroot", "chroot", "s:/"),
    Act("unshare", "unshare", NEWUSER),
    Act("setns", "setns", 0, 0),
    Act("clone, a user namespace", "clone", NEWUSER | SIGCHLD, 0, 0, 0, 0),
    Act("clone3", "clone3", data(struct.pack("<8Q", NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0)), 64),
    Act("ptrace our parent", "ptrace", 16, lambda w: w.parent, 0, 0),
    Act("read a neighbour", "process_vm_readv", neighbour, IOV, 1, IOV, 1, 0),
    Act("pidfd_getfd", "pidfd_getfd", 0, 0, 0),
    Act("bpf", "bpf", 0, BUFFER, 72),
    Act("perf_event_open", "perf_event_open", BUFFER, 0, -1, -1, 0),
    Act("io_uring_setup", "io_uring_setup", 8, BUFFER),
    Act("userfaultfd", "userfaultfd", 1),
    Act("keyctl", "keyctl", 0, -3, 0),
    Act("name_to_handle_at", "name_to_handle_at", AT_FDCWD, "s:/", BUFFER, BUFFER, 0),
    Act("typing into a terminal", "ioctl", 0, 0x5412, "s:x"),
    Act("the 32-bit getpid", "int80:20"),
    Act("x32's getpid", "0x40000027"),
    Act("personality", "personality", 0x0400000),
    Act("socket MPTCP", "socket", 2, 1, 262),
    Act("connect by fast open", "sendto", 1, "s:x", 1, 0x20000000, ADDRESS, 16),
    Act("write in /tmp", "openat", AT_FDCWD, "s:/tmp/opampd-prison", WRITE_NEW, 0o644, beyond=DENIED),
    Act("write in our state", "openat", AT_FDCWD, lambda w: "s:" + w.bed.storage("prison"), WRITE_NEW, 0o644, beyond=DENIED),
    Act("read our state", "openat", AT_FDCWD, lambda w: "s:" + w.bed.storage("identity"), 0, beyond=DENIED),
    Act("write its program", "openat", AT_FDCWD, lambda w: "s:" + w.bed.agent, 1, beyond=DENIED + (errno.ETXTBSY,)),
    Act("connect to the control socket", "connect", "r:", lambda w: unix(w.bed.path("var", "control.sock")), 110,
        beyond=DENIED + (errno.ECONNREFUSED,), first=["socket", "1", "1", "0"]),
    Act("read the parent's environment", "openat", AT_FDCWD, lambda w: f"s:/proc/{w.parent}/environ", 0, beyond=DENIED),
    # an ordinary user's agent has pids, ids and mounts of its own
    Act("kill the parent", "kill", lambda w: w.parent, 0, beyond=DENIED + (errno.ESRCH,)),
    Act("kill a neighbour", "kill", neighbour, 0, beyond=DENIED + (errno.ESRCH,)),
    Act("setuid(0)", "setuid", 0, beyond=DENIED + (errno.EINVAL,)),
    Act("a limit upwards", "prlimit64", 0, 7, data(struct.pack("<QQ", 1 << 30, 1 << 30)), 0, beyond=DENIED),
]
