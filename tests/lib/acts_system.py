"""Acts on sockets, other processes, and the system (see acts.py)."""
import errno
import struct

from acts import (ADDRESS, AT_FDCWD, BUFFER, DENIED, FAST_OPEN, IOV, MAY, NEWNS, NEWUSER, NOBODY_THERE, NO_ID, NOWHERE, Act, abstract, data, inet,
                  own, unix)

NET = "it connects for the others"
NO_FAMILY = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EPERM, errno.EACCES)
PLAIN = {"netd": "an empty network of its own", "link": "an empty network of its own", "confd": "an empty network of its own",
         "procd": "an empty network of its own", "merge": "an empty network of its own", "reader": "an empty network of its own",
         "hub-front": "an empty network of its own", "hub-store": "an empty network of its own"}
LIMITS = {"CPU": 0, "FSIZE": 1, "DATA": 2, "STACK": 3, "CORE": 4, "RSS": 5, "NPROC": 6, "NOFILE": 7, "MEMLOCK": 8, "AS": 9, "LOCKS": 10,
          "SIGPENDING": 11, "MSGQUEUE": 12, "NICE": 13, "RTPRIO": 14, "RTTIME": 15}
QUEUED = data(struct.pack("<iii", 0, 0, -1) + bytes(116))
OTHERS = ("parent", "netd", "link", "confd", "procd", "agent", "init", "hub-front", "hub-store")


def server(w):
    return inet("127.0.0.1", w.listening)


def sockets():
    tcp = ("socket", 2, 1, 6)
    yield Act("socket, then connect", tcp, ("connect", "r:", server, 16), may={"connect": NET}, agent=MAY, strict=DENIED,
              behind=DENIED + (errno.ENETUNREACH,), bare={"connect": NET})
    yield Act("socket by MPTCP, then connect", ("socket", 2, 1, 262), ("connect", "r:", server, 16), behind=(errno.ENETUNREACH,),
              bare={"connect": "the filter alone"})
    yield Act("socket, then bind", tcp, ("bind", "r:", inet("127.0.0.1", 0), 16), agent=MAY, strict=DENIED, behind=DENIED, bare={"connect": "the filter alone"})
    yield Act("bind to port 80", tcp, ("bind", "r:", inet("127.0.0.1", 80), 16), agent=DENIED, parent=DENIED, behind=DENIED)
    yield Act("socket, then listen", tcp, ("listen", "r:", 1), agent=MAY, bare=PLAIN, strict=MAY)
    yield Act("datagram elsewhere", ("socket", 2, 2, 0), ("sendto", "r:", "s:x", 1, 0, ADDRESS, 16), may={"connect": NET}, agent=MAY,
              behind=(errno.ENETUNREACH,), bare={"connect": NET})
    yield Act("raw", ("socket", 2, 3, 1), agent=DENIED, parent=DENIED, behind=DENIED)
    yield Act("raw, of IPv6", ("socket", 10, 3, 58), agent=DENIED + NO_FAMILY, parent=DENIED + NO_FAMILY, behind=DENIED + NO_FAMILY)
    yield Act("packet", ("socket", 17, 3, 0x300), agent=DENIED + NO_FAMILY, parent=DENIED + NO_FAMILY, behind=DENIED + NO_FAMILY)
    yield Act("netlink", ("socket", 16, 3, 0), agent=MAY)
    yield Act("netlink, the interfaces changed", ("socket", 16, 3, 0), ("ioctl", "r:", 0x8914, data(b"lo".ljust(16, b"\0") + struct.pack("<H", 0x49) + bytes(22))),
              agent=DENIED, parent=DENIED, behind=DENIED)
    yield Act("ping", ("socket", 2, 2, 1), agent=DENIED + (MAY,))
    yield Act("socketpair", ("socketpair", 1, 1, 0, BUFFER), agent=MAY)
    yield Act("abstract unix", ("socket", 1, 1, 0), ("connect", "r:", lambda w: abstract(w.abstract), lambda w: 3 + len(w.abstract)),
              behind=DENIED + (errno.ECONNREFUSED,), agent=DENIED)
    yield Act("unix, the control socket", ("socket", 1, 5, 0), ("connect", "r:", lambda w: unix(w.path("control")), 110),
              behind=NOWHERE, agent=DENIED + (errno.ECONNREFUSED,), same_user=True)
    yield Act("vsock", ("socket", 40, 1, 0), agent=NO_FAMILY + (MAY,))


