#!/bin/sh
# Runs cmocka programs one after the other; shows the output of one that fails. Ends with a count.
set -u
passed=0 failed=0 skipped=0
names=/dev/null
if [ -n "${NAMES:-}" ]; then
	mkdir -p "$NAMES"
	names=$NAMES/unit
	: >"$names"
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for test in "$@"; do
	if timeout 120 "$test" >"$log" 2>&1; then
		status=ok
	elif [ -n "${CI:-}" ] && ! grep -qE "Sanitizer: |runtime error: " "$log" && cat "$log" &&
		echo "AGAIN: $test failed; running it once more" && timeout 120 "$test" >"$log" 2>&1; then
		status=ok # as for the system tests (run-tap.sh): what fails twice has failed
	else
		status=FAILED
	fi
	p=$(grep -c '^\[       OK \]' "$log")
	s=$(grep -c '^\[  SKIPPED \] [a-z]' "$log")
	f=$(grep -c '^\[  FAILED  \] [a-zA-Z_0-9]*$' "$log")
	if [ $status = FAILED ] && [ "$f" -eq 0 ]; then f=1; fi
	program=$(basename "$test")
	sed -n "s/^\[       OK \] \([a-zA-Z_0-9]*\)\$/ok\t$program\t\1/p; s/^\[  FAILED  \] \([a-zA-Z_0-9]*\)\$/FAILED\t$program\t\1/p" "$log" >>"$names"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '%-40s %s (%d)\n' "$(basename "$test")" "$status" "$p"
	if [ $status = FAILED ]; then cat "$log"; fi
done
[ -z "${RESULTS:-}" ] || echo "$passed $failed $skipped unit" >>"$RESULTS"
echo "unit: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
