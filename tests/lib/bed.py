"""A test bed for the whole daemon: a directory of its own with the programs from the build, a
settings file, a server, and opampd in the foreground.  Whatever happens, nothing is left running.

As root the programs lie where only root can write, as opampd demands, and `user` chooses whether
root or an ordinary user starts the daemon.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import proc
from recorder import recorded
from tap import SLOW, until

BUILD = os.environ["O"]
ROOT = os.geteuid() == 0
NOBODY = 65534  # the ordinary user that root tests as
USERS = ["root", "user"] if ROOT else ["user"]
DAEMONS = ("netd", "link", "confd", "procd")
PROGRAMS = ("opampd", "opampd-netd", "opampd-connect", "opampd-link", "opampd-confd", "opampd-merge", "opampd-procd", "opampctl")

# quick enough for tests; what a test is about it sets itself
QUICK = {
    "server": {"reconnect": {"initial_delay": "50ms", "max_delay": "1s"}},
    "capabilities": {"accepts_remote_config": True, "reports_remote_config": True, "accepts_restart_command": True},
    "agent": {"config_apply_timeout": f"{int(4 * SLOW)}s", "settling_time": "300ms", "stop_timeout": "3s"},
    "limits": {"offers_per_minute": 100000, "restarts_per_minute": 100000},
}


def merged(base, over):
    """Maps merge, everything else is replaced; None takes a key away."""
    result = dict(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def removed(group):
    try:
        os.rmdir(group)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


def link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class Bed:
    """with Bed(user) as bed: ..."""

    def __init__(self, user="root", agent="tools/fakeagent"):
        self.user = user
        # /opt: above it everything is root's; an ordinary user's own directory serves for itself
        self.dir = tempfile.mkdtemp(prefix="opampd-bed-", dir="/opt" if ROOT else None)
        os.chmod(self.dir, 0o755)
        self.daemons = []
        self.servers = []
        self.others = []
        for name in PROGRAMS:
            path = os.path.join(BUILD, name)
            if os.path.exists(path):
                link_or_copy(path, self.path(name))
        self.agent = self.path(os.path.basename(agent))
        # a copy: opampd looks at its agent's program, and a link more or less elsewhere is a change of it
        shutil.copy2(os.path.join(BUILD, agent), self.agent)
        # what an ordinary user's daemon keeps must be the user's
        os.mkdir(self.path("var"), 0o755)
        if ROOT and user == "user":
            os.chown(self.path("var"), NOBODY, NOBODY)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def storage(self, *names):
        return self.path("var", "state", *names)

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def server(self, **arguments):
        from opampserver import Server
        made = Server(**arguments)
        self.servers.append(made)
        return made

    def settings(self, server, over=None):
        base = {
            "server": {"endpoint": server if isinstance(server, str) else server.url},
            "agent": {"executable": self.agent, "working_directory": self.path("var", "work"),
                      "log": {"directory": self.path("var", "log")}},
            "storage": {"directory": self.storage()},
            "control": {"socket": self.path("var", "control.sock")},
        }
        return merged(merged(QUICK, base), over or {})

    def daemon(self, server, over=None, start=True, **arguments):
        """opampd with these settings: a dictionary over the usual ones, or a whole text."""
        text = over if isinstance(over, str) else json.dumps(self.settings(server, over), indent=1)
        self.write("opampd.yaml", text + "\n")
        daemon = Daemon(self, **arguments)
        self.daemons.append(daemon)
        if start:
            daemon.start()
        return daemon

    def as_user(self, command):
        if ROOT and self.user == "user":
            return [shutil.which("setpriv"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"] + command
        return command

    def ctl_command(self, *arguments):
        return self.as_user([self.path("opampctl"), "-s", self.path("var", "control.sock"), *arguments])

    def ctl(self, *arguments, check=True):
        """opampctl; gives (exit code, output, errors)."""
        r = subprocess.run(self.ctl_command(*arguments), capture_output=True, text=True, timeout=30 * SLOW, check=False)
        if check and r.returncode != 0:
            raise AssertionError(f"opampctl {' '.join(arguments)}: exit {r.returncode}: {r.stdout}{r.stderr}")
        return r.returncode, r.stdout, r.stderr

    def agent_log(self):
        try:
            with open(self.path("var", "log", "agent.log"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def groups(self):
        """The agent's cgroups of daemons on this storage directory: named after it (privsep/cgroup.c)."""
        name = 14695981039346656037
        for byte in self.storage().encode():
            name = (name ^ byte) * 1099511628211 % 2 ** 64
        own = [line[3:].rstrip("\n") for line in open("/proc/self/cgroup", encoding="ascii") if line.startswith("0::")]
        for line in open("/proc/self/mountinfo", encoding="ascii", errors="replace"):
            if " - cgroup2 " in line and own:
                above = line.split()[4] + own[0]
                try:
                    return [os.path.join(above, d) for d in os.listdir(above) if d.startswith(f"opampd-{name:016x}-")]
                except OSError:
                    return []
        return []

    def running(self):
        found = set(proc.running_from(self.dir))
        for daemon in self.daemons:  # whose children only root can see the programs of
            found.update(pid for pid, begun in daemon.seen if proc.alive(pid) and proc.started(pid) == begun)
        return sorted(found)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for daemon in self.daemons:
            if error is not None:
                print("# ---- the daemon's log\n" + "".join(f"# {line}\n" for line in daemon.log()[-800 if os.environ.get('VERBOSE') else -80:]), end="")
            daemon.end()
        for server in self.servers:
            if error is not None:
                print("# ---- what the server saw\n" + "".join(f"# {line}\n" for line in server.tell().splitlines()), end="")
            server.end()
        if error is not None:
            tail = [line for line in self.agent_log().splitlines() if not line.startswith("chatter")][-15:]
            print("# ---- the agent's log\n" + "".join(f"# {line[:300]}\n" for line in tail), end="", flush=True)
        left = self.running()
        told = [f"{p} {' '.join(proc.arguments(p))}" for p in left]
        for pid in left:
            proc.kill(pid)
        # after a kill -9 nobody is there to remove them until the next start
        killed = any(d.process is not None and d.process.returncode == -signal.SIGKILL for d in self.daemons)
        left_groups = self.groups()
        for group in left_groups:
            until(lambda g=group: removed(g), 5, f"{group} to be removed")
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)
        if left and error is None:
            raise AssertionError(f"left running after the end: {told}")
        if left_groups and not killed and error is None:
            raise AssertionError(f"cgroups left after an orderly end: {left_groups}")


