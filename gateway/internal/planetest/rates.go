package planetest

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// slow is a limit that the slowest machine reaches.
const slow = 2_000_000 // bit/s

// rateDown and rateUp: a session gets its limit in each direction, and no more. A
// machine that is busy with other things falls short of it: then once more.
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

// uplink: two sessions share the node's line, each half of it.
func uplink(t *testing.T, s Subject) {
	w := newShaping(t, s, func(c *Config) { c.Uplink = slow })
	var pairs []*pair
	for n := range 2 {
		p := w.pair(n + 1)
		p.serves(ssh.Number, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		go flood(p.operator.dial(p.device, ssh.Number))
		pairs = append(pairs, p)
	}
	w.within("both", slow, func() uint64 { return pairs[0].device.total() + pairs[1].device.total() })
	w.within("one of two", slow/2, func() uint64 { return pairs[0].device.total() })
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

// within fails the case if bytes grow by more than rate and 15 %, or never by rate
// less 15 %.
func (w *world) within(what string, rate float64, bytes func() uint64) {
	w.t.Helper()
	const window = 3 * time.Second
	var got float64
	time.Sleep(window / 3) // the beginning is TCP's own
	for range 5 {
		from, start := bytes(), time.Now()
		time.Sleep(window)
		got = float64(bytes()-from) * 8 / time.Since(start).Seconds()
		if got > rate*1.15 {
			w.t.Fatalf("%s: %.0f bit/s, more than %.0f", what, got, rate)
		}
		if got > rate*0.85 {
			return
		}
	}
	w.t.Errorf("%s: %.0f bit/s, less than %.0f", what, got, rate)
}
