#!/bin/sh
# Runs TAP programs under prove; counts their tests for the summary of .ci/run.
set -u
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ $# -gt 0 ] || exit 0
prove --merge --verbose --timer --exec '' "$@" >"$log" 2>&1
status=$?
passed=$(grep -c '^ok [0-9]' "$log")
skipped=$(grep -c '^ok [0-9].*# *[sS][kK][iI][pP]' "$log")
failed=$(grep -c '^not ok' "$log")
if [ $status -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
if [ -n "${NAMES:-}" ]; then
	mkdir -p "$NAMES"
	# prove names the program before its lines: "tests/system/apply.t .. "
	awk -v OFS='\t' '
		match($0, /[a-z0-9_-]+\.t \.+/) { program = substr($0, RSTART, index(substr($0, RSTART), ".t") + 1) }
		/^(not )?ok [0-9]+/ {
			result = /^not/ ? "FAILED" : toupper($0) ~ /# *SKIP/ ? "skipped" : "ok"
			name = $0
			sub(/^(not )?ok [0-9]+ *(- )?/, "", name)
			sub(/ *# *[sS][kK][iI][pP].*$/, "", name)
			gsub(/\t/, " ", name)
			print result, program, name
		}' "$log" >"$NAMES/${SUITE:-system}"
fi
# what failed is shown whole: the lines before it too, which tell what the daemon said
[ $status -eq 0 ] || awk '
	/^ok [0-9]+/ { block = ""; bad = 0; next }
	/^not ok [0-9]+/ { printf "%s", block; block = ""; bad = 1 }
	bad { print; next }
	{ block = block $0 "\n" }
	/^tests\/.*\.t \.+/ { block = $0 "\n"; bad = 0 }' "$log"
grep -E '^(\[|Result|Files|Test Summary|tests/.*(Failed|Wstat|Bad|No plan|Parse))|^  (Failed|Non-zero|Parse)' "$log"
echo "${SUITE:-system}: $((passed - skipped)) passed, $failed failed, $skipped skipped"
[ -z "${RESULTS:-}" ] || echo "$((passed - skipped)) $failed $skipped ${SUITE:-system}" >>"$RESULTS"
exit $status
