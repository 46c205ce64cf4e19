"""The prison, tried from inside: acts done by live processes of a whole running daemon, each in its real sandbox, by
way of inject (tests/tools/inject.c).  An act is done by a copy of the process (a fork, which has its filters, Landlock
domain, ids, capabilities, namespaces, limits and descriptors), so that one process can be ended any number of times; and
once more by a copy whose filters sleep, which shows what stands behind them."""
import errno
import json
import os
import platform
import re
import signal
import socket
import subprocess

import acts
import proc
import tap
from acts import KILLED, LISTED, MAY, NOT_DONE, PASSES, declared, in_words
from acts_files import FILES
from acts_system import SYSTEM
from bed import BUILD, DAEMONS, ROOT, Bed
from tap import until

INJECT = os.path.join(BUILD, "tools", "inject")
POLICY = json.loads(subprocess.run([os.path.join(BUILD, "tools", "policy")], check=True, capture_output=True).stdout)
NEIGHBOUR = {"netd": "procd", "link": "confd", "confd": "link", "procd": "netd", "hub-front": "hub-store", "hub-store": "hub-front"}
ACTS = acts.each_noun({"(control)": [acts.Act("close nothing", ("close", -1), beyond=(errno.EBADF,), agent=(errno.EBADF,), parent=(errno.EBADF,))], **FILES, **SYSTEM})
RESULT = re.compile(r"killed \w+|exited \d+|executed|hung|no copy: -?\d+|-?\d+")
QUIET = {"server": {"reconnect": {"initial_delay": "50ms", "max_delay": "100ms"}}, "agent": {"config_apply_timeout": "60s"}}


def able():
    if not ROOT:
        raise tap.Skip("only root may put system calls into other processes")
    if platform.machine() != "x86_64":
        raise tap.Skip("tests/tools/inject.c knows x86_64 only")
    if "san" in os.path.basename(BUILD):
        raise tap.Skip("the sanitizers' run time is let call more")


def copied(text):
    """The library's file itself: connect may execute what lies below /usr/lib."""
    return os.path.realpath(text)


class World:
    """What an act of one process may aim at."""

    def __init__(self, prison, role, pid):
        self.bed = prison.bed
        self.pid = pid
        self.role = role
        self.nice = os.getpriority(os.PRIO_PROCESS, prison.daemon.pid)
        self.listening = prison.hole.getsockname()[1]
        self.abstract = prison.abstract_name
        known = {"parent": prison.daemon.pid, "agent": prison.daemon.agent(), "init": 1, **prison.children}
        name = {"strict": "agent", "init": "agent"}.get(role, role)
        self.others = {n: p for n, p in known.items() if n != name}
        if len(proc.status(pid).get("NSpid", "").split()) > 1:
            del self.others["init"]  # among its own it is one that serves it alone: with that it ends itself
        found = proc.descriptors(pid)
        sockets = sorted(fd for fd, what in found.items() if what.startswith("socket:"))
        self.own = next((fd for fd in sockets if is_tcp(found[fd])), sockets[0] if sockets else 0)
        self.state = next((fd for fd, what in found.items() if what == self.bed.storage()), -1)
        self.pidfd = next((fd for fd, what in found.items() if what == "anon_inode:[pidfd]"), -1)

    def path(self, name):
        neighbour = self.others.get(NEIGHBOUR.get(self.role, "confd"))
        return {
            "passwd": "/etc/passwd", "shadow": "/etc/shadow", "state": self.bed.storage("identity"), "state's directory": self.bed.storage(),
            "settings": self.bed.path("opampd.yaml"), "own memory": "/proc/self/mem", "memory": "/dev/mem", "kernel log": "/dev/kmsg",
            "parent's environment": f"/proc/{self.others.get('parent', 1)}/environ", "neighbour's memory": f"/proc/{neighbour}/mem",
            "a directory above": self.bed.path("var"), "kernel's settings": "/proc/sys/kernel/hostname", "new": f"/tmp/opampd-prison-{self.pid}",
            "in state": self.bed.storage("prison"), "in log": self.bed.path("var", "log", "prison"), "program": self.bed.agent,
            "control": self.bed.path("var", "control.sock"), "loader": copied("/lib64/ld-linux-x86-64.so.2"),
        }[name]

    def unix_new(self):
        return acts.unix(self.path("new"))


def is_tcp(what):
    inode = what[len("socket:["):-1]
    with open("/proc/net/tcp", encoding="ascii") as f:
        return any(line.split()[9] == inode for line in f)


# ---- one daemon, whose processes may be copied

