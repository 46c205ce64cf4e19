"""The installed packages in the guest: their processes, settings, the hub's interface, opampctl."""
import json
import os
import re
import signal
import urllib.error
import urllib.request

from told import ok, run, same, until

API = "http://127.0.0.1:4321/api/v1"
SETTINGS = "/etc/opampd/opampd.yaml"
AGENT = "/usr/bin/fakeagent"
EXPORTER = "/usr/bin/prometheus-node-exporter"
TEXT = """server:
  endpoint: ws://127.0.0.1:4320/v1/opamp
capabilities:
  accepts_remote_config: true
  reports_remote_config: true
  accepts_restart_command: true
agent:
  executable: /usr/bin/fakeagent
  config_apply_timeout: 60s
  settling_time: 1s
  limits:
    memory: 64MiB
    processes: 40
"""
# a second agent, opampd@exporter: a program that speaks no OpAMP and is asked for its health, strictly confined
INSTANCE = """server:
  endpoint: ws://127.0.0.1:4320/v1/opamp
capabilities:
  accepts_remote_config: true
  reports_remote_config: true
storage:
  directory: /var/lib/opampd@exporter/state
control:
  socket: /run/opampd@exporter/control.sock
agent:
  type: generic
  executable: /usr/bin/prometheus-node-exporter
  args: ["--web.listen-address=127.0.0.1:9100", "--web.config.file=${config}"]
  config_name: web.yaml
  run_as: exporter
  working_directory: /var/lib/opampd@exporter/agent
  log:
    directory: /var/log/opampd@exporter
  settling_time: 1s
  description:
    identifying_attributes:
      service.name: node-exporter
  health:
    endpoint: http://127.0.0.1:9100/
  sandbox: strict
  strict:
    read: [/proc, /sys, /etc/os-release, /etc/localtime, /run/udev/data, /etc/machine-id]
    bind: [9100]
"""
# by the first word of the command line: the domain that the process has to be in (selinux/opampd.te)
DOMAINS = {"/usr/sbin/opampd": "opampd_t", "opampd-netd": "opampd_netd_t", "opampd-connect": "opampd_connect_t", "opampd-link": "opampd_link_t",
           "opampd-confd": "opampd_confd_t", "opampd-merge": "opampd_merge_t", "opampd-procd": "opampd_procd_t", "/usr/sbin/opamphub": "opamphub_t",
           "opamphub-front": "opamphub_front_t", "opamphub-store": "opamphub_store_t", AGENT: "opampd_agent_t", EXPORTER: "opampd_agent_t",
           "opampctl": "opampctl_t"}
CHILDREN = ("opampd-netd", "opampd-link", "opampd-confd", "opampd-procd")
PARTS = ("opamphub-front", "opamphub-store")
RESIDENT = ("/usr/sbin/opampd", *CHILDREN, AGENT)
HUB = ("/usr/sbin/opamphub", *PARTS)


def put(path, text, mode=0o644):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


def read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def domain(pid):
    return (read(pid, "attr/current").rstrip("\0").split(":") + ["", "", ""])[2]


class Process:
    def __init__(self, pid):
        self.pid = int(pid)
        self.name = read(pid, "cmdline").split("\0")[0]
        self.domain = domain(pid)
        self.unit = os.path.basename(os.path.normpath(read(pid, "cgroup").strip().split("::")[-1].split("/agent")[0]))


def processes():
    """All that are ours by their name or by their domain."""
    found = [Process(pid) for pid in os.listdir("/proc") if pid.isdigit()]
    return [p for p in found if p.name in DOMAINS or p.domain.startswith("opamp")]


def pid_of(name, unit="opampd.service", other_than=None):
    """Of the running process of that name, or None."""
    for p in processes():
        if p.name == name and p.pid != other_than and (name in HUB or unit in read(p.pid, "cgroup")):
            return p.pid
    return None


def new_pid(name, old, seconds=40, unit="opampd.service"):
    return until(lambda: pid_of(name, unit, old), seconds)


def in_domains(when, names):
    """Each of the names runs, and every process of ours is where it belongs."""
    found = processes()
    missing = [n for n in names if n not in [p.name for p in found]]
    wrong = [f"{p.name or '?'} ({p.pid}) is in {p.domain}" for p in found if DOMAINS.get(p.name) != p.domain]
    same((missing, wrong), ([], []), f"domain of every process: {when} ({len(found)} processes)")


def gone(pids):
    return until(lambda: not [p for p in pids if os.path.exists(f"/proc/{p}") and "\nState:\tZ" not in read(p, "status")], 20)


# ---- the hub

def api(path, body=None):
    request = urllib.request.Request(API + path, headers={"Content-Type": "application/json"}, data=None if body is None else json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as e:
        return {"error": f"{e.code} {e.read().decode()}"}
    except (OSError, ValueError):
        return {}


def agent(name="fake"):
    """What the hub knows of the agent whose name has that in it."""
    for one in api("/agents").get("items", []):
        if name in (one.get("name") or ""):
            return api("/agents/" + one["uid"])
    return {}


def healthy(name="fake", seconds=60):
    return until(lambda: (lambda a: a.get("connected") and a.get("healthy"))(agent(name)), seconds)


class Configuration:
    """One of the hub's, whose versions are assigned to one agent."""

    def __init__(self, name):
        self.name = name
        self.id = api("/configurations", {"name": f"{name}-{os.getpid()}"}).get("id")

    def assign(self, text):
        version = api(f"/configurations/{self.id}/versions", {"files": {"": {"body": text, "content_type": "text/yaml"}}})
        assert version.get("id"), version
        answer = api("/assignments", {"version": version["id"], "agent": agent(self.name)["uid"]})
        assert answer.get("id"), answer


def effective(name="fake"):
    return json.dumps((agent(name).get("effective") or {}).get("files"))


def ctl(*command):
    r = run("opampctl", "-j", *command)
    try:
        return json.loads(r.stdout)
    except ValueError:
        return {}


def journal(lines=60):
    return run("journalctl", "-b", "--no-pager", "-o", "cat", "-n", str(lines), "-u", "opampd", "-u", "opamphub", "-u", "opampd@exporter").stdout


def state():
    """What there is to tell when a check failed."""
    return f"{run('opampctl', 'status').stdout}\n{journal(40)}\n{json.dumps(agent())[:2000]}"


def kill(name, unit="opampd.service"):
    """kill -9; gives the pid that it had."""
    pid = pid_of(name, unit)
    if pid is None:
        ok(False, f"{name} runs before it is killed", state())
        return None
    os.kill(pid, signal.SIGKILL)
    return pid


def labels(paths, when):
    """Every file has the label that the policy has for its place."""
    r = run("restorecon", "-R", "-n", "-v", *[p for p in paths if os.path.lexists(p)])
    wrong = [line for line in (r.stdout + r.stderr).splitlines() if re.search("relabel", line)]
    same((r.returncode, wrong), (0, []), f"labels of files: {when}")
