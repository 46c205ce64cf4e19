"""Where hostile agents play: one daemon and an agent that has gone quiet; the test speaks with its user and its secret."""
import re
import threading
import time

import proc
from agent_attacks import Agent, UID, masked, report
from bed import merged
from opampserver import APPLIED, opamp
from peer_stage import Stage
from peers import L, PATIENCE, agent_uid, within
from tap import until

QUIET = "fake:\n  fake_name: quiet{}\n  fake_mute_after: 700\n"


class AgentStage(Stage):
    def __init__(self, user, name="agent", over=None):
        super().__init__(user, name, merged({"agent": {"stop_timeout": "1s"}}, over or {}))

    def open(self):
        if self.bed is not None:
            return
        super().open()
        self.quiet()

    def quiet(self):
        """An agent that is well, and then says nothing more; it keeps its process."""
        self.offered += 1
        offered = self.server.offer({"main.yaml": QUIET.format(self.offered)})
        self.server.wait_status(APPLIED, offered, 30)
        self.server.assigned = None
        pid = self.daemon.agent()
        self.port, self.secret = self.find(pid)
        self.uid = agent_uid(self.daemon)
        begun = time.monotonic()
        until(lambda: time.monotonic() - begun > 0.8 and proc.status(pid).get("State", "")[:1] == "S", 10, "the agent to be quiet")

    def find(self, pid):
        """The link's port and the secret, as the agent reads them."""
        text = ""
        words = proc.arguments(pid)
        for option, word in zip(words, words[1:]):
            if option == "--config":
                with open(word.removeprefix("file:").replace("/proc/self/", f"/proc/{pid}/"), encoding="utf-8") as f:
                    text += f.read() + "\n"
        return int(re.search(r"ws://127\.0\.0\.1:(\d+)", text).group(1)), re.search(r"X-Opampd-Link\"?: \"?([0-9a-f]{64})", text).group(1)

    def server_is_served(self):
        """The server's own conversation goes on."""
        since = self.server.mark()
        self.server.full_state()
        begun = time.monotonic()
        self.server.wait(lambda m: m.HasField("agent_description"), 10, "the full state", since)
        return time.monotonic() - begun

    def honest(self):
        """An honest agent is let in and heard, as far as the server."""
        self.offered += 1
        text = f"honest {self.offered}"
        since = self.server.mark()
        c = Agent(self.port, self.uid, self.secret)
        status = c.upgrade()
        assert status == 101, f"the honest agent was answered by {status}"
        h = opamp.ComponentHealth(healthy=False, status="StatusRecoverableError", last_error=text)
        c.put(masked(2, b"\0" + report(health=h)))
        assert c.answer().instance_uid == UID
        self.server.wait_healthy(False, PATIENCE, since, text)  # behind 31 MiB, it may be
        c.close()

    def attack(self, row, offer=False):
        self.open()
        pids, agent, mark = self.pids(), self.daemon.agent(), self.daemon.mark()
        getattr(row.act, "prepare", lambda: None)()
        self.watch.begin()
        result = []
        thread = threading.Thread(target=lambda: result.append(self.play(row)), daemon=True)
        thread.start()
        self.alive.check(row.name)
        if offer or "floods" in row.name or row.quick:
            self.server_is_served()
        thread.join(90)
        assert result, "the attack has not ended in 90 s"
        seen = result[0]
        self.honest()
        cost = self.watch.cost()
        self.table.add(self.name, row.name, row.sees, seen, cost)
        assert re.fullmatch(row.sees, str(seen)), f"the agent saw {seen!r}, not {row.sees!r}"
        # what the agent says at length is carried to the server: netd and confd hold it too
        carried = max(row.memory, L["LIMIT_LINK_MESSAGE"] if row.memory > 8 << 20 else 0)
        within(cost, carried, {"confd": carried})
        assert self.pids() == pids, f"processes: {pids} before, {self.pids()} after\n" + "\n".join(self.daemon.log(mark)[-40:])
        assert self.daemon.agent() == agent, "the agent's pid changed"
        assert not [line for line in self.daemon.log(mark) if self.secret in line], "the secret is in the log"

    def play(self, row):
        try:
            c = Agent(self.port, self.uid, self.secret)
            try:
                return row.act(c)
            finally:
                c.close()
        except Exception as e:  # the attack's own failure must be seen, whatever it is
            return f"{type(e).__name__}: {e}"
