package nat

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/boothwire/boothwire/nat/internal/stun"
)

const (
	lifetimeFirst = 15 * time.Second
	// lifetimeGrace is for the way of a response that was held back.
	lifetimeGrace = 2 * time.Second
)

// A lifetimeSearch doubles the idle time until a binding is lost, then halves the
// gap until it is an eighth. It is pure.
type lifetimeSearch struct{ most, low, high time.Duration }

// next is what to try; none when there is nothing worth knowing.
func (s *lifetimeSearch) next() (idle time.Duration, ok bool) {
	switch {
	case s.high != 0:
		return (s.low + (s.high-s.low)/2).Truncate(time.Millisecond), s.high-s.low > max(s.high/8, time.Second)
	case s.low == 0:
		return min(lifetimeFirst, s.most), true
	}
	return min(2*s.low, s.most), s.low < s.most
}

func (s *lifetimeSearch) observe(idle time.Duration, survived bool) {
	if survived {
		s.low = idle
	} else {
		s.high = idle
	}
}

func (s *lifetimeSearch) result() Lifetime {
	l := Lifetime{Survived: s.low, Lost: s.high}
	switch {
	case s.high != 0:
		l.Expires = Yes
	case s.low != 0:
		l.Expires = No
	}
	return l
}

// lifetime measures how long a binding lives, with the first server that delays its
// responses. It ends with what is known when none does any more.
func (p *probe) lifetime(ctx context.Context, targets []*target, most time.Duration) Lifetime {
	s := lifetimeSearch{most: max(most.Truncate(time.Millisecond), time.Millisecond)}
	for _, t := range targets {
		if t.Answered != Yes {
			continue
		}
		for {
			idle, more := s.next()
			if !more || ctx.Err() != nil {
				return s.result()
			}
			survived, ok := p.outlives(ctx, t.Addr, idle)
			if !ok {
				break
			}
			s.observe(idle, survived)
		}
	}
	return s.result()
}

// outlives reports whether a response arrives through a binding that was idle; not
// ok if the server cannot tell. A loss is believed the second time, because packets
// get lost.
func (p *probe) outlives(ctx context.Context, to netip.AddrPort, idle time.Duration) (survived, ok bool) {
	for range 2 {
		// A binding that was used both ways, as some NATs keep others less long; and a
		// server that can be heard.
		if _, ok := p.mapping(ctx, to, rtoFirst); !ok {
			return false, false
		}
		a, err := p.client.ask(ctx, ask{
			to:     to,
			waits:  []time.Duration{idle + lifetimeGrace}, // sent once: a second one would keep the binding
			add:    func(b []byte) []byte { return stun.AddUint32(b, attrDelayedResponse, uint32(idle/time.Millisecond)) },
			wanted: func(h heard) bool { return h.from == to && h.response() },
		})
		if errors.Is(err, errNoAnswer) {
			continue
		}
		if err != nil {
			return false, false
		}
		value, _ := a.msg.Get(attrDelayedResponse)
		delay, _ := stun.Uint32(value)
		if a.msg.Type != stun.BindingSuccess || time.Duration(delay)*time.Millisecond != idle || a.after < idle-idle/10 {
			return false, false // a plain server, or one with no room
		}
		return true, true
	}
	return false, true
}
