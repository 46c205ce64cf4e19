"""Guests: Debian's own kernels under qemu, by emulation alone (no KVM), with an initramfs that holds busybox, Python, the
programs of the build and the tests.  What runs in it is a list of commands; each one's output comes back by serial line.

Packages by name, from the registry that the machine has: the kernel of this release, and a newer one from its
backports.  Nothing is installed on the host; kernels are kept below BUILD/guest.
"""
import glob
import os
import re
import shutil
import subprocess
import sys

import privsep

TREE = privsep.TREE
WANTED = {"6.1": "bookworm", "6.12": "bookworm-backports"}
MODULES = ("inet_diag", "tcp_diag")  # who owns a loopback connection
# what of Python's library no test needs
WITHOUT = ("test", "idlelib", "lib2to3", "ensurepip", "turtledemo", "tkinter", "pydoc_data", "distutils", "config-*", "unittest", "dbm", "sqlite3",
           "curses", "venv", "wsgiref", "xmlrpc")
# without cmpxchg16b: qemu 7.2 spoils the flags there now and then, and Linux 6.12 uses it for each allocation
CPU = "max,-cx16"
PROGRAMS = ("setpriv", "unshare", "ip", "id", "env", "mount", "sh", "true", "make", "openssl")
USERS = ("_opampd_net", "_opampd_dns", "_opampd_link", "_opampd_conf", "_opampd_merge", "_opampd_proc", "_opampd_agent")


def run(*command, **arguments):
    return subprocess.run(command, check=True, **arguments)


# ---- kernels

def apt_with(work, suite):
    """Options for apt-get with one suite alone of the registry that this machine's apt uses for its release."""
    release = re.search(r"VERSION_CODENAME=(\w+)", open("/etc/os-release", encoding="utf-8").read())[1]
    if suite == release:
        return []
    targets = run("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages", capture_output=True, text=True).stdout
    uri = next(line.split()[1] for line in targets.splitlines() if line.split()[0] == release)
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    for name in ("lists/partial", "cache/archives/partial"):
        os.makedirs(os.path.join(work, name), exist_ok=True)
    with open(os.path.join(work, "sources.list"), "w", encoding="ascii") as f:
        f.write(f"deb [signed-by={keys}] {uri} {suite} main\n")
    options = [f"Dir::Etc::SourceList={work}/sources.list", "Dir::Etc::SourceParts=/nonexistent", f"Dir::State::Lists={work}/lists",
               f"Dir::Cache={work}/cache", "APT::Sandbox::User=root"]
    options = [word for option in options for word in ("-o", option)]
    run("apt-get", "-qq", *options, "update", stdout=sys.stderr)
    return options


def kernel(build, version):
    """The directory with boot/vmlinuz-* and the modules of Debian's kernel for clouds of that version."""
    work = os.path.join(build, "guest", version)
    if not glob.glob(os.path.join(work, "boot", "vmlinuz-*")) or not glob.glob(os.path.join(work, "**", "virtio_blk.ko*"), recursive=True):
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        options = apt_with(work, WANTED[version])
        depends = run("apt-cache", *options, "depends", "linux-image-cloud-amd64", capture_output=True, text=True).stdout
        package = re.search(r"Depends: (linux-image-\S+)", depends)[1]
        run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", *options, "download", package, cwd=work, stdout=sys.stderr)
        archive = glob.glob(os.path.join(work, "*.deb"))[0]
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as tar:
            run("tar", "-x", "-C", work, "--wildcards", "./boot/vmlinuz*", "*diag.ko*", "*/virtio*.ko*", stdin=tar.stdout)
            tar.stdout.read()
        os.unlink(archive)
        shutil.rmtree(os.path.join(work, "lists"), ignore_errors=True)
        shutil.rmtree(os.path.join(work, "cache"), ignore_errors=True)
    return work