def on_what_it_has():
    has_tcp = (errno.EISCONN, errno.EINVAL, errno.EBADF, errno.EALREADY, errno.EOPNOTSUPP) + DENIED
    yield Act("connect elsewhere", ("connect", own, ADDRESS, 16), agent=(errno.EISCONN,) + DENIED, none=("connect",), shared=True)
    yield Act("connect by fast open", ("sendto", own, "s:x", 1, FAST_OPEN, ADDRESS, 16), beyond=has_tcp, none=("connect",), shared=True)
    yield Act("the same with other bits", ("sendto", own, "s:x", 1, FAST_OPEN | 0x4040, ADDRESS, 16), beyond=has_tcp, none=("connect",), shared=True)
    yield Act("the same by sendmsg", ("sendmsg", own, BUFFER, FAST_OPEN), shared=True)
    yield Act("the same by sendmmsg", ("sendmmsg", own, BUFFER, 1, FAST_OPEN), none=("connect",), shared=True)
    yield Act("disconnect", ("connect", own, data(bytes(16)), 16), none=("connect", "agent", "strict"), shared=True)
    yield Act("bind", ("bind", own, ADDRESS, 16), agent=(errno.EINVAL,) + DENIED, shared=True)
    yield Act("listen", ("listen", own, 8), agent=(errno.EINVAL,) + DENIED, shared=True)
    yield Act("accept", ("accept", own, 0, 0), none=("agent", "strict"), shared=True)
    yield Act("end a shared socket", ("shutdown", own, 2), none=("agent", "strict"), shared=True)
    yield Act("end its reading", ("shutdown", own, 0), none=("agent", "strict"), shared=True)
    yield Act("a pidfd of its peer", ("getsockopt", own, 1, 77, BUFFER, BUFFER), agent=(errno.EINVAL, errno.ENOTCONN, errno.ENODATA, errno.ENOPROTOOPT,
                                                                                       errno.EFAULT, errno.EBADF, errno.EOPNOTSUPP), shared=True)
    yield Act("a filter on a socket", ("setsockopt", own, 1, 26, BUFFER, 16), agent=(errno.EINVAL, errno.EPERM), none=("connect",), shared=True)
    yield Act("a socket's owner", ("fcntl", own, 8, lambda w: w.others.get("parent")), none=("agent", "strict"), shared=True)
    yield Act("signals for a socket", ("fcntl", own, 10, 9), none=("agent", "strict"), shared=True)
    yield Act("a copy of a descriptor", ("fcntl", own, 0, 0), agent=MAY, shared=True)
    yield Act("dup", ("dup", own), agent=MAY)
    yield Act("dup2", ("dup2", own, 40), agent=MAY, shared=True)
    yield Act("the interfaces", ("ioctl", own, 0x8912, BUFFER), agent=MAY, shared=True)
    yield Act("typing into a terminal", ("ioctl", 0, 0x5412, "s:x"), shared=True)
    yield Act("the same with high bits", ("ioctl", 0, 0x100005412, "s:x"), shared=True)
    yield Act("a terminal's selection", ("ioctl", 0, 0x541c, "s:x"), shared=True)
    yield Act("a terminal of its own", ("openat", AT_FDCWD, "s:/dev/ptmx", 2), beyond=NOWHERE, agent=DENIED + (MAY, errno.ENOENT), behind=NOWHERE)


