package planetest

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// slow is a limit that the slowest machine reaches.
const slow = 2_000_000 // bit/s

// rateDown and rateUp: a session gets its limit in each direction, and no more.
func rateDown(t *testing.T, s Subject) {
	w := newShaping(t, s)
	p := w.pair(1, func(s *reach.Session) { s.Down = slow })
	p.serves(ssh.Number, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	c := p.operator.dial(p.device, ssh.Number)
	go flood(c)
	w.within("down", slow, func() uint64 { return p.device.total() })
}

func rateUp(t *testing.T, s Subject) {
	w := newShaping(t, s)
	p := w.pair(1, func(s *reach.Session) { s.Up = slow })
	p.serves(ssh.Number, flood)
	c := p.operator.dial(p.device, ssh.Number)
	go io.Copy(io.Discard, c)
	w.within("up", slow, func() uint64 { return p.operator.total() })
	p.Up = slow / 2
	w.set(p.Session)
	w.within("up, set lower", slow/2, func() uint64 { return p.operator.total() })
}

// uplink: two sessions share the node's line evenly.
func uplink(t *testing.T, s Subject) {
	w := newShaping(t, s, func(c *Config) { c.Uplink = slow })
	var pairs []*pair
	for n := range 2 {
		p := w.pair(n + 1)
		p.serves(ssh.Number, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		go flood(p.operator.dial(p.device, ssh.Number))
		pairs = append(pairs, p)
	}
	total := func(i int) float64 { return float64(pairs[i].device.total()) }
	w.within("both", slow, func() uint64 { return pairs[0].device.total() + pairs[1].device.total() })
	w.sometime("an even share", func() (bool, string) {
		first, both := total(0), total(0)+total(1)
		time.Sleep(window)
		first, both = total(0)-first, total(0)+total(1)-both
		share := first / both
		return share > 0.4 && share < 0.6, fmt.Sprintf("%.2f of both", share)
	})
}

func newShaping(t *testing.T, s Subject, changes ...func(*Config)) *world {
	if s.NoRates != "" {
		t.Skip(s.NoRates)
	}
	return newWorld(t, s, changes...)
}

// flood writes until the connection ends.
func flood(c net.Conn) {
	for buf := make([]byte, 64<<10); ; {
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}

// window is the time of one measurement.
const window = 3 * time.Second

// within fails the case if bytes never grow by rate, give or take 15 %, in a window.
func (w *world) within(what string, rate float64, bytes func() uint64) {
	w.t.Helper()
	time.Sleep(window / 3) // the beginning is TCP's own
	w.sometime(what, func() (bool, string) {
		from, start := bytes(), time.Now()
		time.Sleep(window)
		got := float64(bytes()-from) * 8 / time.Since(start).Seconds()
		return got > rate*0.85 && got < rate*1.15, fmt.Sprintf("%.0f bit/s, not %.0f", got, rate)
	})
}

// sometime fails the case if f never says true: what it measures may be short now and
// then on a machine that has other work, but not always.
func (w *world) sometime(what string, f func() (ok bool, got string)) {
	w.t.Helper()
	var ok bool
	var got string
	for range 20 {
		if ok, got = f(); ok {
			return
		}
	}
	w.t.Errorf("%s: %s", what, got)
}
