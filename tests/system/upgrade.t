#!/usr/bin/python3
"""An upgrade of opampd in place: SIGUSR2, and the process is of the new program; the agent notices nothing.

The new program is built with another version's number (build/next); all of them are put there by renames, as
packages do it."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from bed import BUILD, DAEMONS, PROGRAMS, ROOT, Bed, for_all, users_made
from opampserver import APPLIED, FAILED
from tap import same, until

CONFIG = "fake:\n  fake_name: {}\n  fake_chatter: 50\n"  # always at work: output and reports
OLD = re.search(r"^VERSION := (\S+)$", open("Makefile", encoding="utf-8").read(), re.M).group(1)
NEW = OLD + ".next"


def put(bed, folder="next", names=PROGRAMS):
    """New files for all programs, those of the folder where it has them."""
    for name in names:
        source = os.path.join(BUILD, folder, name)
        shutil.copy2(source if os.path.exists(source) else os.path.join(BUILD, name), bed.path("fresh"))
        os.rename(bed.path("fresh"), bed.path(name))


def up(bed, over=None, extra=""):
    server = bed.server()
    daemon = bed.daemon(server, over)
    server.wait_healthy()
    config_hash = server.offer({"": CONFIG.format("before") + extra})
    server.wait_status(APPLIED, config_hash)
    server.wait_effective("fake_name: before")
    daemon.all_children()
    return server, daemon, config_hash


def version(bed):
    return json.loads(bed.ctl("-j", "version")[1])["opampd"]


def identity(pid):
    return pid, proc.started(pid)


def kinds(pid):
    """Of its descriptors: what they are, without numbers of their own."""
    return sorted(re.sub(r"\d+", "N", what) for what in proc.descriptors(pid).values())


def settled(daemon):
    """One of each, in its sandbox, and nobody who was only needed for a moment."""
    daemon.all_children(20)
    own = (proc.arguments(daemon.pid) or ["?"])[0]  # so is called who was forked and not executed yet: the next procd, say

    def look():
        names = sorted((proc.arguments(p) or ["?"])[0] for p in proc.children(daemon.pid) if proc.alive(p))
        return own not in names and \
            [n for n in names if n.startswith("opampd-") and not n.startswith("opampd-init")] == sorted(f"opampd-{n}" for n in DAEMONS)
    until(look, 20, "one process of each kind, and no other")
    return daemon.all_children(20)  # only now: before, the procd that is the guard may have been taken for the next one


def upgrade(daemon, seconds=30):
    mark = daemon.mark()
    daemon.signal(signal.SIGUSR2)
    daemon.wait_log("takes the place of the one before", seconds, mark)
    return mark


def connected(server):
    until(lambda: server.connections and server.connections[-1].closed is None and server.connections[-1].count, 40, "a connection")


def at_work(bed, server, daemon, since):
    """The agent's reports reach the server, its output the log."""
    server.wait(lambda m: m.HasField("effective_config"), 30, "news of the agent", since)
    size = len(bed.agent_log())
    until(lambda: len(bed.agent_log()) > size, 20, "more of the agent's output")
    daemon.all_children(20)


