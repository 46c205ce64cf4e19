#!/usr/bin/python3
"""The prison, tried from inside: what each process of a running daemon, and the agent, can do, beside what is declared.
The table of results is written to tests/sandbox/results.md.  WHOLE=1: every number of every ABI and every kind of socket
by live calls (tests/proof/prison.t)."""
import json
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import acts
import filters
import hub_bed
import prison
import prison_hub
import prison_state
import proc
import tap
from acts import LISTED
from bed import Bed, DAEMONS, ROOT, for_all, users_made
from opampserver import APPLIED
from prison import POLICY, QUIET, Prison, Table, World, able, every_number, every_socket
from tap import same, until

WHOLE = bool(os.environ.get("WHOLE"))
ROLES = ("parent",) + LISTED[:-2] + ("agent", "strict") + prison_hub.ROLES
RESULTS = os.environ.get("PRISON_RESULTS", os.path.join(HERE, "results.md"))
TABLES = {}


def table_of(user):
    return TABLES.setdefault(user, Table(user))


def everything(p, role, s):
    """One process: the acts, all numbers, all sockets."""
    table = table_of(p.user)
    before = len(table.wrong)
    table.run((prison_hub.HubWorld if role in prison_hub.ROLES else World)(p, role, s.pid), role, s)
    numbers, wrong = every_number(role, s, WHOLE)
    kinds, made, more = every_socket(role, s, WHOLE)
    table.wrong += wrong + more
    told = ", ".join(f"{f}/{t}/{k}" for f, t, k in made) if len(made) <= 20 else f"families {sorted({f for f, _, _ in made})}"
    table.notes.append(f"- {role}: {table.count[role]} acts; {numbers} calls by number, each of which ended it; "
                       f"{kinds} kinds of socket, of which it could make {len(made)}{': ' + told if made else ''}")
    print(f"# {p.user}: {table.notes[-1][2:]}", flush=True)
    return table.wrong[before:]


def resident(user):
    able()
    wrong = []
    with Prison(user) as p:
        for role in ("parent",) + DAEMONS + ("agent",) + (("init",) if user == "user" else ()):
            with p.session(role) as s:
                wrong += everything(p, role, s)
        same(wrong, [], "not as declared")
        same({n: p.daemon.child(n) for n in DAEMONS}, p.children, "the processes, of which only copies were ended")


def strict(user):
    able()
    with Prison(user, {"agent": {"sandbox": "strict", "strict": {"read": ["/etc/hosts"], "execute": [], "connect": [], "bind": []}}}) as p:
        with p.session("strict") as s:
            same(everything(p, "strict", s), [], "not as declared")


def one_shots(user):
    able()
    with Prison(user, QUIET) as p:
        wrong = []
        for role, trigger in (("reader", lambda: p.daemon.signal(signal.SIGHUP)),
                              ("merge", lambda: p.server.offer({"": "fake:\n  fake_name: caught\n"})),
                              ("connect", lambda: proc.kill(p.daemon.child("netd")))):
            try:
                with p.caught(role, trigger) as s:
                    wrong += prison_state.process(role, s.pid, user, p.bed, p.daemon.pid, True)
                    p.daemon.signal(signal.SIGSTOP)  # it would end one that takes so long
                    wrong += everything(p, role, s)
            finally:
                p.daemon.signal(signal.SIGCONT)
        same(wrong, [], "not as declared")


def hub_resident(user):
    able()
    wrong = []
    with prison_hub.HubPrison(user) as p:
        for role in prison_hub.ROLES:
            with p.session(role) as s:
                wrong += everything(p, role, s)
        same(wrong, [], "not as declared")
        same({f"hub-{n}": pid for n, pid in p.hub.children().items()}, p.children, "the processes, of which only copies were ended")
        p.hub.agents[0].say()


