package planetest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	gstack "gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const nic = 1

// stack is TCP/IP of one address behind a tap.
type stack struct {
	address netip.Addr
	ip      *gstack.Stack
	link    *channel.Endpoint
	stop    context.CancelFunc
	running sync.WaitGroup
	serving []net.Listener
}

// newStack puts a stack behind t.
func newStack(t *tap, address netip.Addr) (*stack, error) {
	s := &stack{address: address, link: channel.New(1024, mtu, "")}
	s.ip = gstack.New(gstack.Options{
		NetworkProtocols:   []gstack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []gstack.TransportProtocolFactory{tcp.NewProtocol},
	})
	sack := tcpip.TCPSACKEnabled(true)
	s.ip.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	err := s.ip.CreateNIC(nic, s.link)
	if err == nil {
		err = s.ip.AddProtocolAddress(nic, tcpip.ProtocolAddress{
			Protocol:          ipv4.ProtocolNumber,
			AddressWithPrefix: tcpip.AddrFromSlice(address.AsSlice()).WithPrefix(),
		}, gstack.AddressProperties{})
	}
	if err != nil {
		return nil, fmt.Errorf("planetest: stack of %v: %v", address, err)
	}
	s.ip.AddRoute(tcpip.Route{Destination: header.IPv4EmptySubnet, NIC: nic})
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.running.Go(func() {
		for {
			p := s.link.ReadContext(ctx)
			if p == nil {
				return
			}
			v := p.ToView()
			t.send(v.ToSlice())
			v.Release()
			p.DecRef()
		}
	})
	t.mu.Lock()
	t.stack = s
	t.mu.Unlock()
	return s, nil
}

func (s *stack) deliver(b []byte) {
	if len(b) == 0 || b[0]>>4 != 4 {
		return
	}
	p := gstack.NewPacketBuffer(gstack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
	s.link.InjectInbound(header.IPv4ProtocolNumber, p)
	p.DecRef()
}

// serve hands each connection to port to f, on a goroutine of its own.
func (s *stack) serve(port uint16, f func(c net.Conn)) error {
	l, err := gonet.ListenTCP(s.ip, s.full(s.address, port), ipv4.ProtocolNumber)
	if err != nil {
		return err
	}
	s.serving = append(s.serving, l)
	s.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.running.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	return nil
}

// echo sends back what it reads.
func echo(c net.Conn) { _, _ = io.Copy(c, c) }

func (s *stack) dial(limit time.Duration, to netip.Addr, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return gonet.DialContextTCP(ctx, s.ip, s.full(to, port), ipv4.ProtocolNumber)
}

func (s *stack) full(a netip.Addr, port uint16) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(a.AsSlice()), Port: port}
}

// close ends every connection and waits for all goroutines.
func (s *stack) close() {
	for _, l := range s.serving {
		l.Close()
	}
	s.ip.Close()
	s.stop()
	s.ip.Wait()
	s.running.Wait()
}
