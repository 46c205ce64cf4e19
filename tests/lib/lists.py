#!/usr/bin/python3
"""What the processes call (tests/tools/record.c) beside what their lists allow (privsep/policy_*.c).

    lists.py DIR...     how many calls each list allows, of these with argument checks, and seen in the records below DIR
"""
import glob
import json
import os
import subprocess
import sys

CHILDREN = ("netd", "link", "confd", "procd", "connect", "merge", "hub-front", "hub-store")
F_GETFD, F_GETFL, F_GET_SEALS = 1, 3, 1034
ALL64 = (1 << 64) - 1


def tool(build, *command):
    return json.loads(subprocess.run([os.path.join(build, "tools", command[0]), *command[1:]], check=True, capture_output=True).stdout)


class Row:
    """One line of a list."""

    def __init__(self, name, number, action, tests, unseen, unchecked):
        self.name, self.number, self.action, self.tests = name, number, action, tests
        self.unseen, self.unchecked = unseen, unchecked
        self.count = 0

    def fits(self, arguments):
        for test, index, value, mask in self.tests:
            given = arguments.get(index, 0)
            if not {"eq": given == value, "mask0": given & value == 0, "mask_eq": given & mask == value}[test]:
                return False
        return True

    def told(self):
        how = {"eq": "={1:#x}", "mask0": "&{1:#x}=0", "mask_eq": "&{2:#x}={1:#x}"}
        return self.name + "(" + ", ".join(f"{t[1]}" + how[t[0]].format(*t[1:]) for t in self.tests) + ")"

    def value_of(self, index):
        return next((t[2] for t in self.tests if t[0] == "eq" and t[1] == index), None)

    def without(self, index):
        """Is this argument not looked at by the kernel itself, as the others are?"""
        if self.name == "fcntl" and index == 2:
            return self.value_of(1) in (F_GETFD, F_GETFL, F_GET_SEALS)
        return self.name == "openat" and index == 3 and not (self.value_of(2) or 0) & os.O_CREAT


class Lists:
    def __init__(self, build):
        self.checkable = tool(build, "record")
        self.policies = {}
        for name, policy in tool(build, "policy").items():
            self.policies[name] = [Row(*row[:3], row[3:], *reasons) for row, reasons in zip(policy["syscalls"], policy["reasons"])]
        self.strange = []  # what was recorded and no row fits: it would have ended the process
        self.killed = []
        self.seen = {}

    def read(self, *directories):
        for directory in directories:
            for path in glob.glob(os.path.join(directory, "**", "*.calls"), recursive=True):
                with open(path, encoding="ascii") as f:
                    for line in f:
                        self.take(line.split())
        return self

    def take(self, words):
        process, call, count = words[:3]
        arguments = {int(w.partition("=")[0]): int(w.partition("=")[2], 0) for w in words[3:]}
        if count == "killed":
            self.killed.append(" ".join(words))
            return
        self.seen.setdefault(process, {}).setdefault(call, 0)
        self.seen[process][call] += int(count)
        if process not in CHILDREN:
            return
        fits = [row for row in self.policies[process] if row.name == call and row.fits(arguments)]
        for row in fits:
            row.count += int(count)
        if not fits:
            self.strange.append(" ".join(words))

    # ---- what is wrong with a list

    def never_seen(self):
        return [f"{p}: {r.told()} was never called, and nothing says when it is" for p in CHILDREN for r in self.policies[p]
                if r.count == 0 and r.unseen is None and r.number >= 0]

    def stale(self):
        """But for what comes now and then, as two processes happen to meet."""
        return [f"{p}: {r.told()} is said to be unseen ({r.unseen}), and came {r.count} times" for p in CHILDREN
                for r in self.policies[p] if r.count > 0 and r.unseen is not None and not r.unseen.startswith("now and then: ")]

    def unchecked(self):
        """Arguments that a filter could check, and does not, and nothing says why; and reasons where nothing is left."""
        wrong = []
        for p in CHILDREN:
            for r in self.policies[p]:
                if r.name not in self.checkable:
                    wrong.append(f"{p}: {r.name} is not in tests/tools/checkable.h")
                    continue
                if r.action > 0:
                    continue
                tested = {t[1] for t in r.tests}
                open_ones = [i for i, how in enumerate(self.checkable[r.name])
                             if how != "-" and i not in tested and not r.without(i)]
                if open_ones and r.unchecked is None:
                    wrong.append(f"{p}: {r.told()}: argument {open_ones[0]} could be checked")
                if r.unchecked is not None and not open_ones:
                    wrong.append(f"{p}: {r.told()}: says why an argument is not checked, but all are")
        return wrong

    # ---- figures

    def figures(self, process):
        """(calls allowed, of these with arguments checked in every row, of these seen, rows, of these seen)"""
        rows = [r for r in self.policies[process] if r.action == 0 and r.number >= 0]
        names = {r.name for r in rows}
        checked = {n for n in names if all(r.tests for r in rows if r.name == n)}
        seen = {n for n in names if any(r.count for r in rows if r.name == n)}
        return len(names), len(checked), len(seen), len(rows), sum(1 for r in rows if r.count)

    def nothing_to_check(self, process):
        """Calls whose arguments are addresses, sizes, descriptors and the like alone."""
        names = {r.name for r in self.policies[process] if r.action == 0 and r.number >= 0}
        return sum(1 for n in names if not set(self.checkable.get(n, "v")) - {"-"})

    def markdown(self):
        """The rows of doc/sandbox-compared.md."""
        return [f"| {p} | {self.figures(p)[0]} | {self.figures(p)[1]} | {self.nothing_to_check(p)} | {self.figures(p)[2]} |" for p in CHILDREN]

    def table(self):
        lines = [f"{'process':10s} {'allowed':>8s} {'checked':>8s} {'seen':>6s} {'rows':>6s} {'seen':>6s}"]
        for p in CHILDREN:
            lines.append("{:10s} {:8d} {:8d} {:6d} {:6d} {:6d}".format(p, *self.figures(p)))
        for p, whose in (("parent", "parent"), ("agent", "agent"), ("hub", "parent")):
            lines.append(f"{p:10s} all but {len({r.name for r in self.policies[whose]})}; {len(self.seen.get(p, {}))} seen")
        return lines


if __name__ == "__main__":
    lists = Lists(os.environ.get("O", "build")).read(*sys.argv[1:])
    print("\n".join(lists.table() + [""] + lists.markdown()))
    if os.environ.get("VERBOSE"):
        for text in sorted(set(lists.strange)) + lists.never_seen() + lists.stale() + lists.unchecked() + sorted(set(lists.killed)):
            print(text)
