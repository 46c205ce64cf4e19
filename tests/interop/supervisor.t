#!/usr/bin/python3
"""What the Collector project's own supervisor is tested for, as far as opampd has it yet: against the same real Collector."""
import os
import signal
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from bed import Bed, for_all, users_made
from isolated import isolated
from refserver import RefServer
from sink import Sink
from tap import same, until

MODES = {"restart": {}, "HUP": {"agent": {"use_hup_config_reload": True}}}


def to_sink(sink, interval="1s", extra=""):
    """Host metrics, sent to the sink."""
    return (f"receivers:\n  hostmetrics:\n    collection_interval: {interval}\n    scrapers:\n      memory: {{}}\n"
            f"exporters:\n  otlphttp:\n    endpoint: {sink.url}\n    compression: none\n"
            f"service:\n  pipelines:\n    metrics:\n      receivers: [hostmetrics]\n      exporters: [otlphttp]\n{extra}")


def health_check(port, name="health_check"):
    return f"extensions:\n  {name}:\n    endpoint: 127.0.0.1:{port}\nservice:\n  extensions: [{name}]\n"


def checked(port):
    """To be added to to_sink(): the health_check extension as well."""
    return f"  extensions: [health_check]\nextensions:\n  health_check:\n    endpoint: 127.0.0.1:{port}\n"


def answers(port):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/", timeout=2) as r:
            return r.status == 200
    except OSError:
        return False


class Case:
    """A bed with the real Collector, a reference server and a sink."""

    def __init__(self, user):
        self.bed = Bed(user, "interop/otelcol")
        self.server = None
        self.sink = None

    def __enter__(self):
        self.bed.__enter__()
        self.server = RefServer()
        self.sink = Sink()
        self.bed.servers += [self.server, self.sink]
        return self

    def __exit__(self, *error):
        return self.bed.__exit__(*error)

    def daemon(self, over=None, mode="restart", **arguments):
        from bed import merged
        return self.bed.daemon(self.server, merged(MODES[mode], over or {}), **arguments)

    def flows(self, seconds=10):
        count = len(self.sink.posts)
        until(lambda: len(self.sink.posts) > count, seconds, "data at the sink")

    def local(self, name, text):
        return self.bed.write(name, text)

    def effective(self):
        with open(self.bed.storage("agent", "effective.yaml"), encoding="utf-8") as f:
            return f.read()


def remote_config(user, mode):
    with Case(user) as c:
        daemon = c.daemon(mode=mode)
        c.server.wait_healthy()
        pid = daemon.agent()
        config_hash = c.server.offer({"": to_sink(c.sink)})
        c.server.wait_effective("hostmetrics", 5)
        c.server.wait_status("APPLIED", config_hash, 10)
        c.flows()
        same(daemon.agent() == pid, mode == "HUP", "the same process")
        same([p for p, _, _ in c.sink.posts if p != "/v1/metrics"], [], "other paths")


def local_only(user, mode):
    with Case(user) as c:
        c.daemon({"agent": {"config_files": [c.local("local.yaml", to_sink(c.sink))]}}, mode)
        until(lambda: "Everything is ready" in c.bed.agent_log(), 10, "the Collector's output in agent.log")
        c.flows()
        c.server.wait_effective("hostmetrics")
        # UNSET is part of a full report (ST-08); nothing else may be
        same([s for s in c.server.statuses() if s[0] != "UNSET"], [], "statuses of a remote configuration that never was")


def no_pipeline(user, mode):
    with Case(user) as c:
        daemon = c.daemon({"agent": {"config_files": [c.local("local.yaml", health_check(13133))]}}, mode)
        until(lambda: answers(13133), 10, "the health_check extension")
        c.server.wait_healthy()
        assert any("AllowNoPipelines" in word for word in proc.arguments(daemon.agent())), "the gate is not used"


def no_gate(user, mode):
    """A Collector that cannot do without a pipeline gets one."""
    with Case(user) as c:
        wrapper = c.bed.write("collector", f"#!/bin/sh\n[ \"$1\" = featuregate ] && exit 1\nexec {c.bed.agent} \"$@\"\n", 0o755)
        daemon = c.daemon({"agent": {"executable": wrapper}}, mode)
        agent = c.server.wait_healthy()
        same(agent["identifying"]["service.name"], "otelcol-interop", "name")
        same(agent["identifying"]["service.version"], "0.149.0", "version")
        assert "nop" in c.effective()
        assert daemon.agent


