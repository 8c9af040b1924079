package mqtt

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/mosquittotest"
)

// uplink stands for a machine whose uplink a test swaps.
type uplink struct{ swapped atomic.Bool }

func (u *uplink) route(net.Addr) netip.Addr {
	if u.swapped.Load() {
		return netip.MustParseAddr("192.0.2.7")
	}
	return netip.MustParseAddr("127.0.0.1")
}

func (u *uplink) listen(t *testing.T, url string) *catcher {
	t.Helper()
	l, err := newListener("k1", url, quick())
	if err != nil {
		t.Fatal(err)
	}
	l.route = u.route
	c := newCatcher()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); l.Listen(ctx, c) }()
	t.Cleanup(func() { cancel(); <-done })
	c.awaitUp(t)
	return c
}

// A connection by an uplink that is gone is made anew long before its keepalive ends.
func TestUplinkGone(t *testing.T) {
	t.Parallel()
	b := startRaw(t, func(c net.Conn) {
		if greet(c) == nil {
			io.Copy(io.Discard, c) // and answers nothing more
		}
	})
	u := new(uplink)
	c := u.listen(t, b.url)
	began := time.Now()
	u.swapped.Store(true)
	c.await(t, "another connection", func() bool { return c.ups == 2 })
	t.Logf("another connection after %v", time.Since(began))
}

// One that outlives the change stays.
func TestUplinkAdded(t *testing.T) {
	t.Parallel()
	b := mosquittotest.Start(t, mosquittotest.Options{})
	u := new(uplink)
	c := u.listen(t, b.URL())
	u.swapped.Store(true)
	time.Sleep(3 * movedPoll)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ups != 1 || !c.up {
		t.Errorf("%d connections", c.ups)
	}
}
