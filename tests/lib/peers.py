"""Peers that mean harm: a server made by hand in front of an honest one, an agent made by hand beside an honest
one, and a watch over what they cost us.  Every attack gives a row: what was done, what was to come, what came, the
peak memory and the CPU time of each of our processes; the limits come from privsep/limits.h by their names.
"""
import base64
import hashlib
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ["O"], "gen", "python"))

import proc  # noqa: E402
from bed import BUILD, ROOT  # noqa: E402
from opamp.v1 import opamp_pb2 as opamp  # noqa: E402
from tap import until  # noqa: E402

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KIB, MIB = 1 << 10, 1 << 20
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PATIENCE = 30  # seconds for anything that should take none, on a busy machine
with open(os.path.join(BUILD, "opampd-netd"), "rb") as _f:
    SANITIZED = b"__asan_init" in _f.read()


def limits():
    """{name: number} of privsep/limits.h."""
    found = {"KIB": KIB, "MIB": MIB}
    with open(os.path.join(TREE, "privsep", "limits.h"), encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S).replace("\\\n", " ")
    for name, value in re.findall(r"#define\s+(LIMIT_\w+)\s+(.+)", text):
        found[name] = int(eval(value, {"__builtins__": {}}, dict(found)))  # pylint: disable=eval-used
    return found


L = limits()

# ---- what it costs us


class Watch:
    """Memory and CPU of every process of ours from begin() on; those that live for one job are looked at while
    they live."""

    def __init__(self, daemon, program="opampd"):
        self.daemon, self.program = daemon, program
        self.lock = threading.Lock()
        self.known = {}  # pid -> [name, peak KiB, CPU ns, CPU ns at begin, KiB at begin]
        self.before = {}  # pid -> peak KiB that it had at begin, where that cannot be counted anew
        self.ended = False
        self.begun = time.monotonic()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    @staticmethod
    def cpu(pid):
        stat = proc.read(pid, "schedstat").split()
        return int(stat[0]) if stat else None

    @staticmethod
    def kib(pid, key="VmHWM"):
        value = proc.status(pid).get(key, "").split()
        return int(value[0]) if value else None

    def look(self, pid, name=None):
        cpu, peak = self.cpu(pid), self.kib(pid)
        if cpu is None or peak is None:
            return
        if peak <= self.before.get(pid, 0):  # that of an earlier time
            peak = self.kib(pid, "VmRSS") or 0
        if pid not in self.known:
            name = name or (proc.arguments(pid) or [""])[0]
            name = name if self.program == "opampd" else os.path.basename(name)
            if not name.startswith(self.program):
                return  # the agent, or one of ours before its exec
            # a process that begins later begins with nothing
            self.known[pid] = [name.replace(self.program + "-", ""), peak, cpu, 0, 0]
        seen = self.known[pid]
        seen[1], seen[2] = max(seen[1], peak), max(seen[2], cpu)

    def run(self):
        while not self.ended:
            with self.lock:
                self.look(self.daemon.pid, self.program)
                for pid in proc.children_at_a_glance(self.daemon.pid):
                    self.look(pid)
            time.sleep(0.01)

    def begin(self):
        with self.lock:
            self.known, self.before = {}, {}
            for pid in [self.daemon.pid] + proc.children_at_a_glance(self.daemon.pid):
                try:
                    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
                        f.write("5")  # the peak is counted anew
                except OSError:  # which an ordinary user may not have of a process that cannot be dumped
                    self.before[pid] = self.kib(pid) or 0
                self.look(pid, self.program if pid == self.daemon.pid else None)
                if pid in self.known:
                    self.known[pid][3] = self.known[pid][2]
                    self.known[pid][4] = self.kib(pid, "VmRSS") or 0
            self.begun = time.monotonic()

    def end(self):
        self.ended = True
        self.thread.join(5)

    def cost(self):
        """(seconds, {name: (peak KiB, KiB grown, CPU ms)}); of several merges the largest and their sum."""
        with self.lock:
            self.look(self.daemon.pid, self.program)
            for pid in proc.children_at_a_glance(self.daemon.pid):
                self.look(pid)
            found = {}
            for name, peak, cpu, cpu0, rss0 in self.known.values():
                p, g, c = found.get(name, (0, 0, 0))
                found[name] = (max(p, peak), max(g, peak - rss0), c + (cpu - cpu0) / 1e6)
            return time.monotonic() - self.begun, found


