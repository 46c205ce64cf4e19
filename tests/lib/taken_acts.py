"""What a process that was taken over does to those that are still ours (tests/system/taken.t in samples, tests/proof/taken.t
whole): every message there is and is not, to each process as each of its peers."""
import json
import os
import re
import shutil
import traceback

import taken
from bed import BUILD, ROOT, users_made
from tap import Skip, same
from taken_floods import accusations, flood, lingering, never_reads, silence, slow_files, without_credit
from taken_world import DIRECTIONS, Tally, as_peer, from_parent, one_shot, settings_reader

# ---- what is executed, what is written

class Watcher:
    """Everything that is executed, and every file that confd writes, from here on to the end of the program."""

    def __init__(self, mounts):
        self.pids = set()
        self.storage = set()
        self.watch = taken.Watch(mounts, self.pids)

    def confd(self, pid, storage):
        self.pids.add(pid)
        self.storage.add(storage)

    def judge(self):
        """What was executed is opampd's, the settings' agent, or the test's own; what confd wrote lies in its directory."""
        self.watch.end()
        ours = {*(f"opampd-{n}" for n in taken.CHILDREN), "opampd", "opampctl", "merge.real", "fakeagent"}
        build = os.path.realpath(BUILD)
        tools = {os.path.realpath(shutil.which("nm")), os.path.realpath(shutil.which("setpriv")), os.path.join(build, "tools", "hasten"),
                 *(os.path.join(build, f"opampd-{n}") for n in taken.CHILDREN)}  # by the test itself
        strange = sorted(p for p in self.watch.executed if p not in tools and not os.path.basename(p).startswith("ld-linux") and
                         not (re.match(r"/opt/opampd-bed-[^/]+/[^/]+$", p.replace(" (deleted)", "")) and os.path.basename(p.replace(" (deleted)", "")) in ours))
        same(strange, [], "programs that were executed and are on no list")
        assert self.watch.executed, "nothing was seen"
        outside = sorted(p for p in self.watch.written if not any(p.startswith(s + "/") for s in self.storage))
        same(outside, [], "files that confd wrote outside its directory")
        assert self.watch.written, "confd was not seen writing"
        return len(self.watch.executed), len(self.watch.written)


# ---- the tests: in samples, or whole

class Beside:
    """Runs function(tally) in a process of its own; result(tally) waits for it."""

    def __init__(self, function):
        self.read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            tally, why = Tally(), ""
            os.dup2(write, 1)
            try:
                function(tally)
            except BaseException:  # told by the other process
                why = traceback.format_exc()
            with os.fdopen(write, "w", encoding="utf-8") as f:
                json.dump([tally.taken, tally.refused, why], f)
                f.flush()
                os._exit(0)
        os.close(write)

    def result(self, tally):
        with os.fdopen(self.read, encoding="utf-8") as f:
            text = f.read()
        os.waitpid(self.pid, 0)
        taken_, refused, why = json.loads(text[text.rindex("\n") + 1 if "\n" in text else 0:])
        if why:
            print(text, flush=True)
            raise AssertionError(why)
        tally.taken, tally.refused = taken_, refused


def tests(share, seconds):
    """(name, function) for tap.run.  share: of the messages; seconds: how long a flood lasts."""
    if not ROOT:
        def skip():
            raise Skip("only root may look into processes that are not dumpable, and hasten them")
        return [("a process that was taken over (I6)", skip)]
    users_made()
    mounts = taken.own_mounts()
    # netd is slow to come back, so this is the longest by far: beside the others where all is shown
    beside = Beside(lambda tally: as_peer("confd", "netd", share, tally)) if share >= 1 else None
    watcher = Watcher(mounts)
    total = Tally()

    def told(function, *arguments):
        def test():
            tally = Tally()
            function(*arguments, tally)
            total.add(tally)
            print(f"# {tally}", flush=True)
        return test

    def listed(function, *arguments):
        def test():
            lines = []
            function(*arguments, lines)
            for line in lines:
                print(f"# {line}", flush=True)
        return test

    def seen():
        programs, files = watcher.judge()
        print(f"# {programs} programs were executed, confd wrote {files} files; all messages: {total}", flush=True)

    def peer(sender, receiver, user, tally):
        as_peer(sender, receiver, share, tally, watcher, user)
    made = [(f"{s} taken over, to {r} (I6)", told(peer, s, r, "root")) for s, r in DIRECTIONS if (s, r) != ("confd", "netd")]
    made += [(f"an ordinary user's {s} taken over, to {r} (I6)", told(lambda s, r, t: as_peer(s, r, share / 4, t, watcher, "user"), s, r))
             for s, r in (("netd", "parent"), ("netd", "confd"), ("procd", "parent"), ("link", "confd"))]
    made += [(f"{n}, of one shot, taken over, to the parent (I6)", told(one_shot, n, share)) for n in ("connect", "merge")]
    made += [("the reader of the settings taken over (I4)", told(settings_reader))]
    made += [(f"{n} of a parent that breaks the rules (I6)", told(from_parent, n, share / 4)) for n in taken.CHILDREN]
    made += [(f"a flood from {s} to {r} (I11)", listed(flood, s, r, seconds)) for s, r in DIRECTIONS]
    made += [("nobody accuses for ever (I14)", listed(accusations)), ("never read (I11)", never_reads), ("an offer without credit (I6)", without_credit),
             ("files that are never closed (I14)", slow_files), ("connections that linger (I14)", lingering)]
    if share >= 1:
        made += [("never ready (I14)", silence)]
    made += [("confd taken over, to netd (I6)", told(beside.result if beside else lambda t: as_peer("confd", "netd", share / 3, t)))]
    made += [("nothing else was executed, nothing written elsewhere (I4, I2)", seen)]
    return made
