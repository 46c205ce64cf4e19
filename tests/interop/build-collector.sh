#!/bin/bash
# Builds the Collector of the interoperability tests from otelcol-builder.yaml.
#
#   build-collector.sh OUT      OUT = path of the program to make
#
# With OTELCOL_BINARY set, that program is taken in place of a build (for a host without Go).
# Does nothing when OUT is there and newer than the manifest.
set -eu
out=${1:?where to put the Collector}
manifest=$(cd "$(dirname "$0")" && pwd)/otelcol-builder.yaml
version=$(sed -n 's/^  version: *//p' "$manifest")

mkdir -p "$(dirname "$out")"
out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
if [ -n "${OTELCOL_BINARY:-}" ]; then
	cmp -s "$OTELCOL_BINARY" "$out" || install -m 755 "$OTELCOL_BINARY" "$out"
	exit 0
fi
if [ -x "$out" ] && [ "$out" -nt "$manifest" ]; then
	exit 0
fi
if ! command -v go >/dev/null; then
	echo "build-collector: no Go on the PATH: install it, or set OTELCOL_BINARY to a Collector built from $manifest" >&2
	exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GOFLAGS="-mod=mod ${GOFLAGS:-}" CGO_ENABLED=0
# the builder may use a go.mod of the directory it starts in: start in an empty one
cd "$work"
GOBIN=$work/bin go install "go.opentelemetry.io/collector/cmd/builder@v$version"
sed "s|^  output_path:.*|  output_path: $work/src|" "$manifest" >"$work/manifest.yaml"
"$work/bin/builder" --config "$work/manifest.yaml"
install -m 755 "$work/src/$(sed -n 's/^  name: *//p' "$manifest")" "$out.new"
mv "$out.new" "$out"
"$out" --version
