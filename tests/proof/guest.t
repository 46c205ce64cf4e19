#!/usr/bin/python3
"""The daemon on kernels that are older than this host's, and with cgroups (v2) that have their controllers: Debian's own
kernels in guests (tests/lib/guest.py).  6.1, Debian 12's: Landlock ABI 2, no vDSO; 6.12: ABI 6.

In each the whole daemon runs (tests/proof/guest_inside.py), each process's sandbox is compared with what is declared
(tests/system/kernel.t), and its calls are recorded: what only that kernel sees must say so in the lists.
"""
import os
import re
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import guest
import tap
from bed import BUILD, ROOT
from lists import CHILDREN, Lists
from tap import same

COMMANDS = [
    ("inside", "SLOW=6 tests/proof/guest_inside.py"),
    ("sandboxes", "unset RECORD; SLOW=6 ONLY='root: I1 I2|root: I13 SE|user: I1 I2' tests/system/kernel.t"),
]
KERNELS = {"6.1": "vdso=0", "6.12": ""}
RAN = {}


def ran(version):
    if not ROOT:
        raise tap.Skip("only root can make the guest's files")
    if "san" in os.path.basename(BUILD):
        raise tap.Skip("the sanitizers take more than a guest has")
    if not RAN:  # both at once: one alone does not keep two processors busy
        started = [threading.Thread(target=start, args=(one,)) for one in KERNELS]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
    if isinstance(RAN[version], Exception):
        raise RAN[version]
    return RAN[version]


def start(version):
    begun = time.monotonic()
    try:
        RAN[version] = guest.boot(BUILD, version, COMMANDS, KERNELS[version], 600)
    except Exception as e:  # told by each test that asks for it
        RAN[version] = e
    print(f"# {version}: {time.monotonic() - begun:.0f} s", flush=True)


def inside(version, name, at_least):
    def run():
        body, status = ran(version).parts.get(name, ("the guest did not come so far\n" + ran(version).text[-3000:], 1))
        print("".join(f"# {line[:300]}\n" for line in body.splitlines()), end="", flush=True)
        same(len(re.findall(r"^not ok", body, flags=re.M)), 0, "tests that failed in the guest")
        same(status, 0, "exit status")
        assert len(re.findall(r"^ok \d+ - (?!.*# SKIP)", body, flags=re.M)) >= at_least, "too few tests ran in the guest"
    return run


def lists_of(version):
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "guest.calls"), "w", encoding="ascii") as f:
            f.write(ran(version).parts["records"][0])
        return Lists(BUILD).read(directory)


def no_filter_ended_anybody(version):
    def run():
        lists = lists_of(version)
        same(sorted(set(lists.strange)), [], "calls that no list has")
        same(lists.killed, [], "processes that a filter ended")
        for process in (c for c in CHILDREN if not c.startswith("hub-")):  # opampd alone runs there
            assert lists.seen.get(process), f"nothing of {process} was recorded"
        kernel = ran(version).parts["kernel"][0]
        same([line for line in kernel.splitlines() if "type=1326" in line], [], "the kernel's records of filters")
        assert re.search(r"[Oo]ut of memory|oom-kill|Memory cgroup", kernel), "the kernel tells of no want of memory: was it tried?"
    return run


def what_only_it_sees(version):
    """Rows that say when they come, and here it is: they came, and none whose time it is not."""
    def run():
        here = {"6.1": ["before Linux 6.3", "the vDSO"], "6.12": []}[version]
        lists = lists_of(version)
        early = [f"{p}: {r.told()}: {r.unseen}" for p in CHILDREN for r in lists.policies[p]
                 if r.unseen and r.count and not any(w in r.unseen for w in here + ["the vDSO"])]
        same(early, [], "rows that came though it is not their time")
        for word in here:
            came = [f"{p}: {r.told()}" for p in CHILDREN for r in lists.policies[p] if r.unseen and word in r.unseen and r.count]
            assert came, f"no row that waits for {word!r} came"
            print(f"# {word}: " + ", ".join(came))
    return run


TESTS = []
for v in KERNELS:
    TESTS += [
        (f"{v}: I5 the daemon, its limits, its end", inside(v, "inside", 6)),
        (f"{v}: I5 I13 each process's sandbox as declared, as far as this kernel can", inside(v, "sandboxes", 3)),
        (f"{v}: I5 no process was ended by its filter", no_filter_ended_anybody(v)),
        (f"{v}: I5 what only this kernel sees", what_only_it_sees(v)),
    ]

tap.run(TESTS)
