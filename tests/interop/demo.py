#!/usr/bin/python3
"""make demo: opampd at work, step by step, on this machine and with nothing outside it.

With a Collector (built where Go is present, or $OTELCOL_BINARY) that is the agent; otherwise
prometheus-node-exporter is.  With Go the server is the reference library's; otherwise a scripted one.
DEMO=check: nobody is waited for; every step is checked all the same.  Whatever happens, nothing is
left running and no file stays.
"""
import os
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import isolated
from bed import ROOT, Bed, users_made
from tap import until

CHECK = os.environ.get("DEMO") == "check"
INTEROP = os.path.join(os.environ["O"], "interop")
# Control-C is for this program: what it started is ended in order, and also if this one is killed
ALONE = ("setpriv", "--pdeathsig", "TERM", "setsid")


def say(text=""):
    print(text, flush=True)


def indented(text):
    say("".join(f"    {line}\n" for line in text.rstrip("\n").splitlines()))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def fetch(url):
    """Headers and text, or None; never through a proxy of the environment."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as r:
            return r.headers, r.read().decode()
    except (OSError, urllib.error.URLError):
        return None


# ---- the agents: what they are told, and how it is seen that they do it

class Collector:
    name = "a Collector"
    program = "interop/otelcol"
    good = """receivers:
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
    good_is = "host metrics, printed"
    bad = good.replace("exporters: [debug]", "exporters: [nosuch]").replace("  debug:", "  nosuch:")
    bad_is = "an exporter that does not exist: its own check finds that"
    effective = "hostmetrics"
    restarts_on_bad = False
    settings = ""

    def __init__(self):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", 8888))
            except OSError:
                sys.exit("demo: port 8888 is in use on this machine, and the Collector's own metrics are there: "
                         "end what listens on it (ss -ltnp 'sport = :8888')")

    def evidence(self, uid):
        def look():
            got = fetch("http://127.0.0.1:8888/metrics")
            return got and [line for line in got[1].splitlines() if uid in line]
        return "the Collector's own metrics (port 8888) carry the instance id", \
            until(look, 20, "the Collector's own metrics on port 8888")[0][:300]


class NodeExporter:
    name = "prometheus-node-exporter"
    program = "/usr/bin/prometheus-node-exporter"
    good = """http_server_config:
  headers:
    X-Frame-Options: deny
"""
    good_is = "a header for all it serves"
    bad = good.replace("X-Frame-Options: deny", "X-Frame-Options: perhaps")
    bad_is = "a value that it does not take, which it says only when it starts"
    effective = "X-Frame-Options"
    restarts_on_bad = True

    def __init__(self):
        self.url = f"http://127.0.0.1:{free_port()}/metrics"
        address = self.url.removeprefix("http://").removesuffix("/metrics")
        self.settings = (f"  type: generic\n  args:\n    - --web.listen-address={address}\n    - --web.config.file=${{config}}\n"
                         f"    - --collector.disable-defaults\n    - --collector.cpu\n"
                         f"  health:\n    endpoint: {self.url}\n    interval: 1s\n")

    def evidence(self, _uid):
        def look():
            got = fetch(self.url)
            return got and got[0].get("X-Frame-Options") == "deny" and got
        headers, text = until(look, 20, "its answer with the header")
        lines = [line for line in text.splitlines() if line.startswith("node_cpu_seconds_total")]
        return "what it serves has the header", f"X-Frame-Options: {headers['X-Frame-Options']}\n{lines[0]}"


# ---- the servers: one way of asking

class Reference:
    """tests/interop/server, on the reference library."""
    name = "on the Go reference library"

    def __init__(self):
        from refserver import RefServer
        self.server = RefServer(wrapper=ALONE)
        self.url, self.end, self.tell = self.server.url, self.server.end, self.server.tell

    def look(self):
        a = self.server.agent()
        return a and {"healthy": a["healthy"], "identifying": a["identifying"], "other": a["non_identifying"],
                      "effective": list(a["effective"].values()), "uid": a["uid"], "goodbyes": a["disconnects"],
                      "statuses": [(s["status"].rsplit("_", 1)[1], s["hash"], s["error"]) for s in a["statuses"] or []]}

    def offer(self, text):
        return self.server.offer({"": text})


class Scripted:
    """tests/lib/opampserver.py, in this program."""
    name = "the tests' scripted one, in Python"

    def __init__(self):
        from opampserver import Server
        self.server = Server()
        self.url, self.end, self.tell = self.server.url, self.server.end, self.server.tell

    def look(self):
        with self.server.changed:
            messages = [r.msg for r in self.server.messages]
        if not messages:
            return {}
        healthy, identifying, other, effective = False, {}, {}, []
        for m in messages:
            if m.HasField("health"):
                healthy = m.health.healthy
            if m.HasField("agent_description"):
                identifying, other = ({kv.key: kv.value.string_value or kv.value for kv in pairs} for pairs in (
                    m.agent_description.identifying_attributes, m.agent_description.non_identifying_attributes))
            if m.HasField("effective_config"):
                effective = [f.body.decode() for f in m.effective_config.config_map.config_map.values()]
        names = {0: "UNSET", 1: "APPLIED", 2: "APPLYING", 3: "FAILED"}
        return {"healthy": healthy, "identifying": identifying, "other": other, "effective": effective,
                "uid": messages[-1].instance_uid.hex(), "goodbyes": sum(m.HasField("agent_disconnect") for m in messages),
                "statuses": [(names[status], of.hex(), error) for status, of, error in self.server.statuses()]}

    def offer(self, text):
        return self.server.offer({"": text}).hex()


