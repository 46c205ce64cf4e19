#!/bin/sh
# build-deb.sh DIR OPTIONS: Debian packages of the commit that is checked out, made in DIR/src, left in DIR.
# Nothing of the caller's make or build folder gets in: the same commit gives the same packages anywhere.
set -eu
dir=$1 options=$2
cd "$(dirname "$0")/.."
git diff --quiet HEAD -- || echo "make deb: what is not committed is left out" >&2
# these packages, built with the unit tests: there is nothing to do
commit=$(git rev-parse HEAD)
if [ "$(cat "$dir/tested" 2>/dev/null)" = "$commit" ]; then
	ls -l "$dir"/*.deb
	exit 0
fi
rm -rf "$dir"
mkdir -p "$dir/src"
git archive HEAD | tar -x -C "$dir/src"
cd "$dir/src"
# the times of files: the changelog's, whenever this runs
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -S Timestamp)
if ! env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME="$dir" DEB_BUILD_OPTIONS="$options" \
	SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" dpkg-buildpackage -us -uc >"$dir/build.log" 2>&1; then
	tail -n 40 "$dir/build.log" >&2
	echo "make deb: failed; the whole log is $dir/build.log" >&2
	exit 1
fi
rm -rf "$dir/src"
echo "$commit" >"$dir/commit" # what they were made of, for make check-vm
case $options in *nocheck*) ;; *) echo "$commit" >"$dir/tested" ;; esac
ls -l "$dir"/*.deb
