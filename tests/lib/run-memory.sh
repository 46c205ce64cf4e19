#!/bin/bash
# run-memory.sh msan|valgrind O: the replayed fuzz corpora and the unit tests of O, for reads of what was never written.
# msan: of a build with SAN=memory, in which the compiler sets nothing to zero.  valgrind: by memcheck, which looks at the
# libraries' part too, and at what was not freed.  What is left out: tests/memory-exceptions; whatever else there is, runs.
# ONLY=regex: these programs.  First it is shown that they find what they are for (tests/tools/unset.c).
# What passes is remembered in O/memory until its program is built anew.  BESIDE=1 (a run without priority, in which a time
# limit may be missed): begins from nothing, and only what the tool found is a failure; the next run judges the rest.
set -u
tool=$1 build=$2
kept=$build/memory/$tool
[ -z "${BESIDE:-}" ] || rm -rf "$kept"
mkdir -p "$kept"
export tool build kept
passed=0 failed=0

programs() {
	local source name
	for source in tests/fuzz/fuzz_*.c tests/unit/*_test.c; do
		name=$(basename "$source" .c)
		echo "${name/#fuzz_/replay_}"
	done
}
excepted() { sed -n "s/^$tool \([a-z0-9_]*\): .*/\1/p" tests/memory-exceptions; }

# what is printed by the tool: a child's does not become the program's status.  (What a failed assertion left is not lost.)
found() {
	if grep -aq '^\[  FAILED' "$1"; then grep -av 'definitely lost' "$1"; else cat "$1"; fi |
		grep -aqE 'MemorySanitizer: |^==[0-9]+== [^ ]'
}
under_tool() {
	if [ "$tool" = msan ]; then
		"$@"
	else
		valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
			--suppressions=tests/lib/valgrind.supp "$@"
	fi
}
one() { # program
	local -a corpus=()
	local program=$build/tests/unit/$1 begun=$SECONDS
	if [[ $1 == replay_* ]]; then
		program=$build/tests/fuzz/$1
		corpus=(tests/fuzz/corpus/"${1#replay_}"/*)
	fi
	if [ "$(cat "$kept/$1.status" 2>/dev/null)" = 0 ] && [ "$kept/$1.status" -nt "$program" ]; then
		return
	fi
	rm -f "$kept/$1.status"
	under_tool "$program" "${corpus[@]}" >"$kept/$1" 2>&1
	set -- "$1" $?
	! found "$kept/$1" || set -- "$1" found
	echo "$2" >"$kept/$1.status"
	echo "$((SECONDS - begun)) s: $1$([ "$2" = 0 ] || echo " ($2)")"
}
export -f one under_tool found

for name in $(excepted); do
	programs | grep -qx "$name" && continue
	echo "tests/memory-exceptions: $tool $name: there is no such test"
	failed=$((failed + 1))
done
for what in nothing stack heap grown sent library; do
	[ "$tool.$what" != valgrind.stack ] || continue
	under_tool "$build/tools/unset" $what >"$kept/unset" 2>&1
	if found "$kept/unset"; then is=found; else is=passed; fi
	[ "$is" != "$([ $what = nothing ] && echo found || echo passed)" ] && continue
	cat "$kept/unset"
	echo "$tool: unset $what: $is"
	failed=$((failed + 1))
done
programs | grep -vxF -f <(excepted) | grep -E "${ONLY:-.}" >"$kept/programs"
xargs -P "$(nproc)" -I % timeout 1800 bash -c 'one %' <"$kept/programs"
while read -r name; do
	status=$(cat "$kept/$name.status" 2>/dev/null) # none: it took too long
	if [ "$status" = 0 ]; then
		passed=$((passed + 1))
	elif [ -z "${BESIDE:-}" ] || [ "$status" = found ]; then
		failed=$((failed + 1))
		cat "$kept/$name"
		echo "$tool: $name: FAILED ($status)"
	fi
done <"$kept/programs"
echo "$tool: $passed passed, $failed failed, 0 skipped"
[ -z "${RESULTS:-}" ] || [ -n "${BESIDE:-}" ] || echo "$passed $failed 0 $tool" >>"$RESULTS"
[ "$failed" -eq 0 ]
