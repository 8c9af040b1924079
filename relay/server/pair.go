package server

import (
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/internal/wire"
)

// pairKey names the only two ends that may meet.
type pairKey struct {
	session string
	ends    [2]keys.PublicKey
}

// A pair is the two legs of a session. Packets find the other leg without a lock.
type pair struct {
	key  pairKey
	s    *Server
	from time.Time
	legs [2]atomic.Pointer[leg]

	// Lock order: mu, then Server.tally, then Server.mu, then a queue's.
	mu       sync.Mutex
	end      time.Time
	rev      int
	rate     keys.Rate
	bytes    atomic.Int64 // the same in bytes/s, for both legs' buckets
	replaced [2][]time.Time
	timer    *time.Timer // of end
	alone    *time.Timer // while a leg waits by itself, at first
	waits    *leg        // by itself, among the lone ones of Server
	over     bool
	record   Record
	met      time.Time // when both legs were there; zero: they are not
	ever     bool
	wants    time.Time // since when a leg waits for the other one
}

// present is the legs that are there.
func (p *pair) present() iter.Seq[*leg] {
	return func(yield func(*leg) bool) {
		for side := range p.legs {
			if l := p.legs[side].Load(); l != nil && !yield(l) {
				return
			}
		}
	}
}

// join puts a leg that proved its key into its place, or says why not.
func (p *pair) join(l *leg, t *keys.Token) (code string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.s.cfg.Now()
	old := p.legs[l.side].Load()
	switch {
	case p.over:
		return "ended"
	case old != nil && l.generation <= old.generation:
		return "superseded"
	case old != nil:
		recent := p.replaced[l.side][:0]
		for _, at := range p.replaced[l.side] {
			if now.Sub(at) < replaceFor {
				recent = append(recent, at)
			}
		}
		p.replaced[l.side] = append(recent, now)
		p.record.Replaced++
		p.s.replaced.Add(1)
		if len(p.replaced[l.side]) > replaceMax {
			p.s.cloned.Add(1)
			p.finish("cloned")
			return "cloned"
		}
	}
	p.extend(t, now)
	if l.webSocket {
		p.record.WebSockets++
	}
	l.pair = p
	other := p.legs[1-l.side].Load()
	if old == nil && other == nil {
		p.wants = now
	}
	l.out.Put(wire.AppendControl(nil, wire.Ready, flag(other != nil)))
	p.put(l.side, l)
	if old != nil {
		old.bye("superseded")
	}
	if other != nil {
		other.out.Put(wire.AppendControl(nil, wire.Peer, 1))
		if p.met.IsZero() {
			p.met = now
			p.s.waited(now.Sub(p.wants))
		}
		p.ever = true
	}
	p.watch()
	return ""
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// extend takes what a token of a later revision says; mu is held.
func (p *pair) extend(t *keys.Token, now time.Time) {
	if t.End.After(p.end) {
		p.end = t.End
		if p.timer != nil {
			p.timer.Stop()
		}
		p.timer = time.AfterFunc(p.end.Sub(now), func() { p.close("ended") })
	}
	if t.Rev >= p.rev {
		p.rev, p.rate = t.Rev, t.Rate
		if most := p.s.cfg.Rate; most > 0 && (p.rate == 0 || p.rate > most) {
			p.rate = most
		}
		p.bytes.Store(int64(p.rate) / 8)
	}
}

// renew takes a later token that was shown on an open leg.
func (p *pair) renew(l *leg, token []byte) (code string) {
	t, err := p.s.verify(token)
	if err != nil {
		return codeOf(err)
	}
	if t.Session != p.key.session || t.Ends != p.key.ends || t.Leg != l.side {
		return "wrong_session"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.extend(t, p.s.cfg.Now())
	}
	return ""
}

// left takes a leg that is gone out of its place.
func (p *pair) left(l *leg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || p.legs[l.side].Load() != l {
		return
	}
	p.put(l.side, nil)
	p.part()
	p.wants = p.s.cfg.Now()
	if other := p.legs[1-l.side].Load(); other != nil {
		other.out.Put(wire.AppendControl(nil, wire.Peer, 0))
		p.watch()
		return
	}
	p.finish("gone")
}

// watch lets a leg wait for the other one for so long; mu is held.
func (p *pair) watch() {
	p.unwatch()
	if p.legs[0].Load() == nil || p.legs[1].Load() == nil {
		p.alone = time.AfterFunc(p.s.cfg.Alone, func() { p.lonely() })
	}
}

// unwatch is before the legs change; mu is held.
func (p *pair) unwatch() {
	if p.alone != nil {
		p.alone.Stop()
		p.alone = nil
	}
	if p.waits != nil {
		p.s.lone.leave(p.waits.from)
		p.waits = nil
	}
}

// lonely is when nobody came for Alone: the leg may wait on while there are few.
func (p *pair) lonely() {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, b := p.legs[0].Load(), p.legs[1].Load()
	if p.over || p.waits != nil || a != nil && b != nil {
		return // while this waited for mu
	}
	if a == nil {
		a = b
	}
	if p.s.lone.enter(a.from) {
		p.waits = a
		return
	}
	p.finish("alone")
}

// part ends the time that both legs were there; mu is held.
func (p *pair) part() {
	if !p.met.IsZero() {
		p.record.Paired += p.s.cfg.Now().Sub(p.met)
		p.met = time.Time{}
	}
}

// put sets a leg, or none, and counts what the one before it did; mu is held. For Stats
// that is one step, or a total would fall between the two.
func (p *pair) put(side int, l *leg) (old *leg) {
	p.s.tally.Lock()
	defer p.s.tally.Unlock()
	if old = p.legs[side].Swap(l); old != nil {
		p.count(old)
	}
	return old
}

// count adds up what a leg did; mu is held.
func (p *pair) count(l *leg) {
	t := l.traffic()
	p.record.Bytes[l.side] += t.Bytes
	p.record.Dropped[l.side] += t.Missed + t.Excess
	p.record.Dropped[1-l.side] += t.Aged + t.Crowded
	p.s.count(&t)
}

func (p *pair) close(code string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish(code)
}

// finish ends the session here; mu is held.
func (p *pair) finish(code string) {
	if p.over {
		return
	}
	p.over = true
	p.part()
	p.unwatch()
	if p.timer != nil {
		p.timer.Stop()
	}
	for side := range p.legs {
		if l := p.put(side, nil); l != nil {
			l.bye(code)
		}
	}
	p.s.drop(p)
	if p.ever {
		p.record.Session, p.record.Code, p.record.From = p.key.session, code, p.from
		p.s.ended(p.record)
	}
}
