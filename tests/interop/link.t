#!/usr/bin/python3
"""A real Collector on its link: opampd-link in its sandbox, with the test as parent and confd.  The
Collector gets the secret as opampd gives it: a sealed file, last of its configuration files.
"""
import os
import signal
import subprocess
import sys
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import privsep  # noqa: E402
from privsep import E  # noqa: E402
from link_bed import UID, Bed, opamp  # noqa: E402

OTELCOL = os.environ.get("OTELCOL_BINARY") or os.path.join(os.environ["O"], "interop", "otelcol")
SECRET_FD = 4
CONFIG = """
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:0"}}}}}}
exporters:
  debug:
extensions:
  opamp:
    server: {{ws: {{endpoint: "ws://127.0.0.1:{port}/v1/opamp", tls: {{insecure: true}}}}}}
    instance_uid: {uid}
    capabilities: {{reports_available_components: false}}
service:
  telemetry: {{metrics: {{level: none}}}}
  extensions: [opamp]
  pipelines:
    traces: {{receivers: [otlp], exporters: [debug]}}
"""


class Test:
    def __init__(self, tap, pb, root):
        self.tap = tap
        self.pb = pb
        self.who = "root" if root else "user"
        self.bed = Bed(root)

    def ok(self, good, name, detail=""):
        return self.tap.ok(good, f"{name} ({self.who})", f"{detail}\n{'' if good else self.bed.errors()[-2000:]}")

    def start_collector(self):
        bed = self.bed
        path = os.path.join(bed.work, "effective.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(port=bed.port, uid=uuid.UUID(bytes=UID)))
        start = bed.begin()
        out, err, _ = bed.pipes[start]

        def prepare():
            os.dup2(bed.secret_files[start], SECRET_FD)
            os.setgroups([])
            os.setresgid(bed.agent_uid, bed.agent_uid, bed.agent_uid)
            os.setresuid(bed.agent_uid, bed.agent_uid, bed.agent_uid)
        self.collector = subprocess.Popen(
            [OTELCOL, "--config", path, "--config", f"file:/proc/self/fd/{SECRET_FD}"], stdout=out[1], stderr=err[1],
            env={}, cwd="/", preexec_fn=prepare, pass_fds=(SECRET_FD,))
        return start

    def event(self, event):
        return self.bed.confd.expect("LINK_AGENT", where=lambda m: m.u32(1) == E[event]) is not None

    def healthy(self):
        """The next health that is well and names components: at first the Collector may just say "well"."""
        m = self.bed.confd.expect("AGENT_HEALTH", where=lambda m: m.u32(1) == 1 and m.u32(3) > 0)
        if m is None:
            return None
        health = self.pb.ComponentHealth()
        health.ParseFromString(m.blob())
        return health

    def told_whole(self, name):
        self.ok(self.event("LINK_CONNECTED"), f"{name}: connected")
        m = self.bed.confd.expect("AGENT_DESCRIPTION")
        description = self.pb.AgentDescription()
        description.ParseFromString(m.blob() if m else b"")
        attributes = {a.key: a.value.string_value for a in description.identifying_attributes}
        self.ok(attributes.get("service.version") == "0.149.0" and attributes.get("service.name"),
                f"ST-07 {name}: the description reaches confd", attributes)
        m = self.bed.confd.expect("AGENT_EFFECTIVE")
        effective = m.blob() if m else b""
        secrets = [s.encode() for s in self.bed.secrets.values()]
        self.ok(b"REDACTED" in effective and not any(s in effective for s in secrets),
                f"I12 {name}: the effective configuration reaches confd, without the secret", effective[:400])
        health = self.healthy()
        self.ok(health is not None and "pipeline:traces" in health.component_health_map,
                f"{name}: healthy, with its components", health)

    def run(self):
        bed = self.bed
        bed.start()
        bed.confd.send("LINK_IDENTITY", UID)
        start = self.start_collector()
        self.told_whole("start")
        os.kill(bed.link.process.pid, signal.SIGKILL)
        bed.link.wait()
        bed.kill()
        bed.start(lives=[start])
        self.told_whole("link killed")
        self.ok(bed.stop() == 0, "CC-05 link leaves: the Collector answers its Close")
        bed.kill()
        bed.start(lives=[start])
        self.told_whole("link left and came back")
        # not sooner: until a moment after it is well, SIGHUP would end this Collector
        self.collector.send_signal(signal.SIGHUP)
        self.ok(self.event("LINK_DISCONNECTED") and self.event("LINK_CONNECTED"), "SIGHUP: it leaves and comes back",
                (self.collector.poll(), bed.log_text()[-600:]))
        self.ok(self.healthy() is not None, "SIGHUP: healthy again")
        self.collector.terminate()
        self.ok(self.collector.wait(privsep.TIMEOUT) == 0 and self.event("LINK_DISCONNECTED"), "SIGTERM: it says goodbye")
        bed.end(start)
        m = bed.confd.expect("AGENT_OUTPUT_END")
        self.ok(m is not None and b"Shutdown complete" in m.tail, "its last words reach confd", m and m.tail)
        self.ok(bed.stop() == 0, "link ends in order")
        bed.close()

    def end(self):
        if self.collector.poll() is None:
            self.collector.kill()
            self.collector.wait()


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root, to run link and Collector as users of their own")
        return 0
    tap = privsep.Tap()
    bed = Bed(True)
    pb = opamp(bed.work)
    for root in (True, False):
        test = Test(tap, pb, root)
        try:
            test.run()
        finally:
            test.end()
    bed.close()
    return tap.done()


sys.exit(main())
