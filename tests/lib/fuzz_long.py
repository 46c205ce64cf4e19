#!/usr/bin/python3
"""fuzz_long.py PROGRAMS KEPT SECONDS [JOBS]: hours of fuzzing, every target in turn, again and again.

PROGRAMS is the folder of `make fuzz` (its fuzzer_NAME), KEPT a folder that may be there already: KEPT/NAME
grows from run to run.  A finding does not end it: the input stays in KEPT/NAME.crash-*, and the end says
how to see it again.  At the end each KEPT/NAME is made small (libFuzzer's merge), and what reaches code
that the corpus in the tree does not is written to KEPT/NAME.new, smallest set first, for `git add` after
a look.  KEPT/figures has executions, CPU time and speed of every target, summed over all runs.
"""
import collections, glob, json, os, re, shutil, signal, subprocess, sys, tempfile, time

SLICE = int(os.environ.get("SLICE", "120"))  # seconds a target gets at a time
TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CORPUS = os.path.join(TREE, "tests/fuzz/corpus")
DICTIONARIES = os.path.join(TREE, "tests/fuzz/dict")
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS="detect_leaks=1", UBSAN_OPTIONS="print_stacktrace=1")


def seeds(name, to):
    """The corpus of the tree, decoded, as files of `to`."""
    os.makedirs(to, exist_ok=True)
    for path in sorted(glob.glob(os.path.join(CORPUS, name, "*"))):
        data = open(path, "rb").read()
        base = os.path.basename(path)
        if base.endswith(".hex"):
            text = re.sub(rb"#.*", b"", data)
            data, base = bytes.fromhex(re.sub(rb"[^0-9a-fA-F]", b"", text).decode()), base[:-4]
        with open(os.path.join(to, base), "wb") as out:
            out.write(data)


def dictionary(name):
    path = os.path.join(DICTIONARIES, name + ".dict")
    return ["-dict=" + path] if os.path.exists(path) else []


class Run:
    def __init__(self, programs, kept, name, seconds):
        self.name, self.kept = name, kept
        self.log = os.path.join(kept, name + ".log")
        folder = os.path.join(kept, name)
        seeds(name, folder)
        command = [os.path.join(programs, "fuzzer_" + name), "-max_total_time=%d" % seconds, "-timeout=25",
                   "-rss_limit_mb=2048", "-print_final_stats=1", "-reload=0", "-max_len=8192",
                   "-artifact_prefix=" + os.path.join(kept, name + ".crash-")] + dictionary(name) + [folder]
        with open(self.log, "w") as log:
            self.child = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT,
                                          preexec_fn=lambda: os.nice(19), cwd=kept)

    def end(self, status, usage, figures):
        text = open(self.log, errors="replace").read()
        last = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", text) or [("0", "0", "0")]
        executed = re.findall(r"stat::number_of_executed_units: (\d+)", text) or re.findall(r"^#(\d+)", text, re.M) or [0]
        f = figures.setdefault(self.name, {"executions": 0, "cpu_s": 0.0, "runs": 0, "findings": 0})
        f["executions"] += int(executed[-1])
        f["cpu_s"] += usage.ru_utime + usage.ru_stime
        f["runs"] += 1
        f["cov"], f["ft"], f["corpus"] = map(int, last[-1])
        if status != 0:
            f["findings"] += 1
            shutil.copy(self.log, os.path.join(self.kept, "%s.finding-%d.log" % (self.name, f["findings"])))
            print("%s: FOUND something: %s.finding-%d.log" % (self.name, self.name, f["findings"]), flush=True)
        with open(os.path.join(self.kept, "figures"), "w") as out:
            json.dump(figures, out, indent=1)


def targets(programs):
    names = sorted(os.path.basename(p)[7:] for p in glob.glob(os.path.join(programs, "fuzzer_*"))
                   if re.fullmatch(r"fuzzer_[a-z_]+", os.path.basename(p)))
    only = os.environ.get("ONLY")
    return [n for n in names if only is None or re.fullmatch(only, n)]


def fuzz(programs, kept, seconds, jobs, figures):
    until, running = time.monotonic() + seconds, {}
    turns = collections.Counter()
    while running or time.monotonic() < until:
        while len(running) < jobs and time.monotonic() < until:
            left = int(until - time.monotonic())
            busy = {r.name for r in running.values()}
            name = min((n for n in targets(programs) if n not in busy), key=lambda n: (turns[n], n))
            turns[name] += 1
            run = Run(programs, kept, name, max(1, min(SLICE, left)))
            running[run.child.pid] = run
        pid, status, usage = os.wait4(-1, 0)
        if pid in running:
            running.pop(pid).end(status, usage, figures)


def minimise(programs, kept, name):
    """What reaches code that the tree's corpus does not: KEPT/NAME.new; KEPT/NAME made small."""
    program, new = os.path.join(programs, "fuzzer_" + name), os.path.join(kept, name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    seeds(name, new)
    had = set(os.listdir(new))
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT, cwd=kept)
    common = ["-timeout=25", "-rss_limit_mb=2048", "-max_len=8192"]
    subprocess.call([program, "-set_cover_merge=1", "-use_counters=0"] + common + [new, os.path.join(kept, name)], **quiet)
    for file in had:
        os.unlink(os.path.join(new, file))
    with tempfile.TemporaryDirectory(dir=kept) as small:
        if subprocess.call([program, "-merge=1"] + common + [small, os.path.join(kept, name)], **quiet) == 0:
            shutil.rmtree(os.path.join(kept, name))
            shutil.copytree(small, os.path.join(kept, name))
    return len(os.listdir(new))


def main():
    programs, kept, seconds = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), int(sys.argv[3])
    jobs = int(sys.argv[4]) if len(sys.argv) > 4 else 2
    os.makedirs(kept, exist_ok=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    figures = {}
    if os.path.exists(os.path.join(kept, "figures")):
        figures = json.load(open(os.path.join(kept, "figures")))
    try:
        fuzz(programs, kept, seconds, jobs, figures)
    except KeyboardInterrupt:
        print("interrupted: what was found so far is kept", flush=True)
    print("%-18s %12s %9s %8s %6s %6s %5s" % ("target", "executions", "CPU s", "a CPU s", "cov", "new", "found"))
    total = [0, 0.0, 0]
    for name in targets(programs):
        f = figures.get(name)
        if f is None:
            continue
        new = minimise(programs, kept, name)
        print("%-18s %12d %9.0f %8.0f %6d %6d %5d" % (name, f["executions"], f["cpu_s"],
              f["executions"] / max(f["cpu_s"], 0.01), f["cov"], new, f["findings"]), flush=True)
        total = [total[0] + f["executions"], total[1] + f["cpu_s"], total[2] + f["findings"]]
    print("%d executions in %.2f CPU hours, %d findings" % (total[0], total[1] / 3600, total[2]))
    for path in sorted(glob.glob(os.path.join(kept, "*.crash-*"))):
        name = os.path.basename(path).split(".crash-")[0]
        print("to see it again: %s/fuzzer_%s %s" % (programs, name, path))
    return 1 if total[2] else 0


if __name__ == "__main__":
    sys.exit(main())
