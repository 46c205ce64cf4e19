#!/usr/bin/python3
"""make check-vm: the built packages on a booted Debian with systemd and SELinux enforcing (tests/vm/image.py), where
tests/vm/inside.py checks them.  The guest is booted twice from one disk: the second time is the reboot.

Without KVM on purpose: it is not everywhere, and where a guest's kernel hangs under it nothing says so.
ONLY=regex takes some of the parts.  The report, with the times, is BUILD/vm/report; what the guests printed otherwise is beside it."""
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import image

TREE = os.path.join(HERE, "..", "..")
BUILD = os.path.abspath(os.environ["O"])
STAGES = {"1": 1500, "2": 900}  # the longest that each may take, on a machine that is busy otherwise
BEGUN = time.monotonic()


class Report:
    """TAP on standard output, and in a file."""

    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8")  # pylint: disable=consider-using-with
        self.count = self.failed = 0

    def line(self, text):
        print(text, flush=True)
        self.file.write(text + "\n")
        self.file.flush()

    def ok(self, good, name):
        self.count += 1
        self.failed += not good
        self.line(f"{'ok' if good else 'not ok'} {self.count} - {name}")

    def note(self, text):
        self.line(f"# {time.monotonic() - BEGUN:.0f} s: {text}")

    def said(self, line):
        """A line of the guest's."""
        found = re.match(r"@@ (not )?ok - (.*)", line)
        if found:
            self.ok(not found[1], found[2])
        elif line.startswith("@@ #"):
            self.line(line[3:])

    def end(self):
        self.line(f"1..{self.count}")
        self.note(f"{self.count - self.failed} passed, {self.failed} failed")
        return self.failed != 0


def packages():
    found = [p for p in sorted(glob.glob(os.path.join(BUILD, "deb", "*.deb"))) if "-dbgsym_" not in p]
    assert found, "there are no packages: make deb"
    return found


def files(work):
    """What the guest gets to see of this tree: {its name there: what it is here}."""
    debs, later = os.path.join(work, "debs"), os.path.join(work, "next")
    os.makedirs(debs)
    os.makedirs(later)
    for package in packages():
        shutil.copy(package, debs)
        image.run(os.path.join(TREE, "dist", "next-version.sh"), package, os.path.join(later, os.path.basename(package)))
    found = {"debs": debs, "next": later, "tests/lib": os.path.join(TREE, "tests", "lib"), "tests/vm": HERE,
             "selinux": os.path.join(TREE, "selinux"), "tests/system/systemd.t": os.path.join(TREE, "tests", "system", "systemd.t"),
             "build/gen/python": os.path.join(BUILD, "gen", "python")}
    for name in ("fakeagent", "inject", "policy", "domain"):
        found[f"build/tools/{name}"] = os.path.join(BUILD, "tools", name)
    module = os.path.join(BUILD, "selinux", "opampd.pp")
    if os.path.exists(module):
        found["opampd.pp"] = module
    return found


def stage(report, number, seconds, initrd, disks, security):
    console = os.path.join(BUILD, "vm", f"console-{number}")
    words = f"vm.stage={number}" + (f" vm.only={os.environ['ONLY']}" if "ONLY" in os.environ else "")
    machine = image.boot(BUILD, initrd, disks, console, words, security)
    late = threading.Timer(seconds, machine.kill)
    late.start()
    ended = False
    try:
        with machine, open(os.path.join(BUILD, "vm", f"said-{number}"), "w", encoding="utf-8") as kept:
            for line in machine.stdout:
                kept.write(line)
                kept.flush()
                ended = ended or line.startswith("@@ ended 0")
                report.said(line.rstrip())
    finally:
        late.cancel()
        if machine.poll() is None:
            machine.kill()
    report.ok(ended and machine.returncode == 0, f"the guest's stage {number} came to its end")
    if not ended:
        with open(console, encoding="utf-8", errors="replace") as f:
            for line in f.read().splitlines()[-40:]:
                report.line("# console: " + line[:200])
    report.note(f"stage {number} is over")


def own_root(report):
    """The same as an ordinary user, root of a user namespace: owners of files by its range of users, labels on a tmpfs."""
    way = ["unshare", "--user", "--map-auto", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    r = subprocess.run([*way, "true"], capture_output=True, text=True, check=False)
    if r.returncode == 0:
        os.execvpe(way[0], [*way, sys.executable, "-B", os.path.abspath(sys.argv[0])], {**os.environ, image.OWN_ROOT: "1"})
    said = " ".join(r.stderr.split())
    report.line(f"1..0 # SKIP owners and labels of the guest's files take root, or a user namespace with a range of users (uidmap, /etc/subuid): {said}")
    return 0


def main(name="report", stages=STAGES, security="selinux"):
    """The guest is booted for each of the stages, which may take so many seconds."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the guest ends with this program
    os.makedirs(os.path.join(BUILD, "vm"), exist_ok=True)
    report = Report(os.path.join(BUILD, "vm", name))
    if os.geteuid() != 0:
        return own_root(report)
    # on the disk of the build, and gone with this program
    with tempfile.TemporaryDirectory(prefix="run-", dir=os.path.join(BUILD, "vm")) as work:
        made = files(work)
        disks = image.disks(BUILD, packages(), made, work)
        initrd = image.initramfs(BUILD, work)
        report.note("the guest's disks are made")
        for number, seconds in stages.items():
            stage(report, number, seconds, initrd, disks, security)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
