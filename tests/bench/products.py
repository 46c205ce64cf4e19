"""opampd and opampsupervisor as the bench sees them: started on the same Collector and server, looked at
in the same way.  Settings are the defaults but for places, and for what a measurement is about."""
import json
import os
import shutil
import signal
import subprocess
import time

import proc
from bed import BUILD, Bed, merged
from measure import age
from tap import until

SUPERVISOR = os.path.join(BUILD, "bench", "opampsupervisor")
CAPABILITIES = {"accepts_remote_config": True, "reports_remote_config": True, "accepts_restart_command": True}
# the Collector's own metrics want port 8888; two Collectors run side by side here
LOCAL = "service:\n  telemetry:\n    metrics:\n      level: none\n"


class Product:
    """with Product(server) as p: ..."""
    program = ""  # the agent's, as its arguments name it
    wait_ms = 0   # a setting: how long it looks at a new configuration before it says APPLIED

    def __init__(self, server, over=None, agent="interop/otelcol"):
        self.server = server
        self.bed = Bed("root" if os.geteuid() == 0 else "user", agent)
        self.local = self.bed.write("local.yaml", LOCAL)
        self.started = 0.0
        self.events = len(server.events)
        self.uid = ""
        try:
            self.launch(over or {})
        except BaseException as e:
            self.bed.__exit__(type(e), e, None)
            raise

    def launch(self, over):
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.end()
        self.bed.__exit__(kind, error, trace)

    def is_agent(self, words):
        return bool(words) and words[0] == self.bed.agent or "--config" in words

    def settings(self, over):
        base = {"server": {"endpoint": self.server.url}, "capabilities": CAPABILITIES,
                "agent": {"executable": self.bed.agent, "config_files": [self.local]},
                "storage": {"directory": self.bed.storage()}}
        return merged(base, over)

    def event(self, test, seconds, what, since=None):
        return self.server.wait_event(test, seconds, f"{self.name}: {what}", self.events if since is None else since)

    def first_message(self):
        return self.event(lambda e: e["event"] == "message", 60, "the first message")

    def well(self):
        """The server was told that the Collector is well."""
        self.event(lambda e: e.get("healthy") is True, 60, "a healthy agent at the server")

    def ready(self):
        """The same, and what was begun at the start is over."""
        self.well()
        until(lambda: age(self.agent()) > 1, 30, f"{self.name}: its Collector to have run for a while")
        self.committed()
        return self

    def agents(self):
        found = []
        for pid in proc.children_and_of_init(self.pid):
            words = proc.arguments(pid)
            if words and proc.executable(pid) == self.bed.agent and "--config" in words and "validate" not in words and proc.alive(pid):
                found.append(pid)
        return found

    def agent(self, other_than=None):
        def look():
            pids = self.agents()
            return pids[0] if pids and pids[0] != other_than else None
        return until(look, 30, f"{self.name}: the Collector to run")


class Opampd(Product):
    name = "opampd"
    wait_ms = 2000  # agent.settling_time

    def launch(self, over):
        settings = merged(self.settings(over), {
            "agent": {"working_directory": self.bed.path("var", "work"), "log": {"directory": self.bed.path("var", "log")}},
            "control": {"socket": self.bed.path("var", "control.sock")}})
        self.daemon = self.bed.daemon(self.server, json.dumps(settings, indent=1), start=False)
        self.started = time.time()
        self.daemon.start()
        self.pid = self.daemon.pid

    def committed(self):
        """What it started on has settled."""
        self.daemon.wait_log("is committed", 30)

    def processes(self):
        """Those that live on; the Collector is not ours."""
        return [self.pid] + list(self.daemon.all_children().values())

    def end(self):
        pass  # the bed ends it, in order


class Supervisor(Product):
    name = "opampsupervisor"
    wait_ms = 5000  # agent.config_apply_timeout

    def launch(self, over):
        path = self.bed.path("opampsupervisor")
        shutil.copy2(SUPERVISOR, path)  # a file of its own: nobody shares its pages
        config = self.bed.write("supervisor.yaml", json.dumps(self.settings(over), indent=1))
        with open(self.bed.path("supervisor.log"), "wb") as log:
            self.started = time.time()
            self.process = subprocess.Popen([path, "--config", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={"PATH": os.environ["PATH"]}, cwd=self.bed.dir)
        self.pid = self.process.pid

    def committed(self):
        pass

    def processes(self):
        return [self.pid]

    def end(self):
        agents = proc.children(self.pid)
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in agents:  # it leaves the Collector behind when it is killed
            proc.kill(pid)


PRODUCTS = (Opampd, Supervisor)
