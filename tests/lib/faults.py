"""Faults in single system calls of the real opampd-confd (tests/tools/faults.c), in a whole daemon at work.

A phase is something that confd does: an apply, a rollback, a start.  A cell is one phase with one fault at one
of its system calls; after each the same judge looks: the agent runs the old configuration or the new one, whole
and once, the server was told the truth, and the next offer works.
"""
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid

import proc
from bed import BUILD, Bed
from opampserver import APPLIED, APPLYING, FAILED
from tap import same, until

SECONDS = 40  # for anything that must come: busy machines are slow
CONFIG = "fake:\n  fake_name: {}\n"
SETTINGS = {"agent": {"settling_time": "20ms", "config_apply_timeout": "10s"},
            "server": {"reconnect": {"initial_delay": "20ms", "max_delay": "100ms"}}}
STOPPED = ["sh", "-c", 'kill -STOP $$; exec "$@"', "sh"]  # so that the tracer is there before the first call
CONFD = "opampd-confd"

# what confd and the parent say where state was lost or not understood: never after a kill or an error
LOST = re.compile(r"damaged|is lost|or gone|makes no sense|ended by its sandbox|not a regular file")

PORT = re.compile(r"(?<=127\.0\.0\.1:)\d+")  # of the link: another one where the usual is taken


