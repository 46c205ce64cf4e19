#!/usr/bin/python3
"""The life of a configuration, with the fake agent and the scripted server: applied, refused, rolled back."""
import json
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from bed import Bed, for_all, users_made
from opampserver import APPLIED, APPLYING, FAILED
from tap import same, until


def config(name, **fake):
    """A Collector's configuration; what the fake agent is to do stands in a section of its own."""
    lines = "".join(f"  fake_{key}: {value}\n" for key, value in fake.items())
    return ("receivers:\n  nop: {}\nexporters:\n  nop: {}\nservice:\n  pipelines:\n    metrics:\n"
            f"      receivers: [nop]\n      exporters: [nop]\nfake:\n  fake_name: {name}\n{lines}")


def up(bed, over=None, **arguments):
    """A server, a daemon, and an agent that is well on what is local."""
    server = bed.server()
    daemon = bed.daemon(server, over, **arguments)
    server.wait_healthy()
    return server, daemon


def applied(server, daemon, name, **fake):
    """Offers a good configuration and sees it through.  Gives its hash and the agent's pid."""
    since = server.mark()
    config_hash = server.offer({"main.yaml": config(name, **fake)})
    server.wait_status(APPLIED, config_hash, since=since)
    return config_hash, daemon.agent()


def order(server, config_hash, since=0):
    return [status for status, of, _ in server.statuses(since) if of == config_hash]


def rolled_back(bed, words, over=None, changes_agent=True, limit=15, **fake):
    """One that works, then one that does not: FAILED with these words, and the first one runs again."""
    server, daemon = up(bed, over)
    _, pid = applied(server, daemon, "good")
    since = server.mark()
    begun = time.monotonic()
    bad = server.offer({"main.yaml": config("bad", **fake)})
    failed = server.wait_status(FAILED, bad, limit, since)
    took = time.monotonic() - begun
    text = failed.msg.remote_config_status.error_message
    for word in words:
        assert word in text, f"{word!r} is not in the reason: {text!r}"
    now = daemon.agent()
    if changes_agent:
        same(order(server, bad, since), [APPLYING, FAILED], "what was told of it")
        assert now != pid, "the trial never ran"
        server.wait_last_effective("fake_name: good")
    else:
        same(now, pid, "the agent's pid: it had no reason to be touched")
    with open(bed.storage("agent", "effective.yaml"), encoding="utf-8") as f:
        assert "fake_name: good" in f.read(), "the file on disk is not the old one"
    if not changes_agent:
        same([h for h in server.messages[since:] if h.msg.HasField("health") and not h.msg.health.healthy], [], "unhealthy reports")
    else:
        server.wait_healthy(since=since)
    return server, daemon, took