def with_gate(user, mode):
    with Case(user) as c:
        c.daemon(mode=mode)
        agent = c.server.wait_healthy()
        same(agent["identifying"]["service.name"], "otelcol-interop", "name")
        same(agent["identifying"]["service.version"], "0.149.0", "version")
        assert "pipelines" not in c.effective(), c.effective()


def no_server_nothing_stored(user, mode):
    with Case(user) as c:
        c.server.stop()
        daemon = c.daemon({"agent": {"config_files": [c.local("local.yaml", health_check(13133))]}}, mode)
        until(lambda: answers(13133), 3, "the Collector to run on its local file")
        pid = daemon.agent()
        c.server.start()
        c.server.wait_healthy()
        same(daemon.agent(), pid, "the Collector's pid")


def no_server_stored(user, mode):
    with Case(user) as c:
        local = {"agent": {"config_files": [c.local("local.yaml", health_check(13133))]}}
        daemon = c.daemon(local, mode)
        c.server.wait_healthy()
        c.server.wait_status("APPLIED", c.server.offer({"": to_sink(c.sink)}))
        same(daemon.stop(), 0, "exit status")
        c.server.stop()
        daemon = c.daemon(local, mode)
        c.flows()
        pid = daemon.agent()
        c.server.start()
        c.server.wait_effective("hostmetrics")
        c.server.wait_healthy()
        same(daemon.agent(), pid, "the Collector's pid")
        assert answers(13133)


def parameters(user, mode):
    with Case(user) as c:
        over = {"agent": {"config_files": [c.local("local.yaml", health_check("${env:LOCAL_PORT}"))], "env": {"LOCAL_PORT": "13133"},
                          "args": ["--feature-gates=-nothing.of.that.name"][:0]}}
        c.daemon(over, mode)
        c.server.wait_healthy()
        config_hash = c.server.offer({"": to_sink(c.sink), "health.yaml": health_check(13134, "health_check/remote")})
        c.server.wait_status("APPLIED", config_hash)
        until(lambda: answers(13133) and answers(13134), 10, "both health ports")
        c.flows()


def late_server(user, mode):
    with Case(user) as c:
        c.server.stop()
        c.daemon(mode=mode).agent(10)
        c.server.start()
        c.server.wait_healthy()
        c.server.wait_status("APPLIED", c.server.offer({"": to_sink(c.sink)}))
        c.flows()


def after_bad(user, mode):
    with Case(user) as c:
        daemon = c.daemon(mode=mode)
        c.server.wait_healthy()
        bad = c.server.offer({"": "receivers:\n  doesnotexist: {}\n" + to_sink(c.sink).replace("receivers:\n", "", 1)})
        failed = c.server.wait_status("FAILED", bad, 10)
        assert "doesnotexist" in failed["error"], failed["error"]
        c.server.wait_healthy(5)
        pid = daemon.agent()
        c.server.wait_status("APPLIED", c.server.offer({"": to_sink(c.sink)}))
        same(daemon.agent() == pid, mode == "HUP", "the same process")
        c.server.wait_healthy(5)
        c.flows()


def capabilities_off(user, mode):
    with Case(user) as c:
        c.daemon({"capabilities": {"accepts_remote_config": False, "accepts_restart_command": False, "reports_remote_config": False,
                                   "reports_effective_config": False, "reports_health": False, "reports_own_metrics": False,
                                   "reports_heartbeat": True}}, mode)
        agent = c.server.wait(lambda a: a["identifying"].get("service.version"), 15, "the description")
        same(agent["capabilities"], 0x2001, "capabilities")
        same((agent["health"], agent["effective"], agent["statuses"]), ({}, {}, None), "health, effective configuration, statuses")


