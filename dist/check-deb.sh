#!/bin/sh
# check-deb.sh DIR: are the packages that make deb left in DIR as they should be?  lintian, blhc, hardening-check, what
# their SBOMs say, and a second build in another place: the same bytes.
set -u
first=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
passed=0 failed=0
log=$(mktemp)
second=$(mktemp -d /var/tmp/opampd-deb-second-XXXXXX)
unpacked=$(mktemp -d)
trap 'rm -rf "$log" "$second" "$unpacked"' EXIT

ok() { # name, status; $log says more
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
		echo "ok - $1"
	else
		failed=$((failed + 1))
		echo "not ok - $1"
		sed 's/^/# /' "$log"
	fi
}

lintian --allow-root --pedantic -I "$first"/*.changes >"$log" 2>&1 && test ! -s "$log"
ok "lintian --pedantic says nothing" $?
blhc --all "$first/build.log" >"$log" 2>&1
ok "blhc: every command has the distribution's hardening" $?
for deb in "$first"/opamp*.deb; do
	case $deb in *-dbgsym_*) ;; *) dpkg-deb -x "$deb" "$unpacked" ;; esac
done
# no control-flow note: Debian 12's own start files have none, so that the linker leaves it out; the code has it
find "$unpacked" -type f -perm -100 -exec sh -c 'head -c 4 "$0" | grep -q ELF' {} ';' -print0 >"$unpacked/programs"
xargs -0 hardening-check --nocfprotection -q <"$unpacked/programs" >"$log" 2>&1 &&
	test "$(tr -cd '\0' <"$unpacked/programs" | wc -c)" -eq 11
ok "hardening-check: every program, all 11" $?
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
[ -z "${RESULTS:-}" ] || echo "$passed $failed 0 deb" >>"$RESULTS"
echo "deb: $passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
