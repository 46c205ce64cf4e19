#!/usr/bin/python3
"""check-sbom.py SOURCE PACKAGE...: are the SBOMs of these .deb or .rpm whole, and true?  TAP; it shares nothing with sbom.py.

Each is held against SPDX 2.3 (fields that have to be there, identifiers, references), against what is packed, against
the NEEDED of each program, against what dpkg-shlibdeps found for Depends, or rpm's find-requires for Requires, and
against the files of SOURCE that are committed."""
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile

DOCUMENT = {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": r"\S.*",
            "documentNamespace": r"[a-z]+:[^#\s]+"}
IDENTIFIER = r"SPDXRef-[A-Za-z0-9.-]+"
PACKAGE = {"SPDXID": IDENTIFIER, "name": r"\S+", "versionInfo": r"\S+", "supplier": r"(Organization|Person): \S.*",
           "downloadLocation": r"NOASSERTION|NONE|https?://\S+", "licenseConcluded": r"\S+", "licenseDeclared": r"\S+", "copyrightText": r"\S.*"}
FILE = {"SPDXID": IDENTIFIER, "fileName": r"\./\S.*", "licenseConcluded": r"ISC", "copyrightText": r"Copyright \S.*"}
KINDS = {"DESCRIBES", "GENERATED_FROM", "DYNAMIC_LINK", "DEPENDS_ON", "BUILD_TOOL_OF"}
count = failed = 0


def ok(wrong, name):
    global count, failed
    count += 1
    failed += bool(wrong)
    print(f"{'not ok' if wrong else 'ok'} {count} - {name}", flush=True)
    for line in list(wrong)[:20]:
        print(f"# {line}")


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": os.environ.get("HOME", "/")}).stdout


def lacks(thing, wanted):
    """What of the wanted fields is missing, or is no text of the form asked for."""
    return [f"{thing.get('SPDXID')}: {k}: {thing.get(k)!r}" for k, form in wanted.items()
            if not isinstance(thing.get(k), str) or not re.fullmatch(form, thing[k])]


def digest(path, algorithm):
    with open(path, "rb") as f:
        return hashlib.new(algorithm, f.read()).hexdigest()


def sums(file):
    return {c["algorithm"]: c["checksumValue"] for c in file["checksums"]}


def differs(file, path):
    if not os.path.isfile(path):
        return [f"{file['fileName']}: not there"]
    return [f"{file['fileName']}: {a}" for a in ("sha1", "sha256") if sums(file).get(a.upper()) != digest(path, a)]