def the_agent_stays(user):
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        agent, parent = daemon.agent(), identity(daemon.pid)
        was, before, open_before = identity(agent), daemon.all_children(), kinds(daemon.pid)
        before_status = proc.status(daemon.pid)
        agent_status = proc.status(agent)
        same(version(bed), OLD, "version before")
        for number, folder, there in ((1, "next", NEW), (2, ".", OLD)):  # and back again
            put(bed, folder)
            if os.geteuid() == 0:
                assert proc.executable(daemon.pid).endswith("(deleted)")
            since = server.mark()
            mark = upgrade(daemon)
            daemon.wait_log(rf"opampd {re.escape(there)} takes the place", 1, mark)
            daemon.wait_log(f"the agent runs on, with pid {agent}", 10, mark)
            after = settled(daemon)
            same(identity(daemon.pid), parent, "the parent's pid")
            same(identity(daemon.agent()), was, "the agent's pid and start")
            if os.geteuid() == 0:
                same(proc.executable(daemon.pid), bed.path("opampd"), "the parent's program")
            same(version(bed), there, "version told by opampctl")
            for name in DAEMONS:
                assert after[name] != before[name], f"{name} is the old one"
                if os.geteuid() == 0:
                    same(proc.executable(after[name]), bed.path(f"opampd-{name}"), f"{name}'s program")
            before = after
            # nothing was lost on the way, and nothing kept
            if os.geteuid() == 0:
                until(lambda: kinds(daemon.pid) == open_before, 10, "the descriptors to be those of before")
                for fd in proc.descriptors(daemon.pid):
                    flags = re.search(rb"flags:\s+(\d+)", proc.read(daemon.pid, f"fdinfo/{fd}"))
                    assert fd < 3 or int(flags.group(1), 8) & 0o2000000, f"descriptor {fd} is not close-on-exec"
                same(proc.read(daemon.pid, "environ").strip(b"\0"), b"", "environment")
            status = proc.status(daemon.pid)
            for key in ("Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "SigBlk", "SigIgn", "SigCgt", "Name"):
                same(status[key], before_status[key], f"{key} of the parent")
            same(int(status["Seccomp_filters"]), int(before_status["Seccomp_filters"]) + number, "filters of the parent")
            same(proc.status(agent)["Seccomp_filters"], agent_status["Seccomp_filters"], "filters of the agent")
            at_work(bed, server, daemon, since)
            same([s for s in server.statuses(since) if s[0] != APPLIED], [], "statuses that were not APPLIED")
            sick = [m.msg.health for m in server.messages[since:] if m.msg.HasField("health") and not m.msg.health.healthy]
            same(sick, [], "reports of an unhealthy agent")
        # and the work goes on
        connected(server)
        better = server.offer({"": CONFIG.format("after")})
        server.wait_status(APPLIED, better, 20)
        server.wait_effective("fake_name: after")
        assert daemon.agent() != agent
        same(daemon.stop(), 0, "exit status")


def the_agent_crashes_after(user):
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        agent = daemon.agent()
        put(bed)
        mark = upgrade(daemon)
        settled(daemon)
        since = server.mark()
        proc.kill(agent)
        daemon.wait_log(r"the agent was ended by signal 9", 15, mark)
        again = daemon.agent(other_than=agent)
        server.wait_healthy(since=since)
        server.wait_effective("fake_name: before")
        # and by its own hand, with all that it started
        proc.kill(again, signal.SIGTERM)
        daemon.agent(other_than=again)
        same([s for s in server.statuses(since) if s[0] != APPLIED], [], "statuses that were not APPLIED")


def the_agent_crashes_during(user):
    """At whatever moment: it is seen, and one runs again, once."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        put(bed)
        for delay in (0, 0.02, 0.04, 0.06, 0.1):
            agent, mark = daemon.agent(), daemon.mark()
            daemon.signal(signal.SIGUSR2)
            time.sleep(delay)  # no synchronisation: any moment will do
            proc.kill(agent)
            daemon.wait_log("takes the place of the one before", 40, mark)
            settled(daemon)
            daemon.agent(20, other_than=agent)
        since = server.mark()
        at_work(bed, server, daemon, since)


def refused(bed, daemon, why, same_children=True):
    """The upgrade is not made, everything goes on as it was."""
    agent, parent, before = identity(daemon.agent()), identity(daemon.pid), settled(daemon)
    mark = daemon.mark()
    daemon.signal(signal.SIGUSR2)
    daemon.wait_log(rf"the upgrade is not made: .*{why}.*: opampd {re.escape(OLD)} goes on as it was", 30, mark)
    after = settled(daemon)
    if same_children:
        same(after, before, "children")
    same(identity(daemon.agent()), agent, "the agent")
    same(identity(daemon.pid), parent, "the parent")
    same(version(bed), OLD, "version")
    assert not [line for line in daemon.log(mark) if "makes room" in line] or not same_children


def bad_programs(user):
    """The new program is looked at, and asked, before anything is given up for it."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        program, fresh = bed.path("opampd"), bed.path("fresh")

        def program_is(source, mode=0o755, text=None):
            if text is not None:
                bed.write("fresh", text)
            else:
                shutil.copy2(source, fresh)
            os.chmod(fresh, mode)
            os.rename(fresh, program)

        os.rename(program, bed.path("aside"))
        refused(bed, daemon, "No such file")
        program_is("/bin/true")
        refused(bed, daemon, "cannot take over from this one")
        program_is("/bin/false")
        refused(bed, daemon, "cannot take over from this one")
        program_is(None, text="#!/bin/sh\nexit 42\n")
        refused(bed, daemon, "cannot take over from this one")
        program_is(None, text="nothing that could be executed")
        refused(bed, daemon, "cannot take over from this one")
        good = os.path.join(BUILD, "next/opampd")
        program_is(good, 0o757)
        refused(bed, daemon, "can be written by others")
        program_is(good, 0o644)
        refused(bed, daemon, "is not executable")
        # a missing part of it, and a library that is not there
        program_is(good)
        os.rename(bed.path("opampd-link"), bed.path("aside"))
        refused(bed, daemon, "cannot take over from this one")
        os.rename(bed.path("aside"), bed.path("opampd-link"))
        text = open(good, "rb").read()
        assert text.count(b"libseccomp.so.2") == 1
        open(fresh, "wb").write(text.replace(b"libseccomp.so.2", b"libseccomp.so.0"))
        os.chmod(fresh, 0o755)
        os.rename(fresh, program)
        refused(bed, daemon, "cannot take over from this one")


def settings_that_are_not_in_force(user):
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        put(bed)
        settings = bed.path("opampd.yaml")
        good = open(settings, encoding="utf-8").read()
        bed.write("opampd.yaml", good.replace("{", "{ \"nonsense\": 1,", 1))
        refused(bed, daemon, "was changed since it was read")
        mark = daemon.mark()
        daemon.signal(signal.SIGHUP)  # a mistake: the file is not in force
        daemon.wait_log("the settings stay as they were", 20, mark)
        refused(bed, daemon, "was changed since it was read")
        bed.write("opampd.yaml", good)
        agent = identity(daemon.agent())
        mark = daemon.mark()
        daemon.signal(signal.SIGHUP)
        daemon.signal(signal.SIGUSR2)  # in the middle of the reload: when it is done
        daemon.wait_log("takes the place of the one before", 40, mark)
        settled(daemon)
        same(identity(daemon.agent()), agent, "the agent")
        same(version(bed), NEW, "version")


def another_storage(user):
    """What cannot be seen beforehand ends the new one, and the agent with it: nothing is left behind."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed, extra="  fake_children: 2\n")
        put(bed)
        agent = daemon.agent()
        os.rename(bed.storage(), bed.storage() + "-aside")
        daemon.signal(signal.SIGUSR2)
        same(daemon.wait_end(40), 1, "exit status")
        assert any("storage.directory is not the one" in line for line in daemon.log())
        until(lambda: not bed.running(), 20, "everything to end")
        assert not proc.alive(agent)
        # as the service manager does next
        os.rmdir(bed.storage())
        os.rename(bed.storage() + "-aside", bed.storage())
        daemon.start()
        server.wait_effective("fake_name: before", since=server.mark())
        same(version(bed), NEW, "version")


def stand_in(bed, name, source):
    """Something happens between the exec of that program and its first look around: tests/tools/between.c."""
    shutil.copy2(source, bed.path(f"{name}.true"))
    shutil.copy2(os.path.join(BUILD, "tools", "between"), bed.path("fresh"))
    os.rename(bed.path("fresh"), bed.path(name))


def settings_changed_between(user):
    """I9: after the last look at them. The agent is started anew, with all that it started; even where another
    storage.directory gives its groups other names."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed, extra="  fake_children: 2\n")
        agent, parent = daemon.agent(), identity(daemon.pid)
        its = [identity(p) for p in proc.everyone() if proc.status(p).get("Name") == "fakechild" and proc.executable(p) == bed.agent]
        same(len(its), 2, "children of the agent")
        put(bed, names=PROGRAMS[1:])
        stand_in(bed, "opampd", os.path.join(BUILD, "next", "opampd"))
        over = {"storage": {"directory": bed.path("var", "other")}}
        bed.write("opampd.yaml.then", json.dumps(bed.settings(server, over)) + "\n")
        since = server.mark()
        mark = upgrade(daemon)
        daemon.wait_log("was changed in the middle of the upgrade: the agent is started anew", 1, mark)
        until(lambda: not [p for p, begun in its if proc.alive(p) and proc.started(p) == begun], 20, "the old agent's children to end")
        daemon.agent(40, other_than=agent)  # they look like it once their own parent is gone
        same(identity(daemon.pid), parent, "the parent")
        same(bed.groups(), [], "groups of the old storage")
        settled(daemon)
        same(version(bed), NEW, "version")
        server.wait_status(APPLIED, config_hash, 40, since)  # in the new storage nothing was known of it
        assert os.path.isdir(bed.path("var", "other", "agent"))
        same(daemon.stop(), 0, "exit status")
        shutil.rmtree(bed.storage())
        os.rename(bed.path("var", "other"), bed.storage())  # so that the bed looks for groups of that one
        same(bed.groups(), [], "groups")


def replaced_between(user):
    """A program that is replaced when it was just executed: the next one is found where it lies."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        agent = identity(daemon.agent())
        put(bed, names=PROGRAMS[1:])
        stand_in(bed, "opampd", os.path.join(BUILD, "opampd"))
        shutil.copy2(os.path.join(BUILD, "next", "opampd"), bed.path("opampd.then"))
        upgrade(daemon)
        settled(daemon)
        if os.geteuid() == 0:
            same(proc.executable(daemon.pid), bed.path("opampd") + " (deleted)", "the parent's program")
        mark = upgrade(daemon)
        daemon.wait_log(rf"opampd {re.escape(NEW)} takes the place", 1, mark)
        settled(daemon)
        same(identity(daemon.agent()), agent, "the agent")


def signals_before_the_start(user):
    """They are heard when it has started, and do not end it meanwhile."""
    with Bed(user) as bed:
        server = bed.server()
        stand_in(bed, "opampd-merge", os.path.join(BUILD, "opampd-merge"))  # reads the settings
        bed.write("wait", "")
        daemon = bed.daemon(server)
        until(lambda: proc.children(daemon.pid), 20, "the reader of the settings")
        daemon.signal(signal.SIGHUP)
        daemon.signal(signal.SIGUSR2)
        os.unlink(bed.path("wait"))
        daemon.wait_log("reading .* again", 20)
        daemon.wait_log("takes the place of the one before", 40)
        settled(daemon)
        server.wait_healthy()
        same(daemon.stop(), 0, "exit status")


def the_parent_is_killed(user):
    """At any moment of it and after it: what it started ends with it (I9)."""
    with Bed(user) as bed:
        server = bed.server()
        for delay in (0, 0.03, 0.05, 0.07, 0.1, 0.15, None):
            daemon = bed.daemon(server)
            since = server.mark()
            agent = daemon.agent(20)
            daemon.all_children(20)
            put(bed)
            if delay is None:
                upgrade(daemon)
                settled(daemon)
                same(daemon.agent(), agent, "the agent")
            else:
                daemon.signal(signal.SIGUSR2)
                time.sleep(delay)  # no synchronisation: any moment will do
            daemon.signal(signal.SIGKILL)
            daemon.wait_end()
            until(lambda: not bed.running(), 20, "everything to end")
            put(bed, ".")
        del since


def the_parent_is_killed_while_it_asks(user):
    """A new program that hangs when it is asked does not outlive who asked it."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        put(bed)
        shutil.copy2(os.path.join(BUILD, "tools", "rogue"), bed.path("fresh"))
        os.rename(bed.path("fresh"), bed.path("opampd-merge"))  # its reader of settings, which says nothing
        daemon.signal(signal.SIGUSR2)
        asked = until(lambda: [p for p in proc.children(daemon.pid) if "-n" in (proc.arguments(p) or [])], 20, "the new program to be asked")
        os.kill(asked[0], signal.SIGSTOP)
        daemon.signal(signal.SIGKILL)
        daemon.wait_end()
        until(lambda: not bed.running(), 20, "everything to end")


def during_a_trial(user):
    """The one that is good becomes the committed one, the one that is not is taken back."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        agent = daemon.agent()
        put(bed)
        slow = server.offer({"": CONFIG.format("slow") + "  fake_ready_after: 700\n"})
        trial = daemon.agent(other_than=agent)
        upgrade(daemon)
        settled(daemon)
        same(daemon.agent(), trial, "the agent on trial")
        server.wait_status(APPLIED, slow, 25)
        server.wait_effective("fake_name: slow")
        # one that never becomes well
        connected(server)
        bad = server.offer({"": CONFIG.format("bad") + "  fake_never_healthy: 1\n"})
        trial = daemon.agent(other_than=trial)
        upgrade(daemon)
        server.wait_status(FAILED, bad, 40)
        daemon.agent(20, other_than=trial)
        server.wait_last_effective("fake_name: slow")
        # and in the middle of all else: whatever is under way is done, or done anew
        for number in range(3):
            name = f"quick{number}"
            connected(server)
            quick = server.offer({"": CONFIG.format(name)})
            upgrade(daemon)
            server.wait_status(APPLIED, quick, 40)
            server.wait_last_effective(f"fake_name: {name}")
        settled(daemon)


def signals_that_come_between(user):
    """None is lost, and none ends what it should not."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        agent = identity(daemon.agent())
        put(bed)
        mark = daemon.mark()
        daemon.signal(signal.SIGUSR2)
        for _ in range(40):
            daemon.signal(signal.SIGHUP)
            daemon.signal(signal.SIGUSR2)
            daemon.signal(signal.SIGCHLD)
            time.sleep(0.002)
        daemon.wait_log("takes the place of the one before", 40, mark)
        daemon.wait_log("the new settings are in force", 20, mark)
        settled(daemon)
        same(identity(daemon.agent()), agent, "the agent")
        assert not [line for line in daemon.log(mark) if "made: more than" in line]
        # the end: in order, by whichever of the two
        server.wait(lambda m: m.HasField("effective_config"), 30, "news of the agent", server.mark())
        since = server.mark()
        daemon.signal(signal.SIGUSR2)
        time.sleep(0.04)
        daemon.signal(signal.SIGTERM)
        same(daemon.wait_end(60), 0, "exit status")
        assert bed.agent_log().rstrip().endswith("fakeagent ends"), "the agent was not stopped in order"
        server.wait(lambda m: m.HasField("agent_disconnect"), 20, "goodbye", since)


def nobody_else(user):
    """I15: neither the users of opampd's processes nor the agent's can send the signal.  That the processes cannot even
    try shows tests/sandbox/prison.t."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        put(bed)
        mark = daemon.mark()
        for pid in [*daemon.all_children().values(), daemon.agent()]:
            uid = int(proc.status(pid)["Uid"].split()[0])
            assert uid != 0
            r = subprocess.run(["/bin/sh", "-c", f"kill -USR2 {daemon.pid}"], user=uid, group=uid, extra_groups=[], cwd="/",
                               capture_output=True, text=True, check=False)
            assert r.returncode != 0 and "not permitted" in r.stderr, (uid, r)
        daemon.all_children()
        same([line for line in daemon.log(mark) if "upgrade" in line], [], "upgrades")
        same(version(bed), OLD, "version")


def the_agents_capability(user):
    """agent.capabilities are among what the parent keeps; an ordinary user's it would lose, and says so."""
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server, {"agent": {"capabilities": ["CAP_NET_BIND_SERVICE"]}})
        server.wait_healthy()
        agent = daemon.agent()
        put(bed)
        if user != "root":
            refused(bed, daemon, "do not outlive it")
            return
        had = {key: proc.status(daemon.pid)[key] for key in ("CapEff", "CapBnd")}
        same(int(proc.status(agent)["CapEff"], 16), 1 << 10, "the agent's capabilities")
        upgrade(daemon)
        settled(daemon)
        same({key: proc.status(daemon.pid)[key] for key in had}, had, "the parent's")
        proc.kill(agent)
        again = daemon.agent(20, other_than=agent)
        until(lambda: int(proc.status(again)["CapEff"], 16) == 1 << 10, 20, "the agent to have its capability again")


