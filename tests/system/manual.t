#!/usr/bin/python3
"""The examples of the manual pages, as they stand there, run: settings by opampd -n, commands against a daemon and a hub of
the test's own, with paths and addresses adapted; and the options and commands that the pages name are those that there are.
An example that no test here knows is a failure: it would be one that nobody runs."""
import os
import re
import shlex
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hub_bed
import tap
from bed import BUILD, Bed, users_made
from opampserver import APPLIED, FAILED
from tap import same, until

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
USER = "root" if os.geteuid() == 0 else "user"
PAGES = {"opampd": "opampd.8", "opampctl": "opampctl.8", "opamphub": "opamphub.8", "settings": "opampd.yaml.5"}


def page(name):
    with open(os.path.join(BUILD, "doc", PAGES[name]), encoding="utf-8") as f:
        return f.read()


def examples(name):
    """The literal blocks and display lines of a page, in their order."""
    found = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$|^\.Dl ([^\n]*\n)", page(name), re.M | re.S)
    return [(block or line).replace("\\e", "\\") for block, line in found]


def sections(text):
    return re.findall(r"^(\w+):", text, re.M)


# ---- opampd.yaml(5)

def settings():
    blocks = examples("settings")
    same([sections(b) for b in blocks], [["server", "agent"], ["capabilities"], ["agent"]], "the examples of opampd.yaml(5)")
    least, more, rsyslog = blocks
    server = re.search(r"^server:\n(?: .*\n)+", least, re.M).group(0)
    with Bed(USER) as bed:
        end = f"storage:\n  directory: {bed.storage()}\n"
        for text in (least, least + more, server + rsyslog):
            text = text.replace("/usr/bin/otelcol-contrib", bed.agent)
            bed.write("opampd.yaml", text + end)
            r = subprocess.run(bed.as_user([bed.path("opampd"), "-n", "-f", bed.path("opampd.yaml")]), capture_output=True, text=True, timeout=30, check=False)
            same((r.returncode, r.stderr), (0, f"{bed.path('opampd.yaml')}: configuration OK\n"), f"opampd -n with\n{text}")


# ---- opampd(8)

def opampd():
    same(len(examples("opampd")), 1, "examples of opampd(8)")
    lines = examples("opampd")[0].splitlines()
    commands = [line[2:] for line in lines if line.startswith("# ")]
    same(commands, ["opampd -n", "opampd -d"], "the commands")
    said = lines[lines.index("# opampd -n") + 1]
    with Bed(USER) as bed:
        server = bed.server()
        daemon = bed.daemon(server)  # by opampd -d -f FILE
        server.wait_healthy()
        r = subprocess.run(bed.as_user([bed.path("opampd"), "-n", "-f", bed.path("opampd.yaml")]), capture_output=True, text=True, timeout=30, check=False)
        same((r.returncode, r.stderr), (0, said.replace("/etc/opampd/opampd.yaml", bed.path("opampd.yaml")) + "\n"), "opampd -n")
        same(daemon.stop(), 0, "its exit status after SIGTERM")


# ---- opampctl(8)

def run(bed, command):
    """As the page has it, by the shell."""
    env = {"PATH": f"{bed.dir}:/usr/bin:/bin", "OPAMPD_SOCKET": bed.path("var", "control.sock")}
    return subprocess.run(bed.as_user(["/bin/sh", "-c", command]), capture_output=True, text=True, timeout=30, check=False, env=env)


def opampctl():
    blocks = examples("opampctl")
    same([b[:2] for b in blocks], ["$ ", "$ "], "the examples of opampctl(8)")
    restart, reason = (b[2:] for b in blocks)
    with Bed(USER) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        server.wait_status(APPLIED, server.offer({"": "fake:\n  fake_unhealthy_after: 1000\n"}))
        pid = daemon.agent()
        r = run(bed, restart)
        same((r.returncode, r.stderr, daemon.agent()), (0, "", pid), "while the agent is well")
        server.wait_status(FAILED, server.offer({"": "a: {\n"}))
        r = run(bed, reason)
        assert r.returncode == 0 and "not YAML" in r.stdout, r.stdout + r.stderr
        until(lambda: bed.ctl("health", check=False)[0] == 5, 10, "the agent to be ill")
        r = run(bed, restart)
        same((r.returncode, r.stderr), (0, ""), "when the agent is ill")
        daemon.agent(other_than=pid)


