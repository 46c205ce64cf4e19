#!/usr/bin/python3
"""Deaths: of each process but the parent, of several at once, of the parent, of everything; and orderly ends."""
import fcntl
import os
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from bed import BUILD, DAEMONS, Bed, for_all, users_made
from opampserver import APPLIED
from tap import same, until

CONFIG = "fake:\n  fake_name: {}\n  fake_chatter: 50\n"  # always at work: output and reports


def up(bed, name="steady", extra=""):
    server = bed.server()
    daemon = bed.daemon(server)
    server.wait_healthy()
    config_hash = server.offer({"": CONFIG.format(name) + extra})
    server.wait_status(APPLIED, config_hash)
    server.wait_effective("fake_chatter")
    daemon.all_children()
    return server, daemon, config_hash


def truth(server, daemon, config_hash, pid, since):
    """The agent is the same, every process is back, and the server hears how things are."""
    daemon.all_children(20)
    same(daemon.agent(), pid, "the agent's pid")
    want = {"agent_description", "health", "effective_config", "remote_config_status"}
    # what is new comes by itself (the agent never rests); then the whole
    server.wait(lambda m: m.HasField("effective_config"), 30, "news of the agent", since)
    until(lambda: server.connections[-1].closed is None and server.connections[-1].count, 20, "a connection")
    mark = server.mark()

    def whole():
        """What just came back may not know everything yet when it is asked: so it is asked again."""
        server.full_state()
        try:
            return server.wait(lambda m: want <= {f.name for f, _ in m.ListFields()}, 2, "the full state", mark).msg
        except AssertionError:
            return None

    full = until(whole, 20, "the full state")
    same(full.remote_config_status.status, APPLIED, "remote configuration status")
    same(full.remote_config_status.last_remote_config_hash, config_hash, "its hash")
    assert any(b"fake_chatter" in f.body for f in full.effective_config.config_map.config_map.values())
    if not full.health.healthy:
        server.wait_healthy(since=mark)
    assert any(a.value.string_value == "fakeagent" for a in full.agent_description.identifying_attributes)
    later = server.mark()
    ours = [s for s in server.statuses(since) if s[1] == config_hash and s[0] != APPLIED]
    same(ours, [], "statuses that were not APPLIED")
    server.wait(lambda m: m.HasField("effective_config"), 10, "more news of the agent", later)


def no_false_alarm(server, since):
    """The agent ran on untouched: the server is not told that it does not."""
    sick = [m.msg.health for m in server.messages[since:] if m.msg.HasField("health") and not m.msg.health.healthy]
    same(sick, [], "reports of an unhealthy agent")


def one(name):
    def test(user):
        with Bed(user) as bed:
            server, daemon, config_hash = up(bed)
            pid = daemon.agent()
            for _ in range(2):
                since = server.mark()
                victim = daemon.kill(name)
                daemon.child(name, 20, other_than=victim)
                truth(server, daemon, config_hash, pid, since)
                no_false_alarm(server, since)
            if name != "netd":
                same(len(server.connections), 1, "connections: the server need not notice")
            # and the work goes on
            better = server.offer({"": CONFIG.format("after")})
            server.wait_status(APPLIED, better, 20)
            assert daemon.agent() != pid
    return test


def several(names):
    def test(user):
        with Bed(user) as bed:
            server, daemon, config_hash = up(bed)
            pid = daemon.agent()
            since = server.mark()
            pids = daemon.all_children()
            for name in names:
                proc.kill(pids[name])
            for name in names:
                daemon.child(name, 20, other_than=pids[name])
            truth(server, daemon, config_hash, pid, since)
    return test


def during_apply(name):
    def test(user):
        with Bed(user) as bed:
            server, daemon, _ = up(bed)
            pid = daemon.agent()
            victim = daemon.child(name)
            slow = server.offer({"": CONFIG.format("slow") + "  fake_ready_after: 700\n"})
            daemon.agent(other_than=pid)
            proc.kill(victim)
            daemon.child(name, 20, other_than=victim)
            server.wait_status(APPLIED, slow, 25)
            server.wait_effective("fake_name: slow")
            server.wait_healthy()
    return test


def link_is_not_blamed(user):
    with Bed(user) as bed:
        server, daemon, _ = up(bed)
        pid = daemon.agent()
        slow = server.offer({"": CONFIG.format("slow") + "  fake_ready_after: 300\n"})
        daemon.agent(other_than=pid)
        for _ in range(3):
            daemon.kill("link")
            time.sleep(0.1)
        server.wait_status(APPLIED, slow, 30)


