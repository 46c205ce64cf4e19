"""The escape tests of tests/sandbox inside the domains, with the units' own processes; and what the policy refuses by
itself, to programs in each domain that have no other sandbox (tests/tools/domain.c)."""
import concurrent.futures
import os
import re
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ["O"] = os.path.join(HERE, "..", "..", "build")
os.environ["SLOW"] = "8"
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import host
import prison
import prison_hub
import told
from host import AGENT, pid_of
from told import note, ok, run, same, works

ROLES = {"parent": "/usr/sbin/opampd", "netd": "opampd-netd", "link": "opampd-link", "confd": "opampd-confd", "procd": "opampd-procd", "agent": AGENT,
         "hub": "/usr/sbin/opamphub", "hub-front": "opamphub-front", "hub-store": "opamphub-store"}
# a refusal by one more that refuses: the unit's filter, a domain
REFUSED = ("EACCES", "EPERM", "ENOENT", "EROFS", "EINVAL", "ESRCH", "EXDEV", "EAFNOSUPPORT", "ENOSYS")


# ---- processes that are taken over

class Bed:
    """The places that the acts aim at (tests/lib/bed.py), as the packages have them."""

    agent = AGENT
    store, work = "/var/lib/opamphub", "/var/lib"
    PLACES = {("opampd.yaml",): host.SETTINGS, ("var",): "/var/lib", ("var", "log", "prison"): "/var/log/opampd/prison",
              ("var", "control.sock"): "/run/opampd/control.sock", ("var", "log", "agent.log"): "/var/log/opampd/agent.log"}

    def path(self, *names):
        return self.PLACES.get(names) or os.path.join("/etc/opamphub", *names)

    def storage(self, *names):
        return os.path.join("/var/lib/opampd", *names)


class HubBed(Bed):
    def storage(self, *names):
        return os.path.join(self.store, *names)


class Running:
    """What a World of prison.py asks of a daemon."""

    def __init__(self, name):
        self.name = name

    @property
    def pid(self):
        return pid_of(self.name)

    process = property(lambda self: self)

    def agent(self):
        return pid_of(AGENT)


class Cell:
    """One daemon of the guest's, in place of a Prison."""

    def __init__(self, hub):
        self.hole = socket.create_server(("127.0.0.1", 0))
        self.abstract_name = f"vm-prison-{os.getpid()}"
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind("\0" + self.abstract_name)
        self.abstract.listen(64)
        self.user = "root"
        self.bed = HubBed() if hub else Bed()
        self.daemon = Running(ROLES["hub" if hub else "parent"])
        self.bed.process = self.daemon
        self.hub = self.bed
        names = ("hub-front", "hub-store") if hub else ("netd", "link", "confd", "procd")
        self.children = {n: pid_of(ROLES[n]) for n in names}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.hole.close()
        self.abstract.close()