def reports_effective(user, mode):
    with Case(user) as c:
        c.local("interval.txt", "17s")
        path = c.bed.path("interval.txt")
        c.daemon({"policy": {"remote_expansion": [f"file:{path}"]}}, mode)
        c.server.wait_healthy()
        config_hash = c.server.offer({"": to_sink(c.sink, "${file:" + path + "}")})
        c.server.wait_status("APPLIED", config_hash)
        c.server.wait_effective("17s")


def description(user, mode):
    with Case(user) as c:
        c.daemon({"agent": {"description": {"identifying_attributes": {"client.id": "my-client"},
                                            "non_identifying_attributes": {"env": "prod"}}}}, mode)
        agent = c.server.wait(lambda a: a["identifying"].get("service.version") == "0.149.0", 15, "the description")
        same(agent["identifying"]["client.id"], "my-client", "client.id")
        same(agent["non_identifying"]["env"], "prod", "env")
        same({"host.arch", "host.name", "os.type", "os.description"} - set(agent["non_identifying"]), set(), "missing attributes")


def restart_command(user, mode):
    with Case(user) as c:
        daemon = c.daemon(mode=mode)
        first = c.server.wait_healthy()
        c.server.wait_status("APPLIED", c.server.offer({"": to_sink(c.sink)}))
        pid = daemon.agent()
        c.server.restart()
        daemon.agent(other_than=pid)
        c.server.full_state()
        agent = c.server.wait(lambda a: a["healthy"] and not a["health"].get("lastError") and
                              int(a["health"]["startTimeUnixNano"]) > int(first["health"]["startTimeUnixNano"]), 30, "healthy once more")
        assert agent
        c.flows()


def last_received(user, mode):
    with Case(user) as c:
        daemon = c.daemon(mode=mode)
        c.server.wait_healthy()
        config_hash = c.server.offer({"": to_sink(c.sink)})
        c.server.wait_status("APPLIED", config_hash)
        same(daemon.stop(), 0, "exit status")
        c.server.request("offer", {"agent": c.server.agent()["uid"], "forget": True})
        c.daemon(mode=mode)
        c.server.wait_effective("hostmetrics")
        c.flows()
        c.server.wait(lambda a: a["connected"] and a["healthy"], 20, "healthy")


def persists_uid(user, mode):
    with Case(user) as c:
        daemon = c.daemon(mode=mode)
        uid = c.server.wait_healthy()["uid"]
        same(daemon.stop(), 0, "exit status")
        daemon = c.daemon(mode=mode)
        c.server.wait(lambda a: a["connected"] and a["healthy"], 20, "healthy")
        same(list(c.server.agents()), [uid], "uids seen")
        new = "018fee23-4a51-7303-a441-73faed7d9deb"
        import base64
        c.server.send(agentIdentification={"newInstanceUid": base64.b64encode(bytes.fromhex(new.replace("-", ""))).decode()})
        c.server.wait(lambda a: a["uid"] == new.replace("-", ""), 20, "the new uid")
        until(lambda: new in c.effective(), 10, "the new uid in the Collector's configuration")
        c.server.wait(lambda a: a["uid"] == new.replace("-", "") and a["healthy"], 20, "healthy under the new uid")
        same(daemon.stop(), 0, "exit status")
        c.daemon(mode=mode)
        c.server.wait(lambda a: a["uid"] == new.replace("-", "") and a["connected"] and a["healthy"], 20, "the new uid after a new start")


def writes_files(user, mode):
    with Case(user) as c:
        c.daemon(mode=mode)
        c.server.wait_healthy()
        assert c.bed.agent_log()
        assert "opamp" in c.effective()


def empty_map(user, mode):
    with Case(user) as c:
        daemon = c.daemon(mode=mode)
        c.server.wait_healthy()
        c.server.wait_status("APPLIED", c.server.offer({"": to_sink(c.sink), "h": health_check(13133)}))
        until(lambda: answers(13133), 10, "the health port")
        nothing = c.server.offer({})
        c.server.wait_status("APPLIED", nothing)
        until(lambda: not answers(13133), 10, "the health port to be closed")
        daemon.no_agent()
        c.server.wait_healthy(10)
        c.server.wait_status("APPLIED", c.server.offer({"": to_sink(c.sink), "h": health_check(13133)}))
        until(lambda: answers(13133), 10, "the health port again")


