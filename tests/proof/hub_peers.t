#!/usr/bin/python3
"""Hostile agents and hostile clients of the page against opamphub, whole: every attack of tests/lib/{hub,page,hub_tls}_attacks.py.
What each was answered with, the peak memory and the processor time it cost are printed, and kept in $O/peers-hub-*.md.
The parts wait most of the time: they run beside each other.  An argument runs one of them."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from hub_attacks import GROUPS_OF_HUB, SLOW  # noqa: E402
from hub_stage import HubStage, attacks  # noqa: E402
from hub_tls_attacks import GROUPS_OF_HUB_TLS, tls_stage  # noqa: E402
from page_attacks import GROUPS_OF_PAGE, TOKEN  # noqa: E402
from parts import Parts  # noqa: E402
from tap import run  # noqa: E402

PARTS = {
    "messages": lambda: attacks(HubStage("messages"), [g for g in GROUPS_OF_HUB if g[0] in ("frames", "protobuf", "HTTP")]),
    "together": lambda: attacks(HubStage("together"), [g for g in GROUPS_OF_HUB if g[0] in ("together", "floods")]),
    "page": lambda: attacks(HubStage("page", tokens=f"me {TOKEN}\n"), GROUPS_OF_PAGE, page=True),
    "tls": lambda: attacks(tls_stage(), GROUPS_OF_HUB_TLS),
    **{f"slow{n}": lambda r=row, n=n: attacks(HubStage(f"slow{n}"), [("slow", [r])]) for n, row in enumerate(SLOW)},
}
if len(sys.argv) > 1:
    run(PARTS[sys.argv[1]]())
Parts(list(PARTS)).run()
