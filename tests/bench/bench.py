#!/usr/bin/python3
"""make bench: what opampd costs, beside the OpenTelemetry Collector's own supervisor, in one run on the same
Collector and the same server.  Prints the table, writes doc/performance.md (not with BENCH=short), and
fails where opampd is further over a bound than the noise of a machine explains.

BENCH=short: the same rows in less time, for CI.  ONLY=regex: only these measurements, and no file.
"""
import os
import re
import subprocess
import sys

# this program shall not share OpenSSL's pages with netd, which would then seem to have fewer of its own
sys.modules["_ssl"] = sys.modules["_hashlib"] = None

import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import isolated
import rows
from bed import ROOT, users_made
from measure import machine
from table import Table

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
DOCUMENT = os.path.join(HERE, "..", "..", "doc", "performance.md")
MS_BIND = 0x1000


class Lab:
    """How often and how long."""

    def __init__(self, short, directory):
        self.short = short
        self.times = 5 if short else 9
        self.slow_times = 3 if short else 5  # of what takes opampsupervisor five seconds each
        self.share_times = 5 if short else 15
        self.idle_times = 1 if short else 5
        self.settle_seconds = 10 if short else 60
        self.idle_seconds = 10 if short else 60
        self.reconnects = 200 if short else 1000
        self.large_times = 3 if short else 5
        self.tls, self.tls_settings = bundle(directory)

    def names(self):
        return {"settle": self.settle_seconds, "reconnects": f"{self.reconnects:,}"}


def bundle(directory):
    """A server's certificate that the system's CA bundle vouches for: root gets a bundle of its own over the
    system's, in this mount namespace; an ordinary user names a file with the same content."""
    subprocess.run([sys.executable, "-c", "import opampserver, sys; opampserver.make_tls(sys.argv[1])", directory],
                   env={**os.environ, "PYTHONPATH": os.path.join(HERE, "..", "lib")}, check=True)
    whole = os.path.join(directory, "bundle.crt")
    with open(whole, "w", encoding="ascii") as out:
        for name in (BUNDLE, os.path.join(directory, "ca.pem")):
            with open(name, encoding="ascii") as f:
                out.write(f.read())
    tls = tuple(os.path.join(directory, name) for name in ("server.pem", "server.key"))
    if not ROOT:
        return tls, {"server": {"tls": {"ca_file": whole}}}
    target = os.path.realpath(BUNDLE)
    isolated.check(isolated.LIBC.mount(whole.encode(), target.encode(), None, MS_BIND, None), f"mounting over {target}")
    return tls, None


MEASUREMENTS = [rows.sizes, rows.first_message, rows.apply, rows.share, rows.restart, rows.large, rows.idle, rows.many_offers, rows.reconnects]


def tell(table, names, loads, out):
    print("| what | opampd | opampsupervisor 0.149 | expected of opampd |", file=out)
    print("| --- | --- | --- | --- |", file=out)
    for cells in table.rows(names):
        print("| " + " | ".join(cells) + " |", file=out)
    print(f"\nMedians (lowest-highest, n = number of measurements).  {machine()}; load average before, in between and after: "
          f"{', '.join(f'{load:.2f}' for load in loads)}.", file=out)
    for note in table.notes:
        print(f"{note}.", file=out)


def document(table, names, loads):
    with open(DOCUMENT + ".new", "w", encoding="utf-8") as out:
        print("""# What opampd costs

Made by `make bench`, which measures opampd and the OpenTelemetry Collector's own supervisor (`cmd/opampsupervisor`,
v0.149.0) in one run, on the same Collector and the same server (the one on the Go reference library).  Do not edit.
""", file=out)
        tell(table, names, loads, out)
        over = [row for row, _, _ in table.missed()]
        if over:
            print("\nWhat is over its bound, and why it stays so:\n", file=out)
            for row in over:
                print(f"- {row.text.format(**names)}: {WHY.get(row.key, 'not explained yet')}", file=out)
        print(EXPLANATION, file=out, end="")
    os.replace(DOCUMENT + ".new", DOCUMENT)


# for people: what it would cost to do better
WHY = {
    "cpu": """there are a handful of wake-ups in that minute (two heartbeats to the server and its answers, the
  Collector's own to link, what link tells confd), and each costs what a processor that has forgotten us takes to come back,
  not what is done: more of them would have to be saved, and each is one that the protocol or a process boundary asks for.""",
    "given-10": """nearly half of it is libyaml, which reads the text twice: once to put the configuration together, and
  once, in a fresh process, to look at what the first one wrote.  The rest is the way of ten megabytes through five processes,
  each of which reads them itself, the start of two sandboxes, and three files written before anything is switched.  Without the
  second look it would be within the bound; a YAML reader of our own would be faster too, and is what nobody should trust.""",
}

EXPLANATION = """
How it is measured:

- Settings are the defaults of each, but for places; what a row is about is set where it must be (the wait before a
  reconnect, for 1,000 of them; how long the Collector must have run for a crash to count as the first one).
- Memory is what the kernel says (`smaps_rollup`), of every process but the Collector.  opampsupervisor is one process.
  The most memory at one time is sampled about each millisecond, one-shot processes included; to it is added what
  stands in memory files (memfd), which belongs to no process.
- Processor time and wake-ups: `schedstat` and context switches of every thread.
- Wall times begin before `fork` or when the server sends, and end at the server's receipt, by its clock, or when a
  process appears.
- An apply is the Collector's own check of the configuration (opampd's default, not opampsupervisor's), its end and its
  start (each also measured with the Collector alone, below in the table), a wait that is a setting, and what opampd
  does itself.  The wait is `agent.settling_time` (2 s; the new configuration has to stay well for so long) for opampd, and
  `agent.config_apply_timeout` (5 s; a fixed wait before the verdict) for opampsupervisor.  opampd's own part is measured
  with an agent that checks, stops and starts at once (`tests/tools/fakeagent.c`).
- Large configurations are of real components, one of which has a long list of long values.
"""


def measured(lab, table, only):
    """The load of the machine before, between and after."""
    loads = [os.getloadavg()[0]]
    for measure in MEASUREMENTS:
        if only and not re.search(only, measure.__name__):
            continue
        begun = time.monotonic()
        print(f"bench: {measure.__name__} ...", file=sys.stderr, end="", flush=True)
        measure(lab, table)
        print(f" {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        loads.append(os.getloadavg()[0])
    return loads


def main():
    short, only = os.environ.get("BENCH") == "short", os.environ.get("ONLY")
    users_made()
    with tempfile.TemporaryDirectory(prefix="opampd-bench-", dir="/opt" if ROOT else None) as directory:
        os.chmod(directory, 0o755)
        if ROOT:  # a network of its own, where no port is taken, and mounts of its own
            isolated.enter((directory,))
        lab, table = Lab(short, directory), Table(short)
        try:
            loads = measured(lab, table, only)
        finally:
            if ROOT:
                subprocess.run(["umount", os.path.realpath(BUNDLE), directory], check=True)
    names = lab.names()
    tell(table, names, loads, sys.stdout)
    if not short and not only:
        document(table, names, loads)
    sys.exit(1 if table.judge(names) else 0)


main()
