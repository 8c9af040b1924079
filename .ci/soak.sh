#!/usr/bin/env bash
# The long versions of tests, which BOOTHWIRE_SOAK=1 makes of them.
#   .ci/soak.sh            all of them
#   .ci/soak.sh 'Fleet'    some
# All are run, whatever fails; it exits with 1 when one did, or when a test has a long
# version that the list below does not know.
set -u
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin:/sbin
want=${1:-.}
printf x | grep -qE -e "$want" 2>/dev/null || [ $? -lt 2 ] || { echo "soak: not a regular expression: $want" >&2; exit 2; }

# package | tests | how
soaks='
./tunnel              | TestCycles                         | -race
./cmd/boothwire-relay | TestFleetComesBack                 | -v
./internal/e2e        | TestControlsChurn TestDatabaseAway | -v
'

failed=0
for name in $(find . -name '*_test.go' -exec awk '/^func /{ sub(/\(.*/, "", $2); test = $2 } /BOOTHWIRE_SOAK/ && test ~ /^Test/ { print test }' {} + | sort -u); do
	printf '%s\n' "$soaks" | grep -qw "$name" || { echo "soak: $name has a long version that .ci/soak.sh does not run" >&2; failed=1; }
done

ran=0
while IFS='|' read -r package tests how; do
	[ -n "$package" ] || continue
	for name in $tests; do
		printf '%s\n' "$name" | grep -qE -e "$want" || continue
		ran=$((ran + 1))
		echo "== $package $name"
		BOOTHWIRE_SOAK=1 CI=true go test $how -count=1 -timeout 60m -run "^$name\$" ${package// /} || failed=1
	done
done <<<"$soaks"
[ "$ran" -gt 0 ] || { echo "soak: no test's name matches $want" >&2; exit 1; }
exit $failed
