#!/usr/bin/python3
"""The walkthrough: a settings file of four entries, a real Collector, a server on the reference library."""
import os
import socket
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import tap
from bed import Bed, for_all, users_made
from isolated import isolated
from refserver import RefServer
from sink import Sink
from tap import same, until

HOSTMETRICS = """receivers:
  hostmetrics:
    collection_interval: 1s
    scrapers:
      cpu: {}
exporters:
  debug:
    verbosity: detailed
service:
  pipelines:
    metrics:
      receivers: [hostmetrics]
      exporters: [debug]
"""


def ref(bed, **arguments):
    server = RefServer(**arguments)
    bed.servers.append(server)
    return server


def four_entries(bed, server, more="", executable=None):
    """Nothing but these: every default is as a new user meets it."""
    return (f"server:\n  endpoint: {server.url}\n"
            "capabilities:\n  accepts_remote_config: true\n  reports_remote_config: true\n  accepts_restart_command: true\n"
            f"agent:\n  executable: {executable or bed.agent}\n{more}"
            f"storage:\n  directory: {bed.storage()}\n")


def up(bed, more="", executable=None):
    server = ref(bed)
    if executable:
        bed.agent = executable
    daemon = bed.daemon(server, four_entries(bed, server, more))
    server.wait_healthy(30)
    return server, daemon


def working(bed, server, daemon):
    """The first configuration of the walkthrough, all of it."""
    config_hash = server.offer({"": HOSTMETRICS})
    server.wait_status("APPLIED", config_hash)
    same([s for s, h in server.statuses() if h == config_hash], ["APPLYING", "APPLIED"], "what was told of it")
    server.wait_effective("hostmetrics")
    return config_hash, collector(daemon)


def collector(daemon):
    return daemon.agent(20)


def metrics():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open("http://127.0.0.1:8888/metrics", timeout=5) as r:
            return r.read().decode()
    except OSError:
        return ""


def text_uid(agent):
    u = agent["uid"]
    return f"{u[:8]}-{u[8:12]}-{u[12:16]}-{u[16:20]}-{u[20:]}"


def applied(user):
    with Bed(user, "interop/otelcol") as bed:
        server, daemon = up(bed)
        agent = server.agent()
        same(agent["identifying"]["service.name"], "otelcol-interop", "the Collector's name")
        same(agent["identifying"]["service.version"], "0.149.0", "the Collector's version")
        same(agent["identifying"]["service.instance.id"], text_uid(agent), "service.instance.id")
        same(agent["non_identifying"]["os.type"], "linux", "os.type")
        same(agent["non_identifying"]["host.name"], socket.gethostname(), "host.name")
        config_hash, pid = working(bed, server, daemon)
        until(lambda: "otelcol_process_uptime" in metrics(), 15, "the Collector's own metrics on port 8888")
        assert text_uid(agent) in metrics(), "the instance id is not in the Collector's own metrics"
        tree = server.wait(lambda a: "pipeline:metrics" in str(a["health"]), 20, "the component tree")["health"]
        assert tree["healthy"] and int(tree["startTimeUnixNano"]) > 0, tree
        assert abs(int(tree["startTimeUnixNano"]) / 1e9 - time.time()) < 60, tree
        until(lambda: "system.cpu.time" in open_log(bed, user), 20, "data in the Collector's output")
        same(server.agent()["gaps"], 0, "gaps in the sequence numbers, as the reference server counts")
        # an unknown component: the Collector's own words, and its pipelines never stop
        since = len(server.agent()["healths"])
        bad = server.offer({"": HOSTMETRICS.replace("debug", "nosuch")})
        failed = server.wait_status("FAILED", bad)
        assert 'unknown type: "nosuch"' in failed["error"], failed["error"]
        same(collector(daemon), pid, "the Collector's pid")
        same([h for h in server.agent()["healths"][since:] if not h["healthy"]], [], "unhealthy reports")
        server.wait_effective("debug")
        # the old one again is at once what it was
        again = server.offer({"": HOSTMETRICS})
        same(again, config_hash, "the hash of the same files")
        server.wait_status("APPLIED", config_hash)
        same(collector(daemon), pid, "the Collector's pid")
        same(daemon.stop(30), 0, "exit status")
        agent = server.agent()
        same((agent["connected"], agent["disconnects"]), (False, 1), "connected, goodbyes")


def open_log(bed, user):
    path = "/var/log/opampd/agent.log" if user == "root" and os.geteuid() == 0 else bed.storage("agent.log")
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def rolled_back(bed, server, daemon, bad_config, words, limit=60):
    config_hash, pid = working(bed, server, daemon)
    bad = server.offer({"": bad_config})
    failed = server.wait_status("FAILED", bad, limit)
    for word in words:
        assert word in failed["error"], f"{word!r} is not in the reason: {failed['error']!r}"
    same([s for s, h in server.statuses() if h == bad], ["APPLYING", "FAILED"], "what was told of it")
    now = until(lambda: [p for p in daemon.agents() if p != pid], 20, "the old configuration to run again")
    server.wait_healthy(30)
    server.wait_effective("hostmetrics")
    assert "system.cpu" in until(lambda: open_log(bed, daemon.bed.user), 5, "output")
    with open(bed.storage("agent", "effective.yaml"), encoding="utf-8") as f:
        assert "hostmetrics" in f.read()
    return config_hash, now


