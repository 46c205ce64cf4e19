"""What a server may do to us: (name, act, what the server sees of it, why in log and status, memory, quick).

An act gets one connection, made by hand (peers.Served), and gives what became of it: a close code, "end", "reset",
"goes on" (the conversation is alive), or words of its own.
"""
import collections
import gzip
import random
import struct
import threading
import time

from peers import DECODED, KIB, L, MESSAGE, MIB, USUAL, frame, opamp

# peers: by how many connections, each of which may cost the processor what one may
Attack = collections.namedtuple("Attack", "name act sees why memory quick agent_may_restart peers",
                                defaults=(None, USUAL, False, False, 1))
LIMIT = L["LIMIT_OPAMP_MESSAGE"]


# ---- after the upgrade


def sends(data, begun=True):
    def act(p):
        if begun:
            p.begin()
        else:
            p.upgrade()
        p.send(data(p) if callable(data) else data)
        return p.outcome()
    return act


def message(*bodies):
    """Whole OpAMP messages; then the conversation must go on."""
    def act(p):
        p.begin()
        for body in bodies:
            p.send(frame(2, body(p) if callable(body) else body))
        return p.goes_on()
    return act


def varint(n):
    out = b""
    while True:
        out += bytes([n & 0x7f | (0x80 if n > 0x7f else 0)])
        n >>= 7
        if not n:
            return out


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def nested(numbers, depth):
    """Messages within messages."""
    payload = b""
    for i in range(depth):
        payload = field(numbers[i % len(numbers)], payload)
    return payload


def nested_fast(number, depth):
    """The same without copying: lengths first, from the inside out."""
    heads, size = [], 0
    for _ in range(depth):
        head = varint(number << 3 | 2) + varint(size)
        heads.append(head)
        size += len(head)
    return b"".join(reversed(heads))


def flood(blob, seconds=2, reads=True):
    """As fast as it goes for so long; alive afterwards?"""
    def act(p):
        p.begin()
        data = blob(p) if callable(blob) else blob
        p.sock.settimeout(1)
        heard = []

        def read():
            try:
                while True:
                    got = p.sock.recv(1 << 18)
                    if not got:
                        return
                    heard.append(len(got))
            except OSError:
                pass
        if reads:
            threading.Thread(target=read, daemon=True).start()
        end, sent = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            if not p.send(data):
                return p.broke if reads else f"{p.broke} after {sent >> 20} MiB" if sent < 64 * MIB else "took it all"
            sent += len(data)
        return "read on" if reads else f"took {sent >> 20} MiB"
    return act


def offers(p):
    out = b""
    for n in range(2000):
        m = opamp.ServerToAgent(instance_uid=p.uid)
        m.remote_config.config.config_map["x.yaml"].body = b"fake:\n  fake_name: flood%d\n" % n
        m.remote_config.config_hash = b"flood%d" % n
        out += frame(2, b"\0" + m.SerializeToString())
    return out


def many(make, n=2000):
    def blob(p):
        m = opamp.ServerToAgent(instance_uid=p.uid)
        make(m)
        return frame(2, b"\0" + m.SerializeToString()) * n
    return blob


def uids(p):
    out = b""
    for n in range(2000):
        m = opamp.ServerToAgent(instance_uid=p.uid)
        m.agent_identification.new_instance_uid = b"\1\2\3\4\5\6\x70\x08\x80" + n.to_bytes(7, "big")
        out += frame(2, b"\0" + m.SerializeToString())
    return out


def restart(m):
    m.command.type = 0


def full_state(m):
    m.flags = 1


def custom(m):
    m.custom_message.capability = "io.example.x"
    m.custom_message.data = b"x" * 1000


def connection(m):
    m.connection_settings.opamp.destination_endpoint = "ws://127.0.0.1:1/"
    m.connection_settings.hash = b"h"