def parent(user):
    with Bed(user) as bed:
        _, daemon, _ = up(bed, extra="  fake_children: 3\n")
        until(lambda: len(bed.running()) >= 9, 5, "the agent's children")
        proc.kill(daemon.pid)
        daemon.wait_end()
        until(lambda: not bed.running(), 5, "nothing to run any more")


def parent_and_procd(user):
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed, extra="  fake_children: 3\n")
        procd = daemon.child("procd")
        proc.kill(daemon.pid)
        proc.kill(procd)
        daemon.wait_end()
        since = server.mark()
        daemon = bed.daemon(server)
        pid = daemon.agent()
        assert len(bed.groups()) <= 1, f"groups of the run before are left: {bed.groups()}"
        until(lambda: len([p for p in bed.running() if proc.executable(p) == bed.agent]) == 4, 10,
              "one agent and three children of it, nothing twice")
        truth(server, daemon, config_hash, pid, since)


def everything_at_once(user):
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed, extra="  fake_children: 2\n")
        for pid in bed.running():
            proc.kill(pid)
        daemon.wait_end()
        until(lambda: not bed.running(), 5, "nothing to run any more")
        since = server.mark()
        daemon = bed.daemon(server)
        truth(server, daemon, config_hash, daemon.agent(), since)


def orderly(number):
    def test(user):
        with Bed(user) as bed:
            server, daemon, _ = up(bed, extra="  fake_children: 2\n")
            begun = time.monotonic()
            daemon.signal(number)
            same(daemon.wait_end(), 0, "exit status")
            took = time.monotonic() - begun
            assert took < 4, f"the end took {took} s"
            same(bed.running(), [], "what runs after the end")
            server.wait(lambda m: m.HasField("agent_disconnect"), 5, "the goodbye")
            assert server.messages[-1].msg.HasField("agent_disconnect"), "something after the goodbye"
            assert "fakeagent ends" in bed.agent_log(), "the agent was not asked to end, or its last words are lost"
            # health before the goodbye: the agent is not said to run
            last = [r.msg.health for r in server.messages if r.msg.HasField("health")][-1]
            same(last.start_time_unix_nano, 0, "start time in the last health")
    return test


def stubborn_end(user):
    with Bed(user) as bed:
        _, daemon, _ = up(bed, extra="  fake_ignore_term: 1\n  fake_children: 2\n")
        begun = time.monotonic()
        same(daemon.stop(), 0, "exit status")
        took = time.monotonic() - begun
        assert 2.5 < took < 8, f"the end took {took} s; the grace is 3 s"
        same(bed.running(), [], "what runs after the end")


def no_second_one(user):
    with Bed(user) as bed:
        server, daemon, _ = up(bed)
        pid = daemon.agent()
        second = bed.daemon(server)
        status = second.wait_end()
        assert status != 0
        assert "in use by another opampd" in "\n".join(second.log()), second.log()
        same(daemon.agent(), pid, "the agent's pid")


