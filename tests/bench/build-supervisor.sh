#!/bin/bash
# Builds the OpenTelemetry Collector's own supervisor, which `make bench` measures beside opampd.
#
#   build-supervisor.sh OUT      OUT = path of the program to make
#
# From Go modules, as its own releases are built.  Does nothing when OUT is there and newer than this file.
set -eu
out=${1:?where to put the supervisor}
version=v0.149.0
module=github.com/open-telemetry/opentelemetry-collector-contrib/cmd/opampsupervisor

if [ -x "$out" ] && [ "$out" -nt "$0" ]; then
	exit 0
fi
if ! command -v go >/dev/null; then
	echo "build-supervisor: no Go on the PATH: install it (Debian: golang-go 1.24 or newer)" >&2
	exit 1
fi
mkdir -p "$(dirname "$out")"
out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CGO_ENABLED=0 GOFLAGS="-mod=mod ${GOFLAGS:-}"
cd "$work"
source=$(go mod download -json "$module@$version" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
cp -r "$source" source
chmod -R u+w source
cd source
# `go install` does not take a module that replaces others by neighbours in its repository: the same
# versions come from the proxy
sed -i '/^replace .* => \.\./d' go.mod
go build -trimpath -ldflags='-s -w' -o "$out.new" .
mv "$out.new" "$out"
