#!/usr/bin/python3
"""The prison, tried from inside: what each process of a running daemon, and the agent, can do, beside what is declared.
The table of results is written to tests/sandbox/results.md.  WHOLE=1: every number of every ABI and every kind of socket
by live calls (tests/proof/prison.t)."""
import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import acts
import filters
import prison
import prison_state
import proc
import tap
from acts import LISTED
from bed import DAEMONS, ROOT, for_all, users_made
from prison import POLICY, QUIET, Prison, Table, World, able, every_number, every_socket
from tap import same

WHOLE = bool(os.environ.get("WHOLE"))
ROLES = ("parent",) + LISTED + ("agent", "strict")
RESULTS = os.environ.get("PRISON_RESULTS", os.path.join(HERE, "results.md"))
TABLES = {}


def table_of(user):
    return TABLES.setdefault(user, Table(user))


def everything(p, role, s):
    """One process: the acts, all numbers, all sockets."""
    table = table_of(p.user)
    before = len(table.wrong)
    table.run(World(p, role, s.pid), role, s)
    numbers, wrong = every_number(role, s, WHOLE)
    kinds, made, more = every_socket(role, s, WHOLE)
    table.wrong += wrong + more
    told = ", ".join(f"{f}/{t}/{k}" for f, t, k in made) if len(made) <= 20 else f"families {sorted({f for f, _, _ in made})}"
    table.notes.append(f"- {role}: {table.count[role]} acts; {numbers} calls by number, each of which ended it; "
                       f"{kinds} kinds of socket, of which it could make {len(made)}{': ' + told if made else ''}")
    print(f"# {p.user}: {table.notes[-1][2:]}", flush=True)
    same(table.wrong[before:], [], f"{role}: not as declared")


def resident(user):
    able()
    with Prison(user) as p:
        for role in ("parent",) + DAEMONS + ("agent",):
            with p.session(role) as s:
                everything(p, role, s)
        same({n: p.daemon.child(n) for n in DAEMONS}, p.children, "the processes, of which only copies were ended")


def strict(user):
    able()
    with Prison(user, {"agent": {"sandbox": "strict", "strict": {"read": ["/etc/hosts"], "execute": [], "connect": [], "bind": []}}}) as p:
        with p.session("strict") as s:
            everything(p, "strict", s)


def one_shots(user):
    able()
    with Prison(user, QUIET) as p:
        with p.caught("reader", lambda: p.daemon.signal(signal.SIGHUP)) as s:
            found = prison_state.process("reader", s.pid, user, p.bed, p.daemon.pid, True)
            everything(p, "reader", s)
        same(found, [], "the settings reader")
        with p.caught("merge", lambda: p.server.offer({"": "fake:\n  fake_name: caught\n"})) as s:
            found = prison_state.process("merge", s.pid, user, p.bed, p.daemon.pid, True)
            everything(p, "merge", s)
        same(found, [], "merge")
        with p.caught("connect", lambda: proc.kill(p.daemon.child("netd"))) as s:
            found = prison_state.process("connect", s.pid, user, p.bed, p.daemon.pid, True)
            everything(p, "connect", s)
        same(found, [], "connect")


def as_declared(user):
    """By processes that nobody has touched."""
    able()
    from bed import Bed
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        wrong = []
        for role, pid in {"parent": daemon.pid, **daemon.all_children()}.items():
            wrong += prison_state.process(role, pid, user, bed, daemon.pid)
            programs = filters.of_process(prison.INJECT, pid)
            same(len(programs), len(acts.filters_of(role)), f"{role}: filters")
            differ, asked = filters.differences(programs, POLICY, role)
            wrong += differ
            print(f"# {user}: {role}: {asked} calls as declared, over {sum(map(len, programs))} instructions", flush=True)
        differ, asked = filters.differences(filters.of_process(prison.INJECT, daemon.agent()), POLICY, "agent")
        same(wrong + differ, [], "not as declared")
        code, out, _ = bed.ctl("sandbox", check=False)
        same(code, 0, f"opampctl sandbox\n{out}")


def results(user):
    able()
    with open(RESULTS, "a" if user != "root" else "w", encoding="utf-8") as f:
        if user == "root" or not ROOT:
            f.write("# The prison: what each process could do\n\nWritten by tests/sandbox/prison.t; " + ", ".join(os.uname()[i] for i in (0, 2, 4)) + ".\n\n")
        f.write(table_of(user).text(ROLES))
    table_of(user).end(ROLES)


TESTS = [
    ("I3 I5 I13 SE-01 every call number and listed argument, by the live filters; ids, capabilities, limits, descriptors: as declared, nothing else", as_declared),
    ("I1 I3 I5 I13 I15 SE-01 parent, netd, link, confd, procd, agent: every act is refused or ends it, as declared", resident),
    ("I5 the settings reader, merge, the connector: the same", one_shots),
    ("I13 I15 SE-01 the agent under agent.sandbox strict: the same", strict),
    ("SE-01 the table of results", results),
]

users_made()
tap.run(for_all(TESTS))
