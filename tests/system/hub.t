#!/usr/bin/python3
"""opamphub towards agents: OpAMP by WebSocket and plain HTTP, requirement by requirement."""
import gzip
import http.client
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hub_bed
import proc
import tap
from hub_bed import (APPLIED, APPLYING, COMPONENTS, FAILED, METRICS, OPAMP_SETTINGS, STATUS, USUAL,
                     Closed, Hub, Poller, opamp, text)
from tap import same, until

HUB = None
FULL, ASKS_COMPONENTS = 1, 2


def code_of(agent, limit=20):
    """The code by which the hub closes."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        try:
            agent.receive(limit)
        except Closed as closed:
            return closed.code
    raise AssertionError("it was not closed")


def bad_request(answer):
    assert answer.HasField("error_response"), answer
    same(answer.error_response.type, 1, "BAD_REQUEST")
    assert answer.error_response.error_message, "a message for people"
    rest = opamp.ServerToAgent(instance_uid=answer.instance_uid, error_response=answer.error_response)
    same(answer, rest, "no other field (ST-14)")


# ---- framing

def framing():
    a = HUB.agent()
    body = a.message(agent_description=a.description()).SerializeToString()
    for header in (b"\0", b"\x80\0", b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\0"):
        a.frame(header + body)
        answer = a.receive()
        same(a.raw[0], 0, "the header sent (FR-02)")
        assert not answer.HasField("error_response"), answer
    for wrong in (b"\1" + body, b"", b"\x80" * 11 + body, b"\x80"):
        a.frame(wrong)
        bad_request(a.receive())
    a.frame(b"\0")  # an empty message is valid, but has no uid
    bad_request(a.receive())
    whole = b"\0" + a.message().SerializeToString()
    for at in range(len(whole)):
        a.frame(whole[at:at + 1], 2 if at == 0 else 0, at == len(whole) - 1)
    assert a.receive().instance_uid == a.uid


def refused_frames():
    for send, code in ((lambda a: a.frame(b"hello", 1), 1003), (lambda a: a.frame(b"\0", mask=False), 1002),
                       (lambda a: a.frame(b"\0", bits=0x40), 1002), (lambda a: a.frame(b"x", 3), 1002),
                       (lambda a: a.frame(b"x" * 126, 9), 1002), (lambda a: a.frame(b"\0", 0), 1002),
                       (lambda a: a.frame(b"\x03\xe8\xff", 8), 1007)):
        a = HUB.agent()
        send(a)
        same(code_of(a), code, "close code")
    a = HUB.agent()
    a.frame(b"ping", 9)
    same(a.receive_frame(), (10, b"ping"), "pong")
    a.frame(struct.pack("!H", 1000) + b"bye", 8)
    same(code_of(a), 1000, "its Close frame is answered")


def by_http(request):
    s = socket.create_connection(("127.0.0.1", HUB.agents_port), 20)
    s.sendall(request.encode() if isinstance(request, str) else request)
    data = b""
    while b"\r\n\r\n" not in data:
        got = s.recv(4096)
        if not got:
            break
        data += got
    s.close()
    return int(data.split()[1]) if data else 0


def requests_told_apart():
    up = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: {}\r\nSec-WebSocket-Key: {}\r\n"
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    for want, request in ((404, "GET /other HTTP/1.1\r\nHost: x\r\n\r\n"), (426, "GET /v1/opamp HTTP/1.1\r\nHost: x\r\n\r\n"),
                          (405, "PUT /v1/opamp HTTP/1.1\r\nHost: x\r\n\r\n"), (400, "POST /v1/opamp HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
                          (405, "GET /v1/opamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n\r\n"),
                          (426, "GET /v1/opamp HTTP/1.1\r\nHost: x\r\n" + up.format(12, key) + "\r\n"),
                          (400, "GET /v1/opamp HTTP/1.1\r\nHost: x\r\n" + up.format(13, "short") + "\r\n"),
                          (101, "GET /v1/opamp HTTP/1.1\r\nHost: x\r\n" + up.format(13, key) + "\r\n"),
                          (411, "POST /v1/opamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n\r\n"),
                          (415, "POST /v1/opamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\n"),
                          (400, "nonsense\r\n\r\n")):
        same(by_http(request), want, request)


def in_chunks():
    """As the reference client sends what it compresses."""
    head = "POST /v1/opamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n{}\r\n"

    def chunked(body, step):
        pieces = [body[i:i + step] for i in range(0, len(body), step)]
        return b"".join(b"%x;x=y\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\nTrailer: x\r\n\r\n"
    with Hub("--message-limit", "65536") as hub:
        for coding, pack in (("", lambda b: b), ("Content-Encoding: gzip\r\n", gzip.compress)):
            for step in (1, 7, 100000):
                p = Poller(hub)
                s = socket.create_connection(("127.0.0.1", hub.agents_port), 20)
                for sequence in (1, 2):  # two requests on one connection
                    body = pack(p.message(agent_description=p.description()).SerializeToString())
                    s.sendall(head.format(coding).encode() + chunked(body, step))
                    data = s.recv(65536)
                    assert data.startswith(b"HTTP/1.1 200 OK\r\n"), data
                    same(sequence, p.sequence, "the test's own sum")
                s.close()
                same(hub.seen(p.uid)["name"], "test", "what it said")
        global HUB  # pylint: disable=global-statement
        usual, HUB = HUB, hub
        try:
            for want, body in ((413, chunked(b"x" * 65537, 4096)), (413, b"fffffff\r\n" + b"x" * 65537), (400, b"x\r\n"), (400, b"1\r\nabc"),
                               (413, b"0\r\n" + b"Trailer: x\r\n" * 12000), (400, chunked(b"\xff" * 3, 1).replace(b"\r\n0", b"\n0"))):
                same(by_http(head.format("").encode() + body), want, body[:40])
            same(by_http(head.format("Content-Encoding: gzip\r\n").encode() + chunked(gzip.compress(b"\0" * 10_000_000), 4096)), 413, "a bomb")
        finally:
            HUB = usual


def limits():
    with Hub("--message-limit", "65536") as hub:
        a = hub.agent()
        a.hello()
        m = a.message(health=opamp.ComponentHealth(healthy=True, last_error="x"))
        m.health.last_error = "x" * 60000
        m.health.last_error += "x" * (65536 - 1 - len(m.SerializeToString()))
        same(len(m.SerializeToString()) + 1, 65536, "the test's own sum")
        a.send(m)
        assert not a.receive().HasField("error_response")
        a.sequence += 1
        m.sequence_num = a.sequence
        m.health.last_error += "x"
        a.send(m)
        same(code_of(a), 1009, "one byte more (SZ-01)")
        for length in (2 ** 31, 2 ** 62):
            b = hub.agent()
            b.socket.sendall(b"\x82\xff" + struct.pack("!Q", length) + b"abcd")
            same(code_of(b), 1009, "judged by the frame header (SZ-02)")
        p = Poller(hub)
        same(by_limit(hub, p, b"x" * 65537, {})[0], 413, "a body over the limit")
        same(by_limit(hub, p, gzip.compress(b"\0" * 10_000_000), {"Content-Encoding": "gzip"})[0], 413, "a bomb")


def by_limit(hub, poller, body, headers):
    del hub
    try:
        return poller.post(body, headers)
    except (BrokenPipeError, ConnectionResetError):
        return 413, {}, b""


# ---- reports

def answered_and_stored():
    a = HUB.agent(attributes={"host.name": "web1", "os.type": "linux"})
    answer = a.hello()
    same(answer.instance_uid, a.uid, "the uid that is answered")
    assert answer.capabilities & 1 and not answer.capabilities & ~0x7f, answer.capabilities
    same(answer.flags, 0, "nothing lacks")
    same(a.say(), opamp.ServerToAgent(instance_uid=a.uid), "with nothing to say only the uid (ST-05, CP-04)")
    seen = HUB.seen(a.uid)
    same([seen["name"], seen["version"], seen["connected"], seen["healthy"]], ["test", "1.0", True, True], "what is kept")
    same(seen["attributes"]["host.name"], "web1", "attributes")
    same(seen["effective"]["files"][""]["body"], "receivers: {}\n", "effective configuration")
    a.say(health=opamp.ComponentHealth(healthy=False, last_error="no <b>disk</b>"))
    seen = HUB.seen(a.uid)
    same([seen["healthy"], seen["last_error"]], [False, "no <b>disk</b>"], "health")
    same(seen["description"]["identifying_attributes"]["service.name"], "test", "what was not said again stays")


def full_state():
    a = HUB.agent()
    same(a.say().flags, FULL, "a first message without the parts that lack")
    same(a.say(agent_description=a.description()).flags, 0, "asked once on a connection, not for ever")
    a.hello()
    a.sequence += 3
    same(a.say().flags, FULL, "a gap")
    same(a.say().flags, 0, "after it")
    b = HUB.agent(uid=a.uid)
    same(b.say().flags, 0, "after a new connection nothing lacks")


def twice():
    a = HUB.agent()
    a.hello()
    m = a.message(health=opamp.ComponentHealth(healthy=False, last_error="once"))
    events = lambda: len(HUB.api(f"agents/{text(a.uid)}/events")["items"])  # noqa: E731
    a.send(m)
    first = a.receive()
    before = events()
    a.send(m)
    same(a.receive(), first, "the answer to the same message")
    same(events(), before, "events")


def malformed():
    a = HUB.agent()
    a.hello()
    before = HUB.seen(a.uid)
    for bad in (b"\xff\xff\xff", b"\x0a\xff\x01", a.message().SerializeToString() + b"\x2a\x03\x1a\x01\xff", b"\x0b" * 40):
        a.frame(b"\0" + bad)
        bad_request(a.receive())
    after = HUB.seen(a.uid)
    before.pop("last_seen"), after.pop("last_seen")
    same(after, before, "what is stored")
    assert not a.say().HasField("error_response"), "the next one is fine"


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def nested():
    inner = b""
    for _ in range(100_000):
        inner = b"\x12" + varint(len(inner)) + inner if len(inner) < 60_000 else inner
    a = HUB.agent()
    a.frame(b"\0" + a.message().SerializeToString() + b"\x2a" + varint(len(inner)) + inner)
    a.receive()
    a.frame(b"\0" + a.message().SerializeToString() + b"\x12\x00" * 10)
    bad_request(a.receive())


def long_words():
    """What an agent says at length is kept short where it is listed, and ends nobody."""
    a = HUB.agent()
    a.hello()
    pids = HUB.children()
    a.say(health=opamp.ComponentHealth(healthy=False, last_error="\u20ac" * 100_000, status="s" * 300_000))
    seen = HUB.seen(a.uid)
    assert 10_000 < len(seen["last_error"].encode()) <= 16384 and set(seen["last_error"]) == {"\u20ac"}, len(seen["last_error"])
    a.config_status(b"h", FAILED, "e" * 1_000_000)
    for parts in ({"remote_config_status": opamp.RemoteConfigStatus(last_remote_config_hash=b"x" * 65537)},
                  {"available_components": opamp.AvailableComponents(hash=b"x" * 65537)},
                  {"connection_settings_status": opamp.ConnectionSettingsStatus(last_connection_settings_hash=b"x" * 65537)}):
        bad_request(a.say(**parts))
    d = a.description()
    d.identifying_attributes.add(key="k" * 100_000).value.string_value = "v" * 100_000
    d.non_identifying_attributes.add(key="nan").value.double_value = float("nan")
    for value in ("inf", "-inf"):
        d.non_identifying_attributes.add(key=value).value.double_value = float(value)
    assert not a.say(agent_description=d).HasField("error_response")
    effective = opamp.EffectiveConfig()
    effective.config_map.config_map["n" * 100_000].content_type = "t" * 100_000
    assert not a.say(effective_config=effective).HasField("error_response")
    a.say(custom_message=opamp.CustomMessage(capability="c" * 100_000))
    same(HUB.children(), pids, "both processes live")


def uids():
    for uid in (b"", b"short", b"x" * 17, bytes(16)):
        a = HUB.agent()
        a.uid = uid
        bad_request(a.hello())
    a = HUB.agent()
    a.uid = b""
    answer = a.hello(flags=1)
    new = answer.agent_identification.new_instance_uid
    same(len(new), 16, "a uid of its own")
    same(new[6] >> 4, 7, "UUIDv7")
    a.uid = new
    assert not a.hello().HasField("agent_identification")
    assert HUB.seen(new), "it is known by the new one"


def twins():
    a = HUB.agent(name="first")
    a.hello()
    b = HUB.agent(uid=a.uid, name="second")
    m = b.message(agent_description=b.description(), health=opamp.ComponentHealth(healthy=False))
    b.send(m)
    a.socket.settimeout(20)
    same(a.receive_frame()[0], 9, "the older is asked whether it lives")
    a.frame(b"", 10)
    answer = b.receive()
    new = answer.agent_identification.new_instance_uid
    same(len(new), 16, "the newer gets another uid")
    assert not answer.HasField("remote_config")
    same(HUB.seen(a.uid)["name"], "first", "nothing is mixed up")
    b.uid, b.sequence = new, 0
    b.hello()
    same([HUB.seen(a.uid)["name"], HUB.seen(new)["name"]], ["first", "second"], "two agents")
    same(a.say(), opamp.ServerToAgent(instance_uid=a.uid), "the first goes on")


def dead_twin():
    a = HUB.agent(name="same")
    a.hello()
    b = HUB.agent(uid=a.uid, name="same")  # it came back while its old connection looks alive
    b.send(b.message(agent_description=b.description()))
    answer = b.receive(30)
    assert not answer.HasField("agent_identification"), "it keeps its uid: nobody answered the ping"
    assert HUB.seen(a.uid)["connected"]


# ---- configuration

def hash_of(version):
    return bytes.fromhex(HUB.api(f"versions/{version}")["hash"])


def offers():
    a = HUB.agent(attributes={"group": "offers"})
    a.hello()
    version, assignment = HUB.send_configuration("a: 1\n", "offers", selector="group=offers")
    offer = a.receive()
    same(offer.remote_config.config_hash, hash_of(version), "the hash")
    same(offer.remote_config.config.config_map[""].body, b"a: 1\n", "the body")
    same(HUB.seen(a.uid)["config"]["due"], version, "due")
    assert a.config_status(offer.remote_config.config_hash, APPLYING) == opamp.ServerToAgent(instance_uid=a.uid), "equal hashes: no offer"
    same(HUB.api(f"assignments/{assignment}/progress")["applying"], 1, "progress")
    a.config_status(offer.remote_config.config_hash, APPLIED)
    same(HUB.seen(a.uid)["config"]["status"], "applied", "status")
    answer = a.config_status(b"another", APPLIED)
    same(answer.remote_config.config_hash, hash_of(version), "they differ: the offer is in the answer")
    a.config_status(offer.remote_config.config_hash, FAILED, "line 3: no")
    config = HUB.seen(a.uid)["config"]
    same([config["status"], config["error"]], ["failed", "line 3: no"], "the agent's own words")
    kinds = [e["kind"] for e in HUB.api(f"agents/{text(a.uid)}/events")["items"]]
    assert {"connected", "offered", "applying", "applied", "failed"} <= set(kinds), kinds
    a.close()
    b = HUB.agent(uid=a.uid, attributes={"group": "offers"})
    answer = b.hello(remote_config_status=opamp.RemoteConfigStatus(last_remote_config_hash=b"old"))
    same(answer.remote_config.config_hash, hash_of(version), "in the answer to the first report after a reconnect")


def sent_again():
    a = HUB.agent(attributes={"group": "again"})
    a.hello()
    command = f"/api/v1/agents/{text(a.uid)}/commands"
    again = lambda: HUB.request("POST", command, {"type": "resend"})[0]  # noqa: E731
    same(again(), 409, "nothing is assigned yet")
    version, _ = HUB.send_configuration("again: 1\n", "again", selector="group=again")
    wanted = a.receive().remote_config.config_hash
    a.config_status(wanted, FAILED, "a port is taken")
    assert a.quiet(), "it has answered: nothing is offered"
    for _ in range(2):
        same(again(), 202, "status")
        same(a.receive().remote_config.config_hash, wanted, "the same version once more")
        assert not a.say(health=opamp.ComponentHealth(healthy=True)).HasField("remote_config"), "once"
        assert a.quiet(), "once"
    # an agent that tries it: no offer beside what it says
    same(again(), 202, "status")
    a.receive()
    assert not a.config_status(wanted, APPLYING).HasField("remote_config"), "equal hashes: no offer"
    assert not a.config_status(wanted, FAILED, "still taken").HasField("remote_config"), "equal hashes: no offer"
    # the same version, or the same bytes as another one, assigned by somebody
    HUB.api("assignments", "POST", {"version": version, "selector": "group=again"})
    same(a.receive().remote_config.config_hash, wanted, "assigned anew")
    HUB.send_configuration("again: 1\n", "again, the same bytes", selector="group=again")
    same(a.receive().remote_config.config_hash, wanted, "the same bytes")
    a.config_status(wanted, APPLIED)
    HUB.api("assignments", "POST", {"version": version, "selector": "group=again"})
    assert a.quiet(), "what works is not offered again by an assignment"
    kinds = [e["kind"] for e in HUB.api(f"agents/{text(a.uid)}/events")["items"]]
    same([kinds.count("send again"), kinds.count("offered")], [3, 6], "what the history says")
    # one that polls gets it with its next poll; and it is not lost to a report that comes first
    p = Poller(HUB, attributes={"group": "again"})
    p.hello()
    p.config_status(wanted, FAILED, "no")
    assert not p.say().HasField("remote_config"), "it has answered"
    same(HUB.request("POST", f"/api/v1/agents/{text(p.uid)}/commands", {"type": "resend"})[0], 202, "status")
    answer = p.say(health=opamp.ComponentHealth(healthy=True))
    same(answer.remote_config.config_hash, wanted, "with the next poll")
    assert not p.say().HasField("remote_config"), "once"
    a.close()
    until(lambda: not HUB.seen(a.uid)["connected"], 10, "it is gone")
    same(again(), 409, "to one that is gone")


def capabilities():
    a = HUB.agent(attributes={"group": "bits"}, capabilities=STATUS)
    a.hello()
    version, _ = HUB.send_configuration("b: 1\n", "bits", selector="group=bits")
    assert a.quiet(), "no offer to one that does not accept (CF-02)"
    same(HUB.request("POST", f"/api/v1/agents/{text(a.uid)}/commands", {"type": "restart"})[0], 409, "nor a command")
    a.capabilities = USUAL
    answer = a.say(health=opamp.ComponentHealth(healthy=True))
    if not answer.HasField("remote_config"):
        answer = a.receive()
    same(answer.remote_config.config_hash, hash_of(version), "it accepts now (CP-06)")
    a.capabilities |= 1 << 40
    assert not a.say(flags=1 << 30).HasField("error_response"), "unknown bits and flags (CP-07)"
    m = a.message()
    a.frame(b"\0" + m.SerializeToString() + b"\xfa\x07\x03abc")
    assert not a.receive().HasField("error_response"), "unknown fields (CP-07)"


def own_assignment_first():
    a = HUB.agent(attributes={"group": "own"})
    a.hello()
    HUB.send_configuration("s: 1\n", "own", selector="group=own")
    a.receive()
    version, own = HUB.send_configuration("own: 1\n", "own", agent=text(a.uid))
    same(a.receive().remote_config.config_hash, hash_of(version), "its own")
    HUB.send_configuration("s: 2\n", "own", selector="group=own")
    assert a.quiet(), "a newer one by selector does not replace it"
    HUB.api(f"assignments/{own}", "DELETE")
    same(a.receive().remote_config.config.config_map[""].body, b"s: 2\n", "after it was deleted")


def many_at_once():
    """More than libc sorts without a look at the machine, which the sandbox has not."""
    agents = [HUB.agent(attributes={"group": "many"}) for _ in range(100)]
    store = HUB.children()["store"]
    for a in agents:
        a.hello()
    version, assignment = HUB.send_configuration("m: 1\n", "many", selector="group=many")
    for a in agents:
        same(a.receive().remote_config.config_hash, hash_of(version), "the hash")
    for a in agents:
        a.send(a.message(remote_config_status=opamp.RemoteConfigStatus(last_remote_config_hash=hash_of(version), status=APPLIED)))
    for a in agents:
        a.receive()
    same(HUB.api(f"assignments/{assignment}/progress")["applied"], 100, "progress")
    HUB.api(f"assignments/{assignment}", "DELETE")
    same(HUB.children()["store"], store, "it lives")
    for a in agents:
        a.close()


def no_files():
    a = HUB.agent(attributes={"group": "empty"})
    a.hello()
    HUB.send_configuration({}, "empty", selector="group=empty")
    offer = a.receive().remote_config
    same([len(offer.config.config_map), len(offer.config_hash)], [0, 32], "an empty map with a hash")


def too_large():
    with Hub() as hub:
        files = {str(i): {"body": "x" * 4_000_000} for i in range(5)}
        status, _, data = hub.request("POST", "/api/v1/configurations", {"name": "c"})
        status, _, data = hub.request("POST", "/api/v1/configurations/1/versions", {"files": files})
        assert status in (413, 422), data
        files.popitem()
        a = hub.agent()
        a.hello()
        hub.send_configuration(files)
        same(len(a.receive(60).remote_config.config.config_map), 4, "16 MB go through")


def restart_command():
    a = HUB.agent()
    a.hello()
    same(HUB.request("POST", f"/api/v1/agents/{text(a.uid)}/commands", {"type": "restart"})[0], 202, "status")
    m = a.receive()
    same(m, opamp.ServerToAgent(instance_uid=a.uid, command=opamp.ServerToAgentCommand()), "the command alone")
    a.close()
    until(lambda: not HUB.seen(a.uid)["connected"], 10, "it is gone")
    same(HUB.request("POST", f"/api/v1/agents/{text(a.uid)}/commands", {"type": "restart"})[0], 409, "to one that is gone")
    same(HUB.request("POST", f"/api/v1/agents/{text(os.urandom(16))}/commands", {"type": "restart"})[0], 404, "to nobody")


def components():
    a = HUB.agent(capabilities=USUAL | COMPONENTS)
    mark = os.urandom(8)
    answer = a.hello(available_components=opamp.AvailableComponents(hash=mark))
    assert answer.flags & ASKS_COMPONENTS, "a new hash is asked for"
    c = opamp.AvailableComponents(hash=mark)
    c.components["receivers"].sub_component_map["otlp"].metadata.add(key="code").value.string_value = "x"
    assert not a.say(available_components=c).flags & ASKS_COMPONENTS
    same(list(HUB.seen(a.uid)["components"]["components"]["receivers"]["sub_component_map"]), ["otlp"], "kept")
    b = HUB.agent(capabilities=USUAL | COMPONENTS)
    assert not b.hello(available_components=opamp.AvailableComponents(hash=mark)).flags & ASKS_COMPONENTS, "a known hash is not"
    same(list(HUB.seen(b.uid)["components"]["components"]), ["receivers"], "and its components are known")


def custom_messages():
    with Hub("--custom-capability", "org.example.echo") as hub:
        a = hub.agent()
        answer = a.hello(custom_capabilities=opamp.CustomCapabilities(capabilities=["org.example.echo"]))
        same(list(answer.custom_capabilities.capabilities), ["org.example.echo"], "the hub's own, once")
        assert not a.say().HasField("custom_capabilities")
        path = f"/api/v1/agents/{text(a.uid)}/messages"
        same(hub.request("POST", path, {"capability": "org.other", "type": "t", "data": ""})[0], 409, "what it did not announce (CM-03)")
        same(hub.request("POST", path, {"capability": "org.example.echo", "type": "t", "data": "AAH/"})[0], 202, "what it did")
        m = a.receive().custom_message
        same([m.capability, m.type, m.data], ["org.example.echo", "t", b"\0\1\xff"], "the message")
        a.say(custom_message=opamp.CustomMessage(capability="org.example.echo", type="back", data=b"abc"))
        a.say(custom_message=opamp.CustomMessage(capability="org.unknown", type="lost"))
        until(lambda: any("received: org.example.echo, back, 3" in e["text"] for e in hub.api(f"agents/{text(a.uid)}/events")["items"]), 10, "its event")
        assert not any("org.unknown" in e["text"] for e in hub.api("events")["items"]), "dropped"


def connection_settings():
    a = HUB.agent(attributes={"group": "conn"}, capabilities=USUAL | OPAMP_SETTINGS)
    a.hello()
    settings = {"opamp": {"endpoint": "wss://new.example/v1/opamp", "headers": {"Authorization": "Bearer x"}, "heartbeat_seconds": 10},
                "own_metrics": {"endpoint": "https://otlp.example/v1/metrics"}}
    number = HUB.api("settings-offers", "POST", {"selector": "group=conn", "settings": settings})["id"]
    o = a.receive().connection_settings
    same([o.opamp.destination_endpoint, o.opamp.headers.headers[0].value, o.opamp.heartbeat_interval_seconds],
         ["wss://new.example/v1/opamp", "Bearer x", 10], "the offer")
    assert not o.HasField("own_metrics"), "only classes that the bits allow (CN-13)"
    assert "Bearer x" not in str(HUB.api("settings-offers")), "headers are not shown again"
    a.say(connection_settings_status=opamp.ConnectionSettingsStatus(last_connection_settings_hash=o.hash, status=1))
    same(HUB.seen(a.uid)["settings"]["status"], "applied", "its status")
    a.close()
    b = HUB.agent(uid=a.uid, attributes={"group": "conn"}, capabilities=USUAL | OPAMP_SETTINGS | METRICS)
    answer = b.hello(connection_settings_status=opamp.ConnectionSettingsStatus(last_connection_settings_hash=o.hash, status=1))
    assert not answer.HasField("connection_settings"), "equal hashes: nothing (CN-12)"
    HUB.api(f"settings-offers/{number}", "DELETE")


# ---- plain HTTP

def plain_http():
    p = Poller(HUB, attributes={"group": "poll"})
    same(p.hello().instance_uid, p.uid, "answered")
    same(HUB.seen(p.uid)["connection"]["transport"], "http", "transport")
    version, _ = HUB.send_configuration("p: 1\n", "poll", selector="group=poll")
    until(lambda: p.say().remote_config.config_hash == hash_of(version), 10, "a poll has the offer")
    p.config_status(hash_of(version), APPLIED)
    same(HUB.request("POST", f"/api/v1/agents/{text(p.uid)}/commands", {"type": "restart"})[0], 202, "status")
    until(lambda: p.say() == opamp.ServerToAgent(instance_uid=p.uid, command=opamp.ServerToAgentCommand()), 10, "and the command, alone")
    body = p.message().SerializeToString()
    status, headers, data = p.post(gzip.compress(body), {"Content-Encoding": "gzip"})
    same([status, headers["Content-Type"]], [200, "application/x-protobuf"], "a gzip request")
    big = {"": {"body": "key: value\n" * 1000}}
    HUB.send_configuration(big, "poll", selector="group=poll")
    p.sequence += 1

    def packed():
        status, headers, data = p.post(p.message().SerializeToString(), {"Accept-Encoding": "gzip"})
        same(status, 200, "status")
        return headers.get("Content-Encoding") == "gzip" and data
    answer = opamp.ServerToAgent()
    answer.ParseFromString(gzip.decompress(until(packed, 10, "a gzip answer")))
    same(answer.remote_config.config.config_map[""].body.decode(), big[""]["body"], "its body")
    same(p.post(b"\xff\xff")[0], 200, "a malformed one is answered in OpAMP")
    same(p.post(b"\xff" * 20, {"Content-Encoding": "gzip"})[0], 400, "one that is not gzip")
    p.say(agent_disconnect=opamp.AgentDisconnect())
    until(lambda: not HUB.seen(p.uid)["connected"], 10, "it said goodbye")


# ---- ends

def goodbyes():
    a = HUB.agent()
    a.hello()
    a.say(agent_disconnect=opamp.AgentDisconnect())
    a.frame(struct.pack("!H", 1000), 8)
    until(lambda: not HUB.seen(a.uid)["connected"], 10, "it is gone")
    same(HUB.seen(a.uid)["connection"]["gone_why"], "the agent said goodbye", "why")
    b = HUB.agent()
    b.hello()
    b.close()
    until(lambda: not HUB.seen(b.uid)["connected"], 10, "it is gone")


def credentials():
    with Hub(agent_tokens="# agents\nfleet 0123456789abcdef0123\nlab fedcba9876543210fedc\n") as hub:
        for headers in ((), ("Authorization: Bearer wrong",), ("Authorization: Basic Zm9v",), ("Authorization: Bearer 0123456789abcdef0123x",)):
            same(hub.agent(headers=headers).status, 401, str(headers))
        p = Poller(hub)
        same(p.post(b"")[0], 401, "by HTTP")
        a = hub.agent(headers=("Authorization: Bearer fedcba9876543210fedc",))
        a.hello()
        same(hub.seen(a.uid)["connection"]["credential"], "lab", "the token's name")
        assert "fedcba9876543210" not in hub.log()


def tls():
    with tempfile.TemporaryDirectory(prefix="opamphub-tls-", dir="/opt" if hub_bed.ROOT else None) as place:
        os.chmod(place, 0o755)

        def made(name, *more):
            paths = [os.path.join(place, f"{name}.{kind}") for kind in ("cert", "key")]
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-out", paths[0], "-keyout", paths[1], "-days", "2",
                            "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", *more], check=True, capture_output=True)
            return paths
        cert, key = made("hub")
        mine, my_key = made("web1")
        with Hub("--agents-tls-cert", cert, "--agents-tls-key", key, "--agents-client-ca", mine, "--page-tls-cert", cert, "--page-tls-key", key) as hub:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = ssl.create_default_context(cafile=cert)
                context.minimum_version = context.maximum_version = version
                page = http.client.HTTPSConnection("localhost", hub.page_port, context=context, timeout=30)
                page.request("GET", "/api/v1/agents")
                same(page.getresponse().status, 200, f"the page by {version!r}")
                page.close()
                context.load_cert_chain(mine, my_key)
                a = hub.agent(tls=context, name=str(version))
                a.hello()
                a.say(health=opamp.ComponentHealth(healthy=True, last_error="x" * 300_000))
                page.request("GET", f"/api/v1/agents/{text(a.uid)}")
                seen = json.loads(page.getresponse().read())
                page.close()
                same([seen["connection"]["transport"], seen["connection"]["credential"]], ["wss", "web1"], "a client certificate's name")
                a.close()
            bare = ssl.create_default_context(cafile=cert)
            bare.maximum_version = ssl.TLSVersion.TLSv1_2
            try:
                hub.agent(tls=bare)
                raise AssertionError("an agent without a certificate came in")
            except (ssl.SSLError, OSError, Closed):
                pass
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            old.set_ciphers("ALL:@SECLEVEL=0")
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
            for port in (hub.agents_port, hub.page_port):
                try:
                    old.wrap_socket(socket.create_connection(("127.0.0.1", port), 20))
                    raise AssertionError("TLS 1.1 was taken")
                except (ssl.SSLError, OSError):
                    pass
                with socket.create_connection(("127.0.0.1", port), 20) as s:
                    s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    s.settimeout(20)
                    try:
                        assert b"HTTP" not in s.recv(100), "no plain answer"
                    except ConnectionResetError:
                        pass
            same(len(hub.children()), 2, "both processes live")
            assert "started anew" not in hub.log(), hub.log()


def silence():
    with Hub("--silence", "2") as hub:
        a, p = hub.agent(), Poller(hub)
        a.hello()
        p.hello()
        until(lambda: not hub.seen(p.uid)["connected"], 20, "the one that polls no more is shown as gone")
        same(hub.seen(p.uid)["connection"]["gone_why"], "it polls no more", "why")
        same(a.receive_frame()[0], 9, "the other one is asked whether it lives")
        until(lambda: not hub.seen(a.uid)["connected"], 20, "it is gone, too")
        b = hub.agent()
        b.hello()
        for _ in range(3):
            same(b.receive_frame()[0], 9, "asked")
            b.frame(b"", 10)
        assert hub.seen(b.uid)["connected"], "one that answers is there"
        p.say()
        assert hub.seen(p.uid)["connected"], "one poll brings it back"


def revoked():
    with Hub(agent_tokens="old 0123456789abcdef0123\nnew fedcba9876543210fedc\n") as hub:
        old, new = (hub.agent(headers=(f"Authorization: Bearer {t}",)) for t in ("0123456789abcdef0123", "fedcba9876543210fedc"))
        old.hello()
        new.hello()
        hub.file("agent.tokens", "new fedcba9876543210fedc\n")
        hub.process.send_signal(signal.SIGHUP)
        same(code_of(old), 1001, "its connection is ended")
        until(lambda: try_(lambda: new.connect(headers=("Authorization: Bearer fedcba9876543210fedc",)).status == 101), 20, "the new one is taken")
        same(old.connect(headers=("Authorization: Bearer 0123456789abcdef0123",)).status, 401, "the old one is not")
        hub.file("agent.tokens", "")
        hub.process.send_signal(signal.SIGHUP)
        until(lambda: "nothing was changed" in hub.log(), 10, "a file that cannot be used changes nothing")
        assert not new.hello().HasField("error_response")


def no_compression():
    a = HUB.agent(headers=("Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover",))
    assert "extensions" not in a.head.lower(), a.head
    a.frame(b"\0" + a.message().SerializeToString(), bits=0x40)
    same(code_of(a), 1002, "a compressed frame")


def leaving():
    for everybody in (False, True):  # a service manager or a terminal may signal each process
        hub = Hub()
        try:
            a = hub.agent()
            a.hello()
            children = hub.children().values()
            for pid in [*children, hub.process.pid] if everybody else [hub.process.pid]:
                os.kill(pid, signal.SIGTERM)
            same(code_of(a), 1001, "its Close frame")
            a.frame(struct.pack("!H", 1001), 8)
            same(hub.process.wait(20), 0, "exit status")
            lines = hub.log().splitlines()
            assert "Terminated: taking leave of the agents" in lines[-2] and lines[-1].endswith("opamphub: ended"), lines
        finally:
            hub.close()


def relative_paths():
    """Files and the store below the directory that it was started in."""
    with Hub(agent_tokens="one 0123456789abcdef\n") as hub:
        version = hub.send_configuration("relative: 1\n")[0]
        hub.stop()
        options = hub.options
        hub.options = ["--agents-token-file", "./agent.tokens", "--store", "store"]
        command = hub.command() + hub.options
        r = subprocess.run([*command, "-n"], cwd=hub.work, capture_output=True, text=True, timeout=60, check=False,
                           env={"PATH": "/usr/bin:/bin"})
        same([r.returncode, r.stderr], [0, ""], "checked")
        hub.options = options
        plain = hub.spawn
        hub.spawn = lambda command, **more: plain(command, cwd=hub.work, **more)
        hub.store, hub.options = "./store", ["--agents-token-file", "agent.tokens"]
        hub.start()
        same(hub.api(f"versions/{version}")["files"][""]["body"], "relative: 1\n", "the same store")
        hub.stop()
        r = subprocess.run([*hub.command()[:1], "--store", "store", "--page-token-file", "nosuch", "-n"], cwd=hub.work, capture_output=True, text=True, timeout=60,
                           check=False, env={"PATH": "/usr/bin:/bin"})
        assert r.returncode == 1 and "--page-token-file" in r.stderr and f"{hub.work}/nosuch" in r.stderr, r.stderr


def overload():
    with Hub("--max-agents", "2") as hub:
        for _ in range(2):
            a = hub.agent()
            a.hello()
            a.close()
            until(lambda: not hub.seen(a.uid)["connected"], 10, "gone")
        answer = hub.agent().hello()
        same(answer.error_response.type, 2, "UNAVAILABLE")
        assert answer.error_response.retry_info.retry_after_nanoseconds >= 30 * 10 ** 9, "at least 30 s"


# ---- what survives

def restarts():
    with Hub() as hub:
        a = hub.agent(attributes={"group": "r"})
        a.hello()
        version, _ = hub.send_configuration("r: 1\n", selector="group=r")
        offered = a.receive().remote_config.config_hash
        a.config_status(offered, APPLIED)
        before = hub.seen(a.uid)
        for how in (signal.SIGTERM, signal.SIGKILL):
            if how == signal.SIGKILL:
                pids = list(proc.children(hub.process.pid))
                hub.stop(how)
                assert not any(proc.alive(p) for p in pids), "the parent's death ends both"
                hub.start()
            else:
                hub.restart()
            after = hub.seen(a.uid)
            same([after["connected"], after["config"]["status"], after["health"], after["config"]["due"]],
                 [False, "applied", before["health"], version], f"after {how!r}")
        a.sequence += 1
        a.connect()
        answer = a.say(remote_config_status=opamp.RemoteConfigStatus(last_remote_config_hash=b"x"))
        same(answer.remote_config.config_hash, offered, "the assignment is still there")


def parts_die():
    with Hub() as hub:
        a = hub.agent()
        a.hello()
        for part in ("front", "store"):
            pids = hub.children()
            os.kill(pids[part], signal.SIGKILL)
            until(lambda: len(hub.children()) == 2 and not set(hub.children().values()) & set(pids.values()), 20, "both are started anew")
            until(lambda: try_(lambda: a.connect() and a.say()), 20, f"agents are back after {part} died")
        assert "started anew" in hub.log()


def try_(call):
    try:
        return call()
    except (OSError, Closed):
        return None


def sandboxed():
    for user in (["root", "user"] if hub_bed.ROOT else ["user"]):
        with Hub(user=user) as hub:
            for name, pid in hub.children().items():
                s = proc.status(pid)
                same([s["Seccomp"], s["NoNewPrivs"], s["CapEff"], s["CapPrm"], s["CapAmb"]], ["2", "1", "0" * 16, "0" * 16, "0" * 16], f"{user} {name}")
                assert s["Uid"].split()[0] != "0", s["Uid"]
                kinds = {v.split(":")[0] for v in proc.descriptors(pid).values()}
                files = [v for v in proc.descriptors(pid).values() if v.startswith("/") and v != "/dev/null"]
                kept = ("/hub.db", "/hub.db-wal")  # in its root, which is the store's directory
                same([f for f in files if f not in (*kept, hub.log_path)], [], f"{name}'s files of {kinds}")
                if name == "front":
                    same([f for f in files if f in kept], [], "front has no file of the store")
            s = proc.status(hub.process.pid)
            same([s["Seccomp"], s["NoNewPrivs"], s["CapAmb"]], ["2", "1", "0" * 16], "the parent")
            caps = int(s["CapPrm"], 16)
            assert caps & ~(1 << 6 | 1 << 7 | 1 << 8 | 1 << 21 | 1 << 5) == 0 and (user == "root" or caps == 0), s["CapPrm"]
            same(oct(os.stat(hub.store).st_mode & 0o777), "0o700", "the store's directory")


def main():
    global HUB
    HUB = Hub()
    try:
        tap.run([
            ("FR-01 FR-02 FR-03 FR-04 headers of messages, fragments of any size", framing),
            ("FR-05 FR-06 text, masks, reserved bits, control frames", refused_frames),
            ("FR-07 FR-09 HTTP and WebSocket on one port", requests_told_apart),
            ("FR-07 SZ-01 a request in chunks: taken, bounded, judged as any other", in_chunks),
            ("SZ-01 SZ-02 SZ-05 sizes: 1009 and 413, inflated too", limits),
            ("ST-05 CP-04 every report is answered, and stored", answered_and_stored),
            ("ST-07 gaps and missing parts: the full state is asked for", full_state),
            ("ER-06 a message seen twice is answered twice and processed once", twice),
            ("ST-13 ST-14 malformed reports change nothing", malformed),
            ("ST-13 deep nesting and wrong types", nested),
            ("ST-13 words without end are cut or refused", long_words),
            ("ID-06 ID-07 uids: wrong ones, asked-for ones", uids),
            ("ID-05 CC-06 two live connections with one uid", twins),
            ("ID-05 one that comes back while its old connection looks alive", dead_twin),
            ("CF-03 CF-11 offers by hash, at any time", offers),
            ("CF-03 send again: what an agent has answered is offered once more", sent_again),
            ("CF-02 CP-05 CP-06 CP-07 capabilities are respected, and may change", capabilities),
            ("CF-03 an agent's own assignment goes before selectors", own_assignment_first),
            ("CF-03 CF-11 one configuration to a hundred agents", many_at_once),
            ("CF-03 a configuration without files", no_files),
            ("SZ-03 a configuration that is too large is refused, a large one arrives", too_large),
            ("RC-04 Restart is sent alone", restart_command),
            ("AC-03 components are asked for by hash, once", components),
            ("CM-01 CM-02 CM-03 custom capabilities and messages", custom_messages),
            ("CN-12 CN-13 connection settings are offered by hash and class", connection_settings),
            ("HT-01 HT-04 HT-06 HT-09 plain HTTP, gzip both ways", plain_http),
            ("HT-07 disconnects are told", goodbyes),
            ("CC-07 401 before the upgrade", credentials),
            ("CC-07 TLS for agents and page, client certificates", tls),
            ("CN-14 a token that was taken away: the connection ends, 401", revoked),
            ("HT-08 HB-05 agents that say nothing are asked, and shown as gone", silence),
            ("FR-08 compression is not agreed to", no_compression),
            ("CC-05 leaving with a Close frame", leaving),
            ("relative paths", relative_paths),
            ("ER-05 more agents than it takes: UNAVAILABLE with retry_info", overload),
            ("all survives a restart and a kill", restarts),
            ("a part that dies is replaced", parts_die),
            ("the kernel's view of both processes", sandboxed),
        ])
    finally:
        HUB.close()


main()