def form(document, name):
    packages, files, relations = document["packages"], document["files"], document["relationships"]
    things = [document, *packages, *files]
    wrong = lacks(document, DOCUMENT)
    wrong += [w for p in packages for w in lacks(p, PACKAGE)] + [w for f in files for w in lacks(f, FILE)]
    created = document["creationInfo"]
    wrong += lacks({"SPDXID": "creationInfo", **created}, {"created": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"})
    wrong += [c for c in created["creators"] if not re.fullmatch(r"(Tool|Organization|Person): \S.*", c)] + ([] if created["creators"] else ["no creator"])
    wrong += [f"{f['SPDXID']}: SHA1" for f in files if not re.fullmatch("[0-9a-f]{40}", sums(f).get("SHA1", ""))]
    ok(wrong, f"{name}: every field that SPDX 2.3 asks for")
    names = [t["SPDXID"] for t in things]
    wrong = [i for i in set(names) if names.count(i) > 1]
    wrong += [str(r) for r in relations if r["spdxElementId"] not in names or r["relatedSpdxElement"] not in names or r["relationshipType"] not in KINDS]
    ok(wrong, f"{name}: identifiers are unique, and each reference leads somewhere")
    described = [r["relatedSpdxElement"] for r in relations if r["relationshipType"] == "DESCRIBES"]
    ok([] if described == [f"SPDXRef-Package-{name}"] else described, f"{name}: it describes that package")


def contents(document, name):
    """The files that each package of ours says it has, with its code made again."""
    files = {f["SPDXID"]: f for f in document["files"]}
    found, wrong = {}, []
    for p in document["packages"]:
        if not p["filesAnalyzed"]:
            continue
        found[p["name"]] = [files.pop(i) for i in p["hasFiles"]]
        code = hashlib.sha1("".join(sorted(sums(f)["SHA1"] for f in found[p["name"]])).encode()).hexdigest()
        if p["packageVerificationCode"]["packageVerificationCodeValue"] != code:
            wrong.append(f"{p['name']}: verification code")
    ok(wrong + list(files), f"{name}: each file belongs to one package, and their codes are right")
    return found


def packed(tree):
    return sorted(os.path.relpath(os.path.join(d, f), tree) for d, _, names in os.walk(tree) for f in names)


def programs(tree):
    for name in packed(tree):
        if os.path.islink(os.path.join(tree, name)):
            continue
        with open(os.path.join(tree, name), "rb") as f:
            if f.read(4) == b"\x7fELF":
                yield name, set(re.findall(r"\(NEEDED\)\s+Shared library: \[(.*)\]", run("readelf", "-d", os.path.join(tree, name))))


class Deb:
    finder = "dpkg-shlibdeps"

    def __init__(self, path):
        self.path = path
        self.name, self.version, depends = (run("dpkg-deb", "-f", path, field).strip() for field in ("Package", "Version", "Depends"))
        self.depends = set(re.findall(r"(?:^|, )([a-z0-9.+-]+)", depends))

    def unpack(self, tree):
        subprocess.run(["dpkg-deb", "-x", self.path, tree], check=True)

    def not_found(self, _libraries, packages):
        """What is linked and was not found by the finder."""
        return packages - self.depends


class Rpm:
    finder = "rpm's find-requires"

    def __init__(self, path):
        self.path = path
        self.name, self.version = run("rpm", "-qp", "--qf", "%{NAME} %{VERSION}-%{RELEASE}", path).split()
        self.depends = set(re.findall(r"^([^(\s]+\.so[^(\s]*)\(", run("rpm", "-qp", "--requires", path), re.M))

    def unpack(self, tree):
        subprocess.run(["sh", "-c", 'rpm2cpio "$0" | (cd "$1" && cpio -id --quiet)', self.path, tree], check=True)

    def not_found(self, libraries, _packages):
        return libraries ^ self.depends


def check(source, package):
    name, version = package.name, package.version
    with tempfile.TemporaryDirectory() as tree:
        package.unpack(tree)
        path = f"usr/share/doc/{name}/{name}.spdx.json.gz"
        with gzip.open(os.path.join(tree, path), "rb") as f:
            document = json.load(f)
        form(document, name)
        found = contents(document, name)
        ok([] if [p["versionInfo"] for p in document["packages"] if p["name"] == name] == [version] else ["another version"], f"{name}: its version")
        listed = {f["fileName"][2:]: f for f in found[name]}
        # the links to programs that rpm makes when it packs
        there = {n for n in packed(tree) if not (os.path.islink(os.path.join(tree, n)) and n.startswith("usr/lib/.build-id/"))}
        ok(set(listed) ^ (there - {path}), f"{name}: it lists what is packed, and nothing else")
        ok([w for n, f in listed.items() for w in differs(f, os.path.join(tree, n))], f"{name}: checksums of what is packed")
        links = {(r["spdxElementId"], r["comment"]): r["relatedSpdxElement"] for r in document["relationships"] if r["relationshipType"] == "DYNAMIC_LINK"}
        wanted = {(listed[n]["SPDXID"], library) for n, libraries in programs(tree) for library in libraries}
        ok(set(links) ^ wanted, f"{name}: each library that a program needs ({len(wanted)} times), and no other")
        by_id = {p["SPDXID"]: p for p in document["packages"]}
        wrong = []
        for (_, library), other in links.items():
            other = by_id[other]
            if run("dpkg-query", "-W", "-f", "${Version}", other["name"]) != other["versionInfo"]:
                wrong.append(f"{other['name']}: {other['versionInfo']} is not what is installed")
            if not any(line.rsplit("/", 1)[-1] == library for line in run("dpkg-query", "-L", other["name"]).splitlines()):
                wrong.append(f"{other['name']} has no {library}")
        ok(wrong, f"{name}: the packages that have them, with their versions")
        linked = {by_id[i]["name"] for i in links.values()}
        ok(package.not_found({library for _, library in links}, linked), f"{name}: {package.finder} found the same ({len(linked)} packages)")
        own = found[f"{name}-source"]
        folders = {f["fileName"].split("/")[1] for f in own}
        tracked = set(run("git", "-C", source, "ls-tree", "-r", "--name-only", "HEAD", *[f + "/" for f in folders]).splitlines())
        subprocess.run(["sh", "-c", 'mkdir "$1" && git -C "$0" archive HEAD | tar -x -C "$1"', source, f"{tree}/.source"], check=True)
        ok({f["fileName"][2:] for f in own} ^ tracked, f"{name}: all {len(tracked)} sources of {', '.join(sorted(folders))}")
        ok([w for f in own for w in differs(f, os.path.join(f"{tree}/.source", f["fileName"]))], f"{name}: checksums of the sources")


if len(sys.argv) < 3:
    sys.exit(__doc__)
for argument in sys.argv[2:]:
    check(sys.argv[1], Rpm(argument) if argument.endswith(".rpm") else Deb(argument))
print(f"1..{count}\n# {count - failed} passed, {failed} failed")
sys.exit(failed != 0)
