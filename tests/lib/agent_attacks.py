"""What an agent may do to the link: (name, act, what the agent sees, why in the log, memory, quick).

An act gets one connection of the agent's user that knows the secret (link_bed.Raw), and gives what became of it.
"""
import ctypes
import os
import random
import socket
import struct
import time

from link_bed import Raw
from peers import KIB, L, MIB, frame, opamp
from server_attacks import Attack, GROUPS, field, gzip_bomb, nested_fast, varint

LIMIT = L["LIMIT_LINK_MESSAGE"]
MESSAGE = 3 * LIMIT + 8 * MIB
DECODED = (L["LIMIT_PB_BUDGET_FACTOR"] + 4) * LIMIT + 8 * MIB
MASK = b"\x11\x22\x33\x44"
UID = bytes(range(1, 17))
PB = "application/x-protobuf"


def connect_as(port, uid):
    """Whose a socket is, is decided where it is made; of this thread alone (seteuid is the whole process's)."""
    libc = ctypes.CDLL(None)
    libc.setfsuid(uid)
    try:
        sock = socket.socket()
    finally:
        libc.setfsuid(os.geteuid())
    sock.settimeout(30)
    sock.connect(("127.0.0.1", port))
    return sock


class Agent(Raw):
    """The agent's end, with what attacks need beside it."""

    def __init__(self, port, uid, secret):
        super().__init__(connect_as(port, uid), secret)
        self.port, self.uid, self.secret = port, uid, secret
        self.sock.settimeout(30)
        self.broke = None

    def another(self):
        return Agent(self.port, self.uid, self.secret)

    def put(self, data):
        try:
            self.sock.sendall(data)
            return True
        except socket.timeout:
            self.broke = "does not read"
        except OSError:
            self.broke = "reset"
        return False

    def outcome(self):
        """The close code, or how it ended."""
        try:
            code = self.closed_with()
        except socket.timeout:
            return "open"
        return "end" if code is None else str(code)

    def status(self):
        try:
            status = self.head()[0]
        except socket.timeout:
            return "open"
        return str(status) if status else "end"

    def answer(self):
        """The next ServerToAgent; None at the end."""
        while True:
            opcode, payload = self.read_frame()
            if opcode is None or opcode == 8:
                return None
            if opcode == 2:
                m = opamp.ServerToAgent()
                m.ParseFromString(payload[1:])
                return m

    def goes_on(self):
        """A report is answered; what came before it may have been refused."""
        refused = ""
        self.put(frame(2, b"\0" + report(), mask=MASK))
        while True:
            try:
                m = self.answer()
            except socket.timeout:
                return "no answer"
            if m is None:
                return "closed"
            if m.HasField("error_response"):
                refused = "; refused: " + m.error_response.error_message
            elif m.instance_uid == UID:
                return "goes on" + refused


def report(number=[0], **parts):  # pylint: disable=dangerous-default-value
    number[0] += 1
    return opamp.AgentToServer(instance_uid=UID, sequence_num=number[0], capabilities=0x4805, **parts).SerializeToString()


def sends(data, begun=True):
    def act(c):
        if begun:
            c.upgrade()
        c.put(data)
        return c.outcome() if begun else c.status()
    return act


def message(*bodies):
    """They are made before there is a connection (by the stages), whose time for a first message is short."""
    frames = []

    def prepare():
        frames[:] = [frame(2, body() if callable(body) else body, mask=MASK) for body in bodies]

    def act(c):
        c.upgrade()
        for data in frames:
            c.put(data)
        frames.clear()
        return c.goes_on()
    act.prepare = prepare
    return act


def masked(opcode, payload=b"", **how):
    return frame(opcode, payload, mask=MASK, **how)


def flood(blob, seconds=2, reads=True):
    def act(c):
        c.upgrade()
        c.sock.settimeout(1)
        end, sent = time.monotonic() + seconds, 0
        data = blob() if callable(blob) else blob
        while time.monotonic() < end:
            if not c.put(data):
                if c.broke != "does not read" or not reads:
                    return c.broke
            sent += len(data)
            c.sock.setblocking(False)
            try:
                while reads and c.sock.recv(1 << 18):
                    pass
            except OSError:
                pass
            c.sock.settimeout(1)
        return "read on"
    return act


def healths():
    return b"".join(masked(2, b"\0" + report(health=opamp.ComponentHealth(healthy=bool(n % 2), status="StatusOK" if n % 2 else "StatusRecoverableError",
                                                                       last_error=f"flood {n}"))) for n in range(500))


