#!/usr/bin/python3
"""The real opamphub, its store stopped dead at every one of the calls by which it changes its disk, and each of these
calls failing, writing less, or failing with all later ones, by rotation (FULL=1: each of them at each call).  Then power
lost at any moment, by a model of what a disk may have of what the store did.  See doc/durability.md.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hub_faults
from hub_faults import HOWS, LOSSES, PHASES

FULL = bool(os.environ.get("FULL"))
WORKERS = int(os.environ.get("WORKERS", "6"))
MORE = 3  # calls: what is written about what was sent may come in one transaction or in two
EACH = 3  # of so many calls one has another fault than a kill


def plan(name, count):
    others = [how for how in HOWS if how != "kill"]
    for number in range(1, count + MORE + 1):
        yield name, "kill", number
        for place, how in enumerate(others):
            if FULL or number % EACH == 0 and number // EACH % len(others) == place:
                yield name, how, number


def main():
    if os.geteuid() != 0 or "san" in os.path.basename(os.environ["O"]):
        print("1..0 # SKIP only root may trace a process that is not dumpable, and a sanitizer makes calls of its own")
        return 0
    begun = time.monotonic()
    tests = failed = 0

    def report(good, text, lines=()):
        nonlocal tests, failed
        tests += 1
        failed += not good
        print(f"{'ok' if good else 'not ok'} {tests} - {text}", flush=True)
        print("\n".join(lines), end="\n" if lines else "", flush=True)

    counted = hub_faults.sweep([(name, "count", 0) for name in PHASES], WORKERS)
    bad = [r for r in counted if r[4] == "FAILED"]
    report(not bad, "undisturbed: " + ", ".join(f"{r[0]} {r[5]} calls" for r in counted), [r[6] for r in bad])
    cells = [one for r in counted if r[4] != "FAILED" for one in plan(r[0], r[5])]
    results = hub_faults.sweep(cells, WORKERS)
    for name in PHASES:
        for what, hows in (("the store is killed at each call", ("kill",)), ("all else that can happen to them", HOWS[1:])):
            good, text, lines = hub_faults.told(results, name, hows)
            report(good, f"{name}: {what}: {text}", lines)
    print(f"# {len(cells)} cells in {time.monotonic() - begun:.0f} s")
    for name, (count, changes, most, wrong) in zip(LOSSES, hub_faults.losses(WORKERS)):
        report(not wrong and count > changes, f"{name}: power lost at any moment: {changes} changes, at most {most} of them in "
               f"the air, {count} disks", ["# " + line for line in wrong[:5]])
    print(f"1..{tests}")
    return failed != 0


sys.exit(main())
