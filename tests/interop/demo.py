#!/usr/bin/python3
"""make demo: the walkthrough, shown: a real Collector under opampd, an OpAMP server on the reference
library.  DEMO=check: runs through and ends; otherwise it goes on with whatever you write."""
import os
import shutil
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from bed import ROOT, Bed, users_made
from refserver import RefServer
from tap import until

CHECK = os.environ.get("DEMO") == "check"
GOOD = """receivers:
  hostmetrics:
    collection_interval: 5s
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
BAD = GOOD.replace("exporters: [debug]", "exporters: [nosuch]").replace("  debug:", "  nosuch:")


def say(text=""):
    print(text, flush=True)


def indented(text):
    say("".join(f"    {line}\n" for line in text.rstrip("\n").splitlines()))


def offer(server, text):
    config_hash = server.offer({"": text})
    told = 0
    end = time.monotonic() + 60
    while time.monotonic() < end:
        ours = [s for s in server.agent().get("statuses") or [] if s["hash"] == config_hash]
        for status in ours[told:]:
            say(f"  {status['status'].removeprefix('RemoteConfigStatuses_')} {config_hash[:12]} {status['error']}")
        told = len(ours)
        if ours and ours[-1]["status"].endswith(("_APPLIED", "_FAILED")):
            return ours[-1]["status"].rsplit("_", 1)[1]
        time.sleep(0.02)
    raise AssertionError("no final status in 60 s")


def own_metrics(uid):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def look():
        try:
            with opener.open("http://127.0.0.1:8888/metrics", timeout=5) as r:
                lines = r.read().decode().splitlines()
        except OSError:
            return None
        return [line for line in lines if uid in line] or None
    return until(look, 20, "the Collector's own metrics on port 8888")[0]


def walk(bed, server):
    settings = bed.settings(server)
    text = (f"server:\n  endpoint: {server.url}\ncapabilities:\n  accepts_remote_config: true\n  reports_remote_config: true\n"
            f"  accepts_restart_command: true\nagent:\n  executable: {bed.agent}\n  working_directory: {bed.path('var', 'work')}\n"
            f"  log:\n    directory: {bed.path('var', 'log')}\n"
            f"storage:\n  directory: {settings['storage']['directory']}\ncontrol:\n  socket: {bed.path('var', 'control.sock')}\n")
    say(f"1. An OpAMP server listens at {server.url}.  The settings ({bed.path('opampd.yaml')}):")
    indented(text)
    daemon = bed.daemon(server, text)
    agent = server.wait(lambda a: a["healthy"] and a["identifying"].get("service.version"), 30, "a healthy Collector")
    say("2. opampd runs; the server lists its agent:")
    for key, value in {**agent["identifying"], **agent["non_identifying"]}.items():
        say(f"    {key}: {value}")
    say()
    say("3. The server offers a configuration: host metrics, printed:")
    indented(GOOD)
    assert offer(server, GOOD) == "APPLIED"
    server.wait_effective("hostmetrics")
    pid = daemon.agent()
    uid = agent["uid"]
    uid = f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:]}"
    say("4. It is in force, and the Collector's own metrics carry the instance id:")
    indented(own_metrics(uid)[:300])
    say("5. A configuration with an exporter that does not exist:")
    assert offer(server, BAD) == "FAILED"
    assert daemon.agent() == pid
    say("  The Collector was not touched.\n")
    say("6. What opampd says on the host (opampctl status, opampctl sandbox):")
    for verb in ("status", "sandbox"):
        indented(bed.ctl(verb)[1])
    return daemon


def go_on(bed, server):
    path = bed.path("remote.yaml")
    bed.write("remote.yaml", GOOD)
    say(f"Now it is yours: change {path} and press Enter to offer it.\n"
        f"    {bed.path('opampctl')} -s {bed.path('var', 'control.sock')} health\n    tail -f {bed.path('var', 'log', 'agent.log')}\n"
        "Control-D or Control-C ends everything.")
    try:
        for _ in sys.stdin:
            with open(path, encoding="utf-8") as f:
                offer(server, f.read())
    except KeyboardInterrupt:
        pass


def main():
    if not shutil.which("go") and not os.path.exists(os.path.join(os.environ["O"], "interop", "server")):
        sys.exit("make demo needs Go for the server, until opamphub is there")
    users_made()
    with Bed("root" if ROOT else "user", "interop/otelcol") as bed:
        server = RefServer()
        bed.servers.append(server)
        daemon = walk(bed, server)
        if not CHECK:
            go_on(bed, server)
        say("7. The end: goodbye to the server, the Collector stops.")
        if daemon.stop(30) != 0:
            sys.exit("opampd did not end well")
        assert server.agent()["disconnects"] == 1
    say("Done.")


main()
