#!/usr/bin/python3
"""What runs in the guest of make check-vm (tests/vm/vm.t), as an administrator's shell would: the built packages on a
booted system with systemd and SELinux enforcing, from their installation to their purge.

vm.stage=1 on the kernel's command line: installation, a whole life, the escape tests; 2: after a reboot, an upgrade, the end."""
import glob
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import escapes
import host
import manual
import told
from host import AGENT, CHILDREN, EXPORTER, HUB, PARTS, RESIDENT, kill, new_pid, pid_of, put
from told import guarded, note, ok, quiet, run, same, until, works

DISK = "/mnt/x"
PLACES = ("/etc/opampd", "/etc/opamphub", "/run/opampd", "/run/opampd@exporter", "/var/lib/opampd", "/var/lib/opampd-agent", "/var/lib/opampd@exporter",
          "/var/lib/opamphub", "/var/log/opampd", "/var/log/opampd@exporter", "/usr/sbin/opampd", "/usr/sbin/opamphub", "/usr/bin/opampctl",
          "/usr/libexec/opampd", "/usr/lib/systemd/system/opampd.service", "/usr/lib/systemd/system/opampd@.service",
          "/usr/lib/systemd/system/opamphub.service")
# opampd(8), Upgrades: with this the agent lives on over an upgrade; a package without it stops it in order and starts it again
UPGRADES_IN_PLACE = "/usr/libexec/opampd/opampd-upgrade"


def packages(directory):
    return sorted(glob.glob(os.path.join(DISK, directory, "*.deb")))


def has_policy_package():
    return any("opampd-selinux" in p for p in packages("debs"))


def module_loaded():
    return "opampd" in [line.split()[0] for line in run("semodule", "-l").stdout.splitlines()]


def system():
    with open("/sys/fs/selinux/enforce", encoding="ascii") as f:
        same(f.read(), "1", "SELinux enforces")
    same(run("systemctl", "is-system-running", "--wait").stdout.strip(), "running", "the system runs, no unit has failed")
    note(f"kernel {os.uname().release}, {run('systemctl', '--version').stdout.splitlines()[0]}, this runs in {host.domain('self')}")
    with open("/sys/kernel/security/lsm", encoding="ascii") as f:
        lsm = f.read()
    ok("selinux" in lsm and "landlock" in lsm, "SELinux and Landlock are in this kernel", lsm)


# ---- installation

def install():
    if not has_policy_package() and not module_loaded():
        run("cp", os.path.join(DISK, "opampd.pp"), "/root")
        r = run("semodule", "-i", "/root/opampd.pp")
        works(r, "the policy module is loaded")
    r = run("dpkg", "-i", *packages("debs"))
    note(r.stdout[-1500:] + r.stderr[-1500:])
    works(r, "the packages are installed")
    ok(module_loaded(), "the policy module is there")
    same(run("systemctl", "is-enabled", "opampd", "opamphub").stdout.split(), ["disabled", "disabled"], "installing has enabled nothing")
    same([p.name for p in host.processes()], [], "installing has started nothing")
    run("systemctl", "start", "opampd", "opamphub")
    same([p.name for p in host.processes()], [], "without settings nothing starts")
    host.labels(PLACES, "after the installation")
    quiet("installation")


def settings():
    for name, target in (("fakeagent", AGENT),):
        run("install", "-m", "755", os.path.join(DISK, "build", "tools", name), target)
        run("restorecon", target)
    put(host.SETTINGS, host.TEXT)
    put("/etc/opamphub/opamphub.conf", "OPTIONS=\n")
    run("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", "exporter")
    put("/etc/opampd/exporter.yaml", host.INSTANCE)
    r = run("opampd", "-n")
    works(r, "opampd -n finds nothing wrong")


# ---- a life

def start():
    r = run("systemctl", "enable", "--now", "opamphub", "opampd")
    if not works(r, "the units start"):
        note(host.journal())
    ok(host.healthy(), "the agent comes to the hub, and is healthy", host.state())
    host.in_domains("after the start", RESIDENT + HUB)
    quiet("start")


CONFIGURATION = []


def apply():
    conf = host.Configuration("fake")
    CONFIGURATION.append(conf)
    conf.assign("fake:\n  fake_name: first\n")
    ok(until(lambda: "fake_name: first" in host.effective(), 60), "a configuration of the hub's is applied, and comes back as the effective one", host.state())
    ok(until(lambda: "APPLIED" in json.dumps(host.ctl("status").get("configuration")), 10), "opampctl status tells of it", host.state())
    ok(host.healthy(), "the agent is healthy on it", host.state())
    host.in_domains("after a configuration", RESIDENT + HUB)
    host.labels(PLACES, "with a generation in the state")
    quiet("configuration applied through the hub")


