#!/usr/bin/env bash
# Measures: runs every benchmark program that has a figure whose name matches.
#   .ci/bench.sh            all of them
#   .ci/bench.sh '^wake/'   some
# Each figure is one line on stdout, everything else goes to stderr:
#   bench NAME VALUE UNIT at-least|at-most|info BAR ok|short
# It exits 0 even when a line says short, and with 1 when a figure could not be
# measured.
set -u
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin:/sbin
want=${1:-.}
printf x | grep -qE -e "$want" 2>/dev/null || [ $? -lt 2 ] || { echo "bench: not a regular expression: $want" >&2; exit 2; }

# package | benchmark | the figures that it prints
programs='
./signaling/https  | BenchmarkParked     | signaling/https-parked-kib signaling/https-parked-up signaling/https-woken-kib
./gateway/control  | BenchmarkNodeLost   | control/node-lost-{1000,2000}
./gateway/control  | BenchmarkFeed       | control/feed-{unwatched,first-list,cpu,heap,lag-p99}
./internal/bind    | BenchmarkBind       | tunnel/bind-ns tunnel/bind-allocs tunnel/bind-inner-ns
./internal/wgbench | BenchmarkThroughput | tunnel/throughput tunnel/throughput-{quarter,three-quarters,least,most,rate,plain,ours}
./internal/wgbench | BenchmarkNetstack   | path/netstack-send-x-upstream{,-quarter,-three-quarters,-cpu} path/netstack-send-x-tun{,-quarter,-three-quarters,-rate} path/netstack-recv-x-tun{,-quarter,-three-quarters,-rate}
./internal/relaybench | BenchmarkRelay  | relay/{cpu-per-gb,throughput,cpu-per-gb-unbatched,idle-rss,last-mile-p50,last-mile-goodput}{,-quarter,-three-quarters,-ours,-derper} relay/{delivered,throughput-unbatched}{,-ours,-derper} relay/stall-gap{,-quarter,-three-quarters,-derper} relay/stall-gap-before{,-derper}
./gateway/internal/planebench | BenchmarkScale | gateway/userspace-{open-p99,close-p99,cut-p99,rss-per-peer,idle-cpu,shutdown}
./gateway/internal/planebench | BenchmarkPPS   | gateway/userspace-pps{,-quarter,-three-quarters,-cpu,-ours} gateway/userspace-pps-full{,-quarter,-three-quarters,-cpu,-ours}
./gateway/internal/planebench | BenchmarkFair  | gateway/userspace-share-{least,most,total,rtt}{,-policed} gateway/userspace-share-resent{,-ours,-policed}
./gateway/internal/kernel | BenchmarkForward | gateway/kernel-pps-{rules,shaped}{,-quarter,-three-quarters}
./gateway/internal/kernel | BenchmarkShares | gateway/kernel-share-{least,most,total,rtt}{,-policed} gateway/kernel-share-resent
./gateway/internal/kernel | BenchmarkTable | gateway/kernel-{x25519,fill,kib-per-session,open-p99,open-p50,open-p99-ms,open-p99-storm,close-p99,close-p50,close-p99-ms,close-p99-storm,idle-cpu,reconcile,reconcile-disturbed,shutdown}
./gateway           | BenchmarkRestart   | gateway/{restart-10k,journal-bytes,admit-us,admit-journal-us}
./internal/e2e     | BenchmarkPath       | path/rebind-gap-{node,end-to-end}{,-most,-none} path/blackhole{,-most,-none} path/upgrade-{lost,gap-most}
./internal/e2e     | BenchmarkConnect    | path/connect-{step,p50,p99,most}
./internal/e2e     | BenchmarkAgent      | agent/idle-rss agent/binary-size agent/core-size
./internal/e2e     | BenchmarkConsole    | console/{changes,batches,script-p95,script-most,longest-task,longest-task-live,filter,filter-p50,first-list,heap,heap-growth,rss,rss-each}
./internal/e2e     | BenchmarkWake       | wake/rtt-{broker,control,node} wake/{prekey,no-prekey}{,-least,-p90,-most,-initiations,-initiations-most,-control-granted,-node-installed,-control-woken,-device-received,-device-authorised,-device-keyed,-device-socket,-node-handshake,-device-handshake,-node-proved,-device-proved,-device-ready,-control-ready} wake/no-prekey-control-asked
'

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
ran=0
while IFS='|' read -r package benchmark figures; do
	[ -n "$package" ] || continue
	package=${package// /} benchmark=${benchmark// /}
	figures=$(eval "printf '%s ' $figures") # expands the braces
	printf '%s\n' $figures | grep -qE -e "$want" || continue
	ran=$((ran + 1))
	echo "== $package $benchmark" >&2
	go test "$package" -run '^$' -bench "^$benchmark\$" -benchtime 1x -timeout 30m 2>&1 |
		tee "$log" | { grep --line-buffered -vE '^bench |^$' >&2 || true; }
	status=${PIPESTATUS[0]}
	grep -E '^bench [^ ]+ [^ ]+ [^ ]+ (at-least|at-most|info) [^ ]+ (ok|short)$' "$log" |
		while read -r line; do
			name=${line#bench }
			if printf '%s\n' "${name%% *}" | grep -qE -e "$want"; then printf '%s\n' "$line"; fi
		done
	if [ "$status" -ne 0 ]; then
		echo "bench: $package $benchmark failed" >&2
		failed=1
	fi
	missing=
	for name in $figures; do
		grep -qF "bench $name " "$log" || missing="$missing $name"
	done
	if [ -n "$missing" ]; then
		echo "bench: not measured:$missing" >&2
		failed=1
	fi
done <<<"$programs"
if [ "$ran" -eq 0 ]; then
	echo "bench: no figure's name matches $want" >&2
	exit 1
fi
exit $failed
