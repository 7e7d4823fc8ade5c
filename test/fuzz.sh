#!/bin/sh
# Runs every fuzz target of the module for the given time each (default 60s), one after the other; stops at the first crash.
set -eu
time=${1:-60s}
cd "$(dirname "$0")/.."
count=0
for package in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$package" 2>/dev/null | grep '^Fuzz' || true); do
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package"
		count=$((count + 1))
	done
done
echo "$count fuzz targets, $time each, no crash"
