#!/usr/bin/python3
"""sbom.py [--shared] PACKAGE VERSION TREE OUT: what a package is made of, as SPDX 2.3 in JSON.

TREE is the package as it will be packed, or with --shared all packages of this source, as rpmbuild has them, and the
working directory the source.  Each file with its checksums, each library that a program asks the loader for with the
package of this system that has it (dpkg's where /etc/debian_version is, otherwise rpm's; SBOM_FROM=rpm to try that), our
sources with theirs, and the tools.  The same input gives the same bytes: the time is SOURCE_DATE_EPOCH, the name is made
from the content."""
import datetime
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import uuid

LICENCE = "ISC"
COPYRIGHT = "Copyright 2026 The opampd authors"
SUPPLIER = "Organization: The opampd authors"
# what goes into the programs of each package; the Makefile's archives say it
SOURCES = {
    "opampd": ["privsep", "wire", "netd", "confd", "procd", "ctl", "proto"],
    "opamphub": ["privsep", "wire", "hub", "proto"],
    "opampd-selinux": ["selinux"],
}
# by their Debian names, and Fedora's where they differ
TOOLS = {
    "opampd": ["gcc", "binutils", "libc6-dev", "protobuf-c-compiler", "protobuf-compiler"],
    "opamphub": ["gcc", "binutils", "libc6-dev", "protobuf-c-compiler", "protobuf-compiler", "python3"],
    "opampd-selinux": ["checkpolicy", "m4", "selinux-policy-dev", "semodule-utils"],
}
FEDORA = {"libc6-dev": "glibc-devel", "selinux-policy-dev": "selinux-policy-devel", "semodule-utils": "policycoreutils"}


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True,
                          env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": os.environ.get("HOME", "/")}).stdout


def identifier(kind, name):
    return f"SPDXRef-{kind}-" + re.sub(r"[^A-Za-z0-9.-]", lambda m: "-" if m[0] == "/" else f"-{ord(m[0]):x}-", name)


def checksums(path):
    with open(path, "rb") as f:
        data = f.read()
    return [{"algorithm": a.upper(), "checksumValue": hashlib.new(a, data).hexdigest()} for a in ("sha1", "sha256")]


def walk(top):
    """Regular files below top, by their paths, in one order wherever it runs."""
    found = [os.path.join(d, f) for d, _, names in os.walk(top) for f in names]
    return sorted(f for f in found if os.path.isfile(f) and not os.path.islink(f))


def entry(kind, name, path):
    return {"SPDXID": identifier(kind, name), "fileName": "./" + name, "checksums": checksums(path),
            "licenseConcluded": LICENCE, "licenseInfoInFiles": ["NOASSERTION"], "copyrightText": COPYRIGHT}


def verification(files):
    """SPDX 2.3, 7.9: over the SHA-1 sums of the files, sorted."""
    sums = sorted(c["checksumValue"] for f in files for c in f["checksums"] if c["algorithm"] == "SHA1")
    return {"packageVerificationCodeValue": hashlib.sha1("".join(sums).encode()).hexdigest()}


def needed(path):
    """The libraries that the loader is asked for; none of a file that is no program."""
    with open(path, "rb") as f:
        if f.read(4) != b"\x7fELF":
            return []
    return sorted(re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-dW", path)))


def debian_owner(library, _program):
    """The installed package that has the library that the loader would take."""
    multiarch = run("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip()
    folders = [f"/lib/{multiarch}", f"/usr/lib/{multiarch}", "/lib64", "/lib", "/usr/lib"]
    owners = {}
    for line in run("dpkg-query", "-S", f"*/{library}").splitlines():
        packages, _, path = line.partition(": ")
        owners[path] = packages.split(", ")[0]
    for folder in folders:
        if f"{folder}/{library}" in owners:
            return owners[f"{folder}/{library}"]
    sys.exit(f"sbom.py: {library}: no installed package has it")


def ours(name, version, files, comment, **more):
    return {"SPDXID": identifier("Package", name), "name": name, "versionInfo": version, "supplier": SUPPLIER,
            "downloadLocation": "NOASSERTION", "filesAnalyzed": True, "packageVerificationCode": verification(files),
            "licenseConcluded": LICENCE, "licenseDeclared": LICENCE, "licenseInfoFromFiles": ["NOASSERTION"],
            "copyrightText": COPYRIGHT, "comment": comment, "hasFiles": [f["SPDXID"] for f in files], **more}


def debian(package):
    """A package of the distribution, as it is installed where this is built."""
    form = "${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}"
    name, version, architecture, source, source_version = run("dpkg-query", "-W", "-f", form, package).split("\t")
    purl = f"pkg:deb/debian/{name}@{version.replace(':', '%3A').replace('+', '%2B')}?arch={architecture}"
    return {"SPDXID": identifier("Package", f"debian-{name}"), "name": name, "versionInfo": version,
            "supplier": "Organization: Debian", "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
            "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
            "sourceInfo": f"built from {source} {source_version}; licences: /usr/share/doc/{name}/copyright",
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}]}