def dies(user):
    with Bed(user, "interop/otelcol") as bed:
        server, daemon = up(bed)
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        bad = HOSTMETRICS.replace("  hostmetrics:\n", f"  otlp:\n    protocols:\n      grpc:\n        endpoint: 127.0.0.1:{port}\n"
                                  "  hostmetrics:\n").replace("[hostmetrics]", "[otlp, hostmetrics]")
        rolled_back(bed, server, daemon, bad, ["address already in use"])
        taken.close()


def turns_unhealthy(user):
    with Bed(user, "interop/otelcol") as bed:
        probe = Sink()
        bed.servers.append(probe)
        server, daemon = up(bed, f"  settling_time: 5s\n  health:\n    endpoint: {probe.url}/\n    interval: 200ms\n")
        working(bed, server, daemon)
        pid = collector(daemon)
        other = server.offer({"": HOSTMETRICS.replace("1s", "2s")})
        now = until(lambda: [p for p in daemon.agents() if p != pid], 20, "the trial")
        server.wait_healthy(20)
        probe.status = 503
        failed = server.wait_status("FAILED", other, 60)
        assert "503" in failed["error"] or "health" in failed["error"], failed["error"]
        probe.status = 200
        until(lambda: [p for p in daemon.agents() if p not in (pid, now[0])], 20, "the old configuration to run again")
        server.wait_healthy(30)
        until(lambda: "collection_interval: 1s" in str(server.agent()["effective"]), 20, "the old one in force")


def hangs(user):
    with Bed(user, "interop/otelcol") as bed:
        # a Collector that does not get anywhere, once its configuration says so
        wrapper = bed.write("collector", "#!/bin/sh\ncase $1 in\n--config)\n\tgrep -q hang_here \"$2\" && exec sleep 1000\n\t;;\nesac\n"
                            f"exec {bed.agent} \"$@\"\n", 0o755)
        server = ref(bed)
        daemon = bed.daemon(server, four_entries(bed, server, "  config_apply_timeout: 5s\n", executable=wrapper))
        server.wait_healthy(30)
        bad = HOSTMETRICS.replace("  debug:\n", "  debug/hang_here: {}\n  debug:\n")
        begun = time.monotonic()
        config_hash = server.offer({"": HOSTMETRICS})
        server.wait_status("APPLIED", config_hash)
        pid = daemon.agent()
        begun = time.monotonic()
        bad_hash = server.offer({"": bad})
        server.wait_status("FAILED", bad_hash, 60)
        assert 4 < time.monotonic() - begun < 25
        daemon.agent(20, other_than=pid)
        server.wait_healthy(30)
        server.wait_effective("hostmetrics")


def over_tls(user):
    from opampserver import make_tls
    with Bed(user, "interop/otelcol") as bed:
        make_tls(bed.dir, client=True)
        os.chmod(bed.path("client.key"), 0o644)
        server = ref(bed, tls=(bed.path("server.pem"), bed.path("server.key"), bed.path("ca.pem")))
        text = four_entries(bed, server).replace(
            "capabilities:", f"  tls:\n    ca_file: {bed.path('ca.pem')}\n    cert_file: {bed.path('client.pem')}\n"
            f"    key_file: {bed.path('client.key')}\ncapabilities:")
        daemon = bed.daemon(server, text)
        server.wait_healthy(30)
        working(bed, server, daemon)
        # what the Collector reports has its link's secret nowhere
        if os.geteuid() == 0:
            with open(f"/proc/{collector(daemon)}/fd/4", encoding="ascii") as f:
                secret = f.read().split('"')[1]
            assert len(secret) == 64
            assert secret not in str(server.state()), "the link's secret reached the server"
            assert "REDACTED" in str(server.agent()["effective"]), "the Collector redacts headers"


HOST = ("/run", "/var/lib", "/var/log")  # so that opampd's default places are fresh in every test
TESTS = [
    ("CF-05 CF-09 DE-01 HL-03 the walkthrough: listed, APPLYING, APPLIED, effective, metrics, health; unknown component", applied),
    ("CF-05 validates, but dies at start (port in use): back on the old one with the Collector's words", dies),
    ("CF-05 turns unhealthy inside the time-out: back on the old one", turns_unhealthy),
    ("CF-05 hangs: back on the old one", hangs),
    ("I12 SE-05 over TLS with a client certificate; the link's secret stays here", over_tls),
]

users_made()
tap.run([(name, isolated(function, HOST if name.startswith("root") else ())) for name, function in for_all(TESTS)])
