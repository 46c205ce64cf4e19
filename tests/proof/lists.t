#!/usr/bin/python3
"""Shortest lists: what the processes call in their sandboxes, recorded over tests that reach everything they do, beside
what their lists allow (privsep/policy_*.c).  A list has no row that was never seen without a word of when it comes, none
that is said to be unseen and comes; and no argument that the kernel could check goes unchecked without a reason.

RECORDS=DIR takes records that are there already (RECORD=DIR make check-system) instead of making them.
"""
import copy
import os
import re
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

# what reaches every row that the whole suite reaches
SUBSET = {"kernel.t": None, "connect.t": None, "secrets.t": None, "daemon.t": None, "protocol.t": "SZ-01 SZ-02 SZ-04",
          "hub.t": "TLS for agents|too large is refused|sizes: 1009|survives a restart|kernel's view|Close frame|uids:|a part that dies"}  # which of its tests
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

    def one(program):
        environment = dict(os.environ, RECORD=directory, O=BUILD)
        environment.pop("ONLY", None)
        if SUBSET[program]:
            environment["ONLY"] = SUBSET[program]
        return subprocess.run([os.path.join(TREE, "tests", "system", program)], env=environment, capture_output=True, text=True, check=False,
                              timeout=900).stdout

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SUBSET, pool.map(one, SUBSET)))


def able():
    if not ROOT:
        raise tap.Skip("only root may trace every process of a daemon")
    if "san" in os.path.basename(BUILD):
        raise tap.Skip("the sanitizers' run time is let call more")


def none(wrong, what):
    assert not wrong, what + ":\n" + "\n".join(wrong)


def tests_ran():
    """Time limits are met or missed under a tracer, which is slow; that they are met without it is shown by make check."""
    able()
    recorded()
    for program, said in MADE.get("said", {}).items():
        good, bad = (re.findall(rf"^{word} \d+.*", said, flags=re.M) for word in ("ok", "not ok"))
        print("".join(f"# {program}: {line}\n" for line in bad), end="")
        assert len(good) >= (1 if SUBSET[program] else 4) and len(bad) <= len(good) // 5, f"{program}: {len(good)} tests passed, {len(bad)} failed while they were recorded"


def nothing_strange():
    able()
    lists = recorded()
    none(sorted(set(lists.strange)), "calls that no list has")
    none(sorted(set(lists.killed)), "processes that a filter ended")
    for process in (*CHILDREN, "parent", "hub"):
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
    before = len(lists.stale())
    seen = next(r for r in lists.policies["netd"] if r.name == "epoll_wait")
    seen.unseen = "never"
    lists.policies["netd"].append(Row("getppid", 110, 0, [], None, None))
    lists.policies["netd"].append(Row("recvmsg", 47, 0, [], None, None))
    lists.take(["netd", "getdents64", "3"])
    lists.take(["link", "sendto", "1", "3=0x20000000", "4=0x1"])
    lists.take(["procd", "openat", "killed", "2=0x0"])
    same(len(lists.stale()), before + 1, "stale reasons found")
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
    with open(os.path.join(TREE, "doc", "sandbox-compared.md"), encoding="utf-8") as f:
        stated = f.read()
    if ROOT:
        none([line for line in lists.markdown() if line.rpartition("| ")[0].rpartition("| ")[0] not in stated], "doc/sandbox-compared.md says otherwise (make sandbox-figures)")
    for process in CHILDREN:
        allowed, checked, *_ = lists.figures(process)
        # the yardstick: OpenSSH 10.5's pre-authentication filter allows 35 calls, 5 of them with arguments checked
        assert allowed <= 36 and checked >= 8, f"{process}: {allowed} calls allowed, {checked} of them with arguments checked"


users_made()
tap.run([
    ("I5 the tests that are recorded run", tests_ran),
    ("I5 no call beyond the lists, no process ended by its filter", nothing_strange),
    ("I5 every row of a list is seen, or says when it comes", nothing_unseen),
    ("I5 no row that says it is unseen is seen", nothing_stale),
    ("I5 every argument that the kernel can check is checked, or the list says why not", everything_checked),
    ("the proof finds what is planted", proof_of_the_proof),
    ("I5 figures", figures),
])
