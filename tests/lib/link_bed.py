"""opampd-link in its sandbox, with the test as parent, confd and agent."""
import base64
import hashlib
import os
import pwd
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

import privsep
from privsep import E, Child

PATH = "/v1/opamp"
ANYBODY = 65534  # as whom the link runs where it is not started by root
STRANGER = 65533
UID = bytes(range(1, 17))


def opamp(work):
    """The protocol's messages, compiled by protoc."""
    subprocess.run(["protoc", "-I" + os.path.join(privsep.TREE, "proto"), "--python_out=" + work,
                    "opamp/v1/opamp.proto", "opamp/v1/anyvalue.proto"], check=True)
    sys.path.insert(0, work)
    from opamp.v1 import opamp_pb2  # pylint: disable=import-outside-toplevel,import-error
    return opamp_pb2


class Bed:
    """One link after the other; listener, log and the agent's pipes are kept as the parent keeps them."""

    def __init__(self, root, **settings):
        self.root = root
        self.work = tempfile.mkdtemp(prefix="opampd-link.")
        os.chmod(self.work, 0o755)
        self.program = os.path.join(self.work, "opampd-link")
        shutil.copy(os.path.join(os.environ.get("O", "build"), "opampd-link"), self.program)
        self.settings = privsep.settings(**settings)
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]
        self.diag = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 4)
        self.logs = 0
        self.stderr = open(os.path.join(self.work, "stderr"), "ab")
        self.agent_uid = ANYBODY
        self.starts = 0
        self.pipes = {}
        self.secrets = {}
        self.secret_files = {}
        self.secret_next = None
        self.link = self.parent = self.confd = None

    # ---- the link's life

    def start(self, lives=(), log=True):
        user = None
        if self.root:
            entry = pwd.getpwnam("_opampd_link")
            user = (entry.pw_uid, entry.pw_gid)
        self.link = Child(self.program, "LINK", self.settings, user=user,
                          run_as=None if self.root else ANYBODY, stderr=self.stderr)
        self.parent = self.link.parent
        self.confd = self.link.join("CONFD")
        self.parent.send("LINK_LISTENER", fd=os.dup(self.listener.fileno()))
        self.parent.send("LINK_DIAG", fd=os.dup(self.diag.fileno()))
        if log:
            self.new_log()
        for start in lives:
            self.parent.send("LINK_SECRET", struct.pack("=I", start), fd=os.dup(self.secret_files[start]))
        for start in lives:
            self.tell_begun(start)
        return self.link.go()

    def new_log(self):
        self.logs += 1
        path = os.path.join(self.work, f"agent.log.{self.logs}")
        self.parent.send("LINK_LOG", fd=os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640))
        return path

    def log_text(self, number=None):
        with open(os.path.join(self.work, f"agent.log.{number or self.logs}"), encoding="utf-8") as f:
            return f.read()

    def take_secret(self):
        m = self.parent.expect("LINK_SECRET_NEXT")
        self.secret_next = m.fd
        return m

    def begin(self, kind="AGENT_RUN"):
        """The agent is started: takes the next secret.  Gives the number of the start."""
        if self.secret_next is None:
            self.take_secret()
        self.starts += 1
        start = self.starts
        if kind == "AGENT_RUN":
            self.secret_files[start] = self.secret_next
            self.secret_next = None
            text = os.pread(self.secret_files[start], 4096, 0).decode()
            self.secrets[start] = re.search(r'X-Opampd-Link: "([0-9a-f]{64})"', text).group(1)
        self.pipes[start] = [os.pipe(), os.pipe(), kind]
        self.tell_begun(start)
        return start

    def tell_begun(self, start):
        out, err, kind = self.pipes[start]
        self.parent.send("LINK_BEGUN", struct.pack("=IIiIIIQQ", start, E[kind], 4711, 0, self.agent_uid, 0, 1, 1))
        for number, pipe in ((1, out), (2, err)):
            self.parent.send("LINK_OUTPUT", struct.pack("=III", start, E[kind], number), fd=os.dup(pipe[0]))

    def say(self, start, text, stream=1):
        os.write(self.pipes[start][stream - 1][1], text.encode() if isinstance(text, str) else text)

    def end(self, start, code=0):
        """The agent's process is gone."""
        out, err, kind = self.pipes.pop(start)
        for pipe in (out, err):
            os.close(pipe[1])
            os.close(pipe[0])
        self.parent.send("LINK_ENDED", struct.pack("=IIIiIIQ", start, E[kind], E["EXIT_CODE"], code, 0, 0, 1))

    def kill(self):
        self.link.kill()
        self.confd.close()

    def stop(self):
        """In order.  Gives the exit status."""
        self.parent.send("CHILD_END")
        return self.link.wait()

    def errors(self):
        self.stderr.flush()
        with open(os.path.join(self.work, "stderr"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def close(self):
        if self.link is not None and self.link.process.poll() is None:
            self.kill()
        self.listener.close()
        self.diag.close()
        self.stderr.close()
        shutil.rmtree(self.work, ignore_errors=True)

    # ---- connections

    def connect(self, uid=None):
        """A TCP connection that belongs to a user (default: the agent's)."""
        return connect_as(self.port, self.agent_uid if uid is None else uid)

    def headers(self, start):
        return {"X-Opampd-Link": self.secrets[start]}

    def raw(self, start, uid=None):
        return Raw(self.connect(uid), self.secrets.get(start, ""))


def connect_as(port, uid):
    """Whose a socket is, is decided where it is made."""
    os.seteuid(uid)
    try:
        sock = socket.socket()
    finally:
        os.seteuid(0)
    sock.settimeout(privsep.TIMEOUT)
    sock.connect(("127.0.0.1", port))
    return sock


class Raw:
    """A client that can do it wrong: HTTP and WebSocket by hand."""

    def __init__(self, sock, secret):
        self.sock = sock
        self.secret = secret
        self.data = b""

    def request(self, method="GET", path=PATH, body=b"", secret=None, **headers):
        secret = self.secret if secret is None else secret
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if secret:
            head += f"X-Opampd-Link: {secret}\r\n"
        for name, value in headers.items():
            head += f"{name.replace('_', '-')}: {value}\r\n"
        self.sock.sendall(head.encode() + b"\r\n" + body)

    def head(self):
        """(status, headers in lower case) of the answer; (0, {}) when there is none."""
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                return 0, {}
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        return int(lines[0].split(" ")[1]), headers

    def more(self):
        try:
            got = self.sock.recv(65536)
        except ConnectionError:
            got = b""
        self.data += got
        return bool(got)

    def take(self, n):
        while len(self.data) < n:
            if not self.more():
                return b""
        got, self.data = self.data[:n], self.data[n:]
        return got

    def ended(self):
        """The peer closed, with nothing left to read."""
        return not self.data and not self.more()

    def upgrade(self, key=None, **headers):
        key = key or base64.b64encode(os.urandom(16)).decode()
        self.request(Upgrade="websocket", Connection="keep-alive, Upgrade", Sec_WebSocket_Version="13",
                     Sec_WebSocket_Key=key, **headers)
        status, got = self.head()
        want = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        self.accept_ok = got.get("sec-websocket-accept") == want.decode().lower()
        return status

    def frame(self, opcode, payload=b"", fin=1, rsv=0, mask=True, length=None):
        length = len(payload) if length is None else length
        out = bytes([fin << 7 | rsv << 4 | opcode])
        bit = 0x80 if mask else 0
        if length < 126:
            out += bytes([bit | length])
        elif length < 65536:
            out += bytes([bit | 126]) + struct.pack(">H", length)
        else:
            out += bytes([bit | 127]) + struct.pack(">Q", length)
        if mask:
            key = os.urandom(4)
            whole = (key * (len(payload) // 4 + 1))[:len(payload)]
            mixed = int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")
            out += key + mixed.to_bytes(len(payload), "big")
        else:
            out += payload
        self.sock.sendall(out)

    def read_frame(self):
        """(opcode, payload) of a whole, unmasked frame; (None, b"") at the end."""
        head = self.take(2)
        if not head:
            return None, b""
        length = head[1] & 0x7F
        if length == 126:
            length = struct.unpack(">H", self.take(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.take(8))[0]
        return head[0] & 0x0F, self.take(length) if length else b""

    def closed_with(self):
        """The code of the Close frame that comes, whatever comes before it."""
        while True:
            opcode, payload = self.read_frame()
            if opcode is None:
                return None
            if opcode == 8:
                return struct.unpack(">H", payload[:2])[0] if payload else 1005

    def close(self):
        self.sock.close()
