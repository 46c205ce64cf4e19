#!/usr/bin/python3
"""What runs in the guest of tests/proof/guest.t: the whole daemon on that kernel, and what only a guest can show: limits
kept by cgroups (v2), which this project's machines have bound to version 1."""
import json
import os
import re
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import recorder
import tap
from bed import BUILD, DAEMONS, NOBODY, Bed
from opampserver import APPLIED, FAILED
from tap import same, until

GROUPS = "/sys/fs/cgroup"
ABI = {(6, 1): 2, (6, 12): 6}[tuple(int(n) for n in re.match(r"(\d+)\.(\d+)", os.uname().release).groups())]
# what each process's domain can hold, by the ABI: told by opampd at its start
LESS = {2: "files only, no ports", 6: None}


def applied(server, text):
    """An offer that is applied; one more where the emulation stood still for longer than a start may take."""
    for number in range(3):
        said = server.wait_outcome(server.offer({"": text % number})).msg.remote_config_status
        if "coming to run" not in said.error_message or number == 2:
            return same(said.status, APPLIED, said.error_message)
        print(f"# once more: {said.error_message}", flush=True)


def life(user):
    """Start, apply, restart, opampctl, end."""
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        applied(server, "fake:\n  fake_name: %d\n")
        before = daemon.agent()
        since = server.mark()
        server.command_restart()
        daemon.agent(other_than=before)
        server.wait_healthy(since=since)
        server.wait_status(FAILED, server.offer({"": "fake:\n  fake_invalid: not this\n"}))
        status = json.loads(bed.ctl("-j", "status")[1])
        same(status["agent"]["state"], "running", "opampctl status")
        told = "\n".join(daemon.log())
        if LESS[ABI]:
            assert LESS[ABI] in told, "the log does not tell what this kernel's Landlock lacks"
        sandbox = json.loads(bed.ctl("-j", "sandbox")[1])
        print("# " + json.dumps(sandbox)[:3000])
        assert "DIFFERS" not in json.dumps(sandbox), "opampctl sandbox: see above"
        assert "differs" not in json.dumps(sandbox), "opampctl sandbox: see above"
        for name in DAEMONS:
            same(proc.status(daemon.child(name))["Seccomp"], "2", f"{name}: seccomp")
        same(daemon.stop(), 0, "exit status")


def service(name, owner=0):
    """A group as a service manager delegates one: whoever starts there is alone."""
    path = os.path.join(GROUPS, name)
    os.makedirs(path, exist_ok=True)
    for controller in ("memory", "pids"):
        with open(os.path.join(GROUPS, "cgroup.subtree_control"), "w", encoding="ascii") as f:
            f.write("+" + controller)
    for one in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
        os.chown(os.path.join(path, one), owner, owner)
    return path, ["sh", "-c", f'echo $$ >{path}/cgroup.procs && exec "$@"', "sh"]


def read(*path):
    with open(os.path.join(*path), encoding="ascii") as f:
        return f.read().strip()


def root_bomb(group):
    """RLIMIT_NPROC stops the agent, too, but not root: what stops root there is the group's limit."""
    pid = os.fork()
    if pid == 0:
        got = 0
        try:
            with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as f:
                f.write("0")
            for got in range(100):
                if os.fork() == 0:
                    signal.pause()
        except OSError:
            os._exit(got)
        os._exit(100)
    got = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert got < 40, f"root made {got} processes there"
    assert int(dict(line.split() for line in read(group, "pids.events").splitlines())["max"]) > 0, "it was not pids.max that stopped it"


