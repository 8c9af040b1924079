package gateway

import "github.com/boothwire/boothwire/gateway/internal/kernel"

var _ plane = (*kernel.Plane)(nil)

func openKernel(n *Node, key [32]byte, listen uint16) (plane, error) {
	p, err := kernel.Open(kernel.Config{
		PrivateKey: key,
		Listen:     listen,
		Pool:       n.cfg.Pool,
		Proof:      n.cfg.Proof,
		MTU:        n.cfg.MTU,
		Uplink:     int64(n.cfg.Uplink),
		Handshake:  func(session string) { n.seen.add(KindHandshake, session) },
		Proved:     func(session string) { n.seen.add(KindProved, session) },
		Logger:     n.cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}
