#!/usr/bin/python3
"""The fuzz targets find bugs: each patch of tests/proof/planted puts one into a copy of the sources, the
target that it names is built from it, runs its corpus, then fuzzes for PLANTED_SECONDS (60) at most, and
must report something.  By what each was found and after how long is told, and written to
O/planted.md.  A patch that no longer applies is a failure: move it to where such a bug could be now."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TREE, "tests/lib"))
import fuzz_long  # noqa: E402
import tap  # noqa: E402

O = os.path.abspath(os.environ.get("O", os.path.join(TREE, "build")))
INSIDE = os.path.relpath(O, TREE)
SECONDS = int(os.environ.get("PLANTED_SECONDS", "60"))
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "WERROR", "O", "ONLY")}


def make(folder, *what):
    done = subprocess.run(["make", "-s", "--no-print-directory", "O=" + INSIDE, "WERROR=", *what], cwd=folder,
                          env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
    assert done.returncode == 0, "make %s: %s" % (" ".join(what), done.stdout[-3000:])


def seeds_of(target, work):
    folder = os.path.join(work, "seeds-" + target)
    if not os.path.isdir(folder):
        fuzz_long.seeds(target, folder)
    return sorted(glob.glob(os.path.join(folder, "*")))


def run(program, arguments, log, seconds):
    """Exit status and seconds it took."""
    begun = time.monotonic()
    with open(log, "wb") as out:
        done = subprocess.run([program, "-timeout=25", "-rss_limit_mb=2048", "-artifact_prefix=" + log + ".", *arguments],
                              stdout=out, stderr=out, env=fuzz_long.ENVIRONMENT, cwd=os.path.dirname(log), timeout=seconds + 120)
    return done.returncode, time.monotonic() - begun


def found_by(log):
    """In words: which of the means it was."""
    text = open(log, errors="replace").read()
    for pattern, words in ((r"ERROR: AddressSanitizer: ([a-z-]+)", "AddressSanitizer: %s"),
                           (r"runtime error: ([^\n]{1,60})", "UBSan: %s"), (r"ERROR: LeakSanitizer: (.*)", "LeakSanitizer: %s"),
                           (r"ERROR: libFuzzer: (timeout|out-of-memory)", "libFuzzer: %s")):
        m = re.search(pattern, text)
        if m:
            return words % m.group(1)
    # the target's own abort: the first function of the target in the stack
    for m in re.finditer(r"#\d+ 0x[0-9a-f]+ in (\w+) (?:\./)?(\S*tests/fuzz/\S+?):(\d+)", text):
        return "what must hold in %s:%s (%s)" % (os.path.basename(m.group(2)), m.group(3), m.group(1))
    return "libFuzzer: " + (re.findall(r"ERROR: libFuzzer: (.*)", text) or ["it ended"])[0]


class Bug:
    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)[:-6]
        text = open(path).read()
        self.what = re.search(r"^bug: (.*)$", text, re.M).group(1)
        self.target = re.search(r"^target: (.*)$", text, re.M).group(1)

    def find(self, work):
        """(by what, with which input, after how many seconds of running)"""
        copy, log = os.path.join(work, self.name), os.path.join(work, self.name + ".log")
        shutil.copytree(TREE, copy, symlinks=True, ignore=lambda d, names: [
            n for n in names if n in (".git", "corpus", "__pycache__") or n.startswith("build")])
        plant(copy)
        done = subprocess.run(["patch", "-p1", "-F2", "-s", "--no-backup-if-mismatch", "-i", self.path], cwd=copy,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, "the patch does not apply any more: " + done.stdout
        make(copy, "fuzz-build-" + self.target)
        program = os.path.join(copy, INSIDE, "fuzz/fuzzer_" + self.target)
        status, took = run(program, seeds_of(self.target, work), log, 120)
        if status != 0:
            last = (re.findall(r"^Running: (.*)$", open(log, errors="replace").read(), re.M) or ["?"])[-1]
            result = found_by(log), "the corpus's " + os.path.basename(last), took
        else:
            new = tempfile.mkdtemp(dir=work)
            status, more = run(program, ["-max_total_time=%d" % SECONDS, "-max_len=4096"] + fuzz_long.dictionary(self.target) +
                               [new, os.path.join(work, "seeds-" + self.target)], log, SECONDS)
            assert status != 0, "NOT FOUND by its corpus nor by %d s of fuzzing" % SECONDS
            result = found_by(log), "fuzzing", took + more
        shutil.rmtree(copy)
        return result


def plant(copy):
    """The objects of the true sources: hard links, since what is built replaces them (.d is written in place)."""
    for folder, _, files in os.walk(os.path.join(O, "fuzz")):
        if ".new" in folder or ".seeds" in folder or "/kept" in folder:
            continue
        to = os.path.join(copy, INSIDE, os.path.relpath(folder, O))
        os.makedirs(to, exist_ok=True)
        for file in files:
            if file.endswith((".o", ".a", ".c", ".h")):
                os.link(os.path.join(folder, file), os.path.join(to, file))
            elif file.endswith(".d"):
                shutil.copy2(os.path.join(folder, file), to)


def main():
    assert not INSIDE.startswith(".."), "O must be a folder of the source tree"
    bugs = [Bug(p) for p in sorted(glob.glob(os.path.join(HERE, "planted/*.patch")))]
    only = os.environ.get("ONLY")
    if only:
        bugs = [b for b in bugs if re.search(only, "%s (%s): %s" % (b.name, b.target, b.what))]
    make(TREE, "fuzz-build")
    work = tempfile.mkdtemp(prefix="planted-", dir=O)
    rows = []

    def clean(target):
        """Without a bug nothing is found: otherwise what is found proves nothing."""
        log = os.path.join(work, target + "-clean.log")
        status, _ = run(os.path.join(O, "fuzz/fuzzer_" + target), seeds_of(target, work), log, 120)
        assert status == 0, "%s finds something in the true sources: %s" % (target, open(log, errors="replace").read()[-3000:])

    def test(bug, future):
        def judge():
            by, by_input, took = future.result()
            rows.append((bug.name, bug.target, bug.what, by, by_input, took))
            print("# %s, by %s: %s after %.1f s" % (bug.what, by_input, by, took), flush=True)
        return "%s (%s): %s" % (bug.name, bug.target, bug.what), judge

    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            targets = sorted({b.target for b in bugs})
            for b in bugs:
                seeds_of(b.target, work)
            cleans = [("nothing is found in the true sources by " + t, pool.submit(clean, t).result) for t in targets]
            futures = [pool.submit(b.find, work) for b in bugs]
            os.environ.pop("ONLY", None)  # it has been heeded
            tap.run(cleans + [test(b, f) for b, f in zip(bugs, futures)] + [("at least ten, found", lambda: enough(rows, only))])
    finally:
        with open(os.path.join(O, "planted.md"), "w") as out:
            out.write("| bug | target | found by | input | after s |\n| --- | --- | --- | --- | --- |\n")
            for name, target, what, by, by_input, took in rows:
                out.write("| %s: %s | %s | %s | %s | %.1f |\n" % (name, what, target, by, by_input, took))
        shutil.rmtree(work)


def enough(rows, only):
    assert only or len(rows) >= 10, "only %d planted bugs were found" % len(rows)


if __name__ == "__main__":
    main()
