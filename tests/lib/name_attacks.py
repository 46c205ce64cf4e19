"""What a name server may answer: in a network and a mount namespace of its own, where /etc/resolv.conf names ours.  The server's
name is one; what is answered for it changes."""
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading

from peer_stage import Stage
from peers import MIB, within
from tap import same, until

NAME = "opamp.test"
A, AAAA, CNAME = 1, 28, 5
INSIDE = "PEERS_NAMES_INSIDE"


class NameServer:
    """Answers by `mode`, a function of (query, over UDP) that gives the datagrams, or the bytes of a stream."""

    def __init__(self):
        self.mode = honest
        self.asked = 0
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 53))
        self.tcp = socket.create_server(("127.0.0.1", 53))
        threading.Thread(target=self.datagrams, daemon=True).start()
        threading.Thread(target=self.streams, daemon=True).start()

    def datagrams(self):
        while True:
            query, peer = self.udp.recvfrom(4096)
            self.asked += 1
            for data in self.mode(Query(query), True):
                self.udp.sendto(data, peer)

    def streams(self):
        while True:
            threading.Thread(target=self.stream, args=(self.tcp.accept()[0],), daemon=True).start()

    def stream(self, sock):
        with sock, sock.makefile("rb") as f:
            try:
                while True:
                    head = f.read(2)
                    if len(head) < 2:
                        return
                    for data in self.mode(Query(f.read(struct.unpack(">H", head)[0])), False):
                        if data is None:
                            return
                        sock.sendall(data if isinstance(data, Raw) else struct.pack(">H", len(data)) + data)
            except OSError:
                pass


class Raw(bytes):
    """Without its length before it."""


class Query:
    def __init__(self, data):
        self.id = data[:2]
        at = 12
        while data[at]:
            at += 1 + data[at]
        self.question = data[12:at + 5]
        self.kind = struct.unpack_from(">H", data, at + 1)[0]

    def answer(self, records=(), rcode=0, flags=0x8180, number=None, question=None, count=None):
        count = len(records) if count is None else count
        return (number or self.id) + struct.pack(">HHHHH", flags | rcode, 1, count, 0, 0) + (question or self.question) + b"".join(records)

    def addresses(self, *addresses):
        """Those of the kind that was asked for."""
        family, kind = (socket.AF_INET, A) if self.kind == A else (socket.AF_INET6, AAAA)
        return [record(kind, socket.inet_pton(family, a)) for a in addresses if (":" in a) == (kind == AAAA)]


def record(kind, data, name=b"\xc0\x0c"):
    return name + struct.pack(">HHIH", kind, 1, 1, len(data)) + data


def labels(name):
    return b"".join(bytes([len(x)]) + x for x in name.split(b".")) + b"\0"


def honest(q, _udp):
    return [q.answer(q.addresses("127.0.0.1"))]


def cut(then):
    """Truncated by UDP; by TCP something else."""
    return lambda q, udp: [q.answer(flags=0x8380)] if udp else then(q)


def loop(q, _udp):
    return [q.answer([record(CNAME, labels(b"a.test")), record(CNAME, labels(b"opamp.test"), labels(b"a.test"))])]


def chain(q, _udp):
    made = [record(CNAME, labels(b"c1.test"))]
    made += [record(CNAME, labels(b"c%d.test" % (n + 1)), labels(b"c%d.test" % n)) for n in range(1, 1000)]
    return made and [q.answer(made)[:4000]]


def many(q):
    return [q.answer(q.addresses(*[f"127.1.{n // 250}.{1 + n % 250}" for n in range(1000)], "127.0.0.1"))]


