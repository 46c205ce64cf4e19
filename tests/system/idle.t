#!/usr/bin/python3
"""What opampd costs while nothing happens: no process wakes, none has a second thread."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from bed import Bed, for_all, merged, users_made
from opampserver import APPLIED
from tap import same, until

SECONDS = 10
# the settings that name a timer which wakes an idle daemon, all far away
QUIET = {
    "server": {"heartbeat_interval": "1h", "ping_interval": "1h", "response_timeout": "1h", "reconnect": {"stable_after": "1s"}},
    "agent": {"restart": {"reset_after": "1s"}},
}


def switches(pid):
    s = proc.status(pid)
    return int(s["voluntary_ctxt_switches"]) + int(s["nonvoluntary_ctxt_switches"])


def processes(daemon):
    return {"opampd": daemon.pid, **daemon.all_children()}


def settled(bed, over=None):
    server = bed.server()
    daemon = bed.daemon(server, merged(QUIET, over or {}))
    server.wait_healthy()
    config_hash = server.offer({"main.yaml": "fake:\n  fake_name: idle\n"})
    server.wait_status(APPLIED, config_hash)
    server.wait_effective("fake_name: idle")
    daemon.agent()
    until(lambda: not {"connect", "merge"} & set(daemon.children()), 10, "the one-shots to be gone")
    return server, daemon


def quiet_for(pids, seconds, limit=60):
    """Seconds until no process has woken for so long; a moment's work is not what is measured."""
    end = time.monotonic() + limit
    last, since = None, time.monotonic()
    while time.monotonic() - since < seconds:
        now = {name: switches(pid) for name, pid in pids.items()}
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def idle(user):
    with Bed(user) as bed:
        server, daemon = settled(bed)
        pids = processes(daemon)
        assert quiet_for(pids, 3), "the processes never come to rest"
        before = {name: switches(pid) for name, pid in pids.items()}
        since = server.mark()
        time.sleep(SECONDS)  # what is measured, not a wait for something
        woken = {name: switches(pid) - before[name] for name, pid in pids.items()}
        same({name: n for name, n in woken.items() if n > 0}, {}, f"wakings in {SECONDS} s of an idle daemon")
        same(len(server.messages) - since, 0, "messages to the server")
        same({name: proc.status(pid)["Threads"] for name, pid in pids.items()}, dict.fromkeys(pids, "1"), "threads")
        # what would fire later, as the kernel sees it: the time each waits at most (root may look)
        waits = {name: wait_ms(pid) for name, pid in pids.items()}
        print(f"# longest waits, in ms: {waits}")
        # link: an agent that is silent for 75 s is gone; one that lives speaks each 30 s, so this never fires
        if waits["link"] is not None:
            assert 60000 < waits.pop("link") <= 75000, waits
        same({name: ms for name, ms in waits.items() if ms is not None and 0 <= ms < 1800 * 1000}, {}, "timers that no setting names")
        tell(pids)


def wait_ms(pid):
    """The time limit of the epoll_wait that the process is in, -1 for none; None: not to be seen."""
    words = proc.read(pid, "syscall").split()
    if len(words) < 5 or int(words[0]) == 441:  # epoll_pwait2 has a pointer there
        return None
    limit = int(words[4], 16) & 0xffffffff
    return limit - (1 << 32) if limit >> 31 else limit


def named_timers(user):
    """Each timer that wakes it then stands in the settings."""
    with Bed(user) as bed:
        server, daemon = settled(bed, {"server": {"heartbeat_interval": "1s"}})
        pids = processes(daemon)
        time.sleep(1.5)
        before = {name: switches(pid) for name, pid in pids.items()}
        since = server.mark()
        time.sleep(5)
        woken = {name: switches(pid) - before[name] for name, pid in pids.items()}
        beats = len(server.messages) - since
        assert 4 <= beats <= 6, f"{beats} heartbeats in 5 s"
        netd = woken.pop("netd")
        same({name: n for name, n in woken.items() if n > 0}, {}, "wakings of processes that have no part in a heartbeat")
        # it sends, it reads the answer
        assert netd <= 4 * beats, f"netd woke {netd} times for {beats} heartbeats"


def other_states(user):
    """A generic agent, an agent that is stopped, a server that is away: still nothing but the timers of the settings."""
    with Bed(user, agent="/usr/bin/sleep") as bed:
        server = bed.server()
        daemon = bed.daemon(server, merged(QUIET, {"agent": {"type": "generic", "args": ["1d"]},
                                                   "server": {"reconnect": {"initial_delay": "1h", "max_delay": "2h"}}}))
        server.wait_healthy()
        pids = processes(daemon)
        rests(pids, "a generic agent")
        server.wait_status(APPLIED, server.offer({}))
        daemon.no_agent()
        rests(pids, "an agent that is stopped")
        server.stop()
        until(lambda: json.loads(bed.ctl("status", "-j")[1])["server"]["state"] == "not connected", 10, "the server to be away")
        rests(pids, "a server that is away")


def rests(pids, what):
    assert quiet_for(pids, 2), f"{what}: the processes never come to rest"
    waits = {name: wait_ms(pid) for name, pid in pids.items()}
    # netd: an hour of the settings with its jitter
    same({name: ms for name, ms in waits.items() if ms is not None and 0 <= ms and name != "netd"}, {}, f"{what}: timers that no setting names")


def memory(pid):
    """(resident, shared out by share, private) in KiB."""
    text = proc.read(pid, "smaps_rollup").decode()
    values = {}
    for line in text.splitlines()[1:]:
        key, _, value = line.partition(":")
        values[key] = int(value.split()[0])
    return values.get("Rss", 0), values.get("Pss", 0), values.get("Private_Clean", 0) + values.get("Private_Dirty", 0)


def tell(pids):
    total = [0, 0, 0]
    for name, pid in pids.items():
        sizes = memory(pid)
        total = [a + b for a, b in zip(total, sizes)]
        print(f"# {name}: {sizes[0]} KiB resident, {sizes[1]} proportional, {sizes[2]} private")
        for fd, what in sorted(proc.descriptors(pid).items()):
            print(f"#   {fd}: {what}")
    print(f"# all: {total[0]} KiB resident, {total[1]} proportional, {total[2]} private", flush=True)


TESTS = [
    ("an idle daemon: no process wakes, one thread each", idle),
    ("an idle daemon in other states: no timers but those of the settings", other_states),
    ("an idle daemon: a heartbeat wakes netd alone", named_timers),
]

users_made()
tap.run(for_all(TESTS))