def refuse():
    """One that the agent's own check refuses, and one that it ends on."""
    for text, why in (("fake:\n  fake_invalid: not this one\n", "not this one"), ("fake:\n  fake_exit: 3\n", "exit")):
        CONFIGURATION[0].assign(text)
        ok(until(lambda: host.agent().get("config", {}).get("status") == "failed" and
                 why in (host.agent()["config"].get("error") or ""), 90), f"the hub hears why a configuration was refused: {why}", host.state())
        ok(until(lambda: "fake_name: first" in host.effective() and host.healthy(), 60), f"the agent runs on the one before: {why}", host.state())
    # a good one again: what failed would be tried anew after a reload
    CONFIGURATION[0].assign("fake:\n  fake_name: first\n  fake_say: again\n")
    ok(until(lambda: "fake_say: again" in host.effective() and host.agent().get("config", {}).get("status") == "applied" and host.healthy(), 60),
       "and on the next good one", host.state())
    host.in_domains("after a rollback", RESIDENT + HUB)
    quiet("rollback")


def reload():
    pid = pid_of("/usr/sbin/opampd")
    put(host.SETTINGS, host.TEXT + "nonsense: 1\n")
    ok(run("systemctl", "reload", "opampd").returncode != 0, "a reload with a mistake fails")
    same(pid_of("/usr/sbin/opampd"), pid, "and changes nothing")
    put(host.SETTINGS, host.TEXT.replace("settling_time: 1s", "settling_time: 2s"))
    r = run("systemctl", "reload", "opampd")
    works(r, "reload")
    ok(host.healthy() and until(lambda: all(pid_of(n) for n in RESIDENT)), "the agent is healthy after it", host.state())
    same(pid_of("/usr/sbin/opampd"), pid, "the parent is the same")
    host.in_domains("after a reload", RESIDENT + HUB)
    quiet("reload")


def operator():
    """opampctl, as the administrator and as a service."""
    log = told.subprocess.Popen(["opampctl", "log", "-f"], stdout=told.subprocess.PIPE, stderr=told.subprocess.STDOUT)
    same(until(lambda: host.domain(log.pid) == "opampctl_t" and "opampctl_t", 5), "opampctl_t", "opampctl runs in its domain")
    ok(until(lambda: run("opampctl", "health").returncode == 0), "opampctl health", host.state())
    for command in ("status", "config effective", "history", "sandbox"):
        works(run("opampctl", *command.split()), f"opampctl {command}")
    log.terminate()
    log.communicate()
    works(run("systemd-run", "--quiet", "--wait", "--unit=vm-status", "opampctl", "status"), "opampctl in a service")
    run("journalctl", "--sync")
    said = run("journalctl", "-b", "--no-pager", "-o", "cat", "-u", "vm-status").stdout
    ok("connected" in said, "and what it says comes to the journal", said)
    before = pid_of(AGENT)
    r = run("opampctl", "restart")
    ok(r.returncode == 0 and new_pid(AGENT, before) and host.healthy(), "opampctl restart", r.stderr + host.state())
    before = pid_of(AGENT)
    answer = host.api(f"/agents/{host.agent()['uid']}/commands", {"type": "restart"})
    ok(new_pid(AGENT, before) and host.healthy(), "a restart by the hub", f"{answer}\n{host.state()}")
    quiet("opampctl, restart")


def sandbox():
    """seccomp, Landlock and the rest, as declared and as this kernel has them."""
    found = host.ctl("sandbox")
    text = run("opampctl", "sandbox").stdout
    ok(found and "differs" not in text.lower(), "opampctl sandbox: each process is held as declared", text)
    for p in host.processes():
        status = host.read(p.pid, "status")
        held = re.search(r"^NoNewPrivs:\s1$", status, flags=re.M) and re.search(r"^Seccomp:\s2$", status, flags=re.M)
        ok(held, f"no new privileges, and a filter: {os.path.basename(p.name)}", status)
    log = host.journal(400)
    ok("Landlock ABI 2: files only" in log, "the log says what this kernel's Landlock lacks", log)
    group = next((line.split("::")[1] for line in host.read(pid_of(AGENT), "cgroup").splitlines()), "")
    limits = {name: open(f"/sys/fs/cgroup{group}/{name}", encoding="ascii").read().strip() for name in ("memory.max", "pids.max")}
    same(limits, {"memory.max": str(64 << 20), "pids.max": "40"}, "the agent's limits are its cgroup's")
    quiet("opampctl sandbox")


