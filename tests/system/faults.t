#!/usr/bin/python3
"""The real confd, in its sandbox and in a daemon at work, stopped dead or hindered at some of its system calls; at
each of them, and power lost at any moment: tests/proof/faults.t.  See doc/durability.md.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import faults
import tap
from bed import users_made
from tap import same

POINTS = 16  # of each phase, evenly spread, each with the next of these:
HOWS = ("kill", "EIO", "killall", "ENOSPC", "kill", "EROFS", "EINTR", "EMFILE")
COUNTS = {}


def undisturbed():
    """How many system calls each phase makes; an apply is durable with seven syncs."""
    COUNTS.update(faults.counted("root", times=1))
    apply = COUNTS["apply"][4]
    same(apply["fsync"] + apply["fdatasync"] + apply.get("syncfs", 0) + apply.get("sync", 0), 7, "syncs of an apply")


def points(name):
    def test():
        most = COUNTS[name][1]
        cells = [(name, HOWS[i % len(HOWS)], 1 + i * most // POINTS) for i in range(POINTS)]
        cells += [(name, "short", number) for number in range(1, COUNTS[name][3], 9)]
        results, _ = faults.sweep("root", cells, 4)
        good, text, lines = faults.told(results, name, {how for _, how, _ in cells})
        print(f"# {text}\n" + "\n".join(lines), flush=True)
        assert good
    return test


TESTS = [("I8 CF-07 what confd does undisturbed: its system calls counted, seven syncs for an apply", undisturbed)] + \
    [(f"I8 CF-07 ID-02 {name}: killed, hindered at some of its system calls", points(name)) for name in faults.PHASES]

users_made()
if "san" in os.path.basename(os.environ["O"]):
    # what fails there is its run time, which then says so by calls that no list has
    tap.run([(name, lambda: (_ for _ in ()).throw(tap.Skip("the sanitizers' run time makes calls of its own"))) for name, _ in TESTS])
if os.geteuid() != 0:
    tap.run([(name, lambda: (_ for _ in ()).throw(tap.Skip("only root may trace confd"))) for name, _ in TESTS])
tap.run(TESTS)
