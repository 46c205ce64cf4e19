"""What an agent may do to opamphub: the table of agent_attacks.py, as far as the hub answers otherwise with its own
words, and what only many agents can do.  An act gets one connection (hub_stage.Peer), and gives what became of it."""
import collections
import gzip
import http.client
import os
import select
import socket
import struct
import time

import agent_attacks
from agent_attacks import PB, Agent, head, masked, post, report, slowly
from hub_bed import USUAL as BITS, Poller, opamp, text
from peers import L, MIB
from server_attacks import Attack, field
from tap import until

LIMIT = L["LIMIT_HUB_MESSAGE"]
UNFINISHED = L["LIMIT_HUB_UNFINISHED"]
DECODED = agent_attacks.DECODED
BUDGET = UNFINISHED + LIMIT + 32 * MIB  # one message more may be growing
NO_MASK = b"\0\0\0\0"
WHOLE_S = 30  # a message that begins has to be whole by then (hub/front.c)


def but(rows, **others):
    """The rows, some with other expectations or without: {first words: what it sees, or None}."""
    made = []
    for row in rows:
        for words, sees in others.items():
            if row.name.startswith(words.replace("_", " ")):
                row = None if sees is None else row._replace(sees=sees)
                break
        if row is not None:
            made.append(row)
    return made


def frame_head(size):
    """Of a message that is not masked to speak of."""
    return b"\x82\xff" + struct.pack(">Q", size) + NO_MASK


def became(crowd, sent, read):
    """{what became of it: how many connections}, when the hub has read what it was sent: no more of it is kept than may be."""
    codes = {}

    def look():
        left = [d for d in crowd if d not in codes]
        readable, _, _ = select.select([d.sock for d in left], [], [], 0.1)
        for d in left:
            if d.sock in readable:
                d.sock.settimeout(1)
                code = read(d)
                if code != "open":
                    codes[d] = code
        return sent * (len(crowd) - len(codes)) <= UNFINISHED + sent
    until(look, 60, f"{len(crowd)} connections of {sent >> 20} MiB to be refused, but for {UNFINISHED >> 20} MiB")
    return collections.Counter(codes.get(d, "open") for d in crowd)


def many(count, size, sent):
    """So many messages that are not whole, at once; what became of the connections, in words."""
    piece = bytes(1 << 18)

    def act(c):
        crowd, begun = [c.another() for _ in range(count)], time.monotonic()
        for d in crowd:
            assert d.upgrade() == 101
            d.put(masked(2, b"\0" + field(1, os.urandom(16))))
            d.read_frame()  # the answer
            d.put(frame_head(size))
        left = dict.fromkeys(crowd, sent)
        while left:
            for d in list(left):
                if not d.put(piece):
                    left[d] = 0
                left[d] -= len(piece)
                if left[d] <= 0:
                    del left[d]
        codes = became(crowd, sent, Agent.outcome)
        for d in crowd:
            d.close()
        if time.monotonic() - begun < WHOLE_S:  # else some of them were sent away for being slow
            refused = count - codes["open"]
            assert refused * sent <= count * sent - UNFINISHED + 2 * LIMIT, f"more were refused than had to be: {codes}"
        return ", ".join(sorted(codes))
    return act


def bodies(count, size, sent):
    """The same by plain HTTP."""
    def act(c):
        crowd = [c.another() for _ in range(count)]
        for d in crowd:
            d.request("POST", Content_Type=PB, Content_Length=size)
        for _ in range(sent >> 20):
            for d in crowd:
                d.put(bytes(MIB))
        codes = became(crowd, sent, Agent.status)
        for d in crowd:
            d.close()
        return ", ".join(sorted(codes))
    return act


class Plain:
    """One kept connection by which pollers come."""

    def __init__(self, c):
        self.hub = c.stage.hub
        self.connection = http.client.HTTPConnection("127.0.0.1", c.port, timeout=30)
        self.connection.connect()

    def poller(self, **how):
        return Poller(self.hub, **how)

    def say(self, m):
        self.connection.request("POST", "/v1/opamp", m if isinstance(m, bytes) else m.SerializeToString(), {"Content-Type": PB})
        answer = self.connection.getresponse()
        data = answer.read()
        return answer.status, data

    def close(self):
        self.connection.close()


def shared_connections(c):
    """Uids that change on a connection, connections that change for a uid, ends in every order."""
    for goodbye in (False, True):
        a, b = Plain(c), Plain(c)
        one, two = a.poller(), a.poller()
        ends = {"agent_disconnect": opamp.AgentDisconnect()} if goodbye else {}
        statuses = [a.say(one.message(agent_description=one.description()))[0], a.say(two.message(agent_description=two.description()))[0],
                    b.say(one.message(**ends))[0], a.say(one.message())[0], b.say(two.message(**ends))[0]]
        if set(statuses) != {200}:
            return str(statuses)
        b.close()
        one.post(one.message(agent_disconnect=opamp.AgentDisconnect()).SerializeToString())
        a.close()
        two.post(two.message(agent_disconnect=opamp.AgentDisconnect()).SerializeToString())
    # two requests at once under one uid: the first is told that its answer will not come, or answered before
    a, b = c.another(), c.another()
    for d in (a, b):
        d.request("POST", Content_Type=PB, Content_Length=len(body := report(health=opamp.ComponentHealth(healthy=True))), body=body)
    got = {a.status(), b.status()}
    return "answered" if got <= {"200", "503"} and "200" in got else str(got)