def packages(m):
    m.packages_available.packages["x"].version = "1"
    m.packages_available.packages["x"].file.download_url = "http://127.0.0.1:1/"
    m.packages_available.all_packages_hash = b"h"


def error(m):
    m.error_response.type = 1
    m.error_response.error_message = "no \x1b[2J\n" * 100


def config(fill):
    def body(p):
        m = opamp.ServerToAgent(instance_uid=p.uid)
        fill(m)
        return b"\0" + m.SerializeToString()
    return body


def pings_nobody_reads(p):
    p.begin()
    p.sock.settimeout(1)
    blob, sent = frame(9, b"x" * 125) * 1000, 0
    while sent < 64 * MIB:
        if not p.send(blob):
            return "not read from" if p.broke == "does not read" else p.broke
        sent += len(blob)
    return "took 64 MiB"


def fragments_of_a_megabyte(p):
    p.begin()
    piece = b"x" * MIB
    p.send(frame(2, piece, fin=0))
    for _ in range(64):
        if not p.send(frame(0, piece, fin=0)):
            break
    return p.outcome()


def reset_at(step):
    def act(p):
        if step >= 1:
            p.request()
        if step >= 2:
            p.send(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    f"Sec-WebSocket-Accept: {p.accept_line()}\r\n\r\n").encode())
        if step >= 3:
            p.uid = p.report().instance_uid
        if step >= 4:
            p.message(opamp.ServerToAgent(capabilities=7))
            p.send(frame(2, b"x" * 10, length=1000))
        p.reset()
        return "reset by us"
    return act


def slowly(data, begun, gap=0.3):
    """Byte by byte until the peer has enough of it."""
    def act(p):
        if begun:
            p.begin()
        else:
            p.request()
        p.sock.settimeout(gap)
        begin = time.monotonic()
        for i in range(len(data)):
            if not p.send(data[i:i + 1]):
                break
            try:
                got = p.sock.recv(4096)
                if not got:
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        took = time.monotonic() - begin
        return "left in time" if took < 12 else f"stayed for {took:.0f} s"
    return act


def silent(step):
    def act(p):
        if step == 1:
            p.request()
        elif step == 2:
            p.upgrade()
        elif step == 3:
            p.begin()
        begin = time.monotonic()
        while p.more():  # reports may come; nothing is ever answered
            p.data = b""
        took = time.monotonic() - begin
        return "left in time" if took < 12 and p.broke in ("end", "reset") else f"{p.broke} after {took:.0f} s"
    return act


def half_a_frame(p):
    p.begin()
    p.send(frame(2, b"x" * 50, length=100))
    p.sock.shutdown(1)
    return p.outcome()


DEEP = nested_fast(4, 100000)
CONFIG_WIDE = field(3, field(1, b"\x0a\x00" * 1000000))
GROUPS = b"\xc3\x3e" * 100000

