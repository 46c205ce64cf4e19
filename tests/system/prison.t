#!/usr/bin/python3
"""Denied acts, one per kind, done by the live processes of a whole running daemon, each in its real sandbox
(tests/tools/inject.c makes them do it): it ends them, or is refused with the errno that the policy names.
What is expected comes from the declared policy; an act that no policy lists must end the process."""
import errno
import json
import os
import platform
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import acts
import filters
import proc
import tap
from acts import KILLED, PASSES, declared, in_words
from bed import BUILD, DAEMONS, ROOT, Bed, for_all, users_made
from opampserver import APPLIED
from tap import same, until

INJECT = os.path.join(BUILD, "tools", "inject")
POLICY = json.loads(subprocess.run([os.path.join(BUILD, "tools", "policy")], check=True, capture_output=True).stdout)
LIVES = 4   # of one process in one daemon: the parent waits twice as long each time before it starts it again
AT_ONCE = 5  # daemons side by side: most of the time is that waiting
NEIGHBOUR = {"netd": "procd", "link": "confd", "confd": "link", "procd": "netd", "connect": "netd", "merge": "confd", "agent": "link"}


def able():
    if not ROOT:
        raise tap.Skip("only root may put system calls into other processes")
    if platform.machine() != "x86_64":
        raise tap.Skip("tests/tools/inject.c knows x86_64 only")
    if "san" in os.path.basename(BUILD):
        raise tap.Skip("the sanitizers' run time is let call more")


class World:
    """What an act may aim at."""

    def __init__(self, bed, daemon, name, pid, agent):
        self.bed = bed
        self.pid = pid
        self.known_as = int(proc.status(pid).get("NSpid", str(pid)).split()[-1])  # to itself
        self.parent = daemon.pid
        self.agent = agent
        self.neighbour = daemon.children()[NEIGHBOUR[name]]
        found = proc.descriptors(pid)
        sockets = sorted(fd for fd, what in found.items() if what.startswith("socket:"))
        self.own = next((fd for fd in sockets if is_tcp(found[fd])), sockets[0] if sockets else 0)
        self.state = next((fd for fd, what in found.items() if what == bed.storage()), -1)


def is_tcp(what):
    inode = what[len("socket:["):-1]
    with open("/proc/net/tcp", encoding="ascii") as f:
        return any(line.split()[9] == inode for line in f)