def never_begun(c):
    """Every message another uid, none of them a report that is kept."""
    a = Plain(c)
    for n in range(3000):
        m = opamp.AgentToServer(instance_uid=os.urandom(16), sequence_num=1, capabilities=BITS)
        m.remote_config_status.last_remote_config_hash = b"x" * (L["LIMIT_CONFIG_HASH"] + 1)
        status, _ = a.say(m)
        if status != 200:
            return f"{status} after {n}"
    a.close()
    return "refused"


def uids_without_end(c):
    """A uid after the other on one connection, for two seconds."""
    c.upgrade()
    end = time.monotonic() + 2
    while time.monotonic() < end:
        if not c.put(b"".join(masked(2, b"\0" + field(1, os.urandom(16))) for _ in range(50))):
            return c.broke
        c.sock.setblocking(False)
        try:
            while c.sock.recv(1 << 18):
                pass
        except OSError:
            pass
        c.sock.settimeout(1)
    return "read on"


def unread_offers(count):
    """Agents that do not read the 8 MiB that are offered to them, and say that they are alive; then one that reads."""
    def act(c):
        hub = c.stage.hub
        deaf = []
        for n in range(count):
            a = hub.agent(name="deaf", attributes={"deaf": "yes"})
            a.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            a.hello()
            deaf.append(a)
        reader = hub.agent(name="reader", attributes={"reader": "yes"})
        reader.hello()
        _, first = hub.send_configuration("a: " + "x" * (8 * MIB), name="large", selector="deaf=yes")
        begun = time.monotonic()
        _, second = hub.send_configuration("b: 1\n", name="small", selector="reader=yes")
        until(lambda: reader.receive(60).HasField("remote_config"), 60, "its configuration")
        took = time.monotonic() - begun
        for number in (first, second):
            hub.api(f"assignments/{number}", "DELETE")
        for a in deaf + [reader]:
            a.close()
        return "reached" if took < 10 else f"reached after {took:.1f} s"
    return act


def offers_by_plain_http(c):
    """What pollers were sent is not counted for ever: offers to others still go out."""
    hub = c.stage.hub
    _, first = hub.send_configuration("a: " + "x" * (8 * MIB), name="large", selector="polls=yes")
    for _ in range(5):
        p = Poller(hub, attributes={"polls": "yes"})
        if not p.say(agent_description=p.description()).HasField("remote_config"):
            return "no offer"
    reader = hub.agent(name="reader", attributes={"reader": "yes"})
    reader.hello()
    _, second = hub.send_configuration("b: 1\n", name="small", selector="reader=yes")
    until(lambda: reader.receive(20).HasField("remote_config"), 20, "its configuration")
    for number in (first, second):
        hub.api(f"assignments/{number}", "DELETE")
    reader.close()
    return "reached"


def long_words(c):
    """A failure told in words that are cut within a character is still seen in the history."""
    hub = c.stage.hub
    a = hub.agent(name="words")
    a.hello()
    a.config_status(b"x" * 32, 3, "x" + "\u00e9" * 4000)
    kinds = [e["kind"] for e in hub.api(f"agents/{text(a.uid)}/events")["items"]]
    a.close()
    return "failed" if "failed" in kinds else str(kinds)


def many_attributes(c):
    """2,000 attributes of a kilobyte: the list of agents stays short."""
    hub = c.stage.hub
    a = hub.agent(name="many", attributes={f"a{n}": "x" * 1000 for n in range(2000)})
    a.hello()
    status, _, data = hub.request("GET", "/api/v1/agents?search=many")
    a.close()
    return "short" if status == 200 and len(data) < 2 * L["LIMIT_HUB_ATTRIBUTES"] else f"{status}, {len(data)} bytes"


def control_characters(c):
    """16 MiB of them in an effective configuration: as JSON six times as long, if it were kept as text."""
    hub = c.stage.hub
    a = hub.agent(name="control")
    effective = opamp.EffectiveConfig()
    effective.config_map.config_map[""].body = b"\x01" * (16 * MIB)
    a.hello(effective_config=effective)
    a.close()
    return "kept"


