"""The examples of opampd_selinux(8), as the installed page has them, by the administrator's shell.  That of a module of one's
own is tried by tests/selinux/queries.sh, which has a compiler for it."""
import gzip
import os
import re

import host
import told
from told import note, ok, run, same, works

PAGE = "/usr/share/man/man8/opampd_selinux.8.gz"


def examples():
    with gzip.open(PAGE, "rt", encoding="utf-8") as f:
        return re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", f.read(), flags=re.M | re.S)


def by_hand(example):
    """Each command of an example, with what it reads."""
    said = ""
    for command in re.split(r"^# ", example, flags=re.M)[1:]:
        r = run("sh", "-c", command)
        works(r, "opampd_selinux(8): " + command.splitlines()[0])
        said += r.stdout
    return said


def labels(*paths):
    return [os.getxattr(p, "security.selinux").decode().split(":")[2] for p in paths]


def becomes(domain, program):
    """The domain that the kernel has for a program of that type."""
    with open("/sys/fs/selinux/class/process/index", encoding="ascii") as f:
        number = f.read()
    with open("/sys/fs/selinux/create", "r+b", buffering=0) as f:
        f.write(f"system_u:system_r:{domain}:s0 system_u:object_r:{program}:s0 {number}".encode())
        return f.read(4096).decode().split(":")[2]


def manual():
    found = examples()
    same([re.split(r"[ (]", e.removeprefix("# "))[0] for e in found], ["semanage", "policy_module", "semanage", "journalctl"], "the examples of opampd_selinux(8)")
    agent, _, elsewhere, denied = found
    os.makedirs("/opt/otelcol")
    run("cp", host.AGENT, "/opt/otelcol/otelcol")
    note(by_hand(agent))
    same(labels("/opt/otelcol/otelcol"), ["opampd_agent_exec_t"], "an agent elsewhere has the label that opampd executes")
    same(becomes("opampd_t", "opampd_agent_exec_t"), "opampd_agent_t", "and gets into the agent's domain")
    os.makedirs("/srv/opampd/agent/conf.d")
    os.makedirs("/srv/opampd/generations/1")
    host.put("/srv/opampd/generations/1/effective", "")
    note(by_hand(elsewhere))
    same(labels("/srv/opampd", "/srv/opampd/agent", "/srv/opampd/agent/conf.d", "/srv/opampd/generations/1", "/srv/opampd/generations/1/effective"),
         ["opampd_var_lib_t", "opampd_agent_conf_t", "opampd_agent_conf_t", "opampd_var_lib_t", "opampd_agent_conf_t"], "a state elsewhere has its labels")
    # CAVEATS: where output goes; that is a denial to look for
    run("sh", "-c", "opampctl status >/etc/vm-lost; opampctl status | cat >/etc/vm-kept")
    same((os.path.getsize("/etc/vm-lost"), os.path.getsize("/etc/vm-kept") > 100), (0, True), "opampctl's output comes to a file of another type by cat alone")
    told.KERNEL.since()
    run("journalctl", "--sync")
    said = by_hand(denied)
    ok(re.search(r"avc: +denied .*opampctl_t.*etc_t", said), "the denial is in the journal", said)
    # what was set by hand for types of the module would keep it in the policy
    works(run("semanage", "fcontext", "-D"), "what was set by hand is taken back")