def exposure():
    """systemd-analyze security, of the units as they run, within the bounds that tests/system/systemd.t has (in tenths)."""
    with open(os.path.join(DISK, "tests", "system", "systemd.t"), encoding="utf-8") as f:
        bounds = {unit.replace("@", "@exporter"): int(most) / 10 for unit, most in re.findall(r'"(opamp\S+\.service)": (\d+)', f.read())}
    same(sorted(bounds), ["opampd.service", "opampd@exporter.service", "opamphub.service"], "each unit has its bound")
    for unit, most in bounds.items():
        r = run("systemd-analyze", "security", "--no-pager", unit)
        score = re.search(r"exposure level for \S+: ([\d.]+)", r.stdout)
        ok(score and float(score[1]) <= most, f"systemd-analyze security: {unit}: {score[1] if score else '?'}, at most {most}", r.stdout + r.stderr)


def instance():
    r = run("systemctl", "enable", "--now", "opampd@exporter")
    if not works(r, "a second agent's unit starts"):
        note(host.journal())
    ok(host.healthy("exporter"), "prometheus-node-exporter, asked for its health", host.journal(40))
    host.in_domains("with a second agent", RESIDENT + HUB + (EXPORTER,))
    conf = host.Configuration("exporter")
    conf.assign("http_server_config:\n  headers:\n    X-Frame-Options: deny\n")
    ok(until(lambda: "X-Frame-Options" in host.effective("exporter"), 60), "a configuration of its own", host.journal(40))
    host.labels(PLACES, "of the second agent's state")
    exposure()
    quiet("a second agent")


def crash():
    """kill -9 of each process in turn."""
    for name in CHILDREN:
        agent = pid_of(AGENT)
        old = kill(name)
        ok(new_pid(name, old) and host.healthy(), f"killed and started anew: {name}", host.state())
        same(pid_of(AGENT), agent, f"the agent does not notice: {name}")
    old = kill(AGENT)
    ok(new_pid(AGENT, old) and host.healthy(), "killed and started anew: the agent", host.state())
    host.in_domains("after each child's end", RESIDENT + HUB)
    quiet("crash of each child, and of the agent")
    old = [pid_of(n) for n in RESIDENT]
    kill("/usr/sbin/opampd")
    ok(host.gone(old), "with the parent all end", host.state())
    ok(new_pid("/usr/sbin/opampd", old[0]) and until(lambda: all(pid_of(n) for n in RESIDENT)) and host.healthy(), "systemd starts it anew: opampd", host.state())
    ok("fake_name: first" in host.effective(), "on the configuration that it had", host.effective())
    for name in PARTS:
        old = kill(name)
        ok(new_pid(name, old) and host.healthy(), f"killed and started anew: {name}", host.state())
    old = [pid_of(n) for n in HUB]
    kill("/usr/sbin/opamphub")
    ok(host.gone(old), "with the hub's parent all end", host.state())
    ok(new_pid("/usr/sbin/opamphub", old[0]) and host.healthy(), "systemd starts it anew: opamphub", host.state())
    host.in_domains("after crashes", RESIDENT + HUB)
    quiet("crash of the parents, and of the hub's processes")


def restart():
    old = {n: pid_of(n) for n in RESIDENT + HUB}
    r = run("systemctl", "restart", "opamphub", "opampd")
    works(r, "restart of both units")
    ok(until(lambda: all(pid_of(n) not in (None, old[n]) for n in old)) and host.healthy(), "all are new, and the agent is healthy", host.state())
    ok("fake_name: first" in host.effective(), "on the configuration that it had, after a restart", host.effective())
    host.in_domains("after a restart", RESIDENT + HUB)
    quiet("restart")


# ---- the second stage

def after_reboot():
    ok(until(lambda: all(pid_of(n) for n in RESIDENT + HUB)) and host.healthy(), "after a reboot everything runs", host.state())
    ok(host.healthy("exporter"), "and the second agent", host.journal())
    ok(until(lambda: "fake_name: first" in host.effective(), 30), "on the configuration that it had, after a reboot", host.effective())
    host.in_domains("after a reboot", RESIDENT + HUB + (EXPORTER,))
    host.labels(PLACES, "after a reboot")
    quiet("reboot")


