#!/usr/bin/python3
"""What a service manager is told: readiness, reload, end, watchdog; and the units, users and directories of dist/."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from bed import ROOT, Bed, users_made
from hub_bed import Hub
from tap import Skip, same, until

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNITS = os.path.join(REPO, "dist", "systemd")
# systemd-analyze security, tenths: what is left is explained in the units
EXPOSURE = {"opampd.service": 31, "opampd@.service": 33, "opamphub.service": 28}
EXPOSURE_EACH = {"netd": 5, "link": 5, "confd": 6, "procd": 6, "connect": 13, "merge": 5, "hub-front": 5, "hub-store": 5}
WATCHDOG = "400000"  # microseconds: half of it is the pace


class Manager:
    """Stands in for the service manager: a datagram socket that hears notifications."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="opampd-notify-")
        os.chmod(self.dir, 0o755)
        self.path = os.path.join(self.dir, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o666)

    def __enter__(self):
        return self

    def __exit__(self, *how):
        self.socket.close()
        shutil.rmtree(self.dir)

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": self.dir, "NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": WATCHDOG}

    def next(self, seconds=20):
        self.socket.settimeout(seconds * tap.SLOW)
        try:
            return self.socket.recv(4096).decode()
        except TimeoutError:
            raise AssertionError(f"nothing was said for {seconds} s") from None

    def wait(self, word, seconds=20):
        """The first that begins with the word, and those before it."""
        end, before = time.monotonic() + seconds * tap.SLOW, []
        while time.monotonic() < end:
            said = self.next(seconds)
            if said.startswith(word):
                return said, before
            before.append(said.split("\n")[0])
        raise AssertionError(f"no {word} in {seconds} s, but {before}")

    def beats(self, count):
        """That many beats of the watchdog, each in time."""
        for _ in range(count):
            begun = time.monotonic()
            self.wait("WATCHDOG=1", 5)
            assert time.monotonic() - begun < 5 * tap.SLOW


def opampd_tells():
    with Bed("root" if ROOT else "user") as bed, Manager() as manager:
        server = bed.server()
        daemon = bed.daemon(server, start=False, env=manager.environment())
        daemon.start()
        said, before = manager.wait("READY=1")
        same(set(before) - {"WATCHDOG=1"}, set(), "said before it is ready")
        same(status_of(said), "the agent runs", "the status")
        same(len(daemon.agents()), 1, "agents that run")
        assert re.search(r"^MONOTONIC_USEC=\d+$", said, re.M), said
        bed.ctl("status")  # who was told that it is ready can ask
        manager.beats(3)
        daemon.signal(signal.SIGHUP)
        manager.wait("RELOADING=1")
        manager.wait("READY=1")
        manager.beats(2)
        same(daemon.stop(), 0, "exit status")
        manager.wait("STOPPING=1")


def opampd_with_a_mistake():
    with Bed("root" if ROOT else "user") as bed, Manager() as manager:
        server = bed.server()
        daemon = bed.daemon(server, start=False, env=manager.environment())
        with open(bed.path("opampd.yaml"), "a", encoding="utf-8") as f:
            f.write("\nnonsense: 1\n")
        daemon.start()
        same(daemon.wait_end(), 1, "exit status")
        manager.socket.settimeout(0.1)
        try:
            raise AssertionError(f"said {manager.socket.recv(4096)!r}")
        except TimeoutError:
            pass


def opampd_stands_still():
    """The word comes from the loop: one that stands still says nothing."""
    with Bed("root" if ROOT else "user") as bed, Manager() as manager:
        daemon = bed.daemon(bed.server(), start=False, env=manager.environment())
        daemon.start()
        manager.wait("READY=1")
        manager.beats(1)
        daemon.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, daemon.pid, os.WSTOPPED | os.WNOWAIT)
        manager.socket.settimeout(0.01)
        try:
            while True:
                manager.socket.recv(4096)  # what it said before
        except TimeoutError:
            pass
        manager.socket.settimeout(2)
        try:
            raise AssertionError(f"said {manager.socket.recv(4096)!r}")
        except TimeoutError:
            pass
        daemon.signal(signal.SIGCONT)
        manager.beats(2)


