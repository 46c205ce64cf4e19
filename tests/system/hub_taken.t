#!/usr/bin/python3
"""Front or store of the hub as if it had been taken over, against the other one as it is (tests/lib/taken_hub.py): every
frame of the table and outside it, of every length and with every field wrong; floods; halves.  The store may be lied to
about agents, and about nothing else; neither crashes or grows."""
import os
import random
import sqlite3
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hub_bed
from taken_hub import COUNT, HEAD, KEY, MOST, TO_STORE, TYPE, Part, frame, record, report
from tap import run, same, until

UID = bytes(range(16))
WHOLE = bool(os.environ.get("WHOLE"))
SANITIZED = "san" in os.path.basename(hub_bed.BUILD)
NOT_UTF8 = b"\xc3\xff\xfe"
MORE = (32 << 10) * (8 if SANITIZED else 1)  # KiB that a flood may make of it
CONNS = [("KEY_CONNS", b"\1\0\0\0")]
# what each frame to the store holds, whole
TO_THE_STORE = {
    "REPORT": report(UID, KEY_DESCRIPTION="{}", KEY_ATTRIBUTE="a=b", KEY_NAME="n", KEY_VERSION="v", KEY_HEALTH="{}", KEY_HEALTHY=1, KEY_STARTED=1,
                     KEY_LAST_ERROR="e", KEY_STATUS="s", KEY_EFFECTIVE="", KEY_FILE_TYPE="text/yaml", KEY_FILE_BODY="a: 1", KEY_CONFIG_STATUS=3,
                     KEY_CONFIG_HASH="h", KEY_CONFIG_ERROR="e", KEY_COMPONENTS="{}", KEY_COMPONENTS_HASH="h", KEY_PACKAGES="{}", KEY_CUSTOM="[]",
                     KEY_SETTINGS_STATUS=1, KEY_SETTINGS_HASH="h", KEY_SETTINGS_ERROR="e"),
    "ALIVE": CONNS, "SENT": CONNS + [("KEY_WHAT", TYPE["OFFER"])], "GONE": [("KEY_WHY", "gone"), ("KEY_LEFT", 1)],
    "CUSTOM": [("KEY_CAPABILITY", "c"), ("KEY_TYPE", "t"), ("KEY_DATA", "d")], "UNSENT": [("KEY_WHAT", TYPE["OFFER"]), ("KEY_WHY", "why")],
}
CONFIGURATION = [("KEY_CONFIG", 1), ("KEY_CONFIG_HASH", bytes(32)), ("KEY_FILE_NAME", ""), ("KEY_FILE_TYPE", ""), ("KEY_FILE_BODY", "a: 1")]
TO_FRONT = {
    "VERDICT": [("KEY_ANSWER", 3), ("KEY_NEW_UID", bytes(16))], "CONFIG": CONFIGURATION, "FORGET": [("KEY_CONFIG", 1)], "OFFER": CONNS + [("KEY_CONFIG", 1)],
    "AGREED": CONNS, "COMMAND": [], "MESSAGE": [("KEY_CAPABILITY", "c"), ("KEY_TYPE", "t"), ("KEY_DATA", "d")],
    "SETTINGS": [("KEY_SETTINGS_HASH", bytes(32)), ("KEY_CLASS", 1), ("KEY_ENDPOINT", "wss://example.org/"), ("KEY_HEADER", "A: b"), ("KEY_CA", "ca"),
                 ("KEY_CERT", "c"), ("KEY_CERT_KEY", "k"), ("KEY_HEARTBEAT", 30)],
    "CLOSE": [("KEY_WHY", "why")],
}


# ---- cases

def outside(to_store):
    """Every type that may not come this way, and every length that may not be."""
    mine = {TYPE[n] for n in MOST if (n in TO_STORE) == to_store}
    for kind in [*range(COUNT + 2), 255, 1 << 16, 1 << 31, (1 << 32) - 1]:
        if kind not in mine:
            yield f"type {kind}", frame(kind, record([]))
    for name in MOST:
        if TYPE[name] in mine:
            for length in (MOST[name] + 1, 1 << 31, (1 << 32) - 1):
                yield f"{name} of {length} bytes", frame(name, b"", length=length)


def malformed(name, body):
    """One record, broken in each way that its form has."""
    good = record(body)
    for what, data in {"empty": b"", "one byte": b"\1", "a magic word that is none": b"XXXX" + good[4:], "more entries than there are": good[:4] + b"\xff" * 4 + good[8:],
                       "fewer": good[:4] + bytes(4) + good[8:] if body else good + b"\0", "bytes behind it": good + b"\0\0", "cut short": good[:-1],
                       "an entry of 4 GiB": good + record([("KEY_UID", b"")])[8:-4] + b"\xff" * 4}.items():
        yield f"{name}: {what}", frame(name, data)


