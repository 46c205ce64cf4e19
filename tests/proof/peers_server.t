#!/usr/bin/python3
"""Item 5 of the proof, hostile servers: every attack of tests/lib/server_attacks.py against the whole daemon, one after the
other; what each cost is printed and kept in $O/peers-*.md.  An argument "user": as an ordinary user.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from bed import USERS, users_made  # noqa: E402
from peer_stage import Stage, attacks, offers  # noqa: E402
from server_attacks import GROUPS_OF, OFFERS  # noqa: E402
from tap import run  # noqa: E402

users_made()
user = sys.argv[1] if len(sys.argv) > 1 else USERS[0]
run(attacks(Stage(user, "server"), GROUPS_OF) +
    offers(Stage(user, "offers", {"limits": {"offers_per_minute": 100000}}), OFFERS))
