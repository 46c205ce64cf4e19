#!/usr/bin/python3
"""make bench-hub: what opamphub costs with thousands of agents, beside the least server on the OpAMP reference library
(tests/interop/server -bare, which stores nothing), in one run.  Prints the table, writes doc/performance-hub.md (not
with BENCH=short), and fails where opamphub is further over a bound than the noise of a machine explains."""
import os
import resource
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import browser
from fleets import EFFECTIVE, HEARTBEAT, Fleet, OurHub, Reference, pss
from measure import cost, machine
from table import Row, Table

DOCUMENT = os.path.join(HERE, "..", "..", "doc", "performance-hub.md")
AGENTS = 8000
ROUNDS, SETTLE, IDLE, CONFIGURATIONS = (1, 3, 3, 3) if os.environ.get("BENCH") == "short" else (5, 5, 5, 3)
SHORT = os.environ.get("BENCH") == "short"
REFERENCE_APPLIED = 0.4  # s, on a machine with nothing else to do

ROWS = [
    Row("memory", "memory (PSS of its processes, less that of an empty one) per agent, connected and reported", "kB", "memory", 6, 2),
    Row("memory-after", "the same after {configurations} configurations to all", "kB", "memory", 6, 2),
    Row("connected", "{agents} agents connect and report: the last first report is answered", "s", "none", None, 2),
    Row("connected-cpu", "processor time for that, per agent", "µs", "none", None, 0),
    Row("idle-cpu", "processor time in a second of heartbeats", "ms", "none"),
    Row("offered", "one configuration to all: the call until the last has got it", "s", "none", None, 2),
    Row("applied", "the call until the last agent's answer (APPLIED and what is effective) has been taken, at opamphub also stored", "s", "time", 0.6, 2),
    Row("applied-cpu", "processor time for that, per agent", "µs", "none", None, 0),
    Row("unstored", "agents of whose answer a kill -9 right afterwards left nothing, or not all", "", "count", 0, 0),
    Row("list", "the page's list, first screen, asked for each 50 ms: usual", "ms", "time", 100),
    Row("list-most", "the same, the slowest while a configuration goes to all", "ms", "time", 100, 0),
    Row("filter", "the page's list filtered, likewise: usual", "ms", "time", 100),
    Row("filter-most", "the same, the slowest while a configuration goes to all", "ms", "time", 100, 0),
    Row("browser-open", "the page in a browser (Chromium): opened until its rows are there", "ms", "none", None, 0),
    Row("browser-filter", "the same: a word typed until the rows that fit are there", "ms", "none", None, 0),
]

EXPLANATION = f"""
How it is measured:

- The agents are one program (`tests/bench/fleet.c`) on the same machine, which shares the processors with the server.
  Each is a WebSocket connection with a heartbeat each {HEARTBEAT} s, an effective configuration of {EFFECTIVE} bytes and six attributes; to an
  offered configuration (2 KiB) it answers at once by APPLIED and what is effective then.
- opamphub runs as it is installed: two processes in their sandboxes, its store on the disk, each commit synced.  An
  agent's answer is answered once it is stored.  The other server remembers what each agent said last, and stores nothing.
- The configuration is assigned by a selector that fits all, by the API's call; the times are from before that call until
  the last agent has been answered.
- The page's list is asked for by one connection, and filtered by another, each 50 ms whether or not the last answer is there; the times
  are from when it was due.  "Usual" is the median over the whole time, "slowest" the slowest of one configuration.
- After the last configuration of a round all of opamphub's processes are killed, and its store is opened and looked at.
"""


def measure_page(hub):
    """In the real browser."""
    page = browser.Browser()
    try:
        page.open(f"http://127.0.0.1:{hub.hub.page_port}/")
        opened = page.until("document.querySelectorAll('#fleet-rows tr').length >= 100 && performance.now()", "a hundred rows")
        filtered = page.run("""new Promise((done) => {
            const begun = performance.now(), e = document.querySelector('#search');
            const look = () => document.querySelectorAll('#fleet-rows tr').length === 10 ? done(performance.now() - begun) : requestAnimationFrame(look);
            e.value = 'web0123'; e.dispatchEvent(new Event('input', {bubbles: true})); look(); })""")
        return opened, filtered
    finally:
        page.close()


