#!/usr/bin/python3
"""conformance.py RESULTS ROWS TABLE [--check]: which test proves which requirement.

RESULTS is a directory of files that the runners write, a line for each test:
    ok|FAILED|skipped <tab> program <tab> name
A test proves the requirements whose ids are in its name (FR-01, or FR_01 in C).  The table is
written to TABLE; with --check it is an error that a row of the spine or of the hub is unproven for
one of those that it binds.
"""
import os
import re
import sys

ID = re.compile(r"(?<![A-Z])([A-Z]{2})[-_](\d\d)(?!\d)")
HUB = re.compile(r"hub")  # the server's side
LINK = re.compile(r"link|output|peer")  # programs that test the side towards the agent
BOTH = re.compile(r"^(ws|wire|http|yaml|fuzz)")  # what both sides share


WHO = {"C": "opampd towards its server", "L": "opampd towards the agent", "S": "the hub"}


def read_rows(path):
    rows = []
    with open(path, encoding="utf-8") as f:
        for line in f:
            if not line.startswith("#") and line.strip():
                rows.append(line.rstrip("\n").split("|"))
    return rows


def read_results(directory):
    """{id: {(program, name): result}}; a test that ran for several users has the worst of its results."""
    worst = {"ok": 0, "skipped": 1, "FAILED": 2}
    found = {}
    for file in sorted(os.listdir(directory)):
        with open(os.path.join(directory, file), encoding="utf-8") as f:
            for line in f:
                result, program, name = line.rstrip("\n").split("\t")
                name = re.sub(r"^(root|user): ", "", name)
                for letters, number in ID.findall(name):
                    tests = found.setdefault(f"{letters}-{number}", {})
                    before = tests.get((program, name))
                    if before is None or (before == "skipped") or (result != "skipped" and worst[result] > worst[before]):
                        tests[program, name] = result
    return found


def sides(program):
    if HUB.search(program):
        return {"S"}
    if BOTH.match(program):
        return {"C", "L"}
    return {"L"} if LINK.search(program) else {"C"}


def judge(row, tests):
    """(what the table says of it, whether something is missing)"""
    _, who, when, _ = row
    failed = [k for k, r in tests.items() if r == "FAILED"]
    passed = [k for k, r in tests.items() if r == "ok"]
    needed = set(who.split()) & {"C", "L"} if "spine" in when.split() else set()
    if when == "hub spine" or when == "spine hub":
        needed &= {"L"} if "L" in who and "C" not in who else {"C", "L"}
    if "S" in who.split() and {"hub", "spine"} & set(when.split()):
        needed.add("S")
    missing = needed - set().union(set(), *(sides(p) for p, _ in passed))
    if failed:
        return "FAILED", bool(needed)
    if missing and passed:
        return f"not yet: {', '.join(WHO[w] for w in sorted(missing))}", True
    if passed:
        return "proven", False
    return "not yet", bool(missing)


def main():
    results, rows_path, table = sys.argv[1:4]
    found = read_results(results)
    rows = read_rows(rows_path)
    lines = ["# Conformance", "",
             "Made by `make check` from the names of its tests; do not edit.  Rows and their words: `tests/conformance.rows`.",
             "Who: C opampd towards its server, L towards the agent, S opamphub.", "",
             "| row | who | when | what | result | proven by |", "| --- | --- | --- | --- | --- | --- |"]
    lacking = []
    unseen = []  # by an ordinary user, of whom some tests are not asked
    counts = {}
    for row in rows:
        tests = found.get(row[0], {})
        verdict, missing = judge(row, tests)
        if missing:
            (unseen if os.geteuid() != 0 and verdict != "FAILED" else lacking).append(f"{row[0]} ({row[3]}): {verdict}")
        counts[verdict.split(" ")[0]] = counts.get(verdict.split(" ")[0], 0) + 1
        by = {}
        for (program, name), result in sorted(tests.items()):
            by.setdefault(program, []).append(name if result == "ok" else f"{name} ({result})")
        # of a C test the name, of a script's its file: its names are sentences
        cell = "; ".join(f"{p}: {', '.join(n)}" if not p.endswith(".t") else f"{p} ({len(n)})" for p, n in by.items())
        lines.append(f"| {' | '.join(row)} | {verdict} | {cell} |")
    known = {row[0] for row in rows}
    for stray in sorted(set(found) - known):
        if not stray.startswith(("I-",)):
            lacking.append(f"{stray}: named by {sorted(found[stray])[0]}, and no row of the list")
    with open(table + ".new", "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    os.replace(table + ".new", table)
    print(f"conformance: {counts.get('proven', 0)} of {len(rows)} rows proven, {len(lacking)} lacking; see {table}")
    for line in lacking:
        print(f"  {line}")
    if unseen:
        print(f"  {len(unseen)} more are proven by tests that only root can run: {', '.join(line.split(' ')[0] for line in unseen)}")
    return 1 if lacking and "--check" in sys.argv else 0


sys.exit(main())
