#!/usr/bin/python3
"""Clients that others wrote, against opamphub: the reference client (Go) over WebSocket and plain HTTP, the
Collector project's supervisor with a real Collector, OpenTelemetry's client for Python, Elastic's for Node.js.

All are there at once, with one hub, which is killed in the middle: what a client does by its own rules, such as
to wait for half a minute after a failed request, is done beside what the others do.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from hub_bed import BUILD, Hub, text
from tap import SLOW, same, until

HERE = os.path.dirname(os.path.abspath(__file__))
INTEROP = os.path.join(BUILD, "interop")
CLIENTS = os.path.join(INTEROP, "clients")
LIMIT = 40
SILENCE = 4  # seconds after which one that polls is shown as gone

GOOD = {"": {"content_type": "text/yaml", "body": "what: \"good\"\n"}}
BAD = {"": {"content_type": "text/yaml", "body": "what: \"nosuch\"\n"}}
HUB = None


class Client:
    """A program on somebody's client library; tests/interop/clients and tests/interop/server/client say how it is spoken to."""
    good, bad, words = GOOD, BAD, "there is nothing of the name nosuch"
    tells_health = tells_effective = takes_restart = says_goodbye = True
    transport = "http"
    attributes = {"os.type": "linux"}
    patience = LIMIT  # until it is back after the hub was away

    def __init__(self, name, version, command, env=None):
        self.name, self.version = name, version
        self.events, self.changed = [], threading.Condition()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={"PATH": os.environ["PATH"], **(env or {})})
        threading.Thread(target=self.read, daemon=True).start()
        self.uid = bytes.fromhex(self.heard("started")["uid"])

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.events.append(json.loads(line))
                self.changed.notify_all()

    def heard(self, event, number=1):
        """The number-th of these events, waited for."""
        def there():
            found = [e for e in self.events if e["event"] == event]
            return len(found) >= number and found[number - 1]
        with self.changed:
            if not self.changed.wait_for(there, LIMIT * SLOW):
                raise AssertionError(f"{self.name} never said {event} ({number}): {self.events}")
            return there()

    def count(self, event):
        with self.changed:
            return sum(e["event"] == event for e in self.events)

    def offers(self):
        return self.count("offer")

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def stop(self):
        self.tell("stop")
        same(self.process.wait(LIMIT * SLOW), 0, "exit status")

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def seen(self):
        status, _, data = HUB.request("GET", "/api/v1/agents/" + text(self.uid))
        return answer(status, data) if status != 404 else None

    def wait(self, look, what, limit=LIMIT):
        """What the hub shows of it, once that is so; not asked more often than the API may be."""
        end = time.monotonic() + limit * SLOW
        while time.monotonic() < end:
            seen = self.seen()
            if seen and look(seen):
                return seen
            time.sleep(0.1)
        raise AssertionError(f"{self.name}: still waiting for: {what}\nthe hub shows {json.dumps(self.seen())[:3000]}\n{self.tail()}")

    def tail(self):
        return f"it said {self.events[-20:]}"

    def make_unwell(self):
        self.tell("unhealthy the disk is full")
        return "the disk is full"

    def make_well(self):
        self.tell("healthy")


class GoWebSocket(Client):
    transport = "ws"

    def __init__(self):
        super().__init__("go-websocket", "0.23.0", [os.path.join(INTEROP, "client"), HUB_URL("ws"), "go-websocket"])


class GoHttp(Client):
    # it ends without an AgentDisconnect: only its WebSocket side sends one
    says_goodbye = False

    def __init__(self):
        super().__init__("go-http", "0.23.0", [os.path.join(INTEROP, "client"), HUB_URL("http"), "go-http"])


class Python(Client):
    # it reads configurations in JSON only, and has neither health nor commands
    good = {"": {"content_type": "application/json", "body": '{"what": "good"}'}}
    bad = {"": {"content_type": "application/json", "body": '{"what": "nosuch"}'}}
    tells_health = takes_restart = False

    def __init__(self):
        super().__init__("python", "0.5b0", [os.path.join(CLIENTS, "python", "bin", "python"), os.path.join(HERE, "clients", "agent.py"),
                                             HUB_URL("http"), "python"])


class Node(Client):
    # it has no health, no effective configuration, no commands and no goodbye; after a request that failed it
    # waits for 30 s and more, whatever its heartbeat
    tells_health = tells_effective = takes_restart = says_goodbye = False
    patience = 90

    def __init__(self):
        super().__init__("node", "0.5.0", ["node", os.path.join(HERE, "clients", "agent.js"), HUB_URL("http"), "node"],
                         {"NODE_PATH": os.path.join(CLIENTS, "node_modules")})


def pipelines(exporter):
    return {"": {"content_type": "text/yaml", "body":
                 f"receivers:\n  nop:\nexporters:\n  {exporter}:\nservice:\n  pipelines:\n    traces:\n      receivers: [nop]\n      exporters: [{exporter}]\n"}}


