#!/bin/sh
# run-valgrind.sh O TARGET...: memcheck over the corpora of these targets, whose bytes go through libraries: reads of what was
# never written, which no sanitizer of the build sees, and wrong reads and writes, in the libraries too.  (Leaks are
# LeakSanitizer's.)
set -u
build=$1
shift
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for target in "$@"; do
	if valgrind -q --error-exitcode=9 "$build/tests/fuzz/replay_$target" tests/fuzz/corpus/"$target"/* >"$log" 2>&1; then
		echo "valgrind: $target: ok"
	else
		failed=$((failed + 1))
		cat "$log"
		echo "valgrind: $target: FAILED"
	fi
done
echo "valgrind: $(($# - failed)) passed, $failed failed, 0 skipped"
[ -z "${RESULTS:-}" ] || echo "$(($# - failed)) $failed 0 valgrind" >>"$RESULTS"
[ "$failed" -eq 0 ]
