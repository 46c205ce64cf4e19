#!/usr/bin/python3
"""Writes the page's files and the API's document as C (see hub/static.h): embed.py OPENAPI FILE..."""
import os
import sys

TYPES = {"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8",
         "css": "text/css; charset=utf-8", "svg": "image/svg+xml", "ico": "image/x-icon",
         "png": "image/png"}


def array(name, data):
    lines = [",".join(str(b) for b in data[i:i + 24]) for i in range(0, len(data), 24)]
    return f"static const unsigned char {name}[] = {{\n" + ",\n".join(lines or ["0"]) + "\n};\n"


def main():
    with open(sys.argv[1], "rb") as f:
        document = f.read()
    print('#include "hub/static.h"\n')
    print("const char hub_openapi[] = {\n" + ",".join(str(b if b < 128 else b - 256) for b in document) + "\n};")
    print(f"const size_t hub_openapi_size = {len(document)};\n")
    rows = []
    for number, path in enumerate(sorted(sys.argv[2:])):
        with open(path, "rb") as f:
            data = f.read()
        name = os.path.basename(path)
        print(array(f"file_{number}", data))
        rows.append(f'\t{{"/{name}", "{TYPES[name.rsplit(".", 1)[1]]}", file_{number}, {len(data)}}},')
    print("const struct static_file static_files[] = {\n" + "\n".join(rows) + "\n\t{NULL, NULL, NULL, 0},\n};")


main()
