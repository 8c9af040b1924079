// Package agent is the device side of boothwire: commands in, tunnels up and
// down, status out. It is what a kiosk embeds.
//
// An Agent composes keys, signaling and tunnel, and links no transport: the
// host hands it a [signaling.Listener], which may be a ride on a connection
// that it already has. The order and memory of several transports is
// [signaling.Fallback]; what a session may do is the grant's and the host's
// [keys.Trust]'s affair, and what the tunnel does is package tunnel's.
package agent
