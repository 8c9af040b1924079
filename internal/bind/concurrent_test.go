package bind

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// TestConcurrentUse does everything at once, for the race detector and for
// deadlocks; at the end nothing may be left.
func TestConcurrentUse(t *testing.T) {
	f := newFake()
	b := New(f, Config{HoldInitiation: ms, Adopted: func(string, netip.AddrPort) {}})
	var wg, dev sync.WaitGroup
	loop := func(do func(n int)) {
		wg.Go(func() {
			for n := range 300 {
				do(n)
			}
		})
	}
	stop := make(chan struct{})
	dev.Go(func() { // the device: opens, receives, closes
		for {
			fns, _, err := b.Open(0)
			if err != nil {
				t.Error(err)
				return
			}
			var receivers sync.WaitGroup
			for _, fn := range fns {
				receivers.Go(func() {
					for r := newReader(fn, f.batch); ; {
						if _, err := r.read(); err != nil {
							return
						}
					}
				})
			}
			receivers.Wait()
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	addrs := []netip.AddrPort{addr(addrA), addr(addrB), addr(addrC), {}}
	for _, id := range []string{"one", "two"} {
		loop(func(n int) { b.AddPeer(id).SetPaths(addrs[n%4], addrs[n/4%4]) })
		loop(func(n int) {
			if n%20 == 0 {
				b.RemovePeer(id)
			}
			p := b.AddPeer(id)
			for _, m := range [][]byte{initiation(uint32(n)), response(uint32(n), 1), transport(1, 1)} {
				_ = b.Send([][]byte{m}, p.ep)
			}
			p.Path()
			p.Stats()
		})
	}
	var streams sync.WaitGroup
	loop(func(n int) {
		c := newStreamEnd()
		p := b.AddPeer([]string{"one", "two"}[n%2])
		streams.Add(1)
		r := p.AddStream(c, func(error) { streams.Done() })
		p.SetRoutes(r, At(addrs[n%4]))
		c.in <- response(7, uint32(n))
		_ = b.Send([][]byte{initiation(uint32(n))}, p.ep)
		p.Heard(r)
		if n%2 == 0 {
			p.RemoveStream(r)
		}
		close(c.cut)
	})
	loop(func(n int) {
		ep, _ := f.ParseEndpoint([]string{addrA, addrB, addrC}[n%3])
		_ = b.Send([][]byte{transport(1, 1)}, ep)
	})
	loop(func(n int) {
		select {
		case f.batches <- []arrival{{response(9, uint32(n)), addrA}, {stun(1), addrB}, {transport(uint32(n), 1), addrC}}:
		case <-time.After(ms):
		}
	})
	loop(func(n int) {
		c := b.PacketConn()
		_ = c.SetReadDeadline(time.Now().Add(ms))
		_, _, _ = c.ReadFrom(make([]byte, 100))
		_, _ = c.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(addrs[0]))
		if n%50 == 0 {
			_ = c.Close()
		}
	})
	loop(func(n int) {
		if n%30 == 0 {
			_ = b.Close()
		}
		b.Port()
	})
	done := make(chan struct{})
	go func() {
		wg.Wait()
		streams.Wait()
		close(stop)
		dev.Wait()
		close(done)
	}()
	deadline := time.After(long)
	for {
		select {
		case <-done:
			b.RemovePeer("one")
			b.RemovePeer("two")
			_ = b.Close()
			if b.waiting.Load() != 0 || len(b.table.claims) != 0 || len(b.local) != 0 || len(b.remote) != 0 {
				t.Errorf("left: %d waiting, %v, %v, %v", b.waiting.Load(), b.table.claims, b.local, b.remote)
			}
			return
		case <-time.After(10 * ms):
			_ = b.Close() // the device's loop ends with a Close
		case <-deadline:
			t.Fatal("a deadlock")
		}
	}
}
