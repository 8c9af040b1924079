package netstack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boothwire/boothwire/internal/leaktest"
)

var (
	here  = netip.MustParseAddr("10.166.0.5")
	there = netip.MustParseAddr("10.166.255.9")
	here6 = netip.MustParseAddr("fd66::5")
)

const patience = 30 * time.Second

// wired returns two stacks with a wire between them: a served one, whose ports
// lead where service says, and one to dial from.
func wired(t *testing.T, service func(network string, port uint16) (string, bool)) (served, dialer *Stack) {
	return wiredBy(t, service, nil)
}

// wiredBy is wired with a change for each direction.
func wiredBy(t *testing.T, service func(network string, port uint16) (string, bool), change func() func([][]byte) [][]byte) (served, dialer *Stack) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.None(t, before) })
	served = open(t, Config{Addresses: []netip.Addr{here, here6}, MTU: 1280, Service: service})
	dialer = open(t, Config{Addresses: []netip.Addr{there, netip.MustParseAddr("fd66::9")}, MTU: 1280})
	var wire sync.WaitGroup
	if change == nil {
		change = func() func([][]byte) [][]byte { return nil }
	}
	wire.Go(func() { pipe(served.Device(), dialer.Device(), change()) })
	wire.Go(func() { pipe(dialer.Device(), served.Device(), change()) })
	t.Cleanup(func() {
		_ = served.Close()
		_ = dialer.Close()
		wire.Wait()
	})
	return served, dialer
}

func open(t *testing.T, c Config) *Stack {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// pipe carries packets, changed as a network may, until from is closed.
func pipe(from, to Device, change func([][]byte) [][]byte) {
	const offset = 16
	bufs, sizes := make([][]byte, idealBatch), make([]int, idealBatch)
	for i := range bufs {
		bufs[i] = make([]byte, offset+65535)
	}
	for {
		n, err := from.Read(bufs, sizes, offset)
		if err != nil {
			return
		}
		var out [][]byte
		for i := range n {
			out = append(out, bufs[i][:offset+sizes[i]])
		}
		if change != nil {
			out = change(out)
		}
		_, _ = to.Write(out, offset)
	}
}

// to makes a service that leads every port to address.
func to(address string) func(string, uint16) (string, bool) {
	return func(string, uint16) (string, bool) { return address, true }
}

func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return c
}

func dial(t *testing.T, s *Stack, network string, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := s.Dial(ctx(t), network, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// listen is a local service for one connection at a time, given to handle.
func listen(t *testing.T, handle func(*net.TCPConn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { defer c.Close(); handle(c.(*net.TCPConn)) })
		}
	})
	return l.Addr().String()
}

// noise is size bytes that repeat nowhere, the same at each call.
func noise(size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{}), size)
}

func sum(t *testing.T, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		t.Error(err)
	}
	return fmt.Sprintf("%d bytes, %x", n, h.Sum(nil))
}

// TestTransfer sends to the service first, closes that half, and takes the same
// amount back, on both families.
func TestTransfer(t *testing.T) {
	const size = 16 << 20
	got := make(chan string, 2)
	address := listen(t, func(c *net.TCPConn) {
		got <- sum(t, c) // to the half-close
		_, _ = io.Copy(c, noise(size))
	})
	_, dialer := wired(t, to(address))
	want := sum(t, noise(size))
	for _, addr := range []netip.Addr{here, here6} {
		c := dial(t, dialer, "tcp", netip.AddrPortFrom(addr, 22))
		if _, err := io.Copy(c, noise(size)); err != nil {
			t.Fatal(err)
		}
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if s := <-got; s != want {
			t.Errorf("service got %s, want %s", s, want)
		}
		if s := sum(t, c); s != want {
			t.Errorf("came back %s, want %s", s, want)
		}
	}
}

