#!/usr/bin/python3
"""Hostile peers, whole: every attack of tests/lib/{server,tls,agent,output,name}_attacks.py against the whole daemon.  What each
was answered with, the peak memory and the processor time it cost are printed, and kept in $O/peers-*.md.

The parts wait most of the time: they run beside each other.  An argument runs one of them: server, states, offers, tls,
agent, output, names, user.
"""
import os
import signal
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from bed import ROOT, USERS, users_made  # noqa: E402
from parts import Parts  # noqa: E402

PARTS = ["server", "states", "offers", "tls", "agent", "output", "names", "user"] if ROOT else ["server", "states", "offers", "tls"]


def server(names, user=USERS[0]):
    from peer_stage import Stage, attacks
    from server_attacks import GROUPS_OF
    return attacks(Stage(user, "server-" + names[0]), [g for g in GROUPS_OF if g[0] in names])


def offers():
    from peer_stage import Stage, offers as make
    from server_attacks import OFFERS
    return make(Stage(USERS[0], "offers", {"limits": {"offers_per_minute": 100000}}), OFFERS)


def agent():
    from agent_attacks import GROUPS_OF_AGENT
    from agent_stage import AgentStage
    from peer_stage import attacks
    return attacks(AgentStage("root"), GROUPS_OF_AGENT)


def user():
    """A sample of all of it as an ordinary user."""
    from agent_attacks import GROUPS_OF_AGENT
    from agent_stage import AgentStage
    from peer_stage import Stage, attacks, offers as make
    from server_attacks import GROUPS_OF, OFFERS
    from tls_attacks import GROUPS_OF_TLS, tls_stage
    return attacks(AgentStage("user"), GROUPS_OF_AGENT, quick=True) + attacks(Stage("user", "server"), GROUPS_OF, quick=True) + \
        make(Stage("user", "offers", {"limits": {"offers_per_minute": 100000}}), OFFERS, quick=True) + \
        attacks(tls_stage("user", "tls", {}), GROUPS_OF_TLS, quick=True)


def sent_away(what, act):
    """A server that wants us gone for ever gets a day at most; the agent runs on."""
    import json
    from bed import Bed
    from peers import L, Front
    from tap import until
    with Bed(USERS[0]) as bed:
        front = Front(1)
        front.attack(act)
        daemon = bed.daemon(front.url)
        agent_pid = daemon.agent()
        front.wait(30)

        def state():
            said = json.loads(bed.ctl("-j", "status")[1])["server"]
            return said if said["state"] == "not connected" or "next_try_ms" in said else None
        said = until(state, 10, f"opampctl status to say when it tries again after: {what}")
        wait = said.get("next_try_ms", 0)
        print(f"# {what}: {wait / 1000:.0f} s, {said.get('reason')}", flush=True)
        assert wait <= L["LIMIT_RETRY_AFTER_MS"], f"{wait} ms"
        assert daemon.agent() == agent_pid, "the agent's pid"
        front.end()


def away():
    from peers import opamp
    from server_attacks import answers

    def unavailable(p):
        p.begin()
        m = opamp.ServerToAgent()
        m.error_response.type = 2
        m.error_response.retry_info.retry_after_nanoseconds = 2 ** 64 - 1
        p.message(m)
        return p.outcome()
    values = ("99999999999999999999999", "86401", "-1", "Fri, 31 Dec 9999 23:59:59 GMT", "1e9", "")
    made = [(f"HTTP {status}, Retry-After: {v or 'none'}",
             answers(b"HTTP/1.1 %d Later\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n" % (status, v.encode())))
            for status, v in zip((503, 429, 503, 503, 429, 503), values)]
    made.append(("UNAVAILABLE for 584 years", unavailable))
    return [(f"states: sent away: {what}", lambda a=(what, act): sent_away(*a)) for what, act in made]


def authority_removed(stage):
    """The authority is taken out of the file, and put back."""
    from tap import until
    stage.open()
    pid = stage.daemon.agent()

    def trust(name):
        with open(stage.bed.path("pki", name), encoding="ascii") as f, open(stage.bed.path("pki", "trusted.pem"), "w", encoding="ascii") as t:
            t.write(f.read())
        mark = stage.daemon.mark()
        stage.daemon.signal(signal.SIGHUP)
        stage.daemon.wait_log("(?i)settings|reload", 10, mark)
        return mark
    mark = trust("other.pem")
    stage.front.drop()
    stage.daemon.wait_log("unknown authority", 20, mark)
    until(lambda: "unknown authority" in stage.alive.check("the authority is gone"), 10, "opampctl status to say it")
    trust("ca.pem")
    stage.server.wait(lambda m: True, 30, "a report after the authority came back", stage.server.mark())
    assert stage.daemon.agent() == pid, "the agent's pid"


def tls():
    from peer_stage import attacks
    from server_attacks import Attack
    from tls_attacks import GROUPS_OF_TLS, good, refused, taken, tls_stage
    v = ssl.TLSVersion
    main, least, most = (tls_stage(USERS[0], name, keys) for name, keys in (
        ("tls", {}), ("tls-min-1.3", {"min_version": "1.3"}), ("tls-max-1.2", {"max_version": "1.2"})))

    def old(pki):
        return pki.context("good", high=v.TLSv1_2)

    def new(pki):
        return pki.context("good", low=v.TLSv1_3)
    sees = ".*(UNSUPPORTED_PROTOCOL|VERSION).*"
    above = [("versions", [Attack("TLS 1.2 where 1.3 is wanted", refused(old), sees, "min_version"),
                           Attack("TLS 1.3 where 1.3 is wanted", taken(good), "goes on.*")])]
    below = [("versions", [Attack("TLS 1.3 alone where 1.2 is the newest", refused(new), sees, "max_version"),
                           Attack("TLS 1.2 where it is the newest", taken(old), "goes on.*")])]
    tests = attacks(main, GROUPS_OF_TLS)
    tests.insert(len(tests) - 1, ("an authority that is taken out of ca_file", lambda: authority_removed(main)))
    return tests + attacks(least, above) + attacks(most, below)


def output():
    from output_attacks import tests
    return tests()


def names():
    from name_attacks import tests
    return tests()


def one(part):
    from tap import run
    users_made()
    run({"server": lambda: server(["frames", "protobuf", "HTTP"]), "states": lambda: server(["states", "floods"]) + away(), "offers": offers,
         "tls": tls, "agent": agent, "output": output, "names": names, "user": user}[part]())


if len(sys.argv) > 1:
    one(sys.argv[1])
users_made()
Parts(PARTS).run()