def processes():
    """Of each other process and of the agent."""
    kill = {"procd": "CAP_KILL"}
    for name in OTHERS:
        def pid(w, name=name):
            return w.others.get(name)
        both = {n: "one user for both" for n in ("hub-front", "hub-store")} if name.startswith("hub-") else None
        whom = f"the {name}" if name in ("parent", "agent") else name
        yield Act(f"ptrace {whom}", ("ptrace", 16, pid, 0, 0), behind=NOBODY_THERE)
        yield Act(f"seize {whom}", ("ptrace", 0x4206, pid, 0, 0), behind=NOBODY_THERE)
        yield Act(f"read {whom}", ("process_vm_readv", pid, IOV, 1, IOV, 1, 0), behind=NOBODY_THERE)
        yield Act(f"write {whom}", ("process_vm_writev", pid, IOV, 1, IOV, 1, 0), behind=NOBODY_THERE)
        yield Act(f"kill {whom}", ("kill", pid, 0), agent=NOBODY_THERE, behind=NOBODY_THERE, bare=kill)
        yield Act(f"tgkill {whom}", ("tgkill", pid, pid, 0), agent=NOBODY_THERE, behind=NOBODY_THERE, bare=kill)
        yield Act(f"tkill {whom}", ("tkill", pid, 0), agent=NOBODY_THERE, behind=NOBODY_THERE, bare=kill)
        yield Act(f"queue {whom} a signal", ("rt_sigqueueinfo", pid, 0, QUEUED), agent=NOBODY_THERE + (errno.EPERM,), behind=NOBODY_THERE, bare=kill)
        yield Act(f"pidfd of {whom}, its signal", ("pidfd_open", pid, 0), ("pidfd_send_signal", "r:", 0, 0, 0), agent=NOBODY_THERE + (errno.EINVAL,),
                  behind=NOBODY_THERE + (errno.EINVAL,), bare=kill)
        yield Act(f"pidfd of {whom}, its descriptor", ("pidfd_open", pid, 0), ("pidfd_getfd", "r:", 0, 0), agent=NOBODY_THERE + (errno.EINVAL,),
                  behind=NOBODY_THERE + (errno.EINVAL,))
        yield Act(f"kcmp {whom}", ("kcmp", pid, pid, 0, 0, 0), behind=NOBODY_THERE)
        yield Act(f"limits of {whom}", ("prlimit64", pid, 7, 0, BUFFER), agent=NOBODY_THERE, behind=NOBODY_THERE, same_user=True,
                  bare=both)
        yield Act(f"memory of {whom}", ("openat", AT_FDCWD, lambda w, n=name: f"s:/proc/{w.others.get(n)}/mem" if w.others.get(n) else None, 2),
                  beyond=NOWHERE, agent=DENIED + (errno.ENOENT,), behind=NOWHERE)
        yield Act(f"priority of {whom}", ("setpriority", 0, pid, lambda w: w.nice), agent=NOBODY_THERE, behind=NOBODY_THERE, same_user=True,
                  bare=both)
    yield Act("kill them all", ("kill", -1, 0), agent=(MAY,) + NOBODY_THERE)
    yield Act("signal what is no pidfd", ("pidfd_send_signal", 0, 0, 0, 0), beyond=(errno.EBADF,), agent=(errno.EBADF,))
    yield Act("signal its own", ("pidfd_send_signal", lambda w: w.pidfd, 0, 0, 0), alone={"procd"}, may={"procd": "the agent is its charge"})
    yield Act("signal its own's group", ("pidfd_send_signal", lambda w: w.pidfd, 0, 0, 4), alone={"procd"})
    yield Act("its own's descriptor", ("pidfd_getfd", lambda w: w.pidfd, 0, 0), alone={"procd"}, behind=DENIED)


def mounts():
    yield Act("mount", ("mount", "s:none", "s:/tmp", "s:tmpfs", 0, 0), behind=DENIED + (errno.ENOENT,))
    yield Act("umount", ("umount2", "s:/", 2), behind=DENIED)
    yield Act("open_tree", ("open_tree", AT_FDCWD, "s:/", 1), behind=DENIED)
    yield Act("move_mount", ("move_mount", AT_FDCWD, "s:/", AT_FDCWD, "s:/", 0), behind=DENIED)
    yield Act("fsopen", ("fsopen", "s:tmpfs", 0), behind=DENIED)
    yield Act("fsconfig", ("fsconfig", 0, 6, 0, 0, 0), behind=DENIED + (errno.EINVAL,))
    yield Act("fsmount", ("fsmount", 0, 0, 0), behind=DENIED)
    yield Act("fspick", ("fspick", AT_FDCWD, "s:/", 0), behind=DENIED)
    yield Act("mount_setattr", ("mount_setattr", AT_FDCWD, "s:/", 0, data(bytes(32)), 32), behind=DENIED)
    yield Act("open_tree_attr", ("467", AT_FDCWD, "s:/", 1, data(bytes(32)), 32), behind=DENIED + (errno.ENOSYS,), agent=DENIED + (errno.ENOSYS,))
    yield Act("pivot_root", ("pivot_root", "s:.", "s:."), behind=DENIED)
    yield Act("chroot", ("chroot", "s:/"), parent=DENIED, behind=DENIED)
    yield Act("unshare, a user namespace", ("unshare", NEWUSER))
    for name, flag in {"mounts": NEWNS, "network": 0x40000000, "processes": 0x20000000, "ipc": 0x8000000, "names": 0x4000000,
                       "cgroups": 0x2000000, "time": 0x80}.items():
        yield Act(f"unshare, {name}", ("unshare", flag), behind=DENIED)
    yield Act("setns", ("setns", own, 0), behind=DENIED + (errno.EINVAL, errno.EBADF))
    yield Act("clone, a user namespace", ("clone", NEWUSER | 17, 0, 0, 0, 0), behind=(errno.EAGAIN,))
    yield Act("clone3, a user namespace", ("clone3", data(struct.pack("<8Q", NEWUSER, 0, 0, 0, 17, 0, 0, 0)), 64), behind=(errno.EAGAIN,))


