#!/bin/sh
# fuzz.sh PROGRAM NAME SECONDS: coverage-guided fuzzing from the corpus in the tree.
# Seeds in hexadecimal text are decoded first; what is found stays in PROGRAM.new and is begun with next
# time.  (Hours of it, made small at the end: make fuzz-long.)
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
dictionary=tests/fuzz/dict/$name.dict
set --
if [ -e "$dictionary" ]; then set -- "-dict=$dictionary"; fi
export ASAN_OPTIONS=detect_leaks=1
"$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
	"$@" -artifact_prefix="$program.crash-" "$program.new" "$seeds" 2>"$program.log" || {
	tail -n 60 "$program.log"
	echo "$name: to see it again: $program $(sed -n 's/.*Test unit written to //p' "$program.log" | tail -n 1)"
	exit 1
}
awk -v name="$name" -v seconds="$seconds" '
	/stat::number_of_executed_units/ { executed = $2 }
	/stat::peak_rss_mb/ { peak = $2 }
	END { printf "%s: %d inputs, %d a second, peak %d MB\n", name, executed, executed / seconds, peak }' "$program.log"
