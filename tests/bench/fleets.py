"""Servers with thousands of agents, for hub.py: the agents (tests/bench/fleet.c), opamphub and the least server on
the reference library as the bench sees them, and who looks at the page meanwhile."""
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time

from hub_bed import BUILD, Hub
from measure import rollup
from refserver import RefServer
from tap import until

FLEET = os.path.join(BUILD, "bench", "fleet")
HEARTBEAT, EFFECTIVE = 30, 2048  # seconds, bytes


class Fleet:
    """with Fleet(port, agents) as f: ..."""

    def __init__(self, port, agents):
        self.agents = agents
        self.begun = time.time()
        self.process = subprocess.Popen([FLEET, "127.0.0.1", str(port), str(agents), str(HEARTBEAT), str(EFFECTIVE)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.events, self.changed = [], threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.events.append(json.loads(line))
                self.changed.notify_all()

    def wait(self, kind, since=0, seconds=120):
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                lost = [e for e in self.events if e["event"] == "lost"]
                if lost:
                    raise AssertionError(f"{len(lost)} connections were lost: {lost[0]}")
                for e in self.events[since:]:
                    if e["event"] == kind:
                        return e
                if not self.changed.wait(max(0, end - time.monotonic())) and time.monotonic() >= end:
                    raise AssertionError(f"after {seconds} s not all agents: {kind}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(20)
        self.reader.join(10)
        self.process.stdout.close()


class Watcher(threading.Thread):
    """Asks the page's server for the same thing each 50 ms, late or not: `took` has for each request when it was due, and how long
    after that its answer was there, in ms."""
    EVERY = 0.05

    def __init__(self, port, path, offset):
        super().__init__(daemon=True)
        self.request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.took, self.fault, self.offset, self.over = [], None, offset, threading.Event()
        self.last = b""

    def answer(self):
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(1 << 20)
            if not more:
                raise AssertionError("the page's server closed the connection")
            data += more
        head, data = data.split(b"\r\n\r\n", 1)
        if b" 200 " not in head[:16]:
            raise AssertionError(f"the page's server answered {head[:60]} {data[:200]}")
        parts, length = [data], int(head.lower().split(b"content-length:")[1].split()[0]) - len(data)
        while length > 0:
            more = self.socket.recv(1 << 20)
            if not more:
                raise AssertionError("the page's server closed the connection")
            length -= len(more)
            parts.append(more)
        self.last = b"".join(parts)

    def run(self):
        due = time.monotonic() + self.offset
        try:
            while not self.over.wait(max(0, due - time.monotonic())):
                self.socket.sendall(self.request)
                self.answer()
                self.took.append((due, (time.monotonic() - due) * 1000))
                due += self.EVERY
        except (OSError, AssertionError) as e:
            self.fault = e
        self.socket.close()

    def end(self):
        self.over.set()
        self.join(30)
        if self.fault is not None:
            raise AssertionError(f"the page: {self.fault}")
        return [ms for _, ms in self.took]


LIST = "/api/v1/agents?sort=name&order=asc&offset=0&limit=100"
FILTERED = LIST + "&search=web0123&healthy=true&connected=true"


def pss(pids):
    """kB"""
    return sum(rollup(pid).get("Pss", 0) for pid in pids) * 1.024


def configuration(number):
    text = f"# number {number}\nreceivers: {{nop: {{}}}}\nexporters: {{nop: {{}}}}\nservice: {{pipelines: {{traces: {{receivers: [nop], exporters: [nop]}}}}}}\n"
    return text + "# " + "x" * (2048 - len(text) - 3) + "\n"


class OurHub:
    name = "opamphub"

    def __init__(self):
        self.hub = Hub()
        self.pids = list(self.hub.children().values())
        self.port = self.hub.agents_port
        self.configuration = self.hub.api("configurations", "POST", {"name": "bench"})["id"]
        self.watchers = []

    def assign(self, number):
        """When the call began."""
        files = {"": {"content_type": "text/yaml", "body": configuration(number)}}
        version = self.hub.api(f"configurations/{self.configuration}/versions", "POST", {"files": files})["id"]
        begun = time.time()
        self.hub.api("assignments", "POST", {"version": version, "selector": "os.type=linux"})
        return begun

    def watch(self):
        self.watchers = [Watcher(self.hub.page_port, LIST, 0), Watcher(self.hub.page_port, FILTERED, Watcher.EVERY / 2)]
        for w in self.watchers:
            w.start()

    def watched(self):
        """(ms of each opening, ms of each filtering)"""
        return tuple(w.end() for w in self.watchers)

    def kill(self):
        """As a crash would: (agents that are stored as APPLIED of the last version, with what is effective now)."""
        pids = [*self.pids, self.hub.process.pid]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.hub.process.wait(20)
        until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in self.pids), 20, "the hub's processes have ended")
        copy = os.path.join(self.hub.work, "copy")
        shutil.copytree(self.hub.store, copy)
        db = sqlite3.connect(os.path.join(copy, "hub.db"))
        (check,), = db.execute("PRAGMA integrity_check").fetchall()
        assert check == "ok", check
        (stored,), = db.execute(
            "SELECT count(*) FROM agents a JOIN parts p USING(uid) JOIN versions v ON v.id=a.due WHERE p.part=3 AND a.config_status=1"
            " AND a.config_hash=v.hash AND v.id=(SELECT max(id) FROM versions)"
            " AND instr(CAST(p.body AS TEXT), ', version ' || lower(substr(hex(v.hash), 1, 4))) > 0").fetchall()
        db.close()
        return stored

    def end(self):
        self.hub.close()


class Reference:
    name = "opamp-go"

    def __init__(self):
        self.server = RefServer(bare=True)
        self.pids = [self.server.process.pid]
        self.port = int(self.server.where["opamp"].rsplit(":", 1)[1])

    def assign(self, number):
        begun = time.time()
        self.server.request("offer", {"files": {"": configuration(number)}, "content_type": "text/yaml"})
        return begun

    def end(self):
        self.server.end()