def told_agent(bed):
    """Its pid, by opampctl: a confd that has just begun may not know it yet."""
    return until(lambda: json.loads(bed.ctl("-j", "status")[1])["agent"].get("pid"), 20, "the agent's pid to be told")


def in_the_background(user):
    """Without -d, and with settings named from a directory that opampd has left since."""
    with Bed(user) as bed:
        server = bed.server()
        bed.write("opampd.yaml", json.dumps(bed.settings(server)) + "\n")
        with open(bed.path("log"), "w", encoding="utf-8") as log:
            r = subprocess.run(bed.as_user([bed.path("opampd"), "-f", "opampd.yaml"]), cwd=bed.dir, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=log, env={"PATH": os.environ["PATH"]}, timeout=60 * tap.SLOW, check=False)
        same(r.returncode, 0, "exit status of the start")
        server.wait_healthy()
        parent = json.loads(bed.ctl("-j", "sandbox")[1])["parent"]["pid"]
        try:
            was, session, agent = identity(parent), os.getsid(parent), identity(told_agent(bed))
            put(bed)
            os.kill(parent, signal.SIGUSR2)
            # whoever is asked in the middle of it may be gone before the answer
            until(lambda: json.loads(bed.ctl("-j", "version", check=False)[1] or "{}").get("opampd") == NEW, 40, "the new program")
            same(identity(parent), was, "the parent")
            same(os.getsid(parent), session, "its session")
            same(identity(told_agent(bed)), agent, "the agent")
        finally:
            os.kill(parent, signal.SIGTERM)
            until(lambda: not bed.running(), 30, "everything to end")


