#!/usr/bin/python3
"""wire/ws.c, through tests/tools/wspeer.c, against python3-websockets: both roles, over loopback."""
import asyncio
import os
import random
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from privsep import Tap  # noqa: E402
import websockets  # noqa: E402

MIB = 1 << 20
MAX = 3 * MIB
FRAGMENTS = 1024
TIMEOUT = 20
WSPEER = os.path.join(os.environ.get("O", "build"), "tools", "wspeer")
OPTIONS = {"max_size": None, "ping_interval": None, "compression": None, "close_timeout": TIMEOUT}


class Server:
    """wspeer listens, python3-websockets connects."""

    def __init__(self):
        self.process = subprocess.Popen([WSPEER, "server", str(MAX)], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    async def talk(self, scenario, **options):
        try:
            async with websockets.connect(f"ws://127.0.0.1:{self.port}/", **{**OPTIONS, **options}) as ws:
                await scenario(ws)
        finally:
            line = self.report()
        return line

    def report(self):
        return self.process.stdout.readline().rstrip("\n")

    def stop(self):
        self.process.kill()
        self.process.wait()


class Client:
    """python3-websockets listens, wspeer connects."""

    async def talk(self, scenario, **options):
        done = asyncio.get_running_loop().create_future()

        async def handle(ws):
            try:
                await scenario(ws)
                await ws.close()
                done.set_result(None)
            except Exception as e:  # pylint: disable=broad-except
                done.set_exception(e)

        async with websockets.serve(handle, "127.0.0.1", 0, **{**OPTIONS, **options}) as server:
            port = server.sockets[0].getsockname()[1]
            process = await asyncio.create_subprocess_exec(WSPEER, "client", str(MAX), str(port),
                                                           stdout=subprocess.PIPE)
            try:
                await done
                line = await process.stdout.readline()
                await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        return line.decode().rstrip("\n")

    def stop(self):
        pass


def want(good, what):
    if not good:
        raise AssertionError(what)


async def echo(ws, data, sent=None):
    """sent: what is sent in place of data, a list of fragments."""
    await ws.send(data if sent is None else sent)
    got = await ws.recv()
    want(got == data, f"{len(data)} bytes went out, {len(got)} others came back")


async def sizes(ws):
    for size in (0, 1, 2, 125, 126, 127, 4095, 4096, 65535, 65536, 65537, MIB, MAX - 1, MAX):
        await echo(ws, random.randbytes(size))


async def fragments(ws):
    await echo(ws, b"abcdef", [b"abc", b"def"])
    await echo(ws, b"abc", [b"", b"a", b"", b"bc", b""])
    await echo(ws, b"", [b"", b"", b""])
    # websockets ends a message of n parts with one more frame, which is empty
    await echo(ws, b"x" * (FRAGMENTS - 1), [b"x"] * (FRAGMENTS - 1))
    parts = [random.randbytes(MAX // 32) for _ in range(32)]
    await echo(ws, b"".join(parts), parts)


async def pings(ws):
    await asyncio.wait_for(await ws.ping(), TIMEOUT)
    await asyncio.wait_for(await ws.ping(b"p" * 125), TIMEOUT)
    waiting = [await ws.ping() for _ in range(500)]
    await asyncio.wait_for(asyncio.gather(*waiting), TIMEOUT)
    await ws.pong(b"not asked for")
    await ws.send(b"ping")
    want(await ws.recv() == b"pong", "our ping had no pong")

    async def slowly():
        for i in range(10):
            yield bytes([i]) * 1000
            await asyncio.wait_for(await ws.ping(), TIMEOUT)

    await echo(ws, b"".join(bytes([i]) * 1000 for i in range(10)), slowly())


async def pipelined(ws):
    """Much in both directions at once: nobody waits for the other to read first."""
    messages = [random.randbytes(random.choice([10, 1000, 100000, 300000])) for _ in range(150)]

    async def send():
        for m in messages:
            await ws.send(m)

    sender = asyncio.create_task(send())
    for m in messages:
        want(await ws.recv() == m, "messages came back in another order or changed")
    await sender


def closing(code, reason):
    async def scenario(ws):
        await echo(ws, b"before")
        await ws.close(code, reason)
        want(ws.close_code == code, f"close code {ws.close_code}")
    return scenario


def closed_by_us(code, reason):
    async def scenario(ws):
        await ws.send(f"close {code} {reason}".encode())
        try:
            await ws.recv()
        except websockets.ConnectionClosed as e:
            want(e.rcvd is not None and e.rcvd.code == code and e.rcvd.reason == reason, f"closed by {e}")
            return
        raise AssertionError("not closed")
    return scenario


def refused(code, what):
    async def scenario(ws):
        await echo(ws, b"before")
        await ws.send(what)
        try:
            await asyncio.wait_for(ws.recv(), TIMEOUT)
        except websockets.ConnectionClosed as e:
            want(e.rcvd is not None and e.rcvd.code == code, f"closed by {e}")
            return
        raise AssertionError("not closed")
    return scenario


async def aborted(ws):
    await echo(ws, b"before")
    await ws.send([b"part"])
    ws.transport.abort()


SCENARIOS = [
    ("FR-06 SZ-01 messages of 0 bytes to 3 MiB, the limit", sizes, "closed 1000", {}),
    ("FR-06 fragmented messages, as many frames as allowed", fragments, "closed 1000", {}),
    ("FR-06 pings and pongs, between fragments too", pings, "closed 1000", {}),
    ("FR-06 150 messages on their way at once", pipelined, "closed 1000", {}),
    ("FR-06 an offer of compression is not taken", sizes, "closed 1000", {"compression": "deflate"}),
    ("FR-06 closed with 1001", closing(1001, "going away"), "closed 1001 closed by the peer, code 1001: going away", {}),
    ("FR-06 closed with 4999, words in UTF-8", closing(4999, "gr\u00fc\u00df dich"),
     "closed 4999 closed by the peer, code 4999: gr\u00fc\u00df dich", {}),
    ("FR-06 closed with 1012", closing(1012, ""), "closed 1012", {}),
    ("FR-06 we close with 1000", closed_by_us(1000, ""), "closed 1000", {}),
    ("FR-06 we close with 4001 and words", closed_by_us(4001, "gr\u00fc\u00df dich"), "closed 4001", {}),
    ("FR-05 text is refused with 1003", refused(1003, "text"), "broken text", {}),
    ("FR-05 fragmented text is refused with 1003", refused(1003, ["te", "xt"]), "broken text", {}),
    ("SZ-01 SZ-02 one byte over the limit: 1009", refused(1009, b"x" * (MAX + 1)), "broken a message of more than", {}),
    ("SZ-01 over the limit by the sum of fragments: 1009", refused(1009, [b"x" * MIB] * 4), "broken a message of more than", {}),
    ("SZ-01 a frame too many in a message: 1009", refused(1009, [b"x"] * FRAGMENTS), "broken a message in more than", {}),
    ("FR-06 the connection ends without a word", aborted, "eof", {}),
]


def raw(port, data):
    """What comes back on a connection of its own after these bytes, behind the answer's head."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as s:
        s.sendall(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            got += s.recv(4096)
        want(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in got, "RFC 6455's example of a key")
        got = got.split(b"\r\n\r\n", 1)[1]
        s.sendall(data)
        while chunk := s.recv(4096):
            got += chunk
        return got


def raw_frames(tap, server):
    for name, data, code in (
            ("SZ-02 a header that announces 2^63 bytes: 1009", b"\x82\xff" + struct.pack(">Q", 1 << 63), 1009),
            ("SZ-02 a header that announces 2^62 bytes: 1009", b"\x82\xff" + struct.pack(">Q", 1 << 62), 1009),
            ("FR-06 a frame that is not masked: 1002", b"\x82\x01a", 1002),
            ("FR-06 a reserved bit: 1002", b"\xc2\x81aaaaa", 1002),
            ("FR-06 an unknown opcode: 1002", b"\x83\x80aaaa", 1002),
            ("FR-06 a fragmented ping: 1002", b"\x09\x80aaaa", 1002),
            ("FR-06 a close reason that is not UTF-8: 1007", b"\x88\x83\0\0\0\0\x03\xe8\xff", 1007)):
        got = raw(server.port, data)
        line = server.report()
        tap.ok(got[:1] == b"\x88" and struct.unpack(">H", got[2:4])[0] == code and line.startswith("broken"),
               f"{name} (server)", f"{got!r} {line}")


def run(tap, role, peer):
    for name, scenario, line, options in SCENARIOS:
        got = error = None
        try:
            got = asyncio.run(asyncio.wait_for(peer.talk(scenario, **options), 60))
        except Exception as e:  # pylint: disable=broad-except
            error = f"{type(e).__name__}: {e}"
        tap.ok(error is None and got is not None and got.startswith(line), f"{name} ({role})", f"{error} {got}")


def main():
    tap = Tap()
    server = Server()
    try:
        run(tap, "server", server)
        raw_frames(tap, server)
        run(tap, "client", Client())
    finally:
        server.stop()
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
