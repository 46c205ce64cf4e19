#!/usr/bin/python3
"""What can a process that was taken over do?  Stand-ins (tests/tools/rogue.c) do it to the real parent."""
import errno
import glob
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
from tap import Skip, run, same, until  # noqa: E402

BUILD = os.environ["O"]
ROOT = os.geteuid() == 0
USER = 12345  # an ordinary user that is not the one the kernel shows for users it does not know
ROGUES = ("netd", "link", "confd", "procd", "connect")


class Opampd:
    """with Opampd(netd="accuse") as d: the named stand-ins act, the others keep quiet."""

    def __init__(self, user=None, real=(), agent=None, settings=None, stderr=None, wrap=(), **acts):
        self.user = user
        self.stderr = stderr
        self.wrap = list(wrap)
        self.dir = tempfile.mkdtemp(prefix="opampd-rogue-", dir="/opt" if ROOT else None)
        os.chmod(self.dir, 0o755)
        for name in ("", "-merge") + tuple(f"-{r}" for r in real):
            shutil.copy2(os.path.join(BUILD, f"opampd{name}"), self.dir)
        for name in ROGUES:
            if name not in real:
                shutil.copy2(os.path.join(BUILD, "tools", "rogue"), self.path(f"opampd-{name}"))
        for name, act in acts.items():
            self.write(f"rogue.{name}", act)
        os.mkdir(self.path("var"))
        if ROOT and user:
            os.chown(self.path("var"), user, user)
        self.agent = {"executable": "/bin/sh", "type": "generic", "args": ["-c", "exec sleep 1000"],
                      "working_directory": self.path("var", "work"),
                      "log": {"directory": self.path("var", "log")}}
        self.agent.update(agent or {})
        self.settings = {"server": {"endpoint": "ws://127.0.0.1:1/v1/opamp"}, "agent": self.agent,
                         "storage": {"directory": self.path("var", "state")},
                         "control": {"socket": self.path("var", "control.sock")}}
        self.settings.update(settings or {})

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.path(name), mode)

    def __enter__(self):
        self.write("opampd.yaml", json.dumps(self.settings, indent=1) + "\n")
        if ROOT and self.user:
            os.chown(self.path("opampd.yaml"), self.user, self.user)
            os.chmod(self.path("opampd.yaml"), 0o600)
        command = self.wrap + [self.path("opampd"), "-dv", "-f", self.path("opampd.yaml")]
        if ROOT and self.user:
            # with a capability that nobody asked for, as a service manager or a login may give it
            command = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups",
                       "--inh-caps=+net_raw", "--ambient-caps=+net_raw"] + command
        with open(self.path("log"), "wb") as out:
            # two processes of a pipeline: setpriv becomes opampd by exec, so the pid is the parent's
            self.process = subprocess.Popen(command, stderr=self.stderr or out, stdin=subprocess.DEVNULL, start_new_session=True)
        return self

    def __exit__(self, *why):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for path in glob.glob(f"/sys/fs/cgroup/**/{self.groups()}*", recursive=True):
            if os.path.isdir(path):  # a parent that was killed leaves an empty one behind, when the last there is gone
                until(lambda p=path: gone(p), 10, f"{path} to be empty")
        if why[0] is not None:
            for line in self.log().splitlines()[-30:]:
                print(f"#   {line}")
        shutil.rmtree(self.dir, ignore_errors=True)

    def groups(self):
        h = 14695981039346656037
        for byte in self.settings["storage"]["directory"].encode():
            h = (h ^ byte) * 1099511628211 % 2 ** 64
        return f"opampd-{h:016x}-"

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def count(self, pattern):
        return len(re.findall(pattern, self.log()))

    def wait(self, pattern, seconds=10, times=1):
        return until(lambda: self.count(pattern) >= times, seconds, pattern)

    def pid(self, name):
        found = re.findall(rf"started {name}, pid (\d+)", self.log())
        return int(found[-1]) if found else 0