def fields(name, body):
    """Each of its entries left out, doubled, and of every wrong size and content."""
    for i, (key, v) in enumerate(body):
        rest = body[:i] + body[i + 1:]
        yield f"{name} without {key}", frame(name, rest)
        yield f"{name} with two of {key}", frame(name, body + [(key, v)])
        for what, wrong in {"nothing": b"", "a byte": b"\1", "a NUL": b"a\0b", "no UTF-8": NOT_UTF8, "all ones": b"\xff" * 8, "100,000 bytes": b"x" * 100000}.items():
            yield f"{name}, {key}: {what}", frame(name, body[:i] + [(key, wrong)] + body[i + 1:])
    for key in [*range(len(KEY), len(KEY) + 2), 65535]:
        yield f"{name} with key {key}", frame(name, body + [(key, b"x")])
    for conn in (0, 2, (1 << 32) - 1):
        yield f"{name} of conversation {conn}", frame(name, body, conn)


def noise(bodies, count, seed):
    """Frames with bytes turned over, cut and doubled."""
    chance = random.Random(seed)
    names = [*bodies]
    for i in range(count):
        name = chance.choice(names)
        data = bytearray(frame(name, bodies[name]))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(data))
            if chance.random() < 0.7:
                data[at] ^= 1 << chance.randrange(8)
            elif at >= HEAD.size:
                data[at:at + chance.randrange(8)] = chance.randbytes(chance.randrange(8))
        yield f"noise {i} (seed {seed})", bytes(data)


def each(cases, begin, alive):
    """Every case against a process that lives; a new one after each that ended it.  (taken, refused)"""
    taken = refused = 0
    part = None
    try:
        for what, data in cases:
            part = part or begin()
            part.send(data)
            if len(data) >= HEAD.size and HEAD.unpack_from(data)[0] > len(data) - HEAD.size:
                part.frames.shutdown(1)  # nothing more comes of it
            if part.frames.fileno() != -1 and alive(part):
                taken += 1
                continue
            same(part.wait(), 1, f"{what}: the exit status\n{part.log()[-500:]}")
            assert "the conversation with opamphub-" in part.log(), f"{what}: {part.log()[-500:]}"
            part.__exit__()
            part = None
            refused += 1
    finally:
        if part is not None:
            part.__exit__()
    return taken, refused