FRAMES = [
    Attack("garbage after the upgrade", sends(b"GARBAGE\r\n" * 100), "1002", "reserved bits", quick=True),
    Attack("random bytes after the upgrade", sends(random.Random(5).randbytes(1 << 16)), "10(02|03|07|09)", "close code"),
    Attack("half a frame, then the end", half_a_frame, "end|reset", "closed the connection without a goodbye"),
    Attack("a masked frame", sends(frame(2, b"\0", mask=b"\1\2\3\4")), "1002", "a frame is masked", quick=True),
    Attack("RSV1: compression nobody agreed on", sends(frame(2, b"\xca\xfe", rsv=4)), "1002", "reserved bits", quick=True),
    Attack("RSV2", sends(frame(2, b"\0", rsv=2)), "1002", "reserved bits"),
    Attack("RSV3 of a ping", sends(frame(9, b"", rsv=1)), "1002", "reserved bits"),
    *[Attack(f"opcode {n}", sends(frame(n, b"")), "1002", f"unknown opcode {n}") for n in (3, 7, 11, 15)],
    Attack("text", sends(frame(1, b"hello")), "1003", "text is not taken"),
    Attack("a ping of 126 bytes", sends(frame(9, b"x" * 126)), "1002", "longer than 125 bytes", quick=True),
    Attack("a Close frame of 2^40 bytes", sends(frame(8, b"", length=1 << 40)), "1002", "longer than 125 bytes"),
    Attack("a fragmented ping", sends(frame(9, b"x", fin=0)), "1002", "control frame is fragmented"),
    Attack("a continuation of nothing", sends(frame(0, b"x")), "1002", "a continuation without"),
    Attack("a message within a message", sends(frame(2, b"\0", fin=0) + frame(2, b"\0")), "1002", "within another"),
    Attack("a Close frame of one byte", sends(frame(8, b"\3")), "1002", "a Close frame of one byte"),
    *[Attack(f"close code {n}", sends(frame(8, struct.pack(">H", n))), "1002", f"with code {n}") for n in (0, 999, 1005, 1006, 1015, 2999, 5000)],
    Attack("a Close frame's reason that is no UTF-8", sends(frame(8, b"\x03\xe8\xff\xfe")), "1007", "not UTF-8", quick=True),
    Attack("a Close frame with escapes for a terminal", sends(frame(8, b"\x03\xe8\x1b[2J")), "1000", r"closed by the peer, code 1000: \\x1b\[2J"),
    Attack("a length with the top bit set", sends(frame(2, b"", length=1 << 63)), "1009", "more than", quick=True),
    Attack("a length of 2^64-1", sends(frame(2, b"", length=(1 << 64) - 1)), "1009", "more than"),
    Attack("64 MiB and one byte", sends(frame(2, b"x" * 100, length=64 * MIB + 1)), "1009", "more than", quick=True),
    Attack("the limit and one byte", sends(frame(2, b"", length=LIMIT + 1)), "1009", "more than"),
    Attack("64 MiB in fragments of 1 MiB", fragments_of_a_megabyte, "1009", "more than", MESSAGE),
    Attack("5 bytes, their length in 16 bits", sends(frame(2, b"\0\0\0\0\0", form=16)), "1002", "shortest form"),
    Attack("300 bytes, their length in 64 bits", sends(frame(2, b"\0" * 300, form=64)), "1002", "shortest form"),
    Attack("fragments of one byte without end", sends(frame(2, b"\0", fin=0) + frame(0, b"x", fin=0) * 5000), "1009|reset", "more than 1024 frames", quick=True),
    Attack("empty fragments without end", sends(frame(2, b"", fin=0) + frame(0, b"", fin=0) * 5000), "1009|reset", "more than 1024 frames"),
    Attack("pings whose pongs are never read", pings_nobody_reads, "not read from", None, quick=True),
]

