"""Parts of a test that wait most of the time: each in a process of its own, beside the others, as one test."""
import os
import re
import subprocess
import sys
import threading


class Parts:
    """All of them, their lines numbered anew."""

    def __init__(self, parts):
        self.parts = parts
        self.lock = threading.Lock()
        self.count = 0
        self.failed = False

    def follow(self, part):
        with subprocess.Popen([sys.executable, os.path.abspath(sys.argv[0]), part], stdout=subprocess.PIPE, text=True, errors="replace") as p:
            planned = seen = 0
            block = []
            for line in p.stdout:
                m = re.match(r"(not )?ok \d+ - (.*)", line)
                if re.match(r"1\.\.(\d+)$", line):
                    planned = int(line[3:])
                elif m:
                    seen += 1
                    with self.lock:
                        self.count += 1
                        print("".join(block) + f"{m.group(1) or ''}ok {self.count} - {part}: {m.group(2)}", flush=True)
                    block = []
                else:
                    block.append(line if line.startswith("#") else "# " + line)
        with self.lock:
            print("".join(block), end="", flush=True)
            if p.returncode != 0 or planned != seen or not seen:
                self.failed = True
                if planned != seen or not seen:
                    self.count += 1
                    print(f"not ok {self.count} - {part}: {seen} of {planned} tests ran", flush=True)

    def run(self):
        threads = [threading.Thread(target=self.follow, args=(part,)) for part in self.parts]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        print(f"1..{self.count}", flush=True)
        sys.exit(1 if self.failed else 0)