class Systemd:
    """Stands in for systemd: hears the daemon, and answers the script of the packages by a command of that name."""

    def __init__(self, bed, daemon):
        self.bed, self.daemon = bed, daemon
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(bed.path("notify"))
        os.chmod(bed.path("notify"), 0o666)
        os.mkdir(bed.path("bin"))
        bed.write("bin/systemctl", f"""#!/bin/sh
case "$1 $2" in
"show --property="*) cat "{bed.path('said')}.${{2#--property=}}" 2>/dev/null || : ;;
*daemon-reload) : ;;
list-units*) echo 'opampd@other.service loaded inactive dead' ;;
*) echo "$*" >>"{bed.path('said')}" ;;
esac
""", 0o755)
        with open("dist/opampd-upgrade", encoding="utf-8") as f:
            bed.write("script", f.read().replace("=/usr/sbin/", f"={bed.dir}/").replace("/run/systemd/system", bed.dir).replace("/usr/sbin/policy-rc.d", bed.path("bin/policy")), 0o755)
        threading.Thread(target=self.hear, daemon=True).start()

    def note(self, name, text):
        """For one unit alone; whole at once, for whoever reads it meanwhile."""
        self.bed.write("word", text + "\n")
        os.rename(self.bed.path("word"), self.bed.path(f"said.{name}"))

    def hear(self):
        while True:
            for line in self.socket.recv(4096).decode().splitlines():
                key, _, value = line.partition("=")
                if key in ("READY", "RELOADING"):
                    self.note("ActiveState", "active" if key == "READY" else "reloading")
                elif key == "STATUS":
                    self.note("StatusText", value)

    def run(self):
        self.note("MainPID", str(self.daemon.pid))
        env = {"PATH": self.bed.path("bin") + ":" + os.environ["PATH"]}
        r = subprocess.run(["/bin/sh", self.bed.path("script"), "opampd.service"], env=env, capture_output=True, text=True,
                           timeout=250 * tap.SLOW, check=False)
        same(r.returncode, 0, "exit status of the script")
        return r.stdout + r.stderr

    def asked(self):
        """What it had to do beyond looking."""
        try:
            with open(self.bed.path("said"), encoding="utf-8") as f:
                return f.read()
        except FileNotFoundError:
            return ""