class Injection:
    """Lets it do the acts, one after the other; results() has one for each that it lived to do."""

    def __init__(self, world, wanted):
        command = [INJECT, str(world.pid)]
        self.counts = []
        for act in wanted:
            for line in filter(None, (act.first, act.line(world))):
                command += line + [","]
                self.counts.append(line is not act.first)
        self.process = subprocess.Popen(command[:-1], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def results(self):
        out, wrong = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, f"inject: {wrong}"
        return [text for text, counts in zip(out.splitlines(), self.counts) if counts]


def judge(act, line, name, result, own_pid):
    """Gives (what the kernel did, what is wrong with it or None)."""
    expected = declared(POLICY, name, line)
    if re.fullmatch(r"-?\d+", result):
        value = int(result)
        did = in_words(-value) if -4096 < value < 0 else "done"
    else:
        value, did = None, KILLED if result == "killed SIGSYS" else result
    if act.name == acts.CONTROL:
        return did, None if value == own_pid else f"the control gave {result}"
    if expected != PASSES:
        return did, None if did == in_words(expected) else f"{in_words(expected)} by the policy"
    if not act.beyond:
        return did, "the policy lets it pass and nothing else is said to refuse it"
    return did, None if value is not None and -value in act.beyond else "wanted " + " or ".join(errno.errorcode[e] for e in act.beyond)


class Table:
    def __init__(self):
        self.rows = {}
        self.wrong = []

    def add(self, act, world, name, result):
        line = act.line(world)
        did, wrong = judge(act, line, name, result, world.known_as)
        self.rows.setdefault((act.name, act.call), {})[name] = did
        if wrong:
            self.wrong.append(f"{name}: {act.name} ({' '.join(line)[:70]}): {did}; {wrong}")

    def end(self, user, order, names):
        text = [f"# {user:32s} {'':18s}" + "".join(f"{n:>14s}" for n in names)]
        for act in order:
            row = self.rows.get((act.name, act.call), {})
            text.append(f"# {act.name:32s} {act.call:18s}" + "".join(f"{row.get(n, '?'):>14s}" for n in names))
        print("\n".join(text), flush=True)
        missing = [f"{n}: {a.name}" for a in order for n in names if n not in self.rows.get((a.name, a.call), {})]
        same(missing, [], "acts that were not done")
        assert not self.wrong, "\n".join(self.wrong)


def split(world, name, wanted):
    """(those that it lives through, those that end it), as the policy says."""
    lives = [a for a in wanted if declared(POLICY, name, a.line(world)) != KILLED]
    return lives, [a for a in wanted if a not in lives]


def do_all(table, world, name, wanted):
    """Acts that it should live through, in one go.  False: it did not."""
    results = Injection(world, wanted).results()
    for act, result in zip(wanted, results):
        table.add(act, world, name, result)
    return len(results) == len(wanted) and "killed" not in results[-1]


def side_by_side(batches):
    """All of them; the first that fails keeps those from starting that have not yet."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [pool.submit(b) for b in batches]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def up(bed, over=None):
    server = bed.server()
    daemon = bed.daemon(server, over)
    server.wait_healthy()
    daemon.all_children()
    return server, daemon


# ---- netd, link, confd, procd

def round_of(table, bed, daemon, agent, deeds):
    """deeds: {name: act that ends it}, all at once; then all are back."""
    daemon.all_children()
    worlds = {name: World(bed, daemon, name, daemon.child(name), agent) for name in deeds}
    running = []
    for name, act in deeds.items():
        running.append((name, act, worlds[name], Injection(worlds[name], [act])))
    for name, act, world, injection in running:
        result = injection.results()[0]
        table.add(act, world, name, result)
        if result.startswith("killed"):
            daemon.child(name, other_than=world.pid)
    same(daemon.agent(), agent, "the agent's pid")


def batch(user, table, lethal, living):
    with Bed(user) as bed:
        _, daemon = up(bed)
        agent = daemon.agent()
        for name, wanted in living.items():
            world = World(bed, daemon, name, daemon.child(name), agent)
            if not do_all(table, world, name, wanted):
                daemon.child(name, other_than=world.pid)
        for i in range(LIVES):
            deeds = {name: wanted[i] for name, wanted in lethal.items() if i < len(wanted)}
            if deeds:
                round_of(table, bed, daemon, agent, deeds)
        told = [line for line in daemon.log() if "ended by its sandbox" in line]
        dead = sum(len(wanted[:LIVES]) for wanted in lethal.values())
        assert len(told) >= dead or table.wrong, f"{dead} ended by their sandbox, {len(told)} told in the log"


def same_filters(pid, name, user):
    programs = filters.of_process(INJECT, pid)
    same(len(programs), 1 if name == "parent" else 2, f"{name}: filters")
    wrong, asked = filters.differences(programs, POLICY, name)
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:20])
    print(f"# {user}: {name}: {asked} calls as declared, over {sum(map(len, programs))} instructions", flush=True)


def kernel_filters(user):
    able()
    with Bed(user) as bed:
        _, daemon = up(bed)
        for name, pid in {"parent": daemon.pid, "agent": daemon.agent(), **daemon.all_children()}.items():
            same_filters(pid, name, user)


def daemons(user):
    able()
    table, living, lethal = Table(), {}, {}
    with Bed(user) as bed:
        _, daemon = up(bed)
        for name in DAEMONS:
            world = World(bed, daemon, name, daemon.child(name), daemon.agent())
            living[name], lethal[name] = split(world, name, acts.ACTS)
    count = max(len(wanted) for wanted in lethal.values())
    side_by_side([lambda i=i: batch(user, table, {n: w[i:i + LIVES] for n, w in lethal.items()}, {} if i else living)
                  for i in range(0, count, LIVES)])
    table.end(user, acts.ACTS, DAEMONS)


# ---- the one-shots

def connector(user):
    able()
    table = Table()
    hole = socket.socket()
    hole.bind(("127.0.0.1", 0))
    hole.listen(0)
    fill = []
    for _ in range(4):  # its queue is full: who comes now waits
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(hole.getsockname())
        fill.append(one)
    try:
        with Bed(user) as bed:
            daemon = bed.daemon(f"ws://127.0.0.1:{hole.getsockname()[1]}/", {"server": {"reconnect": {"max_delay": "100ms"}}})
            agent = daemon.agent()
            daemon.all_children()
            world = World(bed, daemon, "connect", daemon.child("connect"), agent)
            same_filters(world.pid, "connect", user)
            world = World(bed, daemon, "connect", daemon.child("connect"), agent)
            living, lethal = split(world, "connect", acts.CONNECT)
            assert do_all(table, world, "connect", living), table.wrong
            for act in lethal:
                world = World(bed, daemon, "connect", daemon.child("connect", 5), agent)
                if do_all(table, world, "connect", [act]):
                    continue
                until(lambda w=world: not proc.alive(w.pid), 5, "its end")
            same(daemon.agent(), agent, "the agent's pid")
    finally:
        for one in fill:
            one.close()
        hole.close()
    table.end(user, acts.CONNECT, ["connect"])


def merging(user):
    able()
    table = Table()
    body = "".join(f"    key{i}: {{a: b}}\n" for i in range(60000))
    with Bed(user) as bed:
        server, daemon = up(bed)
        agent = daemon.agent()
        todo = list(acts.MERGE)
        n = 0
        while todo:
            n += 1
            server.offer({"": f"fake:\n  fake_name: n{n}\n  pad:\n{body}"})
            world = World(bed, daemon, "merge", daemon.child("merge", 10), agent)
            living, lethal = split(world, "merge", todo)
            now = living + lethal[:1]
            if n == 1:
                programs = filters.of_process(INJECT, world.pid)
            do_all(table, world, "merge", now)
            todo = [a for a in todo if a not in now]
            until(lambda w=world: not proc.alive(w.pid), 5, "its end")
            same(daemon.agent(), agent, "the agent's pid")
        server.wait_status(APPLIED, server.offer({"": "fake:\n  fake_name: small\n"}), 20)
    same(filters.differences(programs, POLICY, "merge")[0], [], "differences between declared and live filter")
    table.end(user, acts.MERGE, ["merge"])


# ---- the agent

def agent_batch(user, table, wanted, first):
    with Bed(user) as bed:
        server, daemon = up(bed)
        same(POLICY["agent"]["deny_list"], 1, "the agent's kind of filter")
        world = World(bed, daemon, "agent", daemon.agent(), daemon.agent())
        if first:
            assert do_all(table, world, "agent", first), table.wrong
        for act in wanted:
            since = server.mark()
            world = World(bed, daemon, "agent", daemon.agent(), 0)
            do_all(table, world, "agent", [act])
            daemon.agent(other_than=world.pid)
            server.wait_healthy(since=since)
        children = daemon.all_children()
        assert len(children) == 4 and proc.alive(daemon.pid), children


def agent(user):
    able()
    table = Table()
    with Bed(user) as bed:
        _, daemon = up(bed)
        world = World(bed, daemon, "agent", daemon.agent(), 0)
        living, lethal = split(world, "agent", acts.AGENT)
    side_by_side([lambda i=i: agent_batch(user, table, lethal[i:i + LIVES], [] if i else living)
                  for i in range(0, len(lethal), LIVES)])
    table.end(user, acts.AGENT, ["agent"])


TESTS = [
    ("I3 I5 I13 SE-01 every call number and listed argument, by the live filters: what is declared passes, nothing else", kernel_filters),
    ("I3 I5 I7 SE-01 netd, link, confd, procd: every denied act ends it or is refused as its policy says; the agent stays", daemons),
    ("I5 the connector: the same, while it connects", connector),
    ("I5 merge: the same, while it merges", merging),
    ("I13 I15 SE-01 the agent: what its sandbox denies it", agent),
]

users_made()
tap.run(for_all(TESTS))
