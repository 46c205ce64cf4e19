"""A running opamphub with its store in a directory of its own, agents of the test's own making (raw
WebSocket, plain HTTP), and its API.  Whatever happens, nothing is left running."""
import base64
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import proc
from recorder import recorded
from tap import until

BUILD = os.environ["O"]
ROOT = os.geteuid() == 0
NOBODY = 65534
sys.path.insert(0, os.path.join(BUILD, "gen", "python"))
from opamp.v1 import opamp_pb2 as opamp  # noqa: E402  pylint: disable=wrong-import-position

# bits of agents
STATUS, CONFIG, EFFECTIVE, METRICS, OPAMP_SETTINGS, RESTART, HEALTH, REMOTE, HEARTBEAT, COMPONENTS = (
    0x1, 0x2, 0x4, 0x40, 0x100, 0x400, 0x800, 0x1000, 0x2000, 0x4000)
USUAL = STATUS | CONFIG | EFFECTIVE | RESTART | HEALTH | REMOTE | HEARTBEAT
APPLIED, APPLYING, FAILED = 1, 2, 3


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Hub:
    """One opamphub.  user: "root" (it becomes _opamphub) or "user"."""

    def __init__(self, *options, user=None, tokens=None, agent_tokens=None, wrapper=(), ports=None):
        self.user = user or ("root" if ROOT else "user")
        self.work = tempfile.mkdtemp(prefix="opamphub-", dir="/opt" if ROOT else None)
        os.chmod(self.work, 0o755)
        for name in ("opamphub", "opamphub-front", "opamphub-store"):
            shutil.copy(os.path.join(BUILD, name), self.work)
        self.store = os.path.join(self.work, "store")
        if self.user == "user" and ROOT:
            os.mkdir(self.store, 0o700)
            os.chown(self.store, NOBODY, NOBODY)
        self.agents_port, self.page_port = ports or (free_port(), free_port())
        self.wrapper = list(wrapper)
        self.options = list(options)
        self.token = None
        if tokens:
            self.options += ["--page-token-file", self.file("page.tokens", tokens)]
            self.token = tokens.split()[1]
        if agent_tokens:
            self.options += ["--agents-token-file", self.file("agent.tokens", agent_tokens)]
        self.process = None
        self.agents = []
        self.log_path = os.path.join(self.work, "log")
        self.start()

    def file(self, name, text):
        path = os.path.join(self.work, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o600)
        if self.user == "user" and ROOT:
            os.chown(path, NOBODY, NOBODY)
        return path

    def command(self):
        return [os.path.join(self.work, "opamphub"), "--store", self.store, "--agents", f"127.0.0.1:{self.agents_port}",
                "--page", f"127.0.0.1:{self.page_port}", *self.options]

    def spawn(self, command, **more):
        def become():
            if self.user == "user" and ROOT:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
        return subprocess.Popen(command, preexec_fn=become, stdin=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", "HOME": self.work}, **more)

    def start(self, ready=True):
        with open(self.log_path, "ab") as log:
            self.process = self.spawn(recorded(self.wrapper + self.command()), stdout=log, stderr=log)
        if ready:
            until(lambda: "page: http" in self.log()[self.mark:] or self.process.poll() is not None, 30, "the hub's first line")
            assert self.process.poll() is None, self.log()
        return self

    mark = 0

    def log(self):
        with open(self.log_path, encoding="utf-8") as f:
            return f.read()

    def children(self):
        """{"front": pid, "store": pid}"""
        names = ((proc.status(pid).get("Name", ""), pid) for pid in proc.children(self.process.pid))  # one may be gone meanwhile
        return {name.split("-")[-1]: pid for name, pid in names if name.startswith("opamphub-")}

    def stop(self, how=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            pids = list(proc.children(self.process.pid))
            self.process.send_signal(how)
            self.process.wait(20)
            until(lambda: not any(proc.alive(p) for p in pids), 10, "the hub's processes have ended")
        self.mark = len(self.log())
        return self.process.returncode if self.process is not None else None

    def restart(self, how=signal.SIGTERM):
        self.stop(how)
        return self.start()

    def close(self):
        for agent in self.agents:
            agent.close()
        try:
            self.stop()
        finally:
            if self.process is not None and self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if not os.environ.get("KEEP"):
                shutil.rmtree(self.work, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- the API

    def request(self, method, path, body=None, headers=None, raw=None):
        """(status, headers, bytes)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.page_port, timeout=30)
        h = {"Content-Type": "application/json"} if method != "GET" else {}
        if self.token:
            h["Authorization"] = "Bearer " + self.token
        h.update(headers or {})
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        connection.request(method, path, data, {k: v for k, v in h.items() if v is not None})
        answer = connection.getresponse()
        result = answer.status, dict(answer.getheaders()), answer.read()
        connection.close()
        return result

    def api(self, path, method="GET", body=None, want=None):
        status, _, data = self.request(method, "/api/v1/" + path, body)
        if want is None:
            want = {"GET": 200, "POST": 201, "DELETE": 204}[method]
        assert status == want, f"{method} {path}: {status} {data[:500]}"
        return json.loads(data) if data else None

    def agent(self, *args, **kwargs):
        a = Agent(self, *args, **kwargs)
        self.agents.append(a)
        return a

    def seen(self, uid):
        status, _, data = self.request("GET", f"/api/v1/agents/{text(uid)}")
        return json.loads(data) if status == 200 else None

    def send_configuration(self, files, name=None, **to):
        """Makes it, its version and the assignment; gives (version's id, assignment's id)."""
        known = {c["name"]: c["id"] for c in self.api("configurations")["items"]}
        name = name or "c"
        number = known.get(name) or self.api("configurations", "POST", {"name": name})["id"]
        if isinstance(files, str):
            files = {"": {"content_type": "text/yaml", "body": files}}
        version = self.api(f"configurations/{number}/versions", "POST", {"files": files})["id"]
        return version, self.api("assignments", "POST", {"version": version, **(to or {"selector": ""})})["id"]


def text(uid):
    h = uid.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


class Closed(Exception):
    """The hub closed the connection; code is of its Close frame, or None."""

    def __init__(self, code, why=""):
        super().__init__(f"closed: {code} {why}")
        self.code = code


class Agent:
    """An agent by raw WebSocket."""

    def __init__(self, hub, uid=None, capabilities=USUAL, headers=(), connect=True, path="/v1/opamp", tls=None, name="test", attributes=()):
        self.hub = hub
        self.uid = uid or os.urandom(16)
        self.capabilities = capabilities
        self.sequence = 0
        self.buffer = b""
        self.socket = None
        self.name = name
        self.attributes = dict(attributes)
        self.tls = tls
        self.pongs = True
        if connect:
            self.connect(headers, path)

    def connect(self, headers=(), path="/v1/opamp"):
        self.close()
        s = socket.create_connection(("127.0.0.1", self.hub.agents_port), 30)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            s = self.tls.wrap_socket(s, server_hostname="localhost")
        self.socket, self.buffer = s, b""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{self.hub.agents_port}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers, "", ""]
        s.sendall("\r\n".join(lines).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            data = s.recv(4096)
            if not data:
                raise Closed(None, head.decode(errors="replace"))
            head += data
        head, self.buffer = head.split(b"\r\n\r\n", 1)
        self.status = int(head.split()[1])
        self.head = head.decode()
        if self.status == 101:
            accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
            assert accept in self.head, self.head
        return self

    def close(self):
        if self.socket is not None:
            try:
                self.socket.shutdown(socket.SHUT_RDWR)  # a thread may be reading
            except OSError:
                pass
            self.socket.close()
        self.socket = None

    # ---- frames

    def frame(self, payload, opcode=2, fin=True, mask=True, bits=0):
        n = len(payload)
        head = bytes([(0x80 if fin else 0) | bits | opcode])
        m = 0x80 if mask else 0
        head += bytes([m | n]) if n < 126 else struct.pack("!BH", m | 126, n) if n < 65536 else struct.pack("!BQ", m | 127, n)
        if mask:
            key = os.urandom(4)
            stretched = (key * (n // 4 + 1))[:n]
            payload = (int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")).to_bytes(n, "big") if n else b""
            head += key
        self.socket.sendall(head + payload)

    def _exactly(self, n):
        while len(self.buffer) < n:
            data = self.socket.recv(65536)
            if not data:
                raise Closed(None)
            self.buffer += data
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def receive_frame(self, timeout=20):
        self.socket.settimeout(timeout)
        first, second = self._exactly(2)
        n = second & 0x7f
        if n == 126:
            n = struct.unpack("!H", self._exactly(2))[0]
        elif n == 127:
            n = struct.unpack("!Q", self._exactly(8))[0]
        assert not second & 0x80, "the hub masks"
        return first & 15, self._exactly(n)

    def receive(self, timeout=20):
        """The next ServerToAgent; raises Closed."""
        while True:
            opcode, payload = self.receive_frame(timeout)
            if opcode == 9 and self.pongs:
                self.frame(payload, 10)
            elif opcode == 8:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else None
                raise Closed(code, payload[2:].decode())
            elif opcode == 2:
                assert payload[:1] == b"\0", payload[:4]
                self.raw = payload
                answer = opamp.ServerToAgent()
                answer.ParseFromString(payload[1:])
                return answer

    def quiet(self, seconds=0.3):
        """Nothing comes."""
        try:
            got = self.receive(seconds)
        except (socket.timeout, TimeoutError):
            return True
        raise AssertionError(f"the hub said {got}")

    # ---- messages

    def message(self, **parts):
        self.sequence += 1
        m = opamp.AgentToServer(instance_uid=self.uid, sequence_num=self.sequence, capabilities=self.capabilities)
        for key, value in parts.items():
            if hasattr(value, "SerializeToString"):
                getattr(m, key).CopyFrom(value)
            else:
                setattr(m, key, value)
        return m

    def send(self, m):
        self.frame(b"\0" + m.SerializeToString())

    def say(self, **parts):
        """Sends a message and gives the answer."""
        self.send(self.message(**parts))
        return self.receive()

    def description(self):
        d = opamp.AgentDescription()
        for key, value in {"service.name": self.name, "service.version": "1.0"}.items():
            d.identifying_attributes.add(key=key).value.string_value = value
        for key, value in self.attributes.items():
            d.non_identifying_attributes.add(key=key).value.string_value = value
        return d

    def hello(self, **more):
        """A complete first report; gives the answer."""
        effective = opamp.EffectiveConfig()
        effective.config_map.config_map[""].body = b"receivers: {}\n"
        parts = {"agent_description": self.description(), "health": opamp.ComponentHealth(healthy=True, start_time_unix_nano=time.time_ns()),
                 "effective_config": effective, "remote_config_status": opamp.RemoteConfigStatus()}
        parts.update(more)
        return self.say(**parts)

    def config_status(self, hash_, status, error=""):
        return self.say(remote_config_status=opamp.RemoteConfigStatus(last_remote_config_hash=hash_, status=status, error_message=error))


class Poller(Agent):
    """An agent by plain HTTP."""

    def __init__(self, hub, **kwargs):
        super().__init__(hub, connect=False, **kwargs)
        self.headers = {"Content-Type": "application/x-protobuf"}

    def post(self, body, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.hub.agents_port, timeout=30)
        connection.request("POST", "/v1/opamp", body, {**self.headers, **(headers or {})})
        answer = connection.getresponse()
        result = answer.status, dict(answer.getheaders()), answer.read()
        connection.close()
        return result

    def say(self, **parts):
        status, _, data = self.post(self.message(**parts).SerializeToString())
        assert status == 200, status
        answer = opamp.ServerToAgent()
        answer.ParseFromString(data)
        return answer
