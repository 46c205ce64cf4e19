#!/usr/bin/python3
"""tests/sandbox/prison.t whole: every number of every ABI and every kind of socket, by live calls of every process."""
import os
import sys

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
os.environ["WHOLE"] = "1"
os.environ["PRISON_RESULTS"] = os.path.join(TREE, "sandbox", "whole.md")
os.execv(sys.executable, [sys.executable, os.path.join(TREE, "sandbox", "prison.t")])
