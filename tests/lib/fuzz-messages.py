#!/usr/bin/python3
"""fuzz-messages.py DIRECTORY NUMBER TARGET...: coverage-guided fuzzing of the message handlers, at least so many
messages in all, as many targets at a time as there are processors, at the lowest priority.

It is a failure if a target finds anything, or if a row of MESSAGE_TABLE was never taken by the handler of a process
that may be sent it.  The frame of the children (fuzz_frame_messages.c) stands for those with rows that the frame
itself, and merge, handle; what it hands on to a handler of its own counts in the sum only.
"""
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__))))
os.environ.setdefault("O", "build")
import fuzz_long  # noqa: E402
import messages_table  # noqa: E402

ROUND_S = 20      # of one run of a target
LIMIT_S = 3600    # of it all, on however slow a machine
LEAST = 100000    # messages for each target
SEEDS = 6
SEED_BYTES = 4000
FRAMES_OWN = ("CHILD_START", "CHILD_PEER", "CHILD_GO", "CHILD_END")


class Target:
    def __init__(self, directory, name):
        self.name = name
        self.program = os.path.join(directory, f"fuzzer_{name}")
        self.corpus = self.program + ".new"
        self.seeds = self.program + ".seeds"
        self.counts = self.program + ".messages"
        self.rows = {}      # (row, sender, receiver) -> [handled, taken]
        self.refused = self.inputs = self.rounds = 0
        self.process = None
        os.makedirs(self.corpus, exist_ok=True)
        fuzz_long.seeds(name, self.seeds)
        for n in range(SEEDS):  # long ones: many messages each
            with open(os.path.join(self.seeds, f"random{n}"), "wb") as f:
                f.write(random.Random(f"{name}{n}").randbytes(SEED_BYTES))

    def start(self):
        if os.path.exists(self.counts):
            os.unlink(self.counts)
        self.rounds += 1
        with open(self.program + ".log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["nice", "-n", "19", self.program, f"-max_total_time={ROUND_S}", f"-max_len={SEED_BYTES}", "-len_control=0",
                 "-timeout=60", "-rss_limit_mb=2048", "-verbosity=0", f"-artifact_prefix={self.program}.crash-",
                 self.corpus, self.seeds],
                stdout=log, stderr=log, env={**os.environ, "MESSAGES": self.counts, "ASAN_OPTIONS": "detect_leaks=1"})

    def take(self):
        """After the end of a run: what it has counted.  An error if it found something."""
        status, self.process = self.process.returncode, None
        if status != 0 or not os.path.exists(self.counts):
            with open(self.program + ".log", encoding="utf-8", errors="replace") as f:
                sys.exit(f"{self.name}: exit status {status}\n" + "".join(f.readlines()[-60:]))
        with open(self.counts, encoding="ascii") as f:
            for line in f:
                words = line.split()
                if words[0] == "refused":
                    self.refused += int(words[1])
                elif words[0] == "inputs":
                    self.inputs += int(words[1])
                else:
                    row = self.rows.setdefault(tuple(words[:3]), [0, 0])
                    row[0] += int(words[3])
                    row[1] += int(words[4])

    def messages(self):
        return sum(handled for handled, _ in self.rows.values()) + self.refused


def by_row(targets):
    found = {}
    for t in targets:
        for row, (handled, taken) in t.rows.items():
            if t.name == "frame_messages" and row[0] not in FRAMES_OWN and row[2] != "merge":
                continue
            old = found.setdefault(row, [0, 0])
            old[0] += handled
            old[1] += taken
    return found


def main():
    directory, wanted = sys.argv[1], int(sys.argv[2])
    targets = [Target(directory, name) for name in sys.argv[3:]]
    expected = messages_table.pairs()
    begun = time.monotonic()

    def never_taken():
        found = by_row(targets)
        return [row for row in expected if found.get(row, (0, 0))[1] == 0]

    def enough():
        return sum(t.messages() for t in targets) >= wanted and all(t.messages() >= LEAST for t in targets) and not never_taken()
    running = []
    while running or not enough():
        if time.monotonic() - begun > LIMIT_S:
            break
        while len(running) < (os.cpu_count() or 1) and not enough():
            idle = [t for t in targets if t.process is None]
            if not idle:
                break
            least = min(idle, key=lambda t: (t.rounds, t.messages()))
            least.start()
            running.append(least)
        for t in [t for t in running if t.process.poll() is not None]:
            running.remove(t)
            t.take()
        time.sleep(0.1)
    for t in running:
        t.process.kill()
        t.process.wait()
    print(f"{'row':20} {'from':8} {'to':8} {'handled':>10} {'taken':>10}")
    found = by_row(targets)
    for row in expected:
        handled, taken = found.get(row, (0, 0))
        print(f"{row[0]:20} {row[1]:8} {row[2]:8} {handled:10} {taken:10}")
    for t in targets:
        print(f"{t.name}: {t.messages()} messages ({t.refused} refused by the channel) in {t.inputs} inputs")
    total = sum(t.messages() for t in targets)
    print(f"{total} messages in {time.monotonic() - begun:.0f} s; {len(expected)} rows between two processes, {len(never_taken())} of them never taken")
    if not enough():
        sys.exit(f"not enough: {wanted} messages were wanted, {LEAST} for each target, and every row taken; never taken: {never_taken()}")


main()
