#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each, those of as many
# packages at a time as there are cores. The first that fails ends it with status 1;
# go test leaves its input in the package's testdata.
#   .ci/fuzz.sh 2s         all of them
#   .ci/fuzz.sh 2s DIR     those of one package
set -euo pipefail
time=${1:?the time for each target, such as 2s}
dir=${2:-}

if [ -z "$dir" ]; then
	dirs=$(grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | xargs -rn1 dirname | sort -u) || true
	[ -n "$dirs" ] || { echo "fuzz: no target in $PWD" >&2; exit 1; }
	xargs -n1 -P "$(getconf _NPROCESSORS_ONLN)" "$0" "$time" <<<"$dirs" || exit 1
	exit
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# One target, up to three times: when the time is over while a worker is busy, Go
# now and then calls that a failure, without an input that failed.
fuzz() {
	local try
	for try in 1 2 3; do
		(cd "$dir" && "$tmp/bin" -test.run '^$' -test.parallel 1 -test.fuzz "^$1\$" -test.fuzztime "$time" -test.fuzzcachedir "$tmp/cache" >"$tmp/log" 2>&1) && return
		grep -qx ' *context deadline exceeded' "$tmp/log" && ! grep -qE 'Failing input|panic|_test\.go:' "$tmp/log" || return 1
		echo "fuzz: $dir $1 ended late, once more"
	done
	return 1
}

# One build for all targets of a package; the flag lets our code's coverage guide it.
go test -c -o "$tmp/bin" -gcflags=./...=-d=libfuzzer "$dir"
for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/func //'); do
	printf 'fuzz %s %s\n' "$dir" "$target"
	mkdir -p "$tmp/cache"
	fuzz "$target" || {
		cat "$tmp/log"
		echo "fuzz: $dir $target failed" >&2
		exit 255 # xargs begins no other
	}
done
