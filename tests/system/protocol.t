#!/usr/bin/python3
"""OpAMP towards the server, from end to end: what opampd says, and what it does with what it hears."""
import http
import os
import re
import shutil
import socket
import ssl
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from bed import Bed, for_all, users_made
from opampserver import APPLIED, make_tls, opamp
from tap import same, until

NAMED_BITS = 0xffff
CONFIG = "fake:\n  fake_name: {}\n"


def up(bed, over=None, **arguments):
    server = bed.server(**arguments)
    daemon = bed.daemon(server, over)
    server.wait_healthy()
    return server, daemon


def parts(m):
    return {f.name for f, _ in m.ListFields()}


def first_report(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        first = server.messages[0]
        assert first.header == b"\0", first.raw[:4]
        for record in server.messages:
            same(record.header, b"\0", "the header of every message")
            same(len(record.msg.instance_uid), 16, "length of the uid")
            assert record.msg.capabilities & 1 and not record.msg.capabilities & ~NAMED_BITS, hex(record.msg.capabilities)
        same(server.connections[0].path, "/v1/opamp", "path")
        assert "agent_description" in parts(first.msg), parts(first.msg)
        since = server.mark()
        server.full_state()
        full = server.wait(lambda m: {"agent_description", "effective_config"} <= parts(m), 5, "the full state", since)
        want = {"agent_description", "health", "effective_config", "remote_config_status"}
        assert want <= parts(full.msg), f"missing: {want - parts(full.msg)}"
        for never in ("package_statuses", "connection_settings_status", "available_components"):
            assert never not in parts(full.msg), f"{never}: a part of a capability that is not announced"
        since = server.mark()
        server.full_state()
        server.wait(lambda m: want <= parts(m), 5, "the full state once more", since)
        numbers = [r.msg.sequence_num for r in server.messages]
        same(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "sequence numbers")
        since = server.mark()
        config_hash = server.offer({"": CONFIG.format("one")})
        server.wait_status(APPLIED, config_hash)
        server.wait_effective("fake_name: one")
        for record in server.messages[since:]:
            assert "agent_description" not in parts(record.msg), "an unchanged description was sent again"
            assert len(parts(record.msg)) > 3, f"a report that says nothing: {parts(record.msg)}"
        assert daemon.agent()


def headers_of_messages(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        for message in (b"\0", b"\x80\0", b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\0"):
            server.send(message)
        server.ping()
        same(len(server.connections), 1, "connections after valid messages of no length")
        pid = daemon.agent()
        restart = opamp.ServerToAgent(command=opamp.ServerToAgentCommand(type=0)).SerializeToString()
        server.send(b"\x80\0" + restart)
        now = daemon.agent(other_than=pid)
        for message in (b"", b"\1" + restart, b"\x80", b"\x80" * 11 + restart, b"\x80" * 10 + b"\0" + restart, b"\0\xff\xff\xff"):
            server.send(message)
        server.ping()
        daemon.wait_log("cannot be used")
        since = server.mark()
        server.full_state()
        server.wait(lambda m: m.HasField("agent_description"), 10, "the full state", since)
        same(daemon.agent(), now, "the agent's pid: nothing malformed was acted on")


def framing(user):
    with Bed(user) as bed:
        server, daemon = up(bed, {"server": {"reconnect": {"initial_delay": "10ms", "max_delay": "20ms"}}})
        pid = daemon.agent()
        restart = b"\0" + opamp.ServerToAgent(command=opamp.ServerToAgentCommand(type=0)).SerializeToString()
        # whole again: fragments of one byte with a ping between them
        frames = b"".join(bytes([(0x02 if i == 0 else 0) | (0x80 if i == len(restart) - 1 else 0), 1, byte]) +
                          (b"\x89\x02hi" if i == 1 else b"") for i, byte in enumerate(restart))
        server.send_raw(frames)
        pid = daemon.agent(other_than=pid)
        bent = {
            "text": (b"\x81\x02hi", 1003),
            "reserved bit": (b"\xc2\x01\0", 1002),
            "masked": (b"\x82\x81\1\2\3\4\1", 1002),
            "opcode 3": (b"\x83\x01\0", 1002),
            "opcode 11": (b"\x8b\x00", 1002),
            "ping of 126": (b"\x89\x7e\0\x7e" + b"x" * 126, 1002),
            "ping in fragments": (b"\x09\x01x", 1002),
            "continuation of nothing": (b"\x80\x01\0", 1002),
            "a second first fragment": (b"\x02\x01\0\x82\x01\0", 1002),
            "close of one byte": (b"\x88\x01\3", 1002),
            "close code 999": (b"\x88\x02\x03\xe7", 1002),
            "close reason not UTF-8": (b"\x88\x04\x03\xe8\xff\xff", None),
            "2^63 bytes": (b"\x82\x7f\x80" + b"\0" * 7, None),
            "2^62 bytes": (b"\x82\x7f\x40" + b"\0" * 7, 1009),
        }
        for what, (raw, code) in bent.items():
            count = len(server.connections)
            gone = server.connections[-1]
            server.send_raw(raw)
            until(lambda g=gone: g.closed, 5, f"{what} to end the connection")
            if code is not None:
                same(gone.code, code, f"close code for: {what}")
            server.wait_connections(count + 1)
            until(lambda: server.connections[-1].count, 5, "the report on the new connection")
        same(daemon.agent(), pid, "the agent's pid")


def sizes(user):
    with Bed(user) as bed:
        server, daemon = up(bed, {"limits": {"message_size": "64KiB", "config_size": "60KiB"}})
        restart = opamp.ServerToAgent(instance_uid=server.messages[0].msg.instance_uid,
                                      command=opamp.ServerToAgentCommand(type=0)).SerializeToString()
        pid = daemon.agent()

        def padded(size):  # an unknown field fills it: 1000, length-delimited
            room = size - 1 - len(restart) - 2 - 3
            return b"\0" + restart + b"\xc2\x3e" + bytes([room & 0x7f | 0x80, room >> 7 & 0x7f | 0x80, room >> 14]) + b"x" * room
        same(len(padded(65536)), 65536, "the test's own message")
        server.send(padded(65536))
        pid = daemon.agent(other_than=pid)
        server.send(padded(65537))
        gone = server.connections[0]
        until(lambda: gone.closed, 5, "a message of limit plus one to end the connection")
        same(gone.code, 1009, "close code")
        server.wait_connections(2)
        time.sleep(0.2)
        same(daemon.agent(), pid, "the agent's pid")
        # what the agent runs is larger than a message may be: the rest is still told
        big = server.offer({"": "fake:\n  fake_name: big\n  pad:\n" + "".join(f"    k{i}: {{a: {{a: {{a: {{a: {{a: {{a: {{a: 1}}}}}}}}}}}}}}\n" for i in range(1000))})
        server.wait_status(APPLIED, big)
        server.wait_healthy()
        time.sleep(0.3)
        same([1 for r in server.messages if len(r.raw) > 65536], [], "messages over the limit")
        daemon.wait_log("effective", 5)


def offline_changes(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        config_hash = server.offer({"": CONFIG.format("chatty") + "  fake_chatter: 5\n"})
        server.wait_status(APPLIED, config_hash)
        pid = daemon.agent()
        server.stop()
        time.sleep(2)
        since = server.mark()
        server.start()
        server.wait(lambda m: True, 10, "the first report after the outage", since)
        first = server.messages[since]
        again = [r for r in server.messages[since:] if r.time - first.time < 0.004]
        assert len(again) < 4, f"{len(again)} reports at once"
        same(daemon.agent(), pid, "the agent's pid")
        numbers = [r.msg.sequence_num for r in server.messages]
        gaps = [(a, b) for a, b in zip(numbers, numbers[1:]) if b != a + 1]
        assert len(gaps) <= 1, gaps


def silent_about_effective(user):
    with Bed(user) as bed:
        server, daemon = up(bed, capabilities=3)
        answered = server.messages[0].time + 0.5
        config_hash = server.offer({"": CONFIG.format("one")})
        server.wait_status(APPLIED, config_hash)
        server.full_state()
        server.wait(lambda m: m.HasField("agent_description"), 5, "the full state", 1)
        time.sleep(0.3)
        same([r for r in server.messages if r.msg.HasField("effective_config") and r.time > answered], [],
             "effective configurations to a server that does not accept them")
        assert daemon.agent()


def unknown_things(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        uid = server.messages[0].msg.instance_uid
        pid = daemon.agent()
        message = opamp.ServerToAgent(instance_uid=uid, flags=0xfffffff0, capabilities=2 ** 63 | 7).SerializeToString()
        server.send(b"\0" + message + b"\xc2\x3e\x03abc" + b"\xd0\x3e\x01" + b"\xdd\x3e1234" + b"\xd9\x3e12345678")
        # things of capabilities that we do not announce
        message = opamp.ServerToAgent(instance_uid=uid)
        message.packages_available.packages["x"].version = "1"
        message.packages_available.all_packages_hash = b"x"
        message.connection_settings.opamp.destination_endpoint = "ws://127.0.0.1:1/"
        message.connection_settings.hash = b"h"
        message.custom_message.capability = "x.y"
        server.send(message)
        server.ping()
        since = server.mark()
        server.full_state()
        full = server.wait(lambda m: m.HasField("agent_description"), 5, "the full state", since)
        assert "package_statuses" not in parts(full.msg) and "connection_settings_status" not in parts(full.msg)
        same(len(server.connections), 1, "connections")
        same(daemon.agent(), pid, "the agent's pid")


def identity(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        uid = server.messages[0].msg.instance_uid
        same(uuid.UUID(bytes=uid).version, 7, "UUID version")
        assert uuid.UUID(bytes=uid).variant == uuid.RFC_4122
        for wrong in (b"", b"x", b"x" * 15, b"x" * 17, b"\0" * 16):
            server.identify(wrong)
        server.ping()
        since = server.mark()
        server.full_state()
        server.wait(lambda m: m.HasField("agent_description"), 5, "the full state", since)
        same({r.msg.instance_uid for r in server.messages}, {uid}, "uids used")
        daemon.wait_log("uid", 5)
        # a message for another is not for us
        pid = daemon.agent()
        server.send(opamp.ServerToAgent(instance_uid=b"y" * 16, command=opamp.ServerToAgentCommand(type=0)))
        server.ping()
        time.sleep(0.3)
        same(daemon.agent(), pid, "the agent's pid after a message for another uid")
        server.send(b"\0" + opamp.ServerToAgent(command=opamp.ServerToAgentCommand(type=0)).SerializeToString())
        pid = daemon.agent(other_than=pid)
        new = uuid.uuid4().bytes
        since = server.mark()
        server.identify(new)
        server.wait(lambda m: m.instance_uid == new, 5, "the new uid", since)
        daemon.agent(other_than=pid)
        server.wait_effective(str(uuid.UUID(bytes=new)), since=since)
        server.wait_healthy(since=since)
        used = [r.msg.instance_uid for r in server.messages[since:]]
        same(used[used.index(new):], [new] * (len(used) - used.index(new)), "uids after the change")
        daemon.stop()
        since = server.mark()
        bed.daemon(server)
        same(server.wait(lambda m: True, 10, "a report", since).msg.instance_uid, new, "the uid after a new start")


def heartbeats(user):
    with Bed(user) as bed:
        server, daemon = up(bed, {"server": {"heartbeat_interval": "1s"}})
        assert server.messages[0].msg.capabilities & 0x2000
        time.sleep(0.5)
        since = server.mark()
        until(lambda: server.mark() >= since + 4, 20, "four heartbeats")
        beats = server.messages[since:since + 4]
        for beat in beats:
            same(parts(beat.msg), {"instance_uid", "sequence_num", "capabilities"}, "what a heartbeat carries")
        # three seconds, and what one is seen late
        assert 2.5 < beats[3].time - beats[0].time < 8, [b.time for b in beats]
        assert daemon.agent()


def dead_connection(user):
    with Bed(user) as bed:
        server, daemon = up(bed, {"server": {"ping_interval": "1s"}})
        time.sleep(0.3)
        server.stall()
        server.wait_connections(2, 8)
        server.wait(lambda m: m.HasField("health") or True, 5, "a report on the new connection", server.mark() - 1)
        assert daemon.agent()


def no_answer(user):
    with Bed(user) as bed:
        server, daemon = up(bed, {"server": {"response_timeout": "1s", "heartbeat_interval": "1s"}})
        server.answer = lambda record: None
        server.wait_connections(2, 8)
        server.answer = server.usual_answer
        assert daemon.agent()


def description(user):
    with Bed(user) as bed:
        over = {"agent": {"description": {"identifying_attributes": {"service.namespace": "bed", "service.name": "renamed"},
                                          "non_identifying_attributes": {"rack": "7", "host.arch": "mine"}}}}
        server, daemon = up(bed, over)

        def attributes(record):
            d = record.msg.agent_description
            return ({a.key: a.value.string_value for a in d.identifying_attributes},
                    {a.key: a.value.string_value for a in d.non_identifying_attributes})
        record = server.wait(lambda m: any(a.value.string_value == "1.0.0" for a in m.agent_description.identifying_attributes), 10,
                             "the agent's version")
        who, what = attributes(record)
        same(who["service.name"], "renamed", "service.name: the settings win")
        same(who["service.namespace"], "bed", "service.namespace")
        same(who["service.instance.id"], str(uuid.UUID(bytes=record.msg.instance_uid)), "service.instance.id")
        same(what["rack"], "7", "an attribute of the settings")
        same(what["host.arch"], "mine", "the settings win over the agent")
        same(what["os.type"], "linux", "os.type")
        same(what["host.name"], socket.gethostname(), "host.name")
        assert what.get("os.description") or what.get("os.name"), what
        with open(bed.storage("agent", "effective.yaml"), encoding="utf-8") as f:
            assert who["service.instance.id"] in f.read()
        daemon.stop()
        # known from the cache before the agent says anything
        server.assigned = None
        since = server.mark()
        daemon = bed.daemon(server, over)
        first = server.wait(lambda m: True, 10, "the first report", since)
        same(attributes(first)[0].get("service.version"), "1.0.0", "the version, from the cache")
        daemon.stop()
        # another binary, another version
        os.unlink(bed.agent)
        bed.agent = bed.path("fakeagent2")
        import bed as bed_module
        shutil.copy2(os.path.join(bed_module.BUILD, "tools/fakeagent2"), bed.agent)
        since = server.mark()
        daemon = bed.daemon(server, over)
        server.wait(lambda m: any(a.value.string_value == "2.0.0" for a in m.agent_description.identifying_attributes), 10,
                    "the new version", since)


def refusing(server, status, headers=(), body=b"no\n"):
    server.reject = lambda s: (http.HTTPStatus(status), list(headers), body)


def next_attempts(daemon, since=0):
    """The waits that it told, in seconds."""
    return [float(m.group(1)) for line in daemon.log(since) if (m := re.search(r"next attempt in ([\d.]+) s", line))]


def backoff(user):
    with Bed(user) as bed:
        server = bed.server()
        refusing(server, 500)
        daemon = bed.daemon(server, {"server": {"reconnect": {"initial_delay": "50ms", "max_delay": "400ms"}}})
        until(lambda: len(server.requests) >= 20, 60, "20 attempts")
        times = [t for t, _, _ in server.requests[:20]]
        # what it decides, in tenths: how much later it comes is a matter of the machine; each from nothing to all of it
        told = next_attempts(daemon)[:19]
        assert max(told) <= 0.4, f"longer than the longest wait: {told}"
        assert max(told[4:]) >= 0.1, f"it does not slow down: {told}"
        assert len(set(told[4:])) > 1, f"no jitter: {told}"
        early = [(b - a, wait) for a, b, wait in zip(times, times[1:], told) if b - a < wait - 0.01]
        same(early, [], "attempts before their time")
        server.reject = None
        server.wait_healthy()
        assert daemon.agent()


def accept_and_drop(user):
    with Bed(user) as bed:
        server, daemon = up(bed, {"server": {"reconnect": {"initial_delay": "200ms", "max_delay": "5s"}}})
        mark = daemon.mark()
        server.drop()
        server.wait_connections(2)
        assert next_attempts(daemon, mark)[0] < 0.15, f"the first try is not at once: {daemon.log(mark)}"
        original = server.serve

        async def drop(ws, _path=None):
            ws.transport.abort()
        server.serve = drop
        server.stop()
        before = len(server.requests)
        server.start()
        time.sleep(4)
        count = len(server.requests) - before
        assert 1 <= count <= 20, f"{count} connections in 4 s to a server that accepts and drops"
        server.stop()
        server.serve = original
        server.start()
        server.wait_connections(3)
        assert daemon.agent()


def leaving(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        agent = daemon.agent()
        same(daemon.stop(), 0, "exit status")
        assert not proc.alive(agent)
        server.wait(lambda m: m.HasField("agent_disconnect"), 5, "the goodbye")
        last = server.messages[-1]
        assert last.msg.HasField("agent_disconnect"), parts(last.msg)
        conn = server.connections[-1]
        until(lambda: conn.closed, 5, "the connection to be closed")
        same(conn.code, 1000, "close code")
        same(len([r for r in server.messages if r.msg.HasField("agent_disconnect")]), 1, "goodbyes")


def one_at_a_time(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        for _ in range(5):
            count = len(server.connections)
            server.drop()
            server.wait_connections(count + 1)
            until(lambda: server.connections[-1].count, 5, "a report")
        for code in (1000, 1001, 1012):
            count = len(server.connections)
            server.close(code)
            server.wait_connections(count + 1)
            until(lambda: server.connections[-1].count, 5, "a report")
        for a, b in zip(server.connections, server.connections[1:]):
            assert a.closed is not None and b.opened >= a.opened, "two connections at once"
        assert daemon.agent()


def unauthorised(user):
    with Bed(user) as bed:
        server = bed.server()
        refusing(server, 401)
        daemon = bed.daemon(server)
        daemon.wait_log("401")
        agent = daemon.agent()
        until(lambda: "401" in bed.ctl("status")[1], 5, "opampctl status to name it")
        refusing(server, 302, [("Location", "ws://127.0.0.1:1/elsewhere")])
        daemon.wait_log("302", 30)
        server.reject = None
        server.wait_healthy(seconds=40)
        same({path for _, path, _ in server.requests}, {"/v1/opamp"}, "paths asked for")
        same(daemon.agent(), agent, "the agent's pid")


def errors(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        pid = daemon.agent()
        bad = opamp.ServerToAgent(error_response=opamp.ServerErrorResponse(type=1, error_message="bad\x1b[31m thing\nsecond line"))
        bad.remote_config.config.config_map["x"].body = b"fake: {}\n"
        bad.remote_config.config_hash = b"beside an error"
        bad.command.SetInParent()
        since = server.mark()
        server.send(bad)
        daemon.wait_log(r"bad\\x1b\[31m thing\\x0asecond line")
        time.sleep(0.5)
        same([r for r in server.messages[since:]], [], "messages after BAD_REQUEST")
        same(daemon.agent(), pid, "the agent's pid")
        count = len(server.connections)
        away = opamp.ServerToAgent(error_response=opamp.ServerErrorResponse(type=2, error_message="busy"))
        away.error_response.retry_info.retry_after_nanoseconds = 1500000000
        gone = server.connections[-1]
        begun = time.monotonic()
        server.send(away)
        until(lambda: gone.closed, 5, "UNAVAILABLE to end the connection")
        again = server.wait_connections(count + 1)
        assert 1.4 < again.opened - begun < 6, f"back after {again.opened - begun} s"
        server.wait(lambda m: True, 5, "a report", since)


def retry_after(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        for status, value in ((503, "2"), (429, "2"), (503, "-5"), (503, "nonsense")):
            refusing(server, status, [("Retry-After", value)])
            before = len(server.requests)
            server.drop()
            until(lambda b=before: len(server.requests) > b, 10, "an attempt")
            asked = server.requests[before][0]
            server.reject = None
            until(lambda b=before: len(server.requests) > b + 1, 10, "the next attempt")
            wait = server.requests[before + 1][0] - asked
            assert (1.9 if value == "2" else 0) <= wait < 6, f"{status} {value}: the next attempt after {wait} s"
            until(lambda: server.connections[-1].closed is None and server.connections[-1].count, 10, "a report")
        assert daemon.agent()


def tls(user):
    with Bed(user) as bed:
        context = make_tls(bed.dir, client=True)
        os.chmod(bed.path("client.key"), 0o644)
        server = bed.server(tls=context)
        good = {"ca_file": bed.path("ca.pem"), "cert_file": bed.path("client.pem"), "key_file": bed.path("client.key")}
        daemon = bed.daemon(server, {"server": {"tls": good}})
        server.wait_healthy()
        config_hash = server.offer({"": CONFIG.format("over tls")})
        server.wait_status(APPLIED, config_hash)
        same(server.connections[-1].ws.transport.get_extra_info("ssl_object").version(), "TLSv1.3", "TLS version")
        daemon.stop()
        refused = {
            "a wrong name": {**good, "server_name_override": "other.example"},
            "no CA that knows it": {**good, "ca_file": bed.path("client.pem")},
            "no client certificate": {"ca_file": bed.path("ca.pem")},
        }
        for what, over in refused.items():
            count = len(server.messages)
            daemon = bed.daemon(server, {"server": {"tls": over}})
            daemon.wait_log("(?i)certificate|tls|alert", 10)
            time.sleep(0.3)
            same(len(server.messages), count, f"messages over a connection with {what}")
            daemon.stop()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        count = len(server.messages)
        daemon = bed.daemon(server, {"server": {"tls": {**good, "min_version": "1.3"}}})
        daemon.wait_log("(?i)version|tls|alert|protocol", 10)
        same(len(server.messages), count, "messages over a TLS version that is too old")
        daemon.stop()
        daemon = bed.daemon(server, {"server": {"tls": {"cert_file": good["cert_file"], "key_file": good["key_file"], "insecure_skip_verify": True}}})
        daemon.wait_log("insecure_skip_verify")
        server.wait_connections(len(server.connections) + 1)


def default_port(user):
    holder = socket.socket()
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 4320))
    except OSError:
        raise tap.Skip("port 4320 is in use on this host") from None
    finally:
        holder.close()
    with Bed(user) as bed:
        server = bed.server(port=4320)
        daemon = bed.daemon("ws://127.0.0.1", {"server": {"headers": {"X-Tenant": "seven"}}})
        server.wait_healthy()
        same(server.connections[0].path, "/v1/opamp", "path")
        same(server.connections[0].headers["X-Tenant"], "seven", "a header of the settings")
        daemon.stop()
        bed.daemon(f"ws://localhost:{server.port}/other/path?x=1")
        server.wait_connections(2)
        same(server.connections[1].path, "/other/path?x=1", "path")


TESTS = [
    ("FR-01 FR-02 ST-01 ST-03 ST-06 ST-08 ST-09 ST-10 ST-12 CP-01 CF-10 reports: first, full, changes", first_report),
    ("FR-01 FR-03 FR-04 the header of messages received", headers_of_messages),
    ("FR-05 FR-06 SZ-02 bent frames end the connection with the right code, and nothing else", framing),
    ("SZ-01 SZ-02 SZ-04 sizes, received and sent", sizes),
    ("ST-11 HB-04 many changes while disconnected are one report", offline_changes),
    ("CP-05 no effective configuration to a server that does not accept it", silent_about_effective),
    ("CP-03 CP-07 unknown fields, bits and what we did not announce are ignored", unknown_things),
    ("ID-01 ID-02 ID-03 ID-04 the uid: made, kept, assigned, refused", identity),
    ("HB-01 HB-03 heartbeats", heartbeats),
    ("HB-05 a connection without pong is dead", dead_connection),
    ("ER-07 a report without an answer: the connection is dead", no_answer),
    ("DE-01 DE-02 DE-03 DE-04 the description: agent, settings, cache, another version", description),
    ("CC-01 back-off with jitter between attempts", backoff),
    ("CC-02 the first try at once, and no hammering of a server that accepts and drops", accept_and_drop),
    ("CC-03 leaving: AgentDisconnect, Close frame, the agent ends", leaving),
    ("CC-04 ST-02 one connection at a time, whatever way the last one ended", one_at_a_time),
    ("CC-08 CC-09 401 is named for the operator; redirections are not followed", unauthorised),
    ("ER-01 ER-02 ER-03 error responses: nothing beside them is acted on; UNAVAILABLE is honoured", errors),
    ("ER-04 Retry-After is honoured", retry_after),
    ("SE-05 TLS: verified, host name, client certificate, version; skipped only loudly", tls),
    ("FR-09 default path and port, others settable", default_port),
]

users_made()
tap.run(for_all(TESTS))
