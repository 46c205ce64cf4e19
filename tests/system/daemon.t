#!/usr/bin/python3
"""opampd as its operator meets it: options, foreground and background, where the log goes, reload, the end; with
opampctl's real answers.  As root and as an ordinary user.  The agent is sleep(1), of type generic.
"""
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from recorder import recorded

PROGRAMS = ["opampd", "opampctl"] + [f"opampd-{p}" for p in ("netd", "connect", "link", "confd", "merge", "procd")]
SETTINGS = """server:
  endpoint: ws://127.0.0.1:1/v1/opamp
agent:
  type: generic
  executable: /bin/sleep
  args: ["1000"]
  stop_timeout: 1s
  working_directory: {work}/agent
  log:
    directory: {work}/log
storage:
  directory: {work}/state
control:
  socket: {work}/run/control.sock
"""


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, name, detail=""):
        self.count += 1
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}", flush=True)
        if not good:
            self.failed += 1
            for line in str(detail).splitlines()[-60:]:
                print(f"# {line}", flush=True)
        return good


def wait(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Bed:
    """One directory with programs and settings; who: None (as we are) or a uid to become."""

    def __init__(self, who):
        root = os.geteuid() == 0
        self.who = who
        self.dir = tempfile.mkdtemp(prefix="opampd-daemon-", dir="/opt" if root else None)
        os.chmod(self.dir, 0o755)
        for name in PROGRAMS:
            shutil.copy(os.path.join(os.environ["O"], name), self.dir)
        self.work = os.path.join(self.dir, "work")
        os.mkdir(self.work, 0o755)
        if who is not None:
            os.chown(self.work, who, who)
        self.socket = os.path.join(self.work, "run/control.sock")
        self.settings = os.path.join(self.dir, "opampd.yaml")
        self.log = os.path.join(self.dir, "log")
        self.write(SETTINGS.format(work=self.work))
        self.daemon = None

    def write(self, text):
        with open(self.settings, "w", encoding="utf-8") as f:
            f.write(text)
        if self.who is not None:
            os.chown(self.settings, self.who, self.who)

    def become(self):
        if self.who is None:
            return []
        return ["setpriv", f"--reuid={self.who}", f"--regid={self.who}", "--clear-groups"]

    def run(self, *args, env=None, cwd=None, stdin=None):
        return subprocess.run(recorded([*self.become(), os.path.join(self.dir, "opampd"), *args]), capture_output=True, text=True,
                              timeout=60, check=False, env=env, cwd=cwd, stdin=stdin)

    def start(self, *args, **kw):
        with open(self.log, "w", encoding="utf-8") as log:
            self.daemon = subprocess.Popen(recorded([*self.become(), os.path.join(self.dir, "opampd"), "-d", *args]),
                                           stdout=subprocess.DEVNULL, stderr=log, **kw)
        return wait(lambda: self.running() is not None)

    def ctl(self, *args):
        return subprocess.run([*self.become(), os.path.join(self.dir, "opampctl"), "-s", self.socket, *args],
                              capture_output=True, text=True, timeout=60, check=False)

    def status(self):
        r = self.ctl("-j", "status")
        return json.loads(r.stdout) if r.returncode == 0 else None

    def running(self):
        s = self.status()
        return s["agent"].get("pid") if s is not None and s["agent"]["state"] == "running" else None

    def said(self):
        with open(self.log, encoding="utf-8") as f:
            return f.read()

    def stop(self):
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


def options(tap, bed, who):
    r = bed.run("-V")
    tap.ok(r.returncode == 0 and re.match(r"opampd \d", r.stdout), f"{who}: -V")
    r = bed.run("-h")
    tap.ok(r.returncode == 0 and "usage: opampd" in r.stdout and r.stderr == "", f"{who}: -h")
    r = bed.run("-x")
    tap.ok(r.returncode == 2 and "usage: opampd" in r.stderr, f"{who}: an unknown option: exit 2", r.stderr)
    r = bed.run("-n", "-f", bed.settings, "more")
    tap.ok(r.returncode == 2, f"{who}: an argument too many: exit 2", r.stderr)
    r = bed.run("-n", "-f", bed.settings)
    tap.ok(r.returncode == 0 and r.stderr == f"{bed.settings}: configuration OK\n", f"{who}: -n", r.stderr)
    tap.ok(not os.path.exists(os.path.join(bed.work, "state")), f"{who}: -n makes nothing")
    r = bed.run("-d", "-f", "/nonexistent.yaml")
    tap.ok(r.returncode == 1 and "/nonexistent.yaml" in r.stderr, f"{who}: no settings: exit 1", r.stderr)


def foreground(tap, bed, who):
    if not tap.ok(bed.start("-f", os.path.basename(bed.settings), cwd=bed.dir), f"{who}: the agent runs", bed.said()):
        return
    pid, agent = bed.daemon.pid, bed.running()
    tap.ok(re.search(r"(?m)^\d{4}-\d\d-\d\dT[\d:.]+Z info  opampd: opampd \S+ starts with ", bed.said()),
           f"{who}: -d logs to standard error, with time, level and process", bed.said())
    mode = os.stat(bed.socket).st_mode
    ordinary = bed.who is not None or os.getuid() != 0
    tap.ok(stat.S_IMODE(mode) == (0o600 if ordinary else 0o660), f"{who}: the control socket's mode", oct(mode))
    second = bed.run("-d", "-f", bed.settings)
    tap.ok(second.returncode == 1 and "in use by another opampd" in second.stderr and bed.running() == agent,
           f"{who}: a second opampd on the same storage is refused", second.stderr)
    r = bed.ctl("health")
    tap.ok(r.returncode == 0 and "healthy            yes" in r.stdout, f"{who}: opampctl health", r.stdout + r.stderr)
    r = bed.ctl("history")
    tap.ok(r.returncode == 0, f"{who}: opampctl history", r.stdout + r.stderr)
    r = bed.ctl("sandbox")
    tap.ok(r.returncode == 0 and "every process is as declared" in r.stdout, f"{who}: I5 opampctl sandbox", r.stdout + r.stderr)
    tap.ok(("not in force here" in r.stdout) == ordinary, f"{who}: what is not in force is listed", r.stdout)
    r = bed.ctl("restart")
    tap.ok(r.returncode == 0 and wait(lambda: bed.running() not in (None, agent)), f"{who}: opampctl restart",
           r.stderr + bed.said())
    reload(tap, bed, who, pid)
    processes = [int(p) for p in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True,
                                               check=False).stdout.split()]
    os.kill(pid, signal.SIGTERM)
    try:
        status = bed.daemon.wait(30)
    except subprocess.TimeoutExpired:
        status = None
    tap.ok(status == 0 and "opampd: ended" in bed.said(), f"{who}: SIGTERM: an orderly end, exit 0", f"{status}\n{bed.said()}")
    tap.ok(len(processes) >= 4 and not any(alive(p) for p in processes), f"{who}: nothing is left running", processes)
    r = bed.ctl("status")
    tap.ok(r.returncode == 3, f"{who}: opampctl status: not running, exit 3", r.stderr)