def shared(cases, begin, alive):
    """The same by two at a time; WHOLE=1 (tests/proof/hub_taken.t): all of them, else a sample."""
    cases = list(cases)
    cases = cases if WHOLE else cases[len(cases) % 5::20 if SANITIZED else 5]  # which start slowly
    results, wrong = [], []

    def some(part):
        try:
            results.append(each(part, begin, alive))
        except BaseException as e:  # pylint: disable=broad-except
            wrong.append(e)
    threads = [threading.Thread(target=some, args=(cases[i::2],)) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if wrong:
        raise wrong[0]
    taken, refused = (sum(r[i] for r in results) for i in range(2))
    same(taken + refused, len(cases), "cases")
    print(f"# {len(cases)} frames: {taken} taken or passed over, {refused} ended the conversation", flush=True)
    return taken, refused


# ---- the store, lied to

def told(store):
    """It has a conversation, and answers."""
    store.send(frame("REPORT", report(UID)))
    store.want("VERDICT")
    return store


def begin_store():
    return told(Part("store"))


def store_alive(store, serial=[1000]):  # pylint: disable=dangerous-default-value
    serial[0] += 1
    mine = serial[0]
    store.send(frame("REPORT", report(os.urandom(16), 1 | 4), (1 << 31) + mine, mine))
    while True:
        m = store.receive()
        if m is None:
            return False
        if m[0] == TYPE["VERDICT"] and m[2] == mine:
            return True


def store_frames():
    bad = list(outside(True))
    for name, body in TO_THE_STORE.items():
        bad += malformed(name, body)
    taken, _ = shared(bad, begin_store, store_alive)
    same(taken, 0, "frames taken that are not in the table, or not of its form")
    more = []
    for name, body in TO_THE_STORE.items():
        more += fields(name, body)
    shared(more + list(noise(TO_THE_STORE, 150, 1)), begin_store, store_alive)


def dump(path):
    """{table: rows} of a store that nobody has open."""
    db = sqlite3.connect(path)
    names = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%'")]
    rows = {n: db.execute(f"SELECT * FROM {n} ORDER BY 1").fetchall() for n in names}
    db.close()
    return rows


ABOUT_AGENTS = {"agents", "parts", "attributes", "events"}


def lies():
    """What front may lie about: agents.  Configurations, assignments, offers, versions stay as they were."""
    work = hub_bed.tempfile.mkdtemp(prefix="opamphub-lies-", dir="/opt" if hub_bed.ROOT else None)
    os.chmod(work, 0o755)
    store = os.path.join(work, "store")
    os.mkdir(store, 0o700)
    try:
        with Part("store", store) as s:
            told(s)
            number = s.api("configurations", "POST", {"name": "c"})["id"]
            version = s.api(f"configurations/{number}/versions", "POST", {"files": {"": {"content_type": "", "body": "a: 1"}}})["id"]
            s.api("assignments", "POST", {"version": version, "selector": "nobody=here"})
            s.api("settings-offers", "POST", {"selector": "nobody=here", "settings": {"opamp": {"endpoint": "wss://example.org/"}}})
            same(s.end(), 0, "the status")
        before = dump(os.path.join(store, "hub.db"))
        with Part("store", store) as s:
            told(s)
            for i in range(60):  # more agents than it may know, each of which says that it was assigned and applied everything
                uid = bytes([i + 100] * 16)
                s.send(frame("REPORT", report(uid, KEY_DESCRIPTION='{"identifying": {}}', KEY_ATTRIBUTE="nobody=here", KEY_NAME="'; DROP TABLE versions; --",
                                              KEY_CONFIG_STATUS=1, KEY_CONFIG_HASH=bytes(32), KEY_CONFIG_ERROR="'); DELETE FROM assignments; --"), 1000 + i, i))
                s.send(frame("SENT", [("KEY_CONNS", HEAD.pack(1000 + i, 1000 + i, 1, 7)), ("KEY_WHAT", TYPE["OFFER"]), ("KEY_CONFIG", version)]))
                s.send(frame("CUSTOM", [("KEY_CAPABILITY", "ü" * 150), ("KEY_TYPE", NOT_UTF8), ("KEY_DATA", b"\0")], 1000 + i))
                s.send(frame("UNSENT", [("KEY_WHAT", TYPE["OFFER"]), ("KEY_WHY", NOT_UTF8)], 1000 + i))
            s.send(frame("GONE", [("KEY_WHY", "ü" * 250)], 1001))
            assert store_alive(s)
            shown = s.api("agents?limit=500")
            same((shown["total"], len(shown["items"])), (50, 50), "agents, as many as it may know, and all on the page")
            events = s.api("events?limit=500")["items"]
            for kind, count in (("message", 49), ("not sent", 49), ("disconnected", 1)):
                same(len([e for e in events if e["kind"] == kind]), count, f"events of kind {kind} on the page")
            same(s.end(), 0, "the status")
        after = dump(os.path.join(store, "hub.db"))
        changed = {n for n in {**before, **after} if before.get(n) != after.get(n)}
        print(f"# tables: {sorted(after)}; changed by front's word: {sorted(changed)}", flush=True)
        same(changed - ABOUT_AGENTS, set(), "tables that front changed")
        same([n for n in ("configurations", "versions", "assignments", "settings") if not after.get(n)], [], "tables that were to hold something")
    finally:
        hub_bed.shutil.rmtree(work, ignore_errors=True)


def store_floods():
    with Part("store") as s:
        told(s)
        before = s.memory()
        # reports whose verdicts nobody takes: it stops reading, and the page goes on
        flood = b"".join(frame("REPORT", report(os.urandom(16), 4), 7, i) for i in range(2000))
        left, sent = 0, 0
        while left == 0 and sent < 100 * (1 << 20):
            left = s.send(flood, 2)
            sent += len(flood) - left
        assert left > 0, f"it took {sent} bytes and nobody read its answers"
        assert s.memory() - before < (64 << 10) * (8 if SANITIZED else 1), f"{s.memory() - before} KiB more"
        same(s.api("agents")["total"], 1, "the page, meanwhile")
        print(f"# {sent >> 20} MiB of reports were taken while no answer was, {s.memory() - before} KiB more", flush=True)
    with Part("store") as s:
        told(s)
        before = s.memory()
        # conversations without end with the one agent
        for i in range(2000):
            if s.send(frame("REPORT", report(UID), 2 + i, i)):
                break
        same(s.wait(), 1, "the status")
        assert "more conversations than there can be" in s.log(), s.log()[-500:]
    with Part("store") as s:
        told(s)
        before = s.memory()
        many = [("KEY_CONNS", b"\1\0\0\0" * 60000)]
        for _ in range(2):
            s.send(frame("ALIVE", many) + frame("GONE", [("KEY_WHY", "")], 77))
        s.send(frame("SENT", [("KEY_CONNS", b"\1\0\0\0" * 20000), ("KEY_WHAT", TYPE["COMMAND"])]))
        assert store_alive(s)
        assert s.memory() - before < MORE, f"{s.memory() - before} KiB more"
        assert len(s.api("events?limit=500")["items"]) <= 210, "more events than are kept for an agent"


def halves(part, alive):
    """Half a frame and no more: it goes on, and ends with the other side."""
    for data in (b"\1", HEAD.pack(100, TYPE["REPORT" if part.name == "store" else "CONFIG"], 1, 1),
                 frame("REPORT" if part.name == "store" else "CONFIG", b"x" * 50, length=1000)):
        with Part(part.name) as p:
            p.send(data)
            alive(p)
            p.frames.shutdown(2)
            same(p.wait(), 1, "the status")
            assert "it has ended" in p.log(), p.log()


def store_halves():
    with Part("store") as s:
        halves(s, lambda p: same(p.api("agents")["total"], 0, "the page"))


# ---- front, lied to

class AgentOf:
    """A real agent at a front that is not part of a whole hub."""

    def __init__(self, part):
        self.agent = hub_bed.Agent(self, capabilities=hub_bed.USUAL)
        self.part = part

    def __new__(cls, part):
        self = super().__new__(cls)
        self.agents_port = part.port
        return self


def begin_front():
    p = Part("front")
    p.agent = AgentOf(p).agent
    p.agent.send(p.agent.message(agent_description=p.agent.description()))
    kind, conn, serial, _ = p.receive()
    same((kind, conn), (TYPE["REPORT"], 1), "front's first frame")
    p.send(frame("VERDICT", [("KEY_ANSWER", 0)], 1, serial))
    p.agent.receive()
    return p


def front_alive(p):
    """A new agent is heard of."""
    try:
        other = AgentOf(p).agent
        other.send(other.message())
        while True:
            m = p.receive()
            if m is None or m[0] == TYPE["REPORT"] and m[1] > 1:
                other.close()
                return m is not None
    except (OSError, hub_bed.Closed):
        return False


def front_frames():
    bad = list(outside(False))
    for name, body in TO_FRONT.items():
        bad += malformed(name, body)
    taken, _ = shared(bad, begin_front, front_alive)
    same(taken, 0, "frames taken that are not in the table, or not of its form")
    more = []
    for name, body in TO_FRONT.items():
        more += [(w, (frame("CONFIG", CONFIGURATION) if name == "OFFER" else b"") + d) for w, d in fields(name, body)]
    shared([(w, d) for w, d in more if not w.startswith("OFFER")] + list(noise(TO_FRONT, 100, 2)), begin_front, front_alive)


def front_floods():
    with begin_front() as p:
        before = p.memory()
        # to an agent that reads nothing: what waits for it has an end
        message = frame("MESSAGE", [("KEY_CAPABILITY", "c"), ("KEY_TYPE", "t"), ("KEY_DATA", bytes(1000000))], 1)
        for _ in range(150):
            p.send(message)
        p.send(frame("COMMAND", [], 1) * 1000)
        assert front_alive(p)
        grown = p.memory() - before
        assert grown < (100 << 10) * (4 if SANITIZED else 1), f"{grown} KiB more"
        print(f"# 150 MiB for an agent that does not read: {grown} KiB more", flush=True)
        p.agent.close()
        until(lambda: SANITIZED or p.memory() - before < MORE, 20, "the memory to be given back")


def front_halves():
    with Part("front") as p:
        halves(p, lambda q: same(AgentOf(q).agent.status, 101, "an agent is greeted"))


run([
    ("OH-SE store: no frame outside the table, of a wrong length or form is taken; none ends it but by its word", store_frames),
    ("OH-SE store: what front lies about is agents: no configuration, version, assignment, offer changes", lies),
    ("OH-SE store: floods of a front that does not read, of conversations, of lists", store_floods),
    ("OH-SE store: half a frame", store_halves),
    ("OH-SE front: no frame outside the table, of a wrong length or form is taken; none ends it but by its word", front_frames),
    ("OH-SE front: floods of a store, for agents that do not read", front_floods),
    ("OH-SE front: half a frame", front_halves),
])