PROTOBUF = [
    Attack("a message of exactly the limit, of 0xff", message(b"\0" + b"\xff" * (LIMIT - 1)), "goes on", "cannot be used", MESSAGE),
    Attack("nested 100,000 deep", message(b"\0" + DEEP), "goes on", None, quick=True),
    Attack("groups 100,000 deep", message(b"\0" + GROUPS), "goes on", "a group or an unknown wire type"),
    Attack("a million empty elements", message(b"\0" + CONFIG_WIDE), "goes on", "more than 100,000 elements", quick=True),
    Attack("100,000 empty elements", message(b"\0" + field(3, field(1, b"\x0a\x00" * 100000) + field(2, b"wide"))), "goes on", "needs more memory than its size allows|100000 files", DECODED),
    Attack("1,000,001 unknown fields", message(b"\0" + b"\xd0\x3e\x01" * 1000001), "goes on", "more than 1,000,000 fields", MESSAGE),
    Attack("999,000 unknown fields", message(b"\0" + b"\xd0\x3e\x01" * 999000), "goes on", None, DECODED),
    Attack("unknown fields of every wire type", message(b"\0\xd0\x3e\x01\xc2\x3e\x03abc\xdd\x3e1234\xd9\x3e12345678"), "goes on"),
    Attack("wrong wire types", message(b"\0\x08\x01", b"\0\x1d1234", b"\0\x30", b"\0\x32\x01x"), "goes on", "another type|cut"),
    Attack("varints of eleven bytes", message(b"\0" + b"\x30" + b"\xff" * 11 + b"\1"), "goes on", "cut or too long"),
    Attack("a header of eleven bytes", message(b"\x80" * 11 + b"\0"), "goes on", "longer than ten bytes"),
    Attack("a header that is not 0", message(b"\x07abc"), "goes on", "is 7, not 0"),
    Attack("an empty message", message(b""), "goes on", "cannot be used"),
    Attack("field number 0", message(b"\0\x02\x00"), "goes on", "broken field number"),
    Attack("a length past the end", message(b"\0\x1a\xff\xff\xff\x7f"), "goes on", "past the end"),
    Attack("text that is no UTF-8", message(b"\0" + field(2, field(2, b"\xff\xfe"))), "goes on", "not UTF-8", quick=True),
    Attack("text with a NUL", message(b"\0" + field(2, field(2, b"a\0b"))), "goes on", "not UTF-8"),
    Attack("text of 4 MiB and one byte", message(b"\0" + field(2, field(2, b"x" * (4 * MIB + 1)))), "goes on", "more than 4 MiB", MESSAGE),
    Attack("an error of 4 MiB for the log", message(lambda p: b"\0" + field(2, field(2, b"\x1b" * (4 * MIB)))), "goes on", "could not use our report", DECODED),
    Attack("a configuration of 257 files", message(config(lambda m: [m.remote_config.config.config_map[f"f{n}"] for n in range(257)] and None)),
           "goes on; FAILED: .*257 files.*"),
    Attack("a file's name of 1 MiB", message(config(lambda m: m.remote_config.config.config_map["n" * MIB].SetInParent())), "goes on; FAILED: .*name.*", None, MESSAGE),
    Attack("a hash of 64 KiB and one byte", message(config(lambda m: setattr(m.remote_config, "config_hash", b"h" * (64 * KIB + 1)))), "goes on.*"),
    Attack("a configuration of 16 MiB and one byte",
           message(config(lambda m: setattr(m.remote_config.config.config_map["x"], "body", b"#" * (16 * MIB + 1)))), "goes on; FAILED: .*(larger|more) than.*", None, DECODED, True),
    Attack("a uid of 15 bytes, one of 17, one of zeros", message(*[
        config(lambda m, u=u: setattr(m.agent_identification, "new_instance_uid", u)) for u in (b"x" * 15, b"x" * 17, bytes(16))]),
        "goes on.*", "assigned an instance uid"),
]

FLOODS = [
    Attack("offers without end", flood(offers), "read on|does not read", None, MESSAGE, agent_may_restart=True),
    Attack("restart commands without end", flood(many(restart)), "read on|does not read", None, agent_may_restart=True),
    Attack("new uids without end", flood(uids), "read on|does not read", None, agent_may_restart=True),
    Attack("ReportFullState without end", flood(many(full_state)), "read on|does not read", quick=True),
    Attack("custom messages without end", flood(many(custom)), "read on|does not read", "a custom message"),
    Attack("connection settings without end", flood(many(connection)), "read on|does not read", "connection settings"),
    Attack("packages without end", flood(many(packages)), "read on|does not read", "packages"),
    Attack("errors without end", flood(many(error)), "read on|does not read", "could not use our report"),
    Attack("pings without end", flood(frame(9, b"x" * 125) * 2000), "read on|does not read"),
    Attack("pongs without end", flood(frame(10, b"x" * 125) * 2000), "read on|does not read"),
    Attack("empty messages without end", flood(frame(2, b"\0") * 20000), "read on|does not read"),
    Attack("messages for another, without end", flood(frame(2, b"\0" + field(1, b"y" * 16)) * 5000), "read on|does not read", "another instance uid"),
    Attack("full reports that nobody reads", flood(many(full_state), reads=False), r"(does not read after .*)|took .* MiB"),
]

