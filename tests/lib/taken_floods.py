"""Floods, silence, descriptors that would have one wait, accusations: from a process that was taken over (see taken_acts.py)."""
import array
import os
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

import privsep
import proc
import taken
from messages_table import RULES, legal
from taken import BARRIER, CONTENT, TYPE, Case, World, head, memory, plain
from taken_world import SANITIZED, Tally, answers, attack, memories, quiet_memories, setting_of, settled, start_agent
from tap import Skip, same, until

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


FLOOD_KIB = (2048 if SANITIZED else 96) * 1024  # most that a process may hold while it is flooded


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
