#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each. The first that
# fails ends it with status 1; go test leaves its input in the package's testdata.
set -euo pipefail
time=${1:?the time for each target, such as 2s}
dirs=$(grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | xargs -rn1 dirname | sort -u) || true
[ -n "$dirs" ] || { echo "fuzz: no target in $PWD" >&2; exit 1; }

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for dir in $dirs; do
	# One build for all targets of a package; the flag lets our code's coverage guide it.
	go test -c -o "$tmp/bin" -gcflags=./...=-d=libfuzzer "$dir"
	for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/func //'); do
		printf 'fuzz %s %s\n' "$dir" "$target"
		mkdir -p "$tmp/cache"
		(cd "$dir" && "$tmp/bin" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$time" -test.fuzzcachedir "$tmp/cache" >"$tmp/log" 2>&1) || {
			cat "$tmp/log"
			echo "fuzz: $dir $target failed" >&2
			exit 1
		}
	done
	rm -rf "$tmp/cache"
done
