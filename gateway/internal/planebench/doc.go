// Package planebench measures the userspace data plane: what 10,000 sessions of it
// cost, how many packets it passes beside a plain wireguard-go whose kernel forwards,
// and what share of a line each device gets, beside a plain policer. The processes of
// a measurement are this test binary once more, in network namespaces of their own.
//
//	go test ./gateway/internal/planebench -run '^$' -bench . -benchtime 1x
package planebench
