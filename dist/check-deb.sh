#!/bin/sh
# check-deb.sh DIR: are the packages that make deb left in DIR as they should be?  lintian, blhc, hardening-check, what
# their SBOMs say, and a second build in another place: the same bytes.
set -u
first=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
log=$(mktemp)
second=$(mktemp -d /var/tmp/opampd-deb-second-XXXXXX)
unpacked=$(mktemp -d)
trap 'rm -rf "$log" "$second" "$unpacked"' EXIT

# shellcheck source=dist/checks.sh
. "$here/checks.sh"

lintian --allow-root --pedantic -I "$first"/*.changes >"$log" 2>&1 && test ! -s "$log"
ok "lintian --pedantic says nothing" $?
blhc --all "$first/build.log" >"$log" 2>&1
ok "blhc: every command has the distribution's hardening" $?
for deb in "$first"/opamp*.deb; do
	case $deb in *-dbgsym_*) ;; *) dpkg-deb -x "$deb" "$unpacked" ;; esac
done
hardened "$unpacked"
# what is in them may need what an older policy has no rule for
version=$(dpkg-deb -f "$(echo "$first"/opampd_*.deb)" Version)
for deb in "$first"/opampd_*.deb "$first"/opamphub_*.deb; do
	dpkg-deb -f "$deb" Package Breaks >"$log"
	grep -qxF "Breaks: opampd-selinux (<< $version)" "$log"
	ok "$(basename "$deb") does not go with an older policy" $?
done
"$here/check-sbom.py" "$here/.." "$first"/opampd_*.deb "$first"/opampd-selinux_*.deb "$first"/opamphub_*.deb >"$log" 2>&1
ok "what each package says that it is made of (SPDX)" $?
if "$here/build-deb.sh" "$second" "nocheck parallel=${JOBS:-$(nproc)}" >"$log" 2>&1; then
	for deb in "$first"/*.deb "$first"/*.tar.xz "$first"/*.dsc; do
		cmp "$deb" "$second/$(basename "$deb")" >"$log" 2>&1
		ok "$(basename "$deb") is built the same elsewhere" $?
	done
else
	ok "a second build" 1
fi
summary deb
