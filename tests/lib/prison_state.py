"""What the kernel says of a process beside what is declared for it, both ways: nothing more, and nothing less."""
import os
import pwd

import proc
from acts import PARENTS, filters_of, policy_name
from prison import POLICY

# What each process may call, whatever its policy says: a second list on purpose, in words, so that a policy does not grow
# by one edit alone.  One that is here and not in the policy is no fault: lists shall get shorter.
EVERY = "brk mmap munmap sendmsg close newfstatat fstat write exit_group clock_gettime gettimeofday poll ppoll"
LOOP = "recvmsg fcntl getsockopt epoll_wait epoll_pwait epoll_pwait2 epoll_ctl"
FILES = "memfd_create pread64 fcntl mremap"
HUB = "mremap getrandom futex accept4 fcntl ioctl shutdown getsockopt readv writev read epoll_wait epoll_pwait epoll_ctl"
SIGNED = {role: set(f"{EVERY} {more}".split()) for role, more in {
    "netd": f"{LOOP} {FILES} getrandom getpid futex time read shutdown",
    "link": f"{LOOP} {FILES} getrandom read readv writev ioctl shutdown accept4 getsockname getpeername sendto recvfrom",
    "confd": f"{LOOP} {FILES} getrandom getpid openat2 pwrite64 fsync fdatasync mkdirat renameat renameat2 linkat unlinkat symlinkat fchmod fchown getdents64 accept4",
    "procd": f"{LOOP} fstatfs pidfd_send_signal",
    "connect": "socket connect getsockname getsockopt setsockopt sendto sendmmsg recvfrom read writev openat lseek ioctl uname futex restart_syscall",
    "merge": FILES,
    "hub-front": f"{HUB} getpid",
    "hub-store": f"{HUB} getpid openat pread64 pwrite64 fsync fdatasync ftruncate unlink readlink getcwd geteuid lseek",
}.items()}
# calls that nobody may let pass without a look at their arguments
LOOKED_AT = {"mmap", "mprotect", "fcntl", "ioctl", "socket", "getsockopt", "setsockopt", "sendmsg", "memfd_create", "pidfd_send_signal", "prctl", "clone",
             "openat", "shutdown", "fchmod", "recvmsg", "mremap", "futex", "getrandom", "accept4", "recvfrom", "sendto", "sendmmsg",
             "clock_gettime", "fchown", "linkat", "unlinkat", "mkdirat", "lseek", "newfstatat"}
USERS = {"netd": "_opampd_net", "link": "_opampd_link", "confd": "_opampd_conf", "procd": "_opampd_proc", "connect": "_opampd_dns", "merge": "_opampd_merge", "hub-front": "", "hub-store": ""}
CAPABILITIES = {"procd": 1 << 5, "parent": 0x2001e3, "hub": 0x2001e0}
LIMITS = {"Max open files": "nofile", "Max file size": "fsize", "Max data size": "data", "Max address space": "as", "Max processes": "nproc"}

# what the settings of these tests make of them (fit_limits in privsep/child.c)
MIB = 1 << 20
FITTED = {("netd", "fsize"): 17 * MIB, ("merge", "nofile"): lambda pid: max(proc.descriptors(pid)) + 1 + 12,
          # as many agents as the hard limit of whoever starts the hub allows
          ("hub-front", "nofile"): lambda pid: min(POLICY["hub-front"]["nofile"], int(limits(proc.status(pid)["PPid"])["nofile"][1]))}

# {role: {kind of descriptor: how many at most}}
DESCRIPTORS = {
    "netd": {"/dev/null": 2, "log": 1, "epoll": 1, "pipe": 2, "socket": 3, "memfd": 4},
    "link": {"/dev/null": 2, "log": 1, "epoll": 1, "pipe": 4, "socket": 7, "memfd": 4, "agent.log": 1},
    "confd": {"/dev/null": 2, "log": 1, "epoll": 1, "pipe": 2, "socket": 6, "memfd": 4, "state": 8},
    "procd": {"/dev/null": 2, "log": 1, "epoll": 1, "pipe": 2, "socket": 2, "pidfd": 1, "cgroup.kill": 1},
    "connect": {"/dev/null": 2, "log": 1, "epoll": 1, "pipe": 2, "socket": 1, "memfd": 1},
    "reader": {"/dev/null": 2, "log": 1, "epoll": 1, "pipe": 2, "socket": 1, "memfd": 2, "settings": 1, "/etc/passwd": 1, "/etc/group": 1},
    "merge": {"/dev/null": 2, "log": 1, "epoll": 1, "pipe": 2, "socket": 1, "memfd": 4},
    "hub-front": {"/dev/null": 3, "log": 1, "epoll": 1, "pipe": 2, "socket": 4},
    "hub-store": {"/dev/null": 2, "log": 1, "epoll": 1, "pipe": 2, "socket": 4, "state": 2},
}