class Prison:
    """with Prison(user) as p: a daemon that runs well; p.pid(role)."""

    def __init__(self, user, over=None, wrapper=()):
        self.user = user
        self.wrapper = list(wrapper)
        self.over = over or {}
        self.abstract_name = f"opampd-prison-{os.getpid()}"

    def __enter__(self):
        self.bed = Bed(self.user)
        self.bed.__enter__()
        try:
            self.hole = socket.create_server(("127.0.0.1", 0))
            self.abstract = socket.socket(socket.AF_UNIX)
            self.abstract.bind("\0" + self.abstract_name)
            self.abstract.listen(64)
            self.server = self.bed.server()
            self.daemon = self.bed.daemon(self.server, self.over, start=False, wrapper=["sh", "-c", 'kill -STOP $$; exec "$@"', "sh", *self.wrapper])
            self.daemon.start()
            until(lambda: proc.status(self.daemon.pid).get("State", "")[:1] == "T", 10, "the daemon to be held")
            watcher = subprocess.Popen([INJECT, "-n", "4", str(self.daemon.pid)], stdout=subprocess.PIPE, text=True)
            with watcher:
                assert watcher.stdout.readline() == "waiting\n"
                self.daemon.signal(signal.SIGCONT)
                tap.same(watcher.wait(30), 0, "inject -n")
            self.server.wait_healthy()
            self.children = self.daemon.all_children()
        except BaseException as e:
            self.bed.__exit__(type(e), e, None)
            raise
        return self

    def __exit__(self, *what):
        self.hole.close()
        self.abstract.close()
        self.bed.__exit__(*what)

    def pid(self, role):
        if role == "init":  # process 1 of the agent's PID namespace
            return int(proc.status(self.daemon.agent())["PPid"])
        return {"parent": self.daemon.pid, **self.children}.get(role) or self.daemon.agent()

    def session(self, role):
        return Session(["-S" if role in DAEMONS else "-s", str(self.pid(role))], self.pid(role))

    def caught(self, role, trigger):
        """A one-shot, held as soon as it is in its sandbox."""
        name = "merge" if role == "reader" else role
        process = subprocess.Popen([INJECT, "-w", name, str(self.daemon.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        tap.same(process.stdout.readline(), "waiting\n", "inject -w")
        trigger()
        word = process.stdout.readline().split()
        assert word[:1] == ["caught"], f"{word} {process.stderr.read()}"
        return Session(process, int(word[1]))


class Session:
    """Lines to one process and their results."""

    def __init__(self, how, pid):
        self.pid = pid
        self.process = how if isinstance(how, subprocess.Popen) else subprocess.Popen([INJECT, *how], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                                                      stderr=subprocess.PIPE, text=True)

    def ask(self, lines):
        """[(mode, [call, ...]), ...] -> for each a list of results, as long as it lived."""
        found = []
        for at in range(0, len(lines), 64):  # what fits into pipes
            part = lines[at:at + 64]
            for mode, calls in part:
                self.process.stdin.write(mode + " " + " , ".join(" ".join(c) for c in calls) + "\n")
            self.process.stdin.flush()
            for _ in part:
                text = self.process.stdout.readline()
                assert text, f"inject: {self.process.stderr.read()}"
                found.append(RESULT.findall(text))
        return found

    def filters(self):
        self.process.stdin.write("filters\n")
        self.process.stdin.close()
        return self.process.stdout.read()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if not self.process.stdin.closed:
            self.process.stdin.close()
        wrong = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        status = self.process.wait(20)
        assert error is not None or status == 0, f"inject: {wrong}"


# ---- verdicts

def told(result):
    if re.fullmatch(r"-?\d+", result):
        value = int(result)
        return in_words(-value) if -4096 < value < 0 else "done"
    return "killed" if result == "killed SIGSYS" else "done" if result == "executed" else result


def judge(act, role, user, lines, results):
    """Gives (what the kernel did, what is wrong with it or None)."""
    for line, result in zip(lines, results):
        want, did, last = declared(POLICY, role, line), told(result), line is lines[-1]
        if want != PASSES:
            return did, None if did == in_words(want) else f"{in_words(want)} by the policy"
        if did == "done" and not last:
            continue
        spec = act.spec(role, user)
        if spec is None:
            return did, None
        if did == "done":
            ok = spec == MAY or (MAY in spec)
            return did, None if ok else "the policy lets it pass and nothing else refuses it"
        ok = spec != MAY and did in [in_words(e) for e in spec]
        return did, None if ok else f"wanted {MAY if spec == MAY else ' or '.join(in_words(e) for e in spec) or 'its end'}"
    return "?", f"no result: {results}"


def judge_behind(act, role, user, results):
    did = next((told(r) for r in results if told(r) != "done"), "done")
    if act.behind is None or role in act.bare or role in act.may or (user == "user" and act.same_user):
        return did, None
    return did, None if did in [in_words(e) for e in act.behind] else \
        f"behind the filter: wanted {' or '.join(in_words(e) for e in act.behind)}"


def does(act, role, lines):
    if lines is None or role in act.none or (act.alone is not None and role not in act.alone):
        return False
    if role in acts.PARENTS:
        return act.parent is not None or any(declared(POLICY, role, line) == KILLED for line in lines[:1])
    return True


class Table:
    def __init__(self, user):
        self.user = user
        self.rows = {}
        self.wrong = []
        self.count = {}
        self.notes = []

    def run(self, world, role, session):
        """All acts by copies of one process, and behind its sleeping filters."""
        wanted = [(act, act.lines(world)) for act in ACTS if act.alone is None or role in act.alone]
        wanted = [(act, lines) for act, lines in wanted if does(act, role, lines)]
        fronts = session.ask([("c", lines) for _, lines in wanted])
        alone = {act.name: None for act, _ in wanted}
        if role in LISTED and role != "init":
            asked = [(act.name, lines) for act, lines in wanted if not act.shared]
            alone.update(zip([name for name, _ in asked], session.ask([("b", lines) for _, lines in asked])))
        for (act, lines), front in zip(wanted, fronts):
            back = alone[act.name]
            did, wrong = judge(act, role, self.user, lines, front)
            self.note(role, act.name, lines, did, wrong)
            if back is not None:
                behind, wrong = judge_behind(act, role, self.user, back)
                self.note(role, act.name, lines, behind, wrong)
                did = f"{did} ({behind})"
            self.rows.setdefault(act.name, {})[role] = did
        self.count[role] = self.count.get(role, 0) + len(wanted)

    def note(self, role, name, lines, did, wrong):
        if wrong:
            self.wrong.append(f"{role}: {name} ({' , '.join(' '.join(line) for line in lines)[:110]}): {did}; {wrong}")

    def text(self, roles):
        """A table for people."""
        out = [f"## Started by {'root' if self.user == 'root' else 'an ordinary user'}", "",
               "What the kernel did to the act; in brackets what it did while the filters slept, so what stands behind them.", ""]
        noun = None
        for act in ACTS:
            if act.noun != noun:
                noun = act.noun
                out += ["", f"### {noun}", "", "| act | " + " | ".join(roles) + " |", "| --- " * (len(roles) + 1) + "|"]
            row = self.rows.get(act.name, {})
            out.append(f"| {act.name} | " + " | ".join(row.get(r, NOT_DONE) for r in roles) + " |")
        return "\n".join(out + [""] + self.notes) + "\n"

    def end(self, roles):
        missing = [f"{a.name}: {r}" for a in ACTS for r in (a.alone or ()) if r in roles and r not in self.rows.get(a.name, {})]
        tap.same(missing, [], "acts that were not done")
        assert not self.wrong, f"{len(self.wrong)}:\n" + "\n".join(self.wrong)


# ---- beyond the acts: every number, every kind of socket

HIGHEST = 640  # more numbers than there are
ODD_NUMBERS = [1 << 15, (1 << 31) - 1, 1 << 31, (1 << 32) - 2, (1 << 30) - 1, 0xffffffffff600000 & 0xffffffff]
# newer kernels show these two to no filter (uretprobe, uprobe: the kernel's own trampolines call them); from anywhere else
# they end the caller or find nothing
UNSEEN = {"335": "killed SIGILL", "336": "ENXIO"}
FAMILIES = range(0, 50)
TYPES = [1, 2, 3, 4, 5, 6, 10]
PROTOCOLS = [0, 262]
MORE_TYPES = [0, 7, 8, 9, 11, 12, 13, 14, 15, 0x801, 0x80001, 0x80801, 0x100001, 0x41, 0x10002]
MORE_PROTOCOLS = [1, 6, 255]


def every_number(role, session, whole):
    """Each call that the declared policy ends a process for, whatever its arguments, by number and in each ABI that this
    kernel speaks.  Gives (how many were done, what is wrong)."""
    numbers = [n for n in [*range(HIGHEST), *ODD_NUMBERS] if declared(POLICY, role, [str(n)]) == KILLED and
               not any(row[1] == n and (row[2] != 0 or len(row) > 3) for p in acts.filters_of(role) for row in POLICY[p]["syscalls"])]
    other = [f"int80:{n}" for n in range(0, 470, 1 if whole else 19)] + [hex(0x40000000 + n) for n in range(0, HIGHEST, 1 if whole else 19)]
    calls = [str(n) for n in numbers] + other
    results = session.ask([("c", [[call]]) for call in calls])
    return len(calls), [f"{role}: call {call}: {told(r[0])}" for call, r in zip(calls, results) if told(r[0]) not in (KILLED, UNSEEN.get(call))]


def every_socket(role, session, whole):
    """Gives (how many were tried, those that were made, what is wrong)."""
    kinds = [(f, t, p) for f in FAMILIES for t in (TYPES + MORE_TYPES if whole else TYPES) for p in (PROTOCOLS + MORE_PROTOCOLS if whole else PROTOCOLS)]
    results = session.ask([("c", [["socket", str(f), str(t), str(p)]]) for f, t, p in kinds])
    wrong, made = [], []
    for kind, result in zip(kinds, results):
        did, want = told(result[0]), declared(POLICY, role, ["socket", *map(str, kind)])
        if did == "done":
            made.append(kind)
        if did != in_words(want) if want != PASSES else did == KILLED:
            wrong.append(f"{role}: socket {kind}: {did}; {in_words(want)} by the policy")
    return len(kinds), made, wrong
