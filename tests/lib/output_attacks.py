"""What an agent may print, and what its health endpoint may answer: a program that does what the test says, and an endpoint
made by hand."""
import os
import re
import socket
import threading
import time

from peer_stage import Stage
from peers import MIB, USUAL, Served, within
from server_attacks import Attack, answers, endless
from tap import same, until

LOG_SIZE, LOG_FILES = 8 * MIB, 2
PUPPET = """import os, socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))).makefile("rwb") as f:
    for line in f:
        exec(line.decode())
        f.write(b"done\\n")
        f.flush()
"""
FLOOD = 100 * MIB


class Puppet(Stage):
    """The agent is Python, and hears from us what to print."""

    def __init__(self, user, name="output", more=None):
        super().__init__(user, name, self.settings)
        self.more = more or {}
        self.said = 0

    def settings(self, bed):
        bed.agent = os.path.realpath("/usr/bin/python3")
        script = bed.write("puppet.py", PUPPET)
        self.strings = socket.create_server(("127.0.0.1", 0))
        self.strings.settimeout(20)
        return {"agent": {"type": "generic", "args": [script, str(self.strings.getsockname()[1])],
                          "log": {"directory": bed.path("var", "log"), "max_size": LOG_SIZE, "max_files": LOG_FILES}, **self.more}}

    def open(self):
        if self.bed is None:
            super().open()
            sock = self.strings.accept()[0]
            sock.settimeout(120)
            self.stream = sock.makefile("rwb")

    def tell(self, code):
        self.stream.write(code.encode() + b"\n")
        self.stream.flush()

    def obeyed(self):
        same(self.stream.readline(), b"done\n", "the puppet")

    def logs(self):
        directory = self.bed.path("var", "log")
        return [os.path.join(directory, name) for name in os.listdir(directory)]

    @staticmethod
    def read(path):
        try:
            with open(path, "rb") as f:
                return f.read()
        except FileNotFoundError:  # rotated away
            return b""

    def prints(self, name, code, memory=USUAL):
        self.open()
        pids, agent = self.pids(), self.daemon.agent()
        self.watch.begin()
        self.tell(code)
        self.alive.check(name)
        since = self.server.mark()
        self.server.full_state()
        self.server.wait(lambda m: m.HasField("agent_description"), 10, "the server is served", since)
        self.obeyed()
        self.said += 1
        mark = f"still here {self.said}"

        def logged():  # said until it is there: what comes while a new file is waited for may be lost
            self.tell(f"os.write(1, b'\\n{mark}\\n')")
            self.obeyed()
            time.sleep(0.05)
            return any(mark.encode() in self.read(path) for path in self.logs())
        until(logged, 60, f"{mark!r} in agent.log")
        cost = self.watch.cost()
        size = sum(len(self.read(path)) for path in self.logs())
        self.table.add("agent's output", name, "agent.log bounded and clean", f"{size / MIB:.1f} MiB of logs", cost)
        assert size <= (LOG_FILES + 1) * 2 * LOG_SIZE, f"agent.log takes {size}"
        for path in self.logs():
            data = self.read(path)
            data.decode("utf-8")
            assert not re.search(rb"[\0-\x08\x0b-\x1f\x7f]", data), f"control characters in {path}"
        within(cost, memory)
        same(self.pids(), pids, "our processes")
        same(self.daemon.agent(), agent, "the agent's pid")

    def end(self):
        self.open()
        same(self.daemon.stop(40), 0, "exit status")
        self.close()


OUTPUT = [
    ("an endless line of 100 MB", f"[os.write(1, b'x' * 65536) for _ in range({FLOOD // 65536})]"),
    ("100 MB of short lines", f"[os.write(1, b'a short line of output\\n' * 2800) for _ in range({FLOOD // 64400})]"),
    ("100 MB on both streams", f"[os.write(1 + i % 2, b'line on either stream\\n' * 2900) for i in range({FLOOD // 64400})]"),
    ("20 MB of line ends", "[os.write(1, b'\\n' * 65536) for _ in range(320)]"),
    ("20 MB of NULs", "[os.write(1, b'\\0' * 65536) for _ in range(320)]"),
    ("escapes, C1, bidi, a BEL", "[os.write(2, b'\\x1b[2J\\x1b]0;owned\\x07\\x9b31m\\xc2\\x9b31m\\xe2\\x80\\xae\\x7f\\r\\n') for _ in range(5000)]"),
    ("invalid UTF-8", "[os.write(1, b'\\xff\\xfe\\xc0\\xaf\\xed\\xa0\\x80\\xf5\\n' * 1000) for _ in range(50)]"),
    ("random bytes", "[os.write(1, os.urandom(65536)) for _ in range(100)]"),
    ("one byte at a time", "[os.write(1, b'y') for _ in range(20000)]"),
    ("objects nested deep", "[os.write(1, b'{\"level\":\"info\",\"msg\":' + b'[{\"a\":' * 2000 + b'\\n') for _ in range(500)]"),
    ("half strings with escapes", "[os.write(1, b'{\"level\":\"info\",\"msg\":\"' + b'\\\\' * 15999 + b'\\n') for _ in range(500)]"),
]