def the_package(user):
    """dist/opampd-upgrade: in place where that can be, otherwise a stop and a start, and which of the two is said."""
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server, start=False, env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": bed.path("notify")})
        systemd = Systemd(bed, daemon)
        daemon.start()
        server.wait_healthy()
        agent = identity(daemon.agent())
        until(lambda: os.path.exists(bed.path("said.ActiveState")), 20, "ready")
        same(systemd.run(), "", "what is said where nothing was replaced")
        put(bed)
        same(systemd.run(), "opampd-upgrade: opampd.service: upgraded in place, the agent runs on\n", "what is said")
        same(version(bed), NEW, "version")
        same(identity(daemon.agent()), agent, "the agent")
        same(systemd.asked(), "", "what systemd had to do")
        # where the administrator has forbidden that packages start anything
        put(bed, ".")
        bed.write("bin/policy", "#!/bin/sh\nexit 101\n", 0o755)
        same(systemd.run(), "opampd-upgrade: policy-rc.d forbids it: what runs goes on with the program that it has\n",
             "what is said where nothing may be started")
        same(version(bed), NEW, "version")
        os.unlink(bed.path("bin/policy"))
        # one that is not fit
        shutil.copy2("/bin/false", bed.path("fresh"))
        os.rename(bed.path("fresh"), bed.path("opampd"))
        assert "stopping and starting it, and the agent with it" in systemd.run()
        same(systemd.asked(), "try-restart opampd.service\n", "what systemd had to do")
        same(identity(daemon.agent()), agent, "the agent")
        # one that does not know the signal is not sent it
        sleeper = subprocess.Popen(["sleep", "1000"])
        try:
            systemd.daemon = sleeper
            assert "stopping and starting it, and the agent with it" in systemd.run()
            same(systemd.asked(), "try-restart opampd.service\n" * 2, "what systemd had to do")
            same(sleeper.poll(), None, "its end")
        finally:
            sleeper.kill()
            sleeper.wait()


