"""What a process that was taken over can say to the real others, and what must hold whatever it says: used by taken_acts.py."""
import array
import os
import random
import signal
import socket
import struct
import tempfile
import time

import privsep
import proc
import taken
from bed import BUILD, ROOT
from messages_table import DAEMONS, legal
from tap import same, until
from taken import BARRIER, CONTENT, NEIGHBOURS, TYPE, Case, World, head, memory, plain

# a sanitizer keeps what was freed, to see whether it is used again
SANITIZED = "san" in os.path.basename(os.environ.get("O", ""))
GROWTH_KIB = 65536 if SANITIZED else 2048     # private memory of a process, before and after thousands of attacks
GROWTH_FDS = 0        # its descriptors
TOKEN = "bearer-token-that-nobody-may-see"
PASSWORD = "exporter-password-that-nobody-may-see"

GENERIC = {"agent": {"type": "generic", "args": ["--config", "/dev/null"]}}
SECRETS = {"server": {"headers": {"Authorization": TOKEN}}}


class Tally:
    """What was sent, and what became of it."""

    def __init__(self):
        self.refused = {}
        self.taken = 0

    def count(self, rule):
        if rule is None:
            self.taken += 1
        else:
            self.refused[rule] = self.refused.get(rule, 0) + 1

    def add(self, other):
        self.taken += other.taken
        for rule, n in other.refused.items():
            self.refused[rule] = self.refused.get(rule, 0) + n

    def __str__(self):
        return f"{self.taken} taken, " + ", ".join(f"{n} x {rule}" for rule, n in sorted(self.refused.items()))


def attack(w, sender, receiver, case, tally, may=()):
    """One message in one life.  It is judged as the table says, and the sender is ended."""
    for _ in range(5):
        try:
            return attack_once(w, sender, receiver, case, tally, may)
        except (privsep.Gone, BrokenPipeError, ConnectionResetError):
            continue  # this life was over before: the parent has ended it for what the neighbour did
    raise AssertionError(f"{sender} to {receiver}: {case.what}: in five lives the sender was ended, and {receiver} never said for what")


def attack_once(w, sender, receiver, case, tally, may):
    s = w.standin(sender)
    channel = s.channel(receiver)
    w.hasten()
    mark = w.daemon.mark()
    case.send(channel)
    if case.expected is None:
        try:
            channel.sock.send(head(BARRIER, 0))
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused, and its channel is closed already
    what = f"{sender} to {receiver}: {case.what}"
    reporter = "opampd" if receiver == "parent" else receiver
    end = time.monotonic() + 20
    while not s.ended(0.5):
        if taken.hung_up(channel.sock) and not any(f" {reporter}: {sender} sent " in line for line in w.daemon.log(mark)):
            raise privsep.Gone()  # the receiver was at its end when this came: the next one hears it
        assert time.monotonic() < end, f"{what}: the sender was not ended"
    try:
        line = w.daemon.wait_log(f" {reporter}: {sender} sent ", since=mark)
    except AssertionError as e:  # ended for what a neighbour did, before this was read: another life shows it, or none does
        raise privsep.Gone() from e
    rule, named = line.split(" sent ", 1)[1].rsplit(" (", 1)
    if case.expected is None and rule == TYPE and named == "no message of the table)":
        rule = None
    if rule != case.expected and rule not in may:
        raise AssertionError(f"{what}: expected {case.expected or 'that it is taken'}, and the log says: {line}")
    tally.count(rule)


def share_of(cases, share, seed):
    """All, or a sample that is another one for each seed."""
    cases = list(cases)
    if share >= 1:
        return cases
    picked = set(random.Random(seed).sample(range(len(cases)), max(1, int(len(cases) * share))))
    return [c for i, c in enumerate(cases) if i in picked or c.always]


def structure_cases(sender, receiver):
    yield from taken.type_cases(sender, receiver)
    for rule in legal(sender, receiver):
        yield from taken.size_cases(rule)
        yield from taken.descriptor_cases(rule, receiver)


