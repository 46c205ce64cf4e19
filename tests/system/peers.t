#!/usr/bin/python3
"""Hostile peers, the short form: some of each kind against the whole daemon.  The whole is in tests/proof/peers_*.t."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from agent_attacks import GROUPS_OF_AGENT  # noqa: E402
from agent_stage import AgentStage  # noqa: E402
from bed import ROOT, USERS, users_made  # noqa: E402
from peer_stage import Stage, attacks, offers  # noqa: E402
from server_attacks import GROUPS_OF, OFFERS  # noqa: E402
from tap import run  # noqa: E402
from tls_attacks import GROUPS_OF_TLS, tls_stage  # noqa: E402

users_made()
user = USERS[0]
tests = attacks(Stage(user, "server"), GROUPS_OF, quick=True)
tests += offers(Stage(user, "offers", {"limits": {"offers_per_minute": 100000}}), OFFERS, quick=True)
tests += attacks(tls_stage(user, "tls", {}), GROUPS_OF_TLS, quick=True)
if ROOT:  # other users' sockets cannot be made by an ordinary one
    tests += attacks(AgentStage("root"), GROUPS_OF_AGENT, quick=True)
run(tests)
