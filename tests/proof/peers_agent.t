#!/usr/bin/python3
"""Item 5 of the proof, hostile agents: every attack of tests/lib/agent_attacks.py, with the agent's user and secret, against the
whole daemon; what it prints and what its health endpoint answers.  An argument "user": as an ordinary user.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from agent_attacks import GROUPS_OF_AGENT  # noqa: E402
from agent_stage import AgentStage  # noqa: E402
from bed import USERS, users_made  # noqa: E402
from peer_stage import attacks  # noqa: E402
from tap import run  # noqa: E402

users_made()
user = sys.argv[1] if len(sys.argv) > 1 else USERS[0]
run(attacks(AgentStage(user), GROUPS_OF_AGENT))
