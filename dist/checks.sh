# shellcheck shell=sh
# checks.sh: what the checks of packages share (check-deb.sh, check-rpm.sh, check-install.sh), which read it: `ok` for each
# thing that is shown, `summary` at the end, and what both kinds of packages must have.  $log says more of the last one.
passed=0 failed=0
PROGRAMS=11 # of all packages

ok() { # name, status; LINES_SHOWN: so many of $log, at its end
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
		echo "ok - $1"
	else
		failed=$((failed + 1))
		echo "not ok - $1"
		tail -n "${LINES_SHOWN:-+1}" "${log:?}" | sed 's/^/# /'
	fi
}

# No control-flow note: Debian 12's own start files have none, so that the linker leaves it out; the code has it.
hardened() { # directory with the unpacked packages
	find "$1" -type f -perm -100 -exec sh -c 'head -c 4 "$0" | grep -q ELF' {} ';' -print0 >"$1/programs"
	xargs -0 hardening-check --nocfprotection -q <"$1/programs" >"$log" 2>&1 &&
		test "$(tr -cd '\0' <"$1/programs" | wc -c)" -eq "$PROGRAMS"
	ok "hardening-check: every program, all $PROGRAMS" $?
}

summary() { # name of the suite; ends with its status
	[ -z "${RESULTS:-}" ] || echo "$passed $failed 0 $1" >>"$RESULTS"
	echo "$1: $passed passed, $failed failed, 0 skipped"
	[ "$failed" -eq 0 ]
}