def content_cases(sender, receiver):
    """Well formed: fields, tails and blobs at their edges.  Taken, or refused for what it says."""
    for rule in legal(sender, receiver):
        kinds = taken.right(rule)
        for i, payload in enumerate(taken.field_payloads(rule)):
            case = Case(f"{rule.name} {payload.hex()}", plain(rule, payload), None, kinds)
            case.always = i == 0  # no row is left out of a sample
            yield case
        if rule.tail:
            for tail in (*taken.TAIL_EDGES, b"x" * rule.tail, bytes(rule.tail)):
                yield Case(f"{rule.name} tail {tail[:16]}", plain(rule, None, tail), None, kinds)
        if rule.fd == "FD_MEMFD":
            for blob in taken.blobs():
                for fill in (0, 1):
                    payload = b"".join(fill.to_bytes(width, "little") for _, width in rule.fields)
                    yield BlobCase(f"{rule.name} blob {blob[:16].hex()}", plain(rule, payload), None, blob)


class BlobCase(Case):
    def __init__(self, what, data, expected, blob):
        super().__init__(what, data, expected)
        self.blob = blob

    def send(self, channel, flags=0):
        fd = privsep.memfd(self.blob)
        try:
            channel.sock.sendmsg([self.data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        finally:
            os.close(fd)


# ---- a world, and what holds in it whatever was sent

def setting_of(sender):
    over = {**SECRETS, "agent": {"env": {"EXPORTER_PASSWORD": PASSWORD}}}
    if sender in ("link", "confd", "procd"):
        over["agent"] = {**over["agent"], **GENERIC["agent"]}
    return over


def start_agent(w, sender):
    """The agent runs: by the real confd's decision, or the stand-in has it run."""
    if sender in DAEMONS:
        s = w.standin(sender)
    if sender == "confd":
        s.send("procd", "PROC_RUN", struct.pack("=IIQQ", privsep.E["RUN_ENSURE"], 0, 1, 1))
    elif sender == "procd":
        s.send("parent", "AGENT_START", struct.pack("=IIQ", privsep.E["AGENT_RUN"], 0, 1))
    return w.daemon.agent()


def settled(w, sender):
    """Every process that is ours is there, in its sandbox, with a stand-in that has all its channels."""
    pids = {"parent": w.daemon.pid}
    for peer in NEIGHBOURS[sender] if sender in DAEMONS else ():
        w.standin(sender).channel(peer)
    for name in DAEMONS:
        if name not in w.taken:
            pids[name] = w.daemon.child(name, 30)
    return pids


def memories(w, sender):
    """As they are when nothing changes any more."""
    last = None
    for _ in range(100):
        now = {name: memory(pid) for name, pid in settled(w, sender).items()}
        if last is not None and {n: f for n, (_, f) in now.items()} == {n: f for n, (_, f) in last.items()}:
            return now
        last = now
        time.sleep(0.05)
    return now


def no_growth(before, after, what, spare=0):
    for name, (kib, fds) in after.items():
        if name in before:
            assert kib - before[name][0] <= GROWTH_KIB, f"{what}: {name} grew by {kib - before[name][0]} KiB"
            assert fds - before[name][1] <= GROWTH_FDS + spare, f"{what}: {name} has {fds} descriptors, it had {before[name][1]}"


def quiet_memories(w, sender, before, what, spare=0):
    """After the last attack everything that was in flight has to be gone."""
    def look():
        w.tend()
        now = memories(w, sender)
        try:
            no_growth(before, now, what, spare)
        except AssertionError as e:
            look.why = str(e)
            return None
        return now
    try:
        return until(look, 10, "the memory that there was")
    except AssertionError:
        raise AssertionError(look.why) from None


def no_secret(w):
    text = "\n".join(w.daemon.log())
    for secret in (TOKEN, PASSWORD):
        assert secret not in text, "a secret is in the log"


def answers(w):
    """opampctl still gets its answer (where confd is ours)."""
    if "confd" not in w.taken:
        code, out, err = w.bed.ctl("status", check=False)
        same(code in (0, 1, 3), True, f"opampctl status: exit {code} {out} {err}")


def files_outside(w):
    """What lies outside confd's directory and is nobody else's to write either."""
    found = {}
    for top, dirs, names in os.walk(w.bed.dir):
        if top == w.bed.path("var"):
            dirs[:] = [d for d in dirs if d not in ("state", "log", "work")]
        for name in dirs + names:
            st = os.lstat(os.path.join(top, name))
            found[os.path.join(top, name)] = (st.st_mode, st.st_uid, st.st_gid, st.st_size, st.st_mtime_ns if name in names else 0)
    return found


def as_peer(sender, receiver, share, tally, watch=None, user="root"):
    """All of it from one sender to one receiver."""
    with World((sender,), setting_of(sender), user) as w:
        agent = start_agent(w, sender)
        pids = settled(w, sender)
        if watch is not None and "confd" in pids:
            watch.confd(pids["confd"], w.bed.storage())
        outside = files_outside(w)
        stay = {n: p for n, p in pids.items() if n == "parent" or n != receiver or receiver in ("confd", "procd")}
        for case in share_of(structure_cases(sender, receiver), 0.02, "warm"):
            attack(w, sender, receiver, case, Tally())
        before = memories(w, sender)
        for case in share_of(structure_cases(sender, receiver), share, f"{sender}{receiver}"):
            attack(w, sender, receiver, case, tally)
        same(w.daemon.agent(), agent, "the agent's pid")
        quiet_memories(w, sender, before, f"{sender} to {receiver}")
        after = settled(w, sender)
        same({n: after[n] for n in stay}, stay, "the processes that broke no rule")
        attack_many(w, sender, receiver, share_of(content_cases(sender, receiver), share, f"{sender}{receiver}"), tally)
        quiet_memories(w, sender, before, f"{sender} to {receiver}, contents")
        answers(w)
        no_secret(w)
        same(files_outside(w), outside, "files outside confd's directory")
        only_the_command(w, sender)
        same(w.daemon.process.poll(), None, "the parent's end")
        if watch is not None:
            watch.pids.discard(pids.get("confd"))  # the number will be another's


def attack_many(w, sender, receiver, cases, tally):
    """Each is taken or refused for what it says.  Where the receiver ends as well and is slow to come back, many in one
    life: those that are taken cannot be told from each other, and of those that are refused halves are tried."""
    if receiver not in ("netd", "link"):
        for case in cases:
            attack(w, sender, receiver, case, tally, (CONTENT, taken.SIZE))
        return
    heaps = [cases[i:i + 16] for i in range(0, len(cases), 16)]
    while heaps:
        heap = heaps.pop()
        mine = Tally()
        attack(w, sender, receiver, Heap(heap), mine, (CONTENT, taken.SIZE))
        if mine.taken:
            tally.taken += len(heap)
        elif len(heap) == 1:
            tally.count(next(iter(mine.refused)))
        else:
            heaps += [heap[:len(heap) // 2], heap[len(heap) // 2:]]


class Heap:
    expected = None

    def __init__(self, cases):
        self.cases = cases
        self.what = f"{len(cases)} from {cases[0].what}"

    def send(self, channel):
        for case in self.cases:
            try:
                case.send(channel)
            except (BrokenPipeError, ConnectionResetError):
                return  # one of those before was refused


def only_the_command(w, sender):
    """Whatever was asked for: what runs as the agent is the settings' command."""
    want = [w.bed.agent] + (GENERIC["agent"]["args"] if sender in ("link", "confd", "procd") else ["--config", w.bed.storage("agent", "effective.yaml")])
    for pid in w.daemon.agents():
        got = [a for a in proc.arguments(pid) if not a.startswith("--feature-gates=")]
        same(got[1:len(want)], want[1:], "the agent's arguments")


DIRECTIONS = [(s, r) for s in DAEMONS for r in ("parent", *NEIGHBOURS[s])]


# ---- the one-shots

def one_shot(name, share, tally):
    """connect, which reads what name servers say, and merge, which reads YAML: taken over, to the parent."""
    asker = {"connect": "netd", "merge": "confd"}[name]
    with World((asker, name), setting_of(asker)) as w:
        start_agent(w, asker)
        agent = w.daemon.agent() if asker == "confd" else None
        pids = settled(w, asker)
        w.asker = asker
        cases = list(structure_cases(name, "parent")) + list(content_cases(name, "parent"))
        before = None
        for i, case in enumerate(share_of(cases, share, name)):
            attack(w, name, "parent", case, tally, (CONTENT,) if case.expected is None else ())
            assert w.standin(asker).turn(), f"{asker}, who asked, was ended"
            if i == 20:
                before = memories(w, asker)
        same(settled(w, asker), pids, "the processes that broke no rule")
        if agent is not None:
            same(w.daemon.agent(), agent, "the agent's pid")
        quiet_memories(w, asker, before, f"{name} to parent")
        no_secret(w)
        got = {m.type for m in w.standin(asker).seen}
        answered = {"connect": {"CONNECT_DONE", "CONNECT_FAILED"}, "merge": {"MERGE_RESULT"}}[name]
        assert got & answered, f"{asker} got no answer: {got}"


def settings_reader(tally):
    """The merge that reads the settings at a reload, taken over: what it says of them is taken or refused; the daemon lives."""
    with World(("confd", "merge"), setting_of("confd")) as w:
        start_agent(w, "confd")
        agent = w.daemon.agent()
        w.bed.write("relay.settings", "")
        sections = [privsep.memfd(b) for b in (b"", b"\xff" * 64, privsep.record([(1, "x")]))]
        for blob in sections:
            mark = w.daemon.mark()
            w.daemon.signal(signal.SIGHUP)
            s = w.standin("merge", ask=False)
            for number in range(0, 10):
                s.parent.send("MERGE_SECTION", struct.pack("=I", number), fd=os.dup(blob))
            s.parent.send("MERGE_ANSWER", struct.pack("=IIIi", 0, 0, 1, 0), fd=os.dup(blob))
            s.close()
            w.daemon.wait_log("the settings stay as they were", 20, mark)
            os.close(blob)
            tally.taken += 11
        same(w.daemon.agent(), agent, "the agent's pid")


# ---- the parent's place

RECORDS = {"netd": {"ENDPOINT": "ws://127.0.0.1:1/", "EXECUTABLE": "/bin/true"}, "connect": {"ENDPOINT": "ws://127.0.0.1:1/"}}


def child_of(name, log):
    run_as = 65534 if ROOT else None
    os.chmod(log.name, 0o666)
    child = privsep.Child(os.path.join(BUILD, f"opampd-{name}"), name.upper(), privsep.settings(**RECORDS.get(name, {})),
                          run_as=run_as, stderr=log, endpoint=1)
    return child


def from_parent(name, share, tally, watch=None):
    """The parent's messages, bent: the process ends at once, or takes them.  Before it is told to begin, and after."""
    cases = list(structure_cases("parent", name))
    if name in ("connect", "merge"):
        stages = (False,)  # they work and end
    else:
        stages = (False, True) if name not in ("confd",) else (False,)  # confd does not begin without its store
    with tempfile.TemporaryFile() as log, tempfile.NamedTemporaryFile() as shown:
        del log
        for started in stages:
            for case in share_of(cases, share, f"parent{name}{started}"):
                shown.seek(0)
                shown.truncate()
                child = child_of(name, shown)
                try:
                    if started and not child.go():
                        raise AssertionError(f"{name} does not get ready")
                    try:
                        case.send(child.parent)
                    except BrokenPipeError:
                        pass
                    status = child.wait(20)
                    with open(shown.name, encoding="utf-8", errors="replace") as f:
                        text = f.read()
                    if started and status == -signal.SIGSYS and text == "":
                        # the look at a descriptor that no message to it has is on no list: an end all the same
                        tally.count(case.expected)
                        continue
                    assert status is not None and status > 0, f"parent to {name}: {case.what}: exit status {status}: {text}"
                    want = "the parent sent " + case.expected
                    assert want in text or "waiting for the parent's instructions: parent sent " + case.expected in text, \
                        f"parent to {name}: {case.what}: expected {case.expected}: {text}"
                    tally.count(case.expected)
                finally:
                    child.kill()
