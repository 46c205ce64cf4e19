#!/usr/bin/python3
"""opampd -n as root and as an ordinary user: the message alone must be enough to mend a mistake.

The programs are copied to a directory that only root can write: opampd refuses anything else.
"""
import os
import shutil
import subprocess
import sys
import tempfile

GOOD = """server:
  endpoint: ws://127.0.0.1:4320/v1/opamp
agent:
  executable: /bin/true
"""

# (what is put in the file, what the message must contain)
MISTAKES = [
    ("", "server.endpoint is missing"),
    ("server: [1]\n", "server: is a section"),
    ("server:\n  endpoint: ws://x\n  endpoint: ws://y\n", ":3:3: key \"endpoint\" is here a second time; the first is in line 2"),
    (GOOD + "storage:\n  dirctory: /x\n", ":6:3: storage.dirctory: unknown key; did you mean storage.directory?"),
    (GOOD.replace("ws://127.0.0.1:4320/v1/opamp", "http://127.0.0.1/"), ":2:13: server.endpoint: \"http://127.0.0.1/\" is not a URL that begins with ws:// or wss://"),
    (GOOD.replace("127.0.0.1:4320", "user:pw@host"), "no user name or password in the URL"),
    (GOOD.replace("4320", "70000"), "port is not a number from 1 to 65535"),
    (GOOD.replace("/bin/true", "/nonexistent/otelcol"), ":4:15: agent.executable: /nonexistent: No such file"),
    (GOOD.replace("/bin/true", "/etc/passwd"), "agent.executable: not executable"),
    (GOOD.replace("/bin/true", "/etc"), "not a regular file"),
    (GOOD + "  stop_timeout: 10\n", ":5:17: agent.stop_timeout: \"10\" is not a duration: write it with a unit"),
    (GOOD + "  stop_timeout: 700s\n", "is out of range"),
    (GOOD + "  type: fluentbit\n", "agent.type: \"fluentbit\" is none of: collector generic"),
    (GOOD + "  passthrough_logs: yes\n", "\"yes\" is neither true nor false"),
    (GOOD + "  opamp_server_port: 65536\n", "agent.opamp_server_port: 65536 is out of range"),
    (GOOD + "  instance_id: nonsense\n", "agent.instance_id: not a UUID"),
    (GOOD + "  config_files: [$OTHER]\n", "\"$OTHER\" is none of $REMOTE_CONFIG"),
    (GOOD + "  config_files: [/nonexistent.yaml]\n", ":5:18: agent.config_files: /nonexistent.yaml: No such file"),
    (GOOD + "  config_files: one.yaml\n", "agent.config_files: a list belongs here"),
    (GOOD + "  run_as: root\n", "agent.run_as: root is refused"),
    (GOOD + "  orphan_detection_interval: 5s\n", "remove the line"),
    (GOOD + "  env: [A=1]\n", "agent.env: \"name: value\" lines belong here"),
    (GOOD + "capabilities:\n  reports_own_metrics: true\n", "true is not possible"),
    (GOOD + "healthcheck:\n  endpoint: localhost:13133\n", "healthcheck: ask `opampctl health`"),
    (GOOD.replace("agent:", "  tls:\n    min_version: \"1.1\"\nagent:"), "server.tls.min_version: \"1.1\" is none of: 1.2 1.3"),
    (GOOD.replace("agent:", "  tls:\n    cert_file: /etc/passwd\nagent:"), "a client certificate and its key go together"),
    (GOOD.replace("agent:", "  tls:\n    ca_file: /nonexistent.pem\nagent:"), ":4:14: server.tls.ca_file: /nonexistent.pem: No such file"),
    (GOOD.replace("agent:", "  headers:\n    A: \"x\\ny\"\nagent:"), "a header has no line ends"),
    (GOOD + "limits:\n  message_size: 1kB\n", "limits.message_size: 1kB is out of range"),
    (GOOD + "server2: 1\n", "server2: unknown key"),
    (GOOD.replace("/bin/true", "${file:/etc/shadow}"), "${file:...} is not read here"),
    (GOOD.replace("/bin/true", "${UNSET_VARIABLE}"), "agent.executable: empty"),
    ("server:\n\tendpoint: x\n", "not YAML"),
    ("server: &a [*a]\n", "an alias inside what it stands for"),
    ("a" * 10 + ": " + "[" * 100 + "]" * 100 + "\n", "nested more than 64 deep"),
]


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, name, detail=""):
        self.count += 1
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}", flush=True)
        if not good:
            self.failed += 1
            for line in detail.splitlines():
                print(f"# {line}", flush=True)


def run(opampd, path, user, env=None):
    command = [opampd, "-n", "-f", path]
    if user:
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] + command
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)


def check_all(tap, opampd, work, user, who):
    path = os.path.join(work, "opampd.yaml")

    def settings(text):
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    settings(GOOD)
    r = run(opampd, path, user)
    tap.ok(r.returncode == 0 and "configuration OK" in r.stderr, f"{who}: good settings are OK", r.stderr)
    settings(GOOD.replace("/bin/true", "${env:AGENT}"))
    r = run(opampd, path, user, {"AGENT": "/bin/true", "PATH": os.environ["PATH"]})
    tap.ok(r.returncode == 0, f"{who}: a variable of the environment is taken", r.stderr)
    for text, expected in MISTAKES:
        if user and "run_as" in text:
            continue
        settings(text)
        r = run(opampd, path, user)
        tap.ok(r.returncode == 1 and expected in r.stderr, f"{who}: {expected[:60]}", r.stderr)
    settings(GOOD)
    os.chmod(path, 0o666)
    r = run(opampd, path, user)
    os.chmod(path, 0o644)
    tap.ok(r.returncode == 1 and "can be written by others" in r.stderr,
           f"{who}: settings that others may write are refused", r.stderr)


def main():
    tap = Tap()
    build = os.environ["O"]
    root = os.geteuid() == 0
    # as root the way there must be root's alone: not the temporary directory
    work = tempfile.mkdtemp(prefix="opampd-test-", dir="/opt" if root else None)
    try:
        os.chmod(work, 0o755)
        for name in ("opampd", "opampd-merge"):
            shutil.copy(os.path.join(build, name), work)
        opampd = os.path.join(work, "opampd")
        if root:
            subprocess.run(["make", "-s", "users"], check=True, stdout=sys.stderr)
            check_all(tap, opampd, work, None, "root")
        check_all(tap, opampd, work, 65534 if root else None, "ordinary user")
    finally:
        shutil.rmtree(work)
    print(f"1..{tap.count}")
    return tap.failed != 0


sys.exit(main())
