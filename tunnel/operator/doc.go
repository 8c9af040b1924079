// Package operator is the other side of a session: it opens one through
// control, follows its ladder, and reaches the device's granted ports. boothctl,
// the demo and a team's own tools are built on it.
//
// It reaches control only through package client, and holds a one-time WireGuard
// key for each session; no network interface is made unless the caller asks for
// [tunnel.Adapter].
package operator
