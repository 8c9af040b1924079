package tunnel

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A refusal says why there is no direct path, and whether the far end tries again.
type refusal struct {
	codedError
	waits bool
}

func (r refusal) Why() string { return "symmetric here, symmetric there; tried 1 host x 2 host" }
func (r refusal) Waits() bool { return r.waits }

// A talker's word about itself comes late.
type talker struct {
	*punched
	late *atomic.Bool
}

func (c talker) Why() string {
	if c.late.Load() {
		return "host-host open/symmetric"
	}
	return "host-host"
}

// TestWhy follows what an end says of its path: why it is on the relay, then what the
// direct path is, then what only the far end could tell; and how long each carried.
func TestWhy(t *testing.T) {
	noLeaks(t)
	l := newLab(t)
	var open, late atomic.Bool
	device, operator := l.joined(Relay, Direct)
	for end, c := range []*Config{device, operator} {
		c.Paths[1].Open = func(_ context.Context, sock net.PacketConn) (net.Conn, error) {
			l.count(end, Direct)
			if !open.Load() {
				return nil, refusal{"no_path", end == 0}
			}
			return talker{newPunched(sock, l.socks[end].LocalAddr().(*net.UDPAddr).AddrPort()), &late}, nil
		}
	}
	d, o := up(t, device), up(t, operator)
	var mu sync.Mutex
	var told []string // at EventPath and EventWhy
	var reader sync.WaitGroup
	reader.Go(func() {
		for e := range o.Events(t.Context()) {
			if e.Kind == EventWhy || e.Kind == EventPath {
				mu.Lock()
				told = append(told, o.Status().Why)
				mu.Unlock()
			}
		}
	})
	hears := func(want string) {
		t.Helper()
		until(t, "those who follow hear "+want, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.ContainsFunc(told, func(why string) bool { return strings.HasPrefix(why, want) })
		}, o)
	}
	ready(t, d, o)
	until(t, "Status tells of the failure", func() bool {
		return o.Status().Why == "relay: direct failed no_path (symmetric here, symmetric there; tried 1 host x 2 host)"
	}, o)
	// Who waits for the far end's next attempt is not kept by any back-off.
	until(t, "the device waits again and again", func() bool { return l.opened(0, Direct) > 20 }, d)
	open.Store(true)
	by(t, Direct, d, o)
	hears("direct: host-host")
	late.Store(true)
	hears("direct: host-host open/symmetric")
	if s := o.Status().Spent; s.Relay <= 0 || s.Direct <= 0 {
		t.Errorf("spent: %+v", s)
	}
	o.Close()
	end := o.Status().Spent
	if again := o.Status().Spent; again != end || end.Relay <= 0 || end.Direct <= 0 {
		t.Errorf("spent, after the end: %+v, then %+v", end, again)
	}
	reader.Wait()
}
