#!/usr/bin/python3
"""The sandbox as the kernel sees it: every live process, read from /proc, compared with its declared policy."""
import json
import os
import pwd
import re
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from bed import BUILD, DAEMONS, NOBODY, ROOT, Bed, for_all, users_made
from opampserver import APPLIED
from prison_state import FITTED
from tap import same, until

POLICY = json.loads(subprocess.run([os.path.join(BUILD, "tools", "policy")], check=True, capture_output=True).stdout)
NAMESPACES = {"mnt": 2, "net": 4, "ipc": 16, "uts": 32}  # as in sandbox.h
CAP_BITS = int(open("/proc/sys/kernel/cap_last_cap", encoding="ascii").read()) + 1
SANITIZED = "san" in os.path.basename(BUILD)


def user_namespaces():
    command = ["unshare", "-U", "true"]
    if ROOT:
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] + command
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


def ids(user, name):
    if user == "root":
        entry = pwd.getpwnam(POLICY[name]["user"] if name != "agent" else "_opampd_agent")
        return entry.pw_uid, entry.pw_gid
    return (NOBODY, NOBODY) if ROOT else (os.getuid(), os.getgid())


def limits(pid):
    found = {}
    for line in proc.read(pid, "limits").decode().splitlines()[1:]:
        m = re.match(r"(.+?)\s{2,}(\S+)\s+(\S+)", line)
        found[m[1]] = (m[2], m[3])
    return found


def check_ids(pid, uid, gid, groups=()):
    s = proc.status(pid)
    same(s["Uid"].split(), [str(uid)] * 4, "uids")
    same(s["Gid"].split(), [str(gid)] * 4, "gids")
    # an ordinary user's process cannot give up those that the user has
    same(s["Groups"].split(), [str(g) for g in (groups if ROOT else sorted(os.getgroups()))], "groups")


def check_rights(pid, capabilities, bounding):
    s = proc.status(pid)
    same(int(s["CapInh"], 16), 0, "inheritable capabilities")
    same(int(s["CapAmb"], 16), 0, "ambient capabilities")
    same(int(s["CapPrm"], 16), capabilities, "permitted capabilities")
    same(int(s["CapEff"], 16), capabilities, "effective capabilities")
    if bounding is not None:
        same(int(s["CapBnd"], 16), bounding, "bounding set")
    same(s["NoNewPrivs"], "1", "no_new_privs")
    same(s["Seccomp"], "2", "seccomp mode")


def fitted(pid, name, key):
    """The policy's, or what the settings make of it (fit_limits in privsep/child.c)."""
    made = FITTED.get((name, key), POLICY[name][key])
    return made(pid) if callable(made) else made


def check_limits(pid, name):
    now, policy = limits(pid), POLICY[name]
    same(now["Max core file size"], ("0", "0"), "core files")
    if policy["nofile"] and (ROOT or name != "merge"):  # merge: as many as it has, which only root may look at
        same(now["Max open files"], (str(fitted(pid, name, "nofile")),) * 2, "open files")
    if policy["fsize"]:
        same(now["Max file size"], (str(fitted(pid, name, "fsize")),) * 2, "file size")
    if policy["data"] and not SANITIZED:
        same(now["Max data size"], (str(policy["data"]),) * 2, "data")
    if policy["nproc"] >= 0 and not SANITIZED:
        same(now["Max processes"], (str(policy["nproc"]),) * 2, "processes")


def check_namespaces(pid, user, policy):
    if user != "root" and not user_namespaces():
        return
    for name, bit in NAMESPACES.items():
        ours, its = os.readlink(f"/proc/self/ns/{name}"), os.readlink(f"/proc/{pid}/ns/{name}")
        same(its != ours, bool(policy["namespaces"] & bit), f"a {name} namespace of its own")
    if user != "root" and policy["namespaces"]:
        assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user"), "no user namespace"
    if policy["empty_root"]:
        same(os.listdir(f"/proc/{pid}/root/"), [], "what is in its root directory")
        same(os.listdir(f"/proc/{pid}/cwd/"), [], "what is in its working directory")
        assert os.statvfs(f"/proc/{pid}/root/").f_flag & os.ST_RDONLY, "its root directory can be written"