def good(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        pid = daemon.agent()
        since = server.mark()
        config_hash = server.offer({"main.yaml": config("one")})
        server.wait_status(APPLIED, config_hash)
        same(order(server, config_hash), [APPLYING, APPLIED], "what was told of it")
        effective = server.wait_effective("fake_name: one")
        (file,) = effective.msg.effective_config.config_map.config_map.values()
        same(file.content_type, "text/yaml", "content type")
        assert daemon.agent() != pid, "the agent was not restarted"
        health = server.wait(lambda m: m.health.healthy and m.health.start_time_unix_nano, 5, "a start time", since).msg.health
        assert abs(health.start_time_unix_nano / 1e9 - time.time()) < 20, health.start_time_unix_nano
        assert "pipeline:metrics" in server.wait(lambda m: m.health.component_health_map, 5, "components", since).msg.health.component_health_map
        for one in server.messages:
            assert one.msg.capabilities & 0x1006 == 0x1006, hex(one.msg.capabilities)


def bad_yaml(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        _, pid = applied(server, daemon, "good")
        for text, word in (("a: [1\n", "not YAML"), ("a: 1\na: 2\n", "second time"), (b"a: \0\n", ""), (b"a: \xff\n", "UTF-8"),
                           ("- 1\n", "map"), ("a: &x 1\nb: *x\n", "")):
            bad = server.offer({"main.yaml": text})
            failed = server.wait_status(FAILED, bad).msg.remote_config_status.error_message
            assert "main.yaml" in failed and word in failed, failed
            same(daemon.agent(), pid, "the agent's pid")


def bad_validation(user):
    with Bed(user) as bed:
        rolled_back(bed, ["unknown component foo in exporters"], invalid="unknown component foo in exporters", changes_agent=False)


def validation_hangs(user):
    with Bed(user) as bed:
        rolled_back(bed, ["too long"], {"agent": {"validate_timeout": "1s"}}, validate_hangs=1, changes_agent=False)


def dies(user):
    with Bed(user) as bed:
        _, _, took = rolled_back(bed, ["fake_exit is 9", "9"], exit=9)
        assert took < 4, f"that took {took} s: the death itself is the verdict"


def killed(user):
    with Bed(user) as bed:
        rolled_back(bed, ["11"], kill=11)


def dies_later(user):
    with Bed(user) as bed:
        rolled_back(bed, ["fake_exit_after is over", "7"], {"agent": {"settling_time": "1s"}}, exit_after=400)


def unhealthy(user):
    with Bed(user) as bed:
        _, _, took = rolled_back(bed, ["the fake exporter broke for good"], {"agent": {"settling_time": "1s"}}, unhealthy_after=300)
        assert took < 3.5, f"that took {took} s: a permanent error fails at once"


def never_healthy(user):
    with Bed(user) as bed:
        _, _, took = rolled_back(bed, [], {"agent": {"config_apply_timeout": "2s"}}, never_healthy=1)
        assert 1.9 < took < 8, took


def hangs(user):
    with Bed(user) as bed:
        _, _, took = rolled_back(bed, [], {"agent": {"config_apply_timeout": "2s"}}, hang=1)
        assert 1.9 < took < 8, took


def shaky(user):
    with Bed(user) as bed:
        rolled_back(bed, ["backend is away"], {"agent": {"settling_time": "1s", "config_apply_timeout": "3s"}}, shaky_after=300)


def lingering(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        applied(server, daemon, "family", children=3)
        until(lambda: len(family(bed)) == 3, 5, "three children of the agent")
        applied(server, daemon, "alone")
        same(family(bed), [], "children of the agent that was replaced")
        applied(server, daemon, "family again", children=2)
        until(lambda: len(family(bed)) == 2, 5, "two children of the agent")
        daemon.stop()


def family(bed):
    return [p for p in bed.running() if proc.status(p).get("Name") == "fakechild"]


def stubborn(user):
    with Bed(user) as bed:
        server, daemon = up(bed, {"agent": {"stop_timeout": "500ms"}})
        _, pid = applied(server, daemon, "stubborn", ignore_term=1)
        _, now = applied(server, daemon, "meek")
        assert now != pid and not proc.alive(pid), (pid, now)
        applied(server, daemon, "stubborn again", ignore_term=1)
        begun = time.monotonic()
        daemon.stop()
        assert time.monotonic() - begun < 10


def empty_map(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        applied(server, daemon, "one")
        since = server.mark()
        nothing = server.offer({})
        server.wait_status(APPLIED, nothing, since=since)
        # opampd alone has something to run: the Collector needs no pipeline, and no local file is named
        daemon.no_agent()
        server.wait(lambda m: m.HasField("health") and m.health.start_time_unix_nano == 0 and m.health.healthy, 10,
                    "stopped as asked is well, with start time 0", since)
        time.sleep(0.3)
        same(daemon.agents(), [], "agents while stopped")
        _, pid = applied(server, daemon, "two")
        assert pid
        unset = server.offer(None, config_hash=b"unset")
        server.wait_status(APPLIED, unset)
        daemon.no_agent()
        daemon.stop()
        again = bed.daemon(server)
        again.all_children()
        server.wait_connections(2)
        time.sleep(0.5)
        same(again.agents(), [], "agents after a new start: stopped is remembered")


def empty_map_local(user):
    with Bed(user) as bed:
        bed.write("local.yaml", "fake:\n  fake_local: here\n")
        server, daemon = up(bed, {"agent": {"config_files": [bed.path("local.yaml")]}})
        server.wait_effective("fake_local: here")
        applied(server, daemon, "one")
        server.wait_effective("fake_name: one")
        since = server.mark()
        nothing = server.offer({})
        server.wait_status(APPLIED, nothing, since=since)
        daemon.agent()
        text = server.wait_effective("fake_local: here", since=since).msg.effective_config.config_map.config_map[""].body
        assert b"fake_name" not in text, text


def empty_body(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        pid = daemon.agent()
        blank = server.offer({"": ""})
        server.wait_status(APPLIED, blank)
        same(daemon.agent(), pid, "the agent's pid: nothing was added")
        server.wait_healthy()


def same_hash(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        config_hash, pid = applied(server, daemon, "one")
        server.ping()
        time.sleep(0.5)  # what was under way may still come
        since = server.mark()
        for _ in range(1000):
            server.offer({"main.yaml": config("one")}, config_hash=config_hash)
        server.ping()
        server.full_state()
        answer = server.wait(lambda m: m.HasField("agent_description"), 10, "the full state", since)
        same([r for r in server.messages[since:] if r is not answer], [], "reports after 1,000 equal offers")
        same(daemon.agent(), pid, "the agent's pid")


def flood(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        hashes = [server.offer({"main.yaml": config(f"number{i}")}) for i in range(60)]
        server.wait_status(APPLIED, hashes[-1], 60)
        last = {}
        for status, of, _ in server.statuses():
            last[of] = status
        time.sleep(0.5)
        stuck = [h.hex() for h in hashes[:-1] if last.get(h) == APPLYING and
                 [of for _, of, _ in server.statuses()][-1] == h]
        same(stuck, [], "hashes left in APPLYING")
        same(server.statuses()[-1][:2], (APPLIED, hashes[-1]), "the last word")
        server.wait_effective("fake_name: number59")
        daemon.agent()


def newer_wins(user):
    with Bed(user) as bed:
        server, daemon = up(bed, {"agent": {"config_apply_timeout": "60s"}})
        applied(server, daemon, "good")
        since = server.mark()
        bad = server.offer({"main.yaml": config("bad", never_healthy=1)})
        server.wait_status(APPLYING, bad, since=since)
        until(lambda: "fake_name: bad" in open(bed.storage("agent", "effective.yaml"), encoding="utf-8").read(), 10, "the trial")
        good_hash = server.offer({"main.yaml": config("better")})
        server.wait_status(APPLIED, good_hash, 15, since)
        server.wait_effective("fake_name: better", since=since)


def refused_again(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        _, pid = applied(server, daemon, "good")
        bad = server.offer({"main.yaml": config("bad", invalid="no such thing")})
        server.wait_status(FAILED, bad)
        since = server.mark()
        for _ in range(5):
            server.offer({"main.yaml": config("bad", invalid="no such thing")}, config_hash=bad)
        server.ping()
        daemon.wait_log("sent a configuration again that was refused; it is tried again after opampctl reload")
        time.sleep(0.5)
        same(len([line for line in daemon.log() if "again that was refused" in line]), 1, "how often that is said")
        assert APPLYING not in order(server, bad, since), "content that was refused was tried again"
        same(daemon.agent(), pid, "the agent's pid")


def expansion(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        _, pid = applied(server, daemon, "good")
        for text in ("${env:HOME}", "${file:/etc/passwd}", "x${env:HOME}y", "${http://127.0.0.1/}"):
            bad = server.offer({"main.yaml": config("bad") + f"  value: \"{text}\"\n"})
            why = server.wait_status(FAILED, bad).msg.remote_config_status.error_message
            assert "main.yaml:12:" in why and "remote_expansion" in why, why
        same(daemon.agent(), pid, "the agent's pid")
        daemon.stop()
        daemon = bed.daemon(server, {"policy": {"remote_expansion": ["env:KEY"]}, "agent": {"env": {"KEY": "value"}}})
        fine = server.offer({"main.yaml": config("allowed") + "  value: ${env:KEY}\n"}, send=False)
        server.wait_status(APPLIED, fine)
        bad = server.offer({"main.yaml": config("bad") + "  value: ${env:OTHER}\n"})
        server.wait_status(FAILED, bad)


def refused_and_mended(user):
    """The server offers what differs from the hash that it is told, as opamphub does."""
    with Bed(user) as bed:
        server, daemon = up(bed)
        _, pid = applied(server, daemon, "good")
        wanted = server.offer({"main.yaml": config("wanted") + "  value: ${env:KEY}\n"})
        why = server.wait_status(FAILED, wanted).msg.remote_config_status.error_message
        assert "agent.env" in why, f"nothing says where the agent's environment comes from: {why}"

        def reload(over):
            since, mark = server.mark(), daemon.mark()
            bed.write("opampd.yaml", json.dumps(bed.settings(server, over)))
            daemon.signal(signal.SIGHUP)
            daemon.wait_log("the new settings are in force", 10, mark)
            return since

        since = reload({"policy": {"remote_expansion": ["env:OTHER"]}})
        server.wait_status(0, b"", since=since)
        server.wait_status(FAILED, wanted, since=since)
        same(daemon.agent(), pid, "the agent's pid: nothing that could run was offered")
        for what in ("effective", "remote"):
            code, _, errors = bed.ctl("config", what, "999", check=False)
            assert code == 1 and "there is no generation 999: opampctl history" in errors, errors
        since = reload({"policy": {"remote_expansion": ["env:OTHER"]}})  # as it was: only the wish is new
        server.wait_status(FAILED, wanted, since=since)
        since = reload({"policy": {"remote_expansion": ["env:KEY"]}, "agent": {"env": {"KEY": "value"}}})
        server.wait_status(APPLIED, wanted, since=since)
        server.wait_last_effective("fake_name: wanted")
        bad = server.offer({"main.yaml": config("bad") + "  value: ${env:LATER}\n"})
        server.wait_status(FAILED, bad)
        daemon.stop()
        since = server.mark()
        daemon = bed.daemon(server, {"agent": {"env": {"KEY": "value", "LATER": "now"}}, "policy": {"remote_expansion": ["env:KEY", "env:LATER"]}})
        server.wait_status(APPLIED, bad, since=since)
        last = server.offer({"main.yaml": config("last") + "  value: ${env:NEVER}\n"})
        server.wait_status(FAILED, last)
        daemon.stop()
        since = server.mark()
        daemon.start()  # with the same settings
        server.wait_healthy(since=since)
        same(order(server, last, since)[-1:], [FAILED], "what was refused stays so over a new start with the same settings")
        assert APPLYING not in order(server, last, since), server.tell(since)


def several_files(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        config_hash = server.offer({"b.yaml": "fake:\n  fake_who: b\n  fake_b: 1\n", "a.yaml": "fake:\n  fake_who: a\n  fake_a: 1\n",
                                    "": "fake:\n  fake_last: 1\n"})
        server.wait_status(APPLIED, config_hash)
        body = server.wait_effective("fake_last: 1").msg.effective_config.config_map.config_map[""].body.decode()
        for line in ("fake_who: b", "fake_a: 1", "fake_b: 1"):
            assert line in body, body
        override = server.offer({"": "extensions:\n  opamp:\n    server:\n      ws:\n        endpoint: ws://127.0.0.1:1/\n"})
        why = server.wait_status(FAILED, override).msg.remote_config_status.error_message
        assert "extensions.opamp" in why, why


def names_are_no_paths(user):
    """What the server names a file stands in no path: nothing is made beside what is always there."""
    def made(bed):
        return {re.sub(r"\d{6}", "N", os.path.relpath(os.path.join(top, name), bed.dir)) for top, dirs, files in os.walk(bed.dir) for name in dirs + files}
    with Bed(user) as bed:
        server, daemon = up(bed)
        server.wait_status(APPLIED, server.offer({"plain.yaml": "fake:\n  fake_name: plain\n"}))
        before = made(bed)
        names = ["../../../../planted", "/etc/opampd-planted", "a/b/planted.yaml", "..", ".", "effective.yaml/planted", "planted\n", "%2e%2e/planted"]
        config_hash = server.offer({name: f"fake:\n  fake_n{i}: {i}\n" for i, name in enumerate(names)})
        server.wait_status(APPLIED, config_hash)
        same(sorted(made(bed) - before), [], "files that were made for names of the server's")
        assert not os.path.exists("/etc/opampd-planted") and not os.path.exists("/planted")
        server.wait_effective("fake_n7: 7")


def hashes(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        for i, config_hash in enumerate((b"", b"x", b"\0" * 7, bytes(range(256)) * 256)):
            server.offer({"main.yaml": config(f"hash{i}")}, config_hash=config_hash)
            server.wait_status(APPLIED, config_hash)
            server.wait_effective(f"fake_name: hash{i}")
        daemon.agent()


def opt_in(user):
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server, {"capabilities": None})
        server.wait_healthy()
        pid = daemon.agent()
        first = server.messages[0].msg
        same(first.capabilities & 0x1402, 0, "capabilities that the settings do not give")
        since = server.mark()
        server.offer({"main.yaml": config("unasked")})
        server.command_restart()
        server.full_state()
        server.wait(lambda m: m.HasField("agent_description"), 10, "the full state", since)
        same(daemon.agent(), pid, "the agent's pid")
        same(server.statuses(), [], "statuses")


def restart(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        _, pid = applied(server, daemon, "good")
        since = server.mark()
        before = [r.msg.health.start_time_unix_nano for r in server.messages if r.msg.health.start_time_unix_nano][-1]
        server.command_restart()
        daemon.agent(other_than=pid)
        server.wait(lambda m: m.health.healthy and m.health.start_time_unix_nano > before, 10, "healthy with a new start time", since)
        # everything else in that message is to be ignored
        pid = daemon.agent()
        message = server.opamp_command_with_offer(config("smuggled"))
        server.send(message)
        daemon.agent(other_than=pid)
        time.sleep(0.5)
        same([of for _, of, _ in server.statuses() if of == b"smuggled"], [], "statuses of an offer beside a command")
        pid = daemon.agent()
        server.send(server.opamp_unknown_command())
        server.ping()
        time.sleep(0.5)
        same(daemon.agent(), pid, "the agent's pid after an unknown command")


def reload(user):
    with Bed(user) as bed:
        server, daemon = up(bed, {"agent": {"use_hup_config_reload": True}})
        pid = daemon.agent()
        daemon.wait_log("generation 1 is committed")  # well for a while: before, a signal might find it not listening
        _, now = applied(server, daemon, "one")
        same(now, pid, "the agent's pid over a reload")
        server.wait_effective("fake_name: one")
        bad = server.offer({"main.yaml": config("bad", invalid="not this one")})
        server.wait_status(FAILED, bad)
        same(daemon.agent(), pid, "the agent's pid after a refused validation")
        since = server.mark()
        dies_now = server.offer({"main.yaml": config("deadly", reload_dies=1)})
        why = server.wait_status(FAILED, dies_now, since=since).msg.remote_config_status.error_message
        assert "cannot reload" in why, why
        daemon.agent(other_than=pid)
        server.wait_last_effective("fake_name: one")
        server.wait_healthy(since=since)
        sick = server.offer({"main.yaml": config("sick", unhealthy_after=100)})
        since = server.mark()
        server.wait_status(FAILED, sick, since=since)
        server.wait_last_effective("fake_name: one")


def crash(user):
    with Bed(user) as bed:
        server, daemon = up(bed)
        _, pid = applied(server, daemon, "good")
        since = server.mark()
        watch = proc.Stopwatch(daemon.pid, *daemon.children().values())
        proc.kill(pid)
        down = server.wait_healthy(False, since=since)
        took = watch.took()
        why = down.msg.health.last_error
        assert why.startswith("it was ended by signal 9 (Killed)") and why.count("\n") < 3, why
        same(down.msg.health.start_time_unix_nano, 0, "start time of an agent that does not run")
        assert took < 1, f"told after {took} s"
        now = daemon.agent(other_than=pid)
        back = watch.took(now)
        assert back < 1, f"back after {back} s"
        server.wait_healthy(since=since)
        same([s for s in server.statuses(since)], [], "statuses: a crash later on is not the configuration's")
        for _ in range(3):
            proc.kill(now)
            now = daemon.agent(other_than=now)
        server.wait_healthy(since=since)


def last_words(user):
    with Bed(user) as bed:
        server, daemon, _ = rolled_back(bed, ["cannot start the pipelines"], say='"Error: \\e[31mred\\e[0m"', exit=3)
        for line in daemon.log():
            assert "\x1b" not in line, line
        assert "cannot start the pipelines" in bed.agent_log()


def floods_output(user):
    with Bed(user) as bed:
        server, daemon = up(bed, {"agent": {"log": {"max_size": "1MiB", "max_files": 3}}})
        applied(server, daemon, "loud", flood=30000)
        until(lambda: os.path.exists(bed.path("var", "log", "agent.log.1")), 10, "a rotated log")
        logs = bed.path("var", "log")

        def all_logs():
            return "".join(open(os.path.join(logs, n), encoding="utf-8", errors="replace").read() for n in os.listdir(logs))
        until(lambda: "\nflood 1 " in all_logs(), 20, "the last line of the flood")
        sizes = {n: os.path.getsize(os.path.join(logs, n)) for n in os.listdir(logs)}
        # what is read while the new file is on its way comes on top
        assert len(sizes) <= 3 and max(sizes.values()) <= 2 << 20, sizes
        server.wait_healthy()


def interrupted(user):
    with Bed(user) as bed:
        server, daemon = up(bed, {"agent": {"config_apply_timeout": "60s"}})
        good_hash, _ = applied(server, daemon, "good")
        bad = server.offer({"main.yaml": config("half", never_healthy=1)})
        server.wait_status(APPLYING, bad)
        until(lambda: "fake_name: half" in open(bed.storage("agent", "effective.yaml"), encoding="utf-8").read(), 10, "the trial")
        proc.kill(daemon.pid)
        daemon.wait_end()
        until(lambda: not bed.running(), 5, "nothing to run")
        server.assigned = None
        since = server.mark()
        daemon = bed.daemon(server)
        daemon.agent()
        why = server.wait_status(FAILED, bad, since=since).msg.remote_config_status.error_message
        assert "interrupted" in why, why
        server.wait_effective("fake_name: good", since=since)
        server.wait_healthy(since=since)
        assert good_hash


TESTS = [
    ("CF-01 CF-05 CF-09 HL-01 HL-03 a good configuration: APPLYING, APPLIED, effective, healthy", good),
    ("CF-12 what is not YAML is refused with file and place; the agent is not touched", bad_yaml),
    ("CF-05 HL-02 the agent's own check refuses: FAILED with its words; the agent is not touched", bad_validation),
    ("CF-05 a check that hangs is ended: FAILED; the agent is not touched", validation_hangs),
    ("CF-05 dies at start: back on the old one, FAILED with exit code and last words", dies),
    ("CF-05 killed by a signal at start: back on the old one, FAILED names it", killed),
    ("CF-05 dies in the settling time: back on the old one", dies_later),
    ("CF-05 HL-02 turns unhealthy: back on the old one at once, FAILED with the component's words", unhealthy),
    ("CF-05 never healthy: back on the old one when the time is over", never_healthy),
    ("CF-05 hangs: back on the old one when the time is over", hangs),
    ("CF-05 a passing error where all was well before: back on the old one", shaky),
    ("I9 the agent's children end with it", lingering),
    ("I9 an agent that ignores SIGTERM is killed when its grace is over", stubborn),
    ("CF-05 an empty map, and none: the agent is stopped, APPLIED, and stays so over a new start", empty_map),
    ("CF-05 an empty map with local files: they run", empty_map_local),
    ("CF-05 an entry with an empty body: nothing is touched, APPLIED", empty_body),
    ("ST-04 CF-06 1,000 times the same hash: no report, nothing touched", same_hash),
    ("CF-07 a flood of offers: the newest wins, none is left in APPLYING", flood),
    ("CF-07 an offer during a trial: the newest wins", newer_wins),
    ("CF-06 content that was refused is not tried again", refused_again),
    ("SE-05 expansion in a remote file is refused with file, line and the setting that permits it", expansion),
    ("CF-06 CF-03 what was refused is tried again after a reload, and after a start with other settings", refused_and_mended),
    ("CF-08 several files merge by name, the one without a name last; what is injected stays", several_files),
    ("CF-08 SE-05 what the server calls its files is no path", names_are_no_paths),
    ("CF-04 hashes of 0 to 65,536 bytes come back byte for byte", hashes),
    ("CP-02 CP-03 CP-08 SE-03 remote configuration and restart are opt-in", opt_in),
    ("RC-01 RC-02 RC-03 the restart command, and only it", restart),
    ("CF-05 reload by signal: same pid; a reload that kills is rolled back", reload),
    ("HL-01 HL-02 HL-04 a crash: reported with its signal, started again at once", crash),
    ("CF-05 last words are in the report, escaped in the log", last_words),
    ("the agent's output is bounded and rotated", floods_output),
    ("CF-05 a trial cut short by power loss: the old one runs, FAILED interrupted", interrupted),
]

users_made()
tap.run(for_all(TESTS))