// TestTransferOverABadNetwork loses one packet in 200, and lets others overtake: what
// TCP gives at once and gets at once is sent again in pieces.
func TestTransferOverABadNetwork(t *testing.T) {
	const size = 4 << 20
	got := make(chan string, 1)
	address := listen(t, func(c *net.TCPConn) {
		got <- sum(t, c)
		_, _ = io.Copy(c, noise(size))
	})
	_, dialer := wiredBy(t, to(address), func() func([][]byte) [][]byte {
		r := rand.New(rand.NewPCG(1, 2))
		return func(packets [][]byte) [][]byte {
			kept := packets[:0]
			for _, p := range packets {
				if r.IntN(200) != 0 {
					kept = append(kept, p)
				}
			}
			if n := len(kept); n > 1 && r.IntN(20) == 0 {
				i := r.IntN(n - 1)
				kept[i], kept[i+1] = kept[i+1], kept[i]
			}
			return kept
		}
	})
	want := sum(t, noise(size))
	c := dial(t, dialer, "tcp", netip.AddrPortFrom(here, 22))
	if _, err := io.Copy(c, noise(size)); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != want {
		t.Errorf("service got %s, want %s", s, want)
	}
	if s := sum(t, c); s != want {
		t.Errorf("came back %s, want %s", s, want)
	}
}

func TestBackPressure(t *testing.T) {
	release := make(chan struct{})
	address := listen(t, func(c *net.TCPConn) { <-release })
	defer close(release)
	_, dialer := wired(t, to(address))
	c := dial(t, dialer, "tcp", netip.AddrPortFrom(here, 22))
	_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
	n, err := io.Copy(c, noise(1<<30))
	if !errors.Is(err, os.ErrDeadlineExceeded) && !isTimeout(err) {
		t.Errorf("wrote %d bytes to a service that reads none: %v", n, err)
	}
	// Both stacks' windows, both sockets' buffers and one of ours.
	if n > 64<<20 {
		t.Errorf("%d bytes are held for a service that reads none", n)
	}
}

func TestRefusal(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // nobody listens there any more
	_, dialer := wired(t, func(_ string, port uint16) (string, bool) { return address, port == 22 })
	for _, port := range []uint16{22, 23} {
		_, err = dialer.Dial(ctx(t), "tcp", netip.AddrPortFrom(here, port))
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("port %d: got %v", port, err)
		}
	}
}

func TestResets(t *testing.T) {
	began, seen := make(chan struct{}, 2), make(chan error, 1)
	address := listen(t, func(c *net.TCPConn) {
		var b [1]byte
		_, _ = c.Read(b[:])
		began <- struct{}{}
		if b[0] == 'r' { // the service resets
			_ = c.SetLinger(0)
			return
		}
		_, err := c.Read(b[:])
		seen <- err
	})
	served, dialer := wired(t, to(address))

	c := dial(t, dialer, "tcp", netip.AddrPortFrom(here, 22))
	_, _ = c.Write([]byte("r"))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the service's reset reads as %v", err)
	}

	c = dial(t, dialer, "tcp", netip.AddrPortFrom(here, 22))
	_, _ = c.Write([]byte("x"))
	<-began
	<-began
	if err := served.Close(); err != nil {
		t.Error(err)
	}
	if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("at the service the stack's end reads as %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("at the far side the stack's end reads as %v", err)
	}
}

