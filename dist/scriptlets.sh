# shellcheck shell=bash
# scriptlets.sh: the RPM packages in $first installed, upgraded and removed by rpm, with their scriptlets, in a root that has
# a shell and what these call: read by check-rpm.sh.  systemctl, semodule and the like write down what they were asked and do
# so much of it that the next one sees it; /proc is a plain directory.  Fedora is not in it: the macros are debian.macros'.

# what the commands of the scriptlets are in the root; state: /running, a unit a line; /stubborn: nothing can be stopped;
# /needed: the policy cannot be without the module; /enforcing: SELinux is there
recorder() {
	cat <<'S'
#!/bin/sh
me=${0##*/}
[ "$me" != selinuxenabled ] || { [ -e /enforcing ]; exit; }
echo "$me $*" >>/calls
store=/var/lib/selinux/targeted/active/modules/200
takes() { # a pattern
	[ -e /stubborn ] && return
	while read -r unit; do case $unit in $1) ;; *) echo "$unit" ;; esac; done </running >/running.new
	mv /running.new /running
}
case "$me $1" in
"systemctl list-units")
	while read -r unit; do
		for a in "$@"; do case $unit in $a) echo "$unit loaded active running ..." ;; esac; done
	done </running ;;
"systemctl show") for a in "$@"; do unit=$a; done
	case "$*" in *MainPID*) if grep -qx "$unit" /running; then echo 4242; else echo 0; fi ;; esac ;;
"systemctl stop") shift; for a in "$@"; do takes "$a"; done ;;
"systemctl start") shift; for a in "$@"; do grep -qx "$a" /running || echo "$a" >>/running; done ;;
# disable --now: names alone, no pattern
"systemd-update-helper remove-system-units") shift; for a in "$@"; do takes "$a"; done ;;
"semodule "*) case " $* " in
	*" -i "*) mkdir -p $store/opampd && echo >$store/opampd/cil ;;
	*" -r "*) [ ! -e /needed ] || exit 1; rm -rf $store/opampd ;; esac ;;
esac
S
}

root_with_shell() {
	local a

	mkdir -p "$1"/{dev,proc/4242,run/systemd/system,tmp,usr/bin,usr/sbin,usr/lib/systemd,etc/selinux/targeted/contexts/files,var/lib/rpm-state,var/lib/selinux/targeted/active/modules/200}
	ln -s usr/bin usr/sbin "$1"
	cp "$(command -v busybox)" "$1/usr/bin/busybox"
	for a in awk cat cp grep mkdir mv rm sed sh sleep stat tr; do ln -s busybox "$1/usr/bin/$a"; done
	recorder >"$1/usr/bin/systemctl"
	chmod 755 "$1/usr/bin/systemctl"
	for a in sbin/semodule sbin/selinuxenabled sbin/load_policy sbin/fixfiles lib/systemd/systemd-update-helper; do cp "$1/usr/bin/systemctl" "$1/usr/$a"; done
	echo SELINUXTYPE=targeted >"$1/etc/selinux/config"
	touch "$1/etc/selinux/targeted/contexts/files/file_contexts" "$1/enforcing" "$1/running" "$1/dev/null"
	# a program that runs, of another file, and that does not catch the signal of an upgrade in place
	printf 'SigCgt:\t0000000000000000\n' >"$1/proc/4242/status"
	ln -s /enforcing "$1/proc/4242/exe"
}

