#!/bin/bash
# lint.sh: selint over selinux/, with the distribution's policy sources (selinux-policy-src) as context, so that
# it knows classes, permissions and the types of others.
set -eu
cd "$(dirname "$0")/../.."
O=${O:-build}
source=$O/selinux/source

if [ ! -d "$source" ]; then
	mkdir -p "$source"
	tar --zstd -xf /usr/src/selinux-policy-src.tar.zst -C "$source"
fi
selint --fail --recursive --context="$source" selinux
echo "selint: nothing found"
