#!/usr/bin/python3
"""A process that was taken over, against the others as they are: every message there is and is not, from each to each."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import taken_acts
from tap import run

run(taken_acts.tests(1, 2))
