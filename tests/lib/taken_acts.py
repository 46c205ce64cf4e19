"""What a process that was taken over does to those that are still ours (tests/system/taken.t in samples, tests/proof/taken.t
whole): every message there is and is not, to each process as each of its peers."""
import array
import json
import os
import random
import re
import signal
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
import traceback

import privsep
import proc
import taken
from bed import BUILD, ROOT, users_made
from tap import Skip, same, until
from messages_table import DAEMONS, RULES, legal
from taken import BARRIER, CONTENT, NEIGHBOURS, TYPE, Case, World, head, memory, plain

GROWTH_KIB = 2048     # private memory of a process, before and after thousands of attacks
GROWTH_FDS = 0        # its descriptors
ANSWER_S = 5          # opampctl is answered meanwhile
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
    raise AssertionError(f"{sender} is ended before it says anything")


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
    line = w.daemon.wait_log(f" {reporter}: {sender} sent ", since=mark)
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


# ---- floods, silence, what is never read

def valid(w, sender, receiver):
    """For each row one message that is taken."""
    found = []
    for rule in legal(sender, receiver):
        for fill in (1, 0, 2, 3):
            payload = b"".join(fill.to_bytes(width, "little") for _, width in rule.fields)
            case = Case(f"{rule.name} of {fill}s", plain(rule, payload), None, taken.right(rule))
            mine = Tally()
            attack(w, sender, receiver, case, mine, (CONTENT,))
            if mine.taken:
                found.append(case)
                break
    return found


FLOOD_KIB = 96 * 1024  # most that a process may hold while it is flooded


def flood(sender, receiver, seconds, told):
    """What is valid, as fast as it goes; then what is not."""
    with World((sender,), {**setting_of(sender), "limits": None}) as w:
        start_agent(w, sender)
        settled(w, sender)
        good = valid(w, sender, receiver)
        assert good, f"{sender} has nothing to say to {receiver}"
        before = memories(w, sender)
        sent, lives, held = 0, 0, [0]
        victim = w.daemon.pid if receiver == "parent" else w.daemon.child(receiver)

        def look():
            held.append(memory(victim)[0] - before[receiver][0])
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            s = w.standin(sender)
            w.hasten()
            lives += 1
            # without credit a second offer ends its sender: so there is a life with them, and one without
            words = [c for c in good if lives % 2 == 1 or not c.what.startswith("OFFER ")] or good
            try:
                sent += push(s, s.channel(receiver), words, end, look)
            except privsep.Gone:
                continue  # ended for the life before
        answers(w)
        attack(w, sender, receiver, Case("the end of the flood", head(BARRIER, 0), TYPE), Tally())
        for _ in range(10):  # the other kind: the first word ends it
            attack(w, sender, receiver, Stuffed("a flood of nonsense", head(BARRIER, 0), TYPE), Tally())
        assert max(held) < FLOOD_KIB, f"{receiver} grew by {max(held)} KiB in the flood"
        # a job of the agent's program may be under way yet, with its pidfd, its output and its group
        quiet_memories(w, sender, before, f"{sender}'s flood to {receiver}", 4 if {sender, receiver} & {"procd"} else 0)
        answers(w)
        if sender in ("confd", "procd") and not w.daemon.agents():
            start_agent(w, sender)  # it had it stopped, as it may
        w.daemon.agent(20)
        told.append(f"{sender} to {receiver}: {sent} messages in {lives} lives, at most {max(held)} KiB more")


class Stuffed(Case):
    def send(self, channel, flags=0):
        try:
            for _ in range(250):
                channel.sock.send(self.data, socket.MSG_DONTWAIT)
        except OSError:
            pass


def push(s, channel, good, end, look):
    n = 0
    while time.monotonic() < end and not s.ended():
        for case in good:
            try:
                case.send_now(channel)
                n += 1
            except BlockingIOError:
                time.sleep(0.0005)
            except OSError:
                return n
        if n % 64 < len(good):
            s.turn()
            drain(channel)
        if n % 4096 < len(good):
            look()
    return n


