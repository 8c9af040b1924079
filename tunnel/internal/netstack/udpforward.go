package netstack

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// maxUDPFlows bounds the sockets that forwarded datagrams may hold.
	maxUDPFlows = 256

	// udpIdle ends a flow without datagrams either way: RFC 4787 (REQ-5) asks at
	// least two minutes of a NAT, and this is one in small.
	udpIdle = 2 * time.Minute
)

// forwardUDP takes the first datagram of a flow: to a listener, or to the local
// service of its port. It runs under the delivery of that datagram and must not
// wait.
func (s *Stack) forwardUDP(r *udp.ForwarderRequest) {
	port := r.ID().LocalPort
	s.mu.Lock()
	l := s.listeners[port]
	full := s.udpFlows >= maxUDPFlows
	if !s.closed && l == nil && !full {
		s.udpFlows++
		s.work.Add(1)
	}
	refuse := s.closed || l == nil && full
	s.mu.Unlock()
	if refuse {
		return
	}
	if l != nil {
		l.accept(s, r)
		return
	}
	end := func() {
		s.mu.Lock()
		s.udpFlows--
		s.mu.Unlock()
		s.work.Done()
	}
	address, ok := "", false
	if s.service != nil {
		address, ok = s.service("udp", port)
	}
	if !ok {
		end()
		return
	}
	var queue waiter.Queue
	ep, terr := r.CreateEndpoint(&queue)
	if terr != nil {
		end()
		return
	}
	remote := gonet.NewUDPConn(&queue, ep)
	go func() {
		defer end()
		defer remote.Close()
		var d net.Dialer
		local, err := d.DialContext(s.ctx, "udp", address)
		if err != nil {
			return
		}
		defer local.Close()
		relay(s.ctx, remote, local)
	}()
}

// relay carries datagrams both ways until neither has sent one for udpIdle, an
// end fails, or ctx ends.
func relay(ctx context.Context, remote, local net.Conn) {
	ctx, cancel := context.WithCancel(ctx) // the first direction to end ends both
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		_ = remote.SetReadDeadline(time.Unix(1, 0))
		_ = local.SetReadDeadline(time.Unix(1, 0))
	})()
	start := time.Now()
	var last atomic.Int64 // since start, of the newest datagram either way
	pump := func(to, from net.Conn) {
		defer cancel()
		buf := make([]byte, 65535)
		for {
			rest := udpIdle - (time.Since(start) - time.Duration(last.Load()))
			if rest <= 0 {
				return
			}
			_ = from.SetReadDeadline(time.Now().Add(rest))
			if ctx.Err() != nil { // its deadline may have come before this one
				return
			}
			n, err := from.Read(buf)
			if err != nil {
				if isTimeout(err) {
					continue
				}
				return
			}
			last.Store(int64(time.Since(start)))
			// A datagram that cannot be sent is lost, as on any network.
			_, _ = to.Write(buf[:n])
		}
	}
	var both sync.WaitGroup
	both.Go(func() { pump(local, remote) })
	both.Go(func() { pump(remote, local) })
	both.Wait()
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}
