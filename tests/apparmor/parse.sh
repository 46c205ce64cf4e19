#!/bin/sh
# make check-apparmor: the AppArmor profiles without a kernel that has AppArmor: each one compiles for Debian's kernel without a warning, each
# program of the packages has its profile, no transition leaves the unit's, and nothing may execute what it can write.
# What they do is tested by make check-vm-apparmor.
set -u
cd "$(dirname "$0")/../.." || exit 1
passed=0 failed=0
ok() { # name, exit status
	if [ "$2" = 0 ]; then
		passed=$((passed + 1))
		echo "ok - $1"
	else
		failed=$((failed + 1))
		echo "not ok - $1"
	fi
}
features=/usr/share/apparmor-features/features
for file in dist/apparmor/*; do
	name=${file##*/}
	# the one warning: this kernel knows Unix sockets as a family alone, see the file
	said=$(apparmor_parser --skip-kernel-load --skip-cache --features-file "$features" --warn=all "$file" 2>&1)
	status=$?
	said=$(echo "$said" | grep -v -e 'downgrading extended network unix socket rule' -e '^$')
	[ "$status" = 0 ] && [ -z "$said" ]
	ok "$file compiles, without a warning" $?
	[ -z "$said" ] || echo "$said" | sed 's/^/# /'
	programs=$(echo "${PROGRAMS:-}" | tr ' ' '\n' | grep "^$name-")
	for program in $programs; do
		grep -q "^	/usr/libexec/opampd/$program mrPx -> $name//&$program,\$" "$file" && grep -q "^profile $program " "$file"
		ok "$program has a profile, on top of $name's" $?
	done
	[ -n "$programs" ]
	ok "$name has children" $?
	# an x that is not one of: the parent's own program, and a label that has the unit's in it
	! grep -E '^	[^#]* [[:alpha:]]*x( |,)' "$file" | grep -vE " mr[Pp]x -> $name//&$name-|^	/usr/sbin/$name mrix,"
	ok "$name: whatever is executed stays under the unit's profile" $?
	! grep -nE '^[^#]*(unconfined_|flags=\([^)]*(complain|unconfined)|change_profile|[uU]x[ ,])' "$file"
	ok "$name: nothing leaves, nothing is only told" $?
done
echo "apparmor: $passed passed, $failed failed"
[ -z "${RESULTS:-}" ] || echo "$passed $failed 0 apparmor" >>"$RESULTS"
[ "$failed" = 0 ]
