"""What runs in the guest of make check-vm-apparmor (tests/vm/apparmor.t): the built packages on a booted system with AppArmor, from
their installation to their purge.  The life that they lead is inside.py's; who they are, and what was refused, is AppArmor's."""
import errno
import glob
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import host
import inside
import told
from told import note, ok, run, same, works

AGENT_PROFILE = "opampd//&opampd-agent"
CHILDREN = ("netd", "connect", "link", "confd", "merge", "procd")
PARTS = ("front", "store")
PROFILES = {"opampd", "opampd-agent", "opamphub", *(f"opampd-{c}" for c in CHILDREN), *(f"opamphub-{p}" for p in PARTS)}
# by the first word of the command line: the label that the process has to have
LABELS = {"/usr/sbin/opampd": "opampd", "/usr/sbin/opamphub": "opamphub", host.AGENT: AGENT_PROFILE, host.EXPORTER: AGENT_PROFILE, "opampctl": "unconfined",
          **{f"opampd-{c}": f"opampd//&opampd-{c}" for c in CHILDREN}, **{f"opamphub-{p}": f"opamphub//&opamphub-{p}" for p in PARTS}}


def label(pid):
    """Enforced, or it is none."""
    text = host.read(pid, "attr/current").strip()
    return re.sub(r" \(enforce\)$", "", text)


class Kernel(told.Kernel):
    """Its log since the last look; the mark is a profile that does not exist, asked for."""

    ASK = ("/proc/self/attr/current", "changeprofile ", errno.ENOENT)


def denials(lines):
    return [re.sub(r'.*(apparmor="DENIED".*?) pid=\d+(.*)', r"\1\2", line) for line in lines if 'apparmor="DENIED"' in line and "opamp" in line]


def loaded():
    """{profile: mode} of those that are ours."""
    with open("/sys/kernel/security/apparmor/profiles", encoding="ascii") as f:
        return {name: mode for name, mode in re.findall(r"(?m)^(\S+) \((\w+)\)$", f.read()) if name.startswith("opamp")}


def system():
    with open("/sys/kernel/security/lsm", encoding="ascii") as f:
        lsm = f.read()
    ok("apparmor" in lsm and "landlock" in lsm and "selinux" not in lsm, "AppArmor and Landlock are in force in this kernel", lsm)
    same(run("systemctl", "is-system-running", "--wait").stdout.strip(), "running", "the system runs, no unit has failed")
    note(f"kernel {os.uname().release}, {run('apparmor_parser', '--version').stdout.splitlines()[0]}, this is {label('self')}")


def install():
    r = run("dpkg", "-i", *inside.packages("debs"))
    works(r, "the packages are installed")
    same(loaded(), {name: "enforce" for name in PROFILES}, "each profile is loaded, and enforced")
    same([p.name for p in host.processes()], [], "installing has started nothing")
    told.quiet("installation")


def operator():
    for command in ("health", "status", "config effective", "history", "sandbox"):
        works(run("opampctl", *command.split()), f"opampctl {command}")
    before = host.pid_of(host.AGENT)
    r = run("opampctl", "restart")
    ok(r.returncode == 0 and host.new_pid(host.AGENT, before) and host.healthy(), "opampctl restart", r.stderr + host.state())
    told.quiet("opampctl, restart")


# ---- profiles by themselves

ACTS = 52  # of tests/tools/domain.c
# What no profile can refuse.  AppArmor of Linux 6.1 does not see who connects to which Unix socket, knows no anonymous memory,
# and lets CAP_SYS_ADMIN read the kernel's log; it refuses every other way to it.  (The sockets' modes, the unit's
# MemoryDenyWriteExecute= and ProtectKernelLogs=, and that the children drop the capability, do.)
# it runs, and is not asked about
RUNS = {("write the agent", "ETXTBSY")}
ANY = {"the control socket", "the service manager", "the message bus", "execute written memory", "the kernel's log by syslog"}
# of networks it knows families and types: who uses a connection may make one, where nothing else refuses it
INET = {"a TCP socket", "listen on a port"}
NETLINK = {"an audit socket", "a socket for events"}
MAY = {
    # what all of the unit together may, so far as root may without CAP_DAC_OVERRIDE; a program that it executes is an agent
    "opampd": ANY | INET | NETLINK | {"read settings", "read another's log", "read the agent's log", "append to the agent's log", "a UDP socket",
                                      "execute a program", "execute a shell", "execute opampctl"},
    "opampd//&opampd-netd": ANY | INET | {"read settings"},
    "opampd//&opampd-connect": ANY | INET | {"a UDP socket"},
    "opampd//&opampd-link": ANY | INET | {"append to the agent's log", "a socket for events"},
    "opampd//&opampd-confd": ANY,
    "opampd//&opampd-merge": ANY | {"read settings"},
    "opampd//&opampd-procd": ANY,
    AGENT_PROFILE: (ANY | INET | NETLINK | {"a UDP socket", "read another's log", "read the agent's log"}) - {"the kernel's log by syslog"},
    "opamphub": ANY | INET | {"listen on port 80", "read the hub's options"},
    "opamphub//&opamphub-front": ANY | INET,
    "opamphub//&opamphub-store": ANY | INET,
}


