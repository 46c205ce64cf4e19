#!/usr/bin/python3
"""make install into a DESTDIR: what is there, with which modes, that it runs, and that uninstall takes it away."""
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HELPERS = ["netd", "connect", "link", "confd", "merge", "procd"]
MANS = ["opampd.8", "opampctl.8", "opamphub.8", "opampd.yaml.5", "opampd-sandbox.7"]


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, name, detail=""):
        self.count += 1
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}", flush=True)
        if not good:
            self.failed += 1
            for line in str(detail).splitlines()[-40:]:
                print(f"# {line}", flush=True)


def make(dest, build, *targets):
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    return subprocess.run(["make", "-s", "-C", REPO, f"O={build}", f"DESTDIR={dest}", *targets],
                          capture_output=True, text=True, timeout=600, check=False, env=env)


def files(dest):
    return sorted(os.path.relpath(os.path.join(d, f), dest) for d, _, names in os.walk(dest) for f in names)


def check_files(tap, dest):
    expected = {"usr/local/sbin/opampd": 0o755, "usr/local/sbin/opamphub": 0o755,
                "usr/local/libexec/opampd/opamphub-front": 0o755, "usr/local/libexec/opampd/opamphub-store": 0o755, "usr/local/bin/opampctl": 0o755,
                "usr/local/share/bash-completion/completions/opampctl": 0o644,
                "usr/local/share/doc/opampd/examples/opampd.yaml.example": 0o644}
    for name in ("README.md", "LICENSE", "SECURITY.md", "threat-model.md", "review.md", "messages.md", "security.md"):
        expected[f"usr/local/share/doc/opampd/{name}"] = 0o644
    for name in os.listdir(os.path.join(REPO, "dist", "examples")):
        expected[f"usr/local/share/doc/opampd/examples/{name}"] = 0o644
    for m in MANS:
        expected[f"usr/local/share/man/man{m[-1]}/{m}"] = 0o644
    for h in HELPERS:
        # a program exists as soon as its main file does
        if os.path.exists(os.path.join(REPO, {"procd": "procd", "confd": "confd", "merge": "confd"}.get(h, "netd"), h + ".c")):
            expected[f"usr/local/libexec/opampd/opampd-{h}"] = 0o755
    tap.ok(files(dest) == sorted(expected), "exactly the files that belong there", "\n".join(files(dest)))
    for name, mode in sorted(expected.items()):
        st = os.stat(os.path.join(dest, name)) if os.path.exists(os.path.join(dest, name)) else None
        tap.ok(st is not None and stat.S_IMODE(st.st_mode) == mode and st.st_size > 0, f"/{name} has mode {mode:o}")
    tap.ok(os.path.isdir(os.path.join(dest, "etc/opampd")), "/etc/opampd is there and empty")


def hardened(path):
    """What is missing of what a program is to be built with."""
    text = subprocess.run(["readelf", "-hldW", path], capture_output=True, text=True, check=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}).stdout
    symbols = subprocess.run(["readelf", "-W", "--dyn-syms", path], capture_output=True, text=True, check=True).stdout
    stack = [line for line in text.splitlines() if "GNU_STACK" in line]
    both = [line for line in text.splitlines() if re.search(r"LOAD .* RWE ", line)]
    found = {"position-independent": re.search(r"Type:\s+DYN", text) and "PIE" in text, "RELRO": "GNU_RELRO" in text, "all bound at start": "NOW" in text,
             "a stack that is not executable": stack and "RWE" not in stack[0], "nothing both writable and executable": not both,
             "no path for libraries": "RPATH" not in text and "RUNPATH" not in text, "guarded stacks": "__stack_chk_fail" in symbols}
    return [what for what, there in found.items() if not there]


def check_programs(tap, dest):
    """Nobody gains anything by starting them, and they are built as hardened programs are."""
    for name in files(dest):
        path = os.path.join(dest, name)
        with open(path, "rb") as f:
            if f.read(4) != b"\x7fELF":
                continue
        special = os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID)
        tap.ok(not special and "security.capability" not in os.listxattr(path), f"/{name} has no set-id bit and no capabilities")
        missing = hardened(path)
        tap.ok(not missing, f"/{name} is hardened", missing)


