// Package client speaks the HTTP API of a control: its types, and a Client for
// programs in Go. It does not open tunnels; package tunnel/operator does, on top
// of it.
package client