def status_of(said):
    return (re.findall(r"^STATUS=(.*)$", said, re.M) or [None])[0]


def becomes(manager, pattern, seconds=20):
    """The status that opampd tells, sooner or later."""
    end = time.monotonic() + seconds * tap.SLOW
    while time.monotonic() < end:
        said = status_of(manager.next(seconds))
        if said and re.search(pattern, said):
            return said
    raise AssertionError(f"no status {pattern} in {seconds} s")


def generic(script, **more):
    return {"agent": dict({"type": "generic", "executable": "/bin/sh", "args": ["-c", script]}, **more)}


def ready_says(over, status, log=None, then=None):
    """Ready with this status: at once, for what it says is why the agent does not run."""
    with Bed("root" if ROOT else "user") as bed, Manager() as manager:
        daemon = bed.daemon("ws://127.0.0.1:1/v1/opamp", over(bed) if callable(over) else over, start=False, env=manager.environment())
        daemon.start()
        said, _ = manager.wait("READY=1")
        assert re.fullmatch(status, status_of(said)), said
        if log is not None:
            daemon.wait_log(log)
        if then is not None and not re.search(then, status_of(said)):
            becomes(manager, then)
        same(daemon.stop(), 0, "exit status")


def without_interpreter(bed):
    return {"agent": {"type": "generic", "executable": bed.write("script", "#!/nonexistent/sh\n", 0o755), "args": []}}


def refused_file(bed):
    path = bed.write("local.yaml", "receivers: [\n")
    return {"agent": {"config_files": [path]}}


def ready_when_it_dies():
    ready_says(generic("exit 3"), r"the agent ended by itself with exit code 3: it is started again \(opampctl log .*\)",
               "the agent ended by itself with exit code 3: it is started again")


def ready_when_given_up():
    ready_says(generic("exit 4", restart={"max_restarts": 1, "initial_delay": "100ms"}),
               r"the agent ended by itself with exit code 4: (it is started again|given up) .*", then=r": given up \(agent.restart.max_restarts\)")


def ready_when_it_cannot_start():
    ready_says(without_interpreter, r"the agent could not be started: executing it: No such file or directory: it is tried again",
               "starting the agent: executing it: No such file or directory")


def ready_when_refused():
    ready_says(refused_file, r"the agent has nothing to run on \(opampctl status shows why\)", "the agent has nothing to run on: ")


def ready_without_configuration():
    """Then the server's comes, and the status follows."""
    with Bed("root" if ROOT else "user") as bed, Manager() as manager:
        server = bed.server()
        bed.agent = os.path.realpath(shutil.which("sleep"))
        daemon = bed.daemon(server, {"agent": {"type": "generic", "config_format": "raw", "executable": bed.agent, "args": ["1000"],
                                               "restart": {"initial_delay": "1h", "max_delay": "1h"}}}, start=False, env=manager.environment())
        daemon.start()
        said, _ = manager.wait("READY=1")
        same(status_of(said), "no configuration yet: waiting for the server's", "the status")
        until(lambda: server.messages, 20, "opampd at the server")
        server.offer({"any": "one"})
        becomes(manager, "^the agent runs$")
        proc.kill(daemon.agent())
        becomes(manager, r"^the agent was ended by signal 9 \(Killed\): it is started again ")
        bed.ctl("restart")
        becomes(manager, "^the agent runs$")
        same(daemon.stop(), 0, "exit status")


class ToldHub(Hub):
    environment = None

    def spawn(self, command, **more):
        words = [f"{k}={v}" for k, v in self.environment.items()]
        return super().spawn(["env", *words, *command], **more)


def opamphub_tells():
    with Manager() as manager:
        ToldHub.environment = manager.environment()
        hub = ToldHub()
        try:
            manager.wait("READY=1")
            manager.beats(3)
            hub.process.send_signal(signal.SIGTERM)
            manager.wait("STOPPING=1")
        finally:
            hub.close()


