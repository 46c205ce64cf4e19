#!/usr/bin/python3
"""opampd-link and the agent: the real program in its sandbox, root and ordinary user, with the test as
parent, confd and agent.  The framing by an independent implementation, and by hand where it is wrong.
"""
import asyncio
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc  # noqa: E402
import privsep  # noqa: E402
from privsep import E  # noqa: E402
from link_bed import PATH, STRANGER, UID, Bed, opamp  # noqa: E402
import websockets  # noqa: E402

MIB = 1 << 20
LIMIT = 32 * MIB
FULL_STATE = 1


class Test:
    def __init__(self, tap, pb, root):
        self.tap = tap
        self.pb = pb
        self.who = "root" if root else "user"
        self.bed = Bed(root)
        self.sequence = 0

    def ok(self, good, name, detail=""):
        return self.tap.ok(good, f"{name} ({self.who})", f"{detail}\n{'' if good else self.bed.errors()[-2000:]}")

    # ---- what an agent says

    def report(self, full=False, sequence=None, uid=UID, **parts):
        self.sequence = self.sequence + 1 if sequence is None else sequence
        m = self.pb.AgentToServer(instance_uid=uid, sequence_num=self.sequence, capabilities=0x4805, **parts)
        if full:
            pair = m.agent_description.identifying_attributes.add()
            pair.key, pair.value.string_value = "service.name", "otelcol"
        return m.SerializeToString()

    def answer(self, data):
        m = self.pb.ServerToAgent()
        m.ParseFromString(data)
        return m

    async def say(self, ws, data, header=b"\0"):
        await ws.send(header + data)
        got = await asyncio.wait_for(ws.recv(), privsep.TIMEOUT)
        return got[:1], self.answer(got[1:])

    def open(self, start, uid=None, **headers):
        return websockets.connect(f"ws://127.0.0.1:{self.bed.port}{PATH}", sock=self.bed.connect(uid),
                                  extra_headers={**self.bed.headers(start), **headers}, compression=None,
                                  max_size=None, ping_interval=None)

    def told(self, kind, **args):
        return self.bed.confd.expect(kind, **args)

    def event(self, event):
        m = self.told("LINK_AGENT", where=lambda x: x.u32(1) == E[event])
        return m is not None

    # ---- tests

    async def conversation(self):
        start = self.bed.begin()
        async with self.open(start) as ws:
            self.ok(True, "FR-06 FR-09 I15 the agent with its secret is let in")
            self.ok(self.event("LINK_CONNECTED"), "confd hears that the agent is connected")
            health = self.pb.ComponentHealth(healthy=True, status="StatusOK", status_time_unix_nano=5)
            health.component_health_map["pipeline:logs"].healthy = True
            config = self.pb.EffectiveConfig()
            config.config_map.config_map[""].body = b"receivers: {}\n"
            header, got = await self.say(ws, self.report(True, health=health, effective_config=config))
            self.ok(header == b"\0", "FR-01 FR-02 the header sent is 0")
            self.ok(got.instance_uid == UID, "ST-05 ID-08 a report is answered with its uid")
            self.ok(got.capabilities & 1 and not got.flags, "ST-05 ST-07 a full first report: capabilities, no flag", got)
            m = self.told("AGENT_DESCRIPTION")
            self.ok(m and b"otelcol" in m.blob(), "the description reaches confd")
            m = self.told("AGENT_EFFECTIVE")
            self.ok(m and b"receivers: {}" in m.blob(), "the effective configuration reaches confd")
            m = self.told("AGENT_HEALTH")
            self.ok(m and m.u32(1) == 1 and m.u32(2) == E["WORST_OK"] and b"pipeline:logs" in m.blob(),
                    "health reaches confd")
            _, got = await self.say(ws, self.report())
            self.ok(got.instance_uid == UID and not got.capabilities and not got.flags,
                    "ST-05 a heartbeat is answered with the uid alone", got)
            _, got = await self.say(ws, self.report(sequence=self.sequence + 2))
            self.ok(got.flags == FULL_STATE, "ST-07 a gap in the sequence asks for the full state", got)
            self.bed.confd.send("LINK_IDENTITY", UID)
            _, got = await self.say(ws, self.report(flags=1))
            self.ok(got.agent_identification.new_instance_uid == UID, "RequestInstanceUid is answered", got)
            await self.framing(ws)
            await ws.send(b"\0" + self.report(agent_disconnect=self.pb.AgentDisconnect()))
        self.ok(self.event("LINK_DISCONNECTED"), "confd hears that the agent left")
        return start

    async def framing(self, ws):
        _, got = await self.say(ws, self.report(), header=b"\x80\x00")
        self.ok(not got.HasField("error_response"), "FR-03 a longer zero is a zero", got)
        _, got = await self.say(ws, self.report(), header=b"\x01")
        self.ok(got.error_response.type == 1, "FR-03 a header other than 0 is BAD_REQUEST", got)
        _, got = await self.say(ws, b"", header=b"\x80" * 10 + b"\x00")
        self.ok(got.error_response.type == 1, "FR-03 a header of eleven bytes is BAD_REQUEST", got)
        _, got = await self.say(ws, b"", header=b"")
        self.ok(got.error_response.type == 1, "FR-03 an empty message is BAD_REQUEST", got)
        _, got = await self.say(ws, b"")
        self.ok("instance_uid" in got.error_response.error_message,
                "FR-04 a message of no data is taken, and answered", got)
        _, got = await self.say(ws, b"\xff\xff\xff")
        self.ok(got.error_response.type == 1, "what is not protobuf is BAD_REQUEST", got)
        data = b"\0" + self.report()
        await ws.send([data[i:i + 1] for i in range(len(data))])
        got = self.answer((await asyncio.wait_for(ws.recv(), privsep.TIMEOUT))[1:])
        self.ok(got.instance_uid == UID, "FR-01 FR-06 fragments of one byte are one message", got)
        big = self.report(custom_message=self.pb.CustomMessage(data=b"x" * (2 * MIB)))
        _, got = await self.say(ws, big)
        self.ok(got.instance_uid == UID, "SZ-01 a message of 2 MiB is taken", got)
        _, got = await self.say(ws, b"\xff" * (LIMIT - 1))
        self.ok(got.error_response.type == 1, "SZ-01 a message of exactly the limit is taken", got)
        pong = await ws.ping()
        await asyncio.wait_for(pong, privsep.TIMEOUT)
        self.ok(True, "FR-06 a ping is answered")

    def wrong_frames(self, start):
        cases = [
            ("FR-05 text is refused", 1003, lambda c: c.frame(1, b"hello")),
            ("FR-06 an unmasked frame", 1002, lambda c: c.frame(2, b"\0", mask=False)),
            ("FR-06 a reserved bit", 1002, lambda c: c.frame(2, b"\0", rsv=4)),
            ("FR-06 an unknown opcode", 1002, lambda c: c.frame(3, b"\0")),
            ("FR-06 a ping of 126 bytes", 1002, lambda c: c.frame(9, b"x" * 126)),
            ("FR-06 a fragmented ping", 1002, lambda c: c.frame(9, b"x", fin=0)),
            ("FR-06 a continuation of nothing", 1002, lambda c: c.frame(0, b"x")),
            ("FR-06 a close code that may not be sent", 1002, lambda c: c.frame(8, struct.pack(">H", 1005))),
            ("FR-06 a close reason that is not UTF-8", 1007, lambda c: c.frame(8, struct.pack(">H", 1000) + b"\xff")),
            ("SZ-01 SZ-02 one byte over the limit, by the header alone", 1009,
             lambda c: c.frame(2, b"", length=LIMIT + 1)),
            ("SZ-02 a header that announces nearly 2^63 bytes", 1009, lambda c: c.frame(2, b"", length=(1 << 63) - 1)),
        ]
        for name, code, act in cases:
            c = self.bed.raw(start)
            status = c.upgrade()
            act(c)
            got = c.closed_with()
            self.ok(status == 101 and c.accept_ok and got == code, f"{name}: close {code}", f"{status} {got}")
            c.close()
        c = self.bed.raw(start)
        c.upgrade()
        c.frame(2, b"\0", fin=0)
        c.frame(9, b"between")
        pong = c.read_frame()
        c.frame(0, self.report(True))
        self.ok(pong == (10, b"between") and c.read_frame()[0] == 2, "FR-06 a ping between fragments", pong)
        c.frame(8, struct.pack(">H", 1000) + b"bye")
        self.ok(c.closed_with() == 1000 and c.ended(), "FR-06 CC-05 a Close is answered, then the connection ends")
        c.close()

    def plain_http(self, start):
        pb_type = "application/x-protobuf"
        c = self.bed.raw(start)
        body = self.report(True)
        for i in range(2):
            c.request("POST", body=body, Content_Type=pb_type, Content_Length=len(body))
            status, headers = c.head()
            data = c.take(int(headers.get("content-length", 0)))
            self.ok(status == 200 and headers.get("content-type") == pb_type and
                    self.answer(data).instance_uid == UID,
                    f"FR-07 a message by plain HTTP, {'first' if i == 0 else 'second on the same connection'}",
                    f"{status} {headers}")
            body = self.report()
        self.ok(self.event("LINK_CONNECTED"), "FR-07 confd hears of an agent that speaks plain HTTP")
        c.close()
        refusals = [
            ("FR-07 no upgrade: 426", 426, {}),
            ("FR-07 another WebSocket version: 426", 426, {"Upgrade": "websocket", "Connection": "Upgrade",
                                                             "Sec_WebSocket_Version": "12", "Sec_WebSocket_Key": "x"}),
            ("FR-06 FR-07 a bad key: 400", 400, {"Upgrade": "websocket", "Connection": "Upgrade",
                                                 "Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": "short"}),
            ("FR-07 FR-09 another path: 404", 404, {"path": "/v1/other"}),
            ("FR-07 another method: 405", 405, {"method": "DELETE"}),
            ("FR-07 GET with the content type of a message: 405", 405, {"Content_Type": pb_type}),
            ("FR-07 POST of something else: 400", 400, {"method": "POST", "Content_Type": "text/plain",
                                                         "Content_Length": 0}),
            ("FR-07 POST without a length: 411", 411, {"method": "POST", "Content_Type": pb_type}),
            ("SZ-01 SZ-02 POST over the limit: 413", 413, {"method": "POST", "Content_Type": pb_type,
                                                             "Content_Length": LIMIT + 1}),
            ("compressed bodies are not taken: 415", 415, {"method": "POST", "Content_Type": pb_type,
                                                            "Content_Encoding": "gzip", "Content_Length": 1}),
            ("a malformed head: 400", 400, {"Bad Name": "x"}),
            ("I15 no secret: 401", 401, {"secret": "\t"}),
            ("I15 a wrong secret: 401", 401, {"secret": "0" * 64}),
            ("I15 a part of the secret: 401", 401, {"secret": self.bed.secrets[start][:63]}),
        ]
        for name, want, args in refusals:
            c = self.bed.raw(start)
            c.request(**args)
            status, _ = c.head()
            self.ok(status == want and c.ended(), name, status)
            c.close()

    async def newest_wins(self, start):
        self.bed.confd.forget()
        first = await self.open(start)
        await self.say(first, self.report(True))
        second = await self.open(start)
        try:
            await asyncio.wait_for(first.wait_closed(), privsep.TIMEOUT)
            gone = True
        except asyncio.TimeoutError:
            gone = False
        _, got = await self.say(second, self.report(True, sequence=0))
        self.ok(gone and got.instance_uid == UID and not got.flags,
                "I15 a second verified connection replaces the first", got)
        # a reload of the Collector: a new extension, sequence 0, full state
        lost = self.told("LINK_AGENT", timeout=0, where=lambda m: m.u32(1) == E["LINK_DISCONNECTED"])
        self.ok(lost is None, "a reload of the agent is no absence")
        c = self.bed.raw(start)
        c.request()
        status, _ = c.head()
        _, got = await self.say(second, self.report())
        self.ok(status == 426 and got.instance_uid == UID, "a refused request leaves the conversation alone", got)
        await second.close()

    async def strangers(self, start):
        before = self.bed.raw(start, STRANGER)
        before.request()
        self.ok(before.head() == (0, {}), "I15 another user's connection is closed unread, with the right secret too")
        slow = []
        for _ in range(40):
            slow.append(self.bed.raw(start, STRANGER))
        own = []
        for _ in range(12):  # the agent's own user, more than may wait
            own.append(self.bed.raw(start))
            own[-1].sock.sendall(b"GET ")
        watch = proc.Stopwatch(self.bed.link.process.pid)
        async with self.open(start) as ws:
            _, got = await self.say(ws, self.report(True))
            took = watch.took()
            self.ok(got.instance_uid == UID and took < 1.5, "I15 slow strangers do not starve the link", f"{took} s")
            for c in own:
                c.sock.settimeout(5)
            done = [c.ended() for c in own]
            took = watch.took()
            self.ok(all(done) and took < 4, "I15 who shows no secret is gone after two seconds", f"{took} s")
            _, got = await self.say(ws, self.report())
            self.ok(got.instance_uid == UID, "I15 and the agent's connection is still there")
        for c in slow + own:
            c.close()

    async def starts(self, start):
        self.bed.end(start)
        c = self.bed.raw(start)
        c.upgrade()
        self.ok(c.sock.fileno() >= 0 and not c.accept_ok, "I15 the secret of a start that ended opens nothing")
        c.close()
        other = self.bed.begin()
        self.ok(self.bed.secrets[other] != self.bed.secrets[start], "each start has a secret of its own")
        async with self.open(other) as ws:
            await self.say(ws, self.report(True))
            self.bed.end(other)
            try:
                await asyncio.wait_for(ws.wait_closed(), privsep.TIMEOUT)
                closed = True
            except asyncio.TimeoutError:
                closed = False
            self.ok(closed, "the connection of a start that ended is closed")

    async def death_of_link(self):
        start = self.bed.begin()
        ws = await self.open(start)
        await self.say(ws, self.report(True))
        os.kill(self.bed.link.process.pid, 9)
        await asyncio.wait_for(ws.wait_closed(), privsep.TIMEOUT)
        self.bed.kill()
        self.ok(self.bed.start(lives=[start]), "a new link is ready after the old one was killed")
        ws = await self.open(start)
        _, got = await self.say(ws, self.report())
        self.ok(got.flags == FULL_STATE, "ST-07 after our own restart the full state is asked for", got)
        _, got = await self.say(ws, self.report(True))
        self.ok(not got.flags and self.told("AGENT_DESCRIPTION") is not None,
                "ST-07 and confd gets it", got)
        self.bed.confd.close()
        self.bed.confd = self.bed.link.join("CONFD")
        self.ok(self.told("AGENT_DESCRIPTION") is not None and self.event("LINK_CONNECTED"),
                "a new confd is told everything again")
        return ws

    async def leaving(self, ws):
        waiting = asyncio.ensure_future(ws.wait_closed())
        self.bed.parent.send("CHILD_END")
        await asyncio.wait_for(waiting, privsep.TIMEOUT)
        self.ok(ws.close_code == 1001, "CC-05 leaving: a Close frame", ws.close_code)
        self.ok(self.bed.link.wait() == 0, "CC-05 and an orderly end", self.bed.link.wait())

    def resident(self):
        with open(f"/proc/{self.bed.link.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * 4096

    def deaf_agent(self, start):
        """An agent that never reads: its answers must not gather in the link."""
        c = self.bed.raw(start)
        c.upgrade()
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.sock.settimeout(1)
        before = self.resident()
        sent = 0
        try:
            while sent < 64 * MIB:
                c.frame(9, b"x" * 125)
                sent += 131
        except (socket.timeout, BlockingIOError):
            pass
        grown = self.resident() - before
        self.ok(sent < 64 * MIB and grown < 32 * MIB, "I11 an agent that does not read is not read from",
                f"sent {sent}, grown {grown}")
        c.close()

    def breach(self):
        self.bed.start()
        self.bed.confd.sock.send(
            privsep.HEADER.pack(privsep.MSG["LINK_BASELINE"], 0, 0, 0))
        m = self.bed.parent.expect("CHILD_ACCUSE")
        self.ok(m is not None and m.u32(0) == E["PROC_CONFD"], "I6 confd that breaks a rule is accused")
        self.bed.confd.close()
        self.bed.confd = self.bed.link.join("CONFD")
        start = self.bed.begin()
        c = self.bed.raw(start)
        self.ok(c.upgrade() == 101, "I6 and link goes on")
        c.close()

    def run(self):
        self.ok(self.bed.start(), "link is ready, its filter in force")
        start = asyncio.run(self.conversation())
        self.wrong_frames(start)
        self.plain_http(start)
        asyncio.run(self.newest_wins(start))
        self.deaf_agent(start)
        asyncio.run(self.strangers(start))
        asyncio.run(self.starts(start))

        async def end():
            await self.leaving(await self.death_of_link())
        asyncio.run(end())
        self.breach()
        self.ok(self.bed.stop() == 0, "link ends in order with nobody there")
        errors = self.bed.errors()
        self.ok(not any(s in errors for s in self.bed.secrets.values()), "I12 no secret in the log")
        self.ok("Sanitizer" not in errors, "no sanitizer's report")
        self.bed.close()


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root, to make connections of several users")
        return 0
    tap = privsep.Tap()
    bed = Bed(True)
    pb = opamp(bed.work)
    for root in (True, False):
        Test(tap, pb, root).run()
    bed.close()
    return tap.done()


sys.exit(main())
