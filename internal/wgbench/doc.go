// Package wgbench measures what a tunnel's Bind costs against WireGuard's own:
// how many bits pass for a second of both ends' CPU time, over real TUN devices
// in two network namespaces of its own, joined by a veth pair. It also measures a
// driverless tunnel against a TUN, and against the netstack that WireGuard brings
// along. It has tests and benchmarks only.
//
//	go test ./internal/wgbench -run '^$' -bench Throughput -benchtime 1x
//	go test ./internal/wgbench -run '^$' -bench Netstack -benchtime 1x
//
// It needs root, and says so where it is not. With -control it measures
// WireGuard's own Bind against itself, which shows the method's noise; -pairs,
// -window and -profile are for work on the Bind.
package wgbench