def options_of(unit):
    """(section, option, value) of each line that is no comment."""
    found, section = [], ""
    with open(os.path.join(UNITS, unit), encoding="utf-8") as f:
        for line in f.read().splitlines():
            if line.startswith("["):
                section = line
            elif line and line[0] not in "#;":
                found.append((section, *line.split("=", 1)))
    return found


def instances_are_as_the_one():
    """opampd@.service differs in names, files and directories alone."""
    own = {"Description", "ConditionPathExists", "ExecStart", "ExecReload", "EnvironmentFile", "RuntimeDirectory", "LogsDirectory",
           "StateDirectory", "ReadWritePaths", "Slice", "CapabilityBoundingSet"}
    one, many = ([o for o in options_of(u) if o[1] not in own] for u in ("opampd.service", "opampd@.service"))
    same(many, one, "options of opampd@.service")


def patience_of_the_manager():
    """Ready within LIMIT_READY_MS, and before that the settings are read, for which merge has its own limit."""
    limits = source("privsep", "limits.h")
    ready, merge = (int(re.search(rf"^#define {name}\s+(\d+)", limits, re.M).group(1)) for name in ("LIMIT_READY_MS", "LIMIT_MERGE_SECONDS"))
    for unit in ("opampd.service", "opampd@.service"):
        (start,) = values(unit, "TimeoutStartSec")
        assert ready / 1000 + merge < int(start.rstrip("s")), (unit, start, ready, merge)


def values(unit, option):
    return " ".join(v for _, o, v in options_of(unit) if o == option).split()


def source(*path):
    with open(os.path.join(REPO, *path), encoding="utf-8") as f:
        return f.read()


def capabilities_are_the_parents():
    text = source("privsep", "policy_agent.c")
    parent = re.search(r"policy_parent = \{.*?\.deny_list", text, re.S).group(0)
    kept = sorted(re.findall(r"1ull << (CAP_\w+)", parent))
    kept.remove("CAP_DAC_OVERRIDE")  # for the root cgroup, in which no unit is
    kept.remove("CAP_CHOWN")  # for directories that are missing; tmpfiles.d makes them
    same(sorted(values("opampd.service", "CapabilityBoundingSet")), kept, "CapabilityBoundingSet of opampd.service and what the parent keeps")
    # whose directories nobody else makes
    same(sorted(values("opampd@.service", "CapabilityBoundingSet")), sorted([*kept, "CAP_CHOWN"]), "CapabilityBoundingSet of opampd@.service")
    keep = re.search(r"uint64_t keep = .*?;", source("hub", "opamphub.c"), re.S).group(0)
    same(sorted(values("opamphub.service", "CapabilityBoundingSet")), sorted(re.findall(r"1ull << (CAP_\w+)", keep)),
         "CapabilityBoundingSet of opamphub.service and what the parent keeps")


def users_are_all_there():
    made = re.findall(r"^u\s+(\S+)", source("dist", "sysusers.d", "opampd.conf") + source("dist", "sysusers.d", "opamphub.conf"), re.M)
    same(sorted(made), sorted(re.search(r"^USERS := (.*)$", source("Makefile"), re.M).group(1).split()), "users of sysusers.d and of make users")
    for kind in ("sysusers.d", "tmpfiles.d"):
        program = shutil.which("systemd-" + kind[:-2])
        if program is None:
            raise Skip(f"no systemd-{kind[:-2]} here")
    # both programs, as a package has them do it, in a root of their own
    if not ROOT:
        raise Skip("a root of their own is for root")
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(os.path.join(root, "etc"))
        for kind in ("sysusers.d", "tmpfiles.d"):
            shutil.copytree(os.path.join(REPO, "dist", kind), os.path.join(root, "usr/lib", kind))
            r = subprocess.run([f"systemd-{kind[:-2]}", f"--root={root}", *(["--create"] if kind[0] == "t" else []), "opampd.conf", "opamphub.conf"],
                               capture_output=True, text=True, check=False)
            same((r.returncode, "not a valid" in r.stderr), (0, False), f"systemd-{kind[:-2]}: {r.stderr}")
        with open(os.path.join(root, "etc/passwd"), encoding="utf-8") as f:
            users = {line.split(":")[0]: line.strip().split(":") for line in f}
        for user in made:
            same(users[user][5:], ["/nonexistent", "/usr/sbin/nologin"], f"home and shell of {user}")
        for path, user, mode in (("var/lib/opampd", "_opampd_conf", 0o711), ("var/lib/opampd-agent", "_opampd_agent", 0o750),
                                 ("var/lib/opamphub", "_opamphub", 0o700)):
            st = os.stat(os.path.join(root, path))
            same((st.st_mode & 0o7777, st.st_uid), (mode, int(users[user][2])), path)
        # agent.run_as names another user, to whom the directory was given: at the next boot, at an upgrade
        work = os.path.join(root, "var/lib/opampd-agent")
        os.chown(work, 12345, 12345)
        subprocess.run(["systemd-tmpfiles", f"--root={root}", "--create", "opampd.conf"], check=True)
        same(os.stat(work).st_uid, 12345, "who has the agent's directory")


