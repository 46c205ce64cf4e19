"""The measurements.  Each takes a Lab and fills rows of its table."""
import os
import re
import signal
import subprocess
import tempfile
import time

import proc
from bed import BUILD, PROGRAMS
from measure import Watch, age, children, cost, descriptors, memory
from products import PRODUCTS, SUPERVISOR, Opampd, Supervisor
from refserver import RefServer
from tap import until

GOOD = """receivers:
  nop: {{}}
exporters:
  nop: {{}}
processors:
  batch/{number}: {{}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [nop], processors: [batch/{number}], exporters: [nop]}}
"""


def good(number):
    return GOOD.format(number=number)


def good_of(size, number):
    """A configuration of about this many bytes: real components, one of them with long values."""
    line = "x" * 1000
    text = good(number).replace(f"  batch/{number}: {{}}\n",
                                f"  batch/{number}:\n    metadata_keys:\n" + "".join(
                                    f"      - k{i:06}{line}\n" for i in range(int(size) // 1016)))
    return text


def is_run(words):
    return "--config" in words and "validate" not in words


def is_status(which, config_hash):
    return lambda e: e.get("status", "") == f"RemoteConfigStatuses_{which}" and e["hash"] == config_hash


def offer(server, text):
    """(hash, when it left the server, number of the event)"""
    mark = len(server.events)
    config_hash = server.offer({"": text})
    return config_hash, server.wait_event(lambda e: e["event"] == "offer", 10, "the offer to leave", mark)["time"], mark


class Applied:
    """One offer, watched to its end; all in ms from when it left the server."""

    def __init__(self, p, text, sizes=False):
        server = p.server
        with Watch(p.pid, p.is_agent, sizes) as watch:
            config_hash, begun, mark = offer(server, text)
            end = p.event(lambda e: is_status("APPLIED", config_hash)(e) or is_status("FAILED", config_hash)(e), 120, "APPLIED", mark)
            if not is_status("APPLIED", config_hash)(end):
                raise AssertionError(f"{p.name}: not applied: {end['error']}")
            runs = until(lambda: watch.of(is_run, begun), 60, f"{p.name}: the Collector to be started")
        checks = watch.of(lambda words: "validate" in words, begun)
        self.total = (end["time"] - begun) * 1000
        # until the Collector is started on it, without the time of its own check
        self.given = (runs[0][1] - begun - (checks[0][2] - checks[0][1] if checks else 0)) * 1000
        self.peak = watch.peak


# ---- memory, idle, growth

def idle(lab, table):
    """Both at the same time, each on a server of its own: they share nothing, and neither does anything."""
    for _ in range(lab.idle_times):
        servers = [RefServer(events=True) for _ in PRODUCTS]
        running = []
        try:
            for P, server in zip(PRODUCTS, servers):
                running.append(P(server))
            for p in running:
                p.ready()
            time.sleep(lab.settle_seconds)  # the row says when it is looked at
            before = []
            for p in running:
                pids = p.processes()
                table.add("pss", p, memory(pids)[0])
                table.add("anonymous", p, memory(pids)[1])
                before.append((pids, cost(pids), time.monotonic()))
            time.sleep(lab.idle_seconds)
            for p, (pids, (cpu, woken), begun) in zip(running, before):
                after, minute = cost(pids), 60 / (time.monotonic() - begun)
                table.add("cpu", p, (after[0] - cpu) * minute)
                table.add("wakings", p, (after[1] - woken) * minute)
        finally:
            for p in running:
                p.end()
                p.bed.__exit__(None, None, None)
            for server in servers:
                server.end()


RECONNECT = {"server": {"reconnect": {"initial_delay": "10ms", "max_delay": "10ms"}}}


def reconnects(lab, table):
    for P in PRODUCTS:
        server = RefServer(events=True)
        try:
            with P(server, RECONNECT if P is Opampd else None) as p:
                p.ready()

                def churn(times, p=p, server=server):
                    server.request("churn", {"times": times})
                    until(lambda: server.state()["churn"] == 0, 60 + times, f"{times} reconnects")
                    until(lambda: server.agent().get("connected"), 60, "the last connection to stay")
                    until(lambda: not connecting(p), 30, "the last connector to be gone")
                churn(lab.reconnects // 10)  # what is made once is made
                pids = p.processes()
                used, held = memory(pids)[1], descriptors(pids)
                churn(lab.reconnects)
                same = p.processes()
                if same != pids:
                    raise AssertionError(f"{p.name}: processes were replaced: {pids} {same}")
                table.add("growth", p, (memory(pids)[1] - used) * 1000)
                table.add("descriptors", p, descriptors(pids) - held)
        finally:
            server.end()


def connecting(p):
    return any(proc.arguments(pid)[:1] == ["opampd-connect"] for pid in children(p.pid))


# ---- the first message

def first_message(lab, table):
    for P in PRODUCTS:
        for key, server_of, over in (("first-ws", lambda: RefServer(events=True), None),
                                     ("first-wss", lambda: RefServer(events=True, tls=lab.tls), lab.tls_settings)):
            for _ in range(lab.times):
                server = server_of()
                try:
                    with P(server, over) as p:
                        table.add(key, p, (p.first_message()["time"] - p.started) * 1000)
                        p.well()
                finally:
                    server.end()


# ---- applying and restarting

def alone(lab, table):
    """What the Collector takes by itself, with nobody above it: its own check, its start until it says that it
    is well (to the same server, as it says it to its supervisor), its end."""
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "alone.yaml")
        for i in range(lab.times):
            server = RefServer(events=True)
            try:
                with open(path, "w", encoding="utf-8") as f:
                    f.write(good(i).replace("service:\n", f"extensions:\n  opamp:\n    server: {{ws: {{endpoint: {server.url}}}}}\n"
                                                          "service:\n  extensions: [opamp]\n"))
                collector = os.path.join(BUILD, "interop", "otelcol")
                begun = time.time()
                subprocess.run([collector, "validate", "--config", path], check=True, env={}, capture_output=True)
                table.add("alone-validate", None, (time.time() - begun) * 1000)
                begun = time.time()
                with subprocess.Popen([collector, "--config", path], env={}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as c:
                    well = server.wait_event(lambda e: e.get("healthy") is True, 60, "the Collector alone to be well")
                    table.add("alone-start", None, (well["time"] - begun) * 1000)
                    begun = time.time()
                    c.terminate()
                    c.wait(30)
                    table.add("alone-stop", None, (time.time() - begun) * 1000)
            finally:
                server.end()


def apply(lab, table):
    alone(lab, table)
    for P in PRODUCTS:
        server = RefServer(events=True)
        try:
            with P(server) as p:
                p.ready()
                for i in range(lab.times if P is Opampd else lab.slow_times):
                    table.add("applied", p, Applied(p, good(i)).total)
                table.add("syncs", p, syncs(p))
        finally:
            server.end()


def share(lab, table):
    """opampd's own part of an apply: with an agent that checks, stops and starts at once, and without the wait."""
    server = RefServer(events=True)
    try:
        with Opampd(server, agent="tools/fakeagent") as p:
            p.ready()
            for i in range(lab.share_times):
                table.add("share", p, Applied(p, f"fake:\n  fake_name: n{i}\n").total - p.wait_ms)
    finally:
        server.end()


# each of these crashes shall be the first: the wait before a restart doubles otherwise
FIRST_CRASH = {"agent": {"restart": {"reset_after": "300ms"}}}


def restart(lab, table):
    """kill -9 of the Collector until there is a new one."""
    for P in PRODUCTS:
        server = RefServer(events=True)
        try:
            with P(server, FIRST_CRASH if P is Opampd else None) as p:
                p.ready()
                for _ in range(lab.times if P is Opampd else lab.slow_times):
                    old = p.agent()
                    until(lambda pid=old: age(pid) > 1, 10, "the Collector to have lived for a while")
                    with Watch(p.pid, p.is_agent) as watch:
                        begun = time.time()
                        os.kill(old, signal.SIGKILL)
                        new = until(lambda w=watch, t=begun, q=p: w.of(q.is_agent, t), 30, f"{p.name}: a new Collector")
                    table.add("restart", p, (new[0][1] - begun) * 1000)
        finally:
            server.end()


def syncs(p):
    """Calls that wait for the disk in one apply."""
    with tempfile.NamedTemporaryFile("r") as log:
        command = ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,sync,syncfs,sync_file_range,msync", "-e", "signal=none", "-o", log.name]
        for pid in p.processes():
            command += ["-p", str(pid)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as tracer:
            try:
                until(lambda: all(proc.status(pid).get("TracerPid") == str(tracer.pid) for pid in p.processes()), 20, "strace to look on")
                Applied(p, good("syncs"))
            finally:
                tracer.terminate()
                tracer.wait(20)
        return sum(1 for line in log if re.search(r"\b(fsync|fdatasync|sync|syncfs|sync_file_range|msync)\(", line))


# ---- large ones, many of them

def large(lab, table):
    for P in PRODUCTS:
        for size, key in ((1 << 20, "1"), (9.9 * (1 << 20), "10")):
            server = RefServer(events=True)
            try:
                with P(server, {"agent": {"config_apply_timeout": "60s"}} if P is Opampd else None) as p:
                    p.ready()
                    for i in range(lab.large_times):
                        a = Applied(p, good_of(size, i), sizes=True)
                        table.add(f"given-{key}", p, a.given)
                        table.add(f"peak-{key}", p, a.peak)
            finally:
                server.end()


def many_offers(_lab, table):
    for P in PRODUCTS:
        server = RefServer(events=True)
        try:
            with P(server) as p:
                p.ready()
                with Watch(p.pid, p.is_agent) as watch:
                    begun = time.time()
                    for i in range(200):
                        time.sleep(max(0, begun + i * 0.1 - time.time()))
                        config_hash, last, mark = offer(server, good(i))
                    end = p.event(is_status("APPLIED", config_hash), 120, "the last of 200 offers to be APPLIED", mark)
                table.add("many-restarts", p, len(watch.of(is_run, begun)))
                table.add("many-last", p, (end["time"] - last) * 1000)
        finally:
            server.end()


# ---- sizes

def sizes(_lab, table):
    with tempfile.TemporaryDirectory() as d:
        for P, programs in ((Opampd, [os.path.join(BUILD, name) for name in PROGRAMS]), (Supervisor, [SUPERVISOR])):
            total, loads = 0, set()
            for program in programs:
                copy = os.path.join(d, os.path.basename(program))
                subprocess.run(["strip", "-o", copy, program], check=True)
                total += os.path.getsize(copy)
                ldd = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
                loads.update(os.path.realpath(path) for path in re.findall(r"(/\S+) \(0x", ldd))
            table.add("binaries", P, total / 1e6)
            table.add("libraries", P, sum(os.path.getsize(path) for path in loads) / 1e6)
            table.note(f"{P.name} loads {len(loads)} shared libraries" + (": " + ", ".join(sorted(map(os.path.basename, loads))) if loads else ""))
