#!/usr/bin/python3
"""fuzz.py PROGRAM NAME SECONDS: coverage-guided fuzzing from the corpus in the tree.

SECONDS are of the processor's time, not the clock's: what runs beside other work is given all the same what it
was promised.  For the same reason an input that took long by the clock is looked at once more, alone, and is a
finding only if it takes HANG seconds of the processor.  Seeds in hexadecimal text are decoded first; what is found
stays in PROGRAM.new and is begun with next time.  (Hours of it, made small at the end: make fuzz-long.)
"""
import glob, os, re, resource, shutil, signal, subprocess, sys, time

import fuzz_long

HANG = 10  # s
PATIENCE = 180  # s by the clock for one input: between jobs of a higher class that is a second of the processor
TICKS = os.sysconf("SC_CLK_TCK")


def used(pid):
    """Seconds of the processor that a child which was not waited for has had; None at its end."""
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rpartition(")")[2].split()
    return None if fields[0] == "Z" else (int(fields[11]) + int(fields[12])) / TICKS


def run(command, seconds, log):
    """For so long of the processor; (exit status, seconds it took)."""
    with open(log, "wb") as out:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=out,
                                 env=dict(os.environ, ASAN_OPTIONS="detect_leaks=1"))
        asked = False
        while True:
            so_far = used(child.pid)
            if so_far is None:
                break
            if so_far >= seconds and not asked:
                child.send_signal(signal.SIGUSR1)  # it ends after this input, in order
                asked = True
            if so_far >= seconds + 2 * HANG:
                child.kill()
            elif so_far >= seconds + HANG:  # it hangs in this input: that is kept and named
                child.send_signal(signal.SIGABRT)
            time.sleep(0.5)
        status = child.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return status, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def hangs(program, path):
    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (HANG, HANG + 1))
    done = subprocess.run([program, "-timeout=3600", "-rss_limit_mb=2048", path], preexec_fn=limit,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return done.returncode != 0


def show(program, name, log, path):
    with open(log, errors="replace") as text:
        print("".join(text.readlines()[-60:]))
    print("%s: to see it again: %s %s" % (name, program, path or "(no input: see the log above)"))


def main():
    program, name, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    seeds, new, log, prefix = program + ".seeds", program + ".new", program + ".log", program + ".crash-"
    shutil.rmtree(seeds, ignore_errors=True)
    fuzz_long.seeds(name, seeds)
    os.makedirs(new, exist_ok=True)
    command = [program, "-timeout=%d" % PATIENCE, "-report_slow_units=%d" % HANG, "-rss_limit_mb=2048", "-verbosity=0",
               "-print_final_stats=1", "-artifact_prefix=" + prefix] + fuzz_long.dictionary(name)
    had, executed, peak = 0.0, 0, 0
    while had < seconds:
        known = set(glob.glob(prefix + "*"))
        status, took = run(command + [new, seeds], seconds - had, log)
        had += max(took, 1.0)
        with open(log, errors="replace") as text:
            said = text.read()
        for slow in set(glob.glob(prefix + "timeout-*") + glob.glob(prefix + "slow-unit-*")) - known:
            if hangs(program, slow):
                show(program, name, log, slow)
                return 1
            os.remove(slow)  # the machine was busy
        found = re.findall(r"Test unit written to (.*)", said)
        if status != 0 and not (found and os.path.basename(found[-1]).startswith(os.path.basename(prefix) + "timeout-")):
            show(program, name, log, found[-1] if found else None)
            return 1
        executed += sum(int(n) for n in re.findall(r"stat::number_of_executed_units: *(\d+)", said))
        peak = max([peak] + [int(n) for n in re.findall(r"stat::peak_rss_mb: *(\d+)", said)])
    if executed == 0:  # it says so however it ends
        show(program, name, log, None)
        print("%s: it ran, and tried no input" % name)
        return 1
    # asked to end it does not look for what was lost: once more over all inputs, to the end
    status, took = run(command + ["-runs=0", new, seeds], float("inf"), log)
    if status != 0:
        with open(log, errors="replace") as text:
            found = re.findall(r"Test unit written to (.*)", text.read())
        show(program, name, log, found[-1] if found else None)
        return 1
    print("%s: %d inputs, %d a second, peak %d MB" % (name, executed, executed / had, peak), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
