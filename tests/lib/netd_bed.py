"""opampd-netd in its sandbox, with the test as parent and confd; the server is opampserver's."""
import os
import pwd
import shutil
import signal
import socket
import struct
import tempfile
import threading

import privsep
from privsep import E, Child

ANYBODY = 65534
UID = bytes(range(1, 17))


class Bed:
    def __init__(self, root, url, files=None, **settings):
        self.root = root
        self.work = tempfile.mkdtemp(prefix="opampd-netd.")
        os.chmod(self.work, 0o755)
        self.program = os.path.join(self.work, "opampd-netd")
        shutil.copy(os.path.join(os.environ.get("O", "build"), "opampd-netd"), self.program)
        self.port = int(url.rsplit(":", 1)[1].split("/")[0])
        self.stderr = open(os.path.join(self.work, "stderr"), "ab")
        self.files = dict(files or {})
        self.settings = [(privsep.SET["ENDPOINT"], url), (privsep.SET["EXECUTABLE"], "/opt/agents/otelcol")]
        for name, value in settings.items():
            values = value if isinstance(value, list) else [value]
            self.settings += [(privsep.SET[name], v) for v in values]
        self.requests = 0
        self.refuse = None  # (kind, code) in place of a connection
        self.connecting = None
        self.netd = self.parent = self.confd = None

    def start(self, ready=True):
        user = None
        if self.root:
            entry = pwd.getpwnam("_opampd_net")
            user = (entry.pw_uid, entry.pw_gid)
        self.netd = Child(self.program, "NETD", privsep.record(self.settings), user=user,
                          run_as=None if self.root else ANYBODY, stderr=self.stderr, level=3)
        self.parent = self.netd.parent
        for kind, data in self.files.items():
            self.parent.send("CHILD_FILE", struct.pack("=II", E[kind], 0),
                             fd=privsep.memfd(data if isinstance(data, bytes) else data.encode()))
        self.confd = self.netd.join("CONFD")
        if not ready:
            self.parent.send("CHILD_GO")
            return None
        return self.netd.go()

    # ---- the parent

    def connect(self, timeout=privsep.TIMEOUT, answer=True):
        """Answers one CONNECT_REQUEST.  Gives its attempt, or None when none came."""
        m = self.parent.expect("CONNECT_REQUEST", timeout=timeout)
        if m is None:
            return None
        self.requests += 1
        if answer:
            self.hand_over(m.u32(1))
        return m.u32(1)

    def hand_over(self, attempt, sock=None):
        if self.refuse:
            self.parent.send("CONNECT_FAILED", struct.pack("=IIIi", E["ENDPOINT_SERVER"], attempt, *self.refuse))
            return
        sock = sock or socket.create_connection(("127.0.0.1", self.port))
        self.parent.send("CONNECT_DONE", struct.pack("=II", E["ENDPOINT_SERVER"], attempt), fd=sock.detach())

    # ---- confd

    def health(self, healthy=1, error="", status="StatusOK", started=7, tree=b"", time=1):
        self.confd.send("NET_HEALTH", struct.pack("=IIQQ", healthy, 0, started, time),
                        error.encode() + b"\0" + status.encode(), fd=privsep.memfd(tree))

    def status(self, status, config_hash=b"", error=""):
        self.confd.send("NET_STATUS", struct.pack("=I", status),
                        fd=privsep.memfd(struct.pack("=I", len(config_hash)) + config_hash + error.encode()))

    def effective(self, data, form="EFFECTIVE_TEXT"):
        self.confd.send("NET_EFFECTIVE", struct.pack("=I", E[form]), fd=privsep.memfd(data))

    def sync(self, uid=UID, description=b"", **health):
        """A confd's full state."""
        self.confd.send("NET_IDENTITY", uid)
        self.confd.send("NET_DESCRIPTION", struct.pack("=II", 0, 0), fd=privsep.memfd(description))
        self.health(**health)
        self.effective(b"receivers: {}\n")
        self.status(E["CONFIG_UNSET"])
        self.confd.send("NET_SYNCED")

    def state(self, event, timeout=privsep.TIMEOUT):
        return self.confd.expect("SERVER_STATE", timeout=timeout, where=lambda m: m.u32(0) == E[event])

    def credit(self):
        self.confd.send("OFFER_CREDIT")

    # ---- the end

    def stop(self):
        self.parent.send("CHILD_END")
        return self.netd.wait()

    def killed_by_filter(self):
        return self.netd.process.poll() == -signal.SIGSYS

    def errors(self):
        self.stderr.flush()
        with open(os.path.join(self.work, "stderr"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def close(self):
        if self.netd is not None and self.netd.process.poll() is None:
            self.netd.kill()
        self.stderr.close()
        shutil.rmtree(self.work, ignore_errors=True)


def parse_offer(data):
    """offer.h's table: (hash, empty_map, {name: (type, body)})."""
    magic, empty, count, at, size = struct.unpack_from("=5I", data)
    assert magic == 0x4F46464F

    def part(offset, length):
        return data[offset:offset + length]
    files = {}
    for i in range(count):
        n, nl, t, tl, b, bl = struct.unpack_from("=6I", data, 20 + 24 * i)
        files[part(n, nl).decode()] = (part(t, tl).decode(), part(b, bl))
    return part(at, size), empty, files


class RawServer:
    """Answers one connection with bytes as they are: for answers that no library would give."""

    def __init__(self, answer, close=True):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(4)
        self.port = self.listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/v1/opamp"
        self.request = b""
        self.answer, self.close = answer, close
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        conn, _ = self.listener.accept()
        conn.settimeout(10)
        while b"\r\n\r\n" not in self.request:
            data = conn.recv(65536)
            if not data:
                break
            self.request += data
        try:
            conn.sendall(self.answer)
            if self.close:
                conn.shutdown(socket.SHUT_WR)
            while conn.recv(65536):
                pass
        except OSError:
            pass
        conn.close()
        self.listener.close()
