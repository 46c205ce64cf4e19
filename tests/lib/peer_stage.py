"""Where attacks are played: one daemon that lives through all of them, an honest server behind a hostile front."""
import atexit
import os
import re
import signal
import time

import proc
from bed import Bed, merged
from opampserver import APPLIED, FAILED
from peers import MESSAGE, PATIENCE, Alive, Front, L, Table, Watch, within
from tap import until

SETTINGS = {
    "server": {"reconnect": {"initial_delay": "50ms", "max_delay": "150ms"}, "heartbeat_interval": "1s",
               "response_timeout": "2s", "connect_timeout": "2s"},
    "agent": {"settling_time": "50ms"},
    "limits": {"offers_per_minute": L["LIMIT_OFFERS_PER_MINUTE"], "restarts_per_minute": L["LIMIT_RESTARTS_PER_MINUTE"]},
}


class Stage:
    """Made when it is first used, so that a test that is not wanted costs nothing."""

    def __init__(self, user, name, over=None, wrap=None, files=None, address="127.0.0.1"):
        self.user, self.name = user, name
        self.over = over or {}
        self.wrap, self.files, self.address = wrap, files, address
        self.table = Table(f"{name}-{user}")
        self.bed = None
        self.offered = 0
        self.last = 0
        atexit.register(self.close)

    def open(self):
        if self.bed is not None:
            return
        self.bed = Bed(self.user).__enter__()
        over = self.over(self.bed) if callable(self.over) else self.over
        self.server = self.bed.server()
        wrap = self.wrap(self.bed) if self.wrap else None
        self.front = Front(self.server.port, wrap, self.address)
        url = over.pop("url", self.front.url).replace("PORT", str(self.front.port))
        self.daemon = self.bed.daemon(url, merged(SETTINGS, over))
        self.server.wait_healthy(seconds=30)
        self.daemon.all_children()
        self.watch = Watch(self.daemon)
        self.alive = Alive(self.bed, self.daemon)
        self.healthy = True

    def close(self):
        if self.bed is None:
            return
        bed, self.bed = self.bed, None
        self.watch.end()
        self.front.end()
        self.table.write()
        bed.__exit__(None, None, None)

    # ---- before, during, after

    def pids(self):
        return {name: pid for name, pid in self.daemon.children().items() if name in ("netd", "link", "confd", "procd")}

    def turn_health(self):
        """What the agent says of itself reaches confd, whatever the server does."""
        self.healthy = not self.healthy
        os.kill(self.daemon.agent(), signal.SIGUSR1)
        want = "turned by a signal"
        until(lambda: (want in self.alive.check("the attack")) != self.healthy, 10, "the agent's health in opampctl status")

    def back(self, seconds=30):
        """An honest server is there again, and hears everything."""
        since = self.server.mark()
        self.front.honest()
        connections = len(self.server.connections)
        if not self.server.connections or self.server.connections[-1].closed is not None:
            self.server.wait_connections(connections + 1, seconds)
        self.server.wait(lambda m: True, seconds, "the first report to an honest server", since)

    def status_says(self, row, mark):
        """opampctl status tells why the last attempt failed; when the next one has failed already, the attack is played again."""
        for _ in range(5):
            said = []

            def look(since=mark, said=said):
                said[:] = [self.alive.check(row.name)]
                last = [line for line in self.daemon.log(since) if "next attempt" in line][-1]
                return "said" if re.search(row.why, said[0]) else "" if re.search(row.why, last) else "replaced"
            try:
                if until(look, 10, f"opampctl status to say {row.why!r}") == "said":
                    return
            except AssertionError as e:
                raise AssertionError(f"{e}\n{said[0]}\n" + "\n".join(self.daemon.log(mark))) from None
            mark = self.daemon.mark()
            getattr(row.act, "prepare", lambda: None)()
            self.front.attack(row.act)
            self.front.wait(90)
            self.daemon.wait_log(row.why, 8, since=mark)
        raise AssertionError(f"opampctl status never says {row.why!r}, which fails five times")

    def offer(self):
        self.offered += 1
        good = self.server.offer({"main.yaml": f"fake:\n  fake_name: honest{self.offered}\n"})
        self.server.wait_status(APPLIED, good, 30)
        self.healthy = True  # it was started anew
        self.server.assigned = None

    def attack(self, row, offer=False):
        self.open()
        pids, agent, mark = self.pids(), self.daemon.agent(), self.daemon.mark()
        # the parent makes ten connections a second, and says no to more
        until(lambda: time.monotonic() - self.last > 0.35, 5, "a third of a second")
        self.last = time.monotonic()
        getattr(row.act, "prepare", lambda: None)()
        self.watch.begin()
        self.front.attack(row.act)
        until(lambda: self.front.act is None, 20, "the attacked connection")
        if not row.agent_may_restart:
            self.turn_health()
        else:
            self.alive.check(row.name)
        seen = self.front.wait(90)
        if row.why is not None:
            try:
                line = self.daemon.wait_log(row.why, 8, since=mark)
            except AssertionError as e:
                raise AssertionError(f"{e}; seen: {seen}\n" + "\n".join(self.daemon.log(mark))) from None
            if "next attempt" in line:
                self.status_says(row, mark)
        self.back()
        cost = self.watch.cost()
        self.table.add(self.name, row.name, row.sees + (f"; {row.why}" if row.why else ""), seen, cost)
        # what failed before is told with every full state
        expected = "goes on.*" if row.sees == "goes on" else row.sees
        assert re.fullmatch(expected, str(seen)), f"the server saw {seen!r}, not {row.sees!r}"
        within(cost, row.memory)
        assert self.pids() == pids, f"processes: {pids} before, {self.pids()} after\n" + "\n".join(self.daemon.log(mark)[-40:])
        if not row.agent_may_restart:
            assert self.daemon.agent() == agent, "the agent's pid changed"
        else:
            self.healthy = True
        if offer:
            self.offer()

    def refused_offer(self, name, files, why, seconds=60, applied=False):
        """A real offer; what it costs, and what became of it."""
        self.open()
        pids, agent = self.pids(), self.daemon.agent()
        self.watch.begin()
        # while this test made the offer its server may have been too slow for netd
        until(lambda: self.server.connections[-1].closed is None, PATIENCE, "a connection to offer by")
        offered = self.server.offer(files, b"offer " + name.encode()[:60], assign=False)
        took = time.monotonic()
        self.alive.check(name)
        self.server.wait_status(APPLIED if applied else FAILED, offered, seconds)
        took = time.monotonic() - took
        said = [e for s, h, e in self.server.statuses() if h == offered][-1]
        cost = self.watch.cost()
        self.table.add(self.name, name, why, f"{took:.1f} s: {said}", cost)
        assert re.search(why, said), f"the server was told: {said!r}"
        within(cost, MESSAGE, {"confd": 3 * L["LIMIT_CONFIG_BYTES"]})
        assert self.pids() == pids, "a process of ours ended"
        if not applied:
            assert self.daemon.agent() == agent, "the agent's pid changed"
            assert why == "" or proc.alive(agent)

    def end(self):
        """Still the same processes; an honest offer applies; an orderly end."""
        self.open()
        self.offer()
        status = self.daemon.stop(40)
        bad = [line for line in self.daemon.log() if re.search("Sanitizer|runtime error|denied|signal 31", line)]
        print(f"# opampctl status: {self.alive.worst:.2f} s at worst", flush=True)
        self.close()
        assert status == 0, f"exit status {status}"
        assert not bad, bad


def attacks(stage, groups, quick=False):
    """[(name, function)] of tables, for tap.run."""
    made = []
    for group, rows in groups:
        for n, row in enumerate(rows):
            if quick and not row.quick:
                continue
            made.append((f"{stage.user}: {group}: {row.name}",
                         lambda r=row, o=n % 8 == 7: stage.attack(r, o)))
    made.append((f"{stage.user}: {stage.name}: an honest offer, an orderly end", stage.end))
    return made


def offers(stage, table, quick=False):
    """The same for configurations that are to be refused."""
    made = []
    for name, text, why, wanted in table:
        if wanted or not quick:
            made.append((f"{stage.user}: offers: {name}", lambda n=name, t=text, w=why: stage.refused_offer(n, {"main.yaml": t()}, w)))
    made.append((f"{stage.user}: {stage.name}: an honest offer after all of them, an orderly end", stage.end))
    return made
