#!/usr/bin/python3
"""The real opamphub, its store stopped dead or hindered at some of the calls by which it changes its disk: while agents
report, while a configuration is made, assigned and applied, while all is taken away again, at a start and at the end.
At each of them, and power lost at any moment: tests/proof/hub_crash.t.  See doc/durability.md.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hub_faults
import tap

POINTS = 8  # of each phase, evenly spread, each with the next of hub_faults.HOWS


def points(name):
    def test():
        count = hub_faults.sweep([(name, "count", 0)], 1)[0]
        if count[4] == "FAILED":
            raise AssertionError(count[6])
        cells = [(name, hub_faults.HOWS[i % len(hub_faults.HOWS)], 1 + i * count[5] // POINTS) for i in range(POINTS)]
        good, text, lines = hub_faults.told(hub_faults.sweep(cells, 2), name, hub_faults.HOWS)
        print(f"# {count[5]} calls in all; {text}\n" + "\n".join(lines), flush=True)
        assert good
    return test


TESTS = [(f"{name}: the store killed, hindered at some of its writes: the old or the new, and what was answered", points(name))
         for name in hub_faults.PHASES]

WHY = "the sanitizers' run time makes calls of its own" if "san" in os.path.basename(os.environ["O"]) else \
    "only root may trace a process that is not dumpable" if os.geteuid() != 0 else None


def skipped():
    raise tap.Skip(WHY)


tap.run([(name, skipped) for name, _ in TESTS] if WHY else TESTS)