NOT_KNOWN = "resolving opamp.test: "
# (what, mode, what the log and the status say; None: a connection is made all the same)
MODES = [
    ("NXDOMAIN", lambda q, u: [q.answer(rcode=3)], NOT_KNOWN + "Name or service not known"),
    ("SERVFAIL", lambda q, u: [q.answer(rcode=2)], NOT_KNOWN + "Temporary failure|" + NOT_KNOWN),
    ("REFUSED", lambda q, u: [q.answer(rcode=5)], NOT_KNOWN),
    ("NOTIMP", lambda q, u: [q.answer(rcode=4)], NOT_KNOWN),
    ("no address", lambda q, u: [q.answer()], NOT_KNOWN),
    ("no answer", lambda q, u: [], NOT_KNOWN + "Temporary failure|no answer in time"),
    ("garbage", lambda q, u: [b"\xff" * 512], NOT_KNOWN + "|no answer in time"),
    ("one byte", lambda q, u: [b"\0"], NOT_KNOWN + "|no answer in time"),
    ("nothing in a datagram", lambda q, u: [b""], NOT_KNOWN + "|no answer in time"),
    ("a header alone", lambda q, u: [q.id + b"\x81\x80\0\1\0\1\0\0\0\0"], NOT_KNOWN + "|no answer in time"),
    ("another number", lambda q, u: [q.answer(q.addresses("127.0.0.1"), number=bytes([q.id[0] ^ 255, q.id[1]]))], NOT_KNOWN + "|no answer in time"),
    ("another question", lambda q, u: [q.answer(q.addresses("127.0.0.1"), question=labels(b"evil.test") + q.question[-4:])], NOT_KNOWN + "|no answer in time"),
    ("a question for an answer", lambda q, u: [q.answer(q.addresses("127.0.0.1"), flags=0x0100)], NOT_KNOWN + "|no answer in time|TAKEN"),
    ("a CNAME loop", loop, NOT_KNOWN),
    ("a thousand CNAMEs, cut", chain, NOT_KNOWN + "|no answer in time"),
    ("a name that points to itself", lambda q, u: [q.answer([record(A, b"\x7f\0\0\1", b"\xc0" + bytes([12 + len(q.question)]))])], NOT_KNOWN + "|no answer in time"),
    ("addresses of four bytes for IPv6, of sixteen for IPv4", lambda q, u: [q.answer([record(q.kind, b"\x7f" * (4 if q.kind == AAAA else 16))])], NOT_KNOWN + "|no answer in time|connecting to"),
    ("addresses of no bytes", lambda q, u: [q.answer([record(q.kind, b"")])], NOT_KNOWN + "|no answer in time"),
    ("more records announced than there are", lambda q, u: [q.answer(q.addresses("127.0.0.1"), count=60000)], NOT_KNOWN + "|no answer in time|connecting to|TAKEN"),
    ("the other family only", lambda q, u: [q.answer([record(AAAA if q.kind == A else A, b"\x7f" * (16 if q.kind == A else 4))])], NOT_KNOWN + "|no answer in time"),
    ("a CNAME with escapes and NULs", lambda q, u: [q.answer([record(CNAME, labels(b"\x1b[2J\0\n.test"))])], NOT_KNOWN),
    ("sixty answers to each question", lambda q, u: [q.answer(q.addresses("127.0.0.1"))] * 60, None),
    ("truncated, whole by TCP", cut(lambda q: [q.answer(q.addresses("127.0.0.1"))]), None),
    ("truncated, garbage by TCP", cut(lambda q: [b"\xff" * 4096]), NOT_KNOWN + "|no answer in time"),
    ("truncated, nothing by TCP", cut(lambda q: [None]), NOT_KNOWN + "|no answer in time"),
    ("truncated, silence by TCP", cut(lambda q: []), NOT_KNOWN + "|no answer in time"),
    ("truncated, half an answer by TCP", cut(lambda q: [Raw(b"\x20\0" + q.answer()), None]), NOT_KNOWN + "|no answer in time"),
    ("truncated by TCP too", cut(lambda q: [q.answer(flags=0x8380)]), NOT_KNOWN + "|no answer in time"),
    ("a thousand addresses that refuse, and ours", cut(many), "connecting to opamp.test|no answer in time|took too long|TAKEN"),
    ("64 KiB of addresses", cut(lambda q: [q.answer(q.addresses(*["127.0.0.1"] * 4000))[:65535]]), NOT_KNOWN + "|no answer in time|connecting to|TAKEN"),
    ("an address nobody answers at", lambda q, u: [q.answer(q.addresses("192.0.2.1"))], "connecting to opamp.test.*"),
    ("addresses of everybody: 0.0.0.0 and ::", lambda q, u: [q.answer(q.addresses("0.0.0.0", "::"))], "connecting to opamp.test.*|TAKEN"),
    ("broadcast and multicast", lambda q, u: [q.answer(q.addresses("255.255.255.255", "224.0.0.1", "ff02::1"))], "connecting to opamp.test.*"),
]


