package gateway

import (
	"errors"
	"net"
)

// ErrUnreached is what Ready returns while control does not speak to the node.
var ErrUnreached = errors.New("gateway: control is not reached")

// Ready returns nil while the node can take sessions, else why it cannot: ErrUnreached
// or, after Close, net.ErrClosed. Sessions in force go on in either case but the last.
func (n *Node) Ready() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.shut:
		return net.ErrClosed
	case !n.reached:
		return ErrUnreached
	}
	return nil
}

// reach notes whether control speaks to the node.
func (n *Node) reach(now bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reached = now
}