def descriptions():
    def one(n):
        m = opamp.AgentToServer(instance_uid=UID, sequence_num=n)
        pair = m.agent_description.identifying_attributes.add()
        pair.key, pair.value.string_value = "service.name", f"flood{n}"
        return masked(2, b"\0" + m.SerializeToString())
    return b"".join(one(n) for n in range(500))


def effectives():
    def one(n):
        m = opamp.AgentToServer(instance_uid=UID, sequence_num=n)
        m.effective_config.config_map.config_map[""].body = b"n: %d\n" % n * 1000
        return masked(2, b"\0" + m.SerializeToString())
    return b"".join(one(n) for n in range(200))


def wide_health(n):
    def body():
        h = opamp.ComponentHealth(healthy=True, status="StatusOK")
        for i in range(n):
            h.component_health_map[f"c{i}"].healthy = True
        return b"\0" + report(health=h)
    return body


def deep_value(depth):
    """AnyValue in ArrayValue in AnyValue, in an attribute of the description."""
    heads, size = [], 0
    for n in range(depth):
        head = varint((5 if n % 2 == 0 else 1) << 3 | 2) + varint(size)
        heads.append(head)
        size += len(head)
    value = b"".join(reversed(heads))
    return field(1, UID) + field(3, field(1, field(1, b"k") + field(2, value)))


def deep_health(depth):
    heads, size = [], 0
    for n in range(depth):
        head = varint((2 if n % 2 == 0 else 6) << 3 | 2) + varint(size)
        heads.append(head)
        size += len(head)
    return field(1, UID) + field(5, b"".join(reversed(heads)))


def effective(size):
    return b"\0" + field(1, UID) + field(6, field(1, field(1, field(2, field(1, b"x" * size)))))


def deaf(c):
    c.upgrade()
    c.sock.settimeout(1)
    sent = 0
    while sent < 64 * MIB:
        if not c.put(masked(9, b"x" * 125) * 1000):
            return "not read from" if c.broke == "does not read" else c.broke
        sent += 131000
    return "took 64 MiB"


def post(body=b"", **headers):
    def act(c):
        c.request("POST", body=body, Content_Type=PB, **headers)
        return c.status()
    return act


def head(text):
    def act(c):
        c.put(text if isinstance(text, bytes) else text.replace("SECRET", c.secret).encode())
        return c.status()
    return act


def endless(first, piece):
    def act(c):
        c.put(first)
        status, sent, begin = None, 0, time.monotonic()
        c.sock.settimeout(2)
        while c.put(piece) and time.monotonic() - begin < 5:
            sent += len(piece)
            if status is None and sent > 128 * KIB:
                status = c.status()
        return status if time.monotonic() - begin < 5 else f"took {sent >> 20} MiB"
    return act


def slowly(text, gap=0.5, most=8):
    def act(c):
        begin = time.monotonic()
        for i in range(len(text)):
            if not c.put(text[i:i + 1]):
                break
            c.sock.settimeout(gap)
            try:
                if not c.sock.recv(100):
                    break
            except socket.timeout:
                continue
            except OSError:
                break
        return "left in time" if time.monotonic() - begin < most else "stayed"
    return act


def silent(c, most=8):
    begin = time.monotonic()
    while c.more():
        pass
    return "left in time" if time.monotonic() - begin < most else "stayed"


def continues(c):
    """Requests that want 100 Continue and never send their body."""
    for _ in range(200):
        d = c.another()
        d.request("POST", Content_Type=PB, Content_Length=1000, Expect="100-continue")
        d.close()
    return "done"