def drain(channel):
    """What the other side says is not of interest; but it shall not stand in the way."""
    try:
        while True:
            m = channel.receive(0)
            if m is None:
                return
            if m.fd is not None:
                os.close(m.fd)
    except (privsep.Gone, OSError):
        return


def silence(user="root"):
    """netd, link and procd that never become ready: the parent's patience ends; the agent does not notice."""
    with World(("netd", "link", "procd"), setting_of("procd")) as w:
        w.standin("netd"), w.standin("link")
        start_agent(w, "procd")
        agent = w.daemon.agent()
        for name in w.taken:
            attack(w, name, "parent", Case("its end", head(BARRIER, 0), TYPE), Tally())
        mark = w.daemon.mark()
        silent = {name: w.standin(name, begin=False) for name in w.taken}
        for name, s in silent.items():
            until(s.ended, 30, f"the end of {name}, which says nothing")
        text = "\n".join(w.daemon.log(mark))
        for name in w.taken:
            assert f"ending {name}" in text and "it took too long" in text, text
        answers(w)
        same(w.daemon.agent(), agent, "the agent's pid")
        for name in w.taken:
            w.standin(name)


def never_reads():
    """confd that reads nothing of what the parent tells it: it is ended, and the parent holds no more than a queue."""
    with World(("confd", "netd"), setting_of("confd")) as w:
        start_agent(w, "confd")
        agent = w.daemon.agent()
        deaf = w.standin("confd")
        for n in range(2000):
            if deaf.ended():
                break
            attack(w, "netd", "parent", Case("its end", head(BARRIER, 0), TYPE), Tally())
        assert deaf.ended(5), "confd, which reads nothing, goes on"
        assert n > 100, f"ended after {n} messages"
        w.daemon.wait_log("it does not read its messages")
        w.standin("confd")
        same(w.daemon.agent(), agent, "the agent's pid")


# ---- descriptors that would have whoever closes them wait

