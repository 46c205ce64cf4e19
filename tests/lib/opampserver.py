"""A scripted OpAMP server (python3-websockets): records everything, offers, misbehaves on demand."""
import asyncio
import hashlib
import os
import ssl
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ["O"], "gen", "python"))

from tap import SLOW, until  # noqa: E402

import websockets  # noqa: E402
from opamp.v1 import opamp_pb2 as opamp  # noqa: E402

ACCEPTS_STATUS, OFFERS_CONFIG, ACCEPTS_EFFECTIVE = 1, 2, 4
APPLIED, APPLYING, FAILED = 1, 2, 3


class Record:
    """One message of the agent."""

    def __init__(self, conn, raw):
        self.time = time.monotonic()
        self.conn = conn
        self.raw = raw
        self.msg = opamp.AgentToServer()
        self.header = raw[:1]
        if isinstance(raw, bytes):
            self.msg.ParseFromString(raw[1:])


class Conn:
    def __init__(self, ws):
        self.ws = ws
        self.opened = time.monotonic()
        self.closed = None
        self.code = None
        self.path = ws.path
        self.headers = ws.request_headers
        self.count = 0


class Server:
    """Listens on a free loopback port.  Every method may be called from any thread."""

    def __init__(self, tls=None, capabilities=ACCEPTS_STATUS | OFFERS_CONFIG | ACCEPTS_EFFECTIVE, port=0):
        self.capabilities = capabilities
        self.tls = tls
        self.port = port
        self.messages = []
        self.connections = []
        self.requests = []  # time of every HTTP request
        self.assigned = None  # the offer that every agent is to have
        self.answer = self.usual_answer  # (record) -> ServerToAgent, bytes, or None for silence
        self.reject = None  # (record of the request) -> None, or (status, headers, body)
        self.changed = threading.Condition()
        self.listening = None
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.start()

    # ---- life

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def start(self):
        self.call(self.listen())

    async def listen(self):
        self.listening = await websockets.serve(
            self.serve, "127.0.0.1", self.port, ssl=self.tls, process_request=self.upgrade, max_size=None,
            ping_interval=None, compression=None, close_timeout=2)
        self.port = self.listening.sockets[0].getsockname()[1]

    def stop(self):
        """Nobody listens any more, and every connection is gone."""
        if self.listening:
            self.call(self.unlisten())

    async def unlisten(self):
        self.listening.close()
        for conn in self.connections:
            if conn.closed is None:
                conn.ws.transport.abort()
        await self.listening.wait_closed()
        self.listening = None

    def end(self):
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    @property
    def url(self):
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}/v1/opamp"

    # ---- the conversation

    async def upgrade(self, path, headers):
        with self.changed:
            self.requests.append((time.monotonic(), path, headers))
            self.changed.notify_all()
        return self.reject(self) if self.reject else None

    async def serve(self, ws, _path=None):
        conn = Conn(ws)
        with self.changed:
            self.connections.append(conn)
            self.changed.notify_all()
        try:
            async for raw in ws:
                record = Record(conn, raw)
                conn.count += 1
                with self.changed:
                    self.messages.append(record)
                    self.changed.notify_all()
                    answer = self.answer(record)
                if answer is not None:
                    try:
                        await ws.send(self.pack(answer))
                    except websockets.ConnectionClosed:
                        pass  # they are leaving; what they said before is still to be read
        except websockets.ConnectionClosed:
            pass
        finally:
            with self.changed:
                conn.closed = time.monotonic()
                conn.code = ws.close_code
                self.changed.notify_all()

    @staticmethod
    def pack(message):
        return message if isinstance(message, (bytes, str)) else b"\0" + message.SerializeToString()

    def usual_answer(self, record):
        answer = opamp.ServerToAgent(instance_uid=record.msg.instance_uid)
        if record.conn.count == 1:
            answer.capabilities = self.capabilities
        has = record.msg.remote_config_status
        if self.assigned is not None and record.msg.HasField("remote_config_status") and \
                has.last_remote_config_hash != self.assigned.config_hash:
            answer.remote_config.CopyFrom(self.assigned)
        return answer

    def current(self):
        for conn in reversed(self.connections):
            if conn.closed is None:
                return conn
        raise AssertionError("no connection to the server is open")

    def send(self, message):
        """A ServerToAgent, or bytes as they are (a whole binary message), or str (a text message)."""
        if isinstance(message, opamp.ServerToAgent) and not message.instance_uid:
            message.instance_uid = self.messages[-1].msg.instance_uid
        self.call(self.current().ws.send(self.pack(message)))

    def send_raw(self, data):
        """Bytes below WebSocket."""
        async def write():
            self.current().ws.transport.write(data)
        self.call(write())

    def ping(self, data=b""):
        """Gives the seconds until the pong."""
        async def ping():
            begun = time.monotonic()
            await asyncio.wait_for(await self.current().ws.ping(data), 10)
            return time.monotonic() - begun
        return self.call(ping())

    def close(self, code=1000):
        self.call(self.current().ws.close(code))

    def drop(self):
        """The connection breaks without a word."""
        async def abort():
            self.current().ws.transport.abort()
        self.call(abort())

    def stall(self, stalled=True):
        """Nothing is read from the connection any more (TCP pushes back)."""
        async def stall():
            transport = self.current().ws.transport
            (transport.pause_reading if stalled else transport.resume_reading)()
        self.call(stall())

    # ---- what is offered

    def offer(self, files, config_hash=None, send=True, assign=True, content_type=""):
        """files: {name: text}, or None for a remote_config without config.  Gives the hash."""
        remote = opamp.AgentRemoteConfig()
        digest = hashlib.sha256()
        if files is not None:
            remote.config.SetInParent()
            for name, body in files.items():
                body = body.encode() if isinstance(body, str) else body
                remote.config.config_map[name].body = body
                remote.config.config_map[name].content_type = content_type
                digest.update(repr((name, body)).encode())
        remote.config_hash = digest.digest() if config_hash is None else config_hash
        if assign:
            with self.changed:
                self.assigned = remote
        if send:
            self.send(opamp.ServerToAgent(remote_config=remote))
        return remote.config_hash

    def command_restart(self):
        self.send(opamp.ServerToAgent(command=opamp.ServerToAgentCommand(type=0)))

    @staticmethod
    def opamp_command_with_offer(body):
        """A restart command, and beside it what a message with a command must not have."""
        m = opamp.ServerToAgent(command=opamp.ServerToAgentCommand(type=0))
        m.remote_config.config.config_map["x"].body = body.encode()
        m.remote_config.config_hash = b"smuggled"
        m.agent_identification.new_instance_uid = b"0123456789abcdef"
        return m

    @staticmethod
    def opamp_unknown_command():
        return opamp.ServerToAgent(command=opamp.ServerToAgentCommand(type=99))

    def full_state(self):
        self.send(opamp.ServerToAgent(flags=1))

    def identify(self, uid):
        self.send(opamp.ServerToAgent(agent_identification=opamp.AgentIdentification(new_instance_uid=uid)))

    # ---- waiting

    def mark(self):
        """The place in the record from which later waits look."""
        with self.changed:
            return len(self.messages)

    def wait(self, test, seconds, what, since=0):
        """The first message from `since` on for which test(message) holds."""
        end = time.monotonic() + seconds * SLOW
        seen = since
        with self.changed:
            while True:
                while seen < len(self.messages):
                    record = self.messages[seen]
                    seen += 1
                    if test(record.msg):
                        return record
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"after {seconds} s the server still waits for: {what}\n" + self.tell(since))
                self.changed.wait(left)

    def wait_status(self, status, config_hash, seconds=15, since=0):
        names = {0: "UNSET", APPLIED: "APPLIED", APPLYING: "APPLYING", FAILED: "FAILED"}
        return self.wait(lambda m: m.HasField("remote_config_status") and m.remote_config_status.status == status and
                         m.remote_config_status.last_remote_config_hash == config_hash,
                         seconds, f"{names[status]} of {config_hash.hex()[:16]}", since)

    def wait_outcome(self, config_hash, seconds=30):
        return self.wait(lambda m: m.HasField("remote_config_status") and m.remote_config_status.status in (APPLIED, FAILED) and
                         m.remote_config_status.last_remote_config_hash == config_hash, seconds, f"the outcome of {config_hash.hex()[:16]}")

    def wait_healthy(self, healthy=True, seconds=15, since=0, text=""):
        return self.wait(lambda m: m.HasField("health") and m.health.healthy == healthy and text in m.health.last_error,
                         seconds, f"healthy = {healthy} {text}", since)

    def wait_effective(self, text, seconds=15, since=0):
        data = text.encode()
        return self.wait(lambda m: any(data in f.body for f in m.effective_config.config_map.config_map.values()),
                         seconds, f"an effective configuration with {text!r}", since)

    def wait_last_effective(self, text, seconds=15):
        """Until the newest effective configuration has this text (it is not sent again unchanged)."""
        def look():
            with self.changed:
                for r in reversed(self.messages):
                    if r.msg.HasField("effective_config"):
                        return any(text.encode() in f.body for f in r.msg.effective_config.config_map.config_map.values())
            return False
        until(look, seconds, f"the newest effective configuration to have {text!r}\n{self.tell()}")

    def wait_connections(self, count, seconds=15):
        """Until so many connections were ever accepted."""
        end = time.monotonic() + seconds * SLOW
        with self.changed:
            while len(self.connections) < count:
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"after {seconds} s only {len(self.connections)} of {count} connections")
                self.changed.wait(left)
            return self.connections[count - 1]

    def statuses(self, since=0):
        """[(status, hash, error)] in the order they came."""
        with self.changed:
            return [(r.msg.remote_config_status.status, r.msg.remote_config_status.last_remote_config_hash,
                     r.msg.remote_config_status.error_message)
                    for r in self.messages[since:] if r.msg.HasField("remote_config_status")]

    def tell(self, since=0):
        """What came, for people."""
        lines, dull = [], 0
        for r in self.messages[since:][-400:]:
            m = r.msg
            if {f.name for f, _ in m.ListFields()} <= {"instance_uid", "sequence_num", "capabilities", "effective_config"}:
                dull += 1
                if dull > 3:
                    continue
            elif dull > 3:
                lines.append(f"  ... {dull - 3} more of these")
            if {f.name for f, _ in m.ListFields()} - {"instance_uid", "sequence_num", "capabilities", "effective_config"}:
                dull = 0
            parts = [f.name for f, _ in m.ListFields() if f.name not in ("instance_uid", "sequence_num", "capabilities")]
            extra = ""
            if m.HasField("health"):
                extra += f" healthy={m.health.healthy} {m.health.last_error[:200]!r}"
            if m.HasField("remote_config_status"):
                s = m.remote_config_status
                extra += f" status={s.status} {s.last_remote_config_hash.hex()[:8]} {s.error_message[:300]!r}"
            lines.append(f"  {r.time:.3f} #{m.sequence_num} {' '.join(parts)}{extra}")
        return "\n".join(lines[-60:])


def make_tls(directory, name="127.0.0.1", client=False):
    """A CA and a server certificate for `name` in directory, by openssl.  Gives the server's context."""
    import subprocess
    kind = "IP" if name.replace(".", "").isdigit() else "DNS"
    here = lambda f: os.path.join(directory, f)  # noqa: E731

    def openssl(*arguments):
        subprocess.run(("openssl",) + arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", here("ca.key"),
            "-out", here("ca.pem"), "-subj", "/CN=bed CA", "-days", "2")
    for who in ("server", "client") if client else ("server",):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", here(f"{who}.key"),
                "-out", here(f"{who}.csr"), "-subj", f"/CN={who}")
        with open(here(f"{who}.ext"), "w", encoding="ascii") as f:
            f.write(f"subjectAltName={kind}:{name}\n" if who == "server" else "extendedKeyUsage=clientAuth\n")
        openssl("x509", "-req", "-in", here(f"{who}.csr"), "-CA", here("ca.pem"), "-CAkey", here("ca.key"), "-CAcreateserial",
                "-out", here(f"{who}.pem"), "-days", "2", "-extfile", here(f"{who}.ext"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(here("server.pem"), here("server.key"))
    if client:
        context.load_verify_locations(here("ca.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
    return context
