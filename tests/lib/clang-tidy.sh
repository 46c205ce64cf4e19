#!/bin/sh
# clang-tidy.sh O FILE...: clang-tidy over each file (.clang-tidy has what it looks for, and why), one process a file:
# with more in one its va_list checker takes one file's for another's.  Ends with 1 if there is a finding.
set -eu
build=$1
shift
one=$(mktemp)
trap 'rm -f "$one"' EXIT
cat >"$one" <<'END'
#!/bin/sh
clang-tidy-16 --quiet "$2" -- -std=gnu11 -D_GNU_SOURCE -I. -I"$1/gen" '-DOPAMPD_VERSION="0"' \
	'-DOPAMPD_LIBEXECDIR="/"' '-DOPAMPD_SYSCONFDIR="/"' 2>/dev/null
END
printf '%s\n' "$@" | xargs -n 1 -P "$(nproc)" sh "$one" "$build"
echo "clang-tidy: $# files, no findings"