STATES = [
    Attack("reset at once", reset_at(0), "reset by us", "(?i)reset|closed"),
    Attack("reset after the request", reset_at(1), "reset by us", "(?i)reset|closed"),
    Attack("reset after 101", reset_at(2), "reset by us", "(?i)reset|closed"),
    Attack("reset after the first report", reset_at(3), "reset by us", "(?i)reset|closed"),
    Attack("reset within a frame", reset_at(4), "reset by us", "(?i)reset|closed", quick=True),
    Attack("never a byte", silent(0), "left in time", "no answer to the request in time"),
    Attack("never a byte after the request", silent(1), "left in time", "no answer to the request in time", quick=True),
    Attack("never a byte after 101", silent(2), "left in time", "no answer to a report"),
    Attack("never a byte after the first answer", silent(3), "left in time", "no answer to a report"),
    Attack("an answer to the upgrade, byte by byte", slowly(b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"y" * 1000, False), "left in time",
           "no answer to the request in time", quick=True),
    Attack("a message, byte by byte", slowly(frame(2, b"\0" * 100), True), "left in time", "no answer to a report"),
]


# ---- the answer to the upgrade


def answers(data, end=True):
    """In place of 101.  data may be a function of the connection."""
    def act(p):
        p.request()
        p.send(data(p) if callable(data) else data)
        if end:
            try:
                p.sock.shutdown(1)
            except OSError:
                pass
        return p.outcome()
    return act


def endless(head, piece, most=256 * MIB):
    def act(p):
        p.request()
        p.send(head)
        sent = 0
        p.sock.settimeout(5)
        while sent < most and p.send(piece):
            sent += len(piece)
        return "not read to its end" if sent < most else f"took {sent >> 20} MiB"
    return act


def accepted(more):
    def act(p):
        p.upgrade(more)
        return p.outcome()
    return act


BOMB = gzip.compress(b"\0" * (8 * MIB)) * 8  # 64 MiB of it, members as gzip allows them


def gzip_bomb():
    return BOMB


