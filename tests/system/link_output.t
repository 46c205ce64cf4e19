#!/usr/bin/python3
"""opampd-link and what it looks after beside OpAMP: the agent's output and its health endpoint, in its
sandbox, with the test as parent, confd and agent.
"""
import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc  # noqa: E402
import privsep  # noqa: E402
from privsep import E  # noqa: E402
from link_bed import Bed  # noqa: E402
from tap import until  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
INTERVAL, LIMIT = 800, 700  # of the probe, ms: in the limit this test has to answer


def stream_pair():
    """The two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        ours = socket.create_connection(s.getsockname())
        theirs, _ = s.accept()
    ours.settimeout(privsep.TIMEOUT)
    return ours, theirs


class Test:
    def __init__(self, tap, root):
        self.tap = tap
        self.who = "root" if root else "user"
        self.root = root

    def ok(self, good, name, detail=""):
        return self.tap.ok(good, f"{name} ({self.who})", f"{detail}\n{'' if good else self.bed.errors()[-2000:]}")

    def logged(self, text, number=None):
        try:
            return until(lambda: text in self.bed.log_text(number), privsep.TIMEOUT, text)
        except AssertionError:
            return False

    def used(self, start, text):
        """Said until it is in the newest log: the pipe may be read before the new log is taken."""
        def said():
            self.bed.say(start, text)
            return text in self.bed.log_text()
        try:
            return until(said, privsep.TIMEOUT, "the new file")
        except AssertionError:
            return False

    def words(self, start):
        m = self.bed.confd.expect("AGENT_OUTPUT_END", where=lambda x: x.u32(0) == start)
        return m.tail.decode() if m else None

    # ---- output

    def output(self):
        self.bed = bed = Bed(self.root, LOG_SIZE=4096, PASSTHROUGH=1)
        bed.start()
        start = bed.begin()
        bed.say(start, '{"level":"warn","ts":1,"msg":"from the agent"}\nplain \x1b[31m words\nunfinished')
        self.ok(self.logged("plain \\x1b[31m words\n"), "lines reach agent.log, escaped", bed.log_text())
        bed.say(start, " line\n")
        self.ok(self.logged("unfinished line\n"), "a line may come in parts")
        errors = until(lambda: "from the agent" in bed.errors() and bed.errors(), privsep.TIMEOUT, "the log")
        line = next(x for x in errors.splitlines() if "from the agent" in x)
        self.ok("link: agent: from" in line and "warn" in line, "passthrough keeps the level", line)
        bed.say(start, "x" * 79 + "\n")
        for i in range(60):
            bed.say(start, f"{i:079}\n")
        m = bed.parent.expect("LINK_ROTATE")
        self.ok(m is not None, "agent.log over its size: a rotation is asked for")
        self.ok(self.logged(f"{59:079}\n"), "nothing is lost while the new file is waited for")
        bed.new_log()
        self.ok(self.used(start, "after the rotation\n"), "the new file is used from then on")
        self.ok(bed.parent.expect("LINK_ROTATE", timeout=0) is None, "one rotation is asked for once")
        self.deaths(start)
        self.flood()

    def deaths(self, start):
        bed = self.bed
        os.kill(bed.link.process.pid, 9)
        bed.link.wait()
        bed.say(start, "said while nobody listened\n")
        bed.kill()
        bed.secret_next = None
        bed.start(lives=[start])
        self.ok(self.logged("said while nobody listened\n"), "nothing said while link was away is lost")
        check = bed.begin("AGENT_VALIDATE")
        bed.say(check, "Error: bad pipeline\n  service::pipelines: none\n", stream=2)
        bed.end(check, 1)
        self.ok(self.words(check) == "Error: bad pipeline\n  service::pipelines: none",
                "the words of a check go to confd")
        self.ok("bad pipeline" not in bed.log_text(), "and not to agent.log")
        self.ok(bed.confd.expect("AGENT_OUTPUT_END", timeout=0) is None, "a start that lives has no last words")
        bed.say(start, "last words\npanic: it broke\n\ngoroutine 1 [running]:\n", stream=2)
        bed.say(start, "no line end", stream=2)
        bed.end(start, 2)
        words = self.words(start)
        self.ok(words is not None and words.startswith("panic: it broke"), "the last words tell why", words)
        self.ok(self.logged("no line end\n"), "and what has no line end is kept")
        bed.confd.close()
        bed.confd = bed.link.join("CONFD")
        self.ok(self.words(start) == words, "a new confd hears the last words again")

    def flood(self):
        bed = self.bed
        start = bed.begin()
        said = 0
        while said < 20 * MIB:
            said += os.write(bed.pipes[start][0][1], b"x" * (64 * KIB))
        bed.say(start, "\nstill here\n")
        with open(f"/proc/{bed.link.process.pid}/statm", encoding="ascii") as f:
            resident = int(f.read().split()[1]) * 4096
        size = sum(os.path.getsize(os.path.join(bed.work, f"agent.log.{i + 1}")) for i in range(bed.logs))
        self.ok(resident < 64 * MIB and size < MIB, "I11 output without end or line ends takes no room",
                f"resident {resident}, log {size}")
        bed.parent.forget()
        bed.new_log()
        self.ok(self.used(start, "room again\n"), "and goes on in a new file")
        bed.say(start, "before the end\n")
        self.ok(bed.stop() == 0 and "before the end\n" in bed.log_text(), "leaving: what was said is written")
        m = bed.confd.expect("AGENT_OUTPUT_END", timeout=0, where=lambda x: x.u32(0) == start)
        self.ok(m is None, "leaving ends no start that lives")
        self.close()

    def close(self):
        errors = self.bed.errors()
        self.ok("Sanitizer" not in errors, "no sanitizer's report")
        self.bed.close()

    # ---- the health endpoint

    def asked(self, timeout=privsep.TIMEOUT):
        m = self.bed.parent.expect("CONNECT_REQUEST", timeout=timeout)
        if m is not None:
            self.endpoint, self.attempt = m.u32(0), m.u32(1)
        return m is not None

    def fail(self, kind, code):
        self.bed.parent.send("CONNECT_FAILED", struct.pack("=IIIi", self.endpoint, self.attempt, E[kind], code))

    def connection(self, attempt=None):
        ours, theirs = stream_pair()
        self.bed.parent.send("CONNECT_DONE", struct.pack("=II", self.endpoint, attempt or self.attempt),
                             fd=theirs.detach())
        return ours

    def answer(self, text):
        """The agent's side of one question.  Gives the request."""
        sock = self.connection()
        request = b""
        while b"\r\n\r\n" not in request:
            got = sock.recv(4096)
            if not got:
                break
            request += got
        for part in text if isinstance(text, list) else [text]:
            sock.sendall(part.encode())  # an answer nobody reads to its end would be a broken pipe
        sock.shutdown(socket.SHUT_WR)
        closed = sock.recv(1) == b""
        sock.close()
        return request.decode() if closed else None

    def probed(self, timeout=privsep.TIMEOUT):
        m = self.bed.confd.expect("AGENT_PROBED", timeout=timeout)
        return (m.u32(0), m.u32(1), m.tail.decode()) if m else None

    def probe(self):
        self.bed = bed = Bed(self.root, AGENT_TYPE=1, HEALTH_ENDPOINT="http://127.0.0.1:13133/health?a=b",
                             HEALTH_INTERVAL=INTERVAL, HEALTH_TIMEOUT=LIMIT)
        bed.start()
        bed.secret_next = 0  # a generic agent has none
        bed.secrets, bed.secret_files = {}, {}
        self.ok(not self.asked(0.2), "nobody is asked while no agent runs")
        start = self.begin()
        watch = proc.Stopwatch(bed.link.process.pid)
        self.ok(self.asked() and watch.took() < 0.1 and self.endpoint == E["ENDPOINT_HEALTH"],
                "the health endpoint is asked at once")
        watch, began = proc.Stopwatch(bed.link.process.pid), time.monotonic()
        self.fail("CONNECT_ERRNO", 111)
        self.ok(self.probed() == (start, 0, "connecting to the health endpoint: Connection refused"),
                "confd hears why it is not well")
        least, most = [], []  # ms that each wait took by the clock, and without those in which we had no processor
        for _ in range(5):
            self.asked()
            most.append(round(1000 * watch.took()))
            least.append(round(1000 * (time.monotonic() - began)))
            watch, began = proc.Stopwatch(bed.link.process.pid), time.monotonic()
            self.fail("CONNECT_ERRNO", 111)
        self.ok(60 <= least[0] and most[0] <= 200 and all(a >= b for a, b in zip(least[1:], (150, 300, 600))) and
                INTERVAL * 0.85 <= least[4] and most[4] <= INTERVAL * 1.75,
                "an agent that starts is asked soon again, then less often", (least, most))
        self.ok(self.probed(0) is None, "the same answer is not told twice")
        self.asked()
        request = self.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.ok(request is not None and request.startswith("GET /health?a=b HTTP/1.1\r\nHost: 127.0.0.1:13133\r\n"),
                "GET with its path and Host", request)
        self.ok(self.probed() == (start, 1, ""), "2xx is well")
        watch = proc.Stopwatch(bed.link.process.pid)
        self.asked()
        wait = round(1000 * watch.took())
        self.ok(wait <= INTERVAL * 1.75, "then it is asked at each interval", wait)
        body = "HTTP/1.1 200 OK\r\n\r\n" + 1000000 * "x"
        self.ok(self.answer(body) is not None, "a long answer is read to its end, and dropped")
        self.asked()
        self.answers(start)

    def answers(self, start):
        cases = [
            ("a status that is not 2xx", "HTTP/1.1 503 No\r\n\r\n", (start, 0, "the health endpoint answered 503")),
            ("an answer in parts", ["HTTP/1.1 20", "4 \r", "\n\r\n"], (start, 1, "")),
            ("what is not HTTP", "SSH-2.0-x\r\n\r\n",
             (start, 0, "the health endpoint: the answer does not begin with HTTP/1.1")),
        ]
        for name, text, want in cases:
            self.answer(text)
            got = self.probed()
            self.ok(got == want, f"probe: {name}", got)
            self.asked()
        sock = self.connection()
        got = self.probed()
        self.ok(got == (start, 0, f"the health endpoint did not answer within {LIMIT} ms"), "probe: no answer", got)
        sock.close()
        self.asked()
        sock = self.connection()
        sock.shutdown(socket.SHUT_WR)
        got = self.probed()
        self.ok(got is not None and "without an answer" in got[2], "probe: closed without an answer", got)
        sock.close()
        self.asked()
        m = self.bed.parent.expect("CONNECT_CANCEL")
        self.ok(m is not None and m.u32(1) == self.attempt, "probe: no connection in time: cancelled")
        late = self.connection()
        self.ok(late.recv(1) == b"", "probe: a connection that comes too late is closed")
        late.close()
        self.ok("did not answer" in (self.probed() or ("", "", ""))[2], "probe: and the agent is not well")
        self.asked()
        self.fail("CONNECT_ERRNO", 11)
        self.ok(self.probed(0.1) is None, "probe: what never was asked says nothing")
        self.lives(start)

    def lives(self, start):
        bed = self.bed
        bed.confd.close()
        bed.confd = bed.link.join("CONFD")
        got = self.probed()
        self.ok(got is not None and got[:2] == (start, 0), "probe: a new confd hears the last answer", got)
        bed.end(start)
        bed.parent.forget()
        self.ok(not self.asked(1.2), "nobody is asked when the agent has ended")
        start = self.begin()
        self.ok(self.asked(), "a new start is asked at once")
        self.answer("HTTP/1.1 200 OK\r\n\r\n")
        self.ok(self.probed() == (start, 1, ""), "and its first answer told, the same as the last one's or not")
        self.ok(bed.stop() == 0, "link ends in order")
        self.close()

    def begin(self):
        """A generic agent: no secret is made for it."""
        self.bed.starts += 1
        start = self.bed.starts
        self.bed.pipes[start] = [os.pipe(), os.pipe(), "AGENT_RUN"]
        self.bed.tell_begun(start)
        return start


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root, to run the link as two users")
        return 0
    tap = privsep.Tap()
    for root in (True, False):
        Test(tap, root).output()
        Test(tap, root).probe()
    return tap.done()


sys.exit(main())
