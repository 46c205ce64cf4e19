#!/usr/bin/python3
"""tests/system/hub_taken.t whole: every frame, form and field, in place of a sample."""
import os
import sys

os.environ["WHOLE"] = "1"
os.execv(sys.executable, [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system", "hub_taken.t")])
