package planetest

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// slow is a limit that an emulated machine reaches which has other work as well.
const slow = 500_000 // bit/s

// rateDown and rateUp: a session gets its limit in each direction, and no more.
func rateDown(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p := w.pair(1, func(s *reach.Session) { s.Down = slow })
	p.serves(ssh.Number, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	c := p.operator.dial(p.device, ssh.Number)
	go flood(c)
	w.within("down", slow, p.device)
}

func rateUp(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p := w.pair(1, func(s *reach.Session) { s.Up = slow })
	p.serves(ssh.Number, flood)
	c := p.operator.dial(p.device, ssh.Number)
	go io.Copy(io.Discard, c)
	w.within("up", slow, p.operator)
	p.Up = slow / 2
	w.set(p.Session)
	w.within("up, set lower", slow/2, p.operator)
}

// uplink: two sessions share the node's line evenly.
func uplink(t *testing.T, s Subject) {
	w := newWorld(t, s, func(c *Config) { c.Uplink = slow })
	var devices []*client
	for n := range 2 {
		p := w.pair(n + 1)
		p.serves(ssh.Number, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		go flood(p.operator.dial(p.device, ssh.Number))
		devices = append(devices, p.device)
	}
	w.within("both", slow/2, devices...)
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
const window = 2 * time.Second

// within fails the case if there is no window in which each of those who receive gets
// rate, give or take 15 %.
func (w *world) within(what string, rate float64, who ...*client) {
	w.t.Helper()
	time.Sleep(window / 2) // the beginning is TCP's own
	w.sometime(what, func() (ok bool, got string) {
		before := make([]uint64, len(who))
		for i, c := range who {
			before[i] = c.total()
		}
		start := time.Now()
		time.Sleep(window)
		ok = true
		for i, c := range who {
			now := float64(c.total()-before[i]) * 8 / time.Since(start).Seconds()
			ok = ok && now > rate*0.85 && now < rate*1.15
			got += fmt.Sprintf("%.0f bit/s, not %.0f; ", now, rate)
		}
		return ok, got
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
