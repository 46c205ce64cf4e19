#!/usr/bin/python3
"""opampd-netd and the server: the real program in its sandbox, as root and as an ordinary user, over ws and
wss, with the test as parent and confd, and a server of python3-websockets.
"""
import email.utils
import http
import os
import shutil
import socket
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import opampserver  # noqa: E402
import privsep  # noqa: E402
from netd_bed import UID, Bed, RawServer, parse_offer  # noqa: E402
from opampserver import opamp  # noqa: E402
from privsep import E  # noqa: E402
from tap import until  # noqa: E402

QUICK = {"RECONNECT_MIN": 10, "RECONNECT_MAX": 100, "CONNECT_TIMEOUT": 3000}
ALL = {"ACCEPTS_CONFIG": 1, "ACCEPTS_RESTART": 1, "REPORTS_CONFIG": 1}
OS_RELEASE = 'NAME="Test"\nPRETTY_NAME="Test \\"OS\\" 12"\n'
MACHINE_ID = "0123456789abcdef0123456789abcdef\n"


def attributes(pairs):
    return {p.key: p.value.string_value for p in pairs}


class Test:
    def __init__(self, tap, root, tls_dir=None):
        self.tap = tap
        self.root = root
        self.who = ("root" if root else "user") + (", wss" if tls_dir else ", ws")
        self.tls_dir = tls_dir

    def ok(self, good, name, detail=""):
        return self.tap.ok(good, f"{name} ({self.who})",
                           f"{detail}\n{'' if good else self.bed.errors()[-3000:]}")

    def open(self, **settings):
        files = {"FILE_OS_RELEASE": OS_RELEASE, "FILE_MACHINE_ID": MACHINE_ID}
        tls = None
        if self.tls_dir:
            tls = opampserver.make_tls(self.tls_dir)
            with open(os.path.join(self.tls_dir, "ca.pem"), encoding="ascii") as f:
                files["FILE_CA"] = f.read()
            settings["CA_FILE"] = "/etc/ca.pem"
        self.server = opampserver.Server(tls=tls)
        self.bed = Bed(self.root, self.server.url, files, **QUICK, **ALL, **settings)

    def description(self):
        d = opamp.AgentDescription()
        for key, value in (("service.name", "otelcol"), ("service.version", "0.149.0"), ("service.instance.id", "x")):
            pair = d.identifying_attributes.add()
            pair.key, pair.value.string_value = key, value
        return d.SerializeToString()

    def first(self):
        self.ok(self.bed.start(), "netd is ready, its filter in force")
        self.ok(self.bed.connect() is not None, "it asks for a connection")
        until(lambda: self.server.connections, 10, "the connection at the server")
        time.sleep(0.2)  # in which nothing is to come
        self.ok(not self.server.messages, "not a word before confd's full state")
        self.bed.sync(description=self.description(), tree=self.tree())
        m = self.server.wait(lambda m: True, 10, "the first report")
        r = m.msg
        self.ok(m.header == b"\0", "FR-01 FR-02 the header sent is 0", m.raw[:16])
        self.ok(m.conn.path == "/v1/opamp" and m.conn.headers["Authorization"] == "Bearer secret-one" and
                m.conn.headers["User-Agent"].startswith("opampd/"), "FR-09 path and headers", m.conn.headers)
        self.ok(r.instance_uid == UID and r.sequence_num == 0 and
                r.capabilities == 0x1 | 0x2 | 0x4 | 0x400 | 0x800 | 0x1000 | 0x2000,
                "ST-01 ST-12 CP-01 CP-02 uid, sequence and capabilities", r)
        ids, others = (attributes(x) for x in (r.agent_description.identifying_attributes,
                                               r.agent_description.non_identifying_attributes))
        self.ok(ids == {"service.name": "otelcol", "service.version": "0.149.0", "deploy": "blue",
                        "service.instance.id": "01020304-0506-0708-090a-0b0c0d0e0f10"}, "DE-01 DE-03 who the agent is", ids)
        self.ok(others["os.type"] == "linux" and others["os.description"] == 'Test "OS" 12' and
                others["host.id"] == MACHINE_ID.strip() and others["host.name"] == os.uname().nodename and
                others["host.arch"] in ("amd64", "arm64"), "DE-02 where it is", others)
        self.ok(r.health.healthy and r.health.start_time_unix_nano == 7 and r.health.status == "StatusOK" and
                r.health.last_error == "" and r.health.component_health_map["pipeline:logs"].healthy,
                "HL-01 HL-03 health with the agent's components", r.health)
        self.ok(not r.HasField("effective_config"), "CP-05 no effective configuration before the server takes it")
        e = self.server.wait_effective("receivers: {}", 10).msg
        self.ok(e.sequence_num == 1 and e.effective_config.config_map.config_map[""].content_type == "text/yaml" and
                not e.HasField("health"), "CF-09 ST-06 ST-10 then it comes, alone", e)
        s = self.bed.state("SERVER_CONNECTED")
        self.ok(s is not None and struct.unpack_from("=Q", s.payload, 16)[0] == self.server.capabilities,
                "confd hears of the connection")

    def changes(self):
        since = self.server.mark()
        self.bed.health(healthy=1, time=99, tree=self.tree())
        self.bed.health(healthy=0, error="exporter is away", status="StatusError", started=0, tree=self.tree())
        m = self.server.wait_healthy(False, since=since, text="exporter is away").msg
        self.ok(self.server.mark() == since + 1, "HL-04 a later time alone is no report", self.server.tell(since))
        self.ok(m.health.start_time_unix_nano == 0 and not m.HasField("agent_description"),
                "HL-02 ST-09 ST-10 only what changed", m)
        since = self.server.mark()
        self.server.full_state()
        m = self.server.wait(lambda m: m.HasField("agent_description"), 10, "the full state", since).msg
        self.ok(m.HasField("health") and m.HasField("effective_config") and m.HasField("remote_config_status"),
                "ST-08 ReportFullState is answered in full", m)

    def tree(self):
        tree = opamp.ComponentHealth(last_error="stale")  # confd's word is the one that counts
        tree.attributes.add().key = "a"
        tree.component_health_map["pipeline:logs"].healthy = True
        return tree.SerializeToString()

    def offers(self):
        since = self.server.mark()
        config_hash = self.server.offer({"b.yaml": "b: 1\n", "": "a: 1\n"}, content_type="text/yaml", assign=False)
        m = self.bed.confd.expect("OFFER")
        got = parse_offer(m.blob()) if m else None
        self.ok(got == (config_hash, 0, {"b.yaml": ("text/yaml", b"b: 1\n"), "": ("text/yaml", b"a: 1\n")}) and
                m.u32(1) == 2, "CF-04 CF-08 an offer reaches confd as it is", got)
        for i in range(5):
            last = self.server.offer({"": f"n: {i}\n"}, assign=False)
        self.server.ping()
        self.ok(self.bed.confd.expect("OFFER", timeout=0.2) is None, "no second offer without credit")
        self.bed.credit()
        m = self.bed.confd.expect("OFFER")
        self.ok(m and parse_offer(m.blob())[0] == last, "CF-07 the newest offer wins")
        self.bed.credit()
        self.ok(self.bed.confd.expect("OFFER", timeout=0.2) is None, "and the older ones are gone")
        self.server.offer(None, b"none", assign=False)
        m = self.bed.confd.expect("OFFER")
        self.ok(m and m.u32(0) == E["OFFER_EMPTY_MAP"] and parse_offer(m.blob()) == (b"none", 1, {}),
                "a configuration without config is an empty map")
        self.bed.credit()
        self.bed.status(E["CONFIG_APPLYING"], config_hash)
        self.bed.status(E["CONFIG_APPLIED"], config_hash)
        self.server.wait_status(opampserver.APPLYING, config_hash, since=since)
        self.server.wait_status(opampserver.APPLIED, config_hash, since=since)
        self.ok(True, "CF-05 each status is a report")
        self.server.offer({"": "x" * (1 << 20)}, b"toolarge", assign=False)
        m = self.server.wait_status(opampserver.FAILED, b"toolarge").msg
        self.ok("limits.config_size" in m.remote_config_status.error_message,
                "SZ-01 a configuration over the limit: FAILED with the reason", m)

    def commands(self):
        self.server.command_restart()
        self.ok(self.bed.confd.expect("SERVER_RESTART") is not None, "RC-01 a restart command reaches confd")
        new = bytes(range(101, 117))
        self.server.identify(new)
        m = self.bed.confd.expect("SERVER_UID")
        self.ok(m and m.payload == new, "ID-02 a new uid goes to confd first")
        since = self.server.mark()
        self.bed.confd.send("NET_IDENTITY", new)
        m = self.server.wait(lambda m: m.HasField("agent_description"), 10, "a report with the new uid", since).msg
        self.ok(m.instance_uid == new and attributes(m.agent_description.identifying_attributes)["service.instance.id"]
                == "65666768-696a-6b6c-6d6e-6f7071727374", "ID-02 and is used when it is stored", m)
        self.server.identify(bytes(16))
        self.server.identify(b"short")
        self.server.ping()
        self.ok(self.bed.confd.expect("SERVER_UID", timeout=0.2) is None, "ID-03 no uid, wrong uid: refused")
        self.uid = new

    def reconnect(self):
        count = len(self.server.connections)
        since = self.server.mark()
        self.server.drop()
        self.ok(self.bed.state("SERVER_LOST") is not None, "confd hears that the connection was lost")
        self.bed.health(healthy=1, error="", status="one", tree=self.tree())
        self.bed.health(healthy=1, error="", status="two", tree=self.tree())
        self.ok(self.bed.connect() is not None, "CC-02 it asks again")
        self.server.wait_connections(count + 1)
        m = self.server.wait(lambda m: True, 10, "the report after the reconnect", since).msg
        self.ok(m.health.status == "two" and not m.HasField("agent_description") and m.instance_uid == self.uid,
                "ST-02 ST-11 one report of what changed meanwhile", m)
        # confd is replaced: the connection stays
        self.bed.confd.close()
        self.bed.confd = self.bed.netd.join("CONFD")
        self.ok(self.bed.state("SERVER_CONNECTED") is not None, "a new confd hears of the connection")
        since = self.server.mark()
        self.bed.sync(uid=self.uid, description=self.description(), status="three", tree=self.tree())
        m = self.server.wait_healthy(True, since=since).msg
        self.ok(m.health.status == "three" and not m.HasField("agent_description") and
                len(self.server.connections) == count + 1, "its full state: what changed is reported", m)

    def leave(self):
        since = self.server.mark()
        status = self.bed.stop()
        m = self.server.wait(lambda m: m.HasField("agent_disconnect"), 10, "AgentDisconnect", since)
        self.ok(status == 0, "CC-03 an orderly end", status)
        with self.server.changed:
            self.server.changed.wait_for(lambda: m.conn.closed, 10)
        self.ok(self.server.messages[-1] is m and m.conn.code == 1000, "CC-03 AgentDisconnect last, then Close", m.conn.code)
        numbers = [r.msg.sequence_num for r in self.server.messages]
        self.ok(numbers == list(range(len(numbers))), "ST-06 the sequence rises by one", numbers)

    def conversation(self):
        self.open(HEADERS=b"Authorization\0Bearer secret-one", ID_ATTRIBUTES=b"deploy\0blue", CONFIG_SIZE=65536)
        self.first()
        self.changes()
        self.offers()
        self.commands()
        self.reconnect()
        self.leave()
        log = self.bed.errors()
        self.ok("secret-one" not in log, "I12 no secret in the log")
        self.close()

    def close(self):
        self.ok(not self.bed.killed_by_filter(), "no call was denied")
        self.ok("Sanitizer" not in self.bed.errors(), "no sanitizer's report")
        self.bed.close()
        if self.server:
            self.server.end()
        self.server = None

    def begin(self, **settings):
        """A netd with a connection on which the first report was answered."""
        self.open(**settings)
        self.bed.start()
        self.bed.sync()
        self.bed.connect()
        self.server.wait(lambda m: True, 10, "the first report")
        self.bed.state("SERVER_CONNECTED")

    # ---- the server misbehaves

    def broken_frames(self):
        frame = lambda op, data=b"", first=0x80: bytes([first | op, len(data)]) + data  # noqa: E731
        cases = [
            ("FR-05 text", 1003, frame(1, b"hello")),
            ("FR-06 a masked frame", 1002, bytes([0x82, 0x81, 1, 2, 3, 4, 5])),
            ("FR-06 a reserved bit", 1002, frame(2, b"\0", 0xC0)),
            ("FR-06 an unknown opcode", 1002, frame(3)),
            ("SZ-02 a header that announces nearly 2^63 bytes", 1009, b"\x82\x7f" + struct.pack(">Q", (1 << 63) - 1)),
            ("SZ-01 a message of the limit and one byte", 1009, b"\x82\x7f" + struct.pack(">Q", 65537)),
        ]
        self.begin(MESSAGE_SIZE=65536)
        for name, code, data in cases:
            conn = self.server.current()
            self.server.send_raw(data)
            self.ok(self.bed.connect() is not None, f"{name}: a new connection")
            with self.server.changed:
                self.server.changed.wait_for(lambda: conn.closed, 10)  # pylint: disable=cell-var-from-loop
            self.ok(conn.code == code, f"{name}: close {code}", conn.code)
            self.bed.state("SERVER_CONNECTED")
        since = self.server.mark()
        # malformed OpAMP does no harm: nothing of it is acted on, and the connection stays
        for data in (b"", b"\x01", b"\x80" * 11, b"\0\xff\xff", b"\0\x0a\x05abc"):
            self.server.send(data)
        self.server.send(b"\x80\x00" + opamp.ServerToAgent(instance_uid=UID, flags=1).SerializeToString())
        self.server.wait(lambda m: m.HasField("agent_description"), 10, "an answer", since)
        self.ok(True, "FR-03 malformed messages are passed over, a long zero is a zero")
        self.server.send(opamp.ServerToAgent(instance_uid=bytes(16), command=opamp.ServerToAgentCommand(type=0)))
        self.server.send(b"\0")
        self.server.ping()
        self.ok(self.bed.confd.expect("SERVER_RESTART", timeout=0.2) is None, "ID-04 a message for another uid is ignored")
        self.ok(self.bed.stop() == 0, "and it ends in order")
        self.close()

    def throttled(self):
        self.begin()
        error = opamp.ServerErrorResponse(type=2, error_message="busy", retry_info=opamp.RetryInfo(
            retry_after_nanoseconds=600_000_000))
        conn = self.server.current()
        asked = time.monotonic()  # before it can be told, for it may be seen late
        self.server.send(opamp.ServerToAgent(error_response=error, command=opamp.ServerToAgentCommand(type=0)))
        s = self.bed.state("SERVER_LOST")
        wait = struct.unpack_from("=Q", s.payload, 8)[0]
        self.ok(600 <= wait <= 660 and b"busy" in s.tail, "ER-03 UNAVAILABLE with a time: it waits", f"{wait} {s.tail}")
        self.bed.connect()
        self.ok(time.monotonic() - asked >= 0.55 and conn.code == 1000, "ER-03 and left properly", conn.code)
        self.bed.state("SERVER_CONNECTED")
        self.ok(self.bed.confd.expect("SERVER_RESTART", timeout=0) is None, "ER-01 nothing else of an error is acted on")
        soon = email.utils.formatdate(time.time() + 3, usegmt=True)
        for status, header, least, most in (("503", {"Retry-After": "1"}, 1000, 1100),
                                            ("503", {"Retry-After": soon}, 1000, 3300), ("429", {}, 100, 110),
                                            ("401", {}, 50, 100), ("302", {"Location": "ws://127.0.0.1:1/x"}, 0, 100)):
            code = int(status)
            self.server.reject = lambda _s, code=code, header=header: (http.HTTPStatus(code), header, b"no\n")
            self.server.drop()
            self.ok(self.bed.connect() is not None, f"HTTP {status}: an attempt")
            while True:
                s = self.bed.state("SERVER_LOST")
                if s is None or s.u32(1) == code:
                    break
            wait = struct.unpack_from("=Q", s.payload, 8)[0]
            self.ok(s.u32(1) == code and least <= wait <= most, f"ER-04 CC-08 CC-09 HTTP {status}: it waits, confd knows why",
                    f"{wait} {s.tail}")
            self.server.reject = None
            self.bed.connect()
            self.bed.state("SERVER_CONNECTED")
        self.bed.stop()
        self.close()

    def upgrades(self):
        """Answers that are not the handshake: each is an attempt that failed, with a reason."""
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        cases = [
            ("a wrong accept", head + b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", b"Sec-WebSocket-Accept"),
            ("no accept", head + b"\r\n", b"no Sec-WebSocket-Accept"),
            ("an answer without upgrade", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"not an upgrade"),
            ("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n", b"does not speak HTTP"),
            ("TLS", b"\x15\x03\x03\x00\x02\x02\x28", b"wss://"),
            ("a head without end", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 8000, b"32 KiB"),
            ("a chunked error", b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nworse\r\n0\r\n\r\n", b"(HTTP 500); it says: worse"),
            ("a body cut short", b"HTTP/1.1 403 No\r\nContent-Length: 90\r\n\r\ntoken expired\n", b"it says: token expired"),
            ("a body that is none", b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"(HTTP 500)"),
            ("nothing", b"", b"instead of answering"),
            ("404", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"server.endpoint"),
        ]
        for name, answer, want in cases:
            raw = RawServer(answer)
            self.server = None
            self.bed = Bed(self.root, raw.url, **QUICK)
            self.bed.start()
            self.bed.sync()
            self.bed.connect()
            s = self.bed.state("SERVER_LOST")
            self.ok(s and want in s.tail, f"FR-06 the upgrade, {name}: refused, and said why", s and s.tail)
            self.ok(b"GET /v1/opamp HTTP/1.1\r\n" in raw.request, "and the request was as it must be", raw.request)
            self.bed.refuse = (E["CONNECT_RESOLVE"], -2)
            self.bed.connect()
            s = self.bed.state("SERVER_LOST")
            self.ok(s and b"resolving 127.0.0.1: Name or service not known" == s.tail, "a name that is none", s and s.tail)
            self.bed.refuse = (E["CONNECT_ERRNO"], 111)
            self.bed.connect()
            s = self.bed.state("SERVER_LOST")
            self.ok(s and b"Connection refused" in s.tail, "a refused connection", s and s.tail)
            self.ok(self.bed.stop() == 0, "it ends in order without a connection")
            self.close()

    def resident(self):
        with open(f"/proc/{self.bed.netd.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * 4096

    def heavy(self):
        """Much of everything, in both directions."""
        self.begin(RESPONSE_TIMEOUT=60000)
        d = opamp.AgentDescription()
        for i in range(600):
            pair = d.non_identifying_attributes.add()
            pair.key, pair.value.string_value = f"key.{i * 7919 % 600}", "x" * 100
        since = self.server.mark()
        self.bed.confd.send("NET_DESCRIPTION", struct.pack("=II", 0, 0), fd=privsep.memfd(d.SerializeToString()))
        m = self.server.wait(lambda m: m.HasField("agent_description"), 10, "the description", since).msg
        keys = [p.key for p in m.agent_description.non_identifying_attributes]
        self.ok(len(keys) > 600 and keys == sorted(keys), "a description of 600 attributes")
        text = os.urandom(1 << 20).hex() * 8
        self.bed.effective(text.encode())
        m = self.server.wait_effective(text, 20, since).msg
        self.ok(True, "an effective configuration of 16 MiB")
        self.server.stall()
        for i in range(20):
            self.bed.effective(f"{i}{text}".encode())
            self.bed.health(healthy=0, error=f"number {i}")
        self.bed.confd.send("NET_SYNCED")
        time.sleep(0.2)
        since = self.server.mark()
        self.server.stall(False)
        m = self.server.wait_healthy(False, 20, since, "number 19").msg
        self.ok(self.server.mark() - since < 10, "ST-11 a server that does not read: the newest, not all of it",
                self.server.tell(since))
        self.server.wait_effective(f"19{text}", 20, since)
        for i in range(40):
            last = self.server.offer({"": f"{i}" + "x" * (4 << 20)}, assign=False)
        self.server.ping()
        self.bed.confd.expect("OFFER")
        self.bed.credit()
        m = self.bed.confd.expect("OFFER")
        self.ok(m and parse_offer(m.blob())[0] == last, "CF-07 a flood of large offers: the first, then the newest")
        ping = b"\x89\x7d" + b"x" * 125
        self.server.stall()
        for _ in range(200):
            self.server.send_raw(ping * 1000)
        time.sleep(0.5)
        resident = self.resident()
        with open(self.bed.program, "rb") as f:
            limit = (700 if b"__asan_init" in f.read() else 200) << 20  # a sanitizer keeps what was freed
        self.ok(resident < limit, "I11 a flood of pings whose answers nobody reads", resident)
        self.server.drop()
        self.ok(self.bed.state("SERVER_LOST") is not None, "and netd is well")
        self.bed.stop()
        self.close()

    def dead(self):
        """Servers that say nothing any more."""
        self.begin(PING=700, RESPONSE_TIMEOUT=60000, REPORTS_HEARTBEAT=0)
        self.server.stall()
        s = self.bed.state("SERVER_LOST")
        self.ok(s and b"ping" in s.tail, "HB-05 no pong: the connection is dead", s and s.tail)
        self.bed.connect()
        self.bed.state("SERVER_CONNECTED")
        time.sleep(2.3)  # three times the interval: pongs keep it alive
        self.ok(self.bed.state("SERVER_LOST", timeout=0) is None, "HB-05 with pongs it lives")
        self.bed.stop()
        self.close()
        self.begin(RESPONSE_TIMEOUT=1000, HEARTBEAT=1000)
        times = [r.time for r in self.server.messages]
        m = self.server.wait(lambda m: m.sequence_num == 3, 10, "heartbeats")
        self.ok(0.5 < m.time - self.server.messages[-2].time < 6 and
                not m.msg.ListFields()[3:], "HB-01 HB-03 a heartbeat each interval, with nothing else", times)
        self.server.answer = lambda record: None
        s = self.bed.state("SERVER_LOST")
        self.ok(s and b"no answer to a report" in s.tail, "ER-07 a report without an answer: dead", s and s.tail)
        self.bed.stop()
        self.close()

    def run(self):
        self.conversation()
        self.broken_frames()
        self.throttled()
        self.dead()
        if self.root:
            self.heavy()
        if not self.tls_dir:
            self.upgrades()


def certificates(tap):
    """What TLS refuses, by the program itself."""
    for name, settings, files, want in (
            ("wrong host", {"TLS_SERVER_NAME": "other.example.com", "CA_FILE": "/x"}, True, b"not for other.example.com"),
            ("unknown authority", {"TLS_SERVER_NAME": "127.0.0.1"}, False, b"unknown authority"),
            ("TLS 1.2 wanted, 1.3 spoken", {"TLS_MAX": 0, "CA_FILE": "/x"}, True, b"TLS: ")):
        directory = tempfile.mkdtemp(prefix="opampd-tls.")
        t = Test(tap, False, directory)
        tls = opampserver.make_tls(directory)
        if "1.3" in name:
            tls.minimum_version = opampserver.ssl.TLSVersion.TLSv1_3
        with open(os.path.join(directory, "ca.pem"), encoding="ascii") as f:
            ca = f.read()
        t.server = opampserver.Server(tls=tls)
        t.bed = Bed(False, t.server.url, {"FILE_CA": ca} if files else {}, **QUICK, **settings)
        t.bed.start()
        t.bed.sync()
        t.bed.connect()
        s = t.bed.state("SERVER_LOST")
        t.ok(s and want in s.tail, f"TLS, {name}: refused, and said why", s and s.tail)
        t.bed.stop()
        t.close()
        shutil.rmtree(directory)


def client_certificate(tap):
    for root in (True, False):
        directory = tempfile.mkdtemp(prefix="opampd-tls.")
        t = Test(tap, root, directory)
        t.server = opampserver.Server(tls=opampserver.make_tls(directory, client=True))
        texts = {}
        for kind, name in (("FILE_CA", "ca.pem"), ("FILE_CERT", "client.pem"), ("FILE_KEY", "client.key")):
            with open(os.path.join(directory, name), encoding="ascii") as f:
                texts[kind] = f.read()
        t.bed = Bed(root, t.server.url, texts, CA_FILE="/x", CERT_FILE="/y", KEY_FILE="/z", **QUICK)
        t.bed.start()
        t.bed.sync()
        t.bed.connect()
        t.ok(t.bed.state("SERVER_CONNECTED") is not None, "TLS, a client certificate")
        t.ok(t.bed.stop() == 0, "and an orderly end")
        t.close()
        # no connection without them, and each attempt says why
        t.bed = Bed(root, "wss://127.0.0.1:1/", {}, CA_FILE="/x", **QUICK)
        t.bed.start()
        t.bed.sync()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs = listener.accept()[0]
        attempt = t.bed.connect(answer=False)
        t.bed.hand_over(attempt, ours)
        lost = t.bed.state("SERVER_LOST")
        t.ok(lost is not None and b"server.tls.ca_file: the file could not be read" in lost.tail,
             "TLS, a file that is missing is not passed over", t.bed.errors())
        theirs.settimeout(10)
        t.ok(theirs.recv(1) == b"", "and not a byte was said")
        theirs.close()
        t.ok(t.bed.stop() == 0, "and an orderly end without a connection")
        t.bed.close()
        shutil.rmtree(directory)


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root, to run as several users")
        return 0
    tap = privsep.Tap()
    for root in (True, False):
        Test(tap, root).run()
        directory = tempfile.mkdtemp(prefix="opampd-tls.")
        Test(tap, root, directory).run()
        shutil.rmtree(directory)
    certificates(tap)
    client_certificate(tap)
    return tap.done()


sys.exit(main())