def logging(user, mode):
    with Case(user) as c:
        daemon = c.daemon({"agent": {"passthrough_logs": True}, "telemetry": {"logs": {"level": "warn"}}}, mode)
        c.server.wait_healthy()
        same([line for line in daemon.log() if " info " in line or " debug " in line], [], "lines below the level warn")
        same(daemon.stop(), 0, "exit status")
        daemon = c.daemon({"agent": {"passthrough_logs": True}}, mode)
        line = daemon.wait_log("Everything is ready")
        assert " info " in line, line


def status_changes(user, mode):
    with Case(user) as c:
        daemon = c.daemon(mode=mode)
        c.server.wait_healthy()
        good = c.server.offer({"": to_sink(c.sink)})
        c.server.wait_status("APPLIED", good)
        c.flows()
        bad = c.server.offer({"": "service: {pipelines: {metrics: {receivers: [no], exporters: [no]}}}\n"})
        c.server.wait_status("FAILED", bad)
        nothing = c.server.offer({})
        c.server.wait_status("APPLIED", nothing)
        for config_hash in (good, bad, nothing):
            ours = [s for s, h in c.server.statuses() if h == config_hash]
            assert len(ours) == len(set(ours)) <= 2 and ours[-1] in ("APPLIED", "FAILED"), ours
        assert daemon


def fixed_port(user, mode):
    with Case(user) as c:
        c.daemon({"agent": {"opamp_server_port": 43217}}, mode)
        c.server.wait_healthy()
        assert "ws://127.0.0.1:43217/v1/opamp" in c.effective()


def health_without_server(user, mode):
    """Theirs is an HTTP endpoint; ours is opampctl."""
    with Case(user) as c:
        c.server.stop()
        daemon = c.daemon(mode=mode)
        daemon.agent(10)
        until(lambda: c.bed.ctl("health", check=False)[0] == 0, 15, "opampctl health to say it is well, without a server")
        proc.kill(daemon.agent())
        c.server.start()
        c.server.wait_healthy()


def heartbeat(user, mode):
    with Case(user) as c:
        c.daemon({"server": {"heartbeat_interval": "1s"}}, mode)
        c.server.wait_healthy()
        before = c.server.agent()["heartbeats"]
        c.server.wait(lambda a: a["heartbeats"] >= before + 2, 5, "two heartbeats")
        same(c.server.agent()["gaps"], 0, "gaps")


def validates(user, mode):
    with Case(user) as c:
        daemon = c.daemon(mode=mode)
        c.server.wait_healthy()
        c.server.wait_status("APPLIED", c.server.offer({"": to_sink(c.sink)}))
        pid = daemon.agent()
        # hides behind the configuration that runs, if that were merged in: an exporter only named there
        sneaky = to_sink(c.sink).replace("exporters:\n  otlphttp:\n", "exporters:\n  debug:\n").replace(
            f"    endpoint: {c.sink.url}\n    compression: none\n", "    verbosity: basic\n")
        bad = c.server.offer({"": sneaky})
        failed = c.server.wait_status("FAILED", bad)
        assert "otlphttp" in failed["error"], failed["error"]
        same(daemon.agent(), pid, "the Collector's pid")
        c.flows()


def failed_then_restart(user, mode):
    """The last one that worked runs after a new start, not the one that failed."""
    with Case(user) as c:
        daemon = c.daemon(mode=mode)
        c.server.wait_healthy()
        good = c.server.offer({"": to_sink(c.sink)})
        c.server.wait_status("APPLIED", good)
        # validates and cannot start: the port is taken
        bad = c.server.offer({"": to_sink(c.sink) + checked(c.sink.port)})
        c.server.wait_status("FAILED", bad, 40)
        c.flows(20)
        same(daemon.stop(), 0, "exit status")
        c.server.request("offer", {"agent": c.server.agent()["uid"], "forget": True})
        daemon = c.daemon(mode=mode)
        c.flows(15)
        c.server.wait(lambda a: a["connected"] and a["healthy"], 20, "healthy")
        assert daemon.agent()