class Daemon:
    def __init__(self, bed, verbose=False, env=None, wrapper=()):
        self.bed = bed
        self.verbose = verbose or bool(os.environ.get("VERBOSE"))
        self.env = env
        self.wrapper = list(wrapper)  # a command to run it under
        self.process = None
        self.lines = []  # (monotonic time, text)
        self.changed = threading.Condition()
        self.reader = None
        self.seen = set()  # (pid, start) of every child that was looked at

    def start(self):
        command = [self.bed.path("opampd"), "-d", "-f", self.bed.path("opampd.yaml")]
        if self.verbose:
            command.insert(1, "-v")
        command = self.bed.as_user(command)
        command = self.wrapper + command if self.wrapper else recorded(command)
        env = {"PATH": os.environ["PATH"]} if self.env is None else self.env
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, env=env, cwd=self.bed.dir)
        self.reader = threading.Thread(target=self.read, args=(self.process.stderr,), daemon=True)
        self.reader.start()

    def read(self, stream):
        for raw in stream:
            with self.changed:
                self.lines.append((time.monotonic(), raw.decode(errors="replace").rstrip("\n")))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    @property
    def pid(self):
        return self.process.pid

    def log(self, since=0):
        with self.changed:
            return [text for _, text in self.lines[since:]]

    def mark(self):
        with self.changed:
            return len(self.lines)

    def wait_log(self, pattern, seconds=10, since=0):
        look = re.compile(pattern)
        end = time.monotonic() + seconds * SLOW
        seen = since
        with self.changed:
            while True:
                while seen < len(self.lines):
                    if look.search(self.lines[seen][1]):
                        return self.lines[seen][1]
                    seen += 1
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"after {seconds} s still not in the log: {pattern}")
                self.changed.wait(left)

    # ---- its processes

    def children(self, look=proc.children):
        """{name: pid} of the processes that live: netd, link, confd, procd; also connect and merge."""
        found = {}
        for pid in look(self.pid):
            words = proc.arguments(pid)
            if words and words[0].startswith("opampd-"):
                found[words[0][len("opampd-"):]] = pid
                self.seen.add((pid, proc.started(pid)))
        return found

    def child(self, name, seconds=10, other_than=None):
        """The pid of a child that is in its sandbox, waited for."""
        def look():
            pid = self.children(proc.children_at_a_glance).get(name)
            # the parent's filter comes by inheritance, the log's comes before its own, which makes three
            if pid is None or pid == other_than or int(proc.status(pid).get("Seccomp_filters", 0)) < 3:
                return None
            return pid
        return until(look, seconds, f"{name} to live" + (f" again (was {other_than})" if other_than else ""))

    def all_children(self, seconds=10):
        return {name: self.child(name, seconds) for name in DAEMONS}

    def agents(self):
        """pids of agents that run for good (no validation, no probe)."""
        found = []
        for pid in proc.children_and_of_init(self.pid):
            words = proc.arguments(pid)
            if proc.executable(pid) == self.bed.agent and words and proc.alive(pid) and \
                    not {"validate", "featuregate"} & set(words[1:2]):
                found.append(pid)
        return found

    def agent(self, seconds=10, other_than=None):
        def look():
            pids = self.agents()
            if len(pids) > 1:
                raise AssertionError(f"the agent runs more than once: {pids}")
            return pids[0] if pids and pids[0] != other_than else None
        return until(look, seconds, "the agent to run" + (f" anew (was {other_than})" if other_than else ""))

    def no_agent(self, seconds=10):
        until(lambda: not self.agents(), seconds, "no agent to run")

    def kill(self, name):
        pid = self.child(name)
        proc.kill(pid)
        return pid

    # ---- its end

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=20):
        """SIGTERM; gives the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_end(seconds)

    def wait_end(self, seconds=20):
        try:
            status = self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"opampd has not ended in {seconds} s") from None
        self.reader.join(5)
        return status

    def end(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(25 * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
            print("# opampd did not end within 25 s of SIGTERM", flush=True)
        # the write ends of its log may live on in what it left: __exit__ of the bed looks for that
        self.reader.join(1)


def users_made():
    """As root: the system users that opampd changes to."""
    if ROOT:
        subprocess.run(["make", "-s", "users"], check=True, stdout=sys.stderr)


def for_all(tests, users=None):
    """(name, function(user)) as (name as user, function()) for each user."""
    made = []
    for user in USERS if users is None else users:
        for name, function in tests:
            made.append((f"{user}: {name}", lambda f=function, u=user: f(u)))
    return made
