#!/usr/bin/python3
"""The prison's tests see a hole: in a copy of the sources each wall is loosened on purpose, the programs are built from
it, and tests/sandbox/prison.t must say so, of each.  All that can stand side by side are in one build.
A change that no longer applies is a failure: move it to where such a hole could be now."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TREE, "tests/lib"))
import tap  # noqa: E402
from prison import able  # noqa: E402

O = os.path.abspath(os.environ.get("O", os.path.join(TREE, "build")))
INSIDE = os.path.relpath(O, TREE)
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "WERROR", "O", "ONLY", "WHOLE")}
# a test's name begins with who started the daemon: root's alone is enough here
ONLY = "^root: (I3 I5 I13|I1 I3 I5|I5 the settings|I9 |I11 |OH-SE )"

# (what is loosened, file, words there, words instead, what prison.t must say)
LOOSENED = [
    ("netd: a call more", "privsep/policy_netd.c", "    POLICY_LOOP,\n", "    POLICY_LOOP,\n    CALL(\"socket\", \"loosened\"),\n",
     [r"netd: its policy allows socket, which is not signed for", r"netd: netlink \(.*done; the policy lets it pass"]),
    ("link: a call whatever its arguments", "privsep/policy_link.c", "    POLICY_LOOP,\n", "    POLICY_LOOP,\n    CALL(\"mprotect\", \"loosened\"),\n",
     [r"link: its policy allows mprotect", r"link: memory made to execute \(.*done"]),
    ("connect: a Landlock right more", "privsep/policy_connect.c", "    {\"/etc\", LL_FS_READ},", "    {\"/\", LL_FS_READ}, {\"/etc\", LL_FS_READ},",
     [r"connect: open settings \(.*done; the policy lets it pass"]),
    ("connect: a Landlock right to write", "privsep/policy_connect.c", "    {\"/run/resolvconf\",", "    {\"/tmp\", LL_FS_WRITE}, {\"/run/resolvconf\",",
     [r"connect: open to write \(.*done; behind the filter"]),
    ("procd: a capability kept", "privsep/policy_procd.c", "1ull << CAP_KILL", "1ull << CAP_KILL | 1ull << CAP_SETUID",
     [r"procd: its policy's capabilities: 160", r"procd: setuid\(0\) \(.*done; behind the filter"]),
    ("confd: no empty root", "privsep/policy_confd.c", ".empty_root = 1", ".empty_root = 0", [r"confd: stat of our state \(.*done; behind the filter"]),
    ("merge: the host's network", "privsep/policy_merge.c", " | SANDBOX_NS_NET", "", [r"merge: datagram elsewhere \(.*done; behind the filter"]),
    ("the agent: a call less on its deny-list, and on the parent's", "privsep/policy_agent.c", "DENY(\"ptrace\", \"other processes\")", "DENY(\"uselib\", \"loosened\")",
     [r"agent: ptrace the parent \(.*EPERM; wanted its end"]),
    ("the agent: a directory to write", "privsep/agent_landlock.c", "	allow(&r, \"/dev/null\"", "	allow(&r, \"/tmp\", LL_FS_READ | LL_FS_WRITE);\n	allow(&r, \"/dev/null\"",
     [r"agent: open to write \(.*done; the policy lets it pass"]),
    ("no_new_privs off, in the parent", "privsep/sandbox.c", "SCMP_FLTATR_CTL_NNP, 1", "SCMP_FLTATR_CTL_NNP, 0", []),
    ("the same, where it is asked for", "privsep/opampd.c", " ||\n	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1", "", [r"parent: NoNewPrivs 0, wanted 1"]),
    ("the parent dumpable", "privsep/opampd.c", "prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1", "prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == -1", [r"parent: is dumpable"]),
    ("dumpable", "privsep/sandbox.c", "PR_SET_DUMPABLE, 0", "PR_SET_DUMPABLE, 1", [r"netd: is dumpable", r"procd: is dumpable"]),
    ("the bounding set kept", "privsep/sandbox.c", "sandbox_bounding(0, err)", "sandbox_bounding(~0ull, err)", [r"netd: bounding set"]),
    ("processes to start", "privsep/sandbox.c", "p->limit_nproc >= 0 &&", "p->limit_nproc >= 1 &&", [r"netd: limit nproc"]),
    ("address space without an end", "privsep/sandbox.c", "p->limit_data + LIMIT_SPACE_BESIDE", "p->limit_data + (1ull << 40)",
     [r"netd: limit as", r"link: its stack made larger than its limits"]),
    ("no end with the parent", "privsep/sandbox.c", "PR_SET_PDEATHSIG, 9", "PR_SET_PDEATHSIG, 0", [r"still waiting for: .* to end with the parent"]),
    ("a descriptor leaked", "privsep/parent_exec.c", "	(void)syscall(SYS_execveat,", "	(void)!open(\"/etc/hosts\", O_RDONLY);\n	(void)syscall(SYS_execveat,",
     [r"netd: descriptor \d+ \(/etc/hosts\) is more than it was to be handed"]),
    ("a larger memory file", "privsep/child.c", "if (offer < policy->limit_fsize)", "if (offer > policy->limit_fsize)", [r"netd: limit fsize", r"netd: bytes in one memory file"]),
    ("hub-front: a call more", "hub/policy_hub_front.c", "    POLICY_EPOLL,\n", "    POLICY_EPOLL,\n    CALL(\"socket\", \"loosened\"),\n",
     [r"hub-front: its policy allows socket, which is not signed for", r"hub-front: netlink \(.*done; the policy lets it pass"]),
    ("hub-front: files to be seen", "hub/policy_hub_front.c", ".empty_root = 1", ".empty_root = 0", [r"hub-front: stat of our state \(.*done; behind the filter"]),
    ("hub-front: the network", "hub/policy_hub_front.c", "SANDBOX_NS_NET | ", "", [r"hub-front: datagram elsewhere \(.*done; behind the filter"]),
    ("hub-front: the store's directory", "hub/parent_start.c", "			fd = null;", "			fd = p->store;",
     [r"hub-front: descriptor 7 \(/opt/opamphub-[^ ]*/store\) is more than it was to be handed"]),
    ("hub-store: the same, kept", "hub/storeproc.c", "	close(p->dir);", "", [r"hub-store: a look out of it, by a descriptor \(.*done; the policy lets it pass",
                                                                          r"hub-store: descriptor \d+ \(/hub.db-wal\) is more"]),
    ("hub-store: programs in its directory", "hub/policy_hub_store.c", "SOME_OF(3, 0666)", "SOME_OF(3, 07777)", [r"hub-store: a file that others may execute there \(.*done; the policy"]),
    ("hub-store: a Landlock right more", "hub/policy.h", "LL_FS_MAKE_REG |", "LL_FS_MAKE_REG | LL_FS_MAKE_DIR |", [r"hub-store: a directory in the store \(.*done; behind the filter"]),
    ("hub-store: a capability kept", "hub/policy_hub_store.c", "    .syscalls = syscalls,", "    .capabilities = 1ull << CAP_SETUID,\n    .syscalls = syscalls,",
     [r"hub-store: its policy's capabilities: 128", r"hub-store: setuid\(0\) \(.*done; behind the filter"]),
    ("hub: dumpable", "hub/opamphub.c", "PR_SET_DUMPABLE, 0", "PR_SET_DUMPABLE, 1", [r"hub: is dumpable"]),
    ("hub: a capability more", "hub/opamphub.c", "1ull << CAP_KILL", "1ull << CAP_KILL | 1ull << CAP_DAC_OVERRIDE", [r"hub: CapPrm 00000000002001e2, declared 2001e0"]),
    ("the log, to be cut off", "privsep/policy_log.c", "    LOG(\"ftruncate\", \"taking back what it said\"),\n", "", [r"hub-store: the log, cut off \(.*"]),
]


class Said:
    text = None


def build_and_run():
    with tempfile.TemporaryDirectory(prefix="opampd-loosened-", dir="/opt") as work:
        os.chmod(work, 0o755)
        copy = os.path.join(work, "tree")
        shutil.copytree(TREE, copy, symlinks=True, ignore=lambda d, names: [n for n in names if n == ".git" or n.startswith("build")
                                                                         or (n in ("fuzz", "interop") and os.path.basename(d) == "tests")] if d != O else [])
        shutil.copytree(O, os.path.join(copy, INSIDE), symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("fuzz*", "interop", "coverage"))
        for what, name, old, new, _ in LOOSENED:
            path = os.path.join(copy, name)
            with open(path, encoding="utf-8") as f:
                text = f.read()
            assert old in text, f"{what}: not in {name}: {old!r}"
            with open(path, "w", encoding="utf-8") as f:
                f.write(text.replace(old, new, 1))
        done = subprocess.run(["make", "-s", "-j2", "--no-print-directory", "O=" + INSIDE, "WERROR=", "all", "test-tools"], cwd=copy, env=ENVIRONMENT,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False)
        assert done.returncode == 0, f"make: {done.stdout[-3000:]}"
        run = subprocess.run(["tests/sandbox/prison.t"], cwd=copy, env={**ENVIRONMENT, "O": os.path.join(copy, INSIDE), "ONLY": ONLY},
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
        assert run.returncode != 0, "tests/sandbox/prison.t found nothing"
        if os.environ.get("KEEP"):
            with open("/tmp/opampd-loosened.out", "w", encoding="utf-8") as f:
                f.write(run.stdout)
        return run.stdout


def seen(wanted):
    able()
    if Said.text is None:
        Said.text = build_and_run()
    missing = [w for w in wanted if not re.search(w, Said.text)]
    for w in wanted:
        found = re.search(w, Said.text)
        if found:
            print(f"# {found.group(0)[:150]}", flush=True)
    tap.same(missing, [], "not said by tests/sandbox/prison.t")


tap.run([(f"SE-01 loosened on purpose: {what}", lambda wanted=wanted: seen(wanted)) for what, _, _, _, wanted in LOOSENED if wanted])