# what takes a call that no process of ours has on its list: said of a process only when it lacks the call
FORBIDDEN = {"personality": "LockPersonality=yes", "sched_setscheduler": "RestrictRealtime=yes", "unshare": "RestrictNamespaces=yes",
             "keyctl": "KeyringMode=private", "socket": "RestrictAddressFamilies=none", "mknodat": "PrivateDevices=yes\nDevicePolicy=closed",
             "init_module": "ProtectKernelModules=yes", "syslog": "ProtectKernelLogs=yes", "sethostname": "ProtectHostname=yes",
             "clock_settime": "ProtectClock=yes", "mount": "PrivateMounts=yes", "mprotect": "MemoryDenyWriteExecute=yes",
             "chmod": "RestrictSUIDSGID=yes", "shmget": "PrivateIPC=yes", "execve": "NoNewPrivileges=yes"}
NS_NET = 4  # SANDBOX_NS_NET


def as_a_unit(name, policy):
    """The unit that a service manager would need to give this process what its policy gives it (privsep/policy_*.c)."""
    calls = {rule[0] for rule in policy["syscalls"]}
    assert policy["deny_list"] == 0 and policy["landlock"] == 1, name
    lines = [f"User={policy['user'] or '_opamphub'}", "UMask=0077", "SystemCallArchitectures=native", "SystemCallFilter=" + " ".join(sorted(calls)),
             "CapabilityBoundingSet=" + ("CAP_KILL" if policy["capabilities"] == 1 << 5 else ""),
             *(option for call, option in FORBIDDEN.items() if call not in calls)]
    assert policy["capabilities"] in (0, 1 << 5), name
    # Landlock: nothing but what its policy names, and nothing of it to be written but the store's and confd's directory
    lines += ["ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "ProtectKernelTunables=yes", "ProtectControlGroups=yes",
              "ProtectProc=invisible", "ProcSubset=pid"]
    if policy["namespaces"] & NS_NET:
        lines.append("PrivateNetwork=yes")
    if policy["empty_root"]:
        lines.append("RootDirectory=/run/empty")
    if "socket" in calls:  # those of its rules
        families = {a[2] for rule in policy["syscalls"] if rule[0] == "socket" and rule[2] == 0 for a in rule[3:] if a[:2] == ["eq", 0]}
        lines.append("RestrictAddressFamilies=" + " ".join({2: "AF_INET", 10: "AF_INET6"}[f] for f in sorted(families)))
    return "[Service]\nExecStart=/bin/true\n" + "\n".join(lines) + "\n"


