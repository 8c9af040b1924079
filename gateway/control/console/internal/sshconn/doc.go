// Package sshconn is one SSH connection to the device of a session that the console
// holds: signed in once, shared by terminals and files, gone with the session. It
// knows nothing of browsers.
package sshconn

import (
	"context"
	"net"
)

// Port is where a device's SSH server is reached in the tunnel.
const Port = 22

// A Target is the device of one held session, for one login of the console.
type Target interface {
	Key() string    // names session and login: whoever has the same shares a connection
	Device() string // its id
	// Dial connects to a granted TCP port of the device.
	Dial(ctx context.Context, port uint16) (net.Conn, error)
	// HostKey is the hash of its SSH host key as the device signed it, written as
	// ssh-keygen -l writes it; "" where it signed none.
	HostKey(ctx context.Context) (string, error)
	Done() <-chan struct{} // closed when the session or the login is over
}