def tried(program, profile):
    """What came of each act of a program without any other sandbox, as root, in the place of that one and under that label."""
    tool = os.path.join(HERE, "..", "..", "build", "tools", "domain")
    r = run("unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount --bind "$1" "$2" && exec aa-exec -p "$3" -- "$2"', "sh", tool, program, profile)
    return dict(re.findall(r"(?m)^probe \S+ (.*): (\S+)$", r.stderr)), r.stderr


def alone():
    programs = {name: program if program.startswith("/") else "/usr/libexec/opampd/" + program for program, name in LABELS.items()
                if name != "unconfined" and program != host.EXPORTER}
    same(len(programs), len(PROFILES), "each profile is tried")
    told.KERNEL.since()
    for name, program in programs.items():
        results, said = tried(program, name)
        done = {act for act, result in results.items() if result == "done"}
        odd = {act: result for act, result in results.items() if result not in ("done", "EACCES", "EPERM") and (act, result) not in RUNS}
        ours = denials(told.KERNEL.since())
        same((sorted(done), odd), (sorted(MAY.get(name, ())), {}), f"{name} alone: {len(results)} acts, {len(results) - len(done)} refused, {len(ours)} denials told")
        ok(len(results) == ACTS, f"{name}: tried all {ACTS} acts", said[-2000:])


def local():
    """What /etc/apparmor.d/opampd says of rules of one's own: a program that the agent executes, and a profile for an agent."""
    host.put("/etc/apparmor.d/local/opampd-agent", "/usr/bin/true ix,\n")
    works(run("apparmor_parser", "-r", "/etc/apparmor.d/opampd"), "with a rule of one's own")
    results, said = tried(host.AGENT, AGENT_PROFILE)
    same((results.get("execute a program"), results.get("execute a shell")), ("done", "EACCES"), "the agent executes that program, and no other")
    told.KERNEL.since()
    text = run("sed", "-n", "/^profile opampd-agent /,/^}/p", "/etc/apparmor.d/opampd").stdout
    host.put("/etc/apparmor.d/vm-agent", f"abi <abi/3.0>,\ninclude <tunables/global>\n@{{opampd_secrets}} = /etc/shadow\n{re.sub('opampd-agent(?!/)', 'opampd-agent-vm', text)}")
    host.put("/etc/apparmor.d/local/opampd", f"{host.AGENT} px -> opampd//&opampd-agent-vm,\n")
    works(run("apparmor_parser", "-r", "/etc/apparmor.d/vm-agent", "/etc/apparmor.d/opampd"), "with a profile of one's own")
    before = host.pid_of(host.AGENT)
    run("opampctl", "restart")
    pid = host.new_pid(host.AGENT, before)
    same(label(pid), "opampd//&opampd-agent-vm", "the agent is under that profile")
    host.put("/etc/apparmor.d/local/opampd", "")
    works(run("apparmor_parser", "-r", "/etc/apparmor.d/opampd"), "and without it again")
    run("opampctl", "restart")
    ok(host.new_pid(host.AGENT, pid) and host.healthy(), "the agent is healthy", host.state())
    works(run("apparmor_parser", "-R", "/etc/apparmor.d/vm-agent"), "that profile goes")
    os.unlink("/etc/apparmor.d/vm-agent")
    host.in_domains("after it", host.RESIDENT + host.HUB)
    told.quiet("profiles of one's own")


def files_left():
    same(glob.glob("/etc/apparmor.d/**/opamp*", recursive=True) + glob.glob("/var/cache/apparmor/*/opamp*"), [], "no profile is left, nor what was made of it")


def main():
    host.domain, host.DOMAINS, host.labels = label, LABELS, lambda *_: None
    told.denials = denials
    told.KERNEL = Kernel()
    packages = inside.packages
    inside.packages = lambda directory: [p for p in packages(directory) if "-selinux_" not in p]
    with open("/proc/cmdline", encoding="ascii") as f:
        words = dict(word.partition("=")[::2] for word in f.read().split())
    told.quiet("boot")
    for part in (system, install, inside.settings, inside.start, inside.apply, inside.refuse, inside.reload, operator, inside.instance, inside.crash, inside.restart, alone, local,
                 inside.upgrade, inside.purge, files_left):
        if part in (system, install, inside.settings, inside.start) or re.search(words.get("vm.only", ""), part.__name__):
            told.guarded(part.__name__, part)


if __name__ == "__main__":
    main()