# ---- a server made by hand


class Served:
    """One connection to a server, from the server's side, with bytes as they are."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.data = b""
        self.head = b""
        self.broke = None  # how it ended

    def send(self, data):
        """False: it is gone, or does not read."""
        try:
            self.sock.sendall(data)
            return True
        except socket.timeout:
            self.broke = "does not read"
        except OSError as e:
            self.broke = self.broke or type(e).__name__
        return False

    def more(self):
        try:
            got = self.sock.recv(1 << 18)
        except socket.timeout:
            self.broke = "open"
            return False
        except OSError as e:
            self.broke = "reset" if isinstance(e, ConnectionError) else f"broken ({type(e).__name__})"
            return False
        if not got:
            self.broke = "end"
        self.data += got
        return bool(got)

    def request(self):
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                return b""
        self.head, self.data = self.data.split(b"\r\n\r\n", 1)
        return self.head

    def accept_line(self):
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", self.head).group(1).decode()
        return base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()

    def upgrade(self, more=""):
        if not self.request():
            return False
        return self.send(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          f"Sec-WebSocket-Accept: {self.accept_line()}\r\n{more}\r\n").encode())

    def take(self, n):
        while len(self.data) < n:
            if not self.more():
                return None
        got, self.data = self.data[:n], self.data[n:]
        return got

    def read_frame(self):
        """(opcode, payload), or None at the end."""
        head = self.take(2)
        if head is None:
            return None
        length = head[1] & 0x7f
        if length >= 126:
            more = self.take(2 if length == 126 else 8)
            if more is None:
                return None
            length = int.from_bytes(more, "big")
        key = self.take(4) if head[1] & 0x80 else b"\0\0\0\0"
        payload = self.take(length)
        if key is None or payload is None:
            return None
        whole = (key * (length // 4 + 1))[:length]
        return head[0] & 15, (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(length, "big")

    def report(self):
        """The next AgentToServer, or None."""
        while True:
            frame = self.read_frame()
            if frame is None or frame[0] == 8:
                return None
            if frame[0] == 2:
                m = opamp.AgentToServer()
                m.ParseFromString(frame[1][1:])
                return m

    def begin(self):
        """As an honest server would: the first report is answered.  Gives it."""
        if not self.upgrade():
            return None
        m = self.report()
        if m is not None:
            self.uid = m.instance_uid
            self.message(opamp.ServerToAgent(capabilities=7))
        return m

    def message(self, m):
        if not m.instance_uid:
            m.instance_uid = self.uid
        return self.send(frame(2, b"\0" + m.SerializeToString()))

    def outcome(self, seconds=PATIENCE):
        """What becomes of it: "1002", "end", "reset", "open" (after so many seconds)."""
        self.sock.settimeout(seconds)
        while True:
            got = self.read_frame()
            if got is None:
                return self.broke or "end"
            if got[0] == 8:
                return str(struct.unpack(">H", got[1][:2])[0]) if len(got[1]) >= 2 else "1005"

    def goes_on(self, seconds=PATIENCE):
        """The conversation is alive: the full state is asked for, and comes."""
        self.sock.settimeout(seconds)
        said = ""
        if not self.message(opamp.ServerToAgent(flags=1)):
            return f"broke ({self.broke})"
        while True:
            got = self.read_frame()
            if got is None:
                return f"broke ({self.broke})"
            if got[0] == 8:
                return f"closed ({struct.unpack('>H', got[1][:2])[0] if len(got[1]) >= 2 else 1005})"
            if got[0] == 2:
                m = opamp.AgentToServer()
                m.ParseFromString(got[1][1:])
                if m.remote_config_status.status == 3:
                    said = "; FAILED: " + m.remote_config_status.error_message
                if m.HasField("agent_description"):
                    return "goes on" + said
                self.message(opamp.ServerToAgent())

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def frame(opcode, payload=b"", fin=1, rsv=0, mask=None, length=None, form=None):
    """A frame as it is asked for; mask: four bytes, or None; form: 7, 16 or 64 bits of length."""
    length = len(payload) if length is None else length
    form = form or (7 if length < 126 else 16 if length < 65536 else 64)
    bit = 0x80 if mask is not None else 0
    out = bytes([fin << 7 | rsv << 4 | opcode])
    if form == 7:
        out += bytes([bit | length])
    elif form == 16:
        out += bytes([bit | 126]) + struct.pack(">H", length)
    else:
        out += bytes([bit | 127]) + struct.pack(">Q", length)
    if mask is not None:
        whole = (mask * (len(payload) // 4 + 1))[:len(payload)]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(len(payload), "big")
        out += mask
    return out + payload


class Front:
    """Listens where the daemon believes its server to be.  Honest: what comes is passed to an honest server and
    back.  Otherwise the next connection is the act's, and those after it wait, unanswered, until it is honest."""

    def __init__(self, honest_port, wrap=None, address="127.0.0.1"):
        self.honest_port = honest_port
        self.wrap = wrap or (lambda sock: sock)
        self.lock = threading.Condition()
        self.act = None
        self.seen = None
        self.waiting = []
        self.passing = []
        self.taken = 0
        self.honest_now = True
        self.listener = socket.create_server((address, 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.url = f"{'wss' if wrap else 'ws'}://{address}:{self.port}/v1/opamp"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                act, self.act = self.act, None
                self.taken += 1
                if act is None and not self.honest_now:
                    self.waiting.append(sock)
                    continue
            if act is None:
                self.pass_on(sock)
            else:
                threading.Thread(target=self.play, args=(act, sock), daemon=True).start()

    def play(self, act, sock):
        peer = None
        try:
            peer = Served(sock)
            seen = act(peer)
        except Exception as e:  # the attack's own failure must be seen, whatever it is
            seen = f"{type(e).__name__}: {e}"
        with self.lock:
            self.seen = seen
            self.lock.notify_all()
        try:
            sock.close()
            if peer is not None:
                peer.sock.close()
        except OSError:
            pass

    def pass_on(self, sock):
        def pump(source, target):
            try:
                while True:
                    data = source.recv(1 << 16)
                    if not data:
                        break
                    target.sendall(data)
            except (OSError, ValueError):
                pass
            for s in (source, target):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

        def both():
            try:
                ours = self.wrap(sock)
                theirs = socket.create_connection(("127.0.0.1", self.honest_port))
            except OSError:
                sock.close()
                return
            with self.lock:
                self.passing += [sock, ours, theirs]
            threading.Thread(target=pump, args=(theirs, ours), daemon=True).start()
            pump(ours, theirs)
        threading.Thread(target=both, daemon=True).start()

    def attack(self, act):
        """The next connection is the act's; those that are there break."""
        with self.lock:
            self.act, self.seen, self.honest_now = act, None, False
        self.drop()

    def drop(self):
        with self.lock:
            passing, self.passing = self.passing, []
        for sock in passing:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def wait(self, seconds):
        with self.lock:
            if not self.lock.wait_for(lambda: self.seen is not None, seconds):
                raise AssertionError(f"the attack has not ended in {seconds} s")
            return self.seen

    def honest(self):
        with self.lock:
            self.act, self.honest_now = None, True
            waiting, self.waiting = self.waiting, []
        for sock in waiting:
            self.pass_on(sock)

    def end(self):
        self.listener.close()
        self.drop()
        for sock in self.waiting:
            sock.close()


# ---- the rows

BUSY = L["LIMIT_BUSY_BURST_MS"], L["LIMIT_BUSY_PERCENT"]
BESIDES = 500  # ms for what the pace does not count: the loop itself, timers, messages of the others, the new connection
USUAL = 6 * MIB  # what any attack may cost that names nothing greater
DECODED = L["LIMIT_PB_BUDGET_FACTOR"] * L["LIMIT_OPAMP_MESSAGE"] + 4 * L["LIMIT_OPAMP_MESSAGE"] + 8 * MIB
MESSAGE = 3 * L["LIMIT_OPAMP_MESSAGE"] + 8 * MIB
MERGE = L["LIMIT_MERGE_MEMORY"] + 16 * MIB


class Table:
    """Rows to print and to keep, in a file that is no part of the tree."""

    def __init__(self, name):
        self.path = os.path.join(BUILD, f"peers-{name}.md")
        self.rows = []

    def add(self, peer, attack, expected, seen, cost):
        seconds, parts = cost
        peak = ", ".join(f"{n} {p // 1024}" for n, (p, _, _) in sorted(parts.items()) if p >= 1024)
        busy = ", ".join(f"{n} {c:.0f}" for n, (_, _, c) in sorted(parts.items()) if c >= 1)
        self.rows.append((peer, attack, expected, str(seen)[:100], f"{seconds:.1f}", peak, busy))
        print(f"# | {peer} | {attack} | {expected} | {str(seen)[:60]} | {seconds:.1f} s | {peak} MiB | {busy} ms", flush=True)

    def write(self):
        with open(self.path, "w", encoding="utf-8") as f:
            f.write("| peer | attack | expected | seen | seconds | peak MiB | CPU ms |\n|---|---|---|---|---|---|---|\n")
            for row in self.rows:
                f.write("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |\n")


def within(cost, memory, only=None):
    """Every process stays in its limits; only: {name: bytes} that it may grow by, in place of `memory`."""
    seconds, parts = cost
    for name, (peak, grown, cpu) in parts.items():
        may = (only or {}).get(name, MERGE if name == "merge" else memory if name in ("netd", "link") else USUAL)
        if SANITIZED:  # keeps what was freed, and shadows the rest
            may = 6 * may + (1 << 30)
        if name in ("merge", "connect"):
            grown = peak if name == "merge" else 0
        assert grown * 1024 <= may, f"{name} grew by {grown} KiB to {peak}, {may // 1024} are allowed"
        burst, percent = BUSY
        most = (burst + BESIDES) * (4 if SANITIZED else 1) + seconds * 1000 * percent / 100
        if name == "merge":
            most = L["LIMIT_MERGE_SECONDS"] * 1000
        assert cpu <= most, f"{name} was busy for {cpu:.0f} ms of {seconds:.1f} s, {most:.0f} are allowed"


class Alive:
    """opampctl status answers within a second, that others keep the processors from it and us not counted."""

    def __init__(self, bed, daemon):
        self.bed, self.daemon = bed, daemon
        self.usual = min(self.ask()[0] for _ in range(3))
        self.worst = 0

    def ask(self):
        ours = [self.daemon.pid] + proc.children_at_a_glance(self.daemon.pid)
        watch = proc.Stopwatch(*ours)
        with subprocess.Popen(self.bed.ctl_command("status"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
            text = p.stdout.read()
            os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOWAIT)
            took = watch.took(p.pid)
        assert p.returncode == 0, f"opampctl status: exit {p.returncode}: {text}"
        return took, text

    def check(self, during):
        took, text = self.ask()
        self.worst = max(self.worst, took)
        assert took < 1 + 10 * self.usual, f"opampctl status took {took:.2f} s during: {during}"
        return text


def agent_uid(daemon):
    return int(proc.status(daemon.agent())["Uid"].split()[0])


def settled(look, what, seconds=PATIENCE):
    return until(look, seconds, what)


assert ROOT or os.geteuid()