# the same packages as the next release: the spec's preamble, scriptlets and lists, over the files that are built
next_release() { # tree of the files, directory for it
	mkdir -p "$2/SOURCES"
	sed -e 's/^Release:.*/Release: 2/' -e '/^# what each package is made of/,/^# Users and directories/d' "${here:?}/rpm/opampd.spec" |
		awk -v tree="$1" '$0 == "%post" { print "%install\nmkdir -p %{buildroot}\ncp -a", tree "/etc", tree "/usr %{buildroot}\nrm -rf %{buildroot}/usr/lib/.build-id" } { print }' >"$2/next.spec"
	cat >"$2/others.spec" <<'S'
Name: opampd-selinux
Version: 0.0.9
Release: 1
Summary: one that is older
License: ISC
%description
%package -n selinux-policy-targeted
Summary: a policy
%description -n selinux-policy-targeted
%files
%files -n selinux-policy-targeted
%package -n libraries
Summary: the libraries of this machine
Vendor: nobody
AutoReqProv: no
%description -n libraries
%define tool() %{expand:
%package -n %1
Summary: a tool
Vendor: nobody
%description -n %1
%files -n %1
}
%tool gcc
%tool binutils
%tool glibc-devel
%tool protobuf-c-compiler
%tool protobuf-compiler
%install
sort -u %{_topdir}/libraries | while read f; do install -D "$f" "%{buildroot}$f"; done
%files -n libraries -f %{_topdir}/libraries
S
	find "$1/usr/libexec/opampd" "$1/usr/sbin" "$1/usr/bin" -type f -exec sh -c 'ldd "$0" | grep -o "/\S*"' {} ';' | sort -u >"$2/libraries"
	rpmbuild -bb --nodeps --load "$here/rpm/debian.macros" --define "_topdir $2" --define '_build_id_links none' --define '_binary_payload w1.gzdio' \
		--define '__os_install_post %{nil}' --without check "$2/next.spec" &&
		rpmbuild -bb --load "$here/rpm/debian.macros" --define "_topdir $2" --define '_binary_payload w0.gzdio' --define '__os_install_post %{nil}' "$2/others.spec"
}

in_root() { rm -f "$root/calls"; touch "$root/calls"; rpm --root "$root" --noplugins "$@"; }
runs() { printf '%s\n' "$@" >"$root/running"; }
running() { tr '\n' ' ' <"$root/running"; }
# called NAME STATUS: that ended with that status, and the calls, in their order, are those on standard input
called() {
	local status=$2

	{
		cat "$log"
		diff - "$root/calls"
	} >"${log:?}.diff" || status=1
	mv "$log.diff" "$log"
	ok "$1" "$status"
}
gone() { ! rpm --root "$root" -q "$1" >/dev/null; }

# The words of the calls that opampd-upgrade makes where nothing runs
looked='systemctl --system daemon-reload
systemctl list-units --plain --no-legend --full opampd@*.service
systemctl show --property=MainPID --value -- opampd.service'
install_module='semodule -n -s targeted -X 200 -i /usr/share/selinux/packages/targeted/opampd.pp.bz2'
remove_module='semodule -n -X 200 -s targeted -r opampd'
relabel='fixfiles -C /var/lib/rpm-state/file_contexts.pre restore'
listed='systemctl list-units --plain --no-legend --state=active,reloading,activating opampd.service opampd@*.service opamphub.service'