def limited(user):
    group, wrapper = service("service-" + user, NOBODY if user == "user" else 0)
    with Bed(user) as bed:
        server = bed.server()
        limits = {"memory": "64MiB", "processes": 40}
        daemon = bed.daemon(server, {"agent": {"limits": limits}}, start=False, wrapper=wrapper)
        daemon.start()
        server.wait_healthy()
        told = "\n".join(daemon.log())
        assert "not in force" not in told, told
        own = read(f"/proc/{daemon.agent()}/cgroup")[3:]
        assert own.startswith(f"/service-{user}/opampd-"), own
        same(read(GROUPS + own, "memory.max"), str(64 << 20), "memory.max")
        same(read(GROUPS + own, "pids.max"), "41" if user == "user" else "40", "pids.max")  # an ordinary user's has an init
        # the parent and its children in a leaf of their own, nobody in the group itself
        same(read(group, "cgroup.procs"), "", "processes in the group itself")
        leaf = read(f"/proc/{daemon.pid}/cgroup")[3:]
        assert leaf.endswith("-supervisor"), leaf
        for name in DAEMONS:
            same(read(f"/proc/{daemon.child(name)}/cgroup")[3:], leaf, f"{name}'s group")
        good = server.offer({"": "fake:\n  fake_name: modest\n"})
        server.wait_status(APPLIED, good)
        # one that eats: ended by the kernel, and the configuration taken back for that reason
        status = server.wait_status(FAILED, server.offer({"": "fake:\n  fake_eat: 200\n"})).msg.remote_config_status
        assert "out of memory" in status.error_message, status.error_message
        server.wait_last_effective("fake_name: modest")
        daemon.agent()
        # a fork bomb: goes no further than the limit, and runs on
        bomb = server.offer({"": "fake:\n  fake_bomb: 200\n"})
        server.wait_status(APPLIED, bomb)
        until(lambda: "fake_bomb: " in bed.agent_log(), 5, "the bomb to tell how far it came")
        said = re.search(r"fake_bomb: (\d+) of 200: (.*)", bed.agent_log())
        assert int(said[1]) < 40, said[0]
        own = GROUPS + read(f"/proc/{daemon.agent()}/cgroup")[3:]
        assert int(read(own, "pids.current")) <= 40
        root_bomb(own)
        daemon.all_children()  # and nothing of ours suffered
        # afterwards everything is as it was
        same(daemon.stop(), 0, "exit status")
        same([d for d in os.listdir(group) if d.startswith("opampd-")], [], "groups left")
        same(read(group, "cgroup.subtree_control"), "", "controllers handed on")
    os.rmdir(group)


def among_strangers(user):
    """A group with others in it is not ours to arrange: told, and the agent runs."""
    group, wrapper = service("shared")
    stranger = os.fork()
    if stranger == 0:
        with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as f:
            f.write("0")
        signal.pause()
    until(lambda: str(stranger) in read(group, "cgroup.procs").split(), 5, "the stranger to be there")
    try:
        with Bed(user) as bed:
            server = bed.server()
            daemon = bed.daemon(server, {"agent": {"limits": {"memory": "64MiB"}}}, start=False, wrapper=wrapper)
            daemon.start()
            server.wait_healthy()
            daemon.wait_log(r"agent\.limits\.memory is not in force: processes other than opampd's are in its cgroup")
            same(daemon.stop(), 0, "exit status")
    finally:
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)
    os.rmdir(group)


def undelegated(user):
    """An ordinary user without a group of his own: told, not an error."""
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server, {"agent": {"limits": {"memory": "64MiB", "processes": 40}}})
        server.wait_healthy()
        daemon.wait_log("agent.limits.memory is not in force")
        same(daemon.stop(), 0, "exit status")


def no_recording(function, user):
    def run():
        recorder.DIRECTORY = None
        function(user)
    return run


TESTS = [
    ("root: the whole daemon: start, apply, restart, opampctl, end", lambda: life("root")),
    ("user: the whole daemon: start, apply, restart, opampctl, end", lambda: life("user")),
    ("root: agent.limits in a delegated group: memory.max and pids.max hold", no_recording(limited, "root")),
    ("user: agent.limits in a delegated group: memory.max and pids.max hold", no_recording(limited, "user")),
    ("root: agent.limits in a group that others share: told", no_recording(among_strangers, "root")),
    ("user: agent.limits without a delegated group: told", no_recording(undelegated, "user")),
]

assert BUILD
tap.run(TESTS)