def reload(tap, bed, who, pid):
    agent = bed.running()
    good = SETTINGS.format(work=bed.work)
    bed.write(good.replace("type: generic", "type: generico"))
    r = bed.ctl("reload")
    tap.ok(r.returncode == 0 and wait(lambda: "the settings stay as they were" in bed.said())
           and 'agent.type: "generico" is none of' in bed.said(), f"{who}: a reload with a mistake names it", bed.said())
    tap.ok(bed.running() == agent and alive(pid), f"{who}: and leaves everything as it was")
    bed.write(good + "telemetry:\n  logs:\n    level: debug\n")
    os.kill(pid, signal.SIGHUP)
    tap.ok(wait(lambda: "the new settings are in force" in bed.said()), f"{who}: SIGHUP", bed.said())
    tap.ok(wait(lambda: bed.running() == agent) and alive(pid),
           f"{who}: the agent runs on while the processes are started anew", bed.said())
    tap.ok(wait(lambda: " debug " in bed.said()), f"{who}: and they say more", bed.said())
    bed.write(good.replace('["1000"]', '["1001"]'))
    bed.ctl("reload")
    tap.ok(wait(lambda: bed.running() not in (None, agent)), f"{who}: new arguments start the agent anew", bed.said())


def verbose(tap, bed, who):
    bed.write(SETTINGS.format(work=bed.work))
    bed.start("-v", "-f", bed.settings)
    tap.ok("CHILD_READY" in bed.said() and "CONFD_STATE_DIR" in bed.said(), f"{who}: -v traces messages by name", bed.said())
    agent = bed.running()
    bed.stop()
    tap.ok(wait(lambda: agent is not None and not alive(agent)), f"{who}: I9 killed, it takes the agent along")
    # a log of the journal's has no time, but a priority
    with open(bed.log, "w", encoding="utf-8") as log:
        st = os.fstat(log.fileno())
        env = {"JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino}", "PATH": os.environ["PATH"]}
        bed.daemon = subprocess.Popen([*bed.become(), os.path.join(bed.dir, "opampd"), "-d", "-f", bed.settings],
                                      stdout=subprocess.DEVNULL, stderr=log, env=env)
    tap.ok(wait(lambda: re.search(r"(?m)^<4>netd: ", bed.said())) and bed.said().startswith("<6>opampd: "),
           f"{who}: the journal gets priorities", bed.said())
    bed.stop()


