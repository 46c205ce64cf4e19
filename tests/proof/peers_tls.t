#!/usr/bin/python3
"""Item 5 of the proof, hostile TLS: certificates, handshakes and records of tests/lib/tls_attacks.py against the whole daemon; each
refusal names its reason in the log and in opampctl status.  An argument "user": as an ordinary user.
"""
import os
import signal
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from bed import USERS, users_made  # noqa: E402
from peer_stage import Stage, attacks  # noqa: E402
from server_attacks import Attack  # noqa: E402
from tap import run, until  # noqa: E402
from tls_attacks import GROUPS_OF_TLS, tls_stage, good, refused, taken  # noqa: E402

V = ssl.TLSVersion


def removed(stage):
    """The authority is taken out of the file, and put back."""
    stage.open()
    agent = stage.daemon.agent()
    path = stage.bed.path("pki", "trusted.pem")

    def trust(name):
        with open(stage.bed.path("pki", name), encoding="ascii") as f, open(path, "w", encoding="ascii") as t:
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
    since = stage.server.mark()
    stage.server.wait(lambda m: True, 30, "a report after the authority came back", since)
    assert stage.daemon.agent() == agent, "the agent's pid"


def old(pki):
    return pki.context("good", high=V.TLSv1_2)


def new(pki):
    return pki.context("good", low=V.TLSv1_3)


users_made()
user = sys.argv[1] if len(sys.argv) > 1 else USERS[0]
main, least, most = (tls_stage(user, name, tls) for name, tls in (
    ("tls", {}), ("tls-min-1.3", {"min_version": "1.3"}), ("tls-max-1.2", {"max_version": "1.2"})))
ABOVE = [("versions", [Attack("TLS 1.2 where 1.3 is wanted", refused(old), ".*(UNSUPPORTED_PROTOCOL|VERSION).*", "min_version"),
                       Attack("TLS 1.3 where 1.3 is wanted", taken(good), "goes on.*")])]
BELOW = [("versions", [Attack("TLS 1.3 alone where 1.2 is the newest", refused(new), ".*(UNSUPPORTED_PROTOCOL|VERSION).*", "max_version"),
                       Attack("TLS 1.2 where it is the newest", taken(old), "goes on.*")])]
tests = attacks(main, GROUPS_OF_TLS)
tests.insert(len(tests) - 1, (f"{user}: an authority that is taken out of ca_file", lambda: removed(main)))
run(tests + attacks(least, ABOVE) + attacks(most, BELOW))