def gone(group):
    try:
        os.rmdir(group)
    except OSError as e:
        return e.errno == errno.ENOENT
    return True


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def pids_of(mark):
    """The processes whose command line has this in it."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as f:
                    if mark.encode() in f.read() and alive(int(name)):
                        found.append(int(name))
            except OSError:
                pass
    return found


def accusing_has_its_price():
    """netd that accuses confd again and again could keep management off for good."""
    with Opampd(netd="accuse") as d:
        d.wait("started confd", times=3)
        # netd died for each of them, and each time it waits longer before it can do it again
        d.wait("netd will be started again in 400 ms")
        assert d.count("ending netd") >= 1 and d.count("it accused a neighbour") >= 1


def merges_wait():
    """confd that asks for merges without end: no storm of processes, no line for each in the log."""
    with Opampd(confd="merges") as d:
        d.wait("started merge", times=3)
        before, begun = d.count("started merge"), time.monotonic()
        d.wait("started merge", times=before + 100, seconds=20)
        took = time.monotonic() - begun
        assert took > 1.0, f"100 merges in {took:.2f} s"
        same(d.count("error.*merge .pid"), 0, "lines in the log for merges that were replaced")


def reloads_are_counted():
    with Opampd(confd="reloads") as d:
        d.wait("more than 12 reloads")
        reloads = d.count("opampd.yaml again")
        assert 1 <= reloads <= 12, f"{reloads} reloads"
        assert alive(d.process.pid)


def what_the_manager_is_told():
    """confd says how it is with the agent, by a number: a wrong one is all that it can have told, and not often."""
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(os.path.join(place, "notify"))
        manager.settimeout(20)
        with Opampd(confd="settles", wrap=["env", f"NOTIFY_SOCKET={place}/notify"]) as d:
            begun, told = time.monotonic(), []
            while len(told) < 4:
                told.append(manager.recv(4096).decode())
            assert told[0].startswith("READY=1\nSTATUS="), told
            assert time.monotonic() - begun > 2.5, f"4 words in {time.monotonic() - begun:.1f} s"
            for text in told[1:]:
                assert re.fullmatch(r"STATUS=[ -~]+\nMONOTONIC_USEC=\d+", text), text
            same(d.count("started confd"), 1, "starts of confd")
    with Opampd(confd="unsettled") as d:
        d.wait("started confd", times=2)  # out of its range: ended for it


def starts_are_counted():
    """procd, on whatever instruction, cannot have the agent's program started without end."""
    agent = {"type": "collector", "executable": "/bin/false", "args": []}
    with Opampd(procd="starts", agent=agent) as d:
        d.wait("to procd AGENT_EXITED", times=300, seconds=30)
        started, refused = d.count("to procd AGENT_STARTED"), d.count("to procd AGENT_EXITED")
        assert started < refused, f"{started} starts, {refused} answers"
        same(d.count("starting the agent"), 0, "lines in the log")


def link_cannot_configure_the_agent():
    """The secret file becomes a configuration file of the agent: it is the secret and nothing else."""
    d = Opampd(procd="run", link="secret", agent={"type": "collector", "args": []})
    d.write("agent.sh", "#!/bin/sh\ncat /proc/self/fd/4 >>seen\necho end >>seen\n", 0o755)
    d.agent["executable"] = d.path("agent.sh")
    seen = d.path("var", "work", "seen")
    with d:
        d.wait("ending link", times=2)
        until(lambda: os.path.exists(seen) and "end\n" in open(seen, encoding="ascii").read(), 10, "the agent, by the parent's own secret")
        with open(seen, encoding="ascii") as f:
            text = f.read()
        assert "filelog" not in text and "X-Opampd-Link" in text, text


def one_that_reads_nothing_does_not_end_confd():
    with Opampd(confd="talk", netd="deaf") as d:
        d.wait("ending netd .*a neighbour was sent what it may not send")
        same(d.count("started confd"), 1, "confd's starts")


