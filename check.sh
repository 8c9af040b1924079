#!/usr/bin/env bash
# One check for people and CI: format, build and vet for every platform, tests.
#   ./check.sh         everything
#   ./check.sh quick   without the end-to-end tests and the other platforms
set -eu
cd "$(dirname "$0")"
export PATH=$PATH:/usr/sbin:/sbin
quick=${1:-}

step() { printf '== %s\n' "$*"; }

step gofmt
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "gofmt would change: $unformatted"; exit 1; }

step go vet
go vet ./...

if [ "$quick" = quick ]; then
	step go test
	exec go test -short ./...
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

# Two packages at a time: end-to-end tests start processes of their own beside them.
step go test $race
go test $race -p 2 -timeout 20m ./...

# Every fuzz target for a moment beyond its seeds.
step fuzz
./.ci/fuzz.sh "${FUZZTIME:-2s}"
