package leg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/keys"
)

// wire is a connection that keeps packets apart, in memory: in is what the far end
// sent, out is what reached it.
type wire struct {
	net.Conn // nil: nothing else is called
	in, out  chan []byte
	closed   chan struct{}
	once     sync.Once
	renewed  atomic.Int64
}

func newWire() *wire {
	return &wire{in: make(chan []byte, 100), out: make(chan []byte, 100), closed: make(chan struct{})}
}

func (w *wire) Read(b []byte) (int, error) {
	select {
	case p := <-w.in:
		return copy(b, p), nil
	case <-w.closed:
		return 0, net.ErrClosed
	}
}

func (w *wire) Write(b []byte) (int, error) {
	select {
	case w.out <- append([]byte(nil), b...):
		return len(b), nil
	case <-w.closed:
		return 0, net.ErrClosed
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

func (w *wire) Renew([]keys.Relay) { w.renewed.Add(1) }

// batchWire takes many at once.
type batchWire struct {
	*wire
	batches atomic.Int64
}

func (w *batchWire) ReadBatch(bufs [][]byte, sizes []int) (n int, err error) {
	if sizes[0], err = w.Read(bufs[0]); err != nil {
		return 0, err
	}
	for n = 1; n < len(bufs) && len(w.in) > 0; n++ {
		sizes[n] = copy(bufs[n], <-w.in)
	}
	return n, nil
}

func (w *batchWire) WriteBatch(bufs [][]byte) (int, error) {
	w.batches.Add(1)
	for _, b := range bufs {
		if _, err := w.Write(b); err != nil {
			return 0, err
		}
	}
	return len(bufs), nil
}

// node echoes each packet to where it came from, with a mark.
func node(t *testing.T, port int) (*net.UDPConn, uint16) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			c.WriteToUDPAddrPort(append([]byte("re:"), b[:n]...), from)
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c, uint16(c.LocalAddr().(*net.UDPAddr).Port)
}

func get(t *testing.T, ch chan []byte) string {
	t.Helper()
	select {
	case p := <-ch:
		return string(p)
	case <-time.After(15 * time.Second):
		t.Fatal("no packet in 15 s")
		return ""
	}
}

func start(t *testing.T, port uint16, dial Dial) *Leg {
	t.Helper()
	leak := goleak.IgnoreCurrent()
	l := Start(&Config{Dial: dial, Logger: zap.NewNop()}, port, []keys.Relay{{URL: "1"}}, nil, zap.NewNop())
	t.Cleanup(func() {
		l.Stop()
		l.Wait()
		leaktest.None(t, leak)
	})
	return l
}

func TestPump(t *testing.T) {
	for _, kind := range []string{"single", "batch"} {
		t.Run(kind, func(t *testing.T) {
			_, port := node(t, 0)
			w := newWire()
			var conn net.Conn = w
			if kind == "batch" {
				conn = &batchWire{wire: w}
			}
			l := start(t, port, func(context.Context, []keys.Relay, keys.PrivateKey) (net.Conn, error) { return conn, nil })
			got := make(map[string]bool)
			for i := range 40 {
				w.in <- fmt.Appendf(nil, "packet %d", i)
			}
			w.in <- nil // nothing is no packet
			for range 40 {
				got[get(t, w.out)] = true
			}
			for i := range 40 {
				if !got[fmt.Sprintf("re:packet %d", i)] {
					t.Errorf("packet %d is lost", i)
				}
			}
			if !l.Up() {
				t.Error("a leg that carries is not up")
			}
		})
	}
}

// A connection that ends is replaced, at the same address of the node's.
func TestAgain(t *testing.T) {
	n, port := node(t, 0)
	wires := make(chan *wire, 10)
	var dials atomic.Int64
	l := start(t, port, func(context.Context, []keys.Relay, keys.PrivateKey) (net.Conn, error) {
		if dials.Add(1) == 2 {
			return nil, errors.New("no")
		}
		w := newWire()
		wires <- w
		return w, nil
	})
	w := <-wires
	w.in <- []byte("one")
	if p := get(t, w.out); p != "re:one" {
		t.Errorf("%q", p)
	}
	w.Close()
	// The node is away as well, and comes back.
	n.Close()
	l.Renew([]keys.Relay{{URL: "2"}}) // cuts a wait short
	w = <-wires
	w.in <- []byte("lost")
	node(t, int(port))
	for p := ""; p != "re:two"; {
		w.in <- []byte("two")
		select {
		case b := <-w.out:
			p = string(b)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if n := dials.Load(); n != 3 {
		t.Errorf("%d dials", n)
	}
}

func TestRenew(t *testing.T) {
	_, port := node(t, 0)
	w := newWire()
	seen := make(chan string, 10)
	gate := make(chan struct{})
	l := start(t, port, func(_ context.Context, relays []keys.Relay, _ keys.PrivateKey) (net.Conn, error) {
		seen <- relays[0].URL
		<-gate
		return w, nil
	})
	if u := <-seen; u != "1" {
		t.Errorf("dialled %q", u)
	}
	l.Renew([]keys.Relay{{URL: "2"}}) // while it dials with the earlier ones
	close(gate)
	wait := func(want int64) {
		t.Helper()
		for end := time.Now().Add(15 * time.Second); w.renewed.Load() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("renewed %d times, want %d", w.renewed.Load(), want)
			}
		}
	}
	wait(1)
	l.Renew([]keys.Relay{{URL: "2"}}) // the same
	l.Renew([]keys.Relay{{URL: "3"}})
	wait(2)
}

// A leg that is stopped while it dials, waits or carries is gone at once.
func TestStop(t *testing.T) {
	for name, dial := range map[string]Dial{
		"dials": func(ctx context.Context, _ []keys.Relay, _ keys.PrivateKey) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"waits":   func(context.Context, []keys.Relay, keys.PrivateKey) (net.Conn, error) { return nil, errors.New("no") },
		"carries": func(context.Context, []keys.Relay, keys.PrivateKey) (net.Conn, error) { return newWire(), nil },
	} {
		t.Run(name, func(t *testing.T) {
			_, port := node(t, 0)
			l := start(t, port, dial)
			time.Sleep(20 * time.Millisecond)
			l.Stop()
			l.Wait()
			if l.Up() {
				t.Error("a stopped leg is up")
			}
		})
	}
}
