"""What the kernel says of processes: the tests believe nothing else."""
import os
import signal
import time


def read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as f:
            return f.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def status(pid):
    """The lines of /proc/PID/status as a dictionary."""
    lines = read(pid, "status").decode(errors="replace").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def alive(pid):
    return status(pid).get("State", "Z")[0] not in "ZX"


def arguments(pid):
    return [a.decode(errors="replace") for a in read(pid, "cmdline").split(b"\0")[:-1]]


def started(pid):
    """The start in clock ticks: with the pid it names a process once and for all."""
    stat = read(pid, "stat")
    return int(stat[stat.rindex(b")") + 2:].split()[19]) if stat else 0


def everyone():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children(pid):
    return [p for p in everyone() if status(p).get("PPid") == str(pid)]


def children_and_of_init(pid):
    """Its children, and in place of an init (process 1 of the agent's PID namespace) that one's."""
    found = []
    for child in children(pid):
        found += children(child) if status(child).get("Name") == "opampd-init" else [child]
    return found


def children_at_a_glance(pid):
    """The same without a look at every process of the host; while one of them ends another may be left out."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(word) for word in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return children(pid)


def executable(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def running_from(directory):
    """Every living process whose program lies below directory.  Without root the kernel hides that of processes
    that are not dumpable: then those whose first argument says so."""
    def below(pid):
        return executable(pid).startswith(directory + "/") or \
            (os.geteuid() != 0 and (arguments(pid) or [""])[0].startswith(directory + "/"))
    return [p for p in everyone() if below(p) and alive(p)]


def descriptors(pid):
    """{number: what it is}"""
    found = {}
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
            except OSError:
                pass
    except OSError:
        pass
    return found


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def delayed(pid):
    """Nanoseconds in which the process (its first thread) could have run and had no processor."""
    stat = read(pid, "schedstat").split()
    return int(stat[1]) if len(stat) > 1 else 0


class Stopwatch:
    """How long something takes those processes and this one, in seconds: that others kept the processors from them does
    not count (one thread of ours may hold Python's lock meanwhile), so that a busy machine is no fault of theirs."""

    def __init__(self, *pids):
        self.late = {task: delayed(task) for task in (*pids, *(f"self/task/{thread}" for thread in os.listdir("/proc/self/task")))}
        self.begun = time.monotonic()

    def took(self, *more):
        """more: those that were begun meanwhile."""
        whole = time.monotonic() - self.begun
        late = sum(max(0, delayed(task) - before) for task, before in self.late.items()) + sum(map(delayed, more))
        return max(0.0, whole - late / 1e9)
