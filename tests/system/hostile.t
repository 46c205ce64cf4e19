#!/usr/bin/python3
"""A server that means harm, and the whole daemon: what it asks for without end is bounded."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from bed import Bed, for_all, users_made  # noqa: E402
from tap import run, until  # noqa: E402


def uids(user):
    """A new instance uid in every message: each is written to disk, told, and part of what runs."""
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_connections(1)
        server.wait_healthy()
        agents, begun = set(daemon.agents()), time.monotonic()

        def taken():
            return sum("gave this agent the instance uid" in line for line in daemon.log())
        for n in range(300):
            server.identify(bytes([1, 2, 3, 4, 5, 6, 0x70, 8, 0x80]) + n.to_bytes(7, "big"))
            agents |= set(daemon.agents())
            if n < 10:  # of uids that come all at once only the newest is looked at
                until(lambda: taken() > n, 10, f"uid {n} to be taken")
        mark = server.mark()
        server.full_state()
        server.wait(lambda m: m.HasField("agent_description"), 15, "the full state", mark)
        took = time.monotonic() - begun
        said = taken()
        # ten at once, and what the rate of ten a minute adds
        limit = 10 + took / 6 + 1
        assert said <= limit, f"{said} uids taken, at most {limit:.0f}"
        assert len(agents) <= limit, f"{len(agents)} agents"
        refused = sum("more than 10 instance uids" in text for _, text in daemon.lines)
        assert 1 <= refused <= limit, f"{refused} lines about it"


users_made()
run(for_all([("I11 instance uids without end", uids)]))
