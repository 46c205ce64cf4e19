#!/usr/bin/python3
"""make demo: opampd at work, step by step, on this machine and with nothing outside it.

The control plane is opamphub, with its page.  With a Collector ($OTELCOL_BINARY, or the first on the
path, or built where Go is present) that is the agent; otherwise prometheus-node-exporter is.
DEMO=check: nobody is waited for; every step is checked all the same.  Whatever happens, nothing is
left running and no file stays.
"""
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import isolated
from bed import ROOT, Bed, users_made
from hub_bed import Hub
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


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


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


# ---- the control plane

class ControlPlane:
    """opamphub, asked by its API."""

    def __init__(self):
        ports = [4320, 4321]
        if not all(is_free(port) for port in ports):
            ports = [free_port(), free_port()]
        self.hub = Hub(wrapper=ALONE, ports=ports)
        self.url = f"ws://127.0.0.1:{self.hub.agents_port}/v1/opamp"
        self.page = f"http://127.0.0.1:{self.hub.page_port}/"

    def end(self):
        self.hub.close()

    def tell(self):
        return self.hub.log()

    def look(self):
        """What is known of the one agent; {} when it has not come yet."""
        items = self.hub.api("agents")["items"]
        return self.hub.api(f"agents/{items[0]['uid']}") if items else {}

    def offer(self, name, text):
        """Sends it, tells every status as it comes, gives the last one."""
        version, _ = self.hub.send_configuration(text, name, selector="")
        last = None
        end = time.monotonic() + 90
        while time.monotonic() < end:
            config = self.look()["config"]
            status = config["status"] if config["due"] == version and config["due_hash"] == config["hash"] else "offered"
            if status != last:
                say(f"  {status}" + (f": {config['error']}" if status == "failed" else ""))
            if status in ("applied", "failed"):
                return status
            last = status
            time.sleep(0.02)
        raise AssertionError("no final status in 90 s")


# ---- the walkthrough

def settings_text(bed, server, agent):
    return (f"server:\n  endpoint: {server.url}\ncapabilities:\n  accepts_remote_config: true\n"
            f"  reports_remote_config: true\n  accepts_restart_command: true\nagent:\n  executable: {bed.agent}\n{agent.settings}"
            f"  working_directory: {bed.path('var', 'work')}\n  log:\n    directory: {bed.path('var', 'log')}\n"
            f"storage:\n  directory: {bed.storage()}\ncontrol:\n  socket: {bed.path('var', 'control.sock')}\n")


def walk(bed, server, agent):
    text = settings_text(bed, server, agent)
    say(f"1. opamphub, a control plane, listens for agents at {server.url};\n   its page is {server.page}\n"
        f"   opampd is to run {agent.name}.  Its settings ({bed.path('opampd.yaml')}):\n")
    indented(text)
    daemon = bed.daemon(server, text, wrapper=ALONE)

    def well():
        if daemon.process.poll() is not None:
            raise AssertionError("opampd could not start; it said why:\n" + "\n".join(daemon.log()))
        seen = server.look()
        return seen and seen["healthy"] and seen["attributes"] and seen
    seen = until(well, 30, "a healthy agent at the hub")
    say("2. opampd runs, and started the agent; the hub now shows it, healthy:\n")
    indented("\n".join(f"{key}: {value}" for key, value in seen["attributes"].items()))
    say(f"3. A configuration is sent from the hub, {agent.good_is}:\n")
    indented(agent.good)
    assert server.offer("good", agent.good) == "applied", "a good configuration was refused"
    until(lambda: any(agent.effective in f["body"] for f in server.look()["effective"]["files"].values()), 30, "the effective configuration")
    uid = seen["uid"]
    what, line = agent.evidence(uid)
    say(f"\n4. It is in force: the hub was shown it, and {what}:\n")
    indented(line)
    pid = daemon.agent()
    say(f"5. A bad one is sent, {agent.bad_is}:")
    assert server.offer("bad", agent.bad) == "failed", "a bad configuration was taken"
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


def go_on(bed, server):
    ctl = f"{bed.path('opampctl')} -s {bed.path('var', 'control.sock')}"
    say(f"Now it is yours: open {server.page} in a browser on this machine, look at the agent, press \"Configure\", send it something.\n"
        f"Or in another terminal:\n    {ctl} status        (also health, history, config, log -f, restart)\n"
        "Control-C ends everything.")
    while True:
        signal.pause()


def finish(daemon, server):
    say("\n7. The end: the agent is stopped, the hub is told goodbye.")
    assert daemon.stop(30) == 0, "opampd did not end well"
    until(lambda: server.look()["connection"]["gone_why"] == "the agent said goodbye", 10, "the goodbye at the hub")
    say("Done: nothing runs any more, and the files are removed." + (
        "  The users _opampd_* that root's opampd needs stay." if ROOT else ""))


def choose():
    """The agent, its program below the build or on the host, and the control plane."""
    collector = os.path.exists(os.path.join(INTEROP, "otelcol"))
    agent = Collector() if collector else NodeExporter()
    if not collector:
        say("There is no Go on this machine to build a Collector with, and $OTELCOL_BINARY names none:\n"
            f"the demo runs {agent.name} in its place.  All else is the same.\n")
    return agent, ControlPlane()


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
                    go_on(bed, server)
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
