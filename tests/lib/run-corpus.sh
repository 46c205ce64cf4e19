#!/bin/sh
# Replays every corpus through its fuzz target, built with the ordinary compiler.
set -u
failed=0 passed=0
for replay in "$@"; do
	name=$(basename "$replay")
	name=${name#replay_}
	if timeout 300 "$replay" tests/fuzz/corpus/"$name"/*; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "corpus of $name: FAILED"
	fi
done
echo "corpus: $passed passed, $failed failed, 0 skipped"
[ -z "${RESULTS:-}" ] || echo "$passed $failed 0 corpus" >>"$RESULTS"
[ "$failed" -eq 0 ]