def kernel():
    yield Act("bpf, a map", ("bpf", 0, data(struct.pack("<4I", 1, 4, 4, 1) + bytes(56)), 72), behind=DENIED)
    yield Act("bpf, a program", ("bpf", 5, BUFFER, 72), behind=DENIED + (errno.EINVAL,))
    yield Act("perf_event_open", ("perf_event_open", data(struct.pack("<II", 1, 112) + bytes(104)), 0, -1, -1, 0))
    for name in ("io_uring_setup", "io_uring_enter", "io_uring_register"):
        yield Act(name, (name, 8, BUFFER, 0, 0, 0, 0))
    yield Act("userfaultfd", ("userfaultfd", 1))
    yield Act("keyctl", ("keyctl", 0, -3, 0))
    yield Act("add_key", ("add_key", "s:user", "s:x", "s:y", 1, -3))
    yield Act("request_key", ("request_key", "s:user", "s:x", 0, -3))
    yield Act("a filter of its own", ("seccomp", 1, 0, data(bytes(16))), agent=(errno.EINVAL,))
    yield Act("a rule set of its own", ("444", BUFFER, 8, 0), agent=(MAY, errno.EINVAL, errno.ENOMSG))
    yield Act("a signal handler", ("rt_sigaction", 15, 0, BUFFER, 8), agent=MAY)
    yield Act("another stack for signals", ("sigaltstack", 0, BUFFER), agent=MAY)
    yield Act("a timer", ("timerfd_create", 1, 0), agent=MAY)
    yield Act("an alarm", ("alarm", 0), agent=MAY)
    yield Act("a message queue", ("msgget", 0, 0o1600), ("msgctl", "r:", 0, 0), agent=MAY)
    yield Act("semaphores", ("semget", 0, 1, 0o1600), ("semctl", "r:", 0, 0, 0), agent=MAY)
    yield Act("the kernel's log", ("syslog", 3, BUFFER, 256), parent=())
    yield Act("ports", ("iopl", 3), behind=DENIED + (errno.ENOSYS,))
    yield Act("ports, some", ("ioperm", 0x80, 1, 1), behind=DENIED + (errno.ENOSYS,))
    yield Act("a segment", ("modify_ldt", 0, BUFFER, 256))
    yield Act("robust list of another", ("get_robust_list", lambda w: w.others.get("parent"), BUFFER, BUFFER), agent=NOBODY_THERE, behind=NOBODY_THERE)


def ids():
    for name in ("setuid", "setgid", "setfsuid", "setfsgid"):
        fs = name.startswith("setfs")
        yield Act(f"{name}(0)", (name, 0), agent=(MAY,) if fs else NO_ID, behind=None if fs else NO_ID)
    for name in ("setreuid", "setregid"):
        yield Act(f"{name}(0)", (name, 0, 0), agent=NO_ID, behind=NO_ID)
    for name in ("setresuid", "setresgid"):
        yield Act(f"{name}(0)", (name, 0, 0, 0), agent=NO_ID, behind=NO_ID)
    yield Act("setgroups", ("setgroups", 1, data(bytes(4))), agent=NO_ID, behind=NO_ID)
    for cap in (0, 1, 5, 6, 7, 12, 13, 18, 19, 21, 24, 27, 39):
        bit = struct.pack("<6I", 1 << cap & 0xffffffff, 1 << cap & 0xffffffff, 0, 1 << cap >> 32, 1 << cap >> 32, 0)
        yield Act(f"capset, {cap}", ("capset", data(struct.pack("<II", 0x20080522, 0)), data(bit)), agent=DENIED, behind=DENIED,
                  bare={"procd": "CAP_KILL"} if cap == 5 else None,
                  parent=DENIED if cap in (12, 13, 18, 19, 24, 27, 39) else None)
    yield Act("an ambient capability", ("prctl", 47, 2, 5, 0, 0), agent=DENIED, behind=DENIED)
    yield Act("keep capabilities", ("prctl", 8, 1, 0, 0, 0), agent=MAY)
    yield Act("securebits", ("prctl", 28, 1, 0, 0, 0), agent=DENIED, behind=DENIED)
    yield Act("be dumpable", ("prctl", 4, 1, 0, 0, 0), agent=MAY)
    yield Act("be traced by anybody", ("prctl", 0x59616d61, -1, 0, 0, 0), agent=(MAY, errno.EINVAL))
    yield Act("outlive the parent", ("prctl", 1, 0, 0, 0, 0), agent=MAY)
    yield Act("gain privileges again", ("prctl", 38, 0, 0, 0, 0), agent=(errno.EINVAL,), behind=(errno.EINVAL,), parent=(errno.EINVAL,))
    yield Act("a subreaper", ("prctl", 36, 1, 0, 0, 0), agent=MAY)


