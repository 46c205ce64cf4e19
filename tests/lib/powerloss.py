"""Power lost at any moment of what the real confd does: its calls are recorded once, every disk that could be left
is made from them (crashstates.py), and each is looked at as a start of confd does; some by a whole daemon."""
import os
import random
import shutil
import subprocess
import tempfile
import time

import crashstates
from bed import BUILD
from faults import SECONDS, Life, Tracer
from opampserver import APPLIED, FAILED
from tap import until

HARMLESS = "one of the two records in the file state is damaged, as after a power loss; the other one counts"


def record(life, phase):
    """Runs the phase once, undisturbed.  Gives the disk with all that was done to it."""
    log = life.path("log-of-calls")
    if phase.live:
        phase.prepare(life)
        tracer = Tracer("live", life.confd(), "record", log).ready()
        disk = crashstates.Disk(life.storage())
        phase.act(life)
    else:
        phase.reset(life)
        if not os.path.isdir(life.storage()):  # the parent makes it, as it is to be
            life.begin()
            life.kill_all()
            for name in os.listdir(life.storage()):
                shutil.rmtree(life.storage(name), ignore_errors=True) if os.path.isdir(life.storage(name)) else \
                    os.unlink(life.storage(name))
        disk = crashstates.Disk(life.storage())
        tracer = life.begin(["record", log])
    until(lambda: phase.over(life), SECONDS, f"{phase.name} to be over")
    time.sleep(0.2)
    tracer.end()
    disk.read(log)
    disk.owner = (os.stat(life.storage()).st_uid, os.stat(life.storage()).st_gid)
    return disk


class Looker:
    """tests/tools/storelook at work."""

    def __init__(self, name="effective.yaml"):
        self.top = tempfile.mkdtemp(prefix="opampd-loss-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.process = subprocess.Popen([os.path.join(BUILD, "tools", "storelook"), name], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def look(self, disk, nodes):
        place = os.path.join(self.top, "state")
        disk.make(nodes, place)
        self.process.stdin.write(place + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        shutil.rmtree(place)
        words, _, told = line.rstrip("\n").partition("told=")
        found = dict(word.split("=") for word in words.split())
        found["told"] = told
        return found

    def end(self):
        self.process.stdin.close()
        self.process.wait(10)
        shutil.rmtree(self.top)


def judge(found, before, after, settled):
    """None, or what is wrong.  settled: all that the phase made durable was durable at that moment."""
    if "committed" not in found:
        return "it cannot be opened"
    if found["told"] not in ("", HARMLESS):
        return "it is not understood"
    if found["uid"] not in (before["uid"], after["uid"]):
        return "another instance uid"
    if found["committed"] not in (before["committed"], after["committed"]):
        return "neither the old configuration nor the new one is committed"
    if settled and any(found[key] != after[key] for key in ("committed", "phase", "status", "hash", "uid")):
        return "what was told to be done was lost"
    runs = {found["committed"]} | ({found["trial"]} if found["phase"] == "1" else set())
    if found["running"] not in runs and found["committed"] != "0":
        return "the agent's file is neither the committed nor the tried one"
    if runs - {"0"} - set(found["whole"].split(",")):
        return "a configuration is not whole"
    return None


def every_loss(disk):
    """Looks at each state.  Gives (how many, [(moment, state, why)], all the states)."""
    looker = Looker()
    try:
        all_done = {id(c) for c in disk.changes if not isinstance(c, tuple)}
        done = [c for c in disk.changes if not isinstance(c, tuple)]
        before, after = looker.look(disk, {}), looker.look(disk, disk.tree(done, all_done))
        last_sync = max((i for i, c in enumerate(disk.changes) if isinstance(c, tuple)), default=-1)
        bad, states = [], []
        for moment, nodes in disk.all_states():
            found = looker.look(disk, nodes)
            why = judge(found, before, after, moment > last_sync)
            states.append((moment, nodes))
            if why:
                bad.append((moment, found, why))
        return len(states), bad, states
    finally:
        looker.end()


def start_on(life, disk, nodes, names):
    """A whole daemon on this state: names: {configuration: its hash} of which one must run and be told."""
    shutil.rmtree(life.storage())
    disk.make(nodes, life.storage(), disk.owner)
    server = life.made_server
    server.assigned = None
    since = server.mark()
    life.begin()
    until(lambda: any(life.is_settled(name) for name in names), SECONDS, f"one of {list(names)} to run")
    name = next(name for name in names if life.is_settled(name))
    told = until(lambda: life.newest("remote_config_status"), SECONDS, "a status")
    until(lambda: life.newest("remote_config_status").status in (APPLIED, FAILED), SECONDS, "a verdict")
    told = life.newest("remote_config_status")
    if told.status == APPLIED and told.last_remote_config_hash != names[name]:
        raise AssertionError(f"{name} runs, but APPLIED is told of another one")
    if told.status == FAILED and "interrupted" not in told.error_message and told.last_remote_config_hash == names[name]:
        raise AssertionError(f"FAILED is told of what runs: {told.error_message}")
    life.it.agent(SECONDS)
    life.nothing_lost(but=HARMLESS)
    life.kill_all()
    assert server.mark() > since
    return name


def some(states, count, seed=2):
    return random.Random(seed).sample(states, min(count, len(states)))


def proof(user, phase, starts):
    """Everything of one phase; starts: so many states a whole daemon is started on (None: each).  Gives the figures."""
    life = Life(user)
    with life:
        life.first()
        if not phase.live:
            phase.make(life)
        names = {life.name: life.hash}
        disk = record(life, phase)
        most = max(len(disk.cut(moment)[1]) for moment in range(len(disk.changes) + 1))
        count, bad, states = every_loss(disk)
        if bad:
            raise AssertionError(f"{len(bad)} of {count} states: " + "\n".join(map(str, bad[:5])))
        text = f"{len(disk.changes)} changes, at most {most} of them in the air, {count} disks"
        if phase.name in ("apply", "rollback"):
            names[life.new] = life.new_hash
            life.kill_all()
            tried = [start_on(life, disk, nodes, names) for _, nodes in some(states, starts or len(states))]
            text += f"; a whole daemon on {len(tried)} of them: {tried.count(life.name)} ran the old, the others the new"
        return text
