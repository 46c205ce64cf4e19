#!/bin/sh
# next-version.sh DEB OUT: the same Debian package as its next version (VERSION+1), for trying an upgrade.
set -eu
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
dpkg-deb -R "$1" "$tree/package"
version=$(dpkg-deb -f "$1" Version | sed 's/[.+]/\\&/g')
# packages of this source that ask for each other in one version, or not in an older one
sed -i -E "s/^Version: .*/&+1/; s/\((=|<<) ($version)\)/(\1 \2+1)/" "$tree/package/DEBIAN/control"
dpkg-deb -Zgzip -z1 --root-owner-group -b "$tree/package" "$2" >/dev/null
