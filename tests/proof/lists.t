#!/usr/bin/python3
"""Shortest lists: what the processes call in their sandboxes, recorded over tests that reach everything they do, beside
what their lists allow (privsep/policy_*.c).  A list has no row that was never seen without a word of when it comes, none
that is said to be unseen and comes; and no argument that the kernel could check goes unchecked without a reason.

RECORDS=DIR takes records that are there already (RECORD=DIR make check-system) instead of making them.
"""
import copy
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import tap
from bed import BUILD, ROOT, users_made
from lists import CHILDREN, Lists, Row
from privsep import TREE
from tap import same

# programs and the names of their tests (a regular expression; None: all of it), chosen for what they reach
SUBSET = [
    ("system/connect.t", None), ("system/daemon.t", None), ("system/link_output.t", None), ("system/link.t", None),
    ("system/netd.t", None), ("system/kernel.t", None), ("system/offline.t", None),
    ("system/apply.t", "root: "),
]
MADE = {}


def recorded():
    """The records, made once for all tests."""
    if "lists" not in MADE:
        given = os.environ.get("RECORDS")
        with tempfile.TemporaryDirectory(prefix="opampd-record-") as directory:
            if not given:
                MADE["said"] = record(directory)
            MADE["lists"] = Lists(BUILD).read(given or directory)
    return MADE["lists"]


def record(directory):
    os.chmod(directory, 0o1777)  # what an ordinary user's processes call is written by them
    def one(program, only):
        environment = dict(os.environ, RECORD=directory, O=BUILD)
        environment.pop("ONLY", None)
        if only:
            environment["ONLY"] = only
        return subprocess.run([os.path.join(TREE, "tests", program)], env=environment, capture_output=True, text=True, check=False, timeout=900)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda s: one(*s), SUBSET))
    return [f"{program}: {line}" for (program, _), r in zip(SUBSET, done) for line in r.stdout.splitlines() if line.startswith("not ok")] + \
        [f"{program}: ran no test: {r.stderr[-300:]}" for (program, _), r in zip(SUBSET, done) if "ok 1 " not in r.stdout]


def able():
    if not ROOT:
        raise tap.Skip("only root may trace every process of a daemon")
    if "san" in os.path.basename(BUILD):
        raise tap.Skip("the sanitizers' run time is let call more")


def none(wrong, what):
    assert not wrong, what + ":\n" + "\n".join(wrong)


def tests_pass():
    able()
    recorded()
    none(MADE.get("said", []), "tests that failed while they were recorded")


def nothing_strange():
    able()
    lists = recorded()
    none(sorted(set(lists.strange)), "calls that no list has")
    none(sorted(set(lists.killed)), "processes that a filter ended")
    for process in (*CHILDREN, "parent"):
        assert sum(lists.seen.get(process, {}).values()) > 100, f"{process} was hardly recorded: {lists.seen.get(process)}"


def nothing_unseen():
    able()
    none(recorded().never_seen(), "rows of the lists that nothing needs")


def nothing_stale():
    able()
    none(recorded().stale(), "rows whose word for being unseen is not true")


def everything_checked():
    none(Lists(BUILD).unchecked(), "arguments that could be checked")


def proof_of_the_proof():
    """What it is to find, planted."""
    able()
    lists = copy.deepcopy(recorded())
    seen = next(r for r in lists.policies["netd"] if r.name == "epoll_wait")
    seen.unseen = "never"
    lists.policies["netd"].append(Row("getppid", 110, 0, [], None, None))
    lists.policies["netd"].append(Row("recvmsg", 47, 0, [], None, None))
    lists.take(["netd", "getdents64", "3"])
    lists.take(["link", "sendto", "1", "3=0x20000000", "4=0x1"])
    lists.take(["procd", "openat", "killed", "2=0x0"])
    same(len(lists.stale()), 1, "stale reasons found")
    same([w for w in lists.never_seen() if "getppid" in w], ["netd: getppid() was never called, and nothing says when it is"], "rows found")
    assert [w for w in lists.unchecked() if w.startswith("netd: recvmsg(): argument 2")], lists.unchecked()
    same(len(lists.strange), 2, "calls found that no list has")
    same(len(lists.killed), 1, "ends by a filter found")


def figures():
    lists = recorded() if ROOT else Lists(BUILD)
    for line in lists.table():
        print(f"# {line}")
    reasons = {(p, r.name, r.unseen) for p in CHILDREN for r in lists.policies[p] if r.unseen}
    for process, name, unseen in sorted(reasons):
        print(f"# {process}: {name}: not here: {unseen}")
    for process in CHILDREN:
        allowed, checked, *_ = lists.figures(process)
        # the yardstick: OpenSSH 10.5's pre-authentication filter allows 35 calls, 5 of them with arguments checked
        assert allowed <= 36 and checked >= 8, f"{process}: {allowed} calls allowed, {checked} of them with arguments checked"


users_made()
tap.run([
    ("I5 the recorded tests pass", tests_pass),
    ("I5 no call beyond the lists, no process ended by its filter", nothing_strange),
    ("I5 every row of a list is seen, or says when it comes", nothing_unseen),
    ("I5 no row that says it is unseen is seen", nothing_stale),
    ("I5 every argument that the kernel can check is checked, or the list says why not", everything_checked),
    ("the proof finds what is planted", proof_of_the_proof),
    ("I5 figures", figures),
])