def host():
    for name, step, wall in (("reboot", ("reboot", 0xfee1dead, 0x28121969, 0, 0), DENIED), ("kexec_load", ("kexec_load", 0, 0, 0, 0), DENIED),
                             ("kexec_file_load", ("kexec_file_load", 0, 0, 0, "s:", 0), DENIED + (errno.ENOSYS,)),
                             ("init_module", ("init_module", BUFFER, 256, "s:"), DENIED + (errno.ENOSYS,)),
                             ("finit_module", ("finit_module", 0, "s:", 0), DENIED + (errno.ENOSYS,)),
                             ("delete_module", ("delete_module", "s:x", 0), DENIED + (errno.ENOSYS,)), ("swapon", ("swapon", "s:/x", 0), DENIED),
                             ("swapoff", ("swapoff", "s:/x"), DENIED), ("settimeofday", ("settimeofday", data(struct.pack("<QQ", 1, 0)), 0), DENIED),
                             ("clock_settime", ("clock_settime", 0, data(struct.pack("<QQ", 1, 0))), DENIED),
                             ("sethostname", ("sethostname", "s:x", 1), DENIED), ("setdomainname", ("setdomainname", "s:x", 1), DENIED),
                             ("acct", ("acct", "s:/x"), DENIED), ("quotactl", ("quotactl", 0x80000100, 0, 0, 0), None),
                             ("vhangup", ("vhangup",), DENIED)):
        yield Act(name, step, behind=wall and wall + (errno.ENOSYS,))
    timex = data(struct.pack("<I", 0x8000) + bytes(204))
    for name, step in {"adjtimex": ("adjtimex", timex), "clock_adjtime": ("clock_adjtime", 0, timex)}.items():
        yield Act(f"{name}, to change it", step, agent=DENIED + (errno.EINVAL,), parent=DENIED + (errno.EINVAL,), behind=DENIED + (errno.EINVAL,))
    for name, what in LIMITS.items():
        most = data(struct.pack("<QQ", (1 << 64) - 1, (1 << 64) - 1))
        yield Act(f"limit {name} upwards", ("prlimit64", 0, what, most, 0), agent=DENIED + (MAY,), behind=None)
    for name in ("CORE", "NOFILE"):
        most = data(struct.pack("<QQ", 1 << 20, 1 << 20))
        yield Act(f"limit {name} up, by setrlimit", ("setrlimit", LIMITS[name], most), agent=DENIED, behind=DENIED, parent=DENIED)
    yield Act("a higher priority", ("setpriority", 0, 0, -5), agent=DENIED, behind=DENIED, parent=DENIED)
    yield Act("real time", ("sched_setscheduler", 0, 1, data(struct.pack("<I", 1))), agent=DENIED, behind=DENIED, parent=DENIED)
    yield Act("another processor", ("sched_setaffinity", 0, 8, data(struct.pack("<Q", 1))), agent=MAY)
    yield Act("locked memory", ("mlockall", 3), agent=(MAY, errno.EPERM, errno.ENOMEM))


def other_abis():
    for number, name in {11: "execve", 2: "fork", 5: "open", 20: "getpid", 26: "ptrace", 37: "kill", 102: "socketcall", 359: "socket", 362: "connect",
                         125: "mprotect", 90: "old mmap", 21: "mount"}.items():
        yield Act(f"32-bit {name}", (f"int80:{number}", 2, 1, 0, 0, 0), behind=None)
    for number, name in {0x40000027: "getpid", 0x40000029: "socket", 0x40000039: "fork", 0x40000208: "execve", 0x40000209: "ptrace",
                         0x4000003e: "kill", 0x40000001: "write"}.items():
        yield Act(f"x32 {name}", (hex(number), 2, 1, 0, 0, 0), behind=None)


SYSTEM = {"sockets": [*sockets(), *on_what_it_has()], "other processes": [*processes()], "mounts and namespaces": [*mounts()],
          "the kernel's doors": [*kernel()], "ids and capabilities": [*ids()], "the host and limits": [*host()], "other ABIs": [*other_abis()]}
