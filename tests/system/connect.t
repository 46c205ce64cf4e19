#!/usr/bin/python3
"""opampd-connect in its real sandbox, root and ordinary user, with the test as its parent and as its
name server.

As root it all happens in a network and a mount namespace of its own, where /etc/resolv.conf names the
test's name server; elsewhere the tests of names that are asked of a name server are skipped.
"""
import errno
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc  # noqa: E402
import privsep  # noqa: E402
from privsep import E, Child  # noqa: E402
from tap import until  # noqa: E402

ANYBODY = 65534
EAI_NONAME, EAI_AGAIN, EAI_FAIL, EAI_NODATA = -2, -3, -4, -5
A, AAAA = 1, 28


class NameServer:
    """Answers by the first label of the name; counts what it was asked over TCP."""

    def __init__(self, family, address):
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = socket.socket(family)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((address, 53))
        self.tcp.listen(8)
        self.over_tcp = 0
        threading.Thread(target=self.serve_udp, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    @staticmethod
    def addresses(label, kind):
        if label == "many":
            many = [f"127.0.2.{i}" for i in range(1, 200)] + ["127.0.0.1"]
            return [socket.inet_aton(a) for a in many] if kind == A else []
        table = {
            "both": {A: ["127.0.0.1"], AAAA: ["::1"]},
            "four": {A: ["127.0.0.1"]},
            "six": {AAAA: ["::1"]},
            "away": {A: ["192.0.2.1"]},
            "mixed": {A: ["192.0.2.1", "127.0.0.1"]},
        }
        family = socket.AF_INET if kind == A else socket.AF_INET6
        return [socket.inet_pton(family, a) for a in table.get(label, {}).get(kind, [])]

    def answer(self, query, udp):
        number, at, labels = query[:2], 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack_from(">H", query, at + 1)[0]
        question = query[12:at + 5]
        label = labels[0].lower()
        if label == "silent":
            return None
        if label == "nonsense":
            return number + b"\x81\x80" + b"\xff" * 40
        if label == "loop":  # a name that is a pointer to itself
            return number + b"\x81\x80\0\1\0\1\0\0\0\0" + question + b"\xc0" + bytes([12 + len(question)]) + b"\0" * 10
        if label == "nowhere":
            return number + b"\x81\x83\0\1\0\0\0\0\0\0" + question
        if label == "refused":
            return number + b"\x81\x85\0\1\0\0\0\0\0\0" + question
        found = self.addresses(label, kind)
        if udp and label in ("many", "cut"):
            return number + b"\x83\x80\0\1\0\0\0\0\0\0" + question
        if label == "cut":
            found = [socket.inet_aton("127.0.0.1")] if kind == A else []
        records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(a)) + a for a in found)
        return number + b"\x81\x80\0\1" + struct.pack(">H", len(found)) + b"\0\0\0\0" + question + records

    def serve_udp(self):
        while True:
            query, peer = self.udp.recvfrom(4096)
            data = self.answer(query, True)
            if data:
                self.udp.sendto(data, peer)

    def serve_tcp(self):
        while True:
            conn, _ = self.tcp.accept()
            threading.Thread(target=self.serve_one, args=(conn,), daemon=True).start()

    def serve_one(self, conn):
        self.over_tcp += 1
        with conn, conn.makefile("rb") as stream:
            while True:
                head = stream.read(2)
                if len(head) < 2:
                    return
                data = self.answer(stream.read(struct.unpack(">H", head)[0]), False)
                conn.sendall(struct.pack(">H", len(data)) + data)


class Result:
    def __init__(self, message, status, errors):
        self.done = message is not None and message.type == "CONNECTOR_DONE"
        self.status = status
        self.errors = errors
        self.kind = self.code = self.socket = None
        if self.done:
            self.socket = socket.socket(fileno=message.fd)
        elif message is not None:
            _, _, self.kind, self.code = struct.unpack("=IIIi", message.payload)

    def failed(self, kind, *codes):
        return self.status == 0 and self.kind == E[kind] and self.code in codes

    def __str__(self):
        return f"done {self.done} kind {self.kind} code {self.code} status {self.status}\n{self.errors}"


