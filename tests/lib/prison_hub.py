"""The prison of the hub's processes (see prison.py): a running opamphub, held at its start so that copies of its
processes can be made, with an agent connected and a page that was asked for."""
import os
import signal
import socket
import subprocess

import acts
import hub_bed
import proc
import tap
from prison import INJECT, NEIGHBOUR, Session, World, is_tcp
from tap import until

TOKENS = "prison 0123456789abcdef0123456789abcdef\n"


class HeldHub(hub_bed.Hub):
    """Stopped before its first step, and watched until both processes are in their sandbox."""

    def start(self, ready=True):
        self.wrapper = ["sh", "-c", 'kill -STOP $$; exec "$@"', "sh"]
        super().start(False)
        until(lambda: proc.status(self.process.pid).get("State", "")[:1] == "T", 10, "the hub to be held")
        with subprocess.Popen([INJECT, "-n", "2", str(self.process.pid)], stdout=subprocess.PIPE, text=True) as watcher:
            assert watcher.stdout.readline() == "waiting\n"
            self.process.send_signal(signal.SIGCONT)
            tap.same(watcher.wait(60), 0, "inject -n")
        until(lambda: "page: http" in self.log() or self.process.poll() is not None, 30, "the hub's first line")
        assert self.process.poll() is None, self.log()
        return self

    # what prison_state.py asks a bed for
    def storage(self, *more):
        return os.path.join(self.store, *more)

    def path(self, *more):
        return os.path.join(self.work, *more)


class HubWorld(World):
    def __init__(self, prison, role, pid):  # pylint: disable=super-init-not-called
        self.bed = prison.hub
        self.pid = pid
        self.role = role
        self.nice = os.getpriority(os.PRIO_PROCESS, prison.hub.process.pid)
        self.listening = prison.hole.getsockname()[1]
        self.abstract = prison.abstract_name
        known = {"parent": prison.hub.process.pid, "init": 1, **prison.children}
        self.others = {n: p for n, p in known.items() if n != {"hub": "parent"}.get(role, role)}
        sockets = sorted(fd for fd, what in proc.descriptors(pid).items() if what.startswith("socket:"))
        self.own = next((fd for fd in sockets if is_tcp(proc.descriptors(pid)[fd])), sockets[0])
        self.state = self.pidfd = -1

    def path(self, name):
        neighbour = self.others.get(NEIGHBOUR.get(self.role, "hub-store"))
        store = "" if role_is_rooted(self) else self.bed.store
        found = {"state": self.bed.storage("hub.db"), "state's directory": self.bed.store, "settings": self.bed.path("page.tokens"),
                 "parent's environment": f"/proc/{self.others.get('parent', 1)}/environ", "neighbour's memory": f"/proc/{neighbour}/mem",
                 "a directory above": self.bed.work, "in state": self.bed.storage("prison"), "in log": self.bed.path("prison"),
                 "program": self.bed.path("opamphub-store"), "control": self.bed.path("page.tokens"), "kept": store + "/hub.db",
                 "passwd, from there": "../" * 16 + "etc/passwd", "kept, new": store + "/prison", "kept, above": store + "/../page.tokens", "kept, new above": store + "/../prison"}
        return found[name] if name in found else self.elsewhere(name)

    def elsewhere(self, name):
        return {"passwd": "/etc/passwd", "shadow": "/etc/shadow", "own memory": "/proc/self/mem", "memory": "/dev/mem", "kernel log": "/dev/kmsg",
                "kernel's settings": "/proc/sys/kernel/hostname", "new": f"/tmp/opampd-prison-{self.pid}",
                "loader": os.path.realpath("/lib64/ld-linux-x86-64.so.2")}.get(name)


def role_is_rooted(world):
    """Has the store its directory for its root?"""
    return os.path.samefile(f"/proc/{world.pid}/root", world.bed.store)


class HubPrison:
    """with HubPrison(user) as p: one that has an agent."""

    def __init__(self, user):
        self.user = user
        self.abstract_name = f"opamphub-prison-{os.getpid()}"

    def __enter__(self):
        self.hole = socket.create_server(("127.0.0.1", 0))
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind("\0" + self.abstract_name)
        self.abstract.listen(64)
        self.hub = HeldHub(user=self.user, tokens=TOKENS)
        self.hub.agent().hello()
        self.hub.api("agents")
        self.children = {f"hub-{n}": p for n, p in self.hub.children().items()}
        return self

    def __exit__(self, *what):
        self.hole.close()
        self.abstract.close()
        self.hub.close()

    def pid(self, role):
        return {"hub": self.hub.process.pid, **self.children}[role]

    def session(self, role):
        return Session(["-s" if role == "hub" else "-S", str(self.pid(role))], self.pid(role))


ROLES = ("hub", "hub-front", "hub-store")
assert set(ROLES) <= set(acts.ROLES)
