"""Where hostile agents and browsers play against opamphub: one hub that lives through all of them, an honest agent and
an honest page beside them, and a watch over what front and store are made to do."""
import atexit
import re
import socket
import threading
import time

import proc
from agent_attacks import Agent
from hub_bed import Hub
from link_bed import Raw
from peers import BESIDES, BUSY, MIB, SANITIZED, Table, Watch
from tap import until

USUAL = 12 * MIB  # what any attack may cost that names nothing greater
ANSWERS_S = 1  # an honest agent, and the page
WAITS = {"16 MiB of control characters": 3, "an effective configuration of 31 MiB": 4,
         "40 answers of 8 MiB that are not read": 4}  # s: the store writes so much at once


class Peer(Agent):
    """A connection to the agents' port that can do it wrong."""

    def another(self):
        return Peer(self.port, self.uid, self.secret)


class Page(Peer):
    """The same to the page's port, from an address of its own: the rates are an address's."""

    def __init__(self, port, uid, secret):  # pylint: disable=super-init-not-called
        Raw.__init__(self, socket.create_connection(("127.0.0.1", port), 30, ("127.0.0.2", 0)), secret)
        self.port, self.uid, self.secret, self.broke = port, uid, secret, None

    def another(self):
        return Page(self.port, self.uid, self.secret)


class HubStage:
    """Made when it is first used, so that a test that is not wanted costs nothing."""

    def __init__(self, name, *options, tls=None, **how):
        self.name, self.options, self.how, self.tls = name, options, how, tls
        self.hub = None
        self.table = Table(f"hub-{name}")
        atexit.register(self.close)

    def open(self):
        if self.hub is not None:
            return
        options = self.options[0]() if self.options and callable(self.options[0]) else self.options
        self.hub = Hub(*options, **self.how)
        self.pids = self.hub.children()
        self.watch = Watch(self.hub.process, "opamphub")
        self.honest = self.hub.agent(name="honest", tls=self.tls)
        self.honest.hello()
        self.worst = {"agent": 0.0, "page": 0.0}
        self.usual = max(self.look("usual") for _ in range(3))
        self.quiet = self.descriptors()

    def close(self):
        if self.hub is None:
            return
        hub, self.hub = self.hub, None
        self.watch.end()
        self.table.write()
        hub.close()

    def descriptors(self):
        return {name: len(proc.descriptors(pid)) for name, pid in self.hub.children().items()}

    def look(self, during):
        """The honest agent is answered and seen, and the page answers.  The slower of both."""
        times = {}
        watch = proc.Stopwatch(*self.pids.values())
        self.honest.say()
        times["agent"] = watch.took()
        watch = proc.Stopwatch(*self.pids.values())
        status, _, data = self.hub.request("GET", "/api/v1/agents?search=honest")
        times["page"] = watch.took()
        assert status == 200 and b"honest" in data, f"the page during {during}: {status} {data[:200]}"
        for who, took in times.items():
            self.worst[who] = max(self.worst[who], took)
        return max(times.values())

    def attack(self, row, page=False):
        self.open()
        getattr(row.act, "prepare", lambda: None)()
        self.watch.begin()
        result = []
        thread = threading.Thread(target=lambda: result.append(self.play(row, page)), daemon=True)
        thread.start()
        slow = []
        while thread.is_alive():
            slow.append(self.look(row.name))
            thread.join(0.1)
        slow.append(self.look(row.name))
        cost = self.watch.cost()
        self.table.add(self.name, row.name, row.sees, result[0] if result else "nothing", cost)
        assert result, "the attack has not ended"
        assert re.fullmatch(row.sees, str(result[0])), f"it saw {result[0]!r}, not {row.sees!r}"
        assert self.hub.children() == self.pids, f"processes: {self.pids} before, {self.hub.children()} after\n{self.hub.log()[-2000:]}"
        limit = (WAITS.get(row.name, ANSWERS_S) + 10 * self.usual) * (6 if SANITIZED else 1)
        assert max(slow) < limit, f"an honest agent or the page waited for {max(slow):.2f} s"
        self.within(cost, row)
        until(lambda: all(self.descriptors()[n] <= self.quiet[n] + 1 for n in self.quiet), 30,
              f"no descriptors of it to be left: {self.quiet} before, {self.descriptors()} now")

    def within(self, cost, row):
        """Memory as the row says; the processor as its connections may cost, and what those who look on do."""
        seconds, parts = cost
        for name, (peak, grown, cpu) in parts.items():
            may = max(row.memory, USUAL) if name in ("front", "store") else USUAL
            if SANITIZED:
                may = 6 * may + (1 << 30)
            assert grown * 1024 <= may, f"{name} grew by {grown} KiB to {peak}, {may // 1024} are allowed"
            burst, percent = BUSY
            peers = row.peers if name == "front" else 1
            most = (peers * burst + BESIDES) * (4 if SANITIZED else 1) + peers * seconds * 1000 * percent / 100
            assert cpu <= most, f"{name} was busy for {cpu:.0f} ms of {seconds:.1f} s, {most:.0f} are allowed"

    def play(self, row, page):
        try:
            port = self.hub.page_port if page else self.hub.agents_port
            c = (Page if page else Peer)(port, 0, self.hub.token if page else "")
            c.stage = self
            try:
                return row.act(c)
            finally:
                c.close()
        except Exception as e:  # the attack's own failure must be seen, whatever it is
            return f"{type(e).__name__}: {e}"

    def reaches_an_agent(self):
        a = self.hub.agent(name="last", tls=self.tls)
        a.hello()
        _, assignment = self.hub.send_configuration("a: 1\n", name="last")
        until(lambda: a.receive(10).HasField("remote_config"), 10, "the configuration")
        self.hub.api(f"assignments/{assignment}", "DELETE")

    def end(self):
        """The same processes, a configuration still reaches an agent, nothing is left, an orderly end."""
        self.open()
        try:
            self.reaches_an_agent()
        except Exception:
            time.sleep(1)  # for the parent's words
            print("# " + self.hub.log()[-2000:].replace("\n", "\n# "), flush=True)
            raise
        assert self.hub.children() == self.pids, f"processes: {self.pids} before, {self.hub.children()} after"
        log = self.hub.log()
        bad = [line for line in log.splitlines() if re.search("Sanitizer|runtime error|signal 31|ended|error ", line) and ": answering " not in line]
        print(f"# at worst an honest agent waited for {self.worst['agent']:.2f} s, the page for {self.worst['page']:.2f} s", flush=True)
        hub = self.hub
        status = hub.stop()
        self.close()
        assert not bad, bad
        assert status == 0, f"exit status {status}"


def attacks(stage, groups, quick=False, page=False):
    """[(name, function)] of tables, for tap.run."""
    made = [(f"{group}: {row.name}", lambda r=row: stage.attack(r, page)) for group, rows in groups for row in rows if row.quick or not quick]
    made.append((f"{stage.name}: a configuration still arrives, an orderly end", stage.end))
    return made
