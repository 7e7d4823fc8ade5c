#!/bin/sh
# Runs every fuzz target of the module for the given time each (default 60s), one after the other; stops at the first
# input that fails. The fuzzing engine sometimes fails at its own deadline without having found anything: then once more.
set -eu
time=${1:-60s}
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
count=0
run() { go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" "$1" >"$log" 2>&1; }
for package in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$package" 2>/dev/null | grep '^Fuzz' || true); do
		run "$package" "$target" || {
			! grep -q 'Failing input written' "$log" && run "$package" "$target"
		} || {
			cat "$log"
			exit 1
		}
		echo "$package $target: $(grep -o 'execs: [0-9]*' "$log" | tail -n 1)"
		count=$((count + 1))
	done
done
echo "$count fuzz targets, $time each, nothing found"
