"""The guest of make check-vm: a Debian system with systemd and SELinux, made of packages by name from the registry that
this machine's apt uses, labelled here and booted by plain emulation.  Needs root, or its own user
namespace (OWN_ROOT is in the environment then); no loop mount, no SELinux on the host,
no network in the guest, and nothing of the host's is changed.

What takes long, the system without our packages, is kept in BUILD/vm under a name made of what it was made from.
"""
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys

import guest

KERNEL = "6.1"  # Debian 12's
BASE_MIB, MORE_MIB = 1500, 192
# beside what the packages under test depend on
SYSTEM = ("systemd systemd-sysv udev dbus procps iproute2 kmod python3 python3-protobuf selinux-policy-default policycoreutils "
          "policycoreutils-python-utils selinux-utils semodule-utils apparmor prometheus-node-exporter").split()
# the disk, and who is at the other end of a loopback connection
MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk", "inet_diag", "tcp_diag")
# what a guest has no use for: consoles, clocks, timers, and the exporter's own unit, which would take its port
MASKED = ("getty@tty1.service serial-getty@ttyS0.service systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer "
          "e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer prometheus-node-exporter.service "
          "prometheus-node-exporter-apt.timer prometheus-node-exporter-nvme.timer prometheus-node-exporter-smartmon.timer "
          "prometheus-node-exporter-ipmitool-sensor.timer prometheus-node-exporter-mellanox-hca-temp.timer").split()
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
CONTEXTS = "etc/selinux/default/contexts/files/file_contexts"
OWN_ROOT = "VM_OWN_ROOT"
LABELS = {"usr/sbin/vm-driver": "initrc_exec_t"}