class Test:
    def __init__(self, tap, work, root, names, names6):
        self.tap, self.work, self.root, self.names, self.names6 = tap, work, root, names, names6
        self.who = "root" if root else "user"
        self.program = os.path.join(work, "opampd-connect")

    def ok(self, good, name, detail=""):
        self.tap.ok(good, f"{name} ({self.who})", detail)

    def connect(self, url, endpoint="ENDPOINT_SERVER", timeout=privsep.TIMEOUT, limit_ms=3000, disturb=False):
        key = "ENDPOINT" if endpoint == "ENDPOINT_SERVER" else "HEALTH_ENDPOINT"
        limit = "CONNECT_TIMEOUT" if endpoint == "ENDPOINT_SERVER" else "HEALTH_TIMEOUT"
        user = None
        if self.root:
            entry = pwd.getpwnam("_opampd_dns")
            user = (entry.pw_uid, entry.pw_gid)
        with open(os.path.join(self.work, "stderr"), "wb+") as stderr:
            child = Child(self.program, "CONNECT", privsep.settings(**{key: url, limit: limit_ms}), user=user,
                          run_as=None if os.geteuid() or self.root else ANYBODY, stderr=stderr, endpoint=E[endpoint])
            message = status = None
            try:
                if child.go():
                    if disturb:
                        until(lambda: proc.status(child.process.pid)["State"][0] == "S", timeout, "it to wait")
                        os.kill(child.process.pid, signal.SIGSTOP)
                        until(lambda: proc.status(child.process.pid)["State"][0] in "Tt", timeout, "it to stop")
                        os.kill(child.process.pid, signal.SIGCONT)
                    message = child.parent.receive(timeout)
            except privsep.Gone:
                pass  # it ended without a word: its status tells
            try:
                status = child.wait()
            finally:
                child.kill()
            stderr.seek(0)
            return Result(message, status, stderr.read().decode(errors="replace"))

    def connected(self, name, url, family=socket.AF_INET, endpoint="ENDPOINT_SERVER"):
        """url has PORT where the port of a listener belongs."""
        listener = socket.socket(family)
        listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        listener.listen(8)
        listener.settimeout(privsep.TIMEOUT)
        r = self.connect(url.replace("PORT", str(listener.getsockname()[1])), endpoint)
        good = r.done and r.status == 0
        if good:
            conn, _ = listener.accept()
            r.socket.setblocking(True)
            r.socket.sendall(b"to")
            conn.sendall(b"fro")
            good = conn.recv(10) == b"to" and r.socket.recv(10) == b"fro"
            good = good and r.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            conn.close()
            r.socket.close()
        listener.close()
        self.ok(good, name, r)

    def closed_port(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    def literal_addresses(self):
        self.connected("FR-09 an IPv4 address", "ws://127.0.0.1:PORT/v1/opamp")
        self.connected("FR-09 an IPv6 address", "wss://[::1]:PORT", socket.AF_INET6)
        self.connected("I3 localhost is found in /etc/hosts", "ws://localhost:PORT")
        self.connected("the health endpoint", "http://127.0.0.1:PORT/", endpoint="ENDPOINT_HEALTH")
        self.connected("the health endpoint by name", "http://localhost:PORT/health", endpoint="ENDPOINT_HEALTH")
        self.connected("the health endpoint, IPv6", "http://[::1]:PORT/", socket.AF_INET6, "ENDPOINT_HEALTH")

    def failures(self):
        r = self.connect(f"ws://127.0.0.1:{self.closed_port()}")
        self.ok(r.failed("CONNECT_ERRNO", errno.ECONNREFUSED), "a port where nobody listens", r)
        r = self.connect(f"ws://localhost:{self.closed_port()}")
        self.ok(r.failed("CONNECT_ERRNO", errno.ECONNREFUSED), "a name, a port where nobody listens", r)
        r = self.connect("http://192.0.2.1:80/", "ENDPOINT_HEALTH")
        self.ok(r.failed("CONNECT_ERRNO", errno.EADDRNOTAVAIL), "the health endpoint is on this host or nowhere", r)
        # a listener whose queue is full answers nothing
        full = socket.socket()
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fill = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(full.getsockname())
            fill.append(s)
        port = full.getsockname()[1]
        r = self.connect(f"ws://127.0.0.1:{port}", limit_ms=500)
        self.ok(r.failed("CONNECT_TIMEOUT", 0), "an address that answers nothing", r)
        r = self.connect(f"http://127.0.0.1:{port}", "ENDPOINT_HEALTH", limit_ms=300)
        self.ok(r.failed("CONNECT_TIMEOUT", 0), "a health endpoint that answers nothing", r)
        for s in fill + [full]:
            s.close()
        r = self.connect("ws://not-there.invalid", timeout=60)
        self.ok(r.failed("CONNECT_RESOLVE", EAI_NONAME, EAI_NODATA, EAI_AGAIN), "a name that does not exist", r)

    def name_server(self):
        if self.names is None:
            self.tap.skip(f"names asked of a name server ({self.who})", "needs root and namespaces of its own")
            return
        self.connected("a name with both families, IPv4 answers", "ws://both.test:PORT")
        self.connected("a name with both families, IPv6 answers", "ws://both.test:PORT", socket.AF_INET6)
        self.connected("a name with IPv4 alone", "ws://four.test:PORT")
        self.connected("a name with IPv6 alone", "ws://six.test:PORT", socket.AF_INET6)
        before = self.names.over_tcp
        self.connected("an answer that takes TCP", "ws://cut.test:PORT")
        self.ok(self.names.over_tcp > before, "the name server was asked over TCP")
        self.connected("the health endpoint of two addresses: the one on this host", "http://mixed.test:PORT",
                       endpoint="ENDPOINT_HEALTH")
        for label, codes in (("nowhere", [EAI_NONAME]), ("nonsense", [EAI_AGAIN, EAI_FAIL, EAI_NONAME]),
                             ("loop", [EAI_AGAIN, EAI_FAIL, EAI_NONAME, EAI_NODATA]), ("refused", [EAI_AGAIN]),
                             ("silent", [EAI_AGAIN])):
            r = self.connect(f"ws://{label}.test", timeout=30)
            self.ok(r.failed("CONNECT_RESOLVE", *codes), f"a name server's answer: {label}", r)
        r = self.connect(f"ws://many.test:{self.closed_port()}")
        self.ok(r.failed("CONNECT_ERRNO", errno.ECONNREFUSED), "200 addresses that all refuse", r)
        r = self.connect("http://away.test", "ENDPOINT_HEALTH")
        self.ok(r.failed("CONNECT_ERRNO", errno.EADDRNOTAVAIL), "the health endpoint's name means another host", r)

    def name_services(self):
        """nsswitch.conf with modules in libraries, as distributions have it: none is loaded.  Most are not on this
        host; hesiod's is, since libc brings it."""
        if self.names is None:
            return
        path = "/etc/nsswitch.conf"
        with open(path, encoding="utf-8") as f:
            usual = f.read()
        for hosts in ("hesiod [!UNAVAIL=return] files dns", "files mymachines resolve [!UNAVAIL=return] myhostname dns",
                      "files mdns4_minimal [NOTFOUND=return] dns", "dns files", "hesiod"):
            with open(path, "w", encoding="utf-8") as f:
                f.write(f"passwd: files systemd\nhosts: {hosts}\n")
            self.connected(f"nsswitch.conf: hosts: {hosts}", "ws://four.test:PORT")
        with open(path, "w", encoding="utf-8") as f:
            f.write(usual)

    def resolver_settings(self):
        if self.names is None:
            return
        path = "/etc/resolv.conf"
        with open(path, encoding="utf-8") as f:
            usual = f.read()
        for text, names in (("nameserver ::1\n", self.names6), ("nameserver 127.0.0.1\noptions single-request\n", self.names)):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text + "options timeout:1 attempts:1\n")
            before = names.over_tcp
            self.connected(f"resolv.conf: {text.split(chr(10))[-2]}", "ws://both.test:PORT")
            self.connected(f"resolv.conf: {text.split(chr(10))[-2]}, an answer that takes TCP", "ws://cut.test:PORT")
            self.ok(names.over_tcp > before, "that name server was asked over TCP")
        with open(path, "w", encoding="utf-8") as f:
            f.write(usual)

    def stopped(self):
        """It goes on with its waiting."""
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            fill = [socket.socket() for _ in range(4)]
            for s in fill:
                s.setblocking(False)
                s.connect_ex(full.getsockname())
            r = self.connect(f"ws://127.0.0.1:{full.getsockname()[1]}", limit_ms=1500, disturb=True)
            for s in fill:
                s.close()
        self.ok(r.failed("CONNECT_TIMEOUT", 0), "stopped and continued while it waits", r)

    def orders(self):
        for url, endpoint in (("http://127.0.0.1:1", "ENDPOINT_SERVER"), ("ws://127.0.0.1:1", "ENDPOINT_HEALTH"),
                              ("ws://127.0.0.1", "ENDPOINT_NONE")):
            r = self.connect(url, endpoint)
            self.ok(not r.done and r.kind is None and r.status == 1, f"no connection: {url} for {endpoint}", r)

    def run(self):
        self.literal_addresses()
        self.failures()
        self.name_server()
        self.name_services()
        self.resolver_settings()
        self.stopped()
        self.orders()


