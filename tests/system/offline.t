#!/usr/bin/python3
"""The server is away, or comes and goes: the agent does not care."""
import json
import os
import sys
import time
from datetime import datetime

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from bed import Bed, for_all, users_made
from opampserver import APPLIED, APPLYING, FAILED
from tap import same, until

CONFIG = "fake:\n  fake_name: {}\n"


def started_within(daemon, seconds):
    watch = proc.Stopwatch(daemon.pid)
    pid = daemon.agent()
    took = watch.took(pid, *daemon.children().values())
    assert took < seconds, f"the agent ran after {took:.2f} s"
    return pid


def first_start(user):
    with Bed(user) as bed:
        server = bed.server()
        server.stop()
        bed.write("local.yaml", "fake:\n  fake_local: yes_it_runs\n")
        daemon = bed.daemon(server, {"agent": {"config_files": [bed.path("local.yaml")]}})
        pid = started_within(daemon, 2)
        with open(bed.storage("agent", "effective.yaml"), encoding="utf-8") as f:
            assert "yes_it_runs" in f.read()
        server.start()
        server.wait_healthy()
        server.wait_effective("yes_it_runs")
        same(daemon.agent(), pid, "the agent's pid")


def later_start(user):
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        config_hash = server.offer({"": CONFIG.format("kept")})
        server.wait_status(APPLIED, config_hash)
        uid = server.messages[-1].msg.instance_uid
        same(daemon.stop(), 0, "exit status")
        server.stop()
        since = server.mark()
        daemon = bed.daemon(server)
        pid = started_within(daemon, 1)
        with open(bed.storage("agent", "effective.yaml"), encoding="utf-8") as f:
            assert "fake_name: kept" in f.read()
        time.sleep(1)
        server.start()
        server.wait_healthy(since=since)
        same(daemon.agent(), pid, "the agent's pid")
        same({r.msg.instance_uid for r in server.messages[since:]}, {uid}, "the uid")
        status = server.wait_status(APPLIED, config_hash, since=since)
        assert status
        time.sleep(0.3)
        same([s for s, _, _ in server.statuses(since) if s != APPLIED], [], "statuses that are not APPLIED")
        same(daemon.agent(), pid, "the agent's pid")


def black_hole(user):
    """A server that accepts connections and never says anything holds nothing up."""
    import socket
    with Bed(user) as bed:
        hole = socket.socket()
        hole.bind(("127.0.0.1", 0))
        hole.listen(1)
        daemon = bed.daemon(f"ws://127.0.0.1:{hole.getsockname()[1]}/v1/opamp", {"server": {"connect_timeout": "1s"}})
        started_within(daemon, 2)
        conn, _ = hole.accept()
        conn.close()
        hole.close()
        same(daemon.stop(), 0, "exit status")


def no_name(user):
    with Bed(user) as bed:
        daemon = bed.daemon("ws://name.invalid:4320/v1/opamp")
        started_within(daemon, 2)
        daemon.wait_log("name.invalid", 20)
        same(daemon.stop(), 0, "exit status")


def outage_in_trial(user):
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        since = server.mark()
        slow = server.offer({"": CONFIG.format("slow") + "  fake_ready_after: 1000\n"})
        server.wait_status(APPLYING, slow)
        server.stop()
        time.sleep(2)
        server.assigned = None
        since = server.mark()
        server.start()
        server.wait_status(APPLIED, slow, since=since)
        server.wait_effective("fake_name: slow", since=since)
        bad = server.offer({"": CONFIG.format("bad") + "  fake_exit: 3\n"}, assign=False)
        server.wait_status(APPLYING, bad)
        server.stop()
        time.sleep(1.5)
        since = server.mark()
        server.start()
        server.wait_status(FAILED, bad, since=since)
        server.wait_healthy(since=since)
        assert daemon.agent()


def crash_offline(user):
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        pid = daemon.agent()
        server.stop()
        proc.kill(pid)
        now = daemon.agent(other_than=pid)
        until(lambda: "connected" in bed.agent_log() or proc.alive(now), 5, "the agent")
        since = server.mark()
        server.start()
        healthy = server.wait(lambda m: m.health.healthy and m.health.start_time_unix_nano, 10, "healthy again", since)
        assert abs(time.time() - healthy.msg.health.start_time_unix_nano / 1e9) < 15


def how_long(user):
    """`opampctl status` says which server, and for how long it is away: not since the last attempt."""
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server.url + "?key=hidden", {"server": {"reconnect": {"max_delay": "200ms"}}})
        server.wait_healthy()

        def told():
            return json.loads(bed.ctl("-j", "status")[1])["server"]

        def since():
            return datetime.fromisoformat(told()["since"]).timestamp()

        until(lambda: told()["state"] == "connected", 10, "connected")
        daemon.wait_log("connected to the server 127.0.0.1:")
        same(told()["endpoint"], server.url, "the server, without what could be a secret")
        connected = since()
        until(lambda: time.time() > connected + 1, 5, "another second, for that is what it is told in")
        server.stop()
        until(lambda: told()["state"] != "connected", 10, "it is away")
        away = since()
        assert away > connected, f"away since {away}, connected since {connected}"
        until(lambda: time.time() > away + 3, 10, "time that is told apart")
        daemon.wait_log("next attempt in", 10, daemon.mark())
        same(since(), away, "since when it is away, after more attempts")
        for name in ("confd", "netd"):
            old = daemon.kill(name)
            daemon.child(name, other_than=old)
            until(lambda: bed.ctl("-j", "status", check=False)[0] == 0 and "since" in told(), 10, "confd is there")
            assert abs(since() - away) <= 1, f"away since {away}, and {since()} after the end of {name}"
        server.start()
        until(lambda: told()["state"] == "connected", 20, "connected again")
        assert since() > away + 1


TESTS = [
    ("offline: nothing stored, local files run, the server comes later", first_start),
    ("offline ID-01: the last committed configuration runs within a second; connecting restarts nothing", later_start),
    ("offline: a server that accepts and says nothing holds nothing up", black_hole),
    ("offline: a name that cannot be resolved is told, the agent runs", no_name),
    ("offline ST-11 CF-05: the outcome of a trial is told when the server is back", outage_in_trial),
    ("offline: how long the server is away, and which one it is", how_long),
    ("offline HL-01: a crash while disconnected", crash_offline),
]

users_made()
tap.run(for_all(TESTS))
