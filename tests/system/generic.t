#!/usr/bin/python3
"""Agents that opampd has no line of code for: prometheus-node-exporter and rsyslog as Debian ships them."""
import ctypes
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from bed import NOBODY, ROOT, Bed, for_all, users_made
from examples import from_example
from opampserver import APPLIED, APPLYING, FAILED
from tap import Skip, same, until

EXPORTER = "/usr/bin/prometheus-node-exporter"
RSYSLOG = "/usr/sbin/rsyslogd"
HEADER = "http_server_config:\n  headers:\n    X-Frame-Options: %s\n"


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Agent:
    """A bed with the program where its package has put it."""

    def __init__(self, user, program):
        if not os.path.exists(program):
            raise Skip(f"{program} is not installed")
        self.bed = Bed(user, agent=program)
        self.bed.agent = program
        self.port = free_port()

    def __enter__(self):
        self.bed.__enter__()
        return self

    def __exit__(self, *what):
        pids = self.daemon.agents() if getattr(self, "daemon", None) else []
        self.bed.__exit__(*what)
        left = [p for p in pids if proc.alive(p)]
        for pid in left:
            proc.kill(pid)
        if left and what[0] is None:
            raise AssertionError(f"the agent runs after the end: {left}")

    def start(self, agent=None, over=None, text=None):
        self.server = self.bed.server()
        if text is None:
            over = dict(over or {})
            over["agent"] = agent
        self.daemon = self.bed.daemon(self.server, text or over)
        return self.server, self.daemon

    def whose(self, pid):
        """The agent runs as its user, with its capabilities gone and its sandbox on."""
        s = proc.status(pid)
        uid = s["Uid"].split()[0]
        if self.bed.user == "root":
            want = subprocess.run(["id", "-u", "_opampd_agent"], capture_output=True, text=True, check=True).stdout.strip()
        else:
            want = str(NOBODY if ROOT else os.geteuid())
        same(uid, want, "the agent's uid")
        same((s["CapEff"], s["NoNewPrivs"], s["Seccomp"]), ("0" * 16, "1", "2"), "capabilities, no_new_privs, seccomp")


def node(user):
    return Agent(user, EXPORTER)


def node_settings(agent, **more):
    settings = {"type": "generic", "config_name": "web.yaml",
                "args": [f"--web.listen-address=127.0.0.1:{agent.port}", "--web.config.file=${config}"],
                "health": {"endpoint": f"http://127.0.0.1:{agent.port}/metrics", "interval": "300ms"}}
    settings.update(more)
    return settings