def pipelined(c):
    body = report()
    one = (f"POST /v1/opamp HTTP/1.1\r\nHost: x\r\nX-Opampd-Link: {c.secret}\r\nContent-Type: {PB}\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body
    c.sock.settimeout(1)
    sent = 0
    while sent < 32 * MIB:
        if not c.put(one * 200):
            return "not read from" if c.broke == "does not read" else c.broke
        sent += len(one) * 200
    return "took 32 MiB"


def connections(secret):
    def act(c):
        end, n = time.monotonic() + 2, 0
        while time.monotonic() < end:
            d = c.another()
            if secret:
                try:
                    d.upgrade()
                except OSError:
                    pass
            d.close()
            n += 1
        return "done"
    return act


def crowd(c):
    crowd_ = [c.another() for _ in range(100)]
    for d in crowd_:
        d.put(b"GET ")
    d = c.another()
    status = d.upgrade()
    for e in crowd_:
        e.close()
    return str(status)


def reset_at(step):
    def act(c):
        if step == 1:
            c.put(b"GET /v1/op")
        elif step == 2:
            c.request("POST", body=b"x", Content_Type=PB, Content_Length=1000)
        elif step >= 3:
            c.upgrade()
            if step == 4:
                c.put(masked(2, b"x" * 10, length=1000))
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
        return "reset by us"
    return act


def goodbyes(c):
    c.upgrade()
    bye = masked(2, b"\0" + report(agent_disconnect=opamp.AgentDisconnect()))
    hello = masked(2, b"\0" + report())
    c.put((bye + hello) * 2000)
    return c.goes_on()


FRAMES = [
    Attack("garbage after the upgrade", sends(b"GARBAGE\r\n" * 100), "1002", "reserved bits", quick=True),
    Attack("an unmasked frame", sends(frame(2, b"\0")), "1002", None, quick=True),
    *[Attack(f"reserved bit {n}", sends(masked(2, b"\0", rsv=n)), "1002") for n in (1, 2, 4)],
    *[Attack(f"opcode {n}", sends(masked(n)), "1002") for n in (3, 7, 11, 15)],
    Attack("text", sends(masked(1, b"x")), "1003"),
    Attack("a ping of 126 bytes", sends(masked(9, b"x" * 126)), "1002"),
    Attack("a fragmented ping", sends(masked(9, b"x", fin=0)), "1002"),
    Attack("a message within a message", sends(masked(2, b"\0", fin=0) + masked(2, b"\0")), "1002"),
    Attack("a continuation of nothing", sends(masked(0, b"x")), "1002"),
    Attack("a Close frame of one byte", sends(masked(8, b"\3")), "1002"),
    Attack("a Close frame's reason that is no UTF-8", sends(masked(8, b"\x03\xe8\xff")), "1007"),
    Attack("a length of 2^64-1", sends(masked(2, length=(1 << 64) - 1)), "1009", quick=True),
    Attack("64 MiB and one byte", sends(masked(2, length=64 * MIB + 1)), "1009"),
    Attack("5 bytes, their length in 64 bits", sends(masked(2, b"\0" * 5, form=64)), "1002"),
    Attack("fragments of one byte without end", sends(masked(2, b"\0", fin=0) + masked(0, b"x", fin=0) * 5000), "1009|end", quick=True),
    Attack("64 MiB in fragments of 1 MiB", sends(masked(2, b"x" * MIB, fin=0) + masked(0, b"x" * MIB, fin=0) * 40), "1009|end", None, MESSAGE),
    Attack("pings whose pongs are never read", deaf, "not read from", quick=True),
    Attack("half a frame, then a reset", reset_at(4), "reset by us"),
]

PROTOBUF = [
    Attack("values nested 100,000 deep", message(b"\0" + deep_value(100001)), "goes on; refused: .*nested more than 64 deep", None, MIB * 8, quick=True),
    Attack("health nested 100,000 deep", message(b"\0" + deep_health(100000)), "goes on; refused: .*nested more than 64 deep", None, MIB * 8),
    Attack("groups 100,000 deep", message(b"\0" + GROUPS), "goes on; refused: .*group.*"),
    Attack("unknown fields nested 100,000 deep", message(b"\0" + field(1, UID) + nested_fast(1000, 100000)), "goes on.*"),
    Attack("a million empty elements", message(b"\0" + field(1, UID) + field(3, b"\x0a\x00" * 1000000)), "goes on; refused: .*100,000 elements.*", quick=True),
    Attack("100,000 empty elements", message(b"\0" + field(1, UID) + field(3, b"\x0a\x00" * 100000)), "goes on.*", None, DECODED),
    Attack("100,000 components", message(wide_health(99999)), "goes on.*", None, DECODED),
    Attack("999,000 unknown fields", message(b"\0" + field(1, UID) + b"\xd0\x3e\x01" * 999000), "goes on.*", None, DECODED),
    Attack("an effective configuration of 31 MiB", message(lambda: effective(31 * MIB)), "goes on", None, DECODED),
    Attack("a small one after it", message(lambda: effective(10)), "goes on", None, DECODED),
    Attack("a message of the limit, of 0xff", message(b"\0" + b"\xff" * (LIMIT - 1)), "goes on; refused: .*", None, MESSAGE),
    Attack("wrong wire types", message(b"\0\x08\x01", b"\0\x12\x01x"), "goes on; refused: .*another type"),
    Attack("varints of eleven bytes", message(b"\0\x10" + b"\xff" * 11 + b"\1"), "goes on; refused: .*too long"),
    Attack("text that is no UTF-8", message(b"\0" + field(1, UID) + field(5, field(3, b"\xff"))), "goes on; refused: .*UTF-8.*", quick=True),
    Attack("text of 4 MiB and one byte", message(b"\0" + field(1, UID) + field(5, field(3, b"x" * (4 * MIB + 1)))), "goes on; refused: .*4 MiB", None, MESSAGE),
    Attack("a last_error of 4 MiB of escapes", message(b"\0" + field(1, UID) + field(5, field(3, b"\x1b[2J" * MIB))), "goes on", None, DECODED),
    Attack("a uid of 17 bytes", message(b"\0" + field(1, b"x" * 17)), "goes on; refused: .*16 bytes"),
    Attack("a header of eleven bytes", message(b"\x80" * 11), "goes on; refused: .*header.*"),
]

REQUEST = "GET /v1/opamp HTTP/1.1\r\nHost: x\r\nX-Opampd-Link: SECRET\r\n"
HTTP = [
    Attack("garbage for a request", head(random.Random(4).randbytes(4096) + b"\r\n\r\n"), "400|end", quick=True),
    Attack("TLS for a request", head(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 300 + b"\r\n\r\n"), "400|end"),
    # answered at once, and what still comes is thrown away for a second
    Attack("headers without end", endless(b"GET /v1/opamp HTTP/1.1\r\n", b"X: y\r\n" * 1000), "400", quick=True),
    Attack("one header without end", endless(b"GET /v1/opamp HTTP/1.1\r\nX: ", b"y" * 8000), "400"),
    Attack("a NUL in the head", head(REQUEST + "X: \0\r\n\r\n"), "400"),
    Attack("a lone LF", head(REQUEST + "X: y\nZ: a\r\n\r\n"), "400"),
    Attack("Content-Length twice", head(REQUEST.replace("GET", "POST") + f"Content-Type: {PB}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"), "400", quick=True),
    Attack("Content-Length and Transfer-Encoding", head(REQUEST.replace("GET", "POST") + f"Content-Type: {PB}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400", quick=True),
    Attack("a negative Content-Length", post(Content_Length=-1), "400"),
    Attack("a chunked body", post(b"5\r\nabcde\r\n0\r\n\r\n", Transfer_Encoding="chunked"), "411"),
    Attack("a body of 32 MiB and one byte", post(Content_Length=LIMIT + 1), "413"),
    Attack("a gzip bomb as a body", lambda c: post(gzip_bomb(), Content_Encoding="gzip", Content_Length=len(gzip_bomb()))(c), "415", quick=True),
    Attack("permessage-deflate offered: not taken", lambda c: str(c.upgrade(Sec_WebSocket_Extensions="permessage-deflate")), "101"),
    Attack("permessage-deflate used all the same", lambda c: (c.upgrade(Sec_WebSocket_Extensions="permessage-deflate"), sends(masked(2, b"\xaa", rsv=4), False), c.put(masked(2, b"\xaa", rsv=4)), c.outcome())[3], "1002"),
    Attack("100 Continue wanted, and no body, 200 times", continues, "done"),
    Attack("requests without end, answers never read", pipelined, "not read from", None, MESSAGE),
    Attack("a request byte by byte", slowly(b"GET /v1/opamp HTTP/1.1\r\n" * 10), "left in time", quick=True),
    Attack("never a byte", silent, "left in time"),
    Attack("a hundred connections that say nothing", crowd, "101"),
    Attack("a wrong secret", lambda c: (c.request(secret="0" * 64), c.status())[1], "401"),
    *[Attack(f"a reset in state {n}", reset_at(n), "reset by us") for n in (0, 1, 2, 3)],
]

FLOODS = [
    Attack("another health in each message", flood(healths), "read on", None, quick=True),
    Attack("another description in each message", flood(descriptions), "read on"),
    Attack("another effective configuration in each message", flood(effectives), "read on", None, 32 * MIB),
    Attack("heartbeats without end", flood(lambda: masked(2, b"\0" + field(1, UID)) * 2000), "read on"),
    Attack("pings without end", flood(masked(9, b"x" * 125) * 2000), "read on"),
    Attack("malformed messages without end", flood(masked(2, b"\0\xff\xff") * 5000), "read on"),
    Attack("hellos and goodbyes", goodbyes, "goes on.*"),
    Attack("connections with the secret, one after the other", connections(True), "done"),
    Attack("connections without a word, one after the other", connections(False), "done"),
]

GROUPS_OF_AGENT = [("agent, frames", FRAMES), ("agent, protobuf", PROTOBUF), ("agent, HTTP", HTTP), ("agent, floods", FLOODS)]
assert KIB and os
