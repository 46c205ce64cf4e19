#!/usr/bin/python3
"""coverage.py O [--unit] [--system]: what the corpora reach, from a build with clang's coverage in O.

For every target of tests/fuzz/parsers its corpus is replayed; lines and branches that it reaches are shown
for each of its files.  What no target reaches is compared with tests/fuzz/unreached, which has the reasons.
--unit: the unit tests too, and lines reached by corpora and unit tests together for each folder;
--system: and with what the real processes reached, whose counters lie in O/profiles (make coverage): then
the four folders of CORE must have FLOOR % of their lines reached together, and each handler of
privsep/messages.h a test, for which a corpus does not count.
--floors: what each target could be asked for.
Ends with 1 when a line has no reason, a reason no line, a target fewer branches than it must have, or
there is too little of the rest.
"""
import collections, glob, os, re, subprocess, sys, tempfile
from concurrent.futures import ThreadPoolExecutor

import handlers

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ("privsep", "wire", "netd", "confd", "procd", "ctl", "hub")
CORE = ("privsep", "netd", "confd", "procd")
FLOOR = 85  # % of the lines of CORE


def tool(name):
    for candidate in (name + "-16", name):
        if any(os.access(os.path.join(p, candidate), os.X_OK) for p in os.environ["PATH"].split(":")):
            return candidate
    sys.exit("coverage: %s-16 is not there (Debian: llvm-16)" % name)


class Source:
    """One file: how often each line and branch was reached."""

    def __init__(self, path):
        self.path, self.lines, self.branches, self.functions = path, {}, collections.Counter(), {}
        self.calls = collections.Counter()

    def add(self, other):
        for line, count in other.lines.items():
            self.lines[line] = self.lines.get(line, 0) + count
        self.branches.update(other.branches)
        self.functions.update(other.functions)
        self.calls.update(other.calls)

    def reached(self):
        return sum(1 for n in self.lines.values() if n > 0), len(self.lines)

    def branches_reached(self):
        return sum(1 for n in self.branches.values() if n > 0), len(self.branches)

    def function_at(self, line):
        starts = [s for s in self.functions.values() if s <= line]
        at = max(starts) if starts else 0
        return next((name for name, s in self.functions.items() if s == at), "")

    def blocks(self):
        """Unreached lines that follow one another: (first line, last line, function)."""
        out, last = [], None
        for line in sorted(self.lines):
            if self.lines[line] > 0:
                last = None
                continue
            function = self.function_at(line)
            if last is not None and last[2] == function:
                last[1] = line
            else:
                last = [line, line, function]
                out.append(last)
        return out


def read_lcov(text, sources):
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "SF":
            path = os.path.relpath(os.path.join(TREE, value), TREE)
            s = sources.setdefault(path, Source(path))
        elif key == "DA":
            number, count = value.split(",")[:2]
            s.lines[int(number)] = s.lines.get(int(number), 0) + int(count)
        elif key == "BRDA":
            number, block, branch, count = value.split(",")
            s.branches[(number, block, branch)] += 0 if count == "-" else int(count)
        elif key == "FN":
            number, name = value.split(",", 1)
            s.functions[name.split(":")[-1]] = int(number)
        elif key == "FNDA":
            count, name = value.split(",", 1)
            s.calls[name.split(":")[-1]] += int(count)


def export(profiles, objects, files, work, name):
    merged = os.path.join(work, name + ".profdata")
    subprocess.run([tool("llvm-profdata"), "merge", "-sparse", "-failure-mode=all", *profiles, "-o", merged], check=True)
    command = [tool("llvm-cov"), "export", "-format=lcov", "-instr-profile=" + merged, objects[0]]
    for o in objects[1:]:
        command += ["-object", o]
    return subprocess.run(command + files, check=True, stdout=subprocess.PIPE, text=True, cwd=TREE).stdout


def table():
    """tests/fuzz/parsers: target -> (least share of branches, files), and the files that are judged."""
    out, judged = {}, set()
    for line in open(os.path.join(TREE, "tests/fuzz/parsers")):
        line = line.split("#")[0].strip()
        if line:
            head, files = line.split(":", 1)
            name, least = head.split()
            mine, _, shown = files.partition("|")
            judged.update(mine.split())
            out[name] = (int(least.rstrip("%")), mine.split() + shown.split())
    return out, judged