func TestCloseUnblocks(t *testing.T) {
	address := listen(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	_, dialer := wired(t, to(address))
	c := dial(t, dialer, "tcp", netip.AddrPortFrom(here, 22))
	u := dial(t, dialer, "udp", netip.AddrPortFrom(here, 22))
	l, err := dialer.Listen("tcp", netip.AddrPortFrom(there, 80))
	if err != nil {
		t.Fatal(err)
	}
	ul, err := dialer.Listen("udp", netip.AddrPortFrom(there, 80))
	if err != nil {
		t.Fatal(err)
	}
	blocked := map[string]func() error{
		"read":       func() error { _, err := c.Read(make([]byte, 1)); return err },
		"udp read":   func() error { _, err := u.Read(make([]byte, 1)); return err },
		"accept":     func() error { _, err := l.Accept(); return err },
		"udp accept": func() error { _, err := ul.Accept(); return err },
		// Nobody has this address, so no answer comes.
		"dial": func() error {
			_, err := dialer.Dial(context.Background(), "tcp", netip.MustParseAddrPort("10.166.0.77:1"))
			return err
		},
	}
	type result struct {
		name string
		err  error
	}
	results := make(chan result, len(blocked))
	for name, f := range blocked {
		go func() { results <- result{name, f()} }()
	}
	time.Sleep(50 * time.Millisecond) // so that they do block
	if err := dialer.Close(); err != nil {
		t.Error(err)
	}
	for range blocked {
		select {
		case r := <-results:
			if !errors.Is(r.err, net.ErrClosed) {
				t.Errorf("%s: got %v", r.name, r.err)
			}
		case <-time.After(patience):
			t.Fatal("something is blocked still")
		}
	}
	if _, err := dialer.Dial(ctx(t), "tcp", netip.AddrPortFrom(here, 22)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial after close: %v", err)
	}
	if _, err := dialer.Listen("udp", netip.AddrPortFrom(there, 81)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listen after close: %v", err)
	}
}

// TestCloseInHandshake closes a stack while half-open connections are in it.
func TestCloseInHandshake(t *testing.T) {
	address := listen(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	for i := range 20 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			served, dialer := wired(t, to(address))
			dials, cancel := context.WithCancel(context.Background())
			var work sync.WaitGroup
			for range 8 {
				work.Go(func() {
					if c, err := dialer.Dial(dials, "tcp", netip.AddrPortFrom(here, 22)); err == nil {
						_ = c.Close()
					}
				})
			}
			time.Sleep(time.Duration(i) * 100 * time.Microsecond)
			_ = served.Close()
			cancel()
			work.Wait()
		})
	}
}

func TestUDPForward(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(append([]byte("re: "), buf[:n]...), from)
		}
	})
	defer work.Wait()
	defer pc.Close()
	_, dialer := wired(t, func(network string, port uint16) (string, bool) {
		return pc.LocalAddr().String(), network == "udp" && port == 3389
	})
	var conns []net.Conn
	for i := range 3 {
		c := dial(t, dialer, "udp", netip.AddrPortFrom(here, 3389))
		if _, err := fmt.Fprintf(c, "hello %d", i); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for i, c := range conns {
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		if want := fmt.Sprintf("re: hello %d", i); err != nil || string(buf[:n]) != want {
			t.Errorf("got %q, %v, want %q", buf[:n], err, want)
		}
	}
}

func TestUDPFlowsBounded(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	served, dialer := wired(t, to(pc.LocalAddr().String()))
	flow := func() {
		c, err := dialer.Dial(ctx(t), "udp", netip.AddrPortFrom(here, 9))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("x"))
		_ = c.Close()
	}
	flows := func() int {
		served.mu.Lock()
		defer served.mu.Unlock()
		return served.udpFlows
	}
	for range maxUDPFlows {
		flow()
	}
	for end := time.Now().Add(20 * time.Second); flows() < maxUDPFlows; flow() { // some packets may be lost
		if time.Now().After(end) {
			t.Fatalf("%d flows, want %d", flows(), maxUDPFlows)
		}
		time.Sleep(time.Millisecond)
	}
	for range 20 {
		flow()
		if n := flows(); n > maxUDPFlows {
			t.Fatalf("%d flows, want %d", n, maxUDPFlows)
		}
	}
	time.Sleep(200 * time.Millisecond)
	if n := flows(); n != maxUDPFlows {
		t.Errorf("%d flows, want %d", n, maxUDPFlows)
	}
}

func TestListen(t *testing.T) {
	served, dialer := wired(t, nil)
	for _, network := range []string{"tcp", "udp"} {
		l, err := served.Listen(network, netip.AddrPortFrom(here, 8080))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := served.Listen(network, netip.AddrPortFrom(here, 8080)); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: the same address twice: %v", network, err)
		}
		c := dial(t, dialer, network, netip.AddrPortFrom(here, 8080))
		if _, err := c.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 10)
		n, err := s.Read(buf)
		if err != nil || !bytes.Equal(buf[:n], []byte("ping")) {
			t.Errorf("%s: got %q, %v", network, buf[:n], err)
		}
		if host := s.RemoteAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Addr(); host != there {
			t.Errorf("%s: from %v, want %v", network, host, there)
		}
		_ = s.Close()
		_ = l.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: accept after close: %v", network, err)
		}
	}
}