def configure(product, fleet, number, table):
    watched = isinstance(product, OurHub)
    if watched:
        product.watch()
        time.sleep(0.5)
    mark, used = len(fleet.events), cost(product.pids)[0]
    begun = product.assign(number)
    event = fleet.wait("applied", mark)
    table.add("offered", product, event["last_offer"] - begun)
    table.add("applied", product, event["time"] - begun)
    table.add("applied-cpu", product, (cost(product.pids)[0] - used) * 1000 / AGENTS)
    if watched:
        for key, took in zip(("list", "filter"), product.watched()):
            table.add(key, product, sorted(took)[len(took) // 2])
            table.add(key + "-most", product, max(took))
    return event


def one_round(product, table, last):
    empty, used = pss(product.pids), cost(product.pids)[0]
    with Fleet(product.port, AGENTS) as fleet:
        event = fleet.wait("reported")
        table.add("connected", product, event["time"] - fleet.begun)
        table.add("connected-cpu", product, (cost(product.pids)[0] - used) * 1000 / AGENTS)
        time.sleep(SETTLE)
        table.add("memory", product, (pss(product.pids) - empty) / AGENTS)
        used, begun = cost(product.pids)[0], time.monotonic()
        time.sleep(IDLE)
        table.add("idle-cpu", product, (cost(product.pids)[0] - used) / (time.monotonic() - begun))
        for i in range(CONFIGURATIONS):
            event = configure(product, fleet, i, table)
            time.sleep(1)
            if i == CONFIGURATIONS - 2:
                table.add("memory-after", product, (pss(product.pids) - empty) / AGENTS)
                if last and not SHORT and isinstance(product, OurHub):
                    for key, ms in zip(("browser-open", "browser-filter"), measure_page(product)):
                        table.add(key, product, ms)
        if isinstance(product, OurHub):
            mark = len(fleet.events)
            product.assign(CONFIGURATIONS)
            event = fleet.wait("applied", mark)
            # an answer to a heartbeat may have been taken for that to APPLIED: how many is told
            table.add("unstored", product, max(0, AGENTS - event["unsure"] - product.kill()))


def tell(table, names, loads, out):
    print("| what | opamphub | the least server on opamp-go | expected of opamphub |", file=out)
    print("| --- | --- | --- | --- |", file=out)
    for cells in table.rows(names):
        print("| " + " | ".join(cells) + " |", file=out)
    print(f"\nMedians (lowest-highest, n = number of measurements).  {machine()}; load average before and after: "
          f"{', '.join(f'{load:.2f}' for load in loads)}.", file=out)


def main():
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < AGENTS + 500:
        sys.exit(f"bench-hub: {AGENTS} agents need {AGENTS + 500} descriptors in one process: raise the limit (ulimit -n)")
    table, loads = Table(SHORT, ROWS, OurHub.name, Reference.name), [os.getloadavg()[0]]
    for i in range(ROUNDS):
        for P in (OurHub, Reference):
            print(f"bench-hub: {P.name}, {i + 1} of {ROUNDS} ...", file=sys.stderr, end="", flush=True)
            begun, product = time.monotonic(), P()
            try:
                one_round(product, table, i == ROUNDS - 1)
            finally:
                product.end()
            print(f" {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    loads.append(os.getloadavg()[0])
    names = {"agents": f"{AGENTS:,}", "configurations": CONFIGURATIONS - 1}
    tell(table, names, loads, sys.stdout)
    if not SHORT:
        with open(DOCUMENT + ".new", "w", encoding="utf-8") as out:
            print(f"""# What opamphub costs with {AGENTS:,} agents

Made by `make bench-hub`, which measures opamphub and the least server on the OpAMP reference library (Go) in one run.  Do not edit.
""", file=out)
            tell(table, names, loads, out)
            print(EXPLANATION, file=out, end="")
        os.replace(DOCUMENT + ".new", DOCUMENT)
    # of a busy machine (BENCH=short) the other server says how busy it is
    busy = max(1, table.median("applied", Reference.name) / REFERENCE_APPLIED) if SHORT else 1
    sys.exit(1 if table.judge(names, busy) else 0)


main()