# ---- the health endpoint


class Endpoint:
    """Answers each question by its act; "well" until it is told otherwise."""

    def __init__(self):
        self.act = self.well = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.seen = None
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                sock = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.one, args=(sock, self.act), daemon=True).start()

    def one(self, sock, act):
        with sock:
            seen = act(Served(sock))
            if act is self.act:
                self.seen = seen


def silence(p):
    while p.more():
        p.data = b""
    return p.broke


def trickle(p):
    p.request()
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500:
        time.sleep(0.05)
        if not p.send(bytes([byte])):
            break
    return p.broke


def reset(p):
    p.reset()
    return "reset by us"


# what it says of health; None: the answer counts, and what comes behind it does no harm
PROBES = [
    Attack("never a byte", silence, "end|reset", "did not answer within"),
    Attack("a reset", reset, "reset by us", "broke the connection|without an answer"),
    Attack("an answer byte by byte", trickle, ".*", "did not answer within"),
    Attack("garbage", answers(b"\xff" * 4096), ".*", "does not begin with HTTP"),
    Attack("headers without end", endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000), "not read to its end", "(?i)head|32 KiB|100 headers"),
    Attack("one line without end", endless(b"HTTP/1.1 200 ", b"y" * 8000), "not read to its end", "(?i)8 KiB|32 KiB"),
    Attack("100 Continue without end", endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 300), "not read to its end", "answered 100"),
    Attack("a body without end", endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536), "not read to its end", None),
    Attack("a redirection to somewhere else", answers(b"HTTP/1.1 302 Go\r\nLocation: http://192.0.2.1/\r\n\r\n"), ".*", "answered 302"),
    Attack("Content-Length twice", answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"), ".*", "two Content-Length"),
    Attack("a chunked lie", answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx"), ".*", None),
    Attack("TLS", answers(b"\x15\x03\x03\x00\x02\x02\x28"), ".*", "does not begin with HTTP"),
    Attack("status 999", answers(b"HTTP/1.1 999 What\r\n\r\n"), ".*", "none of HTTP's"),
]


class Probed(Puppet):
    """The same agent, and a health endpoint."""

    def __init__(self, user):
        self.endpoint = Endpoint()
        super().__init__(user, "health", {"health": {"endpoint": f"http://127.0.0.1:{self.endpoint.port}/", "interval": "200ms", "timeout": "500ms"}})

    def attack(self, row, offer=False):
        self.open()
        pids, agent = self.pids(), self.daemon.agent()
        self.watch.begin()
        self.endpoint.seen = None
        self.endpoint.act = row.act
        if row.why is not None:
            try:
                until(lambda: re.search(row.why, self.alive.check(row.name)), 10, f"opampctl status to say {row.why!r}")
            except AssertionError as e:
                raise AssertionError(f"{e}; it says: {self.alive.ask()[1]}") from None
        until(lambda: self.endpoint.seen is not None, 30, "the attack's end")
        seen = self.endpoint.seen
        since = self.server.mark()
        self.server.full_state()
        self.server.wait(lambda m: m.HasField("agent_description"), 10, "the server is served", since)
        self.endpoint.act = self.endpoint.well
        until(lambda: "endpoint error" not in self.alive.check(row.name), 10, "it is well again")
        cost = self.watch.cost()
        self.table.add("health endpoint", row.name, row.why or "the answer counts", seen, cost)
        assert re.fullmatch(row.sees, str(seen)), f"the endpoint saw {seen!r}, not {row.sees!r}"
        within(cost, USUAL)
        same(self.pids(), pids, "our processes")
        same(self.daemon.agent(), agent, "the agent's pid")


def tests(quick=False):
    puppet, probed = Puppet("root"), Probed("root")
    made = [(f"output: {name}", lambda n=name, c=code: puppet.prints(n, c)) for name, code in OUTPUT if not quick]
    made.append(("output: an orderly end", puppet.end))
    made += [(f"health endpoint: {row.name}", lambda r=row: probed.attack(r)) for row in PROBES]
    made.append(("health endpoint: an orderly end", probed.end))
    return made

