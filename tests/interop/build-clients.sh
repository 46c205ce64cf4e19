#!/bin/bash
# Installs the clients of others that tests/interop/clients.t runs against opamphub.
#
#   build-clients.sh DIR      DIR/python: a virtual environment with opentelemetry-opamp-client
#                             DIR/node_modules: @elastic/opamp-client-node
#
# Versions and hashes are those of tests/interop/clients/requirements.txt and package-lock.json; where they
# come from is how this machine's pip and npm are set up.  No package's own script is run.
set -eu
out=${1:?where to put the clients}
here=$(cd "$(dirname "$0")" && pwd)/clients
mkdir -p "$out"
rm -rf "$out/python" "$out/node_modules"
/usr/bin/python3 -m venv "$out/python"
"$out/python/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
	-r "$here/requirements.txt"
cp "$here/package.json" "$here/package-lock.json" "$out/"
(cd "$out" && npm ci --silent --ignore-scripts --no-audit --no-fund)
touch "$out/installed"