class Tracer:
    """tests/tools/faults at work."""

    def __init__(self, *words):
        self.lines, self.changed = [], threading.Condition()
        self.process = subprocess.Popen([os.path.join(BUILD, "tools", "faults"), *map(str, words)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.split())
                self.changed.notify_all()
        with self.changed:
            self.lines.append(["over"])
            self.changed.notify_all()

    def find(self, *first):
        return next((line for line in self.lines if line[0] in first), None)

    def wait(self, *first, seconds=SECONDS):
        """The first line that begins with one of these words, or ["over"]."""
        with self.changed:
            self.changed.wait_for(lambda: self.find(*first, "over"), seconds)
            return self.find(*first) or self.find("over") or []

    def ready(self):
        if self.wait("ready")[:1] != ["ready"]:
            raise AssertionError("the tracer did not start")
        return self

    def hit(self):
        """(number, name) of the call, or None."""
        line = self.find("hit", "unfit")
        return (int(line[1]), line[2]) if line else None

    def end(self):
        """Lets go; gives the hit, how many calls there were, and {name: (how often, the number of the first)}."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(SECONDS)
        finally:
            self.process.kill()
        self.thread.join(5)
        calls = self.find("calls") or ["calls", "0"]
        found = [re.match(r"(.*)=(\d+)@(\d+)$", word).groups() for word in calls[2:]]
        return self.hit(), int(calls[1]), {name: (int(times), int(first)) for name, times, first in found}


class Life(Bed):
    """A bed for many cells: the daemon goes on from one to the next, or is started again."""

    def __init__(self, user="root"):
        super().__init__(user)
        self.wanted_uid = None
        self.number = 0
        self.it = self.made_server = None
        self.template = None  # the agent's file, with NAME and UID in it
        self.name = self.hash = None  # what is committed
        self.told_twice = self.uids = 0
        self.kept = None

    # ---- up and down

    def begin(self, traced=None):
        """Starts the daemon; traced: words for the tracer, which then waits for confd.  Gives the tracer."""
        if self.made_server is None:
            self.made_server = self.server()
            self.made_server.answer = self.answer
        self.daemons = [d for d in self.daemons if d.process is not None and d.process.poll() is None]
        self.it = self.daemon(self.made_server, SETTINGS, start=False, wrapper=STOPPED if traced else ())
        since = self.made_server.mark()
        self.it.start()
        if not traced:
            self.made_server.wait(lambda m: True, SECONDS, "a message of the new life", since)
            return None
        until(lambda: proc.status(self.it.pid).get("State", "?")[0] == "T", SECONDS, "the daemon to wait for its tracer")
        tracer = Tracer("next", self.it.pid, CONFD, *traced).ready()
        self.it.signal(signal.SIGCONT)
        return tracer

    def kill_all(self, tracer=None):
        """As a power cut ends processes: the parent first, then everything that it had.  A tracer sees it first."""
        family = [self.it.pid] + proc.children_at_a_glance(self.it.pid)
        begun = {pid: proc.started(pid) for pid in family}
        for pid in family:
            if proc.started(pid) == begun[pid]:
                proc.kill(pid)
        if tracer is not None:
            tracer.end()
        self.it.wait_end(SECONDS)
        until(lambda: not self.running(), SECONDS, "everything to have ended")

    def answer(self, record):
        message = self.made_server.usual_answer(record)
        if self.wanted_uid is not None and record.msg.instance_uid != self.wanted_uid:
            message.agent_identification.new_instance_uid = self.wanted_uid
        return message

    def deaths(self):
        """Of any child: the parent waits longer before each new start of it."""
        return sum("will be started again" in line for line in self.it.log())

    def confd(self):
        return self.it.child("confd", SECONDS)

    # ---- what is to be

    def config(self, extra=""):
        self.number += 1
        name = f"name_{self.number:06d}"
        return name, CONFIG.format(name) + extra

    def file(self):
        try:
            with open(self.storage("agent", "effective.yaml"), encoding="utf-8") as f:
                return f.read()
        except FileNotFoundError:
            return None

    def uid(self):
        return self.made_server.messages[-1].msg.instance_uid

    def expected(self, name, uid=None):
        return self.template.replace("NAME", name).replace("UID", str(uuid.UUID(bytes=uid or self.uid())))

    def first(self):
        """One configuration committed; its text is the pattern of all that follow."""
        self.begin()
        self.made_server.wait_healthy(seconds=SECONDS)
        self.good()
        self.template = self.file().replace(self.name, "NAME").replace(str(uuid.UUID(bytes=self.uid())), "UID")
        self.template = PORT.sub("PORT", self.template)
        assert "NAME" in self.template and "UID" in self.template, self.template

    def good(self):
        """The next offer works: what every fault must leave possible."""
        since = self.made_server.mark()
        name, text = self.config()
        config_hash = self.made_server.offer({"": text})
        self.made_server.wait_status(APPLIED, config_hash, SECONDS, since)
        self.name, self.hash = name, config_hash
        if self.template is not None:
            self.settled(name)
        else:
            self.made_server.wait_last_effective(name, SECONDS)
            self.made_server.wait_healthy(seconds=SECONDS)

    # ---- the judge

    def newest(self, field):
        for record in reversed(self.made_server.messages):
            if record.msg.HasField(field):
                return getattr(record.msg, field)
        return None

    def is_settled(self, name, uid=None):
        effective, health, text = self.newest("effective_config"), self.newest("health"), self.file()
        return effective is not None and health is not None and health.healthy and text is not None and \
            PORT.sub("PORT", text) == self.expected(name, uid) and \
            [f.body for f in effective.config_map.config_map.values()] == [text.encode()]

    def settled(self, name):
        """The agent runs exactly this, whole and once, and that is what the server knows."""
        try:
            until(lambda: self.is_settled(name), SECONDS, f"{name} to be what runs and what is reported")
        except AssertionError as why:
            effective = self.newest("effective_config")
            raise AssertionError(f"{why}\nhealth {self.newest('health')}\nin place {self.file()}\nexpected "
                                 f"{self.expected(name)}\nreported {effective}") from None
        self.it.agent(SECONDS)

    def verdict(self, config_hash):
        told = self.newest("remote_config_status")
        return told if told is not None and told.last_remote_config_hash == config_hash and \
            told.status in (APPLIED, FAILED) else None

    def truth(self, config_hash, since):
        """What the server heard of one offer: never anything else after APPLIED, in the end a verdict."""
        try:
            told = until(lambda: self.verdict(config_hash), SECONDS, "a verdict at the server")
        except AssertionError as why:
            raise AssertionError(f"{why}\n{self.made_server.tell(since)}") from None
        ours = [status for status, of, _ in self.made_server.statuses(since) if of == config_hash]
        if APPLIED in ours and set(ours[ours.index(APPLIED):]) != {APPLIED}:
            raise AssertionError(f"APPLIED was taken back: {ours}")
        others = {of for _, of, _ in self.made_server.statuses(since)} - {config_hash, self.hash, b""}
        same(others, set(), "hashes that nobody offered")
        return told

    def uid_kept(self):
        with open(self.storage("identity"), encoding="ascii") as f:
            same(f.read()[:36], str(uuid.UUID(bytes=self.uid())), "the instance uid that is kept")

    def nothing_lost(self, since=0, but="no such line"):
        bad = [line for line in self.it.log(since) if LOST.search(line) and but not in line]
        if bad:
            raise AssertionError("state was lost: " + "; ".join(bad[:3]))
        twice = self.agent_log().count("TWICE")
        if twice > self.told_twice:
            self.told_twice = twice
            raise AssertionError("the agent ran twice at the same time")


# ---- phases: what is done while the fault waits, and what must come of it

class Apply:
    """A good offer."""
    name = "apply"
    live = True
    over = {}

    def prepare(self, life):
        pass

    def act(self, life):
        life.since = life.made_server.mark()
        life.new, text = life.config(self.extra())
        life.new_hash = life.made_server.offer({"": text})

    def extra(self):
        return ""

    def over(self, life):
        """Is the phase over, no fault having come?"""
        return life.verdict(life.new_hash) and life.is_settled(life.new)

    def judge(self, life, how):
        told = life.truth(life.new_hash, life.since)
        if told.status == APPLIED:
            life.name, life.hash = life.new, life.new_hash
        else:
            assert told.error_message, "FAILED without a reason"
            if how in ("kill", "killall"):
                assert "interrupted" in told.error_message, told.error_message
            if how in INVISIBLE:
                raise AssertionError(f"{how} made the apply fail: {told.error_message}")
            life.hash = life.new_hash
        life.settled(life.name)
        return "new" if told.status == APPLIED else "old"


class Rollback(Apply):
    """An offer that the agent dies of."""
    name = "rollback"

    def extra(self):
        return "  fake_exit: 3\n"

    def over(self, life):
        return life.verdict(life.new_hash) and life.is_settled(life.name)

    def judge(self, life, how):
        told = life.truth(life.new_hash, life.since)
        same(told.status, FAILED, "the verdict")
        if how in INVISIBLE:  # the agent's own last words are waited for, but not for ever
            assert "exit code 3" in told.error_message, told.error_message
        life.hash = life.new_hash
        life.settled(life.name)
        return "old"


class Refusal(Rollback):
    """An offer that the agent's own check refuses: nothing is touched."""
    name = "refusal"

    def extra(self):
        return "  fake_invalid: no_such_thing\n"

    def act(self, life):
        life.pid = life.it.agent(SECONDS)
        super().act(life)

    def judge(self, life, how):
        told = life.truth(life.new_hash, life.since)
        same(told.status, FAILED, "the verdict")
        if how in INVISIBLE:
            assert "no_such_thing" in told.error_message, told.error_message
        life.hash = life.new_hash
        life.settled(life.name)
        if how != "killall":
            same(life.it.agent(SECONDS), life.pid, "the agent's pid")
        return "old"


class Identity(Apply):
    """The server gives another instance uid, as often as it is asked."""
    name = "identity"

    def act(self, life):
        life.since = life.made_server.mark()
        life.old_uid = life.uid()
        life.wanted_uid = uuid.uuid4().bytes
        life.made_server.identify(life.wanted_uid)

    def over(self, life):
        return life.uid() == life.wanted_uid and life.is_settled(life.name)

    def judge(self, life, how):
        until(lambda: self.again(life), SECONDS, "the new uid")
        # an agent whose restart for it was cut off is left alone for a while: then the next offer brings it
        until(lambda: life.is_settled(life.name) or life.is_settled(life.name, life.old_uid), SECONDS, "the old or the new uid")
        seen = {r.msg.instance_uid for r in life.made_server.messages[life.since:]}
        assert seen <= {life.old_uid, life.wanted_uid}, seen
        status = life.newest("remote_config_status")
        same((status.status, status.last_remote_config_hash), life.status, "the remote configuration's status")
        return "new" if life.is_settled(life.name) else "old"

    def again(self, life):
        """A server that sees the old uid says it again; ours only answers, so it asks for a message."""
        if life.uid() == life.wanted_uid:
            return True
        try:
            life.made_server.full_state()
        except AssertionError:
            pass  # not connected just now
        time.sleep(0.2)
        return False

    def prepare(self, life):
        status = life.newest("remote_config_status")
        life.status = (status.status, status.last_remote_config_hash)


class Start:
    """opampd is started on what a life before it left."""
    live = False

    def __init__(self, name):
        self.name = name

    def make(self, life):
        """The state directory to start on, kept as a copy beside it."""
        if self.name == "first start":
            life.kill_all()
            return
        if self.name == "start in a trial":
            pid = life.it.agent(SECONDS)
            since = life.made_server.mark()
            life.new, text = life.config("  fake_never_healthy: 1\n")
            life.new_hash = life.made_server.offer({"": text})
            life.it.agent(SECONDS, other_than=pid)
            life.made_server.wait_status(APPLYING, life.new_hash, SECONDS, since)
        life.kill_all()
        life.kept = (life.name, life.hash, life.made_server.assigned)
        life.kept_uid = life.uid()
        shutil.copytree(life.storage(), life.path("kept"), symlinks=True)
        for place, folders, files in os.walk(life.storage()):
            for each in [place] + [os.path.join(place, f) for f in files + folders]:
                was = os.lstat(each)
                os.lchown(life.path("kept") + each[len(life.storage()):], was.st_uid, was.st_gid)

    def reset(self, life):
        subprocess.run(["rm", "-rf", life.storage()], check=True)
        life.made_server.assigned = None
        if self.name != "first start":
            subprocess.run(["cp", "-a", life.path("kept"), life.storage()], check=True)
            life.name, life.hash, life.made_server.assigned = life.kept
        life.since = life.made_server.mark()

    def over(self, life):
        new = life.made_server.messages[life.since:]
        return any(r.msg.health.healthy for r in new) and any(r.msg.HasField("effective_config") for r in new) and \
            (self.name == "first start" or life.is_settled(life.name)) and \
            (self.name != "start in a trial" or life.verdict(life.new_hash))

    def judge(self, life, how):
        server = life.made_server
        server.wait_healthy(seconds=SECONDS, since=life.since)
        life.it.agent(SECONDS)
        if self.name == "first start":
            return "base"
        life.settled(life.name)
        same({r.msg.instance_uid for r in server.messages[life.since:]}, {life.kept_uid}, "the uid")
        if self.name == "start in a trial":
            told = life.truth(life.new_hash, life.since)
            same(told.status, FAILED, "the verdict")
            assert "interrupted" in told.error_message, told.error_message
        else:
            told = life.truth(life.hash, life.since)
            same(told.status, APPLIED, "the verdict")
        return "old"


PHASES = {p.name: p for p in (Apply(), Rollback(), Refusal(), Identity(), Start("first start"), Start("start"),
                              Start("start in a trial"))}

# ---- faults: what is done, and what must not be seen of it

ERRORS = ("EIO", "ENOSPC", "EROFS", "EMFILE", "EINTR")
INVISIBLE = ("EINTR", "short")
# those that no kernel interrupts, and those before confd has a loop of its own (libc's loader)
NEVER_INTERRUPTED = {"mmap", "munmap", "mprotect", "mremap", "brk", "madvise", "fcntl", "fstat", "newfstatat", "prctl",
                     "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "rt_sigaction", "rt_sigprocmask",
                     "epoll_create1", "epoll_ctl", "eventfd2", "timerfd_create", "getpid", "getuid", "geteuid", "getgid", "getegid",
                     "getresuid", "getresgid", "setgroups", "setresuid", "setresgid", "capget", "capset", "seccomp", "umask",
                     "chdir", "fchdir", "access", "getsockopt", "setsockopt", "landlock_create_ruleset", "landlock_add_rule",
                     "landlock_restrict_self", "unshare", "mount", "umount2", "pivot_root", "close_range", "clock_gettime", "uname",
                     "gettid", "tgkill", "getppid", "sysinfo", "setns", "pipe2", "sethostname", "readlink", "readlinkat", "getrandom",
                     "memfd_create", "statfs", "fstatfs", "socketpair", "dup", "dup2", "dup3", "mount_setattr", "chroot", "getcwd"}


def spec(how, number):
    return {"count": ["count"], "kill": ["kill", number], "killall": ["hold", number],
            "short": ["short", number]}.get(how) or (["failon", number, how[3:]] if how.startswith("on ") else ["fail", number, how])


class Workshop:
    """Lives, kept from cell to cell: one for what is done while the daemon runs, one for each kind of start."""

    def __init__(self, user):
        self.user = user
        self.lives = {}
        self.hit = (None, 0, {})

    def life(self, phase):
        key = None if phase.live else phase.name
        life = self.lives.get(key)
        if life is None:
            life = self.lives[key] = Life(self.user)
            life.__enter__()
            life.first()
            if not phase.live:
                phase.make(life)
        return life

    def drop(self, phase, error=None):
        """Its life, whose logs are shown when there was an error."""
        life = self.lives.pop(None if phase.live else phase.name, None)
        if life is not None:
            life.__exit__(type(error) if error else None, error, None)

    def end(self):
        for life in list(self.lives.values()):
            life.__exit__(None, None, None)
        self.lives = {}

    def cell(self, phase, how, number):
        """Gives (the call that was hit or None, what came of it, number of calls, calls by name)."""
        life = self.life(phase)
        if phase.live:
            return self.live(life, phase, how, number)
        return self.start(life, phase, how, number)

    def live(self, life, phase, how, number):
        if life.deaths() >= 3 or life.uids >= 8:
            life.kill_all()
            life.begin()
            life.settled(life.name)
        mark = life.it.mark()
        pid = life.confd()
        phase.prepare(life)
        tracer = Tracer("live", pid, *spec(how, number)).ready()
        try:
            phase.act(life)
            until(lambda: tracer.hit() or phase.over(life), SECONDS, f"{phase.name} to be over")
            if not tracer.hit():
                time.sleep(0.1)  # what confd still does after the server has heard everything
            if how == "killall" and tracer.hit():
                life.kill_all(tracer)
                life.begin()
                mark = 0
            elif how.startswith("on ") and tracer.hit():
                life.truth(life.new_hash, life.since)  # told while the disk is still broken
        finally:
            hit, count, calls = self.hit = tracer.end()
        return hit, self.judged(life, phase, how, hit, pid, mark, calls), count, calls

    def start(self, life, phase, how, number):
        phase.reset(life)
        tracer = life.begin(spec(how, number))
        try:
            until(lambda: tracer.hit() or phase.over(life), SECONDS, f"{phase.name} to be over")
            if not tracer.hit():
                time.sleep(0.1)
            pid = int(tracer.wait("exec")[1])
            if how == "killall" and tracer.hit():
                life.kill_all(tracer)
                life.begin()
        finally:
            hit, count, calls = self.hit = tracer.end()
        outcome = self.judged(life, phase, how, hit, pid, 0, calls)
        life.kill_all()
        return hit, outcome, count, calls

    @staticmethod
    def loading(hit, calls):
        """Before the first message of the parent is read: libc's loader is at work, which gives up at anything odd."""
        return "recvmsg" not in calls

    def judged(self, life, phase, how, hit, pid, mark, calls):
        if how.startswith("on ") and hit:
            told = life.truth(life.new_hash, life.since)
            same(life.confd(), pid, "confd's pid")
            life.good()  # nobody had to start anything anew
            life.uid_kept()
            life.nothing_lost(mark)
            return {APPLIED: "new", FAILED: "old"}[told.status]
        judged_as = how
        if hit and how in INVISIBLE and (hit[1] in NEVER_INTERRUPTED or not phase.live and self.loading(hit, calls)):
            judged_as = "odd"
        outcome = phase.judge(life, judged_as if hit else "count")
        if phase.name != "apply":
            life.good()
        life.uid_kept()
        life.nothing_lost(mark)
        now = life.confd()
        life.uids = life.uids + 1 if now == pid and phase.name == "identity" else 0
        if judged_as in INVISIBLE:
            same(now, pid, f"confd's pid after {how} of {hit}")
        return outcome if hit else "not reached"


# ---- sweeps

def work(user, cells, results):
    shop = Workshop(user)
    # what a bed says of its end is shown with the failure that it belongs to
    words = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
    os.dup2(words.fileno(), 1)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    starter = os.getppid()
    while os.getppid() == starter:
        cell = cells.get()
        if cell is None:
            break
        name, how, number = cell
        phase = PHASES[name]
        begun = time.monotonic()
        try:
            hit, outcome, count, calls = shop.cell(phase, how, number)
            results.put((name, how, number, hit, outcome, count, calls, "", time.monotonic() - begun))
        except BaseException as error:  # whatever it was is a failure of that cell
            why = traceback.format_exc()
            words.truncate(0)
            try:
                shop.drop(phase, error)
            except Exception:
                why += traceback.format_exc()
            sys.stdout.flush()
            words.seek(0)
            results.put((name, how, number, shop.hit[0], "FAILED", 0, {}, why + words.read(), time.monotonic() - begun))
    shop.end()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    results.put(sum(u.ru_utime + u.ru_stime for u in used))


def sweep(user, cells, workers):
    """cells: (phase, how, number).  Gives the results, as work() puts them, and the seconds of processor time."""
    context = multiprocessing.get_context("fork")
    todo, results = context.Queue(), context.Queue()
    for cell in list(cells) + [None] * min(workers, len(cells)):
        todo.put(cell)
    crew = [context.Process(target=work, args=(user, todo, results)) for _ in range(min(workers, len(cells)))]
    for one in crew:
        one.start()
    found, left, used = [], len(crew), 0.0
    while left:
        result = results.get(timeout=20 * SECONDS)
        if isinstance(result, float):
            left -= 1
            used += result
        else:
            found.append(result)
            bad = ": " + shown(result) if result[4] == "FAILED" else ""
            if bad or len(found) % 500 == 0:
                print(f"# {len(found)} of {len(cells)} points{bad}", flush=True)
    for one in crew:
        one.join()
    return found, used


# ---- what is tried of a phase, and how it is told

ROTATION = ("killall",) + ERRORS


def counted(user, workers=4, times=3):
    """{phase: (fewest calls, most calls, the first that concerns the disk, transfers, calls by name)}"""
    results, _ = sweep(user, [(name, "count", 0) for _ in range(times) for name in PHASES], workers)
    bad = [r for r in results if r[4] == "FAILED"]
    if bad:
        raise AssertionError(f"{bad[0][0]}, undisturbed: {bad[0][7]}")
    found = {}
    for name in PHASES:
        mine = [r for r in results if r[0] == name]
        calls = {call: max(r[6].get(call, (0, 0))[0] for r in mine) for r in mine for call in r[6]}
        found[name] = (min(r[5] for r in mine), max(r[5] for r in mine), min(r[6]["openat2"][1] for r in mine),
                       sum(calls.get(call, 0) for call in ("read", "write", "pread64", "pwrite64")), calls)
    return found


def shown(result):
    return f"{result[0]}, {result[1]} at {result[2]}, which was {result[3]}"


def told(results, name, hows):
    """(ok, text, lines about what failed) of the results of one phase."""
    mine = [r for r in results if r[0] == name and r[1] in hows]
    failed = [r for r in mine if r[4] == "FAILED"]
    reached = [r for r in mine if r[3] is not None]
    outcomes = {}
    for r in reached:
        if r[4] != "FAILED":
            outcomes[r[4]] = outcomes.get(r[4], 0) + 1
    text = f"{len(reached)} points ({', '.join(f'{n} {what}' for what, n in sorted(outcomes.items()))})"
    lines = []
    for r in failed[:8]:
        lines += ["# " + shown(r)] + ["#   " + line[:300] for line in r[7].splitlines()[-160:]]
    return not failed and reached, text, lines
