#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each.
set -eu
time=${1:?the time for each target, such as 2s}
grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | xargs -rn1 dirname | sort -u | while read -r dir; do
	targets=$(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/func //')
	bin=$(mktemp)
	cache=$(mktemp -d)
	go test -c -o "$bin" -gcflags=all=-d=libfuzzer "$dir" 2>/dev/null || go test -c -o "$bin" "$dir"
	for target in $targets; do
		printf 'fuzz %s %s\n' "$dir" "$target"
		(cd "$dir" && "$bin" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$time" -test.fuzzcachedir "$cache" >"$cache/log" 2>&1) ||
			{ cat "$cache/log"; rm -rf "$bin" "$cache"; exit 1; }
	done
	rm -rf "$bin" "$cache"
done