def at_once_after_a_kill(user):
    """What a killed one left may hold its lock for a moment more: the next start waits for that."""
    with Bed(user) as bed:
        server, daemon, _ = up(bed)
        proc.kill(daemon.pid)
        daemon.wait_end()
        until(lambda: not bed.running(), 10, "the end of all that runs")
        held = os.open(bed.storage(), os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            since = server.mark()
            bed.daemon(server)
            time.sleep(0.5)  # it is the time for which the lock is held
        finally:
            os.close(held)
        server.wait_healthy(since=since)


def children_that_die_often(user):
    with Bed(user) as bed:
        _, daemon, _ = up(bed)
        pid = daemon.agent()
        victim = None
        begun = time.monotonic()
        for _ in range(4):
            victim = daemon.child("netd", 20, other_than=victim)
            proc.kill(victim)
        daemon.child("netd", 20, other_than=victim)
        took = time.monotonic() - begun
        assert took > 1.4, f"four deaths and starts in {took} s: the wait does not grow (100, 200, 400, 800 ms)"
        same(daemon.agent(), pid, "the agent's pid")


def without_link(user):
    """link is away, in its back-off: the agent that dies is started anew all the same, and is heard when link is back."""
    with Bed(user) as bed:
        server, daemon, _ = up(bed)
        link = None
        for _ in range(6):  # the next one comes in more than three seconds
            link = daemon.child("link", 20, other_than=link)
            proc.kill(link)
        pid, since = daemon.agent(), server.mark()
        proc.kill(pid)
        new = daemon.agent(other_than=pid)
        same(daemon.children().get("link"), None, "link, which is away")
        server.wait_healthy(since=since, seconds=30)
        same(daemon.agent(), new, "the agent's pid")


def reload(user):
    with Bed(user) as bed:
        server, daemon, _ = up(bed)
        pid = daemon.agent()
        before = daemon.all_children()
        # nothing has changed: nothing is touched
        mark = daemon.mark()
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("the new settings are in force", 10, mark)
        time.sleep(0.5)
        same(daemon.all_children(), before, "the children after a reload of the same settings")
        # a mistake: the old settings stay
        good = open(bed.path("opampd.yaml"), encoding="utf-8").read()
        mark = daemon.mark()
        bed.write("opampd.yaml", good.replace('"agent"', '"agnet"'))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("agnet", 10, mark)
        same(daemon.agent(), pid, "the agent's pid after a bad reload")
        # the server's part changes: the agent does not notice
        import json
        settings = json.loads(good)
        settings["server"]["headers"] = {"X-New": "yes"}
        bed.write("opampd.yaml", json.dumps(settings))
        count = len(server.connections)
        daemon.signal(signal.SIGHUP)
        server.wait_connections(count + 1)
        same(server.connections[-1].headers.get("X-New"), "yes", "the new header")
        # asked for twice, with a change in between: the last one counts
        for value in ("once", "twice"):
            settings["server"]["headers"] = {"X-New": value}
            bed.write("opampd.yaml", json.dumps(settings))
            daemon.signal(signal.SIGHUP)
        until(lambda: server.connections[-1].headers.get("X-New") == "twice", 15, "the second change in force")
        same(daemon.agent(), pid, "the agent's pid after a change of server.headers")
        # what only confd reads
        settings["limits"]["offers_per_minute"] = 99999
        bed.write("opampd.yaml", json.dumps(settings))
        confd, before, mark = daemon.child("confd"), server.mark(), daemon.mark()
        daemon.signal(signal.SIGHUP)
        daemon.child("confd", other_than=confd)
        daemon.wait_log("the new settings are in force", 10, mark)
        server.full_state()
        server.wait_healthy(since=before)
        no_false_alarm(server, before)
        same(daemon.agent(), pid, "the agent's pid after a change of limits")
        # the agent's part changes: it is restarted
        settings["agent"]["env"] = {"NEW": "yes"}
        bed.write("opampd.yaml", json.dumps(settings))
        before = server.mark()
        daemon.signal(signal.SIGHUP)
        now = daemon.agent(other_than=pid)
        until(lambda: b"NEW=yes" in proc.read(now, "environ"), 5, "the new environment")
        server.wait_healthy(since=before)
        no_false_alarm(server, before)
        wrong = [line for line in daemon.log() if "ended by signal 9" in line or "ended by itself" in line]
        same(wrong, [], "what opampd ended itself, told as a failure")
        same(json.loads(bed.ctl("-j", "status")[1])["agent"].get("restarts", 0), 0, "the agent's restarts by itself")


def touched(user):
    """Only root can change the times of the program: it is another one then.  An ordinary user's agent may be able to,
    and could have confd started anew with each of its starts."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        for turn in range(2):
            before, confd, mark, since = daemon.agent(), daemon.child("confd"), daemon.mark(), server.mark()
            os.utime(bed.agent, (turn, turn))
            proc.kill(before)
            daemon.agent(other_than=before)
            if user == "user":
                server.wait_healthy(since=since)
                same(daemon.child("confd"), confd, "confd's pid")
                same([line for line in daemon.log(mark) if "first start" in line], [], "what is said of a program that is the same")
            else:
                daemon.wait_log("first start of the new one", 15, mark)
                daemon.child("confd", other_than=confd)
                server.wait_healthy(since=since)


def siblings(user):
    """Processes that the agent made its parent's children (CLONE_PARENT) are nobody's of ours, and reaped all the same."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed, extra="  fake_siblings: 150\n")

        def agent_of(turn):
            """When its siblings, which the kernel shows as the same program, have ended."""
            until(lambda: bed.agent_log().count("fake_siblings: 150 of 150") >= turn, 20, "the agent's siblings to have been there")
            until(lambda: len(daemon.agents()) == 1, 20, "the agent to be alone")
            return daemon.agent()

        agent, before = agent_of(1), daemon.all_children()

        def zombies():
            return [p for p in {*proc.children(daemon.pid), *proc.children_and_of_init(daemon.pid)} if proc.status(p).get("State", "")[:1] == "Z"]
        until(lambda: not zombies(), 20, "no one to be left who has ended")
        # and those of ours, which end among them, are not missed
        daemon.kill("link")
        daemon.child("link", 20, before["link"])
        proc.kill(agent)
        assert agent_of(2) != agent, "the agent that was killed"
        until(lambda: not zombies(), 20, "no one to be left who has ended")
        same(daemon.stop(), 0, "exit status")


def upgrade(user):
    """The agent's program is replaced by a rename, as packages do it: the next start is of the new one, and what
    cannot be opened is told until it can."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)

        def put():
            shutil.copy2(os.path.join(BUILD, "tools/fakeagent"), bed.path("new"))
            os.rename(bed.path("new"), bed.agent)

        def renewed(after):
            daemon.wait_log("first start of the new one", 15, after)
            pid = daemon.agent(other_than=before)
            same(proc.executable(pid), bed.agent, "the file that runs (not the removed one)")
            server.wait_healthy(since=since)
            daemon.child("confd", other_than=confd)
            return pid

        for end in ("kill", "restart"):
            before, confd, mark, since = daemon.agent(), daemon.child("confd"), daemon.mark(), server.mark()
            put()
            assert proc.alive(before), "nothing is restarted by itself"
            if end == "kill":
                proc.kill(before)
            else:
                bed.ctl("restart", check=False)  # confd, which is replaced with it, may be gone before it has answered
            truth(server, daemon, config_hash, renewed(mark), since)
        # nothing there; then one that is not to be trusted; then a good one
        before, confd, since, mark = daemon.agent(), daemon.child("confd"), server.mark(), daemon.mark()
        os.rename(bed.agent, bed.path("aside"))
        proc.kill(before)
        daemon.wait_log("starting the agent: .*agent.executable: .*No such file", 15, mark)
        server.wait(lambda m: "opening agent.executable: No such file" in m.health.last_error, 15, "why it does not run", since)
        mark = daemon.mark()
        shutil.copy2(os.path.join(BUILD, "tools/fakeagent"), bed.path("new"))
        os.chmod(bed.path("new"), 0o757)
        os.rename(bed.path("new"), bed.agent)
        daemon.wait_log("starting the agent: .*agent.executable: .*can be written by others", 15, mark)
        daemon.no_agent()
        mark = daemon.mark()
        put()
        truth(server, daemon, config_hash, renewed(mark), since)


TESTS = [(f"I7 kill -9 of {name}, twice, under load: the agent stays, the server sees the truth", one(name)) for name in DAEMONS]
TESTS += [(f"I7 kill -9 of {' and '.join(names)} at once", several(names)) for names in
          (("netd", "link"), ("confd", "procd"), ("confd", "link", "netd"), ("link", "procd"), DAEMONS)]
TESTS += [(f"I7 kill -9 of {name} during a trial: the trial goes on", during_apply(name)) for name in DAEMONS]
TESTS += [
    ("I7 link dies thrice in a trial: never blamed on the configuration", link_is_not_blamed),
    ("I9 kill -9 of the parent: nothing is left, the agent's children included", parent),
    ("I9 kill -9 of the parent and procd, then a new start: nothing runs twice", parent_and_procd),
    ("I8 I9 kill -9 of everything, then a new start", everything_at_once),
    ("CC-03 SIGTERM: goodbye to the server, the agent ends in its grace", orderly(signal.SIGTERM)),
    ("CC-03 SIGINT does the same", orderly(signal.SIGINT)),
    ("I9 SIGTERM with an agent that ignores it", stubborn_end),
    ("I9 a second opampd on the same storage does not start", no_second_one),
    ("I9 a start at once after a kill", at_once_after_a_kill),
    ("I7 a child that dies again and again is started with growing waits", children_that_die_often),
    ("I7 the agent is started anew while link is away", without_link),
    ("siblings that the agent made are reaped", siblings),
    ("the agent's program is touched: the same one to an ordinary user", touched),
    ("the agent's program replaced by a rename: the next start is of the new one", upgrade),
    ("reload: nothing, a mistake, the server's part, the agent's part", reload),
]

users_made()
tap.run(for_all(TESTS))