class Supervisor(Client):
    """opampsupervisor, and the Collector that it runs."""
    transport = "ws"
    good, bad = pipelines("debug"), pipelines("nosuch")
    # it lets the Collector die of it, and its own words say no more than that
    words = "exited unexpectedly"
    takes_restart = False  # it would; that the Collector is another afterwards is seen below, when it is killed

    def __init__(self):  # pylint: disable=super-init-not-called
        self.name, self.version = "otelcol-interop", "0.149.0"
        self.events, self.uid = [], None
        self.work = tempfile.mkdtemp(prefix="opampd-supervisor-")
        local = self.file("local.yaml", "service:\n  telemetry:\n    metrics:\n      level: none\n")
        settings = self.file("supervisor.yaml", json.dumps({
            "server": {"endpoint": HUB_URL("ws")},
            "capabilities": {"accepts_remote_config": True, "reports_remote_config": True, "reports_effective_config": True,
                             "reports_health": True, "reports_heartbeat": True},
            "agent": {"executable": os.path.join(INTEROP, "otelcol"), "config_files": [local], "config_apply_timeout": "4s"},
            "storage": {"directory": os.path.join(self.work, "storage")}}))
        with open(os.path.join(self.work, "log"), "wb") as log:
            self.process = subprocess.Popen([os.path.join(BUILD, "bench", "opampsupervisor"), "--config", settings],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.work, env={"PATH": os.environ["PATH"]})
        self.collector = 0

    def file(self, name, content):
        path = os.path.join(self.work, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(content)
        return path

    def log(self):
        with open(os.path.join(self.work, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def seen(self):
        """Its uid is of its own making: found by what it says it is."""
        if self.uid is None:
            items = [i for i in HUB.api("agents")["items"] if i["name"] == self.name]
            if not items:
                return None
            self.uid = bytes.fromhex(items[0]["uid"].replace("-", ""))
        return super().seen()

    def tail(self):
        return "\n".join(self.log().splitlines()[-20:])

    def offers(self):
        """When it was last offered something: it says nothing of it, but writes this file each time."""
        return os.stat(os.path.join(self.work, "storage", "last_recv_remote_config.dat")).st_mtime_ns

    def collectors(self):
        return [p for p in proc.children(self.process.pid) if proc.alive(p)]

    def make_unwell(self):
        self.collector, = self.collectors()
        proc.kill(self.collector)
        return "exited unexpectedly"

    def make_well(self):
        until(lambda: self.collectors() not in ([], [self.collector]), LIMIT, "another Collector")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        same(self.process.wait(LIMIT * SLOW), 0, "exit status")

    def end(self):
        left = self.collectors() if self.process.poll() is None else []
        super().end()
        for pid in left:  # it leaves its Collector behind when it is killed
            proc.kill(pid)
        shutil.rmtree(self.work, ignore_errors=True)


class Counting(Hub):
    def offered(self):
        """To anybody, since it was started."""
        _, _, data = self.request("GET", "/metrics")
        return next(int(line.split()[1]) for line in data.decode().splitlines() if line.startswith("opamphub_offers_total"))


def answer(status, data):
    assert status == 200, f"the API's answer: {status} {data[:300]}"
    return json.loads(data)


def HUB_URL(scheme):  # pylint: disable=invalid-name
    return f"{scheme}://127.0.0.1:{HUB.agents_port}/v1/opamp"


# ---- what each has to show

def appears(c):
    seen = c.wait(lambda s: s["name"] == c.name and s["connected"] and s["healthy"] is (True if c.tells_health else None), "it is there, and well")
    same(seen["version"], c.version, "version")
    same({k: seen["attributes"].get(k) for k in c.attributes}, c.attributes, "attributes")
    same(seen["connection"]["transport"], c.transport, "transport")
    same("AcceptsRemoteConfig" in seen["capabilities"], True, "it takes configurations")
    same("ReportsHealth" in seen["capabilities"], c.tells_health, "whether it says that it tells its health")
    same("ReportsEffectiveConfig" in seen["capabilities"], c.tells_effective, "whether it says that it tells what it runs")


def assigned(c, files, status):
    """One version, assigned to this one by the API: what the hub shows when the client has made up its mind."""
    version, _ = HUB.send_configuration(files, name=c.name, agent=text(c.uid))
    return c.wait(lambda s: s["config"]["due"] == version and s["config"]["hash"] == s["config"]["due_hash"] and s["config"]["status"] == status,
                  f"its configuration is {status}")


def configured(c):
    assigned(c, c.good, "applied")
    runs_good(c)
    why = assigned(c, c.bad, "failed")["config"]["error"]
    assert c.words in why, f"the client's words: {why!r}"
    assigned(c, c.good, "applied")
    runs_good(c)


def runs_good(c):
    if c.tells_effective:
        word = "debug" if isinstance(c, Supervisor) else "good"
        c.wait(lambda s: word in json.dumps(s["effective"]) and "nosuch" not in json.dumps(s["effective"]), "what it runs")
    else:
        same(c.seen()["effective"], None, "a client that cannot tell what it runs")


BEFORE = {}


def hub_killed():
    assert HUB.offered() >= 3 * len(ALL), HUB.offered()
    for c in ALL:
        BEFORE[c] = (c.seen(), c.offers(), c.collectors() if isinstance(c, Supervisor) else None)
    HUB.stop(signal.SIGKILL)
    HUB.start()
    for c in ALL:
        seen, was = c.seen(), BEFORE[c][0]
        same([seen[k] for k in ("uid", "name", "first_seen", "description", "config", "effective")],
             [was[k] for k in ("uid", "name", "first_seen", "description", "config", "effective")], f"{c.name}: what the store holds")


def comes_back(c):
    was, offers, collectors = BEFORE[c]
    back = c.wait(lambda s: s["connected"] and s["last_seen"] > was["last_seen"], "it is back", c.patience)
    if c.transport == "http":  # and it has spoken again after that
        c.wait(lambda s: s["last_seen"] > back["last_seen"], "its next poll", c.patience)
    now = c.seen()
    same([now[k] for k in ("uid", "name", "version", "first_seen", "attributes", "healthy", "effective")],
         [was[k] for k in ("uid", "name", "version", "first_seen", "attributes", "healthy", "effective")], "what is known of it")
    same([now["config"][k] for k in ("status", "hash", "due")], [was["config"][k] for k in ("status", "hash", "due")], "its configuration")
    same(c.offers(), offers, "what it was offered")
    same(HUB.offered(), 0, "offers that the hub has made since it was started")
    if collectors is not None:
        same(c.collectors(), collectors, "its Collector")


def health(c):
    words = c.make_unwell()
    if isinstance(c, Supervisor):  # soon well again: the history has it
        c.wait(lambda s: any(e["kind"] == "unhealthy" and words in e["text"] for e in HUB.api(f"agents/{s['uid']}/events")["items"]),
               "that its Collector was killed")
    else:
        c.wait(lambda s: s["healthy"] is False and s["last_error"] == words and s["health"]["component_health_map"]["part"]["last_error"] == words,
               "unwell, with its words")
    c.make_well()
    c.wait(lambda s: s["healthy"] is True and s["config"]["status"] == "applied", "well again, and with its configuration")


def command(c):
    HUB.api(f"agents/{text(c.uid)}/commands", "POST", {"type": "restart"}, want=202)
    same(c.heard("command")["type"], "CommandType_Restart", "the command")


def leaves(c):
    c.stop()
    why = c.wait(lambda s: not s["connected"], "it is shown as gone")["connection"]["gone_why"]
    same(why == "the agent said goodbye", c.says_goodbye, f"whether it said goodbye ({why!r})")
    seen = c.seen()
    same((seen["config"]["status"], seen["name"]), ("applied", c.name), "what is known of it")


ALL = []
KINDS = [("reference client, WebSocket", GoWebSocket), ("reference client, HTTP", GoHttp), ("opampsupervisor with a Collector", Supervisor),
         ("opentelemetry-opamp-client (Python)", Python), ("@elastic/opamp-client-node", Node)]


def main():
    global HUB
    HUB = Counting("--silence", str(SILENCE))
    try:
        for _, kind in KINDS:
            ALL.append(kind())
        each = list(zip([name for name, _ in KINDS], ALL))
        tests = [(f"{name}: there, with what it is and how it is", appears, c) for name, c in each]
        tests += [(f"{name}: takes a configuration, refuses one, takes one again", configured, c) for name, c in each]
        tests += [("the hub is killed and started: it holds what it knew of all of them", hub_killed, None)]
        tests += [(f"{name}: back after the hub was killed, with its configuration, which is not offered again", comes_back, c)
                  for name, c in each if not isinstance(c, Node)]
        tests += [(f"{name}: unwell, and well again", health, c) for name, c in each if c.tells_health]
        tests += [(f"{name}: is sent a restart command", command, c) for name, c in each if c.takes_restart]
        tests += [(f"{name}: leaves, and is shown as gone", leaves, c) for name, c in each if not isinstance(c, Node)]
        tests += [(f"{name}: {what}", function, c) for name, c in each if isinstance(c, Node) for what, function in
                  (("back half a minute after the hub was killed, with its configuration, which is not offered again", comes_back),
                   ("leaves, and is shown as gone", leaves))]
        tap.run([(name, (lambda f=function, x=c: f(x)) if c else function) for name, function, c in tests])
    finally:
        for c in ALL:
            c.end()
        HUB.close()


main()
