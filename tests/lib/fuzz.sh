#!/bin/sh
# fuzz.sh PROGRAM NAME SECONDS: coverage-guided fuzzing from the corpus in the tree.
# Seeds in hexadecimal text are decoded first; what is found stays in PROGRAM.new.
set -eu
program=$1 name=$2 seconds=$3
seeds=$program.seeds
rm -rf "$seeds"
mkdir -p "$seeds" "$program.new"
for file in tests/fuzz/corpus/"$name"/*; do
	case $file in
	*.hex) sed 's/#.*//' "$file" | xxd -r -p >"$seeds/$(basename "$file" .hex)" ;;
	*) cp "$file" "$seeds/" ;;
	esac
done
export ASAN_OPTIONS=detect_leaks=1
"$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
	-artifact_prefix="$program.crash-" "$program.new" "$seeds" 2>"$program.log" || {
	tail -n 60 "$program.log"
	exit 1
}
grep -E 'number_of_executed_units|peak_rss_mb' "$program.log"
