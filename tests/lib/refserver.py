"""The server on the reference library (tests/interop/server), driven over its control port."""
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request

from tap import until

BINARY = os.path.join(os.environ["O"], "interop", "server")


class RefServer:
    def __init__(self, listen="127.0.0.1:0", tls=None, wrapper=(), events=False, bare=False):
        """tls: (certificate, key) or (certificate, key, client CA).  events: see wait_event."""
        command = list(wrapper) + [BINARY, "-listen", listen] + (["-events"] if events else []) + (["-bare"] if bare else [])
        if tls:
            command += ["-cert", tls[0], "-key", tls[1]] + (["-client-ca", tls[2]] if len(tls) > 2 else [])
        self.tls = tls
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("the reference server did not start")
        self.where = json.loads(line)
        # never through a proxy of the environment
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.events = []  # as the server tells them, with its own time (time.time())
        self.changed = threading.Condition()
        if events:
            threading.Thread(target=self.read_events, daemon=True).start()

    def read_events(self):
        for line in self.process.stdout:
            with self.changed:
                self.events.append(json.loads(line))
                self.changed.notify_all()

    def wait_event(self, test, seconds, what, since=0):
        """The first event from number `since` on that test(event) holds for."""
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                for e in self.events[since:]:
                    if test(e):
                        return e
                since = len(self.events)
                if not self.changed.wait(max(0, end - time.monotonic())) and time.monotonic() >= end:
                    break
        raise AssertionError(f"after {seconds} s still waiting for: {what}\n{self.tell()}")

    @property
    def url(self):
        return f"{'wss' if self.tls else 'ws'}://{self.where['opamp']}/v1/opamp"

    def end(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def request(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        try:
            with self.opener.open(f"http://{self.where['control']}/{path}", data, timeout=20) as r:
                return json.load(r)
        except urllib.error.HTTPError as e:
            raise AssertionError(f"{path}: {e.read().decode()}") from None

    def state(self):
        return self.request("state")

    def agents(self):
        return self.state()["agents"]

    def agent(self):
        """The one agent there is (the one connected, if several uids were seen); {} if none."""
        agents = self.agents()
        for uid, agent in agents.items():
            agent["uid"] = uid
        connected = [a for a in agents.values() if a["connected"]]
        if connected:
            return connected[0]
        return next(iter(agents.values()), {})

    def offer(self, files, **more):
        return self.request("offer", {"files": files, **more})["hash"]

    def send(self, **message):
        """ServerToAgent in protobuf's JSON form."""
        self.request("send", {"message": message})

    def restart(self):
        self.send(command={"type": "CommandType_Restart"})

    def full_state(self):
        self.send(flags=1)

    def start(self):
        self.request("start", {})

    def stop(self):
        self.request("stop", {})

    def wait(self, test, seconds, what):
        """Until test(agent) holds; gives the agent."""
        last = {}

        def look():
            last.clear()
            last.update(self.agent())
            return last if last and test(last) else None
        try:
            return dict(until(look, seconds, what))
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.tell()}") from None

    def wait_status(self, status, config_hash, seconds=30):
        """Gives the record of that status: time, hash, status, error."""
        name = f"RemoteConfigStatuses_{status}"

        def look(agent):
            return any(s["status"] == name and s["hash"] == config_hash for s in agent["statuses"] or [])
        agent = self.wait(look, seconds, f"{status} of {config_hash[:16]}")
        return [s for s in agent["statuses"] if s["status"] == name and s["hash"] == config_hash][-1]

    def wait_healthy(self, seconds=30, healthy=True):
        return self.wait(lambda a: a["health"] and a["healthy"] == healthy, seconds, f"healthy = {healthy}")

    def wait_effective(self, text, seconds=30):
        return self.wait(lambda a: any(text in f for f in a["effective"].values()), seconds, f"effective with {text!r}")

    def statuses(self):
        return [(s["status"].removeprefix("RemoteConfigStatuses_"), s["hash"]) for s in self.agent().get("statuses") or []]

    def tell(self, _since=0):
        lines = []
        for uid, a in self.agents().items():
            lines.append(f"agent {uid}: connected {a['connected']}, {a['messages']} messages, healthy {a['healthy']} {a['health']}")
            lines += [f"  {time.strftime('%H:%M:%S', time.gmtime(s['time']))} {s['status']} {s['hash'][:8]} {s['error'][:400]}"
                      for s in a["statuses"] or []]
        return "\n".join(lines)