def check_memory(pid):
    for line in proc.read(pid, "maps").decode().splitlines():
        if not SANITIZED:
            assert not re.match(r"\S+ .wx", line), f"writable and executable: {line}"
    assert not proc.read(pid, "environ").strip(b"\0"), proc.read(pid, "environ")[:200]
    same(len(proc.arguments(pid)), 1, "arguments")
    same(proc.status(pid)["Threads"], "1", "threads")
    # what belongs to root in /proc is a process that is not dumpable
    same(os.stat(f"/proc/{pid}/io").st_uid, 0, "owner of its /proc files: it is dumpable")


EVERY_CHILD = [r"/dev/null", r"pipe:\[\d+\]", r"socket:\[\d+\]", r"anon_inode:\[eventpoll\]", r"anon_inode:\[eventfd\]",
               r"/memfd:settings \(deleted\)"]


def check_descriptors(pid, name, bed):
    more = {
        "netd": [r"/memfd:.*"],
        "link": [r"/memfd:.*", re.escape(bed.path("var/log/agent.log"))],
        "confd": [r"/memfd:.*", re.escape(bed.storage()) + "(/.*)?"],
        "procd": [r"anon_inode:\[pidfd\]", r"pidfd:\[\d+\]", r"/.*cgroup\.kill"],
        "connect": [], "merge": [r"/memfd:.*"],
    }[name]
    for fd, what in proc.descriptors(pid).items():
        if fd in (0, 1):
            same(what, "/dev/null", f"descriptor {fd}")
        elif fd == 2:
            assert re.fullmatch(r"pipe:\[\d+\]", what), what
        else:
            assert any(re.fullmatch(p, what) for p in EVERY_CHILD + more), f"descriptor {fd} is {what}"
    # its channel and those to its neighbours, the connections that its work is
    sockets = [w for w in proc.descriptors(pid).values() if w.startswith("socket:")]
    most = {"netd": 3, "link": 6, "confd": 6, "procd": 2, "connect": 3, "merge": 1}[name]
    assert 1 <= len(sockets) <= most, f"{len(sockets)} sockets, at most {most}"


def check_child(pid, name, user, bed):
    policy = POLICY[name]
    uid, gid = ids(user, name)
    groups = [ids(user, "agent")[1]] if name == "confd" and user == "root" else []
    check_ids(pid, uid, gid, groups)
    check_rights(pid, policy["capabilities"] if user == "root" else 0, 0 if user == "root" else None)
    check_limits(pid, name)
    if ROOT:
        check_namespaces(pid, user, policy)
        check_memory(pid)
        check_descriptors(pid, name, bed)
    if policy["empty_root"]:
        inode = os.stat(f"/proc/{pid}/exe").st_ino if ROOT else None
        assert inode is None or inode == os.stat(bed.path(f"opampd-{name}")).st_ino, "another program"


def daemons(user):
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        server.wait_status(APPLIED, server.offer({"": "fake:\n  fake_name: one\n"}))
        for name in DAEMONS:
            pid = daemon.child(name)
            try:
                check_child(pid, name, user, bed)
            except AssertionError as e:
                raise AssertionError(f"{name}: {e}") from None
        filters = {name: int(proc.status(daemon.child(name)).get("Seccomp_filters", 3)) for name in DAEMONS}
        assert all(count >= 3 for count in filters.values()), f"the parent's filter, the log's and its own: {filters}"


def connector(user):
    with Bed(user) as bed:
        hole = socket.socket()
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        fill = []
        for _ in range(4):  # its queue is full: who comes now waits
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(hole.getsockname())
            fill.append(one)
        daemon = bed.daemon(f"ws://127.0.0.1:{hole.getsockname()[1]}/")
        pid = daemon.child("connect", 10)
        try:
            check_child(pid, "connect", user, bed)
        finally:
            for one in fill:
                one.close()
            hole.close()