def offer(server, text):
    """Offers, tells every status as it comes, gives the last one."""
    known = len(server.look().get("statuses") or [])
    config_hash = server.offer(text)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        new = (server.look().get("statuses") or [])[known:]
        for status, of, error in new:
            if of == config_hash:
                say(f"  {status} {of[:12]}" + (f": {error}" if error else ""))
                if status in ("APPLIED", "FAILED"):
                    return status
        known += len(new)
        time.sleep(0.02)
    raise AssertionError("no final status in 60 s")


# ---- the walkthrough

def settings_text(bed, server, agent):
    return (f"server:\n  endpoint: {server.url}\ncapabilities:\n  accepts_remote_config: true\n"
            f"  reports_remote_config: true\n  accepts_restart_command: true\nagent:\n  executable: {bed.agent}\n{agent.settings}"
            f"  working_directory: {bed.path('var', 'work')}\n  log:\n    directory: {bed.path('var', 'log')}\n"
            f"storage:\n  directory: {bed.storage()}\ncontrol:\n  socket: {bed.path('var', 'control.sock')}\n")


def walk(bed, server, agent):
    text = settings_text(bed, server, agent)
    say(f"1. An OpAMP server ({server.name}) listens at {server.url}.\n"
        f"   opampd is to run {agent.name}.  Its settings ({bed.path('opampd.yaml')}):\n")
    indented(text)
    daemon = bed.daemon(server, text, wrapper=ALONE)

    def well():
        if daemon.process.poll() is not None:
            raise AssertionError("opampd could not start; it said why:\n" + "\n".join(daemon.log()))
        seen = server.look()
        return seen and seen["healthy"] and seen["identifying"] and seen
    seen = until(well, 30, "a healthy agent at the server")
    say("2. opampd runs, and started the agent; the server now lists it, healthy:\n")
    indented("\n".join(f"{key}: {value}" for key, value in {**seen["identifying"], **seen["other"]}.items()))
    say(f"3. The server offers a configuration, {agent.good_is}:\n")
    indented(agent.good)
    assert offer(server, agent.good) == "APPLIED", "a good configuration was refused"
    until(lambda: any(agent.effective in text for text in server.look()["effective"]), 30, "the effective configuration")
    uid = seen["uid"]
    what, line = agent.evidence(f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:]}")
    say(f"\n4. It is in force: the server was shown it, and {what}:\n")
    indented(line)
    pid = daemon.agent()
    say(f"5. The server offers a bad one, {agent.bad_is}:")
    assert offer(server, agent.bad) == "FAILED", "a bad configuration was taken"
    if agent.restarts_on_bad:
        until(lambda: server.look()["healthy"], 30, "the agent to be well again")
        agent.evidence(uid)
        say("   The agent runs on the last good one again.\n")
    else:
        assert daemon.agent() == pid, "the agent was restarted"
        say("   The agent was not touched.\n")
    say("6. What opampd says on the host (opampctl status, opampctl sandbox):\n")
    for verb in ("status", "sandbox"):
        indented(bed.ctl(verb)[1])
    return daemon


def go_on(bed, server, agent):
    bed.write("remote.yaml", agent.good)
    ctl = f"{bed.path('opampctl')} -s {bed.path('var', 'control.sock')}"
    say(f"Now it is yours, in another terminal:\n    {ctl} status        (also health, history, config, log -f, restart)\n"
        f"    $EDITOR {bed.path('remote.yaml')}        then press Enter here: the server offers what is in it\n"
        "Control-C ends everything.")
    for _ in sys.stdin if sys.stdin.isatty() else ():
        with open(bed.path("remote.yaml"), encoding="utf-8") as f:
            offer(server, f.read())
    while not sys.stdin.isatty():
        signal.pause()


def finish(daemon, server):
    say("\n7. The end: the agent is stopped, the server is told goodbye.")
    assert daemon.stop(30) == 0, "opampd did not end well"
    until(lambda: server.look()["goodbyes"] == 1, 5, "the goodbye at the server")
    say("Done: nothing runs any more, and the files are removed." + (
        "  The users _opampd_* that root's opampd needs stay." if ROOT else ""))


def choose():
    """The agent, its program below the build or on the host, and the server."""
    collector = os.path.exists(os.path.join(INTEROP, "otelcol"))
    agent = Collector() if collector else NodeExporter()
    server = Reference if os.path.exists(os.path.join(INTEROP, "server")) else Scripted
    if not collector:
        say("There is no Go on this machine to build a Collector with, and $OTELCOL_BINARY names none:\n"
            f"the demo runs {agent.name} in its place.  All else is the same.\n")
    return agent, server()


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, interrupted)
    users_made()
    if CHECK and ROOT:  # nobody looks: a network of its own, where no port is taken
        isolated.enter(())
    agent, server = choose()
    try:
        with Bed("root" if ROOT else "user", agent.program) as bed:
            bed.servers.append(server)
            if isinstance(agent, NodeExporter):
                bed.agent = os.path.realpath(agent.program)
            try:
                daemon = walk(bed, server, agent)
                if not CHECK:
                    go_on(bed, server, agent)
            except KeyboardInterrupt:
                if not bed.daemons:
                    return
                daemon = bed.daemons[0]
                if server.look() == {}:  # too early to have been there
                    daemon.stop(30)
                    return
            finish(daemon, server)
    except KeyboardInterrupt:
        sys.exit("\nInterrupted: all was ended.")
    except AssertionError as e:
        sys.exit(f"\ndemo FAILED: {e}")


main()