def check_runs(tap, dest):
    opampd, ctl = os.path.join(dest, "usr/local/sbin/opampd"), os.path.join(dest, "usr/local/bin/opampctl")
    r = subprocess.run([opampd, "-V"], capture_output=True, text=True, check=False)
    tap.ok(r.returncode == 0 and r.stdout.startswith("opampd "), "opampd -V", r.stderr)
    r = subprocess.run([ctl, "-V"], capture_output=True, text=True, check=False)
    tap.ok(r.returncode == 0 and r.stdout.startswith("opampctl "), "opampctl -V", r.stderr)
    mans = [os.path.join(dest, f"usr/local/share/man/man{m[-1]}", m) for m in MANS]
    r = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *mans], capture_output=True, text=True, check=False)
    tap.ok(r.returncode == 0, "the man pages are clean", r.stdout + r.stderr)
    r = subprocess.run(["bash", "-n", os.path.join(dest, "usr/local/share/bash-completion/completions/opampctl")],
                       capture_output=True, text=True, check=False)
    tap.ok(r.returncode == 0, "the completion is a shell script", r.stderr)


def check_example(tap, dest, work):
    """The example's keys are all known; its agent is not on this host, so that one is put in."""
    with open(os.path.join(dest, "usr/local/share/doc/opampd/examples/opampd.yaml.example"), encoding="utf-8") as f:
        text = f.read().replace("/usr/bin/otelcol-contrib", "/bin/true")
    if os.geteuid() != 0:  # the default is root's
        text += f"storage:\n  directory: {work}/state\n"
    path = os.path.join(work, "opampd.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    # beside each other they find each other; installed they would look in /usr/local/libexec
    beside = os.path.join(work, "beside")
    os.mkdir(beside)
    for name in ("sbin/opampd", "libexec/opampd/opampd-merge"):
        shutil.copy(os.path.join(dest, "usr/local", name), beside)
    r = subprocess.run([os.path.join(beside, "opampd"), "-n", "-f", path], capture_output=True, text=True, check=False)
    tap.ok(r.returncode == 0, "opampd -n takes the example", r.stderr)


def check_systemd(tap, dest, build):
    r = make(dest, build, "install-systemd")
    there = files(dest)
    wanted = {f"usr/local/lib/{kind}/{name}" for folder, kind in (("systemd", "systemd/system"), ("sysusers.d", "sysusers.d"), ("tmpfiles.d", "tmpfiles.d"))
              for name in os.listdir(os.path.join(REPO, "dist", folder))} | {"usr/local/share/doc/opampd/examples/opamphub.conf.example"}
    tap.ok(r.returncode == 0 and wanted <= set(there), "make install-systemd", r.stdout + r.stderr + "\n".join(there))
    for name in sorted(n for n in wanted if n.endswith(".service")):
        with open(os.path.join(dest, name), encoding="utf-8") as f:
            text = f.read()
        programs = re.findall(r"^Exec(?:Start|Reload)=(\S*opamp\S*)", text, re.M)
        tap.ok(programs and all(os.access(dest + p, os.X_OK) for p in programs), f"{os.path.basename(name)} starts what was installed", text)
    r = make(dest, build, "uninstall-systemd")
    tap.ok(r.returncode == 0 and files(dest) == [], "make uninstall-systemd leaves no file", r.stderr + "\n".join(files(dest)))


def main():
    tap = Tap()
    root = os.geteuid() == 0
    work = tempfile.mkdtemp(prefix="opampd-install-", dir="/opt" if root else None)
    os.chmod(work, 0o755)
    dest = os.path.join(work, "dest")
    build = os.environ["O"]
    try:
        if root:
            subprocess.run(["make", "-s", "-C", REPO, "users"], check=True, stdout=sys.stderr)
        r = make(dest, build, "install")
        tap.ok(r.returncode == 0, "make install", r.stdout + r.stderr)
        check_files(tap, dest)
        check_programs(tap, dest)
        check_runs(tap, dest)
        check_example(tap, dest, work)
        r = make(dest, build, "uninstall")
        tap.ok(r.returncode == 0 and files(dest) == [], "make uninstall leaves no file", r.stderr + "\n".join(files(dest)))
        check_systemd(tap, dest, build)
        r = make(dest, build, "PREFIX=/usr", "LIBEXECDIR=/usr/lib/opampd", "install")
        tap.ok("usr/lib/opampd/opampd-merge" in files(dest) and "usr/sbin/opampd" in files(dest),
               "PREFIX and LIBEXECDIR are honoured", "\n".join(files(dest)))
        with open(os.path.join(dest, "usr/sbin/opampd"), "rb") as f:
            tap.ok(b"/usr/lib/opampd\0" in f.read(), "and compiled in")
    finally:
        shutil.rmtree(work)
        make(dest, build, "all")  # with the paths it had
    print(f"1..{tap.count}")
    return tap.failed != 0


sys.exit(main())