def scrape(port, path="/metrics"):
    """(headers, text), or None."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=5) as r:
            return r.headers, r.read().decode()
    except OSError:
        return None


def frame_options(port):
    got = scrape(port)
    return got[0].get("X-Frame-Options") if got else None


def collectors(text, success):
    return set(re.findall(rf'node_scrape_collector_success\{{collector="(\w+)"\}} {success}\n', text))


def applied(server, files):
    server.wait(lambda m: True, 15, "the agent's first message")
    since = server.mark()
    config_hash = server.offer(files)
    server.wait_status(APPLIED, config_hash, 15, since)
    told = [status for status, of, _ in server.statuses(since) if of == config_hash]
    same(told, [APPLYING, APPLIED] if files else [APPLIED], "what was told of it")  # there is nothing to try in an empty map


def refused(server, files, *words):
    since = server.mark()
    config_hash = server.offer(files)
    why = server.wait_status(FAILED, config_hash, since=since).msg.remote_config_status.error_message
    for word in words:
        assert word in why, f"{word!r} is not in the reason: {why!r}"
    return why


# ---- node exporter

def node_life(user):
    with node(user) as agent:
        server, daemon = agent.start(node_settings(agent))
        server.wait_healthy()
        first = server.messages[0].msg
        told = {a.key: a.value.string_value for a in [*first.agent_description.identifying_attributes,
                                                      *first.agent_description.non_identifying_attributes]}
        same(told["service.name"], "prometheus-node-exporter", "service.name")
        same((told["os.type"], told["host.name"]), ("linux", socket.gethostname()), "os.type and host.name")
        assert told["os.description"] and told["host.arch"] and told["service.instance.id"], told
        pid = daemon.agent()
        agent.whose(pid)
        # configured, twice
        applied(server, {"web.yaml": HEADER % "deny"})
        same(frame_options(agent.port), "deny", "the header that the configuration asks for")
        server.wait_effective("X-Frame-Options: deny")
        assert daemon.agent() != pid, "never restarted"
        # several files merge, as they do for a Collector
        applied(server, {"a.yaml": HEADER % "deny", "b.yaml": HEADER % "sameorigin"})
        same(frame_options(agent.port), "sameorigin", "the header")
        pid = daemon.agent()
        # not YAML at all: never tried
        refused(server, {"web.yaml": "a: [\n"}, "web.yaml")
        same(daemon.agent(), pid, "the agent's pid")
        # dies at its start: its own words, and the last one runs again
        since = server.mark()
        refused(server, {"web.yaml": "tls_server_config:\n  cert_file: /nowhere\n  key_file: /nowhere\n"},
                "exit code 1", "failed to load X509KeyPair: open /nowhere")
        server.wait_healthy(since=since)
        same(until(lambda: frame_options(agent.port), 5, "the exporter"), "sameorigin", "the header after the rollback")
        # runs, but its health endpoint wants a password now: not well, not kept
        refused(server, {"web.yaml": "basic_auth_users:\n  a: $2b$04$N7XwWUGYL8WlFYbn6bQC6.gX6NZ0hJOGxPGGFOVsU0JL2PCo4zVlW\n"}, "401")
        until(lambda: frame_options(agent.port) == "sameorigin", 5, "the exporter on the last good configuration")
        # probes of a hundred kilobytes each left no complaint
        assert "broken pipe" not in agent.bed.agent_log()
        assert "listening" in agent.bed.agent_log().lower()


def node_crash(user):
    with node(user) as agent:
        server, daemon = agent.start(node_settings(agent))
        server.wait_healthy()
        applied(server, {"web.yaml": HEADER % "deny"})
        pid = daemon.agent()
        since = server.mark()
        watch = proc.Stopwatch(daemon.pid, *daemon.children().values())
        proc.kill(pid)
        server.wait_healthy(False, since=since, text="signal 9")
        again = daemon.agent(other_than=pid)
        server.wait_healthy(since=since)
        took = watch.took(again)
        assert took < 3, f"well again after {took} s"
        same(frame_options(agent.port), "deny", "the header after the crash")
        # asked by the server
        pid = daemon.agent()
        since = server.mark()
        server.command_restart()
        daemon.agent(other_than=pid)
        server.wait_healthy(since=since)
        # it hangs: its health endpoint tells
        pid = daemon.agent()
        since = server.mark()
        proc.kill(pid, 19)
        server.wait_healthy(False, since=since, seconds=20, text="did not answer")
        proc.kill(pid, 18)
        server.wait_healthy(since=since)
        same(daemon.agent(), pid, "the agent's pid: hanging is told, not punished")


def node_empty(user):
    with node(user) as agent:
        server, daemon = agent.start(node_settings(agent))
        server.wait_healthy()
        pid = daemon.agent()
        applied(server, {"": ""})
        same(daemon.agent(), pid, "the agent's pid: an empty body adds nothing")
        applied(server, {})
        daemon.no_agent()
        applied(server, {"web.yaml": HEADER % "deny"})
        same(frame_options(agent.port), "deny", "the header")
        begun = time.monotonic()
        same(daemon.stop(), 0, "exit status")
        took = time.monotonic() - begun
        assert took < 2.5, f"the exporter ends at SIGTERM by itself, but that took {took} s"


def node_collectors(user):
    """What the sandbox costs: nothing of what the user may see."""
    with node(user) as agent:
        server, daemon = agent.start(node_settings(agent))
        server.wait_healthy()
        uid = proc.status(daemon.agent())["Uid"].split()[0]
        inside = scrape(agent.port)[1]
        bare = free_port()
        command = [EXPORTER, f"--web.listen-address=127.0.0.1:{bare}"]
        if ROOT:
            command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"] + command
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd="/") as p:
            try:
                outside = until(lambda: scrape(bare), 10, "an exporter without a sandbox")[1]
            finally:
                p.terminate()
        same(collectors(outside, 1) - collectors(inside, 1), set(), "collectors that the standard sandbox takes away")
        daemon.stop()
        text = from_example("node-exporter.yaml", agent.bed, server, {"9100": str(agent.port)})
        daemon = agent.daemon = agent.bed.daemon(server, text)
        since = server.mark()
        daemon.agent()
        until(lambda: scrape(agent.port), 10, "the exporter in the strict sandbox")
        strict = scrape(agent.port)[1]
        same(collectors(outside, 1) - collectors(strict, 1), set(), "collectors that the example takes away")
        server.wait_healthy(since=since)
        agent.whose(daemon.agent())


def landlock_version():
    return ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1)


def node_strict_port(user):
    if landlock_version() < 4:
        raise Skip("this kernel's Landlock knows no ports")
    with node(user) as agent:
        other = free_port()
        text = from_example("node-exporter.yaml", agent.bed, "ws://127.0.0.1:9/", {"9100": str(agent.port)})
        text = text.replace(f"--web.listen-address=127.0.0.1:{agent.port}", f"--web.listen-address=127.0.0.1:{other}")
        daemon = agent.daemon = agent.bed.daemon(None, text)
        until(lambda: "permission denied" in agent.bed.agent_log(), 10, "a port that is not on the list to be refused")
        until(lambda: "exit" in agent.bed.ctl("status")[1], 5, "opampctl status to tell")
        daemon.stop()


# ---- rsyslog

def rsyslog(user):
    return Agent(user, RSYSLOG)


def syslog_conf(agent, name="all.log", more=""):
    return (f'{more}module(load="imudp")\ninput(type="imudp" address="127.0.0.1" port="{agent.port}")\n'
            f'template(name="bare" type="string" string="%msg%\\n")\n'
            f'*.* action(type="omfile" file="{agent.bed.path("var", "work", name)}" template="bare")\n')


def say(agent, text):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(f"<14>Nov 25 12:00:00 here test: {text}\n".encode(), ("127.0.0.1", agent.port))


def heard(agent, text, name="all.log"):
    """A datagram may go by while it starts: it is said again."""
    path = agent.bed.path("var", "work", name)

    def look():
        say(agent, text)
        time.sleep(0.02)
        try:
            with open(path, encoding="utf-8") as f:
                return text in f.read()
        except FileNotFoundError:
            return False
    until(look, 5, f"{text!r} in {name}")


def rsyslog_text(agent, server):
    return from_example("rsyslog.yaml", agent.bed, server, {})


def rsyslog_life(user):
    with rsyslog(user) as agent:
        server = agent.bed.server()
        daemon = agent.daemon = agent.bed.daemon(server, rsyslog_text(agent, server))
        server.wait_healthy(False, text="waiting for the server's")
        same(daemon.agents(), [], "agents before the server has sent anything")
        applied(server, {"rsyslog.conf": syslog_conf(agent)})
        server.wait_effective("imudp")
        agent.whose(daemon.agent())
        heard(agent, "first words")
        # refused by its own check: never tried, its own words
        pid = daemon.agent()
        refused(server, {"rsyslog.conf": "nonsense {\n"}, "syntax error on token '{'", "exit code 1")
        refused(server, {"rsyslog.conf": 'module(load="imnothing")\n' + syslog_conf(agent)}, "could not load module 'imnothing'")
        same(daemon.agent(), pid, "the agent's pid after what its check refused")
        # two files: raw is one
        refused(server, {"a": syslog_conf(agent), "b": ""}, "exactly one file")
        # passes the check, dies at its start: back on the old one
        since = server.mark()
        refused(server, {"rsyslog.conf": syslog_conf(agent, "bad.log", "$PrivDropToUser daemon\n")}, "could not set requested userid")
        server.wait_healthy(since=since)
        heard(agent, "after the rollback")
        assert not os.path.exists(agent.bed.path("var", "work", "bad.log"))
        # reconfigured
        applied(server, {"rsyslog.conf": syslog_conf(agent, "second.log")})
        heard(agent, "elsewhere now", "second.log")
        # not even a rule may write where only opampd does
        pid = daemon.agent()
        state = agent.bed.storage("stolen")
        applied(server, {"rsyslog.conf": syslog_conf(agent).replace(agent.bed.path("var", "work", "all.log"), state)})
        pid = daemon.agent(other_than=pid)
        say(agent, "steal")
        time.sleep(0.3)
        assert not os.path.exists(state), "the agent wrote into opampd's state"


def rsyslog_writes(user):
    """agent.sandbox: standard: its own directory, and what the settings list."""
    if landlock_version() < 1:
        raise Skip("this kernel has no Landlock")
    with rsyslog(user) as agent:
        listed, other = agent.bed.path("listed"), agent.bed.path("other")
        for path in (listed, other):
            os.mkdir(path)
            os.chmod(path, 0o777)
        server = agent.bed.server()
        text = rsyslog_text(agent, server).replace("\nagent:\n", f"\nagent:\n  strict:\n    write: [{listed}]\n")
        agent.daemon = agent.bed.daemon(server, text)
        lines = "".join(f'*.* action(type="omfile" file="{path}/x.log" template="bare")\n' for path in (other, listed))
        applied(server, {"rsyslog.conf": syslog_conf(agent) + lines})
        heard(agent, "to all places")
        until(lambda: os.path.exists(f"{listed}/x.log"), 5, "the file at the place that is listed")
        same(os.listdir(other), [], "files where nothing is listed")


def rsyslog_crash(user):
    with rsyslog(user) as agent:
        server = agent.bed.server()
        daemon = agent.daemon = agent.bed.daemon(server, rsyslog_text(agent, server))
        applied(server, {"rsyslog.conf": syslog_conf(agent)})
        pid = daemon.agent()
        for _ in range(3):
            since = server.mark()
            proc.kill(pid)
            server.wait_healthy(False, since=since, text="signal 9")
            pid = daemon.agent(other_than=pid)
            server.wait_healthy(since=since)
        heard(agent, "after the crashes")
        applied(server, {})
        daemon.no_agent()
        daemon.stop()
        # stopped is remembered; a new one starts it
        daemon = agent.daemon = agent.bed.daemon(server, rsyslog_text(agent, server))
        server.wait_connections(2)
        applied(server, {"rsyslog.conf": syslog_conf(agent, "third.log")})
        heard(agent, "again", "third.log")
        # offline: what was committed runs
        daemon.stop()
        server.stop()
        daemon = agent.daemon = agent.bed.daemon(server, rsyslog_text(agent, server))
        daemon.agent()
        heard(agent, "without a server", "third.log")
        begun = time.monotonic()
        daemon.stop()
        took = time.monotonic() - begun
        assert took < 3, f"rsyslog ends at SIGTERM by itself, but that took {took} s"


def rsyslog_reload(user):
    """What the server sends is a lookup table; rsyslog reads it again at SIGHUP, and goes on."""
    with rsyslog(user) as agent:
        for name, table in (("rsyslog.conf", "table.json"), ("check.conf", "candidate/table.json")):
            agent.bed.write(name,
                            f'lookup_table(name="t" file="{agent.bed.storage("agent", table)}" reloadOnHUP="on")\n'
                            f'module(load="imudp")\ninput(type="imudp" address="127.0.0.1" port="{agent.port}" ruleset="r")\n'
                            'template(name="bare" type="string" string="%msg% %$.v%\\n")\n'
                            'ruleset(name="r") {\n  set $.v = lookup("t", "key");\n'
                            f'  action(type="omfile" file="{agent.bed.path("var", "work", "all.log")}" template="bare")\n}}\n')
        server, daemon = agent.start({
            "type": "generic", "config_format": "raw", "config_name": "table.json", "use_hup_config_reload": True,
            "args": ["-n", "-iNONE", "-f", agent.bed.path("rsyslog.conf")],
            "validate_args": ["-N1", "-f", agent.bed.path("check.conf")]})  # no reload of what nothing has checked

        def lookup(value):
            return '{"version": 1, "nomatch": "none", "type": "string", "table": [{"index": "key", "value": "%s"}]}\n' % value

        applied(server, {"table.json": lookup("one")})
        heard(agent, "first one")
        pid = daemon.agent()
        time.sleep(0.5)  # by signal only when it has been well for settling_time (300 ms here)

        def hears(value):
            say(agent, "now")
            with open(agent.bed.path("var", "work", "all.log"), encoding="utf-8") as f:
                return f"now {value}\n" in f.read()
        applied(server, {"table.json": lookup("two")})
        until(lambda: hears("two"), 5, "the table that was reloaded")
        same(daemon.agent(), pid, "the agent's pid over a reload")
        refused(server, {"table.json": "{"}, "json parsing error")
        until(lambda: hears("two"), 5, "the old table still")
        same(daemon.agent(), pid, "the agent's pid after a table that is none")


# ---- what no agent may

def forbidden_call(user):
    with Agent(user, "/usr/bin/unshare") as agent:
        server, daemon = agent.start({"type": "generic", "args": ["--user", "/bin/true"]})
        why = server.wait_healthy(False, text="signal 31").msg.health.last_error
        assert "agent.sandbox" in why, why
        until(lambda: "signal 31" in agent.bed.ctl("status")[1], 5, "opampctl status to tell")
        daemon.stop()


# ---- the examples

def examples_checked(user):
    """opampd -n has nothing to say against any example but that a program is not there."""
    from examples import EXAMPLES
    found = sorted(os.listdir(EXAMPLES))
    assert {"node-exporter.yaml", "rsyslog.yaml", "collector-strict.yaml"} <= set(found), found
    with Bed(user) as bed:
        for name in found:
            with open(os.path.join(EXAMPLES, name), encoding="utf-8") as f:
                text = f.read()
            program = re.search(r"^  executable: (\S+)$", text, re.M).group(1)
            if not os.path.exists(program):
                text = text.replace(program, bed.agent)
            if name == "instance.yaml":  # of a second agent, with places and a user that only its unit makes
                text = re.sub(r"^  run_as: .*\n", "", text, flags=re.M)
                for there, here in (("/var/lib/opampd@web/state", bed.storage()), ("/var/lib/opampd@web/agent", bed.path("var", "work")),
                                    ("/run/opampd@web", bed.path("var")), ("/var/log/opampd@web", bed.path("var", "log"))):
                    assert there in text, f"{there} is not in {name}"
                    text = text.replace(there, here)
            else:
                text += f"\nstorage:\n  directory: {bed.storage()}\n"
            bed.write("opampd.yaml", text)
            r = subprocess.run(bed.as_user([bed.path("opampd"), "-n", "-f", bed.path("opampd.yaml")]), capture_output=True,
                               text=True, timeout=30, check=False)
            same((name, r.returncode, r.stderr), (name, 0, f"{bed.path('opampd.yaml')}: configuration OK\n"), "opampd -n")


TESTS = [
    ("DE-01 HL-01 CF-05 node exporter: run, described, configured, refused, rolled back, watched", node_life),
    ("HL-01 HL-02 RC-01 node exporter: crashed, restarted, hanging", node_crash),
    ("CF-05 node exporter: an empty body, an empty map, an end", node_empty),
    ("node exporter: the sandbox, standard and strict, takes no collector away", node_collectors),
    ("node exporter: strict refuses a port that is not listed", node_strict_port),
    ("CF-05 HL-02 rsyslog: run, checked, refused, rolled back, reconfigured", rsyslog_life),
    ("rsyslog: the standard sandbox lets it write where the settings say, and nowhere else", rsyslog_writes),
    ("HL-01 rsyslog: crashed, stopped, offline", rsyslog_crash),
    ("CF-05 rsyslog: reloaded by signal", rsyslog_reload),
    ("HL-02 a call that the sandbox forbids: the report tells where to look", forbidden_call),
    ("the examples pass opampd -n", examples_checked),
]

users_made()
tap.run(for_all(TESTS))