class SlowFiles:
    """A file system in user space, as any local user may serve one: its file can be opened, and nobody ever answers that it
    was closed.  On the kernel's own protocol (fuse(4)), so that no library is needed."""
    IN, OUT = struct.Struct("=IIQQIIII"), struct.Struct("=IiQ")
    LOOKUP, FORGET, GETATTR, OPEN, FLUSH, RELEASE, INIT = 1, 2, 3, 14, 25, 18, 26

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="taken-slow-")
        self.flushed = threading.Event()
        self.dev = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.dev},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if taken.LIBC.mount(b"slow", self.dir.encode(), b"fuse", 0, options) == -1:
            raise OSError(taken.ctypes.get_errno(), "mounting a file system of our own")
        threading.Thread(target=self.serve, daemon=True).start()

    def attributes(self, node):
        mode = 0o40755 if node == 1 else 0o100666
        return struct.pack("=QQQQQQIIIIIIIIII", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def serve(self):
        while True:
            try:
                data = os.read(self.dev, 1 << 17)
            except OSError:
                return
            _, op, unique, node = self.IN.unpack_from(data)[:4]
            if op == self.INIT:
                body = struct.pack("=IIIIHHIIHH32x", 7, 31, 65536, 0, 8, 8, 65536, 1, 32, 0)
            elif op == self.LOOKUP:
                body = struct.pack("=QQQQII", 2, 0, 3600, 3600, 0, 0) + self.attributes(2)
            elif op == self.GETATTR:
                body = struct.pack("=QII", 3600, 0, 0) + self.attributes(node)
            elif op == self.OPEN:
                body = struct.pack("=QII", 1, 0, 0)
            elif op == self.FLUSH:
                self.flushed.set()  # and no word of it
                continue
            elif op == self.FORGET:
                continue
            else:
                os.write(self.dev, self.OUT.pack(16, -38 if op != self.RELEASE else 0, unique))
                continue
            os.write(self.dev, self.OUT.pack(16 + len(body), 0, unique) + body)

    def send_file(self, channel, data):
        """By a process of its own, which hangs when it closes its copy."""
        pid = os.fork()
        if pid == 0:
            try:
                fd = os.open(self.dir + "/file", os.O_RDONLY)
                channel.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        return pid

    def end(self, pids):
        taken.LIBC.umount2(self.dir.encode(), 1)  # MNT_FORCE: every waiting call is given an error
        taken.LIBC.umount2(self.dir.encode(), 2)
        for pid in pids:
            os.waitpid(pid, 0)
        os.close(self.dev)
        os.rmdir(self.dir)


def slow_files():
    """A file whose closing is never answered, sent to the parent: in place of none, of a memory file, and with a second one."""
    if not os.path.exists("/dev/fuse"):
        subprocess.run(["modprobe", "fuse"], check=False, stderr=subprocess.DEVNULL)
    if not os.path.exists("/dev/fuse"):
        raise Skip("this kernel has no file systems in user space (/dev/fuse)")
    with World(("link",), setting_of("link")) as w:
        agent = start_agent(w, "link")
        slow, pids = SlowFiles(), []
        try:
            for name in ("LINK_ROTATE", "LINK_SECRET_NEXT", "LINK_ROTATE"):
                s = w.standin("link")
                w.hasten()
                slow.flushed.clear()
                pids.append(slow.send_file(s.parent, plain(RULES[name])))
                until(lambda x=s: x.ended(), 10, "the end of link")
                assert slow.flushed.wait(10), "nobody has closed the file"
            w.standin("link")  # a parent that waits for the file system starts nobody
            code, out, err = w.bed.ctl("status", check=False)
            assert code in (0, 1, 3), f"{code} {out} {err}"
            same(w.daemon.agent(), agent, "the agent's pid")
            same(proc.status(w.daemon.pid)["State"][0] in "SR", True, "the parent is waiting for events")
        finally:
            slow.end(pids)
        attack(w, "link", "parent", Case("its end", head(BARRIER, 0), TYPE), Tally())
        until(lambda: proc.status(w.daemon.pid)["Threads"] == "1", 10, "the end of those that closed it")


def lingering():
    """Connections that linger: whoever closes one last waits until what it has to say was read, which is never."""
    with World(("netd",), setting_of("netd")) as w:
        for name, kinds in (("CONNECT_CANCEL", 1), ("CONNECT_CANCEL", 2), ("CONNECT_CANCEL", 5)):
            s = w.standin("netd")
            w.hasten()
            begun = time.monotonic()
            case = Case("connections that linger", plain(RULES[name]), taken.DESCRIPTOR, ("TCP connection that lingers",) * kinds)
            attack(w, "netd", "parent", case, Tally())
            # and some that are never read, since the first was too much
            s = w.standin("netd")
            w.daemon.signal(signal.SIGSTOP)
            try:
                until(lambda: proc.status(w.daemon.pid)["State"][0] == "T", 5, "the parent to stand still")
                for _ in range(3):
                    case.send(s.parent)
            finally:
                w.daemon.signal(signal.SIGCONT)
            until(s.ended, 10, "the end of netd")
            w.standin("netd")
            took = time.monotonic() - begun
            assert took < 15, f"the parent was held up for {took:.1f} s"
    with World(("netd", "connect"), setting_of("netd")) as w:
        w.standin("netd")
        s = w.standin("connect")
        begun = time.monotonic()
        Case("", plain(RULES["CONNECTOR_DONE"]), None, ("TCP connection that lingers",)).send(s.parent)
        until(lambda: w.standin("netd").turn(0.1) and any(m.type == "CONNECT_DONE" for m in w.standin("netd").seen), 10, "the connection")
        assert time.monotonic() - begun < 15


def without_credit():
    """netd that offers again before it was told that it may: that is a broken rule, and not work for confd."""
    with World(("netd",), setting_of("netd")) as w:
        agent = start_agent(w, "netd")
        confd = w.daemon.child("confd")
        s = w.standin("netd")
        channel = s.channel("confd")
        offer = Case("an offer", plain(RULES["OFFER"]), None, taken.right(RULES["OFFER"]))
        os.kill(confd, signal.SIGSTOP)
        try:
            until(lambda: proc.status(confd)["State"][0] == "T", 5, "confd to stand still")
            mark = w.daemon.mark()
            offer.send(channel)
            offer.send(channel)
        finally:
            os.kill(confd, signal.SIGCONT)
        w.daemon.wait_log(r" confd: netd sent a field out of its range \(OFFER\)", 10, mark)
        until(s.ended, 10, "the end of netd")
        # one at a time is welcome
        s = w.standin("netd")
        for _ in range(5):
            offer.send(s.channel("confd"))
            got = s.channel("confd").expect("OFFER_CREDIT")
            assert got is not None, "no credit came back"
        same(s.ended(), False, "the end of one that waits for its credit")
        same(w.daemon.child("confd"), confd, "confd's pid")
        same(w.daemon.agent(), agent, "the agent's pid")


# ---- accusing

def accusations(told):
    """Who accuses a neighbour that did nothing: it comes back each time; of those that read foreign bytes the accuser pays."""
    for accuser, accused in (("netd", "confd"), ("link", "confd"), ("procd", "confd"), ("confd", "netd"), ("confd", "link"), ("confd", "procd")):
        with World((accuser,), setting_of(accuser)) as w:
            agent = start_agent(w, accuser)
            for _ in range(2):
                victim = settled(w, accuser)[accused]
                s = w.standin(accuser)
                s.send("parent", "CHILD_ACCUSE", struct.pack("=III", privsep.E["PROC_" + accused.upper()], 1, 1))
                w.daemon.child(accused, 30, other_than=victim)
                if accuser in ("netd", "link"):
                    until(s.ended, 10, f"the end of {accuser}, which accused {accused}")
            settled(w, accuser)
            if accused != "procd":
                same(w.daemon.agent(), agent, "the agent's pid")
            # nobody but a neighbour can be accused, and not oneself
            for number in (0, 1, privsep.E["PROC_" + accuser.upper()], privsep.E["PROC_MERGE"], privsep.E["PROC_CONNECT"], 8, 0xFFFFFFFF):
                case = Case(f"an accusation of {number}", plain(RULES["CHILD_ACCUSE"], struct.pack("=III", number, 1, 1)), CONTENT)
                attack(w, accuser, "parent", case, Tally())
            told.append(f"{accuser} of {accused}")


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
                    assert status is not None and status > 0, f"parent to {name}: {case.what}: exit status {status}: {text}"
                    want = "the parent sent " + case.expected
                    assert want in text or "waiting for the parent's instructions: parent sent " + case.expected in text, \
                        f"parent to {name}: {case.what}: expected {case.expected}: {text}"
                    tally.count(case.expected)
                finally:
                    child.kill()


# ---- what is executed, what is written

class Watcher:
    """Everything that is executed, and every file that confd writes, from here on to the end of the program."""

    def __init__(self, mounts):
        self.pids = set()
        self.storage = set()
        self.watch = taken.Watch(mounts, self.pids)

    def confd(self, pid, storage):
        self.pids.add(pid)
        self.storage.add(storage)

    def judge(self):
        """What was executed is opampd's, the settings' agent, or the test's own; what confd wrote lies in its directory."""
        self.watch.end()
        ours = {*(f"opampd-{n}" for n in taken.CHILDREN), "opampd", "opampctl", "merge.real", "fakeagent"}
        build = os.path.realpath(BUILD)
        tools = {os.path.realpath(shutil.which("nm")), os.path.realpath(shutil.which("setpriv")), os.path.join(build, "tools", "hasten"),
                 *(os.path.join(build, f"opampd-{n}") for n in taken.CHILDREN)}  # by the test itself
        strange = sorted(p for p in self.watch.executed if p not in tools and not os.path.basename(p).startswith("ld-linux") and
                         not (re.match(r"/opt/opampd-bed-[^/]+/[^/]+$", p.replace(" (deleted)", "")) and os.path.basename(p.replace(" (deleted)", "")) in ours))
        same(strange, [], "programs that were executed and are on no list")
        assert self.watch.executed, "nothing was seen"
        outside = sorted(p for p in self.watch.written if not any(p.startswith(s + "/") for s in self.storage))
        same(outside, [], "files that confd wrote outside its directory")
        assert self.watch.written, "confd was not seen writing"
        return len(self.watch.executed), len(self.watch.written)


# ---- the tests: in samples, or whole

class Beside:
    """Runs function(tally) in a process of its own; result(tally) waits for it."""

    def __init__(self, function):
        self.read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            tally, why = Tally(), ""
            os.dup2(write, 1)
            try:
                function(tally)
            except BaseException:  # told by the other process
                why = traceback.format_exc()
            with os.fdopen(write, "w", encoding="utf-8") as f:
                json.dump([tally.taken, tally.refused, why], f)
                f.flush()
                os._exit(0)
        os.close(write)

    def result(self, tally):
        with os.fdopen(self.read, encoding="utf-8") as f:
            text = f.read()
        os.waitpid(self.pid, 0)
        taken_, refused, why = json.loads(text[text.rindex("\n") + 1 if "\n" in text else 0:])
        if why:
            print(text, flush=True)
            raise AssertionError(why)
        tally.taken, tally.refused = taken_, refused


def tests(share, seconds):
    """(name, function) for tap.run.  share: of the messages; seconds: how long a flood lasts."""
    if not ROOT:
        def skip():
            raise Skip("only root may look into processes that are not dumpable, and hasten them")
        return [("a process that was taken over (I6)", skip)]
    users_made()
    mounts = taken.own_mounts()
    # netd is slow to come back, so this is the longest by far: beside the others where all is shown
    beside = Beside(lambda tally: as_peer("confd", "netd", share, tally)) if share >= 1 else None
    watcher = Watcher(mounts)
    total = Tally()

    def told(function, *arguments):
        def test():
            tally = Tally()
            function(*arguments, tally)
            total.add(tally)
            print(f"# {tally}", flush=True)
        return test

    def listed(function, *arguments):
        def test():
            lines = []
            function(*arguments, lines)
            for line in lines:
                print(f"# {line}", flush=True)
        return test

    def seen():
        programs, files = watcher.judge()
        print(f"# {programs} programs were executed, confd wrote {files} files; all messages: {total}", flush=True)

    def peer(sender, receiver, user, tally):
        as_peer(sender, receiver, share, tally, watcher, user)
    made = [(f"{s} taken over, to {r} (I6)", told(peer, s, r, "root")) for s, r in DIRECTIONS if (s, r) != ("confd", "netd")]
    made += [(f"an ordinary user's {s} taken over, to {r} (I6)", told(lambda s, r, t: as_peer(s, r, share / 4, t, watcher, "user"), s, r))
             for s, r in (("netd", "parent"), ("netd", "confd"), ("procd", "parent"), ("link", "confd"))]
    made += [(f"{n}, of one shot, taken over, to the parent (I6)", told(one_shot, n, share)) for n in ("connect", "merge")]
    made += [("the reader of the settings taken over (I4)", told(settings_reader))]
    made += [(f"{n} of a parent that breaks the rules (I6)", told(from_parent, n, share / 4)) for n in taken.CHILDREN]
    made += [(f"a flood from {s} to {r} (I11)", listed(flood, s, r, seconds)) for s, r in DIRECTIONS]
    made += [("nobody accuses for ever (I14)", listed(accusations)), ("never read (I11)", never_reads), ("an offer without credit (I6)", without_credit),
             ("files that are never closed (I14)", slow_files), ("connections that linger (I14)", lingering)]
    if share >= 1:
        made += [("never ready (I14)", silence)]
    made += [("confd taken over, to netd (I6)", told(beside.result if beside else lambda t: as_peer("confd", "netd", share / 3, t)))]
    made += [("nothing else was executed, nothing written elsewhere (I4, I2)", seen)]
    return made