def chunks_without_end(c):
    c.request("POST", Content_Type=PB, Transfer_Encoding="chunked")
    c.sock.settimeout(30)
    sent = 0
    while sent < 2 * LIMIT and c.put(b"100000\r\n" + bytes(MIB) + b"\r\n"):
        sent += MIB
        if sent > LIMIT:
            return c.status()
    return "413" if LIMIT - 16 * MIB < sent <= LIMIT + 16 * MIB else f"took {sent >> 20} MiB"


def gzipped(size):
    data = gzip.compress(bytes(size), 9)
    return lambda c: post(data, Content_Encoding="gzip", Content_Length=len(data))(c)


def stays(seconds, begin):
    """After `begin`, is it sent away within so many seconds?"""
    def act(c):
        begin(c)
        begun = time.monotonic()
        c.sock.settimeout(seconds)
        try:
            while c.more():
                c.data = b""
        except socket.timeout:
            return "stayed"
        return "left in time" if time.monotonic() - begun < seconds else "stayed"
    return act


def upgraded(c):
    assert c.upgrade() == 101


def half_and_pongs(c):
    """A message that is never whole, and pongs in the middle of it."""
    c.upgrade()
    c.put(masked(2, b"\0" + report()))
    c.read_frame()
    c.put(masked(2, b"\0" + b"x" * 1000, fin=0))
    end = time.monotonic() + 45
    c.sock.settimeout(1)
    while time.monotonic() < end:
        c.put(masked(10))
        try:
            if not c.more():
                return
        except socket.timeout:
            pass


FRAMES = but(agent_attacks.FRAMES, **{"64_MiB_in_fragments": None})
PROTOBUF = but(agent_attacks.PROTOBUF, **{"a_message_of_the_limit": None})
REQUEST = "GET /v1/opamp HTTP/1.1\r\nHost: x\r\n"
HTTP = but(agent_attacks.HTTP, a_body_of_32=None, a_gzip_bomb="400", a_chunked_body="200", a_wrong_secret=None, never_a_byte=None, a_request_byte_by=None) + [
    Attack("a body of 64 MiB and one byte", post(Content_Length=LIMIT + 1), "413", quick=True),
    Attack("a body that inflates to 64 MiB and one byte", gzipped(LIMIT + 1), "413", None, 3 * LIMIT, quick=True),
    Attack("chunks without end", chunks_without_end, "413", None, LIMIT + 32 * MIB, quick=True),
    Attack("a body in an unknown coding", post(b"x", Content_Encoding="br", Content_Length=1), "415"),
    Attack("gzip that is none", post(b"x" * 100, Content_Encoding="gzip", Content_Length=100), "400"),
    Attack("another path", head("GET /v1/opam HTTP/1.1\r\nHost: x\r\n\r\n"), "404"),
    Attack("a path in disguise", head("GET /v1/%6fpamp HTTP/1.1\r\nHost: x\r\n\r\n"), "404"),
    Attack("PUT", head(REQUEST.replace("GET", "PUT") + "\r\n"), "405"),
]
SLOW = [
    Attack("a request byte by byte", slowly(b"GET /v1/opamp HTTP/1.1\r\n" * 10, 1.0), "left in time|stayed"),
    Attack("never a byte", stays(14, lambda c: None), "left in time"),
    Attack("an upgrade, and never a message", stays(14, upgraded), "left in time"),
    Attack("a message that is never whole, and pongs", stays(45, half_and_pongs), "left in time"),
]
FLOODS = but(agent_attacks.FLOODS, connections_with="done") + [
    Attack("a uid after the other", uids_without_end, "read on|does not read", None, 24 * MIB),
]
TOGETHER = [
    Attack("messages that are not whole: 30 of 12 MiB", many(30, 60 * MIB, 12 * MIB), "1013(, end)?, open", None, BUDGET, quick=True, peers=30),
    Attack("bodies that are not whole: 30 of 12 MiB", bodies(30, 60 * MIB, 12 * MIB), "503(, end)?, open", None, BUDGET, quick=True, peers=30),
    Attack("pollers that share connections and uids", shared_connections, "answered", quick=True),
    Attack("3,000 uids that never began", never_begun, "refused", None, 4 * MIB, quick=True),
    Attack("offers by plain HTTP", offers_by_plain_http, "reached", None, 160 * MIB, quick=True),
    Attack("failures in long words", long_words, "failed", quick=True),
    Attack("2,000 attributes of a kilobyte", many_attributes, "short", None, 40 * MIB, quick=True),
    Attack("16 MiB of control characters", control_characters, "kept", None, 180 * MIB, quick=True),
    Attack("offers that are not read, by 20 agents", unread_offers(20), "reached", None, BUDGET + 64 * MIB, peers=20),
    Attack("messages that are not whole: 200 of 60 MiB", many(200, 60 * MIB, 8 * MIB), "1013(, end)?, open", None, BUDGET, peers=200),
]
GROUPS_OF_HUB = [("frames", FRAMES), ("protobuf", PROTOBUF), ("HTTP", HTTP), ("together", TOGETHER), ("floods", FLOODS)]