def upgrade():
    before = {n: pid_of(n) for n in RESIDENT}
    second = pid_of(EXPORTER, "opampd@exporter.service")
    run("journalctl", "--rotate")
    mark = run("date", "+%Y-%m-%d %H:%M:%S").stdout.strip()
    # as apt does it, and in the order that is hard: the new opampd is there before its new policy is loaded
    r = run("dpkg", "--auto-deconfigure", "-i", *sorted(packages("next"), key=lambda p: "-selinux" in p))
    works(r, "the packages are upgraded")
    note(r.stdout[-1500:] + r.stderr[-500:])
    if os.path.exists(UPGRADES_IN_PLACE) and has_policy_package():
        steps = [r.stdout.find(s) for s in ("Setting up opampd (", "Setting up opampd-selinux (", "opampd-upgrade: ")]
        ok(-1 not in steps and steps == sorted(steps), "what runs takes the new programs when the new policy is loaded", r.stdout)
    ok(until(lambda: all(pid_of(n) for n in RESIDENT + HUB + CHILDREN)) and host.healthy(), "after an upgrade everything runs", host.state())
    ok(until(lambda: not [p for p in host.processes() if " (deleted)" in os.readlink(f"/proc/{p.pid}/exe")]), "no process runs an old program",
       "\n".join(f"{p.name}: {os.readlink(f'/proc/{p.pid}/exe')}" for p in host.processes()))
    said = run("journalctl", "--since", mark, "--no-pager", "-o", "cat", "-u", "opampd").stdout
    if os.path.exists(UPGRADES_IN_PLACE):
        same(pid_of("/usr/sbin/opampd"), before["/usr/sbin/opampd"], "the parent keeps its place")
        same(pid_of(AGENT), before[AGENT], "the agent lives on over the upgrade")
        same(pid_of(EXPORTER, "opampd@exporter.service"), second, "and so does the second one")
    else:
        ok("shutting down" in said and "SIGKILL" not in said, "the agent was stopped in order", said)
        ok(pid_of(AGENT) not in (None, before[AGENT]), "and started again", said)
        ok(until(lambda: pid_of(EXPORTER, "opampd@exporter.service") not in (None, second)), "and so was the second one", said)
    ok(until(lambda: "fake_name: first" in host.effective(), 30), "on the configuration that it had, after an upgrade", host.effective())
    same(run("dpkg-query", "-W", "-f", "${Version} ", "opampd").stdout.strip().endswith("+1"), True, "the new version is installed")
    host.in_domains("after an upgrade", RESIDENT + HUB + (EXPORTER,))
    host.labels(PLACES, "after an upgrade")
    quiet("upgrade")


def purge():
    names = [os.path.basename(p).split("_")[0] for p in packages("debs")]
    r = run("dpkg", "--remove", *[n for n in names if n != "opampd-selinux"])
    works(r, "the packages are removed")
    same([p.name for p in host.processes()], [], "and nothing of them runs")
    ok(os.path.exists("/var/lib/opampd/state") or os.listdir("/var/lib/opampd"), "removing keeps the state")
    quiet("removal")
    r = run("dpkg", "--purge", *names)
    works(r, "the packages are purged")
    left = run("find", "/etc", "/usr", "/var", "/run", "-xdev", "(", "-name", "opampd*", "-o", "-name", "opamphub*", "-o", "-name", "_opamp*", ")",
               "-not", "-path", "/var/lib/systemd/*", "-not", "-path", "/var/log/journal/*").stdout.split()
    same([p for p in left if not re.search(r"/var/lib/selinux|/etc/selinux", p)], [], "nothing is left")
    if has_policy_package():
        ok(not module_loaded(), "the policy module is gone")
    same(run("systemctl", "--failed", "--no-legend", "--plain").stdout.strip(), "", "no unit has failed")
    lines = told.KERNEL.since()
    same(told.killed_by_filter(lines), [], "no filter ended a process: purge")
    if not has_policy_package():
        same(sorted(set(told.denials(lines))), [], "no denial in our domains: purge")


STAGES = {"1": (system, install, settings, start, apply, refuse, reload, operator, sandbox, instance, crash, restart, manual.manual, escapes.alone, escapes.prisons),
          "2": (system, after_reboot, upgrade, purge)}
ALWAYS = (system, install, settings, start)


def main():
    told.begin()
    with open("/proc/cmdline", encoding="ascii") as f:
        words = dict(word.partition("=")[::2] for word in f.read().split())
    for part in STAGES[words["vm.stage"]]:
        if part in ALWAYS or re.search(words.get("vm.only", ""), part.__name__):
            guarded(part.__name__, part)


if __name__ == "__main__":
    main()
