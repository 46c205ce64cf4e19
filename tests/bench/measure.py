"""What the kernel says of processes: memory, time on a processor, wake-ups, births and deaths."""
import os
import re
import statistics
import threading
import time

import proc


def rollup(pid):
    """{Pss, Pss_Anon, ...} in KiB, {} when it is gone."""
    found = {}
    for line in proc.read(pid, "smaps_rollup").decode(errors="replace").splitlines()[1:]:
        key, _, value = line.partition(":")
        found[key] = int(value.split()[0])
    return found


def memory(pids):
    """(proportional, of it anonymous) of all these processes, in MB."""
    sums = [rollup(pid) for pid in pids]
    return tuple(sum(r.get(key, 0) for r in sums) * 1024 / 1e6 for key in ("Pss", "Pss_Anon"))


def memory_files(pid):
    """{inode: bytes} of the memory files (memfd) that a process holds open or has mapped."""
    found = {}
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            path = f"/proc/{pid}/fd/{name}"
            if os.readlink(path).startswith("/memfd:"):
                s = os.stat(path)
                found[s.st_ino] = s.st_blocks * 512
        for line in proc.read(pid, "maps").splitlines():
            if b"/memfd:" in line:
                words = line.split()
                begin, end = (int(w, 16) for w in words[0].split(b"-"))
                found.setdefault(int(words[4]), end - begin)
    except OSError:
        pass
    return found


def all_memory(pids):
    """MB: what is proportionally theirs, and the memory files that they hold, each counted once."""
    files, total = {}, 0
    for pid in pids:
        r = rollup(pid)
        total += (r.get("Pss", 0) - r.get("Pss_Shmem", 0)) * 1024
        files.update(memory_files(pid))
    return (total + sum(files.values())) / 1e6


def cost(pids):
    """(ms on a processor, times it was put on one after waiting) of all threads of these processes."""
    ran, woken = 0, 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                ran += int(f.read().split()[0])
            status = proc.status(f"{pid}/task/{task}")
            woken += int(status["voluntary_ctxt_switches"]) + int(status["nonvoluntary_ctxt_switches"])
    return ran / 1e6, woken


def descriptors(pids):
    return sum(len(proc.descriptors(pid)) for pid in pids)


def children(pid):
    """The children of all its threads, without a look at every process of the host."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
                found += [int(word) for word in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def age(pid):
    """Seconds."""
    with open("/proc/uptime", encoding="ascii") as f:
        return float(f.read().split()[0]) - proc.started(pid) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Looks at a process and its children each millisecond or so: when each appeared and went, and, with
    `sizes`, the most memory that all but those which are `not_ours` had at one time.  Times as time.time()."""

    def __init__(self, parent, not_ours, sizes=False):
        self.parent = parent
        self.not_ours = not_ours  # (arguments) -> bool
        self.sizes = sizes
        self.lives = {}  # pid -> [arguments, first seen, last seen or None]
        self.peak = 0  # MB
        self.before = proc.arguments(parent)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.look(time.time())
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def look(self, now):
        alive = children(self.parent)
        for pid in alive:
            life = self.lives.get(pid)
            # a new one is a copy of its parent until it has executed its program
            if life is None or life[0] in (self.before, []):
                words = proc.arguments(pid)
                if life is None:
                    self.lives[pid] = [words, now, None]
                elif words not in (self.before, []):
                    life[0], life[1] = words, now
        for pid, life in self.lives.items():
            if life[2] is None and pid not in alive:
                life[2] = now
        return alive

    def run(self):
        while not self.stop.is_set():
            now = time.time()
            alive = self.look(now)
            if self.sizes:
                # one that has not executed its program yet is its parent's copy, and may become anything
                pids = [self.parent] + [p for p in alive if self.lives[p][0] not in (self.before, []) and not self.not_ours(self.lives[p][0])]
                self.peak = max(self.peak, all_memory(pids))
            self.stop.wait(0.0005)

    def of(self, test, since=0.0):
        """Lives whose arguments hold, in their order, begun at or after `since`."""
        return sorted((life for life in self.lives.values() if life[1] >= since and test(life[0])), key=lambda life: life[1])


class Figures:
    """Several measurements of one thing."""

    def __init__(self, values=()):
        self.values = list(values)

    def add(self, value):
        self.values.append(value)

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def low(self):
        return min(self.values)

    @property
    def high(self):
        return max(self.values)

    def __len__(self):
        return len(self.values)


def machine():
    """One line on what this ran on, without its name."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    with open("/proc/meminfo", encoding="ascii") as f:
        total = int(f.readline().split()[1]) / 1024 / 1024
    release = re.match(r"\d+\.\d+", os.uname().release)
    return f"{len(os.sched_getaffinity(0))} processors ({model}), {total:.0f} GiB, Linux {release.group() if release else '?'}"