def merging(user):
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        text = "fake:\n  pad:\n" + "".join(f"    key{i}: {{a: b}}\n" for i in range(150000))
        config_hash = server.offer({"": text})
        pid = daemon.child("merge", 10)
        os.kill(pid, 19)  # SIGSTOP, so that it can be looked at
        try:
            check_child(pid, "merge", user, bed)
        finally:
            os.kill(pid, 18)
        server.wait_status(APPLIED, config_hash, 40)


def parent(user):
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        s = proc.status(daemon.pid)
        uid = 0 if user == "root" else NOBODY if ROOT else os.getuid()
        same(s["Uid"].split(), [str(uid)] * 4, "uids")
        wanted = POLICY["parent"]["capabilities"] if user == "root" else 0
        check_rights(daemon.pid, wanted, wanted if user == "root" else None)
        same(limits(daemon.pid)["Max core file size"], ("0", "0"), "core files")
        same(s["Threads"], "1", "threads")
        if ROOT:
            if user != "root":
                same(os.stat(f"/proc/{daemon.pid}/io").st_uid, 0, "owner of its /proc files: it is dumpable")
            # no network of any kind but what it holds for others: the link's listener, the control socket
            for what in proc.descriptors(daemon.pid).values():
                assert not what.startswith(("/etc", "/root", "/home")), what


def netlink_of(pid):
    with open("/proc/net/netlink", encoding="ascii") as f:
        known = {f"socket:[{line.split()[9]}]" for line in f.readlines()[1:]}
    return known & set(proc.descriptors(pid).values())


def sock_diag(user):
    """What one link asked the kernel must not be answered to the next one: each has a socket of its own."""
    if not ROOT:
        raise tap.Skip("only root may look at their descriptors")
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        link = daemon.child("link")
        first = netlink_of(link)
        same((len(first), netlink_of(daemon.pid)), (1, set()), "netlink sockets of link and of the parent")
        daemon.kill("link")
        link = daemon.child("link", other_than=link)
        until(lambda: netlink_of(link), 10, "the next link's socket")
        second = netlink_of(link)
        same((len(second), second & first), (1, set()), "that of the next link")


def agent(user):
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server, {"agent": {"env": {"ONLY": "this"}, "limits": {"open_files": 100}}})
        server.wait_healthy()
        pid = daemon.agent()
        uid, gid = ids(user, "agent")
        check_ids(pid, uid, gid)
        check_rights(pid, 0, 0 if user == "root" else None)
        now = limits(pid)
        same(now["Max core file size"], ("0", "0"), "core files")
        same(now["Max open files"], ("100", "100"), "open files")
        s = proc.status(pid)
        same(int(s["SigIgn"], 16), 0, "ignored signals")
        assert int(s["SigBlk"], 16) & ~0x4003 == 0, s["SigBlk"]  # HUP, INT, TERM: the fake agent's own doing
        if not ROOT:
            return
        same(proc.read(pid, "environ").split(b"\0")[:-1], [b"ONLY=this", b"TMPDIR=" + bed.path("var", "work", "tmp").encode()],
             "its environment")
        same(os.path.realpath(f"/proc/{pid}/cwd"), bed.path("var", "work"), "its working directory")
        d = proc.descriptors(pid)
        same(d.get(0), "/dev/null", "descriptor 0")
        for fd in (1, 2):
            assert d[fd].startswith("pipe:"), d
        assert d[4].startswith("/memfd:"), d
        others = {fd: w for fd, w in d.items() if fd not in (0, 1, 2, 4) and fd < 50}  # the fake agent keeps its own above
        assert len(others) <= 1 and all(w.startswith("socket:") for w in others.values()), others
        assert int(s.get("Seccomp_filters", 2)) >= 2, s["Seccomp_filters"]
        with open(f"/proc/{pid}/fd/4", "rb") as f:  # sealed: not even the agent can change it
            assert b"X-Opampd-Link" in f.read()