def rpm_owner(library, program):
    """The same of rpm; where the library is the loader says."""
    found = re.search(rf"(/\S*/{re.escape(library)}) \(0x", run("ldd", program))
    if not found:
        sys.exit(f"sbom.py: {library}: the loader does not find it for {program}")
    return run("rpm", "-qf", "--qf", "%{NAME}\n", found[1]).splitlines()[0]


def rpm(package):
    """A package of rpm's, as it is installed where this is built.  That of the policy is built for all machines alike:
    no machine in it."""
    form = "%{NAME}\t%{VERSION}-%{RELEASE}\t%{SOURCERPM}\t%{LICENSE}\t%{VENDOR}\n"
    name, version, source, licence, vendor = run("rpm", "-q", "--qf", form, FEDORA.get(package, package)).splitlines()[0].split("\t")
    with open("/etc/os-release", encoding="utf-8") as f:
        system = re.search(r'^ID="?(\w+)', f.read(), re.M)[1]
    purl = f"pkg:rpm/{system}/{name}@{version.replace('+', '%2B').replace('^', '%5E').replace('~', '%7E')}"
    return {"SPDXID": identifier("Package", f"rpm-{name}"), "name": name, "versionInfo": version,
            "supplier": "NOASSERTION" if vendor == "(none)" else f"Organization: {vendor}", "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
            "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
            "sourceInfo": f"built from {source}; licence: {licence}",
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}]}


def relation(one, kind, other, comment=None):
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other, **({"comment": comment} if comment else {})}


def belongs(path):
    """Whose a file is where all packages are in one tree; check-sbom.py finds what the spec has otherwise."""
    if path.startswith(("usr/lib/debug/", "usr/src/debug/")):
        return None
    return next((name for mark, name in (("selinux", "opampd-selinux"), ("opamphub", "opamphub")) if mark in path), "opampd")


def describe(name, version, tree, out, shared):
    owner, installed = (debian_owner, debian) if os.path.exists("/etc/debian_version") and os.environ.get("SBOM_FROM") != "rpm" else (rpm_owner, rpm)
    packed = [(os.path.relpath(p, tree), p) for p in walk(tree)]
    packed = [(n, p) for n, p in packed if not n.startswith("DEBIAN/") and os.path.abspath(p) != os.path.abspath(out)]
    packed = [(n, p) for n, p in packed if not shared or belongs(n) == name]
    files = [entry("File", n, p) for n, p in packed]
    sources = [entry("Source", n, n) for folder in SOURCES[name] for n in walk(folder)]
    package = ours(name, version, files, "the package as it is installed", primaryPackagePurpose="APPLICATION")
    source = ours(f"{name}-source", version, sources, "what its programs are made from: " + ", ".join(SOURCES[name]),
                  primaryPackagePurpose="SOURCE")
    packages, relations = {}, [relation("SPDXRef-DOCUMENT", "DESCRIBES", package["SPDXID"]),
                               relation(package["SPDXID"], "GENERATED_FROM", source["SPDXID"])]
    for (_, path), file in zip(packed, files):
        for library in needed(path):
            other = installed(owner(library, path))
            packages[other["SPDXID"]] = other
            relations.append(relation(file["SPDXID"], "DYNAMIC_LINK", other["SPDXID"], library))
    for other in sorted(packages):
        relations.append(relation(package["SPDXID"], "DEPENDS_ON", other))
    for tool in TOOLS[name]:
        other = installed(tool)
        packages[other["SPDXID"]] = other
        relations.append(relation(other["SPDXID"], "BUILD_TOOL_OF", package["SPDXID"]))
    return {"packages": [package, source] + [packages[p] for p in sorted(packages)], "files": files + sources,
            "relationships": relations}


def main(name, version, tree, out, shared):
    content = describe(name, version, tree, out, shared)
    created = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    document = {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"{name}-{version}",
                "documentNamespace": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
                "creationInfo": {"created": created.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": [SUPPLIER, "Tool: opampd-dist-sbom.py"]},
                **content}
    os.makedirs(os.path.dirname(out), exist_ok=True)
    with open(out, "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as packed:
        packed.write(json.dumps(document, indent=1).encode() + b"\n")
    os.chmod(out, 0o644)


if __name__ == "__main__":
    words = [a for a in sys.argv[1:] if a != "--shared"]
    if len(words) != 4:
        sys.exit(__doc__)
    main(*words, shared="--shared" in sys.argv)
