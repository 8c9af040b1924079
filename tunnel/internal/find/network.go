package find

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/nat"
)

// How old what is known of a network may be, as long as the host's addresses stay:
// behind it little changes, and a probe costs its servers up to 30 packets each. What
// found UDP blocked, or nothing, may have met a bad moment, and is asked again sooner;
// where a search fails it may have become another network, and is asked at the next
// one. What two probes in a row say stands.
const (
	lookEvery = 30 * time.Minute
	lookAgain = time.Minute
	looksMost = 3 // in a row, while the addresses change
)

// A Network is what is known of the network that a host is on, for all its sessions.
// Its methods may be called concurrently.
type Network struct {
	// Socket opens the socket of a probe; nil: one of the session's address, any port.
	Socket func() (net.PacketConn, error)

	mu    sync.Mutex
	key   string // the host's addresses and the servers
	nat   nat.NAT
	class string        // its behaviour in the terms of RFC 4787
	still func() string // what key would be now
	at    time.Time     // when it was found
	doubt bool          // a search has failed since
	sure  bool          // two probes in a row said the same
	looks bool          // a probe is under way
}

// NAT is the name of the network; NATUnknown while it is not known.
func (n *Network) NAT() nat.NAT {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nat
}

// Behaviour is what the network is in the terms of RFC 4787, in the words of nat.Report;
// empty while it is not known, as after the host's addresses have changed.
func (n *Network) Behaviour() string {
	n.mu.Lock()
	class, key, still := n.class, n.key, n.still
	n.mu.Unlock()
	if class == "" || still() != key {
		return ""
	}
	return class
}

// look finds out what the network is, if that is not known; it takes seconds.
func (n *Network) look(ctx context.Context, local net.Addr, servers []string, inside []netip.Prefix, log *zap.Logger) {
	if len(servers) == 0 {
		return
	}
	key := func() string { return strings.Join(append(addresses(inside), servers...), " ") }
	n.mu.Lock()
	n.still = key
	n.mu.Unlock()
	for range looksMost {
		now := key()
		if !n.begin(now, time.Now()) {
			return
		}
		found, err := n.probe(ctx, local, servers)
		n.end(now, found, err == nil)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.Info("the network was not probed", zap.Error(err))
			return
		}
		log.Info("network", zap.Stringer("nat", found.NAT()), zap.Stringer("report", found))
		if key() == now {
			return
		}
	}
}

// begin reports whether the network called key is to be probed now.
func (n *Network) begin(key string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.key != key {
		n.key, n.nat, n.class, n.at, n.doubt, n.sure = key, nat.NATUnknown, "", time.Time{}, false, false
	}
	age := lookEvery
	switch {
	case n.sure:
	case n.doubt:
		age = 0
	case n.nat == nat.NATUnknown || n.nat == nat.UDPBlockedNAT:
		age = lookAgain
	}
	if n.looks || !n.at.IsZero() && now.Sub(n.at) < age {
		return false
	}
	n.looks = true
	return true
}

// end takes what a probe found, if it is still the same network. One that was broken
// off is as if it had not been.
func (n *Network) end(key string, r nat.Report, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.looks = false
	if n.key == key && ok {
		name := r.NAT()
		n.sure = name == n.nat && !n.at.IsZero()
		n.nat, n.class, n.at, n.doubt = name, r.Behaviour(), time.Now(), false
	}
}

// failed takes note that a search found no path.
func (n *Network) failed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.doubt = true
}

// probe asks with a socket of its own: the tunnel's is a search's.
func (n *Network) probe(ctx context.Context, local net.Addr, servers []string) (nat.Report, error) {
	sock, err := n.listen(local)
	if err != nil {
		return nat.Report{}, err
	}
	defer sock.Close()
	return nat.Probe(ctx, sock, servers)
}

func (n *Network) listen(local net.Addr) (net.PacketConn, error) {
	if n.Socket != nil {
		return n.Socket()
	}
	own := new(net.UDPAddr)
	if u, ok := local.(*net.UDPAddr); ok && !u.IP.IsUnspecified() {
		own.IP, own.Zone = u.IP, u.Zone
	}
	return net.ListenUDP("udp", own)
}

// addresses are the host's own, without those of tunnels.
func addresses(inside []netip.Prefix) []string {
	var all []string
	list, _ := net.InterfaceAddrs()
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() ||
			slices.ContainsFunc(inside, func(in netip.Prefix) bool { return in.Contains(p.Addr()) }) {
			continue
		}
		all = append(all, p.String())
	}
	slices.Sort(all)
	return all
}