class Reason:
    def __init__(self, number, text):
        self.number, self.used = number, 0
        self.place, _, self.why = (p.strip() for p in text.partition(" -- "))
        parts = [p.strip() for p in self.place.split(": ", 2)]
        if len(parts) != 3 or self.why == "":
            sys.exit("tests/fuzz/unreached:%d: 'file: function: line -- reason' belongs there" % number)
        for test in re.findall(r"tests/[a-z0-9_/]+\.[a-z]+", self.why):
            if not os.path.exists(os.path.join(TREE, test)):
                sys.exit("tests/fuzz/unreached:%d: there is no %s" % (number, test))
        self.never = parts[2] == "(never called)"
        self.patterns = [re.compile(re.escape(p).replace(r"\*", ".*") + r"\Z") for p in parts]

    def fits(self, source, first, function, text):
        if self.never:
            if source.calls[function] > 0:
                return False
            text = "(never called)"
        return all(p.match(t) for p, t in zip(self.patterns, (source.path, function, text)))


def reasons():
    out = []
    for number, line in enumerate(open(os.path.join(TREE, "tests/fuzz/unreached")), 1):
        if line.strip() and not line.startswith("#"):
            out.append(Reason(number, line.rstrip("\n")))
    return out


def replay(build, name, work):
    corpus = sorted(glob.glob(os.path.join(TREE, "tests/fuzz/corpus", name, "*")))
    program, raw = os.path.join(build, "tests/fuzz/replay_" + name), os.path.join(work, name + ".profraw")
    done = subprocess.run([program, *corpus], env=dict(os.environ, LLVM_PROFILE_FILE=raw),
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=300)
    if done.returncode != 0:
        sys.exit("coverage: %s failed on its corpus:\n%s" % (program, done.stderr.decode(errors="replace")[-2000:]))
    return program, raw, len(corpus)


