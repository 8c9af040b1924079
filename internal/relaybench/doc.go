// Package relaybench measures the relay beside derper: how much of a server's CPU a
// GB costs, how fast it passes, what an idle leg holds, and what a slow or a stopped
// receiver does. It has tests and benchmarks only.
//
//	go test ./internal/relaybench -run '^$' -bench Relay -benchtime 1x
//
// It needs root for network namespaces, and the Go module proxy, from which it builds
// derper outside of this module; -derper and -relay name what is built already. -rounds and
// -window are for a hurry, -only runs some measurements, -profile is for work on the
// relay.
package relaybench
