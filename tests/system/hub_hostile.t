#!/usr/bin/python3
"""Hostile agents and hostile clients of the page against opamphub, the short form: some of each kind.  The whole is in
tests/proof/hub_peers.t."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from hub_attacks import GROUPS_OF_HUB  # noqa: E402
from hub_stage import HubStage, attacks  # noqa: E402
from tap import run  # noqa: E402

run(attacks(HubStage("agents"), GROUPS_OF_HUB, quick=not os.environ.get("WHOLE")))
