#!/usr/bin/python3
"""opampctl against a scripted daemon: what it shows, its exit statuses, and what it makes of hostile answers.

The daemon's side of privsep/control_proto.h is played by this program, so every answer can be had.
"""
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAGIC, RECORD = 0x4F504D43, 0x4F504D31
OK, FAILED, DENIED, UNKNOWN, MISSING, BUSY = 1, 2, 3, 4, 5, 6


def enum(name):
    """The numbers of an enum of control_proto.h, so that this test cannot drift from it."""
    with open(os.path.join(REPO, "privsep/control_proto.h"), encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    body = re.search(r"enum %s \{(.*?)\}" % name, text, re.S).group(1)
    return {k: i for i, k in enumerate(re.findall(r"\w+", body))}


CK, VERB = enum("control_key"), enum("control_verb")


def record(*entries):
    out = struct.pack("=II", RECORD, len(entries))
    for key, value in entries:
        if isinstance(value, bool) or isinstance(value, int):
            value = struct.pack("=Q", int(value))
        elif isinstance(value, str):
            value = value.encode()
        out += struct.pack("=HHII", CK[key], 0, 0, len(value)) + value
    return out


class Daemon:
    """Answers from a table verb -> (result, body) or a function of the request; or sends raw messages."""

    def __init__(self, path):
        self.path, self.answers, self.asked = path, {}, []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(path)
        self.socket.listen(16)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                c, _ = self.socket.accept()
            except OSError:
                return
            with c:
                try:
                    self.one(c)
                except OSError:
                    pass

    def one(self, c):
        rq = c.recv(4096)
        if len(rq) != 24:
            return
        magic, version, verb, argument, _, number = struct.unpack("=IHHIIQ", rq)
        self.asked.append((verb, argument, number))
        a = self.answers.get(verb, (UNKNOWN, b"what?"))
        if callable(a):
            a = a(argument, number)
        if isinstance(a, list):
            for message in a:
                c.send(message)
            return
        result, body = a
        c.send(struct.pack("=IHHIIQ", magic, version, verb, result, 0, len(body)))
        for i in range(0, len(body), 16384):
            c.send(body[i:i + 16384])


def sanitized(program):
    with open(program, "rb") as f:
        return b"__asan_init" in f.read()


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, name, detail=""):
        self.count += 1
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}", flush=True)
        if not good:
            self.failed += 1
            for line in str(detail).splitlines():
                print(f"# {line}", flush=True)


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def component(healthy, status="", error="", **below):
    out = field(1, int(healthy)) + field(3, error.encode()) + field(4, status.encode())
    for name, c in below.items():
        out += field(6, field(1, name.encode()) + field(2, c))
    return out


STATUS = [
    ("CK_VERSION", "0.1.0"), ("CK_PID", 1), ("CK_INSTANCE_UID", bytes(range(16))), ("CK_OWNER_UID", 0),
    ("CK_STORAGE", "/var/lib/opampd"), ("CK_AGENT_TYPE", "collector"), ("CK_AGENT_STATE", 5),
    ("CK_AGENT_PID", 4711), ("CK_AGENT_STARTED", 1_700_000_000_000_000_000), ("CK_AGENT_RESTARTS", 2),
    ("CK_AGENT_EXIT", 2), ("CK_AGENT_EXIT_VALUE", 11), ("CK_AGENT_OUTPUT", "panic: one\n\x1b[31mtwo"),
    ("CK_SERVER_EVENT", 3), ("CK_SERVER_ENDPOINT", "wss://hub.example/v1/opamp"), ("CK_SERVER_TEXT", "connection refused"), ("CK_SERVER_NEXT_MS", 90_000),
    ("CK_RUNNING", 17), ("CK_COMMITTED", 17), ("CK_CONFIG_STATUS", 3),
    ("CK_CONFIG_HASH", b"\xab\xcd"), ("CK_CONFIG_MESSAGE", "bad \u202e component"), ("CK_HEALTHY", 1),
    ("CK_HEALTH_STATUS", "StatusOK"), ("CK_HEALTH_LINK", 1),
]
HISTORY = [("CK_COMMITTED", 17), ("CK_RUNNING", 17)]
for n, outcome, message in ((15, 1, ""), (16, 2, "Error: unknown type\nmore"), (17, 1, "")):
    HISTORY += [("CK_ROW", n), ("CK_GENERATION", n), ("CK_SOURCE", 2), ("CK_OUTCOME", outcome),
                ("CK_MADE", 1_700_000_000_000_000_000 + n), ("CK_CONFIG_HASH", bytes(8)),
                ("CK_CONFIG_MESSAGE", message)]