def exposure_of_each():
    """What reads foreign bytes, judged as a unit: each process by itself."""
    if shutil.which("systemd-analyze") is None:
        raise Skip("no systemd-analyze here")
    policies = json.loads(subprocess.run([os.path.join(os.environ["O"], "tools", "policy")], capture_output=True, check=True).stdout)
    with tempfile.TemporaryDirectory() as place:
        for name in ("netd", "link", "confd", "procd", "connect", "merge", "hub-front", "hub-store"):
            unit = os.path.join(place, f"opampd-{name}.service")
            with open(unit, "w", encoding="utf-8") as f:
                f.write(as_a_unit(name, policies[name]))
            r = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_EACH[name]}", unit],
                               capture_output=True, text=True, check=False)
            score = re.search(r"exposure level for \S+: ([0-9.]+)", r.stdout)
            print(f"# {name}: {score.group(1) if score else '?'}")
            same(r.returncode, 0, f"{name}: exposure above {EXPOSURE_EACH[name] / 10}: {r.stdout[-200:]}{r.stderr}")


def every_option():
    """Each hardening option of the reviewers' checklist is set in each unit, or a comment in opampd.service says why not."""
    options = ("NoNewPrivileges ProtectSystem ProtectHome PrivateTmp PrivateDevices ProtectClock ProtectHostname ProtectControlGroups "
               "ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectProc ProcSubset CapabilityBoundingSet AmbientCapabilities "
               "RestrictAddressFamilies RestrictNamespaces RestrictRealtime RestrictSUIDSGID LockPersonality MemoryDenyWriteExecute "
               "SystemCallFilter SystemCallArchitectures KeyringMode DevicePolicy UMask KillMode PrivateIPC PrivateMounts").split()
    explained = ("User", "PrivateNetwork", "PrivateUsers", "RemoveIPC", "RootDirectory", "IPAddressDeny")
    for unit in EXPOSURE:
        found = {o for _, o, _ in options_of(unit)}
        same([o for o in options if o not in found], [], f"{unit}: options that are not set")
        text = source("dist", "systemd", "opampd.service" if "@" in unit else unit)
        same([o for o in explained if o not in found and not re.search(rf"^#.*\b{o}=", text, re.M)], [], f"{unit}: not set, and no word why")


def exposure():
    if shutil.which("systemd-analyze") is None:
        raise Skip("no systemd-analyze here")
    for unit, most in EXPOSURE.items():
        r = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={most}", os.path.join(UNITS, unit)],
                           capture_output=True, text=True, check=False)
        same(r.returncode, 0, f"{unit}: exposure above {most / 10}: {r.stdout[-200:]}{r.stderr}")
    verify = subprocess.run(["systemd-analyze", "verify", "--man=no", *(os.path.join(UNITS, u) for u in EXPOSURE)],
                            capture_output=True, text=True, check=False)
    # the programs are where a package puts them, and not on this host
    strange = [line for line in verify.stderr.splitlines() if "is not executable: No such file" not in line and
               any(line.startswith(u.split("@", maxsplit=1)[0].split(".", maxsplit=1)[0]) for u in EXPOSURE)]
    same(strange, [], "systemd-analyze verify")


if __name__ == "__main__":
    users_made()
    tap.run([
        ("opampd: ready, watchdog, reload, end", opampd_tells),
        ("opampd: settings with a mistake: never ready", opampd_with_a_mistake),
        ("opampd: ready, for it is known that the agent dies", ready_when_it_dies),
        ("opampd: ready, for it is known that the agent was given up", ready_when_given_up),
        ("opampd: ready, for it is known that the agent cannot be executed", ready_when_it_cannot_start),
        ("opampd: ready, for it is known that its configuration is none", ready_when_refused),
        ("opampd: ready without a configuration; the status follows", ready_without_configuration),
        ("opampd: a parent that stands still does not feed the watchdog", opampd_stands_still),
        ("opamphub: ready, watchdog, end", opamphub_tells),
        ("opampd@.service is as opampd.service", instances_are_as_the_one),
        ("opampd is ready before systemd's patience ends", patience_of_the_manager),
        ("the units' capabilities are those that the parents keep", capabilities_are_the_parents),
        ("sysusers.d and tmpfiles.d", users_are_all_there),
        ("systemd-analyze: exposure of each process", exposure_of_each),
        ("every option of the checklist is set, or it is said why not", every_option),
        ("systemd-analyze: verify, exposure", exposure),
    ])
