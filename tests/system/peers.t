#!/usr/bin/python3
"""Hostile peers, the short form: some of each kind, as root and as an ordinary user.  The whole is in tests/proof/peers_*.t."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from bed import USERS, users_made  # noqa: E402
from peer_stage import Stage, attacks, offers  # noqa: E402
from server_attacks import GROUPS_OF, OFFERS  # noqa: E402
from tap import run  # noqa: E402

users_made()
tests = []
for user in USERS:
    tests += attacks(Stage(user, "server"), GROUPS_OF, quick=True)
    tests += offers(Stage(user, "offers", {"limits": {"offers_per_minute": 100000}}), OFFERS, quick=True)
run(tests)
