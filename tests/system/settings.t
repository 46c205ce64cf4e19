#!/usr/bin/python3
"""opampd -n as root and as an ordinary user: the message alone must be enough to mend a mistake.

Mistakes written out, and for every key of privsep/settings_keys.h those that its type and name allow:
a key that is new in the table is tested without a word here.
The programs are copied to a directory that only root can write: opampd refuses anything else.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from recorder import recorded

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
    (GOOD + "  type: fluentbit\n", "agent.type: \"fluentbit\" is none of: collector, generic"),
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
    (GOOD.replace("agent:", "  tls:\n    min_version: \"1.1\"\nagent:"), "server.tls.min_version: \"1.1\" is none of: 1.2, 1.3"),
    (GOOD.replace("agent:", "  tls:\n    cert_file: /etc/passwd\nagent:"), "a client certificate and its key go together"),
    (GOOD.replace("agent:", "  tls:\n    ca_file: /nonexistent.pem\nagent:"), ":4:14: server.tls.ca_file: /nonexistent.pem: No such file"),
    (GOOD.replace("agent:", "  headers:\n    A: \"x\\ny\"\nagent:"), "\"A\": a header's value is one line"),
    (GOOD + "limits:\n  message_size: 1kB\n", "limits.message_size: 1kB is out of range"),
    (GOOD + "server2: 1\n", "server2: unknown key"),
    (GOOD.replace("/bin/true", "${file:/etc/shadow}"), "${file:...} is not read here"),
    (GOOD.replace("/bin/true", "${UNSET_VARIABLE}"), "agent.executable: empty"),
    (GOOD.replace("agent:", "agnet:"), ":3:1: agnet: unknown key; did you mean agent?"),
    (GOOD.replace("agent:", "  tsl:\n    ca_file: x\nagent:"), ":3:3: server.tsl: unknown key; did you mean server.tls?"),
    ("server:\n\tendpoint: x\n", "not YAML"),
    ("server: &a [*a]\n", "an alias inside what it stands for"),
    ("a" * 10 + ": " + "[" * 100 + "]" * 100 + "\n", "nested more than 64 deep"),
]

# for the types whose mistakes are not a matter of the type alone: key -> (value, what is wrong with it)
OWN = {
    "agent.args": [("[{a: b}]", "a single value belongs here, not a section")],
    "agent.groups": [("[no_such_group]", "there is no group no_such_group in /etc/group")],
    "agent.capabilities": [("[CAP_SYS_ADMIN]", "\"CAP_SYS_ADMIN\" is none of those that an agent may have: CAP_NET_BIND_SERVICE")],
    "agent.strict.read": [("[etc]", "\"etc\" is not an absolute path")],
    "agent.strict.write": [("[./x]", "\"./x\" is not an absolute path")],
    "agent.strict.execute": [("[sh]", "\"sh\" is not an absolute path")],
    "agent.strict.bind": [("[http]", "\"http\" is not a TCP port: a number from 1 to 65535"), ("[0]", "\"0\" is not"), ("[1000000]", "is not")],
    "agent.strict.connect": [("[70000]", "\"70000\" is not a TCP port")],
    "agent.config_files": [("[$REMOTE]", "is none of $REMOTE_CONFIG"), ("[\"\"]", "empty")],
    "agent.validate_args": [("[-check]", "for agent.type generic")],
    "policy.remote_expansion": [("[API_KEY]", "such as env:API_KEY"), ("[\"${env:X}\"]", "without ${ and }")],
    "agent.env": [("{A=B: c}", "\"A=B\": a variable's name has no ="), ("{A: [x]}", "a single value belongs here, not a list")],
    "agent.description.identifying_attributes": [("{\"\": x}", "a name belongs before the colon")],
    "agent.description.non_identifying_attributes": [("{a: {b: c}}", "a single value belongs here, not a section")],
    "server.headers": [("{A B: c}", "\"A B\": a header's name has no blanks"), ("{A: \"x\\ny\"}", "\"A\": a header's value is one line")],
    "server.endpoint": [("http://x/", "is not a URL that begins with ws:// or wss://"), ("ws://", "names no host"), ("ws://h:0/", "from 1 to 65535")],
    "agent.health.endpoint": [("ws://127.0.0.1/", "begins with http://"), ("http://example.com/", "127.0.0.1, [::1] or localhost")],
    "server.tls.ca_pem": [("/etc/ca.pem", "a file's name belongs in ca_file")],
    "server.tls.cert_pem": [("nothing", "not a certificate in PEM")],
    "server.tls.key_pem": [("nothing", "not a private key in PEM")],
    "server.tls.server_name_override": [("x" * 254, "254 bytes long: at most 253")],
    "agent.instance_id": [("12345", "not a UUID")],
    "agent.config_name": [("a/b.yaml", "a plain file name belongs here"), ("\"\"", "empty")],
    "agent.run_as": [("root", "root is refused"), ("no_such_user", "there is no user no_such_user in /etc/passwd; make it: useradd"),
                     ("_opampd_net", "of another process of opampd")],
    "agent.automatic_config_rollback": [("false", "must be true")],
    "server.tls.ca_file": [("/nonexistent/x.pem", "/nonexistent: No such file")],
    "server.tls.cert_file": [("/etc/passwd", "go together")],
    "server.tls.key_file": [("/etc/passwd", "go together")],
    "agent.executable": [("/nonexistent/x", "/nonexistent: No such file"), ("/etc/passwd", "not executable: chmod +x")],
    "agent.working_directory": [("/nonexistent/w/x", "/nonexistent: No such file")],
    "agent.log.directory": [("/nonexistent/l/x", "/nonexistent: No such file"), ("/etc/passwd/x", "is not a directory")],
    "storage.directory": [("/nonexistent/s/x", "/nonexistent: No such file"), ("/proc", "name another directory")],
    "control.socket": [("/run/" + "x" * 120, "bytes long: at most 100"), ("/nonexistent/c/x", "/nonexistent: No such file")],
}
# what every key of a type must refuse: value, what is said
NOT_SINGLE = [("{a: b}", "a single value belongs here, not a section"), ("[a]", "a single value belongs here, not a list")]
OF_TYPE = {
    "BOOL": [("maybe", "\"maybe\" is neither true nor false")] + NOT_SINGLE,
    "FALSE": [("true", "true is not possible: "), ("maybe", "\"maybe\" is neither true nor false")] + NOT_SINGLE,
    "INT": [("many", "\"many\" is not a whole number"), ("-1", "\"-1\" is not a whole number"), ("99999999999", "is out of range: from")] + NOT_SINGLE,
    "SIZE": [("big", "\"big\" is not a size: write bytes, or a unit such as 16MiB"), ("9999999TiB", "is out of range: from")] + NOT_SINGLE,
    "DURATION": [("10", "\"10\" is not a duration: write it with a unit, such as 10s"), ("9999h", "is out of range: from")] + NOT_SINGLE,
    "ENUM": [("nosuch", "\"nosuch\" is none of: ")] + NOT_SINGLE,
    "STRING": NOT_SINGLE,
    "URL": [("word", "is not a URL that begins with")] + NOT_SINGLE,
    "PATH": [("\"\"", "empty: give a value, or remove the line"), ("~/x", "~ stands for no directory here")] + NOT_SINGLE,
    "USER": [("\"\"", "empty: give a value, or remove the line")] + NOT_SINGLE,
    "LIST": [("word", "a list belongs here: one \"- value\" a line, or [a, b]"), ("[[a]]", "a single value belongs here, not a list")],
    "MAP": [("word", "\"name: value\" lines belong here"), ("[a]", "\"name: value\" lines belong here")],
    "HEADERS": [("word", "\"name: value\" lines belong here"), ("[a]", "\"name: value\" lines belong here")],
}
# types whose values alone can be right or wrong: each key must have a line in OWN
NEEDS_OWN = ("STRING", "URL", "PATH", "USER", "LIST", "MAP", "HEADERS")


def table():
    """[(key, type, meaning)] of privsep/settings_keys.h."""
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "privsep", "settings_keys.h")
    with open(here, encoding="utf-8") as f:
        text = re.sub(r"\s*\\\n\s*", " ", f.read())
    text = text.replace("NOT_YET", '"opampd does not have this yet: remove the line"').split("SETTING_TABLE", 1)[1]
    rows = re.findall(r'SETTING\(\w+, "([^"]+)", SETTING_(\w+),(?:[^"()]|\([^()]*\)|"[^"]*")*?((?:"(?:[^"\\]|\\.)*"\s*)+)\)', text)
    keys = re.findall(r'SETTING\(\w+, "([^"]+)"', text)
    assert [r[0] for r in rows] == keys and len(keys) > 100, set(keys) - {r[0] for r in rows}
    return [(key, kind, "".join(re.findall(r'"([^"]*)"', meaning))) for key, kind, meaning in rows]


def with_key(name, value):
    """GOOD with one key more (or another value), its line and the column of its name."""
    tree = {"server": {"endpoint": "ws://127.0.0.1:4320/v1/opamp"}, "agent": {"executable": "/bin/true"}}
    *sections, last = name.split(".")
    at = tree
    for word in sections:
        at = at.setdefault(word, {})
    at[last] = value
    lines = []

    def write(node, depth):
        for key, below in node.items():
            lines.append("  " * depth + key + ":" + ("" if isinstance(below, dict) else " " + below))
            if isinstance(below, dict):
                write(below, depth + 1)
            elif node is at and key == last:
                found.append((len(lines), 2 * depth + 1))
    found = []
    write(tree, 0)
    return "\n".join(lines) + "\n", found[0]


def key_mistakes():
    """(text, [what the message must contain], name of the test) for every key."""
    words = {}
    keys = table()
    for key, _, _ in keys:
        words.setdefault(key.rsplit(".", 1)[-1], []).append(key)
    for key, kind, meaning in keys:
        *above, last = key.split(".")

        def case(value, expected, what, of=key):
            text, (line, column) = with_key(of, value)
            return text, [f":{line}:", f"{key}: ", expected], f"{key}: {what}", column
        if kind == "REFUSED":
            for value in ("x", "{a: b}"):
                yield case(value, meaning, f"refused with its reason ({value})")
        else:
            for value, expected in OF_TYPE[kind] + OWN.get(key, []):
                yield case(value, expected, f"{value[:20]}: {expected[:40]}")
        # a letter missing; the right word in the wrong section
        misspelt = ".".join(above + [last[:-2] + last[-1]])
        text, (line, column) = with_key(misspelt, "1")
        yield text, [f":{line}:{column}: {misspelt}: unknown key; did you mean {key}?"], f"{misspelt}: unknown", column
        if above and len(words[last]) == 1:
            wrong = ("policy." if above[0] != "policy" else "agent.") + last
            text, (line, column) = with_key(wrong, "1")
            yield text, [f":{line}:{column}: {wrong}: unknown key; did you mean {key}?"], f"{wrong}: wrong section", column
        if kind in NEEDS_OWN:
            yield None, key in OWN, f"{key} has mistakes of its own in this test", 0


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
    return subprocess.run(recorded(command), capture_output=True, text=True, timeout=60, check=False, env=env)


def every_mistake(tap, settings, checked, who):
    """One run tells all: of keys, of values, of users and groups, and of the files that are named."""
    settings("")
    said = checked().stderr
    tap.ok("server.endpoint is missing" in said and "agent.executable is missing" in said, f"{who}: an empty file lacks both", said)
    # the reader's and the parent's
    settings(GOOD.replace("/bin/true", "/nonexistent/otelcol").replace("agent:", "  tls:\n    ca_file: /nonexistent.pem\nagent:") +
             "  type: fluentbit\n  groups: [admm]\n  capabilities: [NET_BIND]\n  config_files: [/nonexistent.yaml]\n  stop_timeout: 10\n"
             "storage:\n  directory: /nonexistent/s/x\n")
    said = checked().stderr
    for part in ("agent.type: \"fluentbit\" is none of", "agent.groups: there is no group admm", "agent.stop_timeout: \"10\" is not",
                 "agent.capabilities: \"NET_BIND\" is none of those", "agent.executable: /nonexistent: No such file",
                 "server.tls.ca_file: /nonexistent.pem: No such file", "agent.config_files: /nonexistent.yaml: No such file",
                 "storage.directory: /nonexistent: No such file"):
        tap.ok(part in said, f"{who}: all in one run: {part[:50]}", said)
    # what is missing is told beside another mistake, but not where a key is misspelt that may be it
    settings("server:\n  endpoint: http://x/\n")
    said = checked().stderr
    tap.ok("agent.executable is missing" in said and "server.endpoint is missing" not in said, f"{who}: missing beside a mistake", said)
    settings(GOOD.replace("executable", "exekutable"))
    said = checked().stderr
    tap.ok("did you mean agent.executable?" in said and "is missing" not in said, f"{who}: misspelt is not missing", said)
    settings(GOOD + "  args: [--config, /etc/mine.yaml]\n  groups: [daemon]\n")
    r = checked()
    tap.ok(r.returncode == 0 and "agent.args: --config beside opampd's own" in r.stderr, f"{who}: a second --config is told", r.stderr)
    tap.ok(("agent.groups has no effect" in r.stderr) == ("ordinary" in who), f"{who}: groups without effect", r.stderr)
    settings(GOOD + "  log:\n    max_size: 10MB\n")
    tap.ok(checked().returncode == 0, f"{who}: the page's units")


def directory_of_another(tap, settings, checked, who, work, user):
    """A storage directory that the user of it may not even open: by -n as by the start, with owner and remedy."""
    if os.geteuid() != 0:
        return  # to make such a directory takes root
    place = os.path.join(work, "user" if user else "root", "another")
    os.mkdir(place, 0o700)
    os.chown(place, 1, 1)
    settings(GOOD + f"storage:\n  directory: {place}\n")
    r = checked()
    tap.ok(r.returncode == 1 and f"{place} belongs to user 1 with mode 700, and must belong to user" in r.stderr and
           "name another directory, or chown" in r.stderr, f"{who}: a directory of another user's", r.stderr)
    os.rmdir(place)


def check_all(tap, opampd, work, user, who):
    path = os.path.join(work, "opampd.yaml")
    unprivileged = bool(user) or os.geteuid() != 0

    home = os.path.join(work, "user" if user else "root")
    os.makedirs(home, exist_ok=True)
    if user:
        os.chown(home, user, user)

    def settings(text):
        # with places that this user may have, where the text has none of its own
        if "agent:" in text and "storage:" not in text:
            text += f"storage:\n  directory: {home}/state\n"
            if "control:" not in text:
                text += f"control:\n  socket: {home}/control.sock\n"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    settings(GOOD)
    r = run(opampd, path, user)
    tap.ok(r.returncode == 0 and "configuration OK" in r.stderr, f"{who}: good settings are OK", r.stderr)
    settings(GOOD.replace("/bin/true", "${env:AGENT}"))
    r = run(opampd, path, user, {"AGENT": "/bin/true", "PATH": os.environ["PATH"]})
    tap.ok(r.returncode == 0, f"{who}: a variable of the environment is taken", r.stderr)
    for text, expected in MISTAKES:
        if unprivileged and "run_as" in text:
            continue
        settings(text)
        r = run(opampd, path, user)
        tap.ok(r.returncode == 1 and expected in r.stderr, f"{who}: {expected[:60]}", r.stderr)
    for text, expected, name, _ in key_mistakes():
        if text is None:
            tap.ok(expected, f"{who}: {name}")
            continue
        if unprivileged and any(word in text for word in ("run_as: no_such", "run_as: _opampd")):
            continue  # looked up for root only
        settings(text)
        r = run(opampd, path, user)
        tap.ok(r.returncode == 1 and all(part in r.stderr for part in expected) and f"\n{path}:" in "\n" + r.stderr,
               f"{who}: {name}", f"expected {expected}\n{r.stderr}{text}")
    settings(GOOD.replace("agent:", "  tls:\n    ca_file: /etc/ssl/x.pem\nagent:").replace("/etc/ssl/x.pem", "/etc/passwd") +
             "  strict:\n    bind: [1]\n")
    r = run(opampd, path, user)
    tap.ok(r.returncode == 0 and r.stderr.count("has no effect: ") == 2, f"{who}: keys without effect are said", r.stderr)
    settings(GOOD + "  x:\n\t y: 1\n")
    r = run(opampd, path, user)
    tap.ok(r.returncode == 1 and ":6:1: not YAML: a tab: it is indented with spaces only" in r.stderr, f"{who}: a tab is called so", r.stderr)
    r = run(opampd, path + "-that-is-not-there", user)
    tap.ok(r.returncode == 1 and "opampd.yaml.example" in r.stderr and "-f" in r.stderr, f"{who}: no settings: what to do", r.stderr)
    r = subprocess.run([opampd, "start"], capture_output=True, text=True, timeout=60, check=False)
    tap.ok(r.returncode == 2 and "opampd: start: " in r.stderr and "usage: " in r.stderr, f"{who}: an argument: what is wrong with it", r.stderr)
    every_mistake(tap, settings, lambda: run(opampd, path, user), who)
    directory_of_another(tap, settings, lambda: run(opampd, path, user), who, work, user)
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
