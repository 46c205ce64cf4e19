#!/usr/bin/python3
"""Hostile agents and hostile clients of the page against opamphub, the short form: some of each kind.  The whole is in
tests/proof/hub_peers.t."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from hub_attacks import GROUPS_OF_HUB  # noqa: E402
from hub_stage import HubStage, attacks  # noqa: E402
from hub_tls_attacks import GROUPS_OF_HUB_TLS, tls_stage  # noqa: E402
from page_attacks import GROUPS_OF_PAGE, TOKEN  # noqa: E402
from tap import run  # noqa: E402

WHOLE = bool(os.environ.get("WHOLE"))
run(attacks(HubStage("agents"), GROUPS_OF_HUB, quick=not WHOLE) +
    attacks(HubStage("page", tokens=f"me {TOKEN}\n"), GROUPS_OF_PAGE, quick=not WHOLE, page=True) +
    attacks(tls_stage(), GROUPS_OF_HUB_TLS, quick=not WHOLE))