def background(tap, bed, who):
    # where there is no syslog the log stays on standard error, so that is a file here
    with open(bed.log, "w", encoding="utf-8") as log:
        r = subprocess.run([*bed.become(), os.path.join(bed.dir, "opampd"), "-f", bed.settings], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=log, timeout=60, check=False)
    tap.ok(r.returncode == 0, f"{who}: without -d the command comes back", bed.said())
    ok = wait(lambda: bed.running() is not None)
    tap.ok(ok, f"{who}: and opampd runs on", bed.said())
    j = json.loads(bed.ctl("-j", "sandbox").stdout)
    pid, agent = j["parent"]["pid"], bed.running()
    # only root may look at its descriptors and its directory
    looked = os.getuid() != 0 or (os.readlink(f"/proc/{pid}/cwd") == "/" and
                                  [os.readlink(f"/proc/{pid}/fd/{n}") for n in (0, 1)] == ["/dev/null"] * 2)
    tap.ok(os.getsid(pid) == pid and looked, f"{who}: a session of its own, no terminal, no directory")
    bed.write("server: {}\n")
    r = bed.run("-f", bed.settings)
    tap.ok(r.returncode == 1 and "server.endpoint is missing" in r.stderr, f"{who}: a mistake is told before that", r.stderr)
    os.kill(pid, signal.SIGTERM)
    tap.ok(wait(lambda: not alive(pid) and not alive(agent), 30), f"{who}: SIGTERM ends it")
    bed.write(SETTINGS.format(work=bed.work))


def modes(tap, bed, who):
    """Whom a directory belongs to can set its mode: the agent its own, confd the storage.  That must not keep
    opampd from its next start, nor from a reload."""
    bed.write(SETTINGS.format(work=bed.work))
    for name, mode in (("agent", 0o777), ("agent", 0), ("state", 0o770), ("state", 0)):
        path = os.path.join(bed.work, name)
        os.chmod(path, mode)
        good = bed.start("-f", bed.settings)
        now = stat.S_IMODE(os.stat(path).st_mode)
        told = mode == 0 or "others could write there" in bed.said()
        tap.ok(good and told and now & 0o722 == 0o700, f"{who}: I14 {name} with mode {mode:03o}: set right, told, and it starts",
               f"{now:o}\n" + bed.said())
        if good and name == "agent" and mode:
            os.chmod(path, mode)
            bed.ctl("reload")
            tap.ok(wait(lambda: "the new settings are in force" in bed.said()), f"{who}: I14 and a reload goes through", bed.said())
        bed.stop()
    log = os.path.join(bed.work, "log")  # where nobody but who started it could have set it
    os.chmod(log, 0o777)
    r = bed.run("-d", "-f", bed.settings)
    tap.ok(r.returncode == 1 and "writable by nobody else" in r.stderr, f"{who}: a log directory for everybody is refused", r.stderr)
    os.chmod(log, 0o750)
    if os.getuid() == 0:  # another user's storage, which an ordinary user may not even open
        state = os.path.join(bed.work, "state")
        st = os.stat(state)
        os.chown(state, 1, 1)
        os.chmod(state, 0o700)
        for options in (["-n"], ["-d"]):
            r = bed.run(*options, "-f", bed.settings)
            tap.ok(r.returncode == 1 and f"{state} belongs to user 1 with mode 700, and must belong to user {st.st_uid}" in r.stderr,
                   f"{who}: the storage is another user's: {options[0]} names owner and remedy", r.stderr)
        os.chown(state, st.st_uid, st.st_gid)


def syslog(tap, bed):
    """In a mount namespace of our own with a /dev that has a log socket."""
    dev = os.path.join(bed.dir, "dev")
    os.mkdir(dev)
    for name in ("null", "zero", "full", "random", "urandom"):
        st = os.stat(f"/dev/{name}")
        os.mknod(os.path.join(dev, name), 0o666 | stat.S_IFCHR, st.st_rdev)
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(os.path.join(dev, "log"))
    os.chmod(os.path.join(dev, "log"), 0o666)
    lines = []
    threading.Thread(target=lambda: [lines.append(s.recv(16384)) for _ in iter(int, 1)], daemon=True).start()
    r = subprocess.run(["unshare", "-m", "sh", "-c", 'mount --bind "$1" /dev && exec "$2" -f "$3"', "sh", dev,
                        os.path.join(bed.dir, "opampd"), bed.settings], capture_output=True, text=True, timeout=60, check=False)
    if r.returncode != 0 and ("unshare" in r.stderr or "mount" in r.stderr):
        tap.ok(True, "syslog # SKIP no mount namespace to be had")
        return
    wait(lambda: bed.running() is not None)
    tap.ok(wait(lambda: any(re.match(rb"<30>opampd\[\d+\]: opampd: opampd \S+ starts with ", x) for x in lines)),
           "in the background the log goes to syslog", lines + [r.stderr])
    tap.ok(wait(lambda: any(re.match(rb"<28>opampd\[\d+\]: netd: ", x) for x in lines)) and r.stderr == "",
           "of the children too", lines)
    pid = json.loads(bed.ctl("-j", "sandbox").stdout)["parent"]["pid"]
    os.kill(pid, signal.SIGTERM)
    wait(lambda: not alive(pid), 30)


def main():
    tap = Tap()
    root = os.geteuid() == 0
    if root:
        subprocess.run(["make", "-s", "users"], check=True, stdout=sys.stderr)
    for who, uid in ([("root", None), ("ordinary user", 65533)] if root else [("ordinary user", None)]):
        bed = Bed(uid)
        try:
            for part in (options, foreground, verbose, background, modes):
                part(tap, bed, who)
            if root and uid is None:
                syslog(tap, bed)
        finally:
            bed.close()
    print(f"1..{tap.count}")
    return tap.failed != 0


sys.exit(main())