def share(pair):
    return "%4d/%-4d %3d%%" % (pair[0], pair[1], 100 * pair[0] // pair[1] if pair[1] else 100)


def parsers(build, work, pool):
    """The table of targets.  Gives the sources of all of them, problems, and what was run."""
    (wanted, judged), sources, problems, shares = table(), {}, [], {}
    for program in glob.glob(os.path.join(TREE, "tests/fuzz/fuzz_*.c")):
        name = os.path.basename(program)[5:-2]
        if name not in wanted:
            problems.append("tests/fuzz/parsers: the target %s is not there" % name)
    runs = dict(zip(wanted, pool.map(lambda n: replay(build, n, work), wanted)))

    every = sorted({f for _, files in wanted.values() for f in files})

    def one(name):
        mine = {}
        read_lcov(export([runs[name][1]], [runs[name][0]], every, work, name), mine)
        return {path: s for path, s in mine.items() if path in every}
    print("%-18s %6s  %-28s %14s %14s" % ("target", "inputs", "its files", "lines", "branches"))
    for name, mine in zip(wanted, pool.map(one, wanted)):
        total = [0, 0]
        for at, path in enumerate(wanted[name][1]):
            if path not in mine:
                problems.append("tests/fuzz/parsers: %s: %s is not part of that target" % (name, path))
                continue
            got = mine[path].branches_reached()
            total = [total[0] + got[0], total[1] + got[1]]
            print("%-18s %6s  %-28s %s %s" % (name if at == 0 else "", runs[name][2] if at == 0 else "", path,
                                            share(mine[path].reached()), share(got)))
        for path in mine:
            sources.setdefault(path, Source(path)).add(mine[path])
        shares[name] = 100 * total[0] // total[1]
        if total[1] and 100 * total[0] / total[1] < wanted[name][0]:
            problems.append("%s: %d of %d branches reached, at least %d %% must be (tests/fuzz/parsers)" %
                            (name, total[0], total[1], wanted[name][0]))
    if "--floors" in sys.argv:  # for tests/fuzz/parsers, after a change of what is reached
        print("floors: " + " ".join("%s %d%%" % (n, max(0, shares[n] - 4)) for n in shares))
    both = [sum(x) for x in zip(*(s.reached() for s in sources.values()))]
    ways = [sum(x) for x in zip(*(s.branches_reached() for s in sources.values()))]
    print("%-18s %6d  %-28s %s %s" % ("together", sum(r[2] for r in runs.values()), "%d files" % len(sources),
                                    share(both), share(ways)))
    return {p: s for p, s in sources.items() if p in judged}, problems, runs


def judge(sources, known):
    """What is not reached, each with its reason; problems."""
    problems, shown = [], []
    for path, s in sorted(sources.items()):
        text = open(os.path.join(TREE, path)).read().splitlines()
        for first, last, function in s.blocks():
            line = text[first - 1].strip()
            if function == "":
                continue  # a macro, counted where it is used
            if line in ("{", "") and s.calls[function] == 0:
                line = "(never called)"
            fitting = [r for r in known if r.fits(s, first, function, line)]
            for r in fitting:
                r.used += 1
            where = "%s:%d" % (path, first) + ("" if first == last else "-%d" % last)
            if fitting:
                shown.append("%s: %s: %s -- %s" % (where, function, line, fitting[0].why))
            elif s.calls[function] == 0:
                problems.append("%s: not reached, and no reason: %s: %s: (never called) -- ..." % (where, path, function))
            else:
                problems.append("%s: not reached, and no reason: %s: %s: %s -- ..." % (where, path, function, line))
    for r in known:
        if r.used == 0 and not r.why.startswith("now and then: "):
            problems.append("tests/fuzz/unreached:%d: stale, it is reached or gone: %s" % (r.number, r.place))
    return shown, problems


def unit_profiles(build, work, pool):
    programs = [p for p in sorted(glob.glob(os.path.join(build, "tests/unit/*_test"))) if os.access(p, os.X_OK)]

    def one(program):
        raw = os.path.join(work, os.path.basename(program) + "-%p.profraw")
        done = subprocess.run([program], env=dict(os.environ, LLVM_PROFILE_FILE=raw), stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, timeout=300)
        return None if done.returncode == 0 else os.path.basename(program)
    failed = [p for p in pool.map(one, programs) if p]
    return programs, glob.glob(os.path.join(work, "*_test-*.profraw")), failed


def folders(title, profiles, objects, work):
    sources = {}
    files = [f for folder in FOLDERS for f in sorted(glob.glob(os.path.join(TREE, folder, "*.c")))]
    read_lcov(export(profiles, objects, files, work, "folders"), sources)
    print("\n%-28s %14s %14s" % (title, "lines", "branches"))
    total = {}
    sources = {p: s for p, s in sources.items() if p.split("/")[0] in FOLDERS}
    for path, s in sources.items():
        folder = path.split("/")[0]
        for at, n in enumerate(s.reached() + s.branches_reached()):
            total.setdefault(folder, [0, 0, 0, 0])[at] += n
    for folder in FOLDERS:
        if folder in total:
            print("%-28s %s %s" % (folder + "/", share(total[folder][:2]), share(total[folder][2:])))
    core = [sum(total[f][i] for f in CORE if f in total) for i in range(4)]
    print("%-28s %s %s" % ("privsep netd confd procd", share(core[:2]), share(core[2:])))
    never = sorted((s.reached()[1] - s.reached()[0], p) for p, s in sources.items())[::-1]
    print("most unreached lines: " + ", ".join("%s %d" % (p, n) for n, p in never[:12] if n))
    return core


def tested(profiles, objects, work):
    """What no test reaches of the handlers of messages; a corpus, which asserts nothing, is no test."""
    sources = {}
    read_lcov(export(profiles, objects, [os.path.join(TREE, f) for f in handlers.files()], work, "handlers"), sources)
    missing, count = handlers.problems(sources)
    print("handlers of messages: %d, of which %d without a test" % (count, len(missing)))
    return missing


def main():
    build = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(os.cpu_count()) as pool:
        sources, problems, runs = parsers(build, work, pool)
        shown, more = judge(sources, reasons())
        with open(os.path.join(build, "unreached"), "w") as out:
            out.write("\n".join(shown) + "\n")
        print("%d places are not reached for a reason: %s" % (len(shown), os.path.relpath(out.name, TREE)))
        problems += more
        if "--unit" in sys.argv or "--system" in sys.argv:
            objects, profiles, failed = unit_profiles(build, work, pool)
            for name in failed:
                print("%s failed: what it reaches is counted all the same" % name)
            corpora = [r[0] for r in runs.values()], [r[1] for r in runs.values()]
            folders("unit tests and corpora", profiles + corpora[1], objects + corpora[0], work)
            if "--system" in sys.argv:
                objects += [p for p in sorted(glob.glob(os.path.join(build, "opamp*"))) if os.access(p, os.X_OK)]
                profiles += glob.glob(os.path.join(build, "profiles/*.profraw"))
                core = folders("and real processes", profiles + corpora[1], objects + corpora[0], work)
                if 100 * core[0] < FLOOR * core[1]:
                    problems.append("privsep, netd, confd and procd: %d of %d lines reached, at least %d %% must be" %
                                    (core[0], core[1], FLOOR))
                problems += tested(profiles, objects, work)
    for p in problems:
        print("NOT AS IT MUST BE: " + p)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