scriptlets() { # tree of the files, directory for it
	local root=$2/root next links

	next_release "$1" "$2/next" >"$log" 2>&1
	ok "the next release is packed" $?
	next=$(echo "$2"/next/RPMS/*/*-0.1.0-2.*.rpm)
	root_with_shell "$root"

	in_root -i --nodeps "${first:?}"/RPMS/*/*.rpm >"$log" 2>&1
	called "installed: the policy is loaded before the units are told of, and nothing is started" $? <<S
$install_module
load_policy 
systemd-update-helper install-system-units opampd.service
systemd-update-helper install-system-units opamphub.service
$relabel
$looked
S
	# systemd's own triggers do that on Fedora
	{ systemd-sysusers --root="$root" && systemd-tmpfiles --root="$root" --create opampd.conf opamphub.conf; } >"$log" 2>&1 &&
		test "$(grep -c '^_opamp.*:/nonexistent:/usr/sbin/nologin$' "$root/etc/passwd") $(grep -c '^opampd' "$root/etc/group")" = '8 2' &&
		test "$(stat -c %a "$root"/var/lib/{opampd,opampd-agent,opamphub} | tr '\n' ' ')" = '711 750 700 ' &&
		test "$(stat -c %u "$root/var/lib/opampd")" = "$(sed -n 's/^_opampd_conf:[^:]*:\([0-9]*\):.*/\1/p' "$root/etc/passwd")"
	ok "what is installed makes a user for each process, two groups, and directories with their owners and modes" $?

	runs opampd.service opampd@one.service opamphub.service
	# shellcheck disable=SC2086
	in_root -U --nodeps $next >"$log" 2>&1
	called "upgraded: the policy comes first; opampd and its instances by opampd-upgrade, opamphub is marked; the module stays" $? <<S
$install_module
load_policy 
systemd-update-helper mark-restart-system-units opamphub.service
$relabel
systemctl --system daemon-reload
systemctl list-units --plain --no-legend --full opampd@*.service
systemctl show --property=MainPID --value -- opampd.service
systemctl try-restart opampd.service
systemctl show --property=MainPID --value -- opampd@one.service
systemctl try-restart opampd@one.service
S

	touch "$root/stubborn"
	in_root -e --nodeps opampd-selinux >"$log" 2>&1
	test $? -ne 0 && ! gone opampd-selinux && test -d "$root/var/lib/selinux/targeted/active/modules/200/opampd" &&
		grep -q 'opampd-selinux: this still runs in a domain of the module; stop it first: opampd.service opampd@one.service opamphub.service' "$log"
	called "the policy alone is not removed while what runs in it cannot be stopped" $? <<S
$listed
systemctl stop opampd.service opampd@one.service opamphub.service
$listed
systemctl start opampd.service opampd@one.service opamphub.service
$listed
S
	rm "$root/stubborn"
	in_root -e --nodeps opampd-selinux >"$log" 2>&1 && gone opampd-selinux && test "$(running)" = 'opampd.service opampd@one.service opamphub.service '
	called "the policy alone removed, which takes force: what runs is stopped before, and started after" $? <<S
$listed
systemctl stop opampd.service opampd@one.service opamphub.service
$listed
$remove_module
load_policy 
$relabel
systemctl start opampd.service opampd@one.service opamphub.service
S

	rm "$root/enforcing"
	in_root -i "$first"/RPMS/noarch/opampd-selinux-*.rpm --nodeps >"$log" 2>&1
	called "where SELinux is off the module only goes into the store" $? <<S
$install_module
S
	touch "$root/needed"
	in_root -e --nodeps opampd-selinux >"$log" 2>&1 && grep -q 'the policy still needs the module' "$log"
	called "a module that the policy still needs stays, and that is said" $? <<S
$remove_module
S
	rm "$root/needed"
	touch "$root/enforcing"
	in_root -i "$first"/RPMS/noarch/opampd-selinux-*.rpm --nodeps >"$log" 2>&1
	ok "the policy is installed again" $?

	# as an administrator enables one; the real systemctl, with the words that the scriptlet has
	mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
	links=$root/etc/systemd/system/multi-user.target.wants/opampd@one.service
	ln -s /usr/lib/systemd/system/opampd@.service "$links"
	# shellcheck disable=SC2046
	systemctl --root="$root" disable $(rpm --root "$root" -q --scripts opampd | sed -n 's/.*remove-system-units \(.*\) || :; fi/\1/p') >"$log" 2>&1 && test ! -L "$links"
	ok "the names that a removal disables are those of the instances, too" $?

	in_root -e opampd opampd-selinux opamphub >"$log" 2>&1
	called "removed: what runs is stopped, and the module goes after the programs" $? <<S
systemctl stop opampd@*.service
systemd-update-helper remove-system-units opampd.service opampd@.service
systemd-update-helper remove-system-units opamphub.service
$listed
$listed
$remove_module
load_policy 
$relabel
S
	find "$root" -path '*opamp*' ! -path "$root/var/lib/opampd" ! -path "$root/var/lib/opampd-agent" ! -path "$root/var/lib/opamphub" >"$log"
	running >>"$log"
	test ! -s "$log" && test -d "$root/var/lib/opampd"
	ok "nothing of ours runs then or is left, but for the state" $?
}

# what rpm says of versions that do not go together; of libraries, which are not in its database here, it says more
versions() { # directory that scriptlets() had
	local root=$1/versions pair

	mkdir "$root"
	in_root -i --justdb --nodeps "$1"/next/RPMS/*/opampd-selinux-0.0.9-*.rpm >"$log" 2>&1
	for pair in opampd opamphub; do
		rpm --root "$root" -U --test --noplugins "$first"/RPMS/*/"$pair"-[0-9]*.rpm >"$log" 2>&1
		test $? -ne 0 && grep -q "opampd-selinux < 0.1.0-1 conflicts with $pair-0.1.0-1" "$log"
		ok "$pair does not come to a policy that is older" $?
	done
	rpm --root "$root" -U --test --noplugins "$first"/RPMS/*/*.rpm >"$log" 2>&1
	test $? -ne 0 && ! grep -E 'conflicts|\(opampd-selinux' "$log" # the libraries remain
	ok "both come with their own" $?
	in_root -e --justdb --nodeps opampd-selinux >"$log" 2>&1 && in_root -i --justdb --nodeps "$1"/next/RPMS/*/selinux-policy-targeted-*.rpm >>"$log" 2>&1
	for pair in opampd opamphub; do
		rpm --root "$root" -i --test --noplugins "$first"/RPMS/*/"$pair"-[0-9]*.rpm >"$log" 2>&1
		test $? -ne 0 && grep -q "(opampd-selinux >= 0.1.0-1 if selinux-policy-targeted) is needed by $pair-0.1.0-1" "$log"
		ok "$pair needs its policy where Fedora's is" $?
	done
}

# the SBOM as it is made where rpm has the libraries and the tools: the same libraries as in the package, by rpm's names
by_rpm() { # tree of the files, directory that scriptlets() had
	rpm -i --justdb --nodeps "$2"/next/RPMS/*/{libraries,gcc,binutils,glibc-devel,protobuf-c-compiler,protobuf-compiler}-0.0.9-1.*.rpm >"$log" 2>&1 &&
		(cd "$here/.." && SBOM_FROM=rpm SOURCE_DATE_EPOCH=1 dist/sbom.py --shared opampd 0.1.0-1 "$1" "$2/opampd.spdx.json.gz") >>"$log" 2>&1 &&
		python3 - "$2/opampd.spdx.json.gz" "$1/usr/share/doc/opampd/opampd.spdx.json.gz" >>"$log" 2>&1 <<'S'
import gzip, json, sys

def read(path):
    with gzip.open(path) as f:
        document = json.load(f)
    names = {p["SPDXID"]: f"{p['name']} {p['versionInfo']}" for p in document["packages"]}
    relations = document["relationships"]
    return ({(r["spdxElementId"], r["comment"]): names[r["relatedSpdxElement"]] for r in relations if r["relationshipType"] == "DYNAMIC_LINK"},
            sorted(names[r["spdxElementId"]] for r in relations if r["relationshipType"] == "BUILD_TOOL_OF"))

(links, tools), (packed, _) = map(read, sys.argv[1:])
assert links.keys() == packed.keys() and len(links) > 20, links.keys() ^ packed.keys()
assert set(links.values()) == {"libraries 0.0.9-1"}, links
assert tools == [f"{name} 0.0.9-1" for name in ("binutils", "gcc", "glibc-devel", "protobuf-c-compiler", "protobuf-compiler")], tools
S
	ok "the SBOM as rpm's database has it" $?
}