def nothing_survives_the_parent():
    """kill -9 of the parent: the agent's own children, in a session of their own, end too."""
    for _ in range(5):
        mark = f"{os.getpid()}{time.monotonic_ns() % 1000000}"
        agent = {"args": ["-c", f"setsid sleep 1000.{mark} & exec sleep 1001.{mark}"]}
        with Opampd(real=("procd",), confd="have", agent=agent) as d:
            until(lambda: len(pids_of(mark)) == 2, 10, "the agent and its child")
            d.process.kill()
            d.process.wait()
            until(lambda: not pids_of(mark), 5, "the end of the agent and its child")


def killed_before_procd_knows():
    """kill -9 of a parent that is slow to tell procd: what procd does not know of has not begun."""
    mark = f"{os.getpid()}{time.monotonic_ns() % 1000000}"
    agent = {"args": ["-c", f"setsid sleep 1000.{mark} & exec sleep 1001.{mark}"]}
    slow = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=sendmsg", "-e", "inject=sendmsg:delay_enter=50000"]
    with Opampd(real=("procd",), confd="have", agent=agent, wrap=slow) as d:
        until(lambda: len(pids_of(mark)) == 2, 20, "the agent and its child")
        os.kill(next(p for p in pids_of(d.path("opampd")) if p != d.process.pid), signal.SIGKILL)
        until(lambda: not pids_of(mark), 5, "the end of the agent and its child")


def reload_reads_the_environment_again():
    """The list of variables was freed before a reload went through it."""
    with Opampd() as d:
        d.wait("netd is ready")
        for n in (1, 2, 3):
            d.process.send_signal(signal.SIGHUP)
            d.wait("the new settings are in force", times=n)
        assert alive(d.process.pid)


def interrupt_is_the_parents():
    """A terminal's ^C goes to the whole group: the processes are in sessions of their own."""
    with Opampd() as d:
        d.wait("netd is ready")
        same(os.getsid(d.pid("netd")), d.pid("netd"), "netd's session")


def the_terminal_is_not_theirs():
    """Standard error may be a terminal, which can be read, with flags that all who have it share."""
    if not ROOT:
        raise Skip("only root may look at the descriptors of what is not dumpable")
    master, slave = os.openpty()
    try:
        with Opampd(stderr=slave) as d:
            netd = until(lambda: pids_of(d.path("opampd")) and next(
                (p for p in pids_of("opampd-netd") if os.readlink(f"/proc/{p}/exe").startswith(d.dir)), 0), 10, "netd")
            with open(f"/proc/{netd}/fdinfo/2", encoding="utf-8") as f:
                flags = int(re.search(r"flags:\s*(\d+)", f.read()).group(1), 8)
            same(flags & os.O_ACCMODE, os.O_WRONLY, "how netd has the terminal open")
    finally:
        os.close(slave)
        os.close(master)


def as_user():
    if not ROOT:
        return None
    return USER


def a_fifo_for_a_log():
    """As an ordinary user the log lies where the agent and confd, both taken over, can put a FIFO."""
    d = Opampd(user=as_user())
    os.mkdir(d.path("var", "log"), 0o700)
    os.mkfifo(d.path("var", "log", "agent.log"), 0o600)
    if ROOT:
        for name in ("log", "log/agent.log"):
            os.chown(d.path("var", name), USER, USER)
    with d:
        d.wait("agent.log")
        d.wait("netd is ready")
        d.wait("confd is ready")


PROBE = """
import json, os, sys
result = {"uid": os.getuid(), "caps": "", "tried": {}}
for line in open("/proc/self/status"):
    if line.startswith(("CapEff", "CapAmb", "CapPrm")):
        result["caps"] += line.split()[1]
for path in sys.argv[2:]:
    try:
        open(path).read()
        result["tried"][path] = "read"
    except OSError as e:
        result["tried"][path] = "refused"
try:
    os.kill(int(os.environ["VICTIM"]), 0)
    result["signal"] = "sent"
except OSError:
    result["signal"] = "refused"
import socket
try:
    socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(os.environ["CONTROL"])
    result["control"] = "connected"
except OSError:
    result["control"] = "refused"
with open("result.tmp", "w") as f:
    json.dump(result, f)
os.rename("result.tmp", "result.json")
import time
time.sleep(1000)
"""


