#!/bin/sh
# build-rpm.sh DIR: RPM packages of the commit that is checked out (dist/rpm/opampd.spec), made in DIR, left in DIR/RPMS.
# On Debian the build requirements are Debian's packages, so that rpm's own list of them is not asked.
set -eu
dir=$1
cd "$(dirname "$0")/.."
git diff --quiet HEAD -- || echo "make rpm: what is not committed is left out" >&2
rm -rf "$dir"
mkdir -p "$dir/SOURCES" "$dir/home"
version=$(sed -n 's/^Version: *//p' dist/rpm/opampd.spec)
git archive --prefix="opampd-$version/" HEAD | gzip -n >"$dir/SOURCES/opampd-$version.tar.gz"
git show HEAD:dist/rpm/opampd.spec >"$dir/opampd.spec"
set --
if [ -e /etc/debian_version ]; then
	git show HEAD:dist/rpm/debian.macros >"$dir/debian.macros"
	set -- --nodeps --load "$dir/debian.macros"
fi
# the unit tests are run for make deb and by make check
if ! env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME="$dir/home" RPM_BUILD_NCPUS="${JOBS:-$(nproc)}" \
	rpmbuild -bb "$@" --without check --define "_topdir $dir" "$dir/opampd.spec" >"$dir/build.log" 2>&1; then
	tail -n 40 "$dir/build.log" >&2
	echo "make rpm: failed; the whole log is $dir/build.log" >&2
	exit 1
fi
rm -rf "${dir:?}/BUILD" "${dir:?}/BUILDROOT" "${dir:?}/home"
find "$dir/RPMS" -name '*.rpm' -exec ls -l {} +