TEXTS = {0: "a: 1\nb: 3\n", 15: "a: 1\nb: 2\n", 17: "a: 1\nb: 3\n"}


class Test:
    def __init__(self, tap, ctl, work):
        self.tap, self.ctl, self.work = tap, ctl, work
        self.path = os.path.join(work, "control.sock")
        self.daemon = None

    def run(self, *args, **kw):
        env = {"OPAMPD_SOCKET": self.path, "PATH": os.environ["PATH"]}
        return subprocess.run([self.ctl, *args], capture_output=True, text=True, timeout=60, check=False, env=env, **kw)

    def expect(self, args, status, *texts, name=None, err=False):
        r = self.run(*args)
        said = r.stderr if err else r.stdout
        good = r.returncode == status and all(t in said for t in texts)
        self.tap.ok(good, name or f"opampctl {' '.join(args)}: exit {status}",
                    f"exit {r.returncode}\n{r.stdout}\n{r.stderr}")
        return r

    def not_there(self):
        self.expect(["status"], 3, "opampd is not running", self.path, "start it", err=True)
        self.expect(["version"], 0, "not running", name="version answers without a daemon")
        self.expect(["-s", "/nonexistent/s", "status"], 3, "/nonexistent/s", err=True)
        self.expect(["-s", "/" + "x" * 200, "status"], 2, "at most 107 bytes", err=True)
        stale = os.path.join(self.work, "stale")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.bind(stale)
        self.expect(["-s", stale, "status"], 3, "nobody listens", err=True, name="a stale socket: exit 3")

    def usage(self):
        self.expect([], 2, "usage: opampctl", err=True)
        self.expect(["frobnicate"], 2, "no such command", err=True)
        self.expect(["config", "everything"], 2, "effective [number]", err=True)
        self.expect(["config", "effective", "x"], 2, "see opampctl history", err=True)
        self.expect(["log", "-n", "-1"], 2, "a number of lines", err=True)
        self.expect(["status", "too", "many"], 2, "usage: opampctl", err=True)
        self.expect(["sandbox", "nobody"], 2, "belongs there", err=True)
        self.expect(["-V"], 0, "opampctl ")
        self.expect(["-h"], 0, "restart", "sandbox")

    def status(self):
        self.daemon.answers[VERB["CONTROL_STATUS"]] = (OK, record(*STATUS))
        r = self.expect(["status"], 0, "00010203-0405-0607-0809-0a0b0c0d0e0f", "4711", "signal 11", "FAILED", "abcd",
                        "not connected", "wss://hub.example/v1/opamp", "connection refused", "1 min 30 s", "StatusOK")
        self.tap.ok("\x1b" not in r.stdout and "\u202e" not in r.stdout and "\\x1b[31mtwo" in r.stdout,
                    "I12 foreign text cannot steer the terminal", r.stdout)
        r = self.run("-j", "status")
        j = json.loads(r.stdout)
        self.tap.ok(r.returncode == 0 and r.stdout.isascii() and j["agent"]["pid"] == 4711
                    and j["health"]["healthy"] is True and j["agent"]["last_words"] == "panic: one\n\x1b[31mtwo"
                    and j["configuration"]["remote_status"] == "FAILED", "JSON has the same, in ASCII", r.stdout)
        self.expect(["sta"], 0, "4711", name="a beginning that only one command has is enough")
        self.expect(["re"], 2, "no such command", name="one that two have is not", err=True)
        self.expect(["version"], 0, "opampd")

    def health(self):
        tree = component(False, "", "x", pipeline=component(
            False, "StatusRecoverableError", "backend \x1b]0;away", exporter=component(True, "StatusOK")))
        self.daemon.answers[VERB["CONTROL_HEALTH"]] = (OK, record(
            ("CK_HEALTHY", 0), ("CK_HEALTH_ERROR", "pipeline is ill"), ("CK_HEALTH_TREE", tree)))
        r = self.expect(["health"], 5, "pipeline is ill", "pipeline/exporter", "StatusRecoverableError", "\\x1b]0;away")
        self.tap.ok("\x1b" not in r.stdout, "health: foreign text is escaped", r.stdout)
        r = self.run("-j", "health")
        self.tap.ok(r.returncode == 5 and json.loads(r.stdout)["components"][1]["component"] == "pipeline/exporter",
                    "health in JSON", r.stdout)
        self.daemon.answers[VERB["CONTROL_HEALTH"]] = (OK, record(("CK_HEALTHY", 1), ("CK_HEALTH_TREE", b"\xff\xff")))
        self.expect(["health"], 0, "damaged", name="health: a damaged tree is told", err=True)
        deep = component(True)
        for _ in range(100):
            deep = component(True, x=deep)
        self.daemon.answers[VERB["CONTROL_HEALTH"]] = (OK, record(("CK_HEALTHY", 1), ("CK_HEALTH_TREE", deep)))
        self.expect(["health"], 0, "nested more than", name="I11 health: a tree too deep is cut", err=True)

    def config(self):
        def text(argument, number):
            if argument == 2:
                return (OK, record()) if self.remote is None else (OK, record(("CK_OFFER", self.remote)))
            if number not in TEXTS:
                return (MISSING, f"there is no generation {number}".encode())
            return (OK, record(("CK_TEXT", TEXTS[number])))

        self.remote = None
        self.daemon.answers[VERB["CONTROL_CONFIG"]] = text
        self.daemon.answers[VERB["CONTROL_HISTORY"]] = (OK, record(*HISTORY))
        r = self.expect(["config"], 0)
        self.tap.ok(r.stdout == TEXTS[0], "config: exactly the file's bytes", r.stdout)
        self.expect(["config", "effective", "15"], 0, "b: 2")
        self.expect(["config", "effective", "99"], 1, "there is no generation 99", err=True)
        r = self.expect(["config", "diff"], 0, "--- generation 15", "+++ generation 17", "-b: 2\n+b: 3\n")
        self.expect(["config", "diff", "17"], 0, "are the same")
        r = self.run("-j", "config", "diff")
        self.tap.ok("-b: 2" in json.loads(r.stdout)["diff"], "diff in JSON", r.stdout)
        self.expect(["config", "remote"], 1, "has sent no configuration", err=True)
        self.expect(["config", "remote", "15"], 1, "generation 15 was made without one of the server's", err=True)
        self.expect(["h"], 2, "or the beginning of several", err=True)
        self.remote = b"no offer"
        self.expect(["config", "remote"], 1, name="a damaged offer: exit 1")
        r = self.expect(["history"], 0, "GENERATION", "running", "failed", "Error: unknown type ...")
        r = self.run("-j", "history")
        rows = json.loads(r.stdout)["generations"]
        self.tap.ok([g["generation"] for g in rows] == [15, 16, 17] and rows[1]["error"].endswith("\nmore")
                    and rows[2]["now"] == "running", "history in JSON", r.stdout)
        self.daemon.asked.clear()
        self.expect(["history", "-n", "0"], 2, "a number from 1", err=True)
        self.expect(["history", "-n", "2"], 0)
        self.tap.ok(self.daemon.asked == [(VERB["CONTROL_HISTORY"], 0, 2)], "history -n asks for so many")
        big = "x" * 79 + "\n"
        TEXTS[0] = big * 60000
        r = self.run("config")
        self.tap.ok(r.stdout == TEXTS[0], "a configuration of 4.8 MB comes whole")

    def acting(self):
        for verb in ("restart", "reload"):
            self.daemon.answers[VERB[f"CONTROL_{verb.upper()}"]] = (OK, record())
            self.expect([verb], 0, "opampd" if verb == "reload" else "agent")
            self.tap.ok(json.loads(self.run("-j", verb).stdout) == {"asked": True}, f"{verb} in JSON")
            self.daemon.answers[VERB[f"CONTROL_{verb.upper()}"]] = (DENIED, b"only opampd-admin may")
            self.expect([verb], 4, "only opampd-admin may", err=True)
            self.daemon.answers[VERB[f"CONTROL_{verb.upper()}"]] = (BUSY, b"later")
            self.expect([verb], 1, "later", err=True)

    def permission(self):
        if os.geteuid() != 0:
            return
        os.chmod(self.path, 0o660)
        os.chown(self.path, 0, 4)
        r = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", self.ctl, "-s", self.path, "status"],
                           capture_output=True, text=True, timeout=60, check=False)
        self.tap.ok(r.returncode == 4 and "group adm" in r.stderr and "usermod -aG adm" in r.stderr,
                    "a stranger is told which group may: exit 4", r.stderr)

    def hostile(self):
        head = struct.pack("=IHHIIQ", MAGIC, 1, 1, OK, 0, 1 << 40)
        good = record(*STATUS)
        cases = {
            "nothing": [], "empty": [b""], "short": [b"x"], "long": [bytes(10000)],
            "wrong magic": [struct.pack("=IHHIIQ", 1, 1, 1, OK, 0, 0)], "a terabyte": [head],
            "an end in the middle": [struct.pack("=IHHIIQ", MAGIC, 1, 1, OK, 0, 100), b"half"],
            "more than announced": [struct.pack("=IHHIIQ", MAGIC, 1, 1, OK, 0, 8), bytes(5000)],
            "no record": [struct.pack("=IHHIIQ", MAGIC, 1, 1, OK, 0, 8), bytes(8)],
            "a cut record": [struct.pack("=IHHIIQ", MAGIC, 1, 1, OK, 0, len(good) - 3), good[:-3]],
            "a result that is none": [struct.pack("=IHHIIQ", MAGIC, 1, 1, 77, 0, 2), b"\x1b["],
        }
        for name, messages in cases.items():
            self.daemon.answers[VERB["CONTROL_STATUS"]] = messages
            r = self.run("status")
            self.tap.ok(r.returncode == 1 and r.stderr.startswith("opampctl: ") and "\x1b" not in r.stderr,
                        f"hostile answer: {name}", f"{r.returncode} {r.stderr}")

    def log(self):
        path = os.path.join(self.work, "agent.log")
        self.daemon.answers[VERB["CONTROL_STATUS"]] = (OK, record(("CK_LOG_PATH", path)))
        self.expect(["log"], 1, path, err=True, name="log: no file yet")
        with open(path, "w", encoding="utf-8") as f:
            f.write("".join(f"line {i}\n" for i in range(1, 101)))
            f.write("steer \x1b[2J back\\slash")
        r = self.expect(["log", "-n", "3"], 0)
        self.tap.ok(r.stdout == "line 99\nline 100\nsteer \\x1b[2J back\\slash\n", "log -n 3: the last three, escaped", r.stdout)
        self.tap.ok(self.run("log").stdout.count("\n") == 20, "log: twenty lines")
        self.tap.ok(self.run("log", "-n", "1000").stdout.count("\n") == 101, "log -n 1000: all there is")
        self.tap.ok(self.run("log", "-n", "0").stdout == "", "log -n 0: nothing")
        r = self.run("-j", "log", "-n", "2")
        self.tap.ok([json.loads(x)["line"] for x in r.stdout.splitlines()] == ["line 100", "steer \x1b[2J back\\slash"],
                    "log in JSON: one object a line", r.stdout)
        self.follow(path)

    def follow(self, path):
        os.unlink(path)
        with open(path, "w", encoding="utf-8") as f:
            f.write("old\n")
        p = subprocess.Popen([self.ctl, "-s", self.path, "log", "-f", "-n", "1"], stdout=subprocess.PIPE, text=True)
        seen = []
        reader = threading.Thread(target=lambda: seen.extend(iter(p.stdout.readline, "")), daemon=True)
        reader.start()

        def wait(line):
            end = time.monotonic() + 20
            while time.monotonic() < end and line + "\n" not in seen:
                time.sleep(0.01)
            return line + "\n" in seen

        def write(text):
            with open(path, "a", encoding="utf-8") as f:
                f.write(text)

        def rotate():
            for i in (2, 1):
                if os.path.exists(f"{path}.{i}"):
                    os.rename(f"{path}.{i}", f"{path}.{i + 1}")
            os.rename(path, f"{path}.1")

        self.tap.ok(wait("old"), "log -f begins with the last lines")
        with open(f"/proc/{p.pid}/status", encoding="ascii") as f:
            status = f.read()
        self.tap.ok("NoNewPrivs:\t1" in status and ("Seccomp:\t2" in status or sanitized(self.ctl)), "opampctl restricts itself first", status)
        write("ha")
        write("lf\nnext\n")
        self.tap.ok(wait("next"), "log -f follows")
        write("before\n")
        rotate()
        write("after\n")
        self.tap.ok(wait("after"), "log -f goes on through a rotation")
        os.kill(p.pid, 19)  # stopped while the log is rotated twice
        write("one\n")
        rotate()
        write("two\n")
        rotate()
        write("three\n")
        os.kill(p.pid, 18)
        wait("three")
        self.tap.ok(seen == [x + "\n" for x in ("old", "half", "next", "before", "after", "one", "two", "three")],
                    "log -f loses nothing in two rotations at once", seen)
        p.kill()
        p.wait()
        reader.join(5)

    def sandbox(self):
        """A child of ours without any sandbox stands in for netd: every difference must be marked."""
        p = subprocess.Popen(["sleep", "1000"])
        rows = [("CK_PID", p.pid), ("CK_OWNER_UID", 0), ("CK_AGENT_SANDBOX", "standard"),
                ("CK_ROW", 1), ("CK_PROC", 2), ("CK_PROC_PID", p.pid)]
        self.daemon.answers[VERB["CONTROL_CHILDREN"]] = (OK, record(*rows))
        r = self.expect(["sandbox"], 5, "netd", "confd", "parent", "DIFFERS", "not every process is as declared")
        r = self.run("-j", "sandbox")
        j = json.loads(r.stdout)
        checks = {x["aspect"]: x for x in j["netd"]["checks"]}
        self.tap.ok(r.returncode == 5 and all(checks[a]["verdict"] == "DIFFERS" for a in ("seccomp", "no_new_privs", "user")
                    if os.geteuid() == 0 or a != "user"), "sandbox in JSON marks what is missing", r.stdout)
        self.expect(["sandbox", "netd"], 5, "recvmsg", "argument 2 &", name="sandbox netd shows its calls")
        rows[1] = ("CK_OWNER_UID", 1000)
        self.daemon.answers[VERB["CONTROL_CHILDREN"]] = (OK, record(*rows))
        self.expect(["sandbox"], 5, "not in force here", "I15", name="an ordinary user's start: invariants are named")
        p.kill()
        p.wait()
        self.daemon.answers[VERB["CONTROL_CHILDREN"]] = (OK, record(("CK_PID", p.pid)))
        self.expect(["sandbox"], 5, "No such file", name="a process that is gone is told")

    def completion(self):
        r = self.run("completion")
        script = r.stdout + "\nCOMP_WORDS=(opampctl -j con); COMP_CWORD=2; _opampctl; echo ${COMPREPLY[*]}" \
            "\nCOMP_WORDS=(opampctl config d); COMP_CWORD=2; _opampctl; echo ${COMPREPLY[*]}" \
            "\nCOMP_WORDS=(opampctl log -); COMP_CWORD=2; _opampctl; echo ${COMPREPLY[*]}"
        out = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        self.tap.ok(out.stdout == "config\ndiff\n-j -s -f -n\n", "bash completes commands, words and options",
                    out.stdout + out.stderr)


def main():
    tap = Tap()
    work = tempfile.mkdtemp(prefix="opampctl-test-")
    os.chmod(work, 0o755)
    try:
        ctl = shutil.copy(os.path.join(os.environ["O"], "opampctl"), work)
        t = Test(tap, ctl, work)
        t.not_there()
        t.usage()
        t.daemon = Daemon(t.path)
        for part in (t.status, t.health, t.config, t.acting, t.permission, t.log, t.sandbox, t.hostile, t.completion):
            part()
    finally:
        shutil.rmtree(work)
    print(f"1..{tap.count}")
    return tap.failed != 0


sys.exit(main())
