"""Where each message of privsep/messages.h is handled, by each process that may receive it, and whether a test came there.

A handler is a `case MSG_X:` (or a comparison of m->type with MSG_X) in the receiver's sources.  coverage.py asks with
the counts of a run; what is in the table and nowhere in a receiver's sources is an error too."""
import glob, os, re

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DAEMONS = ("NETD", "LINK", "CONFD", "PROCD")
SETS = {"P_DAEMONS": DAEMONS, "P_CHILDREN": DAEMONS + ("CONNECT", "MERGE")}
# the frame, which all children have, first
SOURCES = {"PARENT": ["privsep/parent*.c"], "NETD": ["privsep/child.c", "netd/uplink.c"], "LINK": ["privsep/child.c", "netd/link.c"],
           "CONFD": ["privsep/child.c", "confd/confd_in.c"], "PROCD": ["privsep/child.c", "procd/procd.c"],
           "CONNECT": ["privsep/child.c"], "MERGE": ["privsep/child.c", "confd/merge.c"]}


def table():
    """[(message, receiver)]"""
    text = open(os.path.join(TREE, "privsep/messages.h")).read()
    text = text[text.index("#define MESSAGE_TABLE"):text.index("enum message_type {")].replace("\\\n", " ")
    rows = re.findall(r"MESSAGE\(\s*(\w+),\s*([^,]+),\s*([^,]+),\s*(msg_\w+),", text)
    assert len(rows) == text.count("MESSAGE(") > 0, "a row of MESSAGE_TABLE was not understood"
    return [(name, receiver) for name, _, to, _ in rows for part in to.split("|")
            for receiver in SETS.get(part.strip(), (part.strip()[2:-1],))]


def files():
    return sorted({f for patterns in SOURCES.values() for p in patterns
                   for f in (os.path.relpath(g, TREE) for g in glob.glob(os.path.join(TREE, p)))})


def place(name, receiver):
    """(file, line, how) or None."""
    lines = [(os.path.relpath(path, TREE), number, line) for pattern in SOURCES[receiver]
             for path in sorted(glob.glob(os.path.join(TREE, pattern))) for number, line in enumerate(open(path), 1)]
    for path, number, line in lines:
        if "case MSG_%s:" % name in line:
            return path, number, "case"
    for path, number, line in lines:
        m = re.search(r"m->type ([!=]=) MSG_%s\b" % name, line)
        if m:
            return path, number, m.group(1)
    return None


def count(path, line, how, lines):
    """How often the handler was entered; `lines` are the counts of that file's lines."""
    if how == "case":
        # labels that follow one another: each has what fell through from those before it
        before = open(os.path.join(TREE, path)).read().split("\n")[line - 2]
        return lines.get(line, 0) - (lines.get(line - 1, 0) if "case MSG_" in before else 0)
    behind = sorted(n for n in lines if n > line)
    return lines[behind[0 if how == "==" else 1]]


def problems(sources):
    """Handlers that nothing entered; sources: path -> an object with lines, as coverage.py has them."""
    out, rows = [], table()
    for name, receiver in rows:
        at = place(name, receiver)
        if at is None:
            out.append("%s to %s: privsep/messages.h has it, and no handler was found" % (name, receiver.lower()))
        elif at[0] not in sources or count(*at, sources[at[0]].lines) <= 0:
            out.append("%s to %s: no test reaches its handler (%s:%d)" % (name, receiver.lower(), at[0], at[1]))
    return out, len(rows)
