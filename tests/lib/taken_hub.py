"""Either process of the hub as if the other one had been taken over: the test is the other end of their conversation.

Part("store") is the real opamphub-store in its sandbox, Part("front") the real opamphub-front, each started with what the
hub's parent hands over (hub/setup.h).  What may be said is read from hub/frames.h: a new frame or key is covered without
a word here."""
import fcntl
import http.client
import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import time

import privsep
from bed import BUILD, NOBODY, ROOT
from privsep import TREE

HEAD = struct.Struct("=IIII")
FD_FRAMES, FD_LISTENER, FD_RECORD, FD_ALIVE, FD_STORE = range(3, 8)
# those numbers are nobody's meanwhile, subprocess's own least of all
RESERVED = [os.open("/dev/null", os.O_RDONLY) for _ in range(FD_STORE)]
U64 = struct.Struct("=Q")


def enum(text, name):
    body = re.sub(r"/\*.*?\*/", "", re.search(r"enum " + name + r"\s*{(.*?)\n};", text, re.S).group(1), flags=re.S)
    return {w: i for i, w in enumerate(re.findall(r"\b[A-Z]+_[A-Z0-9_]+\b", body))}


def source(path):
    with open(os.path.join(TREE, path), encoding="utf-8") as f:
        return f.read()


FRAMES_H = source("hub/frames.h")
KEY = enum(FRAMES_H, "frame_key")
SETUP = enum(source("hub/setup.h"), "setup_key")
TABLE = re.findall(r"FRAME\(\s*([A-Z]+),\s*([01]),\s*([^,]+),", re.search(r"#define FRAME_TABLE.*?\n\n", FRAMES_H, re.S).group(0).replace("\\\n", "\n"))
TYPE = {name: i + 1 for i, (name, _, _) in enumerate(TABLE)}
TO_STORE = {name for name, way, _ in TABLE if way == "1"}
COUNT = len(TABLE) + 1
SIZES = {"KIB": 1 << 10, "MIB": 1 << 20}


def bytes_of(text, limits=source("privsep/limits.h")):
    """The largest record, as the table says it: `64 * KIB` or a name of limits.h (\\ joins lines)."""
    text = text.strip().strip("()")
    if re.fullmatch(r"LIMIT_\w+", text):
        found = re.search(r"#define " + text + r"\s+(?:\\\s+)?(\(.*?\)|\S+)", limits)
        return bytes_of(found.group(1))
    return sum(eval_product(part) for part in text.split("+"))


def eval_product(text):
    total = 1
    for word in text.replace("(", " ").replace(")", " ").split("*"):
        word = word.strip()
        total *= SIZES[word] if word in SIZES else bytes_of(word) if word.startswith("LIMIT_") else int(word)
    return total


MOST = {name: bytes_of(most) for name, _, most in TABLE}


def value(v):
    return U64.pack(v) if isinstance(v, int) else v.encode() if isinstance(v, str) else v


def record(entries):
    """[(key name or number, value), ...]"""
    out = struct.pack("=II", 0x4F504D31, len(entries))
    for key, v in entries:
        v = value(v)
        out += struct.pack("=HHII", KEY[key] if isinstance(key, str) else key, 0, 0, len(v)) + v
    return out


def setup(entries):
    return record([(SETUP[key], v) for key, v in entries])


def frame(kind, body=(), conn=1, serial=1, length=None):
    data = body if isinstance(body, bytes) else record(body)
    return HEAD.pack(len(data) if length is None else length, TYPE[kind] if isinstance(kind, str) else kind, conn, serial) + data


def report(uid, flags=1, **more):
    return [("KEY_UID", uid), ("KEY_FLAGS", flags), ("KEY_SEQUENCE", 1), ("KEY_CAPABILITIES", 0x1807),
            *([("KEY_TRANSPORT", "ws"), ("KEY_ADDRESS", "192.0.2.1:4711"), ("KEY_CREDENTIAL", "")] if flags & 1 else []), *more.items()]