class Names(Stage):
    def __init__(self):
        super().__init__("root", "names", lambda bed: {
            "url": f"ws://{NAME}:PORT/v1/opamp", "server": {"connect_timeout": "3s", "reconnect": {"initial_delay": "100ms", "max_delay": "300ms"}}})
        self.names = None

    def open(self):
        if self.bed is None:
            self.names = NameServer()
            super().open()

    def answered(self, what, mode, why):
        self.open()
        pids, agent, mark = self.pids(), self.daemon.agent(), self.daemon.mark()
        self.names.mode = mode
        self.watch.begin()
        connections = len(self.server.connections)
        self.front.drop()

        def look():
            if len(self.server.connections) > connections and self.server.connections[-1].closed is None:
                return "TAKEN"
            text = self.alive.check(what)
            return text if why is not None and re.search(why, text) else None
        self.turn_health()
        found = until(look, 25, f"{why or 'a connection'}\n" + "\n".join(self.daemon.log(mark)[-5:]))
        if why is not None and found != "TAKEN":
            line = self.daemon.wait_log(why, 10, since=mark)
            seen = re.sub(".*the server: ", "", line)
        else:
            seen = "a connection"
        assert why is None or found != "TAKEN" or "TAKEN" in why, "a connection was made"
        cost = self.watch.cost()
        self.names.mode = honest
        until(lambda: len(self.server.connections) > connections and self.server.connections[-1].closed is None, 30, "a connection by an honest answer")
        self.table.add("name server", what, why or "a connection", seen, cost)
        within(cost, 6 * MIB)
        assert cost[1].get("connect", (0, 0, 0))[0] < 16 * 1024, "the connector's memory"
        same(self.pids(), pids, "our processes")
        same(self.daemon.agent(), agent, "the agent's pid")
        assert not [x for x in self.daemon.log(mark) if "\x1b" in x], "escapes in the log"


def own_files():
    """Files of the resolver over those of the host, in our mount namespace only."""
    work = tempfile.mkdtemp(prefix="opampd-names.")
    os.chmod(work, 0o755)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, text in (("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"),
                       ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"), ("hosts", "127.0.0.1 localhost\n")):
        path = os.path.join(work, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        subprocess.run(["mount", "--bind", path, "/etc/" + name], check=True)
        os.unlink(path)  # the mount holds it
    os.rmdir(work)


def tests():
    if not os.environ.get(INSIDE):
        command = ["unshare", "-n", "-m", "--propagation", "private"]
        if subprocess.run(command + ["true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            return [("names: a network and mounts of its own", lambda: (_ for _ in ()).throw(AssertionError("cannot be had here")))]
        os.environ[INSIDE] = "1"
        sys.stdout.flush()
        os.execvp(command[0], command + [sys.executable] + sys.argv)
    own_files()
    stage = Names()
    made = [(f"name server: {what}", lambda a=(what, mode, why): stage.answered(*a)) for what, mode, why in MODES]
    return made + [("name server: an honest offer, an orderly end", stage.end)]