OK_HEAD = b"HTTP/1.1 200 OK\r\n"
BAD = b"HTTP/1.1 500 Oops\r\n"
GONE = "end|reset"
HTTP = [
    Attack("headers without end", endless(OK_HEAD, b"X-A: b\r\n" * 1000), "not read to its end", "more than 100 headers|32 KiB", quick=True),
    Attack("one header without end", endless(OK_HEAD + b"X: ", b"y" * 8000), "not read to its end", "8 KiB|32 KiB"),
    Attack("a status line without end", endless(b"HTTP/1.1 200 ", b"y" * 8000), "not read to its end", "8 KiB|32 KiB"),
    Attack("101 headers", answers(OK_HEAD + b"X: y\r\n" * 101 + b"\r\n"), GONE, "more than 100 headers"),
    Attack("a NUL in the head", answers(OK_HEAD + b"X: \0\r\n\r\n"), GONE, "a NUL byte"),
    Attack("a lone LF", answers(OK_HEAD + b"X: y\nZ: a\r\n\r\n"), GONE, "not CRLF"),
    Attack("a folded header", answers(OK_HEAD + b"X: y\r\n more\r\n\r\n"), GONE, "without a colon|may not have"),
    Attack("Content-Length twice", answers(BAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"), GONE, "two Content-Length", quick=True),
    Attack("Content-Length twice the same", answers(BAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"), GONE, "two Content-Length"),
    Attack("Content-Length and Transfer-Encoding", answers(BAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), GONE, "both Content-Length", quick=True),
    *[Attack(f"Content-Length {n}", answers(BAD + b"Content-Length: %s\r\n\r\nx" % n.encode()), GONE, "is no number")
      for n in ("-1", "+5", "0x10", "99999999999999999999", "", "1, 1")],
    Attack("a transfer coding nobody knows", answers(BAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n"), GONE, "other than chunked"),
    Attack("a chunk's size of 2^64", answers(BAD + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\nx"), GONE, "HTTP 500"),
    Attack("a chunk that is shorter than its size", answers(BAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc"), GONE, "HTTP 500", quick=True),
    Attack("a chunk that is longer than its size", answers(BAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabcdef\r\n0\r\n\r\n"), GONE, "HTTP 500"),
    Attack("a chunk's extension without end", endless(BAD + b"Transfer-Encoding: chunked\r\n\r\n5;", b"x=y;" * 2000), "not read to its end", "HTTP 500"),
    Attack("trailers without end", endless(BAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 2000), "not read to its end", "HTTP 500"),
    Attack("chunks of one byte without end", endless(BAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 2000), "not read to its end", "HTTP 500"),
    Attack("a body without end", endless(BAD + b"\r\n", b"x" * 8000), "not read to its end", "HTTP 500", quick=True),
    Attack("a body of escapes", answers(BAD + b"\r\n\x1b[2J\x1b]0;owned\x07\nsecond"), GONE, r"it says: \\x1b\[2J"),
    Attack("a gzip bomb as an error's body", answers(lambda p: BAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip_bomb()) + gzip_bomb()),
           GONE, "HTTP 500", quick=True),
    Attack("100 Continue without end", endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 300), "not read to its end", "one interim answer after the other", quick=True),
    Attack("103 without end", endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 300), "not read to its end", "interim answer"),
    *[Attack(f"a redirection, {n}", answers(b"HTTP/1.1 %d Go\r\nLocation: http://169.254.169.254/\x7f\r\nContent-Length: 0\r\n\r\n" % n
                                            if n == 308 else b"HTTP/1.1 %d Go\r\nLocation: http://169.254.169.254/x\r\nContent-Length: 0\r\n\r\n" % n),
             GONE, "control characters" if n == 308 else "redirections are not followed|redirects are not followed") for n in (301, 302, 307, 308)],
    Attack("401", answers(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"), GONE, r"refuses our credentials \(HTTP 401\)"),
    Attack("407", answers(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"), GONE, "HTTP 407"),
    Attack("200", answers(OK_HEAD + b"Content-Length: 0\r\n\r\n"), GONE, "HTTP 200"),
    Attack("status 999", answers(b"HTTP/1.1 999 What\r\n\r\n"), GONE, "none of HTTP's"),
    Attack("status 1e3", answers(b"HTTP/1.1 1e3 What\r\n\r\n"), GONE, "three digits"),
    Attack("HTTP/0.9", answers(b"<html>"), GONE, "does not speak HTTP"),
    Attack("HTTP/2", answers(b"\0\0\x12\4\0\0\0\0\0" + b"\0" * 18), GONE, "does not speak HTTP"),
    Attack("garbage", answers(random.Random(1).randbytes(4096)), GONE, "does not speak HTTP"),
    Attack("permessage-deflate that nobody asked for", accepted("Sec-WebSocket-Extensions: permessage-deflate\r\n"), GONE, "an extension or a protocol", quick=True),
    Attack("a protocol that nobody asked for", accepted("Sec-WebSocket-Protocol: x\r\n"), GONE, "an extension or a protocol"),
    Attack("a wrong accept", answers(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"), GONE, "wrong Sec-WebSocket-Accept"),
    Attack("101 without an upgrade", answers(b"HTTP/1.1 101 S\r\n\r\n"), GONE, "not an upgrade"),
]

GROUPS_OF = [("frames", FRAMES), ("protobuf", PROTOBUF), ("HTTP", HTTP), ("states", STATES), ("floods", FLOODS)]


# ---- configurations, as offers: (name, text, what the server is told, quick)
def laughs():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines) + "\n"


def keys(n):
    return "fake:\n" + "".join(f"  k{i}: v\n" for i in range(n))


OFFERS = [
    ("an alias bomb", laughs, "anchors .* are not taken from the server", True),
    ("an alias to itself", lambda: "a: &a [*a]\n", "anchors .* are not taken", False),
    ("merge keys", lambda: "a: {<<: {b: 1}}\n", "merge keys", False),
    ("depth 10,000, flow", lambda: "a: " + "[" * 10000 + "]" * 10000, "nested more than 64 deep|not YAML", True),
    ("depth 10,000, maps", lambda: "{a: " * 10000 + "1" + "}" * 10000, "nested more than 64 deep|not YAML", False),
    ("depth 5,000, by indentation", lambda: "".join(" " * n + "a:\n" for n in range(5000)), "nested more than 64 deep", False),
    ("depth 10,000 on one line", lambda: "- " * 10000 + "x\n", "nested more than 64 deep", False),
    ("a million keys", lambda: keys(1000000), "more than 1,000,000 nodes", True),
    ("a million items", lambda: "a:\n" + "- x\n" * 1000001, "more than 1,000,000 nodes", False),
    ("499,000 keys and the last one twice", lambda: keys(490000) + "  k489999: v\n", "is here a second time", False),
    ("a value of 8 MiB", lambda: "a: '" + "x" * (8 * MIB) + "'\n", "more than 4 MiB", False),
    ("a key of 1 MiB", lambda: "x" * MIB + ": y\n", "not YAML", False),
    ("15 MiB of one line without an end", lambda: "a: [" + "x, " * (5 * MIB), "more than 1,000,000 nodes|not YAML", False),
    ("15 MiB of comments", lambda: "# x\n" * (15 * MIB // 4) + "a: [\n", "not YAML", False),
    ("15 MiB of empty lines in a value", lambda: "a: |\n" + "\n" * (15 * MIB) + "b: [", "more than 4 MiB|not YAML", False),
    ("a million %TAG directives", lambda: "".join(f"%TAG !{n}! tag:x,2000:\n" for n in range(400000)) + "---\na: 1\n", "directive", True),
    ("a million % lines", lambda: "%X y\n" * 1000000 + "---\na: [", "directive|not YAML", False),
    ("a million tags", lambda: "a:\n" + "- !x y\n" * 1000001, "more than 1,000,000 nodes|no memory", False),
    ("a tag of 1 MiB", lambda: "a: !" + "x" * MIB + " y\n", "a tag of more than 256 bytes|not YAML", False),
    ("a million documents", lambda: "---\na: 1\n" * 1000000, "a second document", False),
    ("expansions nested 100,000 deep", lambda: "a: '" + "${env:" * 100000 + "}" * 100000 + "'\n", "(?i)expansion|\\$\\{", False),
    ("half expansions nested a million deep", lambda: "a: '" + "${" * 1000000 + "'\n", "(?i)expansion|\\$\\{", False),
    ("a million expansions", lambda: "a: '" + "${env:A}" * 500000 + "'\n", "(?i)expansion|\\$\\{", False),
    ("invalid UTF-8", lambda: b"a: \xff\xfe\n", "is not UTF-8", True),
    ("an overlong NUL", lambda: b"a: \xc0\x80\n", "is not UTF-8", False),
    ("a NUL", lambda: b"a: \0\n", "NUL byte", False),
    ("a surrogate", lambda: b"a: \xed\xa0\x80\n", "is not UTF-8", False),
    ("UTF-16", lambda: "a: b\n".encode("utf-16"), "is not UTF-8", False),
    ("random bytes", lambda: random.Random(3).randbytes(MIB), "is not UTF-8", False),
    ("a list for a document", lambda: "- a\n" * 1000, "", False),
]