def init(user):
    """Process 1 of the agent's PID namespace: the agent's user, and nothing at all besides."""
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server, {"agent": {"env": {"SECRET": "of the settings"}}})
        server.wait_healthy()
        agent_pid = daemon.agent()
        pid = int(proc.status(agent_pid)["PPid"])
        if user == "root":  # it has a cgroup, or an init
            assert pid == daemon.pid or proc.status(pid)["Name"] == "opampd-init"
        if pid == daemon.pid:
            raise tap.Skip("the agent is our child: there is no PID namespace")
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
            shown = f.read().rstrip("\0")
        same(shown, "opampd-init: process 1 of the agent's own", "what ps shows of it")
        with open(f"/proc/{daemon.pid}/cmdline", encoding="utf-8") as f:
            assert "opampd.yaml" in f.read(), "the parent has its own"
        same(proc.status(pid)["NSpid"].split()[-1] + proc.status(agent_pid)["NSpid"].split()[-1], "12", "numbers in the namespace")
        uid, gid = ids(user, "agent")
        check_ids(pid, uid, gid)
        check_rights(pid, 0, 0)
        same(int(proc.status(pid).get("Seccomp_filters", 2)), 2, "filters")
        same(int(proc.status(pid)["SigIgn"], 16) & ~0x1000, 0, "ignored signals")
        if ROOT:
            same(os.stat(f"/proc/{pid}/io").st_uid, 0, "owner of its /proc files: it is dumpable")
            same(list(proc.descriptors(pid)), [3], "descriptors")
            same(os.readlink(f"/proc/{pid}/cwd"), "/", "directory")
        # its end is the end of all; the parent starts the agent anew
        proc.kill(pid)
        daemon.agent(other_than=agent_pid)
        assert not proc.alive(agent_pid)
        assert any("was ended by signal 9" in line for line in daemon.log()), daemon.log()
        # and the agent's end is told as it was
        other = daemon.agent()
        proc.kill(other, 11)
        daemon.agent(other_than=other)
        until(lambda: any("was ended by signal 11" in line for line in daemon.log()), 5, "the true signal in the log")


def hidden(user):
    """What the agent may not see or change, tried by the agent itself."""
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        tries = [("read", bed.storage("identity")), ("read", bed.storage("state")), ("write", bed.storage("agent", "effective.yaml")),
                 ("write", bed.storage("agent", "new")), ("write", bed.path("opampd")), ("write", "/tmp/opampd-bed-agent"),
                 ("read", f"/proc/{daemon.pid}/environ"), ("read", f"/proc/{daemon.child('link')}/mem"), ("write", bed.agent)]
        for what, path in tries:
            config_hash = server.offer({"": f"fake:\n  fake_{what}: {path}\n"})
            server.wait_status(APPLIED, config_hash)
            until(lambda w=what, p=path: f"fake_{w} {p}: " in bed.agent_log(), 5, f"the agent to try to {what} {path}")
            assert f"fake_{what} {path}: possible" not in bed.agent_log(), f"the agent can {what} {path}"
        fine = server.offer({"": f"fake:\n  fake_write: {bed.path('var', 'work', 'own')}\n  fake_read: /etc/hostname\n"})
        server.wait_status(APPLIED, fine)
        until(lambda: f"fake_write {bed.path('var', 'work', 'own')}: possible" in bed.agent_log(), 5, "its own directory to be its own")
        until(lambda: "fake_read /etc/hostname: possible" in bed.agent_log() or not os.path.exists("/etc/hostname"), 5, "/etc to be readable")


def root_refused(user):
    if user != "root":
        raise tap.Skip("only root can start it for another user")
    with Bed(user) as bed:
        daemon = bed.daemon("ws://127.0.0.1:1/", {"agent": {"run_as": "root"}})
        assert daemon.wait_end() != 0
        assert "root is refused" in "\n".join(daemon.log())


TESTS = [
    ("I1 I2 I5 SE-01 netd, link, confd, procd: ids, rights, limits, namespaces, root, memory, descriptors", daemons),
    ("I5 the connector while it connects", connector),
    ("I5 merge while it merges", merging),
    ("I2 the parent", parent),
    ("I15 each link asks the kernel by a socket of its own", sock_diag),
    ("I13 SE-01 the agent inherits what is declared, and nothing else", agent),
    ("I5 I9 init of the agent's PID namespace", init),
    ("I15 SE-01 the agent cannot read our state or change what it runs on", hidden),
    ("SE-01 an agent as root is refused", root_refused),
]

users_made()
tap.run(for_all(TESTS))