def hung_children(user):
    """A process of ours that does not take leave does not hold it up for long, and cannot stop it."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        agent = identity(daemon.agent())
        put(bed)
        before = daemon.all_children()
        for pid in before.values():
            os.kill(pid, signal.SIGSTOP)
        upgrade(daemon, 40)
        after = settled(daemon)
        assert not set(before.values()) & set(after.values()), "an old one lives"
        same(identity(daemon.agent()), agent, "the agent")
        since = server.mark()
        at_work(bed, server, daemon, since)


def the_guard_ends(user):
    """I9: nobody would end the agent, should the next opampd fail: it is not made."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        agent = identity(daemon.agent())
        put(bed)
        before = daemon.all_children()
        os.kill(before["netd"], signal.SIGSTOP)  # its leave takes as long as it may
        daemon.signal(signal.SIGUSR2)
        until(lambda: "confd" not in daemon.children(), 20, "the end of confd")
        os.kill(before["procd"], signal.SIGKILL)
        daemon.wait_log("procd, which would guard the agent, has ended", 15)
        settled(daemon)
        same(version(bed), OLD, "version")
        same(identity(daemon.agent()), agent, "the agent")
        upgrade(daemon)
        settled(daemon)
        same(version(bed), NEW, "version")


def nothing_runs(user):
    """Without an agent to hand on, too: one that was given up is tried again, as at a start."""
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server, {"agent": {"restart": {"initial_delay": "10s"}}})
        server.wait_healthy()
        agent = daemon.agent()
        proc.kill(agent)
        daemon.wait_log("it is started again in", 15)
        put(bed)
        upgrade(daemon)
        daemon.agent(other_than=agent)
        settled(daemon)
        same(version(bed), NEW, "version")


