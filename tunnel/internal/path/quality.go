package path

import (
	"slices"
	"time"
)

// When a direct way is worse than a relay. The margins are wide and those to come
// back are narrow, so that two ways of about the same worth do not alternate.
const (
	muchLoss   = 0.10 // share of checks; ssh begins to stall at about as much
	lossChecks = 20   // of so many at least: ten seconds of use

	slowChecks = 8
	slowMore   = 50 * time.Millisecond // above twice the relay's
	fastMore   = 25 * time.Millisecond // above one and a half times the relay's, to come back
)

// relay is the good relay to compare with, nil when there is none.
func (m *Machine[R]) relay() *way[R] {
	i := slices.IndexFunc(m.ways, func(w *way[R]) bool { return w.Kind == Relay && w.Check && w.state == Good && w.rtt != 0 })
	if i < 0 {
		return nil
	}
	return m.ways[i]
}

// judgeQuality leaves a direct way that is worse than a relay.
func (m *Machine[R]) judgeQuality(now time.Duration) {
	p, r := m.primary, m.relay()
	if p == nil || r == nil || p.Kind != Direct || !p.Check || p.state != Good {
		return
	}
	loss, n := p.loss()
	relayLoss, _ := r.loss()
	switch {
	case n >= lossChecks && loss > muchLoss && relayLoss < loss/2:
		p.leave(now, Lossy, true)
	case n >= slowChecks && p.rtt > 2*r.rtt+slowMore:
		p.leave(now, Slow, true)
	}
}

// tooSlow reports whether a way that was left for being slow still is.
func (m *Machine[R]) tooSlow(w *way[R]) bool {
	r := m.relay()
	return w.state == Left && w.code == Slow && r != nil && w.rtt > r.rtt*3/2+fastMore
}
