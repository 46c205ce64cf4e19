#!/usr/bin/python3
"""doc/security.md and `opampctl sandbox NAME` on a running daemon say the same of every process, row by row; and what the
document says beside the policies is what tests/sandbox/prison.t holds the processes to."""
import glob
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import prison_state
import tap
from bed import BUILD, DAEMONS, ROOT, Bed, for_all, users_made
from opampserver import APPLIED
from tap import same

HEADINGS = {"The parent: `opampd`": "parent", "The agent": "agent", "The hub's parent: `opamphub`": "hub"}
# a row's name in the document, and the aspect that opampctl has it under
ASPECTS = {"user": "user", "own namespaces": "own namespaces", "capabilities": "capabilities", "descriptors": "open files", "core dumps": "core size",
           "bytes of a file, memory files too": "file size", "bytes of data": "data size", "bytes of address space": "address space", "processes": "processes"}
KINDS = {"/dev/null": "/dev/null", "log": "log", "epoll": "epoll", "pipe": "pipe", "socket": "socket", "memfd": "memory file", "pidfd": "pidfd",
         "cgroup.kill": "cgroup.kill", "agent.log": "file", "settings": "file", "/etc/passwd": "file", "/etc/group": "file"}
# not there when nothing happens, or so short that prison.t does not meet it
PASSING = {"procd": {"memory file"}, "connect": {"file"}, "merge": {"file"}}