def signed(role):
    """The policy against the second list: words of what is wrong."""
    policy = POLICY[policy_name(role)]
    if policy["deny_list"]:
        return []
    wrong = []
    for row in policy["syscalls"]:
        if row[2] == 0 and row[0] not in SIGNED[policy_name(role)]:
            wrong.append(f"{role}: its policy allows {row[0]}, which is not signed for (tests/lib/prison_state.py)")
        if row[2] == 0 and row[0] in LOOKED_AT and len(row) == 3:
            wrong.append(f"{role}: its policy allows {row[0]} whatever the arguments")
    for name, want in (("capabilities", CAPABILITIES.get(role, 0)), ("user", USERS[policy_name(role)])):
        if policy[name] != want:
            wrong.append(f"{role}: its policy's {name}: {policy[name]}, signed for: {want}")
    return wrong


def limits(pid):
    found = {}
    for line in proc.read(pid, "limits").decode().splitlines():
        for words, key in LIMITS.items():
            if line.startswith(words):
                soft, hard = line[len(words):].split()[:2]
                found[key] = (soft, hard)
    return found


def kind_of(what, fd, bed):
    if fd == 2:
        return "log"
    if what.startswith(bed.storage()) or what in ("/hub.db", "/hub.db-wal"):
        return "state"
    named = {bed.path("var", "log", "agent.log"): "agent.log", bed.path("opampd.yaml"): "settings"}
    if what in named:
        return named[what]
    for start, kind in {"anon_inode:[eventpoll]": "epoll", "pipe:": "pipe", "socket:": "socket", "/memfd:": "memfd", "anon_inode:[pidfd]": "pidfd"}.items():
        if what.startswith(start):
            return kind
    return "cgroup.kill" if what.endswith("/cgroup.kill") else what


def descriptors(role, pid, bed):
    wrong, counts = [], {}
    for fd, what in sorted(proc.descriptors(pid).items()):
        kind = kind_of(what, fd, bed)
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] > DESCRIPTORS[role].get(kind, 0):
            wrong.append(f"{role}: descriptor {fd} ({what}) is more than it was to be handed")
    if not {"/dev/null", "log", "socket"} <= set(counts):
        wrong.append(f"{role}: descriptors {counts}: some that it needs are not there")
    return wrong


def ids(role, pid, user, want_uid):
    status = proc.status(pid)
    uids = set(status["Uid"].split())
    wrong = []
    if uids != {str(want_uid)}:
        wrong.append(f"{role}: user ids {status['Uid']}, declared {want_uid}")
    if role not in PARENTS and "0" in uids | set(status["Gid"].split()) | set(status["Groups"].split()):
        wrong.append(f"{role}: root among its ids")
    # the kernel gives the files of a process in /proc to root when it is not dumpable
    if uids != {"0"} and os.stat(f"/proc/{pid}/maps").st_uid != 0:
        wrong.append(f"{role}: is dumpable")
    groups = len(status["Groups"].split())
    if user == "root" and groups > (1 if role == "confd" else 0) and role not in (*PARENTS, "agent", "strict"):
        wrong.append(f"{role}: {groups} groups")
    return wrong


def capabilities(role, pid, user):
    status = proc.status(pid)
    want = CAPABILITIES.get(role, 0) if user == "root" else 0
    wrong = [f"{role}: {name} {status[name]}, declared {value:x}" for name, value in
             (("CapPrm", want), ("CapEff", want), ("CapInh", 0), ("CapAmb", 0)) if int(status[name], 16) != value]
    if role not in PARENTS and int(status["CapBnd"], 16) != 0:
        wrong.append(f"{role}: bounding set {status['CapBnd']}")
    for name, value in (("NoNewPrivs", "1"), ("Seccomp", "2"), ("Seccomp_filters", str(len(filters_of(role))))):
        if status.get(name, value) != value:
            wrong.append(f"{role}: {name} {status[name]}, wanted {value}")
    return wrong


def own_namespaces(role, pid, parent):
    bits = {"mnt": 2, "net": 4, "ipc": 16, "uts": 32}
    policy = POLICY[policy_name(role)]
    return [f"{role}: shares the parent's {name} namespace" for name, bit in bits.items()
            if policy["namespaces"] & bit and os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/{parent}/ns/{name}")]


def process(role, pid, user, bed, parent, lifted=False):
    """All of it for one of ours."""
    policy = POLICY[policy_name(role)]
    name = "_opamphub" if role.startswith("hub-") else policy["user"]
    uid = pwd.getpwnam(name).pw_uid if user == "root" and name else proc.status(parent)["Uid"].split()[0]
    wrong = signed(role) if role not in PARENTS else []
    wrong += ids(role, pid, user, uid) + capabilities(role, pid, user)
    if role in PARENTS:
        return wrong
    wrong += descriptors(role, pid, bed) + own_namespaces(role, pid, parent)
    for key, pair in limits(pid).items():
        want = FITTED.get((policy_name(role), key), policy.get(key, 0))
        if callable(want):
            want = want(pid)
        if key == "nproc" and lifted:
            continue
        if (want or key == "nproc") and pair != (str(want), str(want)):
            wrong.append(f"{role}: limit {key} {pair}, declared {want}")
    if proc.read(pid, "limits").decode().splitlines()[5].split()[4:6] != ["0", "0"] and "core" in proc.read(pid, "limits").decode().splitlines()[5]:
        wrong.append(f"{role}: core dumps")
    return wrong