class Part:
    """with Part("store") as s: a conversation with it; s.send(frame(..)), s.receive()."""

    def __init__(self, name, store=None, max_agents=50):
        self.name = name
        self.work = tempfile.mkdtemp(prefix="opamphub-taken-", dir="/opt" if ROOT else None)
        os.chmod(self.work, 0o755)
        self.store = store or os.path.join(self.work, "store")
        if not store:
            os.mkdir(self.store, 0o700)
        if ROOT:
            os.chown(self.store, NOBODY, NOBODY)
        self.log_path = os.path.join(self.work, "log")
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        ids = [("SETUP_UID", NOBODY), ("SETUP_GID", NOBODY)] if ROOT else []
        handed = privsep.memfd(setup([("SETUP_LOG_LEVEL", 2), *ids, ("SETUP_MESSAGE_LIMIT", 1 << 20), ("SETUP_MAX_AGENTS", max_agents), ("SETUP_SILENCE", 90),
                                      ("SETUP_STORE", self.store), ("SETUP_LISTEN", f"127.0.0.1:{self.port}")]))
        self.frames, theirs = socket.socketpair()
        self.alive, alive = socket.socketpair()
        where = os.open(self.store if name == "store" else "/dev/null", os.O_RDONLY)
        fds = [theirs.fileno(), listener.fileno(), handed, alive.fileno(), where]

        def prepare():
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in fds]
            for i, fd in enumerate(high):
                os.dup2(fd, FD_FRAMES + i)
            os.umask(0o077)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([os.path.join(BUILD, f"opamphub-{name}")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, env={}, cwd="/",
                                            preexec_fn=prepare, pass_fds=range(FD_FRAMES, FD_STORE + 1))
        theirs.close()
        listener.close()
        alive.close()
        os.close(handed)
        os.close(where)
        self.buffer = b""
        self.alive.settimeout(60)
        assert self.alive.recv(1) == b"r", self.log()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def send(self, data, timeout=60):
        """0: it took all; else how much it did not take in time."""
        self.frames.settimeout(timeout)
        view = memoryview(data)
        while len(view) > 0:
            try:
                view = view[self.frames.send(view[:1 << 20]):]
            except (TimeoutError, socket.timeout):
                return len(view)
            except (BrokenPipeError, ConnectionResetError):
                return len(view)  # it ended: its status says how
        return 0

    def receive(self, timeout=60):
        """(type's number, conn, serial, bytes) or None."""
        end = time.monotonic() + timeout
        while True:
            if len(self.buffer) >= HEAD.size:
                size, kind, conn, serial = HEAD.unpack_from(self.buffer)
                if len(self.buffer) >= HEAD.size + size:
                    body, self.buffer = self.buffer[HEAD.size:HEAD.size + size], self.buffer[HEAD.size + size:]
                    return kind, conn, serial, body
            if not select.select([self.frames], [], [], max(0, end - time.monotonic()))[0]:
                return None
            try:
                data = self.frames.recv(1 << 18)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.buffer += data

    def want(self, kind, timeout=60, where=lambda m: True):
        while True:
            m = self.receive(timeout)
            assert m is not None, f"no {kind}: {self.log()[-500:]}"
            if m[0] == TYPE[kind] and where(m):
                return m

    def wait(self, timeout=60):
        """The exit status; negative: a signal."""
        return self.process.wait(timeout)

    def memory(self):
        """KiB of its own."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1))

    def api(self, path, method="GET", body=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            c.request(method, "/api/v1/" + path, None if body is None else json.dumps(body), {"Content-Type": "application/json"} if body is not None else {})
            a = c.getresponse()
            data = a.read()
        finally:
            c.close()
        assert a.status in (200, 201, 204), (a.status, data)
        return json.loads(data) if data else None

    def end(self):
        """As the parent ends it; its status."""
        self.alive.close()
        return self.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.frames.close()
        self.alive.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self.work, ignore_errors=True)
