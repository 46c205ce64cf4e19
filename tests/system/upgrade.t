#!/usr/bin/python3
"""An upgrade of opampd in place: SIGUSR2, and the process is of the new program; the agent notices nothing.

The new program is built with another version's number (build/next); all of them are put there by renames, as
packages do it."""
import json
import os
import re
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from bed import BUILD, DAEMONS, PROGRAMS, Bed, for_all, users_made
from opampserver import APPLIED, FAILED
from tap import same, until

CONFIG = "fake:\n  fake_name: {}\n  fake_chatter: 50\n"  # always at work: output and reports
OLD = re.search(r"^VERSION := (\S+)$", open("Makefile", encoding="utf-8").read(), re.M).group(1)
NEW = OLD + ".next"


def put(bed, folder="next", names=PROGRAMS):
    """New files for all programs, those of the folder where it has them."""
    for name in names:
        source = os.path.join(BUILD, folder, name)
        shutil.copy2(source if os.path.exists(source) else os.path.join(BUILD, name), bed.path("fresh"))
        os.rename(bed.path("fresh"), bed.path(name))


def up(bed, over=None, extra=""):
    server = bed.server()
    daemon = bed.daemon(server, over)
    server.wait_healthy()
    config_hash = server.offer({"": CONFIG.format("before") + extra})
    server.wait_status(APPLIED, config_hash)
    server.wait_effective("fake_name: before")
    daemon.all_children()
    return server, daemon, config_hash


def version(bed):
    return json.loads(bed.ctl("-j", "version")[1])["opampd"]


def identity(pid):
    return pid, proc.started(pid)


def kinds(pid):
    """Of its descriptors: what they are, without numbers of their own."""
    return sorted(re.sub(r"\d+", "N", what) for what in proc.descriptors(pid).values())


def settled(daemon):
    """One of each, in its sandbox, and nobody who was only needed for a moment."""
    pids = daemon.all_children(20)

    def look():
        names = sorted((proc.arguments(p) or ["?"])[0] for p in proc.children(daemon.pid) if proc.alive(p))
        names = [n for n in names if n.startswith("opampd-") and not n.startswith("opampd-init")]
        return names == sorted(f"opampd-{n}" for n in DAEMONS)
    until(look, 20, "one process of each kind, and no other")
    return pids


def upgrade(daemon, seconds=30):
    mark = daemon.mark()
    daemon.signal(signal.SIGUSR2)
    daemon.wait_log("takes the place of the one before", seconds, mark)
    return mark


def at_work(bed, server, daemon, since):
    """The agent's reports reach the server, its output the log."""
    server.wait(lambda m: m.HasField("effective_config"), 30, "news of the agent", since)
    size = len(bed.agent_log())
    until(lambda: len(bed.agent_log()) > size, 20, "more of the agent's output")
    daemon.all_children(20)


def the_agent_stays(user):
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        agent, parent = daemon.agent(), identity(daemon.pid)
        was, before, open_before = identity(agent), daemon.all_children(), kinds(daemon.pid)
        before_status = proc.status(daemon.pid)
        agent_status = proc.status(agent)
        same(version(bed), OLD, "version before")
        for number, folder, there in ((1, "next", NEW), (2, ".", OLD)):  # and back again
            put(bed, folder)
            assert proc.executable(daemon.pid).endswith("(deleted)")
            since = server.mark()
            mark = upgrade(daemon)
            daemon.wait_log(rf"opampd {re.escape(there)} takes the place", 1, mark)
            daemon.wait_log(f"the agent runs on, with pid {agent}", 10, mark)
            after = settled(daemon)
            same(identity(daemon.pid), parent, "the parent's pid")
            same(identity(daemon.agent()), was, "the agent's pid and start")
            same(proc.executable(daemon.pid), bed.path("opampd"), "the parent's program")
            same(version(bed), there, "version told by opampctl")
            for name in DAEMONS:
                assert after[name] != before[name], f"{name} is the old one"
                if os.geteuid() == 0:
                    same(proc.executable(after[name]), bed.path(f"opampd-{name}"), f"{name}'s program")
            before = after
            # nothing was lost on the way, and nothing kept
            if os.geteuid() == 0:
                same(kinds(daemon.pid), open_before, "descriptors of the parent")
                for fd in proc.descriptors(daemon.pid):
                    flags = re.search(rb"flags:\s+(\d+)", proc.read(daemon.pid, f"fdinfo/{fd}"))
                    assert fd < 3 or int(flags.group(1), 8) & 0o2000000, f"descriptor {fd} is not close-on-exec"
                same(proc.read(daemon.pid, "environ").strip(b"\0"), b"", "environment")
            status = proc.status(daemon.pid)
            for key in ("Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "SigBlk", "SigIgn", "SigCgt", "Name"):
                same(status[key], before_status[key], f"{key} of the parent")
            same(int(status["Seccomp_filters"]), int(before_status["Seccomp_filters"]) + number, "filters of the parent")
            same(proc.status(agent)["Seccomp_filters"], agent_status["Seccomp_filters"], "filters of the agent")
            at_work(bed, server, daemon, since)
            same([s for s in server.statuses(since) if s[0] != APPLIED], [], "statuses that were not APPLIED")
            sick = [m.msg.health for m in server.messages[since:] if m.msg.HasField("health") and not m.msg.health.healthy]
            same(sick, [], "reports of an unhealthy agent")
        # and the work goes on
        better = server.offer({"": CONFIG.format("after")})
        server.wait_status(APPLIED, better, 20)
        server.wait_effective("fake_name: after")
        assert daemon.agent() != agent
        same(daemon.stop(), 0, "exit status")


TESTS = [
    ("the agent stays, everything else is new, twice", the_agent_stays),
]

users_made()
tap.run(for_all(TESTS))
