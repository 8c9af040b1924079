package mqtt

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/mosquittotest"
	"github.com/eclipse/paho.golang/paho"
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

// A connection by an uplink that is gone is made anew long before its keepalive ends, also
// when that goes only after the broker has answered by it once more.
func TestUplinkGone(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]int{"at once": 1, "later": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startRaw(t, func(c net.Conn) {
				for range answers {
					if greet(c) != nil {
						return
					}
				}
				io.Copy(io.Discard, c) // and answers nothing more
			})
			u := new(uplink)
			c := u.listen(t, b.url)
			began := time.Now()
			u.swapped.Store(true)
			c.await(t, "another connection", func() bool { return c.ups >= 2 })
			t.Logf("another connection after %v", time.Since(began))
		})
	}
}

// One that outlives each change stays.
func TestUplinkAdded(t *testing.T) {
	t.Parallel()
	b := mosquittotest.Start(t, mosquittotest.Options{})
	u := new(uplink)
	c := u.listen(t, b.URL())
	for i, swapped := range []bool{true, false} {
		u.swapped.Store(swapped)
		awaitSubscribes(t, b, i+2)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ups != 1 || !c.up {
		t.Errorf("%d connections", c.ups)
	}
}

// What is retained is not sent again by a broker that is only asked whether it is there.
func TestUplinkAddedUnshared(t *testing.T) {
	t.Parallel()
	b := mosquittotest.Start(t, mosquittotest.Options{})
	device := client(t, b, "device", nil)
	say := func(text string, retain bool) {
		t.Helper()
		if _, err := device.Publish(t.Context(), &paho.Publish{Topic: "iot/k1/status", QoS: 1, Retain: retain, Payload: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	say("kept", true)
	s, err := NewSender(b.URL(), quick())
	if err != nil {
		t.Fatal(err)
	}
	u := new(uplink)
	s.route = u.route
	c := readFrom(t, s)
	c.awaitMessage(t, "kept")
	u.swapped.Store(true)
	awaitSubscribes(t, b, 2)
	say("after", false)
	c.awaitMessage(t, "after")
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.got) != 2 {
		t.Errorf("%d messages: %+v", len(c.got), c.got)
	}
}

// awaitSubscribes returns once the broker has had n of them.
func awaitSubscribes(t *testing.T, b *mosquittotest.Broker, n int) {
	t.Helper()
	await(t, "SUBSCRIBE", func() bool { return strings.Count(b.Log(), "Received SUBSCRIBE from ") >= n })
}