def modules(build, version, names, directory):
    """Those of the names that are no part of the kernel itself, ready to be loaded in their order; a kernel without one has it built in."""
    for number, name in enumerate(names):
        for path in glob.glob(os.path.join(kernel(build, version), "**", name + ".ko*"), recursive=True):
            target = os.path.join(directory, f"{number}-{name}.ko")
            if path.endswith(".xz"):
                with open(target, "wb") as f:
                    run("xz", "-dc", path, stdout=f)
            else:
                shutil.copy2(path, target)


# ---- the tree

def libraries(paths):
    found = set()
    for path in paths:
        out = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
        found.update(re.findall(r"(?:=> |^\s*)(/\S+)", out, flags=re.M))
    return found


class Tree:
    def __init__(self, root):
        self.root = root
        self.dynamic = []
        for name in ("bin", "dev", "proc", "sys", "tmp", "run", "opt", "etc", "root", "usr/bin", "usr/lib", "mnt", "records", "work"):
            os.makedirs(os.path.join(root, name), exist_ok=True)

    def copy(self, source, target=None):
        path = self.root + (target or source)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.isdir(source):
            shutil.copytree(source, path, symlinks=True, ignore=shutil.ignore_patterns(*WITHOUT), dirs_exist_ok=True)
            self.dynamic += glob.glob(os.path.join(source, "**", "*.so"), recursive=True)
        else:
            shutil.copy2(source, path)
            self.dynamic.append(source)

    def write(self, path, text, mode=0o644):
        with open(self.root + path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.root + path, mode)

    def link_libraries(self):
        for path in libraries(self.dynamic):
            if not os.path.exists(self.root + path):
                self.copy(path)


