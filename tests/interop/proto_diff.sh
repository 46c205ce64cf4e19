#!/bin/sh
# Our .proto files against the descriptors of the reference library: TAP.
# ComponentHealth.attributes is in the specification since July 2026 and not yet in that library.
# (The library's package is opamp.proto, the specification's and ours opamp.proto.v1.)
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PATH=$PATH:/usr/local/go/bin
(cd protocheck && go run .) | LC_ALL=C sort >"$work/theirs"
/usr/bin/python3 protodump.py ../../proto | sed 's/opamp\.proto\.v1\./opamp.proto./g' |
	grep -v '^opamp.proto.ComponentHealth attributes 7 opamp.proto.KeyValue true -$' | LC_ALL=C sort >"$work/ours"
echo 1..1
if diff "$work/theirs" "$work/ours" >"$work/diff" && [ "$(wc -l <"$work/ours")" -gt 150 ]; then
	echo "ok 1 - FR-01 every field and enum value is as in the reference library ($(wc -l <"$work/ours"))"
else
	echo "not ok 1 - FR-01 every field and enum value is as in the reference library"
	sed 's/^/# /' "$work/diff"
	exit 1
fi
