"""The table: what is measured, what is expected of opampd, and how it is shown."""

from measure import Figures

# how far over its bound a row may be before the run fails: what is counted has no noise, a time on a
# busy machine of somebody else's (BENCH=short) has most
# processor time of a few wake-ups is what the caches held, which differs by half between minutes of one run;
# the short form looks at ten seconds, and a heartbeat that falls into them counts six times
MARGIN = {"idle count": (1, 6), "idle time": (2, 18), "count": (1, 1), "size": (1, 1), "memory": (1.1, 1.1), "time": (1.25, 3), "none": (1, 1)}


class Row:
    def __init__(self, key, text, unit, kind, bound=None, decimals=1):
        self.key, self.text, self.unit, self.kind, self.bound, self.decimals = key, text, unit, kind, bound, decimals


ROWS = [
    Row("pss", "memory of all its processes (PSS), {settle} s after connecting", "MB", "memory", 7),
    Row("anonymous", "of it anonymous", "MB", "memory", 3.5),
    Row("cpu", "processor time in an idle minute", "ms", "idle time", 0.5, 2),
    Row("wakings", "wake-ups in an idle minute", "", "idle count", 10, 0),
    Row("first-ws", "start to the first message at the server, ws", "ms", "time", 20),
    Row("first-wss", "the same, wss with the system's CA bundle", "ms", "time", 35),
    Row("applied", "a good offer to APPLIED, whole", "ms", "time", None, 0),
    Row("share", "its own part: with an agent that takes no time, and without the wait of its settings", "ms", "time", 30),
    Row("syncs", "waits for the disk (fsync and its like) in one apply", "", "count", 7, 0),
    Row("restart", "kill -9 of the Collector to a new one", "ms", "time", 120),
    Row("given-1", "a configuration of 1 MiB: offer to the Collector's start on it, without its own check", "ms", "time"),
    Row("peak-1", "the same: most memory of all its processes at one time", "MB", "memory"),
    Row("given-10", "a configuration of 9.9 MiB: offer to the Collector's start on it, without its own check", "ms", "time", 300, 0),
    Row("peak-10", "the same: most memory of all its processes at one time", "MB", "memory", 60),
    Row("many-restarts", "200 offers, 100 ms apart: starts of the Collector", "", "none", None, 0),
    Row("many-last", "the same: the last of them to its APPLIED", "ms", "none", None, 0),
    Row("growth", "{reconnects} reconnects: anonymous memory grew by", "kB", "growth", 64, 0),
    Row("descriptors", "the same: descriptors grew by", "", "count", 0, 0),
    Row("binaries", "its stripped programs together", "MB", "size", 1, 2),
    Row("libraries", "the shared libraries that they load", "MB", "none", None, 2),
    Row("alone-validate", "the Collector alone: its own check of a configuration", "ms", "none"),
    Row("alone-start", "the Collector alone: start until it says that it is well", "ms", "none"),
    Row("alone-stop", "the Collector alone: SIGTERM to its end", "ms", "none"),
]
MARGIN["growth"] = (1, 1)


class Table:
    def __init__(self, short, all_rows=None, ours="opampd", theirs="opampsupervisor"):
        self.short = short
        self.all_rows, self.ours, self.theirs = all_rows or ROWS, ours, theirs
        self.figures = {}  # (key, product's name or "") -> Figures
        self.notes = []

    def add(self, key, product, value):
        self.figures.setdefault((key, product.name if product else ""), Figures()).add(value)

    def note(self, text):
        self.notes.append(text)

    def median(self, key, product=""):
        return self.figures[(key, product)].median

    def cell(self, row, product):
        f = self.figures.get((row.key, product))
        if f is None:
            return ""
        def number(value):
            text = f"{value:,.{row.decimals}f}"
            return text.lstrip("-") if float(text.replace(",", "")) == 0 else text
        spread = f" ({number(f.low)}-{number(f.high)}, n={len(f)})" if len(f) > 1 else ""
        return f"{number(f.median)}{' ' + row.unit if row.unit else ''}{spread}"

    def missed(self):
        """[(row, over its bound?, over the margin as well?)]"""
        found = []
        for row in self.all_rows:
            f = self.figures.get((row.key, self.ours))
            if f is None or row.bound is None:
                continue
            limit = row.bound * MARGIN[row.kind][1 if self.short else 0]
            if f.median > row.bound:
                found.append((row, f.median, limit))
        return found

    def judge(self, names, busy=1):
        """Tells what is over its bound; true if something is over its margin too (a time: `busy` times that)."""
        failed = False
        for row, value, limit in self.missed():
            over = value > limit * (busy if row.kind == "time" else 1)
            failed |= over
            print(f"{'FAILED' if over else 'over its bound, within the noise'}: {row.text.format(**names)}: "
                  f"{value:.{row.decimals}f} {row.unit}, expected {row.bound:g}")
        return failed

    def rows(self, names):
        for row in self.all_rows:
            if all((row.key, name) not in self.figures for name in (self.ours, self.theirs, "")):
                continue
            bound = "" if row.bound is None else f"{row.bound:g}{' ' + row.unit if row.unit else ''}"
            yield (row.text.format(**names), self.cell(row, self.ours) or self.cell(row, ""), self.cell(row, self.theirs), bound)