def an_agent_with_our_uid():
    """As an ordinary user the agent shares our uid: it must not read the state, the settings (which
    hold credentials) or the key, by whatever path, nor signal us; it is who it was, with no capability."""
    with open("/proc/sys/kernel/osrelease", encoding="utf-8") as f:
        if tuple(int(n) for n in f.read().split(".")[:2]) < (5, 13):
            raise Skip("no Landlock")
    d = Opampd(user=as_user(), real=("procd",), confd="have")
    with open(d.path("probe.py"), "w", encoding="utf-8") as f:
        f.write(PROBE)
    # a way round: a link beside the storage that leads into it
    os.symlink(d.path("var", "state"), d.path("var", "way"))
    os.mkdir(d.path("var", "state"), 0o700)
    for name in ("state/secret", "key.pem", "cert.pem"):
        with open(d.path("var", name), "w", encoding="utf-8") as f:
            f.write("secret")
        os.chmod(d.path("var", name), 0o600)
    if ROOT:
        for name in ("state", "state/secret", "key.pem", "cert.pem"):
            os.chown(d.path("var", name), USER, USER)
    secrets = [d.path("var", "state", "secret"), d.path("var", "way", "secret"), d.path("opampd.yaml"),
               d.path("var", "key.pem")]
    allowed = [d.path("probe.py"), "/etc/hostname"]
    d.agent.update({"executable": os.path.realpath("/usr/bin/python3"),
                    "args": [d.path("probe.py"), "--"] + secrets + allowed,
                    "env": {"VICTIM": str(os.getpid()), "CONTROL": d.path("var", "control.sock")}})
    d.settings["server"]["tls"] = {"key_file": d.path("var", "key.pem"), "cert_file": d.path("var", "cert.pem")}
    # a path with a link in it must hide what it leads to all the same
    os.symlink(d.path("var"), d.path("link"))
    d.settings["storage"] = {"directory": d.path("link", "state")}
    d.settings["agent"]["working_directory"] = d.path("var", "work")
    with d:
        result = d.path("var", "work", "result.json")
        until(lambda: os.path.exists(result), 10, "the agent's report")
        with open(result, encoding="utf-8") as f:
            r = json.load(f)
        for path in secrets:
            same(r["tried"][path], "refused", path)
        for path in allowed:
            same(r["tried"][path], "read", path)
        same(r["uid"], USER if ROOT else os.getuid(), "the agent's uid")
        same(r["caps"].strip("0"), "", "the agent's capabilities")
        same(r["signal"], "refused", "a signal to a process outside")
        same(r["control"], "refused", "the control socket, where it would be the operator")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as ours:
            ours.connect(d.path("var", "control.sock"))
        with open(f"/proc/{d.process.pid}/status", encoding="utf-8") as f:
            kept = [line.split()[1] for line in f if line.startswith(("CapPrm", "CapInh", "CapAmb"))]
        same("".join(kept).strip("0"), "", "the parent's capabilities")


run([(f"{f.__name__.replace('_', ' ')} ({i})", f) for f, i in [
    (accusing_has_its_price, "I14"), (merges_wait, "I11"), (reloads_are_counted, "I11"), (what_the_manager_is_told, "I11"), (starts_are_counted, "I11"),
    (link_cannot_configure_the_agent, "I4"), (one_that_reads_nothing_does_not_end_confd, "I14"),
    (nothing_survives_the_parent, "I9"), (killed_before_procd_knows, "I9"), (reload_reads_the_environment_again, "I14"),
    (interrupt_is_the_parents, "I9"), (the_terminal_is_not_theirs, "I5"), (a_fifo_for_a_log, "I14"), (an_agent_with_our_uid, "I15")]])
