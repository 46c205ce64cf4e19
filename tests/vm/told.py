"""What the guest says on its second serial line: each check, and what the kernel refused meanwhile."""
import errno
import os
import re
import subprocess
import time
import traceback

STARTED = time.monotonic()
SLOW = 5  # an emulated machine on a busy one
OURS = re.compile(r"[st]context=\S+?:opamp\w+_t[: ]")


def say(text):
    print("@@ " + text, flush=True)


def note(text):
    for line in str(text).splitlines():
        say("# " + line[:500])


def ok(good, name, detail=""):
    """One check; the detail is shown where it failed."""
    say(f"{'ok' if good else 'not ok'} - {name}")
    if not good and detail:
        note(detail)
    return good


def same(got, want, name):
    shown = "\n".join(map(str, got)) if isinstance(got, list) else got
    return ok(got == want, name, f"got: {shown}\nwanted: {want}")


def works(result, name):
    """A command that has to succeed; what it said is shown where it did not."""
    return ok(result.returncode == 0, name, f"exit status {result.returncode}\n{result.stdout}{result.stderr}")


def until(look, seconds=15):
    """Looks until there is something true, for seconds of a machine of its own."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = look()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.1)


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, **more)


def guarded(name, function, *arguments):
    """A part of the run: what goes wrong beyond its checks is a failure of it, and the next one goes on."""
    begun = time.monotonic()
    try:
        function(*arguments)
    except Exception:  # whatever it was
        ok(False, f"{name}: ran to its end", traceback.format_exc())
    note(f"{name}: {time.monotonic() - begun:.0f} s, at {time.monotonic() - STARTED:.0f} s")


# ---- what the kernel's log has

class Kernel:
    """The kernel's log since the last look.  Records of audit are printed a little later than they come to be, in order:
    one of our own, of a label that there is not, says that all before it are there."""

    # where what is asked for, in vain, comes into the log: the file, the words before the mark, how it is refused
    ASK = ("/proc/self/attr/fscreate", "", errno.EINVAL)

    def __init__(self):
        self.log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        self.marks = 0

    def lines(self):
        found = []
        while True:
            try:
                found.append(os.read(self.log, 8192).decode("utf-8", "replace").split("\n")[0])
            except BlockingIOError:
                return found
            except BrokenPipeError:  # it went over what was not read yet
                found.append("lines of the kernel's log were lost")

    def since(self):
        """Everything since the last call."""
        self.marks += 1
        mark = f"vm-mark-{self.marks}-"
        path, words, refused = self.ASK
        try:
            with open(path, "w", encoding="ascii") as f:
                f.write(words + mark)
        except OSError as e:
            assert e.errno == refused, e
        found = []

        def come():
            found.extend(self.lines())
            return any(mark in line for line in found)
        if not until(come, 5):
            ok(False, "the kernel's audit records come", "\n".join(found[-20:]))
        return found


KERNEL = None


def denials(lines):
    return [re.sub(r".*?(avc: |SELINUX_ERR|op=)", r"\1", line) for line in lines
            if re.search(r"avc:  denied|SELINUX_ERR|op=security", line) and OURS.search(line)]


def killed_by_filter(lines):
    return [line for line in lines if "type=1326" in line and re.search(r"opamp|fakeagent|node-exp", line)]


def quiet(phase):
    """Nothing was refused to a domain of ours, or of ours to another, since the last look."""
    lines = KERNEL.since()
    same(sorted(set(denials(lines))), [], f"no denial in our domains: {phase}")
    same(sorted(set(killed_by_filter(lines))), [], f"no filter ended a process: {phase}")
    if any("were lost" in line for line in lines):
        ok(False, f"all of the kernel's log was seen: {phase}")


def begin():
    """With descriptors of this shell's own: those of who started it are of another domain."""
    global KERNEL
    for number, (path, how) in enumerate((("/dev/null", os.O_RDONLY), ("/dev/ttyS1", os.O_WRONLY | os.O_NOCTTY), ("/dev/ttyS1", os.O_WRONLY | os.O_NOCTTY))):
        fd = os.open(path, how)
        os.dup2(fd, number)
        os.close(fd)
    KERNEL = Kernel()
    quiet("boot")