def restored_one_fails(user, mode):
    """The rollback target dies as well: tried again with growing waits, never in a tight loop."""
    with Case(user) as c:
        daemon = c.daemon({"agent": {"health": None}}, mode)
        c.server.wait_healthy()
        port = free_port()
        good = c.server.offer({"": to_sink(c.sink) + checked(port)})
        c.server.wait_status("APPLIED", good)
        import socket
        taken = socket.socket()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        pid = daemon.agent()
        os.kill(daemon.pid, signal.SIGSTOP)  # or the next Collector may be faster than this test
        try:
            proc.kill(pid)
            until(lambda: bound(taken, port), 10, "the Collector's port to be taken by another")
            taken.listen()
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        mark = time.monotonic()
        c.server.wait_healthy(20, healthy=False)
        pids = set()
        while time.monotonic() - mark < 5:
            pids.update(daemon.agents())
            time.sleep(0.01)
        assert 1 <= len(pids) <= 9, f"{len(pids)} starts in 5 s"
        taken.close()
        c.server.wait_healthy(60)
        c.flows(20)


def bound(s, port):
    try:
        s.bind(("127.0.0.1", port))
        return True
    except OSError:
        return False


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def metrics_port_in_use(user, mode):
    with Case(user) as c:
        other = Sink(8888)
        c.bed.servers.append(other)
        quiet = c.local("local.yaml", "service:\n  telemetry:\n    metrics:\n      level: none\n")
        c.daemon({"agent": {"config_files": [quiet]}}, mode)
        agent = c.server.wait_healthy()
        same(agent["identifying"]["service.version"], "0.149.0", "version")


def packages_refused(user, mode):
    with Case(user) as c:
        daemon = c.daemon({"capabilities": {"accepts_packages": True}}, mode)
        assert daemon.wait_end() != 0
        assert "accepts_packages" in "\n".join(daemon.log())


BOTH = [
    ("CF-05 starts the Collector with a remote configuration; data flows", remote_config),
    ("starts it with local files only; agent.log has its output; data flows", local_only),
    ("starts it without any pipeline", no_pipeline),
    ("offline: no server, nothing stored: local file within 3 s; connects later", no_server_nothing_stored),
    ("offline: no server, stored remote configuration in force; connects later", no_server_stored),
    ("local file with ${env:} and agent.env, remote files merged: both health ports, data flows", parameters),
    ("offline: the server comes late, then a remote configuration; data flows", late_server),
    ("CF-05 a bad configuration, then a good one", after_bad),
    ("CF-09 a permitted ${file:} is resolved in the effective configuration", reports_effective),
    ("RC-01 the restart command", restart_command),
    ("CF-05 the last remote configuration is used by the next start", last_received),
    ("ID-01 ID-02 the uid is kept; a new one is taken and kept", persists_uid),
    ("CF-05 an empty map stops it; the next configuration starts it", empty_map),
    ("CF-05 each change of status is told once", status_changes),
    ("CF-05 a configuration is validated alone, not on top of the one that runs", validates),
    ("CF-05 after a FAILED one a new start runs the last that worked", failed_then_restart),
]
ONCE = [
    ("DE-01 name and version, without the gate: a pipeline of no effect", no_gate),
    ("DE-01 name and version, with the gate", with_gate),
    ("CP-01 CP-02 all capabilities off: ReportsStatus and ReportsHeartbeat", capabilities_off),
    ("DE-02 DE-03 attributes of the settings beside the Collector's", description),
    ("agent.log and effective.yaml are there", writes_files),
    ("log level, and the Collector's lines with their level", logging),
    ("a fixed port for the extension", fixed_port),
    ("opampctl health without a server", health_without_server),
    ("HB-01 ST-06 heartbeats each second; the reference server finds no gap", heartbeat),
    ("the restored configuration fails too: growing waits, no tight loop, well again", restored_one_fails),
    ("port 8888 in use", metrics_port_in_use),
    ("CP-02 packages are refused by name", packages_refused),
]

tests = []
for user_test, function in for_all([(f"{mode}: {name}", lambda user, f=f, m=mode: f(user, m)) for mode in MODES for name, f in BOTH] +
                                   [(name, lambda user, f=f: f(user, "restart")) for name, f in ONCE]):
    tests.append((user_test, isolated(function)))
users_made()
tap.run(tests)
