"""Faults in the system calls by which the real opamphub-store changes its disk (tests/tools/faults.c), in a whole hub
at work, and power lost at any moment of them.

A phase is something that operators and agents do, as steps; a step is done when the hub has answered so.  A cell is one
phase with one fault at one of these calls.  After each the same judge looks: the store opens and is sound, it holds what
it held after the last step that was answered, or after the one that was under way, and nothing between; and the rest of
the steps can be done then, with the very result of a life without a fault.
"""
import http.client
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import traceback

import crashstates
import proc
from faults import STOPPED, Tracer
from hub_bed import APPLIED, APPLYING, BUILD, USUAL, Closed, Hub, opamp
from tap import same, until

SECONDS = 40
UID = bytes(range(16))
STORE = "opamphub-store"
FILES = {"": {"content_type": "text/yaml", "body": "receivers:\n  " + "x" * 9000 + ": {}\n"}}  # of more than one page
CHECKPOINT_AT = 1000  # frames of the log, in SQLite

# kill: the store.  killall: the whole hub.  An error: that call only.  on ERROR: and all later ones, until looked at.
HOWS = ("kill", "killall", "EIO", "ENOSPC", "EINTR", "short", "on EIO", "on ENOSPC")


def spec(how, number):
    return ["disk"] + ({"count": ["count"], "kill": ["kill", number], "killall": ["hold", number],
                        "short": ["short", number]}.get(how) or
                       (["failon", number, how[3:]] if how.startswith("on ") else ["fail", number, how]))


class Refused(Exception):
    """The hub answered that it could not."""


LOST = (OSError, http.client.HTTPException, Closed)  # no answer: the store is gone


