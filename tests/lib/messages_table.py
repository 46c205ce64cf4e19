"""MESSAGE_TABLE of privsep/messages.h for tests: each row with its senders, receivers, sizes, fields and descriptor."""
import re

import privsep
from privsep import MSG, PAYLOAD

CHILDREN = ("netd", "link", "confd", "procd", "connect", "merge")
DAEMONS = ("netd", "link", "confd", "procd")
TAILS = {"0": 0, "TEXT_TAIL": 8 * 1024}


class Rule:
    def __init__(self, name, senders, receivers, payload, tail, fd):
        self.name, self.type, self.fd = name, MSG[name], fd
        self.senders, self.receivers = _set(senders), _set(receivers)
        self.size = PAYLOAD[name]
        self.tail = TAILS[tail]
        self.fields = FIELDS[payload]


def _fields():
    """struct name -> [(offset, width)] of its numbers; arrays one by one."""
    width = {"uint8_t": 1, "uint32_t": 4, "int32_t": 4, "uint64_t": 8, "char": 1}
    text = re.sub(r"/\*.*?\*/", "", privsep._MESSAGES, flags=re.S)
    found = {}
    for name, body in re.findall(r"struct\s+(msg_\w+)\s*\{([^}]*)\}", text):
        at, fields = 0, []
        for kind, names in re.findall(r"(\w+)\s+([^;]+);", body):
            for field in names.split(","):
                m = re.search(r"\[(\d+)\]", field)
                for _ in range(int(m.group(1)) if m else 1):
                    fields.append((at, width[kind]))
                    at += width[kind]
        found[name] = fields
    return found


def _set(text):
    groups = {"P_CHILDREN": CHILDREN, "P_DAEMONS": DAEMONS}
    found = []
    for word in re.split(r"\s*\|\s*", text.strip()):
        found += groups[word] if word in groups else (re.fullmatch(r"P\((\w+)\)", word).group(1).lower(),)
    return found


FIELDS = _fields()
RULES = {row[0]: Rule(*row) for row in re.findall(
    r"\bMESSAGE\(\s*([A-Z_]+),\s*([^,]+),\s*([^,]+),\s*(msg_\w+),\s*(\w+),\s*(FD_\w+),", privsep._MESSAGES)}
assert set(RULES) == set(MSG), "a row of MESSAGE_TABLE was not understood"
BY_TYPE = {r.type: r for r in RULES.values()}


def legal(sender, receiver):
    return [r for r in RULES.values() if sender in r.senders and receiver in r.receivers]


def pairs():
    """(row, sender, receiver)"""
    return [(r.name, s, t) for r in RULES.values() for s in r.senders for t in r.receivers]
