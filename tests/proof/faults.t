#!/usr/bin/python3
"""The real confd, in its sandbox and in a daemon at work, stopped dead at every one of its system calls, and each of
these calls failing (one error for each call, by rotation; FULL=1: every error, and everything killed, at each).
Then power lost at any moment, by a model of what a disk may have of what confd did.  See doc/durability.md.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import faults
import powerloss
from bed import users_made

FULL = bool(os.environ.get("FULL"))
WORKERS = int(os.environ.get("WORKERS", "5"))
STARTS = ("start", "start in a trial")  # up to the store they do what a first start does
LOSSES = ("apply", "rollback", "identity", "first start")


def numbers(name, counts):
    fewest, most, disk, transfers, _ = counts[name]
    return range(disk if name in STARTS and not FULL else 1, most + 4)


def plan(counts):
    cells = []
    for name in faults.PHASES:
        transfers = counts[name][3]
        for number in numbers(name, counts):
            cells.append((name, "kill", number))
            for place, how in enumerate(faults.ROTATION):
                if FULL or number % len(faults.ROTATION) == place:
                    cells.append((name, how, number))
        cells += [(name, "short", number) for number in range(1, transfers + 1)]
        if name in ("apply", "rollback"):
            errors = ("EIO", "ENOSPC", "EROFS")
            cells += [(name, "on " + error, number) for number in numbers(name, counts) for place, error in enumerate(errors)
                      if FULL or number % 24 == 8 * place]
    return cells


def main():
    users_made()
    if os.geteuid() != 0:
        print("1..0 # SKIP only root may trace a process that is not dumpable")
        return 0
    begun = time.monotonic()
    counts = faults.counted("root", WORKERS)
    cells = plan(counts)
    results, used = faults.sweep("root", cells, WORKERS)
    tests = failed = 0
    groups = (("confd is killed at each system call", ("kill",)), ("everything is killed there", ("killall",)),
              ("the call fails", faults.ERRORS), ("it reads or writes less", ("short",)),
              ("the disk fails from there on, and is well again later", ("on EIO", "on ENOSPC", "on EROFS")))
    for name in faults.PHASES:
        fewest, most = counts[name][:2]
        syncs = sum(counts[name][4].get(call, 0) for call in ("fsync", "fdatasync", "syncfs", "sync"))
        tests += 1
        good = name != "apply" or syncs <= 7
        failed += not good
        print(f"{'ok' if good else 'not ok'} {tests} - I8 {name}: {fewest} to {most} system calls, {syncs} syncs", flush=True)
        for what, hows in groups:
            if not any(r[0] == name and r[1] in hows for r in results):
                continue
            good, text, lines = faults.told(results, name, hows)
            tests += 1
            failed += not good
            print(f"{'ok' if good else 'not ok'} {tests} - I8 CF-07 {name}: {what}: {text}", flush=True)
            print("\n".join(lines), flush=True)
    took = time.monotonic() - begun
    print(f"# {len(results)} cells in {took:.0f} s, {used:.0f} s of processor time")
    for name in LOSSES:
        tests += 1
        try:
            text = powerloss.proof("root", faults.PHASES[name], None if FULL else 24)
            print(f"ok {tests} - I8 {name}: power lost at any moment: {text}", flush=True)
        except Exception as why:
            failed += 1
            print(f"not ok {tests} - I8 {name}: power lost at any moment")
            print("\n".join("# " + line for line in str(why).splitlines()), flush=True)
    print(f"1..{tests}")
    return failed != 0


sys.exit(main())
