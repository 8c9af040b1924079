#!/usr/bin/env bash
# One check for people and CI: format, build and vet for every platform, tests.
#   ./check.sh         everything
#   ./check.sh quick   without the end-to-end tests and the other platforms
set -euo pipefail
cd "$(dirname "$0")"
export PATH=$PATH:/usr/sbin:/sbin
quick=${1:-}

step() { printf '== %s\n' "$*"; }

# What go test says without -v, and at the end, a line for each reason, what was
# skipped: without -v it does not tell.
report() {
	local now= # mawk would wait for a full block of input
	case $(awk -W version 2>&1 </dev/null) in mawk*) now="-W interactive" ;; esac
	awk $now '
	/^=== / {
		name = $3
		if (!(name in said)) order[++n] = name
		said[name] = said[name] ""
		next
	}
	/^ *--- (PASS|SKIP): / {
		if ($2 == "SKIP:") {
			why = $3 in last ? last[$3] : "no reason given"
			sub(/^ *[A-Za-z0-9_]+\.go:[0-9]+: /, "", why)
			if (!(why in skipped)) reasons[++m] = why
			skipped[why] = skipped[why] " " $3
		}
		said[$3] = ""
		next
	}
	/^(ok  |FAIL|\?   )\t/ {
		if ($1 == "FAIL") for (i = 0; i <= n; i++) printf "%s", said[order[i]]
		print
		fflush()
		split("", said); split("", order); split("", last)
		n = 0; name = ""
		next
	}
	$1 == "---" { said[$3] = said[$3] $0 "\n"; next }
	{ said[name] = said[name] $0 "\n"; last[name] = $0 }
	END {
		for (i = 0; i <= n; i++) printf "%s", said[order[i]]
		for (i = 1; i <= m; i++) printf "skipped: %s:%s\n", reasons[i], skipped[reasons[i]]
	}'
}

step gofmt
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "gofmt would change: $unformatted"; exit 1; }

step go vet
go vet ./...

if [ "$quick" = quick ]; then
	step go test
	go test -v -short ./... | report
	exit
fi

for os in linux windows darwin; do
	for arch in amd64 arm64; do
		[ "$os/$arch" = "$(go env GOHOSTOS)/$(go env GOHOSTARCH)" ] && continue
		step "vet $os/$arch"
		CGO_ENABLED=0 GOOS=$os GOARCH=$arch go vet ./...
	done
done

race=-race
[ "$(go env CGO_ENABLED)" = 1 ] && command -v gcc >/dev/null || { race=; echo "no C compiler: tests run without the race detector"; }

# Where tests keep what they saw, such as screenshots.
export BOOTHWIRE_ARTIFACTS=${BOOTHWIRE_ARTIFACTS:-$PWD/dist/artifacts}

# Two packages at a time: end-to-end tests start processes of their own beside them.
# Those take longer than all others together, so they begin first.
step go test $race
go test -v $race -p 2 -timeout 20m ./internal/e2e ./... | report

# Every fuzz target for a moment beyond its seeds.
step fuzz
./.ci/fuzz.sh "${FUZZTIME:-2s}"
