#!/bin/sh
# Runs TAP programs, as many at once as there are processors (TAP_JOBS=N), and has prove judge what they
# said; counts their tests for the summary of .ci/run.  TAP_ALONE: those that run before all others, one by
# one (they build something).  TAP_FIRST: those that are begun with, being long.  TAP_LIMIT: seconds that each may
# take, after which it is interrupted and has failed.  TAP_ONCE: what fails once has failed, in CI too.
set -u
log=$(mktemp)
said=$(mktemp -d)
trap 'rm -rf "$log" "$said"' EXIT
[ $# -gt 0 ] || exit 0
# not for programs that run this one in their turn
alone=${TAP_ALONE:-} first=${TAP_FIRST:-} jobs=${TAP_JOBS:-$(nproc)} limit=${TAP_LIMIT:-1200} once_only=${TAP_ONCE:-}
export limit
unset TAP_ALONE TAP_FIRST TAP_JOBS TAP_LIMIT TAP_ONCE
# one program; $said/NAME: what it said, NAME.status: how it ended
cat >"$said/run" <<'END'
#!/bin/sh
name=${0%/run}/$(echo "$1" | tr / _)
begun=$(date +%s)
# the interrupt lets a test clean up, and tell where it was
timeout --foreground --signal INT --kill-after 60 "$limit" "$1" >"$name" 2>&1
status=$?
[ $status -ne 124 ] || echo "not ok - $1 was not done after $limit s" >>"$name"
echo $status >"$name.status"
echo "$(($(date +%s) - begun)) s: $1$([ $status = 0 ] || echo " (exit status $status)")"
END
cat >"$said/again" <<'END'
#!/bin/sh
name=${0%/again}/$(echo "$1" | tr / _)
cat "$name"
exit "$(cat "$name.status")"
END
chmod +x "$said/run" "$said/again"
in_order() {
	for program in $first; do
		case " $* " in *" $program "*) echo "$program" ;; esac
	done
	for program in "$@"; do
		case " $first " in *" $program "*) ;; *) echo "$program" ;; esac
	done
}
# what failed is shown whole: the lines before it too, which tell what the daemon said
show_failures() {
	awk '
	/^ok [0-9]+/ { block = ""; bad = 0; next }
	/^not ok [0-9]+/ { printf "%s", block; block = ""; bad = 1 }
	bad { print; next }
	{ block = block $0 "\n" }
	/^tests\/.*\.t \.+/ { block = $0 "\n"; bad = 0 }' "$1"
}
for program in $alone; do
	case " $* " in *" $program "*) "$said/run" "$program" ;; esac
done
in_order "$@" | while read -r program; do
	[ -e "$said/$(echo "$program" | tr / _).status" ] || echo "$program"
done | xargs -n 1 -P "$jobs" "$said/run"
prove --merge --verbose --exec "$said/again" "$@" >"$log" 2>&1
status=$?
# Time limits are met or missed on a busy machine: a program that failed is run once more, alone, and
# what it said the first time is shown all the same.  What fails twice has failed, and so has at once
# whatever a sanitizer found, and what failed in a guest: a denial is none the less one for being seen once.
if [ $status -ne 0 ] && [ -n "${CI:-}" ] && [ -z "$once_only" ] && ! grep -qE "Sanitizer: |runtime error: " "$log"; then
	again=$(sed -n 's/^\(tests\/[a-z0-9_\/-]*\.t\) *(Wstat.*/\1/p' "$log" | sort -u)
	show_failures "$log"
	status=0
	[ -n "$again" ] || status=1
	for program in $again; do
		echo "AGAIN: $program failed; running it once more"
		once=$(mktemp)
		"$said/run" "$program"
		if prove --merge --verbose --exec "$said/again" "$program" >"$once" 2>&1; then
			echo "AGAIN: $program passed this time"
		else
			status=1
		fi
		# its lines of the first run give way to those of the second
		awk -v program="$program" '
			match($0, /tests\/[a-z0-9_\/-]+\.t \.+/) { current = substr($0, RSTART, RLENGTH); sub(/ \.+$/, "", current) }
			/^Test Summary Report|^Files=|^All tests successful/ { current = "" }
			current != program' "$log" | grep -v "^Result: " >"$log.rest"
		cat "$log.rest" "$once" >"$log"
		rm -f "$log.rest" "$once"
	done
fi
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
[ $status -eq 0 ] || show_failures "$log"
grep -E '^(Result|Files|Test Summary|tests/.*(Failed|Wstat|Bad|No plan|Parse))|^  (Failed|Non-zero|Parse)' "$log"
echo "${SUITE:-system}: $((passed - skipped)) passed, $failed failed, $skipped skipped"
[ -z "${RESULTS:-}" ] || echo "$((passed - skipped)) $failed $skipped ${SUITE:-system}" >>"$RESULTS"
exit $status
