"""Every disk that a power loss could leave, made from what a real process did (tests/tools/faults.c, record).

The model is POSIX at its weakest.  What is done to a file (bytes, mode, group) is durable once that file was
synced after it; a name in a directory (made, moved, linked, removed) once that directory was synced after it.
Of all that is not durable at the moment of the power loss any part may be there and any part not, in any
combination: later ones without earlier ones too; a write may also be there up to its middle only.  A rename
within one directory is one change: the old name and the new one at once, or neither.
"""
import hashlib
import itertools
import os
import random

MOST_ALL = 11  # so many changes in the air are combined in every way; of more, any three lost or any three kept,
SOME = 1500  # and so many combinations by chance


class Node:
    """A file, a directory or a link."""

    def __init__(self, kind):
        self.kind = kind
        self.data, self.mode, self.gid, self.names = b"", 0o600, None, {}

    def copy(self):
        made = Node(self.kind)
        made.data, made.mode, made.gid, made.names = self.data, self.mode, self.gid, dict(self.names)
        return made


class Change:
    """One change of one node (number `of`): bytes at a place, attributes, or names in a directory."""

    def __init__(self, of, what, **rest):
        self.of, self.what = of, what
        self.__dict__.update(rest)

    def apply(self, node, torn=False):
        if self.what == "write":
            data = self.data[:len(self.data) // 2] if torn else self.data
            old = node.data.ljust(self.at, b"\0")
            node.data = old[:self.at] + data + old[self.at + len(data):]
        elif self.what == "truncate":
            node.data = node.data[:self.length].ljust(self.length, b"\0")
        elif self.what == "attr":
            node.mode, node.gid = self.mode, self.gid
        else:
            for name in self.gone:
                node.names.pop(name, None)
            node.names.update(self.come)


class Disk:
    def __init__(self, top):
        """As it is now, all of it durable."""
        self.nodes, self.inodes = {}, {}
        self.root = self.take(top)
        self.changes = []  # Change, or ("sync", number)
        self.lines = [0]  # how many changes after so many lines of the log

    def new(self, kind, inode):
        number = len(self.nodes)
        self.nodes[number] = Node(kind)
        self.inodes[inode] = number
        return number

    def take(self, path):
        st = os.lstat(path)
        if st.st_ino in self.inodes and not os.path.isdir(path):
            return self.inodes[st.st_ino]
        kind = "link" if os.path.islink(path) else "dir" if os.path.isdir(path) else "file"
        number = self.new(kind, st.st_ino)
        node = self.nodes[number]
        node.mode, node.gid = st.st_mode & 0o7777, st.st_gid
        if kind == "link":
            node.data = os.readlink(path).encode()
        elif kind == "file":
            with open(path, "rb") as f:
                node.data = f.read()
        else:
            for name in os.listdir(path):
                node.names[name] = self.take(os.path.join(path, name))
        return number

    def read(self, log):
        """The lines of the log as changes."""
        for line in open(log, encoding="ascii"):
            self.understand(line)
            self.lines.append(len(self.changes))

    def understand(self, line):
        word = line.split()
        known = lambda i: self.inodes.get(int(word[i]))  # noqa: E731
        if word[0] in ("create", "mkdir", "symlink"):
            where = known(2)
            if where is None:
                return  # not below the state directory
            number = self.new({"create": "file", "mkdir": "dir", "symlink": "link"}[word[0]], int(word[1]))
            self.nodes[number].mode = 0o700 if word[0] == "mkdir" else 0o600
            if word[0] == "symlink":
                self.nodes[number].data = word[4].encode()
            self.changes.append(Change(where, "names", gone=[], come={word[3]: number}))
        elif word[0] == "link":
            self.changes.append(Change(known(2), "names", gone=[], come={word[3]: known(1)}))
        elif word[0] == "rename":
            assert word[1] == word[3], "a rename from one directory to another"
            self.changes.append(Change(known(1), "names", gone=[word[2]], come={word[4]: self.find(known(1), word[2])}))
        elif word[0] == "unlink":
            self.changes.append(Change(known(1), "names", gone=[word[2]], come={}))
        elif known(1) is None:
            return
        elif word[0] == "truncate":
            self.changes.append(Change(known(1), "truncate", length=int(word[2])))
        elif word[0] == "write":
            self.changes.append(Change(known(1), "write", at=int(word[2]), data=bytes.fromhex(word[3])))
        elif word[0] == "attr":
            self.changes.append(Change(known(1), "attr", mode=int(word[2], 8), gid=int(word[3])))
        elif word[0] == "sync":
            self.changes.append(("sync", known(1)))
        else:
            raise AssertionError(f"a line that is not understood: {line}")

    def find(self, directory, name):
        """What a name means after all changes so far."""
        names = dict(self.nodes[directory].names)
        for change in self.changes:
            if not isinstance(change, tuple) and change.of == directory and change.what == "names":
                for gone in change.gone:
                    names.pop(gone, None)
                names.update(change.come)
        return names[name]

    # ---- the states

    def cut(self, moment):
        """(durable, in the air): the changes before this moment."""
        done = [c for c in self.changes[:moment] if not isinstance(c, tuple)]
        synced = {}
        for place, change in enumerate(self.changes[:moment]):
            if isinstance(change, tuple):
                synced[change[1]] = place
        place_of = {id(c): i for i, c in enumerate(self.changes[:moment])}
        durable = [c for c in done if place_of[id(c)] < synced.get(c.of, -1)]
        return durable, [c for c in done if place_of[id(c)] >= synced.get(c.of, -1)], done

    def tree(self, done, kept, torn=None):
        """The nodes after those of `done` that are kept."""
        nodes = {}
        for change in done:
            if id(change) in kept:
                if change.of not in nodes:
                    nodes[change.of] = self.nodes[change.of].copy()
                change.apply(nodes[change.of], change is torn)
        return nodes

    most_all, few, some = MOST_ALL, 3, SOME
    # between two syncs only all that was done (what else can be missing then can be missing later), and one torn write
    sparse = False

    def states(self, moment, chance):
        durable, air, done = self.cut(moment)
        always = {id(c) for c in durable}
        if self.sparse and moment < len(self.changes) and not isinstance(self.changes[moment], tuple):
            picks = [air]
            air = air[-1:]
        elif len(air) <= self.most_all:
            picks = [[c for i, c in enumerate(air) if bits >> i & 1] for bits in range(1 << len(air))]
        else:
            few = [list(some) for n in range(self.few + 1) for some in itertools.combinations(air, n)]
            picks = few + [[c for c in air if c not in some] for some in few] + \
                [[c for c in air if chance.random() < 0.5] for _ in range(self.some)]
        for pick in picks:
            kept = always | {id(c) for c in pick}
            yield self.tree(done, kept)
            for change in [chance.choice(pick)] if self.sparse and pick else pick:
                if change.what == "write" and len(change.data) > 1:
                    yield self.tree(done, kept, change)

    def key(self, nodes, number=None, seen=None):
        """What of it can be seen from the top: two trees with the same key are the same."""
        number = self.root if number is None else number
        seen = {} if seen is None else seen
        node = nodes.get(number, self.nodes[number])
        if node.kind != "dir":
            first = seen.setdefault(number, len(seen))  # hard links stay what they are
            return (node.kind, hashlib.sha1(node.data).digest(), node.mode, node.gid, first)
        return (node.mode, tuple((name, self.key(nodes, node.names[name], seen)) for name in sorted(node.names)))

    def make(self, nodes, path, owner=None, number=None, made=None):
        """Puts the tree there, everything belonging to owner (uid, gid), or to us; groups that were set stay."""
        number = self.root if number is None else number
        made = {} if made is None else made
        node = nodes.get(number, self.nodes[number])
        if number in made:
            os.link(made[number], path, follow_symlinks=False)
            return
        if node.kind == "link":
            os.symlink(node.data.decode(), path)
        elif node.kind == "file":
            with open(path, "wb") as f:
                f.write(node.data)
        else:
            os.mkdir(path)
            for name in node.names:
                self.make(nodes, os.path.join(path, name), owner, node.names[name], made)
        if owner is not None:
            os.chown(path, owner[0], owner[1] if node.gid is None else node.gid, follow_symlinks=False)
        if node.kind != "link":
            os.chmod(path, node.mode)  # last: a change of the owner may take bits away
        made[number] = path

    def all_states(self, seed=1):
        """(moment, nodes) of each state that differs from all before."""
        chance, seen = random.Random(seed), set()
        for moment in range(len(self.changes) + 1):
            for nodes in self.states(moment, chance):
                key = self.key(nodes)
                if (moment_key := (key, self.certain(moment))) not in seen:
                    seen.add(moment_key)
                    yield moment, nodes

    def certain(self, moment):
        """How many syncs there were: what is durable grows with them."""
        return sum(isinstance(c, tuple) for c in self.changes[:moment])
