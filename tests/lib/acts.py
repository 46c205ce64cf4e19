"""Acts that a process of opampd, or the agent, must not be able to do, for inject (tests/tools/inject.c), and what the
declared policy (tests/tools/policy.c) says of them.  The acts themselves: acts_files.py and acts_system.py."""
import errno
import re
import socket
import struct

ALL64 = (1 << 64) - 1
KILLED = "killed"
PASSES = "passes the filter"
NOT_DONE = "-"  # no such thing for this process, or it would be doing it
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
O_CLOEXEC, O_DIRECTORY, WRITE_NEW, RDWR = 0o2000000, 0o200000, 0o101, 2
EXEC, READ_EXEC = 4, 5
SIGCHLD, NEWUSER, NEWNS = 17, 0x10000000, 0x20000
FAST_OPEN = 0x20000000
MAY = "may"
LISTED = ("netd", "link", "confd", "procd", "connect", "merge", "reader", "init", "hub-front", "hub-store")  # those with an allow-list
PARENTS = ("parent", "hub")  # with the deny-list that all inherit
AGENTS = ("agent", "strict")
ROLES = PARENTS + LISTED + AGENTS

# by what a refusal is known
DENIED = (errno.EACCES, errno.EPERM)
NOWHERE = (errno.EACCES, errno.ENOENT)  # Landlock, or the empty root
NO_WRITE = NOWHERE + (errno.EROFS, errno.EPERM)
NOBODY_THERE = DENIED + (errno.ESRCH,)  # a PID namespace hides them
NO_ID = DENIED + (errno.EINVAL,)        # ids that a user namespace does not have


def data(bytes_):
    return "b:" + bytes_.hex()


def inet(address, port):
    return data(struct.pack("<H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(address) + bytes(8))


def unix(path):
    return data(struct.pack("<H", socket.AF_UNIX) + path.encode().ljust(108, b"\0"))


def abstract(name):
    return data(struct.pack("<H", socket.AF_UNIX) + b"\0" + name.encode())


ADDRESS = inet("127.0.0.2", 9)
IOV = data(struct.pack("<QQ", 1 << 20, 8))
HOW_READ, HOW_NEW = data(struct.pack("<QQQ", 0, 0, 0)), data(struct.pack("<QQQ", WRITE_NEW, 0o644, 0))
BUFFER = data(bytes(256))


class Act:
    """steps: system calls, each a tuple of a name (or number) and arguments, which may be functions of the world (see
    prison.py); the last is the act, those before it prepare it, and where one of them is refused so is the act.
    What becomes of it: where the declared filter of the process lets the steps pass,
      beyond   errnos with which something behind the filter refuses the last;
      may      {process: why}: there it must succeed;
      agent, strict, parent   the same for those: errnos or MAY.  strict is as agent, when it does not say.
               The parent does not do what nothing is said of for it.
    behind: errnos with which it must be refused while the filters sleep; bare: {process: why it is not}.
    none: processes that do not do it; alone: {..} only those do.
    same_user: an ordinary user's processes may do it to each other, were the filter not there.
    shared: it would change what the copy has in common with the process, were the filter not there."""

    def __init__(self, name, *steps, beyond=(), may=None, agent=(), strict=None, parent=None, behind=None, bare=None,
                 none=(), alone=None, user=None, shared=False, same_user=False):
        self.noun = ""
        self.name = name
        self.steps = steps
        self.beyond = beyond
        self.may = may or {}
        self.agent = agent
        self.strict = agent if strict is None else strict
        self.parent = parent
        self.behind = behind
        self.bare = bare or {}
        self.none = none
        self.alone = alone
        self.shared = shared
        self.same_user = same_user
        self.user = user or {}  # {process: the same as agent} where an ordinary user's daemon differs

    def lines(self, world):
        """The steps with their arguments, or None where it cannot be done."""
        made = []
        for step in self.steps:
            line = [str(a(world) if callable(a) else a) for a in step]
            if "None" in line:
                return None
            made.append(line)
        return made

    def spec(self, role, user):
        """errnos or MAY, or None: nothing is said."""
        if user == "user" and role in self.user:
            return self.user[role]
        if role in self.may:
            return MAY
        return {"parent": self.parent, "hub": self.parent, "agent": self.agent, "strict": self.strict}.get(role, self.beyond)


def own(world):
    return world.own


def number(text):
    """An argument as the filter sees it; None: an address, or what a step before gave."""
    return int(text, 0) & ALL64 if re.fullmatch(r"-?\d+|0x[0-9a-f]+", text) else None


def row_holds(row, arguments):
    for test, index, value, mask in row[3:]:
        given = number(arguments[index]) if index < len(arguments) else 0
        if given is None:
            given = 8 if re.fullmatch(r"r\d?:", arguments[index]) else 0x7ffc00001000
        if test == "eq" and given != value or test == "mask0" and given & value or \
                test == "mask_eq" and given & mask != value:
            return False
    return True


def by_filter(policy, call, arguments):
    """What one filter does: KILLED, an errno, or PASSES."""
    wanted = number(call)
    if call.startswith("int80:") or (wanted is not None and wanted & 0x40000000 and wanted < 1 << 32):  # another ABI
        return KILLED
    rows = [row for row in policy["syscalls"] if (row[0] == call or row[1] == wanted) and row_holds(row, arguments)]
    if any(row[2] == 0 for row in rows):
        return KILLED if policy["deny_list"] else PASSES
    if rows:
        return rows[0][2]
    return PASSES if policy["deny_list"] else KILLED


def policy_name(role):
    return {"reader": "merge", "strict": "agent", "hub": "parent"}.get(role, role)


def filters_of(role):
    """The policies in force for it: the parent's filter is inherited, and each of ours has the one of the log."""
    name = policy_name(role)
    return {"parent": ["parent"], "agent": ["parent", "agent"], "init": ["parent", "init"]}.get(name, ["parent", "log", name])


def declared(policies, role, line):
    """The declared policy's answer: the stricter one wins."""
    answers = [by_filter(policies[p], line[0], line[1:]) for p in filters_of(role)]
    if KILLED in answers:
        return KILLED
    return next((a for a in answers if a != PASSES), PASSES)


def in_words(answer):
    return answer if isinstance(answer, str) else errno.errorcode.get(answer, str(answer))


def each_noun(nouns):
    """{noun: [Act, ...]} as one list; a name stands for one act."""
    found = []
    for noun, acts in nouns.items():
        for act in acts:
            act.noun = noun
            found.append(act)
    names = [a.name for a in found]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)
    return found