def document():
    """{process: {first column's title: [cells of a row, ...]}}"""
    found, rows, titles = {}, None, None
    with open(os.path.join(BUILD, "doc", "security.md"), encoding="utf-8") as f:
        lines = f.read().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("## "):
            titles = found.setdefault(HEADINGS.get(line[3:], line[3:]), {})
        if not line.startswith("| ") or titles is None:
            rows = None
            continue
        cells = [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if rows is None:
            rows = titles.setdefault(cells[0], [])
        elif lines[number - 1].startswith("| ---") or not line.startswith("| ---"):
            rows.append(cells)
    return found


DOCUMENT = document()


def plain(text):
    return text.replace("`", "")


def declared(name, checks):
    """What stands in the document of a process that runs, beside what opampctl says is declared for it."""
    wrong = []
    for row, value in DOCUMENT[name][""]:
        check = checks.get(ASPECTS.get(row))
        if check is None or name == "agent" or check["declared"] is None:
            continue
        # what the settings make of it, and words for people
        said, want = plain(value).split(",")[0], re.sub(r",.*| \(\d+\)$", "", check["declared"])
        if said != want:
            wrong.append(f"{name}: {row}: the document has {value}, opampctl {check['declared']}")
    return wrong


def the_same(name, shown):
    ours = DOCUMENT[name]
    deny = name in ("parent", "agent")
    same([[r["call"], r.get("condition", ""), r["action"], r["why"]] for r in shown["calls"]],
         ours["denied system call" if deny else "system call"], f"{name}: system calls")
    same([[r["descriptor"], r["what"]] for r in shown["holds"]], ours["descriptor"], f"{name}: descriptors")
    if name != "agent":
        for key, (what, peer), title in (("messages_sent", ("sends", "to"), "message that it may send"),
                                         ("messages_taken", ("takes", "from"), "message that it takes")):
            same([[r[what], r[peer], r["meaning"]] for r in shown[key]], ours[title], f"{name}: {key}")
    if not deny:
        text = plain(dict(ours[""])["Landlock: files"])
        same("; ".join(f"{r['path']}: {r['rights']}" for r in shown["files"]) or "none", text.replace("below storage.directory", "storage.directory"),
             f"{name}: files")


def agree(user):
    with Bed(user) as bed:
        server = bed.server()
        bed.daemon(server)
        server.wait_healthy()
        server.wait_status(APPLIED, server.offer({"": "fake:\n  fake_name: one\n"}))
        wrong = []
        for name in ("parent", *DAEMONS, "connect", "merge", "agent"):
            _, out, _ = bed.ctl("-j", "sandbox", name)
            shown = json.loads(out)
            the_same(name, shown)
            if user == "root" and name in shown:
                wrong += declared(name, {c["aspect"]: c for c in shown[name]["checks"]})
        same(wrong, [], "not the same")


def descriptors(user):
    """opampctl's verdict on descriptors is one: as root everything is looked at, and a kind that is not declared would be told."""
    if not ROOT:
        raise tap.Skip("only root may look at their descriptors")
    with Bed(user) as bed:
        server = bed.server()
        bed.daemon(server)
        server.wait_healthy()
        shown = json.loads(bed.ctl("-j", "sandbox")[1])
        for name in ("parent", *DAEMONS):
            row = {c["aspect"]: c for c in shown[name]["checks"]}["descriptors"]
            if row["verdict"] == "?" and user != "root":
                continue  # an ordinary user may not look
            same(row["verdict"], "ok", f"{name}: {row}")
            kinds = {re.sub(r" \d+$", "", k) for k in row["kernel"].split(": ")[1].split(", ")}
            assert {"log", "epoll", "socket"} <= kinds, row
        agents = {c["aspect"]: c for c in shown["agent"]["checks"]}["descriptors"]
        assert user != "root" or "pipe 2" in agents["kernel"] and "log" not in agents["kernel"], agents


def held_as_prison_has_it():
    """tests/lib/prison_state.py counts them in live processes: the same kinds, and no others."""
    wanted = {}
    for role, kinds in prison_state.DESCRIPTORS.items():
        name = "merge" if role == "reader" else role
        state = {"state": ("file",) if name == "hub-store" else ("file", "directory")}
        for kind in kinds:
            wanted.setdefault(name, set()).update(state.get(kind, (KINDS.get(kind),)))
    for name, kinds in wanted.items():
        told = {row[0] for row in DOCUMENT[name]["descriptor"]}
        same(told - PASSING.get(name, set()), kinds - PASSING.get(name, set()), f"{name}: kinds of descriptors")


def capabilities_of_the_hub():
    """They are in its text, since they are in no policy."""
    names = {5: "CAP_KILL", 6: "CAP_SETGID", 7: "CAP_SETUID", 8: "CAP_SETPCAP", 21: "CAP_SYS_ADMIN"}
    bits = prison_state.CAPABILITIES["hub"]
    want = " ".join(names[b] for b in range(64) if bits >> b & 1)
    with open(os.path.join(BUILD, "doc", "security.md"), encoding="utf-8") as f:
        assert f"`{want}`" in f.read(), want


def complete():
    """Every process is there, with every table."""
    one_way = {"message that it may send", "message that it takes"}
    for name in ("netd", "link", "confd", "procd", "connect", "merge"):
        assert {"", "descriptor", "system call", *one_way} <= set(DOCUMENT[name]), name
    assert {"", "descriptor", "denied system call", *one_way} <= set(DOCUMENT["parent"])
    for name in ("hub-front", "hub-store", "init"):
        assert {"", "descriptor", "system call"} <= set(DOCUMENT[name]), name
    assert {"", "descriptor", "denied system call"} <= set(DOCUMENT["agent"])
    for name, tables in DOCUMENT.items():
        for title in ("system call", "denied system call"):
            assert all(row[3] for row in tables.get(title, [])), f"{name}: a call without a reason"


REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAPERS = ("SECURITY.md", "doc/threat-model.md", "doc/review.md", "doc/security.md.in", "doc/durability.md")
FOLDERS = "tests|privsep|netd|confd|procd|ctl|hub|wire|doc|dist|proto"


def read(name):
    with open(os.path.join(REPO, name), encoding="utf-8") as f:
        return f.read()


def papers():
    """What the documents name is there: each file, and each test by the words that stand behind its file."""
    wrong = []
    attacks = "".join(read(os.path.join("tests/lib", n)) for n in sorted(os.listdir(os.path.join(REPO, "tests/lib"))) if n.endswith(("_attacks.py", "acts_files.py")))
    for paper in PAPERS:
        text = read(paper)
        made = ("doc/security.md", "doc/messages.md")
        for name in re.findall(rf"`((?:{FOLDERS})/[\w./*-]+)`", text):
            if not glob.glob(os.path.join(REPO, name)) and name not in made:
                wrong.append(f"{paper}: there is no {name}")
        for name, words in re.findall(r"`(tests/[\w./]+\.(?:t|c|py))`[,:]? ?((?:(?:\(| and |, |acts? )*(?:\"[^\"]+\"|`test_\w+`)\)?)+)", text):
            where = (read(name) + (attacks if name.endswith(("peers.t", "prison.t")) else "")).lower()
            for quoted in re.findall(r'"([^"]+)"|`(test_\w+)`', words):
                word = "".join(quoted).lower()
                if word not in where and word.replace(" ", "_") not in where:
                    wrong.append(f"{paper}: {name} has no {word}")
    same(wrong, [], "what the documents name")


TESTS = [
    ("I3 I5 doc/security.md is what opampctl sandbox NAME says of each process", agree),
    ("I5 opampctl sandbox judges descriptors", descriptors),
]

users_made()
tap.run([("every file and test that the documents name is there", papers),
         ("I5 doc/security.md has every process, and a reason for every call", complete),
         ("I5 doc/security.md: descriptors as prison.t counts them", held_as_prison_has_it),
         ("I5 doc/security.md: the hub's capabilities as prison.t has them", capabilities_of_the_hub)] + for_all(TESTS))