def in_namespaces():
    """Starts this program anew in namespaces of its own, where that can be had."""
    if os.geteuid() != 0 or os.environ.get("CONNECT_T_INSIDE"):
        return
    command = ["unshare", "-n", "-m", "--propagation", "private"]
    if subprocess.run(command + ["true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        os.environ["CONNECT_T_INSIDE"] = "1"
        os.execvp(command[0], command + [sys.executable, os.path.abspath(__file__)])


def own_files(work):
    """Files of the resolver, over those of the host; seen in our mount namespace only."""
    # a new network namespace begins with loopback down
    if subprocess.run(["ip", "link", "set", "lo", "up"], check=False).returncode != 0:
        return False
    texts = {
        "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        "nsswitch.conf": "passwd: files\nhosts: files dns\n",
        "hosts": "127.0.0.1 localhost\n",
    }
    for name, text in texts.items():
        path = os.path.join(work, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        if not os.path.exists("/etc/" + name):
            return False
        if subprocess.run(["mount", "--bind", path, "/etc/" + name], check=False).returncode != 0:
            return False
    return True


def main():
    in_namespaces()
    tap = privsep.Tap()
    root = os.geteuid() == 0
    names = names6 = None
    work = tempfile.mkdtemp(prefix="opampd-connect.")
    try:
        os.chmod(work, 0o755)
        shutil.copy(os.path.join(os.environ.get("O", "build"), "opampd-connect"), work)
        if os.environ.get("CONNECT_T_INSIDE") and own_files(work):
            names = NameServer(socket.AF_INET, "127.0.0.1")
            names6 = NameServer(socket.AF_INET6, "::1")
        if root:
            subprocess.run(["make", "-s", "users"], check=True, stdout=sys.stderr, cwd=privsep.TREE)
            Test(tap, work, True, names, names6).run()
        Test(tap, work, False, names, names6).run()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