def one_upon_the_other(user):
    """The next is asked for when one has just begun its work, with the guard of the one before still there."""
    with Bed(user) as bed:
        server, daemon, config_hash = up(bed)
        agent = identity(daemon.agent())
        for _ in range(8):
            upgrade(daemon, 40)
        settled(daemon)
        same(identity(daemon.agent()), agent, "the agent")
        since = server.mark()
        at_work(bed, server, daemon, since)


TESTS = [
    ("the agent stays, everything else is new, twice", the_agent_stays),
    ("the agent crashes after it: seen, and started again", the_agent_crashes_after),
    ("the agent crashes in the middle of it", the_agent_crashes_during),
    ("new programs that are not fit: the old one goes on", bad_programs),
    ("settings that are not in force: first a reload", settings_that_are_not_in_force),
    ("I9 the new one cannot go on: everything ends", another_storage),
    ("signals while opampd is starting", signals_before_the_start),
    ("I9 kill -9 of the parent in the middle of it, and after it", the_parent_is_killed),
    ("I9 kill -9 of the parent while it asks the new program", the_parent_is_killed_while_it_asks),
    ("I8 in the middle of a trial, and of an apply", during_a_trial),
    ("signals in the middle of it", signals_that_come_between),
    ("one upon the other", one_upon_the_other),
    ("processes that do not answer", hung_children),
    ("I9 the guard ends", the_guard_ends),
    ("no agent runs", nothing_runs),
    ("in the background", in_the_background),
    ("agent.capabilities", the_agents_capability),
]

# what stands in for opampd changes files beside it, as whoever starts opampd
BETWEEN = for_all([
    ("I9 settings that are changed between the last look and the exec", settings_changed_between),
    ("a program that is replaced as it is executed", replaced_between),
], ["root"] if ROOT else ["user"])

# the script is run by root, and looks at what only root may see; an ordinary user's processes share that user: there
# the filters stand between, tests/sandbox/prison.t
AS_ROOT = for_all([("the packages' script", the_package)], None if ROOT else []) + \
    for_all([("I15 nobody else can begin it", nobody_else)], ["root"] if ROOT else [])

users_made()
tap.run(for_all(TESTS) + BETWEEN + AS_ROOT)