INIT = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc p /proc; $B mount -t sysfs s /sys; $B mount -t devtmpfs d /dev
$B mkdir -p /dev/pts /dev/shm; $B mount -t tmpfs t /tmp; $B mount -t tmpfs t /run
$B mount -t cgroup2 c /sys/fs/cgroup
$B ln -s /proc/self/fd /dev/fd
exec </dev/null >/dev/ttyS0 2>&1
for m in /modules/*.ko; do $B insmod $m; done
$B ip link set lo up
# pivot_root wants a root that is mounted on something: the initramfs upon itself
$B mount --rbind / /mnt; cd /mnt; $B mount --move . /; exec $B chroot . /bin/sh /guest
"""


def make_tree(build, root, version, commands):
    tree = Tree(root)
    # libraries are where ldd says, and here as on the host /lib is /usr/lib
    for name in ("lib", "lib64", "sbin"):
        if os.path.islink("/" + name):
            os.makedirs(root + "/usr/" + name, exist_ok=True)
            os.symlink("usr/" + name, os.path.join(root, name))
    tree.copy(shutil.which("busybox"), "/bin/busybox")
    for name in PROGRAMS:
        path = shutil.which(name)
        if path and name not in ("make", "sh", "true", "env", "mount", "id", "ip"):
            tree.copy(path, "/usr/bin/" + name)
    for name in ("sh", "true", "env", "mount", "id", "ip", "cat", "dmesg", "mkdir", "chmod", "grep", "sleep", "echo"):
        os.symlink("/bin/busybox", os.path.join(root, "bin", name))
    tree.write("/bin/make", "#!/bin/sh\nexit 0\n", 0o755)  # the users are there
    tree.copy("/usr/bin/python3", "/usr/bin/python3")
    for name in sorted(glob.glob("/usr/lib/python3.[0-9]*")):
        if os.path.basename(name) in os.path.realpath("/usr/bin/python3"):
            continue
        tree.copy(name)
    tree.copy("/usr/lib/" + os.path.basename(os.path.realpath("/usr/bin/python3")))
    for name in ("google", "websockets"):
        tree.copy("/usr/lib/python3/dist-packages/" + name)
    tree.copy(os.path.join(TREE, "tests"), "/work/tests")
    for name in ("privsep/messages.h", "privsep/settings_keys.h"):
        tree.copy(os.path.join(TREE, name), "/work/" + name)
    for path in sorted(glob.glob(os.path.join(build, "opamp*"))) + sorted(glob.glob(os.path.join(build, "tools", "*"))):
        if os.path.isfile(path):
            tree.copy(path, "/work/build/" + os.path.relpath(path, build))
    tree.copy(os.path.join(build, "gen", "python"), "/work/build/gen/python")
    tree.link_libraries()
    libc = glob.glob("/lib/x86_64-linux-gnu/libgcc_s.so.1")
    for path in libc:
        tree.copy(path)
    os.makedirs(os.path.join(root, "modules"))
    modules(build, version, MODULES, os.path.join(root, "modules"))
    names = list(enumerate(USERS, 500))
    tree.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n" +
               "".join(f"{n}:x:{i}:{i}::/nonexistent:/bin/false\n" for i, n in names))
    tree.write("/etc/group", "root:x:0:\nnogroup:x:65534:\nopampd:x:400:\nopampd-admin:x:401:\n" + "".join(f"{n}:x:{i}:\n" for i, n in names))
    tree.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
    tree.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    tree.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    tree.write("/etc/hostname", "guest\n")
    tree.write("/init", INIT, 0o755)
    body = ["export PATH=/usr/bin:/bin:/usr/sbin:/sbin O=/work/build RECORD=/records HOME=/root GUEST=1", "cd /work", "chmod 1777 /records /tmp"]
    for name, command in commands:
        body.append(f"echo '@@ begin {name}'\n{command}\necho '@@ end {name}' $?")
    body.append("echo '@@ begin records'\ncat /records/*.calls\necho '@@ end records' 0")
    body.append("echo '@@ begin kernel'\ndmesg | grep -E 'type=1326|[Oo]ut of memory|oom-kill'\necho '@@ end kernel' 0")
    body.append("echo o >/proc/sysrq-trigger; sleep 20")
    tree.write("/guest", "\n".join(body) + "\n", 0o755)


# ---- a run

class Result:
    def __init__(self, text):
        self.text = text
        self.parts = {}
        for name, body, status in re.findall(r"^@@ begin (\S+)\n(.*?)^@@ end \1 (\d+)$", text, flags=re.S | re.M):
            self.parts[name] = (body, int(status))


def boot(build, version, commands, more="", seconds=240):
    """Boots that kernel and runs the commands: (name, shell command).  Gives their outputs."""
    kernel_dir = kernel(build, version)
    work = os.path.join(build, "guest", "run-" + version + ("-" + re.sub(r"\W+", "", more) if more else ""))
    shutil.rmtree(work, ignore_errors=True)
    root = os.path.join(work, "root")
    os.makedirs(root)
    make_tree(build, root, version, commands)
    archive = os.path.join(work, "initramfs")
    run("sh", "-c", f"cd '{root}' && find . -print0 | cpio --null -o -H newc --quiet >'{archive}'")
    shutil.rmtree(root)
    log = os.path.join(work, "serial")
    image = glob.glob(os.path.join(kernel_dir, "boot", "vmlinuz-*"))[0]
    subprocess.run(["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", CPU, "-smp", "2", "-m", "1024", "-nodefaults",
                    "-display", "none", "-serial", "file:" + log, "-no-reboot", "-kernel", image, "-initrd", archive,
                    "-append", f"console=ttyS0 quiet loglevel=3 panic=-1 sysctl.kernel.printk_ratelimit=0 {more}"],
                   check=False, stdin=subprocess.DEVNULL, timeout=seconds)
    os.unlink(archive)
    with open(log, encoding="utf-8", errors="replace") as f:
        return Result(f.read().replace("\r\n", "\n"))


if __name__ == "__main__":  # guest.py VERSION COMMAND [KERNEL ARGUMENTS]
    shown = boot(os.path.abspath(os.environ.get("O", "build")), sys.argv[1], [("command", sys.argv[2])], *sys.argv[3:4])
    print(shown.text)
