#!/usr/bin/python3
"""What the corpora of tests/fuzz reach of the parsers (tests/fuzz/parsers): each target its share of branches;
and every line that none of them reaches has a reason in tests/fuzz/unreached, which has no other reasons.
What corpora, unit tests and some system tests (COVERAGE_TESTS in tests/tests.mk) reach together: the lines of
privsep, netd, confd and procd that must be, and the handler of every message.
The whole table is written to O/coverage/report."""
import os
import re
import subprocess
import sys

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TREE, "tests/lib"))
import tap  # noqa: E402

O = os.path.abspath(os.environ.get("O", os.path.join(TREE, "build")))
report = []


def measure():
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "WERROR", "O", "ONLY")}
    done = subprocess.run(["make", "-s", "--no-print-directory", "O=" + os.path.relpath(O, TREE), "coverage"], cwd=TREE,
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    report.extend(done.stdout.splitlines())
    with open(os.path.join(O, "coverage/report"), "w") as out:
        out.write("\n".join(l for l in report if not l.startswith("  ") or "/" in l) + "\n")
    # the last that coverage.py finds out before it says what is not as it must be
    assert any(l.startswith("handlers of messages") for l in report), "it could not be measured:\n" + done.stdout[-3000:]
    assert (done.returncode == 0) != any(l.startswith("NOT AS IT MUST BE: ") for l in report), "it did not end in order:\n" + done.stdout[-3000:]
    for line in report:
        if line.startswith(("together", "privsep netd confd procd", "handlers of messages", "unit tests", "and real")) or \
                re.match(r"[a-z]+/ ", line):
            print("# " + line, flush=True)


def none(*beginnings):
    problems = [l[len("NOT AS IT MUST BE: "):] for l in report if l.startswith("NOT AS IT MUST BE: ")]
    mine = [p for p in problems if any(b in p for b in beginnings)]
    assert any(l.startswith("together") for l in report), "it was not measured"
    assert not mine, "\n" + "\n".join(mine)


tap.run([
    ("the corpora and the unit tests are run and measured", measure),
    ("every target is in the table, with files that it tries", lambda: none("tests/fuzz/parsers: ")),
    ("every target reaches its share of branches", lambda: none("branches reached, at least")),
    ("what no corpus reaches has a reason", lambda: none("not reached, and no reason")),
    ("no reason is stale", lambda: none(": stale, ")),
    ("privsep, netd, confd and procd have their share of lines", lambda: none("lines reached, at least")),
    ("no handler of a message is without a test", lambda: none("no test reaches its handler", "no handler was found")),
])
