"""TAP for the tests written in Python: every test is a function that raises when it fails."""
import os
import re
import sys
import time
import traceback


# every wait is so many times longer: on an emulated machine (tests/lib/guest.py)
SLOW = float(os.environ.get("SLOW", "1"))


class Skip(Exception):
    """This host cannot run the test; the text says why."""


def until(look, seconds, what):
    """Calls look() until it gives something true, which is returned; a time limit is a failure."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s still waiting for: {what}")
        time.sleep(0.01)


def same(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, wanted {want!r}")


def run(tests):
    """tests: (name, function).  Ends the program.  ONLY=regex in the environment picks some."""
    only = os.environ.get("ONLY")
    if only:
        tests = [t for t in tests if re.search(only, t[0])]
    failed = 0
    print(f"1..{len(tests)}", flush=True)
    for number, (name, function) in enumerate(tests, 1):
        begun = time.monotonic()
        try:
            function()
            print(f"ok {number} - {name}", flush=True)
        except Skip as why:
            print(f"ok {number} - {name} # SKIP {why}", flush=True)
        except Exception:  # whatever it was: the next test shall run
            failed += 1
            print(f"not ok {number} - {name}", flush=True)
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
        took = time.monotonic() - begun
        if took > 10:
            print(f"# that took {took:.1f} s", flush=True)
    sys.exit(1 if failed else 0)
