#!/bin/bash
# check-install.sh DEBDIR [policy]: what an administrator sees of the packages in DEBDIR, in a minimal Debian of their
# own (mmdebstrap; mounts, processes and network are its own too): installed, at work (debian/tests/smoke, the
# autopkgtest), removed, installed again, purged; with "policy" also where a policy for SELinux comes and goes, which
# takes longer.  Needs root and a Debian mirror.
set -u
debs=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d /var/tmp/opampd-install-XXXXXX)
root=$work/root log=$work/log
trap 'rm -rf "$work"' EXIT

# shellcheck source=dist/checks.sh
. "$here/dist/checks.sh"
LINES_SHOWN=60
# within COMMAND...: in the new system, with its own processes, and no network but loopback; NETWORK=1 for the host's
within() {
	local own=-n

	[ -z "${NETWORK:-}" ] || own=
	# shellcheck disable=SC2016,SC2086
	NETWORK=${NETWORK:-} unshare -m -p -f -i -u $own --kill-child bash -c '
		root=$1; shift
		mount --make-rprivate / && mount --bind "$root" "$root" && mount -t proc proc "$root/proc" &&
			mount --rbind /dev "$root/dev" && mount -t tmpfs -o mode=755 run "$root/run" || exit 99
		[ -n "$NETWORK" ] || { mount -t sysfs -o ro sys "$root/sys" && ip link set lo up; } || exit 99
		cd "$root" && mkdir -p .old && pivot_root . .old && cd / && umount -l .old
		exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive PYTHONDONTWRITEBYTECODE=1 "$@"
	' sh "$root" "$@"
}
# every path with its mode and owner, but for what packages leave everywhere: databases, caches, logs of dpkg and apt
snapshot() {
	(
		cd "$root" && find . \( -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/cache -o -path ./var/log/apt -o -path ./var/log/dpkg.log -o \
			-path ./debs -o -path ./tmp -o -path ./.old -o -path ./proc -o -path ./sys -o -path ./dev -o -path ./run \) \
			-prune -o -printf '%p %M %U %G\n'
	) | LC_ALL=C sort
}
users() {
	printf '%s ' "$(grep -c '^_opamp.*:/nonexistent:/usr/sbin/nologin$' "$root/etc/passwd")" "$(grep -c '^opampd' "$root/etc/group")"
}
lack() {
	local p

	for p in "$@"; do [ ! -e "$root$p" ] || return 1; done
}
# the packages as their next version, in /debs/next
next_versions() {
	local deb

	mkdir "$root/debs/next"
	for deb in "$root"/debs/*.deb; do
		"$here/dist/next-version.sh" "$deb" "$root/debs/next/$(dpkg-deb -f "$deb" Package).deb" || return 1
	done
}
# shellcheck disable=SC2016
versions() { within dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n' opampd opampd-selinux opamphub; }
kept() { find "$root/var/lib/opampd/generations" "$root/var/lib/opamphub" -type f | sort; }
settings() { sha256sum "$root/etc/opampd/opampd.yaml"; }

mmdebstrap --quiet --variant=apt --include=procps,mount,python3-minimal,libpython3-stdlib bookworm "$root" >"$log" 2>&1
status=$?
ok 'a minimal Debian' $status
[ $status -eq 0 ] || exit 1
mkdir "$root/debs"
cp "$debs"/opampd_*.deb "$debs"/opamphub_*.deb "$debs"/opampd-selinux_*.deb "$here"/debian/tests/smoke "$here"/debian/tests/policy "$root/debs/"
# what they depend on comes first, so that what is left at the end is theirs alone
mapfile -t depends < <(for d in "$root"/debs/*.deb; do dpkg-deb -f "$d" Depends Pre-Depends; done |
	sed 's/^[A-Za-z-]*: //' | tr ',' '\n' | sed 's/[(|].*//; s/ //g' | grep . | sort -u)
NETWORK=1 within sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"' sh "${depends[@]}" >"$log" 2>&1
status=$?
ok 'what they depend on' $status
[ $status -eq 0 ] || exit 1
snapshot >"$work/before"

within sh -c 'apt-get install -y -qq --no-install-recommends /debs/*.deb' >"$log" 2>&1
ok 'installed by apt, without a network' $?
users >"$log"
test "$(cat "$log")" = '8 2 '
ok 'a user for each process, none of whom can log in, and two groups' $?
within stat -c '%U %a %n' /etc/opampd /etc/opamphub /var/lib/opampd /var/lib/opampd-agent /var/lib/opamphub >"$log" 2>&1
cmp -s "$log" <<'E'
root 755 /etc/opampd
root 755 /etc/opamphub
_opampd_conf 711 /var/lib/opampd
_opampd_agent 750 /var/lib/opampd-agent
_opamphub 700 /var/lib/opamphub
E
ok 'directories, with their owners and modes' $?
find "$root/etc/systemd" -name '*opamp*' >"$log" 2>&1
test ! -s "$log"
ok 'nothing is enabled' $?
within /debs/smoke >"$log" 2>&1
status=$?
ok "they work: debian/tests/smoke" $status
mkdir -p "$root/var/lib/opampd@one/state" "$root/var/log/opampd@one"
before=$(settings) state=$(kept)

within dpkg -r opampd opampd-selinux opamphub >"$log" 2>&1
ok 'removed' $?
lack /usr/sbin/opampd /usr/sbin/opamphub /usr/bin/opampctl /usr/libexec/opampd /usr/share/selinux/packages/opampd.pp.bz2
ok 'the programs and the module are gone' $?
[ -n "$state" ] && [ "$(kept)" = "$state" ] && [ "$(settings)" = "$before" ] && [ "$(users)" = '8 2 ' ]
ok 'state, settings and users are not' $?
within sh -c 'dpkg -i /debs/*.deb && opampd -n && dpkg -i /debs/*.deb' >"$log" 2>&1 && [ "$(settings)" = "$before" ]
ok 'installed again, and once more: with the settings that were there' $?

next_versions >"$log" 2>&1 && versions >"$work/versions" && ! within dpkg -i /debs/next/opampd.deb >"$log" 2>&1 &&
	grep -q 'opampd breaks opampd-selinux' "$log" && versions | diff "$work/versions" - >>"$log"
ok 'a new opampd does not come to an older policy' $?
# as apt has it done, in the order in which each is in the way of the other
within dpkg --auto-deconfigure -i /debs/next/opampd.deb /debs/next/opamphub.deb /debs/next/opampd-selinux.deb >"$log" 2>&1 &&
	[ "$(versions | grep -c '+1 installed$')" -eq 3 ]
ok 'it comes with its own, whichever is first' $?

within dpkg -P opampd opampd-selinux opamphub >"$log" 2>&1
ok 'purged' $?
snapshot >"$work/after"
diff "$work/before" "$work/after" >"$log"
ok 'no path is left, and none has another mode or owner' $?
users >"$log"
test "$(cat "$log")" = '8 2 '
ok 'the users stay, as the documentation says' $?

selinux=/debs/$(basename "$debs"/opampd-selinux_*.deb)
within dpkg -i "$selinux" >"$log" 2>&1 && lack /var/lib/selinux/default
ok 'opampd-selinux without a policy' $?
if [ "${2:-}" = policy ]; then
	NETWORK=1 within apt-get install -y -qq --no-install-recommends selinux-policy-default selinux-utils >"$log" 2>&1
	ok 'a policy comes later' $?
	within /debs/policy >"$log" 2>&1
	ok 'it has the module: debian/tests/policy' $?
	within dpkg -r opampd-selinux >"$log" 2>&1 && within semodule -lfull >>"$log" && grep -q '^100 *base' "$log" && ! grep -q '^200 *opampd' "$log"
	ok 'removed, the policy has it no more' $?
	within dpkg -i "$selinux" >"$log" 2>&1 && within /debs/policy >>"$log" 2>&1
	ok 'installed where there is a policy' $?
fi

summary deb-install