def watched(parent, count, names):
    """The next processes in the place of these may be copied: those of now are ended."""
    old = {n: pid_of(ROLES[n]) for n in names}
    with subprocess.Popen([prison.INJECT, "-n", str(count), str(pid_of(ROLES[parent]))], stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout.readline() == "waiting\n", "inject -n"
        for name in names:
            os.kill(old[name], 9)
        assert watcher.wait(300) == 0, f"inject -n {count}"
    new = {n: host.new_pid(ROLES[n], old[n]) for n in names}
    assert all(new.values()), new


class Table(prison.Table):
    """What more refuses than on a host without SELinux and units is no fault; what less does, is."""

    def note(self, role, name, lines, did, wrong):
        if wrong and (did not in REFUSED or "killed by the policy" in wrong):
            super().note(role, name, lines, did, wrong)


def acts_of(cell, hub, role):
    """All acts by one process; gives its table."""
    table = Table("root")
    pid = pid_of(ROLES[role])
    with prison.Session(["-s" if role in ("parent", "agent", "hub") else "-S", str(pid)], pid) as session:
        table.run((prison_hub.HubWorld if hub else prison.World)(cell, role, pid), role, session)
    return table


def taken_over(hub, *together):
    """Two at a time, where there are two: one alone does not keep two processors busy."""
    with Cell(hub) as cell, concurrent.futures.ThreadPoolExecutor(2) as threads:
        told.KERNEL.since()
        tables = dict(zip(together, threads.map(lambda role: acts_of(cell, hub, role), together)))
    refused = told.denials(told.KERNEL.since())
    for role, table in tables.items():
        ours = [d for d in refused if f":{host.DOMAINS[ROLES[role]]}:" in d.split("tcontext")[0]]
        kinds = sorted({re.sub(r".*\{ (.*?) \}.*tclass=(\S+).*", r"\2 { \1 }", d) for d in ours})
        note(f"{role}: {table.count[role]} acts; the policy refused {len(ours)}: {', '.join(kinds)}")
        same(table.wrong, [], f"taken over: {role}: {table.count[role]} acts, none that it should not")
        ok(ours, f"taken over: {role}: behind its filter its domain refuses, too")


def prisons():
    if os.uname().machine != "x86_64":
        note("tests/tools/inject.c knows x86_64 only")
        return
    for name in ("netd", "link", "confd", "procd"):
        watched("parent", 1, [name])
    assert host.healthy(), host.state()
    for roles in (("netd", "link"), ("confd", "procd"), ("agent",), ("parent",)):
        taken_over(False, *roles)
    ok(host.healthy(), "the agent is healthy after them", host.state())
    watched("hub", 2, ["hub-store"])
    assert host.healthy(), host.state()
    taken_over(True, "hub-front", "hub-store")
    taken_over(True, "hub")
    host.in_domains("after the escapes", host.RESIDENT + host.HUB)


# ---- domains by themselves

PROBES = "/usr/libexec/vm-probes"
ACTS = 52  # of tests/tools/domain.c
DOMAINS = {"opampd": ("netd", "connect", "link", "confd", "merge", "procd", "agent"), "opamphub": ("front", "store")}
# what a domain may, of all that is tried; the rest is refused it
MAY = {
    # a program that it executes is an agent, in the agent's domain
    "opampd_t": {"read settings", "append to the agent's log", "a TCP socket", "listen on a port", "execute a program"},
    "opampd_connect_t": {"a TCP socket", "a UDP socket"},
    # not its directory, which is another user's: it has no capability here
    "opampd_agent_t": {"read another's log", "read the agent's log", "a TCP socket", "a UDP socket", "listen on a port"},
    "opamphub_t": {"read the hub's options", "a TCP socket", "listen on a port"},
}
ALL = ("opampd_t", "opampd_netd_t", "opampd_connect_t", "opampd_link_t", "opampd_confd_t", "opampd_merge_t", "opampd_procd_t", "opampd_agent_t", "opamphub_t",
       "opamphub_front_t", "opamphub_store_t")


def domains_of_the_module():
    with open(os.path.join(HERE, "..", "..", "selinux", "opampd.te"), encoding="utf-8") as f:
        text = f.read()
    return {f"{parent}_{name}_t" for parent, name in re.findall(r"(?m)^(opampd|opamphub)_child_template\((\w+)\)", text)} | \
        set(re.findall(r"(?m)^(?:init_daemon_domain|application_domain|opampd_agent_program)\((\w+),", text))


def alone():
    """Each domain without any other sandbox: as root, with all capabilities, no filter, no Landlock, the host's root."""
    same(sorted({*ALL, "opampctl_t"}), sorted(domains_of_the_module()), "the domains that are tried are those of the module")
    os.makedirs(PROBES, exist_ok=True)
    source = os.path.join(os.environ["O"], "tools", "domain")
    told.KERNEL.since()
    for parent, names in DOMAINS.items():
        for name in (parent, *names):
            path = os.path.join(PROBES, name)
            run("install", "-m", "755", source, path)
            run("restorecon", path)
            label = {"agent": "bin_t", parent: f"{parent}_exec_t"}.get(name, f"{parent}_{name}_exec_t")
            same(run("chcon", "-t", label, path).returncode, 0, f"a program labelled {label}")
        r = run("systemd-run", "--wait", "--quiet", f"--unit=vm-probe-{parent}", os.path.join(PROBES, parent), *[os.path.join(PROBES, n) for n in names])
        works(r, f"it runs as {parent} would")
    run("journalctl", "--sync")
    found = {}
    for line in run("journalctl", "-b", "--no-pager", "-o", "cat", "-u", "vm-probe-opampd", "-u", "vm-probe-opamphub").stdout.splitlines():
        match = re.fullmatch(r"probe (\S+) (.*): (\S+)", line)
        if match:
            found.setdefault(match[1], {})[match[2]] = match[3]
    refused = told.denials(told.KERNEL.since())
    same(sorted(found), sorted(ALL), "each domain is entered by exec, and by nothing else")
    same(sorted(n for n in found if len(found[n]) != ACTS), [], f"each tried all {ACTS} acts")
    for name in ALL:
        results = found.get(name, {})
        done = {act for act, result in results.items() if result == "done"}
        odd = {act: result for act, result in results.items() if result not in ("done", "EACCES", "EPERM")}
        ours = [d for d in refused if f":{name}:" in d.split("tcontext")[0]]
        same((sorted(done), odd), (sorted(MAY.get(name, ())), {}), f"{name} alone: {len(results)} acts, {len(results) - len(done)} refused, {len(ours)} denials told")
    r = run("systemd-run", "--wait", "--quiet", "-p", "SELinuxContext=system_u:system_r:opampd_netd_t:s0", os.path.join(PROBES, "netd"))
    ok(r.returncode != 0, "the service manager cannot put a process into netd's domain")
    told.KERNEL.since()
    run("rm", "-r", PROBES)
