"""Playing the parent and the neighbours of one process of opampd, for black-box tests.

The numbers of messages, enums and settings are read from the headers, so that a test cannot drift
from the table.  A Channel speaks the wire format of privsep/channel.c; a Child is the real program,
in its real sandbox.
"""
import array
import fcntl
import os
import re
import select
import socket
import struct
import subprocess
import time

from recorder import recorded

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADER = struct.Struct("=IIII")
F_ADD_SEALS, ALL_SEALS = 1033, 1 | 2 | 4 | 8
TIMEOUT = 10


def _read(path):
    with open(os.path.join(TREE, path), encoding="utf-8") as f:
        return f.read()


def _enums(text):
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    found = {}
    for body in re.findall(r"enum \w+ \{([^{}]*)\}", text):
        value = -1
        for item in body.split(","):
            m = re.match(r"\s*(\w+)\s*(?:=\s*(\d+))?\s*$", item)
            if m:
                value = int(m.group(2)) if m.group(2) else value + 1
                found[m.group(1)] = value
    return found


_MESSAGES = re.sub(r"\\\n\s*", " ", _read("privsep/messages.h"))
E = _enums(_MESSAGES)
MSG = {name: i + 1 for i, name in enumerate(re.findall(r"\bMESSAGE\(\s*([A-Z_]+), P", _MESSAGES))}
NAME = {number: name for name, number in MSG.items()}
SET = {name: i + 1 for i, name in enumerate(re.findall(r"\bSETTING\(\s*([A-Z0-9_]+),", _read("privsep/settings_keys.h")))}


def _payload_sizes():
    """Bytes of each struct msg_*: no padding but what is written out."""
    sizes = {}
    width = {"uint8_t": 1, "uint32_t": 4, "int32_t": 4, "uint64_t": 8, "char": 1}
    text = re.sub(r"/\*.*?\*/", "", _MESSAGES, flags=re.S)
    for name, body in re.findall(r"struct\s+(msg_\w+)\s*\{([^}]*)\}", text):
        size = 0
        for kind, fields in re.findall(r"(\w+)\s+([^;]+);", body):
            for field in fields.split(","):
                m = re.search(r"\[(\d+)\]", field)
                size += width[kind] * (int(m.group(1)) if m else 1)
        sizes[name] = size
    return sizes


_SIZES = _payload_sizes()
PAYLOAD = {name: _SIZES[struct_name] for name, struct_name in
           re.findall(r"\bMESSAGE\(\s*([A-Z_]+), P.*?\b(msg_\w+),", _MESSAGES)}


def memfd(data, seal=True):
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data) if data else None
    if seal:
        fcntl.fcntl(fd, F_ADD_SEALS, ALL_SEALS)
    return fd


def record(entries):
    """entries: (key number, int or str or bytes)."""
    out = struct.pack("=II", 0x4F504D31, len(entries))
    for key, value in entries:
        if isinstance(value, int):
            value = struct.pack("=Q", value)
        elif isinstance(value, str):
            value = value.encode()
        out += struct.pack("=HHII", key, 1, 1, len(value)) + value
    return out


def settings(**values):
    return record([(SET[name], value) for name, value in values.items()])


class Message:
    def __init__(self, data, fd):
        kind, length, self.id, _ = HEADER.unpack(data[:HEADER.size])
        assert length == len(data) - HEADER.size
        self.type = NAME[kind]
        size = PAYLOAD[self.type]
        self.payload = data[HEADER.size:HEADER.size + size]
        self.tail = data[HEADER.size + size:]
        self.fd = fd

    def blob(self):
        """The memfd's bytes; it is closed."""
        size = os.fstat(self.fd).st_size
        data = os.pread(self.fd, size, 0)
        os.close(self.fd)
        self.fd = None
        return data

    def u32(self, i):
        return struct.unpack_from("=I", self.payload, 4 * i)[0]


class Gone(Exception):
    pass


class Channel:
    """One end of a channel.  Keeps what it has received and nobody has asked for."""

    def __init__(self, sock):
        self.sock = sock
        self.kept = []

    def send(self, kind, payload=b"", tail=b"", fd=None, keep=False):
        data = HEADER.pack(MSG[kind], len(payload) + len(tail), 0, 0) + payload + tail
        control = []
        if fd is not None:
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        self.sock.sendmsg([data], control)
        if fd is not None and not keep:
            os.close(fd)

    def receive(self, timeout):
        """The next message, or None when none came in time."""
        ready, _, _ = select.select([self.sock], [], [], max(0, timeout))
        if not ready:
            return None
        data, control, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(64))
        if not data:
            raise Gone()
        fds = array.array("i")
        for level, kind, raw in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(raw[:len(raw) - len(raw) % fds.itemsize])
        return Message(data, fds[0] if fds else None)

    def expect(self, kind, timeout=TIMEOUT, where=lambda m: True):
        """The first message of that type (for which `where` holds); others are kept.  None: none came."""
        end = time.monotonic() + timeout
        for i, m in enumerate(self.kept):
            if m.type == kind and where(m):
                return self.kept.pop(i)
        while True:
            try:
                m = self.receive(end - time.monotonic())
            except Gone:
                return None
            if m is None or (m.type == kind and where(m)):
                return m
            self.kept.append(m)

    def forget(self):
        """Drops what is there."""
        while True:
            m = self.kept.pop(0) if self.kept else self.receive(0)
            if m is None:
                return
            if m.fd is not None:
                os.close(m.fd)

    def close(self):
        self.sock.close()


def pair():
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Child:
    """A program of opampd with the test as its parent.  uid None: we are not root, or act so."""

    def __init__(self, program, proc, record_bytes, user=None, run_as=None, stderr=None, level=2,
                 endpoint=0):
        ours, theirs = pair()
        number = theirs.fileno()

        def prepare():
            if number == 3:
                os.set_inheritable(3, True)
            else:
                os.dup2(number, 3)
            if run_as is not None:
                os.setgroups([])
                os.setresgid(run_as, run_as, run_as)
                os.setresuid(run_as, run_as, run_as)

        self.process = subprocess.Popen(recorded([program]), stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
                                        env={}, cwd="/", preexec_fn=prepare, pass_fds=(3,))
        theirs.close()
        self.proc = E["PROC_" + proc]
        self.parent = Channel(ours)
        self.epoch = 0
        flags = 0 if user else E["CHILD_UNPRIVILEGED"]
        uid, gid = user or (0, 0)
        start = struct.pack("=25I", self.proc, 1, flags, level, uid, gid, 0, endpoint, 0, *([0] * 16))
        self.parent.send("CHILD_START", start, fd=memfd(record_bytes))

    def join(self, peer):
        """A new channel to a neighbour; ours is its other end."""
        ours, theirs = pair()
        self.epoch += 1
        self.parent.send("CHILD_PEER", struct.pack("=II", E["PROC_" + peer], self.epoch), fd=os.dup(theirs.fileno()))
        theirs.close()
        return Channel(ours)

    def go(self):
        self.parent.send("CHILD_GO")
        m = self.parent.expect("CHILD_READY")
        return m is not None and m.u32(0) == 1

    def wait(self, timeout=TIMEOUT):
        """The exit status; negative: the signal.  None: still there."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.parent.close()


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, name, detail=""):
        self.count += 1
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}", flush=True)
        if not good:
            self.failed += 1
            for line in str(detail).splitlines():
                print(f"# {line}", flush=True)
        return good

    def skip(self, name, why):
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {why}", flush=True)

    def done(self):
        print(f"1..{self.count}", flush=True)
        return 1 if self.failed else 0
