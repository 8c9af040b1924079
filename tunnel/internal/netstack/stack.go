package netstack

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	nic        = 1
	idealBatch = 128 // conn.IdealBatchSize
)

// Config is what a stack is made of.
type Config struct {
	Addresses []netip.Addr // the tunnel's own; required
	MTU       int          // bytes; required
	Batch     int          // packets that the device gives at once; default 128, wireguard-go's own ideal

	// Service names the local address that a port of the tunnel's address is
	// forwarded to; ok false refuses. It is called for each new connection, from
	// several goroutines. Nil forwards nothing.
	Service func(network string, port uint16) (address string, ok bool)
}

// A Stack is one TCP/IP host. Its methods are safe for concurrent use. Close
// ends it.
type Stack struct {
	stack   *stack.Stack
	dev     *device
	own     []netip.Addr
	service func(string, uint16) (string, bool)

	ctx    context.Context // ends when Close begins: dials and pumps of forwards stop
	cancel context.CancelFunc

	mu        sync.Mutex
	closed    bool
	work      sync.WaitGroup // forwards; Add only under mu while not closed
	udpFlows  int
	forwards  map[*tcpConn]stack.TransportEndpointID
	allowed   func(remote netip.Addr, port uint16) bool // of the newest Recheck; nil: all
	listeners map[uint16]*udpListener
}

// New makes a stack with the given addresses and a route to everywhere.
func New(cfg Config) (*Stack, error) {
	s := &Stack{
		dev:       newDevice(cfg.MTU, cmp.Or(cfg.Batch, idealBatch)),
		own:       cfg.Addresses,
		service:   cfg.Service,
		listeners: make(map[uint16]*udpListener),
		forwards:  make(map[*tcpConn]stack.TransportEndpointID),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
		HandleLocal:        true,
	})
	if err := s.configure(cfg); err != nil {
		_ = s.dev.Close()
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stack) configure(cfg Config) error {
	if err := tuneTCP(s.stack); err != nil {
		return err
	}
	if err := s.stack.CreateNIC(nic, s.dev.link); err != nil {
		return fmt.Errorf("netstack: create interface: %v", err)
	}
	for _, addr := range cfg.Addresses {
		proto, route := tcpip.NetworkProtocolNumber(ipv4.ProtocolNumber), header.IPv4EmptySubnet
		if addr.Is6() {
			proto, route = ipv6.ProtocolNumber, header.IPv6EmptySubnet
		}
		err := s.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{
			Protocol:          proto,
			AddressWithPrefix: tcpip.AddrFromSlice(addr.AsSlice()).WithPrefix(),
		}, stack.AddressProperties{})
		if err != nil {
			return fmt.Errorf("netstack: add address %v: %v", addr, err)
		}
		s.stack.AddRoute(tcpip.Route{Destination: route, NIC: nic})
	}
	s.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(s.stack, 0, maxTCPInFlight, s.forwardTCP).HandlePacket)
	s.stack.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(s.stack, s.forwardUDP).HandlePacket)
	return nil
}

// tuneTCP sets what gVisor leaves off or small. A 4 MiB window carries
// 320 Mbit/s over a round trip of 100 ms.
func tuneTCP(st *stack.Stack) error {
	sack := tcpip.TCPSACKEnabled(true)
	// CUBIC of this gVisor computes its window in integers that overflow: a transfer
	// under load then stops for ever, seen once in some 300 here and known upstream
	// (tailscale/tailscale#21303, google/gvisor#6113).
	reno := tcpip.CongestionControlOption("reno")
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 1 << 20, Max: 4 << 20}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 1 << 20, Max: 4 << 20}
	// gVisor's RACK retransmits without need when acknowledgements come in
	// batches, which is how WireGuard delivers them.
	recovery := tcpip.TCPRecovery(0)
	// A tunnel may come back at any moment, by another path or node: a connection that
	// had to wait tries again within 5 s, for as long in all as by gVisor's own 120 s.
	most, times := tcpip.TCPMaxRTOOption(5*time.Second), tcpip.TCPMaxRetriesOption(190)
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &reno, &moderate, &receive, &send, &recovery, &most, &times} {
		if err := st.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fmt.Errorf("netstack: set %T: %v", option, err)
		}
	}
	return nil
}

// A Device is the stack's end of the wire.
type Device interface {
	tun.Device
	Wake()          // makes a waiting Read return early with no packet
	SetMTU(mtu int) // for connections made later
}

// Device returns the stack's end of the wire, the same at each call. Whoever
// reads it closes it, before or after the stack.
func (s *Stack) Device() Device { return s.dev }

// begin counts one more forward; it reports false once Close has begun.
func (s *Stack) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Add(1)
	return true
}

func (s *Stack) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Recheck resets the forwarded connections that ok refuses: from remote to port.
// Nothing of theirs would come through any more, and the service would wait. ok
// is also asked of later ones, until the next Recheck.
func (s *Stack) Recheck(ok func(remote netip.Addr, port uint16) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = ok
	for c, id := range s.forwards {
		s.check(c, id)
	}
}

// check wants mu held.
func (s *Stack) check(c *tcpConn, id stack.TransportEndpointID) {
	remote, _ := netip.AddrFromSlice(id.RemoteAddress.AsSlice())
	if s.allowed != nil && !s.allowed(remote, id.LocalPort) {
		c.ep.Abort()
	}
}

// Close resets every connection, tells the far ends so as long as the device is
// still read, and waits until nothing runs. It is idempotent.
func (s *Stack) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	listeners := s.listeners
	s.listeners = nil
	s.mu.Unlock()
	for _, l := range listeners {
		l.end()
	}
	s.cancel()
	s.abort()
	s.drain()
	_ = s.dev.Close()
	s.stack.Close()
	s.abort()
	s.work.Wait()
	s.stack.Wait()
	s.dev.link.Close()
	return nil
}

// abort resets every connection, those in the middle of a handshake included,
// until no forward is left that waits for one.
func (s *Stack) abort() {
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		for _, ep := range s.stack.RegisteredEndpoints() {
			ep.Abort()
		}
		select {
		case <-done:
			return
		case <-time.After(wait):
		}
	}
}

// drain gives the device's reader a moment to take the resets.
func (s *Stack) drain() {
	for range 20 {
		if s.dev.link.waiting() == 0 || s.dev.ctx.Err() != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
