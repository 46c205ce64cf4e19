#!/usr/bin/python3
"""A server that means harm, and the whole daemon: what it asks for without end is bounded."""
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc  # noqa: E402
from bed import Bed, for_all, users_made  # noqa: E402
from opampserver import APPLIED, APPLYING, FAILED, opamp  # noqa: E402
from tap import run, until  # noqa: E402


def uids(user):
    """A new instance uid in every message: each is written to disk, told, and part of what runs."""
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_connections(1)
        server.wait_healthy()
        agents, begun = set(daemon.agents()), time.monotonic()

        def taken():
            return sum("gave this agent the instance uid" in line for line in daemon.log())
        for n in range(300):
            server.identify(bytes([1, 2, 3, 4, 5, 6, 0x70, 8, 0x80]) + n.to_bytes(7, "big"))
            agents |= set(daemon.agents())
            if n < 10:  # of uids that come all at once only the newest is looked at
                until(lambda: taken() > n, 10, f"uid {n} to be taken")
        mark = server.mark()
        server.full_state()
        server.wait(lambda m: m.HasField("agent_description"), 15, "the full state", mark)
        took = time.monotonic() - begun
        said = taken()
        # ten at once, and what the rate of ten a minute adds
        limit = 10 + took / 6 + 1
        assert said <= limit, f"{said} uids taken, at most {limit:.0f}"
        assert len(agents) <= limit, f"{len(agents)} agents"
        refused = sum("more than 10 instance uids" in text for _, text in daemon.lines)
        assert 1 <= refused <= limit, f"{refused} lines about it"


def config(name, **fake):
    """A Collector's configuration; what the fake agent is to do stands in a section of its own."""
    lines = "".join(f"  fake_{key}: {value}\n" for key, value in fake.items())
    return ("receivers:\n  nop: {}\nexporters:\n  nop: {}\nservice:\n  pipelines:\n    metrics:\n"
            f"      receivers: [nop]\n      exporters: [nop]\nfake:\n  fake_name: {name}\n{lines}")


def refused(user):
    """Configurations that netd refuses: the log is told now and then; and what runs is told when it is offered again."""
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        good = server.offer({"main.yaml": config("good")})
        server.wait_status(APPLIED, good)
        agent = daemon.agent()
        many = {f"f{n}": "a: 1" for n in range(300)}
        for n in range(200):
            server.offer(many, config_hash=b"many%d" % n)
        server.wait_status(FAILED, b"many199")
        mark = server.mark()
        server.offer({"main.yaml": config("good")})
        server.wait_status(APPLIED, good, since=mark)
        lines = sum("configuration is refused" in text for _, text in daemon.lines)
        assert 1 <= lines <= 3, f"{lines} lines about it"
        assert daemon.agent() == agent, "the agent was touched"


def failing(user):
    """A server that sends nothing but what fails: what is kept of it on disk is bounded."""
    with Bed(user) as bed:
        server = bed.server()
        bed.daemon(server)
        server.wait_healthy()
        for n in range(15):
            bad = server.offer({"main.yaml": config(f"bad{n}", exit=3)})
            server.wait_status(FAILED, bad)
        kept = os.listdir(bed.storage("generations"))
        assert len(kept) <= 10 + 2, kept


def first_offer_is_lost(user):
    """confd dies while it looks at the first offer ever: the server is not left with APPLYING.  Either netd still had the
    offer, and the next confd looks at it (which takes until validate_timeout), or the server is told to offer it again."""
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server, {"agent": {"validate_timeout": "6s"}})
        server.wait_healthy()
        slow = server.offer({"main.yaml": config("slow", validate_hangs=1)}, assign=False)
        server.wait_status(APPLYING, slow)
        mark = server.mark()
        daemon.kill("confd")
        server.wait(lambda m: m.HasField("remote_config_status") and m.remote_config_status.status != APPLYING, 15,
                    "another status than APPLYING", mark)


def chaos(user):
    """Offers, restart commands, reloads and deaths in any order: in the end the last offer is what runs."""
    dice = random.Random(int(os.environ.get("SEED", "4")))
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        end = time.monotonic() + float(os.environ.get("SECONDS", "8"))
        n = 0
        while time.monotonic() < end:
            what = dice.randrange(12)
            n += 1
            try:
                if what < 4:
                    server.offer({"main.yaml": config(f"c{n}", **dice.choice(
                        [{}, {}, {"exit": 3}, {"never_healthy": 1}, {"invalid": "no"}, {"exit_after": 400}]))})
                elif what == 4:
                    server.command_restart()
                elif what == 5:
                    server.identify(dice.randbytes(16))
                elif what == 6:
                    daemon.signal(signal.SIGHUP)
                elif what == 7:
                    server.full_state()
                elif what == 8:
                    server.send(opamp.ServerToAgent(remote_config=opamp.AgentRemoteConfig(
                        config=opamp.AgentConfigMap(), config_hash=b"e%d" % n)))
                elif what == 9:
                    pids = daemon.agents()
                    if pids:
                        proc.kill(pids[0])
                else:
                    pid = daemon.children().get(dice.choice(["netd", "link", "confd", "procd"]))
                    if pid:
                        proc.kill(pid)
            except AssertionError as e:  # no connection just now
                assert "no connection" in str(e), e
            assert len(daemon.agents()) <= 1, daemon.agents()
            time.sleep(dice.random() * 0.2)
        # those that died often wait longer before they start again
        daemon.all_children(70)
        server.assigned = None
        until(lambda: server.connections and server.connections[-1].closed is None, 30, "a connection")
        mark = server.mark()
        last = server.offer({"main.yaml": config("last")}, assign=False)
        try:
            server.wait_status(APPLIED, last, 15, mark)
        except AssertionError:  # a reload of the settings may have interrupted it: offered again, as servers do
            last = server.offer({"main.yaml": config("last", n=2)}, assign=False)
            server.wait_status(APPLIED, last, 30, mark)
        with open(bed.storage("agent", "effective.yaml"), encoding="utf-8") as f:
            assert "fake_name: last" in f.read(), "the file on disk is another one"
        daemon.agent()
        assert daemon.stop() == 0


users_made()
run(for_all([
    ("I11 instance uids without end", uids),
    ("I11 CF-03 refused configurations without end", refused),
    ("I11 CF-05 failing configurations without end", failing),
    ("CF-07 confd dies of the first offer", first_offer_is_lost),
    ("I7 I9 CF-07 deaths, offers and commands in any order", chaos),
]))