# ---- opamphub(8)

def opamphub():
    one, fleet, curl = examples("opamphub")
    with hub_bed.Hub() as hub:
        for name, text in {"agents": "fleet abcdefghijklmnopqrst\n", "cert.pem": "", "key.pem": ""}.items():
            hub.file(name, text)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=hub", "-days", "2",
                        "-keyout", os.path.join(hub.work, "key.pem"), "-out", os.path.join(hub.work, "cert.pem")], check=True, capture_output=True)
        for text in (one, fleet):
            words = shlex.split(text.replace("\\\n", " ").replace("/etc/opamphub", hub.work).replace("/var/lib/opamphub", os.path.join(hub.work, "store")))
            same(words[0], "opamphub", "the command")
            if "--store" not in words:
                words += ["--store", os.path.join(hub.work, "store")]
            p = hub.spawn([os.path.join(hub.work, "opamphub"), "-n", *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            out, err = p.communicate(timeout=30)
            same((p.returncode, out), (0, "opamphub: the options can be used\n"), f"{' '.join(words)}: {err}")
        script = "set -e\n" + curl.replace("127.0.0.1:4321", f"127.0.0.1:{hub.page_port}").replace("curl ", "curl --fail-with-body -sS --noproxy '*' ")
        r = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=30, check=False, env={"PATH": "/usr/bin:/bin"})
        same((r.returncode, r.stderr), (0, ""), f"the calls of the API: {r.stdout}")
        same([a["selector"] for a in hub.api("assignments")["items"]], ["os.type=linux"], "what is assigned then")


# ---- options and commands

def usage(program, how):
    r = subprocess.run([os.path.join(BUILD, program), how], capture_output=True, text=True, timeout=30, check=False)
    same(r.returncode, 0, f"{program} {how}")
    return r.stdout


def options():
    """Those that a page explains are those that the program tells of."""
    for name in ("opampd", "opampctl"):
        told = set(re.findall(r"^  -(\w)\b", usage(name, "-h"), re.M)) | {"h"}
        if name == "opampctl":
            assert "-j" in usage(name, "-h")
        same(set(re.findall(r"^\.It Fl (\w)\b", page(name).split("EXIT STATUS")[0], re.M)), told, f"the options of {name}(8)")
    told = set(re.findall(r"--([a-z-]+)", usage("opamphub", "--help")))
    explained = set(re.findall(r"Fl -([a-z-]+)", "".join(re.findall(r"^\.It Fl -.*$", page("opamphub"), re.M))))
    same(explained, told, "the long options of opamphub(8)")


def commands():
    """Commands: those that opampctl(8) explains are those that there are, and no page names another."""
    verbs = set(re.findall(r"^  ([a-z]+)\b", usage("opampctl", "-h"), re.M))
    same(set(re.findall(r"^\.It Ic (\w+)", page("opampctl").split(".Ss Commands")[1].split("ENVIRONMENT")[0], re.M)), verbs, "the commands of opampctl(8)")
    letters = set(re.findall(r"^  -(\w)\b", usage("opampd", "-h"), re.M))
    for name in os.listdir(os.path.join(BUILD, "doc")):
        if not re.search(r"\.[578]$", name):
            continue
        with open(os.path.join(BUILD, "doc", name), encoding="utf-8") as f:
            text = f.read()
        for verb in re.findall(r"\bopampctl ([a-z]+)", "".join(re.findall(r"^\.Ic opampctl.*\n", text, re.M))):
            assert verb in verbs, f"{name}: opampctl {verb}"
        for letter in re.findall(r"^\.Ic opampd -(\w)", text, re.M):
            assert letter in letters, f"{name}: opampd -{letter}"


users_made()
tap.run([
    ("opampd.yaml(5): each example is good settings", settings),
    ("opampd(8): the example", opampd),
    ("opampctl(8): the examples, well and ill", opampctl),
    ("opamphub(8): the examples, to the assignment", opamphub),
    ("the options that the pages explain are those that there are", options),
    ("the commands that the pages name are those that there are", commands),
])