INIT = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t devtmpfs d /dev
for m in /modules/*.ko; do $B insmod $m; done
i=0; while [ ! -b /dev/vda ] && [ $i -lt 300 ]; do $B sleep 0.1; i=$((i+1)); done
$B mount -t ext4 /dev/vda /newroot || { echo 'the root cannot be mounted'; $B poweroff -f; }
$B mount --move /dev /newroot/dev
exec $B switch_root /newroot /sbin/init
"""
# started by systemd when all else is; the checks run as an administrator's shell does
DRIVER = """#!/bin/sh
exec </dev/null >/dev/ttyS1 2>&1
mount /dev/vdb /mnt/x || echo '@@ not ok - the second disk is mounted'
case $(cat /proc/cmdline) in
*security=apparmor*) python3 -u /mnt/x/tests/vm/apparmor.py ;;
*) runcon unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023 python3 -u /mnt/x/tests/vm/inside.py ;;
esac
echo "@@ ended $?"
sync
systemctl reboot # which ends the emulator
"""
UNIT = "[Service]\nType=idle\nExecStart=/usr/sbin/vm-driver\nTimeoutStartSec=infinity\n[Install]\nWantedBy=multi-user.target\n"


def run(*command, **arguments):
    return subprocess.run(command, check=True, **arguments)


def release():
    return re.search(r"VERSION_CODENAME=(\w+)", open("/etc/os-release", encoding="utf-8").read())[1]


def sources():
    """apt's lines for this release, as this machine has them."""
    text = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages", capture_output=True, text=True).stdout
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    lines = {f"deb [signed-by={keys}] {line}\n" for line in text.splitlines() if re.search(rf" {release()}(-updates|-security)? main$", line)}
    assert lines, f"this machine's apt has no source for {release()}; do: apt-get update"
    return "".join(sorted(lines))


def proxies():
    """apt's ways to the registry, for the apt of mmdebstrap."""
    text = run("apt-config", "dump", capture_output=True, text=True).stdout
    return [f"--aptopt={line}" for line in text.splitlines() if re.match(r'Acquire::https?::(Proxy|Verify|CaInfo)\S* "[^"]', line)]


def depends(packages):
    """What these package files depend on, and is not among them."""
    own = {field(p, "Package") for p in packages}
    names = set()
    for package in packages:
        for key in ("Pre-Depends", "Depends"):
            names.update(re.match(r"[\w.+-]+", one.strip())[0] for one in field(package, key).split(",") if one.strip())
    return sorted(names - own)


def field(package, key):
    return run("dpkg-deb", "-f", package, key, capture_output=True, text=True).stdout.strip()


# ---- the system without our packages

def base(build, packages):
    """The labelled image, made once for each list of packages."""
    include = sorted({*SYSTEM, *depends(packages)})
    with open(__file__, encoding="utf-8") as f:
        makes_it = f.read().split("# ---- a run")[0]
    key = hashlib.sha256((makes_it + " ".join([release(), *include])).encode()).hexdigest()[:16]
    image = os.path.join(build, "vm", f"base-{key}.img")
    if not os.path.exists(image):
        for old in glob.glob(os.path.join(build, "vm", "base-*")):
            shutil.rmtree(old) if os.path.isdir(old) else os.unlink(old)
        root = tree(os.path.join(build, "vm", "base-root"))
        # in a mount namespace of its own: whatever happens, nothing of the host's is mounted below that directory afterwards
        run("unshare", "--mount", "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory", "--include=" + ",".join(include),
            *proxies(), *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
            '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/etc/dpkg/dpkg.cfg.d/*', release(), root, "-", input=sources(), text=True, stdout=sys.stderr)
        furnish(root)
        label(root)
        make_image(root, image, BASE_MIB)
        remove(root)
    return image


def tree(path):
    """A directory for files with owners and labels: who is root of a user namespace alone may label what is on its own mounts."""
    os.makedirs(path)
    if OWN_ROOT in os.environ:
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tree", path)
    return path


def remove(path):
    if OWN_ROOT in os.environ:
        run("umount", path)
    shutil.rmtree(path)


def put(root, path, text, mode=0o644):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


def furnish(root):
    config = os.path.join(root, "etc/selinux/config")
    with open(config, encoding="utf-8") as f:
        text = f.read()
    put(root, "etc/selinux/config", re.sub(r"(?m)^SELINUX=.*", "SELINUX=enforcing", text))
    put(root, "etc/hostname", "guest\n")
    put(root, "etc/hosts", "127.0.0.1 localhost guest\n")
    put(root, "etc/fstab", "")
    put(root, "etc/resolv.conf", "nameserver 127.0.0.1\n")
    put(root, "usr/sbin/vm-driver", DRIVER, 0o755)
    put(root, "etc/systemd/system/vm-driver.service", UNIT)
    os.makedirs(os.path.join(root, "mnt/x"))
    for link, target in [("multi-user.target.wants/vm-driver.service", "../vm-driver.service"), *((name, "/dev/null") for name in MASKED)]:
        path = os.path.join(root, "etc/systemd/system", link)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(target, path)


def label(root):
    """From outside: setfiles needs no SELinux to write the attributes."""
    run("setfiles", "-F", "-r", root, os.path.join(root, CONTEXTS), root)
    for path, name in LABELS.items():
        set_label(os.path.join(root, path), name)


def set_label(path, name):
    os.setxattr(path, "security.selinux", f"system_u:object_r:{name}:s0\0".encode(), follow_symlinks=False)


def make_image(root, image, mib):
    part = image + ".part"
    if os.path.exists(part):
        os.unlink(part)
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root, part, f"{mib}M", env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"})
    os.rename(part, image)


# ---- a run

def disks(build, packages, files, work):
    """The guest's two disks: a copy of the base, and one with the files: {name in /mnt/x: file or directory here}."""
    system, more = os.path.join(work, "system.img"), os.path.join(work, "more.img")
    run("cp", "--sparse=always", "--reflink=auto", base(build, packages), system)
    root = tree(os.path.join(work, "more"))
    for name, source in files.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.isdir(source):
            shutil.copytree(source, path, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, path)
    for directory, _, names in os.walk(root):
        for path in [directory, *(os.path.join(directory, n) for n in names)]:
            os.chown(path, 0, 0)
            set_label(path, "usr_t")
    make_image(root, more, MORE_MIB)
    remove(root)
    return [system, more]


def initramfs(build, work):
    tree = os.path.join(work, "initramfs")
    for name in ("bin", "dev", "newroot", "modules"):
        os.makedirs(os.path.join(tree, name))
    shutil.copy2(shutil.which("busybox"), os.path.join(tree, "bin", "busybox"))
    put(tree, "init", INIT, 0o755)
    guest.modules(build, KERNEL, MODULES, os.path.join(tree, "modules"))
    archive = os.path.join(work, "initrd")
    run("sh", "-c", f"cd '{tree}' && find . -print0 | cpio --null -o -H newc --quiet >'{archive}'")
    shutil.rmtree(tree)
    return archive


def boot(build, initrd, images, console, words, security="selinux"):
    """The running emulator; its standard output is the guest's second serial line, the report."""
    security = {"selinux": "security=selinux selinux=1 enforcing=1", "apparmor": "security=apparmor apparmor=1"}[security]
    image = glob.glob(os.path.join(guest.kernel(build, KERNEL), "boot", "vmlinuz-*"))[0]
    drives = [word for path in images for word in ("-drive", f"file={path},format=raw,if=virtio,cache=unsafe")]
    # printk_ratelimit: without auditd, denials reach the kernel's log by a print that is limited
    return subprocess.Popen(["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", guest.CPU, "-smp", "2", "-m", "1024",
                             "-nodefaults", "-display", "none", "-serial", "file:" + console, "-chardev", "stdio,id=report,signal=off",
                             "-serial", "chardev:report", "-no-reboot", "-kernel", image, "-initrd", initrd, *drives, "-append",
                             f"console=ttyS0 quiet loglevel=3 panic=-1 {security} audit=1 audit_backlog_limit=8192 "
                             f"sysctl.kernel.printk_ratelimit=0 log_buf_len=4M {words}"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace")