def hub_as_declared(user):
    """By processes that nobody has touched."""
    able()
    wrong = []
    with hub_bed.Hub(user=user, tokens=prison_hub.TOKENS) as hub:
        hub.storage, hub.path = prison_hub.HeldHub.storage.__get__(hub), prison_hub.HeldHub.path.__get__(hub)
        hub.agent().hello()
        for role, pid in {"hub": hub.process.pid, **{f"hub-{n}": p for n, p in hub.children().items()}}.items():
            wrong += prison_state.process(role, pid, user, hub, hub.process.pid)
            programs = filters.of_process(prison.INJECT, pid)
            wrong += [] if len(programs) == len(acts.filters_of(role)) else [f"{role}: {len(programs)} filters"]
            differ, asked = filters.differences(programs, POLICY, role)
            wrong += differ
            print(f"# {user}: {role}: {asked} calls as declared, over {sum(map(len, programs))} instructions", flush=True)
        dumpable = subprocess.run([prison.INJECT, str(hub.process.pid), "prctl", "3"], check=True, capture_output=True, text=True, timeout=30).stdout
        wrong += [] if dumpable == "0\n" else [f"hub: is dumpable ({dumpable.strip()})"]
        store = hub.children()["store"]
        wrong += [f"hub-front: sees {f}" for f in os.listdir(f"/proc/{hub.children()['front']}/root")]
        wrong += [] if os.path.samefile(f"/proc/{store}/root", hub.store) else ["hub-store: its root is not the store's directory"]
    same(wrong, [], "not as declared")


def ends_with_parent(user):
    """Whatever one is doing, or not doing any more: the kernel ends it.  procd, which first ends what the agent
    started, is the exception: one that does nothing any more stays, with nothing but what it held."""
    able()
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        pids = daemon.all_children()
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
        agent = daemon.agent()
        daemon.signal(signal.SIGKILL)
        daemon.process.wait()
        try:
            for name in ("netd", "link", "confd"):
                until(lambda n=name: not proc.alive(pids[n]), 10, f"{name} to end with the parent")
            until(lambda: not proc.alive(agent), 10, "the agent to end with the parent")
            held = sorted(prison_state.kind_of(what, fd, bed) for fd, what in proc.descriptors(pids["procd"]).items())
            same([kind for kind in held if kind not in prison_state.DESCRIPTORS["procd"]], [], "what procd holds")
        finally:
            for name, pid in pids.items():
                proc.kill(pid)
                until(lambda p=pid: not proc.alive(p), 10, f"the end of {name}")


def as_declared(user):
    """By processes that nobody has touched."""
    able()
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
        dumpable = subprocess.run([prison.INJECT, str(daemon.pid), "prctl", "3"], check=True, capture_output=True, text=True, timeout=30).stdout
        wrong += [] if dumpable == "0\n" else [f"parent: is dumpable ({dumpable.strip()})"]
        differ, asked = filters.differences(filters.of_process(prison.INJECT, daemon.agent()), POLICY, "agent")
        same(wrong + differ, [], "not as declared")
        code, out, _ = bed.ctl("sandbox", check=False)
        same(code, 0, f"opampctl sandbox\n{out}")


def hoards(user):
    """What a process that was taken over can hold: no more than its limits."""
    able()
    wrong = []
    with Prison(user) as p:
        for role in ("netd", "link", "confd"):
            policy = POLICY[role]
            size = prison_state.FITTED.get((role, "fsize"), policy["fsize"])
            held = len(proc.descriptors(p.pid(role)))
            memory, file = ["mmap", "0", str(size + (1 << 20)), "3", "0x22", "-1", "0"], ["memfd_create", "s:x", "3"]
            with p.session(role) as s:
                full, files, data, stack = s.ask([
                    ("c", [memory, file, ["write", "r1:", "r0:", str(size + (1 << 20))]]),
                    ("c", [file] * (policy["nofile"] - held + 1)),
                    ("c", [["mmap", "0", str(policy["data"]), "3", "0x22", "-1", "0"]]),
                    ("c", [["mremap", "p:", "4096", str(policy["data"] + (64 << 20)), "1", "0"]])])
            for got, want, what in ((full[2], str(size), "bytes in one memory file"),
                                    ([int(n) < 0 for n in files], [False] * (policy["nofile"] - held) + [True], "memory files"),
                                    (data[0], "-12", "more data than its limit"), (stack[0], "-12", "its stack made larger than its limits")):
                if got != want:
                    wrong.append(f"{role}: {what}: {str(got)[:200]}, wanted {str(want)[:200]}")
            most = (2 * policy["nofile"] - held) * size + policy["as"]
            table_of(user).notes.append(f"- {role} can hold {policy['nofile'] - held} more descriptors, memory files of {size >> 20} MiB each, as many in "
                                        f"messages that nobody takes, {policy['as'] >> 20} MiB of address space: {most >> 20} MiB at most")
            print(f"# {user}: {table_of(user).notes[-1][2:]}", flush=True)
    same(wrong, [], "limits that do not hold")


