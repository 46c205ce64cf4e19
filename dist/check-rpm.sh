#!/bin/bash
# check-rpm.sh RPMDIR DEBDIR: are the packages that make rpm left in RPMDIR as they should be?  The same files with the
# same modes as the Debian packages in DEBDIR, hardened programs, rpmlint, what their SBOMs say, what their scriptlets do
# (scriptlets.sh), nothing left by a removal, and a second build in another place: the same bytes.
set -u
first=$(cd "$1" && pwd)
debs=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
log=$(mktemp)
second=$(mktemp -d /var/tmp/opampd-rpm-second-XXXXXX)
unpacked=$(mktemp -d)
work=$(mktemp -d)
list=$work/list
trap 'rm -rf "$log" "$second" "$unpacked" "$work"' EXIT

# shellcheck source=dist/checks.sh
. "$here/checks.sh"
# shellcheck source=dist/scriptlets.sh
. "$here/scriptlets.sh"

# "mode owner path" of each, where both have it at the same place.  Apart from that differ, by each one's rules:
# licence, changelog and what is Debian's alone; SELinux' folders; directories that others own, too.
common() {
	sed -E 's|^(\S+) (\S+) \./|\1 \2 /|; s| /lib/systemd/| /usr/lib/systemd/|; s|\.gz$||
		s|/selinux/packages/targeted/|/selinux/packages/|; s|/include/distributed/|/include/contrib/|' |
		grep -E '^-' |
		grep -vE ' (/etc/apparmor\.d/|/usr/share/licenses/|/var/lib/selinux/|/usr/lib/\.build-id/|/usr/share/lintian/|/usr/share/doc/[^/]+/([^/]*\.spdx\.json|changelog|copyright|README\.Debian|NEWS\.Debian)$)' |
		LC_ALL=C sort
}
of_rpm() { rpm -qp --qf '[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES}\n]' "$1" | common; }
of_deb() { dpkg-deb -c "$1" | awk '{ print $1, $2, $6 }' | common; }

# rpm's own, so that the database of this machine is not asked
home=${HOME:-/}
export HOME=$work
for name in opampd opampd-selinux opamphub; do
	rpm=$(echo "$first"/RPMS/*/"$name"-[0-9]*.rpm)
	deb=$(echo "$debs/${name}"_*.deb)
	of_deb "$deb" >"$list.deb"
	of_rpm "$rpm" >"$list.rpm"
	files=$(wc -l <"$list.rpm")
	test "$files" -ge 3 && diff "$list.deb" "$list.rpm" >"$log" 2>&1
	ok "$name: the $files files of the Debian package, with their modes and owners" $?
	printf '%s\n' "$(rpm -qp --qf '%{VERSION}' "$rpm")" "$(dpkg-deb -f "$deb" Version)" | uniq >"$log"
	test "$(wc -l <"$log")" -eq 1
	ok "$name: its version" $?
	rpm2cpio "$rpm" | (cd "$unpacked" && cpio -id --quiet) >"$log" 2>&1
	ok "$name: it can be unpacked" $?
done
hardened "$unpacked"
rpmlint -c "$here/rpm/rpmlint.toml" "$first"/RPMS/*/*.rpm "$here/rpm/opampd.spec" >"$log" 2>&1 && grep -q ' 0 errors, 0 warnings' "$log"
ok "rpmlint says nothing" $?

"$here/check-sbom.py" "$here/.." "$first"/RPMS/*/*.rpm >"$log" 2>&1
ok "what each package says that it is made of (SPDX)" $?

scriptlets "$unpacked" "$work"
versions "$work"
by_rpm "$unpacked" "$work"
# git's settings are the caller's
if HOME=$home "$here/build-rpm.sh" "$second" >"$log" 2>&1; then
	for rpm in "$first"/RPMS/*/*.rpm; do
		cmp "$rpm" "$second/RPMS/$(basename "$(dirname "$rpm")")/$(basename "$rpm")" >"$log" 2>&1
		ok "$(basename "$rpm") is built the same elsewhere" $?
	done
else
	ok "a second build" 1
fi
summary rpm
