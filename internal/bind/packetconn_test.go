package bind

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func udp(s string) net.Addr { return net.UDPAddrFromAddrPort(addr(s)) }

func TestDivertedPacketsAreReadInOrder(t *testing.T) {
	b, f, r := opened(t, Config{})
	receive(t, f, r, arrival{stun(0), addrA}) // nobody reads yet
	if r.sizes[0] != 0 {
		t.Error("a STUN message that nobody reads reaches WireGuard")
	}
	c := b.PacketConn()
	if b.PacketConn() != c {
		t.Error("another PacketConn")
	}
	receive(t, f, r, arrival{stun(1), addrA}, arrival{transport(1, 1), addrB}, arrival{stun(2), addrB})
	if r.sizes[0] != 0 || r.sizes[1] != 32 || r.sizes[2] != 0 {
		t.Errorf("sizes %v", r.sizes[:3])
	}
	buf := make([]byte, 100)
	for i, from := range []string{addrA, addrB} {
		n, a, err := c.ReadFrom(buf)
		if n != 20 || err != nil || buf[8] != byte(i+1) || a.String() != from {
			t.Errorf("read %d bytes %x from %v, %v", n, buf[:n], a, err)
		}
	}
	for n := range divertedMost + 10 {
		receive(t, f, r, arrival{stun(byte(n)), addrA})
	}
	if _, _, err := c.ReadFrom(buf); err != nil || buf[8] != 10 {
		t.Errorf("after an overflow the oldest is %d, %v, want 10", buf[8], err)
	}
	if n, _, _ := c.ReadFrom(buf[:4]); n != 4 || buf[3] != 0 {
		t.Errorf("a short read gave %d bytes", n)
	}
}

func TestLargeDatagramIsNotKept(t *testing.T) {
	b, f, r := opened(t, Config{})
	b.PacketConn()
	large := append(stun(1), make([]byte, divertedSize)...)
	receive(t, f, r, arrival{large, addrA}, arrival{stun(2), addrA})
	if got := b.diverted.Load().len; got != 1 || r.sizes[0] != 0 {
		t.Errorf("%d datagrams kept, want 1; size %d", got, r.sizes[0])
	}
}

func TestPacketConnAllocatesNothingToDeliver(t *testing.T) {
	b, _, _ := opened(t, Config{})
	b.PacketConn()
	msg, from := stun(1), addr(addrA)
	for range divertedMost {
		b.diverted.Load().deliver(msg, from)
	}
	if got := testing.AllocsPerRun(100, func() { b.diverted.Load().deliver(msg, from) }); got != 0 {
		t.Errorf("%v allocations a datagram: a flood is not free", got)
	}
}

func TestPacketConnWrites(t *testing.T) {
	b, f, _ := opened(t, Config{})
	c := b.PacketConn()
	if n, err := c.WriteTo([]byte("anything"), udp(addrA)); n != 8 || err != nil {
		t.Error(n, err)
	}
	if n, err := c.WriteTo([]byte("mapped"), udp("[::ffff:192.0.2.2]:2000")); n != 6 || err != nil {
		t.Error(n, err)
	}
	wantSent(t, f, addrA, addrB)
	for _, to := range []net.Addr{nil, &net.UDPAddr{}, &net.UnixAddr{Name: "x"}} {
		if _, err := c.WriteTo([]byte("x"), to); err == nil {
			t.Errorf("wrote to %v", to)
		}
	}
	if err := c.SetWriteDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteTo([]byte("x"), udp(addrA)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write after the deadline: %v", err)
	}
	for i := range endpointsMost * 2 {
		a := udp(addrA).(*net.UDPAddr)
		a.Port = i + 1
		c.SetDeadline(time.Time{})
		if _, err := c.WriteTo([]byte("x"), a); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(b.diverted.Load().endpoints); got > endpointsMost {
		t.Errorf("%d endpoints kept", got)
	}
}

func TestPacketConnDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f, r := opened(t, Config{})
		c := b.PacketConn()
		buf := make([]byte, 100)
		start := time.Now()
		c.SetReadDeadline(start.Add(time.Second))
		_, _, err := c.ReadFrom(buf)
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		c.SetReadDeadline(time.Now().Add(time.Hour))
		go func() {
			time.Sleep(time.Second)
			c.SetReadDeadline(time.Now()) // wakes a reader that waits
		}()
		if _, _, err := c.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		c.SetReadDeadline(time.Now().Add(time.Second))
		time.Sleep(2 * time.Second)
		c.SetReadDeadline(time.Time{})
		go func() {
			time.Sleep(time.Second)
			f.batches <- []arrival{{stun(3), addrA}}
		}()
		go r.read()
		if n, _, err := c.ReadFrom(buf); n != 20 || err != nil {
			t.Errorf("after the deadline was taken back: %d, %v", n, err)
		}
	})
}

func TestPacketConnCloses(t *testing.T) {
	for name, end := range map[string]func(*Bind, net.PacketConn){
		"by itself":     func(_ *Bind, c net.PacketConn) { c.Close() },
		"with the Bind": func(b *Bind, _ net.PacketConn) { b.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _, _ := opened(t, Config{})
				c := b.PacketConn()
				go func() {
					time.Sleep(time.Second)
					end(b, c)
				}()
				if _, _, err := c.ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				if _, err := c.WriteTo([]byte("x"), udp(addrA)); !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				if err := c.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				if b.PacketConn() == c {
					t.Error("the closed one again")
				}
			})
		})
	}
}

func TestPacketConnBeforeOpenLives(t *testing.T) {
	f := newFake()
	b := New(f, Config{})
	c := b.PacketConn()
	b.Close() // as a device does before the first Open
	if _, _, err := b.Open(0); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.PacketConn() != c {
		t.Error("the PacketConn was closed before the socket was open")
	}
	if got := c.LocalAddr().String(); got != "[::]:1" {
		t.Errorf("local address %s", got)
	}
}