def listed(bed, wrapper=()):
    """What opampctl sandbox says is not in force: [(invariant, why)]."""
    done = subprocess.run([*wrapper, *bed.as_user([bed.path("opampctl"), "-s", bed.path("var", "control.sock"), "-j", "sandbox"])],
                          capture_output=True, text=True, timeout=60, check=False)
    same(done.returncode, 0, f"opampctl sandbox: {done.stderr}")
    return [(row["invariant"], row["why"]) for row in json.loads(done.stdout).get("not_in_force", [])]


def weaker(user):
    """What an ordinary user's daemon does without is what opampctl sandbox lists, and nothing else."""
    able()
    with Bed(user) as bed:
        server = bed.server()
        bed.daemon(server)
        server.wait_healthy()
        found = listed(bed)
    same([i for i, _ in found], [] if user == "root" else ["I1", "I4", "I15"], "what is not in force")
    if user == "root":
        return
    if {"root", "user"} <= set(TABLES) and not os.environ.get("ONLY"):
        first, second = TABLES["root"].rows, TABLES["user"].rows
        more = sorted(f"{role}: {name}" for name, row in second.items() for role, did in row.items()
                      if did.split()[0] == "done" and first.get(name, {}).get(role, "done").split()[0] not in ("done", "-"))
        same(more, [], "what somebody can do that he cannot as root's")


def without_namespaces(user):
    able()
    if user == "root":
        return  # it needs none
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server, wrapper=[sys.executable, os.path.join(HERE, "..", "lib", "without_userns.py")])
        server.wait_healthy()
        found = listed(bed, ["nsenter", "-U", "-t", str(daemon.pid)])
        same([i for i, _ in found], ["I1", "I4", "I15", "I15"], "what is not in force")
        assert "control socket" in found[3][1] and "modes" in found[3][1], found
        daemon.wait_log("no user namespace for the agent", 5)
        for call, wanted in ((["socket", "1", "5", "0", ",", "connect", "r:", acts.unix(bed.path("var", "control.sock")), "110"], "0"),
                             (["kill", str(daemon.pid), "0"], "-1"), (["kill", str(daemon.child("netd")), "0"], "-1"),
                             (["openat", "-100", f"s:{bed.storage('identity')}", "0"], "-13")):
            out = subprocess.run([prison.INJECT, str(daemon.agent()), *call], check=True, capture_output=True, text=True, timeout=30).stdout
            same(out.split()[-1], wanted, f"the agent: {call}")


def without_clone3(user):
    """A container's usual filter refuses it: the agent is started all the same, in its group, and ends with the parent."""
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server, wrapper=[sys.executable, os.path.join(HERE, "..", "lib", "without_clone3.py")])
        server.wait_healthy()
        agent = daemon.agent()
        for group in bed.groups():
            with open(os.path.join(group, "cgroup.procs"), encoding="ascii") as f:
                assert str(agent) in f.read().split(), f"{agent} is not in {group}"
        proc.kill(agent)
        again = daemon.agent(other_than=agent)
        server.wait_status(APPLIED, server.offer({"": "fake:\n  fake_name: other\n"}), 20)
        same(daemon.stop(), 0, "exit status")
        same([p for p in (agent, again) if proc.alive(p)], [], "agents that live on")


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
    ("OH-SE I3 I5 I13 opamphub and its two processes: every call number and listed argument, ids, limits, descriptors: as declared", hub_as_declared),
    ("OH-SE I3 I5 I13 opamphub and its two processes: every act is refused or ends it, as declared", hub_resident),
    ("I9 netd, link, confd: even one that does nothing any more ends with the parent", ends_with_parent),
    ("I11 netd, link, confd: what one that was taken over can hold", hoards),
    ("I15 what is not in force is what opampctl sandbox lists", weaker),
    ("I15 the same where no user namespace is to be had", without_namespaces),
    ("I9 where clone3 is refused, as in many containers, the agent is started too", without_clone3),
    ("SE-01 the table of results", results),
]

users_made()
tap.run(for_all(TESTS))