class Looker:
    """tests/tools/hublook at work."""

    def __init__(self):
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.top = tempfile.mkdtemp(prefix="opamphub-look-", dir=shm)
        self.process = subprocess.Popen([os.path.join(BUILD, "tools", "hublook")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def place(self):
        return os.path.join(self.top, "store")

    def look(self):
        """What is at place(), which is gone then."""
        self.process.stdin.write(self.place() + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().strip()
        shutil.rmtree(self.place())
        return line

    def end(self):
        self.process.stdin.close()
        self.process.wait(10)
        shutil.rmtree(self.top)


class Life:
    """A hub for many cells, each begun on a copy of what the phase begins with."""

    def __init__(self):
        self.hub = Hub()
        self.looker = Looker()
        self.agent = None
        self.said = None  # (hash, status) that the agent told last
        self.template = None
        self.results = []  # what the store holds after each step, no fault having come

    def end(self):
        self.leave()
        self.hub.close()
        self.looker.end()

    # ---- what operators and agents do

    def request(self, method, path, body=None, want=201):
        status, _, data = self.hub.request(method, "/api/v1/" + path, body)
        if status == want:
            return json.loads(data) if data else None
        what = json.loads(data)["error"]["what"]
        if status != 500 or not what:
            raise AssertionError(f"{method} {path}: {status} {what}")
        raise Refused(what)

    def join(self):
        """The agent connects, and tells everything."""
        self.leave()
        self.agent = self.hub.agent(uid=UID, capabilities=USUAL, name="one", attributes={"host.name": "h"})
        status = opamp.RemoteConfigStatus()
        if self.said:
            status = opamp.RemoteConfigStatus(last_remote_config_hash=self.said[0], status=self.said[1])
        answer = self.agent.hello(remote_config_status=status)
        assert not answer.HasField("error_response"), answer
        return answer

    def joined(self):
        """It is connected; what it was told when it came, or None."""
        if self.agent is not None and self.agent.socket is not None:
            return None
        return self.join()

    def leave(self):
        if self.agent is not None:
            self.agent.close()
            self.hub.agents.remove(self.agent)
        self.agent = None

    def tell(self, config_hash, status):
        # before it is answered: if the answer is lost it says the same again when it comes back
        self.said = (config_hash, status)
        answer = self.joined() or self.agent.config_status(config_hash, status)
        assert not answer.HasField("error_response"), answer

    # ---- lives and ends

    def kill_all(self, tracer=None):
        """As a power cut ends processes."""
        # a store that sees its parent die ends in order, if it is let; a parent that sees its store die starts another
        self.hub.process.send_signal(signal.SIGSTOP)
        pids = proc.children_at_a_glance(self.hub.process.pid)
        for pid in pids:
            proc.kill(pid)
        self.hub.process.kill()
        if tracer is not None:
            tracer.end()
        self.hub.process.wait(SECONDS)
        until(lambda: not any(proc.alive(pid) for pid in pids), SECONDS, "the hub's processes to have ended")
        self.leave()
        self.hub.stop()

    def begin(self, *traced):
        """Starts the hub; traced: words for the tracer of its store, which is given back."""
        self.hub.wrapper = STOPPED if traced else []
        self.hub.start(ready=not traced)
        if not traced:
            return None
        pid = self.hub.process.pid
        until(lambda: proc.status(pid).get("State", "?")[0] == "T", SECONDS, "the hub to wait for its tracer")
        tracer = Tracer("next", pid, STORE, *traced).ready()
        self.hub.process.send_signal(signal.SIGCONT)
        return tracer

    def put(self, template):
        if os.path.exists(self.hub.store):
            subprocess.run(["rm", "-rf", self.hub.store], check=True)
        if template:
            subprocess.run(["cp", "-a", template, self.hub.store], check=True)
        self.said = None

    def make(self, phase):
        """What the phase begins with."""
        self.kill_all()
        self.put(None)
        if phase.nothing:
            return
        self.begin()
        phase.fill(self)
        self.kill_all()
        self.template = os.path.join(self.hub.work, "template")
        shutil.rmtree(self.template, ignore_errors=True)
        subprocess.run(["cp", "-a", self.hub.store, self.template], check=True)

    def serves(self):
        try:
            return self.hub.request("GET", "/api/v1/configurations")[0] == 200
        except LOST:
            return False

    def look(self):
        """What the store would hold if everything were ended now.  No step is under way."""
        shutil.copytree(self.hub.store, self.looker.place())
        return self.looker.look()

    def log(self):
        return self.hub.log()[self.hub.mark:]


# ---- phases

class Phase:
    live = True  # the fault comes to a store at work, not to one that starts
    nothing = False  # it begins with no store at all

    def fill(self, life):
        """Makes what the phase begins with."""

    def before(self, life):
        """On each life, before the fault is put in."""

    steps = ()


class FirstReport(Phase):
    """An agent that nobody knew."""
    name = "an agent's first report"

    def fill(self, life):
        life.request("GET", "configurations", want=200)

    def hello(self, life):
        life.join()

    def more(self, life):
        life.joined()
        e = opamp.EffectiveConfig()
        e.config_map.config_map[""].body = b"y: 1\n" * 2000
        answer = life.agent.say(effective_config=e)
        assert not answer.HasField("error_response"), answer

    steps = (hello, more)


class Change(Phase):
    """A configuration is made, and the agent applies it."""
    name = "a configuration change"
    hash = None

    def fill(self, life):
        life.join()

    def before(self, life):
        life.join()

    def configuration(self, life):
        same(life.request("POST", "configurations", {"name": "new"})["id"], 1, "its id")

    def version(self, life):
        same(life.request("POST", "configurations/1/versions", {"files": FILES})["id"], 1, "its id")

    def assignment(self, life):
        same(life.request("POST", "assignments", {"version": 1, "selector": ""})["id"], 1, "its id")

    def applying(self, life):
        answer = life.joined()
        if answer is not None and life.said:
            return  # it was told again
        while answer is None or not answer.HasField("remote_config"):
            answer = life.agent.receive(SECONDS)
        same(answer.remote_config.config.config_map[""].body.decode(), FILES[""]["body"], "what is offered")
        self.hash = answer.remote_config.config_hash
        life.tell(self.hash, APPLYING)

    def applied(self, life):
        life.tell(self.hash, APPLIED)

    steps = (configuration, version, assignment, applying, applied)


class AtCheckpoint(Change):
    """The same, while SQLite's log is full: what is in it is written into the database."""
    name = "the same with a full log"

    def fill(self, life):
        life.join()
        wal = os.path.join(life.hub.store, "hub.db-wal")
        number = 0
        # up to the change, not into it
        while os.stat(wal).st_size < (CHECKPOINT_AT - 24) * 4120:
            number += 1
            life.agent.say(health=opamp.ComponentHealth(healthy=True, status=f"{number:04d}"))


class Deletions(Phase):
    """Everything is taken away again."""
    name = "deletions"

    def fill(self, life):
        life.join()
        life.request("POST", "configurations", {"name": "new"})
        for _ in range(2):
            life.request("POST", "configurations/1/versions", {"files": FILES})
        life.request("POST", "assignments", {"version": 1, "selector": "host.name=h"})
        life.request("POST", "settings-offers", {"selector": "host.name=h", "settings": {"opamp": {"heartbeat_seconds": 20}}})

    def other(self, life):
        life.request("POST", "assignments", {"version": 2, "agent": "00010203-0405-0607-0809-0a0b0c0d0e0f"})

    def assignment(self, life):
        life.request("DELETE", "assignments/1", want=204)

    def configuration(self, life):
        life.request("DELETE", "configurations/1", want=204)

    def settings(self, life):
        life.request("DELETE", "settings-offers/1", want=204)

    def agent(self, life):
        life.request("DELETE", "agents/00010203-0405-0607-0809-0a0b0c0d0e0f", want=202)

    steps = (other, assignment, configuration, settings, agent)


class Start(Phase):
    """The hub is started."""
    live = False

    def __init__(self, name, nothing):
        self.name, self.nothing = name, nothing

    def fill(self, life):
        Deletions.fill(self, life)


class End(Phase):
    """The hub is ended in order: its log goes into the database, and is gone."""
    name = "the end"

    def fill(self, life):
        Deletions.fill(self, life)

    def end(self, life):
        life.hub.process.send_signal(signal.SIGTERM)
        life.hub.process.wait(SECONDS)

    steps = (end,)


PHASES = {p.name: p for p in (FirstReport(), Change(), AtCheckpoint(), Deletions(), Start("a first start", True),
                              Start("a start after a kill", False), End())}


# ---- one cell

class Steps(threading.Thread):
    """The steps of a phase from one on; done: how many are, of all."""

    def __init__(self, life, phase, done=0):
        super().__init__(daemon=True)
        self.life, self.phase, self.done, self.error = life, phase, done, None
        self.why = None  # of a step that was not done
        self.noted = []
        self.start()

    def run(self):
        try:
            for step in self.phase.steps[self.done:]:
                step(self.phase, self.life)
                self.done += 1
                self.after()
        except Refused as why:
            self.why = f"refused: {why}"
        except LOST as why:
            self.why = f"lost: {why!r}"
        except BaseException as error:
            self.error = error

    def after(self):
        pass

    def over(self):
        self.join(SECONDS)
        assert not self.is_alive(), f"step {self.done + 1} does not end"
        if self.error:
            raise self.error
        return self


def undisturbed(life, phase):
    """What the store holds after each step, and how many calls that change the disk there are in all."""
    results = []

    class Looking(Steps):
        def after(self):
            time.sleep(0.05)  # what it still writes about what it sent
            results.append(self.life.look())

    life.put(life.template)
    if not phase.live:
        tracer = life.begin(*spec("count", 0))
        until(life.serves, SECONDS, "the hub to serve")
        results.append(life.look())
    else:
        life.begin()
        phase.before(life)
        results.append(life.look())
        tracer = Tracer("live", life.hub.children()["store"], *spec("count", 0)).ready()
        Looking(life, phase).over()
    count = tracer.end()[1]
    life.kill_all()
    assert all(r.startswith("whole") for r in results), results
    return results, count


def live(life, phase, how, number):
    """Gives (the call that was hit or None, how many steps were answered, why the next was not, the store's pid)."""
    life.begin()
    phase.before(life)
    store = life.hub.children()["store"]
    tracer = Tracer("live", store, *spec(how, number)).ready()
    steps = Steps(life, phase)
    try:
        until(lambda: not steps.is_alive() or tracer.hit() and how == "killall", SECONDS, "the phase to be over")
        if how == "killall" and tracer.hit():
            life.kill_all(tracer)
    finally:
        hit = tracer.end()[0]
    steps.over()
    return hit, steps.done, steps.why, store


def started(life, how, number):
    tracer = life.begin(*spec(how, number))
    try:
        # a store that is held answers nothing: what the parent logs is looked at
        until(lambda: tracer.hit() or "page: http" in life.log(), SECONDS, "the hub to be ready")
        if how == "killall" and tracer.hit():
            life.kill_all(tracer)
        else:
            until(lambda: life.hub.process.poll() is not None or life.serves(), SECONDS, "the hub to serve or to end")
    finally:
        hit = tracer.end()[0]
    return hit, 0, None, None


def cell(life, phase, how, number):
    """Gives (hit or None, what came of it)."""
    life.put(life.template)
    hit, done, why, store = live(life, phase, how, number) if phase.live else started(life, how, number)
    ended = life.hub.process.poll() is not None
    log = life.log()
    if hit and how not in ("kill", "killall", "short") and (why or ended and phase.name != "the end"):
        assert "error" in log or "fatal" in log, f"nothing was logged; {why}\n{log}"
    if hit and how == "short":
        assert why is None and not (ended and phase.name != "the end"), f"a short write was told: {why}"
    if hit and ended and not phase.live and how != "killall":
        same(life.hub.process.returncode, 1, "the status of a first start that failed")
        assert how != "kill" and life.hub.store in log.splitlines()[0], log
    if not hit and phase.name != "the end":
        same((done, why, ended), (len(phase.steps), None, False), "a phase without a fault")
    if not ended:
        until(life.serves, SECONDS, "the hub to serve again")
    found = life.look()
    allowed = life.results[done:done + 2]
    assert found in allowed, f"after {done} steps ({why}) it holds\n{found}\nand not one of\n" + "\n".join(allowed)
    new = found == life.results[-1] if done == len(phase.steps) else found != life.results[done]
    # what a store that lives has undone a new one would find all the same, if it was written before the error
    if ended:
        life.kill_all()
        life.begin()
    elif life.hub.children().get("store") != store:
        life.leave()
    else:
        new = False
    go_on(life, phase, done + (new and done < len(phase.steps)))
    life.kill_all()
    return hit, "all done" if done == len(phase.steps) else "the new" if new else "the old"


def go_on(life, phase, done):
    """The rest of the steps can be done, with the same result."""
    if phase.name == "the end":
        return
    rest = Steps(life, phase, done).over()
    same((rest.done, rest.why), (len(phase.steps), None), "the rest of the steps")
    time.sleep(0.05)
    same(life.look(), life.results[-1], "what the store holds at last")


# ---- many cells

def work(cells, results):
    life, before = None, None
    starter = os.getppid()
    while os.getppid() == starter:
        todo = cells.get()
        if todo is None:
            break
        name, how, number = todo
        begun = time.monotonic()
        try:
            if life is None or before != name:
                if life is not None:
                    life.end()
                life, before = Life(), name
                life.make(PHASES[name])
                life.results, life.count = undisturbed(life, PHASES[name])
            if how == "count":
                results.put((name, how, number, None, "", life.count, "", time.monotonic() - begun))
                continue
            hit, outcome = cell(life, PHASES[name], how, number)
            results.put((name, how, number, hit, outcome, life.count, "", time.monotonic() - begun))
        except BaseException:  # whatever it was is a failure of that cell
            why = traceback.format_exc()
            if life is not None:
                why += life.log()[-4000:]
                life.end()
            life = None
            results.put((name, how, number, None, "FAILED", 0, why, time.monotonic() - begun))
    if life is not None:
        life.end()
    results.put(None)


def sweep(cells, workers):
    """cells: (phase, how, number).  Gives the results, as work() puts them."""
    context = multiprocessing.get_context("fork")
    todo, results = context.Queue(), context.Queue()
    workers = min(workers, len(cells))
    for one in list(cells) + [None] * workers:
        todo.put(one)
    crew = [context.Process(target=work, args=(todo, results)) for _ in range(workers)]
    for one in crew:
        one.start()
    found, left = [], workers
    while left:
        result = results.get(timeout=20 * SECONDS)
        if result is None:
            left -= 1
        else:
            found.append(result)
    for one in crew:
        one.join()
    return found


def told(results, name, hows):
    """(ok, text, lines about what failed) of the results of one phase."""
    mine = [r for r in results if r[0] == name and r[1] in hows]
    failed = [r for r in mine if r[4] == "FAILED"]
    reached = [r for r in mine if r[3] is not None]
    outcomes = {}
    for r in reached:
        outcomes[r[4]] = outcomes.get(r[4], 0) + 1
    calls = {}
    for r in reached:
        calls[r[3][1]] = calls.get(r[3][1], 0) + 1
    text = f"{len(reached)} points ({', '.join(f'{n} {what}' for what, n in sorted(outcomes.items()))}; " \
        f"{', '.join(f'{n} {what}' for what, n in sorted(calls.items()))})"
    lines = []
    for r in failed[:5]:
        lines += [f"# {r[0]}, {r[1]} at {r[2]}"] + ["#   " + line[:400] for line in r[6].splitlines()[-60:]]
    return not failed and bool(reached), text, lines


# ---- power lost at any moment

# in every way up to so many changes in the air, of more by chance so many times
LOSSES = {"a configuration change": (7, 60), "deletions": (7, 30), "an agent's first report": (7, 60),
          "a first start": (7, 30), "a start after a kill": (7, 60), "the end": (7, 30)}


def record(life, phase, log):
    """Runs the phase once.  Gives the disk with all that was done to it, and how many changes there were at each step's end."""
    marks = []

    class Marking(Steps):
        def after(self):
            with open(log, "rb") as f:
                marks.append(f.read().count(b"\n"))

    life.put(life.template)
    if phase.live:
        life.begin()
        phase.before(life)
        time.sleep(0.1)
        tracer = Tracer("live", life.hub.children()["store"], "record", log).ready()
        disk = crashstates.Disk(life.hub.store)
        Marking(life, phase).over()
        time.sleep(0.1)
    else:
        if phase.nothing:  # the parent makes it
            life.begin()
            life.kill_all()
            for name in os.listdir(life.hub.store):
                os.unlink(os.path.join(life.hub.store, name))
        disk = crashstates.Disk(life.hub.store)
        tracer = life.begin("record", log)
        until(life.serves, SECONDS, "the hub to serve")
    tracer.end()
    life.kill_all()
    disk.read(log)
    return disk, [disk.lines[mark] for mark in marks]


def every_loss(name):
    """Looks at each disk that a power loss or a kill could leave.  Gives (how many, changes, most in the air, what is bad)."""
    phase, life = PHASES[name], Life()
    try:
        life.make(phase)
        results, _ = undisturbed(life, phase)
        disk, marks = record(life, phase, os.path.join(life.hub.work, "calls"))
        disk.most_all, disk.some = LOSSES[name]
        disk.few, disk.sparse = 1, not os.environ.get("FULL")
        place, known, bad, count = life.looker.place(), {}, [], 0
        for moment, nodes in disk.all_states():
            count += 1
            key = disk.key(nodes)
            if key not in known:
                disk.make(nodes, place)
                known[key] = life.looker.look()
            done = sum(mark <= moment for mark in marks) if phase.steps and phase.name != "the end" else 0
            allowed = results[done:done + 2]
            if known[key] not in allowed:
                bad.append(f"change {moment} of {len(disk.changes)}, after {done} steps: {known[key]}, not {allowed}")
        most = max(len(disk.cut(moment)[1]) for moment in range(len(disk.changes) + 1))
        return count, len(disk.changes), most, bad
    finally:
        life.end()


def losses(workers):
    """every_loss of each, in their order."""
    with multiprocessing.get_context("fork").Pool(min(workers, len(LOSSES))) as pool:
        return pool.map(every_loss, LOSSES, 1)
