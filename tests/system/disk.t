#!/usr/bin/python3
"""A full disk and a read-only one: nothing is lost, and the server is told why."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import isolated
import tap
from bed import NOBODY, Bed, for_all, users_made
from opampserver import APPLIED, APPLYING, FAILED
from tap import same

CONFIG = "fake:\n  fake_name: {}\n"
MS_REMOUNT, MS_RDONLY = 32, 1


class DiskBed(Bed):
    """Its storage is on a file system of its own."""

    def __enter__(self):
        self.disk = self.path("disk")
        os.mkdir(self.disk)
        isolated.check(isolated.LIBC.mount(b"opampd-test", self.disk.encode(), b"tmpfs", 0, b"size=2m,mode=0755"), "mounting")
        if self.user == "user":
            os.chown(self.disk, NOBODY, NOBODY)
        # not beside the state: an ordinary user's agent has a Landlock rule for each of its neighbours, and
        # the kernel keeps what has a rule, deleted or not
        self.filler = os.path.join(self.disk, "filler")
        os.mkdir(self.filler)
        return super().__enter__()

    def __exit__(self, *error):
        try:
            return super().__exit__(*error)
        finally:
            isolated.LIBC.umount2(self.disk.encode(), 2)
            os.rmdir(self.disk)
            os.rmdir(self.dir)

    def storage(self, *names):
        return os.path.join(self.disk, "state", *names)

    def fill(self):
        """Not one block is left (a file that can have no more is no disk that is full)."""
        number = 0
        for size in (65536, 4096, 1):
            try:
                while True:
                    number += 1
                    with open(os.path.join(self.filler, str(number)), "wb") as f:
                        f.write(b"x" * size)
            except OSError:
                pass
        assert os.statvfs(self.disk).f_bfree == 0

    def free(self):
        for name in os.listdir(self.filler):
            os.unlink(os.path.join(self.filler, name))
        assert os.statvfs(self.disk).f_bfree > 100, os.statvfs(self.disk)

    def read_only(self, yes=True):
        flags = MS_REMOUNT | (MS_RDONLY if yes else 0)
        isolated.check(isolated.LIBC.mount(b"opampd-test", self.disk.encode(), b"tmpfs", flags, None), "mounting again")


def up(bed, over=None):
    server = bed.server()
    daemon = bed.daemon(server, over)
    server.wait_healthy()
    config_hash = server.offer({"": CONFIG.format("good")})
    server.wait_status(APPLIED, config_hash)
    return server, daemon, config_hash


def full(user):
    with DiskBed(user) as bed:
        server, daemon, _ = up(bed)
        pid = daemon.agent()
        uid = server.messages[-1].msg.instance_uid
        bed.fill()
        since = server.mark()
        other = server.offer({"": CONFIG.format("other")})
        why = server.wait_status(FAILED, other, since=since).msg.remote_config_status.error_message
        assert "No space left" in why, why
        same(daemon.agent(), pid, "the agent's pid")
        server.full_state()
        assert server.wait(lambda m: m.HasField("agent_description"), 10, "the full state", since).msg.health.healthy
        # a start on a full disk: what was kept is there
        server.assigned = None
        same(daemon.stop(), 0, "exit status")
        since = server.mark()
        daemon = bed.daemon(server)
        server.wait_effective("fake_name: good", since=since)
        server.wait_healthy(since=since)
        same({r.msg.instance_uid for r in server.messages[since:]}, {uid}, "the uid")
        bed.free()
        third = server.offer({"": CONFIG.format("third")})
        server.wait_status(APPLIED, third)
        server.wait_effective("fake_name: third")


def full_in_trial(user):
    with DiskBed(user) as bed:
        server, daemon, _ = up(bed, {"agent": {"config_apply_timeout": "2s"}})
        pid = daemon.agent()
        bad = server.offer({"": CONFIG.format("bad") + "  fake_never_healthy: 1\n"})
        server.wait_status(APPLYING, bad)
        daemon.agent(other_than=pid)
        bed.fill()
        since = server.mark()
        server.wait_status(FAILED, bad, since=since)
        server.wait_last_effective("fake_name: good")
        server.wait_healthy(since=since)
        with open(bed.storage("agent", "effective.yaml"), encoding="utf-8") as f:
            assert "fake_name: good" in f.read()


def commit_impossible(user):
    """The disk is full at the moment of the commit: back, and FAILED."""
    with DiskBed(user) as bed:
        server, daemon, _ = up(bed, {"agent": {"settling_time": "1s"}})
        pid = daemon.agent()
        other = server.offer({"": CONFIG.format("other")})
        daemon.agent(other_than=pid)
        bed.fill()
        last = server.wait(lambda m: m.remote_config_status.last_remote_config_hash == other and
                           m.remote_config_status.status in (APPLIED, FAILED), 15, "a verdict").msg.remote_config_status
        # either it needed no room, and is kept; or it is refused, and the old one runs
        want = "other" if last.status == APPLIED else "good"
        server.wait_last_effective(f"fake_name: {want}")
        server.wait_healthy()
        same(daemon.stop(), 0, "exit status")
        server.assigned = None
        since = server.mark()
        bed.daemon(server)
        server.wait_effective(f"fake_name: {want}", since=since)


def read_only(user):
    with DiskBed(user) as bed:
        server, daemon, config_hash = up(bed)
        uid = server.messages[-1].msg.instance_uid
        same(daemon.stop(), 0, "exit status")
        bed.read_only()
        since = server.mark()
        daemon = bed.daemon(server)
        agent = daemon.agent()
        server.wait_healthy(since=since)
        same({r.msg.instance_uid for r in server.messages[since:]}, {uid}, "the uid")
        other = server.offer({"": CONFIG.format("other")})
        why = server.wait_status(FAILED, other, since=since).msg.remote_config_status.error_message
        assert "Read-only" in why, why
        same(daemon.agent(), agent, "the agent's pid")
        same(daemon.stop(), 0, "exit status")
        bed.read_only(False)
        server.assigned = None
        since = server.mark()
        daemon = bed.daemon(server)
        server.wait_status(APPLIED, config_hash, since=since)
        server.wait_effective("fake_name: good", since=since)
        better = server.offer({"": CONFIG.format("better")})
        server.wait_status(APPLIED, better)
        assert daemon.agent()


def told_at_start(user):
    """Nothing can be stored at all, from the first day: opampd says so and tries again."""
    with DiskBed(user) as bed:
        os.mkdir(bed.storage(), 0o711 if user == "root" else 0o700)
        owner = NOBODY
        if user == "root":
            import pwd
            owner = pwd.getpwnam("_opampd_conf").pw_uid
        os.chown(bed.storage(), owner, -1)
        bed.read_only()
        server = bed.server()
        daemon = bed.daemon(server)
        daemon.wait_log("(?i)read-only")
        bed.read_only(False)
        server.wait_healthy()
        assert daemon.agent()


TESTS = [
    ("I8 a full disk: FAILED with the reason, the agent is not touched; a new start; well again", full),
    ("I8 a disk that fills during a trial: the rollback needs no room", full_in_trial),
    ("I8 a disk that fills before the commit: one of the two, whole", commit_impossible),
    ("I8 ID-01 a read-only disk: what is kept runs, FAILED with the reason, nothing is lost", read_only),
    ("I8 a disk that was read-only from the first day is told, and work begins when it is none any more", told_at_start),
]

users_made()
if os.geteuid() != 0:
    tap.run([(name, lambda: (_ for _ in ()).throw(tap.Skip("only root can mount a disk"))) for name, _ in TESTS])
tap.run([(name, isolated.isolated(function, ("/run",))) for name, function in for_all(TESTS)])
